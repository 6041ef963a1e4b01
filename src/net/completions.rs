//! Completions become events: the other half of `sockets`.
//!
//! Each completion is taken once, and whatever it delivers (descriptor, buffer, the end of a loan
//! of memory) finds its owner here or is released here.

use std::os::fd::{FromRawFd, OwnedFd};

use super::event::{Event, ListenerId, Rest, SocketId};
use super::ring::{Completion, Kind, Patience, Token};
use super::sockets::{Receiving, Sending, Sockets};

/// Waits of [`DRAIN_STEP_US`] that the end of a ring takes at most: 1 s.
const DRAIN_STEPS_MAX: usize = 100;
const DRAIN_STEP_US: u64 = 10_000;

impl Sockets {
    /// What has happened since `enter`, in order; `None`: that was all.
    pub fn next_event(&mut self) -> Option<Event> {
        while let Some(completion) = self.ring.next() {
            let event = match completion.token.kind {
                Kind::Receive => self.on_receive(completion),
                Kind::QuietSend => self.on_quiet_send(completion),
                Kind::Send => self.on_send(completion),
                Kind::Accept => self.on_accept(completion),
                Kind::Connect => self.on_connect(completion),
                Kind::Wake => self.on_wake(completion),
                Kind::Other => None,
            };
            if event.is_some() {
                return event;
            }
        }
        while self.settled > 0 {
            self.settled -= 1;
            let (id, number) = self.quiet.pop_front()?;
            if let Some(event) = self.settle(id, number) {
                return Some(event);
            }
        }
        None
    }

    fn on_receive(&mut self, completion: Completion) -> Option<Event> {
        let id = id_of(completion.token);
        let received = completion
            .buffer()
            .map(|buffer| self.buffers.take(buffer, completion.result.max(0) as u32));
        if !completion.more() {
            self.underway -= 1;
        }
        let Some(socket) = self.records.get_mut(id.index, id.generation) else {
            debug_assert!(false, "a record stays until its last completion is in");
            if let Some(received) = received {
                self.give_back(received);
            }
            return None;
        };
        if !completion.more() {
            socket.receiving = Receiving::Idle;
        }
        if socket.closing {
            if let Some(received) = received {
                self.give_back(received);
            }
            self.bury(id);
            return None;
        }
        match received {
            Some(bytes) if !bytes.is_empty() => {
                if !completion.more() {
                    self.arm_receive(id);
                }
                return Some(Event::Bytes { socket: id, bytes });
            }
            Some(empty) => self.give_back(empty),
            None => {}
        }
        self.on_receive_end(id, -completion.result)
    }

    /// A receive that brought no bytes.
    fn on_receive_end(&mut self, id: SocketId, errno: i32) -> Option<Event> {
        let multishot = self.features().multishot_receive;
        let socket = self.records.get_mut(id.index, id.generation)?;
        match errno {
            libc::ENOBUFS => {
                self.buffers.ran_out();
                socket.receiving = Receiving::Starved;
                self.starved.push(id);
                None
            }
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => {
                self.arm_receive(id);
                None
            }
            libc::EINVAL if multishot => {
                self.ring.renounce(|features| features.multishot_receive = false);
                self.arm_receive(id);
                None
            }
            _ => {
                socket.wanted = false;
                Some(Event::Ended { socket: id, errno })
            }
        }
    }

    /// A quiet send completes only when it did not go through as a whole.
    fn on_quiet_send(&mut self, completion: Completion) -> Option<Event> {
        let id = id_of(completion.token);
        self.underway -= 1;
        let socket = self.records.get_mut(id.index, id.generation)?;
        debug_assert!(matches!(socket.sending, Sending::Quietly(_)));
        socket.sending = Sending::Idle;
        if socket.closing {
            self.bury(id);
            return None;
        }
        if completion.result == -libc::EAGAIN {
            // The peer's window is full: the same again, this time waiting for it.
            self.write(id, Sending::Underway);
            return None;
        }
        self.on_written(id, completion.result, Rest::Nothing)
    }

    fn on_send(&mut self, completion: Completion) -> Option<Event> {
        let id = id_of(completion.token);
        self.underway -= 1;
        let socket = self.records.get_mut(id.index, id.generation)?;
        socket.sending = Sending::Idle;
        if socket.closing {
            self.bury(id);
            return None;
        }
        if matches!(-completion.result, libc::EAGAIN | libc::EINTR) {
            self.write(id, Sending::Underway);
            return None;
        }
        self.on_written(id, completion.result, Rest::NothingAfterWaiting)
    }

