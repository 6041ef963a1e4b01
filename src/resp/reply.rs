//! The reply scanner: finds where a reply ends, and nothing else.
//!
//! It takes a backend's bytes in whatever pieces they come and never needs an earlier piece again,
//! so that a large value can stream through. Nesting is one counter: how many elements must still
//! come before the reply is over. It never guesses: at the first byte that is not RESP the lane is
//! lost. Called by the relay for each piece, and by [`crate::resp::value`] on whole replies.

use std::fmt;

use crate::base::limits::{BULK_BYTES_MAX, HEADER_BYTES_MAX};
use crate::resp::header;

/// The longest `+`, `-`, `,` or `(` line, bytes, type and CRLF included: redis cuts its own errors
/// long before, scripts and modules may write longer ones.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Most elements that one header may announce: 2^31, redis itself has an int here.
pub const ELEMENTS_MAX: u64 = 1 << 31;

/// Follows one stream of replies, reply by reply, however they are cut.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplyScanner {
    /// Elements whose end has not been seen, the reply itself included; 0 between replies.
    elements_left: u64,
    /// The number of the header under way, or the bytes of the body that are still to come.
    number: u64,
    /// Bytes of the line under way, its type byte included.
    line_bytes: u32,
    /// Type of the reply, 0 while it is not known.
    kind: u8,
    /// Type of the element under way.
    element: u8,
    /// The header under way began with `-`.
    is_negative: bool,
    waits_for: Part,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// It is a type byte.
    #[default]
    Element,
    /// A length or a count.
    Header,
    HeaderLf,
    /// One-line content.
    Line,
    LineLf,
    Body,
    BodyCr,
    BodyLf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    /// The reply ends after `bytes` bytes of this call's input; the scanner is at a new reply.
    /// `kind` is the reply's type byte (that behind its attributes, if it has any).
    Reply { bytes: usize, kind: u8 },
    /// All input was used up inside the reply.
    More,
}

/// The stream can not be trusted any more: close the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// A reply can not begin with this byte.
    UnknownType(u8),
    BadLength,
    HeaderTooLong,
    MissingCrlf,
    TooBig,
}

/// For the log.
impl fmt::Display for ReplyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplyError::UnknownType(byte) => {
                write!(out, "a reply can not begin with '{}'", std::ascii::escape_default(*byte))
            }
            ReplyError::BadLength => out.write_str("a length or count of a reply is no number"),
            ReplyError::HeaderTooLong => write!(
                out,
                "a line of a reply is longer than {HEADER_BYTES_MAX} bytes (a header) or \
                 {LINE_BYTES_MAX} bytes (a text)"
            ),
            ReplyError::MissingCrlf => out.write_str("no CRLF at the end of a line or body"),
            ReplyError::TooBig => write!(
                out,
                "a reply announces more than {BULK_BYTES_MAX} bytes or {ELEMENTS_MAX} elements"
            ),
        }
    }
}

impl std::error::Error for ReplyError {}

impl ReplyScanner {
    /// Goes on with the bytes that follow those of the call before.
    #[inline]
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Scanned, ReplyError> {
        if self.at_start()
            && let Some((whole, kind)) = whole_scalar(bytes)
        {
            return Ok(Scanned::Reply { bytes: whole, kind });
        }
        self.scan_parts(bytes)
    }

    /// Nothing of a reply has been seen yet.
    #[inline]
    pub fn at_start(&self) -> bool {
        self.elements_left == 0
    }

    /// The type byte of the reply under way; `None` between replies and inside the attributes in
    /// front of one.
    pub fn kind(&self) -> Option<u8> {
        (self.kind != 0).then_some(self.kind)
    }

    /// Bytes of the body under way that are still to come; 0 outside of one.
    pub fn body_left(&self) -> u64 {
        if self.waits_for == Part::Body { self.number } else { 0 }
    }

