//! Hold: what a watched shard is asked while it has no verified primary waits on its lane, and so
//! does what may be asked again.
//!
//! A lane of a watched pool keeps the bytes of every request in flight. When its connection is
//! lost, what was never sent stays in its place, a read that was sent is sent again, and a write
//! that was sent is answered: its outcome is unknown. What a server refused unexecuted, because it
//! is no primary (any more), waits for the next one ([`Relay::take_back`]); but a write that would
//! then come behind a later request of its client is answered ([`Relay::fail_overtaken`]). So the
//! order of each client's writes on the lane never changes.
//!
//! It is bounded three times: by `hold_ms` since the outage began, by `hold_bytes` of a shard on
//! one core, and by the bounds of clients and lanes that always hold.

use std::collections::VecDeque;

use crate::base::ids::{PoolId, ShardId};
use crate::base::limits::SENDS_MAX;
use crate::base::time::{Now, US_PER_MS};
use crate::command::repeat::Repeat;
use crate::config::model::PoolConfig;
use crate::relay::Relay;
use crate::relay::fate::{Failure, Lost, repeat_of};
use crate::relay::kept::Kept;
use crate::relay::lane::{Lane, LaneState, Target, Token};
use crate::relay::lanes::Loss;
use crate::relay::plants::{Plant, planted};
use crate::stats::cells::ShardMetric;

/// What a lane of a watched pool has beside the others.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Index into `Relay::holds`.
    pub(super) hold: u32,
    /// The bytes of the requests in flight: one entry for each token, an empty one for a fence.
    pub(super) kept: Kept,
    /// Requests that come before those in flight, on the next connection: refused by this one.
    pub(super) refused: VecDeque<Token>,
    pub(super) refused_kept: Kept,
    /// The server refuses: nothing more is sent, and the connection is closed when all that was
    /// sent is answered, or at this time.
    pub(super) refusing_until_us: Option<u64>,
    /// Since when requests may be sent on this connection; deadlines do not run before.
    pub(super) ready_us: u64,
    /// Since when this lane has not served; `None`: it does. Its own: another lane that can not be
    /// connected, or is not asked, must not use up the time for which the requests of this one wait.
    pub(super) waits_since_us: Option<u64>,
    /// Connections in a row that were lost with requests sent and none of them answered.
    fruitless: u8,
    /// When a script's refusal was believed last.
    pub(super) script_refused_us: Option<u64>,
}

/// What all lanes of a watched shard share.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) pool: PoolId,
    pub(super) shard: ShardId,
    /// Bytes of requests that its lanes keep.
    pub(super) kept_bytes: usize,
    /// A connection to the primary of this verification was lost: only a higher one counts.
    pub(super) doubted: Option<u64>,
    /// Which doubt was reported last, and when.
    pub(super) reported: Option<(u64, u64)>,
    /// Since when the shard is not served, or was not when the present outage began; to be told
    /// with the first reply.
    pub(super) outage_us: Option<u64>,
}

impl Watch {
    pub(super) fn new(hold: u32) -> Watch {
        Watch { hold, ..Watch::default() }
    }

    pub(super) fn is_refusing(&self) -> bool {
        self.refusing_until_us.is_some()
    }

    /// A connection was lost with requests sent. Whether the oldest is to be sent no more: a request
    /// that kills its server would else kill one after the other.
    pub(super) fn give_up(&mut self) -> bool {
        self.fruitless += 1;
        let over = self.fruitless >= SENDS_MAX;
        if over {
            self.fruitless = 0;
        }
        over
    }

    pub(super) fn give_back(&mut self) {
        self.kept.give_back();
        self.refused_kept.give_back();
    }

    /// Until when requests wait, if they do.
    pub(super) fn until_us(&self, config: &PoolConfig) -> Option<u64> {
        Some(self.waits_since_us?.saturating_add(config.hold_ms.saturating_mul(US_PER_MS)))
    }
}

impl Hold {
    pub(super) fn new(pool: PoolId, shard: ShardId) -> Hold {
        Hold { pool, shard, kept_bytes: 0, doubted: None, reported: None, outage_us: None }
    }
}

impl Lane {
    /// Bytes of requests that are kept on this lane.
    pub(super) fn kept_bytes(&self) -> usize {
        let of_replica = self.replica.as_ref().map_or(0, |replica| replica.kept.bytes());
        self.watch.as_ref().map_or(of_replica, |watch| watch.kept.bytes())
    }

    /// Whether requests are in flight, fences aside: those serve nobody.
    pub(super) fn is_asked(&self) -> bool {
        self.inflight.iter().any(|token| token.target != Target::Fence)
    }

    /// Requests that wait until they may be sent.
    pub(super) fn held(&self) -> usize {
        let refused = self.watch.as_ref().map_or(0, |watch| watch.refused.len());
        if self.state == LaneState::Ready { 0 } else { self.inflight.len() - self.sent + refused }
    }
}

