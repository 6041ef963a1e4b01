//! corelay: one relay per core. This is the map of the house; what the program does for its users
//! is told in `README.md`.
//!
//! # Words
//!
//! A *shard* is a name, onto which keys are hashed; a *node* is a redis-server, the *primary* the
//! one that serves a shard. A *lane* is one connection of one core to a node, which many clients
//! share; a *private connection* is one that is lent to one client at a time, a *tracker* one on
//! which a node names the keys that are written; the *order* of a client is the ring of its replies
//! to come, a *gather* one request in parts. Who has said WATCH *guards* keys. A *watched* shard's
//! primary is where Redis Sentinel says: *verified* when the node has said so too, *in doubt* when a
//! connection to it was lost since; its requests are *held* meanwhile. A *replica* is *in sync* if it
//! may be read from. A *topic* is what clients listen to: a channel, a pattern, a shard channel. Tests
//! call a node, real or false, a *store*.
//!
//! # Floors
//!
//! A room uses what lies below it, and rooms of its own floor where the map says so.
//!
//! ```text
//! top      main ─▶ cli          the command line: check, explain, placement, import, run,
//!                               demo, probe, switchover, reload, upgrade
//!                  process      boots both planes, listens to signals, hands over to the next
//!                               process, ends in order; demo
//!          fuzz                 the targets of tests and fuzzers; not in the program
//! ───────────────────────────────────────────────────────────────────────────────────────────
//! door     mailbox              what a core can be told: one bounded lock-free mailbox each
//! 4        reactor              one core: pinned thread, turns, accepting, balance of clients
//!          net                  sockets, the ring, descriptors from process to process; the only
//!                               room with `unsafe`
//! beside   control              admin and statistics port, resolver, watcher of sentinels, sampler of
//!                               replicas, planned switchovers, reload, the publisher of
//!                               topologies: threads that may block
//! 3        relay                the heart: bytes in, bytes out, no I/O, `now` is an argument
//! 2        config route         keys and files to a Config (needs route); key to shard
//!          topology stats       the Config in force, where primaries and replicas are; cells,
//!                               latencies, exports
//!          log                  lines, made by whoever has something to say, written by a thread
//! 1        resp command         the protocol: parser, scanner, encoder; the table of commands
//! 0        base                 limits, ids, time, buffers, slabs: knows nothing of Redis
//! ```
//!
//! Only `net` and `reactor` name io_uring and glommio. `relay` names no socket, clock, thread or
//! lock. `control` names neither `relay` nor `reactor`. Only `process` knows both planes.
//!
//! # Threads
//!
//! ```text
//!   corelay-0 … corelay-N      reactor::run ─▶ drive ─▶ Core::turn, for ever      the data plane
//!       ▲ Letter        │ cells of CoreStats, LatencyDoor, lines for the log
//!       │ (mailbox)     ▼
//!   corelay-admin, corelay-stats      control::admin, control::stats_port         the control
//!   corelay-resolver, corelay-lookup  control::resolver (if an address is a name) plane
//!   corelay-sentinel                  control::sentinel (if a pool has sentinels)
//!   corelay-reload                    control::reload
//!   corelay-replicas                  control::replicas (if a pool reads from replicas)
//!   corelay-log                       log's writer
//!   corelay-signals                   process: hands signals to main
//!   corelay-handover                  process::handover::give (if there is a handover_socket)
//!   main                              process::run ─▶ boot, serve (signals), end
//! ```
//!
//! A core never waits for another thread. Downward go whole immutable things: `Letter::Topology`
//! (with the configuration that it counts pools and shards by), `Letter::Listen` (more listeners),
//! `Letter::AcceptAnew` (another process has left them to us),
//! `Letter::Shared` (what another core tells: a script that it has seen, a query for clients, an
//! answer to one, lines for who monitors), `Letter::Client` (a connection that another core accepted
//! and this one has more room for), `Letter::Drain`, `Letter::Stop`. Upward, others read what the
//! core counts; that a primary is in doubt goes to the watcher by its bounded channel
//! (`Suspicions`).
//!
//! # A turn, and a request's way through it
//!
//! ```text
//!  Core::turn:  Relay::on_turn ─▶ carry_out_asks ─▶ flush ─▶ Sockets::enter (the one system call)
//!               ▲                                                      │
//!               └───────────── on_event for each Sockets::next_event ◀─┘
//!
//!  client's bytes (Event::Bytes)
//!    Relay::on_client_bytes ─▶ admit          RequestParser finds complete requests where they lie
//!      dispatch                               (dispatch_tracked: of who tracks, note_keys behind it)
//!      take_in                                command::lookup; rights, arity; then by Command::run:
//!        (oversee)                            only while somebody monitors, or a pool is paused
//!        forward ─▶ (one_shard) ─▶ Router::shard_of               one shard
//!        split, fan, scan, eval …  ─▶ open_gather, send_part      several shards, or a changed reply
//!        run_local, refuse         ─▶ answer                      none
//!        query_clients ─▶ open_gather, Ask::Tell                  none, but other cores
//!        block ─▶ borrow ─▶ send_blocking                         one, on a private connection
//!        guard_keys, exec ─▶ take_turn ─▶ send_turn               the same
//!      send_to ─▶ send_in_order               Order::push: a slot in the client's order;
//!        enqueue                              a Token (client, generation, slot) in the lane's ring
//!      put_lane                               the request's bytes, copied once; of a watched shard
//!                                             they are kept, to wait or to be sent again (hold)
//!
//!  lane's bytes (Event::Bytes)
//!    Relay::on_lane_bytes                     ReplyScanner finds where replies end
//!      on_reply                               the oldest Token is the one that is answered
//!                                             (if it may be: command::shape; else the lane is lost)
//!        deliver ─▶ put_client                next in the client's order: out; else kept in its slot
//!        gather_reply ─▶ complete             the last part merges them, and delivers
//!        on_unpaired ─▶ on_message ─▶ spread  a message: to each client that listens to its topic
//!        on_push ─▶ on_invalidation ─▶ tell   keys were written: to each client that has read them
//!
//!  flush ─▶ send_output for each Relay::next_dirty
//!    Relay::take_output ─▶ Sockets::send      one write for each connection and turn
//!      put_fence                              now and then: is the lane still in step?
//! ```
//!
//! Limits are checked where bytes come in (`may_take_in`) and where they wait (`stall_feeder`,
//! `check_output`); all of them stand in `base::limits`.

// What tests have for themselves the fuzzer builds too, and uses a part of.
#![cfg_attr(all(fuzzing, not(test)), allow(dead_code, reason = "of tests"))]

pub mod base;
pub mod cli;
pub mod command;
pub mod config;
pub mod control;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod log;
pub mod mailbox;
pub mod net;
pub mod process;
pub mod reactor;
pub mod relay;
pub mod resp;
pub mod route;
pub mod stats;
pub mod topology;
