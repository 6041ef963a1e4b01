//! Names of shards: twemproxy's order of them, and the name of a server that was given none.
//!
//! A shard's name is what the ring hashes, so neither may ever change. Called by the configuration,
//! which sorts a pool's shards and fills in their names before a `Router` sees them.

use std::cmp::Ordering;

use crate::config::model::NodeAddress;

/// memcached's port: twemproxy leaves it out of a derived name, as libmemcached did.
const UNNAMED_PORT: u16 = 11211;

/// twemproxy's order of the servers of a pool: a shorter name first, equal lengths by bytes. It
/// decides the indices of modula and random, whatever the order in the file.
pub fn server_order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

/// The name that twemproxy hashes for a server without one: `host:port`; only `host` if the port is
/// 11211; for a unix socket its path and a colon. An IPv6 host stands without brackets.
pub fn derived_name(address: &NodeAddress) -> String {
    match address {
        NodeAddress::Tcp { host, port: UNNAMED_PORT } => host.clone(),
        NodeAddress::Tcp { host, port } => format!("{host}:{port}"),
        NodeAddress::Unix { path } => format!("{}:", path.display()),
        NodeAddress::Sentinel => String::new(), // its name is that of the master
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shorter_names_come_first_then_bytes_decide() {
        let mut names = ["server10", "server2", "b", "é", "aa", "Z", "server1", ""];
        names.sort_by(|a, b| server_order(a, b));
        assert_eq!(names, ["", "Z", "b", "aa", "é", "server1", "server2", "server10"]);
    }

    #[test]
    fn a_name_is_derived_from_the_address() {
        let tcp = |host: &str, port| derived_name(&NodeAddress::Tcp { host: host.into(), port });
        assert_eq!(tcp("10.0.0.1", 6379), "10.0.0.1:6379");
        assert_eq!(tcp("cache.example", 11211), "cache.example");
        assert_eq!(tcp("::1", 6379), "::1:6379");
        assert_eq!(derived_name(&NodeAddress::Unix { path: "/run/r.sock".into() }), "/run/r.sock:");
    }
}
