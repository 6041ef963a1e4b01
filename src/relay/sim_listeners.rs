//! Subscriptions in the simulation: clients listen, publish and stop to listen. Nobody may hear what
//! it is not subscribed to, nor before it has heard so, nor twice, nor out of order; each answer has
//! to count what is true; and when all is well again everybody hears all of it.
//!
//! A store tells all connections to both nodes of a shard that may be its primary, as redis does
//! through replication: who listens on both would hear twice.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::glob::matches;
use crate::relay::order::Replies;
use crate::relay::sim_model::{Executed, Expect, Node, Player, Store, Wire, version_of};
use crate::relay::sim_tests::{SHARDS, Simulation};
use crate::relay::world_messages::{KINDS, messages, subscribe};
use crate::resp::args::Request;
use crate::resp::{encode, value};

/// By kind: channels, patterns, shard channels.
const NAMES: [[&str; 4]; 3] = [
    ["one", "two", "three", "__keyspace@0__:k"],
    ["*", "t*", "?ne", "__key*"],
    ["one", "two", "three", "four"],
];

const RESET: &[u8] = b"+RESET\r\n";

pub(super) struct Publication {
    channel: String,
    text: String,
    sharded: bool,
}

/// What a client believes.
#[derive(Debug, Default)]
pub(super) struct Listening {
    /// What it is subscribed to, as it has heard: kind and name.
    topics: BTreeSet<(usize, String)>,
    /// The moment of the last message heard, by topic and channel.
    last: BTreeMap<((usize, String), String), u64>,
    /// It has heard that it speaks RESP3.
    resp3: bool,
    /// It has asked for RESP3 and wanted no answer.
    pub(super) is_uncertain: bool,
    /// It has asked to subscribe …
    asks: bool,
    /// … and speaks RESP2: it may ask for nothing else.
    pub(super) confined: bool,
}

/// The strings that a push begins with.
fn words_of(frame: &[u8]) -> Option<Vec<String>> {
    let elements = value::elements(frame)?;
    let text = |element| Some(String::from_utf8_lossy(value::bulk(element)??).into_owned());
    Some(elements.map_while(text).collect())
}

/// Whether this is the answer for one topic of a request.
pub(super) fn is_confirmation(reply: &[u8], on: bool, (kind, name): &(usize, String)) -> bool {
    let word = format!("{}{}subscribe", KINDS[*kind], if on { "" } else { "un" });
    words_of(reply).is_some_and(|words| words == [word.as_str(), name])
}

impl Store {
    pub(super) fn publish(
        &mut self,
        request: &Request<'_>,
        executed: &mut Executed,
        out: &mut Vec<u8>,
    ) {
        let text = |at: usize| String::from_utf8_lossy(request.arg(at)).into_owned();
        let sharded = request.name() == b"SPUBLISH";
        executed.moment += 1;
        let version = version_of(request.arg(2)).expect("a text of ours");
        let before = executed.published_at.insert(version, executed.moment);
        assert_eq!(before, None, "{version} was published twice");
        self.published.push(Publication { channel: text(1), text: text(2), sharded });
        encode::integer(out, 1);
    }
}

impl Wire {
    /// Answers a request about subscriptions; `false`: it is none.
    pub(super) fn subscribe(&mut self, request: &Request<'_>) -> bool {
        let mut out = Vec::new();
        let is_one = subscribe(&mut self.topics, request, None, &mut out);
        assert!(!is_one || self.node != Node::Third, "a replica is asked to tell");
        self.output.extend(out);
        is_one
    }
}

impl Listening {
    /// Takes what it hears if that is a message.
    pub(super) fn takes(&mut self, frame: &[u8], published_at: &BTreeMap<u64, u64>) -> bool {
        let Some(words) = words_of(frame) else { return false };
        let kind = |word: &String| KINDS.iter().position(|kind| *word == format!("{kind}message"));
        let Some(kind) = words.first().and_then(kind) else { return false };
        let (topic, channel) = ((kind, words[1].clone()), words[words.len() - 2].clone());
        let version = version_of(words[words.len() - 1].as_bytes());
        let what = format!("message {version:?} of {topic:?} in {channel}");
        let sign = if self.resp3 { b'>' } else { b'*' };
        assert!(frame[0] == sign || self.is_uncertain, "{what}: in the other version");
        assert!(self.topics.contains(&topic), "{what}: not subscribed");
        let moment = version.and_then(|version| published_at.get(&version));
        let moment = moment.unwrap_or_else(|| panic!("{what}: nobody has published that"));
        let last = self.last.insert((topic, channel), *moment);
        assert!(last < Some(*moment), "{what}: twice, or out of order");
        true
    }

    fn count(&self, kind: usize) -> usize {
        self.topics.iter().filter(|(of, _)| (*of == 2) == (kind == 2)).count()
    }
}

