//! Clients: paused, resumed, told goodbye; and what becomes of those that say it themselves.

use super::conn::{Conn, Farewell};
use super::core::Core;
use super::heart::Heart;
use crate::base::ids::ClientId;
use crate::base::limits::{FAREWELL_BYTES, FAREWELL_MS};
use crate::base::time::US_PER_MS;
use crate::net::event::SocketId;
use crate::net::socket;
use crate::relay::api::{ClientEnd, Dirty};

impl<H: Heart> Core<H> {
    /// The socket of a client, unless the id is dead.
    pub(super) fn client_socket(&self, client: ClientId) -> Option<SocketId> {
        let socket = (*self.clients.get(client.index as usize)?)?;
        match self.conn(socket) {
            Conn::Client { id, .. }
            | Conn::HalfClosed { id }
            | Conn::Farewell(Farewell { id: Some(id), .. })
                if id == client =>
            {
                Some(socket)
            }
            _ => None,
        }
    }

    pub(super) fn pause_client(&mut self, client: ClientId) {
        let Some(socket) = self.client_socket(client) else { return };
        if let Conn::Client { id, paused: false, waiting } = self.conn(socket) {
            self.sockets.pause(socket);
            self.set_conn(socket, Conn::Client { id, paused: true, waiting });
        }
    }

    pub(super) fn resume_client(&mut self, client: ClientId) {
        let Some(socket) = self.client_socket(client) else { return };
        if let Conn::Client { id, paused: true, waiting } = self.conn(socket) {
            self.sockets.receive(socket);
            self.set_conn(socket, Conn::Client { id, paused: false, waiting });
        }
    }

    /// Nothing more comes from there; `errno` 0: it said so.
    pub(super) fn on_client_ended(&mut self, socket: SocketId, errno: i32) {
        if errno != 0 {
            self.on_client_failed(socket, errno);
            return;
        }
        match self.conn(socket) {
            Conn::Client { id, .. } => {
                self.set_conn(socket, Conn::HalfClosed { id });
                self.half_closed.push(socket);
            }
            Conn::Farewell(mut farewell) => {
                farewell.eof = true;
                self.set_conn(socket, Conn::Farewell(farewell));
                if farewell.shut {
                    self.close_client(socket, ClientEnd::Asked);
                }
            }
            Conn::HalfClosed { .. } | Conn::Lane { .. } | Conn::Free => {}
        }
    }

    pub(super) fn on_client_failed(&mut self, socket: SocketId, errno: i32) {
        match self.conn(socket) {
            Conn::Client { .. } | Conn::HalfClosed { .. } => {
                self.close_client(socket, ClientEnd::Error(errno));
            }
            Conn::Farewell(_) => self.close_client(socket, ClientEnd::Asked),
            Conn::Lane { .. } | Conn::Free => {}
        }
    }

    /// Clients that have shut their end are closed as soon as everything they are owed has gone.
    pub(super) fn look_after_half_closed(&mut self) {
        let mut index = 0;
        while let Some(&socket) = self.half_closed.get(index) {
            let Conn::HalfClosed { id } = self.conn(socket) else {
                self.half_closed.swap_remove(index);
                continue;
            };
            let sending = self.sockets.outgoing(socket).is_none();
            self.hurry |= sending && self.wrote;
            if sending || self.heart.owes(id) {
                index += 1;
                continue;
            }
            self.half_closed.swap_remove(index);
            self.close_client(socket, ClientEnd::Eof);
        }
    }

    /// Sends what waits, then shuts our end and listens for a moment, so that no RST overtakes the
    /// last reply.
    pub(super) fn finish_client(&mut self, client: ClientId) {
        let Some(socket) = self.client_socket(client) else { return };
        if matches!(self.conn(socket), Conn::Farewell(_)) {
            return;
        }
        let eof = matches!(self.conn(socket), Conn::HalfClosed { .. });
        let deadline_us = self.now.mono_us + FAREWELL_MS * US_PER_MS;
        let id = Some(client);
        self.begin_farewell(socket, Farewell { id, shut: false, eof, swallowed: 0, deadline_us });
        let idle = self.sockets.outgoing(socket).is_some();
        self.go_on_with_farewell(socket, idle);
    }

