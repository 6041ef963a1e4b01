//! False stores inside MULTI: requests are queued, and executed by EXEC all at once.

use crate::relay::world::Store;
use crate::resp::args::Request;
use crate::resp::encode;
use crate::resp::request::{Parsed, RequestLimits, RequestParser};

/// The relay has bounds of its own for what it passes on.
pub(super) const LIMITS: RequestLimits = RequestLimits {
    args_max: usize::MAX,
    bulk_bytes_max: usize::MAX,
    request_bytes_max: usize::MAX,
};

/// What a connection has been asked since MULTI.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) requests: Vec<Vec<u8>>,
    pub(super) is_spoilt: bool,
}

impl Queue {
    /// Hands each of them to `answer`, as EXEC does.
    pub(super) fn execute(
        self,
        out: &mut Vec<u8>,
        mut answer: impl FnMut(&Request<'_>, &mut Vec<u8>),
    ) {
        encode::array_header(out, self.requests.len());
        for bytes in &self.requests {
            let mut ranges = Vec::new();
            let parsed = RequestParser::default().parse(bytes, &mut ranges, &LIMITS);
            assert!(matches!(parsed, Ok(Parsed::Request { .. })));
            answer(&Request { bytes, ranges: &ranges }, out);
        }
    }
}

impl Store {
    /// As `answer`, on a connection that may be inside MULTI.
    pub(super) fn answer_on(
        &mut self,
        queue: &mut Option<Queue>,
        request: &Request<'_>,
        out: &mut Vec<u8>,
    ) {
        match (request.name(), queue.as_mut()) {
            (b"MULTI", _) => {
                *queue = Some(Queue::default());
                self.seen.push("MULTI".to_owned());
                encode::simple(out, "OK");
            }
            (b"EXEC", Some(_)) => {
                self.seen.push("EXEC".to_owned());
                match queue.take().unwrap() {
                    spoilt if spoilt.is_spoilt => encode::error(out, "EXECABORT because of errors"),
                    queued => queued.execute(out, |request, out| self.answer(request, out)),
                }
            }
            (_, Some(queued)) => match self.refusal {
                Some(refusal) => {
                    queued.is_spoilt = true;
                    encode::error(out, refusal);
                }
                None => {
                    queued.requests.push(request.bytes.to_vec());
                    encode::simple(out, "QUEUED");
                }
            },
            _ => self.answer(request, out),
        }
    }
}
