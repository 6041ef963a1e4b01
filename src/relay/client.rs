//! What the relay knows of one client.

use crate::base::buffer::{ChunkPool, Outbox};
use crate::base::ids::{ClientId, PoolId};
use crate::base::limits::HELD_BACK_BYTES_MAX;
use crate::base::time::Now;
use crate::relay::api::{ClientEnd, CoreIdentity, Peer, Report};
use crate::relay::blocking::Blocked;
use crate::relay::guard::Guard;
use crate::relay::large::Large;
use crate::relay::order::Order;
use crate::relay::private::Loan;
use crate::relay::query;
use crate::relay::recent::Recent;
use crate::relay::subscribe::Subscriber;
use crate::relay::tracking::Tracked;
use crate::relay::transaction::Transaction;
use crate::relay::wait::Writes;
use crate::relay::{Relay, admit};
use crate::resp::Protocol;
use crate::resp::args::ArgRange;
use crate::resp::request::RequestParser;
use crate::stats::cells::PoolMetric;

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
    /// The keys that it has said WATCH of.
    pub(super) guard: Option<Box<Guard>>,
    /// Where reads go to replicas.
    pub(super) recent: Recent,
    /// Part of a long reply has been sent, and the rest has not come yet.
    pub(super) streaming: bool,
    /// Messages wait until all replies to come have left: it has not heard yet that it is subscribed.
    pub(super) unsaid: bool,
    /// Messages that could not go out at once: see `messages`.
    pub(super) pushes: Option<Box<Outbox>>,
    pub(super) subscriber: Option<Box<Subscriber>>,
    /// CLIENT TRACKING is on.
    pub(super) tracking: Option<Box<Tracked>>,

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
    /// What it asked for has to be done before anything else is: it goes to other lanes (or was at
    /// a replica), or it subscribes, and so may become one that may ask for nothing else.
    Lanes,
    /// Other cores were asked on its behalf.
    Cores,
    /// It blocks, or will when what it asked for before is answered.
    Blocked,
    /// The same of WATCH, and of EXEC behind it.
    Turn,
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
            guard: None,
            recent: Recent::default(),
            streaming: false,
            unsaid: false,
            pushes: None,
            subscriber: None,
            tracking: None,
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
        let guard = self.guard.as_ref().map_or(0, |guard| guard.bytes());
        self.output_bytes() + self.tail.len() + large + blocked + queued + guard
    }

    /// It blocks: nothing of its own is under way but that.
    pub(super) fn blocks(&self) -> bool {
        self.blocked.is_some() && self.order.len() <= 1
    }

    /// Gives back what its buffers are made of.
    pub(super) fn give_chunks(&mut self, chunks: &mut ChunkPool) {
        self.outbox.clear(chunks);
        if let Some(pushes) = &mut self.pushes {
            pushes.clear(chunks);
        }
        if let Some(large) = &mut self.large {
            large.parts.clear(chunks);
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.requests.clear(chunks);
        }
        if let Some(transaction) = self.guard.as_mut().and_then(|guard| guard.transaction_mut()) {
            transaction.requests.clear(chunks);
        }
    }

    /// What it is subscribed to: channels, patterns and shard channels.
    pub(super) fn subscriptions(&self) -> [u32; 3] {
        self.subscriber.as_ref().map_or([0; 3], |subscriber| subscriber.counts)
    }

    pub(super) fn is_subscribed(&self) -> bool {
        self.subscriptions() != [0; 3]
    }

    /// Messages may come to it, in between its replies: see `messages`.
    pub(super) fn hears_messages(&self) -> bool {
        self.subscriber.is_some()
    }

    pub(super) fn names_mut(&mut self) -> &mut Names {
        self.names.get_or_insert_default()
    }

    pub(super) fn name(&self) -> &[u8] {
        self.names.as_ref().map_or(&[], |names| &names.name)
    }
}

impl Relay {
    /// A fresh connection. `Err`: send these bytes and close; there is no client.
    pub fn on_client_open(
        &mut self,
        pool: PoolId,
        peer: Peer,
        now: Now,
    ) -> Result<ClientId, &'static [u8]> {
        let connections = self.stats.pool(pool, PoolMetric::ClientConnections);
        let max = self.pool(pool).config.limits.client_connections_max;
        // The bound is the pool's: each core keeps its share of it.
        let share = max.div_ceil(usize::from(self.identity.cores));
        if max > 0 && connections.get() >= share as u64 {
            self.stats.pool(pool, PoolMetric::ClientsRefused).add(1);
            return Err(b"-ERR max number of clients reached\r\n");
        }
        connections.add(1);
        self.stats.pool(pool, PoolMetric::ClientConnectionsTotal).add(1);
        self.clients_opened += 1;
        let CoreIdentity { core, cores } = self.identity;
        let number = query::client_number(self.clients_opened, core, cores);
        let mut client = Client::new(pool, number, peer, now.mono_us);
        let (protocol, database) = (Protocol::Resp2, self.pool(pool).config.database);
        client.database = database;
        client.authenticated = self.pool(pool).config.client_password.is_none();
        client.lane_set = self.lane_set(pool, protocol, database);
        let (index, generation) = self.clients.insert(client);
        Ok(ClientId { index, generation })
    }

    /// Exactly once for each client; its id is dead afterwards. What it asked for and was not sent
    /// yet is sent all the same (it was taken in); the replies are dropped.
    pub fn on_client_closed(&mut self, id: ClientId, end: ClientEnd, now: Now) {
        let Some(mut client) = self.clients.remove(id.index, id.generation) else { return };
        if client.monitors {
            self.end_monitor(id);
        }
        self.buffered_bytes = self.buffered_bytes.saturating_sub(client.buffered_bytes());
        client.give_chunks(&mut self.chunks);
        client.order.clear();
        client.order.give_ring(&mut self.rings);
        if let Some(subscriber) = client.subscriber.take() {
            self.forget_subscriber(client.pool, *subscriber);
        }
        self.stats.pool(client.pool, PoolMetric::ClientConnections).sub(1);
        if let Some(tracked) = client.tracking.take() {
            self.leave_tracking(id, client.pool, &tracked);
        }
        match end {
            ClientEnd::Eof => self.stats.pool(client.pool, PoolMetric::ClientEof).add(1),
            ClientEnd::Error(_) => self.stats.pool(client.pool, PoolMetric::ClientErr).add(1),
            ClientEnd::Asked => {}
        }
        if client.blocked.is_some() {
            self.stats.pool(client.pool, PoolMetric::BlockedClients).sub(1);
        }
        self.leave_loan(id, &client, now);
    }

    /// Closes a client that holds too many bytes.
    pub(super) fn close_for_output(&mut self, id: ClientId) {
        let Some(client) = self.live_client(id) else { return };
        let (pool, bytes) = (client.pool, client.buffered_bytes());
        let subscribed = client.is_subscribed();
        let peer = admit::peer_text(client);
        self.stats.pool(pool, PoolMetric::ClientsClosedForOutput).add(1);
        if subscribed {
            self.stats.pool(pool, PoolMetric::SubscribersClosedForOutput).add(1);
        }
        self.reports.push_back(Report::ClientClosedForOutput { pool, peer, bytes });
        self.drop_client(id);
    }
}
