//! The hand-shake of a lane: who we are, which database, and whether it is served there.
//!
//! Nothing else is sent until every reply to it has come, so that no answer to the hand-shake can
//! ever be taken for a client's.

use crate::base::ids::LaneId;
use crate::base::time::{Now, US_PER_MS};
use crate::config::model::PoolConfig;
use crate::relay::api::{Dirty, Report};
use crate::relay::lane::{Lane, LaneState};
use crate::relay::lanes::Loss;
use crate::relay::{Relay, replicas, verify};
use crate::resp::{Protocol, encode, value};
use crate::stats::cells::ShardMetric;

/// Where the primary is watched, and of a replica: ROLE is answered with so many replies to come,
/// its own included.
const ROLE_LEFT: u8 = 3;

impl Relay {
    /// The connection stands: greet.
    pub fn on_lane_open(&mut self, id: LaneId, now: Now) {
        let Some(lane) = self.lanes.get_mut(id.index as usize) else { return };
        let LaneState::Connecting { until_us } = lane.state else { return };
        if lane.generation != id.generation {
            return;
        }
        let config = &self.pools[lane.pool.index()].config;
        let left = write(lane, config, self.identity.core);
        lane.heard_us = now.mono_us;
        lane.state = LaneState::Greeting { left, until_us };
        lane.dirty = true;
        let metric = match lane.replica {
            Some(_) => ShardMetric::ReplicaLanes,
            None => ShardMetric::ServerConnections,
        };
        self.stats.shard(lane.pool, lane.shard, metric).add(1);
        self.dirty.push_back(Dirty::Lane(id));
    }

    /// One reply to the hand-shake.
    pub(super) fn on_greeting_reply(&mut self, index: u32, reply: &[u8], now: Now) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        let LaneState::Greeting { left, until_us } = lane.state else { return };
        let last = left <= 1;
        // The last one is PING: a server that is loading, or read-only, is there all the same and
        // tells each client so itself. (Where the primary is watched, requests are held instead.)
        let word = value::error_word(reply);
        let in_step = value::is_error(reply) || !last || reply == b"+PONG\r\n";
        if !in_step {
            return self.desynchronised(
                index,
                "PING of the hand-shake was answered with another reply",
                now,
            );
        }
        let watched = lane.is_watched();
        if watched && left == ROLE_LEFT && !value::is_error(reply) && !verify::is_primary(reply) {
            let why = "ROLE says that it is no primary".to_owned();
            return self.lose_lane(index, why, Loss::Failed, now);
        }
        let tells_number = lane.private.is_some() && left == number_left(watched);
        if let Some(private) = lane.private.as_mut().filter(|_| tells_number) {
            private.number = value::integer(reply);
        }
        let of_replica = lane.replica.is_some();
        if of_replica && left == ROLE_LEFT && !replicas::is_connected_replica(reply) {
            let why = "ROLE does not say that it is a replica, and connected".to_owned();
            return self.lose_lane(index, why, Loss::Failed, now);
        }
        let there = !value::is_error(reply)
            || ((tells_number || left == 2) && is_about_the_name(reply))
            || (last
                && !watched
                && !of_replica
                && !matches!(word, b"NOAUTH" | b"NOPERM" | b"DENIED" | b"ERR"));
        if !there {
            let text = String::from_utf8_lossy(reply.trim_ascii()).replace(['\r', '\n'], " ");
            let text = text.trim_start_matches(['-', '!']).to_owned();
            let hint = match word {
                b"NOAUTH" | b"WRONGPASS" | b"NOPERM" => " (see backend_auth)",
                _ => "",
            };
            let not_ready = matches!(word, b"LOADING" | b"MASTERDOWN" | b"READONLY" | b"REDIRECT");
            let loss = if not_ready { Loss::Failed } else { Loss::TurnedAway };
            let why = format!("hand-shake refused with '{text}'{hint}");
            return self.lose_lane(index, why, loss, now);
        }
        if !last {
            lane.state = LaneState::Greeting { left: left - 1, until_us };
            return;
        }
        if lane.private.is_some() {
            return self.private_ready(index, now);
        }
        self.end_greeting(index, now);
    }

    /// The hand-shake of a lane is over: what it is there for begins.
    fn end_greeting(&mut self, index: u32, now: Now) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        let (pool, shard) = (lane.pool, lane.shard);
        let (watched, subscribes) = (lane.is_watched(), lane.subscriber.is_some());
        lane.state = LaneState::Ready;
        let node = lane.replica.as_ref().map(|replica| replica.endpoint.to_string());
        if !std::mem::take(&mut lane.why).is_empty() {
            self.reports.push_back(match node {
                Some(node) => Report::ReplicaUp { pool, shard, node },
                None => Report::LaneUp { pool, shard },
            });
        }
        if watched {
            self.begin_watched(index, now);
        }
        if subscribes {
            return self.begin_subscriber(index, now);
        }
        if watched {
            return;
        }
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        let timeout_ms = self.pools[pool.index()].config.timeout_ms;
        if let (Some(token), Some(timeout_ms)) = (lane.inflight.front(), timeout_ms) {
            self.sweep_us = self.sweep_us.min(token.since_us + timeout_ms * US_PER_MS);
        }
        if !lane.outbox.is_empty() {
            self.mark_lane(index);
        }
    }
}

