//! Whatever is done to the admin and the statistics port, clients of the pools do not notice, and
//! the ports serve again.
//!
//! Mechanics: garbage, hundreds of connections with half a head or none, readers that never read,
//! and a storm of requests, on both ports at once, under a load that checks every reply. Why it must
//! stay: these ports ask for no password, so they must be worth nothing to an attacker.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use support::proxy::binary;
use support::{
    Load, Options, PATIENCE, Port, Stack, Threads, output_of, raise_descriptor_limit, wait_until,
};

const IDLE: usize = 300;

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// What comes back, to its end or to a reset.
fn send_and_read(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

fn abuse(address: SocketAddr) {
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    let headers = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    let garbage: [&[u8]; 8] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"GET /../../../../etc/passwd HTTP/1.1\r\n\r\n",
        b"GET /%00%0d%0a HTTP/1.1\r\nHost: \r\n\r\n",
        long.as_bytes(),
        headers.as_bytes(),
    ];
    for bytes in garbage {
        let answer = send_and_read(address, bytes);
        let is_a_secret = answer.windows(5).any(|window| window == b"root:");
        assert!(!is_a_secret, "{}", answer.escape_ascii());
    }
    // They ask for much and read nothing.
    let ask = |_| {
        let mut stream = connect(address);
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        stream
    };
    let never_reading: Vec<TcpStream> = (0..20).map(ask).collect();
    for _ in 0..100 {
        send_and_read(address, b"GET /stats HTTP/1.0\r\n\r\n");
    }
    drop(never_reading);
}

#[test]
fn whatever_is_done_to_them() {
    raise_descriptor_limit(4 * IDLE);
    let stats = Port::reserve();
    let proxy = format!("stats_listen = \"{}\"\n", stats.address);
    let stack = Stack::start(2, &Options { proxy, ..Options::default() });
    let admin = stack.proxy.admin_address();
    let load = Load::start(2, stack.proxy.connector());
    load.wait_for(500);
    let before = stack.proxy.resident_bytes();

    let half = |address: SocketAddr| {
        move |number| {
            let mut stream = connect(address);
            if number % 2 == 0 {
                let _ = stream.write_all(b"GET /metrics HT");
            }
            stream
        }
    };
    let idle: Vec<TcpStream> =
        (0..IDLE).map(half(admin)).chain((0..IDLE / 10).map(half(stats.address))).collect();
    let mut threads = Threads::default();
    for address in [admin, admin, stats.address] {
        threads.run(move || abuse(address));
    }
    threads.join();
    load.wait_for(500);
    drop(idle);

    let growth = stack.proxy.resident_bytes().saturating_sub(before);
    let tally = load.stop();
    support::note(&format!("{tally:?}, {growth} bytes more"));
    assert!(tally.errors.is_empty() && tally.cuts == 0, "{tally:?}");
    assert!(tally.worst < Duration::from_millis(1_000), "a client waited {:?}", tally.worst);
    assert!(growth < 64 * 1024 * 1024, "{growth} bytes");
    wait_until(PATIENCE, "both ports serve again", || {
        let object = send_and_read(stats.address, b"");
        stack.proxy.admin("/healthz") == "ok\n" && object.ends_with(b"}\n")
    });
}

#[test]
fn by_default_only_this_machine_can_ask() {
    let (_directory, path) = support::in_temporary_directory("corelay.toml");
    let toml = "[[pool]]\nname = \"a\"\nlisten = \"127.0.0.1:6380\"\n\
                [[pool.shard]]\nname = \"s\"\naddress = \"127.0.0.1:6391\"\n";
    std::fs::write(&path, toml).expect("a written configuration");
    let checked = output_of(Command::new(binary()).arg("check").arg("-c").arg(&path));
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(said.contains("admin  127.0.0.1:9180"), "{said}");
    assert!(said.lines().all(|line| !line.contains("0.0.0.0")), "{said}");
}
