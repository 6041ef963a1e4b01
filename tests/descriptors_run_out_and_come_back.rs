//! When descriptors run out, old clients are served, new ones wait or are told, nothing spins, and
//! all is well again as soon as there are some.
//!
//! Mechanics: of a low limit that the proxy starts under, clients may have what its own descriptors
//! leave. To let accepting fail (EMFILE), a first proxy shows how many those are: a running accept
//! keeps the limit that it was begun with, so lowering it later would do nothing.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::process::Process;
use support::proxy::binary;
use support::{PATIENCE, Port, Redis, Stopwatch, Threads, Value, Wire, encode, wait_until};
use tempfile::TempDir;

struct Limited {
    process: Process,
    listen: Port,
    /// The first client, which waited for the start.
    first: Wire,
    _directory: TempDir,
    redis: Redis,
}

impl Limited {
    fn start(descriptors: usize) -> Limited {
        let redis = Redis::start(&[]);
        let (listen, admin) = (Port::reserve(), Port::reserve());
        let directory = tempfile::tempdir().expect("a temporary directory");
        let config = directory.path().join("corelay.toml");
        let toml = format!(
            "[proxy]\ncores = 1\nadmin_listen = \"{}\"\n[[pool]]\nname = \"cache\"\nlisten = [\"{}\"]\n\
             [[pool.shard]]\nname = \"a\"\naddress = \"{}\"\n",
            admin.address,
            listen.address,
            redis.address()
        );
        std::fs::write(&config, toml).expect("a written configuration");
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={descriptors}:{descriptors}")).arg(binary());
        command.arg("run").arg("-c").arg(&config);
        let log = directory.path().join("corelay.log");
        let process = Process::start("corelay", &mut command, &log);
        let mut first = None;
        wait_until(PATIENCE, "corelay listens", || {
            first = Wire::try_connect(listen.address).ok();
            first.is_some()
        });
        let first = first.expect("a connection");
        Limited { process, listen, first, _directory: directory, redis }
    }

    /// The limit under which a process that has opened what this one has can open `count` more.
    /// It is one of numbers, not of how many are open: an inherited one may stand far above.
    fn limit_that_leaves(&self, count: usize) -> usize {
        let open = self.process.descriptors();
        let free = (0..).filter(|number| !open.contains(number));
        free.take(count).last().expect("a free number") + 1
    }

    /// Clients that have asked, and were not answered yet.
    fn knock(&self, clients: usize) -> Vec<Wire> {
        let connect = |_| {
            let mut client = Wire::connect(self.listen.address);
            let _ = client.try_send(&encode(&["PING"]));
            client
        };
        (0..clients).map(connect).collect()
    }
}

#[test]
fn old_clients_are_served_and_new_ones_wait_until_somebody_leaves() {
    let mut unlimited = Limited::start(1000);
    assert_eq!(unlimited.first.exchange(&["SET", "key", "value"]), Value::ok());
    let mut proxy = Limited::start(unlimited.limit_that_leaves(10));
    assert_eq!(proxy.first.exchange(&["SET", "key", "value"]), Value::ok());
    let mut in_time = proxy.knock(8);
    in_time.iter_mut().for_each(|client| assert_eq!(client.read_reply().text(), "PONG"));
    let in_between = proxy.knock(6);
    let mut late = proxy.knock(6);
    wait_until(PATIENCE, "the log says what to do", || {
        proxy.process.log().contains("Too many open files")
    });

    let (ticks, watch) = (proxy.process.cpu_ticks(), Stopwatch::start());
    while watch.elapsed() < Duration::from_secs(1) {
        assert_eq!(proxy.first.exchange(&["GET", "key"]), Value::bulk("value"));
        support::holds_for(Duration::from_millis(50), "a pause", || true);
    }
    let spent = proxy.process.cpu_ticks() - ticks;
    assert!(spent < 30, "{spent} ticks of 10 ms in a second of waiting");
    assert_eq!(proxy.process.log().matches("Too many open files").count(), 1, "said once");

    drop((in_time, in_between));
    for client in &mut late {
        assert_eq!(client.read_reply().text(), "PONG");
    }
}

#[test]
fn clients_beyond_those_that_descriptors_are_left_for_are_told() {
    let proxy = Limited::start(200);
    let mut served = proxy.knock(99);
    served.iter_mut().for_each(|client| assert_eq!(client.read_reply().text(), "PONG"));
    for client in &mut proxy.knock(20) {
        assert_eq!(client.read_reply().error(), "ERR max number of clients reached");
        client.expect_closed();
    }
    drop(served);
    wait_until(PATIENCE, "somebody is let in again", || {
        proxy.knock(1).iter_mut().all(|client| client.next().is_ok_and(|reply| !reply.is_error()))
    });
}

#[test]
fn a_flood_under_a_low_limit_takes_no_descriptor_from_the_stores() {
    let mut proxy = Limited::start(128);
    assert_eq!(proxy.first.exchange(&["SET", "key", "value"]), Value::ok());
    let stop = Arc::new(AtomicBool::new(false));
    let mut flood = Threads::default();
    for _ in 0..3 {
        let (stop, address) = (Arc::clone(&stop), proxy.listen.address);
        flood.run(move || {
            // 200 at a time, against 128 descriptors: some served, some told, some gone at once.
            while !stop.load(Ordering::SeqCst) {
                let mut clients: Vec<Wire> =
                    (0..200).filter_map(|_| Wire::try_connect(address).ok()).collect();
                for client in &mut clients {
                    let _ = client.try_send(&encode(&["PING"]));
                }
                for client in clients.iter_mut().step_by(10) {
                    match client.next() {
                        Ok(Value::Error(text)) => {
                            assert_eq!(text, "ERR max number of clients reached");
                        }
                        Ok(reply) => assert_eq!(reply.text(), "PONG"),
                        Err(_) => {}
                    }
                }
            }
        });
    }
    for _ in 0..3 {
        proxy.redis.restart_same_port();
        let first = &mut proxy.first;
        wait_until(PATIENCE, "the store is connected again in the middle of the flood", || {
            first.exchange(&["SET", "key", "value"]) == Value::ok()
        });
        for _ in 0..100 {
            assert_eq!(first.exchange(&["GET", "key"]), Value::bulk("value"));
        }
    }
    stop.store(true, Ordering::SeqCst);
    flood.join();
    wait_until(PATIENCE, "all is well again", || {
        proxy.knock(1).iter_mut().all(|client| client.next().is_ok_and(|reply| !reply.is_error()))
    });
}
