//! The order ring of a client: one slot for each request whose reply has not left yet.
//!
//! Replies leave in the order of the requests. The reply for the first slot needs no place here:
//! it goes straight to the client's outbox; one that comes early waits here for its turn.

use std::collections::VecDeque;

/// The place of one reply.
#[derive(Debug)]
enum Slot {
    /// Not answered yet.
    Waiting,
    /// The same, and its reply is nobody's: CLIENT REPLY OFF or SKIP.
    Muted,
    /// The whole reply lies in `Order::early` and waits for those before it.
    Early { start: u32, bytes: u32 },
    /// The same, too large to be copied there. Boxed, for it is rare and slots are many.
    #[expect(clippy::box_collection, reason = "16 bytes a slot instead of 24")]
    Large(Box<Vec<u8>>),
}

const _: () = assert!(size_of::<Slot>() <= 16, "slots are touched twice for each request");

impl Slot {
    /// The reply has come, and is nobody's. `None`: it had come before.
    #[cold]
    fn swallow(&mut self) -> Option<usize> {
        matches!(self, Slot::Muted).then(|| {
            *self = Slot::Early { start: 0, bytes: 0 };
            0
        })
    }
}

/// A reply whose turn has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ready<'a> {
    Lent(&'a [u8]),
    Owned(Vec<u8>),
}

/// Memory that no client has just now, kept for the next: rings of slots, and buffers for replies
/// that come early.
#[derive(Debug, Default)]
pub(super) struct Rings {
    slots: Vec<VecDeque<Slot>>,
    early: Vec<Vec<u8>>,
}

/// Rings kept, and slots of the largest that is: 1024 × 256 × 16 bytes = 4 MiB at the very most.
const RINGS_MAX: usize = 1024;
const RING_SLOTS_MAX: usize = 256;
/// Bytes that a buffer for early replies begins with, and of the largest that is kept: 1024 × 16
/// KiB = 16 MiB at the very most.
const EARLY_BYTES_FIRST: usize = 2 * 1024;
const EARLY_BYTES_KEPT_MAX: usize = 16 * 1024;

/// Bytes of `Order::early` that may be of no use any more, beside as many as are: then it is
/// packed.
const EARLY_WASTE_BYTES: usize = 16 * 1024;
/// Replies larger than this are not copied to `Order::early` …
pub(super) const EARLY_REPLY_BYTES_MAX: usize = 4 * 1024;
/// … nor any when it has so many bytes: a slot names them by 32 bits.
const EARLY_BYTES_MAX: usize = 1 << 30;

/// The slots of one client. A slot is named by its sequence number, which wraps.
#[derive(Debug, Default)]
pub(super) struct Order {
    slots: VecDeque<Slot>,
    /// The replies that came early, one behind the other as they came. Side by side they take few
    /// cache lines; in buffers of their own each took one or two, which others had pushed out of
    /// the cache by the time its turn came.
    early: Vec<u8>,
    /// Bytes of `early` that are still to leave.
    early_bytes: usize,
    /// Sequence number of the first slot.
    first: u32,
    /// What becomes of the replies to requests that are to come.
    replies: Replies,
    /// There may be muted slots.
    muted: bool,
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Replies {
    #[default]
    On,
    Off,
    /// The next one is swallowed, those behind it are not.
    SkipNext,
}

impl Order {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// A new slot behind the others, whose reply is to come; gives its sequence number. A ring is
    /// taken from `rings` if there is one.
    #[inline]
    pub(super) fn push(&mut self, rings: &mut Rings) -> u32 {
        if self.slots.capacity() == 0
            && let Some(slots) = rings.slots.pop()
        {
            self.slots = slots;
        }
        let seq = self.next();
        if self.replies == Replies::On {
            self.slots.push_back(Slot::Waiting);
        } else {
            self.slots.push_back(Slot::Muted);
            self.muted = true;
            self.spend_skip();
        }
        seq
    }

    /// As [`push`](Order::push), of what answers no request: CLIENT REPLY neither mutes it nor is
    /// spent by it.
    pub(super) fn push_unasked(&mut self, rings: &mut Rings) -> u32 {
        let replies = std::mem::take(&mut self.replies);
        let seq = self.push(rings);
        self.replies = replies;
        seq
    }

    /// The same, of a reply: as redis has it for subscriptions.
    pub(super) fn push_heard(&mut self, rings: &mut Rings) -> u32 {
        let seq = self.push_unasked(rings);
        self.spend_skip();
        seq
    }

    /// What becomes of the replies to all requests that come from now on.
    pub(super) fn set_replies(&mut self, replies: Replies) {
        self.replies = replies;
    }

    pub(super) fn replies(&self) -> Replies {
        self.replies
    }

    /// The request whose reply is skipped has come.
    #[cold]
    pub(super) fn spend_skip(&mut self) {
        if self.replies == Replies::SkipNext {
            self.replies = Replies::On;
        }
    }

