//! What is due at the end of a turn: deadlines, reconnects, queries, clients that may go on.

use crate::base::ids::ClientId;
use crate::base::time::{Now, US_PER_MS, US_PER_S};
use crate::relay::Relay;
use crate::relay::api::Ask;
use crate::relay::client::{Phase, Stall};
use crate::relay::lane::{Flow, Lane, LaneState, Target};
use crate::relay::lanes::Loss;
use crate::resp::encode;
use crate::stats::cells::{PoolMetric, ShardMetric};

impl Relay {
    pub fn on_turn(&mut self, now: Now) {
        self.turn_us = now.mono_us;
        if now.mono_us >= self.sweep_us {
            self.sweep_lanes(now);
        }
        if self.leaving {
            self.end_leaving(now);
        }
        if self.paused {
            self.note_quiet();
        }
        if !self.lost_lanes.is_empty() {
            self.note_lost_writes();
        }
        if !self.naps.is_empty() {
            self.wake_gathers(now);
        }
        if !self.queries.is_empty() {
            self.go_on_asking(now);
        }
        while let Some((pool, shard)) = self.privates.lenders.pop() {
            self.serve_private(pool, shard, now);
        }
        if now.mono_us >= self.privates.due_us {
            self.sweep_private(now);
        }
        if now.mono_us >= self.pauses_end_us {
            self.end_pauses(now);
        }
        if !self.viewers.is_empty() {
            self.send_seen(now);
        }
        if now.mono_us >= self.idle_sweep_us {
            self.close_idle_clients(now);
        }
        if self.is_over_budget()
            && self.buffered_bytes > self.config.proxy.core_buffer_max_bytes / 2
        {
            self.shed_largest_client();
        }
        while let Some(id) = self.resumable.pop() {
            self.resume(id, now);
        }
    }

    /// When `on_turn` is needed again if nothing else happens, in `Now::mono_us`.
    pub fn next_deadline(&self) -> Option<u64> {
        let nap = self.naps.iter().map(|nap| nap.0).min().unwrap_or(u64::MAX);
        if !self.privates.lenders.is_empty() {
            return Some(self.turn_us);
        }
        let at = self.sweep_us.min(nap).min(self.idle_sweep_us).min(self.query_deadline());
        let at = at.min(self.privates.due_us).min(self.pauses_end_us).min(self.seen_deadline());
        (at != u64::MAX).then_some(at)
    }

    /// Looks at every lane; finds the time of the next look. Lanes are few, and a look is due only
    /// when the earliest deadline known has come.
    fn sweep_lanes(&mut self, now: Now) {
        self.sweep_us = u64::MAX;
        for index in 0..self.lanes.len() as u32 {
            if let Some(next_us) = self.sweep_lane(index, now) {
                self.sweep_us = self.sweep_us.min(next_us);
            }
        }
    }

    /// Gives the time at which this lane is due next.
    fn sweep_lane(&mut self, index: u32, now: Now) -> Option<u64> {
        let lane = &self.lanes[index as usize];
        let held = if lane.watch.is_some() { self.sweep_watched(index, now) } else { None };
        let own = self.sweep_state(index, now);
        held.into_iter().chain(own).min()
    }

    fn sweep_state(&mut self, index: u32, now: Now) -> Option<u64> {
        let lane = &self.lanes[index as usize];
        match lane.state {
            LaneState::Idle | LaneState::Held => None,
            LaneState::Connecting { until_us } | LaneState::Greeting { until_us, .. } => {
                if now.mono_us < until_us {
                    return Some(until_us);
                }
                self.lose_lane(index, "Connection timed out".to_owned(), Loss::Failed, now);
                None // its next time is in `sweep_us` already
            }
            LaneState::Down { until_us } => {
                if now.mono_us < until_us {
                    return Some(until_us);
                }
                self.connect_lane(index, now.mono_us);
                None
            }
            LaneState::Leaving { since_us } => {
                let timeout_ms = self.pools[lane.pool.index()].config.timeout_ms;
                let due_us = timeout_ms.and_then(|ms| self.expire(index, ms * US_PER_MS, now));
                due_us.into_iter().chain([self.left_behind_us(index, since_us)]).min()
            }
            LaneState::Ready | LaneState::Stopped if lane.blocks() => {
                self.sweep_blocking(index, now)
            }
            LaneState::Ready if lane.subscriber.is_some() => self.sweep_subscriber(index, now),
            LaneState::Ready if lane.private.is_some() => self.sweep_lent(index, now),
            LaneState::Ready | LaneState::Stopped if lane.is_tracker() => {
                self.sweep_tracker(index, now)
            }
            LaneState::Ready | LaneState::Stopped => {
                let timeout_ms = self.pools[lane.pool.index()].config.timeout_ms?;
                if lane.replica.is_some() {
                    return self.sweep_replica(index, timeout_ms, now);
                }
                self.expire(index, timeout_ms * US_PER_MS, now)
            }
        }
    }

