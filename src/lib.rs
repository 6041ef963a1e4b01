//! corelay: one relay per core.

pub mod base;
pub mod cli;
pub mod command;
pub mod config;
pub mod control;
pub mod net;
pub mod reactor;
pub mod relay;
pub mod resp;
pub mod route;
pub mod stats;
pub mod topology;