    /// The sequence number of the slot that comes next.
    #[inline]
    pub(super) fn next(&self) -> u32 {
        self.first.wrapping_add(self.slots.len() as u32)
    }

    /// How many slots are before that of `seq`; `None`: it has left.
    #[inline]
    pub(super) fn place(&self, seq: u32) -> Option<usize> {
        let before = seq.wrapping_sub(self.first) as usize;
        (before < self.slots.len()).then_some(before)
    }

    /// Whether the reply for `seq` is the next to leave.
    #[inline]
    pub(super) fn is_first(&self, seq: u32) -> bool {
        seq == self.first && !self.slots.is_empty()
    }

    /// Whether the first slot is there and still waits for its reply.
    #[inline]
    pub(super) fn waits(&self) -> bool {
        matches!(self.slots.front(), Some(Slot::Waiting | Slot::Muted))
    }

    /// Whether the reply for `seq`, which is still to come, is nobody's.
    #[inline]
    pub(super) fn is_muted(&self, seq: u32) -> bool {
        self.muted
            && matches!(self.slots.get(seq.wrapping_sub(self.first) as usize), Some(Slot::Muted))
    }

    /// Keeps the reply for `seq` until its turn, and tells how many bytes that are: none of one that
    /// is nobody's. `None`: there is no such slot, or it is answered.
    #[inline]
    pub(super) fn keep(&mut self, seq: u32, reply: &[u8], rings: &mut Rings) -> Option<usize> {
        let early = &mut self.early;
        if self.early_bytes == 0 {
            early.clear();
            if early.capacity() == 0 {
                let spare = rings.early.pop();
                *early = spare.unwrap_or_else(|| Vec::with_capacity(EARLY_BYTES_FIRST));
            }
        }
        if reply.len() > EARLY_REPLY_BYTES_MAX || early.len() > EARLY_BYTES_MAX {
            return self.keep_owned(seq, reply.to_vec());
        }
        let start = early.len();
        let slot = self.slots.get_mut(seq.wrapping_sub(self.first) as usize)?;
        if !matches!(slot, Slot::Waiting) {
            return slot.swallow();
        }
        *slot = Slot::Early { start: start as u32, bytes: reply.len() as u32 };
        early.extend_from_slice(reply);
        self.early_bytes += reply.len();
        if start > 2 * self.early_bytes + EARLY_WASTE_BYTES {
            self.pack();
        }
        Some(reply.len())
    }

    /// As [`keep`](Order::keep), without a copy.
    pub(super) fn keep_owned(&mut self, seq: u32, reply: Vec<u8>) -> Option<usize> {
        let slot = self.slots.get_mut(seq.wrapping_sub(self.first) as usize)?;
        if !matches!(slot, Slot::Waiting) {
            return slot.swallow();
        }
        let bytes = reply.len();
        *slot = Slot::Large(Box::new(reply));
        Some(bytes)
    }

    /// Some early reply is always there, so that `early` never ran empty: what has left goes.
    #[cold]
    fn pack(&mut self) {
        let mut packed = Vec::with_capacity(self.early_bytes + EARLY_WASTE_BYTES);
        for slot in &mut self.slots {
            if let Slot::Early { start, bytes } = slot {
                let range = *start as usize..*start as usize + *bytes as usize;
                *start = packed.len() as u32;
                packed.extend_from_slice(self.early.get(range).unwrap_or_default());
            }
        }
        self.early = packed;
    }

    /// Removes the first slot, whose reply has left.
    #[inline]
    pub(super) fn pop(&mut self) {
        if self.slots.pop_front().is_some() {
            self.first = self.first.wrapping_add(1);
        }
    }

    /// The first slot's reply, if it is ready; the slot is removed.
    #[inline]
    pub(super) fn pop_ready(&mut self) -> Option<Ready<'_>> {
        if self.waits() {
            return None;
        }
        let slot = self.slots.pop_front()?;
        self.first = self.first.wrapping_add(1);
        match slot {
            Slot::Waiting | Slot::Muted => None,
            Slot::Early { start, bytes } => {
                let range = start as usize..start as usize + bytes as usize;
                self.early_bytes -= bytes as usize;
                Some(Ready::Lent(self.early.get(range).unwrap_or_default()))
            }
            Slot::Large(reply) => Some(Ready::Owned(*reply)),
        }
    }

