//! CLIENT TRACKING: clients that keep what they have read, and are told when it may have changed.
//!
//! Each core has one more connection to each node, its *tracker*, on which redis names every key that
//! is written there (CLIENT TRACKING ON BCAST); requests go their usual ways. Which client has read
//! what stands in a table here (see `invalidation`), as it would in redis.
//!
//! ```text
//!  dispatch_tracked ─▶ take_in ─▶ note_keys ─▶ note_key ─▶ (remember | tell)
//!  tracker's push ─▶ on_invalidation ─▶ invalidate ─▶ tell ─▶ behind what the client has asked for
//! ```
//!
//! What must never be: that a client keeps an old value and does not hear of the new one. So
//! - an invalidation stands behind all that its client has asked for before: a value that was read
//!   earlier, and comes later over another connection, would be kept after it;
//! - a key is remembered when it is asked for, and only if its shard's tracker hears by then. If it
//!   does not, the invalidation follows the value at once;
//! - when a tracker is lost, all clients of the pool forget everything.

#[cfg(test)]
mod bounds_tests;
mod invalidation;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "of tests")]
pub(super) mod sim;
#[cfg(test)]
mod tests;
mod trackers;

use std::collections::BTreeSet;

use crate::base::ids::ClientId;
use crate::base::limits::CLIENT_PREFIXES_MAX;
use crate::base::time::Now;
use crate::command::flags::Flags;
use crate::command::keys::find_keys;
use crate::command::model::{Command, Family, Keys, Run, Special};
use crate::command::{Lookup, lookup};
use crate::relay::Relay;
use crate::relay::client::{Client, Stall};
use crate::relay::dispatch::Outcome;
use crate::resp::Protocol;
use crate::resp::args::Request;
use crate::resp::encode::{self, Encoder};
pub(super) use invalidation::Table;

const SYNTAX: &str = "ERR syntax error";
const NO_REDIRECT: &str = "ERR REDIRECT is not served: say HELLO 3, and invalidations come on this \
                           connection";
const NO_NOLOOP: &str = "ERR NOLOOP is not served: clients share the connections to a redis-server, \
                         which can not tell whose write it was. Track without it";
const NEEDS_RESP3: &str = "ERR tracking needs RESP3: say HELLO 3 before, and invalidations come on \
                           this connection";
pub(super) const ENDS_RESP3: &str =
    "ERR tracking is on, and needs RESP3: say CLIENT TRACKING OFF before HELLO 2";
const OTHER_BROADCAST: &str = "ERR You can't switch BCAST mode on/off before disabling tracking for \
                               this client, and then re-enabling it with a different mode.";
const OTHER_CHOICE: &str = "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for \
                            this client, and then re-enabling it with a different mode.";
const NOT_TRACKING: &str = "ERR CLIENT CACHING can be called only when the client is in tracking \
                            mode with OPTIN or OPTOUT mode enabled";

/// A client that tracks.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    mode: Mode,
    /// CLIENT CACHING was said, of what it asks for next: YES by who opts in, NO by who opts out.
    chosen: bool,
    /// It hears of keys that begin so.
    prefixes: BTreeSet<Box<[u8]>>,
}

/// Of which keys a client hears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// Of all that it reads.
    #[default]
    Read,
    OptIn,
    OptOut,
    /// Of all that there are.
    Broadcast,
}

/// What CLIENT TRACKING says behind ON or OFF.
#[derive(Default)]
struct Options<'a> {
    opt_in: bool,
    opt_out: bool,
    broadcast: bool,
    no_loop: bool,
    redirect: bool,
    prefixes: Vec<&'a [u8]>,
}

impl Tracked {
    /// Whether it hears of what it reads next.
    fn keeps(&self, key: &[u8]) -> bool {
        match self.mode {
            Mode::Read => true,
            Mode::OptIn => self.chosen,
            Mode::OptOut => !self.chosen,
            Mode::Broadcast => self.hears_all_of(key),
        }
    }

