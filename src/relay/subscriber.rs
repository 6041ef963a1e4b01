//! The lane that subscribes: one connection of this core to a node, however many clients listen.
//!
//! It asks for each topic by a request of its own, in RESP2: so each answer is a confirmation or an
//! error, in the order of the requests, with messages in between. Whatever else comes, or comes for
//! a topic that was not asked for, is out of step. A fresh connection asks for all topics of its
//! shard again, and no client hears of it; what was published meanwhile nobody has heard, and what
//! an old connection still says is dropped by its generation.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::ids::{PoolId, ShardId};
use crate::base::limits::{SUBSCRIBE_AGAIN_MS, SUBSCRIBER_PING_MS};
use crate::base::time::{Now, US_PER_MS};
use crate::command::model::TopicKind;
use crate::relay::Relay;
use crate::relay::api::Report;
use crate::relay::lane::{LaneState, SUBSCRIBER};
use crate::relay::lanes::Loss;
use crate::relay::plants::{Plant, planted};
use crate::relay::spares::give_spare;
use crate::relay::subscribe::place_of;
use crate::relay::topics::{Topic, TopicId, Upstream};
use crate::resp::{Protocol, encode, value};
use crate::stats::cells::ShardMetric;

/// What a lane that subscribes has in flight.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// Oldest first.
    expected: VecDeque<Expected>,
    /// How many of them end a subscription: until they are confirmed messages may come for topics
    /// that nobody knows any more.
    ending: usize,
    /// Something was refused that clients are subscribed to; it is asked for again at this time.
    again_us: Option<u64>,
}

#[derive(Debug)]
struct Expected {
    answer: Answer,
    since_us: u64,
}

#[derive(Debug)]
enum Answer {
    Subscribed { topic: TopicId, kind: TopicKind, name: Arc<[u8]> },
    Unsubscribed { kind: TopicKind, name: Arc<[u8]> },
    Pong,
}

/// A message's first word, its number of elements, and which topic its second word names.
const MESSAGES: [(&[u8], usize, TopicKind); 3] = [
    (b"message", 3, TopicKind::Channel),
    (b"pmessage", 4, TopicKind::Pattern),
    (b"smessage", 3, TopicKind::ShardChannel),
];

