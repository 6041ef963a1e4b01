//! Large requests: most of one that sets a large value is that value, which nobody here looks at.
//! It is kept as it came, chunk by chunk, and passed on without having been copied together.
//!
//! Only for requests that are forwarded as they are to the shard of their first argument, whose
//! name and key have come (`SET key value`, with whatever else behind the value); every other one
//! is collected in one piece, for its arguments are needed.

use crate::base::buffer::Outbox;
use crate::base::ids::ClientId;
use crate::base::limits::PASS_ON_BYTES;
use crate::base::time::Now;
use crate::command::model::{Keys, Run};
use crate::command::{Lookup, lookup};
use crate::relay::Relay;
use crate::relay::dispatch::Outcome;
use crate::resp::args::{ArgRange, Request};
use crate::resp::encode;
use crate::resp::request::RequestParser;
use crate::stats::cells::PoolMetric;

/// A value of which so many bytes are still to come is large.
const LARGE_BYTES_MIN: usize = 2 * PASS_ON_BYTES;

/// A large request under way, up to the end of its large argument's body.
#[derive(Debug)]
pub(super) struct Large {
    /// What came first: name and key are in it, and the first bytes of the value.
    head: Vec<u8>,
    /// More of the value.
    pub(super) parts: Outbox,
    /// Bytes of the value that are still to come.
    missing: usize,
    /// Offset of the value's end in the request.
    pub(super) body_end: usize,
}

impl Large {
    pub(super) fn bytes(&self) -> usize {
        self.head.len() + self.parts.bytes()
    }
}

impl Relay {
    /// A client's request, of which `bytes` are here, goes on in the middle of an argument: if that
    /// is large, and the request is one of those that need not be in one piece, it is kept here
    /// from now on. `false`: it is not.
    pub(super) fn begin_large(
        &mut self,
        id: ClientId,
        parser: &mut RequestParser,
        bytes: &[u8],
        args: &[ArgRange],
    ) -> bool {
        let Some(body_end) = parser.body_end() else { return false };
        let missing = body_end.saturating_sub(bytes.len());
        if missing < LARGE_BYTES_MIN || !self.is_passed_on(id, &Request { bytes, ranges: args }) {
            return false;
        }
        let Some(client) = self.open_client(id) else { return false };
        parser.forget_up_to_body_end();
        let (head, parts) = (bytes.to_vec(), Outbox::default());
        client.large = Some(Box::new(Large { head, parts, missing, body_end }));
        self.buffered_bytes += bytes.len();
        true
    }

    /// Whether this request, whose last argument so far is not complete, will be forwarded as it
    /// is, by arguments that are complete.
    fn is_passed_on(&self, id: ClientId, request: &Request<'_>) -> bool {
        let Some(client) = self.clients.get(id.index, id.generation) else { return false };
        let Lookup::Found(command) = lookup(request) else { return false };
        client.authenticated
            && request.len() >= 3
            && command.run == Run::Forward
            && !command.dangerous
            && matches!(command.keys, Keys::Range { first: 1, last: 1, .. })
    }

    /// Whether the next `bytes` bytes of this client are the middle of a large value.
    pub fn client_takes_chunk(&self, id: ClientId, bytes: usize) -> bool {
        let client = self.clients.get(id.index, id.generation);
        client.and_then(|client| client.large.as_ref()).is_some_and(|large| large.missing >= bytes)
    }

    /// As [`on_client_bytes`](Relay::on_client_bytes), if that was wanted.
    pub fn on_client_chunk(&mut self, id: ClientId, chunk: Vec<u8>, now: Now) {
        if !self.client_takes_chunk(id, chunk.len()) {
            return self.on_client_bytes(id, &chunk, now);
        }
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        client.heard_us = now.mono_us;
        if let Some(large) = &mut client.large {
            large.missing -= chunk.len();
            let bytes = chunk.len();
            large.parts.put_owned(chunk, &mut self.chunks);
            self.buffered_bytes += bytes;
        }
    }

    /// Keeps those of `bytes` that belong to a large value; gives the rest.
    #[inline]
    pub(super) fn put_large<'a>(&mut self, id: ClientId, bytes: &'a [u8]) -> &'a [u8] {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return bytes };
        let Some(large) = &mut client.large else { return bytes };
        let (of_value, rest) = bytes.split_at(large.missing.min(bytes.len()));
        large.missing -= of_value.len();
        large.parts.put(of_value, &mut self.chunks);
        self.buffered_bytes += of_value.len();
        rest
    }

    /// All of a large request has come: `rest` is what follows its large value, from the CRLF on.
    /// Ranges of arguments behind that value do not count from the beginning, but nobody looks at
    /// those. `false`: it was not taken in, and is kept with its client.
    pub(super) fn dispatch_large(
        &mut self,
        id: ClientId,
        mut large: Large,
        rest: &[u8],
        args: &[ArgRange],
        now: Now,
    ) -> bool {
        let bytes = large.bytes();
        self.buffered_bytes = self.buffered_bytes.saturating_sub(bytes);
        let request = Request { bytes: &large.head, ranges: args };
        let outcome = match self.has_room(id, bytes + rest.len()) {
            Ok(()) => self.dispatch(id, &request, now),
            Err(text) => self.reject(id, |out| encode::error(out, text)),
        };
        match outcome {
            Outcome::Forward { lane } => {
                self.put_lane_owned(lane, large.head);
                self.put_lane_parts(lane, &mut large.parts);
                self.put_lane(lane, rest);
            }
            Outcome::Queue => {
                self.queue_bytes_owned(id, large.head);
                self.queue_parts(id, &mut large.parts);
                self.queue_bytes(id, rest);
            }
            Outcome::Done => large.parts.clear(&mut self.chunks),
            Outcome::Postponed => {
                self.put_back(id, large, rest);
                return false;
            }
        }
        if let Some(client) = self.clients.get(id.index, id.generation) {
            self.stats.pool(client.pool, PoolMetric::RequestBytes).add(bytes as u64);
        }
        true
    }

    /// The whole of a large request waits with its client: in one piece, as any other that does.
    fn put_back(&mut self, id: ClientId, mut large: Large, rest: &[u8]) {
        let mut tail = large.head;
        large.parts.chunks().for_each(|chunk| tail.extend_from_slice(chunk));
        large.parts.clear(&mut self.chunks);
        tail.extend_from_slice(rest);
        let bytes = tail.len();
        if let Some(client) = self.open_client(id) {
            debug_assert!(client.tail.is_empty(), "what came behind it is not kept yet");
            client.tail = tail;
            self.buffered_bytes += bytes;
        }
    }
}
