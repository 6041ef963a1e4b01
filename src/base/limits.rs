//! Every bound of the proxy, in one place: with unit, reason and arithmetic.
//!
//! A limit that a user may want to move has its default here and a key in the configuration
//! (`config/corelay.toml` lists them all); the others are fixed.

// --- what a client may send -------------------------------------------------------------------

/// Digits, sign and CRLF of one RESP header line, bytes. Redis tolerates 64 KiB; no honest header
/// is longer than `*-9223372036854775808\r\n` (23 bytes).
pub const HEADER_BYTES_MAX: usize = 32;
/// One inline command, bytes (as redis).
pub const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Arguments of one request, default (as redis before 7: 1024 × 1024).
pub const REQUEST_ARGS_MAX: usize = 1024 * 1024;
/// One bulk string of a request, bytes, default: redis' own `proto-max-bulk-len`.
pub const BULK_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Arguments, and bytes of one bulk string, of a client that has not authenticated on a pool that
/// wants a password: redis' own bounds for such clients.
pub const STRANGER_ARGS_MAX: usize = 10;
pub const STRANGER_BULK_BYTES_MAX: usize = 16 * 1024;
/// A whole request, bytes, default: one bulk string of the largest size and its surroundings.
pub const REQUEST_BYTES_MAX: usize = BULK_BYTES_MAX + 1024 * 1024;

/// Requests of one transaction (MULTI … EXEC). A lane counts their replies in 16 bits, and a redis
/// that works off so many at a stretch serves nobody else for tens of milliseconds. The bytes of all
/// of them are bounded as those of one request are.
pub const TRANSACTION_REQUESTS_MAX: usize = 65_534;

// --- clients ----------------------------------------------------------------------------------

/// Client connections of one pool over all cores, default.
pub const CLIENT_CONNECTIONS_MAX: usize = 10_000;
/// Clients (and sockets) of one core whose records are never moved as their number grows: moving takes
/// the core's time, and for a while twice the memory. 16 384 of them take 10 MiB of address space, and
/// memory only as they come.
pub const RECORDS_IN_PLACE: usize = 16_384;
/// Requests of one client that may be unanswered; past it the client is not read.
pub const CLIENT_INFLIGHT_MAX: usize = 1024;
/// Times that a read of a watched shard is sent, if each time the connection is lost and nothing on
/// it was answered. More than one, for a sentinel closes connections to the primary that it has just
/// made; few, for a read that kills its server is sent to the next one.
pub const SENDS_MAX: u8 = 3;
/// Bytes of the first replies of a pipeline that may wait for the others, to leave in one write
/// with them: less than one TCP segment on Ethernet (MTU 1500). A full one is worth a write of its
/// own.
pub const HELD_BACK_BYTES_MAX: usize = 1448;
/// Bytes that wait for one client before no more of its requests are taken in, default.
pub const CLIENT_OUTPUT_SOFT_BYTES: usize = 1024 * 1024;
/// Bytes that wait for one client before it is closed, default: replies to what was already under
/// way when the soft limit was reached must fit (1024 requests × 64 KiB = 64 MiB), and so must the
/// largest single value that we expect to see.
pub const CLIENT_OUTPUT_MAX_BYTES: usize = 256 * 1024 * 1024;
/// Bytes that all buffers of one core may hold, default. Above it, if they are more than half the
/// clients', the client that holds most is closed; else lanes that are full take no more requests.
pub const CORE_BUFFER_MAX_BYTES: usize = 1024 * 1024 * 1024;
/// How long CLIENT LIST, KILL and PAUSE, and MONITOR wait for the other cores, ms; then they are answered with
/// what came. A core answers within its turn: in far less than 1 ms, or some ms if it has 10 000
/// clients to list. One that needs longer has no CPU, and client libraries seldom wait longer.
pub const CORES_ANSWER_MAX_MS: u64 = 1_000;
/// Of an argument that MONITOR shows, so many bytes, and of a request so many arguments, so that a line
/// has at most 4 × 1024 × 128 bytes = 512 KiB …
pub const MONITOR_ARG_BYTES_MAX: usize = 1024;
pub const MONITOR_ARGS_MAX: usize = 128;
/// … and so many bytes of lines that wait for another core, where a client monitors: further requests
/// are not shown but counted.
pub const MONITOR_WAITING_BYTES_MAX: usize = 1024 * 1024;
/// A name given by CLIENT SETNAME or SETINFO, bytes.
pub const CLIENT_NAME_BYTES_MAX: usize = 256;

