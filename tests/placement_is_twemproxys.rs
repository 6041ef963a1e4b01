//! One nutcracker.yml, two processes: what is written through the real nutcracker is found through
//! `corelay run -c` with the very same file, and the other way round. For every hash and distribution
//! over random pools (weights, names or none, hash tags, binary keys), without an exception. And each
//! key lies on the shard that the router names, so that `corelay explain` tells the truth.
//!
//! All pools of all seeds stand in one file, over eight redis-servers; the servers of a pool stand
//! there in random order. Two seeds are fixed, one is fresh in every run; what fails names its seed,
//! and `PLACEMENT_SEED=n` tries that one alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "support/placement_servers.rs"]
mod placement_servers;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use corelay::config::model::{CharSignedness, DistributionKind, HashKind, NodeAddress};
use corelay::route::hash::HASHES;
use corelay::route::{Router, Rules, derived_name, server_order};
use placement_servers::{Connection, Corelay, HOSTS, Nutcracker, RedisServer, Reply};

const SEEDS: [u64; 2] = [1, 2];
const SERVERS: usize = 8;
/// Pools of one seed for each hash with each of ketama and modula.
const VARIANTS: usize = 3;
const KEYS_PER_POOL: usize = 120;

/// A pool of the test: what nutcracker is told, and what the router is.
struct Pool {
    seed: u64,
    name: String,
    /// Where corelay listens.
    listen: PathBuf,
    /// Where nutcracker's socket has been moved to, out of corelay's way.
    old_listen: PathBuf,
    hash: HashKind,
    distribution: DistributionKind,
    hash_tag: Option<(u8, u8)>,
    /// In the file's order.
    servers: Vec<PoolServer>,
    text: String,
}

struct PoolServer {
    /// Which redis-server it is.
    redis: usize,
    /// Given or derived.
    name: String,
    weight: u32,
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            list.swap(end, self.below(end + 1));
        }
    }
}

#[test]
fn a_key_written_through_one_is_found_through_the_other() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut servers: Vec<RedisServer> =
        (0..SERVERS).map(|number| RedisServer::start(directory.path(), number)).collect();

    let mut seeded: Vec<(Random, Vec<Pool>)> = Vec::new();
    for seed in seeds() {
        let mut random = Random(seed);
        let pools = pools(seed, &mut random, directory.path(), &servers);
        seeded.push((random, pools));
    }
    let pools = || seeded.iter().flat_map(|(_, pools)| pools);
    let text: String = pools().map(|pool| pool.text.as_str()).collect();
    let file = directory.path().join("nutcracker.yml");
    std::fs::write(&file, text).expect("write nutcracker.yml");
    let last = &pools().last().expect("pools").listen;
    let _nutcracker = Nutcracker::start(directory.path(), &file, last);
    // A socket that is moved goes on being listened on: so both can serve the same file.
    for pool in pools() {
        std::fs::rename(&pool.listen, &pool.old_listen).expect("move a socket of nutcracker");
    }
    let _corelay = Corelay::start(directory.path(), &file, last);

    let (mut spread, mut count) = (0, 0);
    for (random, pools) in &mut seeded {
        for pool in pools {
            let keys = keys(random, pool.hash_tag);
            spread += usize::from(check(pool, &keys, &mut servers) > 1);
            count += 1;
        }
    }
    // Pools of one server, and crc32 with ketama, have all their keys in one place.
    assert!(spread * 10 > count * 7, "only {spread} of {count} pools spread keys");
}

