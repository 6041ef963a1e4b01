//! The process: boots the cores and the control plane, listens to signals, ends in order.
//!
//! It is the only place that knows both planes. What can fail, fails here at boot, in one line
//! each, before the first client is accepted.

pub mod demo;
mod panic;
mod report;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::base::limits::{CONTROL_DESCRIPTORS, CORE_DESCRIPTORS_MIN, DESCRIPTORS_MIN, DRAIN_MS};
use crate::config::model::{Config, Listen, LogLevel};
use crate::control::admin::{self, AdminHandle, Deeds};
use crate::control::publisher::Publisher;
use crate::control::reload::{self, Doors, Reloads, Source};
use crate::control::replicas::{self, ReplicasHandle};
use crate::control::resolver;
use crate::control::sentinel::{self, WatchHandle};
use crate::control::state::ControlState;
use crate::control::stats_port::{self, StatsPortHandle};
use crate::control::switchover::Switchovers;
use crate::log::{self, Logger};
use crate::mailbox::{Letter, Mailbox, MailboxSender, mailbox};
use crate::net::features::Features;
use crate::net::listen::{ListenError, Listener};
use crate::net::{descriptors, listen, memory};
use crate::reactor::balance::Balance;
use crate::reactor::{CoreHandle, CoreSetup, EverySecond};
use crate::relay::Relay;
use crate::stats::cells::{CoreMetric, CoreStats, PoolMetric};
use crate::stats::latency::{LatencyDoor, latency_door};
use crate::topology::Topology;

/// A proxy that runs; ended by `end`.
struct Proxy {
    logger: Logger,
    cores: Vec<CoreHandle>,
    mailboxes: Vec<MailboxSender>,
    state: Arc<ControlState>,
    reloads: Reloads,
    // Kept for their threads: dropping a handle ends its thread.
    _admin: Option<AdminHandle>,
    _stats_port: Option<StatsPortHandle>,
    _watch: Option<WatchHandle>,
    _replicas: Option<ReplicasHandle>,
}

/// Runs until a signal ends it; `source` is where `config` came from.
pub fn run(config: Config, source: Source) -> ExitCode {
    run_with(config, source, HangUp::Reloads, |_| ())
}

/// What SIGHUP is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HangUp {
    /// A daemon has no terminal that could hang up: it says that the log was rotated, or the
    /// configuration changed.
    Reloads,
    /// The terminal was closed, and nobody is left for whom to run.
    Ends,
}

/// Runs until a signal ends it; `ready` is called when clients are served.
fn run_with(
    config: Config,
    source: Source,
    hang_up: HangUp,
    ready: impl FnOnce(&Config),
) -> ExitCode {
    panic::end_the_process();
    // Signals first: one that comes while booting must not be lost, nor kill us half-way.
    let signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2]);
    let signals = match signals.and_then(forward_signals) {
        Ok(signals) => signals,
        Err(error) => return complain(&[format!("signals can not be received: {error}")]),
    };
    let config = Arc::new(config);
    let proxy = match boot(config.clone(), source) {
        Ok(proxy) => proxy,
        Err(complaints) => return complain(&complaints),
    };
    ready(&config);
    let code = proxy.serve(&signals, hang_up);
    proxy.end(code)
}

/// Hands signals to a channel, from a thread of their own.
fn forward_signals(mut signals: Signals) -> std::io::Result<Receiver<i32>> {
    let (sender, receiver) = bounded(SIGNALS_MAX);
    let forward = move || {
        for signal in signals.forever() {
            // More than a handful that nobody has looked at yet say nothing new.
            let _ = sender.try_send(signal);
        }
    };
    std::thread::Builder::new().name("corelay-signals".to_owned()).spawn(forward)?;
    Ok(receiver)
}

fn complain(complaints: &[String]) -> ExitCode {
    let mut stderr = std::io::stderr().lock();
    for complaint in complaints {
        // Nobody is left to tell if even this fails.
        let _ = writeln!(stderr, "corelay: {complaint}");
    }
    ExitCode::FAILURE
}

