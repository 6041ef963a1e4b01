//! The one place of the data plane that reads clocks: once a turn, after waking.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::base::time::{Now, US_PER_S};

/// A core's clock.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    pub(super) fn new() -> Clock {
        #[expect(clippy::disallowed_methods, reason = "the reactor is who tells the time")]
        Clock { start: Instant::now() }
    }

    /// Monotonic time begins at 1 s, so that 0 lies in the past of everything.
    pub(super) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            mono_us: US_PER_S + self.start.elapsed().as_micros() as u64,
            wall_us: wall.as_micros() as u64,
        }
    }
}
