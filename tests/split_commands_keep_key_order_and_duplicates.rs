//! MGET, MSET, DEL, UNLINK, TOUCH and EXISTS over several shards answer as one redis would.
//!
//! Mechanics: the same requests go to a plain redis and through the proxy over three shards, in
//! RESP2 and RESP3, with duplicates, missing keys, wrong types, binary keys and thousands of keys;
//! every reply has to be equal, and so has the data in the end.

mod support;

use support::{Options, Random, Redis, Stack, Value, Wire};

struct Pair {
    plain: Wire,
    proxy: Wire,
    _stack: Stack,
    _redis: Redis,
}

fn pair(protocol: &str) -> Pair {
    let (redis, stack) = (Redis::start(&[]), Stack::start(3, &Options::default()));
    let (mut plain, mut proxy) = (redis.client(), stack.client());
    for wire in [&mut plain, &mut proxy] {
        assert!(!wire.exchange(&["HELLO", protocol]).is_error());
    }
    Pair { plain, proxy, _stack: stack, _redis: redis }
}

impl Pair {
    fn same<T: AsRef<[u8]>>(&mut self, request: &[T]) -> Value {
        let expected = self.plain.exchange(request);
        let got = self.proxy.exchange(request);
        let shown: Vec<String> =
            request.iter().take(8).map(|a| a.as_ref().escape_ascii().to_string()).collect();
        assert_eq!(got, expected, "{shown:?} …");
        got
    }
}

fn small_requests(pair: &mut Pair) {
    for key in ["a", "b", "c", "d", "e", "f", "g"] {
        pair.same(&["SET", key, &format!("value of {key}")]);
    }
    pair.same(&["LPUSH", "list", "1"]);
    pair.same(&["MGET", "a", "b", "c", "d", "e", "f", "g"]);
    pair.same(&["MGET", "g", "a", "g", "missing", "a", "a", "list", "b"]);
    pair.same(&["MGET", "a"]);
    pair.same(&["mGeT", "a", "b"]);
    pair.same(&["EXISTS", "a", "a", "b", "missing", "list", "c", "a"]);
    pair.same(&["TOUCH", "a", "a", "missing", "b", "list"]);
    pair.same(&["MSET", "a", "1", "b", "2", "a", "3", "c", "", "", "empty key", "a", "4"]);
    assert_eq!(pair.same(&["MGET", "a", "b", "c", ""]).texts(), ["4", "2", "", "empty key"]);
    pair.same(&["DEL", "a", "a", "b", "missing"]);
    pair.same(&["UNLINK", "c", "d", "c", "d", "missing", "list"]);
    pair.same(&["DBSIZE"]);
    pair.same(&["DEL", "nothing", "of", "these", "is", "there"]);
}

fn mistakes(pair: &mut Pair) {
    for request in [
        &["MGET"] as &[&str],
        &["MSET"],
        &["MSET", "a"],
        &["MSET", "a", "1", "b"],
        &["DEL"],
        &["UNLINK"],
        &["TOUCH"],
        &["EXISTS"],
    ] {
        assert!(pair.same(request).is_error());
    }
    pair.same(&["GET", "a"]);
}

fn large_requests(pair: &mut Pair) {
    let mut random = Random::new(3);
    let mut key = || {
        let bytes = 1 + random.below(40);
        random.bytes(bytes)
    };
    let keys: Vec<Vec<u8>> = (0..5_000).map(|_| key()).collect();
    let mut set = vec![b"MSET".to_vec()];
    for (number, key) in keys.iter().enumerate() {
        set.push(key.clone());
        set.push(vec![number as u8; number % 700]);
    }
    pair.same(&set);
    let with_keys = |name: &str| {
        let all = keys.iter().chain(keys.iter().step_by(7)).cloned();
        std::iter::once(name.as_bytes().to_vec()).chain(all).collect::<Vec<_>>()
    };
    for name in ["MGET", "EXISTS", "TOUCH", "DEL"] {
        pair.same(&with_keys(name));
    }
    pair.same(&["DBSIZE"]);
}

fn large_values(pair: &mut Pair) {
    let value = Random::new(5).bytes(1024 * 1024);
    let mut set = vec![b"MSET".to_vec()];
    let mut get = vec![b"MGET".to_vec()];
    for number in 0..12 {
        let key = format!("large:{number}").into_bytes();
        get.push(key.clone());
        set.push(key);
        set.push(value[number..].to_vec());
    }
    pair.same(&set);
    get.push(b"missing".to_vec());
    pair.same(&get);
}

#[test]
fn as_a_single_redis_in_resp2() {
    let mut pair = pair("2");
    small_requests(&mut pair);
    mistakes(&mut pair);
    large_requests(&mut pair);
    large_values(&mut pair);
}

#[test]
fn as_a_single_redis_in_resp3() {
    let mut pair = pair("3");
    small_requests(&mut pair);
    mistakes(&mut pair);
    large_requests(&mut pair);
}

#[test]
fn pipelined_splits_of_many_clients_stay_apart() {
    let stack = Stack::start(3, &Options::default());
    let mut threads = support::Threads::default();
    for client in 0..4 {
        let mut wire = stack.client();
        threads.run(move || {
            let keys: Vec<String> = (0..9).map(|key| format!("{client}:{key}")).collect();
            for round in 0..100 {
                let mut set = vec!["MSET".to_owned()];
                let mut get = vec!["MGET".to_owned()];
                let mut expected = Vec::new();
                for key in &keys {
                    let value = format!("{key}:{round}");
                    set.extend([key.clone(), value.clone()]);
                    get.push(key.clone());
                    expected.push(Value::bulk(value));
                }
                let replies = wire.pipeline(&[set, get.clone(), get]);
                let array = Value::Array(expected);
                assert_eq!(replies, [Value::ok(), array.clone(), array]);
            }
        });
    }
    threads.join();
}
