//! When the machine's clock is set, deadlines, pauses and idle timeouts do not move: they go by the
//! monotonic clock. Only what a person reads does.
//!
//! Mechanics: libfaketime steps the wall clock of the proxy by hours and years, back and forth, under
//! a load that checks; TIME shows that the step has arrived. A request to a silent store ends by its
//! deadline, neither sooner nor later, and an idle client stays. Why it must stay: NTP, a suspended
//! virtual machine or an administrator set clocks, and a proxy that then closes everybody is worse
//! than a wrong clock.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use support::{
    FalseRedis, Load, Options, PATIENCE, Proxy, Random, Redis, Stopwatch, Value, wait_until,
};

const TIMEOUT_MS: u64 = 300;
const HOUR_S: i64 = 3_600;
const YEAR_S: i64 = 365 * 24 * HOUR_S;

/// The library that stands between a program and its clock; `None`, and a word why, without it.
fn faketime() -> Option<String> {
    let asked = Command::new("faketime").args(["-f", "+0", "printenv", "LD_PRELOAD"]).output();
    match asked {
        Ok(output) if output.status.success() => {
            Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        _ => {
            support::root::skip("there is no faketime; `make test` installs it");
            None
        }
    }
}

/// What starts a proxy whose wall clock, and no other, is as many seconds off as the file says.
fn launcher(library: &str, clock: &Path) -> Vec<String> {
    step(clock, 0);
    vec![
        "env".to_owned(),
        format!("LD_PRELOAD={library}"),
        format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ]
}

/// Sets the proxy's clock so many seconds off; the file is never seen empty.
fn step(file: &Path, seconds: i64) {
    let fresh = file.with_extension("fresh");
    std::fs::write(&fresh, format!("{seconds:+}\n")).expect("a written file");
    std::fs::rename(&fresh, file).expect("a renamed file");
}

#[test]
fn whichever_way_it_is_set() {
    let Some(library) = faketime() else { return };
    let (_directory, clock) = support::in_temporary_directory("clock");
    let silent = FalseRedis::start(|connection| {
        while let Some(request) = connection.read_request() {
            if !connection.answer_prelude(&request) {
                connection.wait_closed();
            }
        }
    });
    let redis = Redis::start(&[]);
    let shards = [
        ("served".to_owned(), redis.address().to_string()),
        ("silent".to_owned(), silent.address().to_string()),
    ];
    let pool = "client_idle_timeout_ms = 60000\n".to_owned();
    let launcher = launcher(&library, &clock);
    let options = Options { launcher, pool, timeout_ms: TIMEOUT_MS, ..Options::default() };
    let proxy = Proxy::start(&shards, &options);
    let (mut client, mut idle) = (proxy.client(), proxy.client());
    assert_eq!(idle.exchange(&["PING"]).text(), "PONG");
    let key_of = |error: bool| {
        let mut client = proxy.client();
        let mut random = Random::new(41);
        let mut keys = (0..100).map(|_| format!("{:x}", random.next()));
        keys.find(|key| client.exchange(&["SET", key, "1"]).is_error() == error).expect("a key")
    };
    let (served, lost) = (key_of(false), key_of(true));

    for offset in [HOUR_S, -HOUR_S, 10 * YEAR_S, -10 * YEAR_S, 0] {
        let asked = Stopwatch::start();
        client.request(&["GET", &lost]);
        step(&clock, offset);
        let error = client.read_reply();
        let took = asked.elapsed();
        assert!(error.error().contains("silent"), "{error:?}");
        // A lane that has been silent for long is closed before: that is no deadline.
        assert!(took < Duration::from_millis(TIMEOUT_MS + 300), "{offset} s: {took:?}");
        if error.error().starts_with("ERR Connection timed out: ") {
            assert!(took >= Duration::from_millis(TIMEOUT_MS - 20), "{offset} s: {took:?}");
        }
        let real = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time");
        wait_until(PATIENCE, "the step has arrived", || {
            let time: i64 = client.exchange(&["TIME"]).texts()[0].parse().expect("a number");
            (time - real.as_secs() as i64 - offset).abs() < 60
        });
        assert_eq!(client.exchange(&["GET", &served]), Value::bulk("1"));
    }
    assert_eq!(idle.exchange(&["PING"]).text(), "PONG", "the idle client was closed");
}

#[test]
fn under_load() {
    let Some(library) = faketime() else { return };
    let (_directory, clock) = support::in_temporary_directory("clock");
    let redis = [Redis::start(&[]), Redis::start(&[])];
    let shards: Vec<(String, String)> = (0..redis.len())
        .map(|at| (format!("shard{}", at + 1), redis[at].address().to_string()))
        .collect();
    let pool = "client_idle_timeout_ms = 5000\n".to_owned();
    let launcher = launcher(&library, &clock);
    let proxy = Proxy::start(&shards, &Options { launcher, pool, ..Options::default() });
    let load = Load::start(3, proxy.connector());
    for offset in [HOUR_S, -YEAR_S, YEAR_S, -HOUR_S] {
        load.wait_for(200);
        step(&clock, offset);
    }
    load.wait_for(200);
    let tally = load.stop();
    support::note(&format!("{tally:?}"));
    assert!(tally.errors.is_empty() && tally.cuts == 0, "{tally:?}");
    assert!(tally.worst < Duration::from_millis(500), "a client waited {:?}", tally.worst);
}