    /// Forgets all slots.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.early_bytes = 0;
    }

    /// Gives the memory of an empty ring back: an idle client owns none.
    #[inline]
    pub(super) fn give_ring(&mut self, rings: &mut Rings) {
        if !self.slots.is_empty() || self.slots.capacity() == 0 {
            return;
        }
        self.muted = false;
        let slots = std::mem::take(&mut self.slots);
        if rings.slots.len() < RINGS_MAX && slots.capacity() <= RING_SLOTS_MAX {
            rings.slots.push(slots);
        }
        let mut early = std::mem::take(&mut self.early);
        early.clear();
        if early.capacity() > 0
            && early.capacity() <= EARLY_BYTES_KEPT_MAX
            && rings.early.len() < RINGS_MAX
        {
            rings.early.push(early);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(order: &mut Order) -> Option<Vec<u8>> {
        order.pop_ready().map(|reply| match reply {
            Ready::Lent(bytes) => bytes.to_vec(),
            Ready::Owned(bytes) => bytes,
        })
    }

    #[test]
    fn replies_leave_in_the_order_of_requests() {
        let mut order = Order { first: u32::MAX - 1, ..Order::default() };
        let mut rings = Rings::default();
        let seqs: Vec<u32> = (0..5).map(|_| order.push(&mut Rings::default())).collect();
        assert_eq!(seqs, [u32::MAX - 1, u32::MAX, 0, 1, 2], "sequence numbers wrap");
        let large = vec![b'd'; EARLY_REPLY_BYTES_MAX + 1];
        for (seq, reply) in [(seqs[2], &b"c"[..]), (seqs[3], &large), (seqs[1], b"")] {
            assert!(!order.is_first(seq));
            assert_eq!(order.keep(seq, reply, &mut rings), Some(reply.len()));
            assert_eq!(order.keep(seq, b"again", &mut rings), None, "a slot is answered once");
            assert_eq!(order.keep_owned(seq, b"again".to_vec()), None, "a slot is answered once");
            assert!(order.waits(), "the first is still waiting");
            assert_eq!(ready(&mut order), None);
        }
        assert!(
            order.keep(3, b"nobody's", &mut rings).is_none()
                && order.keep(seqs[0] - 1, b"nobody's", &mut rings).is_none()
        );
        assert!(order.is_first(seqs[0]));
        order.pop();
        assert!(!order.waits());
        assert_eq!(ready(&mut order), Some(Vec::new()));
        assert_eq!(ready(&mut order), Some(b"c".to_vec()));
        assert_eq!(ready(&mut order), Some(large));
        assert_eq!(ready(&mut order), None);
        assert!(order.is_first(seqs[4]) && order.waits());
        assert_eq!(order.len(), 1);
    }

    #[test]
    fn what_is_muted_takes_a_place_and_no_bytes() {
        let (mut order, mut rings) = (Order::default(), Rings::default());
        let push = |order: &mut Order, replies| {
            order.set_replies(replies);
            order.push(&mut Rings::default())
        };
        let first = push(&mut order, Replies::On);
        let off = push(&mut order, Replies::Off);
        let skipped = push(&mut order, Replies::SkipNext);
        assert_eq!(order.replies(), Replies::On, "one is skipped");
        let last = order.push(&mut Rings::default());
        let muted = |order: &Order| [first, off, skipped, last].map(|seq| order.is_muted(seq));
        assert_eq!(muted(&order), [false, true, true, false]);
        assert_eq!(order.keep(skipped, b"nobody's", &mut rings), Some(0));
        assert_eq!(order.keep_owned(off, b"nobody's".to_vec()), Some(0));
        assert_eq!(order.keep(off, b"again", &mut rings), None);
        assert_eq!(order.keep(last, b"heard", &mut rings), Some(5));
        assert_eq!(muted(&order), [false; 4], "answered");
        order.pop();
        assert_eq!(ready(&mut order), Some(Vec::new()));
        assert_eq!(ready(&mut order), Some(Vec::new()));
        assert_eq!(ready(&mut order), Some(b"heard".to_vec()));
    }

    /// Some reply always waits, so the buffer never runs empty; it does not grow for that.
    #[test]
    fn what_has_left_takes_no_memory_for_ever() {
        let mut order = Order::default();
        let text = |seq: u32| seq.to_string().into_bytes().repeat(1 + seq as usize % 300);
        let ask_twice = |order: &mut Order| {
            order.push(&mut Rings::default());
            let second = order.push(&mut Rings::default());
            assert!(order.keep(second, &text(second), &mut Rings::default()).is_some());
        };
        ask_twice(&mut order);
        for first in (0..20_000).step_by(2) {
            ask_twice(&mut order);
            assert!(order.is_first(first));
            order.pop();
            assert_eq!(ready(&mut order), Some(text(first + 1)), "reply {}", first + 1);
            assert_eq!(ready(&mut order), None);
            assert!(order.early_bytes > 0);
        }
        assert!(order.early.capacity() < 4 * EARLY_WASTE_BYTES);
        order.clear();
        let mut rings = Rings::default();
        order.give_ring(&mut rings);
        assert!(order.is_empty() && order.early.capacity() == 0, "an idle client owns none");
    }
}
