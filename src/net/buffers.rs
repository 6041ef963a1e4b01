//! Receive buffers of a core: the kernel takes one when there is something to put into it, so an
//! idle connection owns none.
//!
//! Each buffer is in one of three hands at any time: the kernel's, ours, or those of a
//! [`Received`], which can be read, not copied, and is consumed by giving it back, or by keeping
//! its memory: then other memory takes its place. Called by `sockets` only.

use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use io_uring::{opcode, squeue};

use super::boot::BootError;
use super::pages::Pages;
use super::ring::{Ring, Token};
use crate::base::limits::{
    RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS, RECEIVE_BUFFERS_CALM_TURNS, RECEIVE_BUFFERS_OFFERED_MIN,
};

/// The only buffer group of a ring.
pub(super) const GROUP: u16 = 0;

/// Bytes that the kernel has put into a receive buffer; to be given back by
/// [`Sockets::give_back`](super::sockets::Sockets::give_back).
#[derive(Debug)]
#[must_use = "a buffer that is not given back is lost to its core"]
pub struct Received {
    buffer: u16,
    bytes: u32,
    /// The list it stands in: the buffers of another ring are not ours to read.
    list: *const Vec<u8>,
    /// Bound to its core.
    here: PhantomData<*const ()>,
}

impl Received {
    /// Number of bytes, at least 1.
    pub fn len(&self) -> usize {
        self.bytes as usize
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

/// The memory of all buffers, and the way by which they go to the kernel.
#[derive(Debug)]
pub(super) struct ReceiveBuffers {
    /// By number; each is empty, of capacity [`RECEIVE_BUFFER_BYTES`] once it has been offered. The
    /// list itself never moves.
    list: Box<[Vec<u8>]>,
    /// Memory for buffers whose own was kept.
    spares: Vec<Vec<u8>>,
    /// The ring shared with the kernel; `None`: each is given back by a queue entry.
    shared: Option<SharedRing>,
    /// Those that are in the hands of a [`Received`].
    taken: usize,
}

/// Entries that the kernel reads up to a tail that we write.
#[derive(Debug)]
struct SharedRing {
    entries: Pages,
    tail: u16,
    /// Those that neither the kernel nor a [`Received`] has; the last was used last.
    free: Vec<u16>,
    /// So many the kernel has, and so many it shall have.
    offered: u16,
    wanted: u16,
    /// Turns since the kernel ran out of them.
    calm_turns: u32,
}

impl ReceiveBuffers {
    /// Makes the buffers and hands all of them to the kernel.
    pub(super) fn new(ring: &mut Ring) -> Result<ReceiveBuffers, BootError> {
        let no_memory = |error| BootError::Other { doing: "memory for receive buffers", error };
        let list = (0..RECEIVE_BUFFERS).map(|_| Vec::new()).collect();
        let mut buffers = ReceiveBuffers { list, spares: Vec::new(), shared: None, taken: 0 };
        if ring.features().buffer_ring {
            let bytes = size_of::<BufRingEntry>() * usize::from(RECEIVE_BUFFERS);
            let entries = Pages::new(bytes).map_err(no_memory)?;
            match register(ring, &entries) {
                Ok(()) => {
                    buffers.shared = Some(SharedRing {
                        entries,
                        tail: 0,
                        free: (0..RECEIVE_BUFFERS).rev().collect(),
                        offered: 0,
                        wanted: RECEIVE_BUFFERS_OFFERED_MIN,
                        calm_turns: 0,
                    });
                }
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    ring.renounce(|features| features.buffer_ring = false);
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {
                    return Err(BootError::of_setup(error));
                }
                Err(error) => {
                    return Err(BootError::Other { doing: "io_uring_register buffers", error });
                }
            }
        }
        if buffers.shared.is_none() {
            buffers.provide(0, RECEIVE_BUFFERS, ring);
        }
        Ok(buffers)
    }

    /// The buffer that a completion names is ours now.
    pub(super) fn take(&mut self, buffer: u16, bytes: u32) -> Received {
        assert!(buffer < RECEIVE_BUFFERS && bytes as usize <= RECEIVE_BUFFER_BYTES);
        self.taken += 1;
        if let Some(shared) = &mut self.shared {
            shared.offered -= 1;
        }
        Received { buffer, bytes, list: self.list.as_ptr(), here: PhantomData }
    }

    pub(super) fn bytes<'a>(&'a self, received: &'a Received) -> &'a [u8] {
        assert!(std::ptr::eq(received.list, self.list.as_ptr()), "a buffer of another ring");
        let start = self.list[usize::from(received.buffer)].as_ptr();
        // SAFETY: the kernel wrote `bytes` <= RECEIVE_BUFFER_BYTES, the capacity, bytes here, and
        // leaves the buffer alone until it is offered again, for which `received` is consumed; the
        // vector is not touched before, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(start, received.bytes as usize) }
    }

    /// The memory itself, with what was received; other memory takes its place.
    pub(super) fn keep(&mut self, received: Received, ring: &mut Ring) -> Vec<u8> {
        assert!(std::ptr::eq(received.list, self.list.as_ptr()), "a buffer of another ring");
        let bytes = received.bytes as usize;
        let fresh = self.spares.pop().unwrap_or_else(new_buffer);
        let mut kept = std::mem::replace(&mut self.list[usize::from(received.buffer)], fresh);
        // SAFETY: the kernel wrote so many bytes, at most the capacity (`take` has checked that).
        unsafe { kept.set_len(bytes) };
        self.give_back(received, ring);
        kept
    }

    /// Takes memory in that was kept and is not needed any more; gives back what is of another size
    /// or too much.
    pub(super) fn reuse(&mut self, mut chunk: Vec<u8>) -> Option<Vec<u8>> {
        if chunk.capacity() != RECEIVE_BUFFER_BYTES
            || self.spares.len() >= usize::from(RECEIVE_BUFFERS)
        {
            return Some(chunk);
        }
        chunk.clear();
        self.spares.push(chunk);
        None
    }

    /// The kernel may write to the buffer again, at the latest when all others have been used.
    pub(super) fn give_back(&mut self, received: Received, ring: &mut Ring) {
        assert!(std::ptr::eq(received.list, self.list.as_ptr()), "a buffer of another ring");
        self.taken -= 1;
        match &mut self.shared {
            Some(shared) => shared.free.push(received.buffer),
            None => self.provide(received.buffer, 1, ring),
        }
    }

    /// Once a turn: the kernel is offered buffers, those first that were used last.
    pub(super) fn offer(&mut self) {
        let Some(shared) = &mut self.shared else { return };
        shared.calm_turns += 1;
        if shared.calm_turns >= RECEIVE_BUFFERS_CALM_TURNS {
            shared.calm_turns = 0;
            shared.wanted = (shared.wanted / 2).max(RECEIVE_BUFFERS_OFFERED_MIN);
        }
        while let Some(shared) = &mut self.shared
            && shared.offered < shared.wanted
            && let Some(buffer) = shared.free.pop()
        {
            shared.offered += 1;
            self.hand_over(buffer);
        }
    }

    /// The kernel had something to receive and nothing to put it into.
    pub(super) fn ran_out(&mut self) {
        if let Some(shared) = &mut self.shared
            && shared.calm_turns > 0
        {
            // Once a turn, however many found none.
            shared.calm_turns = 0;
            shared.wanted = (shared.wanted * 2).min(RECEIVE_BUFFERS);
        }
    }

    /// Never freed: the kernel may still write there.
    pub(super) fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.list));
        if let Some(shared) = &mut self.shared {
            shared.entries.leak();
        }
    }

    /// Buffers that were received and not given back; 0 between two turns.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// Where the kernel may write [`RECEIVE_BUFFER_BYTES`] bytes.
    fn start_of(&mut self, buffer: u16) -> *mut u8 {
        let memory = &mut self.list[usize::from(buffer)];
        if memory.capacity() == 0 {
            *memory = new_buffer();
        }
        debug_assert!(memory.is_empty() && memory.capacity() == RECEIVE_BUFFER_BYTES);
        memory.as_mut_ptr()
    }

    /// Puts one buffer behind the shared ring's tail.
    fn hand_over(&mut self, buffer: u16) {
        let address = self.start_of(buffer);
        let Some(shared) = &mut self.shared else { return };
        let base = shared.entries.start().cast::<BufRingEntry>();
        let at = usize::from(shared.tail & (RECEIVE_BUFFERS - 1));
        // SAFETY: `at` is below RECEIVE_BUFFERS, for which the mapping has room.
        let slot = unsafe { base.add(at) };
        // SAFETY: the slot is at or beyond the tail, so the kernel does not read it yet (there are
        // as many slots as buffers), and nobody else has a reference to it; zeroed memory is a
        // valid entry. The tail shares its bytes with a reserved field of slot 0 that is not
        // written here.
        let entry = unsafe { &mut *slot };
        entry.set_addr(address as u64);
        entry.set_len(RECEIVE_BUFFER_BYTES as u32);
        entry.set_bid(buffer);
        shared.tail = shared.tail.wrapping_add(1);
        // SAFETY: `base` is the address of the ring's first entry, which is initialised.
        let tail = unsafe { BufRingEntry::tail(base) };
        // SAFETY: the pointer is aligned, lives as long as the mapping, and all other accesses to
        // it are the kernel's, which are atomic.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(shared.tail, Ordering::Release);
    }

    /// Hands `count` buffers over by a queue entry.
    fn provide(&mut self, first: u16, count: u16, ring: &mut Ring) {
        for buffer in first..first + count {
            let mut entry = opcode::ProvideBuffers::new(
                self.start_of(buffer),
                RECEIVE_BUFFER_BYTES as i32,
                1,
                GROUP,
                buffer,
            )
            .build()
            .user_data(Token::OTHER.to_user_data());
            if ring.features().quiet_sends {
                entry = entry.flags(squeue::Flags::SKIP_SUCCESS);
            }
            // SAFETY: the memory belongs to `self`, which is dropped after the ring's last
            // completion; nobody has a reference to this buffer.
            unsafe { ring.push(entry) };
        }
    }
}

fn new_buffer() -> Vec<u8> {
    Vec::with_capacity(RECEIVE_BUFFER_BYTES)
}

/// Makes the kernel take its buffers from `entries`.
fn register(ring: &Ring, entries: &Pages) -> io::Result<()> {
    let address = entries.start() as u64;
    // SAFETY: the mapping has room for RECEIVE_BUFFERS entries, is page-aligned, and is unmapped
    // only after the ring has been closed.
    unsafe { ring.submitter().register_buf_ring_with_flags(address, RECEIVE_BUFFERS, GROUP, 0) }
}
