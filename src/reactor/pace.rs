//! Whether gathering pays: how many events a core may expect while it waits for more.

/// The pace is taken over at least this time, µs: some turns of a busy core.
const SPAN_US: u64 = 1_000;
/// Events that have to be expected. With fewer, those that came would wait for next to nothing.
const EVENTS_MIN: u64 = 4;

/// How fast events come, from those of the last span.
#[derive(Debug)]
pub(super) struct Pace {
    /// How long the core would gather, µs.
    batch_us: u64,
    since_us: u64,
    events: u64,
    pays: bool,
}

impl Pace {
    pub(super) fn new(batch_us: u64, now_us: u64) -> Pace {
        Pace { batch_us, since_us: now_us, events: 0, pays: false }
    }

    /// A turn has ended at `now_us` with so many events.
    pub(super) fn note(&mut self, events: u64, now_us: u64) {
        self.events += events;
        let passed_us = now_us.saturating_sub(self.since_us);
        if passed_us >= SPAN_US {
            self.pays = self.events.saturating_mul(self.batch_us) >= EVENTS_MIN * passed_us;
            self.events = 0;
            self.since_us = now_us;
        }
    }

    /// At the pace of the last span, enough events come in `batch_us`.
    pub(super) fn pays(&self) -> bool {
        self.pays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether gathering for `batch_us` pays after 10 ms with an event every `every_us`.
    fn pays(batch_us: u64, every_us: u64) -> bool {
        let mut pace = Pace::new(batch_us, 5_000_000);
        for at in (0..10_000).step_by(every_us as usize) {
            pace.note(1, 5_000_000 + at);
        }
        pace.pays()
    }

    #[test]
    fn it_pays_where_four_events_are_to_be_expected() {
        assert!(pays(300, 20) && pays(300, 70));
        assert!(!pays(300, 80) && !pays(300, 5_000));
        assert!(pays(100, 20) && !pays(100, 30));
        assert!(!pays(0, 1), "gathering is off");
    }

    #[test]
    fn a_pause_ends_it_and_a_burst_begins_it() {
        let mut pace = Pace::new(300, 0);
        pace.note(100, 1_000);
        assert!(pace.pays());
        pace.note(1, 200_000);
        assert!(!pace.pays(), "one event in 199 ms");
        (1..=20).for_each(|turn| pace.note(2, 200_000 + turn * 50));
        assert!(pace.pays());
    }
}
