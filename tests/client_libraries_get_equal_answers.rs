//! Real client libraries do their everyday round through the proxy and on a plain redis, and get
//! equal answers: redis-py (RESP2, RESP3), ioredis, node-redis (RESP2, RESP3), redis-rs; and those
//! that know clusters only, redis-py's RedisCluster and ioredis' Cluster, as from a Redis Cluster.
//!
//! Mechanics: the scripts in `tests/clients/` run every step on both and compare; the libraries
//! are put there by `make clients` (pinned). Why it must stay: each library has its own hand-shake
//! and its own idea of what a reply may look like.

mod support;

use redis::{Commands, RedisResult};
use support::{Options, PATIENCE, Redis, Stack, Value, run_client, wait_until};

/// Runs one of the scripts against a plain redis and the proxy over three shards.
fn round(script: &str, args: &[&str]) {
    round_of(&Redis::start(&[]), &Stack::start(3, &Options::default()), script, args);
}

fn round_of(plain: &Redis, stack: &Stack, script: &str, args: &[&str]) {
    let (plain, proxy) = (plain.address().to_string(), stack.proxy.address().to_string());
    run_client(script, &[&["--plain", &plain, "--proxy", &proxy], args].concat());
}

#[test]
fn redis_py_in_resp2() {
    round("everyday.py", &["--protocol", "2"]);
}

#[test]
fn redis_py_in_resp3() {
    round("everyday.py", &["--protocol", "3"]);
}

/// CLIENT TRACKING as a library uses it: redis-py's cache.
#[test]
fn redis_py_keeps_no_old_value() {
    let stack = Stack::start(3, &Options { cores: "2", ..Options::default() });
    run_client("caching.py", &[&stack.proxy.address().to_string()]);
}

#[test]
fn ioredis() {
    round("everyday.mjs", &["--library", "ioredis"]);
}

#[test]
fn node_redis_in_resp2() {
    round("everyday.mjs", &["--library", "redis2"]);
}

#[test]
fn node_redis_in_resp3() {
    round("everyday.mjs", &["--library", "redis3"]);
}

/// The proxy over three shards looks like a Redis Cluster of one node to them; equal to a real one.
fn round_of_a_cluster(script: &str, args: &[&str]) {
    let plain = Redis::start(&["--cluster-enabled", "yes"]);
    assert_eq!(plain.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), Value::ok());
    // It learns its address by being met.
    let port = plain.port().to_string();
    assert_eq!(plain.ask(&["CLUSTER", "MEET", "127.0.0.1", &port]), Value::ok());
    wait_until(PATIENCE, "the cluster is ready", || {
        plain.ask(&["CLUSTER", "INFO"]).text().contains("cluster_state:ok")
            && plain.ask(&["CLUSTER", "NODES"]).text().contains("127.0.0.1")
    });
    let pool = "dangerous_commands = \"allow\"\nfacade = \"cluster\"\n".to_owned();
    round_of(&plain, &Stack::start(3, &Options { pool, ..Options::default() }), script, args);
}

#[test]
fn redis_pys_cluster_in_resp2() {
    let args = ["--cluster", "--protocol", "2"];
    round_of_a_cluster("everyday.py", &args);
}

#[test]
fn redis_pys_cluster_in_resp3() {
    let args = ["--cluster", "--protocol", "3"];
    round_of_a_cluster("everyday.py", &args);
}

#[test]
fn ioredis_cluster() {
    let args = ["--library", "cluster"];
    round_of_a_cluster("everyday.mjs", &args);
}

/// Every command of the list on both; equal values, or equal errors.
fn same(plain: &mut redis::Connection, proxy: &mut redis::Connection, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let mut command = redis::cmd(words[0]);
    words[1..].iter().for_each(|word| {
        command.arg(word);
    });
    let expected: RedisResult<redis::Value> = command.query(plain);
    let got: RedisResult<redis::Value> = command.query(proxy);
    assert_eq!(got, expected, "{line}");
}

