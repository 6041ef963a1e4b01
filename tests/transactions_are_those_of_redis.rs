//! MULTI, EXEC and DISCARD answer as a redis-server does, on one shard and on three (the keys of a
//! transaction share a hash tag there), in RESP2 and RESP3, pipelined and cut at odd bytes; and a
//! store that dies in the middle of one costs one error, not half a transaction.
//!
//! Mechanics: the same bytes to a plain redis-server and to proxies in front of fresh ones, the
//! replies compared. Why it must stay: a transaction is many replies on a lane that others share;
//! one more or less would give everybody behind it what is another's.

mod support;

use support::{Options, PATIENCE, Random, Redis, Stack, Value, Wire, encode, wait_until};

/// One transaction, or what is none, in a line: requests are set apart by `;`.
const LINES: [&str; 40] = [
    "EXEC",
    "DISCARD",
    "EXEC x",
    "DISCARD x",
    "MULTI x; EXEC",
    "MULTI; EXEC; EXEC",
    "MULTI; DISCARD; EXEC",
    "MULTI; SET {t}a 1; GET {t}a; EXEC; GET {t}a",
    "MULTI; SET {t}b 1; DISCARD; GET {t}b",
    "MULTI; MULTI; SET {t}a 2; EXEC",
    "MULTI; INCR {t}n; INCR {t}n; INCR {t}n; EXEC",
    "multi; set {t}a 3; exec",
    "MULTI; EXEC x; EXEC",
    "MULTI; MULTI x; SET {t}a 4; EXEC; GET {t}a",
    "MULTI; DISCARD x; EXEC",
    "MULTI; NOSUCH {t}a; SET {t}a 5; EXEC; GET {t}a",
    "MULTI; GET; SET {t}a 6; EXEC; GET {t}a",
    "MULTI; CLIENT NOSUCH; SET {t}a 6; EXEC; GET {t}a",
    "MULTI; SAVE; EXEC",
    "MULTI; SYNC; EXEC",
    "MULTI; SET {t}a 7; RESET; EXEC; GET {t}a",
    "MULTI; SET {t}s text; INCR {t}s; SET {t}after 1; EXEC; GET {t}after",
    "MULTI; LPUSH {t}s x; EXEC; GET {t}s",
    "MULTI; MSET {t}a 1 {t}b 2; MGET {t}a {t}b {t}c; DEL {t}a {t}b {t}c; EXISTS {t}a; EXEC",
    "MULTI; HSET {t}h f 1 g 2; HGETALL {t}h; HMGET {t}h f x; EXEC",
    "MULTI; ZADD {t}z 1.5 m; ZSCORE {t}z m; ZRANGE {t}z 0 -1 WITHSCORES; EXEC",
    "MULTI; SADD {t}set a; SMEMBERS {t}set; SISMEMBER {t}set b; EXEC",
    "MULTI; RPUSH {t}l a b c; LRANGE {t}l 0 -1; LPOP {t}l; EXEC",
    "MULTI; BLPOP {t}empty 0; BRPOP {t}l 0; EXEC",
    "MULTI; XADD {t}x 1-1 f 1; XREAD BLOCK 0 STREAMS {t}x 1-1; XREAD STREAMS {t}x 0; EXEC",
    "MULTI; PING; PING text; ECHO {t}a; SET {t}a 1; EXEC",
    "MULTI; PING; EXEC",
    "MULTI; PING a b; SET {t}a 1; EXEC",
    "MULTI; EVAL return{KEYS[1],ARGV[1]} 1 {t}a x; EXEC",
    "MULTI; EVAL return(redis.call('GET',KEYS[1])) 1 {t}a; EVAL return(1) 0; EXEC",
    "MULTI; EVALSHA ffffffffffffffffffffffffffffffffffffffff 1 {t}a; SET {t}a 8; EXEC; GET {t}a",
    "EVAL return(KEYS[1]) 1 {t}a; MULTI; EVALSHA c25612b82607a58c0a27b966f5ea53f2556fcb4e 1 {t}b; EXEC",
    "MULTI; SORT {t}l; SORT_RO {t}l; EXEC",
    "MULTI; OBJECT ENCODING {t}s; TYPE {t}s; TTL {t}s; EXEC",
    "MULTI; SET {t}a 9; GET {t}missing; EXEC; SET {t}after 2; GET {t}a",
];

fn requests(line: &str) -> Vec<Vec<String>> {
    line.split("; ").map(|one| one.split(' ').map(str::to_owned).collect()).collect()
}

/// All lines on one connection, which stays open.
fn same_as(stack: &Stack, protocol: &str) {
    let plain = Redis::start(&[]);
    let (mut direct, mut through) = (plain.client(), stack.client());
    for wire in [&mut direct, &mut through] {
        wire.exchange(&["HELLO", protocol]);
    }
    for line in LINES {
        let requests = requests(line);
        let each: Vec<Value> = requests.iter().map(|request| direct.exchange(request)).collect();
        let got: Vec<Value> = requests.iter().map(|request| through.exchange(request)).collect();
        assert_eq!(got, each, "{line}");
        if line.contains("RESET") {
            direct.exchange(&["HELLO", protocol]);
            through.exchange(&["HELLO", protocol]);
        }
    }
    // The same in one write, and in many.
    let mut random = Random::new(1);
    for pieces in [1, 7, 100_000] {
        let all: Vec<Vec<Vec<String>>> = LINES.iter().map(|line| requests(line)).collect();
        let all: Vec<Vec<String>> = all.into_iter().flatten().filter(|r| r[0] != "RESET").collect();
        let bytes: Vec<u8> = all.iter().flat_map(|request| encode(request)).collect();
        let mut send = |wire: &mut Wire| {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let (now, later) = rest.split_at((1 + random.below(pieces)).min(rest.len()));
                wire.send(now);
                rest = later;
            }
            all.iter().map(|_| wire.read_reply()).collect::<Vec<Value>>()
        };
        let (expected, got) = (send(&mut direct), send(&mut through));
        for ((request, expected), got) in all.iter().zip(expected).zip(got) {
            assert_eq!(got, expected, "{request:?} in pieces of up to {pieces}");
        }
    }
}

