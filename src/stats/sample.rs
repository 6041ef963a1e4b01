//! A small configuration for tests of the rooms that show statistics.

use std::sync::Arc;

use crate::base::limits;
use crate::config::model::*;

/// Pools by name, each with the names of its shards, on addresses where nobody listens.
pub(crate) fn config(pools: &[(&str, &[&str])]) -> Arc<Config> {
    let pools = pools.iter().map(|(name, shards)| Arc::new(pool(name, shards))).collect();
    Arc::new(Config {
        proxy: ProxyConfig {
            cores: vec![0, 1],
            admin_listen: None,
            stats_listen: None,
            log_level: LogLevel::Info,
            log_file: None,
            core_buffer_max_bytes: limits::CORE_BUFFER_MAX_BYTES,
            spin_us: 0,
            batch_us: 0,
        },
        pools,
    })
}

fn pool(name: &str, shards: &[&str]) -> PoolConfig {
    PoolConfig {
        name: name.to_owned(),
        listen: Vec::new(),
        backlog: 512,
        tcp_keepalive: false,
        hash: HashKind::Fnv1a64,
        hash_tag: None,
        distribution: DistributionKind::Ketama,
        char_signedness: CharSignedness::Signed,
        shards: shards
            .iter()
            .enumerate()
            .map(|(index, name)| ShardConfig {
                name: (*name).to_owned(),
                address: NodeAddress::Tcp { host: "127.0.0.1".to_owned(), port: 1 + index as u16 },
                weight: 1,
            })
            .collect(),
        timeout_ms: None,
        connect_timeout_ms: limits::CONNECT_TIMEOUT_MS,
        lanes_per_node: limits::LANES_PER_NODE,
        preconnect: false,
        backend_auth: None,
        client_password: None,
        database: 0,
        databases: limits::DATABASES,
        unknown_commands: UnknownCommands::Refuse,
        dangerous_commands: DangerousCommands::Refuse,
        limits: PoolLimits {
            client_connections_max: limits::CLIENT_CONNECTIONS_MAX,
            client_idle_timeout_ms: 0,
            client_inflight_max: limits::CLIENT_INFLIGHT_MAX,
            client_output_soft_bytes: limits::CLIENT_OUTPUT_SOFT_BYTES,
            client_output_max_bytes: limits::CLIENT_OUTPUT_MAX_BYTES,
            request_args_max: limits::REQUEST_ARGS_MAX,
            request_bytes_max: limits::REQUEST_BYTES_MAX,
            bulk_bytes_max: limits::BULK_BYTES_MAX,
            lane_inflight_max: limits::LANE_INFLIGHT_MAX,
            lane_output_soft_bytes: limits::LANE_OUTPUT_SOFT_BYTES,
        },
    }
}