    /// CLIENT CACHING: of what it asks for next.
    fn choose(&mut self, word: &[u8]) -> Result<(), String> {
        let (said, mode) = match word.to_ascii_lowercase().as_slice() {
            b"yes" => ("YES", Mode::OptIn),
            b"no" => ("NO", Mode::OptOut),
            _ => return Err(SYNTAX.to_owned()),
        };
        if self.mode != mode {
            let mode = if mode == Mode::OptIn { "OPTIN" } else { "OPTOUT" };
            return Err(format!(
                "ERR CLIENT CACHING {said} is only valid when tracking is enabled in {mode} mode."
            ));
        }
        self.chosen = true;
        Ok(())
    }

    fn hears_all_of(&self, key: &[u8]) -> bool {
        self.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }
}

impl Client {
    pub(super) fn tracks(&self) -> bool {
        self.tracking.is_some()
    }
}

impl Relay {
    /// Takes in one request of a client that tracks.
    #[cold]
    pub(super) fn dispatch_tracked(
        &mut self,
        id: ClientId,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        let command = match lookup(request) {
            Lookup::Found(command) => Some(command),
            _ => None,
        };
        if command.is_some_and(|command| self.waits_to_stand_alone(id, command)) {
            return Outcome::Postponed;
        }
        let outcome = self.take_in(id, request, now);
        if outcome == Outcome::Postponed {
            return outcome;
        }
        if let Some(command) = command {
            self.note_keys(id, command, request);
        }
        let about_client = command.is_some_and(|command| command.name.starts_with("client"));
        if let Some(client) = self.client(id)
            && !about_client
            && client.transaction.is_none()
            && let Some(tracked) = &mut client.tracking
        {
            tracked.chosen = false;
        }
        outcome
    }

    /// What may block, or has its turn (see `guard`), waits until all before it is answered: then it
    /// stands alone in the client's order, and does not wait for invalidations, nor they for its end.
    fn waits_to_stand_alone(&mut self, id: ClientId, command: &Command) -> bool {
        let Some(client) = self.open_client(id) else { return false };
        let alone = match command.run {
            Run::Block(_) => client.transaction.is_none(),
            Run::Special(Special::Watch) => true,
            Run::Special(Special::Exec) => client.guard.is_some(),
            _ => false,
        };
        let waits = alone && !client.order.is_empty();
        if waits {
            client.stall = Some(Stall::Lanes);
        }
        waits
    }

    /// The keys of a request that has its slot. (Of what blocks nothing is remembered: what it says
    /// is no value to keep.)
    fn note_keys(&mut self, id: ClientId, command: &Command, request: &Request<'_>) {
        let Some(client) = self.client(id) else { return };
        if client.blocked.is_some() {
            return;
        }
        let writes = command.flags.contains(Flags::WRITE);
        let reads = command.flags.contains(Flags::READONLY) || command.family == Family::Scripting;
        if writes && command.keys == Keys::None && client.transaction.is_none() {
            return self.tell_all(id); // it has asked for FLUSHALL
        }
        if !writes && !reads {
            return;
        }
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        if find_keys(command, request, &mut keys).is_ok() {
            for key in &keys {
                let key = request.arg(*key as usize);
                match self.client(id).and_then(|client| client.transaction.as_mut()) {
                    Some(transaction) => transaction.note_key(key, writes),
                    None => self.note_key(id, key, writes),
                }
            }
        }
        self.keys = keys;
    }

    /// CLIENT TRACKING ON | OFF …
    pub(super) fn client_tracking(&mut self, id: ClientId, request: &Request<'_>, now: Now) {
        let said = options(request).and_then(|options| {
            match request.arg(2).to_ascii_lowercase().as_slice() {
                b"on" => self.begin_tracking(id, &options, now),
                b"off" => {
                    self.end_tracking(id);
                    Ok(())
                }
                _ => Err(SYNTAX.to_owned()),
            }
        });
        self.answer_ok(id, said);
    }

