//! CONFIG GET tells what all shards are set to, what the proxy decides itself, and no secret; it says
//! so where the shards differ.
//!
//! Mechanics: CONFIG SET through the proxy and behind it, then CONFIG GET through it; the same with
//! shards that are gone.

mod support;

use std::collections::BTreeMap;

use support::{Options, Stack, Value, Wire};

fn get(wire: &mut Wire, patterns: &[&str]) -> BTreeMap<String, String> {
    let request: Vec<&str> =
        ["CONFIG", "GET"].into_iter().chain(patterns.iter().copied()).collect();
    let reply = wire.exchange(&request);
    assert!(!reply.is_error(), "{request:?}: {reply:?}");
    let texts = match reply {
        Value::Map(pairs) => pairs.iter().flat_map(|(a, b)| [a.text(), b.text()]).collect(),
        reply => reply.texts(),
    };
    texts.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

#[test]
fn what_is_set_through_the_proxy_is_read_through_it() {
    let stack = Stack::start(3, &Options::default());
    let mut wire = stack.client();
    assert_eq!(get(&mut wire, &["maxmemory-policy"])["maxmemory-policy"], "noeviction");
    let request = ["CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", "64mb"];
    assert_eq!(wire.exchange(&request), Value::ok());
    let found = get(&mut wire, &["MaxMemory", "maxmemory-pol*", "save", "nothing"]);
    let expected = [("MaxMemory", "67108864"), ("maxmemory-policy", "allkeys-lru"), ("save", "")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(found, BTreeMap::from(expected));
    assert!(get(&mut wire, &["nothing"]).is_empty());
    wire.exchange(&["HELLO", "3"]);
    let Value::Map(pairs) = wire.exchange(&["CONFIG", "GET", "appendonly"]) else {
        panic!("RESP3 has a map for it");
    };
    assert_eq!(pairs, [(Value::bulk("appendonly"), Value::bulk("no"))]);
}

#[test]
fn shards_that_differ_are_told_by_name_and_left_out_of_patterns() {
    let stack = Stack::start(3, &Options::default());
    let mut wire = stack.client();
    assert_eq!(stack.shards[1].ask(&["CONFIG", "SET", "hz", "77"]), Value::ok());
    let error = wire.exchange(&["CONFIG", "GET", "HZ"]);
    assert!(error.error().contains("differ in 'HZ'"), "{error:?}");
    let error = wire.exchange(&["CONFIG", "GET", "hz"]);
    assert_eq!(error.error(), "ERR the shards differ in 'hz': '10' on shard1, '77' on shard2");
    let found = get(&mut wire, &["h*"]);
    assert!(!found.contains_key("hz") && found.contains_key("hll-sparse-max-bytes"), "{found:?}");
    let all = get(&mut wire, &["*"]);
    assert!(all.len() > 100 && !all.contains_key("dir"), "{} parameters", all.len());
}

#[test]
fn secrets_of_the_shards_stay_behind_the_proxy() {
    let stack = Stack::start(2, &Options::default());
    for shard in &stack.shards {
        assert_eq!(shard.ask(&["CONFIG", "SET", "masterauth", "hush"]), Value::ok());
    }
    let mut wire = stack.client();
    assert!(get(&mut wire, &["masterauth", "MasterAuth", "REQUIREPASS"]).is_empty());
    let all = get(&mut wire, &["*"]);
    assert!(!all.values().any(|value| value.contains("hush")), "{all:?}");
    assert!(all.keys().all(|name| !name.contains("pass") && !name.contains("auth")), "{all:?}");
}

#[test]
fn the_proxys_own_need_no_shard_and_the_others_one_that_lives() {
    let mut stack = Stack::start(2, &Options::default());
    let port = stack.proxy.address().port().to_string();
    let mut wire = stack.client();
    let own = |wire: &mut Wire| {
        let found = get(wire, &["port", "databases", "timeout", "bind"]);
        assert_eq!(found["port"], port, "the redis-servers have other ones");
        assert_eq!((found["databases"].as_str(), found["bind"].as_str()), ("16", "127.0.0.1"));
        assert_eq!(found["timeout"], "0");
    };
    own(&mut wire);
    assert_eq!(get(&mut wire, &["*"])["port"], port);
    stack.shards[0].kill_hard();
    own(&mut wire);
    let found = get(&mut wire, &["appendonly", "PORT"]);
    assert_eq!((found["appendonly"].as_str(), &found["port"]), ("no", &port));
    stack.shards[1].kill_hard();
    own(&mut wire);
    let error = wire.exchange(&["CONFIG", "GET", "save"]);
    assert!(error.error().contains("shard1"), "{error:?}");
}

#[test]
fn what_is_the_proxys_own_can_not_be_set_on_the_shards() {
    let stack = Stack::start(2, &Options::default());
    let mut client = stack.client();
    let set =
        |client: &mut Wire, words: &[&str]| client.exchange(&[&["CONFIG", "SET"], words].concat());
    for words in [&["timeout", "70"][..], &["hz", "77", "TIMEOUT", "70"], &["requirepass", "x"]] {
        assert!(set(&mut client, words).is_error(), "{words:?}");
    }
    for redis in &stack.shards {
        for (name, value) in [("timeout", "0"), ("hz", "10"), ("requirepass", "")] {
            assert_eq!(redis.ask(&["CONFIG", "GET", name]).texts(), [name, value]);
        }
    }
    assert_eq!(set(&mut client, &["hz", "77"]), Value::ok());
    assert!(
        stack.shards.iter().all(|redis| redis.ask(&["CONFIG", "GET", "hz"]).texts()[1] == "77")
    );
}
