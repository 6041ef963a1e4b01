//! COMMAND and its subcommands, and HELP: the table as a client asks for it.
//!
//! Shown is what the table says, and nothing that would need redis' own documentation: no argument
//! trees, and for a summary how the proxy runs the command. Key specifications and tips are derived
//! from the same words that the relay goes by. Every function appends one whole reply. The whole
//! table is some hundred kilobytes; a client asks for it once, at connect.

mod specs;

use crate::command::errors;
use crate::command::flags::{Access, Categories};
use crate::command::keys::find_keys;
use crate::command::model::{Command, Family, Keys, Run};
use crate::command::{Lookup, all, by_name, glob, lookup};
use crate::resp::Protocol;
use crate::resp::args::Request;
use crate::resp::encode::{Encoder, array_header, bulk, error, integer, simple};

/// Names that one COMMAND INFO or COMMAND DOCS may give: more than there are commands. A container
/// fills some 10 KB, so that the longest reply is about 10 MB; without a bound a request of a few
/// megabytes would ask for gigabytes.
pub const NAMES_MAX: usize = 1024;

/// COMMAND.
pub fn command(protocol: Protocol, out: &mut Vec<u8>) {
    array_header(out, all().count());
    for command in all() {
        entry(command, Encoder::new(protocol), out);
    }
}

/// COMMAND COUNT.
pub fn count(out: &mut Vec<u8>) {
    integer(out, i64::try_from(all().count()).unwrap_or(i64::MAX));
}

/// `COMMAND INFO [name …]`
pub fn info(request: &Request<'_>, protocol: Protocol, out: &mut Vec<u8>) {
    if request.len() <= 2 {
        return command(protocol, out);
    }
    if too_many(request, out) {
        return;
    }
    let encoder = Encoder::new(protocol);
    array_header(out, request.len() - 2);
    for name in request.iter().skip(2) {
        match by_name(name) {
            Some(command) => entry(command, encoder, out),
            None => encoder.null(out),
        }
    }
}

/// `COMMAND DOCS [name …]`; unknown names are left out.
pub fn docs(request: &Request<'_>, protocol: Protocol, out: &mut Vec<u8>) {
    let encoder = Encoder::new(protocol);
    if request.len() <= 2 {
        return documents(all(), encoder, out);
    }
    if too_many(request, out) {
        return;
    }
    documents((2..request.len()).filter_map(|at| by_name(request.arg(at))), encoder, out);
}

/// `COMMAND LIST [FILTERBY MODULE name|ACLCAT category|PATTERN pattern]`, subcommands included.
/// No command is known to be of a module of a certain name.
pub fn list(request: &Request<'_>, out: &mut Vec<u8>) {
    let is = |at: usize, word: &str| request.arg(at).eq_ignore_ascii_case(word.as_bytes());
    let value = request.arg(4);
    match request.len() {
        2 => names(|_| true, out),
        5 if is(2, "filterby") && is(3, "module") => names(|_| false, out),
        5 if is(2, "filterby") && is(3, "aclcat") => {
            let category = Categories::by_name(value);
            names(|command| category.is_some_and(|one| command.categories.contains(one)), out);
        }
        5 if is(2, "filterby") && is(3, "pattern") => {
            names(|command| glob::matches(value, command.name.as_bytes()), out);
        }
        _ => error(out, "ERR syntax error"),
    }
}

/// `COMMAND GETKEYS name [arg …]`
pub fn getkeys(request: &Request<'_>, out: &mut Vec<u8>) {
    match keys_of(request) {
        Err(text) => error(out, text),
        Ok((_, inner, keys)) => {
            array_header(out, keys.len());
            for key in keys {
                bulk(out, inner.arg(key as usize));
            }
        }
    }
}

/// `COMMAND GETKEYSANDFLAGS name [arg …]`
pub fn getkeysandflags(request: &Request<'_>, protocol: Protocol, out: &mut Vec<u8>) {
    let encoder = Encoder::new(protocol);
    match keys_of(request) {
        Err(text) => error(out, text),
        Ok((command, inner, keys)) => {
            array_header(out, keys.len());
            for (place, key) in keys.into_iter().enumerate() {
                array_header(out, 2);
                bulk(out, inner.arg(key as usize));
                words(access(command, place, &inner).names(), "", encoder, out);
            }
        }
    }
}

/// What this very request does with its key at `place`.
fn access(command: &Command, place: usize, request: &Request<'_>) -> Access {
    let says = command.access_of(place);
    if !says.contains(Access::VARIABLE) {
        return Access(says.0 & !Access::INCOMPLETE.0);
    }
    let has = |from: usize, word: &str| {
        request.iter().skip(from).any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    };
    match command.family {
        Family::Bitmap if only_gets(request) => Access::READ_ONLY.and(Access::ACCESS),
        Family::String if !has(3, "get") => Access::OVERWRITE.and(Access::UPDATE),
        _ => Access(says.0 & !Access::VARIABLE.0),
    }
}

