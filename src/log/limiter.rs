//! How often one message may be logged: so many lines a second, the others are counted.
//!
//! All threads share the table without a lock: a slot is claimed by the first line of its message
//! and kept for the life of the process, for messages are literals in the code.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lines of one message in one second.
pub(super) const LINES_PER_SECOND: u64 = 10;
/// Messages that are told apart; those beyond share a slot.
const SLOTS: usize = 256;
/// The lower half of a slot's word counts, the upper half is the second.
const COUNT_BITS: u32 = 16;

#[derive(Debug, Default)]
struct Slot {
    message: OnceLock<&'static str>,
    /// Which second it is, and how many lines it had.
    second_and_count: AtomicU64,
    /// Not written and not yet reported.
    suppressed: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Limiter {
    slots: Box<[Slot]>,
    beyond: Slot,
    suppressed: AtomicU64,
}

impl Default for Limiter {
    fn default() -> Self {
        Limiter {
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            beyond: Slot::default(),
            suppressed: AtomicU64::new(0),
        }
    }
}

impl Limiter {
    /// Whether this line may be written; one that may not is counted. `second` is wall-clock time:
    /// any jump of the clock starts a new second.
    pub(super) fn admit(&self, message: &'static str, second: u64) -> bool {
        let slot = self.slot(message);
        let next = |word: u64| {
            if word >> COUNT_BITS != second {
                return Some((second << COUNT_BITS) | 1);
            }
            let count = word & ((1 << COUNT_BITS) - 1);
            (count < LINES_PER_SECOND).then_some(word + 1)
        };
        let word = &slot.second_and_count;
        let admitted = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok();
        if !admitted {
            slot.suppressed.fetch_add(1, Ordering::Relaxed);
            self.suppressed.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// The next message that was suppressed in a second that is over, and how often since it was
    /// last asked for.
    pub(super) fn take_suppressed(&self, second: u64) -> Option<(&'static str, u64)> {
        let slots = self.slots.iter().chain(std::iter::once(&self.beyond));
        slots.filter(|slot| slot.suppressed.load(Ordering::Relaxed) > 0).find_map(|slot| {
            let last = slot.second_and_count.load(Ordering::Relaxed) >> COUNT_BITS;
            let message = slot.message.get().copied().unwrap_or("others");
            (last != second).then(|| (message, slot.suppressed.swap(0, Ordering::Relaxed)))
        })
    }

    /// All lines that were suppressed.
    pub(super) fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    fn slot(&self, message: &'static str) -> &Slot {
        let first = crc32fast::hash(message.as_bytes()) as usize % SLOTS;
        let (before, from) = self.slots.split_at(first);
        let mut slots = from.iter().chain(before);
        slots.find(|slot| *slot.message.get_or_init(|| message) == message).unwrap_or(&self.beyond)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_limited_each_second_by_itself() {
        let limiter = Limiter::default();
        let admitted = |second| (0..25).filter(|_| limiter.admit("lane down", second)).count();
        assert_eq!(admitted(5), 10);
        assert!(limiter.admit("lane up", 5));
        assert_eq!(admitted(6), 10);
        assert_eq!(admitted(4), 10, "the clock went back");
        assert_eq!(limiter.suppressed(), 45);
        assert_eq!(limiter.take_suppressed(4), None, "the second is not over");
        assert_eq!(limiter.take_suppressed(7), Some(("lane down", 45)));
        assert_eq!(limiter.take_suppressed(7), None);
    }

    #[test]
    fn more_messages_than_slots_share_one() {
        let limiter = Limiter::default();
        let messages = (0..SLOTS + 20).map(|n| &*format!("message {n}").leak());
        let admitted = messages.filter(|message| limiter.admit(message, 1)).count();
        assert_eq!(admitted, SLOTS + 10);
        assert_eq!(limiter.take_suppressed(2), Some(("others", 10)));
    }
}
