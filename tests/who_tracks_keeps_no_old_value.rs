//! CLIENT TRACKING over three shards: clients keep what they read, others write it, through the
//! proxy and behind its back; when all is quiet nobody keeps an old value. Also over a failover, and
//! whatever mode a client chose. And what is said of tracking is what a redis-server says.
//!
//! Mechanics: each client is the simplest cache there can be; it takes replies and invalidations in
//! the order in which they come. Why it must stay: a value that is kept too long stays for ever, and
//! nobody notices.

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use support::{
    Options, PATIENCE, Random, Redis, Scene, Stack, Threads, Value, Watching, Wire, note,
    wait_until,
};

/// How they track; each has its connections.
const MODES: [&str; 5] = ["", " OPTIN", " OPTOUT", " BCAST", " BCAST PREFIX t:1 PREFIX t:2"];
const KEYS: usize = 60;

/// (What follows the number spreads it over the shards.)
fn key(number: usize) -> String {
    format!("t:{number}:0123456789")
}

struct Cache {
    wire: Wire,
    mode: &'static str,
    kept: BTreeMap<String, Value>,
    invalidations: usize,
    hits: usize,
}

impl Cache {
    fn new(address: SocketAddr, mode: &'static str) -> Cache {
        let mut wire = Wire::connect(address);
        wire.exchange(&["HELLO", "3"]);
        let request = format!("CLIENT TRACKING ON{mode}");
        assert_eq!(wire.exchange(&request.split(' ').collect::<Vec<_>>()), Value::ok());
        Cache { wire, mode, kept: BTreeMap::new(), invalidations: 0, hits: 0 }
    }

    /// The next reply, behind invalidations.
    fn reply(&mut self) -> Value {
        loop {
            match self.wire.read_reply() {
                Value::Push(parts) => self.forget(&parts),
                reply => return reply,
            }
        }
    }

    fn forget(&mut self, push: &[Value]) {
        assert_eq!(push[0], Value::bulk("invalidate"));
        self.invalidations += 1;
        match &push[1] {
            Value::Array(keys) => keys.iter().for_each(|key| drop(self.kept.remove(&key.text()))),
            _ => self.kept.clear(),
        }
    }

    /// Reads some keys in one write, as far as they are not kept.
    fn read(&mut self, random: &mut Random) {
        let mut keys: Vec<String> =
            (0..1 + random.below(5)).map(|_| key(random.below(KEYS))).collect();
        if self.mode.contains("PREFIX") {
            keys.retain(|key| key.starts_with("t:1") || key.starts_with("t:2"));
        }
        keys.retain(|key| !self.kept.contains_key(key));
        if keys.is_empty() {
            self.hits += 1;
            self.settle();
            return;
        }
        let several = keys.len() > 1 && random.below(3) == 0;
        let mut requests: Vec<Vec<&str>> = Vec::new();
        for key in &keys {
            if self.mode == " OPTIN" {
                requests.push(vec!["CLIENT", "CACHING", "YES"]);
            }
            if several {
                requests
                    .push(["MGET"].into_iter().chain(keys.iter().map(String::as_str)).collect());
                break;
            }
            requests.push(vec!["GET", key]);
        }
        let bytes: Vec<u8> = requests.iter().flat_map(|words| support::encode(words)).collect();
        self.wire.send(&bytes);
        let mut read = keys.iter();
        for request in &requests {
            let reply = self.reply();
            match (request[0], &reply) {
                ("CLIENT", _) => assert_eq!(reply, Value::ok()),
                ("MGET", Value::Array(values)) => {
                    self.kept.extend(keys.iter().cloned().zip(values.iter().cloned()));
                }
                ("GET", Value::Bulk(_) | Value::Null) => {
                    self.kept.extend(read.next().map(|key| (key.clone(), reply)));
                }
                _ => assert_eq!(reply, Value::Null, "{request:?}"),
            }
        }
    }

    /// Takes what has come meanwhile.
    fn settle(&mut self) {
        self.wire.request(&["PING"]);
        assert_eq!(self.reply(), Value::Simple("PONG".to_owned()));
    }

