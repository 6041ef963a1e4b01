//! What a new topology, and the configuration that it carries, mean for requests under way.
//!
//! A primary that has moved by the sentinels' or the resolver's word is left at once: whatever it
//! would still say, it is not the primary any more.
//!
//! Most of a configuration is read where it is needed, so that the next request, hand-shake or
//! deadline goes by the new one; what was derived from the old one is derived anew here. Pools and
//! shards keep their ids, and further pools get further ones.
//!
//! A shard that got another address is no failover: its old server is as good as before. So nothing
//! more is sent there, but what was sent is answered, and only then the lane goes over to the new
//! one with all that has come for it meanwhile ([`LaneState::Leaving`]). Nobody notices.

use std::sync::Arc;

use crate::base::ids::{LaneId, PoolId, ShardId};
use crate::base::limits::LEAVE_MAX_MS;
use crate::base::time::{Now, US_PER_MS};
use crate::config::model::{Config, PoolConfig};
use crate::relay::Relay;
use crate::relay::api::Ask;
use crate::relay::lane::{Flow, LaneState, Target, Token};
use crate::relay::lanes::Loss;
use crate::relay::plants::{Plant, planted};
use crate::relay::pool::Pool;
use crate::resp::encode;
use crate::route::Rules;
use crate::stats::cells::{CoreMetric, ShardMetric};
use crate::topology::{NodeEndpoint, Topology};

impl Relay {
    /// A new picture of the shards. Every connection to a primary that is no longer one is closed.
    pub fn on_topology(&mut self, topology: Arc<Topology>, now: Now) {
        if topology.epoch <= self.topology.epoch {
            return;
        }
        let (moved, rerouted) = self.take_config(&topology.config);
        self.leave_moved_primaries(&topology, now);
        let old = std::mem::replace(&mut self.topology, topology);
        self.stats.core(CoreMetric::TopologyEpoch).set(self.topology.epoch);
        self.follow_watched(now);
        for index in 0..self.lanes.len() as u32 {
            let lane = &self.lanes[index as usize];
            let readdressed = moved.contains(&(lane.pool, lane.shard));
            let primary = |topology: &Topology| -> Option<NodeEndpoint> {
                topology.shard(lane.pool, lane.shard)?.primary.clone()
            };
            if lane.watch.is_some()
                || lane.replica.is_some()
                || primary(&old) == primary(&self.topology)
            {
                continue;
            }
            match lane.state {
                LaneState::Idle => continue,
                LaneState::Down { .. } => {}
                _ if lane.private.is_some() && !planted(Plant::KeepFenced) => {
                    if readdressed && self.owes_half(index) {
                        continue;
                    }
                    self.lose_lane(index, "The primary has moved".to_owned(), Loss::Moved, now);
                    continue;
                }
                _ if readdressed && self.has_primary(lane.pool, lane.shard) => {
                    self.leave(index, now);
                    continue;
                }
                _ if planted(Plant::KeepFenced) => continue,
                _ => self.lose_lane(index, "The primary has moved".to_owned(), Loss::Failed, now),
            }
            self.lanes[index as usize].failures = 0;
            if matches!(self.lanes[index as usize].state, LaneState::Down { .. }) {
                self.connect_lane(index, now.mono_us);
            }
        }
        if self.reads_replicas {
            self.follow_replicas(now);
        }
        rerouted.into_iter().for_each(|pool| self.move_topics(pool, now));
        self.preconnect(now);
        self.serve_all_private(now);
    }

    /// From now on `next` counts. Gives the shards that have another address in it, and the pools
    /// whose keys are placed otherwise.
    fn take_config(&mut self, next: &Arc<Config>) -> (Vec<(PoolId, ShardId)>, Vec<PoolId>) {
        let (mut moved, mut rerouted) = (Vec::new(), Vec::new());
        if Arc::ptr_eq(&self.config, next) {
            return (moved, rerouted);
        }
        self.config = next.clone();
        for (number, config) in (0..).zip(&next.pools) {
            let id = PoolId(number);
            let Some(pool) = self.pools.get_mut(id.index()) else { break };
            let before = pool.take(config);
            if Rules::from(&*before) != Rules::from(&**config) {
                rerouted.push(id);
            }
            let shards = (0..).zip(before.shards.iter().zip(&config.shards));
            let changed = shards.filter(|(_, (before, now))| before.address != now.address);
            moved.extend(changed.map(|(shard, _)| (id, ShardId(shard))));
            self.keep_logged_in(id, config);
        }
        for (id, config) in next.numbered().skip(self.pools.len()) {
            let pool = Pool::new(config, id, &mut self.holds);
            self.pools.push(pool);
        }
        self.latency.grow(self.pools.len());
        // Deadlines, pauses and fences are by other figures now, and bounds may have grown.
        (self.sweep_us, self.idle_sweep_us) = (0, 0);
        self.lanes.iter_mut().for_each(|lane| lane.fence.due_us = 0);
        (0..self.lanes.len() as u32).for_each(|index| self.release_feeders(index));
        (moved, rerouted)
    }