/// A private connection tells its CLIENT ID with so many replies to come, that included.
fn number_left(watched: bool) -> u8 {
    if watched { ROLE_LEFT + 1 } else { ROLE_LEFT }
}

/// HELLO or AUTH, SELECT, the number of a private connection, what a tracker wants to hear, ROLE
/// where the primary is watched and of a replica, a name for the redis-server's CLIENT LIST, and
/// PING, whose answer is the last: so there is always one to wait for, and an error that the server
/// says of its own accord (too many clients, protected mode) can not be taken for a client's reply.
/// Gives their number.
fn write(lane: &mut Lane, config: &PoolConfig, core: u16) -> u8 {
    let (watched, tracker) = (lane.is_watched(), lane.is_tracker());
    let database = lane.database_to_select();
    let out = &mut lane.greeting;
    out.clear();
    let mut replies = 2;
    let auth = config.backend_auth.as_ref();
    let user = auth.and_then(|auth| auth.user.as_deref());
    let password = auth.map(|auth| auth.password.as_bytes());
    match (lane.protocol, password) {
        (Protocol::Resp3, Some(password)) => {
            let user = user.unwrap_or("default").as_bytes();
            encode::request(out, &[b"HELLO", b"3", b"AUTH", user, password]);
            replies += 1;
        }
        (Protocol::Resp3, None) => {
            encode::request(out, &[b"HELLO", b"3"]);
            replies += 1;
        }
        (Protocol::Resp2, Some(password)) => {
            match user {
                Some(user) => encode::request(out, &[b"AUTH", user.as_bytes(), password]),
                None => encode::request(out, &[b"AUTH", password]),
            }
            replies += 1;
        }
        (Protocol::Resp2, None) => {}
    }
    if let Some(database) = database {
        encode::request(out, &[b"SELECT", database.to_string().as_bytes()]);
        replies += 1;
    }
    if lane.private.is_some() {
        encode::request(out, &[b"CLIENT", b"ID"]);
        replies += 1;
    }
    if tracker {
        encode::request(out, &[b"CLIENT", b"TRACKING", b"ON", b"BCAST"]);
        replies += 1;
    }
    if watched || lane.replica.is_some() {
        encode::request(out, &[b"ROLE"]);
        replies += 1;
    }
    encode::request(out, &[b"CLIENT", b"SETNAME", name(&config.name, core).as_bytes()]);
    encode::request(out, &[b"PING"]);
    replies
}

/// `corelay:<pool>:<core>`. A redis-server takes no blanks and nothing that is not ASCII.
fn name(pool: &str, core: u16) -> String {
    let fits = |byte: char| if byte.is_ascii_graphic() { byte } else { '_' };
    format!("corelay:{}:{core}", pool.chars().map(fits).collect::<String>())
}

/// Whether this is an error for the name (or the number) only, without which the lane serves as
/// well: its user may not give names, or the server is busy with a script, or is none that knows
/// names. (With two replies to come the name is answered next.)
fn is_about_the_name(reply: &[u8]) -> bool {
    let allowed = matches!(value::error_word(reply), b"NOPERM" | b"BUSY" | b"LOADING");
    allowed || value::error_text(reply).starts_with(b"ERR unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_into_client_setname() {
        assert_eq!(name("cache", 3), "corelay:cache:3");
        assert_eq!(name("my pöol\n", 0), "corelay:my_p_ol_:0");
    }

    #[test]
    fn only_the_name_may_be_refused() {
        for (reply, expected) in [
            ("-NOPERM this user has no permissions to run the 'client' command\r\n", true),
            ("-ERR unknown command 'CLIENT'\r\n", true),
            ("-BUSY Redis is busy running a script.\r\n", true),
            ("-ERR max number of clients reached\r\n", false),
            ("-NOAUTH Authentication required.\r\n", false),
            ("-DENIED Redis is running in protected mode\r\n", false),
            ("+OK\r\n", false),
        ] {
            assert_eq!(is_about_the_name(reply.as_bytes()), expected, "{reply}");
        }
    }
}
