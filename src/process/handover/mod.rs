//! The handover: a fresh process takes the place of one that runs, and no client is refused.
//!
//! ```text
//!  the new process (take)                    the old process (give)
//!    its configuration is right
//!    Take ────────────────────────────────▶  is it of this user, and am I free?
//!      ◀──────────────── Sockets, Sockets, …  the listening sockets themselves
//!      ◀──────────────────────────────── All
//!    boots whatever can fail                  goes on; another Take is refused
//!    opens its doors: both accept
//!    Serving ─────────────────────────────▶
//!                                            stops accepting, drains, ends
//!    looks who waits  ◀───────────── Yours
//! ```
//!
//! What is handed over is not the address but the very sockets, with what waits in their queues:
//! a socket that is bound anew beside the old one gets only some of the connections, and those that
//! wait at the old one are lost when it is closed. So a new process uses all of them, also if it has
//! fewer cores than they are. Nothing is lost whenever one of the two dies: before `Serving` the old
//! one serves as ever, after it the new one does; between the two both do.
//!
//! Of those who wait for a connection at the same socket the kernel wakes one. If that one gives up
//! before it has accepted, nobody else hears of the connection: so whoever is left looks once more.

pub(super) mod give;
pub(super) mod take;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use crate::net::handover::Line;

/// Of the words below. Who meets another one says so, and nothing happens.
const VERSION: u32 = 1;

/// What a listening socket is for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    Pool,
    Admin,
    Stats,
    /// The socket at which processes ask for all this.
    Handover,
}

/// A listening socket as a process knows it: its address as the configuration shows it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Place {
    pub(super) role: Role,
    pub(super) at: String,
}

/// What the two say to each other, each a message of JSON.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    /// The first one. What it has must be understood by every version.
    Take {
        version: u32,
        pid: u32,
    },
    Refused(String),
    /// With descriptors of sockets of this place; there may be more of them in the next message.
    Sockets(Place),
    /// That was all; `pid` is the old process.
    All {
        pid: u32,
    },
    Serving,
    /// The old process accepts nobody any more. Its clients are served for so long; `None`: until they leave.
    Yours {
        grace_ms: Option<u64>,
    },
}

fn say(line: &Line, word: &Word, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    line.send(&serde_json::to_vec(word)?, descriptors)
}

/// The next word. An error of the kind `InvalidData`: it is none.
fn hear(line: &Line) -> io::Result<(Word, Vec<OwnedFd>)> {
    let (bytes, descriptors) = line.receive()?;
    let word = serde_json::from_slice(&bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a word that is not known here"))?;
    Ok((word, descriptors))
}

/// A time to be told.
pub(super) fn shown(grace_ms: Option<u64>) -> String {
    grace_ms.map_or_else(|| "none".to_owned(), |grace_ms| grace_ms.to_string())
}
