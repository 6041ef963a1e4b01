//! What is let loose on this program: for each target a property that must hold for any bytes.
//!
//! The properties stand in the rooms that they are of; here is the list. Each target runs in four
//! ways: by unit tests of its room; by every `make test` over the inputs kept in
//! `tests/corpus/<target>/` and over inputs that a seed makes of them (the tests of this room); and
//! guided by coverage with `make fuzz` (`tests/fuzz`, which is linked with LLVM's libFuzzer).
//!
//! Compiled for tests and with `--cfg fuzzing` only: nothing of it is in the program.
#![forbid(unsafe_code)]

use crate::command;
use crate::config;
use crate::relay;
use crate::resp;

#[cfg(test)]
mod generate;
#[cfg(test)]
mod tests;

/// A property of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its folder in `tests/corpus`, its name on the command line.
    pub name: &'static str,
    /// The longest input that is worth trying.
    pub bytes_max: usize,
    /// `Err` and a panic alike are a bug that was found.
    pub property: fn(&[u8]) -> Result<(), String>,
    /// Inputs that a test makes of a seed: as many as take about a second.
    pub rounds: u64,
}

/// All of them.
pub const TARGETS: [Target; 9] = [
    target("requests", 1024, resp::properties::requests, 3_000),
    target("replies", 1024, resp::properties::replies, 3_000),
    target("inline", 256, resp::properties::inline, 20_000),
    target("commands", 512, command::properties::commands, 3_000),
    target("toml", 2048, config::properties::toml, 2_000),
    target("nutcracker", 2048, config::properties::nutcracker, 2_000),
    target("addresses", 128, config::properties::addresses, 20_000),
    target("relay", 2048, relay::script::play, 300),
    target("simulation", 2048, relay::sim_tests::script, 60),
];

/// The target of this name.
pub fn by_name(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

const fn target(
    name: &'static str,
    bytes_max: usize,
    property: fn(&[u8]) -> Result<(), String>,
    rounds: u64,
) -> Target {
    Target { name, bytes_max, property, rounds }
}
