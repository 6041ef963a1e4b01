//! The relay: the pure heart of a core. Bytes of clients in, bytes for nodes out, and back.
//!
//! It must never do I/O, read a clock, start a thread, or await: the reactor (and the simulation,
//! the fuzzer, the benchmark) calls its entry points and carries out what it asks for.
//!
//! ```text
//!  on_client_bytes ─▶ admit ─▶ dispatch ─▶ (split, fan) ─▶ enqueue ─▶ take_output ─▶ node
//!  take_output ◀── order ◀── (gather) ◀──────────────────── pair ◀─── on_lane_bytes ◀─ node
//! ```
//!
//! One turn of the reactor:
//! 1. `on_client_open/bytes/sent/closed`, `on_lane_open/bytes/sent/closed`, `on_topology`,
//!    `on_shared` for what has happened;
//! 2. `on_turn(now)`: deadlines, reconnects, queries to other cores, clients that may go on;
//! 3. `next_ask` until `None`, carrying out each; `next_dirty` until `None`, for each one
//!    `take_output` and one write; chunks come back by `recycle`;
//! 4. sleep until something happens or `next_deadline`.
//!
//! Never a reply to the wrong client: a token in a lane's in-flight ring names its client by index
//! and generation and its slot by number; a reply is paired by position alone; a lane on which that
//! is in doubt is closed, never resynchronised.
#![forbid(unsafe_code)]

mod admit;
pub mod api;
mod block;
mod blocking;
#[cfg(test)]
mod blocking_tests;
#[cfg(test)]
mod budget_tests;
#[cfg(any(test, fuzzing))]
mod chance;
mod client;
mod clients;
mod config_get;
mod config_set;
mod cores;
#[cfg(test)]
mod cores_tests;
mod dismiss;
mod dispatch;
mod facade;
#[cfg(test)]
mod facade_tests;
mod fan;
mod fate;
mod follow;
#[cfg(test)]
mod follow_tests;
mod gather;
mod greeting;
mod guard;
#[cfg(test)]
mod guard_tests;
mod hold;
#[cfg(test)]
mod hold_tests;
#[cfg(test)]
mod hold_window_tests;
mod info;
mod kept;
mod lane;
mod lane_sets;
mod lanes;
mod large;
#[cfg(test)]
mod large_tests;
mod lending;
mod local;
mod messages;
mod monitor;
#[cfg(test)]
mod monitor_tests;
mod order;
mod pair;
mod pause;
#[cfg(test)]
mod pause_tests;
pub(crate) mod plants;
mod pool;
mod private;
mod pubsub;
mod query;
mod random;
mod recent;
mod refusal;
mod replicas;
#[cfg(test)]
mod replicas_tests;
#[cfg(test)]
mod reply_tests;
mod scan;
#[cfg(any(test, fuzzing))]
pub(crate) mod script;
mod scripts;
mod session;
#[cfg(test)]
mod session_tests;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "of tests")]
mod sim_calm;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "of tests")]
mod sim_clients;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "of tests")]
mod sim_errors;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "of tests")]
mod sim_guards;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "of tests")]
mod sim_listeners;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "of tests")]
mod sim_model;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "of tests")]
mod sim_reload;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "of tests")]
mod sim_replicas;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "of tests")]
mod sim_sentinels;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "of tests")]
pub(crate) mod sim_tests;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "of tests")]
mod sim_transactions;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "of tests")]
mod sim_wild;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "of tests")]
mod sim_wires;
mod spares;
mod split;
mod step;
#[cfg(test)]
mod step_tests;
mod subscribe;
#[cfg(test)]
mod subscribe_tests;
mod subscriber;
#[cfg(test)]
mod subscriber_tests;
#[cfg(test)]
mod tests;
mod topics;
mod tracking;
mod transaction;
#[cfg(test)]
mod transaction_tests;
mod turn;
mod unblock;
#[cfg(test)]
mod unblock_tests;
mod unguard;
mod verify;
mod wait;
#[cfg(test)]
mod wait_tests;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "of tests")]
mod world;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "of tests")]
mod world_messages;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "of tests")]
mod world_queue;
#[cfg(any(test, fuzzing))]
mod world_queues;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::buffer::ChunkPool;
use crate::base::ids::{ClientId, LaneId, PoolId};
use crate::base::limits::RECORDS_IN_PLACE;
use crate::base::slab::Slab;
use crate::base::time::Now;
use crate::config::model::Config;
use crate::resp::args::ArgRange;
use crate::stats::cells::{CoreMetric, CoreStats, PoolMetric};
use crate::stats::latency::LatencyRecorder;
use crate::topology::Topology;
use api::{Ask, CoreIdentity, Dirty, Report};
use client::{Client, Phase, Stall};
use cores::Queued;
use gather::Gather;
use hold::Hold;
use lane::Lane;
use monitor::{Monitor, Viewer};
use pool::{LaneSet, Pool};
use private::Privates;
use random::Random;
use scripts::Scripts;
use spares::give_spare;
use subscribe::Joining;
use topics::Topics;