    /// Who was asked for a password that is no longer wanted need not give it. (Who came in without
    /// one, when none was asked for, is in.)
    fn keep_logged_in(&mut self, id: PoolId, now: &PoolConfig) {
        if now.client_password.is_none() {
            let of_pool = self.clients.iter_mut().filter(|client| client.pool == id);
            of_pool.for_each(|client| client.authenticated = true);
        }
    }

    /// The shard of this lane has another address.
    fn leave(&mut self, index: u32, now: Now) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        match lane.state {
            LaneState::Ready
                if lane.sent > 0 && !lane.is_tracker() && !planted(Plant::LeaveAtOnce) =>
            {
                lane.state = LaneState::Leaving { since_us: now.mono_us };
                lane.dirty = false;
                self.leaving = true;
                self.sweep_us = self.sweep_us.min(now.mono_us);
            }
            LaneState::Leaving { .. } => {}
            _ => self.close_and_go_over(index, now),
        }
    }

    /// Lanes whose old server owes nothing any more, or has said nothing for too long, go over.
    #[cold]
    pub(super) fn end_leaving(&mut self, now: Now) {
        self.leaving = false;
        for index in 0..self.lanes.len() as u32 {
            let lane = &self.lanes[index as usize];
            let LaneState::Leaving { since_us } = lane.state else { continue };
            if lane.sent == 0 || now.mono_us >= self.left_behind_us(index, since_us) {
                self.close_and_go_over(index, now);
            } else {
                self.leaving = true;
            }
        }
    }

    /// When a lane that is leaving waits no longer.
    pub(super) fn left_behind_us(&self, index: u32, since_us: u64) -> u64 {
        let Some(lane) = self.lanes.get(index as usize) else { return since_us };
        let timeout_ms = self.pools[lane.pool.index()].config.timeout_ms.unwrap_or(u64::MAX);
        let wait_ms = (timeout_ms / 2).min(LEAVE_MAX_MS);
        lane.heard_us.max(since_us) + wait_ms * US_PER_MS
    }

    fn close_and_go_over(&mut self, index: u32, now: Now) {
        let Some(lane) = self.lanes.get(index as usize) else { return };
        self.asks.push_back(Ask::CloseLane(LaneId { index, generation: lane.generation }));
        self.go_over(index, now);
    }

    /// Connects a lane, whose connection has ended, to where its shard is now. What was not sent
    /// stays in its place; what was sent and is still owed fails.
    pub(super) fn go_over(&mut self, index: u32, now: Now) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        let (pool, shard) = (lane.pool, lane.shard);
        let connected = lane.is_connected();
        if connected {
            self.stats.shard(pool, shard, ShardMetric::ServerConnections).sub(1);
        }
        let owed: Vec<Token> = lane.inflight.drain(..lane.sent).collect();
        let streaming = owed.first().filter(|_| lane.flow == Flow::Stream).map(|it| it.target);
        lane.expired = lane.expired.saturating_sub(owed.len());
        lane.failures = 0;
        self.end_connection(index, connected);
        self.forget_subscriptions(index);
        self.connect_lane(index, now.mono_us);
        self.scripts.forget_loaded(pool, shard);
        if let Some(Target::Client { client, .. }) = streaming {
            self.drop_client(client); // it has half a reply: nothing true can follow that
        }
        if owed.is_empty() {
            return;
        }
        let why = "The address was changed before the reply came";
        let mut error = Vec::new();
        encode::error(&mut error, self.shard_error(pool, shard, why));
        for token in owed {
            self.fail(token.target, &error, now);
        }
    }
}
