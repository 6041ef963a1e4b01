//! CONFIG SET: to every shard, but for what is the proxy's own, and what would lock it out.

use crate::base::ids::ClientId;
use crate::base::time::Now;
use crate::command::model::{Command, Merge};
use crate::relay::Relay;
use crate::relay::dispatch::Outcome;
use crate::resp::args::Request;

/// Parameters that CONFIG GET answers from the proxy's configuration, with the keys there.
const OWN: [(&[u8], &str); 7] = [
    (b"bind", "listen"),
    (b"databases", "databases"),
    (b"maxclients", "client_connections_max"),
    (b"port", "listen"),
    (b"proto-max-bulk-len", "bulk_bytes_max"),
    (b"timeout", "client_idle_timeout_ms"),
    (b"unixsocket", "listen"),
];

impl Relay {
    /// CONFIG SET parameter value …: none of them is set if one may not be.
    pub(super) fn config_set(
        &mut self,
        id: ClientId,
        command: &'static Command,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        for name in request.iter().skip(2).step_by(2).map(<[u8]>::to_ascii_lowercase) {
            let shown = name.escape_ascii();
            if let Some((_, key)) = OWN.iter().find(|(own, _)| *own == name) {
                let text =
                    format!("ERR '{shown}' is this proxy's own: set {key} in its configuration");
                return self.refuse(id, &text);
            }
            if name == b"requirepass" {
                let text = "ERR 'requirepass' would lock this proxy out of the redis-servers: set it \
                            there and in [pool.backend_auth]; for clients set [pool.auth]";
                return self.refuse(id, text);
            }
        }
        self.fan(id, command, Merge::AllSucceeded, request, now)
    }
}

#[cfg(test)]
mod tests {
    use super::OWN;
    use crate::relay::world::{World, req};

    #[test]
    fn what_is_the_proxys_own_reaches_no_shard() {
        let mut world = World::new(2);
        let id = world.client();
        for (name, key) in OWN {
            let name = String::from_utf8_lossy(name).to_uppercase();
            for words in [format!("CONFIG SET {name} 1"), format!("CONFIG SET hz 10 {name} 1")] {
                let heard = world.ask(id, &req(&words));
                assert!(heard.starts_with("-ERR '") && heard.contains(key), "{words}: {heard}");
            }
        }
        assert!(world.ask(id, &req("CONFIG SET requirepass x")).contains("lock this proxy out"));
        assert_eq!(world.requests_seen(), 0);
        world.ask(id, &req("CONFIG SET maxmemory-policy timeout"));
        assert_eq!(world.requests_seen(), 2, "a value is no name");
    }

    #[test]
    fn what_is_answered_here_is_not_set_there() {
        let mut world = World::new(2);
        let id = world.client();
        for (name, _) in OWN {
            let name = String::from_utf8_lossy(name);
            world.ask(id, &req(&format!("CONFIG GET {name}")));
        }
        assert_eq!(world.requests_seen(), 0);
    }
}