/// All state of one core's clients and lanes.
#[derive(Debug)]
pub struct Relay {
    identity: CoreIdentity,
    config: Arc<Config>,
    topology: Arc<Topology>,
    /// This core's own cells, and those of all cores to be read.
    stats: Arc<CoreStats>,
    all_stats: Arc<[Arc<CoreStats>]>,
    latency: LatencyRecorder,

    pools: Vec<Pool>,
    lane_sets: Vec<LaneSet>,
    /// Shared ones by their sets, and private ones.
    lanes: Vec<Lane>,
    privates: Privates,
    /// One for each shard of the watched pools.
    holds: Vec<Hold>,
    /// Some shard is paused; some shard takes no writes.
    paused: bool,
    unwritable: bool,
    /// Some lane is leaving where its shard was.
    leaving: bool,
    /// Some pool has reads answered by replicas.
    reads_replicas: bool,
    /// One of the two before: requests do not all go the shortest way.
    detours: bool,
    clients: Slab<Client>,
    /// Requests that wait for several replies, or for one that is not passed on as it is.
    gathers: Slab<Gather>,
    topics: Topics,
    joinings: Slab<Joining>,
    scripts: Scripts,
    /// Queries of clients here to other cores.
    queries: VecDeque<Queued>,

    /// Each request is looked at before it is taken in: some pool is paused or reads from replicas,
    /// or somebody monitors.
    overseen: bool,
    /// Some client here tracks (CLIENT TRACKING).
    tracks: bool,
    /// When the first pause of a pool ends, `Now::mono_us`.
    pauses_end_us: u64,
    /// Clients here that monitor, and other cores that have such clients.
    monitors: Vec<Monitor>,
    viewers: Vec<Viewer>,

    asks: VecDeque<Ask>,
    dirty: VecDeque<Dirty>,
    reports: VecDeque<Report>,
    /// Clients whose stall may be over.
    resumable: Vec<ClientId>,
    /// Gathers that ask again at a time (WAIT): when, index and generation.
    naps: Vec<(u64, u32, u32)>,
    /// No round of WAIT may block before this time, `Now::mono_us`.
    wait_round_us: u64,
    /// Lanes whose connection was lost, with the writes on it, since clients were last told.
    lost_lanes: Vec<u32>,
    /// The time of the next sweep over the lanes, `Now::mono_us`: no deadline is earlier.
    sweep_us: u64,
    /// Time of the next look for idle clients.
    idle_sweep_us: u64,
    /// When the last turn began, `Now::mono_us`.
    turn_us: u64,
    clients_opened: u64,
    started_us: u64,
    /// Bytes that wait for clients, or came from them and are not taken in.
    buffered_bytes: usize,
    /// Bytes that wait in lanes. Both together are bounded by `core_buffer_max_bytes`.
    lane_bytes: usize,

    chunks: ChunkPool,
    /// Small buffers for replies of our own, and for what is read in parts.
    spares: Vec<Vec<u8>>,
    rings: order::Rings,
    /// Scratch of one dispatch, kept for its memory.
    args: Vec<ArgRange>,
    keys: Vec<u32>,
    random: Random,
}

impl Relay {
    /// `stats`: the cells of all cores; those at `identity.core` are written here, the others read.
    pub fn new(
        identity: CoreIdentity,
        topology: Arc<Topology>,
        stats: Arc<[Arc<CoreStats>]>,
        seed: u64,
        now: Now,
    ) -> Relay {
        let config = topology.config.clone();
        let mut holds = Vec::new();
        let numbered = config.pools.iter().zip(0..);
        let pools = numbered.map(|(pool, id)| Pool::new(pool, PoolId(id), &mut holds)).collect();
        let pools: Vec<Pool> = pools;
        let reads_replicas = pools.iter().any(|pool| pool.reads.any_replica());
        let latency = LatencyRecorder::new(config.pools.len());
        let mut relay = Relay {
            identity,
            config,
            topology,
            stats: stats[usize::from(identity.core)].clone(),
            all_stats: stats,
            latency,
            pools,
            lane_sets: Vec::new(),
            lanes: Vec::new(),
            privates: Privates::default(),
            holds,
            paused: false,
            unwritable: false,
            leaving: false,
            reads_replicas,
            detours: reads_replicas,
            clients: Slab::with_capacity(RECORDS_IN_PLACE),
            gathers: Slab::default(),
            topics: Topics::default(),
            joinings: Slab::default(),
            scripts: Scripts::default(),
            queries: VecDeque::new(),
            overseen: reads_replicas,
            tracks: false,
            pauses_end_us: u64::MAX,
            monitors: Vec::new(),
            viewers: Vec::new(),
            asks: VecDeque::new(),
            dirty: VecDeque::new(),
            reports: VecDeque::new(),
            resumable: Vec::new(),
            naps: Vec::new(),
            wait_round_us: 0,
            lost_lanes: Vec::new(),
            sweep_us: u64::MAX,
            idle_sweep_us: 0,
            turn_us: now.mono_us,
            clients_opened: 0,
            started_us: now.mono_us,
            buffered_bytes: 0,
            lane_bytes: 0,
            chunks: ChunkPool::default(),
            spares: Vec::new(),
            rings: order::Rings::default(),
            args: Vec::new(),
            keys: Vec::new(),
            random: Random(seed | 1),
        };
        relay.follow_watched(now);
        relay.preconnect(now);
        relay
    }

