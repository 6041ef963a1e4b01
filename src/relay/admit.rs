//! Admitting requests: from a client's bytes to complete requests, taken in one by one as long as
//! the client is within its bounds.

use crate::base::ids::{ClientId, PoolId};
use crate::base::limits::{PASS_ON_BYTES, STRANGER_ARGS_MAX, STRANGER_BULK_BYTES_MAX};
use crate::base::time::Now;
use crate::relay::Relay;
use crate::relay::api::{Ask, Report};
use crate::relay::client::{Client, Phase, Stall};
use crate::relay::dispatch::Outcome;
use crate::relay::large::Large;
use crate::resp::args::{ArgRange, Request};
use crate::resp::request::{
    Parsed, ProtocolError, RequestLimits, RequestParser, inline_to_multibulk,
};
use crate::stats::cells::PoolMetric;

/// A stalled client goes on being read until it has so many bytes waiting here: pausing and
/// resuming the kernel's receive costs two system calls, a short stall should not.
const STALLED_TAIL_BYTES: usize = 64 * 1024;

/// What became of the bytes given to `admit`.
struct Admitted {
    /// Bytes taken in, or to be forgotten; the rest is the beginning of a request.
    used: usize,
    /// The bytes are one large request, to be passed on whole to this place.
    pass_on: Option<Outcome>,
}

impl Relay {
    /// Bytes received, in order. Allowed for a paused client (what had been received before).
    pub fn on_client_bytes(&mut self, id: ClientId, bytes: &[u8], now: Now) {
        let Some(client) = self.open_client(id) else { return };
        client.heard_us = now.mono_us;
        let bytes = self.put_large(id, bytes);
        let Some(client) = self.open_client(id).filter(|_| !bytes.is_empty()) else { return };
        if client.tail.is_empty() && client.stall.is_none() {
            let admitted = self.admit(id, bytes, now);
            if let Some(place) = admitted.pass_on {
                return self.put(id, place, bytes); // they are lent: there is nothing to pass on
            }
            self.keep_tail(id, bytes.get(admitted.used..).unwrap_or_default());
            return;
        }
        self.keep_tail(id, bytes);
        match self.open_client(id) {
            Some(client) if client.stall.is_none() => self.admit_tail(id, now),
            _ => {}
        }
    }

    /// Goes on with a client whose stall may be over.
    pub(super) fn resume(&mut self, id: ClientId, now: Now) {
        // What was taken in is carried out, also for who is being let go.
        if let Some(client) = self.live_client(id).filter(|client| client.has_turn()) {
            client.resuming = false;
            return self.begin_turn(id, now);
        }
        let limits = match self.open_client(id) {
            Some(client) => client.pool,
            None => return,
        };
        let limits = self.pool(limits).config.limits;
        let Some(client) = self.client(id) else { return };
        client.resuming = false;
        if client.blocked.is_some() {
            return self.begin_blocking(id, now);
        }
        let over = match client.stall {
            None => true,
            Some(Stall::Inflight) => client.order.len() <= limits.client_inflight_max / 2,
            Some(Stall::Lanes) => client.order.is_empty(),
            Some(Stall::Output) => client.output_bytes() <= limits.client_output_soft_bytes / 2,
            // Told of by what they wait for, when it is over.
            Some(Stall::Lane(_) | Stall::Cores | Stall::Blocked | Stall::Turn | Stall::Pause) => {
                true
            }
        };
        if !over {
            return;
        }
        client.stall = None;
        self.admit_tail(id, now);
        if let Some(client) = self.open_client(id)
            && client.stall.is_none()
            && client.paused
        {
            client.paused = false;
            self.asks.push_back(Ask::ResumeClient(id));
        }
    }

    /// Keeps bytes that can not be taken in yet; asks for a pause when they become many.
    fn keep_tail(&mut self, id: ClientId, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let Some(client) = self.open_client(id) else { return };
        client.tail.extend_from_slice(bytes);
        let pause =
            client.stall.is_some() && !client.paused && client.tail.len() > STALLED_TAIL_BYTES;
        let pool = client.pool;
        if pause {
            client.paused = true;
        }
        self.buffered_bytes += bytes.len();
        if pause {
            self.stats.pool(pool, PoolMetric::ClientPauses).add(1);
            self.asks.push_back(Ask::PauseClient(id));
        }
    }

