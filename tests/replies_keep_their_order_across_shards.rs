//! Replies come in the order of the requests, whichever shard was quicker.
//!
//! Mechanics: several clients pipeline thousands of requests over three shards at once: single
//! keys, split commands, errors and commands that the proxy answers itself, in one stream; every
//! reply is compared with what a model of the client's own keys says. Why it must stay: order is
//! the promise that everything else rests on, and a reply in the wrong place is somebody else's.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::{Options, Random, Stack, Threads, Value, Wire, encode};

const CLIENTS: usize = 6;
const REQUESTS: usize = 5_000;
const KEYS: usize = 200;

/// One client's requests and the replies that they must have.
struct Plan {
    bytes: Vec<u8>,
    expected: Vec<Value>,
}

/// Random requests over the keys of `client`, and what a single redis would answer.
fn plan(client: usize, requests: usize) -> Plan {
    let mut random = Random::new(client as u64 + 1);
    let mut model: Vec<Option<String>> = vec![None; KEYS];
    let mut plan = Plan { bytes: Vec::new(), expected: Vec::new() };
    let name = |key: usize| format!("client:{client}:key:{key}");
    let found = |value: &Option<String>| value.as_ref().map_or(Value::Null, Value::bulk);
    for number in 0..requests {
        let key = random.below(KEYS);
        let (request, expected) = match random.below(10) {
            0..=3 => {
                let value = format!("{client}:{number}:{}", "v".repeat(random.below(300)));
                model[key] = Some(value.clone());
                (vec!["SET".to_owned(), name(key), value], Value::ok())
            }
            4..=6 => (vec!["GET".to_owned(), name(key)], found(&model[key])),
            7 => {
                let asked: Vec<usize> = (0..5).map(|_| random.below(KEYS)).collect();
                let mut request = vec!["MGET".to_owned()];
                request.extend(asked.iter().map(|&key| name(key)));
                (request, Value::Array(asked.iter().map(|&key| found(&model[key])).collect()))
            }
            8 => {
                let token = format!("echo {client} {number}");
                (vec!["ECHO".to_owned(), token.clone()], Value::bulk(token))
            }
            _ => {
                let error = "ERR wrong number of arguments for 'get' command";
                (vec!["GET".to_owned()], Value::Error(error.to_owned()))
            }
        };
        plan.bytes.extend(encode(&request));
        plan.expected.push(expected);
    }
    plan
}

fn run(mut wire: Wire, plan: Plan, cut: usize) {
    wire.set_patience(Duration::from_secs(30));
    let mut sender = wire.sender();
    let mut threads = Threads::default();
    threads.run(move || {
        for piece in plan.bytes.chunks(cut) {
            sender.send(piece);
        }
    });
    for (number, expected) in plan.expected.iter().enumerate() {
        let reply = wire.read_reply();
        assert_eq!(reply, *expected, "reply {number}");
    }
    threads.join();
}

fn clients_get_what_they_asked_for(cores: &'static str) {
    let stack = Stack::start(3, &Options { cores, timeout_ms: 30_000, ..Options::default() });
    let mut threads = Threads::default();
    for client in 0..CLIENTS {
        let wire = stack.client();
        // Cuts in all sizes: whole pipelines, network packets, bytes in the middle of a header.
        let cut = [usize::MAX, 1_448, 65_536, 311, 7_777, 97][client % 6];
        threads.run(move || run(wire, plan(client, REQUESTS), cut));
    }
    threads.join();
}

#[test]
fn on_one_core() {
    clients_get_what_they_asked_for("1");
}

#[test]
fn on_two_cores() {
    if support::cpus() < 2 {
        println!("not run: this machine has one core");
        return;
    }
    clients_get_what_they_asked_for("2");
}

/// While many clients are served, the first replies of a pipeline are held back for a moment, so that
/// one write takes them all; but not until the last one is there.
#[test]
fn an_early_reply_does_not_wait_for_a_late_one() {
    let stack = Stack::start(2, &Options { timeout_ms: 60_000, ..Options::default() });
    let keys = stack.keys_by_shard(1);
    let (quick, slow) = (keys[0][0].as_str(), keys[1][0].as_str());
    stack.shards[1].pause();
    let mut waiting: Vec<Wire> = (0..6).map(|_| stack.client()).collect();
    let done = Arc::new(AtomicBool::new(false));
    let mut crowd = Threads::default();
    for _ in 0..2 {
        let mut wires: Vec<Wire> = (0..25).map(|_| stack.client()).collect();
        let (request, done) = (encode(&["GET", quick]), done.clone());
        crowd.run(move || {
            while !done.load(Ordering::Relaxed) {
                wires.iter_mut().for_each(|wire| wire.send(&request));
                wires.iter_mut().for_each(|wire| assert_eq!(wire.read_reply(), Value::Null));
            }
        });
    }
    for _ in 0..50 {
        for client in &mut waiting {
            client.send(&[encode(&["GET", quick]), encode(&["GET", slow])].concat());
            assert_eq!(client.read_reply(), Value::Null);
        }
        stack.shards[1].resume();
        for client in &mut waiting {
            assert_eq!(client.read_reply(), Value::Null);
        }
        stack.shards[1].pause();
    }
    stack.shards[1].resume();
    done.store(true, Ordering::Relaxed);
    crowd.join();
}

#[test]
fn ten_thousand_pings_in_one_write_are_all_answered_and_quit_ends_them() {
    let stack = Stack::start(1, &Options::default());
    let mut wire = stack.client();
    wire.set_patience(Duration::from_secs(30));
    let mut sender = wire.sender();
    let mut threads = Threads::default();
    threads.run(move || {
        let mut bytes = encode(&["PING"]).repeat(10_000);
        bytes.extend(encode(&["QUIT"]));
        bytes.extend(encode(&["PING"]));
        sender.send(&bytes);
    });
    for _ in 0..10_000 {
        assert_eq!(wire.read_reply(), Value::Simple("PONG".to_owned()));
    }
    assert_eq!(wire.read_reply(), Value::ok());
    wire.expect_closed();
    threads.join();
}
