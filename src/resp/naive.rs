//! Slow twins of the request parser and the reply scanner, for comparison only.
//!
//! They start at the first byte each time, read numbers by `str::parse`, copy what they find, and
//! keep one counter for each level of nesting: as obvious as can be, and with no idea in common
//! with what they check. Called by [`crate::resp::properties`]; never on the request path.

use crate::base::limits::{BULK_BYTES_MAX, HEADER_BYTES_MAX, INLINE_BYTES_MAX};
use crate::resp::inline::{self, Line};
use crate::resp::reply::{ELEMENTS_MAX, LINE_BYTES_MAX, ReplyError, Scanned};
use crate::resp::request::{Parsed, ProtocolError, RequestLimits};

/// What stops a read: the bytes are over, or wrong.
enum Stop<E> {
    More,
    Broken(E),
}

/// The first request of `bytes`, and its arguments.
pub(crate) fn parse(
    bytes: &[u8],
    limits: &RequestLimits,
) -> (Result<Parsed, ProtocolError>, Vec<Vec<u8>>) {
    let mut args = Vec::new();
    let outcome = match bytes.first() {
        None => Err(Stop::More),
        Some(b'*') => parse_multibulk(bytes, limits, &mut args),
        Some(0x16) => Err(Stop::Broken(ProtocolError::TlsHello)),
        Some(_) => parse_line(bytes, limits),
    };
    match outcome {
        Ok(parsed) => (Ok(parsed), args),
        Err(Stop::More) => (Ok(Parsed::More), Vec::new()),
        Err(Stop::Broken(error)) => (Err(error), Vec::new()),
    }
}

fn parse_multibulk(
    bytes: &[u8],
    limits: &RequestLimits,
    args: &mut Vec<Vec<u8>>,
) -> Result<Parsed, Stop<ProtocolError>> {
    let (count, mut at) = request_number(bytes, 1, ProtocolError::MultibulkLength)?;
    if count <= 0 {
        return Ok(Parsed::Nothing { bytes: at });
    }
    if count > limits.args_max as i64 {
        return Err(Stop::Broken(ProtocolError::MultibulkLength));
    }
    for _ in 0..count {
        match bytes.get(at) {
            None => return Err(Stop::More),
            Some(b'$') => {}
            Some(other) => return Err(Stop::Broken(ProtocolError::ExpectedDollar(*other))),
        }
        if bytes.get(at + 1) == Some(&b'-') {
            return Err(Stop::Broken(ProtocolError::BulkLength));
        }
        let (body_bytes, start) = request_number(bytes, at + 1, ProtocolError::BulkLength)?;
        if body_bytes > limits.bulk_bytes_max as i64 {
            return Err(Stop::Broken(ProtocolError::BulkLength));
        }
        let end = start + body_bytes as usize;
        if end + 2 > limits.request_bytes_max {
            return Err(Stop::Broken(ProtocolError::RequestTooBig));
        }
        for (index, expected) in [(end, b'\r'), (end + 1, b'\n')] {
            match bytes.get(index) {
                None => return Err(Stop::More),
                Some(byte) if *byte == expected => {}
                Some(_) => return Err(Stop::Broken(ProtocolError::MissingCrlf)),
            }
        }
        args.push(bytes.get(start..end).unwrap_or_default().to_vec());
        at = end + 2;
    }
    let name = args.first().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
    if name == b"post" || name == b"host:" {
        return Err(Stop::Broken(ProtocolError::CrossProtocol));
    }
    Ok(Parsed::Request { bytes: at })
}

/// The number at `start` and the offset behind its CRLF.
fn request_number(
    bytes: &[u8],
    start: usize,
    not_number: ProtocolError,
) -> Result<(i64, usize), Stop<ProtocolError>> {
    let mut text = String::new();
    let mut at = start;
    loop {
        match bytes.get(at) {
            None => return Err(Stop::More),
            Some(b'\n') => return Err(Stop::Broken(ProtocolError::MissingCrlf)),
            Some(b'\r') => break,
            Some(byte) => text.push(char::from(*byte)),
        }
        let canonical = text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
        if !canonical && text != "-" {
            return Err(Stop::Broken(not_number));
        }
        at += 1;
    }
    let number = text.parse().map_err(|_| Stop::Broken(not_number))?;
    match bytes.get(at + 1) {
        None => Err(Stop::More),
        Some(b'\n') => Ok((number, at + 2)),
        Some(_) => Err(Stop::Broken(ProtocolError::MissingCrlf)),
    }
}

