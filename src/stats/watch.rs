//! The cells of the watcher and of the sampler of replicas: written by its thread alone, read by
//! the control plane.

use crate::base::ids::{PoolId, ShardId};
use crate::config::model::{Config, PoolConfig};
use crate::stats::cells::Cell;

pub use crate::stats::table::{ReplicaMetric, WatchMetric};

/// For each watched pool, and each that reads from replicas, by shard; others have none.
#[derive(Debug)]
pub struct WatchStats {
    watched: Rows<{ WatchMetric::COUNT }>,
    replicas: Rows<{ ReplicaMetric::COUNT }>,
}

/// By pool and shard.
#[derive(Debug)]
struct Rows<const CELLS: usize>(Box<[Box<[[Cell; CELLS]]>]>);

impl<const CELLS: usize> Rows<CELLS> {
    fn new(config: &Config, has: impl Fn(&PoolConfig) -> bool) -> Rows<CELLS> {
        let pools = config.pools.iter().map(|pool| {
            let shards = if has(pool) { pool.shards.len() } else { 0 };
            (0..shards).map(|_| std::array::from_fn(|_| Cell::default())).collect()
        });
        Rows(pools.collect())
    }

    fn cell(&self, pool: PoolId, shard: ShardId, at: usize) -> Option<&Cell> {
        self.0.get(pool.index())?.get(shard.index())?.get(at)
    }
}

impl WatchStats {
    pub fn new(config: &Config) -> WatchStats {
        WatchStats {
            watched: Rows::new(config, |pool| pool.sentinel.is_some()),
            replicas: Rows::new(config, PoolConfig::reads_replicas),
        }
    }

    /// `None` if the pool is not watched.
    pub fn cell(&self, pool: PoolId, shard: ShardId, metric: WatchMetric) -> Option<&Cell> {
        self.watched.cell(pool, shard, metric as usize)
    }

    /// `None` if the pool does not read from replicas.
    pub fn of_replicas(
        &self,
        pool: PoolId,
        shard: ShardId,
        metric: ReplicaMetric,
    ) -> Option<&Cell> {
        self.replicas.cell(pool, shard, metric as usize)
    }
}
