//! The whole relay, bytes to bytes, without a kernel: clients' requests in, shards' replies in,
//! clients' replies out, all compared with what they must be.
//!
//! The shards are a loop in this file that answers GET, MGET and SET of keys of 16 bytes; `shards
//! alone` says what that loop itself costs for each request, to be taken off the other figures.
//!
//! Before a case is measured, its turns must have come to do without the allocator.
#![allow(clippy::panic, reason = "a benchmark fails by panicking")]

mod counting;
mod meter;

use std::collections::VecDeque;
use std::sync::Arc;

use corelay::base::ids::{ClientId, LaneId, PoolId};
use corelay::base::time::Now;
use corelay::config::model::{PoolConfig, SentinelConfig};
use corelay::config::{Machine, parse_toml};
use corelay::relay::Relay;
use corelay::relay::api::{Ask, CoreIdentity, Dirty, Peer};
use corelay::stats::cells::CoreStats;
use corelay::topology::{NodeEndpoint, PoolTopology, ShardTopology, Topology};
use meter::{Meter, key, request};

const SHARDS: usize = 3;
const KEY_BYTES: usize = 16;
const VALUE_BYTES: usize = 64;
const GREETING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const NAME: &[u8] = b"*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$15\r\ncorelay:bench:0\r\n";

/// The value of `key`: itself, over and over.
fn value(key: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"$64\r\n");
    for _ in 0..VALUE_BYTES / KEY_BYTES {
        out.extend_from_slice(key);
    }
    out.extend_from_slice(b"\r\n");
}

/// What the shards answer to all requests in `bytes`; knows only the shapes that are sent here.
fn answer(mut bytes: &[u8], out: &mut Vec<u8>) {
    while let [_, count, _, _, _, _, _, _, name, ..] = bytes {
        let (count, name) = (*count, *name);
        let used = match (count, name) {
            (b'1', b'P') => {
                out.extend_from_slice(b"+PONG\r\n");
                GREETING.len()
            }
            (b'3', b'C') => {
                out.extend_from_slice(b"+OK\r\n");
                NAME.len()
            }
            (b'1', b'R') => {
                out.extend_from_slice(b"*1\r\n$6\r\nmaster\r\n"); // ROLE
                GREETING.len()
            }
            // A fence.
            (b'2', b'P') => {
                out.extend_from_slice(&bytes[14..53]);
                53
            }
            (b'2', b'G') => {
                value(&bytes[18..18 + KEY_BYTES], out);
                18 + KEY_BYTES + 2
            }
            (b'3', b'S') => {
                out.extend_from_slice(b"+OK\r\n");
                18 + KEY_BYTES + 2 + 5 + VALUE_BYTES + 2
            }
            _ => mget(bytes, out),
        };
        bytes = &bytes[used..];
    }
    assert!(bytes.is_empty(), "half a request: {}", bytes.escape_ascii());
}

/// `*11\r\n$4\r\nMGET\r\n$16\r\n…`, with any number of keys.
fn mget(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    let end = bytes.iter().position(|&byte| byte == b'\r').map_or(0, |at| at);
    let count: usize = bytes[1..end].iter().fold(0, |n, digit| n * 10 + usize::from(digit - b'0'));
    let mut at = end + 2 + 10;
    assert_eq!(&bytes[at - 6..at - 2], b"MGET", "{}", bytes[..at].escape_ascii());
    out.extend_from_slice(format!("*{}\r\n", count - 1).as_bytes());
    for _ in 1..count {
        value(&bytes[at + 5..at + 5 + KEY_BYTES], out);
        at += 5 + KEY_BYTES + 2;
    }
    at
}

/// One client and what it says and must hear in each turn.
struct Client {
    id: ClientId,
    says: Vec<u8>,
    hears: Vec<u8>,
    heard: Vec<u8>,
}

