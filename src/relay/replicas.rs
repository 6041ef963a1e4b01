//! Reads from replicas: which lane a read goes down, and who is asked when a replica does not
//! answer.
//!
//! A lane to a replica carries reads only, and keeps their bytes: whatever it does not answer with
//! a good reply (an error, a lost connection, nothing for half of `timeout_ms`) the primary is
//! asked, so that no client hears a word of a replica that is in trouble. What is read may be from
//! the past, by as much as the control plane lets pass; a client that wrote reads from the primary
//! for a while (`recent`), and its writes wait for what it reads from replicas.
//!
//! A client has its replica, by its own number: as long as the same ones are in sync it reads from
//! one and the same, and does not go back in time.

use crate::base::ids::{ClientId, PoolId, ShardId};
use crate::base::limits::REPLICAS_MAX;
use crate::base::time::{Now, US_PER_MS, US_PER_S};
use crate::command::model::{Command, Family};
use crate::config::model::{PoolConfig, ReadFrom};
use crate::relay::Relay;
use crate::relay::api::Report;
use crate::relay::kept::Kept;
use crate::relay::lane::{Flow, Lane, LaneState, Target, Token};
use crate::relay::lanes::Loss;
use crate::relay::plants::{Plant, planted};
use crate::relay::pool::LaneSet;
use crate::resp::value;
use crate::stats::cells::ShardMetric;
use crate::topology::{NodeEndpoint, Topology};

/// A replica that says that it can not answer is not asked for so long, µs: until then the control
/// plane, which looks each second, has seen it too.
const SHUN_US: u64 = US_PER_S;

/// What a lane to a replica has beside the others.
#[derive(Debug)]
pub(super) struct ReplicaLane {
    pub(super) endpoint: NodeEndpoint,
    /// The lane that is asked instead.
    primary: u32,
    /// The bytes of the requests in flight: one entry for each token, an empty one for a fence.
    pub(super) kept: Kept,
    shunned_until_us: u64,
}

/// The replicas of one shard, as one set of lanes reaches them. A node is known by its first lane.
#[derive(Debug, Default)]
pub(super) struct Replicas {
    /// All that were ever read from, with where they are or were.
    nodes: Vec<(NodeEndpoint, u32)>,
    /// Those that may be read from.
    readable: Vec<u32>,
    /// Those that are near, the primary among them.
    near: Vec<u32>,
}

/// What a pool reads from where.
#[derive(Debug)]
pub(super) struct ReadRules {
    /// By family; empty: all from the primary.
    by_family: Box<[ReadFrom]>,
    pub(super) own_writes_us: u64,
}

impl ReadRules {
    pub(super) fn new(config: &PoolConfig) -> ReadRules {
        let families = match config.reads_replicas() {
            true => Family::ALL.iter().map(|family| config.read_from_of(*family)).collect(),
            false => Box::default(),
        };
        let own_writes_us = match config.reads_replicas() {
            true => config.read_your_writes_ms.saturating_mul(US_PER_MS),
            false => 0,
        };
        ReadRules { by_family: families, own_writes_us }
    }

    pub(super) fn any_replica(&self) -> bool {
        !self.by_family.is_empty()
    }

    fn of(&self, family: Family) -> ReadFrom {
        self.by_family.get(family as usize).copied().unwrap_or(ReadFrom::Primary)
    }
}

impl Lane {
    /// So long a replica may take for an answer before the primary is asked, µs: half of what the
    /// client waits for at most.
    fn patience_us(timeout_ms: u64) -> u64 {
        timeout_ms.saturating_mul(US_PER_MS / 2)
    }

    /// One more request is in flight, of which bytes are to be kept.
    #[inline]
    pub(super) fn begin_kept(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.kept.begin();
        }
        if let Some(replica) = &mut self.replica {
            replica.kept.begin();
        }
    }
}

impl Relay {
    /// The lane that a request goes down which keys of `shard` belong to.
    #[inline]
    pub(super) fn lane_for(
        &mut self,
        id: ClientId,
        (set, shard): (u32, ShardId),
        command: &Command,
        now: Now,
    ) -> u32 {
        if self.reads_replicas && command.at_replica {
            return self.read_lane(id, (set, shard), command.family, now);
        }
        self.lane_of(set, shard, id)
    }

