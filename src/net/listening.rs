//! Listening sockets and the wake descriptor of a core, as far as the ring is concerned.
//!
//! A part of `sockets`; `listen` makes the sockets, `wake` the descriptor.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use io_uring::{opcode, types};

use super::event::ListenerId;
use super::ring::{Kind, Token};
use super::sockets::Sockets;
use super::wake::WakeFd;

#[derive(Debug)]
pub(super) struct Listening {
    /// `None`: closed.
    pub(super) fd: Option<OwnedFd>,
    pub(super) armed: bool,
    pub(super) wanted: bool,
}

#[derive(Debug)]
pub(super) struct Wake {
    pub(super) fd: WakeFd,
    /// Where the kernel puts what it reads. A pointer from `Box::into_raw`: while a read is under
    /// way nobody has a reference to it.
    count: *mut u64,
    pub(super) armed: bool,
}

impl Sockets {
    /// Takes in a listening socket; `accept` starts it.
    pub fn add_listener(&mut self, fd: OwnedFd) -> ListenerId {
        let id = ListenerId(self.listeners.len() as u32);
        self.listeners.push(Listening { fd: Some(fd), armed: false, wanted: false });
        id
    }

    /// Accept until `stop_accepting`; may be called again after `AcceptFailed`.
    pub fn accept(&mut self, id: ListenerId) {
        let Some(listening) = self.listeners.get_mut(id.index()) else { return };
        let Some(fd) = &listening.fd else { return };
        listening.wanted = true;
        if listening.armed {
            return;
        }
        let fd = types::Fd(fd.as_raw_fd());
        let entry = if self.ring.features().multishot_accept {
            opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build()
        } else {
            let nowhere = std::ptr::null_mut();
            opcode::Accept::new(fd, nowhere, std::ptr::null_mut()).flags(libc::SOCK_CLOEXEC).build()
        };
        let token = Token { kind: Kind::Accept, index: id.0, generation: 0 };
        listening.armed = true;
        self.underway += 1;
        // SAFETY: the descriptor belongs to the record, which keeps it while it is armed; no memory
        // is named.
        unsafe { self.ring.push(entry.user_data(token.to_user_data())) };
    }

    /// Looks for connections that wait already, and goes on. The kernel wakes one of those who wait
    /// for a connection: if that was another process, or another ring, that has given up by then,
    /// nobody else hears of it.
    pub fn accept_anew(&mut self, id: ListenerId) {
        // Its completion arms it again.
        if self.listeners.get(id.index()).is_some_and(|it| it.armed && it.wanted) {
            self.cancel(Token { kind: Kind::Accept, index: id.0, generation: 0 });
        }
    }

    /// Accept no more. What the kernel has accepted already is still told.
    pub fn stop_accepting(&mut self, id: ListenerId) {
        let Some(listening) = self.listeners.get_mut(id.index()) else { return };
        listening.wanted = false;
        if listening.armed {
            self.cancel(Token { kind: Kind::Accept, index: id.0, generation: 0 });
        } else {
            listening.fd = None;
        }
    }

    /// Whether the kernel may still hand over a connection.
    pub fn is_accepting(&self) -> bool {
        self.listeners.iter().any(|listening| listening.armed)
    }

    /// The socket of a listener that was not told to stop.
    pub fn listener(&self, id: ListenerId) -> Option<&OwnedFd> {
        let listening = self.listeners.get(id.index()).filter(|listening| listening.wanted)?;
        listening.fd.as_ref()
    }

    /// Tells `Woken` whenever `fd` is used. Once for each ring.
    pub fn watch(&mut self, fd: WakeFd) {
        debug_assert!(self.wake.is_none());
        self.wake = Some(Wake { fd, count: Box::into_raw(Box::new(0)), armed: false });
        self.arm_wake();
    }

    pub(super) fn arm_wake(&mut self) {
        let Some(wake) = &mut self.wake else { return };
        let fd = types::Fd(wake.fd.as_fd().as_raw_fd());
        let token = Token { kind: Kind::Wake, index: 0, generation: 0 };
        let entry = opcode::Read::new(fd, wake.count.cast(), size_of::<u64>() as u32)
            .build()
            .user_data(token.to_user_data());
        wake.armed = true;
        self.underway += 1;
        // SAFETY: descriptor and memory belong to the record, which stays as long as the ring.
        unsafe { self.ring.push(entry) };
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        if self.armed {
            // The kernel may still write there: leaked.
            return;
        }
        // SAFETY: from `Box::into_raw`, freed only here, and no read is under way.
        drop(unsafe { Box::from_raw(self.count) });
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::net::event::Event;
    use crate::net::features::Features;
    use crate::net::ring::Patience;

    /// Whether a connection is accepted by this ring within about 50 ms.
    fn accepts(sockets: &mut Sockets) -> bool {
        (0..5).any(|_| {
            sockets.enter(Patience { max_us: 10_000, events: 1, gather_us: 0 }).unwrap();
            let mut found = false;
            while let Some(event) = sockets.next_event() {
                found |= matches!(event, Event::Accepted { .. });
            }
            found
        })
    }

    #[test]
    fn who_was_announced_to_a_ring_that_gives_up_is_found_by_the_other() {
        for features in [Features::ALL, Features::PLAIN] {
            for _ in 0..3 {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap();
                let [mut one, mut other] = [(), ()].map(|()| {
                    let mut sockets = Sockets::new(features).unwrap();
                    let id = sockets.add_listener(listener.try_clone().unwrap().into());
                    sockets.accept(id);
                    assert!(!accepts(&mut sockets));
                    (sockets, id)
                });
                // The kernel tells the first.
                let _client = TcpStream::connect(address).unwrap();
                one.0.stop_accepting(one.1);
                if !accepts(&mut one.0) {
                    other.0.accept_anew(other.1);
                    assert!(accepts(&mut other.0), "{features}");
                }
                assert!(!one.0.is_accepting());
            }
        }
    }
}
