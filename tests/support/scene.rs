//! A failover as a client meets it: watched shards, the proxy in front, a checking load, and a
//! watch that tells when the sentinels and when the new primary knew of it.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::sentinels::{calls_in, primary_in};
use super::{
    Account, Checking, Clients, Look, Options, PATIENCE, Proxy, Watched, Watching, Wire, holds_for,
    note, wait_until,
};

/// `hold_ms` of the tests: no failover may outlast it, also where the machine has much else to do.
pub const HOLD_MS: u64 = 20_000;
/// From the first sentinel that would name the new primary to the first request that is served
/// there.
pub const SWITCH_MAX: Duration = Duration::from_millis(100);
/// How long a client of another shard may wait: the pauses of a machine that does ten other things,
/// and less than any failover.
pub const OTHERS_WAIT_MAX: Duration = Duration::from_millis(1_000);

/// The sentinels call nothing down, however long the machine pauses.
const CALM: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Scene {
    /// Dropped first: it should not see its shards die.
    pub proxy: Proxy,
    pub watched: Watched,
    /// Hash tags of keys that belong to each shard.
    pub tags: Vec<String>,
    /// Loads that were started.
    loads: Cell<usize>,
}

impl Scene {
    /// Two shards, three sentinels, the proxy.
    pub fn start() -> Scene {
        Scene::start_with(&Watching { shards: 2, ..Watching::default() }, "")
    }

    /// `pool`: further lines of `[[pool]]`.
    pub fn start_with(watching: &Watching, pool: &str) -> Scene {
        let watched = Watched::start_with(watching);
        let proxy = Proxy::start(&[], &options(&watched, pool));
        Scene::of(watched, proxy)
    }

    /// The pool gives up on a request after `timeout_ms`.
    pub fn start_with_timeout(watching: &Watching, timeout_ms: u64) -> Scene {
        let watched = Watched::start_with(watching);
        let proxy = Proxy::start(&[], &Options { timeout_ms, ..options(&watched, "") });
        Scene::of(watched, proxy)
    }

    /// As [`Scene::start`], with a proxy of so many cores.
    pub fn start_on(cores: &'static str) -> Scene {
        let watched = Watched::start_with(&Watching { shards: 2, ..Watching::default() });
        let proxy = Proxy::start(&[], &Options { cores, ..options(&watched, "") });
        Scene::of(watched, proxy)
    }

    fn of(watched: Watched, proxy: Proxy) -> Scene {
        (0..watched.shards.len()).for_each(|shard| watched.set_down_after(shard, CALM));
        let tags = tags(&proxy, &watched);
        Scene { proxy, watched, tags, loads: Cell::new(0) }
    }

    /// The sentinels call this shard's primary down after a second, until [`Scene::wait_moved`].
    pub fn alert(&self, shard: usize) {
        self.watched.set_down_after(shard, Duration::from_secs(1));
    }

    /// Waits until the sentinels have moved the primary to this node, and see to it that they leave
    /// it there.
    pub fn wait_moved(&self, shard: usize, node: usize) {
        self.watched.wait_primary(shard, node);
        self.watched.set_down_after(shard, CALM);
    }

    /// For as long as `period`, or until it is made a replica, the node is asked nothing.
    pub fn expect_unused(&self, shard: usize, node: usize, period: Duration) {
        let of_shard = &self.watched.shards[shard];
        let (_, before) = of_shard.role_and_commands(node);
        holds_for(period, "nothing is asked of a primary that was replaced", || {
            let (role, commands) = of_shard.role_and_commands(node);
            role != "master" || commands == before
        });
    }

    /// A load with keys of its own.
    pub fn load(&self) -> Checking {
        self.loads.set(self.loads.get() + 1);
        let keys = |tag: &String| format!("{tag}load{}:", self.loads.get());
        let tags: Vec<String> = self.tags.iter().map(keys).collect();
        let load = Checking::start(self.proxy.address(), &tags, clients());
        for shard in 0..self.tags.len() {
            let served = || self.calls(shard, self.primary(shard)) > 100;
            wait_until(PATIENCE, "the load is under way", served);
        }
        load
    }

    /// The node that a majority of the sentinels calls the primary.
    pub fn primary(&self, shard: usize) -> usize {
        self.watched.primary(shard).expect("a majority for a primary")
    }

    /// Reads that a node has served: unlike writes, no node gets them from its primary.
    pub fn calls(&self, shard: usize, node: usize) -> u64 {
        self.watched.shards[shard].calls(node, "get")
    }

    /// Waits until the load goes on at this node, long enough to show what is wrong with it.
    pub fn wait_served(&self, shard: usize, node: usize) {
        let before = self.calls(shard, node);
        wait_until(PATIENCE, "the new primary serves reads", || {
            self.calls(shard, node) > before + 200
        });
    }

    /// Ends the load and reads back from whatever is the primary now.
    pub fn settle(&self, load: Checking) -> Account {
        let account = load.settle(|shard| self.watched.shards[shard].client(self.primary(shard)));
        note(&account.to_string());
        account
    }
}