impl Player {
    /// What it has heard may change what it is subscribed to.
    pub(super) fn note_topic(&mut self, expect: Expect, reply: &[u8]) {
        match expect {
            Expect::Topic { more, .. } if value::is_error(reply) => {
                drop(self.expects.drain(..more)); // one error for all of it
            }
            Expect::Topic { on, topic, .. } => {
                let (kind, topic_name) = topic.clone();
                match on {
                    true => self.listening.topics.insert(topic),
                    false => self.listening.topics.remove(&topic),
                };
                let count =
                    value::elements(reply).and_then(|mut words| value::integer(words.nth(2)?));
                assert_eq!(count, Some(self.listening.count(kind) as i64), "after {topic_name}");
            }
            Expect::Hello => self.listening.resp3 = reply[0] == b'%',
            Expect::Exactly(bytes) if bytes == RESET => {
                self.listening.topics.clear();
                self.listening.resp3 = false;
            }
            _ => {}
        }
    }
}

impl Simulation {
    /// Says something about topics, if this player may now.
    pub(super) fn think_of_topics(&mut self, at: usize) -> bool {
        if self.players[at].replies != Replies::On {
            return false;
        }
        let (kind, what) = (self.below(3) as usize, self.below(9));
        if what < 3 && !self.players[at].listening.confined {
            let channel = NAMES[kind / 2 * 2][self.below(4) as usize];
            let (_, text) = self.value(channel);
            let word: &[u8] = if kind == 2 { b"SPUBLISH" } else { b"PUBLISH" };
            self.say(at, &[word, channel.as_bytes(), &text], Expect::Deleted);
            return true;
        }
        let again = what == 3 && self.below(2) == 0;
        let on = what < 7 && !again;
        let player = &mut self.players[at];
        let Listening { asks, confined, .. } = &mut player.listening;
        if again && player.resp3 {
            (player.resp3, *confined) = (false, *asks);
            self.end_tracking(at);
            self.say(at, &[b"HELLO", b"2"], Expect::Hello);
            return true;
        }
        if again {
            (player.database, *asks, *confined) = (0, false, false);
            player.cache.end();
            self.say(at, &[b"RESET"], Expect::Exactly(RESET.to_vec()));
            return true;
        }
        *asks |= on;
        *confined |= on && !player.resp3;
        let word = format!("{}{}SUBSCRIBE", KINDS[kind], if on { "" } else { "UN" });
        let count = 1 + self.below(3) as usize;
        let names: Vec<&str> = (0..count).map(|_| NAMES[kind][self.below(4) as usize]).collect();
        let mut words = vec![word.as_bytes()];
        words.extend(names.iter().map(|name| name.as_bytes()));
        encode::request(&mut self.players[at].to_say, &words);
        for (more, name) in (0..count).rev().zip(names) {
            let topic = (kind, name.to_owned());
            self.players[at].expects.push_back(Expect::Topic { on, topic, more });
        }
        true
    }

    /// What was published on a shard goes to all connections to it that listen.
    pub(super) fn tell_published(&mut self, shard: usize) {
        for Publication { channel, text, sharded } in
            std::mem::take(&mut self.stores[shard].published)
        {
            for wire in self.wires.iter_mut().filter(|wire| wire.shard == shard) {
                wire.output.extend(messages(&wire.topics, &channel, &text, sharded));
            }
        }
    }

    fn go_on(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.turn();
            for at in (0..self.wires.len()).rev() {
                if at < self.wires.len() {
                    self.serve(at, 1_000_000);
                }
            }
            self.turn();
            for at in (0..self.players.len()).rev() {
                self.play(at, 1_000_000);
            }
        }
    }

    /// All is well: one more message in each channel reaches everybody who listens.
    pub(super) fn all_hear(&mut self) {
        let mut said = Vec::new();
        let channels = NAMES[0].iter().map(|name| (*name, false));
        for (channel, sharded) in channels.chain(NAMES[2].map(|name| (name, true))) {
            let home = self.world.relay.pools[0].router.shard_of(channel.as_bytes(), 0);
            let everywhere = channel.starts_with("__key") && !sharded;
            for shard in (0..SHARDS).filter(|shard| everywhere || *shard == home.index()) {
                let (version, text) = self.value(channel);
                let text = String::from_utf8(text).unwrap();
                self.executed.moment += 1;
                self.executed.published_at.insert(version, self.executed.moment);
                let channel = channel.to_owned();
                said.push((channel.clone(), self.executed.moment, sharded));
                self.stores[shard].published.push(Publication { channel, text, sharded });
                self.tell_published(shard);
                self.go_on(4);
            }
        }
        self.go_on(30);
        for player in self.players.iter().filter(|player| !player.closing) {
            for topic in &player.listening.topics {
                for (channel, moment, sharded) in &said {
                    let hears = match topic.0 {
                        1 => !sharded && matches(topic.1.as_bytes(), channel.as_bytes()),
                        kind => topic.1 == *channel && *sharded == (kind == 2),
                    };
                    let last = player.listening.last.get(&(topic.clone(), channel.clone()));
                    assert!(!hears || last >= Some(moment), "{topic:?} has not heard {channel}");
                }
            }
        }
    }

    /// All clients have left: nobody listens, here or there.
    pub(super) fn nobody_listens(&mut self) {
        self.go_on(10);
        let relay = &self.world.relay;
        assert_eq!((relay.topics.bytes, relay.joinings.len()), (0, 0));
        for wire in &self.wires {
            assert!(wire.topics.is_empty(), "still subscribed to {:?}", wire.topics);
        }
    }
}
