//! Identifiers that can not be mixed up.
//!
//! Connections carry a generation: an index is used again, the pair never is while anything that
//! names the old connection (a token in flight, a completion of the ring) may still arrive.

use std::fmt;

/// A pool, by its place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId(pub u16);

/// A shard, by its place in its pool's *sorted* list of shards (twemproxy's order, which is also
/// the order of modula's indices).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// A downstream connection of one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId {
    pub index: u32,
    pub generation: u32,
}

/// One attempt of a lane to be connected: the index is the lane's own, the generation counts its
/// attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LaneId {
    pub index: u32,
    pub generation: u32,
}

impl PoolId {
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl ShardId {
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}.{}", self.index, self.generation)
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "l{}.{}", self.index, self.generation)
    }
}