struct World {
    relay: Relay,
    now: Now,
    clients: Vec<Client>,
    chunks: VecDeque<Vec<u8>>,
    /// Replies under way: lane and bytes.
    replies: Vec<(LaneId, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
}

/// One pool over three shards, whose primaries may be watched by sentinels.
fn new_relay(watched: bool, now: Now) -> Relay {
    let mut toml = "[proxy]\ncores = 1\nadmin_listen = \"off\"\n[[pool]]\nname = \"bench\"\n\
                    listen = [\"127.0.0.1:1\"]\nhash = \"fnv1a_64\"\ndistribution = \"ketama\"\n"
        .to_owned();
    for shard in 0..SHARDS {
        toml += &format!("[[pool.shard]]\nname = \"shard{shard}\"\naddress = \"unix:/{shard}\"\n");
    }
    let loaded = parse_toml(&toml, "bench", &Machine::this());
    let loaded = loaded.unwrap_or_else(|complaints| panic!("{complaints:?}"));
    let mut config = loaded.config;
    if watched {
        let mut pool = PoolConfig::clone(&config.pools[0]);
        let (quorum_required, quorum_grace_ms) = (false, 0);
        pool.sentinel = Some(SentinelConfig {
            addresses: Vec::new(),
            credentials: None,
            quorum_required,
            quorum_grace_ms,
        });
        config.pools = vec![Arc::new(pool)];
    }
    let config = Arc::new(config);
    let primary = |shard: usize| Some(NodeEndpoint::Unix(format!("/{shard}").into()));
    let shards = (0..SHARDS).map(|shard| ShardTopology::fixed(primary(shard))).collect();
    let stats = Arc::new([CoreStats::new(&config)]);
    let pools = vec![PoolTopology { shards }];
    let topology = Arc::new(Topology { epoch: 1, config, pools });
    Relay::new(CoreIdentity { core: 0, cores: 1 }, topology, stats, 7, now)
}

impl World {
    /// `clients` clients of which each says `requests` requests a turn: `make` gives one and its
    /// reply.
    fn new(
        watched: bool,
        clients: usize,
        requests: usize,
        make: impl Fn(usize, &mut Vec<u8>, &mut Vec<u8>),
    ) -> World {
        let now = Now { mono_us: 1_000_000, wall_us: 1_700_000_000_000_000 };
        let mut relay = new_relay(watched, now);
        let clients = (0..clients)
            .map(|number| {
                let peer = Peer::Unix { path: "bench".into() };
                let id = relay.on_client_open(PoolId(0), peer, now);
                let id = id.unwrap_or_else(|_| panic!("the relay takes no client"));
                let (mut says, mut hears) = (Vec::new(), Vec::new());
                for at in 0..requests {
                    make(number * requests + at, &mut says, &mut hears);
                }
                Client { id, says, heard: Vec::with_capacity(hears.len()), hears }
            })
            .collect();
        let mut world = World {
            relay,
            now,
            clients,
            chunks: VecDeque::new(),
            replies: Vec::new(),
            spare: Vec::new(),
        };
        // Lanes are connected and buffers made before anything is measured.
        for _ in 0..3 {
            world.turn();
        }
        world
    }

    /// Every client says its requests and hears their replies; gives the number of clients that
    /// heard what they should.
    fn turn(&mut self) -> u64 {
        self.now.mono_us += 10;
        for client in &mut self.clients {
            client.heard.clear();
            self.relay.on_client_bytes(client.id, &client.says, self.now);
        }
        loop {
            self.relay.on_turn(self.now);
            while let Some(ask) = self.relay.next_ask() {
                if let Ask::Connect { lane, .. } = ask {
                    self.relay.on_lane_open(lane, self.now);
                }
            }
            let mut moved = false;
            while let Some(dirty) = self.relay.next_dirty() {
                moved = true;
                self.flush(dirty);
            }
            if !moved {
                break;
            }
            while let Some((lane, mut bytes)) = self.replies.pop() {
                self.relay.on_lane_bytes(lane, &bytes, self.now);
                bytes.clear();
                self.spare.push(bytes);
            }
        }
        self.clients.iter().filter(|client| client.heard == client.hears).count() as u64
    }

