//! The ring itself: set up, entries in, completions out, one system call a turn.
//!
//! It knows no socket and owns none of the memory that its entries name: that is `sockets`' duty,
//! its only caller.

use std::collections::VecDeque;
use std::io;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, cqueue, opcode, squeue};

use super::boot::BootError;
use super::features::Features;
use crate::base::limits::{RING_COMPLETIONS, RING_SUBMISSIONS};

/// What an entry was for; part of its user data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Accept,
    Receive,
    Send,
    /// A send that completes only if it did not go through at once.
    QuietSend,
    Connect,
    Wake,
    /// Completions that say nothing: cancellations, buffers given back.
    Other,
}

/// Names one operation: kind, and index and generation of its record. Fits user data: 8 bits kind,
/// 24 bits index, 32 bits generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl Token {
    pub(super) const OTHER: Token = Token { kind: Kind::Other, index: 0, generation: 0 };

    pub(super) fn to_user_data(self) -> u64 {
        debug_assert!(self.index < 1 << 24);
        (self.kind as u64) << 56 | u64::from(self.index) << 32 | u64::from(self.generation)
    }

    pub(super) fn from_user_data(user_data: u64) -> Token {
        let kind = match user_data >> 56 {
            0 => Kind::Accept,
            1 => Kind::Receive,
            2 => Kind::Send,
            3 => Kind::QuietSend,
            4 => Kind::Connect,
            5 => Kind::Wake,
            _ => Kind::Other,
        };
        Token { kind, index: (user_data >> 32) as u32 & 0xff_ffff, generation: user_data as u32 }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) token: Token,
    /// Zero or more: what the operation gives; negative: an error number.
    pub(super) result: i32,
    flags: u32,
}

impl Completion {
    /// The operation goes on and will complete again.
    pub(super) fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    pub(super) fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }
}

/// How long to sleep in [`Ring::enter`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    /// Longest wait, µs; 0: do not sleep.
    pub max_us: u64,
    /// Completions that end the wait, at least 1 …
    pub events: u32,
    /// … unless this time has passed with at least one, µs (gathering); 0: wait for them.
    pub gather_us: u32,
}

pub(super) struct Ring {
    ring: IoUring,
    features: Features,
    /// Entries that found the queue full and the kernel unwilling.
    backlog: VecDeque<squeue::Entry>,
    completions: VecDeque<Completion>,
}

impl Ring {
    /// A ring for the calling thread, which alone may use it, with those of the features `wanted`
    /// that the kernel has.
    pub(super) fn new(wanted: Features) -> Result<Ring, BootError> {
        let (ring, deferred) = setup(wanted.deferred)?;
        let params = ring.params();
        if !params.is_feature_ext_arg() {
            return Err(BootError::TooOld { lacks: "waits with a time-out" });
        }
        if !params.is_feature_nodrop() {
            return Err(BootError::TooOld { lacks: "lossless completions" });
        }
        let mut probe = Probe::new();
        ring.submitter()
            .register_probe(&mut probe)
            .map_err(|error| BootError::Other { doing: "io_uring_register probe", error })?;
        // SendZc came with multi-shot receive in 6.0, Socket with multi-shot accept in 5.19; the
        // kernel names no flag for them, and the receive is tried out by `sockets`.
        let since_6_0 = probe.is_supported(opcode::SendZc::CODE);
        let since_5_19 = probe.is_supported(opcode::Socket::CODE);
        let features = Features {
            deferred,
            multishot_receive: wanted.multishot_receive && since_6_0,
            multishot_accept: wanted.multishot_accept && since_5_19,
            buffer_ring: wanted.buffer_ring && since_5_19,
            quiet_sends: wanted.quiet_sends && since_6_0 && params.is_feature_skip_cqe_on_success(),
            min_wait: wanted.min_wait && params.is_feature_min_timeout(),
        };
        Ok(Ring {
            ring,
            features,
            backlog: VecDeque::new(),
            completions: VecDeque::with_capacity(RING_COMPLETIONS as usize),
        })
    }

    pub(super) fn features(&self) -> Features {
        self.features
    }

    /// Switches off what was found not to work.
    pub(super) fn renounce(&mut self, without: impl FnOnce(&mut Features)) {
        without(&mut self.features);
    }