    fn read_lane(
        &mut self,
        id: ClientId,
        (set, shard): (u32, ShardId),
        family: Family,
        now: Now,
    ) -> u32 {
        let primary = self.lane_of(set, shard, id);
        let Some(client) = self.clients.get(id.index, id.generation) else { return primary };
        let (pool, from) = (client.pool, self.pools[client.pool.index()].reads.of(family));
        let guards = client.guard.is_some() && !planted(Plant::GuardAtReplica);
        let own_write = client.must_see_own_write(now) && !planted(Plant::ForgetWrites);
        // What tracks would keep a value from the past: nobody tells of it a second time.
        if from == ReadFrom::Primary || own_write || guards || client.tracks() {
            return primary;
        }
        let LaneSet { lanes_per_node, replicas, .. } = &self.lane_sets[set as usize];
        let Some(replicas) = replicas.get(shard.index()) else { return primary };
        let nodes = if from == ReadFrom::Nearest { &replicas.near } else { &replicas.readable };
        let (lane, first) = (id.index % lanes_per_node, (id.index / lanes_per_node) as usize);
        // The client's own node first; the others only if no other than a replica will do.
        let tries = if from == ReadFrom::Replica { nodes.len() } else { nodes.len().min(1) };
        let mut lanes = [primary; REPLICAS_MAX + 1];
        let mut count = 0;
        for (place, at) in lanes.iter_mut().zip(first..first + tries) {
            *place = nodes[at % nodes.len()] + lane;
            count += 1;
        }
        let lanes = &lanes[..count];
        if lanes.first() == Some(&primary) {
            return primary; // the nearest is not always a replica
        }
        let chosen = lanes.iter().copied().find(|lane| self.takes_reads(*lane, now));
        let waits = |lane: &u32| from == ReadFrom::Replica && self.is_connecting(*lane);
        let chosen = chosen.or_else(|| lanes.iter().copied().find(waits));
        let metric = match chosen {
            Some(_) => ShardMetric::ReplicaReads,
            None => ShardMetric::ReplicaFallbacks,
        };
        self.stats.shard(pool, shard, metric).add(1);
        let Some(chosen) = chosen else { return primary };
        if let Some(timeout_ms) = self.pools[pool.index()].config.timeout_ms {
            let until_us = now.mono_us.saturating_add(Lane::patience_us(timeout_ms));
            self.sweep_us = self.sweep_us.min(until_us);
        }
        if let Some(client) = self.client(id) {
            client.recent.read = Some(client.order.next());
        }
        chosen
    }

    /// Whether a read can be sent to a replica's lane at once. One that nobody has asked for yet is
    /// connected, for those that come after.
    fn takes_reads(&mut self, index: u32, now: Now) -> bool {
        let Some(lane) = self.lanes.get(index as usize) else { return false };
        if lane.state == LaneState::Idle {
            self.connect_lane(index, now.mono_us);
            return false;
        }
        let limits = &self.pools[lane.pool.index()].config.limits;
        let shunned_until_us = lane.replica.as_ref().map_or(0, |it| it.shunned_until_us);
        lane.state == LaneState::Ready
            && now.mono_us >= shunned_until_us
            && lane.inflight.len() < limits.lane_inflight_max
            && !self.is_over_budget()
    }

    fn is_connecting(&self, index: u32) -> bool {
        let state = self.lanes.get(index as usize).map(|lane| lane.state);
        matches!(state, Some(LaneState::Connecting { .. } | LaneState::Greeting { .. }))
            && !self.is_over_budget()
    }

    /// What the topology says of replicas: lanes to those that are not read from any more are
    /// closed.
    pub(super) fn follow_replicas(&mut self, now: Now) {
        let topology = self.topology.clone();
        for set in 0..self.lane_sets.len() as u32 {
            for shard in 0..self.lane_sets[set as usize].replicas.len() {
                let (_, known) = self.known_replicas(&topology, set, shard);
                let LaneSet { lanes_per_node, replicas, .. } = &self.lane_sets[set as usize];
                let gone = replicas[shard].nodes.iter().filter(|(at, _)| !known.has(at));
                let gone: Vec<u32> =
                    gone.flat_map(|(_, first)| *first..first + lanes_per_node).collect();
                gone.into_iter().for_each(|lane| self.leave_replica(lane, now));
            }
            self.place_replicas(set);
        }
    }

