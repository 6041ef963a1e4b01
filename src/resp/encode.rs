//! Writing RESP: replies of our own, and requests to backends.
//!
//! Free functions for what both versions write alike, [`Encoder`] for what differs between them.
//! All append to a buffer of the caller's. Only [`error`] takes words that may hold a client's
//! bytes; [`simple`] is for texts of our own.

use crate::resp::Protocol;

/// Longest text of an error reply, bytes; what is longer is cut.
pub const ERROR_TEXT_BYTES_MAX: usize = 256;

/// Digits of `u64::MAX`.
const NUMBER_BYTES_MAX: usize = 20;

/// Appends `number` in decimal.
#[inline]
pub fn write_number(out: &mut Vec<u8>, number: u64) {
    if number < 10 {
        out.push(b'0' + number as u8);
        return;
    }
    let mut digits = [0_u8; NUMBER_BYTES_MAX];
    let mut rest = number;
    let mut count = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (rest % 10) as u8;
        rest /= 10;
        count += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(NUMBER_BYTES_MAX - count..).unwrap_or_default());
}

fn header(out: &mut Vec<u8>, kind: u8, number: usize) {
    out.push(kind);
    write_number(out, number as u64);
    out.extend_from_slice(b"\r\n");
}

/// A request of these arguments, the command's name first.
pub fn request(out: &mut Vec<u8>, args: &[&[u8]]) {
    array_header(out, args.len());
    for arg in args {
        bulk(out, arg);
    }
}

/// `+text`; the text is one of ours and has neither CR nor LF.
pub fn simple(out: &mut Vec<u8>, text: &str) {
    debug_assert!(!text.contains(['\r', '\n']), "a simple string is one line");
    out.push(b'+');
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `-text`, where `text` begins with the error's word (`ERR`, `WRONGTYPE`) and may quote a client:
/// CR and LF become blanks, and it is cut at [`ERROR_TEXT_BYTES_MAX`].
pub fn error(out: &mut Vec<u8>, text: impl AsRef<[u8]>) {
    let harmless = |byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
    out.push(b'-');
    out.extend(text.as_ref().iter().take(ERROR_TEXT_BYTES_MAX).map(harmless));
    out.extend_from_slice(b"\r\n");
}

/// `:number`.
pub fn integer(out: &mut Vec<u8>, number: i64) {
    out.push(b':');
    if number < 0 {
        out.push(b'-');
    }
    write_number(out, number.unsigned_abs());
    out.extend_from_slice(b"\r\n");
}

/// `$length`, and the bytes as they are.
#[inline]
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    header(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// The header of an array; its `elements` follow.
pub fn array_header(out: &mut Vec<u8>, elements: usize) {
    header(out, b'*', elements);
}

/// Writes those types that RESP2 does not have in their RESP2 guise to RESP2 connections, as redis
/// does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoder {
    pub protocol: Protocol,
}

impl Encoder {
    pub fn new(protocol: Protocol) -> Self {
        Self { protocol }
    }

    fn is_resp3(self) -> bool {
        self.protocol == Protocol::Resp3
    }

    /// Nothing, where a string was asked for.
    pub fn null(self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.is_resp3() { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// Nothing, where an array was asked for.
    pub fn null_array(self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.is_resp3() { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// The header of a map of `pairs`; RESP2: an array of twice as many elements.
    pub fn map_header(self, out: &mut Vec<u8>, pairs: usize) {
        if self.is_resp3() {
            header(out, b'%', pairs);
        } else {
            header(out, b'*', pairs.saturating_mul(2));
        }
    }

    /// The header of a set; RESP2: an array.
    pub fn set_header(self, out: &mut Vec<u8>, elements: usize) {
        header(out, if self.is_resp3() { b'~' } else { b'*' }, elements);
    }

    /// The header of a push (a Pub/Sub message, an invalidation); RESP2: an array.
    pub fn push_header(self, out: &mut Vec<u8>, elements: usize) {
        header(out, if self.is_resp3() { b'>' } else { b'*' }, elements);
    }

    /// A floating-point number, in as few digits as name it exactly; RESP2: a bulk string.
    pub fn double(self, out: &mut Vec<u8>, number: f64) {
        let size = number.abs();
        let text = if number.is_nan() {
            "nan".to_owned()
        } else if size == 0.0 || (1e-5..1e17).contains(&size) || size.is_infinite() {
            number.to_string()
        } else {
            format!("{number:e}")
        };
        if self.is_resp3() {
            out.push(b',');
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(b"\r\n");
        } else {
            bulk(out, text.as_bytes());
        }
    }

    /// RESP2: the integers 1 and 0.
    pub fn boolean(self, out: &mut Vec<u8>, yes: bool) {
        out.extend_from_slice(match (self.is_resp3(), yes) {
            (true, true) => b"#t\r\n",
            (true, false) => b"#f\r\n",
            (false, true) => b":1\r\n",
            (false, false) => b":0\r\n",
        });
    }

    /// Text to be shown as it is; RESP2: a bulk string.
    pub fn verbatim(self, out: &mut Vec<u8>, text: &[u8]) {
        if !self.is_resp3() {
            return bulk(out, text);
        }
        header(out, b'=', text.len().saturating_add(4));
        out.extend_from_slice(b"txt:");
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    }
}
