//! CLIENT PAUSE and UNPAUSE: the requests of a pool's clients wait with the clients.
//!
//! What was taken in before goes on. A request that has to wait is not taken in: it stays with its
//! client, which is not read on (`Stall::Pause`), and so do those behind it. `cores` tells all
//! cores, and answers when all have said that they pause.

use crate::base::ids::{ClientId, PoolId};
use crate::base::time::{Now, US_PER_MS};
use crate::command::flags::Flags;
use crate::command::model::{Command, Family, Local, Run};
use crate::relay::Relay;
use crate::relay::client::{Phase, Stall};
use crate::relay::query::{ClientQuery, Deed};
use crate::resp::args::Request;

/// How long, and what of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    until_us: u64,
    /// Not only what may write.
    all: bool,
}

impl Relay {
    /// CLIENT PAUSE ms [WRITE | ALL]
    pub(super) fn client_pause(
        &mut self,
        id: ClientId,
        family: Family,
        request: &Request<'_>,
        now: Now,
    ) {
        match pause_of(request) {
            Ok(deed) => self.ask_all(id, family, deed, now),
            Err(error) => drop(self.refuse(id, error)),
        }
    }

    /// Every core is to do this for the client's pool.
    pub(super) fn ask_all(&mut self, id: ClientId, family: Family, deed: Deed, now: Now) {
        let Some(client) = self.client(id) else { return };
        let query = ClientQuery::all(client.pool, client.number, deed);
        self.query_clients(id, family, query, now);
    }

    /// This core's clients of the pool wait. A pause under way is never shortened by another.
    pub(super) fn pause_pool(&mut self, pool: PoolId, ms: u64, all: bool, now: Now) {
        // (One that never ends would look like none: `u64::MAX` is no time.)
        let until_us = now.mono_us.saturating_add(ms.saturating_mul(US_PER_MS)).min(u64::MAX - 1);
        let Some(pool) = self.pools.get_mut(pool.index()) else { return };
        let before = pool.pause.unwrap_or(Pause { until_us, all });
        let until_us = until_us.max(before.until_us);
        pool.pause = Some(Pause { until_us, all: all || before.all });
        self.note_pauses();
    }

    pub(super) fn unpause_pool(&mut self, pool: PoolId) {
        let Some(state) = self.pools.get_mut(pool.index()) else { return };
        state.pause = None;
        self.note_pauses();
        let waiting: Vec<ClientId> = self
            .clients
            .iter()
            .filter(|(_, _, client)| client.pool == pool && client.stall == Some(Stall::Pause))
            .map(|(index, generation, _)| ClientId { index, generation })
            .collect();
        for id in waiting {
            if let Some(client) = self.client(id).filter(|client| !client.resuming) {
                client.resuming = true;
                self.resumable.push(id);
            }
        }
    }

    /// Pauses whose time is over end.
    pub(super) fn end_pauses(&mut self, now: Now) {
        for pool in 0..self.pools.len() as u16 {
            let pause = self.pools[usize::from(pool)].pause;
            if pause.is_some_and(|pause| now.mono_us >= pause.until_us) {
                self.unpause_pool(PoolId(pool));
            }
        }
    }

    fn note_pauses(&mut self) {
        let pauses = self.pools.iter().filter_map(|pool| pool.pause);
        self.pauses_end_us = pauses.map(|pause| pause.until_us).min().unwrap_or(u64::MAX);
        self.note_overseen();
    }

    /// Whether a request has to wait; then its client is not read on. `command`: `None` of one that
    /// is not in the table.
    pub(super) fn postpone(&mut self, id: ClientId, command: Option<&Command>) -> bool {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return false };
        let Some(pause) = self.pools[client.pool.index()].pause else { return false };
        let waits = match command {
            Some(command) if pause.all => !is_let_through(command),
            Some(command) => may_change(command),
            None => true,
        };
        if waits && client.phase == Phase::Open {
            client.stall = Some(Stall::Pause);
        }
        waits
    }
}

fn pause_of(request: &Request<'_>) -> Result<Deed, &'static str> {
    let text = std::str::from_utf8(request.arg(2)).ok();
    let ms = text.and_then(|text| text.parse::<i64>().ok());
    let ms = ms.ok_or("ERR timeout is not an integer or out of range")?;
    let ms = u64::try_from(ms).map_err(|_| "ERR timeout is negative")?;
    let all = match request.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"all") => true,
        Some(b"write") => false,
        Some(_) => return Err("ERR CLIENT PAUSE mode must be WRITE or ALL"),
    };
    match request.len() {
        3 | 4 => Ok(Deed::Pause { ms, all }),
        _ => Err("ERR syntax error"),
    }
}

/// What is never paused: without it nobody could end the pause, who has to log in before.
fn is_let_through(command: &Command) -> bool {
    command.flags.contains(Flags::NO_AUTH)
        || matches!(command.run, Run::Local(Local::ClientPause | Local::ClientUnpause))
}

/// What PAUSE … WRITE stops: writes, scripts that may write, messages. (Of an EXEC its transaction
/// tells.)
pub(super) fn may_change(command: &Command) -> bool {
    let sends = matches!(command.run, Run::ByArgument(_) | Run::Forward);
    command.may_write() || (command.family == Family::PubSub && sends)
}