    fn scan_parts(&mut self, bytes: &[u8]) -> Result<Scanned, ReplyError> {
        let mut rest = bytes;
        while let [first, tail @ ..] = rest {
            rest = match self.waits_for {
                Part::Element => self.element(*first, rest, tail)?,
                Part::Header => {
                    self.header_byte(*first)?;
                    tail
                }
                Part::HeaderLf => {
                    expect(*first, b'\n')?;
                    self.header_ends()?;
                    tail
                }
                Part::Line => self.line(rest)?,
                Part::Body => {
                    let skipped = usize::try_from(self.number)
                        .map_or(rest.len(), |left| left.min(rest.len()));
                    self.number -= skipped as u64;
                    if self.number == 0 {
                        self.waits_for = Part::BodyCr;
                    }
                    rest.get(skipped..).unwrap_or_default()
                }
                Part::BodyCr => {
                    expect(*first, b'\r')?;
                    self.waits_for = Part::BodyLf;
                    tail
                }
                Part::LineLf | Part::BodyLf => {
                    expect(*first, b'\n')?;
                    self.element_ends();
                    tail
                }
            };
            if self.elements_left == 0 {
                let kind = self.kind;
                *self = Self::default();
                return Ok(Scanned::Reply { bytes: bytes.len() - rest.len(), kind });
            }
        }
        Ok(Scanned::More)
    }

    /// Begins an element at its type byte, and ends it at once if it is wholly here.
    fn element<'a>(
        &mut self,
        kind: u8,
        rest: &'a [u8],
        tail: &'a [u8],
    ) -> Result<&'a [u8], ReplyError> {
        if self.elements_left == 0 {
            self.elements_left = 1;
        }
        // The last element to come is the reply itself as long as nothing but attributes (which
        // have their elements on top of it) has been seen.
        if self.kind == 0 && self.elements_left == 1 && kind != b'|' {
            self.kind = kind;
        }
        if let Some((whole, _)) = whole_scalar(rest) {
            self.element_ends();
            return Ok(rest.get(whole..).unwrap_or_default());
        }
        self.element = kind;
        self.line_bytes = 1;
        self.number = 0;
        self.is_negative = false;
        self.waits_for = match kind {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => Part::Line,
            b'$' | b'!' | b'=' => Part::Header,
            b'*' | b'~' | b'%' | b'>' | b'|' => {
                if let Some((count, header_bytes)) = header::read_short(tail) {
                    self.number = count as u64;
                    self.header_ends()?;
                    return Ok(tail.get(header_bytes..).unwrap_or_default());
                }
                Part::Header
            }
            other => return Err(ReplyError::UnknownType(other)),
        };
        Ok(tail)
    }

    /// One byte of a length or a count. `line_bytes` tells how many there have been.
    fn header_byte(&mut self, byte: u8) -> Result<(), ReplyError> {
        self.line_bytes += 1;
        let digits = self.line_bytes - 2 - u32::from(self.is_negative);
        match byte {
            b'0'..=b'9' => {
                // `01`, `-0`: no number has a zero in front.
                if (digits == 1 && self.number == 0)
                    || (self.is_negative && digits == 0 && byte == b'0')
                {
                    return Err(ReplyError::BadLength);
                }
                // What saturates is far above every limit.
                self.number = self.number.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
                // CR and LF must still fit.
                if self.line_bytes as usize + 2 > HEADER_BYTES_MAX {
                    return Err(ReplyError::HeaderTooLong);
                }
            }
            b'-' if self.line_bytes == 2 && matches!(self.element, b'$' | b'*') => {
                self.is_negative = true;
            }
            b'\r' if digits > 0 => self.waits_for = Part::HeaderLf,
            b'\n' => return Err(ReplyError::MissingCrlf),
            _ => return Err(ReplyError::BadLength),
        }
        Ok(())
    }

    /// Acts on a header that is complete: a body or elements follow, or nothing.
    fn header_ends(&mut self) -> Result<(), ReplyError> {
        if self.is_negative {
            // A null is `-1`, nothing else.
            if self.number != 1 {
                return Err(ReplyError::BadLength);
            }
            self.element_ends();
            return Ok(());
        }
        if matches!(self.element, b'$' | b'!' | b'=') {
            if self.number > BULK_BYTES_MAX as u64 {
                return Err(ReplyError::TooBig);
            }
            self.waits_for = Part::Body;
            return Ok(());
        }
        if self.number > ELEMENTS_MAX {
            return Err(ReplyError::TooBig);
        }
        let inner = if matches!(self.element, b'%' | b'|') { self.number * 2 } else { self.number };
        self.elements_left = self.elements_left.checked_add(inner).ok_or(ReplyError::TooBig)?;
        if self.element == b'|' {
            // Attributes are no element: what they describe is still to come.
            self.waits_for = Part::Element;
        } else {
            self.element_ends();
        }
        Ok(())
    }

    /// Searches the end of a line; gives what is behind its CR, or nothing.
    fn line<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], ReplyError> {
        let end = memchr::memchr2(b'\r', b'\n', rest);
        let line_bytes = self.line_bytes as usize + end.unwrap_or(rest.len());
        let line_bytes_max = match self.element {
            b':' | b'_' | b'#' => HEADER_BYTES_MAX,
            _ => LINE_BYTES_MAX,
        };
        if line_bytes + 2 > line_bytes_max {
            return Err(ReplyError::HeaderTooLong);
        }
        self.line_bytes = line_bytes as u32;
        let Some(end) = end else { return Ok(&[]) };
        match rest.get(end..) {
            Some([b'\r', tail @ ..]) => {
                self.waits_for = Part::LineLf;
                Ok(tail)
            }
            _ => Err(ReplyError::MissingCrlf),
        }
    }

    fn element_ends(&mut self) {
        self.elements_left = self.elements_left.saturating_sub(1);
        self.waits_for = Part::Element;
    }
}

