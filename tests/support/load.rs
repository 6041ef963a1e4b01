//! A load that checks every reply, while something is done to the servers or the proxy.
//!
//! It stops the test at the first wrong reply, and takes any error and any lost connection for
//! granted: for tests of what must never be wrong. Where errors themselves are bounded and have to
//! be counted (a failover), `checking` is the load.
//!
//! Each worker has keys of its own and pipelines SET, GET, INCR, MGET and ECHO over them. A value
//! says which key and which write it is of, so a reply that belongs to anybody else, is torn, or is
//! older than the last acknowledged write is found out at once. What was answered by an error, or
//! not at all, may or may not have been done: both are taken as right, nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{PATIENCE, Random, Value, Wire, encode, wait_until};

const KEYS_PER_WORKER: usize = 12;
const PIPELINE_MAX: usize = 12;

type Connect = dyn Fn() -> io::Result<Wire> + Send + Sync;

/// What a load has seen.
#[derive(Debug, Default)]
pub struct Tally {
    /// Right replies.
    pub good: usize,
    /// Error replies, by their text.
    pub errors: BTreeMap<String, usize>,
    /// Connections that ended under a worker.
    pub cuts: usize,
    /// The longest wait for one reply.
    pub worst: Duration,
}

#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
    workers: Vec<JoinHandle<Tally>>,
}

impl Load {
    /// Starts `workers` clients that come by `connect`, again and again if they are cut off.
    pub fn start(
        workers: usize,
        connect: impl Fn() -> io::Result<Wire> + Send + Sync + 'static,
    ) -> Load {
        let (stop, good) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let connect: Arc<Connect> = Arc::new(connect);
        let workers = (0..workers)
            .map(|number| {
                let (stop, good) = (Arc::clone(&stop), Arc::clone(&good));
                let mut worker = Worker::new(number, Arc::clone(&connect), good);
                std::thread::spawn(move || {
                    while !stop.load(Ordering::SeqCst) {
                        worker.round();
                    }
                    worker.settle();
                    worker.tally
                })
            })
            .collect();
        Load { stop, good, workers }
    }

    /// Right replies so far.
    pub fn good(&self) -> usize {
        self.good.load(Ordering::SeqCst)
    }

    /// Waits until there are so many more right replies; at once panics if a worker has.
    pub fn wait_for(&self, more: usize) {
        let wanted = self.good() + more;
        wait_until(PATIENCE, "right replies", || {
            let failed = self.workers.iter().any(JoinHandle::is_finished);
            failed || self.good() >= wanted
        });
    }

    /// Ends it, looks at all that it has written, and gives what was seen.
    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Tally::default();
        for worker in self.workers {
            match worker.join() {
                Ok(tally) => all.add(tally),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    }
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.good += other.good;
        self.cuts += other.cuts;
        self.worst = self.worst.max(other.worst);
        for (text, count) in other.errors {
            *self.errors.entry(text).or_default() += count;
        }
    }
}

/// What a worker knows of one of its keys.
#[derive(Debug, Default)]
struct Key {
    name: String,
    /// The last write that was acknowledged, and those of which nobody knows.
    acknowledged: Option<u64>,
    unknown: BTreeSet<u64>,
    writes: u64,
    /// The counter beside the key.
    counted: i64,
    maybe_counted: i64,
}

#[derive(Debug)]
enum Asked {
    Set { key: usize, version: u64 },
    Get { key: usize },
    Mget { keys: Vec<usize> },
    Incr { key: usize },
    Echo { nonce: String },
}

struct Worker {
    connect: Arc<Connect>,
    wire: Option<Wire>,
    random: Random,
    keys: Vec<Key>,
    good: Arc<AtomicUsize>,
    tally: Tally,
}

impl Worker {
    fn new(number: usize, connect: Arc<Connect>, good: Arc<AtomicUsize>) -> Worker {
        let name = |at: usize| Key { name: format!("w{number}:k{at}"), ..Key::default() };
        Worker {
            connect,
            wire: None,
            random: Random::new(1 + number as u64),
            keys: (0..KEYS_PER_WORKER).map(name).collect(),
            good,
            tally: Tally::default(),
        }
    }

    /// One pipeline; or one attempt to connect.
    fn round(&mut self) {
        if self.wire.is_none() {
            self.wire = (self.connect)().ok();
            if self.wire.is_none() {
                std::thread::sleep(Duration::from_millis(1));
                return;
            }
        }
        let length = 1 + self.random.below(PIPELINE_MAX);
        let asked: Vec<Asked> = (0..length).map(|_| self.choose()).collect();
        self.exchange(asked);
    }

    fn choose(&mut self) -> Asked {
        let key = self.random.below(self.keys.len());
        match self.random.below(5) {
            0 => {
                self.keys[key].writes += 1;
                Asked::Set { key, version: self.keys[key].writes }
            }
            1 => Asked::Get { key },
            2 => Asked::Incr { key },
            3 => {
                let count = 1 + self.random.below(5);
                let keys = (0..count).map(|_| self.random.below(self.keys.len())).collect();
                Asked::Mget { keys }
            }
            _ => Asked::Echo { nonce: format!("nonce {}", self.random.next()) },
        }
    }

