//! INFO: what monitoring and client libraries look at.

use crate::base::ids::{ClientId, PoolId, ShardId};
use crate::base::time::{Now, US_PER_S};
use crate::command::model::Command;
use crate::config::model::Facade;
use crate::relay::Relay;
use crate::relay::gather::{Gather, Kind};
use crate::relay::session::{REDIS_VERSION, redis_mode};
use crate::resp::args::Request;
use crate::resp::encode::Encoder;
use crate::resp::value;
use crate::stats::cells::{PoolMetric, ShardMetric, pool_total, shard_total};

/// What is summed over the shards.
#[derive(Debug, Default)]
struct Sums {
    used_memory: u64,
    maxmemory: u64,
    /// By database: keys, those that expire, and Σ keys × average TTL.
    keyspace: std::collections::BTreeMap<u32, (u64, u64, u64)>,
}

impl Relay {
    /// INFO [section …]: every shard is asked for memory and keys; the rest is the proxy's own, its
    /// counts those of the client's pool over all cores.
    pub(super) fn info(
        &mut self,
        id: ClientId,
        command: &'static Command,
        request: &Request<'_>,
        now: Now,
    ) {
        let section = request.iter().skip(1).collect::<Vec<_>>().join(&b' ').to_ascii_lowercase();
        let shards = self.all_shards(id);
        let kind = Kind::Info { section };
        let asked = command.asked(request.len());
        self.fan_to(id, asked, (&shards, b"*1\r\n$4\r\nINFO\r\n"), kind, now);
    }

    /// All shards have answered (some perhaps with an error: they are shown as down).
    pub(super) fn write_info(&self, gather: &Gather, section: &[u8], now: Now, out: &mut Vec<u8>) {
        let all = section.is_empty() || matches!(section, b"all" | b"default" | b"everything");
        let wants = |name: &str| {
            all || section.split(|byte| *byte == b' ').any(|word| word == name.as_bytes())
        };
        let mut sums = Sums::default();
        let mut shards = String::new();
        for (at, part) in gather.parts.iter().enumerate() {
            let text = value::bulk(part).flatten().filter(|_| !value::is_error(part));
            let text = text.map(|text| String::from_utf8_lossy(text).into_owned());
            shards += &self.info_of_shard(gather, ShardId(at as u16), text.as_deref());
            sums.add(text.as_deref().unwrap_or_default());
        }
        let mut info = String::new();
        if wants("server") {
            info += &self.info_server(gather.pool, now);
        }
        if wants("clients") {
            let clients = pool_total(&self.all_stats, gather.pool, PoolMetric::ClientConnections);
            let blocked = pool_total(&self.all_stats, gather.pool, PoolMetric::BlockedClients);
            let watching = pool_total(&self.all_stats, gather.pool, PoolMetric::WatchingClients);
            info += &format!(
                "# Clients\r\nconnected_clients:{clients}\r\nblocked_clients:{blocked}\r\n\
                 watching_clients:{watching}\r\n\r\n"
            );
        }
        if wants("memory") {
            info += &format!(
                "# Memory\r\nused_memory:{}\r\nmaxmemory:{}\r\n\r\n",
                sums.used_memory, sums.maxmemory
            );
        }
        if wants("persistence") {
            info += "# Persistence\r\nloading:0\r\n\r\n";
        }
        if wants("stats") {
            let pool = |metric| pool_total(&self.all_stats, gather.pool, metric);
            info += &format!(
                "# Stats\r\ntotal_connections_received:{}\r\ntotal_commands_processed:{}\r\n\
                 total_net_input_bytes:{}\r\ntotal_net_output_bytes:{}\r\n\
                 rejected_connections:{}\r\n\r\n",
                pool(PoolMetric::ClientConnectionsTotal),
                pool(PoolMetric::Requests),
                pool(PoolMetric::RequestBytes),
                pool(PoolMetric::ReplyBytes),
                pool(PoolMetric::ClientsRefused),
            );
        }
        if wants("replication") {
            info += "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n\r\n";
        }
        if wants("cluster") {
            let enabled = u8::from(self.pool(gather.pool).config.facade == Facade::Cluster);
            info += &format!("# Cluster\r\ncluster_enabled:{enabled}\r\n\r\n");
        }
        if wants("shards") {
            info += &format!("# Shards\r\n{shards}\r\n");
        }
        if wants("keyspace") {
            info += &sums.keyspace_section();
        }
        // Sections are parted by a blank line; the last one ends with its own line end.
        let info = info.strip_suffix("\r\n\r\n").map_or(info.clone(), |info| format!("{info}\r\n"));
        Encoder::new(gather.protocol).verbatim(out, info.as_bytes());
    }

