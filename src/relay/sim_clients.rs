//! The clients of the simulation: what they say, and what they hear.

use std::collections::{BTreeMap, VecDeque};

use crate::base::ids::{ClientId, PoolId};
use crate::relay::api::{ClientEnd, Dirty, Peer};
use crate::relay::order::Replies;
use crate::relay::sim_guards::Seen;
use crate::relay::sim_listeners::Listening;
use crate::relay::sim_model::{DIGEST, Expect, KEYS, Player, versions_in};
use crate::relay::sim_tests::Simulation;
use crate::relay::sim_wires::{is_popped, popped};
use crate::relay::tracking::sim::Cache;
use crate::resp::reply::{ReplyScanner, Scanned};
use crate::resp::{encode, value};

impl Simulation {
    pub(super) fn open(&mut self) {
        let (peer, now) = (Peer::Unix { path: "simulation".into() }, self.world.now);
        let id = self.relay().on_client_open(PoolId(0), peer, now).unwrap();
        self.players.push(Player {
            id,
            to_say: Vec::new(),
            expects: VecDeque::new(),
            scanner: ReplyScanner::default(),
            reply: Vec::new(),
            sending: VecDeque::new(),
            resp3: false,
            database: 0,
            deaf: false,
            paused: false,
            closing: false,
            finishing: false,
            cut_off: false,
            replies: Replies::On,
            wrote: BTreeMap::new(),
            listening: Listening::default(),
            seen: Seen::default(),
            cache: Cache::default(),
        });
    }

    pub(super) fn value(&mut self, key: &str) -> (u64, Vec<u8>) {
        self.versions += 1;
        self.executed.authors.insert(self.versions, self.thinking);
        self.executed.keys.insert(self.versions, key.to_owned());
        let mut value = format!("{key}|{}|", self.versions).into_bytes();
        let more = match self.below(40) {
            0 => 16_000 + self.below(90_000),
            1..=3 => self.below(2_000),
            _ => self.below(20),
        };
        value.resize(value.len() + more as usize, b'x');
        (self.versions, value)
    }

    /// Writes one more request of a player.
    #[expect(clippy::too_many_lines, reason = "a list of what a client may say")]
    pub(super) fn think(&mut self, at: usize) {
        self.thinking = self.players[at].id;
        if (self.below(10) == 0 || self.players[at].listening.confined) && self.think_of_topics(at)
        {
            return;
        }
        let (resp3, database) = (self.players[at].resp3, self.players[at].database);
        if self.below(6) == 0 {
            return self.think_of_queues(at);
        }
        match self.below(16) {
            0 => return self.think_of_transaction(at),
            1 => return self.think_of_guard(at),
            _ => {}
        }
        if resp3 && self.below(16) == 0 {
            return self.think_of_tracking(at);
        }
        if self.replicas.is_some() && self.below(8) == 0 {
            return self.think_of_replicas(at);
        }
        let count = 1 + self.below(4);
        let keys: Vec<String> =
            (0..count).map(|_| format!("d{database}k{}", self.random.below(KEYS))).collect();
        let (version, value) = self.value(&keys[0]);
        let mut words: Vec<Vec<u8>> = Vec::new();
        let mut say =
            |text: &str| words.extend(text.split(' ').map(|word| word.as_bytes().to_vec()));
        let expect = match self.below(37) {
            0..=6 => {
                say(&format!("GET {}", keys[0]));
                Expect::Values(keys[..1].to_vec(), resp3, version)
            }
            7..=12 => {
                say(&format!("SET {}", keys[0]));
                words.push(value);
                Expect::Written(vec![version])
            }
            13..=16 if count > 1 => {
                say(&format!("MGET {}", keys.join(" ")));
                Expect::Values(keys, resp3, version)
            }
            17..=18 => {
                say("MSET");
                let mut versions = Vec::new();
                for key in &keys {
                    let (version, value) = self.value(key);
                    versions.push(version);
                    words.extend([key.clone().into_bytes(), value]);
                }
                Expect::Written(versions)
            }
            19..=20 => {
                say(&format!("DEL {}", keys.join(" ")));
                Expect::Deleted
            }
            21..=24 => {
                say(&format!("EVALSHA {DIGEST} 1 {} ", keys[0]));
                words.pop();
                words.extend([value.clone()]);
                Expect::Ran(version, value)
            }
            25 => {
                say(&format!("SCAN {}", [0, 1, 2, 17 << 2][self.random.below(4) as usize]));
                Expect::Scan(database)
            }
            26 => {
                say("RANDOMKEY");
                Expect::KeyOf(database, resp3)
            }
            27 => {
                let waits = ["WAIT 1 20", "WAIT 2 20", "WAITAOF 1 1 20", "WAITAOF 1 2 20"];
                say(waits[self.random.below(4) as usize]);
                Expect::Waited
            }
            28 => {
                say("DBSIZE");
                Expect::Integer
            }
            29 => {
                self.players[at].database = self.random.below(2) as u32;
                say(&format!("SELECT {}", self.players[at].database));
                Expect::Exactly(b"+OK\r\n".to_vec())
            }
            30 => {
                let player = &mut self.players[at];
                player.resp3 = true;
                player.listening.is_uncertain |= player.replies != Replies::On;
                say("HELLO 3 SETNAME x");
                Expect::Hello
            }
            31 if self.random.below(20) == 0 => {
                say("QUIT");
                self.players[at].closing = true;
                Expect::Exactly(b"+OK\r\n".to_vec())
            }
            32..=33 => {
                let player = &mut self.players[at];
                let (word, replies) = match (version % 4, player.replies) {
                    (0 | 1, Replies::On) => ("SKIP", Replies::SkipNext),
                    (2, Replies::On | Replies::SkipNext) => ("OFF", Replies::Off),
                    _ => ("ON", Replies::On),
                };
                say(&format!("CLIENT REPLY {word}"));
                player.replies = replies;
                Expect::Exactly(b"+OK\r\n".to_vec())
            }
            34 => {
                let what = ["ALL", "WRITE"][version as usize % 2];
                say(&format!("CLIENT PAUSE {} {what}", version % 30));
                Expect::Exactly(b"+OK\r\n".to_vec())
            }
            _ => {
                say(&format!("PING {version}"));
                let mut pong = Vec::new();
                encode::bulk(&mut pong, version.to_string().as_bytes());
                Expect::Exactly(pong)
            }
        };
        self.say_words(at, &words, expect);
    }