    /// What it keeps that is not so.
    fn stale(&mut self, truth: &mut Wire) -> Vec<String> {
        self.settle();
        let kept = self.kept.clone();
        let differs = |(key, value): &(String, Value)| truth.exchange(&["GET", key]) != *value;
        kept.into_iter().filter(differs).map(|(key, value)| format!("{key} = {value:?}")).collect()
    }
}

/// Whoever reads, until `over`; gives the caches.
fn readers(address: SocketAddr, over: &Arc<AtomicBool>) -> Vec<std::thread::JoinHandle<Cache>> {
    let start = |(number, mode): (usize, &&'static str)| {
        let (over, mode) = (over.clone(), *mode);
        std::thread::spawn(move || {
            let (mut cache, mut random) = (Cache::new(address, mode), Random::new(number as u64));
            while !over.load(Ordering::Relaxed) {
                cache.read(&mut random);
            }
            cache
        })
    };
    MODES.iter().cycle().take(2 * MODES.len()).enumerate().map(start).collect()
}

/// Between two writes others read.
fn rest(wire: &mut Wire, random: &mut Random) {
    (0..random.below(10)).for_each(|_| drop(wire.exchange(&["PING"])));
}

/// When all is quiet nobody keeps what is not so.
fn expect_no_old_value(caches: &mut [Cache], truth: &mut Wire) {
    for cache in caches {
        let mut old = Vec::new();
        let mode = cache.mode;
        wait_until(PATIENCE, &format!("a cache ({mode}) lets go of old values"), || {
            old = cache.stale(truth);
            old.is_empty()
        });
        assert!(cache.invalidations > 0 && cache.hits > 0, "{mode}: it kept nothing");
        note(&format!("{mode}: {} kept, {} told", cache.kept.len(), cache.invalidations));
    }
}

