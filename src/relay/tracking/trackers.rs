//! Trackers: the connections on which redis tells which keys are written.
//!
//! A tracker is a lane like any other but for its greeting, and that nobody asks anything on it. So
//! it is asked for a sign of life of its own: a connection that is dead without a word would leave
//! old values with clients for ever.

use crate::base::ids::PoolId;
use crate::base::limits::{TRACKER_LINGER_MS, TRACKER_PING_MS};
use crate::base::time::{Now, US_PER_MS};
use crate::relay::Relay;
use crate::relay::api::Ask;
use crate::relay::kept::Kept;
use crate::relay::lane::{Lane, LaneState, TRACKER};
use crate::relay::lanes::Loss;
use crate::resp::Protocol;
use crate::stats::cells::ShardMetric;

impl Lane {
    pub(in crate::relay) fn is_tracker(&self) -> bool {
        self.database == TRACKER
    }
}

impl Relay {
    /// From now on somebody of this pool tracks.
    pub(super) fn connect_trackers(&mut self, pool: PoolId, now: Now) {
        let set = self.lane_set(pool, Protocol::Resp3, TRACKER);
        let first = self.lane_sets[set as usize].first;
        self.pools[pool.index()].tracking.trackers = Some(first);
        for index in first..first + u32::from(self.pool(pool).router.shards()) {
            if self.lanes[index as usize].state == LaneState::Idle {
                self.connect_lane(index, now.mono_us);
            }
        }
    }

    /// Whether a write to this key, wherever it is executed from now on, will be told here.
    pub(super) fn is_heard(&self, pool: PoolId, key: &[u8]) -> bool {
        let state = self.pool(pool);
        let Some(first) = state.tracking.trackers else { return false };
        let hears = |shard: u16| {
            let lane = self.lanes.get(first as usize + usize::from(shard));
            lane.is_some_and(Lane::is_greeted)
        };
        if state.router.is_random() {
            return (0..state.router.shards()).all(hears);
        }
        hears(state.router.shard_of(key, 0).0)
    }

    /// What is due on a tracker that is connected; gives the time at which something is due next.
    pub(in crate::relay) fn sweep_tracker(&mut self, index: u32, now: Now) -> Option<u64> {
        let lane = self.lanes.get_mut(index as usize)?;
        let asked_us = lane.inflight.front().map_or(0, |token| token.since_us);
        let due_us = lane.heard_us.max(asked_us) + TRACKER_PING_MS * US_PER_MS;
        if now.mono_us < due_us {
            return Some(due_us);
        }
        if !lane.inflight.is_empty() {
            self.lose_lane(index, "Connection timed out (silent)".to_owned(), Loss::Failed, now);
            return None;
        }
        lane.fence.due_us = now.mono_us; // it is put as the lane's output is taken
        self.mark_lane(index);
        Some(now.mono_us + TRACKER_PING_MS * US_PER_MS)
    }

    /// Once a second: trackers that nobody has needed for a while are closed, for each costs its node
    /// a word for every write.
    pub(in crate::relay) fn rest_trackers(&mut self) {
        for pool in 0..self.pools.len() as u16 {
            let pool = PoolId(pool);
            self.count_tracking(pool);
            let table = &self.pool(pool).tracking;
            let until_us = table.unused_since_us + TRACKER_LINGER_MS * US_PER_MS;
            let Some(first) = table.trackers else { continue };
            if table.clients == 0 && self.turn_us >= until_us {
                for index in first..first + u32::from(self.pool(pool).router.shards()) {
                    self.rest_tracker(index);
                }
                self.pools[pool.index()].tracking.trackers = None;
            }
        }
    }

    fn rest_tracker(&mut self, index: u32) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        let id = crate::base::ids::LaneId { index, generation: lane.generation };
        let connecting = matches!(lane.state, LaneState::Connecting { .. });
        if lane.is_connected() {
            self.stats.shard(lane.pool, lane.shard, ShardMetric::ServerConnections).sub(1);
        }
        if lane.is_connected() || connecting {
            self.asks.push_back(Ask::CloseLane(id));
        }
        lane.inflight.clear(); // nothing but its own sign of life
        if let Some(watch) = &mut lane.watch {
            watch.kept = Kept::default();
            (watch.waits_since_us, watch.refusing_until_us) = (None, None);
        }
        self.lane_bytes = self.lane_bytes.saturating_sub(lane.outbox.bytes());
        lane.outbox.clear(&mut self.chunks);
        self.end_connection(index, false); // no writes were on it
        let lane = &mut self.lanes[index as usize];
        (lane.state, lane.failures, lane.expired) = (LaneState::Idle, 0, 0);
        lane.why.clear();
    }
}
