//! The harness of the integration tests: real servers, a false one, raw clients, deadlines.
//!
//! Every process is started in a temporary directory of its own on a port that the system chose,
//! waited for by asking it, and ended by its id when its handle is dropped, also by a panic. What
//! a process wrote is printed if the test that owns it panics. Nothing here sleeps for luck:
//! [`wait_until`] asks again and again until a deadline.
//!
//! `CORELAY_BIN` names another binary to test (a release build, say); by default it is the one
//! that cargo has just built.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "every test is a binary of its own and uses its part of the harness"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a harness fails by panicking, reads clocks and waits"
)]

pub mod account;
pub mod checking;
pub mod false_redis;
pub mod hostile;
pub mod load;
pub mod look;
pub mod network;
pub mod nutcracker;
pub mod port;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod replicas;
pub mod root;
pub mod scene;
pub mod sentinels;
pub mod stack;
pub mod tools;
pub mod value;
pub mod watch;
pub mod wire;

use std::time::{Duration, Instant};

pub use account::{Account, P99};
pub use checking::{Checking, Clients};
pub use false_redis::{Connection, FalseRedis};
pub use load::Load;
pub use look::Look;
pub use network::Network;
pub use nutcracker::Nutcracker;
pub use port::Port;
pub use process::Process;
pub use proxy::{Options, Proxy};
pub use redis::Redis;
pub use root::Namespace;
pub use scene::{Scene, SwitchWatch};
pub use sentinels::{Sentinel, Watched, WatchedShard, Watching};
pub use stack::Stack;
pub use tools::{
    Random, Stopwatch, Threads, cpus, in_temporary_directory, output_of, raise_descriptor_limit,
    run_client,
};
pub use value::Value;
pub use watch::{Stage, Tally, Watchers};
pub use wire::{Ended, Wire, encode};

/// How long anything that should happen at once may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Asks `condition` every few milliseconds until it is true; panics after `deadline`.
pub fn wait_until(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < deadline, "waited {deadline:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `condition` stays true for as long as `period`: for what must *not* happen.
pub fn holds_for(period: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < period {
        assert!(condition(), "did not hold for {period:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Says something that is shown with `--nocapture`, or if the test fails.
pub fn note(text: &str) {
    println!("{}", text.trim_end());
}