/// Starts everything; all complaints of a stage at once.
fn boot(config: Arc<Config>, source: Source) -> Result<Proxy, Vec<String>> {
    let one = |text: String| vec![text];
    memory::no_huge_pages();
    let descriptors = raise_descriptors(config.proxy.cores.len()).map_err(one)?;
    let logger = log::init(config.proxy.log_level, config.proxy.log_file.as_deref())
        .map_err(|error| one(format!("the log can not be opened: {error}")))?;
    let (topology, resolver) = resolver::resolve_all(&config, &logger)
        .map_err(|error| one(format!("names can not be resolved: {error}")))?;
    let count = config.proxy.cores.len();
    let listeners = listen::bind(&config, count)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let stats: Arc<[Arc<CoreStats>]> = (0..count).map(|_| CoreStats::new(&config)).collect();
    let door = latency_door(count);
    let state = ControlState::new(stats.to_vec(), topology.clone(), door.clone(), logger.clone());
    let stats_port = start_stats_port(&state).map_err(one)?;

    let (mailboxes, receivers) =
        boxes(count).map_err(|error| one(format!("a mailbox can not be made: {error}")))?;
    let publisher = publisher(topology, &state, &mailboxes);
    let (reloads, orders) = reload::orders();
    let switchovers = Switchovers::new(state.clone(), publisher.clone());
    let deeds = Deeds { switchovers, reloads: reloads.clone() };
    let admin =
        config.proxy.admin_listen.map(|address| admin::start(address, state.clone(), deeds));
    let admin = admin.transpose().map_err(|error| one(error.to_string()))?;
    let watch = watch_sentinels(&state, &publisher)?;
    let suspicions = watch.as_ref().map(WatchHandle::suspicions).unwrap_or_default();
    let clients_max = descriptors::clients_max(descriptors, count, CONTROL_DESCRIPTORS);
    warn_of_descriptors(&logger, &config, descriptors, clients_max);
    let balance = Arc::new(Balance::new(count, clients_max));

    let mut cores = Vec::new();
    for (index, (mailbox, listeners)) in receivers.into_iter().zip(listeners).enumerate() {
        for listener in &listeners {
            stats[index].pool(listener.pool, PoolMetric::Listeners).add(1);
        }
        let setup = CoreSetup {
            index,
            cpu: config.proxy.cores[index],
            config: config.clone(),
            stats: stats.clone(),
            listeners,
            mailbox,
            peers: mailboxes.clone(),
            balance: balance.clone(),
            features: Features::ALL,
            log: report::take(logger.clone(), config.clone(), suspicions.clone(), index),
            every_second: every_second(door.clone(), stats[index].clone()),
        };
        let core = crate::reactor::spawn(setup, publisher.current(), seed(index));
        cores.push(core.map_err(|error| one(format!("core {index} can not be started: {error}")))?);
    }
    for (index, core) in cores.iter().enumerate() {
        core.wait_ready().map_err(|error| one(format!("core {index}: {error}")))?;
    }
    let resolver = resolver.map(|resolver| resolver.start(publisher.clone())).transpose();
    let resolver = resolver.map_err(|error| one(format!("names can not be watched: {error}")))?;
    let replicas = look_at_replicas(&state, &publisher)?;
    let doors = Box::new(MoreDoors { mailboxes: mailboxes.clone(), bound: Vec::new() });
    reload::start(orders, source, doors, state.clone(), publisher, resolver)
        .map_err(|error| one(format!("reloads can not be served: {error}")))?;
    log_start(&logger, &config);
    Ok(Proxy {
        logger,
        cores,
        mailboxes,
        state,
        reloads,
        _admin: admin,
        _stats_port: stats_port,
        _watch: watch,
        _replicas: replicas,
    })
}

/// As many descriptors as we may have. Too few to start are told of here, before one after the
/// other is missed.
fn raise_descriptors(cores: usize) -> Result<u64, String> {
    let limit = descriptors::raise_limit()
        .map_err(|error| format!("the limit of descriptors can not be read: {error}"))?;
    let least = (DESCRIPTORS_MIN + cores * CORE_DESCRIPTORS_MIN) as u64;
    if limit < least {
        return Err(format!(
            "descriptors are limited to {limit}, at least {least} are needed for {cores} core(s) \
             without a client; raise LimitNOFILE in the systemd unit, or ulimit -n"
        ));
    }
    Ok(limit)
}

/// A mailbox for each core.
fn boxes(cores: usize) -> std::io::Result<(Vec<MailboxSender>, Vec<Mailbox>)> {
    let boxes: std::io::Result<Vec<_>> = (0..cores).map(|_| mailbox()).collect();
    Ok(boxes?.into_iter().unzip())
}

