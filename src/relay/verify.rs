//! The verification number: fencing without a clock.
//!
//! A core that has lost a connection to a watched shard's primary doubts the verification by which
//! it had connected, says so ([`Report::ShardSuspect`]), and connects only after a higher one: a
//! primary that was replaced, died, and came back as a master is never written to. What the new
//! number says is what its sentinels and its ROLE have said since then.

use crate::base::ids::{ClientId, PoolId, ShardId};
use crate::base::time::{Now, US_PER_MS};
use crate::relay::Relay;
use crate::relay::api::Report;
use crate::relay::hold::Hold;
use crate::relay::lane::LaneState;
use crate::relay::lanes::Loss;
use crate::relay::plants::{Plant, planted};
use crate::resp::value;
use crate::stats::cells::ShardMetric;
use crate::topology::Topology;

/// How often a doubt is told again as long as no higher verification comes: news may get lost, µs.
const DOUBT_AGAIN_US: u64 = 1_000 * US_PER_MS;

/// What ROLE says of a node that is a primary.
pub(super) fn is_primary(role: &[u8]) -> bool {
    let first = value::elements(role).and_then(|mut elements| elements.next());
    first.and_then(value::bulk).flatten() == Some(b"master")
}

impl Relay {
    /// Whether the primary of a watched shard may be connected to now.
    pub(super) fn is_verified(&self, pool: PoolId, shard: ShardId) -> bool {
        let Some(known) = self.topology.shard(pool, shard) else { return false };
        let doubted = self.hold_of(pool, shard).and_then(|hold| hold.doubted);
        let fresh = doubted.is_none_or(|doubted| known.verified > doubted);
        known.primary.is_some() && (fresh || planted(Plant::TrustAgain))
    }

    /// The lanes to a shard's primary, of all protocol versions and databases.
    fn lanes_of(&self, pool: PoolId, shard: ShardId) -> Vec<u32> {
        let of_shard = |index: &u32| {
            let lane = &self.lanes[*index as usize];
            (lane.pool, lane.shard) == (pool, shard) && lane.replica.is_none()
        };
        (0..self.lanes.len() as u32).filter(of_shard).collect()
    }

    fn hold_of(&self, pool: PoolId, shard: ShardId) -> Option<&Hold> {
        let first = self.pool(pool).first_hold?;
        self.holds.get(first as usize + shard.index())
    }

    fn hold_mut(&mut self, pool: PoolId, shard: ShardId) -> Option<&mut Hold> {
        let first = self.pool(pool).first_hold?;
        self.holds.get_mut(first as usize + shard.index())
    }

    /// The primary may be none any more: `why` (`None`: another one is known already). Connections
    /// under way are given up, nobody knows to what they lead.
    pub(super) fn doubt(&mut self, pool: PoolId, shard: ShardId, why: Option<&str>, now: Now) {
        let verified = self.topology.shard(pool, shard).map_or(0, |shard| shard.verified);
        self.begin_outage(pool, shard, now.mono_us);
        let Some(hold) = self.hold_mut(pool, shard) else { return };
        let fresh = hold.doubted.is_none_or(|doubted| doubted < verified);
        if !fresh {
            return;
        }
        hold.doubted = Some(verified);
        hold.reported = Some((verified, now.mono_us));
        if let Some(why) = why {
            let (why, again) = (why.to_owned(), false);
            self.reports.push_back(Report::ShardSuspect { pool, shard, verified, why, again });
        }
        self.sweep_us = self.sweep_us.min(now.mono_us + DOUBT_AGAIN_US);
        for index in self.lanes_of(pool, shard) {
            if matches!(
                self.lanes[index as usize].state,
                LaneState::Connecting { .. } | LaneState::Greeting { .. }
            ) {
                self.lose_lane(index, "The primary is in doubt".to_owned(), Loss::Failed, now);
            }
        }
    }

    /// Since when the shard is not served.
    pub(super) fn outage_of(&self, pool: PoolId, shard: ShardId) -> Option<u64> {
        self.hold_of(pool, shard).and_then(|hold| hold.outage_us)
    }

    /// From now on the shard is not served.
    pub(super) fn begin_outage(&mut self, pool: PoolId, shard: ShardId, now_us: u64) {
        let Some(hold) = self.hold_mut(pool, shard) else { return };
        if hold.outage_us.is_none() {
            hold.outage_us = Some(now_us);
            self.stats.shard(pool, shard, ShardMetric::Holds).add(1);
        }
    }