    pub(super) fn say_words(&mut self, at: usize, words: &[Vec<u8>], expect: Expect) {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        self.say(at, &words, expect);
    }

    /// A transaction: mostly of keys of one shard, mostly without an error, mostly with EXEC.
    fn think_of_transaction(&mut self, at: usize) {
        let (resp3, database) = (self.players[at].resp3, self.players[at].database);
        let status = |text: &str| Expect::Exactly(format!("{text}\r\n").into_bytes());
        self.say(at, &[b"MULTI"], status("+OK"));
        let (mut home, mut void) = (None, false);
        let (mut expects, mut versions) = (Vec::new(), Vec::new());
        for _ in 0..self.below(6) {
            let strays = self.below(30) == 0;
            let (key, shard) = loop {
                let key = format!("d{database}k{}", self.below(KEYS));
                let shard = self.world.relay.pools[0].router.shard_of(key.as_bytes(), 0);
                if strays || home.is_none_or(|home| home == shard) {
                    break (key, shard);
                }
            };
            let k = key.as_bytes();
            let (version, value) = self.value(&key);
            let (words, expect): (Vec<&[u8]>, _) = match self.below(8) {
                0..=2 => (vec![b"SET", k, &value], Expect::Written(vec![version])),
                3 | 4 => (vec![b"GET", k], Expect::Values(vec![key.clone()], resp3, version)),
                5 => (vec![b"DEL", k], Expect::Deleted),
                6 => {
                    let expect = Expect::Ran(version, value.clone());
                    (vec![b"EVALSHA", DIGEST.as_bytes(), b"1", k, &value], expect)
                }
                _ if self.below(8) == 0 => {
                    let wrong = "-ERR wrong number of arguments for 'get' command";
                    self.say(at, &[b"GET"], status(wrong));
                    (home, void) = (None, true);
                    continue;
                }
                _ => (vec![b"SET", k, &value], Expect::Written(vec![version])),
            };
            if *home.get_or_insert(shard) != shard {
                let crossslot = "-CROSSSLOT Keys in request don't hash to the same shard";
                self.say(at, &words, status(crossslot));
                (home, void) = (None, true);
                continue;
            }
            if matches!(expect, Expect::Written(_) | Expect::Ran(..)) {
                versions.push(version);
            }
            self.say(at, &words, status("+QUEUED"));
            expects.push(expect);
        }
        let discards = self.below(8) == 0;
        let expect = match (discards, void, expects.is_empty()) {
            (true, ..) => status("+OK"),
            (_, true, _) => status("-EXECABORT Transaction discarded because of previous errors."),
            (_, _, true) => status("*0"),
            _ => {
                self.executed.transactions.push(versions.clone());
                Expect::Committed(expects, versions)
            }
        };
        self.say(at, &[if discards { b"DISCARD" } else { b"EXEC" }], expect);
    }

    pub(super) fn say(&mut self, at: usize, words: &[&[u8]], expect: Expect) {
        let player = &mut self.players[at];
        encode::request(&mut player.to_say, words);
        match player.replies {
            Replies::On => player.expects.push_back(expect),
            Replies::SkipNext if words.get(1) != Some(&b"REPLY".as_slice()) => {
                player.replies = Replies::On;
            }
            Replies::SkipNext | Replies::Off => {}
        }
    }

    /// Replies are to come, or requests that nobody wants to hear of are to be executed.
    pub(super) fn is_owed(&self, player: &Player) -> bool {
        let client = self.world.relay.clients.get(player.id.index, player.id.generation);
        let busy = client.is_some_and(|one| !one.order.is_empty() || !one.tail.is_empty());
        busy || !player.expects.is_empty() || !player.to_say.is_empty()
    }

