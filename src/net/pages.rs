//! Anonymous memory in whole pages, given to the kernel for longer than a borrow lasts.
//!
//! Called by `buffers` only. Nothing is resident before it is touched.

use std::io;
use std::ptr::NonNull;

/// Zeroed, page-aligned memory that stays where it is until it is dropped.
#[derive(Debug)]
pub(super) struct Pages {
    start: NonNull<u8>,
    bytes: usize,
}

impl Pages {
    /// `bytes` > 0, rounded up to whole pages by the kernel. Fails with `ENOMEM`.
    pub(super) fn new(bytes: usize) -> io::Result<Pages> {
        debug_assert!(bytes > 0);
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches no memory
        // that exists.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        match NonNull::new(start.cast()) {
            Some(start) => Ok(Pages { start, bytes }),
            None => Err(io::Error::from_raw_os_error(libc::ENOMEM)),
        }
    }

    pub(super) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Never unmapped: the kernel may still use it.
    pub(super) fn leak(&mut self) {
        self.bytes = 0;
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        // SAFETY: exactly the mapping made in `new`; whoever owned this value has seen to it that
        // neither a reference nor the kernel uses it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
