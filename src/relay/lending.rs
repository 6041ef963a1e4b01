//! Private connections over time: how they end, which are needed no more, when the next attempt to
//! connect is due, who has waited for one long enough, and what clients are told that get none.

use std::collections::VecDeque;

use crate::base::ids::{ClientId, LaneId, PoolId, ShardId};
use crate::base::limits::{BLOCK_RECONNECT_MS, PRIVATE_IDLE_MS};
use crate::base::time::{Now, US_PER_MS};
use crate::relay::Relay;
use crate::relay::api::{Ask, Report};
use crate::relay::lane::{Flow, LaneState, Token, backoff_ms};
use crate::relay::lanes::Loss;
use crate::relay::pool::LaneSet;
use crate::relay::private::{Lending, Loan, LostLoan, NotLent};
use crate::stats::cells::ShardMetric;

/// A shard whose private connections stand for so long is there, µs.
const UP_US: u64 = 1_000 * US_PER_MS;

impl Relay {
    /// Its connection has ended, or was never there; `orphans` were not answered.
    pub(super) fn lose_private(
        &mut self,
        index: u32,
        loss: Loss,
        (orphans, sent): (VecDeque<Token>, usize),
        now: Now,
    ) {
        let lane = &mut self.lanes[index as usize];
        let (pool, shard, why) = (lane.pool, lane.shard, std::mem::take(&mut lane.why));
        let Some(private) = &mut lane.private else { return };
        let (client, watched, set) = (private.client.take(), private.watched, private.set);
        self.retire(index);
        self.note_private_loss((pool, shard), (loss, &why), now);
        if watched && loss != Loss::Moved && loss != Loss::TurnedAway {
            self.doubt(pool, shard, Some(&why), now);
            // A shared lane looks after it from now on: that the doubt is told again, say.
            let LaneSet { first, lanes_per_node, .. } = self.lane_sets[set as usize];
            let shared = first + u32::from(shard.0) * lanes_per_node;
            if self.lanes[shared as usize].state == LaneState::Idle {
                self.connect_lane(shared, now.mono_us);
            }
        }
        self.privates.lenders.push((pool, shard));
        let Some(id) = client else { return };
        if let Some(client) = self.client(id) {
            client.loan = Loan::None;
        }
        let lost = LostLoan { shard, loss, why: &why, orphans: &orphans, sent };
        self.on_loan_lost(id, &lost, now);
    }

    fn note_private_loss(
        &mut self,
        (pool, shard): (PoolId, ShardId),
        (loss, why): (Loss, &str),
        now: Now,
    ) {
        let random = self.random.next();
        let lending = self.lending(pool, shard);
        if loss == Loss::Moved {
            (lending.failures, lending.again_us) = (0, now.mono_us);
            return;
        }
        lending.turned_away = loss == Loss::TurnedAway;
        // A server that hangs up as soon as it is asked was not there in between.
        let since_us = match lending.was_down_us {
            Some((since_us, up_us)) if now.mono_us < up_us + UP_US => since_us,
            _ => now.mono_us,
        };
        lending.down_since_us.get_or_insert(since_us);
        // Those that are lost together count once.
        if now.mono_us >= lending.again_us {
            lending.failures = lending.failures.saturating_add(1);
            let pause_us = match lending.failures {
                1 => 0,
                failures => random % (backoff_ms(failures) * US_PER_MS),
            };
            lending.again_us = now.mono_us + pause_us;
        }
        if lending.why != why {
            why.clone_into(&mut lending.why);
            let why = why.to_owned();
            self.reports.push_back(Report::LaneDown { pool, shard, why });
        }
    }