    /// The end of a drain: everybody is let go.
    pub(super) fn dismiss(&mut self) {
        for player in &mut self.players {
            let client = self.world.relay.clients.get(player.id.index, player.id.generation);
            let taken_in = client.is_some_and(|it| it.tail.is_empty() && it.large.is_none());
            player.cut_off |= !(taken_in && player.to_say.is_empty());
            player.closing = true;
            player.to_say.clear();
        }
        let now = self.world.now;
        self.relay().dismiss(now);
        self.turn();
    }

    pub(super) fn leave(&mut self, id: ClientId, end: ClientEnd) {
        self.players.retain(|player| player.id != id);
        let now = self.world.now;
        self.relay().on_client_closed(id, end, now);
    }

    /// Some bytes of a client go in, some come out.
    pub(super) fn play(&mut self, at: usize, most: u64) {
        let (now, bytes) = (self.world.now, 1 + self.below(most) as usize);
        let player = &mut self.players[at];
        let id = player.id;
        if !player.paused && !player.to_say.is_empty() {
            let some: Vec<u8> = player.to_say.drain(..bytes.min(player.to_say.len())).collect();
            if self.world.relay.client_takes_chunk(id, some.len()) {
                self.world.relay.on_client_chunk(id, some, now);
            } else {
                self.world.relay.on_client_bytes(id, &some, now);
            }
        }
        let player = &mut self.players[at];
        if player.deaf {
            return;
        }
        let some: Vec<u8> = player.sending.drain(..bytes.min(player.sending.len())).collect();
        let has_sent = !some.is_empty();
        if has_sent {
            self.world.relay.on_client_sent(id, some.len());
            self.hear(at, &some);
        }
        // Else nothing is taken that the relay did not say is there.
        if has_sent && self.players[at].sending.is_empty() {
            self.take(Dirty::Client(id));
        }
        let player = &self.players[at];
        if player.finishing && player.sending.is_empty() {
            let whole = player.expects.is_empty() || player.cut_off;
            assert!(whole, "closed without {:?}", player.expects);
            self.leave(id, ClientEnd::Asked);
        }
    }

    pub(super) fn hear(&mut self, at: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let player = &mut self.players[at];
            let scanned = player.scanner.scan(bytes).expect("a client hears replies");
            let Scanned::Reply { bytes: end, .. } = scanned else {
                player.reply.extend_from_slice(bytes);
                return;
            };
            player.reply.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end..];
            let reply = std::mem::take(&mut player.reply);
            if player.listening.takes(&reply, &self.executed.published_at) {
                continue;
            }
            let text = String::from_utf8_lossy(&reply[..reply.len().min(200)]).into_owned();
            if reply.starts_with(b">") && player.cache.forget(&reply) {
                continue;
            }
            let expect = player.expects.pop_front().unwrap_or_else(|| panic!("unasked: {text}"));
            let player = &self.players[at];
            let truth = (self.errors, &self.executed.versions);
            let right = match &expect {
                Expect::Popped(key, token, resp3) => is_popped((key, token), *resp3, &reply, truth),
                Expect::Guarded(..) => {
                    player.is_guarded(&expect, &reply, (self.errors, &self.executed))
                }
                _ => player.check(&expect, &reply, truth),
            };
            assert!(right, "for {expect:.200?} it heard {text}");
            if let Expect::Popped(key, token, _) = &expect
                && let Some(version) = popped(&reply, key, token)
            {
                assert!(self.executed.popped.insert(version), "{version} was popped twice");
            }
            self.players[at].seen.hear(&expect, &reply);
            self.remember(at, &expect, &reply);
            self.players[at].note_topic(expect, &reply);
        }
    }

    /// What a client knows that it wrote it has to see, and nothing that it says later.
    fn remember(&mut self, at: usize, expect: &Expect, reply: &[u8]) {
        if value::is_error(reply) {
            return;
        }
        if let Expect::Guarded(commit, ..) = expect {
            return self.remember(at, commit, reply);
        }
        if let (Expect::Committed(expects, _), Some(replies)) = (expect, value::elements(reply)) {
            return expects
                .iter()
                .zip(replies)
                .for_each(|(one, reply)| self.remember(at, one, reply));
        }
        let strict = self.replicas.as_ref().is_none_or(|replicas| replicas.strict);
        let watched = self.sentinels.is_some();
        let (player, executed) = (&mut self.players[at], &self.executed);
        player.cache.hear(expect, reply);
        match expect {
            Expect::Written(versions) => {
                for version in versions {
                    player.wrote.insert(executed.keys[version].clone(), *version);
                }
            }
            Expect::Values(keys, _, newest) => {
                for (key, read) in versions_in(keys, reply) {
                    let own = player.wrote.get(&key);
                    let seen = own.is_none_or(|own| executed.is_as_new_as(&key, read, *own));
                    assert!(seen || !strict, "{key} was {read:?} for who wrote {own:?}");
                    let own = read.filter(|read| executed.authors.get(read) == Some(&player.id));
                    // A read of a watched shard that is repeated may come behind a write.
                    let later = own.is_some_and(|own| own > *newest);
                    assert!(!later || watched, "{key} was {read:?}, written after {newest}");
                }
            }
            _ => {}
        }
    }
}