fn parse_line(bytes: &[u8], limits: &RequestLimits) -> Result<Parsed, Stop<ProtocolError>> {
    let line_bytes_max = INLINE_BYTES_MAX.min(limits.request_bytes_max);
    let line_bytes = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) if end < line_bytes_max => end + 1,
        None if bytes.len() < line_bytes_max => return Err(Stop::More),
        _ => return Err(Stop::Broken(ProtocolError::InlineTooBig)),
    };
    match inline::classify(bytes.get(..line_bytes).unwrap_or_default()) {
        Ok(Line::Empty) => Ok(Parsed::Nothing { bytes: line_bytes }),
        Ok(Line::Command) => Ok(Parsed::Inline { bytes: line_bytes }),
        Err(error) => Err(Stop::Broken(error)),
    }
}

/// The words of an inline command; `None` if a quote is not closed, or does not end its word.
pub(crate) fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut bytes = line.to_vec();
    for end in [b'\n', b'\r'] {
        if bytes.last() == Some(&end) {
            bytes.pop();
        }
    }
    bytes.reverse();
    let mut words = Vec::new();
    loop {
        while bytes.last().is_some_and(|byte| b" \t\n\x0b\x0c\r".contains(byte)) {
            bytes.pop();
        }
        if bytes.is_empty() {
            return Some(words);
        }
        words.push(word(&mut bytes)?);
    }
}

/// Takes one word from the end of `bytes`, which are in reverse order.
fn word(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut word = Vec::new();
    let mut quote = None;
    loop {
        match (quote, bytes.pop()) {
            (None, None | Some(b' ' | b'\t' | b'\r' | b'\n')) => return Some(word),
            (None, Some(byte @ (b'"' | b'\''))) => quote = Some(byte),
            (Some(_), None) => return None,
            (Some(open), Some(byte)) if open == byte => {
                let ends = bytes.last().is_none_or(|next| b" \t\n\x0b\x0c\r".contains(next));
                return ends.then_some(word);
            }
            (Some(b'\''), Some(b'\\')) if bytes.last() == Some(&b'\'') => {
                word.extend(bytes.pop());
            }
            (Some(b'"'), Some(b'\\')) => word.push(escaped(bytes)?),
            (_, Some(byte)) => word.push(byte),
        }
    }
}

/// What stands behind a backslash between double quotes.
fn escaped(bytes: &mut Vec<u8>) -> Option<u8> {
    let byte = bytes.pop()?;
    if byte == b'x' && bytes.len() >= 2 {
        let digits: String = bytes.iter().rev().take(2).map(|digit| char::from(*digit)).collect();
        let is_hex = digits.chars().all(|digit| digit.is_ascii_hexdigit());
        if let Some(value) = u8::from_str_radix(&digits, 16).ok().filter(|_| is_hex) {
            bytes.truncate(bytes.len() - 2);
            return Some(value);
        }
    }
    Some(match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    })
}

/// The end of the first reply of `bytes`.
pub(crate) fn scan(bytes: &[u8]) -> Result<Scanned, ReplyError> {
    match reply_end(bytes) {
        Ok((bytes, kind)) => Ok(Scanned::Reply { bytes, kind }),
        Err(Stop::More) => Ok(Scanned::More),
        Err(Stop::Broken(error)) => Err(error),
    }
}

