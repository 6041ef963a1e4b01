//! Clients that check every value they get while something goes wrong: a reply is the right one, or
//! an error that names a reason; else it is foreign, somebody else's.
//!
//! Every store of these tests is a false one that gives `value of KEY` for a GET, the number in the
//! key for an INCR, and so on: whose reply it is can be seen from each.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::false_redis::{Connection, FalseRedis, is};
use super::{Ended, Options, Proxy, Random, Threads, Value, Wire, encode, wait_until};

/// A proxy over one store that misbehaves (`bad`, shard1) and two honest ones.
#[derive(Debug)]
pub struct Stage {
    pub proxy: Proxy,
    pub bad: FalseRedis,
    pub honest: [FalseRedis; 2],
    /// Keys of the bad one, and keys of the others.
    pub bad_keys: Vec<String>,
    pub good_keys: Vec<String>,
}

/// What clients have heard.
#[derive(Debug, Default)]
pub struct Tally {
    pub right: AtomicU64,
    pub errors: AtomicU64,
    /// Connections that ended with replies outstanding.
    pub closed: AtomicU64,
    pub foreign: AtomicU64,
    /// The longest wait for a pipeline, µs.
    pub slowest_us: AtomicU64,
    /// The first error and the first foreign reply.
    said: Mutex<Vec<String>>,
}

/// Clients at work in threads of their own.
#[derive(Debug)]
pub struct Watchers {
    threads: Threads,
    stop: Arc<AtomicBool>,
    pub tally: Arc<Tally>,
}

impl Stage {
    /// `script` runs each connection to the bad store.
    pub fn start(
        options: &Options,
        script: impl Fn(&mut Connection) + Send + Sync + 'static,
    ) -> Stage {
        let (learning, keys) =
            (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(BTreeSet::new())));
        let (learns, seen) = (Arc::clone(&learning), Arc::clone(&keys));
        let bad = FalseRedis::start(move |connection| {
            if !learns.load(Ordering::SeqCst) {
                return script(connection);
            }
            while let Some(request) = connection.read_request() {
                if is(&request, "GET") {
                    seen.lock().unwrap().insert(String::from_utf8_lossy(&request[1]).into_owned());
                }
                connection.answer(&request);
                if !learns.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        let honest = [FalseRedis::honest(), FalseRedis::honest()];
        let mut shards = vec![("shard1".to_owned(), bad.address().to_string())];
        shards.push(("shard2".to_owned(), honest[0].address().to_string()));
        shards.push(("shard3".to_owned(), honest[1].address().to_string()));
        let proxy = Proxy::start(&shards, options);
        let mut client = proxy.client();
        let all: Vec<String> = (0..60).map(|number| format!("{number}-key")).collect();
        for key in &all {
            assert_eq!(client.exchange(&["GET", key]), Value::bulk(format!("value of {key}")));
        }
        let (bad_keys, good_keys): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|key| keys.lock().unwrap().contains(key));
        assert!(bad_keys.len() > 3 && good_keys.len() > 3, "{bad_keys:?}");
        // The connection that was learnt from ends with its next reply; the script has the others.
        learning.store(false, Ordering::SeqCst);
        client.request(&["GET", &bad_keys[0]]);
        let _ = client.next();
        wait_until(super::PATIENCE, "the script has a connection", || {
            bad.accepted() > 1 || {
                client.request(&["GET", &bad_keys[0]]);
                let _ = client.next();
                false
            }
        });
        Stage { proxy, bad, honest, bad_keys, good_keys }
    }

    /// `clients` clients each for the keys of the bad store and for the others.
    pub fn watch(&self, clients: usize) -> (Watchers, Watchers) {
        let of = |keys: &Vec<String>| Watchers::start(&self.proxy, clients, keys);
        (of(&self.bad_keys), of(&self.good_keys))
    }

    /// Requests are served again, all of them right.
    pub fn serves_again(&self, within: Duration) {
        let mut client = self.proxy.client();
        let key = &self.bad_keys[1];
        wait_until(within, "the store serves again", || {
            client.request(&["GET", key]);
            match client.next() {
                Ok(reply) => reply == Value::bulk(format!("value of {key}")),
                Err(_) => {
                    client = self.proxy.client();
                    false
                }
            }
        });
    }

    pub fn out_of_step(&self) -> u64 {
        self.proxy.metric_sum("corelay_shard_lane_desynchronised_total") as u64
    }
}

/// Whether `reply` is what the honest stores say to this request.
pub fn is_right(request: &[String], reply: &Value) -> bool {
    let value = |key: &String| Value::bulk(format!("value of {key}"));
    match request[0].as_str() {
        "GET" => *reply == value(&request[1]),
        "SET" => *reply == Value::ok(),
        "INCR" => *reply == Value::Integer(super::false_redis::number_in(request[1].as_bytes())),
        "MGET" => *reply == Value::Array(request[1..].iter().map(value).collect()),
        other => panic!("nobody asks for {other}"),
    }
}

/// One of the requests that clients make of `keys`.
pub fn some_request(random: &mut Random, keys: &[String]) -> Vec<String> {
    let mut key = || keys[random.below(keys.len())].clone();
    let keys = [key(), key(), key()];
    let [a, b, c] = keys;
    match random.below(6) {
        0 => vec!["SET".to_owned(), a, "v".to_owned()],
        1 => vec!["INCR".to_owned(), a],
        2 => vec!["MGET".to_owned(), a, b, c],
        _ => vec!["GET".to_owned(), a],
    }
}

impl Tally {
    pub fn count(&self, request: &[String], reply: &Value) {
        if is_right(request, reply) {
            self.right.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let cell = if reply.is_error() { &self.errors } else { &self.foreign };
        if cell.fetch_add(1, Ordering::Relaxed) == 0 {
            self.said.lock().unwrap().push(format!("{request:?} heard {reply:?}"));
        }
    }

    pub fn right(&self) -> u64 {
        self.right.load(Ordering::Relaxed)
    }

    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    pub fn foreign(&self) -> u64 {
        self.foreign.load(Ordering::Relaxed)
    }

    /// The first error and the first foreign reply.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().join("; ")
    }
}

impl Watchers {
    pub fn start(proxy: &Proxy, clients: usize, keys: &[String]) -> Watchers {
        let (stop, tally) = (Arc::new(AtomicBool::new(false)), Arc::new(Tally::default()));
        let mut threads = Threads::default();
        for number in 0..clients {
            let (stop, tally) = (Arc::clone(&stop), Arc::clone(&tally));
            let (address, keys) = (proxy.address(), keys.to_vec());
            threads.run(move || watch(number, address, &keys, &stop, &tally));
        }
        Watchers { threads, stop, tally }
    }

