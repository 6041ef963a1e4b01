//! All sockets of one core and the ring that serves them: the safe surface of this room.
//!
//! A socket is handed in as an owned descriptor and named by a [`SocketId`] from then on. Its
//! record owns everything the kernel may still touch, and outlives a `close` until the last
//! completion is in. No event is ever told of a socket after its `close`.
//!
//! One turn: [`Sockets::enter`] submits and sleeps, [`Sockets::next_event`] until `None`, then
//! whatever the caller has to send. Called by `reactor` only, on the one thread that made it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::{opcode, squeue, types};
use socket2::SockAddr;

use super::boot::BootError;
use super::buffers::{self, ReceiveBuffers, Received};
use super::event::SocketId;
use super::features::Features;
use super::listening::{Listening, Wake};
use super::outgoing::{Leftovers, Outgoing, Write};
use super::ring::{Kind, Patience, Ring, Token};
use crate::base::limits::{RECEIVE_BUFFER_BYTES, RECORDS_IN_PLACE, SOCKETS_MAX};
use crate::base::slab::Slab;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    Idle,
    Armed,
    Cancelling,
    /// All buffers were taken; armed again with the next `enter`.
    Starved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    Idle,
    /// Completes only if it does not go through at once; the number tells it from others of the
    /// same socket.
    Quietly(u32),
    Underway,
}

/// The record of one socket.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    pub(super) outgoing: Outgoing,
    /// Of the write under way.
    pub(super) write_bytes: u32,
    pub(super) sending: Sending,
    pub(super) receiving: Receiving,
    pub(super) wanted: bool,
    pub(super) closing: bool,
    /// While it connects.
    pub(super) address: Option<Box<SockAddr>>,
}

impl Socket {
    /// The kernel still has something of this record.
    fn is_busy(&self) -> bool {
        self.sending != Sending::Idle
            || matches!(self.receiving, Receiving::Armed | Receiving::Cancelling)
            || self.address.is_some()
    }
}

/// All sockets of one core. See the module.
#[derive(Debug)]
pub struct Sockets {
    // The ring is first, so that it is closed before any memory is freed.
    pub(super) ring: Ring,
    pub(super) buffers: ReceiveBuffers,
    pub(super) records: Slab<Socket>,
    pub(super) listeners: Vec<Listening>,
    pub(super) wake: Option<Wake>,
    /// Operations that still have a completion to come (or a quiet send's settling).
    pub(super) underway: usize,
    pub(super) starved: Vec<SocketId>,
    /// Quiet sends, in the order in which they were begun.
    pub(super) quiet: VecDeque<(SocketId, u32)>,
    /// So many of them have been submitted, and have completed unless their completion is in.
    pub(super) settled: usize,
    quiet_number: u32,
    pub(super) leftovers: Leftovers,
}

impl Sockets {
    /// A ring and its buffers for the calling thread, with those of the `wanted` features that the
    /// kernel has.
    pub fn new(wanted: Features) -> Result<Sockets, BootError> {
        let mut ring = Ring::new(wanted)?;
        let buffers = ReceiveBuffers::new(&mut ring)?;
        let mut sockets = Sockets {
            ring,
            buffers,
            records: Slab::with_capacity(RECORDS_IN_PLACE),
            listeners: Vec::new(),
            wake: None,
            underway: 0,
            starved: Vec::new(),
            quiet: VecDeque::new(),
            settled: 0,
            quiet_number: 0,
            leftovers: Leftovers::default(),
        };
        super::trial::quiet_sends(&mut sockets)?;
        Ok(sockets)
    }

    pub fn features(&self) -> Features {
        self.ring.features()
    }

    /// Takes in a connected socket. Gives it back if there are [`SOCKETS_MAX`] already.
    pub fn add(&mut self, fd: OwnedFd) -> Result<SocketId, OwnedFd> {
        if self.records.len() >= SOCKETS_MAX {
            return Err(fd);
        }
        let (index, generation) = self.records.insert(Socket {
            fd,
            outgoing: Outgoing::default(),
            write_bytes: 0,
            sending: Sending::Idle,
            receiving: Receiving::Idle,
            wanted: false,
            closing: false,
            address: None,
        });
        Ok(SocketId { index, generation })
    }

