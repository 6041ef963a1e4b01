//! Commands are data: one line each, with arity, flags, where the keys are, how it is run.
//! No other module matches on a command's name.
#![forbid(unsafe_code)]

pub mod keys;
pub mod model;

use crate::resp::args::Request;
use model::Command;

/// What a request's name (and its subcommand's) stands for.
#[derive(Clone, Copy, Debug)]
pub enum Lookup {
    /// For a container command (CLIENT, CONFIG …) this is the subcommand's line.
    Found(&'static Command),
    /// The container is known, its subcommand is not.
    UnknownSubcommand(&'static Command),
    Unknown,
}

/// Finds the command of `request`, in any case of letters.
pub fn lookup(request: &Request<'_>) -> Lookup {
    let _ = request;
    Lookup::Unknown
}
