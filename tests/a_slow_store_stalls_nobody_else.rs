//! A store that answers nothing, or byte by byte, fails or delays its own requests only.
//!
//! Mechanics: a false store that goes on accepting and reading, and says nothing from a moment on
//! (what it was asked times out with an error that names it, and later clients get it at once or in
//! time); or that gives every reply in single bytes. Clients of other shards check that they wait for
//! none of it. (A late reply: `a_late_reply_is_dropped_not_delivered.rs`.)

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::false_redis::reply_to;
use support::{Options, Stage, Stopwatch, Value, note};

const TIMEOUT_MS: u64 = 300;

fn options() -> Options {
    Options { timeout_ms: TIMEOUT_MS, ..Options::default() }
}

#[test]
fn silence_is_an_error_in_time_that_names_the_shard() {
    let silent = Arc::new(AtomicBool::new(false));
    let is_silent = Arc::clone(&silent);
    let stage = Stage::start(&options(), move |connection| {
        while let Some(request) = connection.read_request() {
            if !is_silent.load(Ordering::SeqCst) {
                connection.answer(&request);
            }
        }
    });
    let (bad, good) = stage.watch(3);
    bad.wait_for(200);
    silent.store(true, Ordering::SeqCst);
    let mut client = stage.proxy.client();
    let mut waits = Vec::new();
    // Long enough for the lane to be closed as silent, and connected in vain.
    for _ in 0..12 {
        let asked = Stopwatch::start();
        let reply = client.exchange(&["GET", &stage.bad_keys[0]]);
        waits.push(asked.elapsed());
        assert!(reply.error().contains("shard shard1 at"), "{reply:?}");
    }
    let longest = *waits.iter().max().expect("some");
    note(&format!("with timeout_ms = {TIMEOUT_MS} the errors came after {waits:?}"));
    assert!(longest < Duration::from_millis(TIMEOUT_MS + 700), "{longest:?}");
    good.wait_for(200);
    silent.store(false, Ordering::SeqCst);
    stage.serves_again(Duration::from_secs(5));
    bad.wait_for(100);
    good.end_unharmed(Duration::from_secs(1));
    let tally = bad.end();
    assert_eq!(tally.foreign(), 0, "{}", tally.said());
    assert!(tally.errors() > 0);
}

#[test]
fn replies_in_single_bytes_are_whole() {
    let options = Options { timeout_ms: 10_000, ..Options::default() };
    let stage = Stage::start(&options, |connection| {
        while let Some(request) = connection.read_request() {
            if connection.answer_prelude(&request) {
                continue;
            }
            for byte in reply_to(&request) {
                connection.write(&[byte]);
                std::thread::yield_now();
            }
        }
    });
    let (bad, good) = stage.watch(2);
    bad.wait_for(300);
    good.end_unharmed(Duration::from_secs(1));
    let tally = bad.end();
    assert_eq!((tally.foreign(), tally.errors()), (0, 0), "{}", tally.said());
    let key = &stage.bad_keys[0];
    assert_eq!(
        stage.proxy.client().exchange(&["GET", key]),
        Value::bulk(format!("value of {key}"))
    );
}
