//! Stores are frozen, thawed, killed and started again under a load that checks every reply: what
//! comes is right, or an error that names the shard; acknowledged writes are there, and nothing has
//! been done twice.
//!
//! Mechanics: four clients pipeline over two shards that write every command to disk before they
//! answer. One shard is stopped for longer than the deadline, then killed, and so on in turns; each
//! time it is served again within the promised time. Why it must stay: late replies, half-written
//! requests and connections that are replaced are where other proxies hand out foreign replies.

mod support;

use std::time::Duration;

use support::{Load, Options, Stack, Stopwatch, Value, Wire, wait_until};

const TIMEOUT_MS: u64 = 200;
/// From a store's return to the first right reply: the longest pause before an attempt to connect
/// is 1 s, the rest is for the machine.
const BACK_WITHIN: Duration = Duration::from_millis(2_000);

fn stack() -> Stack {
    let durable = ["--appendonly", "yes", "--appendfsync", "no"];
    let options = Options { timeout_ms: TIMEOUT_MS, ..Options::default() };
    Stack::start_with(2, &durable, &options)
}

fn wait_served(client: &mut Wire, key: &str) {
    wait_until(BACK_WITHIN, "the shard is served again", || {
        client.exchange(&["SET", key, "1"]) == Value::ok()
    });
}

#[test]
fn while_one_is_frozen_and_killed_in_turns() {
    let mut stack = stack();
    let keys = stack.keys_by_shard(1);
    let mut client = stack.client();
    let load = Load::start(4, stack.proxy.connector());
    load.wait_for(500);
    for round in 0..6 {
        let (shard, key) = (round % 2, keys[round % 2][0].clone());
        if round < 4 {
            let frozen = Stopwatch::start();
            stack.shards[shard].pause();
            // Longer than the deadline: replies to what was sent will come late.
            while frozen.elapsed() < Duration::from_millis(2 * TIMEOUT_MS) {
                let _ = client.exchange(&["GET", &key]);
            }
            stack.shards[shard].resume();
        } else {
            stack.shards[shard].restart_same_port();
        }
        wait_served(&mut client, &key);
        load.wait_for(200);
    }
    let tally = load.stop();
    support::note(&format!("{tally:?}"));
    assert_eq!(tally.cuts, 0, "clients were cut off");
    assert!(!tally.errors.is_empty(), "nothing has failed: what was tested?");
    for text in tally.errors.keys() {
        // What a store says that reads its data in passes unchanged.
        let of_store = text.starts_with("LOADING ");
        assert!(of_store || text.contains("shard shard"), "an error that names no shard: {text}");
    }
}

#[test]
fn errors_come_within_the_deadline_and_others_go_on() {
    let stack = stack();
    let keys = stack.keys_by_shard(1);
    let (mut waiting, mut other) = (stack.client(), stack.client());
    stack.shards[0].pause();
    for _ in 0..4 {
        let asked = Stopwatch::start();
        waiting.request(&["INCR", &keys[0][0]]);
        assert_eq!(other.exchange(&["SET", &keys[1][0], "1"]), Value::ok());
        let text = waiting.read_reply().error().to_owned();
        let took = asked.elapsed();
        assert!(text.contains("shard1"), "{text}");
        // The promise is 100 ms; a busy machine may take its time.
        assert!(took < Duration::from_millis(TIMEOUT_MS + 300), "an error after {took:?}");
    }
    stack.shards[0].resume();
}
