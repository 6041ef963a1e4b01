//! Whether a lane is in step: whether its replies still belong to its requests.
//!
//! Pairing is by position, so one reply too many or too few would give everybody behind it what is
//! another's. Nothing can be repaired then: the lane is closed, and what is in flight on it fails.
//! What proves it: a reply to nothing, a reply of a type or length that its command never gives, and
//! a fence that comes back as something else.

use crate::base::limits::TRACKER_PING_MS;
use crate::base::time::{Now, US_PER_MS};
use crate::command::model::Family;
use crate::command::shape::Asked;
use crate::relay::Relay;
use crate::relay::block::Fit;
use crate::relay::lane::{Flow, Lane, LaneState, Target, Token};
use crate::relay::lanes::Loss;
use crate::relay::plants::{Plant, planted};
use crate::resp::{Protocol, value};
use crate::stats::cells::ShardMetric;

/// Bytes of an unfinished reply between two looks at how much all lanes hold of such.
const LOOK_BYTES: usize = 1024 * 1024;

/// A question on a lane whose one right answer nobody else may hear: PING with a text that was never
/// used. It bounds in time what the shape of replies can not tell: values for values, moved by one.
#[derive(Debug, Default)]
pub(super) struct Fence {
    /// The next one goes behind the requests that leave at or after this time, `Now::mono_us`. A new
    /// connection's first requests have one behind them.
    pub(super) due_us: u64,
    /// One is under way, and one is enough: replies come in order.
    pending: bool,
    /// How many there have been: no two texts of a lane are the same …
    count: u64,
    /// … and none can be known before.
    secret: u64,
}

/// Hexadecimal digits of a fence's text: those of its secret, and those of its count.
const TEXT_BYTES: usize = 32;
const FENCE_HEAD: &[u8] = b"*2\r\n$4\r\nPING\r\n$32\r\n";

impl Fence {
    /// Its connection is gone.
    pub(super) fn forget(&mut self) {
        self.pending = false;
        self.due_us = 0;
    }

    fn text(&self) -> [u8; TEXT_BYTES] {
        let number = u128::from(self.secret) << 64 | u128::from(self.count);
        std::array::from_fn(|at| {
            let digit = (number >> (4 * (TEXT_BYTES - 1 - at))) as u8 & 15;
            if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
        })
    }
}

/// A reply is none of the types of its command: it may be the array that it gives, if that is
/// counted, or one to a block. Of one that went out in pieces `reply` is the last piece only: it was
/// looked at when the first one went.
#[cold]
pub(super) fn look_closer(
    lane: &mut Lane,
    asked: Asked,
    flow: Flow,
    (kind, reply): (u8, &[u8]),
) -> Fit {
    if asked.is_block {
        // Nothing is watched on a lane that is shared.
        let nil = lane.private.as_ref().map(|_| match lane.protocol {
            Protocol::Resp2 => b"*-1\r\n".as_slice(),
            Protocol::Resp3 => b"_\r\n",
        });
        return lane.block.hear(asked, (flow, nil), reply);
    }
    let counted = asked.elements != 0 && (flow != Flow::Collect || begins_as_counted(asked, reply));
    match counted || planted(Plant::SkipShape) {
        true => Fit::Answer,
        false => Fit::Never(of_type(kind)),
    }
}

fn of_type(kind: u8) -> String {
    format!("a reply of type '{}' that was not to come", kind.escape_ascii())
}

/// Whether a long reply, of which only the beginning is here, may be one to this request.
fn may_begin(lane: &Lane, asked: Asked, kind: u8) -> bool {
    if asked.is_block {
        return lane.block.is_over(asked) && begins_as_counted(asked, &lane.tail);
    }
    lane.kinds.and(asked.kinds).has(kind)
        || (asked.elements != 0 && begins_as_counted(asked, &lane.tail))
}

pub(super) fn begins_as_counted(asked: Asked, reply: &[u8]) -> bool {
    match reply.first() {
        Some(b'*') => value::elements(reply)
            .is_some_and(|elements| asked.allows_array(elements.left() as u64)),
        // Attributes stand in front; redis sends none but on demand.
        Some(b'|') => true,
        _ => false,
    }
}

impl Relay {
    /// A reply that its request can not have.
    #[cold]
    pub(super) fn out_of_step(&mut self, index: u32, kind: u8, now: Now) {
        self.desynchronised(index, &of_type(kind), now);
    }

