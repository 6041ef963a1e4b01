//! The watcher of one set of sentinels: takes in what they, the nodes and the cores say, and
//! carries out what each master's rules want.
//!
//! One task, fed by events; nothing in it waits for a network. Sentinels that others name are taken
//! in, those that nobody names any more are forgotten.

use std::sync::Arc;
use std::time::Duration;

use ahash::AHashSet;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::hearing::Hearing;
use super::link::Answer;
use super::master::{Act, Change, Master, Moment, Rules};
use super::node::{self, Seen};
use super::promotion::ANNOUNCED_BY;
use super::sentinels::Sentinels;
use super::tell::Teller;
use super::wire::Lookup;
use super::words::Signal;
use crate::base::ids::{PoolId, ShardId};
use crate::config::model::{Credentials, NodeAddress, PoolConfig, SentinelConfig};
use crate::control::publisher::Publisher;
use crate::control::state::ControlState;
use crate::topology::NodeEndpoint;

/// How often all is asked in any case, and so much longer for each master …
const ROUTINE: Duration = Duration::from_secs(1);
const ROUTINE_EACH: Duration = Duration::from_millis(5);
/// … but for a quorum that is required so many times within its grace.
const ROUTINES_IN_GRACE: u32 = 4;
/// Steps while something is wrong, and while nothing is.
const STEP_URGENT: Duration = Duration::from_millis(5);
const STEP: Duration = Duration::from_millis(100);

/// What a watcher hears.
#[derive(Debug)]
pub(super) enum Event {
    Answer {
        link: usize,
        asked: Instant,
        result: Result<Answer, String>,
    },
    Signal {
        link: usize,
        signal: Signal,
    },
    /// The subscription to a sentinel began or ended.
    Listening {
        link: usize,
        yes: bool,
    },
    Seen {
        at: usize,
        number: u64,
        seen: Seen,
        lookup: Lookup,
    },
    /// A core lost a connection to a primary, or it refuses.
    Suspect {
        pool: PoolId,
        shard: ShardId,
        verified: u64,
        again: bool,
        why: String,
    },
    /// A core had the first reply of a primary that had been in doubt.
    FirstReply {
        pool: PoolId,
        shard: ShardId,
        verified: u64,
    },
}

/// A shard of a pool, with the master that it is.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) pool: PoolId,
    pub(super) shard: ShardId,
    pub(super) pool_name: String,
    /// Its place in the names that the sentinels are asked for.
    pub(super) name: usize,
    pub(super) hold_ms: u64,
    credentials: Option<Credentials>,
    pub(super) master: Master,
    lookup: Option<Lookup>,
}

pub(super) struct Watch {
    started: Instant,
    events: mpsc::Receiver<Event>,
    sender: mpsc::Sender<Event>,
    publisher: Arc<Publisher>,
    state: Arc<ControlState>,
    names: Arc<[String]>,
    shards: Vec<Shard>,
    sentinels: Sentinels,
    teller: Teller,
    routine_at: Moment,
    routine_max: Duration,
    /// When every shard is looked after, those included of which nothing was heard.
    all_at: Moment,
    /// The shards of each name, and those of which something was heard since the last step.
    by_name: Vec<Vec<usize>>,
    touched: AHashSet<usize>,
    random: u64,
    /// Told once, when every shard has a primary.
    all_verified: Option<crossbeam::channel::Sender<()>>,
}