/// The offset behind the reply, and its type. `levels` has, for each aggregate that is open, how
/// many of its elements are still to come; the first level is the reply itself.
fn reply_end(bytes: &[u8]) -> Result<(usize, u8), Stop<ReplyError>> {
    let mut levels: Vec<u64> = vec![1];
    let mut reply_kind = None;
    let mut at = 0;
    while let Some(left) = levels.last_mut() {
        if *left == 0 {
            levels.pop();
            continue;
        }
        let Some(&kind) = bytes.get(at) else { return Err(Stop::More) };
        if kind != b'|' {
            *left -= 1;
            if levels.len() == 1 {
                reply_kind = Some(kind);
            }
        }
        match kind {
            b'+' | b'-' | b',' | b'(' => at = line_end(bytes, at, LINE_BYTES_MAX)?,
            b':' | b'_' | b'#' => at = line_end(bytes, at, HEADER_BYTES_MAX)?,
            b'$' | b'!' | b'=' | b'*' | b'~' | b'%' | b'>' | b'|' => {
                let (number, end) = reply_number(bytes, at, kind)?;
                at = end;
                match (number, kind) {
                    (None, _) => {}
                    (Some(number), b'$' | b'!' | b'=') => at = body_end(bytes, at, number)?,
                    (Some(number), _) if number > u128::from(ELEMENTS_MAX) => {
                        return Err(Stop::Broken(ReplyError::TooBig));
                    }
                    (Some(number), b'%' | b'|') => levels.push(number as u64 * 2),
                    (Some(number), _) => levels.push(number as u64),
                }
            }
            other => return Err(Stop::Broken(ReplyError::UnknownType(other))),
        }
    }
    Ok((at, reply_kind.unwrap_or_default()))
}

/// The offset behind the line that begins at `start`.
fn line_end(bytes: &[u8], start: usize, line_bytes_max: usize) -> Result<usize, Stop<ReplyError>> {
    let mut at = start + 1;
    loop {
        match bytes.get(at) {
            None => return Err(Stop::More),
            Some(b'\r') => break,
            Some(b'\n') => return Err(Stop::Broken(ReplyError::MissingCrlf)),
            Some(_) => at += 1,
        }
        if at - start + 2 > line_bytes_max {
            return Err(Stop::Broken(ReplyError::HeaderTooLong));
        }
    }
    crlf_end(bytes, at)
}

fn body_end(bytes: &[u8], start: usize, body_bytes: u128) -> Result<usize, Stop<ReplyError>> {
    if body_bytes > BULK_BYTES_MAX as u128 {
        return Err(Stop::Broken(ReplyError::TooBig));
    }
    crlf_end(bytes, start + body_bytes as usize)
}

fn crlf_end(bytes: &[u8], at: usize) -> Result<usize, Stop<ReplyError>> {
    for (index, expected) in [(at, b'\r'), (at + 1, b'\n')] {
        match bytes.get(index) {
            None => return Err(Stop::More),
            Some(byte) if *byte == expected => {}
            Some(_) => return Err(Stop::Broken(ReplyError::MissingCrlf)),
        }
    }
    Ok(at + 2)
}

/// The number of the header whose type byte is at `start` (`None` for a null), and the offset
/// behind its CRLF.
fn reply_number(
    bytes: &[u8],
    start: usize,
    kind: u8,
) -> Result<(Option<u128>, usize), Stop<ReplyError>> {
    let mut text = String::new();
    let mut at = start + 1;
    loop {
        match bytes.get(at) {
            None => return Err(Stop::More),
            Some(b'\n') => return Err(Stop::Broken(ReplyError::MissingCrlf)),
            Some(b'\r') => break,
            Some(byte) => text.push(char::from(*byte)),
        }
        at += 1;
        let digits = text.strip_prefix('-').filter(|_| matches!(kind, b'$' | b'*'));
        let canonical = match digits {
            Some("") => continue,
            Some(digits) => is_digits(digits) && !digits.starts_with('0'),
            None => text == "0" || (is_digits(&text) && !text.starts_with('0')),
        };
        if !canonical {
            return Err(Stop::Broken(ReplyError::BadLength));
        }
        if at - start + 2 > HEADER_BYTES_MAX {
            return Err(Stop::Broken(ReplyError::HeaderTooLong));
        }
    }
    if text.is_empty() || text == "-" {
        return Err(Stop::Broken(ReplyError::BadLength));
    }
    let end = crlf_end(bytes, at)?;
    match text.parse::<u128>() {
        Ok(number) => Ok((Some(number), end)),
        Err(_) if text == "-1" => Ok((None, end)),
        Err(_) => Err(Stop::Broken(ReplyError::BadLength)),
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}