    /// Connects a socket that was just added; answered by `Connected` or `ConnectFailed`.
    pub fn connect(&mut self, id: SocketId, address: SockAddr) {
        let Some(socket) = self.records.get_mut(id.index, id.generation) else { return };
        let address = Box::new(address);
        let entry = opcode::Connect::new(
            types::Fd(socket.fd.as_raw_fd()),
            address.as_ptr().cast(),
            address.len(),
        )
        .build()
        .user_data(id.token(Kind::Connect).to_user_data());
        socket.address = Some(address);
        self.underway += 1;
        // SAFETY: descriptor and boxed address belong to the record, which stays until the
        // completion is in (`is_busy`).
        unsafe { self.ring.push(entry) };
    }

    /// Receive until `pause`, the end of the connection, or `close`.
    pub fn receive(&mut self, id: SocketId) {
        let Some(socket) = self.records.get_mut(id.index, id.generation) else { return };
        socket.wanted = true;
        self.arm_receive(id);
    }

    /// Receive no more. Bytes that the kernel has handed over already are still told.
    pub fn pause(&mut self, id: SocketId) {
        let Some(socket) = self.records.get_mut(id.index, id.generation) else { return };
        socket.wanted = false;
        if socket.receiving == Receiving::Armed {
            socket.receiving = Receiving::Cancelling;
            self.cancel(id.token(Kind::Receive));
        }
    }

