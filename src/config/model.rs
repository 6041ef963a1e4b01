//! The types of the configuration as used. No defaults here: they are in `base::limits` or where
//! the file's keys are declared.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::ids::PoolId;
use crate::command::model::Family;

/// Everything that one process runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub proxy: ProxyConfig,
    /// `PoolId` is the index: those of the file that was read first in its order, then what later
    /// ones have added.
    pub pools: Vec<Arc<PoolConfig>>,
}

impl Config {
    /// The pools with their ids.
    pub fn numbered(&self) -> impl Iterator<Item = (PoolId, &Arc<PoolConfig>)> {
        (0..).map(PoolId).zip(&self.pools)
    }
}

/// What is the process's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyConfig {
    /// CPU ids, one reactor each.
    pub cores: Vec<usize>,
    /// HTTP: /metrics /healthz /readyz /stats /topology.
    pub admin_listen: Option<SocketAddr>,
    /// twemproxy's JSON on connect.
    pub stats_listen: Option<SocketAddr>,
    pub log_level: LogLevel,
    /// `None`: standard error.
    pub log_file: Option<PathBuf>,
    /// Where another process may ask for the listeners; `None`: nowhere.
    pub handover_socket: Option<PathBuf>,
    /// How long clients are served after that, ms; `None`: until they leave.
    pub handover_grace_ms: Option<u64>,
    /// See `limits::CORE_BUFFER_MAX_BYTES`.
    pub core_buffer_max_bytes: usize,
    /// Busy polling before sleeping, µs; 0: none.
    pub spin_us: u64,
    /// Gathering: longest wait for more events while several clients are waiting, µs; 0: none.
    pub batch_us: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

/// A listener with its shards and its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    pub name: String,
    pub listen: Vec<Listen>,
    pub backlog: u32,
    pub tcp_keepalive: bool,

    pub hash: HashKind,
    /// Opening and closing byte.
    pub hash_tag: Option<(u8, u8)>,
    pub distribution: DistributionKind,
    /// How bytes ≥ 0x80 enter the hashes that read `char`: signed as on x86, unsigned as on ARM.
    pub char_signedness: CharSignedness,
    /// In twemproxy's order (shorter name first, then by bytes); `ShardId` is the index.
    pub shards: Vec<ShardConfig>,

    /// Deadline of one request, from the moment it is enqueued, ms; `None`: wait for ever.
    pub timeout_ms: Option<u64>,
    /// Connect and hand-shake of a lane, ms.
    pub connect_timeout_ms: u64,
    /// Time between two fences on a lane in use, ms; 0: none.
    pub fence_interval_ms: u64,
    pub lanes_per_node: usize,
    /// Lanes (RESP2, default database) are connected at start, not at the first request.
    pub preconnect: bool,
    /// Who tells where the primaries are; `None`: the shards' addresses are fixed, nothing is held.
    pub sentinel: Option<SentinelConfig>,
    /// How long requests that may be sent wait for a verified primary, ms; only with `sentinel`.
    pub hold_ms: u64,
    /// Bytes of requests that each core keeps for one shard, to send them (again) to a new primary;
    /// only with `sentinel`.
    pub hold_bytes: usize,
    pub replay: Replay,
    /// Which redis-servers answer reads, of all families but …
    pub read_from: ReadFrom,
    /// … these.
    pub read_from_by_family: Vec<(Family, ReadFrom)>,
    /// A replica that lacks more of what its primary has written is not read from.
    pub replica_lag_max_bytes: u64,
    /// A client that wrote reads from the primary for so long, ms; 0: not even then.
    pub read_your_writes_ms: u64,
    /// Credentials towards the redis-servers.
    pub backend_auth: Option<Credentials>,
    /// A password that clients must give (twemproxy's `redis_auth`); user `default`.
    pub client_password: Option<String>,
    /// Database of a client that has not selected one.
    pub database: u32,
    /// SELECT accepts 0..databases.
    pub databases: u32,
    pub unknown_commands: UnknownCommands,
    /// KEYS, FLUSHALL, FLUSHDB, SCRIPT FLUSH, …: commands that reach every key of every shard.
    pub dangerous_commands: DangerousCommands,
    pub keyless_scripts: KeylessScripts,
    pub facade: Facade,
    /// Host and port that clients are told instead of those they connected to.
    pub facade_address: Option<(String, u16)>,

    pub limits: PoolLimits,
}

