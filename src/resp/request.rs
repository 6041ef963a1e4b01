//! The request parser: resumable, never rescans, gives ranges.
//!
//! A multibulk request is a count line and, for each argument, a length line and a body; the parser
//! stands at the start of one of these parts (or inside a body, which it skips unread) and takes up
//! work there when more bytes have come. A header line (at most 32 bytes) is read once it is
//! complete, all else is passed once. It never reserves memory because a header asks for it.
//! Called by the relay with whatever a client has sent.

use crate::base::limits::INLINE_BYTES_MAX;
use crate::resp::args::ArgRange;
use crate::resp::header::{self, Header};
use crate::resp::inline::{self, Line};

pub use crate::resp::inline::inline_to_multibulk;
pub use crate::resp::protocol_error::ProtocolError;

/// The first byte of a TLS record that carries a hand-shake.
const TLS_HANDSHAKE: u8 = 0x16;

/// The bounds of one request; see `base::limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Arguments, the command's name included.
    pub args_max: usize,
    /// One bulk string, its body.
    pub bulk_bytes_max: usize,
    /// The whole request; above `u32::MAX` it is taken as that, since ranges are `u32`.
    pub request_bytes_max: usize,
}

impl RequestLimits {
    /// For what follows the first `bytes` bytes of a request.
    pub fn behind(&self, bytes: usize) -> RequestLimits {
        RequestLimits { request_bytes_max: self.request_bytes_max.saturating_sub(bytes), ..*self }
    }
}

/// What one call of [`RequestParser::parse`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A request of `bytes` bytes; `args` has its ranges.
    Request { bytes: usize },
    /// `bytes` bytes that ask for nothing (`*0`, `*-1`, an empty line): skip them.
    Nothing { bytes: usize },
    /// An inline command: one line of `bytes` bytes, its LF included. Make it a request by
    /// [`inline_to_multibulk`].
    Inline { bytes: usize },
    /// The request goes on behind what is there.
    More,
}

/// Where in a request the parser stands: 12 bytes, so that it may live in every client.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestParser {
    waits_for: Part,
    /// Offset from the request's first byte to the first byte of `waits_for`.
    at: u32,
    /// Arguments whose end has not been seen.
    args_left: u32,
}

/// What the byte at `RequestParser::at` begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// A request: its count line, or an inline command.
    #[default]
    Request,
    /// The length line of an argument.
    Argument,
    /// The CRLF behind a body; the body's range is already in `args`, its bytes may not be here.
    BodyEnd,
    /// That part of an inline command that has not been searched for LF.
    Line,
}

const _: () = assert!(size_of::<RequestParser>() <= 24);

impl RequestParser {
    /// Goes on with the request whose first byte is `bytes[0]`. Called again with the same bytes
    /// and more behind them it continues where it stopped; `args` is its own between these calls.
    /// With anything but [`Parsed::More`] it is ready for the next request; after an error the
    /// stream must not be parsed any further.
    #[inline]
    pub fn parse(
        &mut self,
        bytes: &[u8],
        args: &mut Vec<ArgRange>,
        limits: &RequestLimits,
    ) -> Result<Parsed, ProtocolError> {
        if self.waits_for != Part::Request {
            return self.resume(bytes, args, limits);
        }
        let [b'*', header @ ..] = bytes else {
            return self.first_of_line(bytes, limits);
        };
        let short = header::word_at(bytes, 0).and_then(|word| header::read_word(word, b'*'));
        let (count, header_bytes) = match short {
            Some((count, bytes)) if count > 0 => (count, bytes - 1),
            _ => match header::read(header) {
                Header::Number { value: ..=0, bytes } => {
                    return Ok(Parsed::Nothing { bytes: bytes + 1 });
                }
                Header::Number { value, bytes } => {
                    (usize::try_from(value).unwrap_or(usize::MAX), bytes)
                }
                Header::More => return Ok(Parsed::More),
                Header::NotNumber => return Err(ProtocolError::MultibulkLength),
                Header::NoCrlf => return Err(ProtocolError::MissingCrlf),
            },
        };
        let Some(count) = u32::try_from(count).ok().filter(|_| count <= limits.args_max) else {
            return Err(ProtocolError::MultibulkLength);
        };
        args.clear();
        self.arguments(bytes, 1 + header_bytes, count, args, limits)
    }

    /// In the middle of an argument's body: the offset of its end from the request's first byte.
    pub fn body_end(&self) -> Option<usize> {
        (self.waits_for == Part::BodyEnd).then_some(self.at as usize)
    }

    /// In the middle of an argument's body: from now on the request is taken to begin at the end of
    /// that body. What was found so far keeps its meaning; ranges of later arguments, and the
    /// length of the request, count from there.
    pub fn forget_up_to_body_end(&mut self) {
        if self.waits_for == Part::BodyEnd {
            self.at = 0;
        }
    }

    /// Nothing of a request has been seen yet, or no more than an unfinished count line.
    pub fn at_start(&self) -> bool {
        self.waits_for == Part::Request
    }

    #[cold]
    fn resume(
        &mut self,
        bytes: &[u8],
        args: &mut Vec<ArgRange>,
        limits: &RequestLimits,
    ) -> Result<Parsed, ProtocolError> {
        let at = self.at as usize;
        match self.waits_for {
            Part::Argument => self.arguments(bytes, at, self.args_left, args, limits),
            Part::BodyEnd => match bytes.get(at..).unwrap_or_default() {
                [b'\r', b'\n', ..] => {
                    self.arguments(bytes, at + 2, self.args_left.saturating_sub(1), args, limits)
                }
                [] | [b'\r'] => Ok(Parsed::More),
                _ => Err(ProtocolError::MissingCrlf),
            },
            Part::Line | Part::Request => self.line(bytes, limits),
        }
    }

