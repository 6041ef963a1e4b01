//! The reply scanner: finds where a reply ends, and nothing else.

/// Follows one stream of replies, reply by reply, however they are cut.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplyScanner {
    _state: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    /// The reply ends after `bytes` bytes of this call's input; the scanner is at a new reply.
    Reply { bytes: usize },
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

impl ReplyScanner {
    /// Goes on with the bytes that follow those of the call before.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Scanned, ReplyError> {
        let _ = bytes;
        Ok(Scanned::More)
    }

    /// Nothing of a reply has been seen yet.
    pub fn at_start(&self) -> bool {
        true
    }
}
