//! The boot: everything is bound, started and ready before the doors are opened, the last thing of
//! all. Until then whatever fails costs no client anything, and a process that is to be taken over
//! goes on.

use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::Sender;

use super::doors::{MoreDoors, Openings};
use super::handover::give;
use super::handover::take::TakeOver;
use super::{Call, Proxy, Start, notify, report};
use crate::base::limits::{CONTROL_DESCRIPTORS, CORE_DESCRIPTORS_MIN, DESCRIPTORS_MIN};
use crate::config::model::Config;
use crate::control::admin::{self, Deeds};
use crate::control::listener::PortHandle;
use crate::control::publisher::Publisher;
use crate::control::reload::{self, Source};
use crate::control::replicas::{self, ReplicasHandle};
use crate::control::resolver;
use crate::control::sentinel::{self, Suspicions, WatchHandle};
use crate::control::state::ControlState;
use crate::control::stats_port;
use crate::control::switchover::Switchovers;
use crate::log::{self, Logger};
use crate::mailbox::{Letter, Mailbox, MailboxSender, mailbox};
use crate::net::features::Features;
use crate::net::{descriptors, memory};
use crate::reactor::balance::Balance;
use crate::reactor::{CoreHandle, CoreSetup, EverySecond};
use crate::relay::Relay;
use crate::stats::cells::{CoreMetric, CoreStats};
use crate::stats::latency::{LatencyDoor, latency_door};
use crate::topology::Topology;

type Complaints = Vec<String>;

fn one(text: String) -> Complaints {
    vec![text]
}

/// Starts everything; all complaints of a stage at once.
pub(super) fn boot(
    config: Arc<Config>,
    source: Source,
    start: Start,
    caller: Sender<Call>,
) -> Result<Proxy, Complaints> {
    memory::no_huge_pages();
    let descriptors = raise_descriptors(config.proxy.cores.len()).map_err(one)?;
    let logger = log::init(config.proxy.log_level, config.proxy.log_file.as_deref())
        .map_err(|error| one(format!("the log can not be opened: {error}")))?;
    let (topology, resolver) = resolver::resolve_all(&config, &logger)
        .map_err(|error| one(format!("names can not be resolved: {error}")))?;
    let count = config.proxy.cores.len();
    let mut before = match start {
        Start::Fresh => None,
        Start::TakeOver => Some(TakeOver::ask(&config, &source.file).map_err(one)?),
    };
    let mut openings = Openings::of(&config, before.as_mut())?;
    let book =
        openings.book(&config).map_err(|error| one(format!("sockets to hand over: {error}")))?;
    let stats: Arc<[Arc<CoreStats>]> = (0..count).map(|_| CoreStats::new(&config)).collect();
    let door = latency_door(count);
    let state = ControlState::new(stats.to_vec(), topology.clone(), door.clone(), logger.clone());

    let (mailboxes, receivers) =
        boxes(count).map_err(|error| one(format!("a mailbox can not be made: {error}")))?;
    let publisher = publisher(topology, &state, &mailboxes);
    let patience = if before.is_some() { PRIMARIES_OF_NEXT } else { FIRST_PRIMARIES };
    let watch = watch_sentinels(&state, &publisher, patience)?;
    let balance = balance(&logger, &config, descriptors, CONTROL_DESCRIPTORS + book.len());
    let cores = Cores {
        config: &config,
        state: &state,
        stats,
        door,
        mailboxes: &mailboxes,
        balance: balance.clone(),
        suspicions: watch.as_ref().map(WatchHandle::suspicions).unwrap_or_default(),
    };
    let cores = cores.start(receivers, &publisher)?;
    let resolver = resolver.map(|resolver| resolver.start(publisher.clone())).transpose();
    let resolver = resolver.map_err(|error| one(format!("names can not be watched: {error}")))?;
    let replicas = look_at_replicas(&state, &publisher)?;
    let (reloads, orders) = reload::orders();
    let switchovers = Switchovers::new(state.clone(), publisher.clone());
    let doors = Box::new(MoreDoors::new(mailboxes.clone(), book.clone()));
    reload::start(orders, source, doors, state.clone(), publisher, resolver)
        .map_err(|error| one(format!("reloads can not be served: {error}")))?;

    let deeds = Deeds { switchovers, reloads: reloads.clone() };
    let (admin, stats_port) = serve_ports(&mut openings, &state, deeds)?;
    openings.tune(&config, &logger);
    let handover = openings.handover.take();
    openings.open(before.as_ref(), &mailboxes, &state)?;
    book.end();
    log_start(&logger, &config);
    notify::serving(&logger);
    if let Some(before) = before {
        before.serving(&mailboxes, &logger);
    }
    let of_cores = give::Cores { mailboxes: mailboxes.clone(), balance };
    let giver = handover.map(|it| give::start(it, book.clone(), state.clone(), caller, of_cores));
    if let Some(Err(error)) = &giver {
        // Too late to fail: clients are served.
        logger.error("nobody can take over from this process", &[("why", error)]);
    }
    Ok(Proxy {
        logger,
        cores,
        mailboxes,
        state,
        reloads,
        book,
        giver: giver.and_then(Result::ok),
        admin,
        stats_port,
        _watch: watch,
        _replicas: replicas,
    })
}