    /// A request was served.
    #[cold]
    pub(super) fn end_outage(&mut self, index: u32, now: Now) {
        let Some(lane) = self.lanes.get(index as usize) else { return };
        let (pool, shard) = (lane.pool, lane.shard);
        let verified = self.topology.shard(pool, shard).map_or(0, |shard| shard.verified);
        let hold = self.hold_mut(pool, shard);
        let Some(outage_us) = hold.and_then(|hold| hold.outage_us.take()) else { return };
        let outage_us = now.mono_us.saturating_sub(outage_us);
        self.stats.shard(pool, shard, ShardMetric::HeldMs).add(outage_us / US_PER_MS);
        self.reports.push_back(Report::FirstReply { pool, shard, verified, outage_us });
    }

    /// Nobody waits any more: there will be no first reply.
    pub(super) fn end_outage_unless_asked(&mut self, index: u32) {
        let Some(lane) = self.lanes.get(index as usize) else { return };
        let (pool, shard) = (lane.pool, lane.shard);
        // What is under way on a lane that was never lost does not wait.
        let asked = |lane: u32| {
            let lane = &self.lanes[lane as usize];
            let waits = lane.watch.as_ref().is_some_and(|watch| watch.waits_since_us.is_some());
            waits && lane.is_asked()
        };
        if !self.lanes_of(pool, shard).into_iter().any(asked)
            && let Some(hold) = self.hold_mut(pool, shard)
        {
            hold.outage_us = None;
        }
    }

    /// A new picture is about to be taken in: every connection to a watched primary that is no
    /// longer one is closed at once.
    pub(super) fn leave_moved_primaries(&mut self, next: &Topology, now: Now) {
        for index in 0..self.lanes.len() as u32 {
            let lane = &self.lanes[index as usize];
            let (pool, shard) = (lane.pool, lane.shard);
            if lane.watch.is_none() || planted(Plant::KeepFenced) {
                continue;
            }
            let primary = |topology: &Topology| topology.shard(pool, shard)?.primary.clone();
            if primary(&self.topology) == primary(next) {
                continue;
            }
            match lane.state {
                LaneState::Idle | LaneState::Held | LaneState::Down { .. } => {}
                _ => self.lose_lane(index, "The primary has moved".to_owned(), Loss::Moved, now),
            }
            let lane = &mut self.lanes[index as usize];
            lane.failures = 0;
            if let Some(watch) = &mut lane.watch {
                watch.script_refused_us = None; // what that one said is not this one's word
            }
        }
    }

    /// What a picture that was taken in means for watched shards.
    pub(super) fn follow_watched(&mut self, now: Now) {
        let (mut paused_any, mut unwritable_any) = (false, false);
        for index in 0..self.lanes.len() as u32 {
            let lane = &self.lanes[index as usize];
            let Some(watch) = &lane.watch else { continue };
            let (pool, shard, state) = (lane.pool, lane.shard, lane.state);
            let (refusing, moved) = (watch.is_refusing(), lane.failures == 0);
            let Some(known) = self.topology.shard(pool, shard) else { continue };
            let paused = known.paused;
            match state {
                LaneState::Held => self.connect_verified(index, now),
                LaneState::Down { .. } if moved => self.connect_lane(index, now.mono_us),
                // Messages are nobody's write: who subscribes goes on.
                LaneState::Ready if paused && lane.subscriber.is_none() => {
                    self.stop_lane(index, now);
                }
                LaneState::Stopped if !paused && !refusing => self.go_on(index, now),
                _ => {}
            }
        }
        for pool in 0..self.pools.len() as u16 {
            let pool = PoolId(pool);
            if self.pool(pool).first_hold.is_none() {
                continue;
            }
            for shard in 0..self.pool(pool).config.shards.len() as u16 {
                let shard = ShardId(shard);
                let Some(known) = self.topology.shard(pool, shard) else { continue };
                unwritable_any |= !known.writable;
                if known.paused {
                    paused_any = true;
                    let connected = |lane: u32| self.lanes[lane as usize].is_connected();
                    if self.lanes_of(pool, shard).into_iter().any(connected) {
                        self.begin_outage(pool, shard, now.mono_us);
                    }
                }
            }
        }
        self.paused = paused_any;
        self.unwritable = unwritable_any;
        self.detours = self.unwritable || self.reads_replicas;
    }

