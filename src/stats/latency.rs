//! Latencies: what a core records, how it is handed over, and how the cores' are added up.
//!
//! *Latency* is the time from the moment a complete request was parsed to the moment its whole
//! reply was put into the client's send buffer: waiting for the lane, the redis-server and the
//! replies in front of it are in; the way through the kernel to and from the client is not.
//!
//! A core records into histograms of its own ([`LatencyRecorder`]); about once a second it hands
//! the interval's over through the [`LatencyDoor`]; the control plane adds them up
//! ([`LatencyTotals`]). Nothing here reads a clock.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use hdrhistogram::{Counter, Histogram};

use crate::base::ids::PoolId;
use crate::base::time::US_PER_S;
use crate::command::model::Family;

/// Name of the latency histogram in Prometheus.
pub const LATENCY_NAME: &str = "corelay_latency_seconds";
/// Its help.
pub const LATENCY_HELP: &str = "from the complete request parsed to its reply put into the \
     client's send buffer, by pool and command family; off by 1 % at most, cut at 60 s";

/// Shortest latency that is told apart, µs.
const LOWEST_US: u64 = 1;
/// Longest latency that is told apart, µs: 60 s; a longer one counts as this.
const HIGHEST_US: u64 = 60 * US_PER_S;
/// Two significant digits: a value is off by 1 % at most, a histogram takes about 10 KiB.
const SIGNIFICANT_DIGITS: u8 = 2;
/// How long one window of the quantiles lasts, µs; they are of the last 10 to 20 s.
const WINDOW_US: u64 = 10 * US_PER_S;
/// Snapshots that wait in the door for each core before the core keeps its figures.
const DOOR_SNAPSHOTS_PER_CORE: usize = 4;

/// Upper bounds of the buckets shown to Prometheus, µs; one without a bound follows.
pub const BUCKETS_US: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// Where snapshots go up: bounded, lock-free, shared by all cores.
pub type LatencyDoor = Arc<ArrayQueue<LatencySnapshot>>;

/// A door for this many cores.
pub fn latency_door(cores: usize) -> LatencyDoor {
    Arc::new(ArrayQueue::new(cores.max(1) * DOOR_SNAPSHOTS_PER_CORE))
}

/// Every family, at the place of its number.
pub const FAMILIES: [Family; Family::COUNT] = [
    Family::String,
    Family::Bitmap,
    Family::Hash,
    Family::List,
    Family::Set,
    Family::SortedSet,
    Family::Stream,
    Family::Geo,
    Family::HyperLogLog,
    Family::Array,
    Family::Generic,
    Family::Scripting,
    Family::PubSub,
    Family::Connection,
    Family::Transactions,
    Family::Server,
    Family::Cluster,
    Family::Module,
    Family::Unknown,
];

fn place(pool: PoolId, family: Family) -> usize {
    pool.index() * Family::COUNT + family as usize
}

fn histogram<T: Counter>() -> Option<Histogram<T>> {
    Histogram::new_with_bounds(LOWEST_US, HIGHEST_US, SIGNIFICANT_DIGITS).ok()
}

/// What one core recorded of one pool and family since it last handed over.
#[derive(Debug)]
struct Interval {
    histogram: Histogram<u32>,
    sum_us: u64,
}

/// The histograms of one core, one for each pool and family that was ever asked for.
#[derive(Debug)]
pub struct LatencyRecorder {
    /// By `place`.
    intervals: Vec<Option<Box<Interval>>>,
    recorded: bool,
    /// The replies counted last, which are alike: those of one turn mostly are.
    run: Run,
}

/// So many replies of one pool and family, all after `micros`.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    place: u32,
    micros: u32,
    replies: u32,
}

/// What a core recorded in one interval; opaque but for [`LatencyTotals::absorb`].
#[derive(Debug)]
pub struct LatencySnapshot {
    intervals: Vec<(usize, Box<Interval>)>,
}

impl LatencyRecorder {
    pub fn new(pools: usize) -> LatencyRecorder {
        let intervals = (0..pools * Family::COUNT).map(|_| None).collect();
        LatencyRecorder { intervals, recorded: false, run: Run::default() }
    }

    /// There are so many pools now; never fewer than before.
    pub fn grow(&mut self, pools: usize) {
        let places = self.intervals.len().max(pools * Family::COUNT);
        self.intervals.resize_with(places, || None);
    }

    /// Counts one reply, `micros` after its request was complete. Allocates for the first of a
    /// pool and family in an interval only.
    #[inline]
    pub fn record(&mut self, pool: PoolId, family: Family, micros: u32) {
        let place = place(pool, family) as u32;
        if self.run.place != place || self.run.micros != micros || self.run.replies == u32::MAX {
            self.end_run();
            self.run = Run { place, micros, replies: 0 };
        }
        self.run.replies += 1;
    }

    fn end_run(&mut self) {
        let Run { place, micros, replies } = std::mem::take(&mut self.run);
        let micros = u64::from(micros).clamp(LOWEST_US, HIGHEST_US);
        let Some(slot) = self.intervals.get_mut(place as usize) else { return };
        if replies == 0 {
            return;
        }
        if slot.is_none() {
            *slot = histogram().map(|histogram| Box::new(Interval { histogram, sum_us: 0 }));
        }
        if let Some(interval) = slot {
            interval.histogram.saturating_record_n(micros, replies);
            interval.sum_us += micros * u64::from(replies);
            self.recorded = true;
        }
    }

