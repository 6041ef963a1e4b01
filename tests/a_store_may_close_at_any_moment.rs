//! A store that closes its connection, at whatever moment and in whatever way, fails the requests
//! that are under way there, with an error that names it, and nobody else's.
//!
//! Mechanics: a false store ends its first connections by FIN, by RST, or by a FIN after which it
//! goes on reading: before the hand-shake, within it, before, within and behind a reply. Clients
//! check every value. A write that was sent is never sent a second time.
#![expect(clippy::disallowed_types, reason = "threads of a test share a map")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::false_redis::{is, reply_to};
use support::{Connection, Options, Stage, wait_until};

const FAULTY_CONNECTIONS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stop {
    BeforeTheGreeting,
    WithinTheGreeting,
    BehindTheGreeting,
    BeforeAReply,
    WithinAReply,
    BehindAReply,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Fin,
    Reset,
    HalfClosed,
}

fn end(connection: &mut Connection, how: How) {
    match how {
        How::Fin => {}
        How::Reset => connection.reset_at_the_end(),
        How::HalfClosed => {
            connection.finish_sending();
            connection.wait_closed();
        }
    }
}

fn serve_until(connection: &mut Connection, stop: Stop) {
    if stop == Stop::BeforeTheGreeting {
        return;
    }
    let mut count = 0;
    while let Some(request) = connection.read_request() {
        if is(&request, "PING") && request.len() == 1 {
            match stop {
                Stop::WithinTheGreeting => return connection.write(b"+PO"),
                Stop::BehindTheGreeting => return connection.answer(&request),
                _ => {}
            }
        }
        if connection.answer_prelude(&request) {
            continue;
        }
        count += 1;
        let reply = reply_to(&request);
        match stop {
            _ if count < 10 => connection.write(&reply),
            Stop::BeforeAReply => return,
            Stop::WithinAReply => return connection.write(&reply[..reply.len() / 2]),
            _ => return connection.write(&reply),
        }
    }
}

fn closes(stop: Stop) {
    for how in [How::Fin, How::Reset, How::HalfClosed] {
        let first = std::sync::OnceLock::new();
        let options = Options { timeout_ms: 2_000, ..Options::default() };
        let stage = Stage::start(&options, move |connection| {
            let first = *first.get_or_init(|| connection.number);
            if connection.number < first + FAULTY_CONNECTIONS {
                serve_until(connection, stop);
                return end(connection, how);
            }
            while let Some(request) = connection.read_request() {
                connection.answer(&request);
            }
        });
        let (bad, good) = stage.watch(3);
        wait_until(Duration::from_secs(20), "all faulty connections are gone", || {
            stage.bad.accepted() > FAULTY_CONNECTIONS
        });
        bad.wait_for(100);
        good.end_unharmed(Duration::from_secs(1));
        let tally = bad.end();
        assert_eq!(tally.foreign(), 0, "{stop:?} {how:?}: {}", tally.said());
        let named = tally.errors() == 0 || tally.said().contains("shard shard1 at");
        assert!(named, "{stop:?} {how:?}: {}", tally.said());
        stage.serves_again(Duration::from_secs(1));
    }
}

#[test]
fn before_the_greeting() {
    closes(Stop::BeforeTheGreeting);
}

#[test]
fn within_the_greeting() {
    closes(Stop::WithinTheGreeting);
}

#[test]
fn behind_the_greeting() {
    closes(Stop::BehindTheGreeting);
}

#[test]
fn before_a_reply() {
    closes(Stop::BeforeAReply);
}

#[test]
fn within_a_reply() {
    closes(Stop::WithinAReply);
}

#[test]
fn behind_a_reply() {
    closes(Stop::BehindAReply);
}

#[test]
fn a_write_that_was_sent_is_not_sent_again() {
    let seen: Arc<Mutex<BTreeMap<Vec<u8>, usize>>> = Arc::default();
    let writes = Arc::clone(&seen);
    let stage = Stage::start(&Options::default(), move |connection| {
        let mut count = 0;
        while let Some(request) = connection.read_request() {
            if is(&request, "SET") {
                *writes.lock().expect("a map").entry(request[2].clone()).or_default() += 1;
                count += 1;
                if count % 5 == 0 {
                    return; // executed, and not answered
                }
            }
            connection.answer(&request);
        }
    });
    let (mut client, key) = (stage.proxy.client(), &stage.bad_keys[0]);
    let (mut sent, mut failed) = (0, 0);
    while failed < 20 {
        sent += 1;
        assert!(sent < 10_000, "{failed} of {sent} failed");
        let reply = client.exchange(&["SET", key, &format!("version {sent}")]);
        failed += usize::from(reply.is_error());
    }
    let seen = seen.lock().expect("a map");
    assert!(seen.values().all(|times| *times == 1), "{seen:?}");
    assert!(seen.len() > 20);
}
