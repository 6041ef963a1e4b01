//! What a client asks of the clients of its pool, whichever core serves them: to be listed, closed,
//! paused, or seen, or what they are subscribed to.
//!
//! ```text
//!  query_clients ─▶ ask_cores ─▶ Ask::Tell ── Shared::Query ──▶ another core: on_shared
//!                                                                  carry_out, on its own clients
//!       complete ◀─ gather_reply ◀─ on_shared ◀── Shared::Answer ── Ask::Tell
//! ```
//!
//! A query is a gather whose parts are the cores; its answer leaves in the client's order, made of
//! the parts that came within [`CORES_ANSWER_MAX_MS`]. A core that is late, has ended (in a drain),
//! or has a full mailbox, is missing in it: its clients are not listed; what it still closes is not
//! counted.
//!
//! Two rules keep this from growing. The client is not read on until it is answered, so each has at
//! most one query. And a core asks the others one query at a time, the next waits: so a mailbox
//! never holds more of this than a query and an answer for each other core (late ones apart, of
//! which there is one a second at most), and no more than one core's list for each is under way.

use std::sync::Arc;

use crate::base::ids::ClientId;
use crate::base::limits::CORES_ANSWER_MAX_MS;
use crate::base::time::{Now, US_PER_MS};
use crate::command::model::Family;
use crate::command::shape::Asked;
use crate::relay::Relay;
use crate::relay::api::{Ask, Shared};
use crate::relay::client::Stall;
use crate::relay::gather::{Gather, Kind};
use crate::relay::pair::Reply;
use crate::relay::pubsub;
use crate::relay::query::{ClientQuery, Deed, core_of};
use crate::resp::encode::{self, Encoder};
use crate::resp::{Protocol, value};
use crate::stats::cells::CoreMetric;

/// A query to other cores; the first of `Relay::queries` is the one that is asked.
#[derive(Debug)]
pub(super) struct Queued {
    /// Index and generation.
    gather: (u32, u32),
    query: Arc<ClientQuery<'static>>,
    until_us: u64,
    asked: bool,
}

impl Relay {
    /// News of another core.
    pub fn on_shared(&mut self, news: Shared, now: Now) {
        match news {
            Shared::Script(script) => {
                self.scripts.remember(script.pool, &script.body);
            }
            Shared::ScriptFlush(pool) => self.scripts.forget(pool),
            Shared::Query { from, gather, query } => self.on_query(from, gather, &query, now),
            Shared::Answer { core, gather, part } => self.on_answer(core, gather, part, now),
            Shared::Seen { from, pool, lines, missed } => {
                self.on_seen(from, pool, (&lines, missed), now);
            }
            Shared::SeenBy { core, pool, go_on } => self.on_seen_by(core, pool, go_on),
        }
    }

    /// Answers `id`: at once if only this core is concerned, else when the others have answered.
    pub(super) fn query_clients(
        &mut self,
        id: ClientId,
        family: Family,
        query: ClientQuery<'_>,
        now: Now,
    ) {
        let (own, cores) = (self.identity.core, self.identity.cores);
        if (0..cores).any(|core| core != own && query.concerns(core, cores)) {
            self.ask_cores(id, family, query.into_owned(), now);
            return;
        }
        let Some(protocol) = self.client(id).map(|client| client.protocol) else { return };
        match query.deed {
            Deed::List => {
                let lines = self.lines_of_clients(&query, now);
                self.answer(id, |out| Encoder::new(protocol).verbatim(out, lines.as_bytes()));
            }
            Deed::Kill | Deed::KillAt | Deed::Unblock { .. } => {
                let (killed, asker) = self.do_to_clients(&query, now);
                self.answer(id, |out| write_killed(query.deed, killed, out));
                if let Some(asker) = asker {
                    self.finish_after_replies(asker);
                }
            }
            Deed::Pause { .. }
            | Deed::Unpause
            | Deed::Monitor
            | Deed::Topics(_)
            | Deed::Numsub(_)
            | Deed::Numpat => {
                let part = self.carry_out(&query, now);
                self.answer(id, |out| write_answer(query.deed, protocol, &[part], out));
                if query.deed == Deed::Monitor {
                    self.begin_monitor(id);
                }
            }
        }
    }

    fn ask_cores(&mut self, id: ClientId, family: Family, query: ClientQuery<'static>, now: Now) {
        let parts = usize::from(self.identity.cores);
        let kind = Kind::Clients(query.deed);
        let Some(gather) = self.open_gather(id, Asked::any(family), kind, parts, now) else {
            return;
        };
        if let Some(client) = self.client(id) {
            client.stall = Some(Stall::Cores);
        }
        let until_us = now.mono_us + CORES_ANSWER_MAX_MS * US_PER_MS;
        let queued = Queued { gather, query: Arc::new(query), until_us, asked: false };
        self.queries.push_back(queued);
        self.go_on_asking(now);
    }

    /// After an answer, and each turn while there are queries: the next one is asked when the one
    /// before it is over.
    pub(super) fn go_on_asking(&mut self, now: Now) {
        while let Some(first) = self.queries.front_mut() {
            let (gather, late) = (first.gather, now.mono_us >= first.until_us);
            if self.gathers.get(gather.0, gather.1).is_none() {
                self.queries.pop_front();
            } else if !first.asked {
                first.asked = true;
                let query = first.query.clone();
                self.ask_query(gather, &query, late, now);
            } else if late {
                self.give_what_came(gather, now);
            } else {
                break;
            }
        }
    }