    pub(super) fn begin_farewell(&mut self, socket: SocketId, farewell: Farewell) {
        self.set_conn(socket, Conn::Farewell(farewell));
        self.farewells.push_back(socket);
        if !farewell.eof {
            self.sockets.receive(socket);
        }
    }

    /// The next step of a goodbye; `idle`: no write is under way.
    pub(super) fn go_on_with_farewell(&mut self, socket: SocketId, idle: bool) {
        let Conn::Farewell(mut farewell) = self.conn(socket) else { return };
        farewell.deadline_us = self.now.mono_us + FAREWELL_MS * US_PER_MS;
        self.set_conn(socket, Conn::Farewell(farewell));
        if !idle || farewell.shut {
            return;
        }
        if let Some(id) = farewell.id {
            let output = self
                .sockets
                .outgoing(socket)
                .map_or(0, |chunks| self.heart.take_output(Dirty::Client(id), chunks));
            if output > 0 {
                self.sockets.send(socket);
                self.hurry = true;
                return;
            }
        }
        if farewell.eof {
            self.close_client(socket, ClientEnd::Asked);
            return;
        }
        farewell.shut = true;
        self.set_conn(socket, Conn::Farewell(farewell));
        if let Some(descriptor) = self.sockets.descriptor(socket) {
            socket::shut(descriptor);
        }
    }

    pub(super) fn swallow(&mut self, socket: SocketId, bytes: usize) {
        let Conn::Farewell(mut farewell) = self.conn(socket) else { return };
        farewell.swallowed += bytes;
        self.set_conn(socket, Conn::Farewell(farewell));
        if farewell.swallowed > FAREWELL_BYTES {
            self.close_client(socket, ClientEnd::Asked);
        }
    }

    /// Closes those that have had their time.
    pub(super) fn end_farewells(&mut self) {
        while let Some(&socket) = self.farewells.front() {
            match self.conn(socket) {
                Conn::Farewell(farewell) if farewell.deadline_us > self.now.mono_us => {
                    // The queue is by deadline as it was at the start: one that has moved on waits
                    // again, behind those that began later.
                    let Some(&next) = self.farewells.get(1) else { break };
                    let later = match self.conn(next) {
                        Conn::Farewell(next) => next.deadline_us < farewell.deadline_us,
                        _ => true,
                    };
                    if !later {
                        break;
                    }
                    self.farewells.pop_front();
                    self.farewells.push_back(socket);
                }
                Conn::Farewell(_) => {
                    self.farewells.pop_front();
                    self.close_client(socket, ClientEnd::Asked);
                }
                _ => {
                    self.farewells.pop_front();
                }
            }
        }
    }

    pub(super) fn drop_client(&mut self, client: ClientId) {
        if let Some(socket) = self.client_socket(client) {
            self.close_client(socket, ClientEnd::Asked);
        }
    }

    /// The end of every client, told to the heart if it knew it.
    fn close_client(&mut self, socket: SocketId, end: ClientEnd) {
        let id = match self.conn(socket) {
            Conn::Client { id, .. } | Conn::HalfClosed { id } => Some(id),
            Conn::Farewell(farewell) => farewell.id,
            Conn::Lane { .. } | Conn::Free => return,
        };
        self.sockets.close(socket);
        self.set_conn(socket, Conn::Free);
        self.balance.leave(self.index);
        if let Some(id) = id {
            if let Some(slot) = self.clients.get_mut(id.index as usize) {
                *slot = None;
            }
            self.heart.on_client_closed(id, end, self.now);
        }
        if self.accept_again_us.is_some() {
            self.accept_again();
        }
    }
}