    fn answer_ok(&mut self, id: ClientId, said: Result<(), String>) {
        self.answer(id, |out| match said {
            Ok(()) => encode::simple(out, "OK"),
            Err(text) => encode::error(out, text),
        });
    }

    fn begin_tracking(
        &mut self,
        id: ClientId,
        options: &Options<'_>,
        now: Now,
    ) -> Result<(), String> {
        let Some(client) = self.client(id) else { return Ok(()) };
        let prefixes = wanted(client, options)?;
        let pool = client.pool;
        let fresh = client.tracking.is_none();
        let tracked = client.tracking.get_or_insert_default();
        tracked.mode = match options {
            Options { broadcast: true, .. } => Mode::Broadcast,
            Options { opt_in: true, .. } => Mode::OptIn,
            Options { opt_out: true, .. } => Mode::OptOut,
            _ => Mode::Read,
        };
        tracked.prefixes.extend(prefixes.iter().cloned());
        self.pools[pool.index()].tracking.join(id, fresh, prefixes);
        self.count_tracking(pool);
        self.connect_trackers(pool, now);
        Ok(())
    }

    /// CLIENT TRACKING OFF, RESET: what the table still has of it is forgotten with the keys.
    pub(super) fn end_tracking(&mut self, id: ClientId) {
        let Some(client) = self.client(id) else { return };
        if let (Some(tracked), pool) = (client.tracking.take(), client.pool) {
            self.leave_tracking(id, pool, &tracked);
        }
    }

    /// CLIENT CACHING YES | NO
    pub(super) fn client_caching(&mut self, id: ClientId, request: &Request<'_>) {
        let Some(client) = self.client(id) else { return };
        let said = match &mut client.tracking {
            Some(tracked) => tracked.choose(request.arg(2)),
            None => Err(NOT_TRACKING.to_owned()),
        };
        self.answer_ok(id, said);
    }

    /// CLIENT GETREDIR: nobody, or the client itself.
    pub(super) fn client_getredir(&mut self, id: ClientId) {
        let Some(tracks) = self.client(id).map(|client| client.tracks()) else { return };
        self.answer(id, |out| encode::integer(out, redirection(tracks)));
    }

    pub(super) fn client_trackinginfo(&mut self, id: ClientId) {
        let Some(client) = self.client(id) else { return };
        let encoder = Encoder::new(client.protocol);
        let none = BTreeSet::new();
        let (flags, prefixes) = match &client.tracking {
            None => (vec!["off"], &none),
            Some(tracked) => (flags_of(tracked), &tracked.prefixes),
        };
        let mut out = Vec::new();
        encoder.map_header(&mut out, 3);
        encode::bulk(&mut out, b"flags");
        encoder.set_header(&mut out, flags.len());
        flags.iter().for_each(|flag| encode::bulk(&mut out, flag.as_bytes()));
        encode::bulk(&mut out, b"redirect");
        encode::integer(&mut out, redirection(client.tracks()));
        encode::bulk(&mut out, b"prefixes");
        encode::array_header(&mut out, prefixes.len());
        prefixes.iter().for_each(|prefix| encode::bulk(&mut out, prefix));
        self.answer(id, |reply| reply.extend_from_slice(&out));
    }
}

/// The client to which invalidations are redirected: 0 is the one that has read.
pub(super) fn redirection(tracks: bool) -> i64 {
    if tracks { 0 } else { -1 }
}

fn flags_of(tracked: &Tracked) -> Vec<&'static str> {
    let mut flags = vec!["on"];
    match tracked.mode {
        Mode::Read => {}
        Mode::OptIn => flags.push("optin"),
        Mode::OptOut => flags.push("optout"),
        Mode::Broadcast => flags.push("bcast"),
    }
    match tracked.mode {
        Mode::OptIn if tracked.chosen => flags.push("caching-yes"),
        Mode::OptOut if tracked.chosen => flags.push("caching-no"),
        _ => {}
    }
    flags
}

