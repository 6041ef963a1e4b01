//! What becomes of a request of a watched shard that its server did not answer, and the errors that
//! clients hear instead.

use crate::base::ids::{PoolId, ShardId};
use crate::base::time::Now;
use crate::command::repeat::{Repeat, repeat};
use crate::config::model::Replay;
use crate::relay::Relay;
use crate::relay::lane::Target;
use crate::relay::plants::{Plant, planted};
use crate::relay::wait::WRITES_LOST;
use crate::resp::args::Request;
use crate::resp::encode;
use crate::resp::request::{Parsed, RequestLimits, RequestParser};
use crate::stats::cells::ShardMetric;

/// Why a request leaves a lane without a reply of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nobody waits for the answer.
    Silent,
    /// A write that was sent; its connection was lost.
    Unknown,
    /// The same, but the server did not answer in time.
    Overdue,
    /// A WAIT, whose connection was lost.
    Wait,
    /// Not sent within `hold_ms`.
    Expired,
    /// Not sent, and not kept: `hold_bytes` was reached.
    Full,
    /// A write that may not be sent any more.
    Unwritable,
    /// Refused unexecuted, and then a later one of the same client was executed.
    Overtaken,
}

/// A request that was kept, as the parser sees it.
pub(super) const KEPT_LIMITS: RequestLimits = RequestLimits {
    args_max: u32::MAX as usize,
    bulk_bytes_max: u32::MAX as usize,
    request_bytes_max: u32::MAX as usize,
};

/// Whether a request that was kept may be repeated. A transaction may if it only reads.
pub(super) fn repeat_of(mut bytes: &[u8]) -> Repeat {
    let (mut ranges, mut first) = (Vec::new(), None);
    while !bytes.is_empty() {
        ranges.clear();
        let parsed = RequestParser::default().parse(bytes, &mut ranges, &KEPT_LIMITS);
        let Ok(Parsed::Request { bytes: length }) = parsed else { return Repeat::Never };
        let (request, behind) = bytes.split_at(length.min(bytes.len()));
        bytes = behind;
        let one = repeat(&Request { bytes: request, ranges: &ranges });
        if first.is_none() && bytes.is_empty() {
            return one; // nearly always
        }
        if one != Repeat::Always {
            return Repeat::Never;
        }
        first = Some(one);
    }
    first.unwrap_or(Repeat::Never)
}

/// What had become of a lost connection's requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost {
    /// Its hand-shake was over.
    pub(super) stood: bool,
    pub(super) sent: usize,
    pub(super) expired: usize,
    /// Half of the first one's reply has been passed on.
    pub(super) streaming: bool,
    /// It was closed because nothing came.
    pub(super) overdue: bool,
    /// The first one was sent often enough: each of its connections ended with nothing answered.
    pub(super) given_up: bool,
}

impl Lost {
    /// What becomes of the request at this place.
    pub(super) fn judge(
        self,
        replay: Replay,
        at: usize,
        bytes: Option<&[u8]>,
    ) -> Result<(), Failure> {
        if at < self.expired || (at == 0 && self.streaming) {
            return Err(Failure::Silent);
        }
        let sent = at < self.sent;
        let unknown = if self.overdue { Failure::Overdue } else { Failure::Unknown };
        let Some(bytes) = bytes else {
            return Err(if sent { unknown } else { Failure::Full });
        };
        match repeat_of(bytes) {
            Repeat::SameConnection => Err(Failure::Wait),
            _ if at == 0 && self.given_up => Err(unknown),
            _ if !sent => {
                if planted(Plant::LoseHeld) && at % 16 == 7 {
                    return Err(Failure::Silent);
                }
                Ok(())
            }
            Repeat::Always => Ok(()),
            Repeat::Idempotent if replay == Replay::Idempotent => Ok(()),
            _ if planted(Plant::RepeatWrites) => Ok(()),
            _ => Err(unknown),
        }
    }
}

impl Relay {
    /// Answers those who wait for these requests.
    pub(super) fn fail_all(
        &mut self,
        pool: PoolId,
        shard: ShardId,
        failures: &[(usize, Target, Failure)],
        now: Now,
    ) {
        for (_, target, failure) in failures {
            let (text, metric) = match failure {
                Failure::Silent => continue,
                Failure::Unknown => (self.unknown_text(pool, shard), ShardMetric::UnknownOutcomes),
                Failure::Overdue => (self.overdue_text(pool, shard), ShardMetric::UnknownOutcomes),
                Failure::Wait => (WRITES_LOST.to_owned(), ShardMetric::UnknownOutcomes),
                Failure::Expired => (self.held_text(pool, shard, false), ShardMetric::HoldExpired),
                Failure::Full => (self.held_text(pool, shard, true), ShardMetric::HoldExpired),
                Failure::Overtaken => (self.overtaken_text(pool, shard), ShardMetric::HoldExpired),
                Failure::Unwritable => {
                    (self.unwritable_text(pool, shard), ShardMetric::WritesRefused)
                }
            };
            if *target != Target::Nobody {
                self.stats.shard(pool, shard, metric).add(1);
            }
            let mut error = Vec::new();
            encode::error(&mut error, text);
            self.fail(*target, &error, now);
        }
    }

    pub(super) fn shard_name(&self, pool: PoolId, shard: ShardId) -> &str {
        let config = &self.pool(pool).config;
        config.shards.get(shard.index()).map_or("?", |shard| shard.name.as_str())
    }

    fn unknown_text(&self, pool: PoolId, shard: ShardId) -> String {
        let name = self.shard_name(pool, shard);
        format!(
            "ERR outcome unknown: the connection to shard {name} was lost before the reply came"
        )
    }

    fn overtaken_text(&self, pool: PoolId, shard: ShardId) -> String {
        let name = self.shard_name(pool, shard);
        format!(
            "LOADING shard {name} was not ready, and then took a later request of yours: not \
             executed, try again"
        )
    }

    fn overdue_text(&self, pool: PoolId, shard: ShardId) -> String {
        let name = self.shard_name(pool, shard);
        format!("ERR outcome unknown: shard {name} did not answer in time (timeout_ms)")
    }

    /// The word is one that client libraries retry on.
    pub(super) fn held_text(&self, pool: PoolId, shard: ShardId, full: bool) -> String {
        let name = self.shard_name(pool, shard);
        let config = &self.pool(pool).config;
        let paused = self.topology.shard(pool, shard).is_some_and(|shard| shard.paused);
        let why = if paused { "is being switched over" } else { "has no verified primary" };
        let bound = if full {
            format!("{} bytes wait already (hold_bytes)", config.hold_bytes)
        } else {
            format!("{} ms are over (hold_ms)", config.hold_ms)
        };
        format!("LOADING shard {name} {why}, and {bound}: not executed, try again")
    }

    /// The word with which redis itself refuses writes when it may be cut off.
    pub(super) fn unwritable_text(&self, pool: PoolId, shard: ShardId) -> String {
        let name = self.shard_name(pool, shard);
        format!(
            "NOREPLICAS shard {name} takes no writes: fewer than a majority of its sentinels can be \
             reached (quorum_required)"
        )
    }
}
