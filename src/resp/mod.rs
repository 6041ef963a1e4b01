//! RESP2 and RESP3 on the wire. Two parsers: a request needs its arguments, a reply only its end.
//!
//! Everything here is a function of bytes: no socket, no clock, no recursion (a reply may be nested
//! thousands deep), no memory reserved because a length said so, and no panic whatever the bytes
//! are. Called by the command table, the relay, and the hand-shakes of both sides.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

pub mod args;
pub mod encode;
mod header;
mod inline;
#[cfg(any(test, fuzzing))]
pub(crate) mod naive;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
mod protocol_error;
pub mod reply;
pub mod request;
pub mod value;

#[cfg(test)]
mod tests;

/// The version of RESP that one connection speaks, as chosen by HELLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}
