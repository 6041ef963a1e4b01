//! Reading whole replies: just enough to merge those of several shards, and to answer hand-shakes.
//!
//! Takes replies that the scanner has found complete. What is asked of a reply of another type, or
//! of bytes that are no reply, is `None`; nothing panics, nothing recurses, nothing is copied.
//! Attributes in front of a reply are looked through.

use crate::resp::header::{self, Header};
use crate::resp::reply::{ReplyScanner, Scanned};

/// The elements of one array, set, push or map, as they stand on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let (element, rest) = split_reply(self.rest)?;
        self.rest = rest;
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // Not a lower bound: bytes that are no reply end the walk early.
        (0, Some(self.left))
    }
}

impl Elements<'_> {
    /// How many elements are still to come, as the header says.
    pub fn left(&self) -> usize {
        self.left
    }
}

/// The first reply of `bytes`, and what follows it.
pub fn split_reply(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match ReplyScanner::default().scan(bytes) {
        Ok(Scanned::Reply { bytes: end, .. }) => bytes.split_at_checked(end),
        _ => None,
    }
}

/// The elements of an array, set or push (`*`, `~`, `>`); of a map (`%`) its keys and values in
/// turn. A null array has none: `None`.
pub fn elements(reply: &[u8]) -> Option<Elements<'_>> {
    let (&kind, rest) = plain(reply)?.split_first()?;
    let (count, rest) = number(rest)?;
    let left = match kind {
        b'*' | b'~' | b'>' => count,
        b'%' => count.checked_mul(2)?,
        _ => return None,
    };
    Some(Elements { rest, left })
}

/// The value of a `:` reply.
pub fn integer(reply: &[u8]) -> Option<i64> {
    let digits = line(plain(reply)?.strip_prefix(b":")?)?;
    let (is_negative, digits) = match digits.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    // Below zero there is room for i64::MIN.
    let below_zero = digits.iter().try_fold(0_i64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value.checked_mul(10)?.checked_sub(i64::from(digit))
    })?;
    if is_negative { Some(below_zero) } else { below_zero.checked_neg() }
}

/// The bytes of a string reply, be it bulk, simple or verbatim (without its `txt:`); `Some(None)`
/// is a null of either version.
pub fn bulk(reply: &[u8]) -> Option<Option<&[u8]>> {
    let (&kind, rest) = plain(reply)?.split_first()?;
    match kind {
        b'$' | b'*' if rest.starts_with(b"-1\r\n") => Some(None),
        b'_' => Some(None),
        b'+' => line(rest).map(Some),
        b'$' => body(rest).map(Some),
        b'=' => body(rest)?.get(4..).map(Some),
        _ => None,
    }
}

/// An error of either form (`-`, `!`).
pub fn is_error(reply: &[u8]) -> bool {
    matches!(plain(reply), Some([b'-' | b'!', ..]))
}

/// The text of an error reply, `ERR …`; empty for any other reply.
pub fn error_text(reply: &[u8]) -> &[u8] {
    match plain(reply) {
        Some([b'-', rest @ ..]) => line(rest).unwrap_or_default(),
        Some([b'!', rest @ ..]) => body(rest).unwrap_or_default(),
        _ => &[],
    }
}

/// The first word of an error reply (`NOSCRIPT`, `READONLY`); empty for any other reply.
pub fn error_word(reply: &[u8]) -> &[u8] {
    error_text(reply).split(|byte| *byte == b' ').next().unwrap_or_default()
}

/// The reply behind its attributes.
fn plain(reply: &[u8]) -> Option<&[u8]> {
    let mut rest = reply;
    while let [b'|', header @ ..] = rest {
        let (pairs, inner) = number(header)?;
        rest = inner;
        for _ in 0..pairs.checked_mul(2)? {
            rest = split_reply(rest)?.1;
        }
    }
    Some(rest)
}

/// The number of a header line, and what follows the line.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, header_bytes) = match header::read_short(bytes) {
        Some(short) => short,
        None => match header::read(bytes) {
            Header::Number { value, bytes } => (usize::try_from(value).ok()?, bytes),
            _ => return None,
        },
    };
    Some((number, bytes.get(header_bytes..)?))
}

/// What stands before the first CRLF.
fn line(bytes: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b'\r', bytes)?;
    bytes.get(end..)?.starts_with(b"\r\n").then(|| bytes.get(..end))?
}

/// The body behind a length.
fn body(bytes: &[u8]) -> Option<&[u8]> {
    let (body_bytes, rest) = number(bytes)?;
    rest.get(..body_bytes)
}
