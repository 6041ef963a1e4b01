//! The state of one core, and its turn.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::balance::Balance;
use super::clock::Clock;
use super::conn::{Conn, Conns, Door};
use super::heart::Heart;
use super::pace::Pace;
use super::{CoreEvent, CoreSetup, EverySecond, Log};
use crate::base::ids::ClientId;
use crate::base::limits::{DRAIN_LOOK_MS, IDLE_TICK_MS, PASS_ON_BYTES};
use crate::base::time::{Now, US_PER_MS};
use crate::config::model::{Config, LogLevel};
use crate::mailbox::{Letter, Mailbox, MailboxSender};
use crate::net::boot::BootError;
use crate::net::buffers::Received;
use crate::net::event::{Event, Rest, SocketId};
use crate::net::features::Features;
use crate::net::ring::Patience;
use crate::net::sockets::Sockets;
use crate::relay::api::{Ask, Dirty};
use crate::stats::cells::{CoreMetric, CoreStats};

/// Gathering: at this moment so many clients have to be waiting …
const GATHER_CLIENTS_MIN: usize = 4;
/// … and so many events end it early.
const GATHER_EVENTS: u32 = 64;

/// See the module.
pub(super) struct Core<H> {
    pub(super) index: usize,
    pub(super) heart: H,
    pub(super) sockets: Sockets,
    pub(super) clock: Clock,
    pub(super) now: Now,
    /// See `ProxyConfig`.
    pub(super) spin_us: u64,
    pub(super) pace: Pace,
    /// Awake until then, whatever happens.
    spin_until_us: u64,
    pub(super) stats: Arc<CoreStats>,
    /// The configuration in force.
    pub(super) config: Arc<Config>,
    /// Letters about pools of a configuration that has not come yet.
    pub(super) early: Vec<Letter>,
    /// By `ListenerId`.
    pub(super) doors: Vec<Door>,
    pub(super) conns: Conns,
    /// By the index of `ClientId`, and of `LaneId`: the sockets of those that live.
    pub(super) clients: Vec<Option<SocketId>>,
    pub(super) lanes: Vec<Option<SocketId>>,
    pub(super) half_closed: Vec<SocketId>,
    /// By deadline, as it was when they were put in.
    pub(super) farewells: VecDeque<SocketId>,
    /// Their writes have waited for the peer, and are done: there may be more to send.
    pub(super) again: Vec<Dirty>,
    /// Clients whose first replies wait for the others: until the next turn, whatever comes.
    pub(super) held_back: VecDeque<ClientId>,
    /// Something was written this turn.
    pub(super) wrote: bool,
    /// Somebody waits to hear that it went through: see `sleep_us`.
    pub(super) hurry: bool,
    /// Accepting was stopped for want of descriptors, until then.
    pub(super) accept_again_us: Option<u64>,
    /// That has been said.
    pub(super) accept_failing: bool,
    /// No more clients; the end comes at this time, or when the last has left.
    pub(super) drain_until_us: Option<u64>,
    /// Who is still here then is let go with the replies that are owed.
    pub(super) dismiss_us: Option<u64>,
    /// It drains, and the kernel hands over no connection any more.
    pub(super) closed: bool,
    pub(super) stopped: bool,
    pub(super) mailbox: Mailbox,
    pub(super) peers: Vec<MailboxSender>,
    pub(super) balance: Arc<Balance>,
    pub(super) log: Log,
    every_second: EverySecond<H>,
}

