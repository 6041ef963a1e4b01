//! Inline commands: lines typed by hand or sent by a health check, not by a client library.
//!
//! The words are split by redis' rules; the result is an ordinary multibulk request, so that no
//! room above knows that inline commands exist. Called by the relay for each `Parsed::Inline`.

use crate::resp::encode::{array_header, bulk};
use crate::resp::protocol_error::ProtocolError;

/// What a complete line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing but blanks.
    Empty,
    Command,
}

/// Tells a command from an empty line and from the openings of other protocols.
pub(super) fn classify(line: &[u8]) -> Result<Line, ProtocolError> {
    let words = line.trim_ascii_start();
    let Some(&first) = words.first() else { return Ok(Line::Empty) };
    let word = words.split(|byte| is_blank(*byte)).next().unwrap_or_default();
    if is_cross_protocol(word) {
        return Err(ProtocolError::CrossProtocol);
    }
    let is_foreign = !(b' '..=b'~').contains(&first)
        || b"$+-:_,#!=(%~>|".contains(&first)
        || [&b"SSH-"[..], b"PRI * HTTP/", b"PROXY TCP", b"PROXY UNKNOWN"]
            .iter()
            .any(|opening| words.starts_with(opening));
    if is_foreign { Err(ProtocolError::ForeignProtocol) } else { Ok(Line::Command) }
}

/// `POST` or `Host:` in any case: the two words that every HTTP request of a browser's has.
#[inline]
pub(super) fn is_cross_protocol(name: &[u8]) -> bool {
    matches!(
        name,
        [b'P' | b'p', b'O' | b'o', b'S' | b's', b'T' | b't']
            | [b'H' | b'h', b'O' | b'o', b'S' | b's', b'T' | b't', b':']
    )
}

/// Splits the line as redis does (quotes, escapes) and appends it as a multibulk request to `out`.
/// `out` stays as it is if the line has no word, and on [`ProtocolError::UnbalancedQuotes`].
///
/// Unlike redis a NUL is a byte like any other here.
pub fn inline_to_multibulk(line: &[u8], out: &mut Vec<u8>) -> Result<(), ProtocolError> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut rest = line.strip_suffix(b"\r").unwrap_or(line);
    let mut word = Vec::new();
    let mut wire = Vec::new();
    let mut words = 0;
    loop {
        rest = rest.get(blanks_in_front(rest)..).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        word.clear();
        rest = take_word(rest, &mut word)?;
        bulk(&mut wire, &word);
        words += 1;
    }
    if words > 0 {
        array_header(out, words);
        out.extend_from_slice(&wire);
    }
    Ok(())
}

/// `isspace` of the C locale, as redis uses it between words.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn blanks_in_front(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_blank(**byte)).count()
}

/// Moves one word, unquoted, to `word`; gives what follows. Quotes may begin inside a word, but
/// must end it.
fn take_word<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [] | [b' ' | b'\t' | b'\r' | b'\n', ..] => return Ok(rest),
            [b'"', quoted @ ..] => return take_double_quoted(quoted, word),
            [b'\'', quoted @ ..] => return take_single_quoted(quoted, word),
            [byte, after @ ..] => push(word, *byte, after),
        };
    }
}

fn take_double_quoted<'a>(
    mut rest: &'a [u8],
    word: &mut Vec<u8>,
) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [b'"', after @ ..] => return end_of_word(after),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                push(word, hex(*high) << 4 | hex(*low), after)
            }
            [b'\\', escaped, after @ ..] => {
                let byte = match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                };
                push(word, byte, after)
            }
            [byte, after @ ..] => push(word, *byte, after),
            [] => return Err(ProtocolError::UnbalancedQuotes),
        };
    }
}

fn take_single_quoted<'a>(
    mut rest: &'a [u8],
    word: &mut Vec<u8>,
) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [b'\'', after @ ..] => return end_of_word(after),
            [b'\\', b'\'', after @ ..] => push(word, b'\'', after),
            [byte, after @ ..] => push(word, *byte, after),
            [] => return Err(ProtocolError::UnbalancedQuotes),
        };
    }
}

fn push<'a>(word: &mut Vec<u8>, byte: u8, after: &'a [u8]) -> &'a [u8] {
    word.push(byte);
    after
}

fn end_of_word(after: &[u8]) -> Result<&[u8], ProtocolError> {
    match after.first() {
        Some(byte) if !is_blank(*byte) => Err(ProtocolError::UnbalancedQuotes),
        _ => Ok(after),
    }
}

/// The value of a byte that is a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20).wrapping_sub(b'a').wrapping_add(10),
    }
}
