//! MONITOR: a client sees the requests of its pool, on all cores, as they are taken in.
//!
//! ```text
//!  dispatch ─▶ oversee ─▶ show ─▶ Monitor (a client here)
//!                            └──▶ Viewer  (a core with such a client) ── Seen ──▶ that core
//!                                    ▲                                              │
//!                                    └──────────────── SeenBy ──────────────────────┘
//! ```
//!
//! While nobody monitors, and no pool is paused, a request pays for one look at a flag
//! (`Relay::overseen`). A viewer is sent the next lines when it has answered for those before, so
//! that no mailbox holds more than one letter of them; what does not fit into its bound meanwhile,
//! or into a monitor's that does not read, is not shown, but counted, and its number is. It learns
//! that nobody monitors any more from the answer.

use std::fmt::Write;

use crate::base::ids::{ClientId, PoolId};
use crate::base::limits::{
    CORES_ANSWER_MAX_MS, MONITOR_ARG_BYTES_MAX, MONITOR_ARGS_MAX, MONITOR_WAITING_BYTES_MAX,
};
use crate::base::time::{Now, US_PER_MS, US_PER_S};
use crate::command::flags::Flags;
use crate::command::model::{Command, Family, Keys, Local, Run};
use crate::relay::Relay;
use crate::relay::api::{Ask, Peer, Shared};
use crate::relay::client::Client;
use crate::relay::dispatch::Outcome;
use crate::relay::pair::Reply;
use crate::relay::query::Deed;
use crate::resp::args::Request;
use crate::resp::encode;
use crate::stats::cells::CoreMetric;

const ONLY_FEW: &str = "ERR only PING, AUTH, HELLO, RESET and QUIT are allowed while this client \
                        monitors";

/// A client here that monitors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Monitor {
    client: ClientId,
    pool: PoolId,
    /// Requests that it was not shown since the last one that it was.
    missed: u64,
}

/// Another core, where a client monitors.
#[derive(Debug)]
pub(super) struct Viewer {
    core: u16,
    pool: PoolId,
    lines: Vec<u8>,
    /// Requests that are not in `lines`.
    missed: u64,
    /// No letter before this time: it has not answered for the last one.
    quiet_until_us: u64,
}

impl Relay {
    /// Somebody watches, a pool is paused, or one reads from replicas: what is to be done before a
    /// request is taken in. `Some`: it is not.
    #[cold]
    pub(super) fn oversee(
        &mut self,
        id: ClientId,
        command: &'static Command,
        request: &Request<'_>,
        now: Now,
    ) -> Option<Outcome> {
        let commits = self.commits_changes(id, command);
        let waits = self.postpone(id, Some(command).filter(|_| !commits))
            || (command.may_write() && self.write_waits(id));
        if waits {
            return Some(Outcome::Postponed);
        }
        let monitors = self.client(id).is_some_and(|client| client.monitors);
        let ping = command.run == Run::Local(Local::Ping);
        if monitors && !ping && !command.flags.contains(Flags::NO_AUTH) {
            return Some(self.refuse(id, ONLY_FEW));
        }
        // What ends monitoring is not seen by who ends it.
        let hidden = (monitors && !ping)
            || command.flags.contains(Flags::ADMIN)
            || matches!(command.run, Run::Refuse(_));
        if !hidden {
            self.show(id, request, secret_from(command, request), now);
        }
        None
    }

    /// The same of a command that is not in the table, and is forwarded.
    #[cold]
    pub(super) fn oversee_unknown(
        &mut self,
        id: ClientId,
        request: &Request<'_>,
        now: Now,
    ) -> Option<Outcome> {
        if self.postpone(id, None) || self.write_waits(id) {
            return Some(Outcome::Postponed);
        }
        if self.client(id).is_some_and(|client| client.monitors) {
            return Some(self.refuse(id, ONLY_FEW));
        }
        self.show(id, request, usize::MAX, now);
        None
    }

    pub(super) fn note_overseen(&mut self) {
        self.overseen = self.pauses_end_us != u64::MAX
            || !self.monitors.is_empty()
            || !self.viewers.is_empty()
            || self.reads_replicas;
    }

