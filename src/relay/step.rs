//! Whether a lane is in step: whether its replies still belong to its requests.
//!
//! Pairing is by position, so one reply too many or too few would give everybody behind it what is
//! another's. Nothing can be repaired then: the lane is closed, and what is in flight on it fails.
//! What proves it: a reply to nothing, a reply of a type or length that its command never gives.

use crate::base::time::Now;
use crate::command::shape::Asked;
use crate::relay::Relay;
use crate::relay::lane::{Flow, LaneState};
use crate::relay::lanes::Loss;
use crate::resp::{Protocol, value};

/// Bytes of an unfinished reply between two looks at how much all lanes hold of such.
const LOOK_BYTES: usize = 1024 * 1024;

/// Whether a reply that is none of the types of its command is the array that it gives, which is
/// the case if that is counted. Of one that went out in pieces `reply` is the last piece only: it
/// was looked at when the first one went.
#[cold]
pub(super) fn is_counted_array(asked: Asked, flow: Flow, reply: &[u8]) -> bool {
    asked.elements != 0 && (flow != Flow::Collect || begins_as_counted(asked, reply))
}

fn begins_as_counted(asked: Asked, reply: &[u8]) -> bool {
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
        let why = format!("a reply of type '{}' that was not to come", kind.escape_ascii());
        self.desynchronised(index, &why, now);
    }

    /// A push answers nothing, and a shared lane has asked for none: RESP3 may have some all the
    /// same, RESP2 has not even the type.
    #[cold]
    pub(super) fn on_push(&mut self, index: u32, now: Now) {
        if self.lanes.get(index as usize).is_some_and(|lane| lane.protocol == Protocol::Resp2) {
            self.out_of_step(index, b'>', now);
        }
    }

    /// A reply has become long by `bytes` more, and is not there yet. `false`: the lane is closed.
    #[cold]
    pub(super) fn may_go_on(&mut self, index: u32, bytes: usize, now: Now) -> bool {
        let Some(lane) = self.lanes.get(index as usize) else { return false };
        if !matches!(lane.state, LaneState::Ready | LaneState::Stopped) {
            self.desynchronised(index, "the hand-shake was answered without end", now);
            return false;
        }
        let kind = lane.scanner.kind();
        let asked = lane.inflight.front().map(|token| token.asked);
        if let (Some(kind), Some(asked)) = (kind, asked)
            && kind != b'>'
            && !lane.kinds.and(asked.kinds).has(kind)
            && !(asked.elements != 0 && begins_as_counted(asked, &lane.tail))
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
