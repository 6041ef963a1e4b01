//! The connections of the simulation to its stores: bytes there and back, connections that are lost,
//! and those on which a client blocks.
//!
//! A store pops for whoever has blocked there longest and says for which request; so a reply that
//! reaches another client, an element that two hear, or a client that has gone and is still popped
//! for, show.

use std::collections::BTreeSet;

use crate::base::ids::{ClientId, LaneId, PoolId, ShardId};
use crate::base::time::US_PER_MS;
use crate::config::model::PoolConfig;
use crate::relay::Relay;
use crate::relay::api::{Dirty, LaneEnd};
use crate::relay::chance::Chance;
use crate::relay::order::Replies;
use crate::relay::sim_errors::Faults;
use crate::relay::sim_model::{Executed, Expect, LIMITS, Node, Part, Store, Wire, version_of};
use crate::relay::sim_tests::{SHARDS, Simulation};
use crate::relay::sim_wild::REFUSALS;
use crate::resp::args::Request;
use crate::resp::request::{Parsed, RequestParser};
use crate::resp::{encode, value};
use crate::stats::cells::PoolMetric;

const QUEUES: u64 = 4;

pub(super) fn nil(resp3: bool) -> &'static [u8] {
    if resp3 { b"_\r\n" } else { b"$-1\r\n" }
}

/// What a store knows of a client that blocks on one of its connections.
pub(super) struct Waiter {
    key: String,
    /// No two requests have the same.
    token: Vec<u8>,
    /// ms; 0: for ever.
    time_ms: u64,
    until_us: Option<u64>,
}

impl Waiter {
    /// BLPOP key token seconds
    pub(super) fn of(request: &Request<'_>) -> Waiter {
        let text = |at| std::str::from_utf8(request.arg(at)).unwrap();
        let seconds: f64 = text(3).parse().unwrap();
        let (key, token) = (text(1).to_owned(), request.arg(2).to_vec());
        Waiter { key, token, time_ms: (seconds * 1e3).ceil() as u64, until_us: None }
    }
}

impl Wire {
    /// Its CLIENT ID.
    pub(super) fn number(&self) -> String {
        format!("{}{:04}", self.id.generation, self.id.index)
    }
}

impl Store {
    pub(super) fn answer_queue(
        &mut self,
        request: &Request<'_>,
        wire: &mut Wire,
        executed: &mut Executed,
        out: &mut Vec<u8>,
    ) {
        if request.name() == b"BLPOP" {
            assert!(wire.watched.is_empty(), "watched for somebody else: {:?}", wire.watched);
            wire.blocked = Some(Waiter::of(request));
            return;
        }
        let element = request.arg(2);
        executed.write(version_of(element).expect("a value of ours"), wire, true);
        let key = String::from_utf8_lossy(request.arg(1)).into_owned();
        self.queues.entry((wire.database, key)).or_default().push_back(element.to_vec());
        encode::integer(out, 1);
    }
}

/// Few private connections, so that clients wait for them; where no error may be heard all may.
pub(super) fn bound_private(pool: &mut PoolConfig, errors: Faults, random: &mut Chance) {
    pool.limits.private_connections_max = 1 + random.below(4) as usize;
    pool.limits.private_connections_queue = match errors {
        Faults::Any => random.below(4) as usize,
        _ => 100,
    };
}

/// A private connection that has been replaced, and still owes the rest of a reply.
pub(super) fn is_outdated(relay: &Relay, id: LaneId) -> bool {
    let lane = &relay.lanes[id.index as usize];
    let outdated = lane.private.as_ref().is_some_and(|private| private.outdated);
    lane.generation == id.generation && outdated
}

impl Simulation {
    pub(super) fn bury(&mut self, lane: LaneId) {
        self.dead.push_back(lane);
        if self.dead.len() > 8 {
            self.dead.pop_front();
        }
    }

    /// Bytes of a connection that is no more: nobody may hear them.
    pub(super) fn haunt(&mut self) {
        let Some(lane) = self.dead.front().copied() else { return };
        let now = self.world.now;
        self.relay().on_lane_bytes(lane, b"+stray\r\n", now);
        self.relay().on_lane_closed(lane, LaneEnd::Eof, now);
    }

    pub(super) fn lose(&mut self, at: usize) {
        let (wire, now) = (self.wires.swap_remove(at), self.world.now);
        self.bury(wire.id);
        if let (Some(sentinels), true) = (&mut self.sentinels, wire.node != Node::Third) {
            let lane = &self.world.relay.lanes[wire.id.index as usize];
            if lane.subscriber.is_none() && !lane.is_tracker() {
                sentinels.note_loss(wire.shard); // nobody asks anything on these
            }
        }
        self.stores[wire.shard].script &= self.below(2) == 0;
        self.relay().on_lane_closed(wire.id, LaneEnd::Eof, now);
    }

