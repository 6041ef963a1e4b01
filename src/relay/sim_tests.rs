//! The simulation: the real relay under a seeded scheduler. Clients pipeline whatever comes to mind
//! over false stores, listen to channels, keep what they read, some do not read; bytes are cut
//! anywhere, lanes and clients are lost, primaries move, replicas lag and come and go, time jumps,
//! stores refuse, stray and say what can not be. A model checks every reply: each value names its
//! key, its database and its version, so a foreign one shows; a write runs at most once, and never
//! on a primary that was replaced; at the end nothing is left, and nobody keeps an old value.
//!
//! `make sim` runs thousands of seeds. A seed that fails is printed; `SEED=n make sim` runs that
//! one alone, `SEEDS=n make sim` so many fresh ones.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::base::ids::{ClientId, LaneId, PoolId};
use crate::config::model::{Config, Replay};
use crate::relay::Relay;
use crate::relay::api::{Ask, ClientEnd, Dirty, LaneEnd, Report};
use crate::relay::chance::Chance;
#[cfg(test)]
use crate::relay::plants::{self, Plant};
use crate::relay::sim_errors::Faults;
use crate::relay::sim_model::*;
use crate::relay::sim_reload::{is_leaving, node_at, path_of};
use crate::relay::sim_replicas::Replicas;
use crate::relay::sim_sentinels::{Sentinels, watch};
use crate::relay::sim_wild::Wild;
use crate::relay::sim_wires::bound_private;
use crate::relay::world::{World, pool_config};
use crate::relay::world_messages::Topics;
use crate::topology::{NodeEndpoint, PoolTopology, ShardTopology, Topology};

pub(super) const SHARDS: usize = 3;

pub(super) struct Simulation {
    pub(super) faults: bool,
    pub(super) random: Chance,
    pub(super) world: World,
    pub(super) players: Vec<Player>,
    pub(super) wires: Vec<Wire>,
    /// Connections that were lost, the last few: bytes of theirs may still come.
    pub(super) dead: VecDeque<LaneId>,
    pub(super) stores: Vec<Store>,
    /// Which of its two nodes is a shard's primary, if any is known, and by which picture.
    pub(super) primaries: Vec<Option<Node>>,
    pub(super) epoch: u64,
    /// The last configuration that was read.
    pub(super) config: Arc<Config>,
    pub(super) versions: u64,
    pub(super) executed: Executed,
    pub(super) errors: Faults,
    pub(super) thinking: ClientId,
    /// What the false sentinels know, where there are any.
    pub(super) sentinels: Option<Sentinels>,
    /// Nobody blocks any longer than it must.
    pub(super) calming: bool,
    /// The false replicas, where the pool reads from them.
    pub(super) replicas: Option<Replicas>,
}

impl Simulation {
    pub(super) fn new(mut random: Chance) -> Simulation {
        let faults = random.below(4) != 0;
        let mut pool = pool_config(SHARDS);
        pool.limits.client_inflight_max = 1 + random.below(40) as usize;
        pool.limits.client_output_soft_bytes = 500 + random.below(50_000) as usize;
        pool.limits.lane_inflight_max = 1 + random.below(40) as usize;
        pool.limits.lane_output_soft_bytes = 500 + random.below(50_000) as usize;
        pool.lanes_per_node = 1 + random.below(2) as usize;
        pool.fence_interval_ms = [0, 1, 20, 1000][random.below(4) as usize];
        if faults {
            pool.limits.client_output_max_bytes = 400_000;
        }
        let watched = random.below(2) == 0;
        let errors = if watched { watch(&mut pool, faults, &mut random) } else { Faults::Any };
        bound_private(&mut pool, if faults { errors } else { Faults::None }, &mut random);
        let repeats = pool.replay == Replay::Idempotent;
        let reads = random.below(2) == 0;
        let replicas = reads.then(|| Replicas::new(&mut pool, &mut random));
        let world = World::with(pool);
        let mut simulation = Simulation {
            faults,
            random,
            config: world.relay.config.clone(),
            world,
            players: Vec::new(),
            wires: Vec::new(),
            dead: VecDeque::new(),
            primaries: vec![Some(Node::First); SHARDS],
            epoch: 1,
            stores: (0..SHARDS).map(|_| Store::default()).collect(),
            versions: 0,
            executed: Executed {
                repeats,
                is_late: faults && errors == Faults::Any,
                ..Executed::default()
            },
            errors: if faults { errors } else { Faults::None },
            thinking: ClientId { index: 0, generation: 0 },
            sentinels: watched.then(Sentinels::default),
            calming: false,
            replicas,
        };
        if watched {
            simulation.verify_all();
        }
        if simulation.replicas.is_some() {
            simulation.epoch += 1;
            simulation.hand_over(&simulation.primaries.clone());
        }
        simulation.world.relay.scripts.remember(PoolId(0), SCRIPT);
        simulation
    }

