//! The keys themselves.

use super::Fallback::{Absent, Bool as Is, Integer as Is64, Required, Text as Word};
use super::Kind::{
    Address, Addresses, Bool, Choice, Cores, IntegerOrNone, Listens, Masters, Secret, Text,
};
use super::Section::{
    Auth, BackendAuth, Master, Pool, Proxy, ReadFromByFamily as Family, Sentinel, Shard,
};
use super::{Fallback, Key, Kind, Section};
use crate::base::limits;
use crate::config::names::{
    DANGEROUS_COMMANDS, DISTRIBUTIONS, FACADES, HASHES, LOG_LEVELS, READ_FROMS, REPLAYS,
    SIGNEDNESSES, UNKNOWN_COMMANDS, names,
};

/// All keys, in the order of the sample file.
#[rustfmt::skip]
pub const KEYS: [Key; 77] = [
    key(Proxy, "cores", Cores, Word("auto"),
        "CPUs, one reactor each: \"auto\" (all this process may run on), a count, or a list of CPU ids"),
    key(Proxy, "admin_listen", Address, Word("127.0.0.1:9180"),
        "HTTP for /metrics /healthz /readyz /stats /topology; \"off\": none"),
    key(Proxy, "stats_listen", Address, Word("off"),
        "twemproxy's JSON on connect (its own default is 0.0.0.0:22222); \"off\": none"),
    key(Proxy, "log_level", Choice(&names(&LOG_LEVELS)), Word("info"),
        "least weight of what is logged"),
    key(Proxy, "log_file", Text, Word("stderr"),
        "path of the log, reopened on SIGHUP; \"stderr\": standard error"),
    key(Proxy, "handover_socket", Text, Absent,
        "path of the unix socket at which corelay run --take-over asks for the listeners; absent: none"),
    key(Proxy, "handover_grace_ms", IntegerOrNone { min: 1, max: MS_MAX }, Is64(limits::HANDOVER_GRACE_MS),
        "so long after it was taken over a process has let go who is connected to it; \"none\": never"),
    key(Proxy, "core_buffer_max_bytes", within(1024 * KIB, TIB), size(limits::CORE_BUFFER_MAX_BYTES),
        "all buffers of one core; above it the client that holds most is closed, full lanes take no more"),
    key(Proxy, "spin_us", within(0, 1_000_000), Is64(0),
        "busy polling before a core sleeps; 0: none"),
    key(Proxy, "batch_us", within(0, 100_000), Is64(200),
        "longest wait for more events while many clients wait and bytes come fast; 0: none"),

    key(Pool, "name", Text, Required,
        "name in logs and statistics"),
    key(Pool, "listen", Listens, Required,
        "where clients connect: \"host:port\", \"[ipv6]:port\", \"unix:/path\" or \"unix:/path 0660\""),
    key(Pool, "backlog", within(1, 65_535), Is64(1024),
        "connections that wait to be accepted, each listener of each core"),
    key(Pool, "tcp_keepalive", Bool, Is(true),
        "the kernel probes silent clients"),
    key(Pool, "hash", Choice(&names(&HASHES)), Word("fnv1a_64"),
        "hash of a key, as twemproxy computes it"),
    key(Pool, "hash_tag", Text, Word(""),
        "two characters: only the part of a key between them is hashed; \"\": the whole key"),
    key(Pool, "distribution", Choice(&names(&DISTRIBUTIONS)), Word("ketama"),
        "how hashes are spread over the shards, as twemproxy does it"),
    key(Pool, "char_signedness", Choice(&names(&SIGNEDNESSES)), Word("signed"),
        "bytes from 0x80 in a hash: \"signed\" as twemproxy on x86, \"unsigned\" as on ARM"),
    key(Pool, "timeout_ms", IntegerOrNone { min: 1, max: MS_MAX }, Is64(2000),
        "deadline of one request, from when it is queued for its shard; \"none\": wait for ever"),
    key(Pool, "connect_timeout_ms", within(1, MS_MAX), Is64(limits::CONNECT_TIMEOUT_MS),
        "connect and hand-shake of a lane to a redis-server"),
    key(Pool, "fence_interval_ms", within(0, MS_MAX), Is64(limits::FENCE_INTERVAL_MS),
        "so often a PING with a text of its own proves that a lane in use is in step; 0: never"),
    key(Pool, "lanes_per_node", within(1, 1024), size(limits::LANES_PER_NODE),
        "shared connections of each core to each redis-server"),
    key(Pool, "preconnect", Bool, Is(false),
        "lanes are connected at start, not at the first request"),
    key(Pool, "hold_ms", within(1, 600_000), Is64(limits::HOLD_MS),
        "how long requests wait for a verified primary; only with [pool.sentinel]"),
    key(Pool, "hold_bytes", within(64 * KIB, TIB), size(limits::HOLD_BYTES),
        "requests that each core keeps for one shard meanwhile; only with [pool.sentinel]"),
    key(Pool, "replay", Choice(&names(&REPLAYS)), Word("reads"),
        "sent again if their lane was lost: \"reads\"; \"idempotent\": also SET, DEL …; with [pool.sentinel]"),
    key(Pool, "database", within(0, 16_383), Is64(0),
        "database of a client that has not selected one"),
    key(Pool, "databases", within(1, 16_384), Is64(limits::DATABASES as u64),
        "SELECT accepts 0 up to this, exclusive"),
    key(Pool, "unknown_commands", Choice(&names(&UNKNOWN_COMMANDS)), Word("refuse"),
        "a command not in the table: \"refuse\", or \"forward\" to the shard of its first argument"),
    key(Pool, "dangerous_commands", Choice(&names(&DANGEROUS_COMMANDS)), Word("refuse"),
        "KEYS, FLUSHALL, CLIENT KILL and others that reach every key or other clients"),
    key(Pool, "keyless_scripts", Text, Word("first-shard"),
        "where EVAL and FCALL without keys run: \"first-shard\", \"shard:NAME\", or \"refuse\""),
    key(Pool, "facade", Choice(&names(&FACADES)), Word("none"),
        "what clients take the pool for: \"none\": one redis; \"cluster\": a Redis Cluster of one node"),
    key(Pool, "facade_address", Address, Word("off"),
        "\"host:port\" that this node is called; \"off\": the address that a client connected to"),
    key(Pool, "read_from", READ_FROM, Word("primary"),
        "which redis-server of a shard answers reads; all but \"primary\" may answer from the past"),
    key(Pool, "replica_lag_max_bytes", within(0, TIB), Is64(limits::REPLICA_LAG_MAX_BYTES),
        "a replica that lacks more of what its primary has written is not read from"),
    key(Pool, "read_your_writes_ms", within(0, MS_MAX), Is64(limits::READ_YOUR_WRITES_MS),
        "so long after a write was answered its client reads from the primary; 0: not even then"),
    key(Pool, "client_connections_max", within(0, 10_000_000), size(limits::CLIENT_CONNECTIONS_MAX),
        "clients over all cores; 0: no bound"),
    key(Pool, "client_idle_timeout_ms", within(0, MS_MAX), Is64(0),
        "a client that sends nothing for so long is closed; 0: never"),
    key(Pool, "client_inflight_max", within(1, 1 << 20), size(limits::CLIENT_INFLIGHT_MAX),
        "unanswered requests of one client; past it the client is not read"),
    key(Pool, "client_output_soft_bytes", within(4 * KIB, TIB), size(limits::CLIENT_OUTPUT_SOFT_BYTES),
        "bytes that wait for one client before no more of its requests are taken in"),
    key(Pool, "client_output_max_bytes", within(8 * KIB, TIB), size(limits::CLIENT_OUTPUT_MAX_BYTES),
        "bytes that wait for one client before it is closed, be it replies or messages"),
    key(Pool, "client_subscriptions_max", within(1, 1 << 24), size(limits::CLIENT_SUBSCRIPTIONS_MAX),
        "channels, patterns and shard channels that one client may be subscribed to"),
    key(Pool, "request_args_max", within(16, i32::MAX as u64), size(limits::REQUEST_ARGS_MAX),
        "arguments of one request"),
    key(Pool, "request_bytes_max", within(KIB, REQUEST_MAX), size(limits::REQUEST_BYTES_MAX),
        "a whole request"),
    key(Pool, "bulk_bytes_max", within(KIB, REQUEST_MAX), size(limits::BULK_BYTES_MAX),
        "one argument of a request; not above the redis-servers' proto-max-bulk-len"),
    key(Pool, "lane_inflight_max", within(1, 1 << 24), size(limits::LANE_INFLIGHT_MAX),
        "unanswered requests on one lane; past it the clients that feed it are not read"),
    key(Pool, "lane_output_soft_bytes", within(4 * KIB, TIB), size(limits::LANE_OUTPUT_SOFT_BYTES),
        "bytes that wait on one lane before the clients that feed it are not read"),
    key(Pool, "private_connections_max", within(0, 1 << 20), size(limits::PRIVATE_CONNECTIONS_MAX),
        "connections of each core to each redis-server that are lent to one client (BLPOP …)"),
    key(Pool, "private_connections_queue", within(0, 1 << 20), Is64(0),
        "clients that wait for one of these when all are lent; past it they get an error"),

    key(Shard, "name", Text, Required,
        "what is hashed onto the ring: the name stays when the address changes"),
    key(Shard, "address", Text, Required,
        "the redis-server: \"host:port\", \"[ipv6]:port\" or \"unix:/path\""),
    key(Shard, "weight", within(1, limits::WEIGHT_MAX as u64), Is64(1),
        "share of the keys, relative to the other shards"),
    key(Shard, "replicas", Addresses, Absent,
        "its replicas as \"host:port\", for read_from; sentinels name those of theirs"),

    key(Sentinel, "addresses", Addresses, Required,
        "sentinels as \"host:port\"; they name the others"),
    key(Sentinel, "masters", Masters, Required,
        "names that the sentinels watch, the pool's shards: \"name\" or { name = \"name\", weight = 2 }"),
    key(Sentinel, "user", Text, Absent,
        "ACL user on the sentinels; absent: AUTH with the password alone"),
    key(Sentinel, "password", Secret, Absent,
        "what the sentinels ask for"),
    key(Sentinel, "quorum_required", Bool, Is(false),
        "writes are refused while fewer than a majority of the sentinels can be reached …"),
    key(Sentinel, "quorum_grace_ms", within(200, MS_MAX), Is64(limits::QUORUM_GRACE_MS),
        "… for longer than this"),

    key(Master, "name", Text, Required,
        "the master's name, which is hashed onto the ring"),
    key(Master, "weight", within(1, limits::WEIGHT_MAX as u64), Is64(1),
        "share of the keys, relative to the other masters"),

    key(Auth, "password", Secret, Required,
        "what clients have to give with AUTH or HELLO"),

    key(BackendAuth, "user", Text, Absent,
        "ACL user on the redis-servers; absent: AUTH with the password alone"),
    key(BackendAuth, "password", Secret, Required,
        "what the redis-servers ask for"),

    key(Family, "string", READ_FROM, Absent, "instead of read_from: GET, MGET, STRLEN …"),
    key(Family, "bitmap", READ_FROM, Absent, "GETBIT, BITCOUNT …"),
    key(Family, "hash", READ_FROM, Absent, "HGET, HGETALL …; not HSCAN"),
    key(Family, "list", READ_FROM, Absent, "LRANGE, LLEN …"),
    key(Family, "set", READ_FROM, Absent, "SMEMBERS, SISMEMBER …; not SSCAN"),
    key(Family, "sorted-set", READ_FROM, Absent, "ZRANGE, ZSCORE …; not ZSCAN"),
    key(Family, "stream", READ_FROM, Absent, "XRANGE, XREAD …"),
    key(Family, "geo", READ_FROM, Absent, "GEOSEARCH, GEODIST …"),
    key(Family, "hyperloglog", READ_FROM, Absent, "PFCOUNT"),
    key(Family, "array", READ_FROM, Absent, "ARGET …"),
    key(Family, "generic", READ_FROM, Absent, "EXISTS, TTL, TYPE, DUMP, SORT_RO …; not TOUCH, OBJECT"),
    key(Family, "scripting", READ_FROM, Absent, "EVAL_RO, FCALL_RO; not EVALSHA_RO"),
    key(Family, "module", READ_FROM, Absent, "JSON.GET, TS.RANGE, BF.EXISTS …"),
];

const READ_FROM: Kind = Choice(&names(&READ_FROMS));

const fn key(
    section: Section,
    name: &'static str,
    kind: Kind,
    default: Fallback,
    help: &'static str,
) -> Key {
    Key { section, name, kind, default, help }
}

const fn within(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max }
}

const fn size(bytes: usize) -> Fallback {
    Fallback::Integer(bytes as u64)
}

const KIB: u64 = 1024;
const TIB: u64 = 1 << 40;
/// About 49 days: what a 32-bit count of milliseconds holds.
const MS_MAX: u64 = u32::MAX as u64;
/// Ranges in a request are 32 bits wide (`limits`).
const REQUEST_MAX: u64 = u32::MAX as u64 - 1;