    /// Some bytes of a lane go to its store, some of the store's come back.
    pub(super) fn serve(&mut self, at: usize, most: u64) {
        let (now, bytes) = (self.world.now, 1 + self.below(most) as usize);
        let part = self.part_of(at);
        let wire = &mut self.wires[at];
        let id = wire.id;
        let some = wire.sending.drain(..bytes.min(wire.sending.len())).collect::<Vec<u8>>();
        wire.input.extend(&some);
        self.wake_blocked(at);
        self.read_requests(at, part);
        self.wake_blocked(at);
        let silent = self.store_at(at).silent;
        let wire = &mut self.wires[at];
        let mut reply = Vec::new();
        if !silent {
            reply = wire.output.drain(..bytes.min(wire.output.len())).collect();
        }
        let doomed = wire.doomed.as_mut().is_some_and(|left| {
            *left = left.saturating_sub(reply.len());
            *left == 0
        });
        let empty = wire.sending.is_empty();
        if !some.is_empty() {
            self.relay().on_lane_sent(id, some.len());
        }
        if empty {
            self.take(Dirty::Lane(id));
        }
        if self.relay().lane_takes_chunk(id, reply.len()) {
            self.relay().on_lane_chunk(id, reply, now);
        } else {
            self.relay().on_lane_bytes(id, &reply, now);
        }
        let open = self.relay().lanes[id.index as usize].generation == id.generation;
        assert!(!(doomed && open), "a lane that is out of step is open");
    }

    /// What has come whole is answered, up to what blocks.
    fn read_requests(&mut self, at: usize, part: Part) {
        let mut to_unblock = Vec::new();
        let wire = &mut self.wires[at];
        let (mut used, mut ranges) = (0, Vec::new());
        let input = std::mem::take(&mut wire.input);
        while wire.blocked.is_none()
            && let Ok(Parsed::Request { bytes }) =
                RequestParser::default().parse(&input[used..], &mut ranges, &LIMITS)
        {
            let request = Request { bytes: &input[used..used + bytes], ranges: &ranges };
            check_lane(&self.world.relay, wire, request.name());
            wire.is_tracker |= request.get(1) == Some(b"TRACKING");
            let store = match (&mut self.replicas, wire.node) {
                (Some(replicas), Node::Third) => &mut replicas.stores[wire.shard],
                _ => &mut self.stores[wire.shard],
            };
            if store.stays_honest(&request, wire) && !wire.subscribe(&request) {
                store.answer_on(&request, wire, (&mut self.executed, part));
            }
            if request.len() == 4 && request.arg(1) == b"UNBLOCK" {
                let number = String::from_utf8_lossy(request.arg(2)).into_owned();
                to_unblock.push((number, request.arg(3) == b"ERROR"));
            }
            used += bytes;
        }
        wire.input = input[used..].to_vec();
        let shard = wire.shard;
        self.tell_published(shard);
        self.tell_trackers(at);
        for (number, with_error) in to_unblock {
            self.unblock(shard, &number, with_error);
        }
    }

    /// A store hears CLIENT UNBLOCK.
    fn unblock(&mut self, shard: usize, number: &str, with_error: bool) {
        let meant = |wire: &&mut Wire| wire.shard == shard && wire.number() == number;
        let Some(wire) = self.wires.iter_mut().find(meant) else { return };
        if wire.blocked.take().is_some() {
            wire.output.extend(match (with_error, wire.resp3) {
                (true, _) => b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n".as_slice(),
                (false, true) => b"_\r\n",
                (false, false) => b"*-1\r\n",
            });
        }
    }

    /// Who blocks on this connection is popped for, or does so no more.
    fn wake_blocked(&mut self, at: usize) {
        let (wire, now) = (&mut self.wires[at], self.world.now);
        let Some(waiter) = &mut wire.blocked else { return };
        let time_us = if waiter.time_ms == 0 { u64::MAX } else { waiter.time_ms * US_PER_MS };
        let until_us = *waiter.until_us.get_or_insert(now.mono_us.saturating_add(time_us));
        let master = self.sentinels.as_ref().map(|sentinels| sentinels.masters[wire.shard]);
        let queue = (wire.database, waiter.key.clone());
        let queue = self.stores[wire.shard].queues.entry(queue).or_default();
        let mut reply = Vec::new();
        if master.is_some_and(|master| master != wire.node) {
            encode::error(&mut reply, "UNBLOCKED force unblock from blocking operation");
        } else if let Some(element) = queue.pop_front() {
            encode::array_header(&mut reply, 3);
            for part in [waiter.key.as_bytes(), &element, &waiter.token] {
                encode::bulk(&mut reply, part);
            }
        } else if now.mono_us >= until_us || self.calming {
            reply.extend_from_slice(if wire.resp3 { b"_\r\n" } else { b"*-1\r\n" });
        } else {
            return;
        }
        wire.blocked = None;
        wire.output.extend(reply);
    }