impl<H: Heart> Core<H> {
    /// A core on the calling thread, listening.
    pub(super) fn new(setup: CoreSetup<H>, heart: H, clock: Clock) -> Result<Core<H>, BootError> {
        let mut sockets = Sockets::new(setup.features)?;
        sockets.watch(setup.mailbox.wake_fd());
        let now = clock.now();
        let mut core = Core {
            index: setup.index,
            heart,
            sockets,
            clock,
            now,
            spin_us: setup.config.proxy.spin_us,
            pace: Pace::new(setup.config.proxy.batch_us, now.mono_us),
            spin_until_us: 0,
            stats: setup.stats[setup.index].clone(),
            config: setup.config,
            doors: Vec::new(),
            early: Vec::new(),
            conns: Conns::default(),
            clients: Vec::new(),
            lanes: Vec::new(),
            half_closed: Vec::new(),
            farewells: VecDeque::new(),
            again: Vec::new(),
            held_back: VecDeque::new(),
            wrote: false,
            hurry: false,
            accept_again_us: None,
            accept_failing: false,
            drain_until_us: None,
            dismiss_us: None,
            closed: false,
            stopped: false,
            mailbox: setup.mailbox,
            peers: setup.peers,
            balance: setup.balance,
            log: setup.log,
            every_second: setup.every_second,
        };
        setup.listeners.into_iter().for_each(|listener| core.add_door(listener));
        Ok(core)
    }

    pub(super) fn features(&self) -> Features {
        self.sockets.features()
    }

