//! A script that the proxy has seen runs everywhere, also on a shard that forgot it.
//!
//! Mechanics: scripts become known by SCRIPT LOAD and by EVAL; the shards lose them (restart, or
//! SCRIPT FLUSH behind the proxy's back); EVALSHA must still answer, once, in order, also inside a
//! pipeline. A digest that nobody has shown is `-NOSCRIPT`.

mod support;

use std::time::Duration;

use support::{Options, Stack, Value, Wire, wait_until};

const COUNT: &str = "return redis.call('INCR', KEYS[1])";

fn forget(stack: &Stack) {
    for redis in &stack.shards {
        assert_eq!(redis.ask(&["SCRIPT", "FLUSH"]), Value::ok());
    }
}

fn digest_of(wire: &mut Wire, body: &str) -> String {
    wire.exchange(&["SCRIPT", "LOAD", body]).text()
}

#[test]
fn a_loaded_script_runs_after_every_shard_was_restarted() {
    let mut stack = Stack::start(3, &Options::default());
    let keys = stack.keys_by_shard(1);
    let mut wire = stack.client();
    let digest = digest_of(&mut wire, COUNT);
    for redis in &mut stack.shards {
        redis.restart_same_port();
    }
    for keys in &keys {
        wait_until(Duration::from_secs(5), "the shard is back", || {
            !wire.exchange(&["GET", &keys[0]]).is_error()
        });
        for expected in 1..=3 {
            let reply = wire.exchange(&["EVALSHA", &digest, "1", &keys[0]]);
            assert_eq!(reply, Value::Integer(expected));
        }
    }
}

#[test]
fn a_script_seen_in_eval_is_known_by_its_digest_on_every_shard() {
    let stack = Stack::start(3, &Options::default());
    let keys = stack.keys_by_shard(1);
    let mut wire = stack.client();
    // The digest, asked of a server that is not behind the proxy.
    let digest = support::Redis::start(&[]).ask(&["SCRIPT", "LOAD", COUNT]).text();
    assert_eq!(wire.exchange(&["EVAL", COUNT, "1", &keys[0][0]]), Value::Integer(1));
    for (shard, expected) in [(0, 2), (1, 1), (2, 1)] {
        let reply = wire.exchange(&["EVALSHA", &digest, "1", &keys[shard][0]]);
        assert_eq!(reply, Value::Integer(expected), "shard {shard}");
    }
    let upper = digest.to_uppercase();
    let reply = wire.exchange(&["EVALSHA", &upper, "1", &keys[0][0]]);
    assert_eq!(reply, Value::Integer(3), "digests have no case");
}

#[test]
fn a_pipeline_keeps_its_order_around_a_script_that_was_forgotten() {
    let stack = Stack::start(3, &Options::default());
    let keys = stack.keys_by_shard(1);
    let mut wire = stack.client();
    let digest = digest_of(&mut wire, COUNT);
    for round in 1..=10 {
        forget(&stack);
        let mut requests = Vec::new();
        for keys in &keys {
            requests.push(vec!["ECHO", "before"]);
            requests.push(vec!["EVALSHA", &digest, "1", &keys[0]]);
            requests.push(vec!["ECHO", "after"]);
        }
        for (number, reply) in wire.pipeline(&requests).into_iter().enumerate() {
            let expected = match number % 3 {
                0 => Value::bulk("before"),
                1 => Value::Integer(round),
                _ => Value::bulk("after"),
            };
            assert_eq!(reply, expected, "round {round}, reply {number}");
        }
    }
}

#[test]
fn an_unknown_digest_is_noscript() {
    let stack = Stack::start(2, &Options::default());
    let mut wire = stack.client();
    let reply = wire.exchange(&["EVALSHA", &"f".repeat(40), "1", "key"]);
    assert!(reply.error().starts_with("NOSCRIPT"), "{reply:?}");
    assert_eq!(wire.exchange(&["ECHO", "next"]), Value::bulk("next"));
}
