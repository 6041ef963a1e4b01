//! Clients that never finish a request, or send a byte now and then for ever, cost what they have
//! sent and little more, delay nobody, and are closed where an idle timeout says so.
//!
//! Mechanics: 2,000 connections with every kind of beginning, and others that go on byte by byte,
//! while another client on the same core and lane asks and checks. Why it must stay: holding a
//! thousand requests open is the cheapest attack that there is.

mod support;

use std::time::Duration;

use support::hostile::check;
use support::{
    Options, PATIENCE, Stack, Stopwatch, Wire, encode, raise_descriptor_limit, wait_until,
};

const CLIENTS: usize = 2_000;
/// Memory of the process for one client with half a request: its state, what it has sent, and the
/// list of its arguments.
const COST_MAX_BYTES: usize = 4 * 1024;

/// Beginnings of requests that go on for ever.
fn beginnings() -> Vec<Vec<u8>> {
    let set = encode(&["SET", "key", "value"]);
    let mut all: Vec<Vec<u8>> = (1..set.len()).map(|cut| set[..cut].to_vec()).collect();
    all.extend([
        b"PING".to_vec(),
        b"GET \"open quotes".to_vec(),
        b"*1048576\r\n".to_vec(),
        b"*1048576\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n".to_vec(),
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nonly this".to_vec(),
    ]);
    all
}

#[test]
fn beginnings_of_requests() {
    raise_descriptor_limit(3 * CLIENTS);
    let stack = Stack::start(1, &Options::default());
    let mut other = stack.client();
    check(&mut other, 0);
    let before = stack.proxy.resident_bytes();
    let beginnings = beginnings();
    let mut clients: Vec<Wire> = Vec::new();
    for number in 0..CLIENTS {
        let mut client = stack.client();
        client.send(&beginnings[number % beginnings.len()]);
        clients.push(client);
        if number % 100 == 0 {
            check(&mut other, number);
        }
    }
    check(&mut other, 1);
    let cost = stack.proxy.resident_bytes().saturating_sub(before) / CLIENTS;
    support::note(&format!("{cost} bytes for each client"));
    assert!(cost < COST_MAX_BYTES, "{cost} bytes for each client");

    // Those that come to an end after all are served.
    let request = encode(&["SET", "key", "value"]);
    for (client, number) in clients.iter_mut().zip(0..request.len() - 1) {
        client.send(&request[number + 1..]);
        assert_eq!(client.read_reply(), support::Value::ok());
    }
    drop(clients);
    wait_until(PATIENCE, "all have gone", || stack.proxy.metric_sum("corelay_core_clients") <= 1.0);
}

#[test]
fn one_byte_at_a_time() {
    let stack = Stack::start(1, &Options::default());
    let mut other = stack.client();
    let mut slow: Vec<Wire> = (0..50).map(|_| stack.client()).collect();
    let request = encode(&["SET", "slow key", "slow value"]);
    let (mut worst, start) = (Duration::ZERO, Stopwatch::start());
    for round in 0..3 {
        for (number, byte) in request.iter().enumerate() {
            slow.iter_mut().for_each(|client| client.send(&[*byte]));
            let asked = Stopwatch::start();
            check(&mut other, round * number);
            worst = worst.max(asked.elapsed());
        }
        slow.iter_mut().for_each(|client| assert_eq!(client.read_reply(), support::Value::ok()));
    }
    let all = start.elapsed();
    assert!(worst < Duration::from_millis(500), "the other client waited {worst:?} in {all:?}");
}

#[test]
fn are_closed_by_the_idle_timeout() {
    let pool = "client_idle_timeout_ms = 300\n".to_owned();
    let stack = Stack::start(1, &Options { pool, ..Options::default() });
    let mut half: Vec<Wire> = beginnings()
        .iter()
        .map(|beginning| {
            let mut client = stack.client();
            client.send(beginning);
            client
        })
        .collect();
    half.iter_mut().for_each(Wire::expect_closed);
}