fn start_stats_port(state: &Arc<ControlState>) -> Result<Option<StatsPortHandle>, String> {
    let started = state.config().proxy.stats_listen.map(|at| stats_port::start(at, state.clone()));
    started.transpose().map_err(|error| error.to_string())
}

/// Opens listeners while the cores run.
struct MoreDoors {
    mailboxes: Vec<MailboxSender>,
    /// By core; not handed over yet.
    bound: Vec<Vec<Listener>>,
}

impl Doors for MoreDoors {
    fn bind(&mut self, now: &Config, next: &Config) -> Result<(), Vec<String>> {
        let open: Vec<Listen> =
            now.numbered().flat_map(|(_, pool)| pool.listen.iter().cloned()).collect();
        let bound = listen::bind_more(&open, next, self.mailboxes.len());
        let told = |errors: Vec<ListenError>| -> Vec<String> {
            errors.iter().map(ToString::to_string).collect()
        };
        self.bound = bound.map_err(told)?;
        Ok(())
    }

    fn open(&mut self) -> Vec<String> {
        let cores = self.mailboxes.iter().zip(self.bound.drain(..)).enumerate();
        let late = cores.filter_map(|(core, (mailbox, listeners))| {
            let mut letter = Letter::Listen(listeners);
            for _ in 0..LETTER_TRIES {
                match mailbox.send(letter) {
                    Ok(()) => return None,
                    Err(back) => letter = back,
                }
                std::thread::park_timeout(LOOK_AT_CORES);
            }
            Some(format!("core {core} does not read its letters: it has no new listeners"))
        });
        late.collect()
    }
}

/// Hands each topology to all who route by it, and to who shows it.
fn publisher(
    first: Arc<Topology>,
    state: &Arc<ControlState>,
    mailboxes: &[MailboxSender],
) -> Arc<Publisher> {
    let (state, mailboxes) = (state.clone(), mailboxes.to_vec());
    Publisher::new(first, move |topology| {
        state.set_topology(topology.clone());
        for mailbox in &mailboxes {
            // A topology always goes in: it replaces one that was not read yet.
            let _ = mailbox.send(Letter::Topology(topology.clone()));
        }
    })
}

/// Starts to look at replicas, if a pool reads from them.
fn look_at_replicas(
    state: &Arc<ControlState>,
    publisher: &Arc<Publisher>,
) -> Result<Option<ReplicasHandle>, Vec<String>> {
    let handle = replicas::start(state, publisher);
    handle.map_err(|error| vec![format!("replicas can not be looked at: {error}")])
}

/// Starts to watch sentinels, if there are any, and gives them some time to name all primaries.
fn watch_sentinels(
    state: &Arc<ControlState>,
    publisher: &Arc<Publisher>,
) -> Result<Option<WatchHandle>, Vec<String>> {
    let watch = sentinel::start(state, publisher);
    let watch = watch.map_err(|error| vec![format!("sentinels can not be watched: {error}")])?;
    if let Some(watch) = &watch {
        watch.wait_verified(FIRST_PRIMARIES);
    }
    Ok(watch)
}

/// Says so when the process may open fewer descriptors than its pools allow clients.
fn warn_of_descriptors(logger: &Logger, config: &Config, descriptors: u64, clients_max: usize) {
    let wanted: usize = config.pools.iter().map(|pool| pool.limits.client_connections_max).sum();
    if wanted > clients_max {
        logger.warn(
            "fewer clients than client_connections_max: raise LimitNOFILE (ulimit -n)",
            &[("wanted", &wanted), ("clients_max", &clients_max), ("descriptors", &descriptors)],
        );
    }
}

/// What a core hands over once a second.
fn every_second(door: LatencyDoor, stats: Arc<CoreStats>) -> EverySecond<Relay> {
    let (mut turns_before, mut was_busy) = (0, false);
    Box::new(move |relay, _now| {
        relay.latency_mut().hand_over_to(&door);
        relay.write_gauges();
        let turns = stats.core(CoreMetric::Turns).get();
        let busy = turns - turns_before >= BUSY_TURNS;
        if relay.take_freed_bytes() >= GIVE_BACK_BYTES || (was_busy && !busy) {
            memory::give_back();
        }
        (turns_before, was_busy) = (turns, busy);
    })
}

/// Where a core's generator of random numbers starts: it draws pauses, shards and the texts of fences.
fn seed(index: usize) -> u64 {
    ahash::RandomState::new().hash_one(index)
}

