//! Reload: the configuration file takes the place of the configuration in force, whole, or nothing
//! of it does.
//!
//! ```text
//!  SIGHUP ───────┐
//!  POST /reload ─┴▶ read, check ─▶ restart needed? keys move? ─▶ look up names ─▶ bind ─▶ publish
//!                        └────────────── a complaint: all as it was ───────────────┘
//! ```
//!
//! One at a time, on a thread of its own: nobody who asks is held up by a file system or a resolver.
//! The new configuration goes to the cores in one topology with its addresses; it is in force when
//! all of them have taken it. It must never publish half of a file.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{Receiver, Sender, bounded};
use crossbeam::sync::ShardedLock;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::admin_client;
use super::publisher::Publisher;
use super::resolver::{self, ResolverHandle};
use super::state::ControlState;
use crate::base::ids::ShardId;
use crate::config::change::{hindrances, succeed};
use crate::config::model::{Config, NodeAddress};
use crate::config::{Complaint, Loaded, Severity};
use crate::stats::cells::CoreMetric;
use crate::stats::prometheus::ReloadFigures;
use crate::topology::Topology;

/// Orders that wait: each reads the file as it is when its turn comes, so more say nothing new.
const ORDERS_MAX: usize = 16;
/// A core takes a topology within a turn; one that does not within this time is stuck.
const CORES_TAKE_MAX: Duration = Duration::from_secs(2);
/// Pause between two looks at the cores.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// `corelay reload` waits so long: names may take five seconds.
const ANSWER_MAX: Duration = Duration::from_secs(9);

/// Reads and checks the file anew.
pub type Load = Box<dyn Fn() -> Result<Loaded, Vec<Complaint>> + Send>;

/// Where the configuration comes from.
pub struct Source {
    /// As the user named it.
    pub file: String,
    pub load: Load,
}

/// Where a reload is asked for; cheap to clone.
#[derive(Clone, Debug)]
pub struct Reloads {
    orders: Sender<Order>,
}

#[derive(Debug)]
struct Order {
    by: &'static str,
    allow_moved_keys: bool,
    answer: Option<oneshot::Sender<Outcome>>,
}

/// What became of a reload: what there is to tell, line by line. `Err`: nothing has changed.
pub(super) type Outcome = Result<Vec<String>, Vec<String>>;

/// The last reload, for those who look.
#[derive(Debug, Default)]
pub(super) struct LastReload(ShardedLock<Option<Told>>);

#[derive(Clone, Debug)]
struct Told {
    at: SystemTime,
    by: &'static str,
    outcome: Outcome,
    taken: u64,
    refused: u64,
}

impl LastReload {
    fn told(&self) -> Option<Told> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, by: &'static str, outcome: &Outcome) {
        let mut last = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let (taken, refused) = last.as_ref().map_or((0, 0), |last| (last.taken, last.refused));
        let outcome = outcome.clone();
        let (taken, refused) = match outcome {
            Ok(_) => (taken + 1, refused),
            Err(_) => (taken, refused + 1),
        };
        *last = Some(Told { at: SystemTime::now(), by, outcome, taken, refused });
    }

    pub(super) fn figures(&self) -> ReloadFigures {
        let Some(last) = self.told() else {
            return ReloadFigures { last_is_taken: true, ..ReloadFigures::default() };
        };
        ReloadFigures {
            taken: last.taken,
            refused: last.refused,
            last_is_taken: last.outcome.is_ok(),
            last_unix_s: Some(unix_s(last.at)),
        }
    }

    /// `GET /reload`.
    pub(super) fn show(&self) -> Value {
        let Some(last) = self.told() else { return json!({ "state": "none" }) };
        let (state, lines) = match &last.outcome {
            Ok(lines) => ("taken", lines),
            Err(lines) => ("refused", lines),
        };
        json!({ "state": state, "unix_s": unix_s(last.at), "by": last.by, "told": lines })
    }
}

fn unix_s(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

impl Reloads {
    /// A signal asks: whoever sent it reads the log.
    pub fn by_signal(&self) {
        let order = Order { by: "SIGHUP", allow_moved_keys: false, answer: None };
        let _ = self.orders.try_send(order);
    }

    /// The admin port asks, and hears what became of it.
    pub(super) async fn by_admin(&self, allow_moved_keys: bool) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let order = Order { by: "the admin port", allow_moved_keys, answer: Some(answer) };
        if self.orders.try_send(order).is_err() {
            return Err(vec!["too many reloads are under way".to_owned()]);
        }
        answered.await.unwrap_or_else(|_| Err(vec!["the proxy is ending".to_owned()]))
    }
}

