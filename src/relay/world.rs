//! The relay driven without a socket: clients and shards are byte queues of this test.
//!
//! `World` carries out what the relay asks for. Shards are small stores that really keep keys, so
//! that a reply at the wrong place shows. Time stands still unless a test moves it.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use crate::base::ids::{ClientId, LaneId, PoolId, ShardId};
use crate::base::time::Now;
use crate::config::model::{Config, DangerousCommands, NodeAddress, PoolConfig, SentinelConfig};
use crate::config::sample;
use crate::relay::Relay;
use crate::relay::api::{Ask, ClientEnd, CoreIdentity, Dirty, LaneEnd, Peer, Shared};
use crate::relay::world_messages::{Topics, subscribe};
use crate::relay::world_queue::{LIMITS, Session};
use crate::resp::args::Request;
use crate::resp::encode;
use crate::resp::request::{Parsed, RequestParser};
use crate::stats::cells::CoreStats;
use crate::topology::{NodeEndpoint, PoolTopology, ShardTopology, Topology};

fn number(text: &[u8]) -> u32 {
    std::str::from_utf8(text).unwrap().parse().unwrap()
}

/// A pool of shards `s0000`, `s0001` … on sockets of which this world knows the ends.
pub(super) fn pool_config(shards: usize) -> PoolConfig {
    let names: Vec<String> = (0..shards).map(|n| format!("s{n:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut pool = sample::pool("test", &names);
    for (n, shard) in pool.shards.iter_mut().enumerate() {
        shard.address = NodeAddress::Unix { path: PathBuf::from(format!("/s{n}")) };
    }
    pool.hash_tag = Some((b'{', b'}'));
    pool.timeout_ms = Some(1000);
    pool.connect_timeout_ms = 1000;
    pool.preconnect = false;
    pool.dangerous_commands = DangerousCommands::Allow;
    pool.limits.client_connections_max = 0;
    pool
}

/// The same, watched by sentinels (of which this world plays the part: see [`World::publish`]).
pub(super) fn watched_config(shards: usize) -> PoolConfig {
    let mut pool = pool_config(shards);
    pool.sentinel = Some(SentinelConfig {
        addresses: Vec::new(),
        credentials: None,
        quorum_required: false,
        quorum_grace_ms: 0,
    });
    pool
}

/// One shard's false redis: it keeps strings, and answers what these tests ask.
#[derive(Default)]
pub(super) struct Store {
    pub(super) keys: BTreeMap<Vec<u8>, Vec<u8>>,
    /// How often each key was written.
    pub(super) written: BTreeMap<Vec<u8>, u64>,
    pub(super) scripts: Vec<Vec<u8>>,
    /// Requests it has seen, by name.
    pub(super) seen: Vec<String>,
    /// It tells connections their CLIENT ID: always this one. And what it was to unblock.
    pub(super) number: Option<i64>,
    pub(super) unblocked: Vec<String>,
    /// Those that block, word by word: answered at once only if their key is there.
    pub(super) blocking: Vec<String>,
    /// The WAITs among them, by the database of their connection.
    pub(super) waits: BTreeMap<u32, usize>,
    /// What it answers to WAITAOF.
    pub(super) waitaof: String,
    /// Takes nothing: what is sent to it waits in the relay.
    pub(super) stuck: bool,
    /// Answers nothing (they wait in `held`).
    pub(super) silent: bool,
    pub(super) held: Vec<u8>,
    /// Refuses connections.
    pub(super) down: bool,
    /// Says to ROLE that it is no primary, and answers every request (PING, too, if that says
    /// `LOADING`) with this error.
    pub(super) refusal: Option<&'static str>,
    /// It is a replica, and says so to ROLE with this state of its link.
    pub(super) replica: Option<&'static str>,
    /// What every script says.
    pub(super) script_says: Option<&'static str>,
    /// An error instead of a subscription.
    pub(super) subscribe_says: Option<&'static str>,
    /// It has one database only.
    pub(super) one_database: bool,
}

impl Store {
    pub(super) fn answer(&mut self, request: &Request<'_>, out: &mut Vec<u8>) {
        let name = String::from_utf8_lossy(request.name()).to_uppercase();
        self.seen.push(name.clone());
        let get = |keys: &BTreeMap<Vec<u8>, Vec<u8>>, key: &[u8], out: &mut Vec<u8>| match keys
            .get(key)
        {
            Some(value) => encode::bulk(out, value),
            None => out.extend_from_slice(b"$-1\r\n"),
        };
        if let Some(refusal) = self.refusal
            && !matches!(name.as_str(), "ROLE" | "SELECT" | "HELLO" | "CLIENT")
            && (name != "PING" || refusal.starts_with("LOADING"))
        {
            return encode::error(out, refusal);
        }
        if let Some(says) = self.script_says.filter(|_| name == "EVAL") {
            return encode::error(out, says);
        }
        match name.as_str() {
            "SELECT" if self.one_database => encode::error(out, "ERR DB index is out of range"),
            "ROLE" if self.replica.is_some() => {
                let link = self.replica.unwrap_or_default();
                encode::request(out, &[b"slave", b"host", b"6379", link.as_bytes(), b"0"]);
            }
            "ROLE" => {
                let primary = self.refusal.is_none_or(|refusal| refusal.starts_with("LOADING"));
                encode::array_header(out, 1);
                encode::bulk(out, if primary { b"master" } else { b"slave" });
            }
            "PING" if request.len() > 1 => encode::bulk(out, request.arg(1)),
            "PING" => encode::simple(out, "PONG"),
            "CLIENT" => self.answer_client(request, out),
            "SELECT" | "UNWATCH" => encode::simple(out, "OK"),
            "HELLO" => out.extend_from_slice(b"%1\r\n+proto\r\n:3\r\n"),
            "GET" => get(&self.keys, request.arg(1), out),
            "MGET" => {
                encode::array_header(out, request.len() - 1);
                for key in request.iter().skip(1) {
                    get(&self.keys, key, out);
                }
            }
            "SET" | "MSET" => {
                for at in (1..request.len()).step_by(2) {
                    self.set(request.arg(at), request.arg(at + 1));
                }
                encode::simple(out, "OK");
            }
            "DEL" => {
                let n =
                    request.iter().skip(1).filter(|key| self.keys.remove(*key).is_some()).count();
                encode::integer(out, n as i64);
            }
            "BLPOP" => self.block(request, out),
            "DBSIZE" => encode::integer(out, self.keys.len() as i64),
            "RANDOMKEY" => match self.keys.keys().next() {
                Some(key) => encode::bulk(out, key),
                None => out.extend_from_slice(b"$-1\r\n"),
            },
            "SCRIPT" => {
                self.scripts.push(request.arg(2).to_vec());
                encode::bulk(out, &[b'a'; 40]);
            }
            "EVALSHA" if self.scripts.is_empty() => {
                out.extend_from_slice(b"-NOSCRIPT No matching script.\r\n");
            }
            "EVALSHA" | "EVAL" => encode::integer(out, 42),
            "WAIT" => encode::integer(out, 1),
            "WAITAOF" => out.extend_from_slice(self.waitaof.as_bytes()),
            "BIG" => encode::bulk(out, &vec![b'x'; 300_000]),
            _ => encode::error(out, "ERR unknown to the false store"),
        }
    }
}

#[derive(Default)]
pub(super) struct Lane {
    pub(super) shard: usize,
    pub(super) session: Session,
    pub(super) input: Vec<u8>,
    pub(super) database: u32,
    /// What it is subscribed to: kind and name.
    pub(super) topics: Topics,
}

pub(super) struct World {
    pub(super) relay: Relay,
    pub(super) stats: Arc<CoreStats>,
    pub(super) now: Now,
    pub(super) stores: Vec<Store>,
    pub(super) lanes: Vec<(LaneId, Lane)>,
    pub(super) heard: Vec<(ClientId, Vec<u8>)>,
    pub(super) finished: Vec<ClientId>,
    pub(super) paused: Vec<ClientId>,
    /// Clients that do not read: their output is taken, but never reported as sent.
    pub(super) deaf: Vec<ClientId>,
    /// Taken from the relay for lanes that are stuck.
    pub(super) unsent: Vec<(LaneId, Vec<u8>)>,
    /// Replies are handed over in pieces of this size.
    pub(super) piece: usize,
    /// What this core tells one other.
    pub(super) letters: Vec<(u16, Shared)>,
}

impl World {
    pub(super) fn new(shards: usize) -> World {
        World::with(pool_config(shards))
    }

    pub(super) fn with(pool: PoolConfig) -> World {
        World::cores(vec![pool], 1).remove(0)
    }

    /// So many cores of one proxy, each with shards of its own. Nothing passes between them but
    /// what a test hands over.
    pub(super) fn cores(pools: Vec<PoolConfig>, cores: u16) -> Vec<World> {
        let shards_max = pools.iter().map(|pool| pool.shards.len()).max().unwrap_or(0);
        let topology = |pool: &PoolConfig| PoolTopology {
            shards: (0..pool.shards.len())
                .map(|n| {
                    let path = PathBuf::from(format!("/s{n}"));
                    ShardTopology::fixed(Some(NodeEndpoint::Unix(path)))
                })
                .collect(),
        };
        let places = pools.iter().map(topology).collect();
        let mut config = Config::clone(&sample::config(&[]));
        config.proxy.cores = (0..usize::from(cores)).collect();
        config.pools = pools.into_iter().map(Arc::new).collect();
        let config = Arc::new(config);
        let topology = Arc::new(Topology { epoch: 1, config: config.clone(), pools: places });
        let stats: Arc<[_]> = (0..cores).map(|_| CoreStats::new(&config)).collect();
        let now = Now { mono_us: 1_000_000, wall_us: 1_700_000_000_000_000 };
        let world = |core: u16| {
            let identity = CoreIdentity { core, cores };
            World {
                relay: Relay::new(identity, topology.clone(), stats.clone(), 7, now),
                stats: stats[usize::from(core)].clone(),
                now,
                stores: (0..shards_max).map(|_| Store::default()).collect(),
                lanes: Vec::new(),
                heard: Vec::new(),
                finished: Vec::new(),
                paused: Vec::new(),
                deaf: Vec::new(),
                unsent: Vec::new(),
                piece: usize::MAX,
                letters: Vec::new(),
            }
        };
        (0..cores).map(world).collect()
    }

    pub(super) fn client(&mut self) -> ClientId {
        self.client_from(PoolId(0), Peer::Unix { path: "test".into() })
    }

    pub(super) fn client_from(&mut self, pool: PoolId, peer: Peer) -> ClientId {
        let id = self.relay.on_client_open(pool, peer, self.now).unwrap();
        self.heard.push((id, Vec::new()));
        id
    }

    pub(super) fn say(&mut self, id: ClientId, bytes: &[u8]) {
        self.relay.on_client_bytes(id, bytes, self.now);
        self.run();
    }

    /// Says it, and gives all that was heard since.
    pub(super) fn ask(&mut self, id: ClientId, bytes: &[u8]) -> String {
        self.say(id, bytes);
        self.heard(id)
    }

    pub(super) fn heard(&mut self, id: ClientId) -> String {
        let heard = &mut self.heard.iter_mut().find(|(of, _)| *of == id).unwrap().1;
        String::from_utf8_lossy(&std::mem::take(heard)).into_owned()
    }

    pub(super) fn advance(&mut self, ms: u64) {
        self.now.mono_us += ms * 1000;
        self.run();
    }

    /// Turns until nothing moves.
    pub(super) fn run(&mut self) {
        for _ in 0..10_000 {
            self.relay.on_turn(self.now);
            let mut moved = false;
            while let Some(ask) = self.relay.next_ask() {
                moved = true;
                self.carry_out(ask);
            }
            while let Some(dirty) = self.relay.next_dirty() {
                moved = true;
                self.flush(dirty);
            }
            if !moved {
                return;
            }
        }
        panic!("the relay does not come to rest");
    }

    pub(super) fn carry_out(&mut self, ask: Ask) {
        match ask {
            Ask::Connect { lane, endpoint } => {
                let NodeEndpoint::Unix(path) = endpoint else { panic!("unix only") };
                let shard: usize = path.to_str().unwrap()[2..].parse().unwrap();
                if self.stores[shard].down {
                    let refused = LaneEnd::Error(111);
                    self.relay.on_lane_closed(lane, refused, self.now);
                } else {
                    self.lanes.push((lane, Lane { shard, ..Lane::default() }));
                    self.relay.on_lane_open(lane, self.now);
                }
            }
            Ask::CloseLane(lane) => self.lanes.retain(|(id, _)| *id != lane),
            Ask::FinishClient(id) => {
                self.flush(Dirty::Client(id));
                self.finished.push(id);
                self.relay.on_client_closed(id, ClientEnd::Asked, self.now);
            }
            Ask::DropClient(id) => {
                self.finished.push(id);
                self.relay.on_client_closed(id, ClientEnd::Asked, self.now);
            }
            Ask::PauseClient(id) => self.paused.push(id),
            Ask::ResumeClient(id) => self.paused.retain(|paused| *paused != id),
            Ask::Share(_) => {}
            Ask::Tell { core, news } => self.letters.push((core, news)),
        }
    }

    pub(super) fn flush(&mut self, dirty: Dirty) {
        let mut chunks = VecDeque::new();
        let bytes = self.relay.take_output(dirty, &mut chunks);
        let all: Vec<u8> = chunks.iter().flatten().copied().collect();
        assert_eq!(all.len(), bytes);
        for chunk in chunks {
            self.relay.recycle(chunk);
        }
        match dirty {
            Dirty::Client(id) => {
                if !self.deaf.contains(&id) {
                    self.relay.on_client_sent(id, bytes);
                }
                if let Some((_, heard)) = self.heard.iter_mut().find(|(of, _)| *of == id) {
                    heard.extend(all);
                }
            }
            Dirty::Lane(id) if self.is_stuck(id) => self.unsent.push((id, all)),
            Dirty::Lane(id) => {
                self.relay.on_lane_sent(id, bytes);
                self.feed_store(id, &all);
            }
        }
    }

    fn is_stuck(&self, id: LaneId) -> bool {
        self.lanes.iter().any(|(of, lane)| *of == id && self.stores[lane.shard].stuck)
    }

    /// All shards take what was sent to them.
    pub(super) fn unstick(&mut self) {
        self.stores.iter_mut().for_each(|store| store.stuck = false);
        for (id, bytes) in std::mem::take(&mut self.unsent) {
            self.relay.on_lane_sent(id, bytes.len());
            self.feed_store(id, &bytes);
        }
        self.run();
    }

    pub(super) fn feed_store(&mut self, id: LaneId, bytes: &[u8]) {
        let Some((_, lane)) = self.lanes.iter_mut().find(|(of, _)| *of == id) else { return };
        lane.input.extend_from_slice(bytes);
        let store = &mut self.stores[lane.shard];
        let (mut at, mut replies) = (0, Vec::new());
        loop {
            let mut ranges = Vec::new();
            let rest = &lane.input[at..];
            match RequestParser::default().parse(rest, &mut ranges, &LIMITS) {
                Ok(Parsed::Request { bytes }) => {
                    let request = Request { bytes: &rest[..bytes], ranges: &ranges };
                    match request.name() {
                        b"SELECT" => lane.database = number(request.arg(1)),
                        b"WAIT" => *store.waits.entry(lane.database).or_default() += 1,
                        _ => {}
                    }
                    let refusal = store.subscribe_says;
                    if !subscribe(&mut lane.topics, &request, refusal, &mut replies) {
                        store.answer_on(&mut lane.session, &request, &mut replies);
                    }
                    at += bytes;
                }
                Ok(Parsed::More) => break,
                other => panic!("the relay sent something odd: {other:?}"),
            }
        }
        lane.input.drain(..at);
        if store.silent {
            store.held.extend(replies);
            return;
        }
        self.reply(id, &replies);
    }

    /// Bytes from a shard, in pieces.
    pub(super) fn reply(&mut self, id: LaneId, bytes: &[u8]) {
        let piece = self.piece;
        for piece in bytes.chunks(piece.min(bytes.len().max(1))) {
            if self.relay.lane_takes_chunk(id, piece.len()) {
                self.relay.on_lane_chunk(id, piece.to_vec(), self.now);
            } else {
                self.relay.on_lane_bytes(id, piece, self.now);
            }
        }
    }

    /// The connection to this shard that was made last is lost.
    pub(super) fn lose(&mut self, shard: usize) {
        let id = self.lane_of_shard(shard);
        self.lanes.retain(|(of, _)| *of != id);
        self.relay.on_lane_closed(id, LaneEnd::Eof, self.now);
        self.run();
    }

    /// A new picture: the shard of the first pool as `change` leaves it.
    pub(super) fn publish(&mut self, shard: usize, change: impl FnOnce(&mut ShardTopology)) {
        let mut next = Topology::clone(&self.relay.topology);
        next.epoch += 1;
        change(&mut next.pools[0].shards[shard]);
        self.relay.on_topology(Arc::new(next), self.now);
        self.run();
    }

    /// A reload: the first pool as `change` leaves it; its shards are at unix sockets.
    pub(super) fn reload(&mut self, change: impl FnOnce(&mut PoolConfig)) {
        let mut next = Topology::clone(&self.relay.topology);
        next.epoch += 1;
        let mut config = Config::clone(&next.config);
        change(Arc::make_mut(&mut config.pools[0]));
        for (shard, known) in config.pools[0].shards.iter().zip(&mut next.pools[0].shards) {
            if let NodeAddress::Unix { path } = &shard.address {
                known.primary = Some(NodeEndpoint::Unix(path.clone()));
            }
        }
        next.config = Arc::new(config);
        self.relay.on_topology(Arc::new(next), self.now);
        self.run();
    }

    pub(super) fn lane_of_shard(&self, shard: usize) -> LaneId {
        self.lanes.iter().rev().find(|(_, lane)| lane.shard == shard).unwrap().0
    }

    /// This shard answers nothing from now on …
    pub(super) fn silence(&mut self, shard: usize) {
        self.stores[shard].silent = true;
    }

    /// … and now all that it was asked meanwhile, on the lane that was connected last …
    pub(super) fn unsilence(&mut self, shard: usize) {
        let lane = self.lane_of_shard(shard);
        self.unsilence_lane(shard, lane);
    }

    /// … or as the second.
    pub(super) fn unsilence_second(&mut self, shard: usize) {
        let lane = self.lanes.iter().filter(|(_, lane)| lane.shard == shard).nth(1).unwrap().0;
        self.unsilence_lane(shard, lane);
    }

    pub(super) fn unsilence_lane(&mut self, shard: usize, lane: LaneId) {
        self.stores[shard].silent = false;
        let held = std::mem::take(&mut self.stores[shard].held);
        self.reply(lane, &held);
        self.run();
    }

    /// Requests of clients that the shards have seen.
    pub(super) fn requests_seen(&self) -> usize {
        let seen = self.stores.iter().flat_map(|store| &store.seen);
        seen.filter(|name| !["CLIENT", "PING", "ROLE"].contains(&name.as_str())).count()
    }

    /// A key that lives on this shard.
    pub(super) fn key_on(&mut self, shard: usize) -> String {
        (0..)
            .map(|n| format!("key{n}"))
            .find(|key| {
                let router = &self.relay.pools[0].router;
                router.shard_of(key.as_bytes(), 0) == ShardId(shard as u16)
            })
            .unwrap()
    }
}

/// A request in RESP.
pub(super) fn req(words: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    encode::request(&mut out, &words);
    out
}
