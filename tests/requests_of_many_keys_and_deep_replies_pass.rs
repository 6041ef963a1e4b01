//! An MGET of 20,000 keys and replies nested 5,000 deep pass whole, or end in a clear error, and
//! nobody else notices.
//!
//! Mechanics: many keys over three shards, named twice, in one pipeline with others; nesting built
//! by Lua, passed on (EVAL) and taken in first (EVALSHA, which is repeated if the script is lost),
//! and from a false redis as one shard's part of a split request. Replies are compared as bytes: a
//! parser that went down with them would be no test of one. Why it must stay: what recurses over a
//! reply dies of the stack, and takes all clients along.

mod support;

use support::hostile::check;
use support::{FalseRedis, Options, Proxy, Stack, Value, Wire, encode, false_redis::is};

const KEYS: usize = 20_000;
const DEPTH: usize = 5_000;

#[test]
fn twenty_thousand_keys() {
    let stack = Stack::start(3, &Options { timeout_ms: 20_000, ..Options::default() });
    let (mut client, mut other) = (stack.client(), stack.client());
    let keys: Vec<String> = (0..KEYS).map(|number| format!("key:{number}")).collect();
    let pairs = keys.iter().flat_map(|key| [key.as_str(), key.as_str()]);
    let mset: Vec<&str> = std::iter::once("MSET").chain(pairs).collect();
    assert_eq!(client.exchange(&mset), Value::ok());
    let twice = keys.iter().map(String::as_str).chain(["none", &keys[7]]);
    let mget: Vec<&str> = std::iter::once("MGET").chain(twice).collect();
    let mut expected: Vec<Value> = keys.iter().map(Value::bulk).collect();
    expected.extend([Value::Null, Value::bulk(&keys[7])]);
    let expected = Value::Array(expected);
    for _ in 0..3 {
        client.request(&mget);
    }
    check(&mut other, 0);
    for number in 0..3 {
        assert!(client.read_reply() == expected, "reply {number}");
    }
    let all: Vec<&str> = std::iter::once("DEL").chain(keys.iter().map(String::as_str)).collect();
    assert_eq!(client.exchange(&all), Value::Integer(KEYS as i64));
    check(&mut other, 1);
}

/// Arrays in arrays, the number 7 in the innermost.
fn nested(depth: usize) -> Vec<u8> {
    [b"*1\r\n".repeat(depth), b":7\r\n".to_vec()].concat()
}

/// All replies to these requests, and the end.
fn all_replies(mut client: Wire, requests: &[Vec<u8>]) -> Vec<u8> {
    client.send(&requests.concat());
    client.send(&encode(&["QUIT"]));
    client.read_until_closed()
}

#[test]
fn replies_that_lua_has_nested() {
    let stack = Stack::start(2, &Options::default());
    let mut other = stack.client();
    let script =
        format!("local t = 7; for i = 1, {DEPTH} do t = {{t}} end; redis.call('PING'); return t");
    let sha = stack.client().exchange(&["SCRIPT", "LOAD", &script]).text();
    let requests = [
        encode(&["EVAL", &script, "1", "a"]),
        encode(&["EVALSHA", &sha, "1", "a"]),
        encode(&["EVALSHA", &sha, "1", "b"]),
    ];
    let plain = all_replies(stack.shards[0].client(), &requests);
    assert!(plain.starts_with(b"*1\r\n*1\r\n"), "redis itself says {}", plain.escape_ascii());
    for _ in 0..3 {
        let got = all_replies(stack.client(), &requests);
        assert!(got == plain, "{} bytes instead of {}", got.len(), plain.len());
        check(&mut other, 0);
    }
    // One shard has lost the script: it is loaded and run again.
    assert_eq!(stack.shards[0].ask(&["SCRIPT", "FLUSH"]), Value::ok());
    let got = all_replies(stack.client(), &requests);
    assert!(got == plain, "{} bytes instead of {}", got.len(), plain.len());
    check(&mut other, 1);
}

#[test]
fn replies_that_are_parts_of_a_split_one() {
    let store = || {
        FalseRedis::start(|connection| {
            while let Some(request) = connection.read_request() {
                if is(&request, "MGET") {
                    let values = nested(100_000).repeat(request.len() - 1);
                    let header = format!("*{}\r\n", request.len() - 1);
                    connection.write(&[header.as_bytes(), &values].concat());
                } else {
                    connection.answer(&request);
                }
            }
        })
    };
    let stores = [store(), store()];
    let shards: Vec<(String, String)> = (0..stores.len())
        .map(|at| (Stack::shard_name(at), stores[at].address().to_string()))
        .collect();
    let proxy = Proxy::start(&shards, &Options::default());
    let mut other = proxy.client();
    let keys: Vec<String> = (0..6).map(|number| format!("key:{number}")).collect();
    let mget: Vec<&str> = std::iter::once("MGET").chain(keys.iter().map(String::as_str)).collect();
    for _ in 0..3 {
        let got = all_replies(proxy.client(), &[encode(&mget)]);
        let expected = [b"*6\r\n".to_vec(), nested(100_000).repeat(6), b"+OK\r\n".to_vec()];
        assert!(got == expected.concat(), "{} bytes", got.len());
        assert_eq!(other.exchange(&["GET", "k"]), Value::bulk("value of k"));
    }
}
