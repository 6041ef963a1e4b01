//! A reply that comes after its request's deadline is thrown away; nobody ever gets it.
//!
//! Mechanics: a false redis holds one reply back until the test has seen the client's time-out,
//! and then sends it in front of the replies to later requests. Every later reply must still be
//! the right one, for the client that waited and for another one on the same lane. Why it must
//! stay: this is how other proxies handed one user's data to another.

mod support;

use std::sync::mpsc;
use std::time::Duration;

use support::{FalseRedis, Options, Proxy, Stopwatch, Value, false_redis::is};

const TIMEOUT_MS: u64 = 200;

fn proxy_over(server: &FalseRedis) -> Proxy {
    let shards = [("shard1".to_owned(), server.address().to_string())];
    Proxy::start(&shards, &Options { timeout_ms: TIMEOUT_MS, ..Options::default() })
}

/// A server that keeps the reply to `GET slow` back until the test says go.
fn server_with_a_late_reply(go: mpsc::Receiver<()>) -> FalseRedis {
    let go = crossbeam::atomic::AtomicCell::new(Some(go));
    FalseRedis::start(move |connection| {
        while let Some(request) = connection.read_request() {
            if is(&request, "GET")
                && request[1] == b"slow"
                && let Some(go) = go.take()
            {
                let _ = go.recv_timeout(support::PATIENCE);
            }
            connection.answer(&request);
        }
    })
}

#[test]
fn later_requests_get_their_own_replies() {
    let (late, go) = mpsc::channel();
    let server = server_with_a_late_reply(go);
    let proxy = proxy_over(&server);
    let (mut one, mut other) = (proxy.client(), proxy.client());
    assert_eq!(one.exchange(&["GET", "first"]), Value::bulk("value of first"));

    let asked = Stopwatch::start();
    let error = one.exchange(&["GET", "slow"]);
    let waited = asked.elapsed();
    assert!(error.error().contains("shard1"), "the error does not name the shard: {error:?}");
    assert!(waited >= Duration::from_millis(TIMEOUT_MS - 20), "too early: {waited:?}");
    assert!(waited < Duration::from_millis(TIMEOUT_MS * 4), "too late: {waited:?}");

    // Both ask again before the late reply leaves the server, so it comes in front of theirs.
    one.request(&["GET", "after"]);
    other.request(&["GET", "other"]);
    late.send(()).expect("the server still waits");
    for (client, key) in [(&mut one, "after"), (&mut other, "other")] {
        match client.read_reply() {
            // On a slow machine these may run into their own deadline, or the lane was closed.
            Value::Error(_) => {}
            reply => assert_eq!(reply, Value::bulk(format!("value of {key}"))),
        }
    }
    for number in 0..50 {
        for client in [&mut one, &mut other] {
            let key = format!("key:{number}");
            let reply = client.exchange(&["GET", &key]);
            assert_eq!(reply, Value::bulk(format!("value of {key}")));
        }
    }
}

#[test]
fn a_pipeline_behind_a_late_reply_is_not_shifted() {
    let (late, go) = mpsc::channel();
    let server = server_with_a_late_reply(go);
    let proxy = proxy_over(&server);
    let mut client = proxy.client();
    let requests: Vec<Vec<String>> = std::iter::once("slow".to_owned())
        .chain((0..100).map(|number| format!("key:{number}")))
        .map(|key| vec!["GET".to_owned(), key])
        .collect();
    let replies = client.pipeline(&requests);
    assert!(replies[0].is_error(), "{:?}", replies[0]);
    for (request, reply) in requests.iter().zip(&replies).skip(1) {
        if !reply.is_error() {
            assert_eq!(*reply, Value::bulk(format!("value of {}", request[1])));
        }
    }
    late.send(()).expect("the server still waits");
    let replies = client.pipeline(&requests[1..]);
    for (request, reply) in requests[1..].iter().zip(&replies) {
        if !reply.is_error() {
            assert_eq!(*reply, Value::bulk(format!("value of {}", request[1])));
        }
    }
    assert_eq!(client.exchange(&["GET", "last"]), Value::bulk("value of last"));
}