    /// One turn: what the heart made of the last one goes out, and what has happened comes in, with
    /// one system call between them. `Break`: the core has been told to end, and has.
    pub(super) fn turn(&mut self) -> io::Result<ControlFlow<()>> {
        self.heart.on_turn(self.now);
        self.carry_out_asks();
        self.flush();
        self.look_after_half_closed();
        while let Some(report) = self.heart.next_report() {
            (self.log)(CoreEvent::Report(report));
        }
        if self.is_over() {
            return Ok(ControlFlow::Break(()));
        }
        let patience = self.patience();
        self.wrote = false;
        self.hurry = false;
        self.sockets.enter(patience)?;
        self.now = self.clock.now();
        self.stats.core(CoreMetric::Turns).add(1);
        let mut received = 0;
        while let Some(event) = self.sockets.next_event() {
            received += u64::from(matches!(event, Event::Bytes { .. }));
            self.spin_until_us = self.now.mono_us + self.spin_us;
            self.on_event(event);
        }
        self.pace.note(received, self.conns.waiting(), self.now.mono_us);
        while let Some(chunk) = self.sockets.next_spent() {
            self.heart.recycle(chunk);
        }
        debug_assert_eq!(self.sockets.buffers_taken(), 0);
        self.on_time();
        Ok(ControlFlow::Continue(()))
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Bytes { socket, bytes } => self.on_bytes(socket, bytes),
            Event::Sent { socket, bytes, rest } => self.on_sent(socket, bytes, rest),
            Event::Ended { socket, errno } => match self.conn(socket) {
                Conn::Lane { id } => self.lose_lane(socket, id, errno),
                _ => self.on_client_ended(socket, errno),
            },
            Event::SendFailed { socket, errno } => match self.conn(socket) {
                Conn::Lane { id } => self.lose_lane(socket, id, errno),
                _ => self.on_client_failed(socket, errno),
            },
            Event::Accepted { listener, socket } => self.on_accepted(listener, socket),
            Event::AcceptFailed { listener, errno } => self.on_accept_failed(listener, errno),
            Event::Connected { socket } => self.on_connected(socket),
            Event::ConnectFailed { socket, errno } => {
                if let Conn::Lane { id } = self.conn(socket) {
                    self.lose_lane(socket, id, errno);
                }
            }
            Event::Woken => self.read_letters(),
        }
    }

    fn on_bytes(&mut self, socket: SocketId, bytes: Received) {
        let large = bytes.len() >= PASS_ON_BYTES;
        match self.conn(socket) {
            Conn::Client { id, .. } => {
                if large && self.heart.client_takes_chunk(id, bytes.len()) {
                    let chunk = self.sockets.keep(bytes);
                    return self.heart.on_client_chunk(id, chunk, self.now);
                }
                self.heart.on_client_bytes(id, self.sockets.bytes(&bytes), self.now);
                let waiting = self.heart.waits(id);
                self.set_waiting(socket, waiting);
            }
            Conn::Lane { id } => {
                if large && self.heart.lane_takes_chunk(id, bytes.len()) {
                    let chunk = self.sockets.keep(bytes);
                    return self.heart.on_lane_chunk(id, chunk, self.now);
                }
                self.heart.on_lane_bytes(id, self.sockets.bytes(&bytes), self.now);
            }
            Conn::Farewell(_) => self.swallow(socket, bytes.len()),
            Conn::HalfClosed { .. } | Conn::Free => {}
        }
        self.sockets.give_back(bytes);
    }

    fn on_sent(&mut self, socket: SocketId, bytes: usize, rest: Rest) {
        let more = rest == Rest::NothingAfterWaiting;
        match self.conn(socket) {
            Conn::Client { id, .. } | Conn::HalfClosed { id } => {
                self.heart.on_client_sent(id, bytes);
                if more {
                    self.again.push(Dirty::Client(id));
                }
            }
            Conn::Lane { id } => {
                self.heart.on_lane_sent(id, bytes);
                if more {
                    self.again.push(Dirty::Lane(id));
                }
            }
            Conn::Farewell(farewell) => {
                if let Some(id) = farewell.id {
                    self.heart.on_client_sent(id, bytes);
                }
                self.go_on_with_farewell(socket, rest != Rest::Underway);
            }
            Conn::Free => {}
        }
    }

    fn read_letters(&mut self) {
        self.mailbox.begin();
        while let Some(letter) = self.mailbox.next() {
            self.read_letter(letter);
        }
    }

    pub(super) fn read_letter(&mut self, letter: Letter) {
        match letter {
            Letter::Topology(topology) => self.follow(topology),
            Letter::Shared(news) => self.heart.on_shared(news, self.now),
            Letter::Client { pool, .. } if !self.knows(pool) => self.early.push(letter),
            Letter::Client { pool, socket } => self.open_client(pool, socket),
            Letter::Listen(ref listeners) if !listeners.iter().all(|it| self.knows(it.pool)) => {
                self.early.push(letter);
            }
            Letter::Listen(listeners) => {
                listeners.into_iter().for_each(|listener| self.open_door(listener));
            }
            Letter::AcceptAnew => self.doors.iter().for_each(|it| self.sockets.accept_anew(it.id)),
            Letter::Drain { grace_ms } => self.drain(grace_ms),
            Letter::Stop => self.stopped = true,
        }
    }

    fn on_time(&mut self) {
        self.end_farewells();
        self.look_whether_closed();
        if self.dismiss_us.is_some_and(|at| at <= self.now.mono_us) {
            self.dismiss_us = None;
            self.heart.dismiss(self.now);
        }
        if self.accept_again_us.is_some_and(|at| at <= self.now.mono_us) {
            self.accept_again();
        }
    }

    fn carry_out_asks(&mut self) {
        while let Some(ask) = self.heart.next_ask() {
            match ask {
                Ask::Connect { lane, endpoint } => self.connect_lane(lane, &endpoint),
                Ask::CloseLane(lane) => self.close_lane(lane),
                Ask::FinishClient(client) => self.finish_client(client),
                Ask::DropClient(client) => self.drop_client(client),
                Ask::PauseClient(client) => self.pause_client(client),
                Ask::ResumeClient(client) => self.resume_client(client),
                Ask::Share(news) => {
                    for (index, peer) in self.peers.iter().enumerate() {
                        if index != self.index {
                            // A script that does not fit is loaded again when that core needs it.
                            let _ = peer.send(Letter::Shared(news.clone()));
                        }
                    }
                }
                Ask::Tell { core, news } => {
                    if let Some(peer) = self.peers.get(usize::from(core)) {
                        // The heart does not wait for ever for an answer to one that does not fit.
                        let _ = peer.send(Letter::Shared(news));
                    }
                }
            }
        }
    }

    /// One write for each connection that has something to send. While the core gathers, replies to
    /// the first requests of a pipeline are held back for one turn if others are still to come:
    /// most often they come in that turn, from another shard, and one write takes them all.
    fn flush(&mut self) {
        let ending = self.stopped || self.drain_until_us.is_some();
        let gathers = self.gathers() && !ending;
        while let Some(id) = self.held_back.pop_front() {
            self.send_output(Dirty::Client(id));
        }
        while let Some(of) = self.heart.next_dirty() {
            match of {
                Dirty::Client(id) if gathers && self.heart.may_hold_back(id) => {
                    self.held_back.push_back(id);
                }
                _ => self.send_output(of),
            }
        }
        while let Some(of) = self.again.pop() {
            self.send_output(of);
        }
    }

    /// While a write is under way nothing is taken; its completion leads here again.
    pub(super) fn send_output(&mut self, of: Dirty) {
        let socket = match of {
            Dirty::Client(id) => self.client_socket(id),
            Dirty::Lane(id) => self.lane_socket(id),
        };
        let Some(socket) = socket else { return };
        let Some(chunks) = self.sockets.outgoing(socket) else { return };
        if self.heart.take_output(of, chunks) > 0 {
            self.sockets.send(socket);
            self.stats.core(CoreMetric::Writes).add(1);
            self.wrote = true;
            if let Dirty::Client(id) = of {
                let waiting = self.heart.waits(id);
                self.set_waiting(socket, waiting);
            }
        }
    }

    fn set_waiting(&mut self, socket: SocketId, now: bool) {
        if let Conn::Client { id, paused, waiting } = self.conn(socket)
            && waiting != now
        {
            self.set_conn(socket, Conn::Client { id, paused, waiting: now });
        }
    }

    /// While many clients wait for replies and bytes come fast, more are about to come, and all
    /// together cost little more than one: the core gathers them, for `batch_us` at most. For few
    /// clients, or at a slow pace, nothing is held up.
    fn gathers(&self) -> bool {
        self.conns.waiting() >= GATHER_CLIENTS_MIN
            && self.pace.gather_us() > 0
            && self.features().min_wait
    }

    /// How the core sleeps.
    fn patience(&self) -> Patience {
        let mut max_us = self.sleep_us();
        if !self.held_back.is_empty() {
            max_us = max_us.min(self.pace.gather_us());
        }
        if !self.gathers() {
            return Patience { max_us, events: 1, gather_us: 0 };
        }
        let gather_us = u32::try_from(self.pace.gather_us()).unwrap_or(u32::MAX);
        Patience { max_us, events: GATHER_EVENTS, gather_us }
    }

    fn is_over(&self) -> bool {
        let drained = |until| until <= self.now.mono_us || self.is_quiet();
        self.stopped || self.drain_until_us.is_some_and(drained)
    }

    /// Nobody is here, and nobody comes.
    fn is_quiet(&self) -> bool {
        self.heart.is_quiet() && self.balance.is_over(self.index)
    }

    /// How long the core may sleep: until the next deadline, but not longer than a tick.
    ///
    /// A write that goes through at once says so only after the next event; where somebody waits to
    /// hear it (a client is paused, a goodbye is under way), the core does not sleep on it.
    fn sleep_us(&self) -> u64 {
        let spinning = self.now.mono_us < self.spin_until_us;
        if spinning || self.hurry || (self.wrote && self.conns.paused() > 0) {
            return 0;
        }
        let mut until = self.now.mono_us + IDLE_TICK_MS * US_PER_MS;
        let farewell = self.farewells.front().map(|first| match self.conn(*first) {
            Conn::Farewell(farewell) => farewell.deadline_us,
            _ => 0,
        });
        // Nobody wakes it when the other cores have closed.
        let alone = self.drain_until_us.filter(|_| self.heart.is_quiet());
        let look = alone.map(|_| self.now.mono_us + DRAIN_LOOK_MS * US_PER_MS);
        let (heart, again) = (self.heart.next_deadline(), self.accept_again_us);
        for deadline in [heart, again, self.dismiss_us, self.drain_until_us, farewell, look] {
            until = until.min(deadline.unwrap_or(u64::MAX));
        }
        until.saturating_sub(self.now.mono_us)
    }

    pub(super) fn every_second(&mut self) {
        (self.every_second)(&mut self.heart, self.now);
    }

    pub(super) fn note(&mut self, level: LogLevel, text: String) {
        (self.log)(CoreEvent::Note { level, text });
    }

    pub(super) fn conn(&self, socket: SocketId) -> Conn {
        self.conns.get(socket)
    }

    pub(super) fn set_conn(&mut self, socket: SocketId, conn: Conn) {
        self.conns.set(socket, conn);
    }
}