#[test]
fn whoever_writes_nobody_keeps_an_old_value() {
    let options = Options { cores: "2", ..Options::default() };
    let stack = Stack::start(3, &options);
    let (over, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let readers = readers(stack.proxy.address(), &over);
    let mut writers = Threads::default();
    for number in 0..4 {
        let (over, written) = (over.clone(), written.clone());
        // Two write behind the proxy's back, what they find there.
        let direct = number >= 2;
        let address = match direct {
            true => stack.shards[number - 2].address(),
            false => stack.proxy.address(),
        };
        writers.run(move || {
            let (mut wire, mut random) = (Wire::connect(address), Random::new(100 + number as u64));
            while !over.load(Ordering::Relaxed) {
                let (key, value) = (key(random.below(KEYS)), random.next().to_string());
                let request: Vec<&str> = match random.below(10) {
                    _ if direct => vec!["SET", &key, &value, "XX"],
                    0 => vec!["DEL", &key],
                    1 => vec!["SET", &key, &value, "PX", "20"],
                    2 => vec![
                        "EVAL",
                        "return redis.call('SET', KEYS[1], ARGV[1])",
                        "1",
                        &key,
                        &value,
                    ],
                    _ => vec!["SET", &key, &value],
                };
                assert!(!wire.exchange(&request).is_error());
                written.fetch_add(1, Ordering::Relaxed);
                rest(&mut wire, &mut random);
            }
        });
    }
    wait_until(PATIENCE, "much is written", || written.load(Ordering::Relaxed) > 5_000);
    over.store(true, Ordering::Relaxed);
    writers.join();
    let mut caches: Vec<Cache> = readers.into_iter().map(|one| one.join().unwrap()).collect();
    note(&format!("{} writes", written.load(Ordering::Relaxed)));
    assert!(stack.shards.iter().all(|redis| redis.ask(&["DBSIZE"]).integer() > 3));
    expect_no_old_value(&mut caches, &mut stack.client());

    // What is kept is told of later, too: all at once, and one that dies.
    let mut truth = stack.client();
    let random = &mut Random::new(7);
    caches.iter_mut().for_each(|cache| (0..50).for_each(|_| cache.read(random)));
    stack.shards[0].ask(&["FLUSHALL"]);
    expect_no_old_value(&mut caches, &mut truth);
    assert!(stack.proxy.metric_sum("corelay_pool_tracking_clients") > 0.0);
}

#[test]
fn a_lost_tracker_costs_all_that_is_kept() {
    let stack = Stack::start(2, &Options::default());
    let mut truth = stack.client();
    (0..KEYS).for_each(|n| assert_eq!(truth.exchange(&["SET", &key(n), "old"]), Value::ok()));
    let mut caches: Vec<Cache> =
        MODES.iter().map(|mode| Cache::new(stack.proxy.address(), mode)).collect();
    let random = &mut Random::new(3);
    caches.iter_mut().for_each(|cache| (0..50).for_each(|_| cache.read(random)));
    for redis in &stack.shards {
        let mut wire = redis.client();
        // In one piece: nobody is told of what is written in between.
        let kill = vec!["CLIENT", "KILL", "SKIPME", "YES"];
        let set = |n: usize| vec!["SET".to_owned(), key(n), "behind".to_owned(), "XX".to_owned()];
        let kill: Vec<String> = kill.into_iter().map(str::to_owned).collect();
        let requests: Vec<Vec<String>> = [kill].into_iter().chain((0..KEYS).map(set)).collect();
        wire.pipeline(&requests);
    }
    wait_until(PATIENCE, "the proxy is there again", || {
        (0..KEYS).all(|n| !truth.exchange(&["GET", &key(n)]).is_error())
    });
    assert_eq!(truth.exchange(&["GET", &key(1)]), Value::bulk("behind"));
    for cache in &mut caches {
        wait_until(PATIENCE, "it lets go", || cache.stale(&mut truth).is_empty());
        assert!(cache.invalidations > 0, "{}", cache.mode);
    }
}

#[test]
fn over_a_failover_nobody_keeps_an_old_value() {
    let scene = Scene::start_with(&Watching { shards: 2, ..Watching::default() }, "");
    let (over, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let readers = readers(scene.proxy.address(), &over);
    let mut writers = Threads::default();
    for number in 0..2 {
        let (over, written) = (over.clone(), written.clone());
        let address = scene.proxy.address();
        writers.run(move || {
            let (mut wire, mut random) = (Wire::connect(address), Random::new(100 + number));
            wire.set_patience(Duration::from_secs(30));
            while !over.load(Ordering::Relaxed) {
                let (key, value) = (key(random.below(KEYS)), random.next().to_string());
                wire.exchange(&["SET", &key, &value]); // whose outcome may be unknown
                written.fetch_add(1, Ordering::Relaxed);
                rest(&mut wire, &mut random);
            }
        });
    }
    let much = |least: u64| {
        let least = written.load(Ordering::Relaxed) + least;
        wait_until(PATIENCE, "much is written", || written.load(Ordering::Relaxed) > least);
    };
    much(500);
    scene.watched.fail_over(0, 0);
    scene.wait_moved(0, 1);
    scene.wait_served(0, 1);
    much(500);
    over.store(true, Ordering::Relaxed);
    writers.join();
    let mut caches: Vec<Cache> = readers.into_iter().map(|one| one.join().unwrap()).collect();
    expect_no_old_value(&mut caches, &mut scene.proxy.client());
    assert!(scene.proxy.metric_sum("corelay_pool_invalidations_of_all_total") > 0.0);
}

/// What a client says of tracking, on one connection each; requests are set apart by `;`.
const LINES: [&str; 30] = [
    "CLIENT TRACKING",
    "CLIENT TRACKING ON; CLIENT TRACKING OFF",
    "CLIENT TRACKING maybe",
    "CLIENT TRACKING ON maybe; CLIENT TRACKING OFF maybe",
    "CLIENT TRACKING ON PREFIX; CLIENT TRACKING ON REDIRECT; CLIENT TRACKING ON REDIRECT x",
    "CLIENT TRACKINGINFO; CLIENT GETREDIR; CLIENT TRACKING ON; CLIENT TRACKINGINFO; CLIENT GETREDIR",
    "CLIENT TRACKING ON; CLIENT TRACKING ON OPTIN; CLIENT TRACKINGINFO; CLIENT TRACKING OFF; CLIENT TRACKINGINFO",
    "CLIENT TRACKING ON OPTIN; CLIENT TRACKINGINFO; CLIENT TRACKING ON OPTOUT; CLIENT TRACKING ON BCAST",
    "CLIENT TRACKING ON OPTIN; CLIENT TRACKING ON; CLIENT TRACKINGINFO; CLIENT TRACKING ON OPTOUT; CLIENT TRACKINGINFO",
    "CLIENT TRACKING ON OPTIN OPTOUT; CLIENT TRACKING ON BCAST OPTIN; CLIENT TRACKING ON OPTOUT BCAST",
    "CLIENT TRACKING ON PREFIX a; CLIENT TRACKING ON OPTIN PREFIX a",
    "CLIENT TRACKING ON BCAST; CLIENT TRACKINGINFO; CLIENT TRACKING ON; CLIENT TRACKING ON OPTIN",
    "CLIENT TRACKING ON BCAST PREFIX a PREFIX ab; CLIENT TRACKING ON BCAST PREFIX a PREFIX a",
    "CLIENT TRACKING ON BCAST PREFIX b PREFIX a; CLIENT TRACKINGINFO; CLIENT TRACKING ON BCAST PREFIX ab",
    "CLIENT TRACKING ON BCAST PREFIX b; CLIENT TRACKING ON BCAST PREFIX c; CLIENT TRACKINGINFO",
    "CLIENT TRACKING ON BCAST PREFIX b; CLIENT TRACKING ON BCAST; CLIENT TRACKINGINFO",
    "CLIENT TRACKING ON BCAST; CLIENT TRACKING ON BCAST; CLIENT TRACKING ON BCAST PREFIX x",
    "CLIENT TRACKING OFF BCAST PREFIX a; CLIENT TRACKING OFF OPTIN OPTOUT; CLIENT TRACKING OFF NOLOOP",
    "CLIENT CACHING YES; CLIENT CACHING maybe; CLIENT CACHING; CLIENT CACHING YES NO",
    "CLIENT TRACKING ON; CLIENT CACHING YES; CLIENT CACHING NO; CLIENT CACHING maybe",
    "CLIENT TRACKING ON OPTIN; CLIENT CACHING NO; CLIENT CACHING YES; CLIENT TRACKINGINFO; GET a; CLIENT TRACKINGINFO",
    "CLIENT TRACKING ON OPTOUT; CLIENT CACHING YES; CLIENT CACHING NO; CLIENT TRACKINGINFO; GET a; CLIENT TRACKINGINFO",
    "CLIENT TRACKING ON OPTIN; CLIENT CACHING YES; NOSUCHCOMMAND; CLIENT TRACKINGINFO",
    "CLIENT TRACKING ON OPTIN; CLIENT CACHING YES; GET; CLIENT TRACKINGINFO",
    "CLIENT TRACKING ON OPTIN; CLIENT CACHING YES; CLIENT GETNAME; CLIENT NOSUCH; CLIENT TRACKINGINFO",
    "CLIENT TRACKING ON OPTIN; CLIENT CACHING YES; MULTI; GET a; EXEC; CLIENT TRACKINGINFO",
    "CLIENT TRACKING ON OPTIN; CLIENT CACHING YES; MULTI; DISCARD; CLIENT TRACKINGINFO",
    "CLIENT TRACKING ON BCAST; CLIENT CACHING YES; CLIENT CACHING NO",
    "CLIENT TRACKING ON OPTIN; RESET; CLIENT TRACKINGINFO; CLIENT GETREDIR",
    "CLIENT TRACKING ON; HELLO 3 SETNAME x; SELECT 0; CLIENT TRACKINGINFO",
];

#[test]
fn what_is_said_of_tracking_is_what_redis_says() {
    let (plain, stack) = (Redis::start(&[]), Stack::start(3, &Options::default()));
    for line in LINES {
        let (mut direct, mut through) = (plain.client(), stack.client());
        for wire in [&mut direct, &mut through] {
            wire.exchange(&["HELLO", "3"]);
        }
        for request in line.split("; ") {
            let words: Vec<&str> = request.split(' ').collect();
            let (expected, got) = (direct.exchange(&words), through.exchange(&words));
            if words[0] != "HELLO" {
                assert_eq!(got, expected, "{request}, of {line}");
            }
        }
    }
    // RESP2 and who does not track.
    let (mut direct, mut through) = (plain.client(), stack.client());
    for request in ["CLIENT TRACKINGINFO", "CLIENT GETREDIR", "CLIENT TRACKING OFF"] {
        let words: Vec<&str> = request.split(' ').collect();
        assert_eq!(through.exchange(&words), direct.exchange(&words), "{request}");
    }
}