const EVERYDAY: [&str; 60] = [
    "SET s value",
    "GET s",
    "GET missing",
    "APPEND s tail",
    "STRLEN s",
    "GETRANGE s 1 3",
    "INCR n",
    "INCRBY n 41",
    "INCRBYFLOAT f 1.25",
    "MSET a 1 b 2 c 3",
    "MGET a b c missing",
    "SETEX e 100 v",
    "PERSIST e",
    "TTL e",
    "SETBIT bits 7 1",
    "BITCOUNT bits",
    "EXISTS a b a x",
    "TYPE s",
    "TOUCH a b x",
    "DEL a x",
    "UNLINK b c",
    "HSET h f 1 g 2",
    "HGET h f",
    "HMGET h f x",
    "HINCRBY h n 5",
    "HLEN h",
    "RPUSH l a b c",
    "LPUSH l z",
    "LRANGE l 0 -1",
    "LPOP l 2",
    "SADD set a",
    "SMEMBERS set",
    "SISMEMBER set a",
    "SADD {s}1 1 2",
    "SADD {s}2 2",
    "SINTER {s}1 {s}2",
    "ZADD z 1 a 2.5 b",
    "ZSCORE z b",
    "ZRANGE z 0 -1 WITHSCORES",
    "ZRANK z a",
    "ZPOPMIN z",
    "XADD x 1-1 f 1",
    "XADD x 1-0 f 1",
    "XRANGE x - +",
    "XREAD STREAMS x 0",
    "GEOADD geo 13.361389 38.115556 Palermo",
    "GEOPOS geo Palermo x",
    "GEOHASH geo Palermo",
    "PFADD pf a b",
    "PFCOUNT pf",
    "EVAL return(KEYS[1]) 1 key",
    "EVAL return{1,{2},false} 0",
    "GET h",
    "GET",
    "INCR s",
    "EXPIRE s x",
    "ECHO text",
    "PING",
    "SCRIPT LOAD return(1)",
    "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 key",
];

fn redis_rs(protocol: &str) -> RedisResult<()> {
    let (plain, stack) = (Redis::start(&[]), Stack::start(3, &Options::default()));
    let open = |address: std::net::SocketAddr| {
        redis::Client::open(format!("redis://{address}/3?protocol={protocol}"))?.get_connection()
    };
    let (mut plain, mut proxy) = (open(plain.address())?, open(stack.proxy.address())?);
    for line in EVERYDAY {
        same(&mut plain, &mut proxy, line);
    }
    let (mut fill, mut read) = (redis::pipe(), redis::pipe());
    for number in 0..500 {
        fill.set(format!("p:{number}"), number).ignore();
        read.get(format!("p:{number}"));
    }
    for connection in [&mut plain, &mut proxy] {
        let binary: Vec<u8> = (0..=255).collect();
        connection.set::<_, _, ()>(&binary, &binary)?;
        assert_eq!(connection.get::<_, Vec<u8>>(&binary)?, binary);
        fill.query::<()>(connection)?;
        assert_eq!(read.query::<Vec<u32>>(connection)?, (0..500).collect::<Vec<u32>>());
        let mut found: Vec<String> =
            connection.scan_match("p:*")?.collect::<RedisResult<Vec<String>>>()?;
        found.sort();
        found.dedup();
        assert_eq!(found.len(), 500);
        let script = redis::Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
        for number in 0..20 {
            let counted: i64 = script.key(format!("c:{number}")).arg(number).invoke(connection)?;
            assert_eq!(counted, number);
        }
        let wrong = connection.lpush::<_, _, i64>("s", "x").err();
        assert_eq!(wrong.as_ref().and_then(|error| error.code()), Some("WRONGTYPE"));
    }
    Ok(())
}

#[test]
fn redis_rs_in_resp2() {
    assert_eq!(redis_rs("resp2"), Ok(()));
}

#[test]
fn redis_rs_in_resp3() {
    assert_eq!(redis_rs("resp3"), Ok(()));
}