impl Relay {
    /// Keeps bytes of the newest request of a lane that is not plain. `true`: they are to be sent,
    /// too.
    pub(super) fn keep_bytes(&mut self, index: u32, bytes: &[u8]) -> bool {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return false };
        if let Some(replica) = &mut lane.replica {
            replica.kept.extend(bytes);
            self.lane_bytes += bytes.len();
            return true;
        }
        let ready = lane.state == LaneState::Ready;
        let Some(watch) = &mut lane.watch else { return true };
        if !watch.kept.keeps_newest() {
            return ready;
        }
        let hold = &mut self.holds[watch.hold as usize];
        if hold.kept_bytes + bytes.len() <= self.pools[lane.pool.index()].config.hold_bytes {
            watch.kept.extend(bytes);
            hold.kept_bytes += bytes.len();
            self.lane_bytes += bytes.len();
            return ready;
        }
        let had = watch.kept.give_up_newest();
        hold.kept_bytes -= had;
        self.lane_bytes -= had;
        if !ready {
            self.sweep_us = 0; // it can not wait: it is answered before this turn ends
        }
        ready
    }

    /// Whether a watched lane that is not ready takes one more request.
    pub(super) fn may_hold(&self, index: u32, now_us: u64) -> bool {
        let Some(lane) = self.lanes.get(index as usize) else { return false };
        let Some(watch) = &lane.watch else { return false };
        let Some(hold) = self.holds.get(watch.hold as usize) else { return false };
        let config = &self.pools[lane.pool.index()].config;
        let in_time = watch.until_us(config).is_none_or(|until_us| now_us < until_us);
        in_time && hold.kept_bytes < config.hold_bytes
    }

    /// From now on nothing is sent on this lane; what was sent is answered.
    pub(super) fn stop_lane(&mut self, index: u32, now: Now) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        if lane.state != LaneState::Ready {
            return;
        }
        lane.state = LaneState::Stopped;
        self.lane_bytes = self.lane_bytes.saturating_sub(lane.outbox.bytes());
        lane.outbox.clear(&mut self.chunks); // all of it is kept, or fails now
        self.begin_wait(index, now.mono_us);
        self.fail_unkept(index, now);
    }

    /// The hand-shake of a watched lane is over.
    pub(super) fn begin_watched(&mut self, index: u32, now: Now) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        let (pool, shard) = (lane.pool, lane.shard);
        // What follows from an answer to one of its requests waits behind the others.
        lane.state = LaneState::Stopped;
        let paused = self.topology.shard(pool, shard).is_some_and(|shard| shard.paused);
        if paused && lane.subscriber.is_none() {
            self.begin_wait(index, now.mono_us);
            return self.fail_unkept(index, now);
        }
        self.go_on(index, now);
    }

    /// From now on requests wait on this lane.
    pub(super) fn begin_wait(&mut self, index: u32, now_us: u64) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        let Some(watch) = &mut lane.watch else { return };
        watch.waits_since_us.get_or_insert(now_us);
        let until_us = watch.until_us(&self.pools[lane.pool.index()].config);
        self.sweep_us = self.sweep_us.min(until_us.unwrap_or(u64::MAX));
    }

    /// This lane serves: one of its requests was answered, or none waits.
    #[cold]
    pub(super) fn end_wait(&mut self, index: u32) {
        let lane = self.lanes.get_mut(index as usize);
        if let Some(watch) = lane.and_then(|lane| lane.watch.as_mut()) {
            watch.waits_since_us = None;
            watch.fruitless = 0;
        }
    }

    /// Requests may be sent on this lane, those first that wait.
    pub(super) fn go_on(&mut self, index: u32, now: Now) {
        self.fail_unkept(index, now);
        let Some(lane) = self.lanes.get(index as usize) else { return };
        let (pool, shard, sent) = (lane.pool, lane.shard, lane.sent);
        if !self.topology.shard(pool, shard).is_some_and(|shard| shard.writable) {
            let failures = self.sift(index, |at, _, bytes| match bytes.map(repeat_of) {
                _ if at < sent => Ok(()),
                Some(Repeat::Always | Repeat::SameConnection) => Ok(()),
                _ => Err(Failure::Unwritable),
            });
            self.fail_all(pool, shard, &failures, now);
        }
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        let Some(watch) = &mut lane.watch else { return };
        watch.ready_us = now.mono_us;
        lane.state = LaneState::Ready;
        let waiting = watch.kept.behind(sent);
        lane.outbox.put(waiting, &mut self.chunks);
        self.lane_bytes += waiting.len();
        let asked = lane.is_asked();
        let timeout_ms = self.pools[pool.index()].config.timeout_ms;
        if let (true, Some(timeout_ms)) = (asked, timeout_ms) {
            let until_us = now.mono_us.saturating_add(timeout_ms.saturating_mul(US_PER_MS));
            self.sweep_us = self.sweep_us.min(until_us);
        }
        if !lane.outbox.is_empty() {
            self.mark_lane(index);
        }
        if !asked {
            self.end_wait(index);
            self.end_outage_unless_asked(index);
        }
        self.release_feeders(index);
    }

    /// A lane has lost its connection: what may wait waits for the next primary.
    pub(super) fn hold_lane(&mut self, index: u32, lost: Lost, loss: Loss, now: Now) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        lane.state = LaneState::Held;
        let (pool, shard) = (lane.pool, lane.shard);
        let why = lane.why.clone();
        let unasked = lane.subscriber.is_some() || lane.is_tracker();
        let stood = lost.stood;
        self.begin_wait(index, now.mono_us);
        match loss {
            // It is there, and says no to this lane only: that of a database it has not, say.
            Loss::TurnedAway => self.schedule_reconnect(index, false, now),
            // No request was on it. (A redis-server closes one that does not keep up.) Whether there
            // is a primary the next connection tells: ROLE is asked on it, and none is in doubt.
            _ if stood && unasked && loss != Loss::Moved => {
                self.schedule_reconnect(index, true, now);
            }
            _ => self.doubt(pool, shard, (loss != Loss::Moved).then_some(&why), now),
        }
        let replay = self.pools[pool.index()].config.replay;
        let failures = self.sift(index, |at, token, bytes| match token.target {
            Target::Fence => Err(Failure::Silent),
            _ => lost.judge(replay, at, bytes),
        });
        let may_be_done =
            |failure: &Failure| matches!(failure, Failure::Unknown | Failure::Overdue);
        let done: Vec<Target> =
            failures.iter().filter(|f| may_be_done(&f.2)).map(|(_, target, _)| *target).collect();
        self.fail_overtaken(index, &done, now);
        let failed = failures.iter().filter(|(at, _, _)| *at < lost.sent).count();
        let repeated = lost.sent.saturating_sub(failed);
        self.stats.shard(pool, shard, ShardMetric::Repeated).add(repeated as u64);
        if let Some(lane) = self.lanes.get_mut(index as usize)
            && let Some(watch) = &mut lane.watch
        {
            watch.refusing_until_us = None;
            if !watch.refused.is_empty() {
                let mut kept = std::mem::take(&mut watch.refused_kept);
                watch.kept.iter().for_each(|request| kept.put(request));
                watch.kept = kept;
                watch.refused.append(&mut lane.inflight);
                std::mem::swap(&mut lane.inflight, &mut watch.refused);
            }
            if planted(Plant::SwapHeld) && lane.inflight.len() > 1 {
                lane.inflight.swap(0, 1);
            }
        }
        self.fail_all(pool, shard, &failures, now);
    }

    /// The time of the outage is over: what waits on this lane is answered.
    pub(super) fn fail_held(&mut self, index: u32, now: Now) {
        let Some(lane) = self.lanes.get(index as usize) else { return };
        if lane.subscriber.is_some() {
            return self.fail_waiters(index);
        }
        let (pool, shard, sent) = (lane.pool, lane.shard, lane.sent);
        let mut failures =
            self.sift(index, |at, _, _| if at < sent { Ok(()) } else { Err(Failure::Expired) });
        if let Some(watch) = self.lanes.get_mut(index as usize).and_then(|l| l.watch.as_mut()) {
            let kept = std::mem::take(&mut watch.refused_kept).bytes();
            self.holds[watch.hold as usize].kept_bytes -= kept;
            self.lane_bytes -= kept;
            let refused = watch.refused.drain(..);
            failures.extend(refused.map(|token| (0, token.target, Failure::Expired)));
        }
        if !failures.is_empty() {
            self.fail_all(pool, shard, &failures, now);
            self.release_feeders(index);
        }
    }

    /// Requests on a lane that sends nothing, and for which there was no room, are answered.
    pub(super) fn fail_unkept(&mut self, index: u32, now: Now) {
        let Some(lane) = self.lanes.get(index as usize) else { return };
        let (pool, shard, sent) = (lane.pool, lane.shard, lane.sent);
        if !lane.watch.as_ref().is_some_and(|watch| watch.kept.lacks_behind(sent)) {
            return;
        }
        let failures = self.sift(index, |at, _, bytes| match bytes {
            None if at >= sent => Err(Failure::Full),
            _ => Ok(()),
        });
        self.fail_all(pool, shard, &failures, now);
        self.release_feeders(index);
    }

    /// Takes those out of a lane's requests that `judge` fails: number, token, kept bytes.
    fn sift(
        &mut self,
        index: u32,
        judge: impl Fn(usize, &Token, Option<&[u8]>) -> Result<(), Failure>,
    ) -> Vec<(usize, Target, Failure)> {
        let mut failures = Vec::new();
        let Some(lane) = self.lanes.get_mut(index as usize) else { return failures };
        let Some(watch) = &mut lane.watch else { return failures };
        let (tokens, kept) = (std::mem::take(&mut lane.inflight), std::mem::take(&mut watch.kept));
        debug_assert_eq!(tokens.len(), kept.len(), "an entry for each request");
        for (at, (token, bytes)) in tokens.into_iter().zip(kept.iter()).enumerate() {
            match judge(at, &token, bytes) {
                Ok(()) => {
                    lane.inflight.push_back(token);
                    watch.kept.put(bytes);
                }
                Err(failure) => failures.push((at, token.target, failure)),
            }
        }
        let given_up = kept.bytes() - watch.kept.bytes();
        self.holds[watch.hold as usize].kept_bytes -= given_up;
        self.lane_bytes -= given_up;
        failures
    }
}
