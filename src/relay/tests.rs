//! The relay driven without a socket: clients and shards are byte queues of this test.
//!
//! `World` carries out what the relay asks for. Shards are small stores that really keep keys, so
//! that a reply at the wrong place shows. Time stands still unless a test moves it.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use crate::base::ids::{ClientId, LaneId, PoolId, ShardId};
use crate::base::limits;
use crate::base::time::Now;
use crate::config::model::*;
use crate::relay::Relay;
use crate::relay::api::{Ask, ClientEnd, CoreIdentity, Dirty, LaneEnd, Peer, Shared};
use crate::resp::args::Request;
use crate::resp::encode;
use crate::resp::request::{Parsed, RequestLimits, RequestParser};
use crate::stats::cells::{CoreStats, PoolMetric, ShardMetric};
use crate::topology::{NodeEndpoint, PoolTopology, ShardTopology, Topology};

pub(super) fn pool_config(shards: usize) -> PoolConfig {
    PoolConfig {
        name: "test".into(),
        listen: Vec::new(),
        backlog: 512,
        tcp_keepalive: false,
        hash: HashKind::Fnv1a64,
        hash_tag: Some((b'{', b'}')),
        distribution: DistributionKind::Ketama,
        char_signedness: CharSignedness::Signed,
        shards: (0..shards)
            .map(|n| ShardConfig {
                name: format!("s{n:04}"),
                address: NodeAddress::Unix { path: PathBuf::from(format!("/s{n}")) },
                weight: 1,
            })
            .collect(),
        timeout_ms: Some(1000),
        connect_timeout_ms: 1000,
        lanes_per_node: 1,
        preconnect: false,
        backend_auth: None,
        client_password: None,
        database: 0,
        databases: 16,
        unknown_commands: UnknownCommands::Refuse,
        dangerous_commands: DangerousCommands::Allow,
        limits: PoolLimits {
            client_connections_max: 0,
            client_idle_timeout_ms: 0,
            client_inflight_max: limits::CLIENT_INFLIGHT_MAX,
            client_output_soft_bytes: limits::CLIENT_OUTPUT_SOFT_BYTES,
            client_output_max_bytes: limits::CLIENT_OUTPUT_MAX_BYTES,
            request_args_max: limits::REQUEST_ARGS_MAX,
            request_bytes_max: limits::REQUEST_BYTES_MAX,
            bulk_bytes_max: limits::BULK_BYTES_MAX,
            lane_inflight_max: limits::LANE_INFLIGHT_MAX,
            lane_output_soft_bytes: limits::LANE_OUTPUT_SOFT_BYTES,
        },
    }
}

/// One shard's false redis: it keeps strings, and answers what these tests ask.
#[derive(Default)]
struct Store {
    keys: BTreeMap<Vec<u8>, Vec<u8>>,
    scripts: Vec<Vec<u8>>,
    /// Requests it has seen, by name.
    seen: Vec<String>,
    /// Answers nothing (they wait in `held`).
    silent: bool,
    held: Vec<u8>,
    /// Refuses connections.
    down: bool,
}

impl Store {
    fn answer(&mut self, request: &Request<'_>, out: &mut Vec<u8>) {
        let name = String::from_utf8_lossy(request.name()).to_uppercase();
        self.seen.push(name.clone());
        let get = |keys: &BTreeMap<Vec<u8>, Vec<u8>>, key: &[u8], out: &mut Vec<u8>| match keys
            .get(key)
        {
            Some(value) => encode::bulk(out, value),
            None => out.extend_from_slice(b"$-1\r\n"),
        };
        match name.as_str() {
            "PING" => encode::simple(out, "PONG"),
            "SELECT" => encode::simple(out, "OK"),
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
                    self.keys.insert(request.arg(at).to_vec(), request.arg(at + 1).to_vec());
                }
                encode::simple(out, "OK");
            }
            "DEL" => {
                let n =
                    request.iter().skip(1).filter(|key| self.keys.remove(*key).is_some()).count();
                encode::integer(out, n as i64);
            }
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
            "BIG" => encode::bulk(out, &vec![b'x'; 300_000]),
            _ => encode::error(out, "ERR unknown to the false store"),
        }
    }
}

