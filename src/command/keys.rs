//! Finding the keys among a request's arguments.

use crate::command::model::Command;
use crate::resp::args::Request;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysError {
    /// numkeys is no integer, or out of range.
    NumkeysNotAnInteger,
    /// numkeys is greater than the number of arguments.
    TooManyKeys,
    /// numkeys is negative.
    NegativeKeys,
    /// numkeys is 0 where at least one key is needed.
    NoKeys,
    Syntax,
}

/// Puts the indices of the arguments that are keys to `out`, in their order.
/// The arity has been checked before.
pub fn find_keys(
    command: &Command,
    request: &Request<'_>,
    out: &mut Vec<u32>,
) -> Result<(), KeysError> {
    let _ = (command, request, out);
    Ok(())
}