    pub(super) fn relay(&mut self) -> &mut Relay {
        &mut self.world.relay
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound.max(1))
    }

    /// What the relay wants, and some of what it has.
    pub(super) fn turn(&mut self) {
        let now = self.world.now;
        self.relay().on_turn(now);
        while let Some(ask) = self.relay().next_ask() {
            self.carry_out(ask);
        }
        while let Some(report) = self.relay().next_report() {
            if let (Some(sentinels), Report::ShardSuspect { shard, .. }) =
                (&mut self.sentinels, report)
            {
                sentinels.suspects.insert(shard.index());
            }
        }
        while let Some(dirty) = self.relay().next_dirty() {
            self.take(dirty);
        }
        self.check_private();
    }

    pub(super) fn carry_out(&mut self, ask: Ask) {
        let now = self.world.now;
        let player = |id| move |player: &&mut Player| player.id == id;
        match ask {
            Ask::Connect { lane: id, endpoint } => {
                let NodeEndpoint::Unix(path) = endpoint else { panic!("unix only") };
                let (node, shard) = node_at(&path);
                if let (Some(sentinels), true) = (&self.sentinels, node != Node::Third) {
                    sentinels.check_connect(shard);
                }
                if self.is_down(node, shard) {
                    return self.relay().on_lane_closed(id, LaneEnd::Error(111), now);
                }
                let (input, sending, output) = Default::default();
                self.wires.push(Wire {
                    id,
                    shard,
                    node,
                    input,
                    sending,
                    output,
                    doomed: None,
                    blocked: None,
                    resp3: false,
                    database: 0,
                    queue: None,
                    topics: Topics::new(),
                    watched: BTreeMap::new(),
                    private: self.world.relay.lanes[id.index as usize].private.is_some(),
                    is_tracker: false,
                });
                self.relay().on_lane_open(id, now);
            }
            Ask::CloseLane(lane) => {
                self.wires.retain(|wire| wire.id != lane);
                self.bury(lane);
            }
            Ask::FinishClient(id) => {
                if let Some(player) = self.players.iter_mut().find(player(id)) {
                    player.finishing = true;
                }
                self.take(Dirty::Client(id));
            }
            Ask::DropClient(id) => {
                let player = self.players.iter().find(|player| player.id == id).unwrap();
                assert!(self.faults || player.deaf, "a client was dropped for nothing");
                self.leave(id, ClientEnd::Asked);
            }
            Ask::PauseClient(id) | Ask::ResumeClient(id) => {
                if let Some(player) = self.players.iter_mut().find(player(id)) {
                    player.paused = matches!(ask, Ask::PauseClient(_));
                }
            }
            Ask::Share(_) | Ask::Tell { .. } => {}
        }
    }

    pub(super) fn take(&mut self, dirty: Dirty) {
        let sending = match dirty {
            Dirty::Client(id) => {
                self.players.iter_mut().find(|player| player.id == id).map(|p| &mut p.sending)
            }
            Dirty::Lane(id) => {
                self.wires.iter_mut().find(|wire| wire.id == id).map(|w| &mut w.sending)
            }
        };
        let Some(sending) = sending.filter(|sending| sending.is_empty()) else { return };
        let mut chunks = VecDeque::new();
        self.world.relay.take_output(dirty, &mut chunks);
        if let Dirty::Lane(id) = dirty
            && is_leaving(&self.world.relay, id)
        {
            assert!(chunks.is_empty(), "more is sent to where the shard was");
        }
        for chunk in chunks {
            sending.extend(&chunk);
            self.world.relay.recycle(chunk);
        }
    }

    /// A primary moves to the shard's other node (its data with it), or is not known for a while.
    /// Older pictures come, too, and change nothing.
    pub(super) fn publish(&mut self, shard: usize) {
        if self.sentinels.is_some() {
            return self.sentinels_act(shard);
        }
        let stale = self.below(4) == 0;
        let mut primaries = self.primaries.clone();
        primaries[shard] = match (self.below(5), primaries[shard]) {
            (0, _) => None,
            (_, Some(Node::First)) => Some(Node::Second),
            _ => Some(Node::First),
        };
        if !stale {
            self.epoch += 1;
            self.primaries.clone_from(&primaries);
        }
        self.hand_over(&primaries);
    }

    pub(super) fn hand_over(&mut self, primaries: &[Option<Node>]) {
        let shard = |(shard, node): (usize, &Option<Node>)| {
            let primary = node.map(|node| NodeEndpoint::Unix(path_of(node, shard)));
            let fixed = ShardTopology::fixed(primary);
            let known = match &self.sentinels {
                Some(sentinels) => sentinels.picture(shard, fixed),
                None => fixed,
            };
            match &self.replicas {
                Some(replicas) => replicas.picture(shard, known),
                None => known,
            }
        };
        let shards = primaries.iter().enumerate().map(shard).collect();
        let (epoch, config) = (self.epoch, self.config.clone());
        let topology = Topology { epoch, config, pools: vec![PoolTopology { shards }] };
        let now = self.world.now;
        self.relay().on_topology(Arc::new(topology), now);
        self.turn();
    }

    pub(super) fn fault(&mut self) {
        let (player, shard) =
            (self.below(self.players.len() as u64) as usize, self.below(3) as usize);
        match self.below(18) {
            0 | 1 if !self.wires.is_empty() => {
                let at = self.below(self.wires.len() as u64) as usize;
                self.lose(at);
            }
            2 if self.players.len() > 1 => self.leave(self.players[player].id, ClientEnd::Eof),
            3 if !self.players.is_empty() => self.players[player].deaf ^= true,
            4 => self.stores[shard].silent ^= true,
            5 => self.stores[shard].down ^= true,
            6 if self.errors == Faults::Unknown => self.world.now.mono_us += self.below(900_000),
            6 => self.world.now.mono_us += 1000 * self.below(1500),
            7 => self.stores[shard].script = false,
            8..=10 => self.publish(shard),
            11 | 12 => self.haunt(),
            14..=17 => self.stores[shard].wild = Some(Wild::any(self.below(40))),
            _ => self.open(),
        }
    }

    pub(super) fn step(&mut self) {
        self.world.now.mono_us += self.below(2_000);
        if self.players.is_empty() || self.below(30) == 0 && self.players.len() < 8 {
            self.open();
        }
        if self.faults && self.below(12) == 0 {
            self.fault();
        }
        if self.replicas.is_some() && self.below(8) == 0 {
            let shard = self.below(SHARDS as u64) as usize;
            self.replica_acts(shard);
        }
        if self.below(25) == 0 {
            self.reload();
        }
        if self.below(400) == 0 {
            self.dismiss();
        }
        let most = [3, 300, 30_000][self.below(3) as usize];
        let at = self.below(self.players.len() as u64) as usize;
        if at < self.players.len() {
            if !self.players[at].closing && self.players[at].to_say.len() < 10_000 {
                for _ in 0..self.below(12) {
                    if !self.players[at].closing {
                        self.think(at);
                    }
                }
            }
            self.play(at, most);
        }
        self.turn();
        let at = self.below(self.wires.len() as u64) as usize;
        if at < self.wires.len() {
            self.serve(at, most);
        }
        self.turn();
    }
}

