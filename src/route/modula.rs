//! modula: each shard stands `weight` times in a list, and the hash's remainder picks a place.
//!
//! The list is kept as its ends, so that a large weight costs no memory.

use crate::base::ids::ShardId;

/// The places of a pool's shards. Immutable.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// By `ShardId`: the first place after those of the shard.
    ends: Box<[u32]>,
    /// All places; at least 1.
    total: u32,
}

impl Table {
    /// The weights stand in the order of `ShardId`. Their sum is cut at 2^32 - 1: twemproxy keeps
    /// a real list, which no machine could hold at that length.
    pub(super) fn new(weights: impl Iterator<Item = u32>) -> Table {
        let ends: Box<[u32]> = weights
            .scan(0u32, |end, weight| {
                *end = end.saturating_add(weight);
                Some(*end)
            })
            .collect();
        let total = ends.last().copied().unwrap_or(0).max(1);
        Table { ends, total }
    }

    pub(super) fn shard_of(&self, hash: u32) -> ShardId {
        let place = hash % self.total;
        ShardId(self.ends.partition_point(|end| *end <= place) as u16)
    }

    /// By `ShardId`: how many places it has.
    pub(super) fn weights(&self) -> impl Iterator<Item = u32> + '_ {
        self.ends.iter().scan(0, |start, end| Some(end - std::mem::replace(start, *end)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_stands_weight_times_in_the_list() {
        let table = Table::new([1, 3, 2].into_iter());
        let places: Vec<u16> = (0..12).map(|hash| table.shard_of(hash).0).collect();
        assert_eq!(places, [0, 1, 1, 1, 2, 2, 0, 1, 1, 1, 2, 2]);
        // 2^32 - 1 is 3 more than a multiple of 6.
        assert_eq!(table.shard_of(u32::MAX), ShardId(1));
        assert_eq!(table.weights().collect::<Vec<_>>(), [1, 3, 2]);
    }

    #[test]
    fn weights_too_large_for_a_list_still_find_a_shard() {
        let table = Table::new([u32::MAX - 1, 5, 5].into_iter());
        assert_eq!(table.shard_of(u32::MAX - 2), ShardId(0));
        assert_eq!(table.shard_of(u32::MAX - 1), ShardId(1));
        assert_eq!(table.shard_of(u32::MAX), ShardId(0));
    }
}