    /// Takes in what waits in the tail, as far as it goes.
    fn admit_tail(&mut self, id: ClientId, now: Now) {
        let Some(client) = self.open_client(id) else { return };
        let mut tail = std::mem::take(&mut client.tail);
        if tail.is_empty() {
            return;
        }
        self.buffered_bytes = self.buffered_bytes.saturating_sub(tail.len());
        let admitted = self.admit(id, &tail, now);
        match admitted.pass_on {
            Some(Outcome::Forward { lane }) => return self.put_lane_owned(lane, tail),
            Some(Outcome::Queue) => return self.queue_bytes_owned(id, tail),
            Some(Outcome::Done | Outcome::Postponed) | None => {}
        }
        let Some(client) = self.open_client(id) else { return };
        if admitted.used == tail.len() {
            return;
        }
        tail.drain(..admitted.used);
        let kept = tail.len();
        if client.tail.is_empty() {
            client.tail = tail;
        } else {
            client.tail.append(&mut tail); // behind what `put_back` kept
        }
        self.buffered_bytes += kept;
    }

    /// Takes in request after request from `bytes`, whose first byte is a request's first byte (the
    /// client's parser may have seen some of them already).
    fn admit(&mut self, id: ClientId, bytes: &[u8], now: Now) -> Admitted {
        let mut args = std::mem::take(&mut self.args);
        let mut requests = 0;
        let admitted = self.admit_with(id, bytes, (&mut args, &mut requests), now);
        if requests > 0
            && let Some(client) = self.clients.get(id.index, id.generation)
        {
            let cells = |metric| self.stats.pool(client.pool, metric);
            cells(PoolMetric::Requests).add(requests);
            cells(PoolMetric::RequestBytes).add(admitted.used as u64);
        }
        args.clear();
        self.args = args;
        admitted
    }

    fn admit_with(
        &mut self,
        id: ClientId,
        bytes: &[u8],
        (args, requests): (&mut Vec<ArgRange>, &mut u64),
        now: Now,
    ) -> Admitted {
        let Some(mut authenticated) = self.may_take_in(id) else {
            return Admitted { used: 0, pass_on: None };
        };
        let (pool, mut parser, mut large) = self.take_up(id, args);
        let limits = self.pool(pool).limits;
        let mut used = 0;
        while let Some(rest) = bytes.get(used..)
            && !rest.is_empty()
        {
            if used > 0 {
                match self.may_take_in(id) {
                    Some(state) => authenticated = state,
                    None => break,
                }
            }
            let parsed = match &large {
                None if !authenticated => parse_of_stranger(&mut parser, rest, args, &limits),
                None => parser.parse(rest, args, &limits),
                Some(large) => parser.parse(rest, args, &limits.behind(large.body_end)),
            };
            match parsed {
                Ok(Parsed::Request { bytes: length }) => {
                    let (whole, _) = rest.split_at(length.min(rest.len()));
                    if let Some(large) = large.take() {
                        used += length;
                        *requests += u64::from(self.dispatch_large(id, *large, whole, args, now));
                        args.clear();
                        parser = RequestParser::default();
                        continue;
                    }
                    let request = Request { bytes: whole, ranges: args };
                    let alone = used == 0 && length == bytes.len();
                    match self.dispatch(id, &request, now) {
                        Outcome::Done => {}
                        Outcome::Postponed => break,
                        place if alone && length >= PASS_ON_BYTES => {
                            *requests += 1;
                            return Admitted { used: length, pass_on: Some(place) };
                        }
                        place => self.put(id, place, whole),
                    }
                    *requests += 1;
                    used += length;
                }
                Ok(Parsed::Nothing { bytes }) => used += bytes,
                Ok(Parsed::Inline { bytes: length }) => {
                    let line = rest.get(..length).unwrap_or_default();
                    match self.admit_inline(id, line, &limits, now) {
                        Ok(Outcome::Postponed) => break,
                        Ok(_) => (*requests, used) = (*requests + 1, used + length),
                        Err(error) => return self.end_by_protocol_error(id, error, bytes),
                    }
                }
                Ok(Parsed::More) => {
                    let kept = self.lay_down(id, (parser, large), rest, args);
                    return Admitted { used: if kept { bytes.len() } else { used }, pass_on: None };
                }
                Err(error) => {
                    if let Some(client) = self.open_client(id) {
                        client.large = large; // to be thrown away with the rest
                    }
                    return self.end_by_protocol_error(id, error, bytes);
                }
            }
            args.clear();
            parser = RequestParser::default();
        }
        let open = self.open_client(id).is_some();
        Admitted { used: if open { used } else { bytes.len() }, pass_on: None }
    }

    /// What this client was in the middle of.
    fn take_up(
        &mut self,
        id: ClientId,
        args: &mut Vec<ArgRange>,
    ) -> (PoolId, RequestParser, Option<Box<Large>>) {
        let Some(client) = self.client(id) else {
            return (PoolId(0), RequestParser::default(), None);
        };
        // Swapped, not copied: a request of a million arguments may come byte by byte.
        if !client.tail_args.is_empty() {
            *args = std::mem::take(&mut client.tail_args);
        }
        (client.pool, std::mem::take(&mut client.parser), client.large.take())
    }

