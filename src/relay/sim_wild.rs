//! Stores of the simulation that refuse, stray, and say what can not be.

use crate::relay::sim_model::{Node, Store, Wire};
use crate::resp::args::Request;

/// What a store does wrong with its next request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wild {
    /// Refuses it, as redis does for a reason of its own. The lane stays.
    Refuses(&'static str),
    /// Says something first that nobody has asked for.
    Strays,
    /// Gives a reply that this command never gives.
    Misfits,
    /// Gives what is no reply.
    Garbles,
}

/// What says nothing of being a primary: a watched shard's refusals of that kind are no client's.
pub(super) const REFUSALS: [&str; 4] = ["OOM", "MISCONF", "NOREPLICAS", "BUSY"];

/// What is answered by a number.
const COUNTS: [&[u8]; 6] = [b"DEL", b"DBSIZE", b"WAIT", b"RPUSH", b"PUBLISH", b"SPUBLISH"];

impl Wild {
    pub(super) fn any(number: u64) -> Wild {
        match number % 8 {
            0..=2 => Wild::Refuses(REFUSALS[(number / 8) as usize % REFUSALS.len()]),
            3 | 4 => Wild::Strays,
            5 | 6 => Wild::Misfits,
            _ => Wild::Garbles,
        }
    }
}

impl Store {
    /// The next request of a client, if this store is wild; `false`: it was answered wrongly.
    pub(super) fn stays_honest(&mut self, request: &Request<'_>, wire: &mut Wire) -> bool {
        let name = request.name();
        if wire.doomed.is_some()
            || matches!(name, b"PING" | b"ROLE" | b"SELECT" | b"HELLO" | b"CLIENT" | b"SCRIPT")
            || name == b"MULTI"
        {
            return true;
        }
        let Some(wild) = self.wild.take() else { return true };
        if let (Some(queue), false) = (&mut wire.queue, matches!(wild, Wild::Strays)) {
            queue.is_spoilt = true;
        }
        let whatever = name.starts_with(b"EVAL"); // which may be answered by anything
        let (proof, answered): (&[u8], bool) = match wild {
            Wild::Refuses(word) => {
                if name == b"EXEC" {
                    return true; // and says EXECABORT
                }
                let word = if wire.node == Node::Third { "REPLICA" } else { word };
                wire.output.extend(format!("-{word} not now\r\n").bytes());
                return false;
            }
            Wild::Strays if wire.resp3 => (b"?\r\n", false),
            Wild::Strays => (b"#t\r\n", false),
            Wild::Misfits if !whatever && COUNTS.contains(&name) => (b"$1\r\n1\r\n", true),
            Wild::Misfits if !whatever => (b":1\r\n", true),
            Wild::Misfits | Wild::Garbles => (b"$-7\r\n", true),
        };
        wire.output.extend(proof);
        wire.doomed = Some(wire.output.len());
        if answered && name == b"EXEC" {
            wire.queue = None;
        }
        !answered
    }
}
