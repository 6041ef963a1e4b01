//! The cells of one core: written by it alone, read by the control plane, and by other cores for
//! INFO, at any time.
//!
//! The data plane must write only its own core's cells: [`Cell::add`] is a load and a store, so a
//! second writer would lose counts. The rows of one core share no cache line with another core's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::base::ids::{PoolId, ShardId};
use crate::base::limits::POOLS_MAX;
use crate::config::model::{Config, PoolConfig};
use crate::stats::table::Kind;

pub use crate::stats::table::{CoreMetric, Metric, PoolMetric, ShardMetric};

/// A number with one writer: adding is a load and a store, never a locked instruction.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A row of cells on cache lines of its own: 128 bytes, for the processors fetch lines in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Row<const CELLS: usize>([Cell; CELLS]);

impl<const CELLS: usize> Default for Row<CELLS> {
    fn default() -> Self {
        Row(std::array::from_fn(|_| Cell::default()))
    }
}

/// All cells of one core. Pools are added, and none is taken away.
#[derive(Debug)]
pub struct CoreStats {
    core: Row<{ CoreMetric::COUNT }>,
    /// By `PoolId`.
    pools: Box<[OnceLock<PoolCells>]>,
}

#[derive(Debug)]
struct PoolCells {
    pool: Row<{ PoolMetric::COUNT }>,
    shards: Box<[Row<{ ShardMetric::COUNT }>]>,
    quiet_epochs: Box<[Cell]>,
}

impl PoolCells {
    fn new(pool: &PoolConfig) -> PoolCells {
        PoolCells {
            pool: Row::default(),
            shards: pool.shards.iter().map(|_| Row::default()).collect(),
            quiet_epochs: pool.shards.iter().map(|_| Cell::default()).collect(),
        }
    }
}

impl CoreStats {
    /// Cells for every pool and shard of `config`, all zero.
    pub fn new(config: &Config) -> Arc<CoreStats> {
        let places = config.pools.len().max(POOLS_MAX);
        let pools = (0..places).map(|_| OnceLock::new()).collect();
        let stats = CoreStats { core: Row::default(), pools };
        stats.grow(config);
        Arc::new(stats)
    }

    /// Cells for the pools of `config` that have none yet. To be called before a core knows of
    /// them.
    pub fn grow(&self, config: &Config) {
        for (pool, slot) in config.pools.iter().zip(&self.pools) {
            slot.get_or_init(|| PoolCells::new(pool));
        }
    }

    fn of(&self, pool: PoolId) -> &PoolCells {
        match self.pools[pool.index()].get() {
            Some(cells) => cells,
            None => unknown_pool(),
        }
    }

    pub fn core(&self, metric: CoreMetric) -> &Cell {
        &self.core.0[metric as usize]
    }

    /// `pool` is one of the configuration that the cells were made for.
    pub fn pool(&self, pool: PoolId, metric: PoolMetric) -> &Cell {
        &self.of(pool).pool.0[metric as usize]
    }

    /// `pool` and `shard` are of the configuration that the cells were made for.
    pub fn shard(&self, pool: PoolId, shard: ShardId, metric: ShardMetric) -> &Cell {
        &self.of(pool).shards[shard.index()].0[metric as usize]
    }

    /// The last epoch in which the shard was paused and nothing of this core was on its way to its
    /// primary or back; 0: never.
    pub fn quiet_epoch(&self, pool: PoolId, shard: ShardId) -> &Cell {
        &self.of(pool).quiet_epochs[shard.index()]
    }
}

/// As an index out of bounds.
#[cold]
#[expect(clippy::panic, reason = "a pool is added to the cells before anybody knows of it")]
fn unknown_pool() -> ! {
    panic!("a pool without cells")
}

/// A pool's figure over all cores.
pub fn pool_total(cores: &[Arc<CoreStats>], pool: PoolId, metric: PoolMetric) -> u64 {
    total(metric.metric(), cores.iter().map(|core| core.pool(pool, metric).get()))
}

/// A shard's figure over all cores.
pub fn shard_total(
    cores: &[Arc<CoreStats>],
    pool: PoolId,
    shard: ShardId,
    metric: ShardMetric,
) -> u64 {
    total(metric.metric(), cores.iter().map(|core| core.shard(pool, shard, metric).get()))
}

/// Adds up what the cores say of one metric. A gauge may be raised on one core and lowered on
/// another (below zero, that is), so that only the sum means something; cores are read one after
/// the other, so the sum itself may be below zero for a moment, and is then shown as 0.
fn total(metric: &Metric, cells: impl Iterator<Item = u64>) -> u64 {
    match metric.kind {
        Kind::Timestamp => cells.max().unwrap_or(0),
        Kind::Counter => cells.fold(0, u64::wrapping_add),
        Kind::Gauge => {
            let sum = cells.fold(0, u64::wrapping_add);
            if sum > i64::MAX as u64 { 0 } else { sum }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sample;

    const POOL: PoolId = PoolId(0);
    const SHARD: ShardId = ShardId(1);

    fn cores(count: usize) -> Vec<Arc<CoreStats>> {
        let config = sample::config(&[("cache", &["one", "two"])]);
        (0..count).map(|_| CoreStats::new(&config)).collect()
    }

    #[test]
    fn cores_share_no_cache_line() {
        for core in &cores(2) {
            assert_eq!(std::ptr::from_ref(core.core(CoreMetric::Turns)).addr() % 128, 0);
            assert_eq!(std::ptr::from_ref(core.pool(POOL, PoolMetric::ALL[0])).addr() % 128, 0);
            let first = core.shard(POOL, SHARD, ShardMetric::ALL[0]);
            assert_eq!(std::ptr::from_ref(first).addr() % 128, 0);
        }
        assert_eq!(size_of::<Row<1>>(), 128);
    }

    #[test]
    fn a_pool_that_is_added_has_cells_and_the_others_keep_theirs() {
        let config = sample::config(&[("cache", &["one", "two"])]);
        let stats = CoreStats::new(&config);
        stats.shard(POOL, SHARD, ShardMetric::Requests).add(7);
        let mut next = Config::clone(&config);
        next.pools.push(Arc::new(sample::pool("more", &["one", "two"])));
        stats.grow(&next);
        assert_eq!(stats.shard(POOL, SHARD, ShardMetric::Requests).get(), 7);
        assert_eq!(stats.shard(PoolId(1), SHARD, ShardMetric::Requests).get(), 0);
    }

    #[test]
    fn sums_over_cores_are_right_for_each_kind() {
        let cores = cores(2);
        for (core, n) in cores.iter().zip([7, 35]) {
            core.shard(POOL, SHARD, ShardMetric::Requests).add(n);
            core.shard(POOL, SHARD, ShardMetric::ServerEjectedAt).set(n);
        }
        assert_eq!(shard_total(&cores, POOL, SHARD, ShardMetric::Requests), 42);
        assert_eq!(shard_total(&cores, POOL, SHARD, ShardMetric::ServerEjectedAt), 35);

        // A client that came on one core and left on another.
        cores[0].pool(POOL, PoolMetric::ClientConnections).add(3);
        cores[1].pool(POOL, PoolMetric::ClientConnections).sub(1);
        assert_eq!(pool_total(&cores, POOL, PoolMetric::ClientConnections), 2);
        cores[1].pool(POOL, PoolMetric::ClientConnections).sub(9);
        assert_eq!(pool_total(&cores, POOL, PoolMetric::ClientConnections), 0);
    }
}