    /// `bytes` of what `take_output` gave have gone to the kernel.
    pub fn on_client_sent(&mut self, id: ClientId, bytes: usize) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        client.sending_bytes = client.sending_bytes.saturating_sub(bytes);
        self.buffered_bytes = self.buffered_bytes.saturating_sub(bytes);
        self.stats.pool(client.pool, PoolMetric::ReplyBytes).add(bytes as u64);
        // The other stalls are lifted by what they wait for.
        if client.stall == Some(Stall::Output) && !client.resuming {
            client.resuming = true;
            self.resumable.push(id);
        }
    }

    pub fn on_lane_sent(&mut self, id: LaneId, bytes: usize) {
        let Some(lane) = self.lanes.get_mut(id.index as usize) else { return };
        if lane.generation != id.generation {
            return;
        }
        lane.sending_bytes = lane.sending_bytes.saturating_sub(bytes);
        self.lane_bytes = self.lane_bytes.saturating_sub(bytes);
        self.release_feeders(id.index);
    }

    pub fn next_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    pub fn next_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// Each dirty connection once.
    pub fn next_dirty(&mut self) -> Option<Dirty> {
        let dirty = self.dirty.pop_front()?;
        match dirty {
            Dirty::Client(id) => {
                if let Some(client) = self.clients.get_mut(id.index, id.generation) {
                    client.dirty = false;
                }
            }
            Dirty::Lane(id) => {
                if let Some(lane) = self.lanes.get_mut(id.index as usize) {
                    lane.dirty = false;
                }
            }
        }
        Some(dirty)
    }

    /// Moves all that waits for this connection behind what is in `into`; gives the number of
    /// bytes (0 for an id that is dead). Not to be called while an earlier output is still being
    /// sent: call it again when that is done, dirty or not.
    pub fn take_output(&mut self, of: Dirty, into: &mut VecDeque<Vec<u8>>) -> usize {
        match of {
            Dirty::Client(id) => {
                let Some(client) = self.clients.get_mut(id.index, id.generation) else { return 0 };
                let bytes = client.outbox.take(into);
                client.sending_bytes += bytes;
                bytes
            }
            Dirty::Lane(id) => self.take_lane_output(id, into),
        }
    }

    /// A chunk whose bytes have all gone to the kernel (or never will).
    pub fn recycle(&mut self, chunk: Vec<u8>) {
        self.chunks.give(chunk);
    }

    /// No client is connected (for the end of a drain).
    pub fn is_quiet(&self) -> bool {
        self.clients.is_empty()
    }

    /// The latencies, to be handed over once a second.
    pub fn latency_mut(&mut self) -> &mut LatencyRecorder {
        &mut self.latency
    }

    /// See [`ChunkPool::take_freed_bytes`].
    pub fn take_freed_bytes(&mut self) -> usize {
        self.chunks.take_freed_bytes()
    }

    /// Writes the gauges that are not kept up to date request by request; once a second.
    pub fn write_gauges(&mut self) {
        let bytes = self.buffered_bytes + self.lane_bytes;
        self.stats.core(CoreMetric::BufferedBytes).set(bytes as u64);
        self.stats.core(CoreMetric::TopologyEpoch).set(self.topology.epoch);
        self.write_lane_gauges();
    }

    fn pool(&self, pool: PoolId) -> &Pool {
        &self.pools[pool.index()]
    }

    #[inline]
    fn client(&mut self, id: ClientId) -> Option<&mut Client> {
        self.clients.get_mut(id.index, id.generation)
    }

    /// An open client: one that still may ask.
    #[inline]
    fn open_client(&mut self, id: ClientId) -> Option<&mut Client> {
        self.client(id).filter(|client| client.phase == Phase::Open)
    }

    fn spare(&mut self) -> Vec<u8> {
        self.spares.pop().unwrap_or_default()
    }
}