    /// Connects a lane that waits for a verification, if there is one; after failures in a row not
    /// at once.
    fn connect_verified(&mut self, index: u32, now: Now) {
        let pause_us = self.random.next();
        let Some(lane) = self.lanes.get(index as usize) else { return };
        if lane.failures <= 1 || !self.is_verified(lane.pool, lane.shard) {
            return self.connect_lane(index, now.mono_us);
        }
        let until_us = now.mono_us + pause_us % (lane.backoff_ms() * US_PER_MS);
        self.lanes[index as usize].state = LaneState::Down { until_us };
        self.sweep_us = self.sweep_us.min(until_us);
    }

    /// What is due on a watched lane; gives the time at which something is due next.
    pub(super) fn sweep_watched(&mut self, index: u32, now: Now) -> Option<u64> {
        let lane = &self.lanes[index as usize];
        let (pool, shard, state) = (lane.pool, lane.shard, lane.state);
        let watch = lane.watch.as_ref()?;
        let hold = watch.hold;
        if matches!(state, LaneState::Idle | LaneState::Ready) {
            return None;
        }
        let refusing_until_us = watch.refusing_until_us;
        if refusing_until_us.is_some_and(|until_us| now.mono_us >= until_us) {
            let why = "Refused by the server".to_owned();
            self.lose_lane(index, why, Loss::Failed, now);
            return Some(now.mono_us); // what is due next is looked for in another sweep
        }
        self.fail_unkept(index, now);
        let hold = self.holds.get(hold as usize)?;
        let mut next_us = refusing_until_us.unwrap_or(u64::MAX);
        let until_us = self.lanes[index as usize].watch.as_ref()?.until_us(&self.pool(pool).config);
        let reported = hold.reported.filter(|(of, _)| hold.doubted == Some(*of));
        match until_us {
            Some(until_us) if now.mono_us >= until_us => self.fail_held(index, now),
            Some(until_us) => next_us = next_us.min(until_us),
            None => {}
        }
        if state == LaneState::Held
            && let Some((verified, at_us)) = reported
        {
            next_us = next_us.min(self.doubt_again(pool, shard, (verified, at_us), now));
        }
        (next_us != u64::MAX).then_some(next_us)
    }

    /// Tells once more of a doubt, if the last time is long ago; gives the time of the next.
    fn doubt_again(
        &mut self,
        pool: PoolId,
        shard: ShardId,
        (verified, at_us): (u64, u64),
        now: Now,
    ) -> u64 {
        if now.mono_us < at_us + DOUBT_AGAIN_US {
            return at_us + DOUBT_AGAIN_US;
        }
        if let Some(hold) = self.hold_mut(pool, shard) {
            hold.reported = Some((verified, now.mono_us));
        }
        let why = "still not verified".to_owned();
        self.reports.push_back(Report::ShardSuspect { pool, shard, verified, why, again: true });
        now.mono_us + DOUBT_AGAIN_US
    }

    /// Answers a write if one of its shards takes none.
    #[cold]
    pub(super) fn refuse_write(&mut self, id: ClientId, shards: &[ShardId]) -> bool {
        let Some(pool) = self.client(id).map(|client| client.pool) else { return false };
        let closed = |shard: &ShardId| {
            self.topology.shard(pool, *shard).is_some_and(|shard| !shard.writable)
        };
        let Some(shard) = shards.iter().copied().find(closed) else { return false };
        self.stats.shard(pool, shard, ShardMetric::WritesRefused).add(1);
        let text = self.unwritable_text(pool, shard);
        self.refuse(id, &text);
        true
    }

    /// Notes for each paused shard whether nothing of it is on its way: a planned switchover waits
    /// for that.
    pub(super) fn note_quiet(&mut self) {
        for hold in &self.holds {
            let Some(known) = self.topology.shard(hold.pool, hold.shard) else { continue };
            // Who blocks waits for a write, of which there is none to come.
            let busy = |index: u32| {
                let lane = &self.lanes[index as usize];
                lane.sent > 0 && !lane.blocks()
            };
            if known.paused && !self.lanes_of(hold.pool, hold.shard).into_iter().any(busy) {
                self.stats.quiet_epoch(hold.pool, hold.shard).set(self.topology.epoch);
            }
        }
    }
}