fn seeds() -> Vec<u64> {
    if let Ok(text) = std::env::var("PLACEMENT_SEED") {
        return vec![text.parse().expect("PLACEMENT_SEED is a number")];
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let fresh = now.expect("a clock behind 1970").as_nanos() as u64 >> 16;
    SEEDS.into_iter().chain([fresh]).collect()
}

/// Both ways, for all keys. How many shards had keys.
fn check(pool: &Pool, keys: &BTreeSet<Vec<u8>>, servers: &mut [RedisServer]) -> usize {
    let mut nutcracker = Connection::open(&pool.old_listen).expect("connect to nutcracker");
    let mut corelay = Connection::open(&pool.listen).expect("connect to corelay");
    write(pool, &mut nutcracker, "nutcracker ", keys);
    read(pool, &mut corelay, "nutcracker ", keys);
    let holders = check_places(pool, keys, servers);
    write(pool, &mut corelay, "corelay ", keys);
    read(pool, &mut nutcracker, "corelay ", keys);
    assert_eq!(check_places(pool, keys, servers), holders);
    holders
}

fn value_of(mark: &str, key: &[u8]) -> Vec<u8> {
    [mark.as_bytes(), key].concat()
}

fn write(pool: &Pool, proxy: &mut Connection, mark: &str, keys: &BTreeSet<Vec<u8>>) {
    let values: Vec<Vec<u8>> = keys.iter().map(|key| value_of(mark, key)).collect();
    let pairs = keys.iter().zip(&values);
    let requests: Vec<Vec<&[u8]>> =
        pairs.map(|(key, value)| vec![&b"SET"[..], key, value]).collect();
    for (key, reply) in keys.iter().zip(proxy.pipeline(&requests)) {
        if reply != Reply::Status("OK".into()) {
            pool.fail(key, &format!("{mark}answers {reply:?} to SET"));
        }
    }
}

/// What was written through the one is there through the other: key by key, and all at once, which
/// the proxy has to split.
fn read(pool: &Pool, proxy: &mut Connection, mark: &str, keys: &BTreeSet<Vec<u8>>) {
    let mut requests: Vec<Vec<&[u8]>> = keys.iter().map(|key| vec![&b"GET"[..], key]).collect();
    requests.push(std::iter::once(&b"MGET"[..]).chain(keys.iter().map(Vec::as_slice)).collect());
    let mut replies = proxy.pipeline(&requests);
    let all_at_once = replies.pop();
    for (key, reply) in keys.iter().zip(&replies) {
        if *reply != Reply::Bulk(Some(value_of(mark, key))) {
            pool.fail(key, &format!("written by {mark}, the other reads {reply:?}"));
        }
    }
    if all_at_once != Some(Reply::Array(replies)) {
        pool.fail(b"", &format!("written by {mark}, the other's MGET gives {all_at_once:?}"));
    }
}

/// Each key is where the router says, and nowhere else; the servers are emptied. How many had keys.
fn check_places(pool: &Pool, keys: &BTreeSet<Vec<u8>>, servers: &mut [RedisServer]) -> usize {
    let mut sorted: Vec<&PoolServer> = pool.servers.iter().collect();
    sorted.sort_by(|a, b| server_order(&a.name, &b.name));
    let router = Router::from_rules(&Rules {
        hash: pool.hash,
        char_signedness: CharSignedness::Signed,
        hash_tag: pool.hash_tag,
        distribution: pool.distribution,
        shards: sorted.iter().map(|server| (server.name.as_str(), server.weight)).collect(),
    });
    let mut found = 0;
    let mut holders = 0;
    for server in &pool.servers {
        let held = servers[server.redis].keys();
        servers[server.redis].flush();
        found += held.len();
        holders += usize::from(!held.is_empty());
        for key in &held {
            if !keys.contains(key) {
                pool.fail(key, "nobody wrote it");
            }
            let (place, hash) = (sorted[router.shard_of(key, 0).index()], router.hash_of(key));
            if place.redis != server.redis {
                let (here, there) = (&server.name, &place.name);
                pool.fail(key, &format!("hash {hash:08x}, is on {here}, the router says {there}"));
            }
        }
    }
    if found != keys.len() {
        pool.fail(b"", &format!("{found} of {} keys are on the servers", keys.len()));
    }
    holders
}

impl Pool {
    fn fail(&self, key: &[u8], what: &str) -> ! {
        let (seed, text) = (self.seed, &self.text);
        panic!("PLACEMENT_SEED={seed}\n{text}key \"{}\": {what}", key.escape_ascii())
    }
}

fn pools(seed: u64, random: &mut Random, directory: &Path, servers: &[RedisServer]) -> Vec<Pool> {
    let mut kinds = Vec::new();
    for hash in HASHES {
        for distribution in [DistributionKind::Ketama, DistributionKind::Modula] {
            for _ in 0..VARIANTS {
                // Mostly several servers, for one makes no choice.
                let count = if random.below(20) == 0 { 1 } else { 2 + random.below(SERVERS - 1) };
                kinds.push((hash, distribution, count));
            }
        }
    }
    // Only with a single server random has a place of its own.
    kinds.push((HASHES[0], DistributionKind::Random, 1));
    let pools = kinds.into_iter().enumerate();
    pools
        .map(|(number, ((hash, hash_name), distribution, count))| {
            let tag = hash_tag(random);
            let name = format!("s{seed}p{number}");
            let mut pool = Pool {
                seed,
                listen: directory.join(format!("{name}.sock")),
                old_listen: directory.join(format!("{name}.old.sock")),
                name,
                hash,
                distribution,
                hash_tag: tag.map(|(tag, _)| tag),
                servers: Vec::new(),
                text: String::new(),
            };
            let distribution = format!("{distribution:?}").to_lowercase();
            let head = format!(
                "{}:\n  listen: {}\n  hash: {hash_name}\n  distribution: {distribution}\n  redis: true\n",
                pool.name,
                pool.listen.display()
            );
            pool.text.push_str(&head);
            if let Some((_, written)) = tag {
                writeln!(pool.text, "  hash_tag: \"{written}\"").unwrap();
            }
            pool.text.push_str("  servers:\n");
            add_servers(random, &mut pool, count, servers);
            pool
        })
        .collect()
}

/// Different redis-servers of the pool, in random order, with random weights, with names or
/// without or mixed, at their unix sockets or TCP addresses.
fn add_servers(random: &mut Random, pool: &mut Pool, count: usize, servers: &[RedisServer]) {
    let mut chosen: Vec<usize> = (0..SERVERS).collect();
    random.shuffle(&mut chosen);
    let weight_max = random.pick(&[1, 1, 3, 10, 1000]);
    let named_of_4 = random.pick(&[0, 4, 4, 2]);
    let name_len_max = random.pick(&[2, 2, 10, 255]);
    let mut names = BTreeSet::new();
    for redis in chosen.into_iter().take(count) {
        let weight = 1 + random.below(weight_max);
        let (address, place) = if random.below(2) == 0 {
            let path = servers[redis].socket.clone();
            (path.display().to_string(), NodeAddress::Unix { path })
        } else {
            let (host, port) = (random.pick(&HOSTS).to_owned(), servers[redis].port);
            (format!("{host}:{port}"), NodeAddress::Tcp { host, port })
        };
        write!(pool.text, "    - \"{address}:{weight}").unwrap();
        let name = if random.below(4) < named_of_4 {
            let name = unused_name(random, &mut names, name_len_max);
            write!(pool.text, " {name}").unwrap();
            name
        } else {
            derived_name(&place)
        };
        pool.text.push_str("\"\n");
        pool.servers.push(PoolServer { redis, name, weight: weight as u32 });
    }
}

/// Of 1 to `len_max` bytes; no blank, which would end it.
fn unused_name(random: &mut Random, names: &mut BTreeSet<String>, len_max: usize) -> String {
    const LETTERS: [char; 12] = ['a', 'b', 'B', 'Z', '0', '1', '9', '-', '_', '.', ':', 'é'];
    loop {
        let len = 1 + random.below(len_max);
        let mut name = String::new();
        while name.len() < len {
            name.push(random.pick(&LETTERS));
        }
        // The last letter may have two bytes.
        if name.len() <= len_max && names.insert(name.clone()) {
            return name;
        }
    }
}

/// The two bytes, and how they are written between quotes in YAML.
fn hash_tag(random: &mut Random) -> Option<((u8, u8), &'static str)> {
    let tags = [
        ((b'{', b'}'), "{}"),
        ((b'{', b'}'), "{}"),
        ((b'$', b'$'), "$$"),
        ((b'a', b'b'), "ab"),
        ((b'\r', b'\n'), "\\r\\n"),
    ];
    if random.below(3) == 0 { None } else { Some(random.pick(&tags)) }
}

/// Everyday keys, long ones of any bytes, and short ones full of tag bytes; the empty key too.
fn keys(random: &mut Random, hash_tag: Option<(u8, u8)>) -> BTreeSet<Vec<u8>> {
    let (open, close) = hash_tag.unwrap_or((b'{', b'}'));
    let letters = [open, open, close, close, b'a', b'z', 0, b'\r', b'\n', b' ', 0x80, 0xff];
    let mut keys: BTreeSet<Vec<u8>> = [
        vec![],
        vec![open],
        vec![close],
        vec![open, close],
        vec![close, open],
        vec![open, close, b'x'],
        vec![open, b'x', close],
        vec![open, open, b'x', close, close],
        vec![open, close, open, b'x', close],
        vec![b'x'; 300],
    ]
    .into();
    while keys.len() < KEYS_PER_POOL {
        let key = match random.below(4) {
            0 => format!("user:{}", random.below(1_000_000)).into_bytes(),
            1 => (0..1 + random.below(300)).map(|_| random.next() as u8).collect(),
            2 => (0..1 + random.below(12)).map(|_| random.next() as u8).collect(),
            _ => (0..1 + random.below(12)).map(|_| random.pick(&letters)).collect(),
        };
        keys.insert(key);
    }
    keys
}
