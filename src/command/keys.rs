//! Finding the keys among a request's arguments.
//!
//! Called for every request that is routed, after its arity has been checked. Nothing is allocated
//! beside the caller's list, nothing overflows, and a request with a million arguments costs one
//! pass. Where redis has two opinions (COMMAND GETKEYS looks for keywords, the command itself
//! parses its options) this is the command's own.

use crate::command::model::{Command, Counted, Keys};
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
    /// Keys and values do not come in whole groups (MSET a 1 b).
    Unpaired,
    /// As many IDs as streams are needed (XREAD).
    Unbalanced,
    Syntax,
}

/// Puts the indices of the arguments that are keys to `out`, which is emptied before, in the order
/// of the arguments. The arity has been checked before. An error leaves `out` empty.
///
/// Of the keys of an option that is given several times (SORT … STORE a STORE b) the last counts,
/// as it does for redis; of STORE and STOREDIST all count, so that they have to be on one shard.
#[inline]
pub fn find_keys(
    command: &Command,
    request: &Request<'_>,
    out: &mut Vec<u32>,
) -> Result<(), KeysError> {
    out.clear();
    match command.keys {
        Keys::None => Ok(()),
        Keys::Range { first: 1, last: 1, .. } if request.len() > 1 => {
            out.push(1);
            Ok(())
        }
        Keys::Range { first, last, step } => range(request, (first, last, step), out),
        Keys::Numkeys { at, of } => counted(request, usize::from(at), of, out),
        Keys::DestinationNumkeys { at } => {
            counted(request, usize::from(at), Counted::Aggregate, out)?;
            out.insert(0, 1);
            Ok(())
        }
        Keys::Sort => sort(request, out),
        Keys::Georadius => georadius(request, out),
        Keys::Streams => streams(request, out),
        Keys::Migrate => migrate(request, out),
    }
}

/// Where XREAD, XREADGROUP or TS.READ has the option BLOCK. What follows STREAMS is no option, and
/// neither is an argument of another option. (Of several the last one counts.)
pub fn block_option(command: &Command, request: &Request<'_>) -> Option<usize> {
    match command.keys {
        Keys::Streams => stream_options(request).block,
        // `key timestamp [BLOCK milliseconds min_count] [MAX_COUNT max_count]`, all else numbers
        _ => (3..request.len()).rev().find(|at| is(request.arg(*at), "block")),
    }
}

fn range(
    request: &Request<'_>,
    (first, last, step): (i16, i16, i16),
    out: &mut Vec<u32>,
) -> Result<(), KeysError> {
    let length = request.len();
    let first = usize::from(first.unsigned_abs());
    let step = usize::from(step.unsigned_abs()).max(1);
    let past_last = if last < 0 {
        (length + 1).saturating_sub(usize::from(last.unsigned_abs()))
    } else {
        usize::from(last.unsigned_abs()) + 1
    };
    if past_last > length {
        return Err(KeysError::Syntax);
    }
    if past_last > first && !(past_last - first).is_multiple_of(step) {
        return Err(KeysError::Unpaired);
    }
    extend(out, first, past_last, step);
    Ok(())
}

fn counted(
    request: &Request<'_>,
    at: usize,
    of: Counted,
    out: &mut Vec<u32>,
) -> Result<(), KeysError> {
    let keys = integer(request.arg(at)).ok_or(KeysError::NumkeysNotAnInteger)?;
    let step = if of == Counted::Pairs { 2 } else { 1 };
    let room = request.len().saturating_sub(at + 1);
    if keys < 0 {
        return Err(KeysError::NegativeKeys);
    }
    if keys == 0 && of != Counted::Script {
        return Err(KeysError::NoKeys);
    }
    let taken = usize::try_from(keys).ok().and_then(|keys| keys.checked_mul(step));
    let taken = taken.filter(|&taken| taken <= room).ok_or(KeysError::TooManyKeys)?;
    extend(out, at + 1, at + 1 + taken, step);
    Ok(())
}

/// `SORT key [BY pattern] [LIMIT offset count] [GET pattern …] [ASC|DESC] [ALPHA] [STORE key]`
fn sort(request: &Request<'_>, out: &mut Vec<u32>) -> Result<(), KeysError> {
    out.push(1);
    let mut at = 2;
    while let Some(option) = request.get(at) {
        at += if is(option, "limit") {
            3
        } else if is(option, "by") || is(option, "get") {
            2
        } else if is(option, "store") && at + 1 < request.len() {
            out.truncate(1);
            out.push(index(at + 1));
            2
        } else {
            1
        };
    }
    Ok(())
}

