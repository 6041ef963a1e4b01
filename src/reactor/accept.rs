//! Fresh connections: counted, kept or passed on, refused when descriptors run out.

use std::os::fd::OwnedFd;
use std::path::Path;

use super::balance::Place;
use super::conn::{Conn, Farewell};
use super::core::Core;
use super::heart::Heart;
use crate::base::ids::PoolId;
use crate::base::limits::{ACCEPT_PAUSE_MS, DISMISSAL_MS, FAREWELL_MS};
use crate::base::time::US_PER_MS;
use crate::config::model::{Listen, LogLevel};
use crate::mailbox::Letter;
use crate::net::event::ListenerId;
use crate::net::socket;
use crate::relay::api::Peer;
use crate::stats::cells::CoreMetric;

/// Said to a client for which the process has no descriptor to spare; redis' own words, which
/// client libraries know.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

impl<H: Heart> Core<H> {
    pub(super) fn on_accepted(&mut self, listener: ListenerId, socket: OwnedFd) {
        let Some(door) = self.doors.get(listener.index()) else { return };
        let pool = door.pool;
        self.accept_failing = false;
        let place = match self.drain_until_us {
            None => self.balance.place(self.index),
            // It was accepted before the kernel heard that we let nobody in any more.
            Some(_) => self.balance.place_here(self.index),
        };
        match place {
            Place::Here => self.open_client(pool, socket),
            Place::Nowhere => {
                self.stats.core(CoreMetric::ClientsRefusedForDescriptors).add(1);
                socket::send_last_words(&socket, TOO_MANY);
            }
            Place::On(core) => {
                self.stats.core(CoreMetric::AcceptsPassedOn).add(1);
                let letter = Letter::Client { pool, socket };
                let sent = match self.peers.get(core) {
                    Some(peer) => peer.send(letter),
                    None => Err(letter),
                };
                if let Err(Letter::Client { pool, socket }) = sent {
                    // Its mailbox is full: here after all.
                    self.balance.leave(core);
                    self.balance.arrive(self.index);
                    self.open_client(pool, socket);
                }
            }
        }
    }

    /// A connection that has been counted as ours.
    pub(super) fn open_client(&mut self, pool: PoolId, descriptor: OwnedFd) {
        let Some(peer) = self.peer_of(pool, &descriptor) else {
            // It has gone already.
            self.balance.leave(self.index);
            return;
        };
        let Ok(socket) = self.sockets.add(descriptor) else {
            self.balance.leave(self.index);
            return;
        };
        match self.heart.on_client_open(pool, peer, self.now) {
            Ok(id) => {
                self.set_conn(socket, Conn::Client { id, paused: false, waiting: false });
                let index = id.index as usize;
                if self.clients.len() <= index {
                    self.clients.resize(index + 1, None);
                }
                self.clients[index] = Some(socket);
                self.sockets.receive(socket);
            }
            Err(words) => {
                let deadline_us = self.now.mono_us + FAREWELL_MS * US_PER_MS;
                let farewell =
                    Farewell { id: None, shut: false, eof: false, swallowed: 0, deadline_us };
                if let Some(chunks) = self.sockets.outgoing(socket) {
                    chunks.push_back(words.to_vec());
                }
                self.begin_farewell(socket, farewell);
                self.sockets.send(socket);
                self.hurry = true;
            }
        }
    }

    fn peer_of(&self, pool: PoolId, descriptor: &OwnedFd) -> Option<Peer> {
        match socket::addresses(descriptor) {
            Ok((peer, local)) => Some(Peer::Tcp { peer, local }),
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                // Another core may have passed it on before this one has opened its own door.
                let opened = self.doors.iter().filter(|door| door.pool == pool).map(|it| &it.at);
                let config = self.config.pools.get(pool.index());
                let wanted = config.into_iter().flat_map(|config| &config.listen);
                let path = opened.chain(wanted).find_map(Listen::path).unwrap_or(Path::new(""));
                Some(Peer::Unix { path: path.to_string_lossy().into() })
            }
            Err(_) => None,
        }
    }

    /// Descriptors or memory have run out: those who knock wait in the backlog for a moment, those
    /// who are in are served. Said once, until somebody gets in again.
    pub(super) fn on_accept_failed(&mut self, listener: ListenerId, errno: i32) {
        let descriptors = matches!(errno, libc::EMFILE | libc::ENFILE);
        if !descriptors {
            self.stats.core(CoreMetric::AcceptErrors).add(1);
        }
        if !self.accept_failing {
            self.accept_failing = true;
            let at = self.doors.get(listener.index()).map(|door| door.at.to_string());
            let at = at.unwrap_or_default();
            let error = std::io::Error::from_raw_os_error(errno);
            let remedy = if descriptors {
                "; raise LimitNOFILE or lower client_connections_max"
            } else {
                ""
            };
            self.note(
                LogLevel::Warn,
                format!("accept on {at}: {error}; trying every {ACCEPT_PAUSE_MS} ms{remedy}"),
            );
        }
        self.accept_again_us = Some(self.now.mono_us + ACCEPT_PAUSE_MS * US_PER_MS);
    }

    pub(super) fn accept_again(&mut self) {
        self.accept_again_us = None;
        if self.drain_until_us.is_none() {
            for door in self.doors.iter().filter(|door| !door.closed) {
                self.sockets.accept(door.id);
            }
        }
    }

    /// Accept nobody any more, and end when the last client has left or the grace is over. May be
    /// told again, with another grace.
    pub(super) fn drain(&mut self, grace_ms: u64) {
        let until = self.now.mono_us.saturating_add(grace_ms.saturating_mul(US_PER_MS));
        self.drain_until_us = Some(until);
        self.dismiss_us = Some(until - DISMISSAL_MS.min(grace_ms / 2) * US_PER_MS);
        for door in &self.doors {
            self.sockets.stop_accepting(door.id);
        }
    }

    /// While it drains: notes the moment from which on nobody is let in.
    pub(super) fn look_whether_closed(&mut self) {
        if self.drain_until_us.is_some() && !self.closed && !self.sockets.is_accepting() {
            self.closed = true;
            self.balance.close();
        }
    }
}
