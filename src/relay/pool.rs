//! A pool as one core serves it: its configuration, and what follows from that; and the lanes that
//! lead to its nodes.

use std::sync::Arc;

use ahash::AHashMap;

use crate::base::ids::{PoolId, ShardId};
use crate::config::model::{KeylessScripts, PoolConfig};
use crate::relay::hold::Hold;
use crate::relay::pause::Pause;
use crate::relay::private::Lending;
use crate::relay::replicas::{ReadRules, Replicas};
use crate::relay::tracking::Table;
use crate::resp::Protocol;
use crate::resp::request::RequestLimits;
use crate::route::{Router, Rules};

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) config: Arc<PoolConfig>,
    pub(super) router: Router,
    pub(super) limits: RequestLimits,
    /// By protocol version and database: index into `Relay::lane_sets`.
    pub(super) lane_sets: AHashMap<(Protocol, u32), u32>,
    /// CLIENT PAUSE.
    pub(super) pause: Option<Pause>,
    /// Where a script without keys runs; `None`: it is refused.
    pub(super) keyless: Option<ShardId>,
    /// Index into `Relay::holds` of its first shard; `None`: its addresses are fixed.
    pub(super) first_hold: Option<u32>,
    /// Private connections, by shard.
    pub(super) lendings: Vec<Lending>,
    pub(super) reads: ReadRules,
    pub(super) tracking: Table,
}

/// The lanes of one pool for one protocol version and one database: those of shard `s` stand at
/// `first + s × lanes_per_node`.
#[derive(Debug)]
pub(super) struct LaneSet {
    pub(super) first: u32,
    pub(super) lanes_per_node: u32,
    /// By shard, of a pool that reads from replicas; else empty.
    pub(super) replicas: Vec<Replicas>,
}

impl Pool {
    pub(super) fn new(config: &Arc<PoolConfig>, id: PoolId, holds: &mut Vec<Hold>) -> Pool {
        let first_hold = config.sentinel.as_ref().map(|_| holds.len() as u32);
        if first_hold.is_some() {
            let shards = (0..config.shards.len() as u16).map(ShardId);
            holds.extend(shards.map(|shard| Hold::new(id, shard)));
        }
        Pool {
            pause: None,
            first_hold,
            lendings: config.shards.iter().map(|_| Lending::default()).collect(),
            keyless: keyless(config),
            router: Router::new(config),
            limits: limits(config),
            lane_sets: AHashMap::default(),
            reads: ReadRules::new(config),
            tracking: Table::default(),
            config: config.clone(),
        }
    }

    /// Takes another configuration, with the same shards; gives the one before.
    pub(super) fn take(&mut self, config: &Arc<PoolConfig>) -> Arc<PoolConfig> {
        let before = std::mem::replace(&mut self.config, config.clone());
        self.limits = limits(config);
        self.keyless = keyless(config);
        self.reads = ReadRules::new(config);
        if Rules::from(&*before) != Rules::from(&**config) {
            self.router = Router::new(config); // many shards take milliseconds
        }
        before
    }
}

fn keyless(config: &PoolConfig) -> Option<ShardId> {
    let named = |name: &String| config.shards.iter().position(|shard| shard.name == *name);
    match &config.keyless_scripts {
        KeylessScripts::Refuse => None,
        KeylessScripts::FirstShard => Some(ShardId(0)),
        KeylessScripts::Shard(name) => named(name).map(|at| ShardId(at as u16)),
    }
}

fn limits(config: &PoolConfig) -> RequestLimits {
    RequestLimits {
        args_max: config.limits.request_args_max,
        bulk_bytes_max: config.limits.bulk_bytes_max,
        request_bytes_max: config.limits.request_bytes_max,
    }
}