    fn flush(&mut self, dirty: Dirty) {
        let bytes = self.relay.take_output(dirty, &mut self.chunks);
        match dirty {
            Dirty::Client(id) => {
                // The relay numbers its clients from 0.
                let client = &mut self.clients[id.index as usize];
                assert_eq!(client.id, id, "an unknown client");
                self.chunks.iter().for_each(|chunk| client.heard.extend_from_slice(chunk));
                self.relay.on_client_sent(id, bytes);
            }
            Dirty::Lane(lane) => {
                let mut replies = self.spare.pop().unwrap_or_default();
                match self.chunks.len() {
                    1 => answer(&self.chunks[0], &mut replies),
                    _ => {
                        let mut whole = self.spare.pop().unwrap_or_default();
                        self.chunks.iter().for_each(|chunk| whole.extend_from_slice(chunk));
                        answer(&whole, &mut replies);
                        whole.clear();
                        self.spare.push(whole);
                    }
                }
                self.relay.on_lane_sent(lane, bytes);
                self.replies.push((lane, replies));
            }
        }
        while let Some(chunk) = self.chunks.pop_front() {
            self.relay.recycle(chunk);
        }
    }
}

fn get(number: usize, says: &mut Vec<u8>, hears: &mut Vec<u8>) {
    says.extend(request(&[b"GET", &key(number)]));
    value(&key(number), hears);
}

/// As `get`, of keys whose leading digits differ, as redis-benchmark's do: those of one client are on
/// all shards, so that most of its replies come before their turn.
fn get_spread(number: usize, says: &mut Vec<u8>, hears: &mut Vec<u8>) {
    let key = key(number * 7_919_333_331 % 1_000_000_000_000);
    says.extend(request(&[b"GET", &key]));
    value(&key, hears);
}

fn set(number: usize, says: &mut Vec<u8>, hears: &mut Vec<u8>) {
    says.extend(request(&[b"SET", &key(number), &[b'v'; VALUE_BYTES]]));
    hears.extend_from_slice(b"+OK\r\n");
}

fn ping(_: usize, says: &mut Vec<u8>, hears: &mut Vec<u8>) {
    says.extend(request(&[b"PING"]));
    hears.extend_from_slice(b"+PONG\r\n");
}

fn mget_of_ten(number: usize, says: &mut Vec<u8>, hears: &mut Vec<u8>) {
    let keys: Vec<Vec<u8>> = (0..10).map(|at| key(number * 10 + at)).collect();
    let words: Vec<&[u8]> =
        std::iter::once(b"MGET".as_slice()).chain(keys.iter().map(Vec::as_slice)).collect();
    says.extend(request(&words));
    hears.extend_from_slice(b"*10\r\n");
    keys.iter().for_each(|key| value(key, hears));
}

/// Replies of several parts are gathered in buffers of their own; whatever is passed on or answered
/// at once needs none.
fn expect_no_allocation(name: &str, world: &mut World) {
    // A latency's histogram is made when a family is first heard of, buffers grow to their size.
    for _ in 0..20 {
        world.turn();
    }
    let before = counting::allocations();
    for _ in 0..100 {
        world.turn();
    }
    let made = counting::allocations() - before;
    assert!(made == 0, "{name}: {made} allocations in 100 turns");
}

fn main() {
    let meter = Meter::from_args();
    type Make = fn(usize, &mut Vec<u8>, &mut Vec<u8>);
    let cases: [(&str, Make, usize, usize); 12] = [
        ("relay: GET, 50 clients, pipeline 1", get, 50, 1),
        ("relay: GET, 50 clients, pipeline 16", get, 50, 16),
        ("relay: GET, 50 clients, pipeline 64", get, 50, 64),
        ("relay: GET, 50 clients, pipeline 16, all shards", get_spread, 50, 16),
        ("relay: GET, 50 clients, pipeline 64, all shards", get_spread, 50, 64),
        ("relay: SET, 50 clients, pipeline 1", set, 50, 1),
        ("relay: SET, 50 clients, pipeline 16", set, 50, 16),
        ("relay: SET, 50 clients, pipeline 64", set, 50, 64),
        ("relay: watched: GET, 50 clients, pipeline 16", get, 50, 16),
        ("relay: watched: SET, 50 clients, pipeline 16", set, 50, 16),
        ("relay: MGET of 10, 50 clients", mget_of_ten, 50, 1),
        ("relay: PING, 50 clients, pipeline 16", ping, 50, 16),
    ];
    for (name, make, clients, requests) in cases {
        if !meter.wants(name) {
            continue;
        }
        let mut world = World::new(name.contains("watched"), clients, requests, make);
        if !name.contains("MGET") {
            expect_no_allocation(name, &mut world);
        }
        meter.case(name, clients * requests, clients as u64, || world.turn());
    }
    let mut requests = Vec::new();
    (0..1_000).for_each(|number| get(number, &mut requests, &mut Vec::new()));
    let mut replies = Vec::new();
    meter.case("shards alone: GET", 1_000, 1_000 * (5 + VALUE_BYTES as u64 + 2), || {
        replies.clear();
        answer(&requests, &mut replies);
        replies.len() as u64
    });
}
