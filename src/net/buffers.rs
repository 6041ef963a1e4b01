//! Receive buffers of a core: the kernel takes one when there is something to put into it, so an
//! idle connection owns none.
//!
//! Each buffer is in one of two hands at any time: the kernel's, or those of a [`Received`], which
//! can be read, not copied, and is consumed by giving back. Called by `sockets` only.

use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use io_uring::{opcode, squeue};

use super::boot::BootError;
use super::pages::Pages;
use super::ring::{Ring, Token};
use crate::base::limits::{
    RECEIVE_BUFFER_BYTES, RECEIVE_BUFFER_STAGGER_BYTES, RECEIVE_BUFFERS,
    RECEIVE_BUFFERS_CALM_TURNS, RECEIVE_BUFFERS_OFFERED_MIN,
};

/// The only buffer group of a ring.
pub(super) const GROUP: u16 = 0;

const STRIDE_BYTES: usize = RECEIVE_BUFFER_BYTES + RECEIVE_BUFFER_STAGGER_BYTES;

/// Bytes that the kernel has put into a receive buffer; to be given back by
/// [`Sockets::give_back`](super::sockets::Sockets::give_back).
#[derive(Debug)]
#[must_use = "a buffer that is not given back is lost to its core"]
pub struct Received {
    buffer: u16,
    bytes: u32,
    /// Start of the memory it lies in: the buffers of another ring are not ours to read.
    memory: *const u8,
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
    memory: Pages,
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
        let memory = Pages::new(STRIDE_BYTES * usize::from(RECEIVE_BUFFERS)).map_err(no_memory)?;
        let mut buffers = ReceiveBuffers { memory, shared: None, taken: 0 };
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
        debug_assert!(buffer < RECEIVE_BUFFERS);
        debug_assert!(bytes as usize <= RECEIVE_BUFFER_BYTES);
        self.taken += 1;
        if let Some(shared) = &mut self.shared {
            shared.offered -= 1;
        }
        Received { buffer, bytes, memory: self.memory.start(), here: PhantomData }
    }

    pub(super) fn bytes<'a>(&'a self, received: &'a Received) -> &'a [u8] {
        assert!(std::ptr::eq(received.memory, self.memory.start()), "a buffer of another ring");
        debug_assert!(usize::from(received.buffer) * STRIDE_BYTES < self.memory.bytes());
        // SAFETY: `take` was called with a number below RECEIVE_BUFFERS, so the offset lies within
        // the mapping.
        let start = unsafe { self.memory.start().add(usize::from(received.buffer) * STRIDE_BYTES) };
        // SAFETY: the kernel wrote `bytes` <= RECEIVE_BUFFER_BYTES bytes here, and leaves the buffer
        // alone until it is given back, for which `received` is consumed; the mapping is zeroed,
        // page-aligned memory that lives as long as `self`.
        unsafe { std::slice::from_raw_parts(start, received.bytes as usize) }
    }

    /// The kernel may write to the buffer again, at the latest when all others have been used.
    pub(super) fn give_back(&mut self, received: Received, ring: &mut Ring) {
        assert!(std::ptr::eq(received.memory, self.memory.start()), "a buffer of another ring");
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
        self.memory.leak();
        if let Some(shared) = &mut self.shared {
            shared.entries.leak();
        }
    }

    /// Buffers that were received and not given back; 0 between two turns.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    fn start_of(&self, buffer: u16) -> *mut u8 {
        // SAFETY: the number is below RECEIVE_BUFFERS, so the offset lies within the mapping.
        unsafe { self.memory.start().add(usize::from(buffer) * STRIDE_BYTES) }
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
        // as many slots as buffers), and nobody else has a reference to it; zeroed memory is a valid
        // entry. The tail shares its bytes with a reserved field of slot 0 that is not written here.
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

/// Makes the kernel take its buffers from `entries`.
fn register(ring: &Ring, entries: &Pages) -> io::Result<()> {
    let address = entries.start() as u64;
    // SAFETY: the mapping has room for RECEIVE_BUFFERS entries, is page-aligned, and is unmapped
    // only after the ring has been closed.
    unsafe { ring.submitter().register_buf_ring_with_flags(address, RECEIVE_BUFFERS, GROUP, 0) }
}
