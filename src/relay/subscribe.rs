//! SUBSCRIBE and its like: what clients listen to, and how they hear of it.
//!
//! A request to subscribe is one request: it is answered when every node has confirmed all of it,
//! or with one error, and then nothing of it is subscribed. Until then nothing more of this client
//! is taken in, so that each answer counts what is true. What a client is subscribed to it keeps
//! over lost connections and other primaries (see `subscriber`); it is not told.

use ahash::AHashMap;

use crate::base::ids::{ClientId, PoolId};
use crate::base::limits::{LISTENER_BYTES, SUBSCRIPTIONS_MAX_BYTES, TOPIC_BYTES};
use crate::base::time::Now;
use crate::command::model::{Command, Local, Run, Special, TopicKind};
use crate::relay::Relay;
use crate::relay::client::{Client, Stall};
use crate::relay::dispatch::Outcome;
use crate::relay::order::Replies;
use crate::relay::pair::Reply;
use crate::relay::spares::give_spare;
use crate::relay::topics::{Place, TopicId};
use crate::resp::Protocol;
use crate::resp::args::Request;
use crate::resp::encode::{self, Encoder};
use crate::route::Router;
use crate::stats::cells::PoolMetric;

/// What redis calls a client that is subscribed. It is there as long as there is something in it.
#[derive(Debug, Default)]
pub(super) struct Subscriber {
    /// What it is subscribed to, and its place among the listeners of each.
    topics: AHashMap<TopicId, u32>,
    /// How many of each kind.
    pub(super) counts: [u32; 3],
    /// Its request that is not answered yet.
    joining: Option<(u32, u32)>,
}

/// A request to subscribe that is not answered yet.
#[derive(Debug)]
pub(super) struct Joining {
    client: ClientId,
    /// Its slot.
    seq: u32,
    /// An error is a reply as any other, and not wanted.
    muted: bool,
    kind: TopicKind,
    /// In the order of the request.
    topics: Vec<TopicId>,
    /// Those before this one have been confirmed.
    at: usize,
}

/// Channels that every redis-server writes to of its own accord, of what happens to its keys.
const OF_KEYS: [&[u8]; 2] = [b"__keyspace@", b"__keyevent@"];

impl TopicKind {
    /// The name of the request, and of its answer.
    pub(super) fn subscribe(self) -> &'static [u8] {
        match self {
            TopicKind::Channel => b"subscribe",
            TopicKind::Pattern => b"psubscribe",
            TopicKind::ShardChannel => b"ssubscribe",
        }
    }

    pub(super) fn unsubscribe(self) -> &'static [u8] {
        match self {
            TopicKind::Channel => b"unsubscribe",
            TopicKind::Pattern => b"punsubscribe",
            TopicKind::ShardChannel => b"sunsubscribe",
        }
    }

    fn gauge(self) -> PoolMetric {
        match self {
            TopicKind::Channel | TopicKind::ShardChannel => PoolMetric::Channels,
            TopicKind::Pattern => PoolMetric::Patterns,
        }
    }
}

impl Subscriber {
    /// As an answer counts: channels and patterns together, shard channels for themselves.
    fn count(&self, kind: TopicKind) -> i64 {
        let [channels, patterns, shard_channels] = self.counts;
        match kind {
            TopicKind::Channel | TopicKind::Pattern => i64::from(channels) + i64::from(patterns),
            TopicKind::ShardChannel => i64::from(shard_channels),
        }
    }

    fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.joining.is_none()
    }
}

impl Client {
    /// In RESP2 nobody could tell a message from a reply: who is subscribed has none but those of
    /// subscribing.
    pub(super) fn is_confined(&self) -> bool {
        self.protocol == Protocol::Resp2 && self.is_subscribed()
    }
}

impl Relay {
    /// Answers a request that a client that is subscribed may not make.
    pub(super) fn is_kept_from(&mut self, id: ClientId, command: &Command, now: Now) -> bool {
        let confined = self.client(id).is_some_and(|client| client.is_confined());
        let allowed = matches!(
            command.run,
            Run::Local(Local::Ping | Local::Quit | Local::Reset)
                | Run::Special(Special::Subscribe(_) | Special::Unsubscribe(_))
        );
        if !confined || allowed {
            return false;
        }
        let begin = match command.run {
            Run::Special(Special::Exec) => {
                self.end_guard(id, now);
                "EXECABORT Transaction discarded because of:"
            }
            _ => "ERR",
        };
        let text = format!(
            "{begin} Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET \
             are allowed in this context",
            command.name
        );
        self.refuse(id, &text);
        true
    }

