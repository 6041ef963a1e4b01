//! Private connections: lanes lent to one client each, for what would hold up or change one that is
//! shared.
//!
//! ```text
//!  borrow ─▶ Lending::waiting ─▶ serve_private ─▶ connect_private ─▶ private_ready ─▶ on_lent
//!    └─────────────── a free one, at once ──────────────────────────────────────▶ (the caller)
//!  give_back ─▶ Lending::free (clean), or closed          lost: lose_private ─▶ on_loan_lost
//! ```
//!
//! They stand in `Relay::lanes` beside the shared ones, and are greeted, flushed, paired and fenced
//! as these. But nothing is held on them: what their loss means is decided by who had borrowed it.
//! Each belongs to one lane set (pool, protocol version, database) and one shard; so many are there
//! for a shard as `private_connections_max` says, and who finds all of them lent waits, first come
//! first served, or is refused.
//!
//! An invariant: `Private::client` is the only client whose bytes go down the lane and that hears its
//! replies, from `hand_over` to `give_back` or the lane's end; `Client::loan` names the lane.

use std::collections::VecDeque;

use crate::base::ids::{ClientId, PoolId, ShardId};
use crate::base::limits::PRIVATE_IDLE_MS;
use crate::base::time::{Now, US_PER_MS};
use crate::relay::Relay;
use crate::relay::api::Report;
use crate::relay::client::Client;
use crate::relay::lane::{Lane, LaneState, Target, Token};
use crate::relay::lanes::Loss;
use crate::relay::plants::{Plant, planted};
use crate::stats::cells::ShardMetric;

/// What a private connection has beside a lane that is shared.
#[derive(Debug)]
pub(super) struct Private {
    /// Its protocol version and database.
    pub(super) set: u32,
    /// Its primary is watched: the hand-shake asks for its ROLE.
    pub(super) watched: bool,
    /// Its CLIENT ID on the redis-server, if that tells it.
    pub(super) number: Option<i64>,
    /// Who has it; also while it is being connected for somebody.
    pub(super) client: Option<ClientId>,
    /// Since when nobody has it.
    pub(super) idle_since_us: u64,
    /// What was asked on it blocks, and is given up at this time; `None`: nothing that was asked
    /// may block.
    pub(super) blocks_until_us: Option<u64>,
    /// It is closed when the reply that is under way is over: its shard has another address now,
    /// CLIENT UNBLOCK is on its way to its server, or that has refused UNWATCH.
    pub(super) outdated: bool,
    /// What the proxy itself has to say on it, while no client has it.
    pub(super) errand: Option<Box<[u8]>>,
}

/// The private connections of one shard, on this core.
#[derive(Debug, Default)]
pub(super) struct Lending {
    /// All there are: lent, being connected, free.
    pub(super) connections: usize,
    /// Connected and clean; the one that was given back last is lent first.
    pub(super) free: Vec<u32>,
    /// Who waits for one, and until when.
    pub(super) waiting: VecDeque<(ClientId, u64)>,
    /// Attempts and connections that were lost, without a request answered in between.
    pub(super) failures: u32,
    /// No attempt before this time.
    pub(super) again_us: u64,
    /// Since when none could be connected, or kept; and why.
    pub(super) down_since_us: Option<u64>,
    /// The same of the last time that it was so, and when that was over.
    pub(super) was_down_us: Option<(u64, u64)>,
    pub(super) why: String,
    /// The server answered the last hand-shake with an error.
    pub(super) turned_away: bool,
}

/// What belongs to the private connections of all shards.
#[derive(Debug)]
pub(super) struct Privates {
    /// Places in `Relay::lanes` for further ones.
    pub(super) spare: Vec<u32>,
    /// Where one may be lent again.
    pub(super) lenders: Vec<(PoolId, ShardId)>,
    /// When they are to be looked after, `Now::mono_us`.
    pub(super) due_us: u64,
}

impl Default for Privates {
    fn default() -> Privates {
        Privates { spare: Vec::new(), lenders: Vec::new(), due_us: u64::MAX }
    }
}