// --- backends ---------------------------------------------------------------------------------

/// Shared connections of one core to one node for each protocol version and database, default.
pub const LANES_PER_NODE: usize = 1;
/// Requests in flight on one lane, default; past it, clients that feed it are not read.
pub const LANE_INFLIGHT_MAX: usize = 64 * 1024;
/// Bytes that wait to be sent on one lane before the clients that feed it are not read, default.
pub const LANE_OUTPUT_SOFT_BYTES: usize = 16 * 1024 * 1024;
/// Above `core_buffer_max_bytes`, a lane with so many bytes takes no more: one that is served has
/// less, from one turn to the next. So the core holds at most so much more for each lane.
pub const CROWDED_LANE_BYTES: usize = 64 * 1024;
/// A reply longer than this is streamed to its client (if it is the client's next) instead of being
/// collected.
pub const REPLY_STREAM_BYTES: usize = 64 * 1024;
/// Private connections of one core to one redis-server, default: redis takes 10,000 clients, and 16
/// cores take 4096 of them.
pub const PRIVATE_CONNECTIONS_MAX: usize = 256;
/// A private connection that nobody has borrowed for so long is closed, ms: well below the `timeout`
/// that a redis-server may have for idle clients.
pub const PRIVATE_IDLE_MS: u64 = 30_000;
/// A client that blocks hears an error when its redis-server has not ended that so long after its
/// time, ms. Redis looks ten times a second.
pub const BLOCK_GRACE_MS: u64 = 2_000;
/// A client that has said WATCH keeps its private connection for so long, ms; then its EXEC answers
/// nil. What is read, worked out and written takes milliseconds: who needs a minute has forgotten it.
pub const GUARD_MAX_MS: u64 = 60_000;
/// A redis-server that was told to unblock a client has so long to answer it, ms; then its
/// connection is closed.
pub const UNBLOCK_MAX_MS: u64 = 1_000;
/// So long does a client that blocks wait for a redis-server that can not be connected to, ms, where
/// no sentinel watches it: a restart takes less. (A watched one is waited for as long as it blocks.)
pub const BLOCK_RECONNECT_MS: u64 = 10_000;
/// First pause before a lane is connected again, ms; it doubles with each failure. The pause taken
/// is drawn evenly from 0 to it (full jitter), so that a thousand lanes do not knock together.
pub const RECONNECT_FIRST_MS: u64 = 10;
/// Longest pause before a lane is connected again, ms.
pub const RECONNECT_MAX_MS: u64 = 1_000;
/// Connect and hand-shake of a lane must be over by then, ms, default.
pub const CONNECT_TIMEOUT_MS: u64 = 1_000;
/// How long requests wait for a verified primary, ms, default: the sentinels' `down-after` (often
/// 1 to 3 s on such pools) and the election and promotion behind it.
pub const HOLD_MS: u64 = 5_000;
/// Bytes of requests kept by a core for one shard to be sent to its next primary, default: 5 s of
/// 12,000 requests of 256 bytes, and the in-flight window of a fast lane many times over.
pub const HOLD_BYTES: usize = 16 * 1024 * 1024;
/// Writes are refused after so long without a majority of the sentinels, ms, default, where
/// `quorum_required` is set: long enough for one that is started again, and below what a failover
/// on the other side of a partition takes (`down-after`, an election, a promotion).
pub const QUORUM_GRACE_MS: u64 = 2_000;
/// A planned switchover needs a hold of so many ms: 1 s or 2 for the sentinels' failover, and as much
/// for what is under way to end and for the replicas to catch up.
pub const SWITCHOVER_HOLD_MIN_MS: u64 = 3_000;
/// Time between two fences of a lane in use, ms, default: so long may a redis-server that is out of
/// step go on unnoticed, and 40 bytes a second and lane are nothing.
pub const FENCE_INTERVAL_MS: u64 = 1_000;
/// A lane whose shard got another address waits at most so long for what the old server owes, ms (and
/// at most half of the pool's `timeout_ms`), counted from the last it has said.
pub const LEAVE_MAX_MS: u64 = 5_000;
/// A replica that lacks more bytes of what its primary has written is not read from, default: what a
/// busy primary writes in some hundredths of a second, and replication is behind by less.
pub const REPLICA_LAG_MAX_BYTES: u64 = 1024 * 1024;
/// A client reads from the primary for so long after the answer to a write, ms, default: within the
/// bound of lag a replica has it much sooner, and a replica that has stopped is left in that time.
pub const READ_YOUR_WRITES_MS: u64 = 1_000;
/// Replicas of one shard that are looked at and read from.
pub const REPLICAS_MAX: usize = 16;
/// Databases that SELECT accepts, default (as redis).
pub const DATABASES: u32 = 16;

