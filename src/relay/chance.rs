//! What decides in a simulation: a seed, or the bytes of a fuzzer.

use std::collections::VecDeque;

use crate::relay::Random;

/// Decides by bytes as long as there are some, then by a seed.
#[derive(Debug)]
pub(super) struct Chance {
    bytes: VecDeque<u8>,
    random: Random,
    by_bytes: bool,
}

impl Chance {
    #[cfg(test)]
    pub(super) fn of_seed(seed: u64) -> Chance {
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Chance { bytes: VecDeque::new(), random, by_bytes: false }
    }

    pub(super) fn of_bytes(bytes: &[u8]) -> Chance {
        Chance { bytes: bytes.iter().copied().collect(), random: Random(1), by_bytes: true }
    }

    /// A number below `bound` (which is not 0); it takes as many bytes as the bound needs.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let (mut number, mut reach) = (0, 1_u64);
        while reach < bound {
            let Some(byte) = self.bytes.pop_front() else { return self.random.below(bound) };
            number = number << 8 | u64::from(byte);
            reach = reach.saturating_mul(256);
        }
        number % bound
    }

    /// Some bytes as they are; fewer if there are no more.
    pub(super) fn take(&mut self, count: usize) -> Vec<u8> {
        self.bytes.drain(..count.min(self.bytes.len())).collect()
    }

    /// There are no more bytes; a seed's decisions never end.
    pub(super) fn is_over(&self) -> bool {
        self.by_bytes && self.bytes.is_empty()
    }
}
