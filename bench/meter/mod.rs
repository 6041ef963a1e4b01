//! The harness of the benchmarks: repeats a piece of work, checks its answer each time, and says
//! what one unit of it took.
//!
//! `cargo bench` measures; `cargo test` runs every case once, so that none can rot. A word on the
//! command line chooses the cases whose name contains it (`=name`: that one), `--repeat=N` runs each N times and
//! measures nothing (for callgrind). The figure to compare is the lowest of the samples: noise only
//! adds. Instructions are steadier still where they matter: `perf/instructions`.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::panic,
    reason = "a benchmark reads the clock, prints, and fails by panicking"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

/// One sample takes at least so long.
const SAMPLE: Duration = Duration::from_millis(20);
const SAMPLES: usize = 25;

#[derive(Debug)]
pub struct Meter {
    measures: bool,
    /// Instead of measuring.
    repeat: Option<u32>,
    filter: Option<String>,
}

impl Meter {
    /// `--bench` comes from `cargo bench`.
    pub fn from_args() -> Meter {
        let args: Vec<String> = std::env::args().skip(1).collect();
        Meter {
            measures: args.iter().any(|arg| arg == "--bench"),
            repeat: args.iter().find_map(|arg| arg.strip_prefix("--repeat=")?.parse().ok()),
            filter: args.into_iter().find(|arg| !arg.starts_with('-')),
        }
    }

    /// Whether the command line asks for this case.
    pub fn wants(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| match filter.strip_prefix('=') {
            Some(whole) => name == whole,
            None => name.contains(filter.as_str()),
        })
    }

    /// Runs `work`, which does `units` of something and gives `expected`.
    pub fn case(&self, name: &str, units: usize, expected: u64, mut work: impl FnMut() -> u64) {
        if !self.wants(name) {
            return;
        }
        let mut once = |times: u32| {
            let start = Instant::now();
            for _ in 0..times {
                let answer = black_box(work());
                assert!(answer == expected, "{name}: the answer is {answer}, not {expected}");
            }
            start.elapsed()
        };
        if let Some(times) = self.repeat {
            once(times);
            return;
        }
        let warm = once(1);
        if !self.measures {
            println!("{name}: checked");
            return;
        }
        let times = repeats(warm.max(once(3) / 3));
        let mut samples: Vec<f64> = (0..SAMPLES)
            .map(|_| once(times).as_nanos() as f64 / f64::from(times) / units as f64)
            .collect();
        samples.sort_by(f64::total_cmp);
        let (lowest, median) = (samples[0], samples[SAMPLES / 2]);
        println!("{name:44} {lowest:9.1} ns lowest {median:9.1} ns median");
    }
}

fn repeats(once: Duration) -> u32 {
    let times = SAMPLE.as_nanos() / once.as_nanos().max(1) + 1;
    u32::try_from(times).unwrap_or(u32::MAX)
}

/// The request `words` as it stands on the wire.
pub fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// `key:000000000042`, as redis-benchmark writes it.
pub fn key(number: usize) -> Vec<u8> {
    format!("key:{number:012}").into_bytes()
}