fn options<'a>(request: &Request<'a>) -> Result<Options<'a>, String> {
    let mut options = Options::default();
    let mut at = 3;
    while let Some(option) = request.get(at) {
        let value = request.get(at + 1);
        match (option.to_ascii_lowercase().as_slice(), value) {
            (b"optin", _) => options.opt_in = true,
            (b"optout", _) => options.opt_out = true,
            (b"bcast", _) => options.broadcast = true,
            (b"noloop", _) => options.no_loop = true,
            (b"prefix", Some(prefix)) => {
                options.prefixes.push(prefix);
                at += 1;
            }
            (b"redirect", Some(number)) => {
                let number = std::str::from_utf8(number).ok();
                if number.and_then(|text| text.parse::<i64>().ok()).is_none() {
                    return Err("ERR value is not an integer or out of range".to_owned());
                }
                options.redirect = true;
                at += 1;
            }
            _ => return Err(SYNTAX.to_owned()),
        }
        at += 1;
    }
    Ok(options)
}

/// The prefixes that a client is to hear of as well, if it may switch tracking on in this way. What
/// redis objects to is objected to in its words and order.
fn wanted(client: &Client, options: &Options<'_>) -> Result<Vec<Box<[u8]>>, String> {
    let (none, tracked) = (BTreeSet::new(), client.tracking.as_deref());
    let existing = tracked.map_or(&none, |tracked| &tracked.prefixes);
    let mode = tracked.map(|tracked| tracked.mode);
    let Options { opt_in, opt_out, broadcast, .. } = *options;
    if options.redirect {
        return Err(NO_REDIRECT.to_owned());
    }
    if !broadcast && !options.prefixes.is_empty() {
        return Err("ERR PREFIX option requires BCAST mode to be enabled".to_owned());
    }
    if mode.is_some_and(|mode| (mode == Mode::Broadcast) != broadcast) {
        return Err(OTHER_BROADCAST.to_owned());
    }
    if broadcast && (opt_in || opt_out) {
        return Err("ERR OPTIN and OPTOUT are not compatible with BCAST".to_owned());
    }
    if opt_in && opt_out {
        return Err("ERR You can't specify both OPTIN mode and OPTOUT mode".to_owned());
    }
    if (opt_in && mode == Some(Mode::OptOut)) || (opt_out && mode == Some(Mode::OptIn)) {
        return Err(OTHER_CHOICE.to_owned());
    }
    for (at, prefix) in options.prefixes.iter().enumerate() {
        let behind = options.prefixes.iter().skip(at + 1).copied();
        let of_client = existing.iter().map(|prefix| &**prefix);
        let known = of_client.map(|other| (other, "an existing"));
        let given = behind.map(|other| (other, "another provided"));
        if let Some((other, which)) = known.chain(given).find(|(other, _)| overlap(prefix, other)) {
            return Err(format!(
                "ERR Prefix '{}' overlaps with {which} prefix '{}'. Prefixes for a single client \
                 must not overlap.",
                String::from_utf8_lossy(prefix),
                String::from_utf8_lossy(other)
            ));
        }
    }
    if options.no_loop {
        return Err(NO_NOLOOP.to_owned());
    }
    if client.protocol == Protocol::Resp2 {
        return Err(NEEDS_RESP3.to_owned());
    }
    let every: &[&[u8]] = &[b""];
    let prefixes = match options.prefixes.as_slice() {
        [] if broadcast => every,
        prefixes => prefixes,
    };
    let fresh = prefixes.iter().filter(|prefix| !existing.contains(**prefix));
    let fresh: Vec<Box<[u8]>> = fresh.map(|prefix| Box::from(*prefix)).collect();
    if existing.len() + fresh.len() > CLIENT_PREFIXES_MAX {
        return Err(format!("ERR a client of this proxy may have {CLIENT_PREFIXES_MAX} prefixes"));
    }
    Ok(fresh)
}

fn overlap(one: &[u8], other: &[u8]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}
