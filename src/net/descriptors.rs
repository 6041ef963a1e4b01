//! Limits of the process that a proxy runs into: descriptors and locked memory.
//!
//! Called once at boot, by `process`.

use std::io;

fn limit(what: libc::__rlimit_resource_t) -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a local of the right type, which outlives the call.
    let result = unsafe { libc::getrlimit(what, &raw mut limit) };
    if result == 0 { Ok(limit) } else { Err(io::Error::last_os_error()) }
}

/// Raises the soft limit of open descriptors to the hard one; gives what is in force afterwards.
pub fn raise_limit() -> io::Result<u64> {
    let mut descriptors = limit(libc::RLIMIT_NOFILE)?;
    if descriptors.rlim_cur < descriptors.rlim_max {
        descriptors.rlim_cur = descriptors.rlim_max;
        // SAFETY: the pointer is to a local of the right type, which outlives the call.
        let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const descriptors) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(descriptors.rlim_cur)
}

/// Soft limit of locked memory, bytes; `u64::MAX`: none.
pub fn locked_memory_max_bytes() -> io::Result<u64> {
    limit(libc::RLIMIT_MEMLOCK).map(|limit| limit.rlim_cur)
}

/// How many clients may be connected over all cores so that everything else still finds its
/// descriptors: `limit` - (`cores` × [`CORE_DESCRIPTORS`](crate::base::limits::CORE_DESCRIPTORS)
/// + `others`), but at least half of the limit, at least 1.
pub fn clients_max(limit: u64, cores: usize, others: usize) -> usize {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let reserved = cores * crate::base::limits::CORE_DESCRIPTORS + others;
    limit.saturating_sub(reserved).max(limit / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_descriptors_for_everything_else() {
        let limit = raise_limit().unwrap();
        assert!(limit >= 64);
        let reserved = 100 + 2 * crate::base::limits::CORE_DESCRIPTORS;
        assert_eq!(clients_max(20_000, 2, 100), 20_000 - reserved);
        assert_eq!(clients_max(128, 2, 100), 64);
        assert_eq!(clients_max(1, 2, 100), 1);
        assert_eq!(clients_max(u64::MAX, 0, 0), usize::MAX);
    }
}