// --- subscriptions ----------------------------------------------------------------------------

/// Channels, patterns and shard channels of one client, default: a tenth of what a core may hold.
pub const CLIENT_SUBSCRIPTIONS_MAX: usize = 100_000;
/// All subscriptions of a core, bytes of memory: as many as a million of short names. They are not
/// in `core_buffer_max_bytes`, for nobody could be closed to make room.
pub const SUBSCRIPTIONS_MAX_BYTES: usize = 512 * 1024 * 1024;
/// What a channel that somebody listens to takes beside its name, about …
pub const TOPIC_BYTES: usize = 384;
/// … and each that listens to it.
pub const LISTENER_BYTES: usize = 64;
/// A connection that subscribes, and on which nothing came for so long, is asked for a sign of
/// life, ms: no request of anybody's would find it dead.
pub const SUBSCRIBER_PING_MS: u64 = 5_000;
/// What a redis-server refused to somebody who is subscribed already (it is busy with a script,
/// say) is asked for again after so long, ms.
pub const SUBSCRIBE_AGAIN_MS: u64 = 500;

// --- tracking ---------------------------------------------------------------------------------

/// Keys that the clients of a pool on one core have read with tracking on, counted for each client:
/// when there are more, all of them are told to forget everything. A table of 2^20 places takes
/// 26 MiB, and may be filled to seven eighths.
pub const TRACKED_KEYS_MAX: usize = 917_504;
/// Prefixes of one client (CLIENT TRACKING ON BCAST PREFIX …): each length costs a look for every
/// key that is written.
pub const CLIENT_PREFIXES_MAX: usize = 64;
/// One push of a redis-server that names keys: of a longer one all are forgotten, bytes. A redis
/// that is busy names in one what it wrote in some milliseconds.
pub const INVALIDATION_MAX_BYTES: usize = 8 * 1024 * 1024;
/// A connection on which a redis-server names the keys that are written, and on which nothing came
/// for so long, is asked for a sign of life, and given up if none comes for as long again, ms.
pub const TRACKER_PING_MS: u64 = 5_000;
/// It is closed when no client of the pool on its core has tracked for so long, ms: clients that
/// come and go find it there.
pub const TRACKER_LINGER_MS: u64 = 10_000;

// --- scripts ----------------------------------------------------------------------------------

/// Script bodies remembered by one core to answer NOSCRIPT.
pub const SCRIPTS_MAX: usize = 1024;
/// Bytes of all of them.
pub const SCRIPTS_MAX_BYTES: usize = 16 * 1024 * 1024;