    fn wire_of(&self, asked: &Asked) -> Vec<u8> {
        let name = |key: usize| self.keys[key].name.clone();
        encode(&match asked {
            Asked::Set { key, version } => {
                vec!["SET".to_owned(), name(*key), format!("{}={version}", name(*key))]
            }
            Asked::Get { key } => vec!["GET".to_owned(), name(*key)],
            Asked::Incr { key } => vec!["INCR".to_owned(), format!("{}:count", name(*key))],
            Asked::Mget { keys } => {
                let names = keys.iter().map(|key| name(*key));
                std::iter::once("MGET".to_owned()).chain(names).collect()
            }
            Asked::Echo { nonce } => vec!["ECHO".to_owned(), nonce.clone()],
        })
    }

    fn exchange(&mut self, asked: Vec<Asked>) {
        let bytes: Vec<u8> = asked.iter().flat_map(|asked| self.wire_of(asked)).collect();
        let Some(mut wire) = self.wire.take() else { return };
        // If it can not be sent the end is read below.
        let _ = wire.try_send(&bytes);
        let mut waiting = asked.into_iter();
        let since = Instant::now();
        for asked in waiting.by_ref() {
            match wire.next() {
                Ok(reply) => {
                    self.tally.worst = self.tally.worst.max(since.elapsed());
                    self.take(&asked, reply);
                }
                Err(super::Ended::Closed | super::Ended::Torn) => {
                    self.tally.cuts += 1;
                    self.nobody_knows(&asked);
                    waiting.for_each(|asked| self.nobody_knows(&asked));
                    return;
                }
                Err(ended) => panic!("{asked:?}: {ended:?}"),
            }
        }
        self.wire = Some(wire);
    }

    /// It may have been done, or may be done yet.
    fn nobody_knows(&mut self, asked: &Asked) {
        match asked {
            Asked::Set { key, version } => {
                self.keys[*key].unknown.insert(*version);
            }
            Asked::Incr { key } => self.keys[*key].maybe_counted += 1,
            _ => {}
        }
    }

    fn take(&mut self, asked: &Asked, reply: Value) {
        if let Value::Error(text) = reply {
            *self.tally.errors.entry(text).or_default() += 1;
            return self.nobody_knows(asked);
        }
        match asked {
            Asked::Set { key, version } => {
                assert_eq!(reply, Value::ok(), "{asked:?}");
                self.keys[*key].acknowledged = Some(*version);
            }
            Asked::Get { key } => self.check_value(*key, &reply),
            Asked::Mget { keys } => {
                assert_eq!(reply.items().len(), keys.len(), "{asked:?}: {reply:?}");
                for (key, value) in keys.iter().zip(reply.items()) {
                    self.check_value(*key, value);
                }
            }
            Asked::Incr { key } => {
                let key = &mut self.keys[*key];
                let count = reply.integer();
                let next = key.counted + 1..=key.counted + key.maybe_counted + 1;
                assert!(next.contains(&count), "{}: counted {count}, not {next:?}", key.name);
                // Of those that nobody knew of, so many had been done.
                key.maybe_counted -= count - key.counted - 1;
                key.counted = count;
            }
            Asked::Echo { nonce } => assert_eq!(reply, Value::bulk(nonce)),
        }
        self.tally.good += 1;
        self.good.fetch_add(1, Ordering::SeqCst);
    }

    fn check_value(&self, key: usize, value: &Value) {
        let key = &self.keys[key];
        if value.is_null() {
            assert_eq!(key.acknowledged, None, "{}: an acknowledged write is lost", key.name);
            return;
        }
        let text = value.text();
        let version = text.strip_prefix(&key.name).and_then(|rest| rest.strip_prefix('='));
        let version: Option<u64> = version.and_then(|version| version.parse().ok());
        let Some(version) = version else { panic!("GET {} got \"{text}\"", key.name) };
        assert!(
            key.acknowledged == Some(version) || key.unknown.contains(&version),
            "{}: write {version} was read, {:?} acknowledged",
            key.name,
            key.acknowledged
        );
    }

    /// Everything is as it was acknowledged, after all that was done to the servers.
    fn settle(&mut self) {
        for key in 0..self.keys.len() {
            wait_until(PATIENCE, "an answer without an error in the end", || {
                let errors: usize = self.tally.errors.values().sum();
                let cuts = self.tally.cuts;
                if self.wire.is_none() {
                    self.wire = (self.connect)().ok();
                }
                let connected = self.wire.is_some();
                self.exchange(vec![Asked::Get { key }, Asked::Incr { key }]);
                connected
                    && cuts == self.tally.cuts
                    && errors == self.tally.errors.values().sum::<usize>()
            });
        }
    }
}