struct Lane {
    shard: usize,
    input: Vec<u8>,
}

pub(super) struct World {
    pub(super) relay: Relay,
    pub(super) stats: Arc<CoreStats>,
    pub(super) now: Now,
    stores: Vec<Store>,
    lanes: Vec<(LaneId, Lane)>,
    heard: Vec<(ClientId, Vec<u8>)>,
    pub(super) finished: Vec<ClientId>,
    paused: Vec<ClientId>,
    /// Clients that do not read: their output is taken, but never reported as sent.
    deaf: Vec<ClientId>,
    /// Replies are handed over in pieces of this size.
    pub(super) piece: usize,
    /// What this core tells one other.
    pub(super) letters: Vec<(u16, Shared)>,
}

impl World {
    fn new(shards: usize) -> World {
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
                .map(|n| ShardTopology {
                    primary: Some(NodeEndpoint::Unix(PathBuf::from(format!("/s{n}")))),
                    replicas: Vec::new(),
                })
                .collect(),
        };
        let topology = Arc::new(Topology { epoch: 1, pools: pools.iter().map(topology).collect() });
        let config = Arc::new(Config {
            proxy: ProxyConfig {
                cores: (0..usize::from(cores)).collect(),
                admin_listen: None,
                stats_listen: None,
                log_level: LogLevel::Info,
                log_file: None,
                core_buffer_max_bytes: limits::CORE_BUFFER_MAX_BYTES,
                spin_us: 0,
                batch_us: 0,
            },
            pools: pools.into_iter().map(Arc::new).collect(),
        });
        let stats: Arc<[_]> = (0..cores).map(|_| CoreStats::new(&config)).collect();
        let now = Now { mono_us: 1_000_000, wall_us: 1_700_000_000_000_000 };
        let world = |core: u16| {
            let identity = CoreIdentity { core, cores };
            let (config, topology) = (config.clone(), topology.clone());
            World {
                relay: Relay::new(identity, config, topology, stats.clone(), 7, now),
                stats: stats[usize::from(core)].clone(),
                now,
                stores: (0..shards_max).map(|_| Store::default()).collect(),
                lanes: Vec::new(),
                heard: Vec::new(),
                finished: Vec::new(),
                paused: Vec::new(),
                deaf: Vec::new(),
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

    fn carry_out(&mut self, ask: Ask) {
        match ask {
            Ask::Connect { lane, endpoint } => {
                let NodeEndpoint::Unix(path) = endpoint else { panic!("unix only") };
                let shard: usize = path.to_str().unwrap()[2..].parse().unwrap();
                if self.stores[shard].down {
                    let refused = LaneEnd::Error(111);
                    self.relay.on_lane_closed(lane, refused, self.now);
                } else {
                    self.lanes.push((lane, Lane { shard, input: Vec::new() }));
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

    fn flush(&mut self, dirty: Dirty) {
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
            Dirty::Lane(id) => {
                self.relay.on_lane_sent(id, bytes);
                self.feed_store(id, &all);
            }
        }
    }

    fn feed_store(&mut self, id: LaneId, bytes: &[u8]) {
        let Some((_, lane)) = self.lanes.iter_mut().find(|(of, _)| *of == id) else { return };
        lane.input.extend_from_slice(bytes);
        let limits = RequestLimits {
            args_max: limits::REQUEST_ARGS_MAX,
            bulk_bytes_max: limits::BULK_BYTES_MAX,
            request_bytes_max: limits::REQUEST_BYTES_MAX,
        };
        let store = &mut self.stores[lane.shard];
        let (mut at, mut replies) = (0, Vec::new());
        loop {
            let mut ranges = Vec::new();
            let rest = &lane.input[at..];
            match RequestParser::default().parse(rest, &mut ranges, &limits) {
                Ok(Parsed::Request { bytes }) => {
                    store.answer(&Request { bytes: &rest[..bytes], ranges: &ranges }, &mut replies);
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
    fn reply(&mut self, id: LaneId, bytes: &[u8]) {
        let piece = self.piece;
        for piece in bytes.chunks(piece.min(bytes.len().max(1))) {
            if self.relay.lane_takes_chunk(id, piece.len()) {
                self.relay.on_lane_chunk(id, piece.to_vec(), self.now);
            } else {
                self.relay.on_lane_bytes(id, piece, self.now);
            }
        }
    }

    fn lane_of_shard(&self, shard: usize) -> LaneId {
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

    fn unsilence_lane(&mut self, shard: usize, lane: LaneId) {
        self.stores[shard].silent = false;
        let held = std::mem::take(&mut self.stores[shard].held);
        self.reply(lane, &held);
        self.run();
    }

    /// Requests of clients that the shards have seen.
    pub(super) fn requests_seen(&self) -> usize {
        self.stores.iter().flat_map(|store| &store.seen).filter(|name| *name != "PING").count()
    }

    /// A key that lives on this shard.
    fn key_on(&mut self, shard: usize) -> String {
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

#[test]
fn a_request_goes_to_its_shard_and_its_reply_comes_back() {
    let mut world = World::new(3);
    let client = world.client();
    for n in 0..100 {
        assert_eq!(world.ask(client, &req(&format!("SET k{n} v{n}"))), "+OK\r\n");
    }
    for n in 0..100 {
        let value = format!("v{n}");
        let expected = format!("${}\r\n{value}\r\n", value.len());
        assert_eq!(world.ask(client, &req(&format!("GET k{n}"))), expected);
    }
    let counts: Vec<usize> = world.stores.iter().map(|store| store.keys.len()).collect();
    assert!(counts.iter().all(|count| *count > 0), "all shards have keys: {counts:?}");
    assert_eq!(world.ask(client, b"get k1\r\n"), "$2\r\nv1\r\n", "inline too");
}

#[test]
fn replies_keep_their_order_however_shards_answer() {
    for piece in [1, 3, 7, 1000] {
        let mut world = World::new(3);
        world.piece = piece;
        let client = world.client();
        let (mut requests, mut expected) = (Vec::new(), String::new());
        for n in 0..200 {
            requests.extend(req(&format!("SET k{n} value-{n}")));
            expected += "+OK\r\n";
            requests.extend(req(&format!("GET k{n}")));
            let value = format!("value-{n}");
            expected += &format!("${}\r\n{value}\r\n", value.len());
            requests.extend(req("PING"));
            expected += "+PONG\r\n";
        }
        assert_eq!(world.ask(client, &requests), expected);
    }
}

#[test]
fn the_bytes_of_a_request_may_be_cut_anywhere() {
    let mut world = World::new(2);
    let client = world.client();
    let requests = [req("SET a 1"), req("MGET a b a"), b"PING\r\n".to_vec(), req("GET a")].concat();
    for byte in &requests {
        world.say(client, &[*byte]);
    }
    let expected = "+OK\r\n*3\r\n$1\r\n1\r\n$-1\r\n$1\r\n1\r\n+PONG\r\n$1\r\n1\r\n";
    assert_eq!(world.heard(client), expected);
}

#[test]
fn a_large_request_is_forwarded_whether_it_comes_whole_or_in_pieces() {
    for piece in [20_000, 100_000, 7_000, 1_000_000] {
        let mut world = World::new(1);
        let client = world.client();
        let value = "v".repeat(100_000 - 37);
        let requests = [req(&format!("SET a {value}")), req("GET b")].concat();
        for piece in requests.chunks(piece) {
            world.say(client, piece);
        }
        assert_eq!(world.heard(client), "+OK\r\n$-1\r\n", "in pieces of {piece}");
        let whole = req(&format!("SET c {}", "v".repeat(20_000)));
        assert_eq!(world.ask(client, &whole), "+OK\r\n");
        assert_eq!(world.relay.buffered_bytes, 0);
    }
}

#[test]
fn split_requests_are_merged_in_key_order_with_duplicates() {
    let mut world = World::new(3);
    let client = world.client();
    let (a, b, c) = (world.key_on(0), world.key_on(1), world.key_on(2));
    assert_eq!(world.ask(client, &req(&format!("MSET {a} A {b} B {c} C {a} A2"))), "+OK\r\n");
    let got = world.ask(client, &req(&format!("MGET {c} {a} nope {b} {c}")));
    assert_eq!(got, "*5\r\n$1\r\nC\r\n$2\r\nA2\r\n$-1\r\n$1\r\nB\r\n$1\r\nC\r\n");
    assert_eq!(world.ask(client, &req("DBSIZE")), ":3\r\n");
    assert_eq!(world.ask(client, &req(&format!("DEL {a} {b} {a} nope"))), ":2\r\n");
    assert_eq!(
        world.ask(client, &req(&format!("MSET {a} 1 {b}"))),
        "-ERR wrong number of arguments for 'mset' command\r\n"
    );
    let crossslot = world.ask(client, &req(&format!("RENAME {a} {b}")));
    assert!(crossslot.starts_with("-CROSSSLOT "), "{crossslot}");
}

#[test]
fn a_dead_shard_fails_only_its_own_requests() {
    let mut world = World::new(2);
    world.stores[1].down = true;
    let client = world.client();
    let (alive, dead) = (world.key_on(0), world.key_on(1));
    let requests =
        [req(&format!("SET {dead} 1")), req(&format!("SET {alive} 1")), req("PING")].concat();
    let refused = "-ERR Connection refused: shard s0001 at unix:/s1\r\n";
    assert_eq!(world.ask(client, &requests), format!("{refused}+OK\r\n+PONG\r\n"));
    let mget = world.ask(client, &req(&format!("MGET {alive} {dead}")));
    assert_eq!(mget, refused, "half an answer is none");
    world.stores[1].down = false;
    world.advance(2_000);
    assert_eq!(world.ask(client, &req(&format!("SET {dead} 1"))), "+OK\r\n");
}

#[test]
fn a_late_reply_is_dropped_by_position() {
    let mut world = World::new(1);
    let client = world.client();
    assert_eq!(world.ask(client, &req("SET a 1")), "+OK\r\n");
    world.stores[0].silent = true;
    assert_eq!(world.ask(client, &req("GET a")), "");
    world.advance(600);
    assert_eq!(world.ask(client, &req("GET b")), "");
    world.advance(500);
    let timed_out = "-ERR Connection timed out: shard s0000 at unix:/s0\r\n";
    assert_eq!(world.heard(client), timed_out, "the first is late, the second is not");
    let held = std::mem::take(&mut world.stores[0].held);
    world.stores[0].silent = false;
    let lane = world.lane_of_shard(0);
    world.reply(lane, &held);
    world.run();
    assert_eq!(world.heard(client), "$-1\r\n", "b's reply, not a's");
    assert_eq!(world.ask(client, &req("GET a")), "$1\r\n1\r\n");
    let late = world.stats.shard(PoolId(0), ShardId(0), ShardMetric::LateReplies);
    assert_eq!(late.get(), 1);
}

#[test]
fn a_lane_that_stays_silent_is_closed_and_renewed() {
    let mut world = World::new(1);
    let client = world.client();
    world.ask(client, &req("SET a 1"));
    world.stores[0].silent = true;
    let before = world.lane_of_shard(0);
    world.ask(client, &req("GET a"));
    world.advance(1_001);
    assert!(world.heard(client).starts_with("-ERR Connection timed out"));
    world.stores[0].silent = false;
    world.advance(1_001);
    assert_ne!(world.lane_of_shard(0), before);
    assert_eq!(world.ask(client, &req("GET a")), "$1\r\n1\r\n");
}

#[test]
fn a_surplus_reply_closes_the_lane() {
    let mut world = World::new(1);
    let client = world.client();
    world.ask(client, &req("SET a 1"));
    let lane = world.lane_of_shard(0);
    world.reply(lane, b"+STRAY\r\n");
    world.run();
    assert_ne!(world.lane_of_shard(0), lane);
    assert_eq!(world.ask(client, &req("GET a")), "$1\r\n1\r\n", "and nobody heard the stray one");
}

#[test]
fn an_error_of_the_server_at_connect_is_nobodys_reply() {
    let mut world = World::new(1);
    world.stores[0].silent = true;
    let client = world.client();
    world.say(client, &req("GET a"));
    let lane = world.lane_of_shard(0);
    world.reply(lane, b"-ERR max number of clients reached\r\n");
    world.run();
    let heard = world.heard(client);
    assert!(heard.starts_with("-ERR hand-shake refused with 'ERR max number"), "{heard}");
}

#[test]
fn the_greeting_is_answered_before_the_first_request_is_sent() {
    let mut world = World::new(1);
    world.stores[0].silent = true;
    let client = world.client();
    world.say(client, &[req("SELECT 3"), req("GET a")].concat());
    assert_eq!(world.heard(client), "+OK\r\n");
    assert_eq!(world.stores[0].seen, ["SELECT", "PING"]);
    world.stores[0].silent = false;
    let held = std::mem::take(&mut world.stores[0].held);
    let lane = world.lane_of_shard(0);
    world.reply(lane, &held);
    world.run();
    assert_eq!(world.heard(client), "$-1\r\n");
}

#[test]
fn a_long_reply_is_streamed_and_its_client_dropped_if_the_lane_dies_in_it() {
    let mut pool = pool_config(1);
    pool.unknown_commands = UnknownCommands::Forward;
    let mut world = World::with(pool);
    world.piece = 10_000;
    let client = world.client();
    let reply = world.ask(client, &[req("BIG x"), req("PING")].concat());
    assert_eq!(reply.len(), "$300000\r\n".len() + 300_000 + 2 + "+PONG\r\n".len());
    assert!(reply.ends_with("xx\r\n+PONG\r\n"));

    world.stores[0].silent = true;
    world.say(client, &req("BIG x"));
    let lane = world.lane_of_shard(0);
    let held = std::mem::take(&mut world.stores[0].held);
    world.reply(lane, &held[..200_000]);
    world.run();
    assert!(world.heard(client).len() > 100_000, "part of it has gone out");
    world.lanes.retain(|(id, _)| *id != lane);
    world.relay.on_lane_closed(lane, LaneEnd::Eof, world.now);
    world.run();
    assert_eq!(world.finished, [client]);
}

#[test]
fn a_client_that_left_gets_nothing_and_harms_nobody() {
    let mut world = World::new(1);
    let (first, second) = (world.client(), world.client());
    world.ask(first, &req("SET a 1"));
    world.stores[0].silent = true;
    world.say(first, &[req("GET a"), req("GET a")].concat());
    world.say(second, &req("GET b"));
    world.relay.on_client_closed(first, ClientEnd::Eof, world.now);
    let third = world.client();
    assert_eq!(third.index, first.index, "its place is used again");
    world.say(third, &req("SET c 3"));
    let held = std::mem::take(&mut world.stores[0].held);
    let lane = world.lane_of_shard(0);
    world.reply(lane, &held);
    world.run();
    assert_eq!(world.heard(second), "$-1\r\n");
    assert_eq!(world.heard(third), "+OK\r\n");
}

#[test]
fn a_client_that_does_not_read_is_paused_and_then_closed() {
    let mut pool = pool_config(1);
    pool.unknown_commands = UnknownCommands::Forward;
    pool.limits.client_output_max_bytes = 4_000_000;
    let mut world = World::with(pool);
    let (deaf, other) = (world.client(), world.client());
    world.deaf.push(deaf);
    let requests = req("BIG x").repeat(1_000);
    for _ in 0..20 {
        world.say(deaf, &requests);
    }
    let bytes = world.heard(deaf).len();
    assert!(bytes < 4_000_000 + 300_000, "{bytes}");
    assert!(world.paused.contains(&deaf) || world.finished.contains(&deaf));
    assert_eq!(world.ask(other, &req("SET a 1")), "+OK\r\n");
}

#[test]
fn a_deep_pipeline_stalls_and_goes_on() {
    let mut world = World::new(2);
    let client = world.client();
    let requests = req("GET a").repeat(10_000);
    assert_eq!(world.ask(client, &requests), "$-1\r\n".repeat(10_000));
    assert!(world.paused.is_empty());
    assert_eq!(world.relay.buffered_bytes, 0);
}

#[test]
fn an_evalsha_survives_a_shard_that_lost_its_scripts() {
    let mut world = World::new(2);
    let client = world.client();
    assert_eq!(world.ask(client, &req("EVAL script 1 a")), ":42\r\n");
    let digest = "04e4a2d8c9b8b0d4b1b7e7d6b7f6b6a1d2d3c4c5";
    let unknown = world.ask(client, &req(&format!("EVALSHA {digest} 1 a")));
    assert!(unknown.starts_with("-NOSCRIPT"), "a digest never seen: {unknown}");
    let known = world.relay.scripts.remember(PoolId(0), b"another").unwrap().digest;
    let known = String::from_utf8_lossy(&known).into_owned();
    let evalsha = req(&format!("EVALSHA {} 1 a", known.to_uppercase()));
    assert_eq!(world.ask(client, &evalsha), ":42\r\n", "loaded ahead");
    for store in &mut world.stores {
        store.scripts.clear(); // flushed behind the proxy's back
    }
    assert_eq!(world.ask(client, &evalsha), ":42\r\n", "loaded and repeated");
}

#[test]
fn commands_that_change_a_connection_never_reach_a_lane() {
    let mut world = World::new(1);
    let client = world.client();
    for words in [
        "MULTI",
        "WATCH a",
        "SUBSCRIBE c",
        "BLPOP a 0",
        "MONITOR",
        "CLIENT REPLY OFF",
        "CLIENT TRACKING ON",
        "XREAD BLOCK 0 STREAMS a 0",
        "SHUTDOWN",
        "FOO a",
    ] {
        let answer = world.ask(client, &req(words));
        assert!(answer.starts_with("-ERR "), "{words}: {answer}");
        assert!(answer.ends_with("\r\n") && answer.matches('\n').count() == 1, "{answer}");
    }
    assert!(world.stores[0].seen.is_empty());
    assert!(world.finished.is_empty(), "a client is never closed for a command");
}

#[test]
fn a_broken_frame_is_answered_behind_the_other_replies_and_closes() {
    let mut world = World::new(1);
    let client = world.client();
    let heard = world.ask(client, &[req("GET a"), b"*x\r\n".to_vec(), req("GET b")].concat());
    assert_eq!(heard, "$-1\r\n-ERR Protocol error: invalid multibulk length\r\n");
    assert_eq!(world.finished, [client]);
    let errors = world.stats.pool(PoolId(0), PoolMetric::ProtocolErrors);
    assert_eq!(errors.get(), 1);
}

#[test]
fn a_password_is_asked_for() {
    let mut pool = pool_config(1);
    pool.client_password = Some("secret".into());
    let mut world = World::with(pool);
    let client = world.client();
    assert_eq!(world.ask(client, &req("GET a")), "-NOAUTH Authentication required.\r\n");
    assert!(world.ask(client, &req("AUTH wrong")).starts_with("-WRONGPASS"));
    assert!(world.ask(client, &req("HELLO 3")).starts_with("-NOAUTH"));
    assert!(world.ask(client, &req("HELLO 3 AUTH default secret")).starts_with("%7\r\n"));
    assert_eq!(world.ask(client, &req("GET a")), "$-1\r\n");
    assert_eq!(world.ask(client, &req("RESET")), "+RESET\r\n");
    assert_eq!(world.ask(client, &req("GET a")), "-NOAUTH Authentication required.\r\n");
}

#[test]
fn a_key_is_found_at_random_on_any_shard() {
    let mut world = World::new(4);
    let client = world.client();
    assert_eq!(world.ask(client, &req("RANDOMKEY")), "$-1\r\n");
    let key = world.key_on(2);
    world.ask(client, &req(&format!("SET {key} 1")));
    for _ in 0..20 {
        assert_eq!(world.ask(client, &req("RANDOMKEY")), format!("${}\r\n{key}\r\n", key.len()));
    }
}

#[test]
fn wait_asks_again_until_its_time_is_over() {
    let mut world = World::new(2);
    let client = world.client();
    world.ask(client, &req("SET a 1"));
    assert_eq!(world.ask(client, &req("WAIT 1 100")), ":1\r\n");
    assert_eq!(world.ask(client, &req("WAIT 2 100")), "");
    for _ in 0..9 {
        world.advance(10);
        assert_eq!(world.heard(client), "");
    }
    world.advance(20);
    assert_eq!(world.heard(client), ":1\r\n");
}

#[test]
fn a_large_request_that_comes_in_one_piece_is_sent() {
    let mut world = World::new(1);
    let (first, second) = (world.client(), world.client());
    let value = "x".repeat(20_000);
    assert_eq!(world.ask(first, &req(&format!("SET a {value}"))), "+OK\r\n");
    assert_eq!(world.ask(second, &req("GET b")), "$-1\r\n");
    let expected = format!("$20000\r\n{value}\r\n");
    assert_eq!(world.ask(second, &req("GET a")), expected);
}

#[test]
fn a_wait_ahead_of_quit_is_answered() {
    let mut world = World::new(2);
    let client = world.client();
    assert_eq!(world.ask(client, &[req("WAIT 2 100"), req("QUIT")].concat()), "");
    for _ in 0..15 {
        world.advance(10);
    }
    assert_eq!(world.heard(client), ":1\r\n+OK\r\n");
    assert_eq!(world.finished, [client]);
}

#[test]
fn a_second_question_goes_where_the_first_went() {
    let mut world = World::new(3);
    let client = world.client();
    world.ask(client, &[req("RANDOMKEY"), req("SELECT 1")].concat());
    let connections: usize = world
        .stores
        .iter()
        .map(|store| store.seen.iter().filter(|name| *name == "SELECT").count())
        .sum();
    assert_eq!(connections, 0, "nothing was asked in database 1");
}

#[test]
fn a_wait_without_end_ends_when_its_client_leaves() {
    let mut world = World::new(1);
    let client = world.client();
    assert_eq!(world.ask(client, &req("WAIT 2 0")), "");
    assert!(world.relay.owes(client), "asked by the reactor after its FIN");
    world.advance(10);
    assert!(!world.relay.owes(client));
    assert_eq!(world.heard(client), ":1\r\n");
}

#[test]
fn a_finished_client_that_does_not_read_pays_for_its_own_bytes() {
    let mut world = World::new(1);
    let (deaf, other) = (world.client(), world.client());
    world.deaf.push(deaf);
    let value = "x".repeat(100_000);
    world.ask(other, &req(&format!("SET a {value}")));
    world.say(deaf, &req("GET a"));
    let mut config = (*world.relay.config).clone();
    config.proxy.core_buffer_max_bytes = 50_000;
    world.relay.on_client_bytes(deaf, &req("QUIT"), world.now);
    assert!(matches!(world.relay.next_ask(), Some(Ask::FinishClient(id)) if id == deaf));
    world.relay.config = Arc::new(config);
    world.relay.on_turn(world.now);
    assert!(matches!(world.relay.next_ask(), Some(Ask::DropClient(id)) if id == deaf));
    assert!(world.relay.next_ask().is_none(), "the other one stays");
}

#[test]
fn a_reply_ahead_of_its_request_is_nobodys() {
    let mut world = World::new(1);
    let client = world.client();
    world.ask(client, &req("SET a 1"));
    let lane = world.lane_of_shard(0);
    world.relay.on_client_bytes(client, &req("GET a"), world.now); // not sent yet
    world.reply(lane, b"$5\r\nSTRAY\r\n");
    world.run();
    let heard = world.heard(client);
    assert!(heard.starts_with("-ERR Connection out of step"), "{heard}");
}
