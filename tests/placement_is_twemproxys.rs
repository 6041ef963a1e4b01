//! A key written through the real nutcracker lies on the shard that the router names, and a key
//! written there is found through nutcracker: for every hash and distribution over random pools,
//! without an exception.
//!
//! One nutcracker serves all pools over eight redis-servers. The servers of a pool stand in its
//! file in random order. `PLACEMENT_SEED=n` tries other pools.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "support/placement_servers.rs"]
mod placement_servers;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use corelay::config::model::{CharSignedness, DistributionKind, HashKind, NodeAddress};
use corelay::route::hash::HASHES;
use corelay::route::{Router, Rules, derived_name, server_order};
use placement_servers::{Connection, HOSTS, Nutcracker, RedisServer, Reply};

const SEED: u64 = 1;
const SERVERS: usize = 8;
/// Pools for each hash with each of ketama and modula.
const VARIANTS: usize = 4;
const KEYS_PER_POOL: usize = 120;

/// A pool of the test: what nutcracker is told, and what the router is.
struct Pool {
    name: String,
    listen: PathBuf,
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
    let seed = match std::env::var("PLACEMENT_SEED") {
        Ok(text) => text.parse().expect("PLACEMENT_SEED is a number"),
        Err(_) => SEED,
    };
    let mut random = Random(seed);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut servers: Vec<RedisServer> =
        (0..SERVERS).map(|number| RedisServer::start(directory.path(), number)).collect();

    let pools = pools(&mut random, directory.path(), &servers);
    let text: String = pools.iter().map(|pool| pool.text.as_str()).collect();
    let last = &pools.last().expect("pools").listen;
    let _nutcracker = Nutcracker::start(directory.path(), &text, last);

    let mut spread = 0;
    for pool in &pools {
        let keys = keys(&mut random, pool.hash_tag);
        spread += usize::from(check(seed, pool, &keys, &mut servers) > 1);
    }
    // Pools of one server, and crc32 with ketama, have all their keys in one place.
    assert!(spread * 10 > pools.len() * 7, "only {spread} of {} pools spread keys", pools.len());
}

/// Both ways, for all keys. How many shards had keys.
fn check(seed: u64, pool: &Pool, keys: &BTreeSet<Vec<u8>>, servers: &mut [RedisServer]) -> usize {
    let mut sorted: Vec<&PoolServer> = pool.servers.iter().collect();
    sorted.sort_by(|a, b| server_order(&a.name, &b.name));
    let router = Router::from_rules(&Rules {
        hash: pool.hash,
        char_signedness: CharSignedness::Signed,
        hash_tag: pool.hash_tag,
        distribution: pool.distribution,
        shards: sorted.iter().map(|server| (server.name.as_str(), server.weight)).collect(),
    });
    let shard_of = |key: &[u8]| sorted[router.shard_of(key, 0).index()];
    let failure = |key: &[u8], what: String| -> ! {
        let (name, hash) = (&shard_of(key).name, router.hash_of(key));
        let key = key.escape_ascii();
        panic!("seed {seed}\n{}key \"{key}\" of hash {hash:08x}: {what}, not {name}", pool.text)
    };
    let mut proxy = Connection::open(&pool.listen).expect("connect to nutcracker");

    // Written through nutcracker: each key is where the router says, and nowhere else.
    let requests: Vec<Vec<&[u8]>> = keys.iter().map(|key| vec![&b"SET"[..], key, b"1"]).collect();
    for (key, reply) in keys.iter().zip(proxy.pipeline(&requests)) {
        assert_eq!(reply, Reply::Status("OK".into()), "{}: {}", pool.name, key.escape_ascii());
    }
    let mut found = 0;
    let mut holders = 0;
    for server in &pool.servers {
        let held = servers[server.redis].keys();
        servers[server.redis].flush();
        found += held.len();
        holders += usize::from(!held.is_empty());
        for key in &held {
            assert!(keys.contains(key), "{}: foreign key {}", pool.name, key.escape_ascii());
            if shard_of(key).redis != server.redis {
                failure(key, format!("nutcracker wrote it to {}", server.name));
            }
        }
    }
    assert_eq!(found, keys.len(), "seed {seed}\n{}keys are missing", pool.text);

    // Written where the router says: nutcracker finds each.
    for server in &pool.servers {
        let own = keys.iter().filter(|key| shard_of(key).redis == server.redis);
        let requests: Vec<Vec<&[u8]>> = own.map(|key| vec![&b"SET"[..], key, key]).collect();
        for reply in servers[server.redis].connection.pipeline(&requests) {
            assert_eq!(reply, Reply::Status("OK".into()));
        }
    }
    let requests: Vec<Vec<&[u8]>> = keys.iter().map(|key| vec![&b"GET"[..], key]).collect();
    for (key, reply) in keys.iter().zip(proxy.pipeline(&requests)) {
        if reply != Reply::Bulk(Some(key.clone())) {
            failure(key, format!("nutcracker reads {reply:?} elsewhere"));
        }
    }
    pool.servers.iter().for_each(|server| servers[server.redis].flush());
    holders
}

fn pools(random: &mut Random, directory: &Path, servers: &[RedisServer]) -> Vec<Pool> {
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
            let mut pool = Pool {
                name: format!("p{number}"),
                listen: directory.join(format!("p{number}.sock")),
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