// --- buffers ----------------------------------------------------------------------------------

/// One chunk of outgoing bytes. 16 KiB holds a turn's worth of small requests, and is what the
/// kernel takes in one go without a page-sized tail.
pub const CHUNK_BYTES: usize = 16 * 1024;
/// Spare chunks kept by a core: 256 × 16 KiB = 4 MiB.
pub const CHUNK_POOL_MAX: usize = 256;
/// The first chunk of a connection that had little to send the last time.
pub const SMALL_CHUNK_BYTES: usize = 2 * 1024;
/// Spare small chunks kept by a core: 2048 × 2 KiB = 4 MiB; so many clients may be answered in one
/// turn without the allocator.
pub const SMALL_CHUNK_POOL_MAX: usize = 2048;
/// Buffers of at least this size are passed on whole, smaller ones are copied.
pub const PASS_ON_BYTES: usize = 16 * 1024;

// --- sockets and rings ------------------------------------------------------------------------

/// One receive buffer of a core, bytes: half of what loopback and segmentation offload hand over
/// at once (64 KiB), twice what redis reads at once.
pub const RECEIVE_BUFFER_BYTES: usize = 32 * 1024;
/// Receive buffers of a core (a power of two): 256 × 32 KiB = 8 MiB, made when first needed. They
/// are held during one turn only, never by an idle connection.
pub const RECEIVE_BUFFERS: u16 = 256;
/// The fewest of them that the kernel is offered: each is filled in turn, so the fewer there are
/// the less memory is touched. The number doubles whenever they run out …
pub const RECEIVE_BUFFERS_OFFERED_MIN: u16 = 32;
/// … and is halved after so many turns in which they did not.
pub const RECEIVE_BUFFERS_CALM_TURNS: u32 = 4096;
/// Entries of a core's submission queue (a power of two); when it is full, what is in it is
/// submitted early.
pub const RING_SUBMISSIONS: u32 = 1024;
/// Entries of a core's completion queue (a power of two); past it the kernel keeps them in a list.
pub const RING_COMPLETIONS: u32 = 8192;
/// Chunks of one write: 64 × 16 KiB = 1 MiB.
pub const WRITE_CHUNKS_MAX: usize = 64;
/// Sockets of one core: an index has 24 bits in the ring's user data.
pub const SOCKETS_MAX: usize = 1 << 24;
/// Longest sleep of a core without traffic, ms: what its housekeeping needs, and no more.
pub const IDLE_TICK_MS: u64 = 500;
/// How often the executor that hosts a core gets its turn, ms. Its only task counts seconds; every
/// turn of its costs some system calls and wakes a sleeping core.
pub const BUSY_TICK_MS: u64 = 100;
/// How often a core that drains, and has no client any more, looks whether the others let in nobody
/// whom they could pass on to it, ms.
pub const DRAIN_LOOK_MS: u64 = 10;
/// A client that was told goodbye is listened to for so long, so that no RST overtakes the last
/// reply, ms …
pub const FAREWELL_MS: u64 = 1_000;
/// … and for so many bytes.
pub const FAREWELL_BYTES: usize = 1024 * 1024;
/// At the start, addresses that are in use are waited for so long, all together, ms: a killed
/// proxy's ring holds its listeners until the kernel has taken it apart, some ms after the process
/// ended …
pub const LISTEN_IN_USE_MAX_MS: u64 = 1_000;
/// … and tried again after so long, ms.
pub const LISTEN_AGAIN_MS: u64 = 5;
/// Pause after descriptors ran out before new clients are accepted again, ms.
pub const ACCEPT_PAUSE_MS: u64 = 100;
/// Descriptors that a core needs beside its clients: 4 rings, 4 event descriptors, a reserve for
/// one more listener each, and lanes to 100 nodes in 2 protocol versions.
pub const CORE_DESCRIPTORS: usize = 256;
/// Descriptors without which no core starts: rings, event descriptors, a listener, a lane …
pub const CORE_DESCRIPTORS_MIN: usize = 8;
/// … and those of everything else: log, signals, ports.
pub const DESCRIPTORS_MIN: usize = 16;
/// Locked memory without which no core starts, bytes (glommio's own bound).
pub const LOCKED_MEMORY_MIN_BYTES: u64 = 512 * 1024;
/// An idle lane is asked for a sign of life after so long, s …
pub const LANE_KEEPALIVE_IDLE_S: u64 = 15;
/// … so many seconds apart …
pub const LANE_KEEPALIVE_INTERVAL_S: u64 = 5;
/// … and so often: a dead one is found after 15 + 3 × 5 = 30 s.
pub const LANE_KEEPALIVE_PROBES: u32 = 3;
/// Bytes sent on a lane that are not acknowledged for so long end it, ms (TCP_USER_TIMEOUT).
pub const LANE_UNACKNOWLEDGED_MAX_MS: u64 = 30_000;
/// Letters that wait for one core; passed-on clients beyond them stay where they were accepted, a
/// script is loaded again when it is needed, a query or its answer is missed.
pub const MAILBOX_LETTERS: usize = 4096;