    /// A player pushes, blocks, or ends somebody's wait.
    pub(super) fn think_of_queues(&mut self, at: usize) {
        let (resp3, database) = (self.players[at].resp3, self.players[at].database);
        let key = format!("d{database}q{}", self.below(QUEUES));
        let (version, element) = self.value(&key);
        let (words, expect): (Vec<Vec<u8>>, Expect) = match self.below(8) {
            0..=2 => {
                let words = vec![b"RPUSH".to_vec(), key.into_bytes(), element];
                (words, Expect::Pushed(version))
            }
            3..=6 => {
                let token = format!("{{{key}}}{version}"); // on the same shard
                let time = ["0", "0.05", "1", "5"][self.below(4) as usize];
                let words = ["BLPOP", &key, &token, time].map(|word| word.as_bytes().to_vec());
                (words.to_vec(), Expect::Popped(key, token, resp3))
            }
            _ if self.players[at].replies != Replies::On => return,
            _ => {
                let other = self.players[self.random.below(self.players.len() as u64) as usize].id;
                let number = self.world.relay.clients.get(other.index, other.generation);
                let number = number.map_or(0, |client| client.number).to_string();
                let why = ["TIMEOUT", "ERROR"][self.below(2) as usize];
                let words = ["CLIENT", "UNBLOCK", &number, why].map(|w| w.as_bytes().to_vec());
                (words.to_vec(), Expect::Integer)
            }
        };
        self.say_words(at, &words, expect);
    }

    /// Nobody is popped for who has gone; every private connection is somebody's or free.
    pub(super) fn check_private(&self) {
        let relay = &self.world.relay;
        for wire in self.wires.iter().filter(|wire| wire.blocked.is_some()) {
            let lane = &relay.lanes[wire.id.index as usize];
            let client = lane.private.as_ref().and_then(|private| private.client);
            let there = |id: ClientId| self.players.iter().any(|player| player.id == id);
            assert!(client.is_some_and(there), "popped for nobody: {lane:?}");
        }
    }

    /// All are given back, or closed.
    pub(super) fn check_all_given_back(&self) {
        let relay = &self.world.relay;
        for (shard, lending) in relay.pools[0].lendings.iter().enumerate().take(SHARDS) {
            assert!(lending.waiting.is_empty(), "shard {shard}: somebody waits: {lending:?}");
            assert_eq!(lending.connections, lending.free.len(), "shard {shard}: not given back");
        }
        let shard = |lane: &u32| relay.lanes[*lane as usize].shard;
        let free = relay.pools[0].lendings.iter().zip(0..);
        for (lending, number) in free {
            assert!(lending.free.iter().all(|lane| shard(lane) == ShardId(number)));
        }
        for gauge in [PoolMetric::BlockedClients, PoolMetric::WatchingClients] {
            assert_eq!(self.world.stats.pool(PoolId(0), gauge).get(), 0);
        }
    }
}

/// What blocks goes down a private connection, as do WATCH and the transaction behind it, what
/// subscribes down one for that, all else down another.
fn check_lane(relay: &Relay, wire: &Wire, name: &[u8]) {
    let lane = &relay.lanes[wire.id.index as usize];
    if lane.generation != wire.id.generation || wire.queue.is_some() {
        return;
    }
    let may_be_private = match name {
        b"PING" | b"ROLE" | b"SELECT" | b"HELLO" | b"CLIENT" => return,
        b"BLPOP" | b"WATCH" | b"UNWATCH" => true,
        b"MULTI" => lane.private.is_some() && !wire.watched.is_empty(),
        _ => false,
    };
    let name = name.escape_ascii().to_string();
    assert!(lane.private.is_some() == may_be_private, "{name} {lane:?}");
    assert!(lane.subscriber.is_some() == name.ends_with("subscribe"), "{name} {lane:?}");
}

/// The version of the element in a reply to BLPOP that is one for `key` and `token`.
pub(super) fn popped(reply: &[u8], key: &str, token: &str) -> Option<u64> {
    let mut parts = value::elements(reply)?.map(|part| value::bulk(part).flatten());
    let (of, element, for_request) = (parts.next()??, parts.next()??, parts.next()??);
    let right = of == key.as_bytes() && for_request == token.as_bytes();
    let right = right && element.starts_with(format!("{key}|").as_bytes());
    version_of(element).filter(|_| right)
}

/// Whether a player may hear this to BLPOP.
pub(super) fn is_popped(
    (key, token): (&str, &str),
    resp3: bool,
    reply: &[u8],
    (faults, executed): (Faults, &BTreeSet<u64>),
) -> bool {
    let starts = |words: &[&[u8]]| words.iter().any(|word| reply.starts_with(word));
    if !value::is_error(reply) {
        return reply == if resp3 { b"_\r\n".as_slice() } else { b"*-1\r\n" }
            || popped(reply, key, token).is_some_and(|version| executed.contains(&version));
    }
    let word = value::error_word(reply);
    let ordinary = REFUSALS.iter().any(|refusal| word == refusal.as_bytes());
    match faults {
        _ if starts(&[b"-UNBLOCKED client unblocked"]) => true,
        Faults::None | Faults::Left => false,
        _ if ordinary => true,
        Faults::Unknown => starts(&[b"-ERR Connection timed out: shard"]),
        Faults::Any => starts(&[b"-ERR ", b"-LOADING shard ", b"-UNBLOCKED force"]),
    }
}