/// Where reloads are asked for, and what takes the orders. They wait until `start`.
pub fn orders() -> (Reloads, Orders) {
    let (sender, orders) = bounded(ORDERS_MAX);
    (Reloads { orders: sender }, Orders(orders))
}

/// See [`orders`].
#[derive(Debug)]
pub struct Orders(Receiver<Order>);

/// The cores' listeners.
pub trait Doors: Send {
    /// Binds what `next` wants beside what `now` has; nobody is let in yet.
    ///
    /// # Errors
    /// What can not be bound: then nothing is.
    fn bind(&mut self, now: &Config, next: &Config) -> Result<(), Vec<String>>;

    /// The cores have been told of their pools: opens what was bound. Gives what went wrong.
    fn open(&mut self) -> Vec<String>;
}

/// Starts the thread that reloads. `resolver` keeps the names of the present configuration.
///
/// # Errors
/// The thread can not be started.
pub fn start(
    orders: Orders,
    source: Source,
    doors: Box<dyn Doors>,
    state: Arc<ControlState>,
    publisher: Arc<Publisher>,
    resolver: Option<ResolverHandle>,
) -> io::Result<()> {
    let reloader = Reloader { source, doors, state, publisher, resolver };
    let run = move || reloader.run(&orders.0);
    std::thread::Builder::new().name("corelay-reload".to_owned()).spawn(run)?;
    Ok(())
}

struct Reloader {
    source: Source,
    doors: Box<dyn Doors>,
    state: Arc<ControlState>,
    publisher: Arc<Publisher>,
    resolver: Option<ResolverHandle>,
}

