//! The false sentinels of the simulation: nodes change their parts, sentinels verify what they are
//! told to doubt, and pictures come late, or stale.
//!
//! A shard's two nodes share one store: what one has, the other has (an unreplicated write that
//! dies with its primary is the store's business, not the proxy's).

use std::collections::BTreeSet;

use crate::config::model::{PoolConfig, Replay, SentinelConfig};
use crate::relay::chance::Chance;
use crate::relay::sim_errors::Faults;
use crate::relay::sim_model::Node;
use crate::relay::sim_tests::{SHARDS, Simulation};
use crate::topology::ShardTopology;

pub(super) struct Sentinels {
    /// Which node of a shard really is its primary.
    pub(super) masters: [Node; SHARDS],
    pub(super) suspects: BTreeSet<usize>,
    pub(super) paused: [bool; SHARDS],
    /// The number of the last verification, as the relay knows it.
    verified: [u64; SHARDS],
    /// That of the last connection lost: below or at it nothing may be connected.
    lost: [u64; SHARDS],
}

impl Default for Sentinels {
    fn default() -> Sentinels {
        Sentinels {
            masters: [Node::First; SHARDS],
            suspects: BTreeSet::new(),
            paused: [false; SHARDS],
            verified: [0; SHARDS],
            lost: [0; SHARDS],
        }
    }
}

/// Makes a watched pool of it. In half of the runs with faults nothing ever expires, so that all
/// but a write that was sent has to be served.
pub(super) fn watch(pool: &mut PoolConfig, faults: bool, random: &mut Chance) -> Faults {
    pool.sentinel = Some(SentinelConfig {
        addresses: Vec::new(),
        credentials: None,
        quorum_required: false,
        quorum_grace_ms: 0,
    });
    if random.below(3) == 0 {
        pool.replay = Replay::Idempotent;
    }
    if !faults || random.below(2) == 0 {
        pool.timeout_ms = None;
        pool.hold_ms = 1_000_000;
        pool.hold_bytes = 1 << 30;
        return Faults::Unknown;
    }
    pool.hold_ms = 1 + random.below(3_000);
    pool.hold_bytes = 100 + random.below(200_000) as usize;
    Faults::Any
}

impl Sentinels {
    /// A connection to this shard is being made.
    pub(super) fn check_connect(&self, shard: usize) {
        let (verified, lost) = (self.verified[shard], self.lost[shard]);
        assert!(
            verified > lost,
            "shard {shard} is connected by number {verified}, {lost} was lost"
        );
    }

    pub(super) fn note_loss(&mut self, shard: usize) {
        self.lost[shard] = self.verified[shard];
    }

    pub(super) fn picture(&self, shard: usize, fixed: ShardTopology) -> ShardTopology {
        let (verified, paused) = (self.verified[shard], self.paused[shard]);
        ShardTopology { verified, paused, ..fixed }
    }
}

impl Simulation {
    /// Something happens to a watched shard.
    pub(super) fn sentinels_act(&mut self, shard: usize) {
        let (what, other) = (self.below(10), self.below(2) == 0);
        let Some(sentinels) = &mut self.sentinels else { return };
        match what {
            // A failover: the old primary refuses from now on.
            0..=2 => {
                let master = &mut sentinels.masters[shard];
                *master = if *master == Node::First { Node::Second } else { Node::First };
                self.stores[shard].loading = other && what == 0;
            }
            3 => self.stores[shard].loading ^= true,
            4 => {
                sentinels.paused[shard] ^= true;
                self.epoch += 1;
                self.hand_over(&self.primaries.clone());
            }
            // An old picture comes once more, and changes nothing.
            5 => self.hand_over(&self.primaries.clone()),
            6 => {
                self.primaries[shard] = None;
                self.epoch += 1;
                self.hand_over(&self.primaries.clone());
                self.verify_later(shard);
            }
            _ if other => self.verify(shard),
            _ => self.verify_suspects(),
        }
    }

    fn verify_later(&mut self, shard: usize) {
        if let Some(sentinels) = &mut self.sentinels {
            sentinels.suspects.insert(shard);
        }
    }

    /// The sentinels and the node itself say who is primary.
    pub(super) fn verify(&mut self, shard: usize) {
        let Some(sentinels) = &mut self.sentinels else { return };
        sentinels.suspects.remove(&shard);
        sentinels.verified[shard] += 1;
        self.primaries[shard] = Some(sentinels.masters[shard]);
        self.epoch += 1;
        self.hand_over(&self.primaries.clone());
    }

    pub(super) fn verify_suspects(&mut self) {
        let suspects = self.sentinels.as_ref().map(|sentinels| sentinels.suspects.clone());
        for shard in suspects.into_iter().flatten() {
            self.verify(shard);
        }
    }

    pub(super) fn verify_all(&mut self) {
        (0..SHARDS).for_each(|shard| self.verify(shard));
    }
}
