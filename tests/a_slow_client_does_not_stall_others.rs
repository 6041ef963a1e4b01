//! A client that stops reading must not delay any other client, nor cost memory without a bound.
//!
//! Mechanics: client A pipelines 3,000 GETs of 64 KiB (188 MiB) and reads nothing; the proxy must
//! stop reading A. Client B keeps a closed loop of small checked GETs through the same core and
//! the same lane. Then A reads after all and must find every reply. Why it must stay: a full send
//! buffer and a shared lane meet only here.

mod support;

use std::time::Duration;

use support::{Options, Random, Stack, Stopwatch, Threads, Value, Wire, wait_until};

const REQUESTS: usize = 3_000;
const VALUE_BYTES: usize = 64 * 1024;
/// client_inflight_max (1,024) replies of 64 KiB were asked for when the client stopped reading;
/// then there are the lane's own buffers.
const GROWTH_MAX_BYTES: usize = 128 * 1024 * 1024;
/// What an allocator may keep of it afterwards.
const KEPT_MAX_BYTES: usize = 48 * 1024 * 1024;

fn ask_for_all(client: &Wire, threads: &mut Threads) {
    let mut sender = client.sender();
    threads.run(move || {
        let request = support::encode(&["GET", "large"]);
        for _ in 0..REQUESTS {
            sender.send(&request);
        }
    });
}

fn read_all(client: &mut Wire, large: &[u8]) {
    for number in 0..REQUESTS {
        let reply = client.read_reply();
        assert!(reply == Value::bulk(large), "reply {number}: {reply:?}");
    }
}

#[test]
fn a_client_that_does_not_read_hurts_only_itself() {
    let stack = Stack::start(1, &Options { timeout_ms: 30_000, ..Options::default() });
    let large = Random::new(7).bytes(VALUE_BYTES);
    let mut quick = stack.client();
    quick.set_patience(Duration::from_secs(30));
    assert_eq!(quick.exchange(&[b"SET".as_slice(), b"large", &large]), Value::ok());
    assert_eq!(quick.exchange(&["SET", "small", "s"]), Value::ok());
    let before = stack.proxy.resident_bytes();
    // How long the same takes on this machine, today, for a client that reads.
    let start = Stopwatch::start();
    let mut reading = stack.client();
    let mut threads = Threads::default();
    ask_for_all(&reading, &mut threads);
    read_all(&mut reading, &large);
    threads.join();
    let served = start.elapsed();

    let mut slow = stack.client();
    slow.set_patience(Duration::from_secs(60));
    let mut threads = Threads::default();
    ask_for_all(&slow, &mut threads);

    let (mut worst, mut most) = (Duration::ZERO, 0);
    let start = Stopwatch::start();
    while start.elapsed() < Duration::from_secs(2) {
        let asked = Stopwatch::start();
        assert_eq!(quick.exchange(&["GET", "small"]), Value::bulk("s"));
        worst = worst.max(asked.elapsed());
        most = most.max(stack.proxy.resident_bytes());
    }
    let growth = most.saturating_sub(before);
    println!("worst wait of the quick client {worst:?} of {served:?}, growth {growth} bytes");
    // On the lane it may stand behind client_inflight_max of the slow one's requests: a third of
    // all. The rest is for the machine, which does the same work for both.
    assert!(worst < served / 2, "the quick client waited {worst:?}, all takes {served:?}");
    assert!(growth < GROWTH_MAX_BYTES, "the slow client cost {growth} bytes");

    read_all(&mut slow, &large);
    threads.join();
    assert_eq!(slow.exchange(&["GET", "small"]), Value::bulk("s"));
    wait_until(Duration::from_secs(20), "the memory is given back", || {
        stack.proxy.resident_bytes() < before + KEPT_MAX_BYTES
    });
}

#[test]
fn many_clients_that_leave_their_replies_unread_harm_nobody() {
    let stack = Stack::start(2, &Options::default());
    let mut checking = stack.client();
    let large = Random::new(9).bytes(256 * 1024);
    assert_eq!(checking.exchange(&[b"SET".as_slice(), b"large", &large]), Value::ok());
    for round in 0..30 {
        // It asks for 5 MiB and is gone, with replies of others around its own.
        let mut leaving = stack.client();
        leaving.send(&support::encode(&["GET", "large"]).repeat(20));
        let key = format!("key:{round}");
        assert_eq!(checking.exchange(&["SET", &key, &key]), Value::ok());
        drop(leaving);
        assert_eq!(checking.exchange(&["GET", &key]), Value::bulk(&key));
    }
}
