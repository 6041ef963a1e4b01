//! What can keep a core from starting, in words that say what to change.
//!
//! Called by `ring` and `reactor`; shown by `process` before it exits.

use std::fmt;
use std::io;

use super::descriptors;
use crate::base::limits::LOCKED_MEMORY_MIN_BYTES;

/// Why there is no ring.
#[derive(Debug)]
pub enum BootError {
    /// The machine's administrator forbids io_uring.
    Disabled {
        sysctl: u8,
    },
    /// Refused although the sysctl allows it: a seccomp profile, as most containers have.
    Filtered {
        errno: i32,
    },
    /// The kernel was built without it.
    Missing,
    /// RLIMIT_MEMLOCK.
    LockedMemory {
        limit_bytes: u64,
    },
    /// RLIMIT_NOFILE.
    Descriptors,
    /// The kernel has io_uring, but lacks something that there is no way around.
    TooOld {
        lacks: &'static str,
    },
    /// The executor that hosts the core did not start.
    Executor {
        cpu: usize,
        why: String,
    },
    Other {
        doing: &'static str,
        error: io::Error,
    },
}

/// Whether a ring can be made at all: to be asked before anything else is started.
pub fn check() -> Result<(), BootError> {
    super::ring::Ring::new(super::features::Features::ALL).map(drop)
}

impl BootError {
    /// An error on the way to a ring, `doing` something that needs descriptors or memory.
    pub(super) fn of(doing: &'static str, error: io::Error) -> BootError {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => BootError::Descriptors,
            _ => BootError::Other { doing, error },
        }
    }

    /// Finds out what an error of `io_uring_setup` means on this machine.
    pub(super) fn of_setup(error: io::Error) -> BootError {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => match io_uring_disabled() {
                Some(sysctl) if sysctl > 0 => BootError::Disabled { sysctl },
                _ => BootError::Filtered { errno: error.raw_os_error().unwrap_or(libc::EPERM) },
            },
            // Some container runtimes answer ENOSYS for what they filter; a kernel that knows the
            // sysctl knows io_uring too.
            Some(libc::ENOSYS) => match io_uring_disabled() {
                Some(_) => BootError::Filtered { errno: libc::ENOSYS },
                None => BootError::Missing,
            },
            Some(libc::ENOMEM) => match descriptors::locked_memory_max_bytes() {
                Ok(limit_bytes) => BootError::LockedMemory { limit_bytes },
                Err(_) => BootError::Other { doing: "io_uring_setup", error },
            },
            Some(libc::EMFILE | libc::ENFILE) => BootError::Descriptors,
            _ => BootError::Other { doing: "io_uring_setup", error },
        }
    }
}

/// `kernel.io_uring_disabled`: 0 allowed, 1 only for a group, 2 forbidden; `None` before Linux 6.6.
fn io_uring_disabled() -> Option<u8> {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::Disabled { sysctl } => write!(
                f,
                "io_uring is forbidden: sysctl kernel.io_uring_disabled is {sysctl}; set it to 0, \
                 or to 1 with the group of corelay in kernel.io_uring_group"
            ),
            BootError::Filtered { errno } => write!(
                f,
                "io_uring is refused (error {errno}) although the kernel allows it: a seccomp \
                 filter, as in most containers; allow io_uring_setup, io_uring_enter and \
                 io_uring_register in its profile"
            ),
            BootError::Missing => {
                write!(f, "this kernel has no io_uring; use Linux 5.11 or later built with it")
            }
            BootError::LockedMemory { limit_bytes } => write!(
                f,
                "locked memory is limited to {limit_bytes} bytes, at least \
                 {LOCKED_MEMORY_MIN_BYTES} are needed for each core; raise it with \
                 LimitMEMLOCK=infinity in the systemd unit, or ulimit -l"
            ),
            BootError::Descriptors => write!(
                f,
                "out of file descriptors while starting; raise LimitNOFILE in the systemd unit, \
                 or ulimit -n"
            ),
            BootError::TooOld { lacks } => {
                write!(f, "this kernel's io_uring lacks {lacks}; use Linux 5.11 or later")
            }
            BootError::Executor { cpu, why } => write!(
                f,
                "cpu {cpu} can not be used: {why}; see proxy.cores in the configuration and the \
                 cpus this process is allowed on"
            ),
            BootError::Other { doing, error } => write!(f, "{doing}: {error}"),
        }
    }
}

impl std::error::Error for BootError {}
