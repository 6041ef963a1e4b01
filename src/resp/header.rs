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

/// A whole header line of type `kind` and one or two digits, read out of the eight bytes that begin
/// with it, the first lowest: number, and bytes of the line, type byte and CRLF included. Anything
/// else is `None`, as in [`read_short`].
#[inline(always)]
pub(super) fn read_word(word: u64, kind: u8) -> Option<(usize, usize)> {
    // What is equal becomes zero, and a digit its number.
    let one = word ^ u64::from(u32::from_le_bytes([kind, b'0', b'\r', b'\n']));
    let units = one >> 8 & 0xff;
    if one & 0xffff_00ff == 0 && units < 10 {
        return Some((units as usize, 4));
    }
    let two = word ^ u64::from_le_bytes([kind, b'0', b'0', b'\r', b'\n', 0, 0, 0]);
    let (tens, units) = (two >> 8 & 0xff, two >> 16 & 0xff);
    if two & 0xff_ff00_00ff == 0 && (1..10).contains(&tens) && units < 10 {
        return Some(((tens * 10 + units) as usize, 5));
    }
    None
}

/// The eight bytes at `at`, the first lowest, if there are so many.
#[inline(always)]
pub(super) fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Any line of up to two digits, and what is nearly one, is read as byte by byte or not at all.
    #[test]
    fn a_word_is_read_as_its_bytes_are() {
        let odd = b"0159:/-+\r\n$\0\xb0";
        let mut read = 0;
        for kind in *b"$*" {
            for (a, b, c, d) in
                odd.iter().flat_map(|a| odd.iter().map(move |b| (a, b))).flat_map(|(a, b)| {
                    let (cr, lf) = (b"\r\n0", b"\n\r1");
                    cr.iter().flat_map(move |c| lf.iter().map(move |d| (a, b, c, d)))
                })
            {
                for line in [
                    [kind, *a, *c, *d, *b, b'x', b'y', b'z'],
                    [kind, *a, *b, *c, *d, b'\r', b'\n', b'z'],
                ] {
                    let bytewise = match super::read(&line[1..]) {
                        Header::Number { value, bytes } if bytes <= 4 && value >= 0 => {
                            Some((value as usize, bytes + 1))
                        }
                        _ => None,
                    };
                    let word = u64::from_le_bytes(line);
                    assert_eq!(read_word(word, kind), bytewise, "{}", line.escape_ascii());
                    assert_eq!(read_word(word, b'!'), None);
                    read += usize::from(bytewise.is_some());
                }
            }
        }
        assert!(read > 20, "{read}");
    }

    #[test]
    fn a_word_needs_eight_bytes() {
        assert_eq!(word_at(b"01234567", 0), Some(0x3736_3534_3332_3130));
        assert_eq!(word_at(b"01234567", 1), None);
        assert_eq!(word_at(b"01234567", 9), None);
    }
}
