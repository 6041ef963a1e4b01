//! How a watch ends: because the client says so or leaves, with the connection, or for want of time.

use crate::base::ids::ClientId;
use crate::base::time::{Now, US_PER_MS};
use crate::relay::Relay;
use crate::relay::client::{Client, Phase};
use crate::relay::dispatch::Outcome;
use crate::relay::fate::Failure;
use crate::relay::guard::{Guard, What};
use crate::relay::lane::{Flow, LaneState, Target, Token};
use crate::relay::lanes::Loss;
use crate::relay::plants::{Plant, planted};
use crate::relay::private::{Loan, LostLoan, NotLent};
use crate::relay::refusal::is_refusal;
use crate::resp::{encode, value};
use crate::stats::cells::{PoolMetric, ShardMetric};

const UNWATCH: &[u8] = b"*1\r\n$7\r\nUNWATCH\r\n";

impl Relay {
    /// UNWATCH
    pub(super) fn unwatch(&mut self, id: ClientId, now: Now) -> Outcome {
        self.end_guard(id, now);
        self.answer(id, |out| encode::simple(out, "OK"));
        Outcome::Done
    }

    /// The client guards nothing any more.
    pub(super) fn end_guard(&mut self, id: ClientId, now: Now) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        let (pool, loan) = (client.pool, client.loan);
        if client.guard.take().is_none() {
            return;
        }
        self.stats.pool(pool, PoolMetric::WatchingClients).sub(1);
        match loan {
            Loan::Lane(lane) => self.let_go(lane, now),
            loan => self.end_loan(id, pool, loan, now),
        }
    }

    /// The connection comes back when its server has forgotten what was guarded on it.
    fn let_go(&mut self, index: u32, now: Now) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        if lane.state != LaneState::Ready || planted(Plant::KeepGuard) {
            return self.give_back(index, planted(Plant::KeepGuard), now);
        }
        let client = lane.private.as_mut().and_then(|private| private.client.take());
        if let Some(client) = client.and_then(|id| self.client(id)) {
            client.loan = Loan::None;
        }
        self.send_errand(index, UNWATCH, b"+", now);
    }

    /// The client has left. An EXEC that is under way was taken in, and is not stopped: it leaves the
    /// connection clean.
    pub(super) fn leave_guard(&mut self, id: ClientId, client: &Client, now: Now) {
        let executes = |guard: &Guard| {
            guard.turn.as_ref().is_some_and(|turn| turn.sent && matches!(turn.what, What::Exec(_)))
        };
        let executes = client.guard.as_deref().is_some_and(executes);
        self.stats.pool(client.pool, PoolMetric::WatchingClients).sub(1);
        match client.loan {
            Loan::Lane(lane) if executes => {
                if let Some(private) = &mut self.lanes[lane as usize].private {
                    private.client = None;
                }
            }
            Loan::Lane(lane) => self.let_go(lane, now),
            loan => self.end_loan(id, client.pool, loan, now),
        }
    }

    /// The server may have forgotten what this client guards, or is to: EXEC will say that something
    /// has changed.
    pub(super) fn break_guard(&mut self, id: ClientId, now: Now) {
        self.note_broken(id);
        if let Some(Loan::Lane(lane)) = self.client(id).map(|client| client.loan) {
            self.let_go(lane, now);
        }
    }

    fn note_broken(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        let (pool, Some(guard)) = (client.pool, &mut client.guard) else { return };
        if !std::mem::replace(&mut guard.is_broken, true) {
            self.stats.shard(pool, guard.shard, ShardMetric::WatchesBroken).add(1);
        }
    }

    /// A private connection on which nothing blocks: what was asked there and not answered in time,
    /// or that it was lent for too long. Gives the time at which something is due next.
    pub(super) fn sweep_lent(&mut self, index: u32, now: Now) -> Option<u64> {
        let lane = &self.lanes[index as usize];
        let (pool, shard) = (lane.pool, lane.shard);
        let client = lane.private.as_ref().and_then(|private| private.client);
        let asked = lane.inflight.front().zip(self.pool(pool).config.timeout_ms);
        // Long, but it is coming.
        let coming = lane.flow != Flow::Collect || !lane.tail.is_empty();
        let overdue_us = asked.map(|(token, timeout_ms)| {
            let since_us = if coming { token.since_us.max(lane.heard_us) } else { token.since_us };
            since_us.saturating_add(timeout_ms.saturating_mul(US_PER_MS))
        });
        if overdue_us.is_some_and(|at_us| now.mono_us >= at_us) {
            self.stats.shard(pool, shard, ShardMetric::ServerTimedout).add(1);
            self.lose_lane(index, "Connection timed out".to_owned(), Loss::Overdue, now);
            return None;
        }
        let guard = client.and_then(|id| self.client(id)).and_then(|it| it.guard.as_ref());
        let until_us = guard.filter(|guard| guard.turn.is_none()).map(|guard| guard.until_us);
        if let (Some(id), Some(until_us)) = (client, until_us)
            && now.mono_us >= until_us
        {
            self.break_guard(id, now);
            return overdue_us; // and what follows has a deadline of its own
        }
        overdue_us.into_iter().chain(until_us).min()
    }

    /// The server answers a turn with an error. `true`: it did not execute it, because it is no
    /// primary (any more) of a shard that is watched, and nobody hears of it.
    #[cold]
    pub(super) fn take_back_turn(
        &mut self,
        index: u32,
        token: Token,
        reply: &[u8],
        now: Now,
    ) -> bool {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return false };
        let Some(private) = &mut lane.private else { return false };
        let (watched, client) = (private.watched, private.client);
        let refusal = lane.block.take_refusal(token.asked);
        let reply = if refusal.is_empty() { reply } else { &refusal };
        let Some(client) = client else {
            private.outdated = true; // UNWATCH was not executed
            return false;
        };
        let Some(turn) = self.client(client).and_then(Client::turn_mut) else { return false };
        turn.refused = true;
        if !watched || !is_refusal(reply) {
            return false;
        }
        let Some(lane) = self.lanes.get_mut(index as usize) else { return false };
        lane.inflight.push_front(token);
        lane.sent += 1;
        let text = value::error_text(reply).escape_ascii().to_string();
        self.lose_lane(index, format!("it answered {text}"), Loss::Failed, now);
        true
    }

    /// The private connection of a client that guards keys, or wants to, is lost, or could not be
    /// made.
    pub(super) fn lose_guard(&mut self, id: ClientId, lost: &LostLoan<'_>, now: Now) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        let (pool, phase, Some(guard)) = (client.pool, client.phase, &mut client.guard) else {
            return;
        };
        let (shard, keys) = (guard.shard, guard.keys);
        let Some(turn) = guard.turn.as_mut().filter(|turn| turn.until_us.is_some()) else {
            return self.note_broken(id);
        };
        let open = |token: &Token| matches!(token.target, Target::Client { .. });
        let at = lost.orphans.iter().position(open);
        let answered = std::mem::take(&mut turn.sent) && at.is_none();
        match &turn.what {
            _ if phase == Phase::Closed => {} // the reactor was asked to close it
            What::Watch(_, new) if answered => {
                guard.keys += *new;
                self.end_turn_silently(id, now);
                self.note_broken(id);
            }
            What::Exec(transaction) if answered => {
                let writes = transaction.may_write;
                self.end_turn_silently(id, now);
                if writes {
                    self.mark_write(id, shard, now);
                }
            }
            What::Watch(..) if keys > 0 => {
                self.note_broken(id);
                self.end_broken_turn(id, now);
            }
            What::Watch(..) if lost.loss == Loss::Overdue => {
                let text = self.shard_error(pool, shard, lost.why);
                self.end_turn(id, now, |_, out| encode::error(out, text));
            }
            What::Watch(..) => {
                let (until_us, first) = (turn.until_us.unwrap_or(0), at.is_none());
                if self.is_down_too_long(pool, shard, now) || now.mono_us >= until_us {
                    return self.end_waiting_turn(id, shard, NotLent::Down, now);
                }
                self.wait_again(id, (pool, shard), until_us, first);
            }
            What::Exec(transaction) => {
                let left = at.is_some_and(|at| at < lost.sent) && !turn.refused;
                if left && transaction.may_write {
                    client.writes.note_lost();
                }
                if left && transaction.may_change {
                    return self.end_unknown(id, lost, now);
                }
                self.note_broken(id);
                self.end_broken_turn(id, now);
            }
        }
    }

    /// A transaction that changes something was sent, and its connection lost: it may have been done.
    fn end_unknown(&mut self, id: ClientId, lost: &LostLoan<'_>, now: Now) {
        let Some(client) = self.client(id) else { return };
        let (pool, Some(turn)) = (client.pool, client.turn_mut()) else { return };
        let target = Target::Client { client: id, seq: turn.seq };
        if !self.is_watched_pool(pool) {
            let text = self.shard_error(pool, lost.shard, lost.why);
            return self.end_turn(id, now, |_, out| encode::error(out, text));
        }
        let failure = match lost.loss {
            Loss::Overdue => Failure::Overdue,
            _ => Failure::Unknown,
        };
        self.end_turn_silently(id, now);
        self.fail_all(pool, lost.shard, &[(0, target, failure)], now);
    }
}
