//! After a storm of clients that come and go in every way, the proxy has as many descriptors and
//! clients as before.
//!
//! Mechanics: clients leave by FIN, by RST, before their first byte, in the middle of a request,
//! with requests unanswered, and told goodbye; through both kinds of listener. Why it must stay: an
//! accept or a receive that is cancelled in the ring may still deliver, and what it delivers belongs
//! to nobody who is left.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use support::{Options, PATIENCE, Stack, Threads, cpus, encode, wait_until};

const CLIENTS: usize = 10_000;
const THREADS: usize = 4;

/// One client's life; `way` says how it ends.
fn live(address: SocketAddr, way: usize) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let by_reset = |stream: &TcpStream| {
        socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    };
    let ping = encode(&["PING"]);
    match way % 6 {
        0 => {}
        1 => by_reset(&stream),
        2 => {
            let _ = stream.write_all(&ping[..ping.len() / 2]);
        }
        3 => {
            let _ = stream.write_all(&encode(&["GET", "key"]).repeat(20));
            by_reset(&stream);
        }
        4 => {
            let _ = stream.write_all(&encode(&["SET", "key", &"x".repeat(20_000)]));
            let mut reply = [0; 5];
            stream.read_exact(&mut reply).expect("an answer");
            assert_eq!(&reply, b"+OK\r\n");
            by_reset(&stream);
        }
        _ => {
            let _ = stream.write_all(&encode(&["QUIT"]));
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).expect("a goodbye");
            assert_eq!(rest, b"+OK\r\n");
        }
    }
}

#[test]
fn a_storm_of_clients_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("storm.sock");
    let options = Options {
        cores: if cpus() > 1 { "2" } else { "1" },
        listen: vec![format!("unix:{}", path.display())],
        ..Options::default()
    };
    let mut stack = Stack::start(2, &options);
    let clients = |stack: &Stack| stack.proxy.metric_sum("corelay_core_clients");
    // Lanes of both shards on both cores, so that all of them are there already.
    for _ in 0..20 {
        let mut warm = stack.client();
        for key in 0..10 {
            warm.exchange(&["GET", &format!("key:{key}")]);
        }
    }
    wait_until(PATIENCE, "the harness's own clients have gone", || clients(&stack) == 0.0);
    let before = stack.proxy.process().descriptors().len();

    let address = stack.proxy.address();
    let mut threads = Threads::default();
    for thread in 0..THREADS {
        threads.run(move || (thread..CLIENTS).step_by(THREADS).for_each(|way| live(address, way)));
    }
    threads.join();
    for way in 0..200 {
        let mut stream = UnixStream::connect(&path).expect("a connection");
        if way % 2 == 0 {
            let _ = stream.write_all(&encode(&["PING"]));
        }
    }

    wait_until(PATIENCE, "all clients are counted off", || clients(&stack) == 0.0);
    wait_until(PATIENCE, "as many descriptors as before", || {
        stack.proxy.process().descriptors().len() <= before
    });
    assert_eq!(stack.client().exchange(&["PING"]).text(), "PONG");
}
