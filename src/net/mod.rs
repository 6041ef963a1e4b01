//! Sockets and the ring: everything that touches a file descriptor on the data path.
//!
//! This is the only room with `unsafe`. What it promises to the rooms above, and what every SAFETY
//! note in it leans on:
//!
//! - *Memory named in a queue entry outlives its completion.* Chunks, vectors and addresses belong
//!   to a socket's record; a closed socket's record stays until its last completion is in.
//! - *A receive buffer is given back exactly once.* [`buffers::Received`] can not be copied;
//!   reading borrows it, giving back consumes it.
//! - *User data carries kind, index and generation*, so that a late completion finds its own record
//!   or none.
//! - *What a cancelled operation still delivers is released*: a descriptor is closed, a buffer
//!   given back.
//! - *At the end all operations are cancelled and awaited* before memory is freed; what can not be
//!   awaited is leaked.
//!
//! It must never know a client from a lane, nor Redis from anything else. Its caller is `reactor`
//! (and `mailbox`, for the descriptor that wakes a core).
#![allow(unsafe_code, reason = "the one room that talks to the kernel; see the promises above")]

pub mod boot;
pub mod buffers;
mod completions;
pub mod descriptors;
pub mod event;
pub mod features;
pub mod handover;
pub mod listen;
mod listening;
pub mod memory;
mod outgoing;
mod pages;
pub mod ring;
pub mod socket;
pub mod sockets;
mod trial;
pub mod wake;

#[cfg(test)]
mod tests;
