//! A heart that does nothing: each request is answered `+PONG`, whatever it was.
//!
//! It is what the proxy's cost is measured against (a bare echo server on the same reactor), and
//! what the reactor's own tests run. It reads just enough to count requests: arrays, and inline
//! commands. Never part of a proxy.

use std::collections::VecDeque;
use std::sync::Arc;

use super::heart::Heart;
use crate::base::buffer::{ChunkPool, Outbox};
use crate::base::ids::{ClientId, LaneId, PoolId};
use crate::base::slab::Slab;
use crate::base::time::Now;
use crate::relay::api::{Ask, ClientEnd, Dirty, LaneEnd, Peer, Report, Shared as News};
use crate::topology::Topology;

const PONG: &[u8] = b"+PONG\r\n";

#[derive(Debug, Default)]
struct EchoClient {
    outbox: Outbox,
    dirty: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Echo {
    clients: Slab<EchoClient>,
    dirty: VecDeque<ClientId>,
    pool: ChunkPool,
}

/// Arrays that begin in `bytes`, or lines if they are no arrays.
fn requests(bytes: &[u8]) -> usize {
    if bytes.first() != Some(&b'*') {
        return memchr::memchr_iter(b'\n', bytes).count();
    }
    let begins = |at: usize| at == 0 || bytes.get(at - 1) == Some(&b'\n');
    memchr::memchr_iter(b'*', bytes).filter(|at| begins(*at)).count()
}

impl Heart for Echo {
    fn on_client_open(
        &mut self,
        _pool: PoolId,
        _peer: Peer,
        _now: Now,
    ) -> Result<ClientId, &'static [u8]> {
        let (index, generation) = self.clients.insert(EchoClient::default());
        Ok(ClientId { index, generation })
    }

    fn on_client_bytes(&mut self, client: ClientId, bytes: &[u8], _now: Now) {
        let Some(entry) = self.clients.get_mut(client.index, client.generation) else { return };
        for _ in 0..requests(bytes) {
            entry.outbox.put(PONG, &mut self.pool);
        }
        if !entry.dirty && !entry.outbox.is_empty() {
            entry.dirty = true;
            self.dirty.push_back(client);
        }
    }

    fn on_client_sent(&mut self, _client: ClientId, _bytes: usize) {}

    fn on_client_closed(&mut self, client: ClientId, _end: ClientEnd, _now: Now) {
        if let Some(mut entry) = self.clients.remove(client.index, client.generation) {
            entry.outbox.clear(&mut self.pool);
        }
    }

    fn on_lane_open(&mut self, _lane: LaneId, _now: Now) {}
    fn on_lane_bytes(&mut self, _lane: LaneId, _bytes: &[u8], _now: Now) {}
    fn on_lane_sent(&mut self, _lane: LaneId, _bytes: usize) {}
    fn on_lane_closed(&mut self, _lane: LaneId, _end: LaneEnd, _now: Now) {}
    fn on_topology(&mut self, _topology: Arc<Topology>, _now: Now) {}
    fn on_shared(&mut self, _news: News, _now: Now) {}
    fn on_turn(&mut self, _now: Now) {}

    fn next_deadline(&self) -> Option<u64> {
        None
    }

    fn next_ask(&mut self) -> Option<Ask> {
        None
    }

    fn next_dirty(&mut self) -> Option<Dirty> {
        let client = self.dirty.pop_front()?;
        if let Some(entry) = self.clients.get_mut(client.index, client.generation) {
            entry.dirty = false;
        }
        Some(Dirty::Client(client))
    }

    fn take_output(&mut self, of: Dirty, into: &mut VecDeque<Vec<u8>>) -> usize {
        let Dirty::Client(client) = of else { return 0 };
        self.clients
            .get_mut(client.index, client.generation)
            .map_or(0, |entry| entry.outbox.take(into))
    }

    fn recycle(&mut self, chunk: Vec<u8>) {
        self.pool.give(chunk);
    }

    fn next_report(&mut self) -> Option<Report> {
        None
    }

    fn is_quiet(&self) -> bool {
        self.clients.is_empty()
    }

    fn owes(&mut self, client: ClientId) -> bool {
        let entry = self.clients.get(client.index, client.generation);
        entry.is_some_and(|entry| !entry.outbox.is_empty())
    }
}
