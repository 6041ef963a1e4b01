//! Which errors a client of the simulation may hear.

use std::collections::BTreeSet;

use crate::relay::sim_model::Expect;
use crate::relay::sim_wild::REFUSALS;
use crate::resp::value;

/// Which errors a client may hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Faults {
    None,
    /// A shard has got another address: only a WAIT for what was written at the old one.
    Left,
    /// Whatever a proxy says of a shard that is lost.
    Any,
    /// Of a watched shard: only a write whose outcome is unknown, only a WAIT whose connection was
    /// lost.
    Unknown,
}

/// Whether it may be heard instead of what was asked for.
pub(super) fn is_fit_error(expect: &Expect, reply: &[u8], truth: (Faults, &BTreeSet<u64>)) -> bool {
    let (faults, executed) = truth;
    let word = value::error_word(reply);
    let ordinary = REFUSALS.iter().any(|refusal| word == refusal.as_bytes());
    let lost_writes = reply.starts_with(b"-ERR A connection that carried");
    let unknown = reply.starts_with(b"-ERR outcome unknown: ");
    // A script's refusal is believed now and then only.
    let refused = [b"-READONLY You".as_slice(), b"-LOADING Redis"];
    if matches!(faults, Faults::Any | Faults::Unknown)
        && matches!(expect, Expect::Ran(..))
        && refused.iter().any(|word| reply.starts_with(word))
    {
        return true;
    }
    match faults {
        Faults::None => false,
        Faults::Left => matches!(expect, Expect::Waited) && lost_writes,
        _ if ordinary => true,
        Faults::Any => {
            let words = [b"-ERR ".as_slice(), b"-NOSC", b"-LOADING shard "];
            words.iter().any(|word| reply.starts_with(word))
        }
        Faults::Unknown if is_overtaken(reply) => is_undone(expect, executed),
        Faults::Unknown => match expect {
            Expect::Ran(..) => unknown || reply.starts_with(b"-NOSC"),
            Expect::Written(_) | Expect::Pushed(_) | Expect::Deleted => unknown,
            Expect::Waited => lost_writes,
            _ => false,
        },
    }
}

/// Whether this error is one that EXEC may give: what it says was not executed was not, and what may
/// have been was as a whole.
pub(super) fn is_no_commit(
    versions: &[u64],
    reply: &[u8],
    (faults, executed): (Faults, &BTreeSet<u64>),
) -> bool {
    let done = versions.iter().filter(|version| executed.contains(version)).count();
    let begins = |word: &str| reply.starts_with(word.as_bytes());
    let refused = begins("-EXECABORT ") || is_overtaken(reply);
    match faults {
        Faults::None | Faults::Left => false,
        _ if refused => done == 0,
        _ if begins("-ERR outcome unknown: ") => done == 0 || done == versions.len(),
        Faults::Unknown => false,
        Faults::Any if begins("-LOADING shard ") => done == 0,
        Faults::Any => begins("-ERR ") && (done == 0 || done == versions.len()),
    }
}

/// Refused, and then a later request of the same client was taken: it can not be sent again.
pub(super) fn is_overtaken(reply: &[u8]) -> bool {
    let text = String::from_utf8_lossy(reply);
    text.starts_with("-LOADING shard ") && text.contains("then took a later request of yours")
}

/// What was asked for is no read, and has not been executed.
fn is_undone(expect: &Expect, executed: &BTreeSet<u64>) -> bool {
    match expect {
        Expect::Ran(version, _) | Expect::Pushed(version) => !executed.contains(version),
        // One of several may have been: on another shard.
        Expect::Written(versions) => versions.len() > 1 || !executed.contains(&versions[0]),
        other => matches!(other, Expect::Deleted | Expect::Waited),
    }
}