    /// So many more right replies have been heard.
    pub fn wait_for(&self, replies: u64) {
        let before = self.tally.right();
        wait_until(Duration::from_secs(20), "clients go on", || {
            self.tally.right() >= before + replies
        });
    }

    pub fn end(mut self) -> Arc<Tally> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.join();
        Arc::clone(&self.tally)
    }

    /// Ends them: they had nothing but right replies, none of them later than `within`.
    pub fn end_unharmed(self, within: Duration) {
        let tally = self.end();
        let wrong = tally.errors() + tally.foreign() + tally.closed.load(Ordering::Relaxed);
        assert_eq!(wrong, 0, "clients of other shards: {}", tally.said());
        assert!(tally.right() > 0, "they did nothing");
        let slowest = Duration::from_micros(tally.slowest_us.load(Ordering::Relaxed));
        super::note(&format!("clients of other shards waited {slowest:?} at most"));
        assert!(slowest < within, "a client of another shard waited {slowest:?}");
    }
}

fn watch(
    number: usize,
    address: std::net::SocketAddr,
    keys: &[String],
    stop: &AtomicBool,
    tally: &Tally,
) {
    let mut random = Random::new(number as u64 + 77);
    let mut client = Wire::connect(address);
    while !stop.load(Ordering::SeqCst) {
        let count = 1 + random.below(8);
        let requests: Vec<_> = (0..count).map(|_| some_request(&mut random, keys)).collect();
        let begun = Instant::now();
        let bytes: Vec<u8> = requests.iter().flat_map(|request| encode(request)).collect();
        let mut ended = client.try_send(&bytes).is_err();
        for request in &requests {
            match client.next() {
                Ok(reply) => tally.count(request, &reply),
                Err(Ended::Silent) => panic!("no answer at all to {request:?}"),
                Err(_) => {
                    ended = true;
                    break;
                }
            }
        }
        if ended {
            tally.closed.fetch_add(1, Ordering::Relaxed);
            client = Wire::connect(address);
        }
        tally.slowest_us.fetch_max(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
    }
}