    /// Requests past their deadline get an error; their replies will be dropped when they come. A
    /// lane from which nothing at all came for a whole deadline more is closed.
    fn expire(&mut self, index: u32, timeout_us: u64, now: Now) -> Option<u64> {
        let lane = &self.lanes[index as usize];
        let (pool, shard) = (lane.pool, lane.shard);
        // Deadlines of held requests begin when they may be sent.
        let watched = lane.watch.is_some();
        let ready_us = lane.watch.as_ref().map_or(0, |watch| watch.ready_us);
        if let Some(first) = lane.inflight.front() {
            let silent_since_us = lane.heard_us.max(first.since_us).max(ready_us);
            if watched && lane.sent > 0 && now.mono_us >= overdue_us(lane, timeout_us) {
                let why = "Connection timed out (silent)".to_owned();
                self.lose_lane(index, why, Loss::Overdue, now);
                return None;
            }
            if lane.expired > 0 && now.mono_us >= silent_since_us + 2 * timeout_us {
                let why = "Connection timed out (silent)".to_owned();
                self.lose_lane(index, why, Loss::Failed, now);
                return None;
            }
        }
        loop {
            let lane = &mut self.lanes[index as usize];
            let at = lane.expired;
            let sent = lane.sent;
            let Some(token) = lane.inflight.get_mut(at).filter(|_| !watched || at < sent) else {
                break;
            };
            if now.mono_us < token.since_us.max(ready_us) + timeout_us {
                break;
            }
            let streaming = at == 0 && lane.flow == Flow::Stream;
            if streaming && now.mono_us < lane.heard_us + timeout_us {
                return Some(lane.heard_us + timeout_us); // long, but it is coming
            }
            let target = token.target;
            lane.expired += 1;
            if target == Target::Fence {
                continue; // late or not, it tells whether the lane is in step
            }
            token.target = Target::Nobody;
            self.stats.shard(pool, shard, ShardMetric::ServerTimedout).add(1);
            if let (true, Target::Client { client, .. }) = (streaming, target) {
                self.lanes[index as usize].flow = Flow::Drop;
                self.drop_client(client);
                continue;
            }
            let mut error = Vec::new();
            encode::error(&mut error, self.shard_error(pool, shard, "Connection timed out"));
            self.fail(target, &error, now);
        }
        let lane = &self.lanes[index as usize];
        let next = lane.inflight.get(lane.expired).filter(|_| !watched || lane.expired < lane.sent);
        let next = next.map(|token| token.since_us.max(ready_us) + timeout_us);
        let silent = (lane.expired > 0).then(|| {
            let first_us = lane.inflight.front().map_or(0, |token| token.since_us);
            if watched {
                return overdue_us(lane, timeout_us);
            }
            lane.heard_us.max(first_us).max(ready_us) + 2 * timeout_us
        });
        next.into_iter().chain(silent).min()
    }

    /// Closes clients that have been idle for too long, where a pool asks for that.
    fn close_idle_clients(&mut self, now: Now) {
        let limits = self.pools.iter().map(|pool| pool.config.limits.client_idle_timeout_ms);
        if limits.clone().all(|timeout_ms| timeout_ms == 0) {
            self.idle_sweep_us = u64::MAX;
            return;
        }
        self.idle_sweep_us = now.mono_us + US_PER_S;
        let idle: Vec<ClientId> = self
            .clients
            .iter()
            .filter(|(_, _, client)| {
                let pool = &self.pools[client.pool.index()];
                let timeout_us = pool.config.limits.client_idle_timeout_ms * US_PER_MS;
                timeout_us > 0
                    && client.phase == Phase::Open
                    && client.order.is_empty()
                    && client.stall != Some(Stall::Pause)
                    && !client.monitors
                    && !client.is_subscribed()
                    && now.mono_us >= client.heard_us + timeout_us
            })
            .map(|(index, generation, _)| ClientId { index, generation })
            .collect();
        for id in idle {
            if let Some(client) = self.open_client(id) {
                let pool = client.pool;
                client.phase = Phase::Closed;
                self.stats.pool(pool, PoolMetric::ClientsClosedForIdleness).add(1);
                self.asks.push_back(Ask::FinishClient(id));
            }
        }
    }

    /// The core's buffers are over their budget, and clients hold more than half of it: the client
    /// that holds most is closed. (If it is lanes that do, `enqueue` refuses more.) One a turn is
    /// enough: a turn receives less than a client may hold.
    fn shed_largest_client(&mut self) {
        let largest = self.clients.iter().max_by_key(|(_, _, client)| client.buffered_bytes());
        let Some((index, generation, client)) = largest else { return };
        let id = ClientId { index, generation };
        if client.phase == Phase::Closed {
            // It was told goodbye and does not read what is left: others must not pay for it.
            self.asks.push_back(Ask::DropClient(id));
        } else {
            self.close_for_output(id);
        }
    }
}

/// When the connection to a watched primary is given up: the oldest request has no answer in its time, and
/// for half of that time nothing came at all. (A node that freezes in the middle of its work has answered
/// something after that request was sent.)
fn overdue_us(lane: &Lane, timeout_us: u64) -> u64 {
    let ready_us = lane.watch.as_ref().map_or(0, |watch| watch.ready_us);
    let asked_us = lane.inflight.front().map_or(0, |token| token.since_us).max(ready_us);
    (asked_us + timeout_us).max(lane.heard_us + timeout_us / 2)
}