    /// Gives what was recorded since the last time, and starts anew; `None`: nothing was.
    pub fn hand_over(&mut self) -> Option<LatencySnapshot> {
        self.end_run();
        if !std::mem::take(&mut self.recorded) {
            return None;
        }
        let taken = self.intervals.iter_mut().enumerate();
        let taken = taken.filter_map(|(place, slot)| Some((place, slot.take()?)));
        Some(LatencySnapshot { intervals: taken.collect() })
    }

    /// Puts what was recorded into the door; if that is full, nothing is lost: it stays here and
    /// goes with the next interval's.
    pub fn hand_over_to(&mut self, door: &LatencyDoor) {
        if door.is_full() {
            return;
        }
        // Another core may have taken the last place in between.
        if let Some(snapshot) = self.hand_over()
            && let Err(refused) = door.push(snapshot)
        {
            self.take_back(refused);
        }
    }

    fn take_back(&mut self, snapshot: LatencySnapshot) {
        for (place, interval) in snapshot.intervals {
            if let Some(slot) = self.intervals.get_mut(place) {
                *slot = Some(interval);
                self.recorded = true;
            }
        }
    }
}

/// The figures of one pool and family over all cores.
#[derive(Debug)]
struct Series {
    since_start: Histogram<u64>,
    sum_us: u64,
    /// The running window and the one before it.
    windows: [Histogram<u32>; 2],
}

impl Series {
    fn new() -> Option<Box<Series>> {
        let windows = [histogram()?, histogram()?];
        Some(Box::new(Series { since_start: histogram()?, sum_us: 0, windows }))
    }
}

/// What all cores handed over, added up. About 40 KiB for each pool and family in use.
#[derive(Debug)]
pub struct LatencyTotals {
    /// By `place`.
    series: Vec<Option<Box<Series>>>,
    window_since_us: u64,
}

/// One pool's and family's latencies as they are shown.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyFigures {
    pub pool: PoolId,
    pub family: Family,
    /// Since the process started.
    pub count: u64,
    pub sum_us: u64,
    /// Since the process started: how many were at most [`BUCKETS_US`] of the same place and more
    /// than the one before; the last: more than all. A value goes by the upper end of its slot in
    /// the histogram, so a bucket never flatters.
    pub buckets: [u64; BUCKETS_US.len() + 1],
    /// Of the last 10 to 20 s; `None`: no reply in that time.
    pub recent: Option<LatencyQuantiles>,
}

/// Quantiles in µs, the upper end of their slot in the histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyQuantiles {
    pub count: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub max_us: u64,
}

impl LatencyTotals {
    /// `now_us` is of the clock that [`LatencyTotals::turn_windows`] will be told.
    pub fn new(pools: usize, now_us: u64) -> LatencyTotals {
        let series = (0..pools * Family::COUNT).map(|_| None).collect();
        LatencyTotals { series, window_since_us: now_us }
    }

    /// Adds what a core handed over.
    pub fn absorb(&mut self, snapshot: LatencySnapshot) {
        for (place, interval) in snapshot.intervals {
            if self.series.len() <= place {
                self.series.resize_with(place + 1, || None); // a pool that a reload has added
            }
            let Some(slot) = self.series.get_mut(place) else { continue };
            if slot.is_none() {
                *slot = Series::new();
            }
            let Some(series) = slot else { continue };
            for slot in interval.histogram.iter_recorded() {
                let (value, count) = (slot.value_iterated_to(), slot.count_at_value());
                series.since_start.saturating_record_n(value, u64::from(count));
                series.windows[0].saturating_record_n(value, count);
            }
            series.sum_us += interval.sum_us;
        }
    }

    /// Starts a new window if the running one has lasted its time.
    pub fn turn_windows(&mut self, now_us: u64) {
        let lasted_us = now_us.saturating_sub(self.window_since_us);
        if lasted_us < WINDOW_US {
            return;
        }
        self.window_since_us = now_us;
        for series in self.series.iter_mut().flatten() {
            series.windows.swap(0, 1);
            series.windows[0].reset();
            if lasted_us >= 2 * WINDOW_US {
                // Nobody has been here for so long that the window before is old as well.
                series.windows[1].reset();
            }
        }
    }

    /// Every pool and family that was ever asked for, in the order of pools.
    pub fn figures(&self) -> Vec<LatencyFigures> {
        let series = self.series.iter().enumerate();
        let series = series.filter_map(|(place, series)| Some((place, series.as_deref()?)));
        series.map(|(place, series)| figures(place, series)).collect()
    }
}

fn figures(place: usize, series: &Series) -> LatencyFigures {
    let mut buckets = [0; BUCKETS_US.len() + 1];
    for slot in series.since_start.iter_recorded() {
        let upper_us = series.since_start.highest_equivalent(slot.value_iterated_to());
        buckets[BUCKETS_US.partition_point(|bound| *bound < upper_us)] += slot.count_at_value();
    }
    LatencyFigures {
        pool: PoolId((place / Family::COUNT) as u16),
        family: FAMILIES[place % Family::COUNT],
        count: buckets.iter().sum(),
        sum_us: series.sum_us,
        buckets,
        recent: quantiles(&series.windows),
    }
}

fn quantiles(windows: &[Histogram<u32>; 2]) -> Option<LatencyQuantiles> {
    let mut both = windows[0].clone();
    // The same bounds: adding can not fail.
    both.add(&windows[1]).ok()?;
    (!both.is_empty()).then(|| LatencyQuantiles {
        count: both.len(),
        p50_us: both.value_at_quantile(0.5),
        p99_us: both.value_at_quantile(0.99),
        p999_us: both.value_at_quantile(0.999),
        max_us: both.max(),
    })
}

#[cfg(test)]
#[path = "latency_tests.rs"]
mod tests;
