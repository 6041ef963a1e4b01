//! twemproxy's statistics: one JSON object with its exact names, order and blanks, so that what
//! reads twemproxy's port today reads ours.
//!
//! Nothing is added to it: its readers take every object in a pool for a server. What is new
//! stands at the admin port.

use std::sync::Arc;

use serde_json::Value;

use crate::base::ids::{PoolId, ShardId};
use crate::config::model::{Config, PoolConfig};
use crate::stats::cells::{CoreStats, Metric, PoolMetric, ShardMetric, pool_total, shard_total};

/// What the object says of the process itself.
#[derive(Clone, Debug)]
pub struct Header {
    /// Name of this host.
    pub source: String,
    pub uptime_s: u64,
    /// Unix time, s.
    pub timestamp_s: u64,
}

/// The object and a line feed, as twemproxy writes it to whoever connects. `config` is the one
/// that the cells were made for.
pub fn render(config: &Config, cores: &[Arc<CoreStats>], header: &Header) -> String {
    let connections = Connections::count(config, cores);
    let mut text = String::from("{");
    // Its readers look for this name.
    push_text(&mut text, "service", "nutcracker");
    push_text(&mut text, "source", &header.source);
    push_text(&mut text, "version", env!("CARGO_PKG_VERSION"));
    push_number(&mut text, "uptime", header.uptime_s);
    push_number(&mut text, "timestamp", header.timestamp_s);
    push_number(&mut text, "total_connections", connections.total);
    push_number(&mut text, "curr_connections", connections.current);
    for (index, pool) in config.pools.iter().enumerate() {
        push_pool(&mut text, PoolId(index as u16), pool, cores);
    }
    end_object(&mut text);
    text.push('\n');
    text
}

/// twemproxy counts every connection it has: of clients, of servers, and its listeners.
struct Connections {
    total: u64,
    current: u64,
}

impl Connections {
    fn count(config: &Config, cores: &[Arc<CoreStats>]) -> Connections {
        let mut count = Connections { total: 0, current: 0 };
        for (index, pool) in config.pools.iter().enumerate() {
            let id = PoolId(index as u16);
            let of_pool = |metric| pool_total(cores, id, metric);
            let listeners = of_pool(PoolMetric::Listeners);
            count.total += listeners + of_pool(PoolMetric::ClientConnectionsTotal);
            count.current += listeners + of_pool(PoolMetric::ClientConnections);
            for shard in (0..pool.shards.len()).map(|index| ShardId(index as u16)) {
                count.total += shard_total(cores, id, shard, ShardMetric::LaneConnects);
                count.current += shard_total(cores, id, shard, ShardMetric::ServerConnections);
            }
        }
        count
    }
}

fn push_pool(text: &mut String, id: PoolId, pool: &PoolConfig, cores: &[Arc<CoreStats>]) {
    begin_object(text, &pool.name);
    for metric in PoolMetric::ALL {
        push_metric(text, metric.metric(), || pool_total(cores, id, *metric));
    }
    for (index, shard) in pool.shards.iter().enumerate() {
        begin_object(text, &shard.name);
        for metric in ShardMetric::ALL {
            let shard = ShardId(index as u16);
            push_metric(text, metric.metric(), || shard_total(cores, id, shard, *metric));
        }
        end_object(text);
        text.push(',');
    }
    end_object(text);
    text.push(',');
}

/// Those without a name of twemproxy's are not shown.
fn push_metric(text: &mut String, metric: &Metric, value: impl FnOnce() -> u64) {
    if let Some(name) = metric.twemproxy {
        push_number(text, name, value());
    }
}

fn push_number(text: &mut String, name: &str, value: u64) {
    push_key(text, name);
    text.push_str(&value.to_string());
    text.push_str(", ");
}

fn push_text(text: &mut String, name: &str, value: &str) {
    push_key(text, name);
    text.push_str(&Value::from(value).to_string());
    text.push_str(", ");
}

fn begin_object(text: &mut String, name: &str) {
    push_key(text, name);
    text.push_str(" {");
}

/// Every member ends with a comma, which is taken off the last one (with its blank, if it has one).
fn end_object(text: &mut String) {
    text.truncate(text.trim_end_matches([',', ' ']).len());
    text.push('}');
}

fn push_key(text: &mut String, name: &str) {
    text.push_str(&Value::from(name).to_string());
    text.push(':');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sample;

    fn header() -> Header {
        Header { source: "proxy\"1".to_owned(), uptime_s: 12, timestamp_s: 1_700_000_000 }
    }

    #[test]
    fn one_pool_is_written_to_the_byte() {
        let config = sample::config(&[("cache", &["s1"])]);
        let cores = [CoreStats::new(&config), CoreStats::new(&config)];
        let (pool, shard) = (PoolId(0), ShardId(0));
        for core in &cores {
            core.pool(pool, PoolMetric::Listeners).set(1);
            core.pool(pool, PoolMetric::ClientConnections).add(3);
            core.pool(pool, PoolMetric::ClientConnectionsTotal).add(30);
            core.shard(pool, shard, ShardMetric::LaneConnects).add(5);
            core.shard(pool, shard, ShardMetric::ServerConnections).add(1);
            core.shard(pool, shard, ShardMetric::OutQueueBytes).add(21);
        }
        let expected = concat!(
            r#"{"service":"nutcracker", "source":"proxy\"1", "version":""#,
            env!("CARGO_PKG_VERSION"),
            r#"", "uptime":12, "timestamp":1700000000, "total_connections":72, "#,
            r#""curr_connections":10, "cache": {"client_eof":0, "client_err":0, "#,
            r#""client_connections":6, "server_ejects":0, "forward_error":0, "fragments":0, "#,
            r#""s1": {"server_eof":0, "server_err":0, "server_timedout":0, "#,
            r#""server_connections":2, "server_ejected_at":0, "requests":0, "request_bytes":0, "#,
            r#""responses":0, "response_bytes":0, "in_queue":0, "in_queue_bytes":0, "#,
            r#""out_queue":0, "out_queue_bytes":42}}}"#,
            "\n"
        );
        assert_eq!(render(&config, &cores, &header()), expected);
    }

    #[test]
    fn any_name_gives_valid_json() {
        let config = sample::config(&[("a, ", &["{\"", "\u{7}x,"]), ("b", &[])]);
        let json: Value = serde_json::from_str(&render(&config, &[], &header())).unwrap();
        assert!(json["a, "]["{\""]["requests"].is_u64());
        assert!(json["a, "]["\u{7}x,"]["requests"].is_u64());
        assert!(json["b"]["fragments"].is_u64());
    }
}
