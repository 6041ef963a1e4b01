//! RESP2 and RESP3 on the wire. Two parsers: a request needs its arguments, a reply only its end.
#![forbid(unsafe_code)]

pub mod args;
pub mod encode;
pub mod reply;
pub mod request;