impl Watch {
    /// A watcher of these pools, which all have the sentinels of `config`.
    pub(super) fn new(
        config: &SentinelConfig,
        pools: &[(PoolId, Arc<PoolConfig>)],
        (sender, events): (mpsc::Sender<Event>, mpsc::Receiver<Event>),
        publisher: Arc<Publisher>,
        state: Arc<ControlState>,
        all_verified: crossbeam::channel::Sender<()>,
    ) -> Watch {
        let mut names: Vec<String> = Vec::new();
        let mut shards = Vec::new();
        for (pool_id, pool) in pools {
            let sentinel = pool.sentinel.as_ref().unwrap_or(config);
            let rules = Rules {
                quorum_required: sentinel.quorum_required,
                quorum_grace: Duration::from_millis(sentinel.quorum_grace_ms),
                hold: Duration::from_millis(pool.hold_ms),
            };
            for (number, shard) in pool.shards.iter().enumerate() {
                let known = names.iter().position(|name| *name == shard.name);
                let name = known.unwrap_or_else(|| {
                    names.push(shard.name.clone());
                    names.len() - 1
                });
                shards.push(Shard {
                    pool: *pool_id,
                    shard: ShardId(number as u16),
                    pool_name: pool.name.clone(),
                    name,
                    hold_ms: pool.hold_ms,
                    credentials: pool.backend_auth.clone(),
                    master: Master::new(rules, Duration::ZERO),
                    lookup: Some(Lookup::default()),
                });
            }
        }
        let mut by_name = vec![Vec::new(); names.len()];
        for (at, shard) in shards.iter().enumerate() {
            let shard: &Shard = shard;
            by_name[shard.name].push(at);
        }
        let required = pools.iter().filter_map(|(_, pool)| pool.sentinel.as_ref());
        let required = required.filter(|sentinel| sentinel.quorum_required);
        let grace = required.map(|sentinel| sentinel.quorum_grace_ms).min().unwrap_or(u64::MAX);
        let routine_max = Duration::from_millis(grace) / ROUTINES_IN_GRACE;
        let names: Arc<[String]> = names.into();
        let addresses = config.addresses.iter().filter_map(|address| match address {
            NodeAddress::Tcp { host, port } => Some((host.clone(), *port)),
            _ => None,
        });
        let sentinels = Sentinels::new(
            addresses.collect(),
            config.credentials.clone(),
            names.clone(),
            sender.clone(),
            state.log.clone(),
        );
        let teller = Teller::new(state.clone(), pools.iter().map(|(id, _)| *id).collect());
        Watch {
            started: Instant::now(),
            events,
            sender,
            publisher,
            state,
            names,
            shards,
            sentinels,
            teller,
            routine_at: Duration::ZERO,
            routine_max,
            all_at: Duration::ZERO,
            by_name,
            touched: AHashSet::new(),
            random: 0,
            all_verified: Some(all_verified),
        }
    }

    /// Runs for ever; ended by dropping its task.
    pub(super) async fn run(mut self) {
        loop {
            let now = self.now();
            self.step(now);
            let urgent = self.shards.iter().any(|shard| shard.master.is_urgent(now));
            let pause = if urgent { STEP_URGENT } else { STEP };
            let until = Instant::now() + pause;
            if let Ok(Some(event)) = timeout_at(until, self.events.recv()).await {
                self.take(event);
                while let Ok(event) = self.events.try_recv() {
                    self.take(event);
                }
            }
        }
    }

    fn now(&self) -> Moment {
        self.started.elapsed()
    }

