//! The number of a header line (`*3`, `$-1`): strict, checked, and fast where it is short.
//!
//! Two parsers that read one number differently are how requests are smuggled, therefore nothing
//! is tolerated: no `+`, no leading zero, no blank, no bare LF, no wrap-around. Used by the request
//! parser and by the reply scanner; never sees a byte behind the line's LF.

use crate::base::limits::HEADER_BYTES_MAX;

/// What stands behind the type byte of a header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// The line is complete; `bytes` of it, CRLF included, the type byte not.
    Number { value: i64, bytes: usize },
    /// So far it is well-formed.
    More,
    /// Not a number in its one canonical form, or out of `i64`'s range.
    NotNumber,
    /// A bare LF, or a CR with something else behind it.
    NoCrlf,
}

/// A complete line of one to three digits: all that small requests have. Anything else, be it
/// longer, broken or unfinished, is `None` and left to [`read`].
#[inline(always)]
pub(super) fn read_short(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes {
        [a @ b'0'..=b'9', b'\r', b'\n', ..] => Some((digit(a), 3)),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] => Some((digit(a) * 10 + digit(b), 4)),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'\r', b'\n', ..] => {
            Some((digit(a) * 100 + digit(b) * 10 + digit(c), 5))
        }
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', d @ b'0'..=b'9', b'\r', b'\n', ..] => {
            Some((digit(a) * 1000 + digit(b) * 100 + digit(c) * 10 + digit(d), 6))
        }
        _ => None,
    }
}

#[inline(always)]
fn digit(byte: u8) -> usize {
    usize::from(byte - b'0')
}

/// Reads a line byte by byte; the first byte that can not belong to it decides.
pub(super) fn read(bytes: &[u8]) -> Header {
    let negative = bytes.first() == Some(&b'-');
    let mut value: i64 = 0;
    let mut digits = 0_usize;
    let line = bytes.iter().enumerate().take(HEADER_BYTES_MAX - 1).skip(usize::from(negative));
    for (index, &byte) in line {
        match byte {
            b'0'..=b'9' => {
                let zero_leads = digits == 1 && value == 0;
                let minus_zero = negative && digits == 0 && byte == b'0';
                let digit = i64::from(byte - b'0');
                let signed = if negative { -digit } else { digit };
                match value.checked_mul(10).and_then(|value| value.checked_add(signed)) {
                    Some(longer) if !zero_leads && !minus_zero => value = longer,
                    _ => return Header::NotNumber,
                }
                digits += 1;
            }
            b'\r' if digits > 0 => {
                return match bytes.get(index + 1) {
                    None => Header::More,
                    Some(b'\n') => Header::Number { value, bytes: index + 2 },
                    Some(_) => Header::NoCrlf,
                };
            }
            b'\n' => return Header::NoCrlf,
            _ => return Header::NotNumber,
        }
    }
    // Checked arithmetic ends every longer line before it reaches this limit.
    if bytes.len() < HEADER_BYTES_MAX - 1 { Header::More } else { Header::NotNumber }
}
