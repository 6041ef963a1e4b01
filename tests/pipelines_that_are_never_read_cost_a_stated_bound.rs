//! Clients that ask for very much and read nothing stay within their bounds, and delay nobody.
//!
//! Mechanics: pipelines of 10,000 requests of every way through the proxy (answered here, by one
//! shard, by all, refused) from clients that never read, beside one that checks. Then they go, and
//! the memory comes back. Then the same pipelines are read after all and every reply is the right
//! one. Why it must stay: what waits for a reader that never comes has to be counted somewhere.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::io::ErrorKind;
use std::time::Duration;

use support::hostile::check;
use support::{Options, Stack, Threads, Value, Wire, encode, wait_until};

const DEPTH: usize = 10_000;
const CLIENTS: usize = 20;
/// For all of them together: 1,024 unanswered requests each at most, the rest is not read.
const GROWTH_MAX_BYTES: usize = 64 * 1024 * 1024;

fn requests() -> Vec<Vec<&'static str>> {
    vec![
        vec!["PING"],
        vec!["GET", "a"],
        vec!["MGET", "a", "b", "c", "d", "none"],
        vec!["DBSIZE"],
        vec!["MULTI"],
        vec!["EVAL", "return {1, 2, 3}", "1", "a"],
        vec!["COMMAND", "COUNT"],
        vec!["INFO", "server"],
    ]
}

/// Sends until nothing more is taken, or all is sent.
fn send_without_reading(client: &mut Wire, bytes: &[u8]) {
    client.set_patience(Duration::from_millis(100));
    for part in bytes.chunks(16 * 1024) {
        match client.try_send(part) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return;
            }
            sent => sent.expect("the client is not closed for not reading"),
        }
    }
}

#[test]
fn ten_thousand_requests_deep() {
    let stack = Stack::start(2, &Options::default());
    let mut other = stack.client();
    for key in ["a", "b", "c", "d"] {
        assert_eq!(other.exchange(&["SET", key, key]), Value::ok());
    }
    check(&mut other, 0);
    let before = stack.proxy.resident_bytes();
    let requests = requests();
    let mut greedy: Vec<Wire> = (0..CLIENTS).map(|_| stack.client()).collect();
    let mut threads = Threads::default();
    for (number, client) in greedy.iter().enumerate() {
        let mut sender = client.sender();
        let pipeline = encode(&requests[number % requests.len()]).repeat(DEPTH);
        threads.run(move || send_without_reading(&mut sender, &pipeline));
    }
    let mut most = 0;
    for number in 0..200 {
        check(&mut other, number);
        most = most.max(stack.proxy.resident_bytes());
    }
    threads.join();
    check(&mut other, 1);
    let growth = most.max(stack.proxy.resident_bytes()).saturating_sub(before);
    support::note(&format!("{growth} bytes for {CLIENTS} clients"));
    assert!(growth < GROWTH_MAX_BYTES, "{growth} bytes");
    greedy.clear();
    wait_until(Duration::from_secs(20), "the memory is given back", || {
        stack.proxy.resident_bytes() < before + 24 * 1024 * 1024
    });
    check(&mut other, 2);
}

#[test]
fn and_read_after_all_give_every_reply_in_order() {
    let stack = Stack::start(2, &Options { timeout_ms: 60_000, ..Options::default() });
    let mut client = stack.client();
    client.set_patience(Duration::from_secs(30));
    let mut sender = client.sender();
    sender.set_patience(Duration::from_secs(30));
    let mut threads = Threads::default();
    threads.run(move || {
        for number in 0..DEPTH / 4 {
            let (key, text) = (format!("key:{number}"), number.to_string());
            sender.send(&encode(&["SET", &key, &text]));
            sender.send(&encode(&["ECHO", &text]));
            sender.send(&encode(&["MGET", &key, "none", &key]));
            sender.send(&encode(&["BLPOP", &key, "0"]));
        }
    });
    for number in 0..DEPTH / 4 {
        let text = number.to_string();
        assert_eq!(client.read_reply(), Value::ok());
        assert_eq!(client.read_reply(), Value::bulk(&text));
        let values = vec![Value::bulk(&text), Value::Null, Value::bulk(&text)];
        assert_eq!(client.read_reply(), Value::Array(values));
        assert!(client.read_reply().is_error());
    }
    threads.join();
}
