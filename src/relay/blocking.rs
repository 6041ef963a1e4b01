//! Blocking commands: each on a private connection, as long as it may block.
//!
//! ```text
//!  block ─▶ begin_blocking ─▶ borrow ─▶ send_blocking ─▶ the reply ─▶ settle_private ─▶ give_back
//!           (its turn)           └─ waits ─▶ on_lent ─┘      └─ lost ─▶ move_blocked ─▶ wait_again
//! ```
//!
//! The client is not read on meanwhile, as with redis, and its command does not begin before what it
//! asked for earlier is answered. When the connection is lost, or its server is no primary any more,
//! the wait goes on elsewhere with the time that is left: a pop whose reply was lost with the
//! connection is lost, as with redis itself.

use crate::base::ids::{ClientId, LaneId, ShardId};
use crate::base::limits::BLOCK_GRACE_MS;
use crate::base::time::{Now, US_PER_MS};
use crate::command::model::{Command, Patience};
use crate::command::patience::{self, FOR_EVER_US};
use crate::command::shape::Asked;
use crate::relay::Relay;
use crate::relay::client::{Phase, Stall};
use crate::relay::dispatch::Outcome;
use crate::relay::fate::KEPT_LIMITS;
use crate::relay::lane::{Flow, LaneState, NEVER_US, Target, Token};
use crate::relay::lanes::Loss;
use crate::relay::pair::Reply;
use crate::relay::private::{Borrowed, NotLent};
use crate::relay::refusal::is_refusal;
use crate::resp::args::Request;
use crate::resp::encode::{self, Encoder};
use crate::resp::request::RequestParser;
use crate::resp::value;
use crate::stats::cells::{PoolMetric, ShardMetric};

/// So late may a command be sent with its time as the client gave it, µs: it takes a connection some
/// ms to be there.
const UNCHANGED_US: u64 = 100 * US_PER_MS;

const BLOCKS_GUARDING: &str = "ERR who watches keys can not block through this proxy: its private \
                               connection has to remember them; send UNWATCH or EXEC before";

/// What a client that blocks has asked for.
#[derive(Debug)]
pub(super) struct Blocked {
    request: Vec<u8>,
    patience: Patience,
    asked: Asked,
    writes: bool,
    /// Its slot in the client's order.
    seq: u32,
    shard: ShardId,
    /// Which argument says for how long, and how long, µs; `None`: only the server knows.
    timeout: Option<(usize, u64)>,
    /// Until when it blocks, from when its turn came; `None`: that has not come yet.
    pub(super) until_us: Option<u64>,
    /// It is under way on the connection that the client has borrowed.
    sent: bool,
    /// A server was asked, be it an earlier one.
    was_sent: bool,
    /// CLIENT UNBLOCK was passed on: whatever comes is the end of it. Whether with an error.
    pub(super) unblocked: Option<bool>,
}

impl Blocked {
    pub(super) fn bytes(&self) -> usize {
        self.request.len()
    }
}

impl Relay {
    /// A command that may block.
    pub(super) fn block(
        &mut self,
        id: ClientId,
        command: &'static Command,
        patience: Patience,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        if !patience::may_block(patience, command, request) {
            return self.forward(id, command, request, now);
        }
        let shard = match self.one_shard(id, command, request) {
            Ok(shard) => shard,
            Err(unroutable) => return self.answer_unroutable(id, command, unroutable),
        };
        if self.client(id).is_some_and(|client| client.guard.is_some()) {
            return self.refuse(id, BLOCKS_GUARDING);
        }
        let writes = command.may_write();
        if writes && self.unwritable && self.refuse_write(id, &[shard]) {
            return Outcome::Done;
        }
        if writes {
            self.note_own_write(id);
        }
        let Some(client) = self.clients.get_mut(id.index, id.generation) else {
            return Outcome::Done;
        };
        client.blocked = Some(Box::new(Blocked {
            request: request.bytes.to_vec(),
            patience,
            asked: command.asked(request.len()),
            writes,
            seq: client.order.push(&mut self.rings),
            shard,
            timeout: patience::timeout(patience, command, request),
            until_us: None,
            sent: false,
            was_sent: false,
            unblocked: None,
        }));
        client.stall = Some(Stall::Blocked);
        self.buffered_bytes += request.bytes.len();
        self.stats.pool(client.pool, PoolMetric::BlockedClients).add(1);
        self.begin_blocking(id, now);
        Outcome::Done
    }