#[cfg(test)]
fn run(seed: u64) {
    play(Chance::of_seed(seed));
}

/// The target `simulation`: bytes choose what a seed would.
pub(crate) fn script(bytes: &[u8]) -> Result<(), String> {
    play(Chance::of_bytes(bytes));
    Ok(())
}

fn play(random: Chance) {
    let mut simulation = Simulation::new(random);
    for _ in 0..150 {
        if simulation.random.is_over() {
            break;
        }
        simulation.step();
    }
    simulation.calm();
}

#[cfg(test)]
fn run_all(seeds: impl Iterator<Item = u64>) {
    for (number, seed) in seeds.enumerate() {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("this was seed {seed}; again: SEED={seed} make sim");
            std::panic::resume_unwind(panic);
        }
        if number % 500 == 499 {
            println!("{} seeds", number + 1);
        }
    }
}

/// A fixed number of seeds, and some that nobody has tried before.
#[test]
fn the_simulation_finds_no_wrong_reply() {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    if let Some(seed) = number("SEED") {
        return run(seed);
    }
    let (fixed, fresh) = number("SEEDS").map_or((80, 40), |fresh| (0, fresh));
    let first = ahash::RandomState::new().hash_one(0) >> 16;
    let seeds: Vec<u64> = (0..fixed).chain(first..first + fresh).collect();
    // Two at a time: nothing is shared between them, not even the bugs that are planted.
    let (one, other) = seeds.split_at(seeds.len() / 2);
    std::thread::scope(|threads| {
        threads.spawn(|| run_all(one.iter().copied()));
        run_all(other.iter().copied());
    });
}

#[test]
fn the_simulation_finds_planted_bugs() {
    for bug in [
        Plant::SwapTokens,
        Plant::SkipGeneration,
        Plant::DropSlot,
        Plant::HearMuted,
        Plant::KeepFenced,
        Plant::TrustAgain,
        Plant::RepeatWrites,
        Plant::LoseHeld,
        Plant::SwapHeld,
        Plant::SkipShape,
        Plant::ForgetTopics,
        Plant::SayEarly,
        Plant::MixVersions,
        Plant::KeepUnclean,
        Plant::KeepGuard,
        Plant::ForgetBroken,
        Plant::GuardAtReplica,
        Plant::ForgetWrites,
        Plant::OvertakeReads,
        Plant::HearReplica,
        Plant::LeaveAtOnce,
        Plant::ForgetReaders,
        Plant::OvertakeReplies,
        Plant::KeepUntold,
    ] {
        plants::plant(Some(bug));
        let found = (0..300).find(|seed| std::panic::catch_unwind(|| run(*seed)).is_err());
        plants::plant(None);
        println!("{bug:?} was found by seed {found:?}");
        assert!(found.is_some(), "{bug:?} was not found by 300 seeds");
    }
}
