//! Done means: a person with a nutcracker.yml stops nutcracker, starts corelay, sees the same data.
//!
//! Mechanics: real nutcracker and corelay serve one file (their listeners apart) over the same
//! redis-servers; what is written through the one is read through the other, both ways, for every
//! hash and distribution, with weights, names, hash tags and binary keys. All in one test: a
//! nutcracker.yml has no key for the other ports of corelay, so two of them can not run at once.

mod support;

use std::path::PathBuf;

use support::{Nutcracker, Port, Proxy, Random, Redis, Value, Wire};

const SHARDS: usize = 4;
const KEYS: usize = 150;

struct Pool {
    hash: &'static str,
    distribution: &'static str,
    more: &'static str,
    weights: [u32; SHARDS],
    names: bool,
}

const POOLS: [Pool; 7] = [
    Pool { hash: "fnv1a_64", distribution: "ketama", more: "", weights: [1, 1, 1, 1], names: true },
    Pool {
        hash: "md5",
        distribution: "ketama",
        more: "  hash_tag: \"{}\"\n",
        weights: [1, 2, 3, 100],
        names: true,
    },
    Pool {
        hash: "murmur",
        distribution: "modula",
        more: "  hash_tag: \"$$\"\n",
        weights: [3, 1, 2, 1],
        names: true,
    },
    Pool {
        hash: "crc16",
        distribution: "modula",
        more: "  timeout: 5000\n",
        weights: [1, 1, 1, 1],
        names: false,
    },
    Pool {
        hash: "jenkins",
        distribution: "ketama",
        more: "  preconnect: true\n  server_connections: 2\n",
        weights: [1, 1, 5, 1],
        names: false,
    },
    Pool {
        hash: "hsieh",
        distribution: "ketama",
        more: "  backlog: 1024\n",
        weights: [2, 2, 2, 2],
        names: true,
    },
    Pool {
        hash: "one_at_a_time",
        distribution: "modula",
        more: "  auto_eject_hosts: false\n",
        weights: [1, 1, 1, 2],
        names: true,
    },
];

fn yml(pool: &Pool, listen: &Port, shards: &[Redis]) -> String {
    let mut yml = format!(
        "cache:\n  listen: {}\n  redis: true\n  hash: {}\n  distribution: {}\n{}  servers:\n",
        listen.address, pool.hash, pool.distribution, pool.more
    );
    for (number, redis) in shards.iter().enumerate() {
        let name = if pool.names { format!(" store{number}") } else { String::new() };
        yml += &format!("   - {}:{}{name}\n", redis.address(), pool.weights[number]);
    }
    yml
}

/// Keys of all kinds: plain, tagged, binary, long.
fn keys(random: &mut Random) -> Vec<Vec<u8>> {
    (0..KEYS)
        .map(|number| match number % 5 {
            0 => format!("key:{}", random.next()).into_bytes(),
            1 => format!("a{{{}}}b", random.below(1_000)).into_bytes(),
            2 => format!("a${}$b", random.below(1_000)).into_bytes(),
            3 => {
                let bytes = 1 + random.below(30);
                random.bytes(bytes)
            }
            _ => format!("{number}{}", "long".repeat(random.below(40))).into_bytes(),
        })
        .collect()
}

fn write(wire: &mut Wire, keys: &[Vec<u8>], mark: &str) {
    for key in keys {
        let value = [mark.as_bytes(), key].concat();
        assert_eq!(wire.exchange(&[b"SET".as_slice(), key, &value]), Value::ok());
    }
}

fn read(wire: &mut Wire, keys: &[Vec<u8>], mark: &str) {
    for key in keys {
        let value = [mark.as_bytes(), key].concat();
        let reply = wire.exchange(&[b"GET".as_slice(), key]);
        assert_eq!(reply, Value::bulk(value), "{mark}: \"{}\"", key.escape_ascii());
    }
}

#[test]
fn both_ways_for_every_kind_of_pool() {
    let shards: Vec<Redis> = (0..SHARDS).map(|_| Redis::start(&[])).collect();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut random = Random::new(19);
    for (number, pool) in POOLS.iter().enumerate() {
        println!("{} {}", pool.hash, pool.distribution);
        let file = |name: &str, listen: &Port| -> PathBuf {
            let path = directory.path().join(format!("{name}{number}.yml"));
            std::fs::write(&path, yml(pool, listen, &shards)).expect("a written file");
            path
        };
        let (old_port, new_port) = (Port::reserve(), Port::reserve());
        let (old_file, new_file) = (file("old", &old_port), file("new", &new_port));
        let old = Nutcracker::start(&old_file, old_port);
        let new = Proxy::start_with_file(&new_file, new_port);
        let (mut old, mut corelay) = (old.client(), new.client());
        let (first, second) = (keys(&mut random), keys(&mut random));
        write(&mut old, &first, "old ");
        read(&mut corelay, &first, "old ");
        write(&mut corelay, &second, "new ");
        read(&mut old, &second, "new ");
        // The same once more through requests that are split.
        for keys in second.chunks(30) {
            let request: Vec<&[u8]> =
                std::iter::once(b"MGET".as_slice()).chain(keys.iter().map(Vec::as_slice)).collect();
            let reply = corelay.exchange(&request);
            assert_eq!(reply, old.exchange(&request));
            assert!(reply.items().iter().all(|value| !value.is_null()));
        }
        for redis in &shards {
            assert_eq!(redis.ask(&["FLUSHALL"]), Value::ok());
        }
    }
}
