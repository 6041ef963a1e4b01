//! Free memory of the calling thread, given back to the system.

#![allow(unsafe_code, reason = "mimalloc has no safe name for this")]

/// Hands pages that this thread has freed back to the system. Not for every turn: it
/// looks through all of the thread's free memory.
pub fn give_back() {
    // SAFETY: `mi_collect` may be called at any time by any thread; it touches only what is free.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// From now on the kernel makes no huge pages for this process: they hold free memory between
/// that of clients (2 MiB at a time, also long after it was given back), and what a core works on
/// is small. A kernel that does not know the call goes on as it does.
pub fn no_huge_pages() {
    // SAFETY: takes numbers only, and changes nothing but how memory is paged.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}
