//! The names of sockets, and what is told of them.
//!
//! Made by `sockets` and its other half, `completions`; read by `reactor`.

use std::os::fd::OwnedFd;

use super::buffers::Received;
use super::ring::{Kind, Token};

/// A connected (or connecting) socket; dead after `close`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl SocketId {
    /// Below the largest number of sockets that were ever open at once; used again after `close`.
    pub fn index(self) -> usize {
        self.index as usize
    }

    pub(super) fn token(self, kind: Kind) -> Token {
        Token { kind, index: self.index, generation: self.generation }
    }
}

/// A listening socket, by the order in which they were handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerId(pub(super) u32);

impl ListenerId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What has happened.
#[derive(Debug)]
pub enum Event {
    Accepted {
        listener: ListenerId,
        socket: OwnedFd,
    },
    /// Accepting has stopped (out of descriptors or memory); `accept` starts it again.
    AcceptFailed {
        listener: ListenerId,
        errno: i32,
    },
    /// To be given back by [`Sockets::give_back`].
    Bytes {
        socket: SocketId,
        bytes: Received,
    },
    /// Nothing more will be received: 0 for an end of file, or an error number.
    Ended {
        socket: SocketId,
        errno: i32,
    },
    Connected {
        socket: SocketId,
    },
    ConnectFailed {
        socket: SocketId,
        errno: i32,
    },
    /// So many bytes have gone to the kernel.
    Sent {
        socket: SocketId,
        bytes: usize,
        rest: Rest,
    },
    /// Nothing more can be sent.
    SendFailed {
        socket: SocketId,
        errno: i32,
    },
    /// Somebody has used the wake descriptor.
    Woken,
}

/// What a write has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing, and it went through at once, within the turn that began it.
    Nothing,
    /// Nothing, after having waited for the peer.
    NothingAfterWaiting,
    /// The next write has been started already.
    Underway,
}
