//! The request parser: resumable, never rescans, gives ranges.

use crate::resp::args::ArgRange;

/// The bounds of one request; see `base::limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    pub args_max: usize,
    pub bulk_bytes_max: usize,
    pub request_bytes_max: usize,
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

/// Why the frame is broken; the client gets [`ProtocolError::reply`] and is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    MultibulkLength,
    BulkLength,
    /// This byte stands where `$` belongs.
    ExpectedDollar(u8),
    UnbalancedQuotes,
    InlineTooBig,
    RequestTooBig,
    MissingCrlf,
    /// `POST` or `Host:`: a browser was made to talk to us. Closed without a word, as redis does.
    CrossProtocol,
    TlsHello,
}

/// Where in a request the parser stands; two words, so that it may live in every client.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestParser {
    _at: u32,
}

impl RequestParser {
    /// Goes on with the request whose first byte is `bytes[0]`. Called again with the same bytes
    /// and more behind them it continues where it stopped; `args` is its own between these calls.
    pub fn parse(
        &mut self,
        bytes: &[u8],
        args: &mut Vec<ArgRange>,
        limits: &RequestLimits,
    ) -> Result<Parsed, ProtocolError> {
        let _ = (bytes, args, limits);
        Ok(Parsed::More)
    }
}

/// Splits the line as redis does (quotes, escapes) and writes it as a multibulk request to `out`.
/// `out` stays empty if the line has no word.
pub fn inline_to_multibulk(line: &[u8], out: &mut Vec<u8>) -> Result<(), ProtocolError> {
    let _ = (line, out);
    Ok(())
}

impl ProtocolError {
    /// What the client hears before it is closed: a whole RESP error with CRLF, or nothing.
    pub fn reply(&self, out: &mut Vec<u8>) {
        let _ = out;
    }
}
