//! False stores inside MULTI: requests are queued, and executed by EXEC all at once, unless a key
//! that is watched on this connection has changed.

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

/// What a connection has that others have not.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) queue: Option<Queue>,
    /// Keys, and how often each had been written.
    pub(super) watched: Vec<(Vec<u8>, u64)>,
    pub(super) resp3: bool,
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
    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) {
        self.keys.insert(key.to_vec(), value.to_vec());
        *self.written.entry(key.to_vec()).or_default() += 1;
    }

    /// As `answer`, on a connection that may be inside MULTI.
    pub(super) fn answer_on(
        &mut self,
        Session { queue, watched, resp3 }: &mut Session,
        request: &Request<'_>,
        out: &mut Vec<u8>,
    ) {
        match (request.name(), queue.as_mut()) {
            (b"WATCH" | b"UNWATCH", None) if self.refusal.is_none() => {
                self.seen.push(String::from_utf8_lossy(request.name()).into_owned());
                match request.name() {
                    b"UNWATCH" => watched.clear(),
                    _ => watched.extend(request.iter().skip(1).map(|key| {
                        (key.to_vec(), self.written.get(key).copied().unwrap_or_default())
                    })),
                }
                encode::simple(out, "OK");
            }
            (b"HELLO", None) => {
                *resp3 = request.get(1) == Some(b"3");
                self.answer(request, out);
            }
            (b"MULTI", _) => {
                *queue = Some(Queue::default());
                self.seen.push("MULTI".to_owned());
                encode::simple(out, "OK");
            }
            (b"EXEC", Some(_)) => {
                self.seen.push("EXEC".to_owned());
                let is_changed = |(key, seen): (Vec<u8>, u64)| {
                    self.written.get(&key).copied().unwrap_or_default() != seen
                };
                let changed = watched.drain(..).any(is_changed);
                match queue.take().unwrap() {
                    spoilt if spoilt.is_spoilt => encode::error(out, "EXECABORT because of errors"),
                    _ if changed => {
                        out.extend_from_slice(if *resp3 { b"_\r\n" } else { b"*-1\r\n" });
                    }
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