/// `BITFIELD key [GET type offset | OVERFLOW how] …`, and nothing else behind.
fn only_gets(request: &Request<'_>) -> bool {
    let mut at = 2;
    while let Some(word) = request.get(at) {
        let takes = match word {
            _ if word.eq_ignore_ascii_case(b"get") => 3,
            _ if word.eq_ignore_ascii_case(b"overflow") => 2,
            _ => return false,
        };
        at += takes;
        if at > request.len() {
            return false;
        }
    }
    true
}

/// `<container> HELP`: the subcommands that this proxy serves. `command` is the line of HELP.
pub fn help(command: &Command, out: &mut Vec<u8>) {
    let parent = command.name.split_once('|').map_or(command.name, |(parent, _)| parent);
    let Some(container) = by_name(parent) else { return errors::wrong_arity(command, out) };
    let served = |sub: &&Command| !matches!(sub.run, Run::Refuse(_));
    array_header(out, 1 + container.subcommands.iter().filter(served).count());
    let name = container.name.to_ascii_uppercase();
    simple(out, &format!("{name} <subcommand> [<arg> ...]. Subcommands served by this proxy are:"));
    for sub in container.subcommands.iter().filter(served) {
        simple(out, &sub.short_name().to_ascii_uppercase());
    }
}

fn too_many(request: &Request<'_>, out: &mut Vec<u8>) -> bool {
    let names = request.len() - 2;
    if names > NAMES_MAX {
        error(out, format!("ERR too many names: {names}, at most {NAMES_MAX} at once"));
    }
    names > NAMES_MAX
}

/// The ten fields that COMMAND INFO has for a command.
fn entry(command: &Command, encoder: Encoder, out: &mut Vec<u8>) {
    let (first, last, step) = command.range();
    array_header(out, 10);
    bulk(out, command.name.as_bytes());
    integer(out, i64::from(command.arity));
    words(command.flags.names(), "", encoder, out);
    integer(out, i64::from(first));
    integer(out, i64::from(last));
    integer(out, i64::from(step));
    words(command.categories.names(), "@", encoder, out);
    let tips = specs::tips(command.run);
    encoder.set_header(out, tips.len());
    for tip in tips {
        bulk(out, tip.as_bytes());
    }
    specs::write(command, encoder, out);
    if command.subcommands.is_empty() {
        return encoder.set_header(out, 0);
    }
    array_header(out, command.subcommands.len());
    for sub in command.subcommands {
        entry(sub, encoder, out);
    }
}

fn documents<'a>(
    commands: impl Iterator<Item = &'a Command> + Clone,
    encoder: Encoder,
    out: &mut Vec<u8>,
) {
    encoder.map_header(out, commands.clone().count());
    for command in commands {
        bulk(out, command.name.as_bytes());
        encoder.map_header(out, if command.subcommands.is_empty() { 3 } else { 4 });
        bulk(out, b"summary");
        bulk(out, specs::summary(command.run).as_bytes());
        bulk(out, b"since");
        bulk(out, command.since.as_bytes());
        bulk(out, b"group");
        bulk(out, command.family.name().as_bytes());
        if !command.subcommands.is_empty() {
            bulk(out, b"subcommands");
            documents(command.subcommands.iter(), encoder, out);
        }
    }
}

fn names(wanted: impl Fn(&Command) -> bool, out: &mut Vec<u8>) {
    let commands = all().flat_map(|command| std::iter::once(command).chain(command.subcommands));
    let commands = commands.filter(|command| wanted(command));
    array_header(out, commands.clone().count());
    for command in commands {
        bulk(out, command.name.as_bytes());
    }
}

/// A set of words, each behind `prefix`.
fn words(
    words: impl Iterator<Item = &'static str> + Clone,
    prefix: &str,
    encoder: Encoder,
    out: &mut Vec<u8>,
) {
    encoder.set_header(out, words.clone().count());
    for word in words {
        out.push(b'+');
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// The request inside of `COMMAND GETKEYS …`, and where its keys are; or the error's words.
fn keys_of<'a>(
    request: &Request<'a>,
) -> Result<(&'static Command, Request<'a>, Vec<u32>), &'static str> {
    let inner =
        Request { bytes: request.bytes, ranges: request.ranges.get(2..).unwrap_or_default() };
    let Lookup::Found(command) = lookup(&inner) else {
        return Err("ERR Invalid command specified");
    };
    // A channel of a shard is routed as a key, but is none.
    if command.keys == Keys::None || command.family == Family::PubSub {
        return Err("ERR The command has no key arguments");
    }
    if !command.arity_ok(inner.len()) {
        return Err("ERR Invalid number of arguments specified for command");
    }
    let mut keys = Vec::new();
    let optional = command.flags.contains(crate::command::flags::Flags::NO_MANDATORY_KEYS);
    match find_keys(command, &inner, &mut keys) {
        Err(_) if !optional => Err("ERR Invalid arguments specified for command"),
        _ => Ok((command, inner, keys)),
    }
}

#[cfg(test)]
mod tests;