    fn take(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Answer { link, asked, result } => {
                let asked = asked.saturating_duration_since(self.started);
                for (name, _) in result.iter().flat_map(|answer| &answer.words) {
                    self.touched.extend(self.by_name.get(*name).into_iter().flatten());
                }
                self.sentinels.answered(link, asked, result, now);
            }
            Event::Listening { link, yes } => {
                self.sentinels.listening(link, yes);
                // What was published while nobody listened is asked for.
                self.routine_at = self.routine_at.min(if yes { now } else { self.routine_at });
            }
            Event::Signal { link, signal } => self.signal(link, &signal, now),
            Event::Seen { at, number, seen, lookup } => {
                let Some(shard) = self.shards.get_mut(at) else { return };
                shard.lookup = Some(lookup);
                if let Some(act) = shard.master.seen(number, seen, now) {
                    self.carry_out(at, act, now);
                }
            }
            Event::Suspect { pool, shard, verified, again, why } => {
                if let Some(shard) = self.shard(pool, shard) {
                    shard.master.suspect(verified, again, &why, now);
                }
                self.teller.suspected(pool, shard);
            }
            Event::FirstReply { pool, shard, verified } => {
                self.teller.first_reply(pool, shard, verified, now);
            }
        }
    }

    fn shard(&mut self, pool: PoolId, shard: ShardId) -> Option<&mut Shard> {
        self.shards.iter_mut().find(|candidate| candidate.pool == pool && candidate.shard == shard)
    }

    fn signal(&mut self, link: usize, signal: &Signal, now: Moment) {
        self.state.log.debug(
            "sentinel says",
            &[("event", &signal.kind), ("master", &signal.master.as_deref().unwrap_or("-"))],
        );
        match signal.kind.as_str() {
            "+tilt" => self.sentinels.tilted(link),
            "-tilt" | "+sentinel" => self.routine_at = now,
            _ => {}
        }
        let Some(name) = &signal.master else { return };
        for shard in &mut self.shards {
            if self.names.get(shard.name) == Some(name) {
                shard.master.signal(&signal.kind, signal.of_itself, now);
                if let Some(old) = signal.of.as_ref().filter(|_| signal.kind == ANNOUNCED_BY) {
                    shard.master.promoting(old, now);
                }
            }
        }
    }

    /// Asks whom there is to ask, and does what the masters' rules want.
    fn step(&mut self, now: Moment) {
        if now >= self.routine_at {
            let masters = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
            let routine = ROUTINE + ROUTINE_EACH.saturating_mul(masters);
            self.routine_at = now + routine.min(self.routine_max);
            self.sentinels.ask_all(now);
        }
        let mut wanted: Vec<usize> = Vec::new();
        for shard in &mut self.shards {
            self.random =
                self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1 << 20 | 1);
            let jitter = (self.random >> 40) as f64 / f64::from(1 << 24);
            if shard.master.take_ask(now, jitter) && !wanted.contains(&shard.name) {
                wanted.push(shard.name);
            }
        }
        if !wanted.is_empty() {
            self.sentinels.ask(&wanted, now);
        }
        self.sentinels.keep_up(now);
        let mut acts = Vec::new();
        let all = now >= self.all_at;
        if all {
            self.all_at = now + STEP;
        }
        let touched = std::mem::take(&mut self.touched);
        for (at, shard) in self.shards.iter_mut().enumerate() {
            // Of thousands of masters few have anything to do.
            if !all && !shard.master.is_urgent(now) && !touched.contains(&at) {
                continue;
            }
            let hearing = Hearing {
                heard: self.sentinels.heard(shard.name),
                configured: self.sentinels.configured(),
                complete_since: self.sentinels.complete_since(now),
            };
            acts.extend(shard.master.step(&hearing, now).map(|act| (at, act)));
        }
        for (at, act) in acts {
            self.carry_out(at, act, now);
        }
        self.teller.tell(&self.shards, &self.sentinels, &self.names, now);
    }

    fn carry_out(&mut self, at: usize, act: Act, now: Moment) {
        let Some(shard) = self.shards.get_mut(at) else { return };
        match act {
            Act::Look { number, address, wanted } => {
                let events = self.sender.clone();
                let credentials = shard.credentials.clone();
                let mut lookup = shard.lookup.take().unwrap_or_default();
                // Ends by itself within the look's own bounds.
                drop(tokio::spawn(async move {
                    let seen =
                        node::look(&address, wanted, credentials.as_ref(), &mut lookup).await;
                    // Without a watcher nobody wants to know.
                    let _ = events.send(Event::Seen { at, number, seen, lookup }).await;
                }));
            }
            Act::Publish(change) => self.publish(at, &change, now),
        }
    }

    fn publish(&mut self, at: usize, change: &Change, now: Moment) {
        let Some(shard) = self.shards.get_mut(at) else { return };
        let Some(current) = shard.master.in_force.clone() else { return };
        let epoch = self.publisher.change_shard(shard.pool, shard.shard, |published| {
            published.set_primary(NodeEndpoint::Tcp(current.at));
            published.verified = current.verified;
            published.writable = current.writable;
            published.paused = current.paused.unwrap_or(published.paused);
        });
        let name = self.names.get(shard.name).map_or("?", String::as_str);
        self.teller.published(shard, name, change, epoch, now);
        if change.is_verified() {
            shard.master.noticed = None;
        }
        if self.shards.iter().all(|shard| shard.master.in_force.is_some())
            && let Some(all_verified) = self.all_verified.take()
        {
            // The boot may have gone on without it.
            let _ = all_verified.try_send(());
        }
    }
}
