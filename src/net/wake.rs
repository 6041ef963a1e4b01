//! The descriptor that wakes a core: an eventfd, written by any thread, read by the core's ring.
//!
//! Called by `mailbox` (both ends) and `sockets` (which arms the read).

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

/// Both ends of a wake-up; clones name the same eventfd.
#[derive(Clone, Debug)]
pub struct WakeFd {
    file: Arc<File>,
}

impl WakeFd {
    /// Fails when descriptors have run out.
    pub fn new() -> io::Result<WakeFd> {
        // Not O_NONBLOCK: the ring would complete its read with EAGAIN instead of waiting.
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor, nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(WakeFd { file: Arc::new(File::from(fd)) })
    }

    /// Completes the core's pending read, or its next one. Never blocks: the counter would have to
    /// reach 2^64 - 2 first.
    pub fn wake(&self) {
        // The only failures left are those of a closed descriptor, which an owned one is not.
        let _ = (&*self.file).write(&1_u64.to_ne_bytes());
    }
}

impl AsFd for WakeFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
