//! A command whose keys are on several shards, and which can not be split, is refused with
//! `-CROSSSLOT` and does nothing; on one shard the same command works as on a plain redis.
//!
//! Why it must stay: twemproxy sends such a command to the first key's shard, where it sees half
//! of the data.

mod support;

use support::{Options, Redis, Stack, Value, Wire};

/// Requests with the keys `K1`, `K2` (and `K3`), which the test puts in.
const REQUESTS: [&str; 39] = [
    "RENAME K1 K2",
    "RENAMENX K1 K2",
    "COPY K1 K2",
    "MSETNX K1 1 K2 2",
    "SUNION K1 K2",
    "SINTER K1 K2",
    "SDIFF K1 K2",
    "SINTERCARD 2 K1 K2",
    "SUNIONSTORE K1 K2 K3",
    "SINTERSTORE K1 K2 K3",
    "SDIFFSTORE K1 K2 K3",
    "SMOVE K1 K2 member",
    "ZUNION 2 K1 K2",
    "ZINTER 2 K1 K2",
    "ZDIFF 2 K1 K2",
    "ZINTERCARD 2 K1 K2",
    "ZUNIONSTORE K1 2 K2 K3",
    "ZINTERSTORE K1 2 K2 K3",
    "ZDIFFSTORE K1 2 K2 K3",
    "ZRANGESTORE K1 K2 0 -1",
    "ZMPOP 2 K1 K2 MIN",
    "LMPOP 2 K1 K2 LEFT",
    "LMOVE K1 K2 LEFT RIGHT",
    "RPOPLPUSH K1 K2",
    "LCS K1 K2",
    "PFCOUNT K1 K2",
    "PFMERGE K1 K2 K3",
    "BITOP AND K1 K2 K3",
    "SORT K1 STORE K2",
    "SORT K1 BY w*_K2 GET # GET K2*",
    "SORT_RO K1 GET K2*",
    "GEOSEARCHSTORE K1 K2 FROMLONLAT 15 37 BYRADIUS 200 km",
    "GEORADIUS K1 15 37 200 km STORE K2",
    "XREAD COUNT 1 STREAMS K1 K2 0 0",
    "XREADGROUP GROUP g c STREAMS K1 K2 > >",
    "EVAL return(1) 2 K1 K2",
    "EVAL_RO return(1) 2 K1 K2",
    "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 2 K1 K2",
    "FCALL nosuchfunction 2 K1 K2",
];

fn fill(request: &str, keys: [&str; 3]) -> Vec<String> {
    let word =
        |word: &str| word.replace("K1", keys[0]).replace("K2", keys[1]).replace("K3", keys[2]);
    request.split(' ').map(word).collect()
}

fn is_crossslot(reply: &Value) -> bool {
    matches!(reply, Value::Error(text)
        if text == "CROSSSLOT Keys in request don't hash to the same shard")
}

fn expect_crossslot(client: &mut Wire, request: &[String]) {
    let reply = client.exchange(request);
    assert!(is_crossslot(&reply), "{request:?}: {reply:?}");
    assert_eq!(client.exchange(&["ECHO", "next"]), Value::bulk("next"));
}

#[test]
fn over_shards_they_are_refused_and_do_nothing() {
    let stack = Stack::start(3, &Options::default());
    let keys = stack.keys_by_shard(3);
    let mut client = stack.client();
    for request in REQUESTS {
        expect_crossslot(&mut client, &fill(request, [&keys[0][0], &keys[1][0], &keys[2][0]]));
        if request.contains("K3") {
            // Only the last key is elsewhere.
            expect_crossslot(&mut client, &fill(request, [&keys[0][0], &keys[0][1], &keys[1][0]]));
        }
    }
    assert_eq!(stack.keys_behind(), 0, "a refused command wrote something");
}

#[test]
fn on_one_shard_they_answer_as_a_plain_redis() {
    let (redis, stack) = (Redis::start(&[]), Stack::start(3, &Options::default()));
    let (mut plain, mut client) = (redis.client(), stack.client());
    for (number, request) in REQUESTS.iter().enumerate() {
        let keys = [format!("a{{{number}}}"), format!("{{{number}}}b"), format!("c{{{number}}}")];
        let request = fill(request, [&keys[0], &keys[1], &keys[2]]);
        let (expected, got) = (plain.exchange(&request), client.exchange(&request));
        assert!(!is_crossslot(&got), "{request:?} is refused although its keys have one tag");
        assert_eq!(got, expected, "{request:?}");
    }
}