fn log_start(logger: &Logger, config: &Config) {
    for pool in &config.pools {
        let listen: Vec<String> = pool.listen.iter().map(ToString::to_string).collect();
        let shards = pool.shards.len().to_string();
        let cores = config.proxy.cores.len().to_string();
        logger.info(
            "serving",
            &[
                ("pool", &pool.name),
                ("listen", &listen.join(",")),
                ("shards", &shards),
                ("cores", &cores),
            ],
        );
    }
}

impl Proxy {
    /// Handles signals until all cores have ended: because one of the signals said so, or, which is
    /// a failure, because a core has ended by itself.
    fn serve(&self, signals: &Receiver<i32>, hang_up: HangUp) -> ExitCode {
        let mut ending = false;
        loop {
            let wait = if ending { LOOK_AT_CORES } else { LOOK_AT_CORES_SELDOM };
            match signals.recv_timeout(wait) {
                Ok(SIGTERM) if !ending => {
                    self.end_by(Letter::Drain { grace_ms: DRAIN_MS }, "draining");
                    ending = true;
                }
                // Ctrl-C does not wait for clients, nor does who asks twice.
                Ok(SIGTERM | SIGINT) => {
                    self.end_by(Letter::Stop, "ending");
                    ending = true;
                }
                Ok(SIGHUP) if hang_up == HangUp::Ends => {
                    self.end_by(Letter::Stop, "ending");
                    ending = true;
                }
                Ok(SIGHUP) => {
                    self.logger.reopen();
                    self.reloads.by_signal();
                }
                Ok(SIGTTIN) => self.log_level(self.logger.raise_level()),
                Ok(SIGTTOU) => self.log_level(self.logger.lower_level()),
                Ok(_) | Err(_) => {}
            }
            if self.cores.iter().all(CoreHandle::is_finished) {
                return if ending { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            }
            if !ending && self.cores.iter().any(CoreHandle::is_finished) {
                // Its share of the connections would be accepted by nobody: better none at all.
                self.logger.error("a core has ended by itself: the proxy ends", &[]);
                self.end_by(Letter::Stop, "ending");
                self.wait_for_cores();
                return ExitCode::FAILURE;
            }
        }
    }

    /// Waits for cores that have been told to stop.
    fn wait_for_cores(&self) {
        while !self.cores.iter().all(CoreHandle::is_finished) {
            std::thread::park_timeout(LOOK_AT_CORES);
        }
    }

    fn end_by(&self, order: Letter, message: &'static str) {
        self.logger.info(message, &[]);
        self.state.set_draining();
        for mailbox in &self.mailboxes {
            // Orders always go in.
            let _ = match &order {
                Letter::Drain { grace_ms } => mailbox.send(Letter::Drain { grace_ms: *grace_ms }),
                _ => mailbox.send(Letter::Stop),
            };
        }
    }

    fn log_level(&self, level: LogLevel) {
        self.logger.info("log level changed", &[("level", &format!("{level:?}").to_lowercase())]);
    }

    /// Waits for the cores and the log.
    fn end(self, code: ExitCode) -> ExitCode {
        for core in self.cores {
            if let Some(Err(error)) = core.join() {
                self.logger.error("core failed", &[("why", &error.to_string())]);
            }
        }
        self.logger.info("ended", &[]);
        self.logger.flush(LOG_FLUSH);
        code
    }
}

/// A core that makes fewer turns in a second is at rest, and may tidy up.
const BUSY_TURNS: u64 = 20;
/// A core that freed so much during the last second asks the allocator to give it back to the
/// system: by itself it does so only when it is asked for more.
const GIVE_BACK_BYTES: usize = 1024 * 1024;

/// How long the boot waits for sentinels to name all primaries. No longer: what is asked of a shard
/// whose primary comes later is held, and the others have nothing to wait for.
const FIRST_PRIMARIES: Duration = Duration::from_millis(150);
/// How often the cores are looked at: a dead one is noticed within this time.
const LOOK_AT_CORES: Duration = Duration::from_millis(100);
/// The same while all is well: a core that ends by itself is a fault that never was.
const LOOK_AT_CORES_SELDOM: Duration = Duration::from_secs(1);
/// How often a letter is tried that finds a core's mailbox full.
const LETTER_TRIES: u32 = 20;
const SIGNALS_MAX: usize = 16;
const LOG_FLUSH: Duration = Duration::from_secs(1);
