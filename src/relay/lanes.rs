//! The life of lanes: connected when needed, greeted, fed, lost, connected again.

use std::collections::VecDeque;

use crate::base::buffer::Outbox;
use crate::base::ids::{LaneId, PoolId, ShardId};
use crate::base::limits::CROWDED_LANE_BYTES;
use crate::base::time::{Now, US_PER_MS};
use crate::relay::Relay;
use crate::relay::api::{Ask, Dirty, LaneEnd, Report};
use crate::relay::block::Block;
use crate::relay::client::Stall;
use crate::relay::fate::Lost;
use crate::relay::lane::{Flow, LaneState, Target, Token};
use crate::relay::pair::Reply;
use crate::relay::plants::{Plant, planted};
use crate::resp::reply::ReplyScanner;
use crate::resp::{Protocol, encode};
use crate::stats::cells::ShardMetric;

/// How long a lane without a known primary waits before it looks again (a new topology wakes it
/// earlier), ms.
const NO_PRIMARY_PAUSE_MS: u64 = 1_000;

/// The process has no descriptor for one more connection.
const EMFILE: i32 = 24;

impl Relay {
    /// Enqueues a request of `bytes` to come on a lane: takes its place in the order of replies.
    /// `false`: the lane is down; [`Relay::lane_error`] says why.
    #[inline]
    pub(super) fn enqueue(&mut self, index: u32, token: Token) -> bool {
        let lane = self.lanes.get(index as usize);
        let ready = lane.is_some_and(|lane| lane.state == LaneState::Ready);
        if (!ready || self.is_over_budget()) && !self.may_enqueue(index, token.since_us) {
            return false;
        }
        let Some(lane) = self.lanes.get_mut(index as usize) else { return false };
        lane.inflight.push_back(token);
        if !lane.plain {
            lane.begin_kept();
        }
        if lane.inflight.len() == 1
            && let Some(timeout_ms) = self.pools[lane.pool.index()].config.timeout_ms
        {
            self.sweep_us = self.sweep_us.min(token.since_us + timeout_ms * US_PER_MS);
        }
        true
    }

    /// Whether a lane takes a request: always, if it is ready and its core within the budget. One
    /// that nobody has asked for yet is connected.
    #[cold]
    pub(super) fn may_enqueue(&mut self, index: u32, now_us: u64) -> bool {
        if self.lanes.get(index as usize).is_some_and(|lane| lane.state == LaneState::Idle) {
            self.connect_lane(index, now_us);
        }
        let Some(lane) = self.lanes.get(index as usize) else { return false };
        let there = match lane.state {
            LaneState::Ready => true,
            _ if lane.watch.is_some() => self.may_hold(index, now_us),
            state => !matches!(state, LaneState::Idle | LaneState::Down { .. }),
        };
        let full = self.is_over_budget() && self.is_crowded(index);
        there && !full
    }

    /// The bytes of a request that was enqueued, copied.
    #[inline]
    pub(super) fn put_lane(&mut self, index: u32, bytes: &[u8]) {
        let Some(lane) = self.lanes.get(index as usize) else { return };
        if !lane.plain && !self.keep_bytes(index, bytes) {
            return;
        }
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        lane.outbox.put(bytes, &mut self.chunks);
        self.lane_bytes += bytes.len();
        if !lane.dirty {
            self.mark_lane(index);
        }
    }

    /// The bytes of a large request that was enqueued, passed on without a copy.
    pub(super) fn put_lane_owned(&mut self, index: u32, bytes: Vec<u8>) {
        let Some(lane) = self.lanes.get(index as usize) else { return };
        if !lane.plain && !self.keep_bytes(index, &bytes) {
            return self.chunks.give(bytes);
        }
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        self.lane_bytes += bytes.len();
        lane.outbox.put_owned(bytes, &mut self.chunks);
        self.mark_lane(index);
    }

