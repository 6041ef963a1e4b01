//! CLIENT UNBLOCK: the server itself ends the wait, so that what it pops in this very moment is not
//! lost. It is told on another private connection: nothing is ever repeated there, nor sent to
//! another server, where the number would be somebody else's.

use crate::base::ids::{ClientId, LaneId};
use crate::base::limits::UNBLOCK_MAX_MS;
use crate::base::time::{Now, US_PER_MS};
use crate::command::model::Family;
use crate::command::shape::Asked;
use crate::relay::Relay;
use crate::relay::blocking::Blocked;
use crate::relay::lane::{Flow, LaneState, Target, Token};
use crate::relay::private::Loan;
use crate::resp::encode;

impl Relay {
    /// CLIENT UNBLOCK: whether this client blocked, and does no more.
    pub(super) fn unblock(&mut self, id: ClientId, with_error: bool, now: Now) -> bool {
        let Some(client) = self.open_client(id) else { return false };
        let (pool, loan) = (client.pool, client.loan);
        let begun = |blocked: &Blocked| blocked.until_us.is_some() && blocked.unblocked.is_none();
        if !client.blocked.as_deref().is_some_and(begun) {
            return false;
        }
        if let Loan::Lane(lane) = loan
            && let Some(lane) = self.lanes.get(lane as usize)
            && (lane.flow != Flow::Collect || !lane.tail.is_empty())
        {
            return false; // its reply is under way
        }
        if !self.tell_server(id, loan, with_error, now) {
            self.end_loan(id, pool, loan, now);
            self.end_unblocked(id, with_error);
        }
        true
    }

    /// `false`: the server has not been asked to wait, or can not be told.
    fn tell_server(&mut self, id: ClientId, loan: Loan, with_error: bool, now: Now) -> bool {
        let Loan::Lane(lane) = loan else { return false };
        let Some(lane) = self.lanes.get_mut(lane as usize).filter(|lane| lane.sent > 0) else {
            return false;
        };
        let (pool, shard) = (lane.pool, lane.shard);
        let Some(private) = &mut lane.private else { return false };
        let (Some(number), set) = (private.number, private.set) else { return false };
        if !self.may_lend(pool, shard) {
            return false;
        }
        let ends_us = now.mono_us + UNBLOCK_MAX_MS * US_PER_MS;
        if let Loan::Lane(lane) = loan
            && let Some(private) = &mut self.lanes[lane as usize].private
        {
            private.blocks_until_us = private.blocks_until_us.map(|until_us| until_us.min(ends_us));
            // It may be answered before its server hears of it, which would then end the next wait
            // there: nobody has the connection afterwards.
            private.outdated = true;
        }
        self.sweep_us = self.sweep_us.min(ends_us);
        if let Some(blocked) = self.client(id).and_then(|client| client.blocked.as_mut()) {
            blocked.unblocked = Some(with_error);
        }
        let how: &[u8] = if with_error { b"ERROR" } else { b"TIMEOUT" };
        let (number, mut errand) = (number.to_string(), Vec::new());
        encode::request(&mut errand, &[b"CLIENT", b"UNBLOCK", number.as_bytes(), how]);
        let errand = Some(errand.into_boxed_slice());
        match self.take_free(pool, shard, set) {
            Some(lane) => {
                if let Some(private) = &mut self.lanes[lane as usize].private {
                    private.errand = errand;
                }
                self.run_errand(lane, now);
            }
            None => self.connect_private((pool, shard), id, errand, now),
        }
        true
    }

    /// A private connection that no client has is Ready.
    pub(super) fn run_errand(&mut self, index: u32, now: Now) {
        let Some(private) = &mut self.lanes[index as usize].private else { return };
        let Some(errand) = private.errand.take() else {
            return self.give_back(index, true, now);
        };
        self.send_errand(index, &errand, b":", now);
    }

    /// A request of the proxy itself, on a private connection that no client has; `kinds` is what it
    /// is answered with. Then the connection is free.
    pub(super) fn send_errand(
        &mut self,
        index: u32,
        request: &[u8],
        kinds: &'static [u8],
        now: Now,
    ) {
        let asked = Asked::of(Family::Connection, kinds);
        if self.enqueue(index, Token { target: Target::Nobody, since_us: now.mono_us, asked }) {
            self.put_lane(index, request);
        } else {
            self.give_back(index, false, now);
        }
    }

    /// After bytes on a private connection on which nothing blocks: an errand is over, perhaps.
    pub(super) fn settle_errand(&mut self, id: LaneId, now: Now) {
        let Some(lane) = self.lanes.get(id.index as usize) else { return };
        let Some(private) = &lane.private else { return };
        let free =
            self.pools[lane.pool.index()].lendings[lane.shard.index()].free.contains(&id.index);
        let over = lane.generation == id.generation && lane.inflight.is_empty();
        if private.client.is_none() && over && !free && lane.state == LaneState::Ready {
            self.give_back(id.index, true, now);
        }
    }

    pub(super) fn end_unblocked(&mut self, id: ClientId, with_error: bool) {
        self.end_blocking(id, |encoder, out| match with_error {
            true => encode::error(out, "UNBLOCKED client unblocked via CLIENT UNBLOCK"),
            false => encoder.null_array(out),
        });
    }
}
