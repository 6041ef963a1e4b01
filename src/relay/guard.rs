//! WATCH: a client that guards keys has a private connection to their shard, until EXEC, DISCARD,
//! UNWATCH or RESET.
//!
//! ```text
//!  WATCH ─▶ guard_keys ─▶ take_turn ─▶ begin_turn ─▶ borrow ─▶ send_turn ─▶ the reply ─▶ settle_turn
//!  EXEC  ─▶ exec ────────────┘    (its turn)          └─ waits ─▶ on_lent ─┘      (EXEC: give_back)
//!  UNWATCH, DISCARD, RESET, gone ─▶ end_guard ─▶ let_go: UNWATCH ─▶ settle_errand ─▶ give_back
//! ```
//!
//! WATCH and the block that EXEC sends go down that connection, all else down the shared lanes as
//! ever. Connections overtake each other, so each of the two has its *turn*: it is sent when all that
//! the client asked for before is answered, and what comes behind it is taken in when it is answered
//! itself. So a read behind WATCH comes behind it at the server, too, and a write of the client's own
//! makes its EXEC fail, as in redis. (What was given up at its deadline counts as answered: it may
//! still be executed later, as nobody can tell.) Reads go to the primary meanwhile: a replica may
//! answer from the time before WATCH, and what was written in between would be overwritten.
//!
//! With the connection the server forgets what it guards. Then the guard is *broken*: EXEC answers
//! nil, as if a key had changed, and is never sent without.

use crate::base::ids::{ClientId, LaneId, PoolId, ShardId};
use crate::base::limits::GUARD_MAX_MS;
use crate::base::time::{Now, US_PER_MS};
use crate::command::model::{Command, Family};
use crate::command::shape::Asked;
use crate::relay::Relay;
use crate::relay::client::{Client, Stall};
use crate::relay::dispatch::Outcome;
use crate::relay::lane::{Flow, Target, Token};
use crate::relay::private::{Borrowed, Loan, NotLent};
use crate::relay::transaction::Transaction;
use crate::resp::args::Request;
use crate::resp::encode::{self, Encoder};
use crate::stats::cells::{PoolMetric, ShardMetric};

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const ELSEWHERE: &str = "CROSSSLOT Keys that are watched already are on another shard: a \
                         transaction is of one (UNWATCH ends it)";

/// What a client has said since its first WATCH.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) shard: ShardId,
    /// Keys that the server was told; 0: none yet.
    pub(super) keys: usize,
    pub(super) is_broken: bool,
    /// Until when it may have its connection.
    pub(super) until_us: u64,
    pub(super) turn: Option<Turn>,
}

/// A request for the private connection.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) what: What,
    /// Its slot in the client's order.
    pub(super) seq: u32,
    /// It has come; until when a connection is waited for.
    pub(super) until_us: Option<u64>,
    /// It is under way.
    pub(super) sent: bool,
    /// The server said no.
    pub(super) refused: bool,
}

#[derive(Debug)]
pub(super) enum What {
    /// The request, and how many keys it has.
    Watch(Box<[u8]>, usize),
    Exec(Box<Transaction>),
}

impl What {
    fn bytes(&self) -> usize {
        match self {
            What::Watch(request, _) => request.len(),
            What::Exec(transaction) => transaction.requests.bytes(),
        }
    }
}

impl Guard {
    pub(super) fn bytes(&self) -> usize {
        self.turn.as_ref().map_or(0, |turn| turn.what.bytes())
    }

    /// The transaction that waits for its turn.
    pub(super) fn transaction_mut(&mut self) -> Option<&mut Transaction> {
        match &mut self.turn.as_mut()?.what {
            What::Exec(transaction) => Some(transaction),
            What::Watch(..) => None,
        }
    }
}

impl Client {
    /// Some request of it waits for its turn, or is under way on its private connection.
    pub(super) fn has_turn(&self) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.turn.is_some())
    }

    pub(super) fn turn_mut(&mut self) -> Option<&mut Turn> {
        self.guard.as_mut()?.turn.as_mut()
    }
}

