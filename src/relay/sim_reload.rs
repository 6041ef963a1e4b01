//! Reloads in the middle of the simulation: bounds change while they are reached, and shards get
//! other addresses while requests are under way. No client may notice.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::ids::LaneId;
use crate::config::model::{Config, NodeAddress, ReadFrom};
use crate::relay::Relay;
use crate::relay::lane::LaneState;
use crate::relay::sim_errors::Faults;
use crate::relay::sim_model::Node;
use crate::relay::sim_tests::{SHARDS, Simulation};

/// A lane that waits for what the server owes which it is leaving.
pub(super) fn is_leaving(relay: &Relay, id: LaneId) -> bool {
    let lane = &relay.lanes[id.index as usize];
    lane.generation == id.generation && matches!(lane.state, LaneState::Leaving { .. })
}

impl Simulation {
    pub(super) fn reload(&mut self) {
        let mut config = Config::clone(&self.config);
        let pool = Arc::make_mut(&mut config.pools[0]);
        pool.limits.client_inflight_max = 1 + self.below(40) as usize;
        pool.limits.client_output_soft_bytes = 500 + self.below(50_000) as usize;
        pool.limits.lane_inflight_max = 1 + self.below(40) as usize;
        pool.limits.lane_output_soft_bytes = 500 + self.below(50_000) as usize;
        pool.fence_interval_ms = [0, 1, 20, 1000][self.below(4) as usize];
        if self.errors == Faults::Any {
            pool.timeout_ms = Some(500 + self.below(1_000));
        }
        if self.replicas.is_some() {
            let rules = [ReadFrom::PreferReplica, ReadFrom::Replica, ReadFrom::Nearest];
            pool.read_from = rules[self.below(3) as usize];
        }
        let mut primaries = self.primaries.clone();
        let shard = self.below(SHARDS as u64) as usize;
        if self.sentinels.is_none() && self.below(3) != 0 {
            let shard_config = &mut pool.shards[shard];
            let at = |node| NodeAddress::Unix { path: path_of(node, shard) };
            let node = match shard_config.address == at(Node::First) {
                true => Node::Second,
                false => Node::First,
            };
            shard_config.address = at(node);
            primaries[shard] = Some(node);
            if self.errors == Faults::None {
                self.errors = Faults::Left;
            }
        }
        self.config = Arc::new(config);
        self.epoch += 1;
        self.primaries.clone_from(&primaries);
        self.hand_over(&primaries);
    }
}

pub(super) fn path_of(node: Node, shard: usize) -> PathBuf {
    match node {
        Node::Third => format!("/u{shard}").into(),
        Node::First => format!("/s{shard}").into(),
        Node::Second => format!("/t{shard}").into(),
    }
}

pub(super) fn node_at(path: &Path) -> (Node, usize) {
    let (node, shard) = path.to_str().unwrap().split_at(2);
    let node = match node {
        "/s" => Node::First,
        "/t" => Node::Second,
        _ => Node::Third,
    };
    (node, shard.parse().unwrap())
}
