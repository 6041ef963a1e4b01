//! The control plane: ordinary threads with blocking I/O, beside the cores and never in their way.
//!
//! It reads the cores' figures and shows them (`admin`, `stats_port`), finds out where the
//! redis-servers are (`resolver` of names, watcher of `sentinel`s) and which `replicas` may be read
//! from, and takes in a changed configuration (`reload`). It must never touch the relay or the
//! reactor, nor make a core wait: what it learns goes to the cores through the door, as whole
//! immutable snapshots.
//!
//! ```text
//! cells, latency door ──▶ ControlState ──▶ admin       HTTP: /metrics /healthz /readyz /stats /topology
//!                                     └──▶ stats_port  twemproxy's JSON on connect
//!   resolver, sentinel, replicas, reload ─▶ publisher ─ Arc<Topology> ─▶ ControlState, the cores
//!
//! probe ─▶ admin_client ─▶ the admin port of a proxy that runs, in another process
//! ```
#![forbid(unsafe_code)]

mod accept;
pub mod admin;
mod admin_client;
pub mod listener;
mod overview;
mod picture;
pub mod probe;
mod process;
pub mod publisher;
mod readiness;
pub mod reload;
pub mod replicas;
pub mod resolver;
pub mod sentinel;
pub mod state;
pub mod stats_port;
pub mod switchover;