    pub(super) fn subscribe(
        &mut self,
        id: ClientId,
        kind: TopicKind,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        if let Err(text) = self.may_subscribe(id, kind, request) {
            return self.refuse(id, &text);
        }
        let Some(client) = self.clients.get_mut(id.index, id.generation) else {
            return Outcome::Done;
        };
        let pool = client.pool;
        let muted = client.order.replies() != Replies::On;
        let seq = client.order.push_heard(&mut self.rings);
        let topics: Vec<TopicId> =
            request.iter().skip(1).map(|name| self.hold_topic(pool, kind, name)).collect();
        let joining = Joining { client: id, seq, muted, kind, topics: topics.clone(), at: 0 };
        let joining = self.joinings.insert(joining);
        if let Some(client) = self.client(id) {
            client.subscriber.get_or_insert_default().joining = Some(joining);
        }
        // All are asked for at once, and then waited for one by one.
        match topics.iter().find_map(|topic| self.ask_for(*topic, now).err()) {
            Some(lane) => self.fail_joining_at(joining, lane),
            None => self.go_on_joining(joining, now),
        }
        if let Some(client) = self.client(id)
            && !client.order.is_empty()
        {
            client.stall = Some(Stall::Lanes);
        }
        Outcome::Done
    }

    /// The bounds of a client and of the core.
    fn may_subscribe(
        &self,
        id: ClientId,
        kind: TopicKind,
        request: &Request<'_>,
    ) -> Result<(), String> {
        let Some(client) = self.clients.get(id.index, id.generation) else { return Ok(()) };
        let max = self.pool(client.pool).config.limits.client_subscriptions_max;
        let (mut subscriptions, mut bytes) = (0, self.topics.bytes);
        if let Some(subscriber) = &client.subscriber {
            subscriptions = subscriber.topics.len();
        }
        let shards = usize::from(self.pool(client.pool).router.shards());
        for name in request.iter().skip(1) {
            let known = self.topics.find(client.pool, kind, name);
            let listens = known.is_some_and(|topic| {
                client.subscriber.as_ref().is_some_and(|s| s.topics.contains_key(&topic))
            });
            if !listens {
                subscriptions += 1;
                bytes += LISTENER_BYTES;
            }
            if known.is_none() {
                bytes += TOPIC_BYTES + name.len() + shards;
            }
        }
        if subscriptions > max {
            return Err(format!(
                "ERR a client of this proxy may be subscribed to {max} channels and patterns \
                 (client_subscriptions_max)"
            ));
        }
        if bytes > SUBSCRIPTIONS_MAX_BYTES {
            return Err(format!(
                "ERR the subscriptions of this proxy's core take {SUBSCRIPTIONS_MAX_BYTES} bytes, \
                 and may not take more; give it more cores"
            ));
        }
        Ok(())
    }

    /// The topic of this name, with one more who holds it.
    fn hold_topic(&mut self, pool: PoolId, kind: TopicKind, name: &[u8]) -> TopicId {
        let id = self.topics.find(pool, kind, name).unwrap_or_else(|| {
            let place = place_of(&self.pools[pool.index()].router, kind, name);
            self.stats.pool(pool, kind.gauge()).add(1);
            self.topics.insert(pool, kind, name, place)
        });
        if let Some(topic) = self.topics.get_mut(id) {
            topic.holders += 1;
        }
        id
    }

