//! What goes in and out of the relay beside bytes.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::ids::{ClientId, LaneId, PoolId, ShardId};
use crate::topology::NodeEndpoint;

pub use crate::relay::query::ClientQuery;

/// Which core of how many this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreIdentity {
    /// 0 … cores - 1.
    pub core: u16,
    pub cores: u16,
}

/// Who is at the other end of a client's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    Tcp { peer: SocketAddr, local: SocketAddr },
    Unix { path: Arc<str> },
}

/// What the relay wants done; drained by `Relay::next_ask` once a turn.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Connect; answered by `on_lane_open` or `on_lane_closed`, always exactly one of them first.
    Connect {
        lane: LaneId,
        endpoint: NodeEndpoint,
    },
    /// Close at once, throw away what was not sent; the relay has already forgotten this
    /// generation. No `on_lane_closed` follows.
    CloseLane(LaneId),
    /// Send what waits (`take_output`), then half-close, swallow what still comes for a moment (so
    /// that no RST overtakes the last reply), close, and say `on_client_closed`.
    FinishClient(ClientId),
    /// Close at once, throw away what waits, say `on_client_closed`.
    DropClient(ClientId),
    /// Stop reading; bytes already received are still delivered.
    PauseClient(ClientId),
    ResumeClient(ClientId),
    /// Tell all other cores (their `on_shared`).
    Share(Shared),
    /// Tell one other core (its `on_shared`). What does not arrive is missed for a while, and no
    /// longer: see `relay::cores`.
    Tell {
        core: u16,
        news: Shared,
    },
}

/// What one core tells others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shared {
    /// A script's body that it had not seen before.
    Script(Arc<Script>),
    /// SCRIPT FLUSH: forget this pool's scripts.
    ScriptFlush(PoolId),
    /// A client of core `from` asks for clients, or wants them closed: an answer goes back.
    Query {
        from: u16,
        /// Index and generation of what waits there for the answer.
        gather: (u32, u32),
        query: Arc<ClientQuery<'static>>,
    },
    /// What `core` says to a query: a part of the reply, in RESP.
    Answer { core: u16, gather: (u32, u32), part: Vec<u8> },
    /// Requests of a pool that core `from` has taken in, as lines for those who monitor, and the
    /// number of others: an answer goes back.
    Seen { from: u16, pool: PoolId, lines: Vec<u8>, missed: u64 },
    /// `core` has them; whether a client there still monitors.
    SeenBy { core: u16, pool: PoolId, go_on: bool },
}

/// A connection that has output; drained by `Relay::next_dirty` once a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dirty {
    Client(ClientId),
    Lane(LaneId),
}

/// Why a client's connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEnd {
    /// It said goodbye (FIN).
    Eof,
    /// RST, or another error number of the socket.
    Error(i32),
    /// As asked by `FinishClient` or `DropClient`.
    Asked,
}

/// Why a lane's connection ended, or was never there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneEnd {
    Eof,
    /// An error number of the socket, `ECONNREFUSED` and the like on connect.
    Error(i32),
}

/// The body of a script and its digest, known to every core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    pub pool: PoolId,
    /// Lower-case hexadecimal SHA-1.
    pub digest: [u8; 40],
    pub body: Box<[u8]>,
}

/// Something for the log; drained by `Relay::next_report`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    LaneUp {
        pool: PoolId,
        shard: ShardId,
    },
    LaneDown {
        pool: PoolId,
        shard: ShardId,
        why: String,
    },
    /// A lane to a replica was lost; reads go to the primary.
    ReplicaDown {
        pool: PoolId,
        shard: ShardId,
        node: String,
        why: String,
    },
    ReplicaUp {
        pool: PoolId,
        shard: ShardId,
        node: String,
    },
    ClientProtocolError {
        pool: PoolId,
        peer: String,
        why: String,
    },
    ClientClosedForOutput {
        pool: PoolId,
        peer: String,
        bytes: usize,
    },
    /// What clients are subscribed to, a fresh connection could not subscribe to: it tries again.
    SubscriptionRefused {
        pool: PoolId,
        shard: ShardId,
        why: String,
    },
    /// The primary of a watched shard is in doubt: a connection to it was lost, or it refuses. No
    /// connection is made to it until a topology with a number above `verified` comes. Said once
    /// for each such number, and now and then `again` as long as none comes.
    ShardSuspect {
        pool: PoolId,
        shard: ShardId,
        verified: u64,
        why: String,
        again: bool,
    },
    /// The first reply of a watched shard that had been in doubt: its primary, as verified by this
    /// number, serves again. The outage began so long ago on this core.
    FirstReply {
        pool: PoolId,
        shard: ShardId,
        verified: u64,
        outage_us: u64,
    },
}
