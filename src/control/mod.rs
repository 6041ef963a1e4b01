//! The control plane: ordinary threads with blocking I/O, beside the cores and never in their way.
//!
//! It reads the cores' figures and shows them (`admin`, `stats_port`), and finds out where the
//! redis-servers are (`resolver`). It must never touch the relay or the reactor, nor make a core
//! wait: what it learns goes to the cores through the door, as whole immutable snapshots.
//!
//! ```text
//! cells, latency door ──▶ ControlState ──▶ admin       HTTP: /metrics /healthz /readyz /stats /topology
//!                              ▲      └──▶ stats_port  twemproxy's JSON on connect
//!   resolver ── Arc<Topology> ─┴──▶ the cores (whoever starts the resolver hands it on)
//!
//! probe ─▶ admin_client ─▶ the admin port of a proxy that runs, in another process
//! ```
#![forbid(unsafe_code)]

pub mod admin;
mod admin_client;
mod listener;
mod overview;
pub mod probe;
mod process;
mod readiness;
pub mod resolver;
pub mod state;
pub mod stats_port;