    fn on_written(&mut self, id: SocketId, result: i32, done: Rest) -> Option<Event> {
        let socket = self.records.get_mut(id.index, id.generation)?;
        if result <= 0 {
            // No write of ours is empty: one that takes nothing never will.
            let errno = if result == 0 { libc::EPIPE } else { -result };
            return Some(Event::SendFailed { socket: id, errno });
        }
        let bytes = result as usize;
        socket.outgoing.advance(bytes, &mut self.leftovers);
        let rest = if socket.outgoing.is_empty() {
            done
        } else {
            self.write(id, Sending::Underway);
            Rest::Underway
        };
        Some(Event::Sent { socket: id, bytes, rest })
    }

    /// A quiet send that was submitted and has no completion has gone as a whole.
    fn settle(&mut self, id: SocketId, number: u32) -> Option<Event> {
        let socket = self.records.get_mut(id.index, id.generation)?;
        if socket.sending != Sending::Quietly(number) {
            return None;
        }
        self.underway -= 1;
        socket.sending = Sending::Idle;
        let bytes = socket.write_bytes as i32;
        if socket.closing {
            self.bury(id);
            return None;
        }
        self.on_written(id, bytes, Rest::Nothing)
    }

    fn on_accept(&mut self, completion: Completion) -> Option<Event> {
        let id = ListenerId(completion.token.index);
        let socket = (completion.result >= 0).then(|| {
            // SAFETY: the kernel has just made this descriptor for this completion, which is taken
            // once; nobody else owns it.
            unsafe { OwnedFd::from_raw_fd(completion.result) }
        });
        if !completion.more() {
            self.underway -= 1;
        }
        let listening = self.listeners.get_mut(id.index())?;
        if !completion.more() {
            listening.armed = false;
            if !listening.wanted {
                listening.fd = None;
            }
        }
        if let Some(socket) = socket {
            if !completion.more() && listening.wanted {
                self.accept(id);
            }
            return Some(Event::Accepted { listener: id, socket });
        }
        if !listening.wanted {
            return None;
        }
        match -completion.result {
            // The client has gone already; the next one may be there.
            libc::ECONNABORTED | libc::EPROTO | libc::EINTR | libc::EAGAIN | libc::ECANCELED => {
                self.accept(id);
                None
            }
            libc::EINVAL if self.features().multishot_accept => {
                self.ring.renounce(|features| features.multishot_accept = false);
                self.accept(id);
                None
            }
            errno => Some(Event::AcceptFailed { listener: id, errno }),
        }
    }

    fn on_connect(&mut self, completion: Completion) -> Option<Event> {
        let id = id_of(completion.token);
        self.underway -= 1;
        let socket = self.records.get_mut(id.index, id.generation)?;
        socket.address = None;
        if socket.closing {
            self.bury(id);
            return None;
        }
        match completion.result {
            0.. => Some(Event::Connected { socket: id }),
            errno => Some(Event::ConnectFailed { socket: id, errno: -errno }),
        }
    }

    fn on_wake(&mut self, completion: Completion) -> Option<Event> {
        self.underway -= 1;
        let wake = self.wake.as_mut()?;
        wake.armed = false;
        if completion.result == -libc::ECANCELED {
            return None;
        }
        self.arm_wake();
        Some(Event::Woken)
    }

    /// Cancels everything and waits until the kernel has nothing of ours; `false`: it still has.
    fn drain(&mut self) -> bool {
        let ids: Vec<SocketId> = self
            .records
            .iter()
            .map(|(index, generation, _)| SocketId { index, generation })
            .collect();
        ids.into_iter().for_each(|id| self.close(id));
        for index in 0..self.listeners.len() {
            self.stop_accepting(ListenerId(index as u32));
        }
        if self.wake.as_ref().is_some_and(|wake| wake.armed) {
            self.cancel(Token { kind: Kind::Wake, index: 0, generation: 0 });
        }
        for _ in 0..DRAIN_STEPS_MAX {
            while let Some(completion) = self.ring.next() {
                self.release(completion);
            }
            while self.next_event().is_some() {}
            if self.underway == 0 {
                return true;
            }
            let patience = Patience { max_us: DRAIN_STEP_US, events: 1, gather_us: 0 };
            if self.enter(patience).is_err() {
                break;
            }
        }
        self.underway == 0
    }

    /// Takes a completion in without starting anything new.
    fn release(&mut self, completion: Completion) {
        match completion.token.kind {
            Kind::Wake => {
                self.underway -= 1;
                if let Some(wake) = &mut self.wake {
                    wake.armed = false;
                }
            }
            Kind::Accept => drop(self.on_accept(completion)),
            Kind::Receive => drop(self.on_receive(completion)),
            Kind::QuietSend => drop(self.on_quiet_send(completion)),
            Kind::Send => drop(self.on_send(completion)),
            Kind::Connect => drop(self.on_connect(completion)),
            Kind::Other => {}
        }
    }
}

fn id_of(token: Token) -> SocketId {
    SocketId { index: token.index, generation: token.generation }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        if self.drain() {
            return;
        }
        // What the kernel may still read or write is never freed.
        self.buffers.leak();
        std::mem::forget(std::mem::take(&mut self.records));
    }
}
