//! The false replicas of the simulation: each shard has one, which has what its primary had some
//! time ago. It is listed and not listed any more, catches up, falls silent, loads, is cut off, and
//! says errors; no client may hear of it.

use crate::config::model::{PoolConfig, ReadFrom};
use crate::relay::chance::Chance;
use crate::relay::sim_model::{Expect, KEYS, Node, Part, Store};
use crate::relay::sim_reload::{is_leaving, path_of};
use crate::relay::sim_tests::{SHARDS, Simulation};
use crate::relay::sim_wild::Wild;
use crate::relay::sim_wires::is_outdated;
use crate::topology::{NodeEndpoint, Replica, ShardTopology};

pub(super) struct Replicas {
    pub(super) stores: Vec<Store>,
    pub(super) listed: [bool; SHARDS],
    near: [bool; SHARDS],
    primary_near: [bool; SHARDS],
    cut_off: [bool; SHARDS],
    /// Clients must see what they wrote, for ever.
    pub(super) strict: bool,
}

impl Replicas {
    /// Makes a pool of it that reads from replicas.
    pub(super) fn new(pool: &mut PoolConfig, random: &mut Chance) -> Replicas {
        let rules = [ReadFrom::PreferReplica, ReadFrom::Replica, ReadFrom::Nearest];
        pool.read_from = rules[random.below(3) as usize];
        let strict = random.below(2) == 0;
        pool.read_your_writes_ms = if strict { u64::from(u32::MAX) } else { 0 };
        Replicas {
            stores: (0..SHARDS).map(|_| Store::default()).collect(),
            listed: [true; SHARDS],
            near: [true; SHARDS],
            primary_near: [false; SHARDS],
            cut_off: [false; SHARDS],
            strict,
        }
    }

    pub(super) fn part(&self, shard: usize) -> Part {
        Part::Replica { connected: !self.cut_off[shard] }
    }

    pub(super) fn picture(&self, shard: usize, known: ShardTopology) -> ShardTopology {
        let endpoint = NodeEndpoint::Unix(path_of(Node::Third, shard));
        let replica = Replica { endpoint, near: self.near[shard] };
        let replicas = if self.listed[shard] { vec![replica] } else { Vec::new() };
        ShardTopology { replicas, near: self.primary_near[shard], ..known }
    }

    pub(super) fn calm(&mut self) {
        for store in &mut self.stores {
            (store.silent, store.down, store.loading, store.wild) = (false, false, false, None);
        }
        self.cut_off = [false; SHARDS];
    }
}

impl Simulation {
    /// Something happens to the replica of a shard; without faults it only catches up, or is near
    /// or not.
    pub(super) fn replica_acts(&mut self, shard: usize) {
        let (what, how) = (self.below(if self.faults { 10 } else { 4 }), self.below(40));
        let Some(replicas) = &mut self.replicas else { return };
        let store = &mut replicas.stores[shard];
        match what {
            0..=2 => store.keys = self.stores[shard].keys.clone(),
            3 => {
                replicas.near[shard] ^= how % 2 == 0;
                replicas.primary_near[shard] ^= how % 3 == 0;
                self.publish_again();
            }
            4 | 5 => {
                replicas.listed[shard] ^= true;
                self.publish_again();
            }
            6 => store.silent ^= true,
            7 => store.loading ^= true,
            8 => store.down ^= true,
            _ if how % 4 == 0 => replicas.cut_off[shard] ^= true,
            _ => store.wild = Some(Wild::any(how)),
        }
    }

    /// A player reads a key, from a replica perhaps, and writes it right behind that.
    pub(super) fn think_of_replicas(&mut self, at: usize) {
        let (resp3, database) = (self.players[at].resp3, self.players[at].database);
        let (key, newest) = (format!("d{database}k{}", self.below(KEYS)), self.versions);
        let (version, value) = self.value(&key);
        let read = Expect::Values(vec![key.clone()], resp3, newest);
        self.say(at, &[b"GET", key.as_bytes()], read);
        self.say(at, &[b"SET", key.as_bytes(), &value], Expect::Written(vec![version]));
    }

    fn publish_again(&mut self) {
        self.epoch += 1;
        self.hand_over(&self.primaries.clone());
    }

    pub(super) fn is_down(&self, node: Node, shard: usize) -> bool {
        match (&self.replicas, node) {
            (Some(replicas), Node::Third) => replicas.stores[shard].down,
            _ => self.stores[shard].down,
        }
    }

    /// The store at the other end of this connection.
    pub(super) fn store_at(&self, at: usize) -> &Store {
        let wire = &self.wires[at];
        match (&self.replicas, wire.node) {
            (Some(replicas), Node::Third) => &replicas.stores[wire.shard],
            _ => &self.stores[wire.shard],
        }
    }

    /// What this node is; a lane to one that is neither a primary nor a replica has to be closed.
    pub(super) fn part_of(&self, at: usize) -> Part {
        let (wire, relay) = (&self.wires[at], &self.world.relay);
        let (id, node, shard) = (wire.id, wire.node, wire.shard);
        if let (Some(replicas), Node::Third) = (&self.replicas, node) {
            assert!(replicas.listed[shard], "a lane to a replica that is not in sync is open");
            return replicas.part(shard);
        }
        let leaves = is_leaving(relay, id) || is_outdated(relay, id);
        assert!(
            leaves || Some(node) == self.primaries[shard],
            "a lane to a primary that was replaced is open"
        );
        let master = self.sentinels.as_ref().map(|sentinels| sentinels.masters[shard]);
        if master.is_none_or(|master| master == node) { Part::Primary } else { Part::Replaced }
    }
}