/// A frame that can not be: the lane is out of step.
struct OutOfStep(&'static str);

impl Relay {
    fn subscriber_lane(&mut self, pool: PoolId, shard: ShardId) -> u32 {
        let set = self.lane_set(pool, Protocol::Resp2, SUBSCRIBER);
        self.lane_sets[set as usize].first + u32::from(shard.0)
    }

    /// Asks for a topic wherever that has not been done. `Err`: this lane is down.
    pub(super) fn ask_for(&mut self, id: TopicId, now: Now) -> Result<(), u32> {
        let Some(topic) = self.topics.get(id) else { return Ok(()) };
        if topic.place.is_confirmed() {
            return Ok(());
        }
        let pool = topic.pool;
        for (shard, upstream) in topic.place.shards() {
            if upstream == Upstream::Confirmed {
                continue;
            }
            let lane = self.subscriber_lane(pool, shard);
            if !self.may_enqueue(lane, now.mono_us) {
                return Err(lane);
            }
            if upstream == Upstream::Unasked && self.lanes[lane as usize].state == LaneState::Ready
            {
                self.ask(lane, id, now.mono_us);
            }
        }
        Ok(())
    }

    /// One request, on a lane that is ready.
    fn ask(&mut self, index: u32, id: TopicId, now_us: u64) {
        let shard = self.lanes[index as usize].shard;
        let Some(topic) = self.topics.get_mut(id) else { return };
        topic.place.set(shard, Upstream::Asked);
        let (kind, name) = (topic.kind, topic.name.clone());
        let words = [kind.subscribe(), &name.clone()];
        self.expect(index, &words, Answer::Subscribed { topic: id, kind, name }, now_us);
    }

    /// Nobody wants a topic any more, and it is gone.
    pub(super) fn ask_no_more(&mut self, topic: Topic) {
        let Topic { pool, kind, name, place, .. } = topic;
        for (shard, upstream) in place.shards() {
            self.end_on(pool, (shard, upstream), kind, &name);
        }
    }

    /// A shard's lane has nothing to do with a topic any more.
    fn end_on(
        &mut self,
        pool: PoolId,
        (shard, upstream): (ShardId, Upstream),
        kind: TopicKind,
        name: &Arc<[u8]>,
    ) {
        let index = self.subscriber_lane(pool, shard);
        let lane = &mut self.lanes[index as usize];
        if lane.state != LaneState::Ready || upstream == Upstream::Unasked {
            return;
        }
        if let Some(subscriber) = &mut lane.subscriber {
            subscriber.ending += 1;
        }
        let answer = Answer::Unsubscribed { kind, name: name.clone() };
        self.expect(index, &[kind.unsubscribe(), name], answer, self.turn_us);
    }

    /// Keys of a pool have moved to other shards, and channels with them: they are subscribed
    /// there, and no client is told.
    pub(super) fn move_topics(&mut self, pool: PoolId, now: Now) {
        for id in self.topics.of_pool(pool) {
            let router = &self.pools[pool.index()].router;
            let Some(topic) = self.topics.get(id) else { continue };
            let (kind, name) = (topic.kind, topic.name.clone());
            let Some(before) = self.topics.replace(id, place_of(router, kind, &name)) else {
                continue;
            };
            for (shard, upstream) in before.shards() {
                if self.topics.get(id).is_some_and(|topic| topic.place.on(shard).is_none()) {
                    self.end_on(pool, (shard, upstream), kind, &name);
                }
            }
            let Some(topic) = self.topics.get(id) else { continue };
            for (shard, upstream) in topic.place.shards() {
                let lane = self.subscriber_lane(pool, shard);
                self.may_enqueue(lane, now.mono_us); // connected, if it was not
                let ready = self.lanes[lane as usize].state == LaneState::Ready;
                if ready && upstream == Upstream::Unasked {
                    self.ask(lane, id, now.mono_us);
                }
            }
        }
    }

    fn expect(&mut self, index: u32, words: &[&[u8]], answer: Answer, now_us: u64) {
        let mut request = self.spare();
        encode::request(&mut request, words);
        let lane = &mut self.lanes[index as usize];
        lane.outbox.put(&request, &mut self.chunks);
        self.lane_bytes += request.len();
        if let Some(subscriber) = &mut lane.subscriber {
            subscriber.expected.push_back(Expected { answer, since_us: now_us });
        }
        if let Some(timeout_ms) = self.pools[lane.pool.index()].config.timeout_ms {
            let until_us = now_us.saturating_add(timeout_ms.saturating_mul(US_PER_MS));
            self.sweep_us = self.sweep_us.min(until_us);
        }
        self.mark_lane(index);
        give_spare(&mut self.spares, request);
    }

    /// The hand-shake is over: all that clients listen to, or want to, is asked for.
    pub(super) fn begin_subscriber(&mut self, index: u32, now: Now) {
        let Some(lane) = self.lanes.get(index as usize) else { return };
        if lane.state != LaneState::Ready {
            return;
        }
        self.sweep_us = self.sweep_us.min(now.mono_us + SUBSCRIBER_PING_MS * US_PER_MS);
        self.ask_for_missing(index, now);
    }

    fn ask_for_missing(&mut self, index: u32, now: Now) {
        let (pool, shard) = (self.lanes[index as usize].pool, self.lanes[index as usize].shard);
        for id in self.topics.of_shard(pool, shard) {
            let upstream = self.topics.get(id).and_then(|topic| topic.place.on(shard));
            if upstream == Some(Upstream::Unasked) && !planted(Plant::ForgetTopics) {
                self.ask(index, id, now.mono_us);
            }
        }
    }

    /// The connection is gone, and with it all that it had subscribed to.
    pub(super) fn forget_subscriptions(&mut self, index: u32) {
        let lane = &mut self.lanes[index as usize];
        let (pool, shard) = (lane.pool, lane.shard);
        let Some(subscriber) = &mut lane.subscriber else { return };
        **subscriber = Subscriptions::default();
        self.lane_bytes = self.lane_bytes.saturating_sub(lane.outbox.bytes());
        lane.outbox.clear(&mut self.chunks); // the next one is asked for all of it again
        for id in self.topics.of_shard(pool, shard) {
            if let Some(topic) = self.topics.get_mut(id) {
                topic.place.set(shard, Upstream::Unasked);
            }
        }
    }

    /// Those who wait for this lane are answered: it is down, or has been held for too long.
    pub(super) fn fail_waiters(&mut self, index: u32) {
        let (pool, shard) = (self.lanes[index as usize].pool, self.lanes[index as usize].shard);
        let mut error = Vec::new();
        self.lane_error(index, &mut error);
        for id in self.topics.of_shard(pool, shard) {
            let missing = |topic: &&mut Topic| topic.place.on(shard) != Some(Upstream::Confirmed);
            let Some(topic) = self.topics.get_mut(id).filter(missing) else { continue };
            for joining in std::mem::take(&mut topic.waiters) {
                self.fail_joining(joining, &error);
            }
        }
    }

    /// A reply to nothing, or a frame of a lane that subscribes.
    #[cold]
    pub(super) fn on_unpaired(&mut self, index: u32, (kind, frame): (u8, &[u8]), now: Now) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        if lane.subscriber.is_none() {
            return self.desynchronised(index, "a reply that nobody asked for", now);
        }
        lane.failures = 0;
        let taken = match kind {
            b'*' => self.on_array(index, frame, now),
            b'-' => return self.on_refusal(index, frame, now),
            b'+' if frame == b"+PONG\r\n" => self.on_pong(index),
            _ => return self.out_of_step(index, kind, now),
        };
        if let Err(OutOfStep(why)) = taken {
            self.desynchronised(index, why, now);
        }
    }

    fn on_array(&mut self, index: u32, frame: &[u8], now: Now) -> Result<(), OutOfStep> {
        const STRANGE: OutOfStep = OutOfStep("neither a message nor a confirmation");
        let mut elements = value::elements(frame).ok_or(STRANGE)?;
        let count = elements.left();
        let mut text = || elements.next().and_then(value::bulk).flatten();
        let word = text().ok_or(STRANGE)?;
        let name = text().ok_or(STRANGE)?;
        for (message, of, kind) in MESSAGES {
            if word == message && count == of {
                return self.on_message(index, (kind, name), frame);
            }
        }
        if word == b"pong" && count == 2 {
            return self.on_pong(index); // as redis answers who is subscribed
        }
        if count != 3 {
            return Err(STRANGE);
        }
        self.on_confirmation(index, (word, name), now)
    }

    fn on_message(
        &mut self,
        index: u32,
        (kind, name): (TopicKind, &[u8]),
        message: &[u8],
    ) -> Result<(), OutOfStep> {
        let lane = &self.lanes[index as usize];
        self.stats.shard(lane.pool, lane.shard, ShardMetric::Messages).add(1);
        let topic = self.topics.find(lane.pool, kind, name);
        let upstream = topic.and_then(|id| self.topics.get(id)?.place.on(lane.shard));
        match (topic, upstream) {
            (Some(topic), Some(Upstream::Confirmed)) => self.spread(topic, message),
            _ if lane.subscriber.as_ref().is_some_and(|subscriber| subscriber.ending > 0) => {}
            _ => return Err(OutOfStep("a message that nobody asked for")),
        }
        Ok(())
    }

    fn on_confirmation(
        &mut self,
        index: u32,
        (word, name): (&[u8], &[u8]),
        now: Now,
    ) -> Result<(), OutOfStep> {
        const OTHER: OutOfStep = OutOfStep("another confirmation than was to come");
        let lane = &mut self.lanes[index as usize];
        let shard = lane.shard;
        let Some(subscriber) = &mut lane.subscriber else { return Err(OTHER) };
        let Some(expected) = subscriber.expected.pop_front() else { return Err(OTHER) };
        let right = match &expected.answer {
            Answer::Subscribed { kind, name: asked, .. } => {
                word == kind.subscribe() && name == &**asked
            }
            Answer::Unsubscribed { kind, name: asked } => {
                word == kind.unsubscribe() && name == &**asked
            }
            Answer::Pong => false,
        };
        if !right {
            return Err(OTHER);
        }
        let Answer::Subscribed { topic: id, .. } = expected.answer else {
            subscriber.ending -= 1;
            return Ok(());
        };
        let Some(topic) = self.topics.get_mut(id) else { return Ok(()) };
        topic.place.set(shard, Upstream::Confirmed);
        if topic.place.is_confirmed() {
            for joining in std::mem::take(&mut topic.waiters) {
                self.go_on_joining(joining, now);
            }
        }
        Ok(())
    }

    fn on_pong(&mut self, index: u32) -> Result<(), OutOfStep> {
        let subscriber = self.lanes[index as usize].subscriber.as_mut();
        let expected = subscriber.and_then(|subscriber| subscriber.expected.pop_front());
        match expected.map(|expected| expected.answer) {
            Some(Answer::Pong) => Ok(()),
            _ => Err(OutOfStep("an answer to PING that nobody asked for")),
        }
    }

    /// The server refuses the oldest request: nothing has changed there. Who waits for it hears so;
    /// who is subscribed already (on an earlier connection) stays so, and it is asked for again.
    fn on_refusal(&mut self, index: u32, error: &[u8], now: Now) {
        let lane = &mut self.lanes[index as usize];
        let (pool, shard) = (lane.pool, lane.shard);
        let Some(subscriber) = &mut lane.subscriber else { return };
        let text = String::from_utf8_lossy(value::error_text(error)).into_owned();
        match subscriber.expected.pop_front().map(|expected| expected.answer) {
            Some(Answer::Pong) => {} // as good a sign of life
            Some(Answer::Subscribed { topic: id, .. }) => {
                let there = |topic: &&mut Topic| topic.place.on(shard).is_some();
                let Some(topic) = self.topics.get_mut(id).filter(there) else { return };
                topic.place.set(shard, Upstream::Unasked);
                let listened = !topic.listeners.is_empty();
                for joining in std::mem::take(&mut topic.waiters) {
                    self.fail_joining(joining, error);
                }
                if listened {
                    self.ask_again(index, text, now);
                }
            }
            Some(Answer::Unsubscribed { .. }) => {
                let why = format!("ending a subscription was refused with '{text}'");
                self.lose_lane(index, why, Loss::Failed, now);
            }
            None => {
                self.stats.shard(pool, shard, ShardMetric::ErrorReplies).add(1);
                self.desynchronised(index, "an error that nobody asked for", now);
            }
        }
    }

    fn ask_again(&mut self, index: u32, why: String, now: Now) {
        let lane = &mut self.lanes[index as usize];
        let (pool, shard) = (lane.pool, lane.shard);
        self.stats.shard(pool, shard, ShardMetric::SubscriptionsRefused).add(1);
        let Some(subscriber) = &mut lane.subscriber else { return };
        if subscriber.again_us.is_none() {
            let at_us = now.mono_us + SUBSCRIBE_AGAIN_MS * US_PER_MS;
            subscriber.again_us = Some(at_us);
            self.sweep_us = self.sweep_us.min(at_us);
            self.reports.push_back(Report::SubscriptionRefused { pool, shard, why });
        }
    }

    /// What is due on a lane that is ready; gives the time at which something is due next.
    pub(super) fn sweep_subscriber(&mut self, index: u32, now: Now) -> Option<u64> {
        let subscriber = self.lanes[index as usize].subscriber.as_mut()?;
        if subscriber.again_us.take_if(|at_us| now.mono_us >= *at_us).is_some() {
            self.ask_for_missing(index, now);
        }
        let lane = &self.lanes[index as usize];
        let subscriber = lane.subscriber.as_ref()?;
        let again_us = subscriber.again_us;
        let Some(timeout_ms) = self.pool(lane.pool).config.timeout_ms else { return again_us };
        let due_us = match subscriber.expected.front() {
            Some(oldest) => {
                let since_us = oldest.since_us.max(lane.heard_us);
                since_us.saturating_add(timeout_ms.saturating_mul(US_PER_MS))
            }
            None => lane.heard_us + SUBSCRIBER_PING_MS * US_PER_MS,
        };
        if now.mono_us < due_us {
            return Some(again_us.map_or(due_us, |again_us| again_us.min(due_us)));
        }
        if subscriber.expected.is_empty() {
            self.expect(index, &[b"PING"], Answer::Pong, now.mono_us);
            return again_us; // and the time of the answer is in `sweep_us`
        }
        self.lose_lane(index, "Connection timed out (silent)".to_owned(), Loss::Failed, now);
        None
    }
}