/// What a client has borrowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Loan {
    #[default]
    None,
    /// It waits for a private connection to this shard.
    Waiting(ShardId),
    /// This lane; it is Ready from [`Relay::on_lent`] on.
    Lane(u32),
}

/// What became of a wish to borrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Borrowed {
    /// This lane, Ready, for this client alone until `give_back`.
    Lane(u32),
    /// Later: `on_lent`, or `on_not_lent`.
    Waits,
    /// An error's text.
    Refused(String),
}

/// Why somebody who waited gets none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotLent {
    /// Its time is over; the shard was served meanwhile, or not served for a moment only.
    Late,
    /// There was no connection for too long.
    Down,
}

/// A private connection that a client had borrowed, and that is no more.
#[derive(Debug)]
pub(super) struct LostLoan<'a> {
    pub(super) shard: ShardId,
    pub(super) loss: Loss,
    pub(super) why: &'a str,
    /// What was not answered on it; so many of them had been sent.
    pub(super) orphans: &'a VecDeque<Token>,
    pub(super) sent: usize,
}

impl Lending {
    pub(super) fn lent(&self) -> usize {
        self.connections - self.free.len()
    }
}

impl Lane {
    /// Its primary is watched.
    pub(super) fn is_watched(&self) -> bool {
        self.watch.is_some() || self.private.as_ref().is_some_and(|private| private.watched)
    }

    /// Something was asked that blocks.
    pub(super) fn blocks(&self) -> bool {
        self.private.as_ref().is_some_and(|private| private.blocks_until_us.is_some())
    }
}

impl Relay {
    /// A private connection to `shard` for this client, which has none, in its protocol version and
    /// database. Who has to wait does so until `until_us` at most.
    pub(super) fn borrow(
        &mut self,
        id: ClientId,
        shard: ShardId,
        until_us: u64,
        now: Now,
    ) -> Borrowed {
        let Some(client) = self.clients.get(id.index, id.generation) else {
            return Borrowed::Refused(String::new());
        };
        debug_assert_eq!(client.loan, Loan::None, "one at a time");
        let (pool, set) = (client.pool, client.lane_set);
        let limits = self.pool(pool).config.limits;
        let lending = self.lending(pool, shard);
        let first = lending.waiting.is_empty();
        let all = lending.lent() + lending.waiting.len();
        if first
            && self.may_lend(pool, shard)
            && let Some(lane) = self.take_free(pool, shard, set)
        {
            self.hand_over(lane, id);
            return Borrowed::Lane(lane);
        }
        if all >= limits.private_connections_max + limits.private_connections_queue {
            self.stats.shard(pool, shard, ShardMetric::PrivateRefused).add(1);
            return Borrowed::Refused(self.exhausted_text(pool, shard));
        }
        let pauses = now.mono_us < self.lending(pool, shard).again_us;
        if pauses && self.is_down_too_long(pool, shard, now) {
            return Borrowed::Refused(self.down_text(pool, shard));
        }
        if let Some(client) = self.client(id) {
            client.loan = Loan::Waiting(shard);
        }
        self.lending(pool, shard).waiting.push_back((id, until_us));
        self.privates.due_us = self.privates.due_us.min(until_us);
        self.serve_private(pool, shard, now);
        Borrowed::Waits
    }

