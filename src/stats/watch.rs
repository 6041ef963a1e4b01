//! The cells of the watcher: written by its thread alone, read by the control plane.

use crate::base::ids::{PoolId, ShardId};
use crate::config::model::Config;
use crate::stats::cells::Cell;

pub use crate::stats::table::WatchMetric;

/// For each watched pool, by shard; others have none.
#[derive(Debug)]
pub struct WatchStats {
    pools: Box<[Box<[ShardCells]>]>,
}

#[derive(Debug, Default)]
struct ShardCells([Cell; WatchMetric::COUNT]);

impl WatchStats {
    pub fn new(config: &Config) -> WatchStats {
        let cells = |shards: usize| (0..shards).map(|_| ShardCells::default()).collect();
        let pools = config.pools.iter().map(|pool| match pool.sentinel {
            Some(_) => cells(pool.shards.len()),
            None => cells(0),
        });
        WatchStats { pools: pools.collect() }
    }

    /// `None` if the pool is not watched.
    pub fn cell(&self, pool: PoolId, shard: ShardId, metric: WatchMetric) -> Option<&Cell> {
        let shard = self.pools.get(pool.index())?.get(shard.index())?;
        shard.0.get(metric as usize)
    }
}