    /// Gives every node that may be read from its lanes, not connected yet.
    pub(super) fn place_replicas(&mut self, set: u32) {
        let topology = self.topology.clone();
        for shard in 0..self.lane_sets[set as usize].replicas.len() {
            let (primary, known) = self.known_replicas(&topology, set, shard);
            let LaneSet { lanes_per_node, replicas, .. } = &mut self.lane_sets[set as usize];
            let lanes = *lanes_per_node;
            let mut here = std::mem::take(&mut replicas[shard]);
            here.readable.clear();
            here.near.clear();
            if known.primary_near {
                here.near.push(primary);
            }
            for (endpoint, near) in &known.nodes {
                let own = here.nodes.iter().position(|(at, _)| at == *endpoint);
                // The lanes of a node that is gone may be another's.
                let place = own.or_else(|| here.nodes.iter().position(|(at, _)| !known.has(at)));
                let place = place.unwrap_or_else(|| {
                    let first = self.new_replica_lanes((primary, lanes), endpoint);
                    here.nodes.push(((*endpoint).clone(), first));
                    here.nodes.len() - 1
                });
                let node = &mut here.nodes[place];
                node.0 = (*endpoint).clone();
                for lane in node.1..node.1 + lanes {
                    if let Some(replica) = &mut self.lanes[lane as usize].replica {
                        replica.endpoint = (*endpoint).clone();
                    }
                }
                here.readable.push(node.1);
                if *near {
                    here.near.push(node.1);
                }
            }
            self.lane_sets[set as usize].replicas[shard] = here;
        }
    }

    /// The first lane to the shard's primary, and the replicas that may be read from.
    fn known_replicas<'a>(
        &self,
        topology: &'a Topology,
        set: u32,
        shard: usize,
    ) -> (u32, Known<'a>) {
        let LaneSet { first, lanes_per_node, .. } = self.lane_sets[set as usize];
        let primary = first + shard as u32 * lanes_per_node;
        let lane = &self.lanes[primary as usize];
        (primary, Known::of(topology, lane.pool, lane.shard))
    }

    /// Lanes to a node, as many as there are to its primary.
    fn new_replica_lanes(&mut self, (primary, lanes): (u32, u32), at: &NodeEndpoint) -> u32 {
        let first = self.lanes.len() as u32;
        for of_primary in primary..primary + lanes {
            let Lane { pool, shard, protocol, database, .. } = self.lanes[of_primary as usize];
            let mut lane = Lane::new(pool, shard, protocol, database);
            lane.plain = false;
            lane.replica = Some(Box::new(ReplicaLane {
                endpoint: at.clone(),
                primary: of_primary,
                kept: Kept::default(),
                shunned_until_us: 0,
            }));
            self.lanes.push(lane);
        }
        first
    }

    /// This node is not read from any more.
    fn leave_replica(&mut self, index: u32, now: Now) {
        match self.lanes[index as usize].state {
            LaneState::Idle => return,
            LaneState::Down { .. } => {}
            _ => self.lose_lane(index, "Not read from any more".to_owned(), Loss::Moved, now),
        }
        let lane = &mut self.lanes[index as usize];
        lane.state = LaneState::Idle;
        lane.failures = 0;
        lane.why.clear();
    }

    /// What the end of a replica's lane means: the primary is asked what is not answered.
    pub(super) fn lose_replica_lane(&mut self, index: u32, why: String, loss: Loss, now: Now) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        let Some(replica) = &mut lane.replica else { return };
        let (pool, shard, primary) = (lane.pool, lane.shard, replica.primary);
        let kept = std::mem::take(&mut replica.kept);
        let tokens = std::mem::take(&mut lane.inflight);
        let streaming = (lane.flow == Flow::Stream).then(|| tokens.front().copied()).flatten();
        let node = replica.endpoint.to_string();
        let connected = lane.is_connected();
        if connected {
            self.stats.shard(pool, shard, ShardMetric::ReplicaLanes).sub(1);
        }
        if loss != Loss::Moved && lane.why != why {
            self.reports.push_back(Report::ReplicaDown { pool, shard, node, why: why.clone() });
        }
        lane.why = why;
        lane.failures = lane.failures.saturating_add(1);
        self.lane_bytes = self.lane_bytes.saturating_sub(lane.outbox.bytes() + kept.bytes());
        lane.outbox.clear(&mut self.chunks);
        self.end_connection(index, false); // no writes were on it
        match loss {
            Loss::Moved => self.lanes[index as usize].state = LaneState::Idle,
            _ => self.schedule_reconnect(index, connected, now),
        }
        self.release_feeders(index);
        if let Some(Token { target: Target::Client { client, .. }, .. }) = streaming {
            self.drop_client(client); // it has half a reply: nothing true can follow that
        }
        let answered = usize::from(streaming.is_some());
        for (token, bytes) in tokens.into_iter().zip(kept.iter()).skip(answered) {
            self.ask_primary(primary, token, bytes.unwrap_or_default(), now);
        }
    }

    /// Sends a read again, to the primary; its time begins anew.
    fn ask_primary(&mut self, primary: u32, token: Token, bytes: &[u8], now: Now) {
        if matches!(token.target, Target::Fence | Target::Nobody) {
            return;
        }
        if let Some(lane) = self.lanes.get(primary as usize) {
            self.stats.shard(lane.pool, lane.shard, ShardMetric::ReplicaRepeats).add(1);
        }
        if self.enqueue(primary, Token { since_us: now.mono_us, ..token }) {
            return self.put_lane(primary, bytes);
        }
        let mut error = Vec::new();
        self.lane_error(primary, &mut error);
        self.fail(token.target, &error, now);
    }

    /// The oldest request of a lane that is not plain was answered. `true`: it is not over, another
    /// node is asked.
    #[inline]
    pub(super) fn mind_reply(
        &mut self,
        index: u32,
        token: Token,
        reply: (u8, &[u8]),
        now: Now,
    ) -> bool {
        let watched = self.lanes.get(index as usize).is_some_and(|lane| lane.watch.is_some());
        (watched && self.take_back(index, token, reply, now))
            || (self.reads_replicas && self.mind_replica(index, token, reply, now))
    }

    fn mind_replica(
        &mut self,
        index: u32,
        token: Token,
        (kind, reply): (u8, &[u8]),
        now: Now,
    ) -> bool {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return false };
        if let Some(replica) = &mut lane.replica {
            let primary = replica.primary;
            let error = matches!(kind, b'-' | b'!') && !planted(Plant::HearReplica);
            let again = error.then(|| replica.kept.oldest().unwrap_or_default().to_vec());
            self.lane_bytes = self.lane_bytes.saturating_sub(replica.kept.pop());
            if error && says_not_me(reply) {
                replica.shunned_until_us = now.mono_us + SHUN_US;
            }
            if let Some(bytes) = again {
                self.ask_primary(primary, token, &bytes, now);
                return true;
            }
        }
        self.note_answered(token.target, now);
        false
    }

    /// When a replica's lane is due next; one that has not answered its oldest request in time is
    /// closed.
    pub(super) fn sweep_replica(&mut self, index: u32, timeout_ms: u64, now: Now) -> Option<u64> {
        let lane = self.lanes.get(index as usize)?;
        let asked_us = lane.inflight.front()?.since_us;
        // Long, but it is coming.
        let coming = lane.flow != Flow::Collect || !lane.tail.is_empty();
        let since_us = if coming { asked_us.max(lane.heard_us) } else { asked_us };
        let until_us = since_us.saturating_add(Lane::patience_us(timeout_ms));
        if now.mono_us < until_us {
            return Some(until_us);
        }
        self.lose_lane(index, "No answer in time".to_owned(), Loss::Overdue, now);
        None
    }
}

