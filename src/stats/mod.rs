//! Statistics: one table of metrics; cells that one core writes and anybody reads.
#![forbid(unsafe_code)]

pub mod cells;
