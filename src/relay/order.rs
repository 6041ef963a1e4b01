//! The order ring of a client: one slot for each request whose reply has not left yet.
//!
//! Replies leave in the order of the requests. The reply for the first slot needs no place here:
//! it goes straight to the client's outbox; one that comes early waits in its slot.

use std::collections::VecDeque;

/// The place of one reply.
#[derive(Debug)]
pub(super) enum Slot {
    /// Not answered yet.
    Waiting,
    /// The whole reply, which waits for those before it.
    Ready(Vec<u8>),
}

/// Rings that no client has just now, kept for their memory.
pub(super) type Rings = Vec<VecDeque<Slot>>;

/// Rings kept, and slots of the largest that is: 1024 × 256 × 24 bytes = 6 MiB at the very most.
const RINGS_MAX: usize = 1024;
const RING_SLOTS_MAX: usize = 256;

/// The slots of one client. A slot is named by its sequence number, which wraps.
#[derive(Debug, Default)]
pub(super) struct Order {
    slots: VecDeque<Slot>,
    /// Sequence number of the first slot.
    first: u32,
}

impl Order {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// A new slot behind the others; gives its sequence number. A ring is taken from `rings` if
    /// there is one.
    #[inline]
    pub(super) fn push(&mut self, slot: Slot, rings: &mut Rings) -> u32 {
        if self.slots.capacity() == 0
            && let Some(ring) = rings.pop()
        {
            self.slots = ring;
        }
        let seq = self.first.wrapping_add(self.slots.len() as u32);
        self.slots.push_back(slot);
        seq
    }

    /// Whether the reply for `seq` is the next to leave.
    pub(super) fn is_first(&self, seq: u32) -> bool {
        seq == self.first && !self.slots.is_empty()
    }

    /// The slot of `seq`, if it is still waiting.
    pub(super) fn waiting(&mut self, seq: u32) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(seq.wrapping_sub(self.first) as usize)?;
        matches!(slot, Slot::Waiting).then_some(slot)
    }

    /// Removes the first slot, whose reply has left.
    pub(super) fn pop(&mut self) {
        if self.slots.pop_front().is_some() {
            self.first = self.first.wrapping_add(1);
        }
    }

    /// The first slot's reply, if it is ready; the slot is removed.
    pub(super) fn pop_ready(&mut self) -> Option<Vec<u8>> {
        match self.slots.front() {
            Some(Slot::Ready(_)) => {}
            _ => return None,
        }
        self.first = self.first.wrapping_add(1);
        match self.slots.pop_front() {
            Some(Slot::Ready(reply)) => Some(reply),
            _ => None,
        }
    }

    /// All replies that wait here, for their buffers to be used again.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.slots.drain(..).filter_map(|slot| match slot {
            Slot::Ready(reply) => Some(reply),
            Slot::Waiting => None,
        })
    }

    /// Gives the memory of an empty ring back: an idle client owns none.
    #[inline]
    pub(super) fn give_ring(&mut self, rings: &mut Rings) {
        if self.slots.is_empty() && self.slots.capacity() > 0 {
            let ring = std::mem::take(&mut self.slots);
            if rings.len() < RINGS_MAX && ring.capacity() <= RING_SLOTS_MAX {
                rings.push(ring);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_leave_in_the_order_of_requests() {
        let mut order = Order { first: u32::MAX - 1, ..Order::default() };
        let seqs: Vec<u32> = (0..4).map(|_| order.push(Slot::Waiting, &mut Rings::new())).collect();
        assert_eq!(seqs, [u32::MAX - 1, u32::MAX, 0, 1], "sequence numbers wrap");
        for (seq, reply) in [(seqs[2], b"c"), (seqs[1], b"b")] {
            assert!(!order.is_first(seq));
            *order.waiting(seq).unwrap() = Slot::Ready(reply.to_vec());
            assert!(order.waiting(seq).is_none(), "a slot is answered once");
            assert!(order.pop_ready().is_none(), "the first is still waiting");
        }
        assert!(order.is_first(seqs[0]));
        order.pop();
        assert_eq!(order.pop_ready(), Some(b"b".to_vec()));
        assert_eq!(order.pop_ready(), Some(b"c".to_vec()));
        assert!(order.pop_ready().is_none());
        assert!(order.is_first(seqs[3]));
        assert_eq!(order.len(), 1);
    }
}
