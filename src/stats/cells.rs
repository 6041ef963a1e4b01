//! The cells of one core: written by it alone, read by the control plane at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::ids::{PoolId, ShardId};
use crate::config::model::Config;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum CoreMetric {
    Turns,
    AcceptsPassedOn,
    BufferedBytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum PoolMetric {
    ClientEof,
    ClientErr,
    ClientConnections,
    ClientConnectionsTotal,
    ClientsRefused,
    ClientsClosedForOutput,
    ClientsClosedForIdleness,
    ClientPauses,
    ServerEjects,
    ForwardError,
    Fragments,
    Requests,
    RequestBytes,
    ReplyBytes,
    LocalRequests,
    ProtocolErrors,
    UnknownCommands,
    CrossslotErrors,
    NoscriptLoads,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum ShardMetric {
    ServerEof,
    ServerErr,
    ServerTimedout,
    ServerConnections,
    ServerEjectedAt,
    Requests,
    RequestBytes,
    Responses,
    ResponseBytes,
    InQueue,
    InQueueBytes,
    OutQueue,
    OutQueueBytes,
    LaneConnects,
    LaneConnectFailures,
    LaneDesynchronised,
    LateReplies,
    ErrorReplies,
}

pub const CORE_METRICS: usize = 3;
pub const POOL_METRICS: usize = 19;
pub const SHARD_METRICS: usize = 18;

/// All cells of one core.
#[derive(Debug)]
pub struct CoreStats {
    core: [Cell; CORE_METRICS],
    pools: Vec<PoolCells>,
}

#[derive(Debug)]
struct PoolCells {
    pool: [Cell; POOL_METRICS],
    shards: Vec<[Cell; SHARD_METRICS]>,
}

impl CoreStats {
    pub fn new(config: &Config) -> Arc<CoreStats> {
        let pools = config
            .pools
            .iter()
            .map(|pool| PoolCells {
                pool: std::array::from_fn(|_| Cell::default()),
                shards: pool
                    .shards
                    .iter()
                    .map(|_| std::array::from_fn(|_| Cell::default()))
                    .collect(),
            })
            .collect();
        Arc::new(CoreStats { core: std::array::from_fn(|_| Cell::default()), pools })
    }

    pub fn core(&self, metric: CoreMetric) -> &Cell {
        &self.core[metric as usize]
    }

    pub fn pool(&self, pool: PoolId, metric: PoolMetric) -> &Cell {
        &self.pools[pool.index()].pool[metric as usize]
    }

    pub fn shard(&self, pool: PoolId, shard: ShardId, metric: ShardMetric) -> &Cell {
        &self.pools[pool.index()].shards[shard.index()][metric as usize]
    }
}