    fn info_server(&self, pool: PoolId, now: Now) -> String {
        let mode = redis_mode(self.pool(pool).config.facade);
        format!(
            "# Server\r\nredis_version:{REDIS_VERSION}\r\nredis_mode:{mode}\r\narch_bits:{}\r\n\
             corelay_version:{}\r\ncorelay_core:{}\r\ncorelay_cores:{}\r\n\
             server_time_usec:{}\r\nuptime_in_seconds:{}\r\n\r\n",
            usize::BITS,
            env!("CARGO_PKG_VERSION"),
            self.identity.core,
            self.identity.cores,
            now.wall_us,
            now.mono_us.saturating_sub(self.started_us) / US_PER_S,
        )
    }

    fn info_of_shard(&self, gather: &Gather, shard: ShardId, text: Option<&str>) -> String {
        let config = &self.pool(gather.pool).config;
        let name = config.shards.get(shard.index()).map_or("?", |shard| shard.name.as_str());
        let topology = self.topology.shard(gather.pool, shard);
        let primary = topology.and_then(|shard| shard.primary.as_ref());
        let primary = primary.map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let requests = shard_total(&self.all_stats, gather.pool, shard, ShardMetric::Requests);
        let field = |name| text.and_then(|text| field(text, name)).unwrap_or("");
        format!(
            "{name}:primary={primary},up={},requests={requests},version={},used_memory={}\r\n",
            u8::from(text.is_some()),
            field("redis_version"),
            field("used_memory"),
        )
    }
}

impl Sums {
    fn add(&mut self, info: &str) {
        let number = |name| field(info, name).and_then(|text| text.parse::<u64>().ok());
        // Saturating, here and below: anybody may set a time to live of 2^62 ms on many keys.
        self.used_memory = self.used_memory.saturating_add(number("used_memory").unwrap_or(0));
        self.maxmemory = self.maxmemory.saturating_add(number("maxmemory").unwrap_or(0));
        for line in info.lines() {
            let Some((name, fields)) = line.split_once(':') else { continue };
            let Some(database) = name.strip_prefix("db").and_then(|n| n.parse().ok()) else {
                continue;
            };
            let number = |wanted: &str| {
                let of = fields.split(',').find_map(|field| field.strip_prefix(wanted));
                of.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
            };
            let sums = self.keyspace.entry(database).or_insert((0, 0, 0));
            let (keys, expires, ttl) = (number("keys="), number("expires="), number("avg_ttl="));
            sums.0 = sums.0.saturating_add(keys);
            sums.1 = sums.1.saturating_add(expires);
            sums.2 = sums.2.saturating_add(expires.saturating_mul(ttl));
        }
    }

    fn keyspace_section(&self) -> String {
        let mut text = "# Keyspace\r\n".to_owned();
        for (database, (keys, expires, ttl)) in &self.keyspace {
            let average = ttl.checked_div(*expires).unwrap_or(0);
            text += &format!("db{database}:keys={keys},expires={expires},avg_ttl={average}\r\n");
        }
        text
    }
}

/// The value of a line `name:value`.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_ttls_of_shards_are_added_up() {
        let mut sums = Sums::default();
        sums.add("used_memory:10\r\ndb0:keys=2,expires=1,avg_ttl=100\r\n");
        sums.add("used_memory:5\r\nused_memory_rss:99\r\ndb0:keys=3,expires=3,avg_ttl=200\r\n");
        assert_eq!(sums.used_memory, 15);
        assert_eq!(sums.keyspace_section(), "# Keyspace\r\ndb0:keys=5,expires=4,avg_ttl=175\r\n");
        sums.add("used_memory:18446744073709551615\r\ndb0:keys=3,expires=3,avg_ttl=8999999999999999999\r\n");
        assert_eq!(sums.used_memory, u64::MAX, "and no overflow ends the process");
    }
}