    /// Begins what the client wants to block on, if all before it is answered.
    pub(super) fn begin_blocking(&mut self, id: ClientId, now: Now) {
        let Some(client) = self.open_client(id) else { return };
        let Some(blocked) = &mut client.blocked else { return };
        // Whoever has said goodbye is not popped for.
        if blocked.until_us.is_some() || !client.order.is_first(blocked.seq) || client.leaving {
            return;
        }
        let time_us = blocked.timeout.map_or(FOR_EVER_US, |(_, time_us)| time_us);
        let until_us = now.mono_us.saturating_add(time_us);
        blocked.until_us = Some(until_us);
        let shard = blocked.shard;
        match self.borrow(id, shard, until_us, now) {
            Borrowed::Lane(lane) => self.send_blocking(id, lane, now),
            Borrowed::Waits => {}
            Borrowed::Refused(text) => {
                self.count_forward_error(id);
                self.end_blocking(id, |_, out| encode::error(out, text));
            }
        }
    }

    /// The client has its private connection, which is Ready.
    pub(super) fn send_blocking(&mut self, id: ClientId, lane: u32, now: Now) {
        let Some(client) = self.clients.get(id.index, id.generation) else { return };
        let (pool, Some(blocked)) = (client.pool, &client.blocked) else { return };
        let (asked, shard, seq) = (blocked.asked, blocked.shard, blocked.seq);
        // What is there already is had however short the time is, and the connection took of it.
        let over = blocked.was_sent && blocked.until_us.is_none_or(|at_us| at_us <= now.mono_us);
        if blocked.writes && self.topology.shard(pool, shard).is_some_and(|known| !known.writable) {
            self.stats.shard(pool, shard, ShardMetric::WritesRefused).add(1);
            let text = self.unwritable_text(pool, shard);
            self.give_back(lane, true, now);
            return self.end_blocking(id, |_, out| encode::error(out, text));
        }
        if over {
            self.give_back(lane, true, now);
            return self.end_blocking(id, |encoder, out| encoder.null_array(out));
        }
        let (request, left_us) = blocked.request_at(now);
        let ends_us = now.mono_us.saturating_add(left_us);
        let ends_us = ends_us.saturating_add(BLOCK_GRACE_MS * US_PER_MS);
        let target = Target::Client { client: id, seq };
        if let Some(client) = self.clients.get_mut(id.index, id.generation)
            && let Some(blocked) = &mut client.blocked
        {
            (blocked.sent, blocked.was_sent) = (true, true);
        }
        let state = &mut self.lanes[lane as usize];
        debug_assert_eq!(state.state, LaneState::Ready);
        state.inflight.push_back(Token { target, since_us: NEVER_US, asked });
        if let Some(private) = &mut state.private {
            private.blocks_until_us = Some(ends_us);
        }
        self.sweep_us = self.sweep_us.min(ends_us);
        self.put_lane(lane, &request);
    }

    /// After bytes of a private connection: if what blocked is answered, the client goes on, and the
    /// connection is free.
    #[cold]
    pub(super) fn settle_private(&mut self, id: LaneId, now: Now) {
        let Some(lane) = self.lanes.get(id.index as usize) else { return };
        let Some(private) = &lane.private else { return };
        let Some(client) = private.client else { return self.settle_errand(id, now) };
        if !lane.blocks() {
            return self.settle_turn(id, client, now);
        }
        let open = |token: &Token| matches!(token.target, Target::Client { .. });
        if lane.generation != id.generation || lane.inflight.iter().any(open) {
            return;
        }
        let clean = lane.flow == Flow::Collect;
        self.forget_blocked(client);
        self.give_back(id.index, clean, now);
    }