    /// Asks every core that is concerned, this one too. One that has waited for its turn until it
    /// was `late` is asked here alone: the others are slow, and must not find heaps of letters.
    fn ask_query(
        &mut self,
        gather: (u32, u32),
        query: &Arc<ClientQuery<'static>>,
        late: bool,
        now: Now,
    ) {
        let Some(client) = self.gathers.get(gather.0, gather.1).map(|gather| gather.client) else {
            return;
        };
        let lists = matches!(query.deed, Deed::List | Deed::Topics(_));
        if lists && self.live_client(client).is_none() {
            self.gathers.remove(gather.0, gather.1); // nobody would see the list
            return;
        }
        let (own, cores) = (self.identity.core, self.identity.cores);
        let mut asked = 0;
        for core in (0..cores).filter(|core| query.concerns(*core, cores)) {
            asked += 1;
            if core != own && !late {
                let news = Shared::Query { from: own, gather, query: query.clone() };
                self.asks.push_back(Ask::Tell { core, news });
            }
        }
        if let Some(open) = self.gathers.get_mut(gather.0, gather.1) {
            open.left = asked;
        }
        if query.concerns(own, cores) {
            let part = self.carry_out(query, now);
            self.gather_reply(gather, u32::from(own), Reply::Owned(part), now);
        }
    }

    /// Its time is over.
    fn give_what_came(&mut self, (index, generation): (u32, u32), now: Now) {
        let Some(gather) = self.gathers.remove(index, generation) else { return };
        self.stats.core(CoreMetric::AnswersMissed).add(gather.left as u64);
        if self.live_client(gather.client).is_some() {
            self.complete(gather, now);
        }
    }

    /// A query, among this core's clients: gives this core's part of the answer.
    fn carry_out(&mut self, query: &ClientQuery<'_>, now: Now) -> Vec<u8> {
        let mut part = Vec::new();
        match query.deed {
            Deed::List => encode::bulk(&mut part, self.lines_of_clients(query, now).as_bytes()),
            Deed::Kill | Deed::KillAt | Deed::Unblock { .. } => {
                let (killed, asker) = self.do_to_clients(query, now);
                encode::integer(&mut part, killed as i64);
                if let Some(asker) = asker {
                    self.finish_after_replies(asker);
                }
            }
            Deed::Pause { ms, all } => self.pause_pool(query.pool, ms, all, now),
            Deed::Unpause => self.unpause_pool(query.pool),
            Deed::Monitor => self.add_viewer(core_of(query.asker, self.identity.cores), query.pool),
            Deed::Topics(_) | Deed::Numsub(_) | Deed::Numpat => part = self.topics_here(query),
        }
        if part.is_empty() {
            encode::simple(&mut part, "OK");
        }
        part
    }

    /// Another core asks.
    pub(super) fn on_query(
        &mut self,
        from: u16,
        gather: (u32, u32),
        query: &ClientQuery<'_>,
        now: Now,
    ) {
        let news =
            Shared::Answer { core: self.identity.core, gather, part: self.carry_out(query, now) };
        self.asks.push_back(Ask::Tell { core: from, news });
    }

    /// Another core has answered; nobody waits any more for an answer that is late.
    pub(super) fn on_answer(&mut self, core: u16, gather: (u32, u32), part: Vec<u8>, now: Now) {
        self.gather_reply(gather, u32::from(core), Reply::Owned(part), now);
        self.go_on_asking(now);
    }

    /// The answer, made of the parts that there are; the client may go on.
    pub(super) fn complete_clients(&mut self, gather: Gather, deed: Deed, now: Now) {
        let mut reply = Vec::new();
        write_answer(deed, gather.protocol, &gather.parts, &mut reply);
        let all_answered = !gather.parts.iter().any(Vec::is_empty);
        if let Some(client) = self.client(gather.client)
            && client.stall == Some(Stall::Cores)
            && !client.resuming
        {
            client.resuming = true;
            self.resumable.push(gather.client);
        }
        self.deliver_gather(&gather, reply, now);
        if deed == Deed::Monitor && all_answered {
            self.begin_monitor(gather.client);
        }
    }

    /// When the query that is asked is given up, in `Now::mono_us`.
    pub(super) fn query_deadline(&self) -> u64 {
        self.queries.front().map_or(u64::MAX, |first| first.until_us)
    }
}

/// A core that was not asked, or did not answer, has an empty part.
fn write_answer(deed: Deed, protocol: Protocol, parts: &[Vec<u8>], out: &mut Vec<u8>) {
    let silent = parts.iter().filter(|part| part.is_empty()).count();
    match deed {
        Deed::List => {
            let lines: Vec<u8> =
                parts.iter().filter_map(|part| value::bulk(part)?).flatten().copied().collect();
            Encoder::new(protocol).verbatim(out, &lines);
        }
        Deed::Kill | Deed::KillAt | Deed::Unblock { .. } => {
            let killed = parts.iter().filter_map(|part| value::integer(part));
            write_killed(deed, killed.sum::<i64>().unsigned_abs(), out);
        }
        Deed::Topics(_) | Deed::Numsub(_) | Deed::Numpat => pubsub::merge(deed, parts, out),
        Deed::Pause { .. } | Deed::Unpause | Deed::Monitor if silent == 0 => {
            encode::simple(out, "OK");
        }
        Deed::Pause { .. } | Deed::Unpause | Deed::Monitor => {
            let text = format!(
                "ERR {silent} of {} cores have not answered in time: it may not hold there, try again",
                parts.len()
            );
            encode::error(out, text);
        }
    }
}

fn write_killed(deed: Deed, killed: u64, out: &mut Vec<u8>) {
    match deed {
        Deed::KillAt if killed == 0 => encode::error(out, "ERR No such client"),
        Deed::KillAt => encode::simple(out, "OK"),
        _ => encode::integer(out, killed as i64),
    }
}
