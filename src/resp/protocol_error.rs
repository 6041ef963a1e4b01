//! Why a client's frame is broken, in the words that redis has for it.
//!
//! A text never carries a byte of the client's that could end the line: an error reply that can be
//! made to hold CRLF is a forged reply.

use std::fmt;

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
    /// More than a client may say before it has authenticated.
    UnauthenticatedMultibulk,
    UnauthenticatedBulk,
    /// A header or a body that does not end with CRLF.
    MissingCrlf,
    /// `POST` or `Host:`: a browser was made to talk to us. Closed without a word, as redis does.
    CrossProtocol,
    TlsHello,
    /// The line is the opening of another protocol (PROXY, SSH, HTTP/2), or begins with a byte
    /// that begins a reply or nothing at all.
    ForeignProtocol,
}

impl ProtocolError {
    /// What the client hears before it is closed, appended to `out`: a whole RESP error with CRLF,
    /// or nothing.
    pub fn reply(&self, out: &mut Vec<u8>) {
        if *self == ProtocolError::CrossProtocol {
            return;
        }
        out.extend_from_slice(b"-ERR Protocol error: ");
        out.extend_from_slice(self.text().as_bytes());
        if let ProtocolError::ExpectedDollar(byte) = *self {
            out.extend(std::ascii::escape_default(byte));
            out.push(b'\'');
        }
        out.extend_from_slice(b"\r\n");
    }

    fn text(&self) -> &'static str {
        match self {
            ProtocolError::MultibulkLength => "invalid multibulk length",
            ProtocolError::BulkLength => "invalid bulk length",
            ProtocolError::UnauthenticatedMultibulk => "unauthenticated multibulk length",
            ProtocolError::UnauthenticatedBulk => "unauthenticated bulk length",
            ProtocolError::ExpectedDollar(_) => "expected '$', got '",
            ProtocolError::UnbalancedQuotes => "unbalanced quotes in request",
            ProtocolError::InlineTooBig => "too big inline request",
            ProtocolError::RequestTooBig => "request exceeds the size limit of this proxy",
            ProtocolError::MissingCrlf => "expected CRLF at the end of a header or a body",
            ProtocolError::CrossProtocol => {
                "cross-protocol request (POST or Host:), possibly an attack through a browser"
            }
            ProtocolError::TlsHello => "TLS hello on a port without TLS",
            ProtocolError::ForeignProtocol => "not a redis request, is this the right port?",
        }
    }
}

/// For the log: the same words without `-ERR`.
impl fmt::Display for ProtocolError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("protocol error: ")?;
        out.write_str(self.text())?;
        if let ProtocolError::ExpectedDollar(byte) = *self {
            write!(out, "{}'", std::ascii::escape_default(byte))?;
        }
        Ok(())
    }
}

impl std::error::Error for ProtocolError {}
