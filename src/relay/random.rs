//! Chance, repeatable: the seed comes from outside.

/// A xorshift generator: its seed is injected, so that a run can be repeated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    /// Marsaglia, "Xorshift RNGs" (2003): the triple 13, 7, 17.
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound` (which is not 0).
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
