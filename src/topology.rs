//! The topology: an immutable picture of where every shard's primary is, and which of its replicas
//! may be read from, with an epoch.
//!
//! Made by the control plane, handed whole to every core. A core applies one only if its epoch is
//! higher than that of the one it has. It carries the configuration by whose pools and shards it
//! counts: a reload can not come apart from the addresses that belong to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::base::ids::{PoolId, ShardId};
use crate::config::model::Config;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Grows with every published topology; the first is 1.
    pub epoch: u64,
    pub config: Arc<Config>,
    /// By `PoolId`.
    pub pools: Vec<PoolTopology>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTopology {
    /// By `ShardId`.
    pub shards: Vec<ShardTopology>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardTopology {
    /// `None`: no primary is known (a name that does not resolve, no verified primary).
    pub primary: Option<NodeEndpoint>,
    /// Which verification this is: grows whenever the sentinels' word and `ROLE` have confirmed the
    /// primary, be it a new one or the old one again. A core that has lost a connection to a
    /// primary connects only after a higher one: what answers at the old address may be a stale
    /// primary that has come back. Always 0 where addresses are fixed.
    pub verified: u64,
    /// Writes may be sent. `false` where `quorum_required` is set and the sentinels are out of
    /// reach: on the wrong side of a partition the primary may have been replaced without our
    /// knowing.
    pub writable: bool,
    /// Nothing more is sent to the primary, a planned switchover is under way: requests are held.
    pub paused: bool,
    /// Those that may be read from now: in sync with the primary within the pool's bound.
    pub replicas: Vec<Replica>,
    /// The primary is about as near as the nearest of all of them.
    pub near: bool,
}

/// A node that has what its primary has, or had a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    pub endpoint: NodeEndpoint,
    /// It is about as near as the nearest of the shard's nodes.
    pub near: bool,
}

impl ShardTopology {
    /// A shard whose address is fixed.
    pub fn fixed(primary: Option<NodeEndpoint>) -> ShardTopology {
        ShardTopology {
            primary,
            verified: 0,
            writable: true,
            paused: false,
            replicas: Vec::new(),
            near: true,
        }
    }

    /// The primary is at `endpoint` from now on. If that is another one than before, nobody knows
    /// of any replica that it is one of this primary's.
    pub fn set_primary(&mut self, endpoint: NodeEndpoint) {
        if self.primary.as_ref() != Some(&endpoint) {
            self.replicas.clear();
            self.near = true;
        }
        self.primary = Some(endpoint);
    }
}

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NodeEndpoint {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Topology {
    pub fn shard(&self, pool: PoolId, shard: ShardId) -> Option<&ShardTopology> {
        self.pools.get(pool.index())?.shards.get(shard.index())
    }
}

impl std::fmt::Display for NodeEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NodeEndpoint::Tcp(address) => write!(f, "{address}"),
            NodeEndpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