fn expect(byte: u8, expected: u8) -> Result<(), ReplyError> {
    if byte == expected { Ok(()) } else { Err(ReplyError::MissingCrlf) }
}

/// Bytes and type of the element without inner elements that `bytes` begin with, if it is wholly
/// there, well-formed, and of the usual kind; whatever else it may be, the parts will tell.
#[inline]
fn whole_scalar(bytes: &[u8]) -> Option<(usize, u8)> {
    // Short values are most of all replies.
    if let Some(word) = header::word_at(bytes, 0)
        && let Some((body_bytes, header_bytes)) = header::read_word(word, b'$')
    {
        let end = header_bytes + body_bytes;
        return match bytes.get(end..)?.first_chunk() {
            Some(b"\r\n") => Some((end + 2, b'$')),
            _ => None,
        };
    }
    match bytes {
        [b'+', b'O', b'K', b'\r', b'\n', ..] => Some((5, b'+')),
        _ => whole_scalar_of_any_length(bytes),
    }
}

fn whole_scalar_of_any_length(bytes: &[u8]) -> Option<(usize, u8)> {
    let [kind, tail @ ..] = bytes else { return None };
    let content_bytes = match kind {
        b'$' => {
            if let [b'-', b'1', b'\r', b'\n', ..] = tail {
                return Some((5, b'$'));
            }
            let (body_bytes, header_bytes) = match header::read_short(tail) {
                Some(short) => short,
                None => match header::read(tail) {
                    header::Header::Number { value, bytes } => {
                        (usize::try_from(value).ok()?, bytes)
                    }
                    _ => return None,
                },
            };
            if body_bytes > BULK_BYTES_MAX {
                return None;
            }
            header_bytes + body_bytes
        }
        // Type, CR and LF take three bytes of what a header may have.
        b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => {
            let window = tail.get(..HEADER_BYTES_MAX - 2).unwrap_or(tail);
            memchr::memchr2(b'\r', b'\n', window)?
        }
        _ => return None,
    };
    match tail.get(content_bytes..) {
        Some([b'\r', b'\n', ..]) => Some((content_bytes + 3, *kind)),
        _ => None,
    }
}
