//! Commands are data: one line each, with arity, flags, where the keys are, how it is run.
//! No other module matches on a command's name.
#![forbid(unsafe_code)]

pub mod describe;
pub mod errors;
pub mod flags;
pub mod glob;
pub mod keys;
pub mod lookup;
pub mod model;
pub mod patience;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
pub mod repeat;
pub mod shape;
pub mod table;
#[cfg(test)]
mod test_request;

pub use lookup::{Lookup, by_name, lookup};
pub use table::all;
