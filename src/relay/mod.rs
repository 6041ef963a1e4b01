//! The relay: the pure heart of a core. Bytes of clients in, bytes for backends out, and back.
//!
//! It must never do I/O, read a clock, start a thread, or await: the reactor (and the simulation,
//! the fuzzer, the benchmark) calls its entry points and carries out what it asks for.
//!
//! One turn of the reactor:
//! 1. `on_client_open/bytes/sent/closed`, `on_lane_open/bytes/sent/closed` for what has happened;
//! 2. `on_turn(now)`: deadlines, reconnects, clients that may go on;
//! 3. `next_ask` until `None`, carrying out each; `next_dirty` until `None`, for each one
//!    `take_output` and one write; chunks come back by `recycle`;
//! 4. sleep until something happens or `next_deadline`.
#![forbid(unsafe_code)]

pub mod api;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::ids::{ClientId, LaneId, PoolId};
use crate::base::time::Now;
use crate::config::model::Config;
use crate::stats::cells::CoreStats;
use crate::topology::Topology;
use api::{Ask, ClientEnd, Dirty, LaneEnd, Peer, Report, Script};

/// All state of one core's clients and lanes. (Skeleton: the signatures are those of the real one.)
#[derive(Debug)]
pub struct Relay {}

#[allow(unused_variables, clippy::needless_pass_by_value, reason = "skeleton")]
impl Relay {
    pub fn new(
        config: Arc<Config>,
        topology: Arc<Topology>,
        stats: Arc<CoreStats>,
        seed: u64,
        now: Now,
    ) -> Relay {
        Relay {}
    }
    /// `Err`: send these bytes and close; there is no client.
    pub fn on_client_open(
        &mut self,
        pool: PoolId,
        peer: Peer,
        now: Now,
    ) -> Result<ClientId, &'static [u8]> {
        Err(b"-ERR skeleton\r\n")
    }
    /// Bytes received, in order. Allowed for a paused client (what had been received before).
    pub fn on_client_bytes(&mut self, client: ClientId, bytes: &[u8], now: Now) {}
    /// `bytes` of what `take_output` gave have gone to the kernel.
    pub fn on_client_sent(&mut self, client: ClientId, bytes: usize) {}
    /// Exactly once for each client; its id is dead afterwards.
    pub fn on_client_closed(&mut self, client: ClientId, end: ClientEnd, now: Now) {}
    pub fn on_lane_open(&mut self, lane: LaneId, now: Now) {}
    pub fn on_lane_bytes(&mut self, lane: LaneId, bytes: &[u8], now: Now) {}
    pub fn on_lane_sent(&mut self, lane: LaneId, bytes: usize) {}
    /// Not after `Ask::CloseLane`; a stale id is ignored.
    pub fn on_lane_closed(&mut self, lane: LaneId, end: LaneEnd, now: Now) {}
    pub fn on_topology(&mut self, topology: Arc<Topology>, now: Now) {}
    pub fn on_script(&mut self, script: Arc<Script>) {}
    pub fn on_turn(&mut self, now: Now) {}
    /// When `on_turn` is needed again if nothing else happens, in `Now::mono_us`.
    pub fn next_deadline(&self) -> Option<u64> {
        None
    }
    pub fn next_ask(&mut self) -> Option<Ask> {
        None
    }
    /// Each dirty connection once.
    pub fn next_dirty(&mut self) -> Option<Dirty> {
        None
    }
    /// Moves all that waits for this connection behind what is in `into`; gives the number of
    /// bytes (0 for an id that is dead). Not to be called while an earlier output is still being
    /// sent: call it again when that is done, dirty or not.
    pub fn take_output(&mut self, of: Dirty, into: &mut VecDeque<Vec<u8>>) -> usize {
        0
    }
    /// A chunk whose bytes have all gone to the kernel (or never will).
    pub fn recycle(&mut self, chunk: Vec<u8>) {}
    pub fn next_report(&mut self) -> Option<Report> {
        None
    }
    /// No client is connected (for the end of a drain).
    pub fn is_quiet(&self) -> bool {
        true
    }
}
