//! What the control plane knows: the configuration, the cores' cells, the topology in force.
//!
//! One for the process, shared by the threads of this room. Its locks are taken by these threads
//! only, never by a core.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam::sync::ShardedLock;

use super::picture::{PoolPicture, ReplicaPicture};
use super::process;
use super::reload::LastReload;
use crate::base::ids::{PoolId, ShardId};
use crate::config::model::Config;
use crate::log::Logger;
use crate::route::Router;
use crate::stats::cells::CoreStats;
use crate::stats::latency::{LatencyDoor, LatencyFigures, LatencyTotals};
use crate::stats::prometheus::{Exposition, ProcessFigures};
use crate::stats::twemproxy::{self, Header};
use crate::stats::watch::WatchStats;
use crate::topology::Topology;

/// See the module. `cores` are by core number.
#[derive(Debug)]
pub struct ControlState {
    pub cores: Vec<Arc<CoreStats>>,
    pub log: Logger,
    pub watch: Arc<WatchStats>,
    /// By `PoolId`; `None`: not watched, or nothing is known yet.
    pictures: ShardedLock<Vec<Option<Arc<PoolPicture>>>>,
    /// By `PoolId` and `ShardId`; empty where primaries only are read from.
    replicas: ShardedLock<Vec<Vec<Vec<ReplicaPicture>>>>,
    latency_door: LatencyDoor,
    latency: ShardedLock<LatencyTotals>,
    in_force: ShardedLock<InForce>,
    pub(super) last_reload: LastReload,
    draining: AtomicBool,
    started: Instant,
    started_wall: SystemTime,
}

/// What was published last.
#[derive(Clone, Debug)]
struct InForce {
    topology: Arc<Topology>,
    /// By pool: what `Router::ring_hash` says.
    rings: Arc<[u64]>,
}

impl InForce {
    fn new(topology: Arc<Topology>) -> InForce {
        let pools = &topology.config.pools;
        InForce {
            rings: pools.iter().map(|pool| Router::new(pool).ring_hash()).collect(),
            topology,
        }
    }
}

impl ControlState {
    /// `topology` is the first one, which the cores start with.
    pub fn new(
        cores: Vec<Arc<CoreStats>>,
        topology: Arc<Topology>,
        latency_door: LatencyDoor,
        log: Logger,
    ) -> Arc<ControlState> {
        #[expect(clippy::disallowed_methods, reason = "the control plane reads the clock")]
        let started = Instant::now();
        let config = topology.config.clone();
        Arc::new(ControlState {
            watch: Arc::new(WatchStats::new(&config)),
            pictures: ShardedLock::new(vec![None; config.pools.len()]),
            replicas: ShardedLock::new(
                config.pools.iter().map(|pool| vec![Vec::new(); pool.shards.len()]).collect(),
            ),
            latency: ShardedLock::new(LatencyTotals::new(config.pools.len(), 0)),
            cores,
            log,
            latency_door,
            in_force: ShardedLock::new(InForce::new(topology)),
            last_reload: LastReload::default(),
            draining: AtomicBool::new(false),
            started,
            started_wall: SystemTime::now(),
        })
    }

    /// The topology that was published last.
    pub fn topology(&self) -> Arc<Topology> {
        self.in_force().topology
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.in_force().topology.config.clone()
    }

    /// By pool of the topology: what `Router::ring_hash` says.
    pub(super) fn rings(&self) -> Arc<[u64]> {
        self.in_force().rings
    }

    fn in_force(&self) -> InForce {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// To be called by whoever hands `topology` to the cores: the publisher.
    pub fn set_topology(&self, topology: Arc<Topology>) {
        let before = self.in_force();
        let next = match Arc::ptr_eq(&before.topology.config, &topology.config) {
            true => InForce { topology, ..before },
            false => InForce::new(topology),
        };
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    /// What the watcher shows of a pool.
    pub(super) fn picture(&self, pool: PoolId) -> Option<Arc<PoolPicture>> {
        let pictures = self.pictures.read().unwrap_or_else(PoisonError::into_inner);
        pictures.get(pool.index())?.clone()
    }

    pub(super) fn set_picture(&self, pool: PoolId, picture: Arc<PoolPicture>) {
        let mut pictures = self.pictures.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = pictures.get_mut(pool.index()) {
            *slot = Some(picture);
        }
    }

    /// What is known of a shard's replicas.
    pub(super) fn replicas(&self, pool: PoolId, shard: ShardId) -> Vec<ReplicaPicture> {
        let replicas = self.replicas.read().unwrap_or_else(PoisonError::into_inner);
        let of_pool = replicas.get(pool.index());
        of_pool.and_then(|pool| pool.get(shard.index())).cloned().unwrap_or_default()
    }

    pub(super) fn set_replicas(&self, pool: PoolId, shard: ShardId, seen: Vec<ReplicaPicture>) {
        let mut replicas = self.replicas.write().unwrap_or_else(PoisonError::into_inner);
        let of_pool = replicas.get_mut(pool.index());
        if let Some(slot) = of_pool.and_then(|pool| pool.get_mut(shard.index())) {
            *slot = seen;
        }
    }

    /// From now on the process is not ready: it finishes what it has and ends.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes in what the cores have handed over. Called about once a second by the admin thread; if
    /// nobody calls, the cores keep what they have and lose nothing.
    pub fn collect_latency(&self) {
        let now_us = u64::try_from(self.uptime().as_micros()).unwrap_or(u64::MAX);
        let mut totals = self.latency.write().unwrap_or_else(PoisonError::into_inner);
        totals.turn_windows(now_us);
        // No more than the door holds: cores push while this pops.
        for _ in 0..self.latency_door.capacity() {
            let Some(snapshot) = self.latency_door.pop() else { break };
            totals.absorb(snapshot);
        }
    }

    /// Latencies of all cores up to now, as far as the cores have handed them over.
    pub fn latency(&self) -> Vec<LatencyFigures> {
        self.collect_latency();
        self.latency.read().unwrap_or_else(PoisonError::into_inner).figures()
    }

    pub fn process(&self) -> ProcessFigures {
        let started = self.started_wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        ProcessFigures {
            uptime_s: self.uptime().as_secs_f64(),
            start_unix_s: started.as_secs_f64(),
            log_lines_dropped: self.log.lines_dropped(),
            log_lines_suppressed: self.log.lines_suppressed(),
            reloads: self.last_reload.figures(),
            ..process::figures()
        }
    }

    /// Everything for Prometheus.
    pub fn exposition(&self) -> Exposition {
        Exposition {
            config: self.config(),
            cores: self.cores.clone(),
            watch: self.watch.clone(),
            latency: self.latency(),
            process: self.process(),
        }
    }

    /// twemproxy's JSON object and a line feed.
    pub fn twemproxy_json(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let header = Header {
            source: process::host_name(),
            uptime_s: self.uptime().as_secs(),
            timestamp_s: now.as_secs(),
        };
        twemproxy::render(&self.config(), &self.cores, &header)
    }
}