    /// A push answers nothing. A tracker has asked for invalidations; on another lane RESP3 may have
    /// some all the same, RESP2 has not even the type.
    #[cold]
    pub(super) fn on_push(&mut self, index: u32, (flow, push): (Flow, &[u8]), now: Now) {
        let Some(lane) = self.lanes.get(index as usize) else { return };
        if lane.protocol == Protocol::Resp2 {
            self.out_of_step(index, b'>', now);
        } else if lane.is_tracker() {
            self.on_invalidation(index, flow, push, now);
        }
    }

    /// A private connection comes back: now and then a fence tells whether it is in step, before
    /// anything else that the next client hears.
    pub(super) fn prove_in_step(&mut self, index: u32) {
        let due = self.lanes.get(index as usize).is_some_and(|lane| {
            lane.state == LaneState::Ready && self.turn_us >= lane.fence.due_us
        });
        if due {
            self.put_fence(index);
            self.mark_lane(index);
        }
    }

    /// The fence's time has come on a lane that has requests to send.
    #[cold]
    pub(super) fn put_fence(&mut self, index: u32) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        let interval_ms = match lane.is_tracker() {
            true => TRACKER_PING_MS,
            false => self.pools[lane.pool.index()].config.fence_interval_ms,
        };
        if interval_ms == 0 {
            lane.fence.due_us = u64::MAX;
            return;
        }
        lane.fence.due_us = self.turn_us + interval_ms * US_PER_MS;
        if std::mem::replace(&mut lane.fence.pending, true) {
            return;
        }
        lane.fence.count += 1;
        lane.fence.secret = self.random.next();
        let before_us = lane.inflight.back().map_or(0, |token| token.since_us);
        lane.inflight.push_back(Token {
            target: Target::Fence,
            since_us: before_us.max(self.turn_us),
            asked: Asked::of(Family::Connection, b"$"),
        });
        if !lane.plain {
            lane.begin_kept(); // and nothing of it is kept: it belongs to this connection
        }
        let text = lane.fence.text();
        for part in [FENCE_HEAD, &text, b"\r\n"] {
            lane.outbox.put(part, &mut self.chunks);
            self.lane_bytes += part.len();
        }
        self.stats.shard(lane.pool, lane.shard, ShardMetric::Fences).add(1);
    }

    /// A server that is loading, or can not write its disk, refuses PING, too: an error proves
    /// nothing, and the next fence will tell.
    #[cold]
    pub(super) fn on_fence_reply(&mut self, index: u32, reply: &[u8], now: Now) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        lane.fence.pending = false;
        lane.expired = lane.expired.saturating_sub(1);
        let right = value::bulk(reply) == Some(Some(&lane.fence.text()));
        if right || value::is_error(reply) {
            return self.drop_kept(index, now);
        }
        self.give_up_oldest(index);
        self.desynchronised(index, "a fence came back as something else", now);
    }

    /// A reply has become long by `bytes` more, and is not there yet. `false`: the lane is closed.
    #[cold]
    pub(super) fn may_go_on(&mut self, index: u32, bytes: usize, now: Now) -> bool {
        let Some(lane) = self.lanes.get(index as usize) else { return false };
        if !lane.is_greeted() {
            self.desynchronised(index, "the hand-shake was answered without end", now);
            return false;
        }
        let kind = lane.scanner.kind();
        let fenced = lane.inflight.front().is_some_and(|token| token.target == Target::Fence);
        if fenced && kind != Some(b'>') {
            self.desynchronised(index, "a fence came back as something else", now);
            return false;
        }
        let asked = lane.inflight.front().map(|token| token.asked);
        if let (Some(kind), Some(asked)) = (kind, asked)
            && kind != b'>'
            && !may_begin(lane, asked, kind)
        {
            self.out_of_step(index, kind, now);
            return false;
        }
        let collected = lane.tail.len();
        if collected / LOOK_BYTES > (collected - bytes) / LOOK_BYTES && self.collects_too_much() {
            let why = "core_buffer_max_bytes is reached by a reply that does not end".to_owned();
            self.lose_lane(index, why, Loss::Failed, now);
            return false;
        }
        true
    }

    /// Replies that have to be collected (parts of a merged one, those whose turn has not come) are
    /// in no client's account yet: all of them together may take what a core may buffer.
    fn collects_too_much(&self) -> bool {
        let bytes: usize = self.lanes.iter().map(|lane| lane.tail.len()).sum();
        bytes > self.config.proxy.core_buffer_max_bytes
    }
}