/// The nodes of a shard that may be read from.
struct Known<'a> {
    nodes: Vec<(&'a NodeEndpoint, bool)>,
    primary_near: bool,
}

impl Known<'_> {
    fn has(&self, endpoint: &NodeEndpoint) -> bool {
        self.nodes.iter().any(|(known, _)| *known == endpoint)
    }

    fn of(topology: &Topology, pool: PoolId, shard: ShardId) -> Known<'_> {
        let Some(shard) = topology.shard(pool, shard) else {
            return Known { nodes: Vec::new(), primary_near: true };
        };
        let others =
            shard.replicas.iter().filter(|it| shard.primary.as_ref() != Some(&it.endpoint));
        let nodes = others.take(REPLICAS_MAX).map(|it| (&it.endpoint, it.near)).collect();
        Known { nodes, primary_near: shard.near }
    }
}

/// What ROLE says of a node that is a replica, and connected to its primary.
pub(super) fn is_connected_replica(role: &[u8]) -> bool {
    let Some(mut fields) = value::elements(role) else { return false };
    let mut text = |at| fields.nth(at).and_then(value::bulk).flatten();
    text(0) == Some(b"slave") && text(2) == Some(b"connected")
}

/// An error that is about the replica, not about the request.
fn says_not_me(reply: &[u8]) -> bool {
    matches!(value::error_word(reply), b"LOADING" | b"MASTERDOWN" | b"BUSY" | b"NOAUTH")
}