/// The patterns of SORT's BY and GET that make keys: those with a `*`.
pub fn sort_patterns<'a>(request: &Request<'a>) -> impl Iterator<Item = &'a [u8]> {
    let (mut at, request) = (2, *request);
    std::iter::from_fn(move || {
        while let Some(option) = request.get(at) {
            let takes = match option {
                _ if is(option, "limit") => 3,
                _ if is(option, "by") || is(option, "get") || is(option, "store") => 2,
                _ => 1,
            };
            let pattern = request.get(at + 1).filter(|pattern| pattern.contains(&b'*'));
            at += takes;
            if takes == 2 && !is(option, "store") && pattern.is_some() {
                return pattern;
            }
        }
        None
    })
}

/// `GEORADIUS key longitude latitude radius unit [options]`, `GEORADIUSBYMEMBER key member radius
/// unit [options]`: options are behind the fourth argument at the earliest.
fn georadius(request: &Request<'_>, out: &mut Vec<u32>) -> Result<(), KeysError> {
    out.push(1);
    let mut at = 5;
    while let Some(option) = request.get(at) {
        at += if is(option, "count") {
            2
        } else if (is(option, "store") || is(option, "storedist")) && at + 1 < request.len() {
            out.push(index(at + 1));
            2
        } else {
            1
        };
    }
    Ok(())
}

/// `MIGRATE host port key|"" db timeout [COPY] [REPLACE] [AUTH p] [AUTH2 u p] [KEYS key …]`
fn migrate(request: &Request<'_>, out: &mut Vec<u32>) -> Result<(), KeysError> {
    out.push(3);
    if !request.arg(3).is_empty() {
        return Ok(());
    }
    let mut at = 6;
    while let Some(option) = request.get(at) {
        at += if is(option, "auth") {
            2
        } else if is(option, "auth2") {
            3
        } else if is(option, "keys") {
            out.clear();
            if at + 1 == request.len() {
                return Err(KeysError::Syntax);
            }
            extend(out, at + 1, request.len(), 1);
            return Ok(());
        } else {
            1
        };
    }
    Ok(())
}

fn streams(request: &Request<'_>, out: &mut Vec<u32>) -> Result<(), KeysError> {
    let Some(streams) = stream_options(request).streams else { return Err(KeysError::Syntax) };
    let listed = request.len() - streams - 1;
    if listed == 0 {
        return Err(KeysError::Syntax);
    }
    if !listed.is_multiple_of(2) {
        return Err(KeysError::Unbalanced);
    }
    extend(out, streams + 1, streams + 1 + listed / 2, 1);
    Ok(())
}

/// What stands before the streams of XREAD and XREADGROUP.
struct StreamOptions {
    /// Where the last BLOCK stands.
    block: Option<usize>,
    /// Where the word STREAMS stands; none if there is an option before it that nobody knows.
    streams: Option<usize>,
}

/// `[GROUP group consumer] [COUNT n] [MAXCOUNT n] [MAXSIZE n] [BLOCK ms] [CLAIM ms] [NOACK]
/// STREAMS key … id …`
fn stream_options(request: &Request<'_>) -> StreamOptions {
    let mut found = StreamOptions { block: None, streams: None };
    let mut at = 1;
    while let Some(option) = request.get(at) {
        if is(option, "streams") {
            found.streams = Some(at);
            break;
        } else if is(option, "block") {
            found.block = Some(at);
            at += 2;
        } else if ["count", "claim", "maxcount", "maxsize"].iter().any(|name| is(option, name)) {
            at += 2;
        } else if is(option, "group") {
            at += 3;
        } else if is(option, "noack") {
            at += 1;
        } else {
            break;
        }
    }
    found
}

fn is(option: &[u8], name: &str) -> bool {
    option.eq_ignore_ascii_case(name.as_bytes())
}

/// The indices `first`, `first + step` … below `end`. They fit: a request has at most
/// `REQUEST_ARGS_MAX` arguments, and its bytes are counted in 32 bits.
fn extend(out: &mut Vec<u32>, first: usize, end: usize, step: usize) {
    out.extend((first..end).step_by(step).map(index));
}

fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// A decimal number as redis accepts it: no sign but `-`, no leading zeros, no blanks, 64 bits.
fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    digits.iter().try_fold(0_i64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|&digit| digit <= 9)?;
        let number = number.checked_mul(10)?;
        if negative {
            number.checked_sub(i64::from(digit))
        } else {
            number.checked_add(i64::from(digit))
        }
    })
}

#[cfg(test)]
mod tests;
