//! What must hold for any request whatever: its command is found as by going through the table,
//! its keys lie where they can, and each answer about it is one reply. For the target of `fuzz`.

use crate::command::keys::{block_option, find_keys, sort_patterns};
use crate::command::model::Command;
use crate::command::{Lookup, all, by_name, describe, errors, lookup};
use crate::resp::Protocol;
use crate::resp::args::{ArgRange, Request};
use crate::resp::properties::LIMITS;
use crate::resp::request::{Parsed, RequestParser, inline_to_multibulk};
use crate::resp::value::split_reply;

/// The target `commands`: the bytes as a stream of requests, be they multibulk or inline.
pub(crate) fn commands(bytes: &[u8]) -> Result<(), String> {
    let mut rest = bytes;
    let mut ranges = Vec::new();
    loop {
        let used = match RequestParser::default().parse(rest, &mut ranges, &LIMITS) {
            Ok(Parsed::Request { bytes }) => {
                let bytes = rest.get(..bytes).unwrap_or_default();
                request(&Request { bytes, ranges: &ranges })?;
                bytes.len()
            }
            Ok(Parsed::Inline { bytes }) => {
                let line = rest.get(..bytes).unwrap_or_default();
                let mut wire = Vec::new();
                let whole = inline_to_multibulk(line, &mut wire).is_ok()
                    && RequestParser::default().parse(&wire, &mut ranges, &LIMITS)
                        == Ok(Parsed::Request { bytes: wire.len() });
                if whole {
                    request(&Request { bytes: &wire, ranges: &ranges })?;
                }
                bytes
            }
            Ok(Parsed::Nothing { bytes }) => bytes,
            Ok(Parsed::More) | Err(_) => return Ok(()),
        };
        rest = rest.get(used..).unwrap_or_default();
    }
}

fn request(request: &Request<'_>) -> Result<(), String> {
    let found = lookup(request);
    found_as_in_the_table(request, found)?;
    if let Lookup::Found(command) = found
        && command.arity_ok(request.len())
    {
        keys(command, request)?;
    }
    answers(request, found)
}

/// The index gives what going through all lines gives.
fn found_as_in_the_table(request: &Request<'_>, found: Lookup) -> Result<(), String> {
    let named = |name: &[u8], command: &Command| name.eq_ignore_ascii_case(command.name.as_bytes());
    let line = all().find(|command| named(request.name(), command));
    let sub = line.and_then(|line| {
        let full = [line.name.as_bytes(), b"|", request.arg(1)].concat();
        line.subcommands.iter().find(|command| named(&full, command))
    });
    let right = match found {
        Lookup::Unknown => line.is_none(),
        Lookup::UnknownSubcommand(command) => {
            line.is_some_and(|line| line.name == command.name) && sub.is_none()
        }
        Lookup::Found(command) => match (line, sub) {
            (Some(line), None) => line.name == command.name,
            (Some(_), Some(sub)) => sub.name == command.name,
            (None, _) => false,
        },
    };
    let by_its_name = match found {
        Lookup::Found(command) => by_name(command.name).is_some_and(|by| by.name == command.name),
        _ => true,
    };
    if right && by_its_name { Ok(()) } else { Err(format!("{found:?} for {sub:?}")) }
}

/// Keys are arguments, and an error names none.
fn keys(command: &Command, request: &Request<'_>) -> Result<(), String> {
    let mut keys = vec![u32::MAX];
    let outcome = find_keys(command, request, &mut keys);
    let block = block_option(command, request).is_none_or(|at| at < request.len());
    let patterns = sort_patterns(request).count();
    let inside = keys.iter().all(|key| (1..request.len()).contains(&(*key as usize)));
    let ascending = keys.windows(2).all(|pair| pair.first() < pair.get(1));
    let empty_on_error = outcome.is_ok() || keys.is_empty();
    if inside && ascending && empty_on_error && block && patterns <= request.len() {
        return Ok(());
    }
    let (name, length) = (command.name, request.len());
    Err(format!("{outcome:?}: keys {keys:?} of {name} with {length} arguments"))
}

/// COMMAND and its kind answer with one reply, and so do the errors.
fn answers(request: &Request<'_>, found: Lookup) -> Result<(), String> {
    let mut out = Vec::new();
    match found {
        Lookup::Unknown => errors::unknown_command(request, &mut out),
        Lookup::UnknownSubcommand(container) => {
            errors::unknown_subcommand(container, request, &mut out);
        }
        Lookup::Found(command) => errors::wrong_arity(command, &mut out),
    }
    one_reply(&out)?;
    // The request as what stands behind COMMAND GETKEYS, INFO, LIST.
    let ranges: Vec<ArgRange> =
        request.ranges.iter().take(1).cycle().take(2).chain(request.ranges).copied().collect();
    let behind = Request { bytes: request.bytes, ranges: &ranges };
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        answered(|out| describe::getkeys(&behind, out))?;
        answered(|out| describe::getkeysandflags(&behind, protocol, out))?;
        answered(|out| describe::info(&behind, protocol, out))?;
        answered(|out| describe::docs(&behind, protocol, out))?;
        answered(|out| describe::list(request, out))?;
    }
    Ok(())
}

fn answered(answer: impl Fn(&mut Vec<u8>)) -> Result<(), String> {
    let mut out = Vec::new();
    answer(&mut out);
    one_reply(&out)
}

fn one_reply(bytes: &[u8]) -> Result<(), String> {
    match split_reply(bytes) {
        Some((_, [])) => Ok(()),
        _ => Err(format!("not one reply: {}", bytes.escape_ascii())),
    }
}