/// The bounds that a pool sets for its clients and lanes; see `base::limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Over all cores; 0: no bound.
    pub client_connections_max: usize,
    /// A client that sends nothing for so long is closed, ms; 0: never.
    pub client_idle_timeout_ms: u64,
    pub client_inflight_max: usize,
    pub client_output_soft_bytes: usize,
    pub client_output_max_bytes: usize,
    pub client_subscriptions_max: usize,
    pub request_args_max: usize,
    pub request_bytes_max: usize,
    pub bulk_bytes_max: usize,
    pub lane_inflight_max: usize,
    pub lane_output_soft_bytes: usize,
    /// Private connections of one core to one redis-server.
    pub private_connections_max: usize,
    /// Clients of one core that wait for one of these.
    pub private_connections_queue: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    Tcp(SocketAddr),
    Unix { path: PathBuf, mode: Option<u32> },
}

/// The sentinels of a pool. Its shards are the masters: their names are the masters' names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentinelConfig {
    /// `NodeAddress::Tcp`, at least one.
    pub addresses: Vec<NodeAddress>,
    pub credentials: Option<Credentials>,
    /// Writes are refused while fewer than a majority of the known sentinels can be reached …
    pub quorum_required: bool,
    /// … for longer than this, ms.
    pub quorum_grace_ms: u64,
}

/// A shard: a name that never changes, and where its primary is at first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardConfig {
    /// What is hashed onto the ring (for a nutcracker.yml without names: its derived name).
    pub name: String,
    pub address: NodeAddress,
    pub weight: u32,
    /// Where its replicas are said to be, `NodeAddress::Tcp`; sentinels name those of theirs.
    pub replicas: Vec<NodeAddress>,
}

/// Where a redis-server is said to be; a host may be a name that is still to be resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NodeAddress {
    Tcp {
        host: String,
        port: u16,
    },
    Unix {
        path: PathBuf,
    },
    /// Wherever the pool's sentinels say that the primary is.
    Sentinel,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `None`: the password-only AUTH of redis before 6.
    pub user: Option<String>,
    pub password: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashKind {
    OneAtATime,
    Md5,
    Crc16,
    Crc32,
    Crc32a,
    Fnv1_64,
    Fnv1a64,
    Fnv1_32,
    Fnv1a32,
    Hsieh,
    Murmur,
    Jenkins,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DistributionKind {
    Ketama,
    Modula,
    Random,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CharSignedness {
    Signed,
    Unsigned,
}

/// Which requests may be sent a second time when a connection was lost before their reply came
/// (reads always are).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// No write: its outcome is unknown, and so the client is told.
    Reads,
    /// Writes, too, that have the same effect twice as once (SET, DEL, EXPIREAT …).
    Idempotent,
}

/// Which redis-server of a shard answers a read. All but the first may answer from the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    Primary,
    /// The client's replica, if it can be asked at once; else the primary.
    PreferReplica,
    /// A replica, if any is in sync; else the primary.
    Replica,
    /// One of those to which the way is shortest, be it the primary or a replica.
    Nearest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownCommands {
    /// By first argument to its shard.
    Forward,
    Refuse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DangerousCommands {
    Allow,
    Refuse,
}

/// Where a script or function without keys runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeylessScripts {
    Refuse,
    /// The first in twemproxy's order.
    FirstShard,
    /// The shard of this name.
    Shard(String),
}

/// What clients take the pool for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facade {
    /// One redis.
    None,
    /// A Redis Cluster of one node.
    Cluster,
}

impl PoolConfig {
    /// Which redis-servers answer reads of this family.
    pub fn read_from_of(&self, family: Family) -> ReadFrom {
        let own = self.read_from_by_family.iter().find(|(of, _)| *of == family);
        own.map_or(self.read_from, |(_, from)| *from)
    }

    /// Whether some reads are answered by replicas.
    pub fn reads_replicas(&self) -> bool {
        let own = self.read_from_by_family.iter().map(|(_, from)| from);
        own.chain([&self.read_from]).any(|from| *from != ReadFrom::Primary)
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl std::fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NodeAddress::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            NodeAddress::Tcp { host, port } => write!(f, "{host}:{port}"),
            NodeAddress::Unix { path } => write!(f, "{}", path.display()),
            NodeAddress::Sentinel => f.write_str("by Sentinel"),
        }
    }
}

impl Listen {
    /// The address, if it is of TCP.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Listen::Tcp(address) => Some(*address),
            Listen::Unix { .. } => None,
        }
    }

    /// The path, if it is a unix socket.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Listen::Tcp(_) => None,
            Listen::Unix { path, .. } => Some(path),
        }
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Listen::Tcp(address) => write!(f, "{address}"),
            Listen::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}