impl Relay {
    /// WATCH key …
    pub(super) fn guard_keys(
        &mut self,
        id: ClientId,
        command: &'static Command,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        let shard = match self.one_shard(id, command, request) {
            Ok(shard) => shard,
            Err(unroutable) => return self.answer_unroutable(id, command, unroutable),
        };
        let Some(client) = self.clients.get_mut(id.index, id.generation) else {
            return Outcome::Done;
        };
        let keys = request.len() - 1;
        match &mut client.guard {
            Some(guard) if guard.shard != shard => {
                self.stats.pool(client.pool, PoolMetric::CrossslotErrors).add(1);
                return self.refuse(id, ELSEWHERE);
            }
            Some(guard) if guard.is_broken => {
                guard.keys += keys;
                self.answer(id, |out| encode::simple(out, "OK"));
                return Outcome::Done;
            }
            Some(_) => {}
            None => {
                let (keys, until_us, turn) = (0, u64::MAX, None);
                let guard = Guard { shard, keys, is_broken: false, until_us, turn };
                client.guard = Some(Box::new(guard));
                self.stats.pool(client.pool, PoolMetric::WatchingClients).add(1);
            }
        }
        self.take_turn(id, What::Watch(request.bytes.into(), keys), now);
        Outcome::Done
    }

    /// EXEC of a client that guards keys, of a transaction that is right.
    pub(super) fn exec_guarded(&mut self, id: ClientId, transaction: Box<Transaction>, now: Now) {
        let shard = self.client(id).and_then(|client| client.guard.as_ref()).map(|it| it.shard);
        if transaction.may_write {
            self.note_write(id, shard);
        }
        self.take_turn(id, What::Exec(transaction), now);
    }

    fn take_turn(&mut self, id: ClientId, what: What, now: Now) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        let Some(guard) = &mut client.guard else { return };
        self.buffered_bytes += what.bytes();
        let seq = client.order.push(&mut self.rings);
        guard.turn = Some(Turn { what, seq, until_us: None, sent: false, refused: false });
        client.stall = Some(Stall::Turn);
        self.begin_turn(id, now);
    }

    /// Begins the client's turn, if all before it is answered.
    pub(super) fn begin_turn(&mut self, id: ClientId, now: Now) {
        let Some(client) = self.live_client(id) else { return };
        let (pool, loan) = (client.pool, client.loan);
        let Some(guard) = &client.guard else { return };
        let (shard, is_broken) = (guard.shard, guard.is_broken);
        let Some(turn) = &guard.turn else { return };
        if turn.until_us.is_some() || !client.order.is_first(turn.seq) {
            return;
        }
        let until_us = now.mono_us.saturating_add(self.patience_of(pool));
        if let Some(turn) = self.client(id).and_then(Client::turn_mut) {
            turn.until_us = Some(until_us);
        }
        match loan {
            _ if is_broken => self.end_broken_turn(id, now),
            Loan::Lane(lane) => self.send_turn(id, lane, now),
            _ => match self.borrow(id, shard, until_us, now) {
                Borrowed::Lane(lane) => self.send_turn(id, lane, now),
                Borrowed::Waits => {}
                Borrowed::Refused(text) => {
                    self.count_forward_error(id);
                    self.end_turn(id, now, |_, out| encode::error(out, text));
                }
            },
        }
    }

    /// How long a connection is waited for, µs: as long as others' requests wait for an answer, or
    /// for a primary.
    fn patience_of(&self, pool: PoolId) -> u64 {
        let config = &self.pool(pool).config;
        let hold_ms = if self.is_watched_pool(pool) { config.hold_ms } else { 0 };
        let wait_ms = config.timeout_ms.map_or(u64::MAX, |timeout_ms| timeout_ms.max(hold_ms));
        wait_ms.saturating_mul(US_PER_MS)
    }

    /// The client has its private connection, which is Ready.
    pub(super) fn send_turn(&mut self, id: ClientId, lane: u32, now: Now) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        let (pool, Some(guard)) = (client.pool, &mut client.guard) else { return };
        let (shard, Some(turn)) = (guard.shard, &mut guard.turn) else { return };
        let target = Target::Client { client: id, seq: turn.seq };
        let (asked, writes) = match &turn.what {
            What::Watch(..) => (Asked::of(Family::Transactions, b"+"), false),
            What::Exec(transaction) => (transaction.asked(), transaction.may_write),
        };
        let known = self.topology.shard(pool, shard);
        if asked.is_block && known.is_some_and(|known| known.paused) {
            // The switchover breaks the guard.
            return self.end_broken_turn(id, now);
        }
        if writes && known.is_some_and(|known| !known.writable) {
            self.stats.shard(pool, shard, ShardMetric::WritesRefused).add(1);
            let text = self.unwritable_text(pool, shard);
            return self.end_turn(id, now, |_, out| encode::error(out, text));
        }
        if !self.enqueue(lane, Token { target, since_us: now.mono_us, asked }) {
            let mut error = Vec::new();
            self.lane_error(lane, &mut error);
            return self.end_turn(id, now, |_, out| out.extend_from_slice(&error));
        }
        let Some(turn) = self.client(id).and_then(Client::turn_mut) else { return };
        (turn.sent, turn.refused) = (true, false);
        match &mut turn.what {
            What::Watch(request, _) => {
                let request = request.clone(); // it may have to be sent again
                self.put_lane(lane, &request);
            }
            What::Exec(transaction) => {
                let mut requests = std::mem::take(&mut transaction.requests);
                self.buffered_bytes = self.buffered_bytes.saturating_sub(requests.bytes());
                self.put_block(lane, &mut requests);
            }
        }
    }

    /// After bytes of the client's private connection: if its turn is answered, the client goes on;
    /// with EXEC the connection is free.
    pub(super) fn settle_turn(&mut self, id: LaneId, client: ClientId, now: Now) {
        let Some(lane) = self.lanes.get(id.index as usize) else { return };
        let open = |token: &Token| matches!(token.target, Target::Client { .. });
        if lane.generation != id.generation || lane.inflight.iter().any(open) {
            return;
        }
        let clean = lane.flow == Flow::Collect;
        let outdated = lane.private.as_ref().is_some_and(|private| private.outdated);
        let Some(guard) = self.client(client).and_then(|client| client.guard.as_mut()) else {
            return;
        };
        let Some(turn) = guard.turn.as_ref().filter(|turn| turn.sent) else { return };
        match &turn.what {
            What::Exec(transaction) => {
                let (writes, shard) = (transaction.may_write, guard.shard);
                self.give_back(id.index, clean, now);
                self.end_turn_silently(client, now);
                if writes {
                    self.mark_write(client, shard, now);
                }
            }
            What::Watch(_, keys) => {
                if guard.keys == 0 {
                    guard.until_us = now.mono_us.saturating_add(GUARD_MAX_MS * US_PER_MS);
                }
                guard.keys += if turn.refused { 0 } else { *keys };
                let until_us = guard.until_us;
                self.sweep_us = self.sweep_us.min(until_us);
                self.end_turn_silently(client, now);
                if outdated {
                    self.break_guard(client, now);
                }
            }
        }
    }

    /// EXEC has written on a private connection, and WAIT will ask the shared lane: that is past the
    /// write from here on, or, if it is down, can not tell.
    pub(super) fn mark_write(&mut self, id: ClientId, shard: ShardId, now: Now) {
        let Some(client) = self.clients.get(id.index, id.generation) else { return };
        let lane = self.lane_of(client.lane_set, shard, id);
        let asked = Asked::of(Family::Connection, b"+");
        if self.enqueue(lane, Token { target: Target::Nobody, since_us: now.mono_us, asked }) {
            self.put_lane(lane, PING);
        } else if let Some(client) = self.client(id) {
            client.writes.note_lost();
        }
    }

    /// The client waited for a connection, in vain.
    pub(super) fn end_waiting_turn(
        &mut self,
        id: ClientId,
        shard: ShardId,
        why: NotLent,
        now: Now,
    ) {
        let Some(pool) = self.client(id).map(|client| client.pool) else { return };
        let max = self.pool(pool).config.limits.private_connections_max;
        let all_lent = self.lending(pool, shard).lent() >= max;
        let text = match why {
            NotLent::Late if all_lent => self.exhausted_text(pool, shard),
            _ => self.down_text(pool, shard),
        };
        self.count_forward_error(id);
        self.end_turn(id, now, |_, out| encode::error(out, text));
    }

    /// The turn of a client whose guard is broken: EXEC says so, WATCH need not.
    pub(super) fn end_broken_turn(&mut self, id: ClientId, now: Now) {
        let Some(turn) = self.client(id).and_then(Client::turn_mut) else { return };
        let is_exec = matches!(turn.what, What::Exec(_));
        self.end_turn(id, now, |encoder, out| match is_exec {
            true => encoder.null_array(out),
            false => encode::simple(out, "OK"),
        });
    }

    /// Answers the client's turn.
    pub(super) fn end_turn(
        &mut self,
        id: ClientId,
        now: Now,
        write: impl FnOnce(Encoder, &mut Vec<u8>),
    ) {
        let Some(client) = self.client(id) else { return };
        let (protocol, Some(turn)) = (client.protocol, client.turn_mut()) else { return };
        let target = Target::Client { client: id, seq: turn.seq };
        let mut reply = Vec::new();
        write(Encoder::new(protocol), &mut reply);
        self.end_turn_silently(id, now);
        self.fail(target, &reply, now);
    }

    /// The client's turn is over, and with EXEC its guard; as is one that guards nothing.
    pub(super) fn end_turn_silently(&mut self, id: ClientId, now: Now) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        let Some(guard) = &mut client.guard else { return };
        let Some(mut turn) = guard.turn.take() else { return };
        self.buffered_bytes = self.buffered_bytes.saturating_sub(turn.what.bytes());
        let mut ends = guard.keys == 0;
        if let What::Exec(transaction) = &mut turn.what {
            transaction.requests.clear(&mut self.chunks);
            ends = true;
        }
        if ends {
            self.end_guard(id, now);
        }
    }
}