    /// The request goes on behind `rest`. `true`: that is kept already.
    fn lay_down(
        &mut self,
        id: ClientId,
        (mut parser, large): (RequestParser, Option<Box<Large>>),
        rest: &[u8],
        args: &mut Vec<ArgRange>,
    ) -> bool {
        let kept = large.is_none() && self.begin_large(id, &mut parser, rest, args);
        if let Some(client) = self.open_client(id) {
            client.parser = parser;
            if !kept {
                client.large = large;
            }
            if !args.is_empty() {
                client.tail_args = std::mem::take(args);
            }
        }
        kept
    }

    /// An inline command is written as a multibulk request, and goes the way of all others.
    fn admit_inline(
        &mut self,
        id: ClientId,
        line: &[u8],
        limits: &RequestLimits,
        now: Now,
    ) -> Result<Outcome, ProtocolError> {
        let mut multibulk = Vec::new();
        inline_to_multibulk(line, &mut multibulk)?;
        if multibulk.is_empty() {
            return Ok(Outcome::Done);
        }
        let mut ranges = Vec::new();
        let parsed = RequestParser::default().parse(&multibulk, &mut ranges, limits)?;
        if parsed == (Parsed::Request { bytes: multibulk.len() }) {
            let request = Request { bytes: &multibulk, ranges: &ranges };
            let outcome = self.dispatch(id, &request, now);
            self.put(id, outcome, &multibulk);
            return Ok(outcome);
        }
        Ok(Outcome::Done)
    }

    /// The bytes of a request, copied to its place.
    #[inline]
    fn put(&mut self, id: ClientId, place: Outcome, bytes: &[u8]) {
        match place {
            Outcome::Forward { lane } => self.put_lane(lane, bytes),
            Outcome::Queue => self.queue_bytes(id, bytes),
            Outcome::Done | Outcome::Postponed => {}
        }
    }

    /// Whether the next request of this client may be taken in; sets its stall if not. `Some` tells
    /// whether it is authenticated.
    #[inline]
    fn may_take_in(&mut self, id: ClientId) -> Option<bool> {
        let client = self.clients.get_mut(id.index, id.generation)?;
        if client.phase != Phase::Open || client.stall.is_some() {
            return None;
        }
        let limits = &self.pools[client.pool.index()].config.limits;
        if client.order.len() >= limits.client_inflight_max {
            client.stall = Some(Stall::Inflight);
        } else if client.output_bytes() >= limits.client_output_soft_bytes {
            client.stall = Some(Stall::Output);
        }
        client.stall.is_none().then_some(client.authenticated)
    }

    /// The frame is broken: the client hears why, behind its other replies, and is closed.
    fn end_by_protocol_error(
        &mut self,
        id: ClientId,
        error: ProtocolError,
        bytes: &[u8],
    ) -> Admitted {
        let admitted = Admitted { used: bytes.len(), pass_on: None };
        let Some(client) = self.open_client(id) else { return admitted };
        let (pool, peer) = (client.pool, peer_text(client));
        self.stats.pool(pool, PoolMetric::ProtocolErrors).add(1);
        self.reports.push_back(Report::ClientProtocolError { pool, peer, why: error.to_string() });
        self.answer(id, |out| error.reply(out));
        self.finish_after_replies(id);
        admitted
    }
}

/// Who has not said the password yet has no need to say much; redis draws the same line.
fn parse_of_stranger(
    parser: &mut RequestParser,
    bytes: &[u8],
    args: &mut Vec<ArgRange>,
    limits: &RequestLimits,
) -> Result<Parsed, ProtocolError> {
    let before = *parser;
    let narrow = RequestLimits {
        args_max: limits.args_max.min(STRANGER_ARGS_MAX),
        bulk_bytes_max: limits.bulk_bytes_max.min(STRANGER_BULK_BYTES_MAX),
        ..*limits
    };
    parser.parse(bytes, args, &narrow).map_err(|error| {
        // Wrong in itself, or only too much for a stranger?
        *parser = before;
        match (error, parser.parse(bytes, args, limits)) {
            (ProtocolError::MultibulkLength, Ok(_)) => ProtocolError::UnauthenticatedMultibulk,
            (ProtocolError::BulkLength, Ok(_)) => ProtocolError::UnauthenticatedBulk,
            (error, _) => error,
        }
    })
}

pub(super) fn peer_text(client: &Client) -> String {
    match &client.peer {
        crate::relay::api::Peer::Tcp { peer, .. } => peer.to_string(),
        crate::relay::api::Peer::Unix { path } => format!("unix:{path}"),
    }
}