    /// An error to what blocks: that its server is no primary (any more) is not passed on where the
    /// primary is watched; the wait goes on with the next one. `true`: that is so.
    #[cold]
    pub(super) fn take_back_blocked(
        &mut self,
        index: u32,
        token: Token,
        reply: &[u8],
        now: Now,
    ) -> bool {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return false };
        let unblocked = reply.starts_with(b"-UNBLOCKED force unblock");
        if !lane.blocks() || !lane.is_watched() || !(unblocked || is_refusal(reply)) {
            return false;
        }
        lane.inflight.push_front(token);
        lane.sent += 1;
        let text = value::error_text(reply).escape_ascii().to_string();
        self.lose_lane(index, format!("it answered {text}"), Loss::Failed, now);
        true
    }

    /// The connection on which the client blocked is lost, or could not be made.
    pub(super) fn move_blocked(
        &mut self,
        id: ClientId,
        (shard, loss): (ShardId, Loss),
        asked: bool,
        now: Now,
    ) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        let (pool, Some(blocked)) = (client.pool, &mut client.blocked) else { return };
        let sent = std::mem::take(&mut blocked.sent);
        if sent && !asked {
            return self.forget_blocked(id); // answered
        }
        if client.phase == Phase::Closed {
            return; // the reactor was asked to close it
        }
        if let Some(with_error) = blocked.unblocked {
            return self.end_unblocked(id, with_error);
        }
        let until_us = blocked.until_us.unwrap_or(now.mono_us);
        let known = blocked.timeout.is_some();
        if sent && (!known || loss == Loss::Overdue) {
            let why = if loss == Loss::Overdue { "Connection timed out" } else { "not connected" };
            let text = self.shard_error(pool, shard, why);
            return self.end_blocking(id, |_, out| encode::error(out, text));
        }
        if sent {
            self.stats.shard(pool, shard, ShardMetric::WaitsMoved).add(1);
        }
        if self.is_down_too_long(pool, shard, now) {
            return self.end_waiting(id, shard, NotLent::Down);
        }
        self.wait_again(id, (pool, shard), until_us, !sent);
    }

    /// The time of what blocks is over, and its server has not said so; gives when that will be.
    pub(super) fn sweep_blocking(&mut self, index: u32, now: Now) -> Option<u64> {
        let lane = &self.lanes[index as usize];
        let until_us = lane.private.as_ref().and_then(|private| private.blocks_until_us)?;
        if now.mono_us < until_us {
            return Some(until_us);
        }
        // Long, but it is coming: half of it may have gone to the client, and it is popped.
        let coming = lane.flow != Flow::Collect || !lane.tail.is_empty();
        let until_us = lane.heard_us.saturating_add(BLOCK_GRACE_MS * US_PER_MS);
        if coming && now.mono_us < until_us {
            return Some(until_us);
        }
        let (pool, shard) = (lane.pool, lane.shard);
        let client = lane.private.as_ref().and_then(|private| private.client);
        let blocked = client.and_then(|id| self.client(id)).and_then(|it| it.blocked.as_ref());
        let unblocked = blocked.and_then(|it| it.unblocked).filter(|_| !coming);
        if let (Some(id), Some(with_error)) = (client, unblocked) {
            self.give_back(index, false, now); // its server was told before it was asked to wait
            self.end_unblocked(id, with_error);
            return None;
        }
        self.stats.shard(pool, shard, ShardMetric::ServerTimedout).add(1);
        self.lose_lane(index, "Connection timed out".to_owned(), Loss::Overdue, now);
        None
    }

    /// The client waited for a connection, in vain.
    pub(super) fn end_waiting(&mut self, id: ClientId, shard: ShardId, why: NotLent) {
        let Some(pool) = self.client(id).map(|client| client.pool) else { return };
        match why {
            // Nothing came for it in its time.
            NotLent::Late => self.end_blocking(id, |encoder, out| encoder.null_array(out)),
            NotLent::Down => {
                let text = self.down_text(pool, shard);
                self.count_forward_error(id);
                self.end_blocking(id, |_, out| encode::error(out, text));
            }
        }
    }

    /// Answers what the client blocks on; it has given back what it borrowed.
    pub(super) fn end_blocking(&mut self, id: ClientId, write: impl FnOnce(Encoder, &mut Vec<u8>)) {
        let Some(client) = self.client(id) else { return };
        let (protocol, Some(blocked)) = (client.protocol, &client.blocked) else { return };
        let seq = blocked.seq;
        let mut reply = Vec::new();
        write(Encoder::new(protocol), &mut reply);
        self.forget_blocked(id);
        self.deliver(id, seq, Reply::Lent(&reply));
    }

    /// The client blocks no more.
    fn forget_blocked(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        let (pool, Some(blocked)) = (client.pool, client.blocked.take()) else { return };
        self.buffered_bytes = self.buffered_bytes.saturating_sub(blocked.bytes());
        self.stats.pool(pool, PoolMetric::BlockedClients).sub(1);
    }
}

impl Blocked {
    /// The request as it is sent now, and for how long it will block: with the time that is left, if
    /// some of it is over.
    fn request_at(&self, now: Now) -> (Vec<u8>, u64) {
        let Some((at, time_us)) = self.timeout else { return (self.request.clone(), FOR_EVER_US) };
        let left_us = self.until_us.map_or(time_us, |until_us| match time_us {
            FOR_EVER_US => FOR_EVER_US,
            _ => until_us.saturating_sub(now.mono_us),
        });
        if time_us - left_us < UNCHANGED_US {
            return (self.request.clone(), time_us);
        }
        let mut ranges = Vec::new();
        let parsed = RequestParser::default().parse(&self.request, &mut ranges, &KEPT_LIMITS);
        debug_assert!(parsed.is_ok(), "it was a request when it came");
        let request = Request { bytes: &self.request, ranges: &ranges };
        let left = patience::rest(self.patience, left_us);
        let words: Vec<&[u8]> = (0..request.len())
            .map(|place| if place == at { left.as_bytes() } else { request.arg(place) })
            .collect();
        let mut bytes = Vec::new();
        encode::request(&mut bytes, &words);
        (bytes, left_us)
    }
}