    pub(super) fn put_lane_parts(&mut self, index: u32, parts: &mut Outbox) {
        let Some(lane) = self.lanes.get(index as usize) else { return };
        if !lane.plain && !parts.chunks().fold(true, |_, part| self.keep_bytes(index, part)) {
            return parts.clear(&mut self.chunks);
        }
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        self.lane_bytes += parts.bytes();
        lane.outbox.append(parts);
        self.mark_lane(index);
    }

    pub(super) fn mark_lane(&mut self, index: u32) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        if !lane.dirty && lane.state == LaneState::Ready {
            lane.dirty = true;
            self.dirty.push_back(Dirty::Lane(LaneId { index, generation: lane.generation }));
        }
    }

    /// Stops this client's requests while the lane that it feeds is full.
    #[inline]
    pub(super) fn stall_feeder(&mut self, index: u32, id: crate::base::ids::ClientId) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        let limits = &self.pools[lane.pool.index()].config.limits;
        if lane.inflight.len() < limits.lane_inflight_max
            && lane.output_bytes() < limits.lane_output_soft_bytes
        {
            return;
        }
        if let Some(client) = self.clients.get_mut(id.index, id.generation)
            && client.stall.is_none()
        {
            client.stall = Some(Stall::Lane(index));
            lane.feeders.push(id);
        }
    }

    /// Lets the clients go on that waited for this lane to drain, if it has.
    pub(super) fn release_feeders(&mut self, index: u32) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        if lane.feeders.is_empty() {
            return;
        }
        let limits = &self.pools[lane.pool.index()].config.limits;
        if lane.inflight.len() <= limits.lane_inflight_max / 2
            && lane.output_bytes() <= limits.lane_output_soft_bytes / 2
        {
            self.resumable.append(&mut lane.feeders);
        }
    }

    /// The core's buffers hold more than `core_buffer_max_bytes`.
    #[inline]
    pub(super) fn is_over_budget(&self) -> bool {
        self.buffered_bytes + self.lane_bytes > self.config.proxy.core_buffer_max_bytes
    }

    /// What fills the core's buffers is mostly requests in lanes, and this lane is one of those
    /// that do not get rid of theirs.
    #[cold]
    fn is_crowded(&self, index: u32) -> bool {
        let Some(lane) = self.lanes.get(index as usize) else { return false };
        self.lane_bytes > self.config.proxy.core_buffer_max_bytes / 2
            && lane.output_bytes().max(lane.kept_bytes()) >= CROWDED_LANE_BYTES
    }

    /// Why requests for this lane can not be served: an error reply.
    pub(super) fn lane_error(&self, index: u32, out: &mut Vec<u8>) {
        let Some(lane) = self.lanes.get(index as usize) else { return };
        if let Some(watch) = &lane.watch
            && !self.is_over_budget()
        {
            let hold = &self.holds[watch.hold as usize];
            let full = hold.kept_bytes >= self.pool(lane.pool).config.hold_bytes;
            return encode::error(out, self.held_text(lane.pool, lane.shard, full));
        }
        let why = match lane.why.as_str() {
            _ if self.is_over_budget() && self.is_crowded(index) => {
                "core_buffer_max_bytes is reached"
            }
            "" => "not connected",
            why => why,
        };
        encode::error(out, self.shard_error(lane.pool, lane.shard, why));
    }

    /// The text of an error that names its shard: `ERR Connection refused: shard s1 at host:port`.
    pub(super) fn shard_error(&self, pool: PoolId, shard: ShardId, why: &str) -> String {
        let config = &self.pool(pool).config;
        let name = config.shards.get(shard.index()).map_or("?", |shard| shard.name.as_str());
        match self.topology.shard(pool, shard).and_then(|shard| shard.primary.as_ref()) {
            Some(primary) => format!("ERR {why}: shard {name} at {primary}"),
            None => format!("ERR {why}: shard {name}"),
        }
    }

    /// Asks for a connection. `now_us` counts for its deadline.
    pub(super) fn connect_lane(&mut self, index: u32, now_us: u64) {
        let Some(lane) = self.lanes.get(index as usize) else { return };
        let (pool, shard) = (lane.pool, lane.shard);
        if lane.watch.is_some() && !self.is_verified(pool, shard) {
            self.lanes[index as usize].state = LaneState::Held;
            self.begin_wait(index, now_us);
            return self.begin_outage(pool, shard, now_us);
        }
        self.connect_to_primary(index, now_us);
    }

    /// Connects a lane wherever its primary is said to be.
    pub(super) fn connect_to_primary(&mut self, index: u32, now_us: u64) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        let endpoint = match &lane.replica {
            Some(replica) => Some(replica.endpoint.clone()),
            None => self.topology.shard(lane.pool, lane.shard).and_then(|s| s.primary.clone()),
        };
        let Some(endpoint) = endpoint else {
            lane.why = "no primary is known".to_owned();
            let until_us = now_us + NO_PRIMARY_PAUSE_MS * US_PER_MS;
            lane.state = LaneState::Down { until_us };
            self.sweep_us = self.sweep_us.min(until_us);
            return;
        };
        let config = &self.pools[lane.pool.index()].config;
        // Requests wait for the connection: it must be there, or given up, by their deadline (which
        // does not run while they are held).
        let waits = lane.watch.is_none() && lane.private.is_none();
        let deadline_ms = config.timeout_ms.filter(|_| waits).unwrap_or(u64::MAX);
        let wait_ms = deadline_ms.min(config.connect_timeout_ms);
        let until_us = now_us.saturating_add(wait_ms.saturating_mul(US_PER_MS));
        lane.generation = lane.generation.wrapping_add(1);
        lane.state = LaneState::Connecting { until_us };
        self.sweep_us = self.sweep_us.min(until_us);
        self.stats.shard(lane.pool, lane.shard, ShardMetric::LaneConnects).add(1);
        let id = LaneId { index, generation: lane.generation };
        self.asks.push_back(Ask::Connect { lane: id, endpoint });
    }

    /// Connects what is to be there before the first request.
    pub(super) fn preconnect(&mut self, now: Now) {
        for pool in 0..self.pools.len() as u16 {
            let config = self.pool(PoolId(pool)).config.clone();
            if !config.preconnect {
                continue;
            }
            let set = self.lane_set(PoolId(pool), Protocol::Resp2, config.database);
            let first = self.lane_sets[set as usize].first;
            let lanes = config.shards.len() * config.lanes_per_node.max(1);
            for index in first..first + lanes as u32 {
                if self.lanes[index as usize].state == LaneState::Idle {
                    self.connect_lane(index, now.mono_us);
                }
            }
        }
    }

    pub(super) fn take_lane_output(&mut self, id: LaneId, into: &mut VecDeque<Vec<u8>>) -> usize {
        let Some(lane) = self.lanes.get_mut(id.index as usize) else { return 0 };
        if lane.generation != id.generation {
            return 0;
        }
        let bytes = match lane.state {
            LaneState::Ready => {
                // Requests are counted as they leave: once a turn, not one by one.
                let requests = lane.inflight.len() - lane.sent;
                let fenced = requests > 0 || lane.is_tracker();
                if fenced && self.turn_us >= lane.fence.due_us && lane.private.is_none() {
                    self.put_fence(id.index);
                }
                let Some(lane) = self.lanes.get_mut(id.index as usize) else { return 0 };
                lane.sent = lane.inflight.len();
                let bytes = lane.outbox.take(into);
                let cells = |metric| self.stats.shard(lane.pool, lane.shard, metric);
                cells(ShardMetric::Requests).add(requests as u64);
                cells(ShardMetric::RequestBytes).add(bytes as u64);
                bytes
            }
            LaneState::Greeting { .. } if !lane.greeting.is_empty() => {
                let greeting = std::mem::take(&mut lane.greeting);
                let bytes = greeting.len();
                into.push_back(greeting);
                self.lane_bytes += bytes;
                bytes
            }
            _ => 0,
        };
        let Some(lane) = self.lanes.get_mut(id.index as usize) else { return 0 };
        lane.sending_bytes += bytes;
        bytes
    }

    /// The connection ended, or was never there. Not after `Ask::CloseLane`; a stale id is ignored.
    pub fn on_lane_closed(&mut self, id: LaneId, end: LaneEnd, now: Now) {
        let Some(lane) = self.lanes.get(id.index as usize) else { return };
        if lane.generation != id.generation {
            return;
        }
        let (why, loss) = match end {
            LaneEnd::Eof => ("Connection closed by server".to_owned(), Loss::Eof),
            // That says nothing of the server.
            LaneEnd::Error(EMFILE) => (error_text(EMFILE), Loss::TurnedAway),
            LaneEnd::Error(number) => (error_text(number), Loss::Failed),
        };
        self.lose_lane_at_its_end(id.index, why, loss, now);
    }

    /// The pairing on this lane can not be trusted any more.
    pub(super) fn desynchronised(&mut self, index: u32, why: &str, now: Now) {
        if let Some(lane) = self.lanes.get(index as usize) {
            self.stats.shard(lane.pool, lane.shard, ShardMetric::LaneDesynchronised).add(1);
        }
        self.lose_lane(index, format!("Connection out of step ({why})"), Loss::Failed, now);
    }

    /// Closes a lane that still has a connection.
    pub(super) fn lose_lane(&mut self, index: u32, why: String, loss: Loss, now: Now) {
        let Some(lane) = self.lanes.get(index as usize) else { return };
        self.asks.push_back(Ask::CloseLane(LaneId { index, generation: lane.generation }));
        self.lose_lane_at_its_end(index, why, loss, now);
    }

    /// What a lane's end means: everything in flight fails, with an error that names the shard.
    fn lose_lane_at_its_end(&mut self, index: u32, why: String, loss: Loss, now: Now) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        if lane.replica.is_some() {
            return self.lose_replica_lane(index, why, loss, now);
        }
        let (pool, shard) = (lane.pool, lane.shard);
        if matches!(lane.state, LaneState::Leaving { .. }) && self.has_primary(pool, shard) {
            return self.go_over(index, now);
        }
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        let connected = lane.is_connected();
        let cells = |metric| self.stats.shard(pool, shard, metric);
        if connected {
            cells(ShardMetric::ServerConnections).sub(1);
        } else {
            cells(ShardMetric::LaneConnectFailures).add(1);
        }
        cells(match loss {
            Loss::Eof => ShardMetric::ServerEof,
            Loss::Failed | Loss::TurnedAway | Loss::Overdue | Loss::Moved => ShardMetric::ServerErr,
        })
        .add(1);
        if lane.why != why && lane.private.is_none() {
            self.reports.push_back(Report::LaneDown { pool, shard, why: why.clone() });
        }
        let streaming =
            (lane.flow == Flow::Stream).then(|| lane.inflight.front().copied()).flatten();
        let lost = Lost {
            stood: lane.is_greeted(),
            sent: lane.sent,
            expired: lane.expired,
            streaming: streaming.is_some(),
            overdue: loss == Loss::Overdue,
            given_up: lane.sent > 0 && lane.watch.as_mut().is_some_and(|watch| watch.give_up()),
        };
        let (watched, private) = (lane.watch.is_some(), lane.private.is_some());
        let orphans = if watched { VecDeque::new() } else { std::mem::take(&mut lane.inflight) };
        lane.why = why;
        lane.failures = lane.failures.saturating_add(1);
        self.lane_bytes = self.lane_bytes.saturating_sub(lane.outbox.bytes());
        lane.outbox.clear(&mut self.chunks);
        lane.expired = 0;
        self.end_connection(index, connected);
        if let Some(Token { target: Target::Client { client, .. }, .. }) = streaming {
            self.drop_client(client); // it has half a reply: nothing true can follow that
        }
        self.scripts.forget_loaded(pool, shard);
        if private {
            return self.lose_private(index, loss, (orphans, lost.sent), now);
        }
        if watched {
            self.hold_lane(index, lost, loss, now);
        } else {
            self.schedule_reconnect(index, connected, now);
        }
        self.release_feeders(index);
        if self.lanes[index as usize].subscriber.is_some() {
            self.forget_subscriptions(index);
            if !watched {
                self.fail_waiters(index);
            }
            return;
        }
        if orphans.is_empty() {
            return;
        }
        let mut error = Vec::new();
        self.lane_error(index, &mut error);
        for token in orphans {
            self.fail(token.target, &error, now);
        }
    }

    /// Forgets what was this connection's; requests that were not sent stay.
    pub(super) fn end_connection(&mut self, index: u32, connected: bool) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        let heard = (lane.is_tracker() && lane.is_greeted()).then_some(lane.pool);
        // A stale answer of this connection must not find it: the generation ends here.
        lane.generation = lane.generation.wrapping_add(1);
        self.lane_bytes = self.lane_bytes.saturating_sub(lane.sending_bytes);
        lane.greeting = Vec::new();
        lane.tail = Vec::new();
        lane.scanner = ReplyScanner::default();
        lane.flow = Flow::Collect;
        lane.fence.forget();
        lane.block = Block::default();
        lane.sent = 0;
        lane.sending_bytes = 0;
        lane.dirty = false;
        if connected {
            lane.losses = lane.losses.wrapping_add(1);
            self.lost_lanes.push(index);
        }
        if let Some(pool) = heard
            && !planted(Plant::KeepUntold)
        {
            self.forget_all(pool);
        }
    }

    pub(super) fn has_primary(&self, pool: PoolId, shard: ShardId) -> bool {
        self.topology.shard(pool, shard).is_some_and(|shard| shard.primary.is_some())
    }

    /// A connection that stood is renewed at once, a second failure in a row waits.
    pub(super) fn schedule_reconnect(&mut self, index: u32, stood: bool, now: Now) {
        let pause_us = self.random.next();
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        if stood && lane.failures <= 1 {
            return self.connect_lane(index, now.mono_us);
        }
        let until_us = now.mono_us + pause_us % (lane.backoff_ms() * US_PER_MS);
        lane.state = LaneState::Down { until_us };
        self.sweep_us = self.sweep_us.min(until_us);
    }

    /// An error instead of a reply.
    pub(super) fn fail(&mut self, target: Target, error: &[u8], now: Now) {
        if self.reads_replicas {
            self.note_answered(target, now);
        }
        match target {
            Target::Client { client, seq } => self.deliver(client, seq, Reply::Lent(error)),
            Target::Gather { index, generation, part } => {
                self.gather_reply((index, generation), part, Reply::Lent(error), now);
            }
            Target::Fence | Target::Nobody => {}
        }
    }

    /// Gauges of queues, once a second.
    pub(super) fn write_lane_gauges(&mut self) {
        self.write_private_gauges();
        self.rest_trackers();
        for lane in &mut self.lanes {
            if let Some(watch) = &mut lane.watch {
                watch.give_back();
            }
            if let Some(replica) = &mut lane.replica {
                replica.kept.give_back();
            }
            for metric in [
                ShardMetric::InQueue,
                ShardMetric::InQueueBytes,
                ShardMetric::OutQueue,
                ShardMetric::OutQueueBytes,
                ShardMetric::Held,
            ] {
                self.stats.shard(lane.pool, lane.shard, metric).set(0);
            }
        }
        for lane in &self.lanes {
            let cells = |metric| self.stats.shard(lane.pool, lane.shard, metric);
            cells(ShardMetric::InQueueBytes).add(lane.output_bytes() as u64);
            cells(ShardMetric::OutQueue).add(lane.inflight.len() as u64);
            cells(ShardMetric::OutQueueBytes).add(lane.tail.len() as u64);
            if lane.watch.is_some() {
                cells(ShardMetric::Held).add(lane.held() as u64);
            }
        }
    }
}

/// How a lane was lost; each has its metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    Eof,
    Failed,
    /// The server answered the hand-shake with an error, or was not asked for want of descriptors.
    TurnedAway,
    /// Nothing came for a whole deadline.
    Overdue,
    /// The primary is another one: nothing is wrong.
    Moved,
}

/// The words of `strerror` for what happens to connections (twemproxy's clients know them).
fn error_text(number: i32) -> String {
    let text = std::io::Error::from_raw_os_error(number).to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}
