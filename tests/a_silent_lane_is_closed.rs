//! A lane on which nothing comes any more, or nothing that can be trusted, is closed and replaced.
//!
//! Mechanics: a false redis whose first connection falls silent (or sends a surplus reply, a torn
//! one, or no RESP at all); later ones are honest. Every request in doubt fails, the proxy opens
//! another connection, and not one reply is somebody else's.

mod support;

use std::time::Duration;

use support::{Connection, FalseRedis, Options, Proxy, Value, false_redis::is, wait_until};

const TIMEOUT_MS: u64 = 200;

/// The first connection that gets `GET bad` does `fault`; every other one is honest.
fn server_with(fault: impl Fn(&mut Connection) + Send + Sync + 'static) -> FalseRedis {
    let done = std::sync::atomic::AtomicBool::new(false);
    FalseRedis::start(move |connection| {
        while let Some(request) = connection.read_request() {
            if is(&request, "GET")
                && request[1] == b"bad"
                && !done.swap(true, std::sync::atomic::Ordering::SeqCst)
            {
                return fault(connection);
            }
            connection.answer(&request);
        }
    })
}

/// What else is under way on the lane when the fault comes.
#[derive(Clone, Copy, PartialEq)]
enum Beside {
    /// A request of another client.
    Request,
    /// Nothing: a surplus reply is then known for what it is. With a request behind it no proxy
    /// can tell it from that request's reply.
    Nothing,
}

/// After the fault, requests are served over a new connection and only with right answers.
fn the_lane_is_replaced(server: &FalseRedis, beside: Beside) {
    let shards = [("shard1".to_owned(), server.address().to_string())];
    let proxy = Proxy::start(&shards, &Options { timeout_ms: TIMEOUT_MS, ..Options::default() });
    let (mut one, mut other) = (proxy.client(), proxy.client());
    assert_eq!(one.exchange(&["GET", "before"]), Value::bulk("value of before"));
    let connections = server.accepted();

    one.request(&["GET", "bad"]);
    if beside == Beside::Request {
        let reply = other.exchange(&["GET", "beside"]);
        assert!(reply.is_error() || reply == Value::bulk("value of beside"), "{reply:?}");
    }
    let _ = one.read_reply();

    let mut number = 0;
    wait_until(Duration::from_secs(10), "requests are served over a new connection", || {
        number += 1;
        let key = format!("key:{number}");
        let reply = one.exchange(&["GET", &key]);
        assert!(reply.is_error() || reply == Value::bulk(format!("value of {key}")), "{reply:?}");
        server.accepted() > connections && !reply.is_error()
    });
    for number in 0..20 {
        let key = format!("after:{number}");
        assert_eq!(other.exchange(&["GET", &key]), Value::bulk(format!("value of {key}")));
    }
    wait_until(Duration::from_secs(10), "the bad connection is closed", || server.open() == 1);
}

#[test]
fn after_silence() {
    the_lane_is_replaced(&server_with(Connection::wait_closed), Beside::Request);
}

#[test]
fn after_a_reply_that_nobody_asked_for() {
    let server = server_with(|connection| {
        connection.write(b"$3\r\nbad\r\n$5\r\nstray\r\n");
        connection.wait_closed();
    });
    the_lane_is_replaced(&server, Beside::Nothing);
}

#[test]
fn after_a_reply_that_is_cut() {
    let server = server_with(|connection| connection.write(b"$100\r\nonly this"));
    the_lane_is_replaced(&server, Beside::Request);
}

#[test]
fn after_bytes_that_are_no_reply() {
    for garbage in [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(),
        b"$-5\r\n",
        b"$99999999999999999999\r\n",
        b"*-7\r\n",
        b"$3\r\nbadXX",
        b"$4294967299\r\nbad\r\n",
        b"\0\0\0\0",
    ] {
        let garbage = garbage.to_vec();
        let server = server_with(move |connection| {
            connection.write(&garbage);
            connection.wait_closed();
        });
        the_lane_is_replaced(&server, Beside::Request);
    }
}

#[test]
fn after_an_error_instead_of_a_greeting() {
    // `max number of clients`: it is nobody's reply.
    let server = FalseRedis::start(|connection| {
        if connection.number == 0 {
            return connection.write(b"-ERR max number of clients reached\r\n");
        }
        while let Some(request) = connection.read_request() {
            connection.answer(&request);
        }
    });
    let shards = [("shard1".to_owned(), server.address().to_string())];
    let proxy = Proxy::start(&shards, &Options::default());
    let mut client = proxy.client();
    wait_until(Duration::from_secs(5), "the second connection serves", || {
        let reply = client.exchange(&["GET", "key"]);
        assert!(reply.is_error() || reply == Value::bulk("value of key"), "{reply:?}");
        !reply.is_error()
    });
}

#[test]
fn a_reply_five_thousand_levels_deep_does_no_harm() {
    let server = server_with(|connection| {
        let mut reply = b"*1\r\n".repeat(5_000);
        reply.extend_from_slice(b":1\r\n");
        connection.write(&reply);
        connection.wait_closed();
    });
    let shards = [("shard1".to_owned(), server.address().to_string())];
    let proxy = Proxy::start(&shards, &Options { timeout_ms: 1_000, ..Options::default() });
    let (mut client, mut other) = (proxy.client(), proxy.client());
    client.request(&["GET", "bad"]);
    // Passed on or refused: the others do not notice either way.
    wait_until(Duration::from_secs(10), "the other client is served", || {
        let reply = other.exchange(&["GET", "key"]);
        assert!(reply.is_error() || reply == Value::bulk("value of key"), "{reply:?}");
        !reply.is_error()
    });
}
