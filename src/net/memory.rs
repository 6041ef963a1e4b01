//! Free memory of the calling thread, given back to the system.

#![allow(unsafe_code, reason = "mimalloc has no safe name for this")]

/// Hands pages that this thread has freed back to the system. Not for every turn: it
/// looks through all of the thread's free memory.
pub fn give_back() {
    // SAFETY: `mi_collect` may be called at any time by any thread; it touches only what is free.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
