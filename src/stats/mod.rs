//! Statistics: one table of metrics; cells that one core writes and anybody reads; latencies; and
//! how they are written for those who ask.
//!
//! Everything here is a value or a pure function: it must never open a socket, start a thread or
//! read a clock. The relay and the reactor write cells and record latencies, the control plane
//! reads and renders.
#![forbid(unsafe_code)]

pub mod cells;
pub mod latency;
pub mod plain_text;
pub mod prometheus;
pub mod table;
pub mod twemproxy;
pub mod watch;

pub use table::describe;