    /// MONITOR: once what the client asked for before is answered.
    pub(super) fn monitor(&mut self, id: ClientId, family: Family, now: Now) {
        match self.client(id).is_some_and(|client| client.monitors) {
            true => self.answer(id, |out| encode::simple(out, "OK")),
            false => self.ask_all(id, family, Deed::Monitor, now),
        }
    }

    /// All cores show their requests to this client's: from now on it sees them.
    pub(super) fn begin_monitor(&mut self, id: ClientId) {
        let Some(client) = self.client(id) else { return };
        client.monitors = true;
        let pool = client.pool;
        self.monitors.push(Monitor { client: id, pool, missed: 0 });
        self.note_overseen();
    }

    pub(super) fn end_monitor(&mut self, id: ClientId) {
        self.monitors.retain(|monitor| monitor.client != id);
        if let Some(client) = self.client(id) {
            client.monitors = false;
        }
        self.note_overseen();
    }

    /// A client of `core` wants to see the requests of this core.
    pub(super) fn add_viewer(&mut self, core: u16, pool: PoolId) {
        let known = |viewer: &Viewer| viewer.core == core && viewer.pool == pool;
        if core != self.identity.core && !self.viewers.iter().any(known) {
            let (lines, missed, quiet_until_us) = (Vec::new(), 0, 0);
            self.viewers.push(Viewer { core, pool, lines, missed, quiet_until_us });
            self.note_overseen();
        }
    }

    fn show(&mut self, id: ClientId, request: &Request<'_>, secret_from: usize, now: Now) {
        let Some(pool) = self.client(id).map(|client| client.pool) else { return };
        let here = self.monitors.iter().any(|monitor| monitor.pool == pool);
        if !here && !self.viewers.iter().any(|viewer| viewer.pool == pool) {
            return;
        }
        let mut line = Vec::new();
        if let Some(client) = self.clients.get(id.index, id.generation) {
            write_line(client, request, secret_from, now, &mut line);
        }
        if here {
            self.show_here(pool, &line, 0, now);
        }
        for viewer in self.viewers.iter_mut().filter(|viewer| viewer.pool == pool) {
            if viewer.lines.len() + line.len() <= MONITOR_WAITING_BYTES_MAX {
                viewer.lines.extend_from_slice(&line);
            } else {
                viewer.missed += 1;
            }
        }
    }

    /// Whole lines for every client here that monitors the pool, and the number of those that were
    /// lost on their way.
    fn show_here(&mut self, pool: PoolId, lines: &[u8], missed: u64, now: Now) {
        for at in 0..self.monitors.len() {
            let Some(monitor) = self.monitors.get_mut(at).filter(|one| one.pool == pool) else {
                continue;
            };
            monitor.missed += missed;
            let (id, pool) = (monitor.client, monitor.pool);
            let bound = self.pools[pool.index()].config.limits.client_output_soft_bytes;
            let Some(client) = self.live_client(id) else { continue };
            // Before its own replies have left it does not see anything: it began when they had.
            if !client.order.is_empty() {
                continue;
            }
            let has_room = client.output_bytes() < bound;
            let Some(monitor) = self.monitors.get_mut(at) else { continue };
            if !has_room {
                let count = memchr::memchr_iter(b'\n', lines).count() as u64;
                monitor.missed += count;
                continue;
            }
            let missed = std::mem::take(&mut monitor.missed);
            if missed > 0 {
                self.stats.core(CoreMetric::MonitorLinesMissed).add(missed);
                self.put_client(id, Reply::Owned(missed_line(missed, now)));
            }
            self.put_client(id, Reply::Lent(lines));
        }
    }

    /// What waits for other cores goes to those that have answered.
    pub(super) fn send_seen(&mut self, now: Now) {
        let from = self.identity.core;
        for viewer in &mut self.viewers {
            if !viewer.has_news() || now.mono_us < viewer.quiet_until_us {
                continue;
            }
            viewer.quiet_until_us = now.mono_us + CORES_ANSWER_MAX_MS * US_PER_MS;
            let lines = std::mem::take(&mut viewer.lines);
            let missed = std::mem::take(&mut viewer.missed);
            let news = Shared::Seen { from, pool: viewer.pool, lines, missed };
            self.asks.push_back(Ask::Tell { core: viewer.core, news });
        }
    }

