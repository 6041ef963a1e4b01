//! Which lane a request goes down.

use crate::base::ids::{ClientId, PoolId, ShardId};
use crate::relay::Relay;
use crate::relay::hold::Watch;
use crate::relay::lane::{CONTROL, Lane, SUBSCRIBER, TRACKER};
use crate::relay::pool::{LaneSet, Pool};
use crate::relay::replicas::Replicas;
use crate::resp::Protocol;

impl Relay {
    /// The lane of `shard` for this client: the same one for all its requests to that shard, so
    /// that they stay in order.
    #[inline]
    pub(super) fn lane_of(&self, set: u32, shard: ShardId, client: ClientId) -> u32 {
        let LaneSet { first, lanes_per_node, .. } = self.lane_sets[set as usize];
        if lanes_per_node == 1 {
            return first + u32::from(shard.0); // nearly always, and without a division
        }
        first + u32::from(shard.0) * lanes_per_node + client.index % lanes_per_node
    }

    /// The lanes for a protocol version and a database; made (unconnected) when first needed.
    pub(super) fn lane_set(&mut self, pool: PoolId, protocol: Protocol, database: u32) -> u32 {
        if let Some(set) = self.pool(pool).lane_sets.get(&(protocol, database)) {
            return *set;
        }
        let Pool { config, first_hold, reads, .. } = &self.pools[pool.index()];
        let own = matches!(database, CONTROL | SUBSCRIBER | TRACKER);
        let reads_replicas = reads.any_replica() && !own;
        let lanes_per_node = match database {
            SUBSCRIBER | TRACKER => 1,
            _ => config.lanes_per_node.max(1) as u32,
        };
        let first = self.lanes.len() as u32;
        for shard in 0..config.shards.len() as u16 {
            for _ in 0..lanes_per_node {
                let mut lane = Lane::new(pool, ShardId(shard), protocol, database);
                let hold = first_hold.map(|first| first + u32::from(shard));
                lane.plain = hold.is_none() && !reads_replicas;
                lane.watch = hold.map(|hold| Box::new(Watch::new(hold)));
                self.lanes.push(lane);
            }
        }
        let set = self.lane_sets.len() as u32;
        let shards = if reads_replicas { config.shards.len() } else { 0 };
        let replicas = (0..shards).map(|_| Replicas::default()).collect();
        self.lane_sets.push(LaneSet { first, lanes_per_node, replicas });
        self.pools[pool.index()].lane_sets.insert((protocol, database), set);
        if reads_replicas {
            self.place_replicas(set);
        }
        set
    }
}