    /// Goes through the arguments from `at` on, of which `left` are still to come.
    #[inline]
    fn arguments(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        mut left: u32,
        args: &mut Vec<ArgRange>,
        limits: &RequestLimits,
    ) -> Result<Parsed, ProtocolError> {
        let request_bytes_max = limits.request_bytes_max.min(u32::MAX as usize);
        while left > 0 {
            // Nearly all arguments are short and here; what is unusual about one is found below.
            if let Some(end) = short_argument(bytes, at, args, limits, request_bytes_max) {
                at = end;
                left -= 1;
                continue;
            }
            let header = match bytes.get(at..).unwrap_or_default() {
                [b'$', header @ ..] => header,
                [] => return Ok(self.wait(Part::Argument, at, left)),
                [other, ..] => return Err(ProtocolError::ExpectedDollar(*other)),
            };
            let (body_bytes, header_bytes) = match header::read_short(header) {
                Some(short) => short,
                None if header.first() == Some(&b'-') => return Err(ProtocolError::BulkLength),
                None => match header::read(header) {
                    Header::Number { value, bytes } => match usize::try_from(value) {
                        Ok(body_bytes) => (body_bytes, bytes),
                        Err(_) => return Err(ProtocolError::BulkLength),
                    },
                    Header::More => return Ok(self.wait(Part::Argument, at, left)),
                    Header::NotNumber => return Err(ProtocolError::BulkLength),
                    Header::NoCrlf => return Err(ProtocolError::MissingCrlf),
                },
            };
            if body_bytes > limits.bulk_bytes_max {
                return Err(ProtocolError::BulkLength);
            }
            let start = at + 1 + header_bytes;
            // Saturating: the user's limits may be as large as they like.
            let end = start.saturating_add(body_bytes);
            if end.saturating_add(2) > request_bytes_max {
                return Err(ProtocolError::RequestTooBig);
            }
            args.push(ArgRange { start: start as u32, end: end as u32 });
            match bytes.get(end..).unwrap_or_default() {
                [b'\r', b'\n', ..] => {}
                [] | [b'\r'] => return Ok(self.wait(Part::BodyEnd, end, left)),
                _ => return Err(ProtocolError::MissingCrlf),
            }
            at = end + 2;
            left -= 1;
        }
        self.waits_for = Part::Request;
        self.at = 0;
        // Nearly every name is told from HTTP's by its length already.
        if let Some(name) = args.first()
            && matches!(name.end.wrapping_sub(name.start), 4 | 5)
            && let Some(name) = bytes.get(name.start as usize..name.end as usize)
            && inline::is_cross_protocol(name)
        {
            return Err(ProtocolError::CrossProtocol);
        }
        Ok(Parsed::Request { bytes: at })
    }

    #[cold]
    fn wait(&mut self, waits_for: Part, at: usize, args_left: u32) -> Parsed {
        // `at` is below request_bytes_max, or at most one header past it.
        *self = Self { waits_for, at: u32::try_from(at).unwrap_or(u32::MAX), args_left };
        Parsed::More
    }

    #[cold]
    fn first_of_line(
        &mut self,
        bytes: &[u8],
        limits: &RequestLimits,
    ) -> Result<Parsed, ProtocolError> {
        match bytes.first() {
            None => Ok(Parsed::More),
            Some(&TLS_HANDSHAKE) => Err(ProtocolError::TlsHello),
            Some(_) => self.line(bytes, limits),
        }
    }

    fn line(&mut self, bytes: &[u8], limits: &RequestLimits) -> Result<Parsed, ProtocolError> {
        let line_bytes_max = INLINE_BYTES_MAX.min(limits.request_bytes_max);
        let searched = self.at as usize;
        let searchable = bytes.len().min(line_bytes_max);
        let unsearched = bytes.get(searched..searchable).unwrap_or_default();
        let Some(offset) = memchr::memchr(b'\n', unsearched) else {
            if bytes.len() >= line_bytes_max {
                return Err(ProtocolError::InlineTooBig);
            }
            return Ok(self.wait(Part::Line, searchable, 0));
        };
        *self = Self::default();
        let line_bytes = searched + offset + 1;
        Ok(match inline::classify(bytes.get(..line_bytes).unwrap_or_default())? {
            Line::Empty => Parsed::Nothing { bytes: line_bytes },
            Line::Command => Parsed::Inline { bytes: line_bytes },
        })
    }
}

/// Takes the argument at `at` if its length has one or two digits and all of it is there; gives
/// the offset behind it. `None` says nothing about it.
#[inline(always)]
fn short_argument(
    bytes: &[u8],
    at: usize,
    args: &mut Vec<ArgRange>,
    limits: &RequestLimits,
    request_bytes_max: usize,
) -> Option<usize> {
    let (body_bytes, header_bytes) = header::read_word(header::word_at(bytes, at)?, b'$')?;
    let start = at + header_bytes;
    let end = start + body_bytes;
    let fits = body_bytes <= limits.bulk_bytes_max && end + 2 <= request_bytes_max;
    if !fits || bytes.get(end..)?.first_chunk() != Some(b"\r\n") {
        return None;
    }
    args.push(ArgRange { start: start as u32, end: end as u32 });
    Some(end + 2)
}
