//! The one place that makes topologies: whoever learns something of a shard changes it here.
//!
//! It holds the topology in force. A change is applied to a copy; if it changed anything the copy
//! gets the next epoch and is delivered, whole, in the order of the epochs. Sources are the
//! resolver of names, the sentinels' watcher and who else acts on shards; each changes the fields
//! that are its own.

use std::fmt;
use std::sync::{Arc, PoisonError};

use crossbeam::sync::ShardedLock;

use crate::base::ids::{PoolId, ShardId};
use crate::topology::{ShardTopology, Topology};

type Deliver = dyn Fn(Arc<Topology>) + Send + Sync;

/// See the module. Its lock is taken by threads of the control plane only, and held while a
/// topology is delivered, so that none overtakes another.
pub struct Publisher {
    current: ShardedLock<Arc<Topology>>,
    deliver: Box<Deliver>,
}

impl Publisher {
    /// `first` is in force already; `deliver` hands each later one to all who route by it, and must
    /// not wait for anybody.
    pub fn new(
        first: Arc<Topology>,
        deliver: impl Fn(Arc<Topology>) + Send + Sync + 'static,
    ) -> Arc<Publisher> {
        Arc::new(Publisher { current: ShardedLock::new(first), deliver: Box::new(deliver) })
    }

    /// The topology in force.
    pub fn current(&self) -> Arc<Topology> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Applies `change`; the epoch of the topology that came of it, `None` if nothing has changed.
    pub fn change(&self, change: impl FnOnce(&mut Topology)) -> Option<u64> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Topology::clone(&current);
        change(&mut next);
        next.epoch = current.epoch;
        if next == **current {
            return None;
        }
        next.epoch += 1;
        let (epoch, next) = (next.epoch, Arc::new(next));
        *current = next.clone();
        (self.deliver)(next);
        Some(epoch)
    }

    /// Applies `change` to one shard.
    pub fn change_shard(
        &self,
        pool: PoolId,
        shard: ShardId,
        change: impl FnOnce(&mut ShardTopology),
    ) -> Option<u64> {
        self.change(|topology| {
            let pool = topology.pools.get_mut(pool.index());
            if let Some(shard) = pool.and_then(|pool| pool.shards.get_mut(shard.index())) {
                change(shard);
            }
        })
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("epoch", &self.current().epoch).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crossbeam::channel::unbounded;

    use super::*;
    use crate::topology::PoolTopology;

    fn first() -> Arc<Topology> {
        let shard = ShardTopology::fixed(None);
        let config = crate::config::sample::config(&[("cache", &["s1"])]);
        Arc::new(Topology { epoch: 1, config, pools: vec![PoolTopology { shards: vec![shard] }] })
    }

    #[test]
    fn only_a_change_is_delivered_and_epochs_grow_by_one() {
        let (sent, received) = unbounded();
        let publisher = Publisher::new(first(), move |topology| sent.send(topology).unwrap());
        let pause =
            |paused| publisher.change_shard(PoolId(0), ShardId(0), |shard| shard.paused = paused);
        assert_eq!(pause(false), None);
        assert_eq!(pause(true), Some(2));
        assert_eq!(pause(true), None);
        assert_eq!(publisher.change(|topology| topology.epoch = 99), None, "epochs are its own");
        assert_eq!(
            publisher.change_shard(PoolId(7), ShardId(0), |shard| shard.paused = true),
            None
        );
        assert_eq!(pause(false), Some(3));
        let epochs: Vec<u64> = received.try_iter().map(|topology| topology.epoch).collect();
        assert_eq!(epochs, [2, 3]);
        assert_eq!(publisher.current().epoch, 3);
    }

    #[test]
    fn topologies_of_two_threads_are_delivered_in_order() {
        let (sent, received) = unbounded();
        let publisher = Publisher::new(first(), move |topology| sent.send(topology.epoch).unwrap());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        publisher.change_shard(PoolId(0), ShardId(0), |shard| shard.verified += 1);
                    }
                });
            }
        });
        let epochs: Vec<u64> = received.try_iter().collect();
        assert_eq!(epochs, (2..=1001).collect::<Vec<_>>());
    }
}
