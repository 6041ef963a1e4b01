//! Whether, and how long, gathering pays: from how many clients waited lately, and how fast bytes
//! came.

/// The pace is taken over at least this time, µs: some turns of a busy core.
const SPAN_US: u64 = 1_000;
/// So many receives have to be expected. With fewer, those that came would wait for next to
/// nothing.
const RECEIVES_MIN: u64 = 4;
/// Up to so many clients at a time, gathering is not worth its time: each of them waits for it and
/// asks again only afterwards. (5 clients got 9,000 requests a second instead of 18,000.) …
const CLIENTS_FEW: u64 = 8;
/// … from so many on it costs no throughput, and saves half of the CPU.
const CLIENTS_MANY: u64 = 32;

/// What came in the last span.
#[derive(Debug)]
pub(super) struct Pace {
    /// How long the core gathers at most, µs.
    batch_us: u64,
    since_us: u64,
    receives: u64,
    most_waiting: u64,
    gather_us: u64,
}

impl Pace {
    pub(super) fn new(batch_us: u64, now_us: u64) -> Pace {
        Pace { batch_us, since_us: now_us, receives: 0, most_waiting: 0, gather_us: 0 }
    }

    pub(super) fn set_batch_us(&mut self, batch_us: u64) {
        self.batch_us = batch_us;
    }

    /// A turn has ended at `now_us`; so many times it was that bytes came from somebody, and so
    /// many clients wait for replies.
    pub(super) fn note(&mut self, receives: u64, waiting: usize, now_us: u64) {
        self.receives += receives;
        self.most_waiting = self.most_waiting.max(waiting as u64);
        let passed_us = now_us.saturating_sub(self.since_us);
        if passed_us < SPAN_US {
            return;
        }
        let pays = self.receives.saturating_mul(self.batch_us) >= RECEIVES_MIN * passed_us;
        let many = self.most_waiting.clamp(CLIENTS_FEW, CLIENTS_MANY) - CLIENTS_FEW;
        let share_us = self.batch_us * many / (CLIENTS_MANY - CLIENTS_FEW);
        self.gather_us = if pays { share_us } else { 0 };
        (self.receives, self.most_waiting, self.since_us) = (0, 0, now_us);
    }

    /// How long to gather now, µs; 0: not at all.
    pub(super) fn gather_us(&self) -> u64 {
        self.gather_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The window after 10 ms with something received every `every_us` and so many waiting.
    fn window_us(batch_us: u64, every_us: u64, waiting: usize) -> u64 {
        let mut pace = Pace::new(batch_us, 5_000_000);
        for at in (0..10_000).step_by(every_us as usize) {
            pace.note(1, waiting, 5_000_000 + at);
        }
        pace.gather_us()
    }

    #[test]
    fn it_pays_where_four_receives_are_to_be_expected() {
        assert_eq!([20, 70].map(|every_us| window_us(300, every_us, 50)), [300, 300]);
        assert_eq!([80, 5_000].map(|every_us| window_us(300, every_us, 50)), [0, 0]);
        assert_eq!([20, 30].map(|every_us| window_us(100, every_us, 50)), [100, 0]);
        assert_eq!(window_us(0, 1, 50), 0, "gathering is off");
    }

    #[test]
    fn few_clients_are_not_held_up_and_more_of_them_longer() {
        let windows = [1, 8, 14, 20, 32, 10_000].map(|waiting| window_us(200, 20, waiting));
        assert_eq!(windows, [0, 0, 50, 100, 200, 200]);
    }

    #[test]
    fn a_pause_ends_it_and_a_burst_begins_it() {
        let mut pace = Pace::new(300, 0);
        pace.note(100, 40, 1_000);
        assert_eq!(pace.gather_us(), 300);
        pace.note(1, 40, 200_000);
        assert_eq!(pace.gather_us(), 0, "one receive in 199 ms");
        (1..=20).for_each(|turn| pace.note(2, 40, 200_000 + turn * 50));
        assert_eq!(pace.gather_us(), 300);
    }
}