// --- the process ------------------------------------------------------------------------------

/// So long after SIGTERM a process has ended, whoever is still connected, ms.
pub const DRAIN_MS: u64 = 10_000;
/// The last part of that time, ms (half of it at most): nothing more is taken in, and each client is
/// closed when it has its replies. Longer than `timeout_ms` by default, and a goodbye.
pub const DISMISSAL_MS: u64 = 3_000;
/// As `DRAIN_MS`, after another process has taken over: nobody waits for the end.
pub const HANDOVER_GRACE_MS: u64 = 600_000;
/// A process that takes over has to serve so long after it has asked, ms; then it is given up.
pub const HANDOVER_MAX_MS: u64 = 30_000;
/// Descriptors of the control plane: log, admin and statistics ports with their clients, look-ups.
pub const CONTROL_DESCRIPTORS: usize = 256;

// --- configuration ----------------------------------------------------------------------------

pub const POOLS_MAX: usize = 256;
/// Shards of one pool: a shard's number is 16 bits wide, and goes into SCAN's cursor.
pub const SHARDS_MAX: usize = 4096;
/// Listeners of one pool.
pub const LISTENERS_MAX: usize = 64;
pub const CORES_MAX: usize = 1024;
/// Sentinels of one pool: five watch thousands of masters; they are asked every second, all of
/// them.
pub const SENTINELS_MAX: usize = 32;
/// Length of a pool's or shard's name, bytes (twemproxy's ring hashes at most 272 bytes of it).
pub const NAME_BYTES_MAX: usize = 255;
/// Weight of one shard.
pub const WEIGHT_MAX: u32 = 1_000_000;
/// Weights of one pool together: an `f32` holds every whole number up to it (ketama's arithmetic),
/// and modula's list of so many entries is still a small one (16 Mi × 2 bytes).
pub const WEIGHTS_SUM_MAX: u32 = 1 << 24;
/// A configuration file, bytes: 4096 shards in each of some pools need about 1 MiB.
pub const CONFIG_FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

const _: () = assert!(REQUEST_BYTES_MAX < u32::MAX as usize, "ranges in a request are u32");
const _: () = assert!(CLIENT_OUTPUT_SOFT_BYTES < CLIENT_OUTPUT_MAX_BYTES);
const _: () = assert!(SHARDS_MAX <= 1 << 12, "SCAN's cursor has 12 bits for the shard");
const _: () = assert!(PASS_ON_BYTES >= CHUNK_BYTES, "a chunk that is passed on is a full one");
const _: () = assert!(RECEIVE_BUFFERS.is_power_of_two() && RECEIVE_BUFFERS <= 1 << 15);
const _: () = assert!(WRITE_CHUNKS_MAX <= 1024, "IOV_MAX");
