//! The object of our stats port is twemproxy's: asked for the same pools, a live nutcracker and we
//! write the same bytes, but for what each says of itself.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test: what is unexpected fails it")]

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use corelay::config::load_nutcracker;
use corelay::stats::cells::CoreStats;
use corelay::stats::twemproxy::{Header, render};

/// Pools in another order than their names', servers in another order than twemproxy's, with and
/// without names, on twemproxy's special port, on a unix socket.
const POOLS: [(&str, &[&str]); 2] = [
    ("zeta", &["127.0.0.1:1:1 zebra", "127.0.0.1:2:3 ant", "127.0.0.1:3:1 bee"]),
    ("alpha", &["127.0.0.1:4:1", "127.0.0.1:11211:1", "/nowhere/redis.sock:1"]),
];

struct Nutcracker(Child);

impl Drop for Nutcracker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test with a deadline")]
fn now() -> Instant {
    Instant::now()
}

/// The object of a nutcracker that runs `POOLS`.
fn theirs(dir: &Path) -> String {
    let mut yaml = String::new();
    for (name, servers) in POOLS {
        let listen = dir.join(name);
        yaml += &format!("{name}:\n  listen: {}\n  redis: true\n  servers:\n", listen.display());
        for server in servers {
            yaml += &format!("   - {server}\n");
        }
    }
    let file = dir.join("nutcracker.yml");
    std::fs::write(&file, yaml).unwrap();
    // nutcracker does not let the system choose a port, so another program may be faster.
    (0..5).find_map(|_| ask_a_fresh_one(dir, &file)).expect("nutcracker gave no statistics")
}

fn ask_a_fresh_one(dir: &Path, file: &Path) -> Option<String> {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new("nutcracker");
    command.args(["-a", "127.0.0.1", "-i", "100", "-s", &free.port().to_string(), "-c"]).arg(file);
    command.arg("-p").arg(dir.join("pid")).arg("-o").arg(dir.join("log"));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let started = command.spawn().expect("nutcracker is not installed; `make test` does that");
    let mut nutcracker = Nutcracker(started);
    let deadline = now() + Duration::from_secs(10);
    while now() < deadline && nutcracker.0.try_wait().unwrap().is_none() {
        let text = read_all(free);
        if text.contains("\"zeta\"") {
            return Some(text);
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    None
}

fn read_all(address: SocketAddr) -> String {
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let _ = stream.read_to_string(&mut text);
    }
    text
}

/// Ours, for the file that nutcracker was given.
fn ours(dir: &Path) -> String {
    let stats = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = load_nutcracker(&dir.join("nutcracker.yml"), stats).expect("a good file").config;
    let cores = [CoreStats::new(&config), CoreStats::new(&config)];
    let header = Header { source: "ours".to_owned(), uptime_s: 7, timestamp_s: 1_700_000_000 };
    render(&config, &cores, &header)
}

/// Takes the values out of the header; what is behind it stays as it is.
fn without_own_values(text: &str) -> String {
    let (header, pools) = text.split_once(", \"zeta\": ").expect("a header, then the first pool");
    let names = header.split(", ").map(|pair| pair.split_once(':').expect("a pair").0);
    format!("{}, \"zeta\": {pools}", names.collect::<Vec<_>>().join(", "))
}

#[test]
fn stats_json_has_twemproxys_names() {
    let dir = tempfile::tempdir().unwrap();
    let theirs = theirs(dir.path());
    let ours = ours(dir.path());
    assert_eq!(without_own_values(&ours), without_own_values(&theirs));
    for text in [&ours, &theirs] {
        assert!(text.starts_with("{\"service\":\"nutcracker\", \"source\":\""), "{text}");
    }
}
