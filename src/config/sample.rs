//! Small configurations for unit tests: what a user gets who writes only what has to be written.

#![allow(clippy::expect_used, reason = "part of tests, and of the fuzzer")]

use std::sync::Arc;

use crate::config::model::{Config, NodeAddress, PoolConfig, SentinelConfig, ShardConfig};
use crate::config::{Machine, parse_toml};

/// Pools by name, each with the names of its shards, on addresses where nobody listens, on a
/// machine of two cores; a pool listens nowhere.
pub(crate) fn config(pools: &[(&str, &[&str])]) -> Arc<Config> {
    let mut config = defaults();
    config.pools = pools.iter().map(|(name, shards)| Arc::new(pool(name, shards))).collect();
    Arc::new(config)
}

/// One of them.
pub(crate) fn pool(name: &str, shards: &[&str]) -> PoolConfig {
    let shard = |(index, name): (usize, &&str)| ShardConfig {
        name: (*name).to_owned(),
        address: NodeAddress::Tcp { host: "127.0.0.1".to_owned(), port: 1 + index as u16 },
        weight: 1,
        replicas: Vec::new(),
    };
    let mut pool = PoolConfig::clone(&defaults().pools[0]);
    pool.name = name.to_owned();
    pool.listen = Vec::new();
    pool.shards = shards.iter().enumerate().map(shard).collect();
    pool
}

/// The same with sentinels that watch its pools.
pub(crate) fn watched(config: &Config) -> Arc<Config> {
    let mut config = Config::clone(config);
    for pool in &mut config.pools {
        let pool = Arc::make_mut(pool);
        let address = NodeAddress::Tcp { host: "127.0.0.1".to_owned(), port: 26379 };
        pool.sentinel = Some(SentinelConfig {
            addresses: vec![address],
            credentials: None,
            quorum_required: false,
            quorum_grace_ms: 2_000,
        });
        pool.shards.iter_mut().for_each(|shard| shard.address = NodeAddress::Sentinel);
    }
    Arc::new(config)
}

/// The defaults of every key. Names that a file could not have are put in afterwards.
fn defaults() -> Config {
    const FILE: &str = "[[pool]]\n\
                        name = \"sample\"\n\
                        listen = [\"127.0.0.1:1\"]\n\
                        [[pool.shard]]\n\
                        name = \"s\"\n\
                        address = \"127.0.0.1:2\"\n";
    let resolve = |_: &str, _| unreachable!("addresses need no resolver");
    let machine = Machine { cpus: vec![0, 1], parallelism: 2, resolve };
    let mut config = parse_toml(FILE, "sample", &machine).expect("a good file").config;
    config.proxy.admin_listen = None;
    config
}