    /// When a viewer that has not answered is sent the next lines all the same.
    pub(super) fn seen_deadline(&self) -> u64 {
        let waiting = self.viewers.iter().filter(|viewer| viewer.has_news());
        waiting.map(|viewer| viewer.quiet_until_us).min().unwrap_or(u64::MAX)
    }

    /// Another core has seen these requests.
    pub(super) fn on_seen(
        &mut self,
        from: u16,
        pool: PoolId,
        (lines, missed): (&[u8], u64),
        now: Now,
    ) {
        self.show_here(pool, lines, missed, now);
        let go_on = self.monitors.iter().any(|monitor| monitor.pool == pool);
        let news = Shared::SeenBy { core: self.identity.core, pool, go_on };
        self.asks.push_back(Ask::Tell { core: from, news });
    }

    /// A viewer has them. If nobody monitors there any more, it is none.
    pub(super) fn on_seen_by(&mut self, core: u16, pool: PoolId, go_on: bool) {
        let meant = |viewer: &Viewer| viewer.core == core && viewer.pool == pool;
        self.viewers.retain(|viewer| go_on || !meant(viewer));
        if let Some(viewer) = self.viewers.iter_mut().find(|viewer| meant(viewer)) {
            viewer.quiet_until_us = 0;
        }
        self.note_overseen();
    }
}

impl Viewer {
    fn has_news(&self) -> bool {
        !self.lines.is_empty() || self.missed > 0
    }
}

/// The first argument that nobody may see: from there on passwords stand, or may stand.
fn secret_from(command: &Command, request: &Request<'_>) -> usize {
    let is_auth =
        |arg: &[u8]| arg.eq_ignore_ascii_case(b"auth") || arg.eq_ignore_ascii_case(b"auth2");
    match (command.run, command.keys) {
        (Run::Local(Local::Auth), _) => 1,
        (Run::Local(Local::Hello), _) | (_, Keys::Migrate) => {
            request.iter().skip(1).position(is_auth).map_or(usize::MAX, |at| at + 2)
        }
        _ => usize::MAX,
    }
}

/// `+seconds.micros [database peer] "argument" …`, as redis writes it; long arguments and long
/// lists of them are cut.
fn write_line(
    client: &Client,
    request: &Request<'_>,
    secret_from: usize,
    now: Now,
    out: &mut Vec<u8>,
) {
    let peer = match &client.peer {
        Peer::Tcp { peer, .. } => peer.to_string(),
        Peer::Unix { path } => format!("unix:{path}"),
    };
    out.extend(format!("{} [{} {peer}]", time(now), client.database).bytes());
    for (at, range) in request.ranges.iter().enumerate() {
        let (start, end) = (range.start as usize, range.end as usize);
        let is_large = end > request.bytes.len(); // `large`: not all of it is here
        if at >= MONITOR_ARGS_MAX {
            let more = request.len() - at;
            out.extend(format!(" \"... ({more} more arguments)\"").bytes());
            break;
        }
        if at >= secret_from {
            out.extend_from_slice(b" \"(redacted)\"");
            continue;
        }
        let shown = end.min(start + MONITOR_ARG_BYTES_MAX).min(request.bytes.len());
        out.extend_from_slice(b" \"");
        escape(request.bytes.get(start..shown).unwrap_or_default(), out);
        if shown < end {
            out.extend(format!("... ({} more bytes)", end - shown).bytes());
        }
        out.push(b'"');
        if is_large {
            let more = request.len() - at - 1;
            if more > 0 {
                out.extend(format!(" \"... ({more} more arguments)\"").bytes());
            }
            break;
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// What a monitor is shown instead of requests that it was not.
fn missed_line(missed: u64, now: Now) -> Vec<u8> {
    format!("{} [0 0.0.0.0:0] \"CORELAY.MISSED\" \"{missed}\"\r\n", time(now)).into_bytes()
}

fn time(now: Now) -> String {
    format!("+{}.{:06}", now.wall_us / US_PER_S, now.wall_us % US_PER_S)
}

/// As redis: printable ASCII as it is.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(*byte),
            _ => {
                let mut hex = String::new();
                let _ = write!(hex, "\\x{byte:02x}"); // to a string
                out.extend(hex.bytes());
            }
        }
    }
}
