//! What a reactor needs of the heart it carries: the entry points of [`Relay`], as a trait.
//!
//! There is one real heart. The others are false ones for the reactor's own tests, and the bare
//! echo server that the proxy's cost is measured against. The reactor is compiled for each: no call
//! is virtual.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::ids::{ClientId, LaneId, PoolId};
use crate::base::time::Now;
use crate::relay::Relay;
use crate::relay::api::{Ask, ClientEnd, Dirty, LaneEnd, Peer, Report, Shared as News};
use crate::topology::Topology;

/// See [`Relay`], method by method.
pub trait Heart {
    fn on_client_open(
        &mut self,
        pool: PoolId,
        peer: Peer,
        now: Now,
    ) -> Result<ClientId, &'static [u8]>;
    fn on_client_bytes(&mut self, client: ClientId, bytes: &[u8], now: Now);
    /// Whether the next `bytes` bytes of this client had better be its own: see `on_client_chunk`.
    fn client_takes_chunk(&self, _client: ClientId, _bytes: usize) -> bool {
        false
    }
    /// As `on_client_bytes`, with the memory they lie in.
    fn on_client_chunk(&mut self, client: ClientId, chunk: Vec<u8>, now: Now) {
        self.on_client_bytes(client, &chunk, now);
    }
    fn on_client_sent(&mut self, client: ClientId, bytes: usize);
    fn on_client_closed(&mut self, client: ClientId, end: ClientEnd, now: Now);
    fn on_lane_open(&mut self, lane: LaneId, now: Now);
    fn on_lane_bytes(&mut self, lane: LaneId, bytes: &[u8], now: Now);
    /// As for clients.
    fn lane_takes_chunk(&self, _lane: LaneId, _bytes: usize) -> bool {
        false
    }
    fn on_lane_chunk(&mut self, lane: LaneId, chunk: Vec<u8>, now: Now) {
        self.on_lane_bytes(lane, &chunk, now);
    }
    fn on_lane_sent(&mut self, lane: LaneId, bytes: usize);
    fn on_lane_closed(&mut self, lane: LaneId, end: LaneEnd, now: Now);
    fn on_topology(&mut self, topology: Arc<Topology>, now: Now);
    fn on_shared(&mut self, news: News, now: Now);
    fn on_turn(&mut self, now: Now);
    fn next_deadline(&self) -> Option<u64>;
    fn next_ask(&mut self) -> Option<Ask>;
    fn next_dirty(&mut self) -> Option<Dirty>;
    fn take_output(&mut self, of: Dirty, into: &mut VecDeque<Vec<u8>>) -> usize;
    fn recycle(&mut self, chunk: Vec<u8>);
    fn next_report(&mut self) -> Option<Report>;
    fn is_quiet(&self) -> bool;
    /// No more requests: each client is closed when it has its replies.
    fn dismiss(&mut self, _now: Now) {}
    /// Whether replies to this client are still to come.
    fn waits(&self, _client: ClientId) -> bool {
        false
    }
    /// Whether so little waits to be sent to it that it may wait for those, too.
    fn may_hold_back(&self, _client: ClientId) -> bool {
        false
    }
    /// The client has said goodbye (FIN), but still waits for replies: it is closed when that is
    /// over. A heart that answers `false` loses the replies that are not in its outbox yet.
    fn owes(&mut self, client: ClientId) -> bool;
}

impl Heart for Relay {
    fn on_client_open(
        &mut self,
        pool: PoolId,
        peer: Peer,
        now: Now,
    ) -> Result<ClientId, &'static [u8]> {
        Relay::on_client_open(self, pool, peer, now)
    }
    fn on_client_bytes(&mut self, client: ClientId, bytes: &[u8], now: Now) {
        Relay::on_client_bytes(self, client, bytes, now);
    }
    fn client_takes_chunk(&self, client: ClientId, bytes: usize) -> bool {
        Relay::client_takes_chunk(self, client, bytes)
    }
    fn on_client_chunk(&mut self, client: ClientId, chunk: Vec<u8>, now: Now) {
        Relay::on_client_chunk(self, client, chunk, now);
    }
    fn dismiss(&mut self, now: Now) {
        Relay::dismiss(self, now);
    }
    fn on_client_sent(&mut self, client: ClientId, bytes: usize) {
        Relay::on_client_sent(self, client, bytes);
    }
    fn on_client_closed(&mut self, client: ClientId, end: ClientEnd, now: Now) {
        Relay::on_client_closed(self, client, end, now);
    }
    fn on_lane_open(&mut self, lane: LaneId, now: Now) {
        Relay::on_lane_open(self, lane, now);
    }
    fn on_lane_bytes(&mut self, lane: LaneId, bytes: &[u8], now: Now) {
        Relay::on_lane_bytes(self, lane, bytes, now);
    }
    fn lane_takes_chunk(&self, lane: LaneId, bytes: usize) -> bool {
        Relay::lane_takes_chunk(self, lane, bytes)
    }
    fn on_lane_chunk(&mut self, lane: LaneId, chunk: Vec<u8>, now: Now) {
        Relay::on_lane_chunk(self, lane, chunk, now);
    }
    fn on_lane_sent(&mut self, lane: LaneId, bytes: usize) {
        Relay::on_lane_sent(self, lane, bytes);
    }
    fn on_lane_closed(&mut self, lane: LaneId, end: LaneEnd, now: Now) {
        Relay::on_lane_closed(self, lane, end, now);
    }
    fn on_topology(&mut self, topology: Arc<Topology>, now: Now) {
        Relay::on_topology(self, topology, now);
    }
    fn on_shared(&mut self, news: News, now: Now) {
        Relay::on_shared(self, news, now);
    }
    fn on_turn(&mut self, now: Now) {
        Relay::on_turn(self, now);
    }
    fn next_deadline(&self) -> Option<u64> {
        Relay::next_deadline(self)
    }
    fn next_ask(&mut self) -> Option<Ask> {
        Relay::next_ask(self)
    }
    fn next_dirty(&mut self) -> Option<Dirty> {
        Relay::next_dirty(self)
    }
    fn take_output(&mut self, of: Dirty, into: &mut VecDeque<Vec<u8>>) -> usize {
        Relay::take_output(self, of, into)
    }
    fn recycle(&mut self, chunk: Vec<u8>) {
        Relay::recycle(self, chunk);
    }
    fn next_report(&mut self) -> Option<Report> {
        Relay::next_report(self)
    }
    fn is_quiet(&self) -> bool {
        Relay::is_quiet(self)
    }
    fn waits(&self, client: ClientId) -> bool {
        Relay::waits(self, client)
    }
    fn may_hold_back(&self, client: ClientId) -> bool {
        Relay::may_hold_back(self, client)
    }
    fn owes(&mut self, client: ClientId) -> bool {
        Relay::owes(self, client)
    }
}