    /// The client needs its private connection no more. `clean`: as far as it knows, the next client
    /// may have it: nothing is under way on it, and it is as a fresh one. If not, it is closed.
    pub(super) fn give_back(&mut self, index: u32, clean: bool, now: Now) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        let Some(private) = &mut lane.private else { return };
        private.blocks_until_us = None;
        private.idle_since_us = now.mono_us;
        let (pool, shard, client) = (lane.pool, lane.shard, private.client.take());
        let untouched = !private.outdated
            && lane.state == LaneState::Ready
            && lane.inflight.is_empty()
            && lane.tail.is_empty()
            && lane.output_bytes() == 0;
        if let Some(client) = client.and_then(|id| self.client(id)) {
            client.loan = Loan::None;
        }
        self.privates.lenders.push((pool, shard));
        let fit = (clean && untouched) || planted(Plant::KeepUnclean);
        if !fit {
            return self.close_private(index);
        }
        let lending = self.lending(pool, shard);
        lending.failures = 0;
        lending.free.push(index);
        let due_us = now.mono_us + PRIVATE_IDLE_MS * US_PER_MS;
        self.privates.due_us = self.privates.due_us.min(due_us);
        self.prove_in_step(index);
    }

    /// A client that has left, or is answered otherwise, leaves what it borrowed: the queue, or a
    /// connection on which nobody knows what is under way.
    pub(super) fn end_loan(&mut self, id: ClientId, pool: PoolId, loan: Loan, now: Now) {
        match loan {
            Loan::None => {}
            Loan::Waiting(shard) => {
                self.lending(pool, shard).waiting.retain(|(waiting, _)| *waiting != id);
                if let Some(client) = self.client(id) {
                    client.loan = Loan::None;
                }
            }
            Loan::Lane(lane) => self.give_back(lane, false, now),
        }
    }

    /// The client has left, and what it borrowed with it.
    pub(super) fn leave_loan(&mut self, id: ClientId, client: &Client, now: Now) {
        if client.guard.is_some() {
            self.leave_guard(id, client, now);
        } else if client.loan != Loan::None {
            self.end_loan(id, client.pool, client.loan, now);
        }
    }

    /// Lends what there is to those who wait for it.
    pub(super) fn serve_private(&mut self, pool: PoolId, shard: ShardId, now: Now) {
        while self.serve_next(pool, shard, now) {}
    }

    fn serve_next(&mut self, pool: PoolId, shard: ShardId, now: Now) -> bool {
        let Some((id, _)) = self.lending(pool, shard).waiting.front().copied() else {
            return false;
        };
        if !self.may_lend(pool, shard) {
            return false;
        }
        let Some(set) = self.client(id).map(|client| client.lane_set) else {
            self.lending(pool, shard).waiting.pop_front();
            return true;
        };
        if let Some(lane) = self.take_free(pool, shard, set) {
            self.lending(pool, shard).waiting.pop_front();
            self.hand_over(lane, id);
            self.on_lent(id, lane, now);
            return true;
        }
        let max = self.pool(pool).config.limits.private_connections_max;
        let lending = self.lending(pool, shard);
        if now.mono_us < lending.again_us {
            let again_us = lending.again_us;
            self.privates.due_us = self.privates.due_us.min(again_us);
            return false;
        }
        if lending.connections >= max {
            // All that is free is of another protocol version or database.
            let Some(lane) = lending.free.first().copied() else { return false };
            self.close_private(lane);
        }
        self.lending(pool, shard).waiting.pop_front();
        self.connect_private((pool, shard), id, None, now);
        true
    }

    /// Whether the shard's primary may be asked now.
    pub(super) fn may_lend(&self, pool: PoolId, shard: ShardId) -> bool {
        let Some(known) = self.topology.shard(pool, shard) else { return false };
        let watched = self.pool(pool).first_hold.is_some();
        known.primary.is_some() && (!watched || (!known.paused && self.is_verified(pool, shard)))
    }

    pub(super) fn take_free(&mut self, pool: PoolId, shard: ShardId, set: u32) -> Option<u32> {
        let lanes = &self.lanes;
        let lending = &mut self.pools[pool.index()].lendings[shard.index()];
        let fits = |lane: &u32| {
            lanes[*lane as usize].private.as_ref().is_some_and(|private| private.set == set)
        };
        let at = lending.free.iter().rposition(fits)?;
        Some(lending.free.remove(at))
    }

    fn hand_over(&mut self, index: u32, id: ClientId) {
        if let Some(private) = &mut self.lanes[index as usize].private {
            debug_assert!(private.client.is_none(), "lent to one client at a time");
            private.client = Some(id);
        }
        if let Some(client) = self.client(id) {
            client.loan = Loan::Lane(index);
        }
    }

    /// A further one, to be connected for this client.
    pub(super) fn connect_private(
        &mut self,
        (pool, shard): (PoolId, ShardId),
        id: ClientId,
        errand: Option<Box<[u8]>>,
        now: Now,
    ) {
        let Some(client) = self.clients.get(id.index, id.generation) else { return };
        let set = client.lane_set;
        let mut lane = Lane::new(pool, shard, client.protocol, client.database);
        let runs_errand = errand.is_some();
        lane.private = Some(Box::new(Private {
            set,
            watched: self.pool(pool).first_hold.is_some(),
            number: None,
            client: None,
            idle_since_us: now.mono_us,
            blocks_until_us: None,
            outdated: false,
            errand,
        }));
        lane.plain = !self.pool(pool).reads.any_replica();
        let index = match self.privates.spare.pop() {
            Some(index) => {
                // What is still to come of earlier connections must not find it.
                lane.generation = self.lanes[index as usize].generation;
                self.lanes[index as usize] = lane;
                index
            }
            None => {
                self.lanes.push(lane);
                (self.lanes.len() - 1) as u32
            }
        };
        self.lending(pool, shard).connections += 1;
        if !runs_errand {
            self.hand_over(index, id);
        }
        self.connect_to_primary(index, now.mono_us);
    }

    /// The hand-shake is over.
    pub(super) fn private_ready(&mut self, index: u32, now: Now) {
        let lane = &mut self.lanes[index as usize];
        lane.state = LaneState::Ready;
        let (pool, shard) = (lane.pool, lane.shard);
        let Some(private) = &lane.private else { return };
        let (client, watched) = (private.client, private.watched);
        // The first requests of a connection need no fence behind them: it has one on its return.
        lane.fence.due_us = 0;
        let lending = self.lending(pool, shard);
        if let Some(since_us) = lending.down_since_us.take() {
            lending.was_down_us = Some((since_us, now.mono_us));
        }
        if !std::mem::take(&mut lending.why).is_empty() {
            self.reports.push_back(Report::LaneUp { pool, shard });
        }
        if watched {
            self.end_outage_unless_asked(index);
        }
        match client {
            Some(id) => self.on_lent(id, index, now),
            None => self.run_errand(index, now),
        }
    }

    // --- what borrowers hear -----------------------------------------------------------------

    /// The client, which had to wait, has the private connection `lane` now: it is Ready.
    fn on_lent(&mut self, id: ClientId, lane: u32, now: Now) {
        match self.client(id).is_some_and(|client| client.has_turn()) {
            true => self.send_turn(id, lane, now),
            false => self.send_blocking(id, lane, now),
        }
    }

    /// The client, which waited, gets no private connection.
    pub(super) fn on_not_lent(&mut self, id: ClientId, shard: ShardId, why: NotLent, now: Now) {
        match self.client(id).is_some_and(|client| client.has_turn()) {
            true => self.end_waiting_turn(id, shard, why, now),
            false => self.end_waiting(id, shard, why),
        }
    }

    /// The client's private connection was lost, or could not be made; it has none now.
    pub(super) fn on_loan_lost(&mut self, id: ClientId, lost: &LostLoan<'_>, now: Now) {
        if self.client(id).is_some_and(|client| client.guard.is_some()) {
            return self.lose_guard(id, lost, now);
        }
        let asked = lost.orphans.iter().any(|token| matches!(token.target, Target::Client { .. }));
        self.move_blocked(id, (lost.shard, lost.loss), asked, now);
    }

    /// The client's wait goes on with another connection, behind those who wait already; who was
    /// never served stays in front.
    pub(super) fn wait_again(
        &mut self,
        id: ClientId,
        (pool, shard): (PoolId, ShardId),
        until_us: u64,
        in_front: bool,
    ) {
        if let Some(client) = self.client(id) {
            client.loan = Loan::Waiting(shard);
        }
        let waiting = &mut self.lending(pool, shard).waiting;
        if in_front {
            waiting.push_front((id, until_us));
        } else {
            waiting.push_back((id, until_us));
        }
        self.privates.due_us = self.privates.due_us.min(until_us);
    }
}
