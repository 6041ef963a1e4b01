//! Pairing: from a lane's bytes to replies, each to whom it belongs, by position alone.

use crate::base::ids::{ClientId, LaneId, PoolId};
use crate::base::limits::REPLY_STREAM_BYTES;
use crate::base::time::Now;
use crate::relay::api::{Ask, Dirty};
use crate::relay::block::Fit;
use crate::relay::client::{Client, Phase, Stall};
use crate::relay::lane::{Flow, LaneState, NEVER_US, Target, Token};
use crate::relay::order::{EARLY_REPLY_BYTES_MAX, Ready, Replies};
use crate::relay::plants::{Plant, planted};
use crate::relay::pool::Pool;
use crate::relay::{Relay, give_spare, step};
use crate::resp::reply::Scanned;
use crate::stats::cells::ShardMetric;

/// A whole reply: lent where it lies in the receive buffer, or owned if it had to be collected.
pub(super) enum Reply<'a> {
    Lent(&'a [u8]),
    Owned(Vec<u8>),
}

impl Reply<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Reply::Lent(bytes) => bytes,
            Reply::Owned(bytes) => bytes,
        }
    }
}

impl Relay {
    /// Bytes of a node, in order.
    pub fn on_lane_bytes(&mut self, id: LaneId, bytes: &[u8], now: Now) {
        let Some(lane) = self.lanes.get_mut(id.index as usize) else { return };
        if lane.generation != id.generation && !planted(Plant::SkipGeneration) {
            return;
        }
        lane.heard_us = now.mono_us;
        let cell = self.stats.shard(lane.pool, lane.shard, ShardMetric::ResponseBytes);
        cell.add(bytes.len() as u64);
        self.pair_all(id, bytes, now);
        if let Some(lane) = self.lanes.get_mut(id.index as usize) {
            let replies = std::mem::take(&mut lane.uncounted);
            self.stats.shard(lane.pool, lane.shard, ShardMetric::Responses).add(replies);
            if lane.private.is_some() {
                self.settle_private(id, now);
            }
        }
        self.release_feeders(id.index);
    }