    /// Goes on with a request as far as its topics are confirmed; answers it if all are.
    pub(super) fn go_on_joining(&mut self, joining: (u32, u32), now: Now) {
        let Some(request) = self.joinings.get_mut(joining.0, joining.1) else { return };
        let unconfirmed = |topic: &TopicId| !self.topics.is_confirmed(*topic);
        let from = request.at;
        let next = request.topics.iter().skip(from).position(unconfirmed).map(|at| from + at);
        // Those before may have lost their connection since: all have to be there at once.
        let next = next.or_else(|| request.topics.iter().take(from).position(unconfirmed));
        let Some(next) = next else { return self.finish_joining(joining) };
        request.at = next;
        let Some(topic) = request.topics.get(next).copied() else { return };
        if let Err(lane) = self.ask_for(topic, now) {
            return self.fail_joining_at(joining, lane);
        }
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.waiters.push(joining);
        }
    }

    /// All is confirmed: from here on the client listens.
    fn finish_joining(&mut self, joining: (u32, u32)) {
        let Some(request) = self.joinings.remove(joining.0, joining.1) else { return };
        let Joining { client: id, seq, kind, topics, .. } = request;
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        client.unsaid = !client.order.is_first(seq);
        let (pool, protocol) = (client.pool, client.protocol);
        let subscriber = client.subscriber.get_or_insert_default();
        subscriber.joining = None;
        let was_subscribed = subscriber.counts != [0; 3];
        let mut reply = self.spares.pop().unwrap_or_default();
        for topic in topics {
            if let std::collections::hash_map::Entry::Vacant(fresh) = subscriber.topics.entry(topic)
                && let Some(place) = self.topics.listen(topic, id)
            {
                fresh.insert(place);
                subscriber.counts[kind as usize] += 1;
            }
            if let Some(topic) = self.topics.get_mut(topic) {
                topic.holders -= 1;
                let (name, count) = (Some(&*topic.name), subscriber.count(kind));
                write_confirmation(&mut reply, protocol, kind.subscribe(), name, count);
            }
        }
        if !was_subscribed {
            self.stats.pool(pool, PoolMetric::Subscribers).add(1);
        }
        self.deliver(id, seq, Reply::Lent(&reply));
        give_spare(&mut self.spares, reply);
    }

    /// A lane that it needs is down, and says why.
    fn fail_joining_at(&mut self, joining: (u32, u32), lane: u32) {
        let mut error = self.spare();
        self.lane_error(lane, &mut error);
        self.fail_joining(joining, &error);
        give_spare(&mut self.spares, error);
    }

    /// A request to subscribe is answered with an error, and nothing of it is subscribed.
    pub(super) fn fail_joining(&mut self, joining: (u32, u32), error: &[u8]) {
        let Some(request) = self.joinings.remove(joining.0, joining.1) else { return };
        self.release_topics(joining, &request);
        let id = request.client;
        if let Some(subscriber) = self.client(id).and_then(|client| client.subscriber.as_mut()) {
            subscriber.joining = None;
        }
        self.tidy_subscriber(id);
        self.count_forward_error(id);
        self.deliver(id, request.seq, Reply::Lent(if request.muted { b"" } else { error }));
    }

    /// What it would have listened to is held no longer.
    fn release_topics(&mut self, joining: (u32, u32), request: &Joining) {
        for id in &request.topics {
            if let Some(topic) = self.topics.get_mut(*id) {
                topic.holders -= 1;
                topic.waiters.retain(|waiter| *waiter != joining);
            }
            self.drop_unwanted(*id);
        }
    }

    fn drop_unwanted(&mut self, id: TopicId) {
        if let Some(topic) = self.topics.take_unwanted(id) {
            self.stats.pool(topic.pool, topic.kind.gauge()).sub(1);
            self.ask_no_more(topic);
        }
    }

    /// UNSUBSCRIBE and its like, of these names or of all. It holds at once: what is on its way goes
    /// nowhere.
    pub(super) fn unsubscribe(
        &mut self,
        id: ClientId,
        kind: TopicKind,
        request: &Request<'_>,
    ) -> Outcome {
        let Some(client) = self.client(id) else { return Outcome::Done };
        let (pool, protocol) = (client.pool, client.protocol);
        let mut reply = Vec::new();
        let word = kind.unsubscribe();
        for name in request.iter().skip(1) {
            if let Some(topic) = self.topics.find(pool, kind, name) {
                self.stop_listening(id, topic);
            }
            write_confirmation(&mut reply, protocol, word, Some(name), self.count(id, kind));
        }
        if request.len() == 1 {
            for topic in self.topics_of(id, Some(kind)) {
                let name = self.topics.get(topic).map(|topic| topic.name.clone());
                self.stop_listening(id, topic);
                let count = self.count(id, kind);
                write_confirmation(&mut reply, protocol, word, name.as_deref(), count);
            }
            if reply.is_empty() {
                write_confirmation(&mut reply, protocol, word, None, self.count(id, kind));
            }
        }
        self.tidy_subscriber(id);
        if let Some(client) = self.clients.get_mut(id.index, id.generation) {
            let seq = client.order.push_heard(&mut self.rings);
            self.deliver(id, seq, Reply::Owned(reply));
        }
        Outcome::Done
    }

    fn count(&mut self, id: ClientId, kind: TopicKind) -> i64 {
        let subscriber = self.client(id).and_then(|client| client.subscriber.as_ref());
        subscriber.map_or(0, |subscriber| subscriber.count(kind))
    }

    /// What a client is subscribed to, in an order that does not depend on chance.
    fn topics_of(&mut self, id: ClientId, kind: Option<TopicKind>) -> Vec<TopicId> {
        let subscriber =
            self.clients.get(id.index, id.generation).and_then(|c| c.subscriber.as_ref());
        let of_kind = |id: &TopicId| {
            kind.is_none() || self.topics.get(*id).is_some_and(|topic| Some(topic.kind) == kind)
        };
        let mut topics: Vec<TopicId> = subscriber
            .map(|subscriber| subscriber.topics.keys().copied().filter(of_kind).collect())
            .unwrap_or_default();
        topics.sort_unstable();
        topics
    }

    /// A client listens to a topic no longer.
    fn stop_listening(&mut self, id: ClientId, topic: TopicId) {
        let Some(kind) = self.topics.get(topic).map(|topic| topic.kind) else { return };
        let Some(client) = self.client(id) else { return };
        let Some(subscriber) = &mut client.subscriber else { return };
        let Some(place) = subscriber.topics.remove(&topic) else { return };
        subscriber.counts[kind as usize] -= 1;
        let (pool, over) = (client.pool, !client.is_subscribed());
        if over {
            self.stats.pool(pool, PoolMetric::Subscribers).sub(1);
        }
        self.leave_place(topic, place);
    }

    fn leave_place(&mut self, topic: TopicId, place: u32) {
        if let Some(moved) = self.topics.leave(topic, place)
            && let Some(subscriber) = self.client(moved).and_then(|c| c.subscriber.as_mut())
        {
            subscriber.topics.insert(topic, place);
        }
        self.drop_unwanted(topic);
    }

    /// As UNSUBSCRIBE of everything, without a word.
    pub(super) fn leave_all(&mut self, id: ClientId) {
        for topic in self.topics_of(id, None) {
            self.stop_listening(id, topic);
        }
        self.tidy_subscriber(id);
    }

    /// A client has gone: nothing of it stays behind.
    pub(super) fn forget_subscriber(&mut self, pool: PoolId, subscriber: Subscriber) {
        if let Some(joining) = subscriber.joining
            && let Some(request) = self.joinings.remove(joining.0, joining.1)
        {
            self.release_topics(joining, &request);
        }
        if subscriber.counts != [0; 3] {
            self.stats.pool(pool, PoolMetric::Subscribers).sub(1);
        }
        let mut topics: Vec<(TopicId, u32)> = subscriber.topics.into_iter().collect();
        topics.sort_unstable();
        for (topic, place) in topics {
            self.leave_place(topic, place);
        }
    }

    pub(super) fn tidy_subscriber(&mut self, id: ClientId) {
        if let Some(client) = self.client(id) {
            client.subscriber.take_if(|subscriber| subscriber.is_empty());
        }
    }
}

/// Where a topic's messages come from.
pub(super) fn place_of(router: &Router, kind: TopicKind, name: &[u8]) -> Place {
    let everywhere = kind == TopicKind::Pattern
        || router.is_random()
        || (kind == TopicKind::Channel && OF_KEYS.iter().any(|of| name.starts_with(of)));
    match everywhere {
        true => Place::all(router.shards()),
        false => Place::one(router.shard_of(name, 0)),
    }
}

/// One answer to SUBSCRIBE and its like; `None`: there was nothing to unsubscribe from.
fn write_confirmation(
    out: &mut Vec<u8>,
    protocol: Protocol,
    word: &[u8],
    name: Option<&[u8]>,
    count: i64,
) {
    let encoder = Encoder::new(protocol);
    encoder.push_header(out, 3);
    encode::bulk(out, word);
    match name {
        Some(name) => encode::bulk(out, name),
        None => encoder.null(out),
    }
    encode::integer(out, count);
}
