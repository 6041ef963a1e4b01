//! What the relay knows of one client.

use crate::base::buffer::{ChunkPool, Outbox};
use crate::base::ids::{ClientId, PoolId};
use crate::base::limits::HELD_BACK_BYTES_MAX;
use crate::relay::Relay;
use crate::relay::api::Peer;
use crate::relay::blocking::Blocked;
use crate::relay::large::Large;
use crate::relay::order::Order;
use crate::relay::private::Loan;
use crate::relay::recent::Recent;
use crate::relay::transaction::Transaction;
use crate::relay::wait::Writes;
use crate::resp::Protocol;
use crate::resp::args::ArgRange;
use crate::resp::request::RequestParser;

/// A downstream connection. An idle one owns no buffer: `tail`, `tail_args`, `order` and `outbox`
/// give their memory back when they run empty.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) pool: PoolId,
    pub(super) phase: Phase,
    pub(super) protocol: Protocol,
    pub(super) database: u32,
    /// Index of the lanes for this protocol and database, in `Relay::lane_sets`.
    pub(super) lane_set: u32,
    pub(super) authenticated: bool,

    /// Bytes received that are not yet taken in: an unfinished request, or, while `stall` is set,
    /// any number of requests. `tail[0]` is the first byte of a request (or of what follows the
    /// large value of `large`).
    pub(super) tail: Vec<u8>,
    /// How far the parser is with the request at `tail[0]`.
    pub(super) parser: RequestParser,
    /// The arguments of that request found so far.
    pub(super) tail_args: Vec<ArgRange>,
    /// A large request under way; what follows its large argument goes to `tail`.
    pub(super) large: Option<Box<Large>>,
    /// What it has asked for since MULTI.
    pub(super) transaction: Option<Box<Transaction>>,

    pub(super) order: Order,
    pub(super) outbox: Outbox,
    /// Bytes that the reactor took out of the outbox and has not yet given to the kernel.
    pub(super) sending_bytes: usize,
    /// Bytes of replies that came early and wait in their slots.
    pub(super) held_bytes: usize,
    /// Stands in the dirty list.
    pub(super) dirty: bool,
    /// Requests are not taken in.
    pub(super) stall: Option<Stall>,
    /// Stands in the list of those whose stall may be over.
    pub(super) resuming: bool,
    /// The reactor was asked not to read.
    pub(super) paused: bool,
    /// It has said goodbye: nothing waits on its behalf longer than it must.
    pub(super) leaving: bool,
    /// MONITOR: it sees what others ask, and may ask little itself.
    pub(super) monitors: bool,
    pub(super) writes: Writes,
    /// Its private connection.
    pub(super) loan: Loan,
    /// What it blocks on.
    pub(super) blocked: Option<Box<Blocked>>,
    /// Where reads go to replicas.
    pub(super) recent: Recent,

    /// CLIENT ID: unique over all cores, see `query::client_number`.
    pub(super) number: u64,
    pub(super) opened_us: u64,
    pub(super) heard_us: u64,
    pub(super) peer: Peer,
    pub(super) last_command: &'static str,
    pub(super) names: Option<Box<Names>>,
}

/// Names that a client gave itself.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) name: Vec<u8>,
    pub(super) lib_name: Vec<u8>,
    pub(super) lib_version: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// No more requests; closed as soon as the replies to those before have left.
    Closing,
    /// The reactor was asked to close it; nothing is read or written any more.
    Closed,
}

/// Why no more requests of a client are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stall {
    /// Too many of its requests are unanswered.
    Inflight,
    /// Too many bytes wait for it.
    Output,
    /// The lane with this index is full.
    Lane(u32),
    /// It goes to other lanes: what it asked for on the old ones (or of a replica) has to be done
    /// before.
    Lanes,
    /// Other cores were asked on its behalf.
    Cores,
    /// It blocks, or will when what it asked for before is answered.
    Blocked,
    /// CLIENT PAUSE.
    Pause,
}

impl Relay {
    /// Whether replies to this client are still to come.
    pub fn waits(&self, id: ClientId) -> bool {
        let client = self.clients.get(id.index, id.generation);
        client.is_some_and(|client| !client.order.is_empty() && !client.blocks())
    }

    /// Whether more replies are to come, and what waits to be sent is little: the first replies of
    /// a pipeline over several shards may leave together with the others.
    pub fn may_hold_back(&self, id: ClientId) -> bool {
        let client = self.clients.get(id.index, id.generation);
        client.is_some_and(|client| {
            !client.order.is_empty()
                && !client.blocks()
                && (1..=HELD_BACK_BYTES_MAX).contains(&client.outbox.bytes())
        })
    }

    /// Whether a client that has said goodbye (FIN) still waits for replies: it is closed when that
    /// is over.
    pub fn owes(&mut self, id: ClientId) -> bool {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return false };
        client.leaving = true;
        if client.blocks() {
            return !client.outbox.is_empty(); // nothing is popped for who does not wait for it
        }
        // One that is stalled has requests in its tail that are not taken in yet.
        !client.order.is_empty() || !client.outbox.is_empty() || client.stall.is_some()
    }
}

impl Client {
    pub(super) fn new(pool: PoolId, number: u64, peer: Peer, now_us: u64) -> Client {
        Client {
            pool,
            phase: Phase::Open,
            protocol: Protocol::Resp2,
            database: 0,
            lane_set: 0,
            authenticated: true,
            tail: Vec::new(),
            parser: RequestParser::default(),
            tail_args: Vec::new(),
            large: None,
            transaction: None,
            order: Order::default(),
            outbox: Outbox::default(),
            sending_bytes: 0,
            held_bytes: 0,
            dirty: false,
            stall: None,
            resuming: false,
            paused: false,
            leaving: false,
            monitors: false,
            writes: Writes::default(),
            loan: Loan::None,
            blocked: None,
            recent: Recent::default(),
            number,
            opened_us: now_us,
            heard_us: now_us,
            peer,
            last_command: "",
            names: None,
        }
    }

    /// Bytes that wait to be given to the kernel, or in a slot for those before them.
    pub(super) fn output_bytes(&self) -> usize {
        self.outbox.bytes() + self.sending_bytes + self.held_bytes
    }

    /// Bytes of memory that this client's buffers hold.
    pub(super) fn buffered_bytes(&self) -> usize {
        let large = self.large.as_ref().map_or(0, |large| large.bytes());
        let blocked = self.blocked.as_ref().map_or(0, |blocked| blocked.bytes());
        let queued = self.transaction.as_ref().map_or(0, |queued| queued.requests.bytes());
        self.output_bytes() + self.tail.len() + large + blocked + queued
    }

    /// It blocks: nothing of its own is under way but that.
    pub(super) fn blocks(&self) -> bool {
        self.blocked.is_some() && self.order.len() <= 1
    }

    /// Gives back what its buffers are made of.
    pub(super) fn give_chunks(&mut self, chunks: &mut ChunkPool) {
        self.outbox.clear(chunks);
        if let Some(large) = &mut self.large {
            large.parts.clear(chunks);
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.requests.clear(chunks);
        }
    }

    pub(super) fn names_mut(&mut self) -> &mut Names {
        self.names.get_or_insert_default()
    }

    pub(super) fn name(&self) -> &[u8] {
        self.names.as_ref().map_or(&[], |names| &names.name)
    }
}
