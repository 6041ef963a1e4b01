//! The rules: which of a shard's replicas may be read from, by what it and its primary have said.
//!
//! Pure; times are those since the sampling began. A replica may be read from if it follows this
//! very primary (they agree on the name of the replication history), its link stands, it is not
//! loading, and it lacks no more bytes than allowed of what the primary has written. Links that
//! hang look as if they stood: one that has not moved for some seconds, while its primary has,
//! counts as cut off, too.

use std::net::SocketAddr;
use std::time::Duration;

/// How often every node is asked.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// One that does not answer is not read from after so long: two questions, and some.
const GONE_AFTER: Duration = Duration::from_millis(2_500);
/// So long its primary may go on while it stands still.
const STUCK_AFTER: Duration = Duration::from_secs(3);
/// Share of the newest round trip in the mean.
const FRESH: f64 = 0.2;
/// A node becomes near within 1.5 × the shortest way and this …
const NEAR_WITHIN: Duration = Duration::from_micros(200);
/// … and stays near within 2 × the shortest way and this: so it does not go to and fro.
const NEAR_STAYS: Duration = Duration::from_micros(500);

/// What INFO says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    role: String,
    /// The name of the history that it has a part of.
    history: String,
    /// Of a primary: bytes written; of a replica: bytes applied.
    offset: i64,
    link_up: bool,
    syncing: bool,
    loading: bool,
}

/// What a node answered, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) at: SocketAddr,
    /// In the middle between question and answer.
    pub(super) when: Duration,
    pub(super) round_trip: Duration,
    pub(super) facts: Facts,
}

/// What is known of the primary.
#[derive(Debug, Default)]
pub(super) struct Primary {
    last: Option<Sample>,
    /// Bytes that it writes in a second.
    rate: f64,
    pub(super) way: Way,
}

/// What is known of a replica.
#[derive(Debug)]
pub(super) struct Track {
    /// Where it is, as it was reached last.
    pub(super) at: Option<SocketAddr>,
    answered: Option<Duration>,
    offset: i64,
    /// Since when it stands still behind its primary.
    behind_since: Option<Duration>,
    /// What it lacked when it answered last, or why it is not read from.
    pub(super) standing: Result<u64, String>,
    pub(super) way: Way,
}

/// How far away a node is.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// The mean round trip.
    pub(super) mean: Option<Duration>,
    pub(super) near: bool,
}

impl Facts {
    /// Takes in a section of INFO; what can not be read is as if it were nothing.
    pub(super) fn read(&mut self, info: &str) {
        for line in info.lines() {
            let Some((name, value)) = line.trim_end().split_once(':') else { continue };
            match name {
                "role" => self.role = value.to_owned(),
                "master_replid" => self.history = value.to_owned(),
                "master_link_status" => self.link_up = value == "up",
                "master_sync_in_progress" => self.syncing = value != "0",
                "master_repl_offset" if self.role == "master" => self.offset = number(value),
                "slave_repl_offset" => self.offset = number(value),
                "loading" | "async_loading" => self.loading |= value != "0",
                _ => {}
            }
        }
    }
}

fn number(text: &str) -> i64 {
    text.parse().unwrap_or(0)
}

impl Primary {
    /// Takes in what came of a question.
    pub(super) fn take(&mut self, sample: Option<Sample>) {
        let Some(sample) = sample else { return };
        self.way.take(sample.round_trip);
        self.rate = 0.0;
        if let Some(last) = &self.last
            && last.facts.history == sample.facts.history
            && sample.when > last.when
        {
            let bytes = (sample.facts.offset - last.facts.offset).max(0) as f64;
            self.rate = bytes / (sample.when - last.when).as_secs_f64();
        }
        self.last = Some(sample);
    }