#[test]
fn on_one_shard_in_resp2_and_resp3() {
    Stack::in_both_versions(1, &Options::default(), same_as);
}

#[test]
fn on_three_shards_in_resp2_and_resp3() {
    Stack::in_both_versions(3, &Options { cores: "2", ..Options::default() }, same_as);
}

#[test]
fn keys_of_several_shards_are_told_at_the_command_that_has_them() {
    let stack = Stack::start(3, &Options::default());
    let keys = stack.keys_by_shard(1);
    let (first, second) = (keys[0][0].as_str(), keys[1][0].as_str());
    let mut client = stack.client();
    let replies = client.pipeline(&[
        vec!["MULTI"],
        vec!["SET", first, "1"],
        vec!["SET", second, "1"],
        vec!["EXEC"],
        vec!["EXISTS", first, second],
    ]);
    assert_eq!(replies[1], Value::Simple("QUEUED".into()));
    assert!(replies[2].error().starts_with("CROSSSLOT "), "{replies:?}");
    assert!(replies[3].error().starts_with("EXECABORT "), "{replies:?}");
    assert_eq!(replies[4], Value::Integer(0));
}

/// What redis refuses while it queues is told by EXEC, and the connection goes on.
#[test]
fn an_error_that_only_the_server_knows_of_aborts() {
    let stack = Stack::start(1, &Options::default());
    let (mut client, mut other) = (stack.client(), stack.client());
    stack.shards[0].ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let replies = client.pipeline(&[vec!["MULTI"], vec!["SET", "k", "1"], vec!["EXEC"]]);
    let abort = "EXECABORT Transaction discarded because of previous errors.";
    assert_eq!(replies[2], Value::Error(abort.into()));
    stack.shards[0].ask(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(other.exchange(&["SET", "k", "2"]), Value::ok());
    let replies = client.pipeline(&[vec!["MULTI"], vec!["GET", "k"], vec!["EXEC"]]);
    assert_eq!(replies[2], Value::Array(vec![Value::bulk("2")]));
}

/// Many clients on one lane: every transaction is whole, whatever others do between.
#[test]
fn transactions_of_many_clients_are_whole() {
    let stack = Stack::start(3, &Options { cores: "2", ..Options::default() });
    std::thread::scope(|threads| {
        for number in 0..8 {
            let mut client = stack.client();
            threads.spawn(move || {
                let mut random = Random::new(number);
                for _ in 0..300 {
                    let tag = format!("{{{}}}", random.below(3));
                    let (a, b) = (format!("{tag}a"), format!("{tag}b"));
                    let replies = client.pipeline(&[
                        vec!["MULTI"],
                        vec!["INCR", &a],
                        vec!["INCR", &b],
                        vec!["EXEC"],
                        vec!["MULTI"],
                        vec!["GET", &a],
                        vec!["GET", &b],
                        vec!["EXEC"],
                        vec!["PING"],
                    ]);
                    let Value::Array(counts) = &replies[3] else { panic!("{replies:?}") };
                    assert_eq!(counts[0], counts[1], "{replies:?}");
                    let Value::Array(values) = &replies[7] else { panic!("{replies:?}") };
                    assert_eq!(values[0], values[1], "{replies:?}");
                    assert_eq!(replies[8], Value::Simple("PONG".into()));
                }
            });
        }
    });
}

/// The store freezes with a transaction on its way, and is killed: one error, and nothing of it on
/// the store that comes back.
#[test]
fn a_store_that_dies_costs_one_error() {
    let mut stack = Stack::start(1, &Options::default());
    let mut client = stack.client();
    assert_eq!(client.exchange(&["SET", "k", "1"]), Value::ok());
    stack.shards[0].pause();
    for request in [&["MULTI"][..], &["SET", "k", "2"], &["GET", "k"], &["EXEC"], &["PING"]] {
        client.request(request);
    }
    let queued = Value::Simple("QUEUED".into());
    assert_eq!([(); 3].map(|()| client.read_reply()), [Value::ok(), queued.clone(), queued]);
    // It has left the proxy: what is enqueued by a core is sent in the same turn.
    assert_eq!(stack.client().exchange(&["PING"]), Value::Simple("PONG".into()));
    stack.shards[0].restart_same_port();
    let error = client.read_reply();
    assert!(error.error().starts_with("ERR Connection "), "{error:?}");
    assert_eq!(client.read_reply(), Value::Simple("PONG".into()));
    wait_until(PATIENCE, "it serves again", || !client.exchange(&["GET", "k"]).is_error());
    let replies = client.pipeline(&[vec!["MULTI"], vec!["GET", "k"], vec!["EXEC"]]);
    assert_eq!(replies[2], Value::Array(vec![Value::Null]));
}