/// What the proxy is told.
pub fn options(watched: &Watched, pool: &str) -> Options {
    Options {
        pool: format!("dangerous_commands = \"allow\"\nhold_ms = {HOLD_MS}\n{pool}"),
        tables: watched.pool_toml(),
        ..Options::default()
    }
}

/// The ordinary load, which waits longer than any hold.
pub fn clients() -> Clients {
    Clients { patience: Duration::from_millis(2 * HOLD_MS), ..Clients::default() }
}

/// A hash tag for each shard, found by writing through the proxy and looking where the key is.
fn tags(proxy: &Proxy, watched: &Watched) -> Vec<String> {
    let mut through = proxy.client();
    let mut tags = vec![None; watched.shards.len()];
    for candidate in 0..1_000 {
        let tag = format!("{{t{candidate}}}");
        let key = format!("{tag}probe");
        let reply = through.exchange(&["SET", &key, "1"]);
        assert!(!reply.is_error(), "{reply:?}");
        let holds = |shard: usize| {
            let primary = watched.primary(shard).expect("a primary");
            watched.shards[shard].ask(primary, &["EXISTS", &key]).integer() == 1
        };
        let shard = (0..tags.len()).find(|&shard| holds(shard)).expect("a shard that has the key");
        through.exchange(&["DEL", &key]);
        tags[shard].get_or_insert(tag);
        if tags.iter().all(Option::is_some) {
            break;
        }
    }
    tags.into_iter().map(|tag| tag.expect("keys for every shard")).collect()
}

/// Watches one failover from outside the proxy.
#[derive(Debug)]
pub struct SwitchWatch {
    ended: Arc<AtomicBool>,
    known: JoinHandle<Option<Instant>>,
    served: JoinHandle<Served>,
}

/// What the watch of the new primary has seen.
#[derive(Debug, Default)]
struct Served {
    at: Option<Instant>,
    /// When it looked.
    looks: Vec<Instant>,
}

impl SwitchWatch {
    /// Asks the sentinels with these indices, and the node that is to be promoted, every few
    /// milliseconds.
    pub fn start(scene: &Scene, sentinels: &[usize], shard: usize, node: usize) -> SwitchWatch {
        let ended = Arc::new(AtomicBool::new(false));
        let of_shard = &scene.watched.shards[shard];
        let asked: Vec<Wire> = sentinels
            .iter()
            .map(|&index| scene.watched.sentinels[index].try_client().expect("a sentinel"))
            .collect();
        let (name, address) = (of_shard.name.clone(), of_shard.nodes[node].address());
        let end = Arc::clone(&ended);
        let known = std::thread::spawn(move || first_named(asked, &name, address, &end));
        let (look, end) = (of_shard.look(node), Arc::clone(&ended));
        let served = std::thread::spawn(move || first_served(look, &end));
        SwitchWatch { ended, known, served }
    }

    /// From the first sentinel that named the node to its first read. That is what the proxy took,
    /// and what the machine had no CPU for: the longest pause of the watch itself, which does no more
    /// than the least of the half a dozen threads and processes through which a switch goes.
    pub fn expect_in_time(self) {
        self.ended.store(true, Ordering::SeqCst);
        let known = self.known.join().expect("a thread").expect("a sentinel that named the node");
        let served = self.served.join().expect("a thread");
        let first = served.at.expect("a read that it served");
        let took = first.saturating_duration_since(known);
        let looks = served.looks.windows(2).filter(|pair| pair[1] > known && pair[0] < first);
        let pause = looks.map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        note(&format!("switched in {took:?}; the watch itself paused {pause:?}"));
        let allowed = SWITCH_MAX + HOPS * pause.saturating_sub(2 * LOOK_EVERY);
        assert!(took <= allowed, "the switch took {took:?}; the watch paused {pause:?} at most");
    }
}

/// Sentinel, the watcher's link, its rules, ROLE of the node, the core, the node.
const HOPS: u32 = 6;
const LOOK_EVERY: Duration = Duration::from_millis(2);

fn first_named(
    mut sentinels: Vec<Wire>,
    name: &str,
    address: SocketAddr,
    ended: &AtomicBool,
) -> Option<Instant> {
    while !ended.load(Ordering::SeqCst) {
        for sentinel in &mut sentinels {
            let reply = sentinel.exchange(&["SENTINEL", "get-master-addr-by-name", name]);
            if primary_in(&reply) == Some(address) {
                return Some(Instant::now());
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
    None
}

fn first_served(mut node: Look, ended: &AtomicBool) -> Served {
    let (mut before, mut served) = (None, Served::default());
    while !ended.load(Ordering::SeqCst) && served.at.is_none() {
        if let Some(replies) = node.try_ask(&[&["INFO", "commandstats"]]) {
            let reads = calls_in(&replies[0], "get");
            if reads > *before.get_or_insert(reads) {
                served.at = Some(Instant::now());
            }
        }
        served.looks.push(Instant::now());
        std::thread::sleep(LOOK_EVERY);
    }
    served
}
