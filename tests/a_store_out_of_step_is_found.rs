//! A store that gives a reply too many, too few, or two in the wrong order is found out, and its
//! connection is closed: at the first reply whose shape does not fit, and by a fence at the latest.
//!
//! Mechanics: a false store slips once on each connection, clients check every value. What can not
//! be promised is measured: until the slip shows, values of equal shape reach the wrong clients; two
//! of them in the wrong order show nowhere. Why it must stay: a proxy that goes on pairing hands
//! out other people's data until a connection ends by chance.
#![expect(
    clippy::expect_used,
    clippy::disallowed_types,
    reason = "a test fails by panicking, and its threads share a list"
)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::false_redis::{is, reply_to};
use support::{Connection, Options, PATIENCE, Stage, Stopwatch, Value, note, wait_until};

const FENCE_MS: u64 = 100;

fn options() -> Options {
    Options {
        timeout_ms: 1_000,
        pool: format!("fence_interval_ms = {FENCE_MS}\n"),
        ..Options::default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Slip {
    /// One more reply, a value.
    Surplus,
    Missing,
    /// A value and the one behind it change places.
    Swapped,
}

/// Answers honestly but for one slip at the 25th GET of each connection; `after` is told how long
/// the connection went on.
fn slips(connection: &mut Connection, slip: Slip, after: &Mutex<Vec<Duration>>) {
    let (mut gets, mut slipped, mut kept) = (0, None, None);
    while let Some(request) = connection.read_request() {
        if connection.answer_prelude(&request) {
            continue;
        }
        let reply = reply_to(&request);
        gets += usize::from(is(&request, "GET"));
        let now = gets == 25 && slipped.is_none() && is(&request, "GET");
        match slip {
            _ if !now && kept.is_none() => connection.write(&reply),
            Slip::Surplus => connection.write(&[b"$5\r\nstray\r\n".as_slice(), &reply].concat()),
            Slip::Missing => {}
            Slip::Swapped if now => kept = Some(reply),
            Slip::Swapped => {
                connection.write(&reply);
                connection.write(&kept.take().expect("the one before"));
            }
        }
        if now {
            slipped = Some(Stopwatch::start());
        }
    }
    if let Some(slipped) = slipped {
        after.lock().expect("a list").push(slipped.elapsed());
    }
}

fn measure(slip: Slip, connections: usize) -> (Vec<Duration>, u64, u64) {
    let after = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&after);
    let stage = Stage::start(&options(), move |connection| slips(connection, slip, &told));
    let (bad, good) = stage.watch(4);
    wait_until(Duration::from_secs(30), "connections slip and are closed", || {
        stage.bad.accepted() > connections || slip == Slip::Swapped && bad.tally.right() > 20_000
    });
    good.end_unharmed(Duration::from_secs(1));
    let tally = bad.end();
    let counted = stage.out_of_step();
    let times = after.lock().expect("a list").clone();
    let (right, foreign) = (tally.right(), tally.foreign());
    note(&format!("{slip:?}: {right} right, {foreign} foreign, {counted} lanes closed, {times:?}"));
    (times, foreign, counted)
}

#[test]
fn a_reply_too_many_is_found_within_the_fence_interval() {
    let (times, foreign, counted) = measure(Slip::Surplus, 20);
    assert!(counted >= 10, "{counted}");
    let slowest = times.iter().max().expect("a slip");
    assert!(*slowest < Duration::from_millis(FENCE_MS + 1_000), "{slowest:?}");
    // Mixed commands show it long before the fence.
    assert!(foreign <= 40 * counted, "{foreign} foreign replies in {counted} slips");
}

#[test]
fn a_reply_too_few_is_found_within_the_fence_interval() {
    let (times, foreign, counted) = measure(Slip::Missing, 20);
    assert!(counted >= 10, "{counted}");
    let slowest = times.iter().max().expect("a slip");
    assert!(*slowest < Duration::from_millis(FENCE_MS + 1_000), "{slowest:?}");
    assert!(foreign <= 40 * counted, "{foreign} foreign replies in {counted} slips");
}

#[test]
fn two_values_in_the_wrong_order_are_the_two_foreign_replies_that_nobody_can_tell() {
    let (_, foreign, _) = measure(Slip::Swapped, 20);
    // No more than the two of each connection; less where the neighbours have other shapes.
    assert!(foreign <= 2 * 21, "{foreign}");
}

#[test]
fn a_slip_among_values_only_ends_at_the_fence() {
    // GET after GET: no shape tells.
    let after = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&after);
    let stage = Stage::start(&options(), move |connection| slips(connection, Slip::Surplus, &told));
    let mut client = stage.proxy.client();
    let (key, before) = (stage.bad_keys[0].clone(), stage.out_of_step());
    let mut foreign = 0;
    wait_until(Duration::from_secs(10), "the fence closes the lane", || {
        client.request(&["GET", &key]);
        let reply = client.read_reply();
        foreign +=
            usize::from(!reply.is_error() && reply != Value::bulk(format!("value of {key}")));
        stage.out_of_step() > before
    });
    assert!(foreign <= 100, "{foreign}");
    note(&format!("{foreign} foreign replies to one client that asks for values only"));
    // The line is written behind the count.
    wait_until(PATIENCE, "the log says so", || stage.proxy.log().contains("out of step"));
    stage.serves_again(Duration::from_secs(5));
}

#[test]
fn a_reply_of_another_shape_reaches_nobody() {
    // The store answers a SET behind what comes after it: a GET, or a fence.
    let sets = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&sets);
    let stage = Stage::start(&options(), move |connection| {
        let mut kept: Option<Vec<u8>> = None;
        while let Some(request) = connection.read_request() {
            if connection.answer_prelude(&request) {
                continue;
            }
            let reply = reply_to(&request);
            seen.fetch_add(usize::from(is(&request, "SET")), Ordering::SeqCst);
            match kept.take() {
                Some(before) => connection.write(&[reply, before].concat()),
                None if is(&request, "SET") => kept = Some(reply),
                None => connection.write(&reply),
            }
        }
    });
    let key = &stage.bad_keys[0];
    for round in 1..=20 {
        let (mut one, mut other) = (stage.proxy.client(), stage.proxy.client());
        stage.serves_again(Duration::from_secs(5));
        let (before, had) = (stage.out_of_step(), sets.load(Ordering::SeqCst));
        one.request(&["SET", key, "v"]);
        wait_until(PATIENCE, "the store has the SET", || sets.load(Ordering::SeqCst) > had);
        other.request(&["GET", key]);
        for client in [&mut one, &mut other] {
            let reply = client.read_reply();
            assert!(
                reply.is_error() || reply == Value::bulk(format!("value of {key}")),
                "round {round}: {reply:?}"
            );
        }
        wait_until(PATIENCE, "it is counted", || stage.out_of_step() > before);
    }
}