type Ports = (Option<PortHandle>, Option<PortHandle>);

fn serve_ports(
    openings: &mut Openings,
    state: &Arc<ControlState>,
    deeds: Deeds,
) -> Result<Ports, Complaints> {
    let admin = openings.admin.take().map(|port| admin::start(port, state.clone(), deeds));
    let admin = admin.transpose().map_err(|error| one(format!("the admin port: {error}")))?;
    let stats = openings.stats.take().map(|port| stats_port::start(port, state.clone()));
    let stats = stats.transpose().map_err(|error| one(format!("the statistics port: {error}")))?;
    Ok((admin, stats))
}

/// What the cores have in common.
struct Cores<'a> {
    config: &'a Arc<Config>,
    state: &'a Arc<ControlState>,
    stats: Arc<[Arc<CoreStats>]>,
    door: LatencyDoor,
    mailboxes: &'a [MailboxSender],
    balance: Arc<Balance>,
    suspicions: Suspicions,
}

impl Cores<'_> {
    /// Starts them, and waits until all are ready; nobody is let in yet.
    fn start(
        &self,
        receivers: Vec<Mailbox>,
        publisher: &Publisher,
    ) -> Result<Vec<CoreHandle>, Complaints> {
        let Cores { config, stats, .. } = self;
        let log = &self.state.log;
        let mut cores = Vec::new();
        for (index, mailbox) in receivers.into_iter().enumerate() {
            let setup = CoreSetup {
                index,
                cpu: config.proxy.cores[index],
                config: Arc::clone(config),
                stats: stats.clone(),
                listeners: Vec::new(),
                mailbox,
                peers: self.mailboxes.to_vec(),
                balance: self.balance.clone(),
                features: Features::ALL,
                log: report::take(log.clone(), Arc::clone(config), self.suspicions.clone(), index),
                every_second: every_second(self.door.clone(), stats[index].clone()),
            };
            let core = crate::reactor::spawn(setup, publisher.current(), seed(index));
            let failed = |error| one(format!("core {index} can not be started: {error}"));
            cores.push(core.map_err(failed)?);
        }
        for (index, core) in cores.iter().enumerate() {
            core.wait_ready().map_err(|error| one(format!("core {index}: {error}")))?;
        }
        Ok(cores)
    }
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
) -> Result<Option<ReplicasHandle>, Complaints> {
    let handle = replicas::start(state, publisher);
    handle.map_err(|error| vec![format!("replicas can not be looked at: {error}")])
}

/// Starts to watch sentinels, if there are any, and gives them some time to name all primaries.
fn watch_sentinels(
    state: &Arc<ControlState>,
    publisher: &Arc<Publisher>,
    patience: Duration,
) -> Result<Option<WatchHandle>, Complaints> {
    let watch = sentinel::start(state, publisher);
    let watch = watch.map_err(|error| vec![format!("sentinels can not be watched: {error}")])?;
    if let Some(watch) = &watch {
        watch.wait_verified(patience);
    }
    Ok(watch)
}

/// The cores' share of the clients, of whom there may be as many as descriptors are left.
fn balance(logger: &Logger, config: &Config, descriptors: u64, others: usize) -> Arc<Balance> {
    let count = config.proxy.cores.len();
    let clients_max = descriptors::clients_max(descriptors, count, others);
    warn_of_descriptors(logger, config, descriptors, clients_max);
    Arc::new(Balance::new(count, clients_max))
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

/// A core that makes fewer turns in a second is at rest, and may tidy up.
const BUSY_TURNS: u64 = 20;
/// A core that freed so much during the last second asks the allocator to give it back to the
/// system: by itself it does so only when it is asked for more.
const GIVE_BACK_BYTES: usize = 1024 * 1024;

/// How long the boot waits for sentinels to name all primaries. No longer: what is asked of a shard
/// whose primary comes later is held, and the others have nothing to wait for.
const FIRST_PRIMARIES: Duration = Duration::from_millis(150);
/// The same for a process that takes over: meanwhile the other one serves.
const PRIMARIES_OF_NEXT: Duration = Duration::from_secs(3);
