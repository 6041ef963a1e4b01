//! A reply that is no RESP, or more than can be true, ends its lane and nothing else.
//!
//! Mechanics: in the middle of a checking load a false store sends it once, then falls silent or
//! goes on for ever. Its clients get errors that name the shard, and no foreign reply; clients of
//! other shards notice nothing; the proxy's memory stays where it was, and the store serves again
//! over a new connection.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::{Connection, Options, Stage};

const TIMEOUT_MS: u64 = 500;
const GROWTH_BYTES_MAX: usize = 48 << 20;

/// `fault` takes the place of the 30th reply of one connection.
fn strikes(fault: impl Fn(&mut Connection) + Send + Sync + 'static) {
    let done = AtomicBool::new(false);
    let options = Options { timeout_ms: TIMEOUT_MS, ..Options::default() };
    let mut stage = Stage::start(&options, move |connection| {
        let mut count = 0;
        while let Some(request) = connection.read_request() {
            count += 1;
            if count > 30 && !done.swap(true, Ordering::SeqCst) {
                fault(connection);
                return connection.wait_closed();
            }
            connection.answer(&request);
        }
    });
    let connections = stage.bad.accepted();
    let before = stage.proxy.resident_bytes();
    let (bad, good) = stage.watch(3);
    support::wait_until(Duration::from_secs(20), "the lane is replaced", || {
        stage.bad.accepted() > connections
    });
    bad.wait_for(100);
    let grown = stage.proxy.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "the proxy has grown by {grown} bytes");
    assert!(stage.proxy.process().ended().is_none(), "the proxy has ended");
    // They wait in line for the core behind whoever works there, and for nothing else.
    good.end_unharmed(Duration::from_secs(1));
    let tally = bad.end();
    assert_eq!(tally.foreign(), 0, "{}", tally.said());
    assert!(tally.errors() == 0 || tally.said().contains("shard shard1 at"), "{}", tally.said());
    stage.serves_again(Duration::from_secs(5));
}

fn bytes(bytes: &'static [u8]) -> impl Fn(&mut Connection) + Send + Sync + 'static {
    move |connection| connection.write(bytes)
}

#[test]
fn garbage() {
    strikes(bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    strikes(bytes(b"\0\0\0\0"));
}

#[test]
fn negative_lengths() {
    strikes(bytes(b"$-5\r\n"));
    strikes(bytes(b"*-7\r\n"));
    strikes(bytes(b"*2\r\n$-2\r\n$1\r\na\r\n"));
}

#[test]
fn a_huge_bulk_string() {
    // More than can be; as much as can be, and then silence; a length that wraps around.
    strikes(bytes(b"$536870913\r\n"));
    strikes(bytes(b"$536870912\r\nand no more"));
    strikes(bytes(b"$18446744073709551620\r\nbad\r\n"));
}

#[test]
fn a_huge_array() {
    strikes(bytes(b"*2147483647\r\n:1\r\n:2\r\n"));
    strikes(bytes(b"*99999999999\r\n"));
    strikes(|connection| {
        connection.write(b"*2147483647\r\n");
        let part = b"$1\r\nx\r\n".repeat(10_000);
        (0..500).for_each(|_| connection.write(&part));
    });
}

#[test]
fn a_deep_array() {
    strikes(|connection| {
        let part = b"*1\r\n".repeat(10_000);
        (0..100).for_each(|_| connection.write(&part));
    });
}

#[test]
fn no_line_feed() {
    strikes(bytes(b"$3\r\nbadXX"));
    strikes(bytes(b"+OK\rX"));
    strikes(|connection| {
        let part = vec![b'x'; 100_000];
        connection.write(b"+");
        (0..50).for_each(|_| connection.write(&part));
    });
}

#[test]
fn a_push_on_a_connection_that_has_none() {
    strikes(bytes(b">2\r\n$7\r\nmessage\r\n$1\r\nx\r\n"));
}
