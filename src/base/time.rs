//! Time as an argument: the heart reads no clock, it is told.

/// The moment of a turn, read once by the reactor (or set by the simulation).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// Monotonic, µs since an arbitrary start. All deadlines are in this clock.
    pub mono_us: u64,
    /// Wall clock, µs since the Unix epoch. Only for what a person or a client reads (TIME, logs).
    pub wall_us: u64,
}

pub const US_PER_MS: u64 = 1_000;
pub const US_PER_S: u64 = 1_000_000;