    fn pair_all(&mut self, id: LaneId, bytes: &[u8], now: Now) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(lane) = self.lanes.get_mut(id.index as usize) else { return };
            if lane.generation != id.generation && !planted(Plant::SkipGeneration) {
                return; // closed by what the last reply told
            }
            match lane.scanner.scan(rest) {
                Ok(Scanned::Reply { bytes, kind }) => {
                    let (reply, next) = rest.split_at(bytes.min(rest.len()));
                    rest = next;
                    self.on_reply(id.index, kind, reply, now);
                }
                Ok(Scanned::More) => return self.on_part_of_reply(id.index, rest, now),
                Err(error) => {
                    let why = format!("broken reply: {error}");
                    return self.desynchronised(id.index, &why, now);
                }
            }
        }
    }

    /// Whether the next `bytes` bytes of this lane are the middle of a value on its way to a
    /// client: then they need not be copied.
    pub fn lane_takes_chunk(&self, id: LaneId, bytes: usize) -> bool {
        self.lanes.get(id.index as usize).is_some_and(|lane| {
            lane.generation == id.generation
                && lane.flow == Flow::Stream
                && lane.scanner.body_left() >= bytes as u64
        })
    }

    /// As [`on_lane_bytes`](Relay::on_lane_bytes), if that was wanted.
    pub fn on_lane_chunk(&mut self, id: LaneId, chunk: Vec<u8>, now: Now) {
        let takes = self.lane_takes_chunk(id, chunk.len());
        let target = match self.lanes.get_mut(id.index as usize) {
            Some(lane) if takes => lane.inflight.front().map(|token| token.target),
            _ => None,
        };
        let live = match target {
            Some(Target::Client { client, .. }) => self.live_client(client).map(|_| client),
            _ => None,
        };
        let (Some(client), Some(lane)) = (live, self.lanes.get_mut(id.index as usize)) else {
            return self.on_lane_bytes(id, &chunk, now);
        };
        lane.heard_us = now.mono_us;
        let cell = self.stats.shard(lane.pool, lane.shard, ShardMetric::ResponseBytes);
        cell.add(chunk.len() as u64);
        let scanned = lane.scanner.scan(&chunk);
        debug_assert_eq!(scanned, Ok(Scanned::More), "a body's CRLF is still to come");
        self.put_client(client, Reply::Owned(chunk));
    }

    /// The last piece (often the only one) of a reply.
    #[inline]
    fn on_reply(&mut self, index: u32, kind: u8, piece: &[u8], now: Now) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        let flow = std::mem::replace(&mut lane.flow, Flow::Collect);
        let reply = if lane.tail.is_empty() {
            Reply::Lent(piece)
        } else {
            let mut tail = std::mem::take(&mut lane.tail);
            tail.extend_from_slice(piece);
            Reply::Owned(tail)
        };
        if lane.state != LaneState::Ready && !lane.is_greeted() {
            self.on_greeting_reply(index, reply.bytes(), now);
            return;
        }
        if kind == b'>' {
            return self.on_push(index, (flow, reply.bytes()), now);
        }
        let sent = lane.sent;
        if planted(Plant::SwapTokens) && sent > 1 && now.mono_us.is_multiple_of(7) {
            lane.inflight.swap(0, 1);
        }
        let Some(token) = lane.inflight.pop_front_if(|_| sent > 0) else {
            return self.on_unpaired(index, (kind, reply.bytes()), now);
        };
        if !lane.kinds.and(token.asked.kinds).has(kind) {
            match step::look_closer(lane, token.asked, flow, (kind, reply.bytes())) {
                Fit::Answer => {}
                Fit::Ahead => return lane.inflight.push_front(token),
                Fit::Never(why) => {
                    lane.inflight.push_front(token);
                    return self.desynchronised(index, &why, now);
                }
            }
        }
        lane.sent = sent.saturating_sub(1);
        lane.failures = 0;
        let (pool, shard) = (lane.pool, lane.shard);
        if token.target == Target::Fence {
            return self.on_fence_reply(index, reply.bytes(), now);
        }
        lane.uncounted += 1;
        if lane.expired > 0 {
            lane.expired -= 1;
            self.stats.shard(pool, shard, ShardMetric::LateReplies).add(1);
            return self.drop_kept(index, now);
        }
        if !lane.plain && self.mind_reply(index, token, (kind, reply.bytes()), now) {
            return;
        }
        let is_error = kind == b'-' || kind == b'!';
        if is_error && self.on_error(index, token, reply.bytes(), now) {
            return;
        }
        match token.target {
            Target::Client { client, seq } => {
                self.note_latency(pool, token, now);
                match flow {
                    Flow::Collect => self.deliver(client, seq, reply),
                    Flow::Stream => {
                        self.stream(client, piece);
                        self.end_stream(client);
                    }
                    Flow::Drop => self.swallow(client, seq),
                }
            }
            Target::Gather { index, generation, part } => {
                self.gather_reply((index, generation), part, reply, now);
            }
            Target::Fence | Target::Nobody => {}
        }
    }

    #[inline]
    fn note_latency(&mut self, pool: PoolId, token: Token, now: Now) {
        if token.since_us != NEVER_US {
            let waited_us = now.mono_us.saturating_sub(token.since_us);
            let waited_us = waited_us.min(u64::from(u32::MAX)) as u32;
            self.latency.record(pool, token.asked.family, waited_us);
        }
    }

    /// An error of the server. `true`: it is not over, and nobody hears of it.
    #[cold]
    fn on_error(&mut self, index: u32, token: Token, reply: &[u8], now: Now) -> bool {
        let Some(lane) = self.lanes.get(index as usize) else { return false };
        self.stats.shard(lane.pool, lane.shard, ShardMetric::ErrorReplies).add(1);
        self.take_back_blocked(index, token, reply, now)
            || self.take_back_turn(index, token, reply, now)
    }

    /// A piece of a reply that goes on.
    fn on_part_of_reply(&mut self, index: u32, piece: &[u8], now: Now) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        let target = match lane.inflight.front().filter(|_| lane.sent > 0) {
            _ if !lane.is_greeted() => None,
            _ if lane.scanner.kind() == Some(b'>') => {
                (!lane.collects_push()).then_some(Target::Nobody)
            }
            Some(token) => Some(token.target),
            None if lane.subscriber.is_some() => None,
            None => {
                self.desynchronised(index, "a reply that nobody asked for", now);
                return;
            }
        };
        match lane.flow {
            Flow::Drop => {}
            Flow::Collect => {
                lane.tail.extend_from_slice(piece);
                // A value says how long it will be.
                let known_bytes = lane.tail.len() as u64 + lane.scanner.body_left();
                if known_bytes < REPLY_STREAM_BYTES as u64
                    || !self.may_go_on(index, piece.len(), now)
                {
                    return;
                }
                match target {
                    Some(Target::Nobody) => self.drop_rest(index),
                    _ if self.takes_back_reply(index) => self.drop_rest(index),
                    Some(Target::Client { client, seq }) => self.begin_stream(index, client, seq),
                    _ => {}
                }
            }
            Flow::Stream => match target {
                Some(Target::Client { client, .. }) => {
                    if !self.stream(client, piece) {
                        self.drop_rest(index);
                    }
                }
                _ => self.drop_rest(index),
            },
        }
    }

    fn drop_rest(&mut self, index: u32) {
        if let Some(lane) = self.lanes.get_mut(index as usize) {
            lane.flow = Flow::Drop;
            lane.tail = Vec::new();
        }
    }

    /// A long reply is under way: if it is the client's next, its bytes go out as they come.
    fn begin_stream(&mut self, index: u32, client: ClientId, seq: u32) {
        let wanted = self.live_client(client).filter(|client| !client.order.is_muted(seq));
        let Some(state) = wanted else { return self.drop_rest(index) };
        if !state.order.is_first(seq) {
            return; // it is collected until those before it have left
        }
        state.streaming = true;
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        lane.flow = Flow::Stream;
        let tail = std::mem::take(&mut lane.tail);
        self.put_client(client, Reply::Owned(tail));
    }

    /// Passes a piece on to a client; `false` if it is gone.
    fn stream(&mut self, client: ClientId, piece: &[u8]) -> bool {
        if self.live_client(client).is_none() {
            return false;
        }
        self.put_client(client, Reply::Lent(piece));
        true
    }

    /// A whole reply for the slot `seq` of a client: out at once if it is the next, kept else.
    #[inline]
    pub(super) fn deliver(&mut self, id: ClientId, seq: u32, reply: Reply<'_>) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        if client.phase == Phase::Closed || (planted(Plant::DropSlot) && seq % 16 == 7) {
            return;
        }
        if !client.order.is_first(seq) {
            return self.keep(id, seq, reply);
        }
        if client.order.is_muted(seq) && !planted(Plant::HearMuted) {
            return self.end_first_slot(id);
        }
        self.buffered_bytes += reply.bytes().len();
        match reply {
            Reply::Lent(bytes) => client.outbox.put(bytes, &mut self.chunks),
            Reply::Owned(bytes) => client.outbox.put_owned(bytes, &mut self.chunks),
        }
        if !client.dirty {
            client.dirty = true;
            self.dirty.push_back(Dirty::Client(id));
        }
        if client.output_bytes() > client_output_max_bytes(&self.pools, client) {
            self.close_for_output(id);
            return self.end_first_slot(id);
        }
        client.order.pop();
        if client.order.waits() && client.stall.is_none() {
            return; // nothing follows from it
        }
        self.after_first_slot(id);
    }

    /// A reply that comes before its turn.
    pub(super) fn keep(&mut self, id: ClientId, seq: u32, reply: Reply<'_>) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        let kept = match reply {
            Reply::Owned(large) if large.len() > EARLY_REPLY_BYTES_MAX => {
                client.order.keep_owned(seq, large)
            }
            small => client.order.keep(seq, small.bytes(), &mut self.rings),
        };
        let Some(bytes) = kept else {
            debug_assert!(false, "a slot is answered exactly once");
            return;
        };
        client.held_bytes += bytes;
        self.buffered_bytes += bytes;
        if client.output_bytes() > client_output_max_bytes(&self.pools, client) {
            self.close_for_output(id);
        }
    }

    /// A reply has ended whose bytes went nowhere, be it that nobody wants it, or nobody is there.
    fn swallow(&mut self, id: ClientId, seq: u32) {
        if self.live_client(id).is_some_and(|client| client.order.is_muted(seq)) {
            self.deliver(id, seq, Reply::Lent(b""));
        }
    }

    /// The first slot's reply has left, or is nobody's: those behind it that are ready leave.
    pub(super) fn end_first_slot(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        client.order.pop();
        self.after_first_slot(id);
        if let Some(client) = self.clients.get_mut(id.index, id.generation)
            && !client.dirty
            && !client.outbox.is_empty()
        {
            client.dirty = true;
            self.dirty.push_back(Dirty::Client(id));
        }
    }

    /// What follows when a client's first slot has gone.
    fn after_first_slot(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        while let Some(reply) = client.order.pop_ready() {
            // What was held now waits in the outbox: the core's budget stays as it is.
            let bytes = match reply {
                Ready::Lent(bytes) => {
                    client.outbox.put(bytes, &mut self.chunks);
                    bytes.len()
                }
                Ready::Owned(reply) => {
                    let bytes = reply.len();
                    client.outbox.put_owned(reply, &mut self.chunks);
                    bytes
                }
            };
            client.held_bytes = client.held_bytes.saturating_sub(bytes);
        }
        // What may follow from a slot that became free.
        if client.order.is_empty() {
            client.order.give_ring(&mut self.rings);
            if client.phase == Phase::Closing {
                client.phase = Phase::Closed;
                self.asks.push_back(Ask::FinishClient(id));
                return;
            }
        }
        let resumes = match client.stall {
            Some(Stall::Lanes) => client.order.is_empty(),
            // Its own slot is the last one.
            Some(Stall::Blocked | Stall::Turn) => client.order.len() <= 1,
            _ => false,
        };
        if resumes {
            if !client.resuming {
                client.resuming = true;
                self.resumable.push(id);
            }
            if client.unsaid && client.order.is_empty() {
                client.unsaid = false;
                return self.send_pushes(id);
            }
        }
        if client.stall == Some(Stall::Inflight) && !client.resuming {
            let max = self.pools[client.pool.index()].config.limits.client_inflight_max;
            if client.order.len() <= max / 2 {
                client.resuming = true;
                self.resumable.push(id);
            }
        }
    }

    /// Puts bytes that leave next into the client's outbox.
    #[inline]
    pub(super) fn put_client(&mut self, id: ClientId, reply: Reply<'_>) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        self.buffered_bytes += reply.bytes().len();
        match reply {
            Reply::Lent(bytes) => client.outbox.put(bytes, &mut self.chunks),
            Reply::Owned(bytes) => client.outbox.put_owned(bytes, &mut self.chunks),
        }
        if !client.dirty {
            client.dirty = true;
            self.dirty.push_back(Dirty::Client(id));
        }
        self.check_output(id);
    }

    /// A client for which too much waits is closed: it does not read.
    #[inline]
    pub(super) fn check_output(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        if client.output_bytes() > client_output_max_bytes(&self.pools, client) {
            self.close_for_output(id);
        }
    }

    /// Closes a client at once.
    pub(super) fn drop_client(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        if client.phase != Phase::Closed {
            client.phase = Phase::Closed;
            self.asks.push_back(Ask::DropClient(id));
        }
    }

    /// No more requests of this client; it is closed when its last reply has left.
    pub(super) fn finish_after_replies(&mut self, id: ClientId) {
        let client = self.clients.get_mut(id.index, id.generation);
        let Some(client) = client.filter(|client| client.phase == Phase::Open) else { return };
        client.phase = Phase::Closing;
        let mut tail = std::mem::take(&mut client.tail).len();
        client.tail_args = Vec::new();
        if let Some(mut large) = client.large.take() {
            tail += large.bytes();
            large.parts.clear(&mut self.chunks);
        }
        if let Some(mut transaction) = client.transaction.take() {
            tail += transaction.requests.bytes();
            transaction.requests.clear(&mut self.chunks);
        }
        let finished = client.order.is_empty();
        if finished {
            client.phase = Phase::Closed;
        }
        self.buffered_bytes = self.buffered_bytes.saturating_sub(tail);
        if finished {
            self.asks.push_back(Ask::FinishClient(id));
        }
    }

    /// A client to which bytes may still be sent.
    pub(super) fn live_client(&mut self, id: ClientId) -> Option<&mut Client> {
        self.client(id).filter(|client| client.phase != Phase::Closed)
    }

    /// A reply of our own, in the client's order. It takes its slot now.
    pub(super) fn answer(&mut self, id: ClientId, write: impl FnOnce(&mut Vec<u8>)) {
        let mut reply = self.spare();
        write(&mut reply);
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        if client.order.replies() != Replies::On {
            reply.clear();
            if client.order.is_empty() {
                client.order.spend_skip();
                return give_spare(&mut self.spares, reply);
            }
        }
        if client.order.is_empty() {
            self.put_client(id, Reply::Lent(&reply));
            give_spare(&mut self.spares, reply);
            return;
        }
        let seq = client.order.push(&mut self.rings);
        if reply.len() > EARLY_REPLY_BYTES_MAX {
            return self.keep(id, seq, Reply::Owned(reply));
        }
        self.keep(id, seq, Reply::Lent(&reply));
        give_spare(&mut self.spares, reply);
    }
}

/// So much may wait for this client.
#[inline]
fn client_output_max_bytes(pools: &[Pool], client: &Client) -> usize {
    pools[client.pool.index()].config.limits.client_output_max_bytes
}
