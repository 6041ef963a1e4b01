//! Pushes: what clients hear that is no reply. Messages come from a lane that subscribes, and go to
//! the clients that listen.
//!
//! [`Relay::put_push`] is the one way in which a client gets a message (an invalidation has its own,
//! behind all replies to come: see `tracking`). It goes between two replies: at once, but behind the
//! rest of a long reply that is under way (`Client::streaming`), and behind the answer that tells the
//! client that messages may come (`Client::unsaid`). Those that wait do so in `Client::pushes`, in
//! their order, and leave by [`Relay::send_pushes`]. They are bounded as replies are: a client that
//! does not read what it has is closed. HELLO and RESET of a client that may hear one
//! (`Client::hears_messages`) wait until all replies before them have left
//! ([`Relay::keeps_version`]): so none comes in another version than its client knows of.

use crate::base::ids::ClientId;
use crate::base::limits::PASS_ON_BYTES;
use crate::base::time::Now;
use crate::command::model::{Command, Local, Run};
use crate::relay::Relay;
use crate::relay::api::Dirty;
use crate::relay::client::{Phase, Stall};
use crate::relay::dispatch::Outcome;
use crate::relay::plants::{Plant, planted};
use crate::relay::topics::TopicId;
use crate::resp::Protocol;
use crate::stats::cells::PoolMetric;

impl Relay {
    /// A message of a topic, as it came in RESP2, to all who listen.
    pub(super) fn spread(&mut self, topic: TopicId, message: &[u8]) {
        let Some(known) = self.topics.get_mut(topic) else { return };
        let pool = known.pool;
        let listeners = std::mem::take(&mut known.listeners);
        for listener in &listeners {
            self.put_push(*listener, message);
        }
        self.stats.pool(pool, PoolMetric::MessagesDelivered).add(listeners.len() as u64);
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.listeners = listeners;
        }
    }

    /// A message for one client: a whole frame as RESP2 writes it, an array, which is a push in RESP3.
    pub(super) fn put_push(&mut self, id: ClientId, frame: &[u8]) {
        let over_budget = self.is_over_budget();
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        if client.phase == Phase::Closed {
            return;
        }
        // One message may be for thousands, of whom nobody reads before this turn ends.
        if over_budget && (client.output_bytes() > 0 || frame.len() > PASS_ON_BYTES) {
            return self.close_for_output(id);
        }
        let waits = client.streaming || (client.unsaid && !planted(Plant::SayEarly));
        let out = match waits {
            true => &mut **client.pushes.get_or_insert_default(),
            false => &mut client.outbox,
        };
        // The versions differ in this byte alone.
        match (client.protocol, frame.split_first()) {
            (Protocol::Resp3, Some((_, rest))) => {
                out.put(b">", &mut self.chunks);
                out.put(rest, &mut self.chunks);
            }
            _ => out.put(frame, &mut self.chunks),
        }
        self.buffered_bytes += frame.len();
        if waits {
            client.held_bytes += frame.len();
        } else if !client.dirty {
            client.dirty = true;
            self.dirty.push_back(Dirty::Client(id));
        }
        self.check_output(id);
    }

    /// What a client that hears messages may not ask, or not yet.
    #[cold]
    pub(super) fn mind_messages(
        &mut self,
        id: ClientId,
        command: &Command,
        now: Now,
    ) -> Option<Outcome> {
        match self.is_kept_from(id, command, now) {
            true => Some(Outcome::Done),
            false => self.keeps_version(id, command).then_some(Outcome::Postponed),
        }
    }

    /// HELLO and RESET, whose place is behind all that is under way: what is heard in between is in
    /// the old version.
    fn keeps_version(&mut self, id: ClientId, command: &Command) -> bool {
        let changes = matches!(command.run, Run::Local(Local::Hello | Local::Reset))
            && !planted(Plant::MixVersions);
        let Some(client) = self.client(id).filter(|client| changes && !client.order.is_empty())
        else {
            return false;
        };
        client.stall = Some(Stall::Lanes);
        true
    }

    /// The last piece of a long reply has gone.
    pub(super) fn end_stream(&mut self, id: ClientId) {
        let Some(client) = self.client(id) else { return };
        client.streaming = false;
        if !client.unsaid {
            self.send_pushes(id);
        }
        self.end_first_slot(id);
    }

    /// Pushes that had to wait follow what they waited for.
    #[cold]
    pub(super) fn send_pushes(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        let Some(mut pushes) = client.pushes.take() else { return };
        let bytes = pushes.bytes();
        client.outbox.append(&mut pushes);
        client.held_bytes = client.held_bytes.saturating_sub(bytes);
        if bytes > 0 && !client.dirty {
            client.dirty = true;
            self.dirty.push_back(Dirty::Client(id));
        }
    }
}