impl Reloader {
    fn run(mut self, orders: &Receiver<Order>) {
        for order in orders {
            let outcome = self.reload(order.allow_moved_keys);
            let log = &self.state.log;
            let (lines, message) = match &outcome {
                Ok(lines) => (lines, "reload"),
                Err(lines) => (lines, "reload refused, nothing has changed"),
            };
            for line in lines {
                let fields: [crate::log::Field<'_>; 2] = [("by", &order.by), ("told", line)];
                match &outcome {
                    Ok(_) => log.info(message, &fields),
                    Err(_) => log.error(message, &fields),
                }
            }
            self.state.last_reload.set(order.by, &outcome);
            if let Some(answer) = order.answer {
                // Who asked may have gone.
                let _ = answer.send(outcome);
            }
        }
    }

    fn reload(&mut self, allow_moved_keys: bool) -> Outcome {
        let Loaded { config: file, warnings } = (self.source.load)().map_err(|all| lines(&all))?;
        let mut told = lines(&warnings);
        let now = self.publisher.current();
        let hindrances = hindrances(&self.source.file, &now.config, &file, allow_moved_keys);
        if !hindrances.is_empty() {
            return Err(lines(&hindrances));
        }
        let next = Arc::new(succeed(&now.config, file));
        if next == now.config {
            told.push(format!("{} says what is in force already", self.source.file));
            return Ok(told);
        }
        let log = &self.state.log;
        let found = resolver::resolve_all(&next, log);
        let (found, resolver) = found.map_err(|why| vec![format!("names: {why}")])?;
        let lost = self.unresolved(&now, &found);
        if !lost.is_empty() {
            return Err(lines(&lost));
        }
        self.doors.bind(&now.config, &next)?;
        // Nothing can go wrong from here on. The old names must not be written over the new ones.
        self.resolver = None;
        if next.proxy.log_level != now.config.proxy.log_level {
            log.set_level(next.proxy.log_level);
        }
        self.state.cores.iter().for_each(|core| core.grow(&next));
        let epoch = self.publisher.change(|topology| take_over(topology, &next, &found));
        let resolver = resolver.map(|resolver| resolver.start(self.publisher.clone())).transpose();
        match resolver {
            Ok(resolver) => self.resolver = resolver,
            Err(why) => told.push(format!("names are no longer looked up again: {why}")),
        }
        let epoch = epoch.unwrap_or_default();
        told.push(format!("{} is in force, as topology {epoch}", self.source.file));
        told.extend(further_pools(&now.config, &next));
        told.extend(self.stragglers(epoch));
        told.extend(self.doors.open());
        Ok(told)
    }

    /// Shards that get another address, which is a name that nobody knows.
    fn unresolved(&self, now: &Topology, found: &Topology) -> Vec<Complaint> {
        let mut complaints = Vec::new();
        for (id, config) in found.config.numbered() {
            let before = now.config.numbered().find(|(_, before)| before.name == config.name);
            for (at, shard) in (0..).zip(&config.shards) {
                let Some(place) = found.shard(id, ShardId(at)) else { continue };
                let before = before.and_then(|(_, before)| {
                    before.shards.iter().find(|before| before.name == shard.name)
                });
                let same = before.is_some_and(|before| before.address == shard.address);
                if same || place.primary.is_some() || shard.address == NodeAddress::Sentinel {
                    continue;
                }
                let why = format!("{} of pool {} does not resolve", shard.name, config.name);
                let mut complaint = Complaint::of_file(&self.source.file, why, "");
                complaint.key = "pool.shard.address".to_owned();
                complaint.value = Some(shard.address.to_string());
                complaint.remedy = "write an address, or a name that the resolver knows".to_owned();
                complaints.push(complaint);
            }
        }
        complaints
    }

    /// Waits until every core has taken this topology; tells of those that have not.
    fn stragglers(&self, epoch: u64) -> Vec<String> {
        let has_taken = |core: usize| {
            self.state
                .cores
                .get(core)
                .is_none_or(|core| core.core(CoreMetric::TopologyEpoch).get() >= epoch)
        };
        let deadline = instant() + CORES_TAKE_MAX;
        let cores = 0..self.state.cores.len();
        while !cores.clone().all(has_taken) && instant() < deadline {
            std::thread::park_timeout(LOOK_EVERY);
        }
        let late = cores.filter(|core| !has_taken(*core));
        late.map(|core| format!("core {core} has not taken it yet")).collect()
    }
}

/// The topology in force becomes that of `next`. Primaries that sentinels tell of stay as they are;
/// a name that has no answer now keeps its last address.
fn take_over(topology: &mut Topology, next: &Arc<Config>, found: &Topology) {
    topology.config = next.clone();
    let further = found.pools.iter().skip(topology.pools.len());
    topology.pools.extend(further.cloned());
    let pools = next.pools.iter().zip(topology.pools.iter_mut().zip(&found.pools));
    for (config, (known, found)) in pools {
        let shards = config.shards.iter().zip(known.shards.iter_mut().zip(&found.shards));
        for (shard, (known, found)) in shards {
            if shard.address == NodeAddress::Sentinel {
                continue;
            }
            if let Some(primary) = found.primary.clone() {
                known.set_primary(primary);
            }
        }
    }
}

/// Pools that came.
fn further_pools(now: &Config, next: &Config) -> Vec<String> {
    let further = next.pools.iter().skip(now.pools.len());
    further.map(|pool| format!("pool {} is served, too", pool.name)).collect()
}

fn lines(complaints: &[Complaint]) -> Vec<String> {
    // Errors first: they are what has to be done.
    let mut sorted: Vec<&Complaint> = complaints.iter().collect();
    sorted.sort_by_key(|complaint| complaint.severity != Severity::Error);
    sorted.into_iter().map(ToString::to_string).collect()
}

#[expect(clippy::disallowed_methods, reason = "the control plane reads the clock")]
fn instant() -> Instant {
    Instant::now()
}

/// What `corelay reload` does: asks the admin port at `admin`, and gives what it says.
///
/// # Errors
/// Why nothing has changed.
pub fn ask_for(admin: SocketAddr, allow_moved_keys: bool) -> Result<String, String> {
    let wish = json!({ "allow_moved_keys": allow_moved_keys }).to_string();
    let refused = |why: &dyn Display| format!("admin port {admin}: {why}");
    admin_client::post(admin, PATH, wish, ANSWER_MAX).map_err(|why| refused(&why))
}

pub(super) const PATH: &str = "/reload";

#[cfg(test)]
#[path = "reload_tests.rs"]
mod tests;
