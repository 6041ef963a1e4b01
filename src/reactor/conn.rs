//! What each socket of a core is for, kept beside the ring's record under the same index.

use crate::base::ids::{ClientId, LaneId, PoolId};
use crate::config::model::Listen;
use crate::net::event::{ListenerId, SocketId};

#[derive(Clone, Copy, Debug)]
pub(super) enum Conn {
    Free,
    /// `waiting`: replies to it are still to come.
    Client {
        id: ClientId,
        paused: bool,
        waiting: bool,
    },
    /// The client has said goodbye, but is still owed something.
    HalfClosed {
        id: ClientId,
    },
    /// We have said goodbye.
    Farewell(Farewell),
    Lane {
        id: LaneId,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Farewell {
    /// The heart waits to hear that it is over; `None`: it never knew this client.
    pub(super) id: Option<ClientId>,
    /// Everything was sent, and our end is shut.
    pub(super) shut: bool,
    /// The client's end is shut.
    pub(super) eof: bool,
    /// Bytes that still came.
    pub(super) swallowed: usize,
    /// When it is over in any case; moves on with every byte sent.
    pub(super) deadline_us: u64,
}

/// Where accepted connections come from.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) id: ListenerId,
    pub(super) pool: PoolId,
    pub(super) at: Listen,
    /// Nobody is let in any more.
    pub(super) closed: bool,
}

/// All of a core, with two counts over them.
#[derive(Debug, Default)]
pub(super) struct Conns {
    /// With the whole id, so that one kept too long finds nothing.
    entries: Vec<Option<(SocketId, Conn)>>,
    paused: usize,
    waiting: usize,
}

impl Conns {
    pub(super) fn get(&self, socket: SocketId) -> Conn {
        match self.entries.get(socket.index()) {
            Some(Some((id, conn))) if *id == socket => *conn,
            _ => Conn::Free,
        }
    }

    pub(super) fn set(&mut self, socket: SocketId, conn: Conn) {
        if self.entries.len() <= socket.index() {
            self.entries.resize(socket.index() + 1, None);
        }
        if let Some(entry) = self.entries.get_mut(socket.index()) {
            if let Some((_, Conn::Client { paused, waiting, .. })) = entry {
                self.paused -= usize::from(*paused);
                self.waiting -= usize::from(*waiting);
            }
            if let Conn::Client { paused, waiting, .. } = conn {
                self.paused += usize::from(paused);
                self.waiting += usize::from(waiting);
            }
            *entry = match conn {
                Conn::Free => None,
                _ => Some((socket, conn)),
            };
        }
    }

    /// Clients that are not being read.
    pub(super) fn paused(&self) -> usize {
        self.paused
    }

    /// Clients that wait for a reply.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }
}
