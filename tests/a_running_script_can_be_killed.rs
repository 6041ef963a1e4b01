//! SCRIPT KILL and FUNCTION KILL get past the lane that the running script holds up.
//!
//! Mechanics: one core, one lane for each redis-server. A client's script never ends; as soon as its
//! server says BUSY, another client of the same lanes kills it.

mod support;

use support::{Options, PATIENCE, Stack, Value, wait_until};

const LIBRARY: &str = "#!lua name=mine\n\
    redis.register_function('forever', function() while true do end end)";

fn kill(runs: &[&str], kill: &[&str], protocol: &str) {
    let options = Options { timeout_ms: 60_000, ..Options::default() };
    let stack = Stack::start_with(2, &["--busy-reply-threshold", "50"], &options);
    let key = &stack.keys_by_shard(1)[1][0];
    let mut runner = stack.client();
    let mut killer = stack.client();
    for wire in [&mut runner, &mut killer] {
        wire.exchange(&["HELLO", protocol]);
    }
    assert!(!runner.exchange(&["FUNCTION", "LOAD", LIBRARY]).is_error());
    assert!(killer.exchange(kill).error().starts_with("NOTBUSY"), "nothing runs yet");
    let request: Vec<&str> =
        runs.iter().map(|&word| if word == "KEY" { key.as_str() } else { word }).collect();
    runner.request(&request);
    wait_until(PATIENCE, "the shard is busy", || {
        let reply = stack.shards[1].ask(&["PING"]);
        reply.is_error() && reply.error().starts_with("BUSY")
    });
    assert_eq!(killer.exchange(kill), Value::ok());
    let error = runner.read_reply();
    assert!(error.error().contains("killed by user"), "{error:?}");
    assert!(!runner.exchange(&["GET", key]).is_error());
}

#[test]
fn a_script() {
    kill(&["EVAL", "while true do end", "1", "KEY"], &["SCRIPT", "KILL"], "2");
    kill(&["EVAL", "while true do end", "1", "KEY"], &["SCRIPT", "KILL"], "3");
}

#[test]
fn a_function() {
    kill(&["FCALL", "forever", "1", "KEY"], &["FUNCTION", "KILL"], "3");
}
