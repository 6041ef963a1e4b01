//! A shard that is gone, or frozen, fails its own keys and nobody else's; it is back soon after it
//! is back.
//!
//! Mechanics: three shards, keys known for each. One is killed: its keys get an error that names
//! it, at once; the others go on, also within one pipeline. It is started again: its keys are
//! served within a second and a half. The same with SIGSTOP, where only the deadline helps.

mod support;

use std::time::Duration;

use support::{Options, Stack, Stopwatch, Value, Wire, wait_until};

/// Reconnecting pauses at most 1 s (`limits::RECONNECT_MAX_MS`); the rest is for a loaded machine.
const BACK_WITHIN: Duration = Duration::from_secs(5);
const TIMEOUT_MS: u64 = 300;

struct Scene {
    stack: Stack,
    keys: Vec<Vec<String>>,
    client: Wire,
}

fn scene() -> Scene {
    let stack = Stack::start(3, &Options { timeout_ms: TIMEOUT_MS, ..Options::default() });
    let keys = stack.keys_by_shard(3);
    let client = stack.client();
    Scene { stack, keys, client }
}

impl Scene {
    /// Sets and gets keys of every shard in one pipeline; only those of `broken` may fail.
    fn check(&mut self, broken: Option<usize>) {
        for (shard, keys) in self.keys.iter().enumerate() {
            let mut requests = Vec::new();
            for key in keys {
                requests.push(vec!["SET", key, key]);
                requests.push(vec!["GET", key]);
            }
            let replies = self.client.pipeline(&requests);
            for (request, reply) in requests.iter().zip(replies) {
                if Some(shard) == broken {
                    names_the_shard(&reply, shard);
                } else if request[0] == "SET" {
                    assert_eq!(reply, Value::ok());
                } else {
                    assert_eq!(reply, Value::bulk(request[1]));
                }
            }
        }
    }

    fn wait_back(&mut self, shard: usize) {
        let key = self.keys[shard][0].clone();
        let client = &mut self.client;
        wait_until(BACK_WITHIN, "the shard's keys are served again", || {
            client.exchange(&["SET", &key, &key]) == Value::ok()
        });
        self.check(None);
    }
}

fn names_the_shard(reply: &Value, shard: usize) {
    let (text, name) = (reply.error(), Stack::shard_name(shard));
    assert!(text.contains(&name), "the error does not name {name}: {text}");
}

#[test]
fn a_killed_shard_fails_its_keys_at_once_and_comes_back() {
    let mut scene = scene();
    scene.check(None);
    scene.stack.shards[1].kill_hard();
    let asked = Stopwatch::start();
    for _ in 0..20 {
        scene.check(Some(1));
    }
    let each = asked.elapsed() / 20;
    assert!(each < Duration::from_millis(TIMEOUT_MS), "a refused connection took {each:?}");

    // A split request with one dead part is one clear error; without it, it works.
    let keys: Vec<&str> = scene.keys.iter().map(|keys| keys[0].as_str()).collect();
    let reply = scene.client.exchange(&["MGET", keys[0], keys[1], keys[2]]);
    names_the_shard(&reply, 1);
    assert_eq!(scene.client.exchange(&["MGET", keys[0], keys[2]]).texts(), [keys[0], keys[2]]);

    // And nothing of it has been done elsewhere.
    let before = scene.client.exchange(&["GET", keys[0]]);
    let reply = scene.client.exchange(&["MSET", keys[0], "new", keys[1], "new", keys[2], "new"]);
    names_the_shard(&reply, 1);
    names_the_shard(&scene.client.exchange(&["DEL", keys[2], keys[1], keys[0]]), 1);
    assert_eq!(scene.client.exchange(&["GET", keys[0]]), before);
    assert_eq!(scene.client.exchange(&["GET", keys[2]]), Value::bulk(keys[2]));

    scene.stack.shards[1].restart_same_port();
    scene.wait_back(1);
}

#[test]
fn requests_that_are_under_way_when_a_shard_dies_fail_at_once_and_are_not_repeated() {
    let mut scene = scene();
    let key = scene.keys[2][0].clone();
    scene.stack.shards[2].pause();
    scene.client.request(&["INCR", &key]);
    scene.client.expect_silence(Duration::from_millis(TIMEOUT_MS / 3));
    let killed = Stopwatch::start();
    scene.stack.shards[2].kill_hard();
    names_the_shard(&scene.client.read_reply(), 2);
    let waited = killed.elapsed();
    assert!(waited < Duration::from_millis(TIMEOUT_MS * 2), "the error took {waited:?}");

    scene.stack.shards[2].restart_same_port();
    let client = &mut scene.client;
    wait_until(BACK_WITHIN, "the shard is back", || !client.exchange(&["GET", &key]).is_error());
    assert_eq!(client.exchange(&["GET", &key]), Value::Null, "the INCR was repeated");
}

#[test]
fn a_frozen_shard_fails_its_keys_by_their_deadline() {
    let mut scene = scene();
    let mut other = scene.stack.client();
    let (frozen, lively) = (scene.keys[0][0].clone(), scene.keys[1][0].clone());
    scene.stack.shards[0].pause();
    for _ in 0..5 {
        let asked = Stopwatch::start();
        scene.client.request(&["GET", &frozen]);
        let mut worst = Duration::ZERO;
        // The other client does not even notice while the first one waits.
        while asked.elapsed() < Duration::from_millis(TIMEOUT_MS / 2) {
            let one = Stopwatch::start();
            assert!(!other.exchange(&["GET", &lively]).is_error());
            worst = worst.max(one.elapsed());
        }
        assert!(worst < Duration::from_millis(TIMEOUT_MS / 2), "another shard waited {worst:?}");
        names_the_shard(&scene.client.read_reply(), 0);
        let waited = asked.elapsed();
        assert!(waited < Duration::from_millis(TIMEOUT_MS * 3), "the deadline took {waited:?}");
    }
    scene.stack.shards[0].resume();
    scene.wait_back(0);
}

#[test]
fn the_proxy_starts_while_a_shard_is_down() {
    let mut shards: Vec<support::Redis> = (0..2).map(|_| support::Redis::start(&[])).collect();
    let names: Vec<(String, String)> = shards
        .iter()
        .enumerate()
        .map(|(index, redis)| (Stack::shard_name(index), redis.address().to_string()))
        .collect();
    shards[1].kill_hard();
    let proxy = support::Proxy::start(&names, &Options::default());
    let mut client = proxy.client();
    let replies: Vec<Value> =
        (0..64).map(|key| client.exchange(&["SET", &format!("key:{key}"), "1"])).collect();
    assert!(replies.contains(&Value::ok()), "the living shard is not served");
    let failed: Vec<&Value> = replies.iter().filter(|reply| reply.is_error()).collect();
    assert!(!failed.is_empty(), "the dead shard's keys are served");
    failed.iter().for_each(|reply| names_the_shard(reply, 1));
    shards[1].restart_same_port();
    wait_until(BACK_WITHIN, "the shard that was down is served", || {
        (0..64).all(|key| client.exchange(&["SET", &format!("key:{key}"), "1"]) == Value::ok())
    });
}