    pub(super) fn arm_receive(&mut self, id: SocketId) {
        let Some(socket) = self.records.get_mut(id.index, id.generation) else { return };
        let idle = matches!(socket.receiving, Receiving::Idle);
        if !idle || !socket.wanted || socket.closing {
            return;
        }
        let fd = types::Fd(socket.fd.as_raw_fd());
        let entry = if self.ring.features().multishot_receive {
            opcode::RecvMulti::new(fd, buffers::GROUP).build()
        } else {
            opcode::Recv::new(fd, std::ptr::null_mut(), RECEIVE_BUFFER_BYTES as u32)
                .buf_group(buffers::GROUP)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT)
        };
        socket.receiving = Receiving::Armed;
        self.underway += 1;
        // SAFETY: the descriptor belongs to the record, which stays until the last completion is
        // in; the memory is that of the receive buffers, which the ring is closed before.
        unsafe { self.ring.push(entry.user_data(id.token(Kind::Receive).to_user_data())) };
    }

    /// The chunks that wait to be sent, to put more behind them; `None` while a write is under way,
    /// and for a dead socket. Follow it by `send`.
    pub fn outgoing(&mut self, id: SocketId) -> Option<&mut VecDeque<Vec<u8>>> {
        let socket = self.records.get_mut(id.index, id.generation)?;
        let free = socket.sending == Sending::Idle && !socket.closing;
        free.then(|| socket.outgoing.chunks())
    }

    /// Sends what waits, in one write; answered by `Sent` or `SendFailed`. Does nothing while a
    /// write is under way, or if nothing waits.
    pub fn send(&mut self, id: SocketId) {
        if self.ring.features().quiet_sends {
            self.quiet_number = self.quiet_number.wrapping_add(1);
            if self.write(id, Sending::Quietly(self.quiet_number)) {
                self.quiet.push_back((id, self.quiet_number));
            }
        } else {
            self.write(id, Sending::Underway);
        }
    }

    /// `true`: a write has been begun.
    pub(super) fn write(&mut self, id: SocketId, how: Sending) -> bool {
        let Some(socket) = self.records.get_mut(id.index, id.generation) else { return false };
        if socket.sending != Sending::Idle || socket.closing {
            return false;
        }
        let Some(write) = socket.outgoing.next_write(&mut self.leftovers) else { return false };
        let fd = types::Fd(socket.fd.as_raw_fd());
        let quiet = matches!(how, Sending::Quietly(_));
        // MSG_WAITALL: the kernel goes on by itself after a short write; with MSG_DONTWAIT a short
        // write fails instead, which is what makes it complete at all.
        let flags = libc::MSG_NOSIGNAL
            | if quiet { libc::MSG_DONTWAIT } else { 0 }
            | if self.ring.features().quiet_sends { libc::MSG_WAITALL } else { 0 };
        let mut entry = match write {
            Write::One { start, bytes } => opcode::Send::new(fd, start, bytes).flags(flags).build(),
            Write::Several { header, .. } => {
                opcode::SendMsg::new(fd, header).flags(flags as u32).build()
            }
        };
        let kind = if quiet { Kind::QuietSend } else { Kind::Send };
        entry = entry.user_data(id.token(kind).to_user_data());
        if quiet {
            entry = entry.flags(squeue::Flags::SKIP_SUCCESS);
        }
        socket.sending = how;
        socket.write_bytes = write.bytes();
        self.underway += 1;
        // SAFETY: descriptor, chunks and vectors belong to the record, which stays until the
        // completion is in (`is_busy`), and nobody gets at them before that: `outgoing` gives
        // nothing, `close` leaves them.
        unsafe { self.ring.push(entry) };
        true
    }

    /// Ends a connection: no further event of it is told. What is being written at this moment
    /// still goes out if it does so at once; the descriptor is closed when the kernel is done.
    pub fn close(&mut self, id: SocketId) {
        let Some(socket) = self.records.get_mut(id.index, id.generation) else { return };
        if socket.closing {
            return;
        }
        socket.closing = true;
        socket.wanted = false;
        let receiving = socket.receiving == Receiving::Armed;
        let sending = socket.sending == Sending::Underway;
        let connecting = socket.address.is_some();
        if receiving {
            socket.receiving = Receiving::Cancelling;
            self.cancel(id.token(Kind::Receive));
        }
        if sending {
            self.cancel(id.token(Kind::Send));
        }
        if connecting {
            self.cancel(id.token(Kind::Connect));
        }
        self.bury(id);
    }

    /// Removes the record of a closed socket if the kernel has nothing of it any more.
    pub(super) fn bury(&mut self, id: SocketId) {
        let Some(socket) = self.records.get_mut(id.index, id.generation) else { return };
        if !socket.closing || socket.is_busy() {
            return;
        }
        socket.outgoing.take_all(&mut self.leftovers);
        self.records.remove(id.index, id.generation);
    }

    pub(super) fn cancel(&mut self, token: Token) {
        let mut entry = opcode::AsyncCancel::new(token.to_user_data())
            .build()
            .user_data(Token::OTHER.to_user_data());
        if self.ring.features().quiet_sends {
            entry = entry.flags(squeue::Flags::SKIP_SUCCESS);
        }
        // SAFETY: names no memory and no descriptor.
        unsafe { self.ring.push(entry) };
    }

    /// The descriptor of a socket, for options and addresses.
    pub fn descriptor(&self, id: SocketId) -> Option<&OwnedFd> {
        self.records.get(id.index, id.generation).map(|socket| &socket.fd)
    }

    /// One system call: submits all that was asked for, sleeps until there are events, and takes
    /// them in. Errors are those of the ring itself; the core can not go on after one.
    pub fn enter(&mut self, patience: Patience) -> io::Result<()> {
        // Buffers were given back since, or are about to be by what is under way.
        while let Some(id) = self.starved.pop() {
            if let Some(socket) = self.records.get_mut(id.index, id.generation)
                && socket.receiving == Receiving::Starved
            {
                socket.receiving = Receiving::Idle;
                self.arm_receive(id);
            }
        }
        self.buffers.offer();
        if self.ring.enter(patience)? {
            self.settled = self.quiet.len();
        }
        Ok(())
    }

    /// What was received, to be read where it lies.
    pub fn bytes<'a>(&'a self, received: &'a Received) -> &'a [u8] {
        self.buffers.bytes(received)
    }

    /// Gives a receive buffer back to the kernel.
    pub fn give_back(&mut self, received: Received) {
        self.buffers.give_back(received, &mut self.ring);
    }

    /// Keeps what was received, with its memory; the kernel gets other memory for the next.
    pub fn keep(&mut self, received: Received) -> Vec<u8> {
        self.buffers.keep(received, &mut self.ring)
    }

    /// A chunk whose bytes have all gone, or never will; those that were receive buffers become
    /// that again.
    pub fn next_spent(&mut self) -> Option<Vec<u8>> {
        while let Some(chunk) = self.leftovers.spent.pop() {
            if let Some(chunk) = self.buffers.reuse(chunk) {
                return Some(chunk);
            }
        }
        None
    }

    /// Sockets that are open, closed ones that the kernel still has something of included.
    pub fn open(&self) -> usize {
        self.records.len()
    }

    /// Receive buffers that are in nobody's hands but ours; 0 between two turns.
    pub fn buffers_taken(&self) -> usize {
        self.buffers.taken()
    }
}