    pub(super) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.ring.submitter()
    }

    /// Queues an entry; it reaches the kernel with the next [`enter`](Ring::enter), or earlier.
    ///
    /// # Safety
    ///
    /// - Memory and descriptor that the entry names stay valid, and that memory unused by anybody
    ///   else, until its last completion has been taken from [`next`](Ring::next) (for an entry
    ///   with the flag SKIP_SUCCESS: until `enter` has said that all is submitted, and no
    ///   completion is there).
    /// - Its user data is a [`Token`] that leads back to their owner.
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry) {
        if !self.backlog.is_empty() {
            self.backlog.push_back(entry);
            return;
        }
        // SAFETY: the caller's promise is the one that `push` wants.
        if unsafe { self.ring.submission().push(&entry) }.is_ok() {
            return;
        }
        // Full: submit and go on. Completions that this makes are taken by the next `enter`.
        let _ = self.ring.submit();
        // SAFETY: as above.
        if unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.backlog.push_back(entry);
        }
    }

    fn push_backlog(&mut self) {
        while let Some(entry) = self.backlog.front() {
            // SAFETY: the promise made to `push` when the entry was put there holds until its
            // completion.
            if unsafe { self.ring.submission().push(entry) }.is_err() {
                break;
            }
            self.backlog.pop_front();
        }
    }

    /// One system call: submits everything, sleeps for `patience`, and takes in all completions.
    /// `true`: everything has been submitted, and no completion of it is left in the kernel.
    ///
    /// Errors are those of the ring itself; there is nothing to do but to end the core.
    pub(super) fn enter(&mut self, patience: Patience) -> io::Result<bool> {
        self.push_backlog();
        let sleeps = patience.max_us > 0 && self.backlog.is_empty();
        let time = Timespec::new()
            .sec(patience.max_us / 1_000_000)
            .nsec((patience.max_us % 1_000_000) as u32 * 1_000);
        let mut args = SubmitArgs::new().timespec(&time);
        if self.features.min_wait {
            args = args.min_wait_usec(patience.gather_us);
        }
        let want = if sleeps { patience.events.max(1) as usize } else { 0 };
        let entered =
            if sleeps { self.ring.submitter().submit_with_args(want, &args) } else { self.poll() };
        match entered {
            Ok(_) => {}
            Err(error) => match error.raw_os_error() {
                // The time is up; a signal; completions must be taken first; no memory just now.
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => {}
                _ => return Err(error),
            },
        }
        self.take_in();
        while self.ring.submission().cq_overflow() {
            self.poll().map(drop).or_else(|error| match error.raw_os_error() {
                Some(libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            })?;
            self.take_in();
        }
        Ok(self.backlog.is_empty() && self.ring.submission().is_empty())
    }

    /// Submits, and runs deferred completions without waiting: `Submitter::submit` asks for events
    /// only when it knows of some, and of deferred ones it does not.
    fn poll(&mut self) -> io::Result<usize> {
        const GETEVENTS: u32 = 1;
        let pending = self.ring.submission().len() as u32;
        // SAFETY: the entries up to the queue's tail were pushed under the promise of `push`.
        unsafe { self.ring.submitter().enter::<libc::sigset_t>(pending, 0, GETEVENTS, None) }
    }

    fn take_in(&mut self) {
        let completions = self.ring.completion().map(|entry| Completion {
            token: Token::from_user_data(entry.user_data()),
            result: entry.result(),
            flags: entry.flags(),
        });
        self.completions.extend(completions);
    }

    /// Completions in the order in which they came.
    pub(super) fn next(&mut self) -> Option<Completion> {
        self.completions.pop_front()
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("features", &self.features).finish_non_exhaustive()
    }
}

/// The best kind of ring that the kernel makes; `true`: with deferred completions.
fn setup(deferred: bool) -> Result<(IoUring, bool), BootError> {
    if let Ok(limit_bytes) = super::descriptors::locked_memory_max_bytes()
        && limit_bytes < crate::base::limits::LOCKED_MEMORY_MIN_BYTES
    {
        return Err(BootError::LockedMemory { limit_bytes });
    }
    let with = |set: &dyn Fn(&mut io_uring::Builder)| {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(RING_COMPLETIONS).dontfork();
        set(&mut builder);
        builder.build(RING_SUBMISSIONS)
    };
    let unknown_flag = |error: &io::Error| error.raw_os_error() == Some(libc::EINVAL);
    if deferred {
        match with(&|builder| {
            builder.setup_single_issuer().setup_defer_taskrun().setup_submit_all();
        }) {
            Ok(ring) => return Ok((ring, true)),
            Err(error) if unknown_flag(&error) => {}
            Err(error) => return Err(BootError::of_setup(error)),
        }
    }
    match with(&|builder| {
        builder.setup_coop_taskrun().setup_submit_all();
    }) {
        Ok(ring) => return Ok((ring, false)),
        Err(error) if unknown_flag(&error) => {}
        Err(error) => return Err(BootError::of_setup(error)),
    }
    with(&|_| {}).map(|ring| (ring, false)).map_err(BootError::of_setup)
}
