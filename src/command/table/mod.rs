//! The table: one line of data for each command, one file for each family.
//!
//! A line says: name, version that brought it, arity, flags, where its keys are, how it is run, and
//! what its reply may be; without the last it may be anything (modules, scripts, what is newer than
//! the server that the table was held against).
//! The facts are those of redis 7.0 and, for what is newer, of redis 8 and Valkey 9; where a newer
//! server accepts more arguments than an older one, the line has the wider form, and the older
//! server refuses what it does not know itself. `tests/command_table_is_redis.rs` holds the table
//! against a live server.

mod array;
mod bitmap;
mod bloom;
mod cluster;
mod connection;
mod generic;
mod geo;
mod hash;
mod hyperloglog;
mod json;
mod line;
mod list;
mod pubsub;
mod scripting;
mod search;
mod server;
mod set;
mod sorted_set;
mod stream;
mod string;
mod timeseries;
mod transactions;
mod vector;

use crate::command::model::Command;

/// All files of the table; the commands of modules stand last.
pub(super) static FILES: &[&[Command]] = &[
    string::COMMANDS,
    bitmap::COMMANDS,
    hash::COMMANDS,
    list::COMMANDS,
    set::COMMANDS,
    sorted_set::COMMANDS,
    stream::COMMANDS,
    geo::COMMANDS,
    array::COMMANDS,
    hyperloglog::COMMANDS,
    generic::COMMANDS,
    scripting::COMMANDS,
    pubsub::COMMANDS,
    connection::COMMANDS,
    transactions::COMMANDS,
    server::COMMANDS,
    cluster::COMMANDS,
    vector::COMMANDS,
    json::COMMANDS,
    timeseries::COMMANDS,
    bloom::COMMANDS,
    search::COMMANDS,
];

/// How many commands there are, without their subcommands.
pub(super) const COUNT: usize = {
    let mut count = 0;
    let mut file = 0;
    while file < FILES.len() {
        count += FILES[file].len();
        file += 1;
    }
    count
};

/// Every command, without their subcommands.
pub fn all() -> impl Iterator<Item = &'static Command> + Clone {
    FILES.iter().flat_map(|file| file.iter())
}