    /// Its last answer.
    ///
    /// # Errors
    /// There is none that counts.
    fn known(&self, now: Duration) -> Result<&Sample, String> {
        match &self.last {
            Some(last) if now > last.when + GONE_AFTER => {
                Err("its primary does not answer".to_owned())
            }
            Some(last) if last.facts.role != "master" => {
                Err(format!("the role of its primary is {}", last.facts.role))
            }
            Some(last) => Ok(last),
            None => Err("its primary has not answered yet".to_owned()),
        }
    }
}

impl Track {
    pub(super) fn new() -> Track {
        Track {
            at: None,
            answered: None,
            offset: 0,
            behind_since: None,
            standing: Err("not asked yet".to_owned()),
            way: Way::default(),
        }
    }

    /// Takes in what came of a question to it, and to its primary.
    pub(super) fn take(
        &mut self,
        answer: Result<Sample, String>,
        primary: &Primary,
        lag_max_bytes: u64,
        now: Duration,
    ) {
        let sample = match answer {
            Ok(sample) => sample,
            Err(why) => {
                let lately = self.answered.is_some_and(|at| now <= at + GONE_AFTER);
                if let Err(none) = primary.known(now) {
                    self.standing = Err(none);
                } else if !lately || self.standing.is_err() {
                    self.standing = Err(why);
                }
                return;
            }
        };
        self.at = Some(sample.at);
        self.answered = Some(sample.when);
        self.way.take(sample.round_trip);
        self.standing = primary.known(now).and_then(|of_primary| {
            let standing = judge(&sample, of_primary, primary.rate, lag_max_bytes);
            let stands = sample.facts.offset == self.offset;
            let behind = of_primary.facts.offset > sample.facts.offset;
            self.behind_since = match self.behind_since {
                Some(since) if stands && behind => Some(since),
                _ => behind.then_some(now),
            };
            match self.behind_since {
                Some(since) if now >= since + STUCK_AFTER => {
                    Err("it stands still, and its primary goes on".to_owned())
                }
                _ => standing,
            }
        });
        self.offset = sample.facts.offset;
    }
}

/// How many bytes it lacks, or why it can not be read from.
fn judge(sample: &Sample, primary: &Sample, rate: f64, lag_max_bytes: u64) -> Result<u64, String> {
    let facts = &sample.facts;
    if facts.role != "slave" {
        return Err(format!("its role is {}", facts.role));
    }
    if facts.loading || facts.syncing {
        return Err("it is loading".to_owned());
    }
    if !facts.link_up {
        return Err("its link to the primary is down".to_owned());
    }
    if facts.history.is_empty() || facts.history != primary.facts.history {
        return Err("it follows another primary".to_owned());
    }
    // They were not asked in the same moment: where the primary was when the replica answered.
    let apart = sample.when.as_secs_f64() - primary.when.as_secs_f64();
    let written = primary.facts.offset as f64 + rate * apart;
    let lag_bytes = (written - facts.offset as f64).max(0.0) as u64;
    match lag_bytes > lag_max_bytes {
        true => Err(format!("it lacks {lag_bytes} bytes (replica_lag_max_bytes)")),
        false => Ok(lag_bytes),
    }
}

impl Way {
    fn take(&mut self, round_trip: Duration) {
        self.mean = Some(match self.mean {
            Some(mean) => mean.mul_f64(1.0 - FRESH) + round_trip.mul_f64(FRESH),
            None => round_trip,
        });
    }
}

/// Finds out which of the nodes are near, of those that may be asked.
pub(super) fn find_near<'a>(ways: impl Iterator<Item = &'a mut Way>) {
    let mut ways: Vec<&mut Way> = ways.collect();
    let Some(least) = ways.iter().filter_map(|way| way.mean).min() else { return };
    for way in &mut ways {
        let bound = match way.near {
            true => least * 2 + NEAR_STAYS,
            false => least.mul_f64(1.5) + NEAR_WITHIN,
        };
        way.near = way.mean.is_some_and(|mean| mean <= bound);
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