    /// A reply, or the other half of one, is to come on a private connection whose server is to be
    /// left for another, as good as that: it is waited for. (Not on one that is free: that owes a
    /// fence at most, and would be lent again.)
    pub(super) fn owes_half(&mut self, index: u32) -> bool {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return false };
        if self.pools[lane.pool.index()].lendings[lane.shard.index()].free.contains(&index) {
            return false;
        }
        let ready = lane.state == LaneState::Ready;
        // Who watches keys, or executes, waits for its answer.
        let asked = !lane.blocks() && lane.sent > 0;
        let half = ready && (asked || lane.flow != Flow::Collect || !lane.tail.is_empty());
        if let Some(private) = &mut lane.private {
            private.outdated |= half;
        }
        half
    }

    /// Closes a private connection that nobody has.
    pub(super) fn close_private(&mut self, index: u32) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        self.asks.push_back(Ask::CloseLane(LaneId { index, generation: lane.generation }));
        let connected = lane.is_connected();
        if connected {
            let cell = self.stats.shard(lane.pool, lane.shard, ShardMetric::ServerConnections);
            cell.sub(1);
        }
        lane.inflight.clear();
        lane.expired = 0;
        self.lane_bytes = self.lane_bytes.saturating_sub(lane.outbox.bytes());
        lane.outbox.clear(&mut self.chunks);
        self.end_connection(index, connected);
        self.retire(index);
    }

    /// Its place is free for the next private connection.
    fn retire(&mut self, index: u32) {
        let lane = &mut self.lanes[index as usize];
        lane.state = LaneState::Idle;
        let (pool, shard) = (lane.pool, lane.shard);
        if let Some(private) = &mut lane.private {
            (private.client, private.blocks_until_us) = (None, None);
        }
        let lending = self.lending(pool, shard);
        lending.connections -= 1;
        lending.free.retain(|free| *free != index);
        self.privates.spare.push(index);
    }

    /// What is due: who has waited long enough, connections that nobody needs, attempts to connect.
    pub(super) fn sweep_private(&mut self, now: Now) {
        self.privates.due_us = u64::MAX;
        for pool in 0..self.pools.len() as u16 {
            for shard in 0..self.pools[usize::from(pool)].lendings.len() as u16 {
                let lending = self.lending(PoolId(pool), ShardId(shard));
                if lending.connections > 0 || !lending.waiting.is_empty() {
                    self.sweep_lending(PoolId(pool), ShardId(shard), now);
                }
            }
        }
    }

    fn sweep_lending(&mut self, pool: PoolId, shard: ShardId, now: Now) {
        let idle_us = PRIVATE_IDLE_MS * US_PER_MS;
        while let Some(lane) = self.lending(pool, shard).free.first().copied() {
            let private = self.lanes[lane as usize].private.as_ref();
            let due_us = private.map_or(0, |private| private.idle_since_us + idle_us);
            if now.mono_us < due_us {
                self.privates.due_us = self.privates.due_us.min(due_us);
                break;
            }
            self.close_private(lane);
        }
        self.serve_private(pool, shard, now);
        let down = self.is_down_too_long(pool, shard, now);
        let waiting = std::mem::take(&mut self.lending(pool, shard).waiting);
        let is_over = |(_, until_us): &(ClientId, u64)| down || now.mono_us >= *until_us;
        let (over, waiting): (VecDeque<_>, VecDeque<_>) = waiting.into_iter().partition(is_over);
        let next_us = waiting.iter().map(|(_, until_us)| *until_us).min().unwrap_or(u64::MAX);
        let bound_us = if waiting.is_empty() { None } else { self.down_until_us(pool, shard) };
        let bound_us = bound_us.unwrap_or(u64::MAX);
        self.lending(pool, shard).waiting = waiting;
        self.privates.due_us = self.privates.due_us.min(next_us).min(bound_us);
        let why = if down || self.is_down_past_hold(pool, shard, now) {
            NotLent::Down
        } else {
            NotLent::Late
        };
        for (id, _) in over {
            if let Some(client) = self.client(id) {
                client.loan = Loan::None;
                self.on_not_lent(id, shard, why, now);
            }
        }
    }

    /// A new picture: those who wait may be served now.
    pub(super) fn serve_all_private(&mut self, now: Now) {
        for pool in 0..self.pools.len() as u16 {
            for shard in 0..self.pools[usize::from(pool)].lendings.len() as u16 {
                self.serve_private(PoolId(pool), ShardId(shard), now);
            }
        }
    }

    /// Until when a shard that can not be connected to is waited for: one that a sentinel watches,
    /// and that does not turn clients away, as long as they like (`None`).
    fn down_until_us(&mut self, pool: PoolId, shard: ShardId) -> Option<u64> {
        let watched = self.is_watched_pool(pool);
        let lending = self.lending(pool, shard);
        let bounded = !watched || lending.turned_away;
        Some(lending.down_since_us.filter(|_| bounded)? + BLOCK_RECONNECT_MS * US_PER_MS)
    }

    pub(super) fn is_down_too_long(&mut self, pool: PoolId, shard: ShardId, now: Now) -> bool {
        self.down_until_us(pool, shard).is_some_and(|until_us| now.mono_us >= until_us)
    }

    /// A watched shard is without a primary for longer than others' requests would have waited.
    fn is_down_past_hold(&mut self, pool: PoolId, shard: ShardId, now: Now) -> bool {
        let hold_us = self.pool(pool).config.hold_ms.saturating_mul(US_PER_MS);
        let own = self.lending(pool, shard).down_since_us;
        let since_us = own.or(self.outage_of(pool, shard));
        since_us.is_some_and(|since_us| now.mono_us >= since_us.saturating_add(hold_us))
    }

    pub(super) fn is_watched_pool(&self, pool: PoolId) -> bool {
        self.pool(pool).first_hold.is_some()
    }

    pub(super) fn lending(&mut self, pool: PoolId, shard: ShardId) -> &mut Lending {
        &mut self.pools[pool.index()].lendings[shard.index()]
    }

    pub(super) fn exhausted_text(&self, pool: PoolId, shard: ShardId) -> String {
        let limits = &self.pool(pool).config.limits;
        let (max, queue) = (limits.private_connections_max, limits.private_connections_queue);
        let name = self.shard_name(pool, shard);
        let queue = match queue {
            0 => String::new(),
            queue => format!(", and {queue} clients wait for one (private_connections_queue)"),
        };
        format!(
            "ERR all {max} private connections of this core to shard {name} are lent \
             (private_connections_max){queue}: not executed"
        )
    }

    /// Why there is no connection to the shard.
    pub(super) fn down_text(&mut self, pool: PoolId, shard: ShardId) -> String {
        if self.is_watched_pool(pool) && !self.is_verified(pool, shard) {
            return self.held_text(pool, shard, false);
        }
        let why = match self.lending(pool, shard).why.clone() {
            why if why.is_empty() => "not connected".to_owned(),
            why => why,
        };
        self.shard_error(pool, shard, &why)
    }

    /// Gauges, once a second.
    pub(super) fn write_private_gauges(&mut self) {
        for (pool, number) in self.pools.iter().zip(0..) {
            for (lending, shard) in pool.lendings.iter().zip(0..) {
                let cell = |metric| self.stats.shard(PoolId(number), ShardId(shard), metric);
                cell(ShardMetric::PrivateConnections).set(lending.lent() as u64);
                cell(ShardMetric::PrivateWaiting).set(lending.waiting.len() as u64);
            }
        }
    }
}
