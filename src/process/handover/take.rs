//! The new process: asks the one that runs for its sockets, and says when it serves.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use super::{Place, Role, VERSION, Word, hear, say, shown};
use crate::config::model::{Config, Listen};
use crate::log::Logger;
use crate::mailbox::MailboxSender;
use crate::net::handover::{Line, is_trusted, own_uid};
use crate::net::listen::{self, Listener};
use crate::process::doors::accept_anew;
use crate::process::upgrade;

/// The other process answers at once, unless it is stuck.
const WORD_MAX: Duration = Duration::from_secs(5);
/// A word that is there is heard within this time.
const LOOK: Duration = Duration::from_millis(1);
/// More sockets than any configuration has.
const SOCKETS_MAX: usize = 1 << 16;

/// A process that runs, and whose place this one takes. Dropping it lets that one go on.
#[derive(Debug)]
pub(in crate::process) struct TakeOver {
    line: Line,
    pid: u32,
    /// Those that nobody has asked for yet.
    sockets: Vec<(Place, OwnedFd)>,
}

impl TakeOver {
    /// Gets the sockets of the process that listens at the `handover_socket` of this configuration,
    /// which `file` has.
    ///
    /// # Errors
    /// Why there are none, in one line.
    pub(in crate::process) fn ask(config: &Config, file: &str) -> Result<TakeOver, String> {
        let Some(path) = &config.proxy.handover_socket else {
            return Err(format!(
                "{file}: proxy.handover_socket: it is not set, so nothing can be taken over; set \
                 it, and start once without --take-over"
            ));
        };
        let at = |why: String| format!("handover_socket {}: {why}", path.display());
        let line = connect(path).map_err(at)?;
        TakeOver::over(line).map_err(at)
    }

    fn over(line: Line) -> Result<TakeOver, String> {
        let told = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => {
                "the process there has gone: start without --take-over".to_owned()
            }
            io::ErrorKind::WouldBlock => {
                let seconds = WORD_MAX.as_secs();
                format!("the process there does not answer within {seconds} s: it may be stuck")
            }
            _ => format!("the process there is not understood: {error}"),
        };
        let uid = line.peer_uid().map_err(told)?;
        if !is_trusted(uid) {
            return Err(format!(
                "user {uid} listens there, and this process runs as user {}: run it as that user",
                own_uid()
            ));
        }
        let take = Word::Take { version: VERSION, pid: std::process::id() };
        say(&line, &take, &[]).map_err(told)?;
        let mut sockets = Vec::new();
        loop {
            match hear(&line).map_err(told)? {
                (Word::Sockets(place), some) if sockets.len() < SOCKETS_MAX => {
                    sockets.extend(some.into_iter().map(|socket| (place.clone(), socket)));
                }
                (Word::All { pid }, _) => return Ok(TakeOver { line, pid, sockets }),
                (Word::Refused(why), _) => return Err(format!("refused: {why}")),
                (word, _) => return Err(format!("it says {word:?} instead of what was asked for")),
            }
        }
    }

    /// The sockets of the pools of this configuration, by core, and their addresses.
    ///
    /// # Errors
    /// Descriptors have run out.
    pub(in crate::process) fn pools(
        &mut self,
        config: &Config,
    ) -> Result<(Vec<Listen>, Vec<Vec<Listener>>), String> {
        let cores = config.proxy.cores.len();
        let mut by_core: Vec<Vec<Listener>> = (0..cores).map(|_| Vec::new()).collect();
        let mut taken = Vec::new();
        for (pool, settings) in config.numbered() {
            for at in &settings.listen {
                let sockets = self.of(Role::Pool, &at.to_string());
                if sockets.is_empty() {
                    continue;
                }
                taken.push(at.clone());
                let spread = listen::spread(&sockets, cores);
                let spread = spread.map_err(|error| format!("listen {at}: {error}"))?;
                for (listeners, sockets) in by_core.iter_mut().zip(spread) {
                    let listener = |socket| Listener { pool, at: at.clone(), socket };
                    listeners.extend(sockets.into_iter().map(listener));
                }
            }
        }
        Ok((taken, by_core))
    }

    /// The one socket of this role, if it is there.
    pub(in crate::process) fn one(&mut self, role: Role, at: &str) -> Option<OwnedFd> {
        self.of(role, at).into_iter().next()
    }

    fn of(&mut self, role: Role, at: &str) -> Vec<OwnedFd> {
        let all = std::mem::take(&mut self.sockets);
        let (found, others) =
            all.into_iter().partition(|(place, _)| place.role == role && place.at == at);
        self.sockets = others;
        let found: Vec<(Place, OwnedFd)> = found;
        found.into_iter().map(|(_, socket)| socket).collect()
    }

    /// Whether this process may open its doors: the other one may have given it up, and serves. (If
    /// that one has gone, somebody has to.)
    ///
    /// # Errors
    /// Why not, in one line.
    pub(in crate::process) fn may_open(&self) -> Result<(), String> {
        let told = |error: io::Error| error.to_string();
        self.line.set_patience(LOOK).map_err(told)?;
        let said = hear(&self.line);
        self.line.set_patience(WORD_MAX).map_err(told)?;
        match said {
            Ok((Word::Refused(why), _)) => Err(format!("handover: the other process says: {why}")),
            _ => Ok(()),
        }
    }

    /// The doors are open: the other process may end.
    pub(in crate::process) fn serving(self, mailboxes: &[MailboxSender], logger: &Logger) {
        let TakeOver { line, pid, sockets } = self;
        // Addresses that this configuration has not: the other one closes them last.
        drop(sockets);
        let answer = say(&line, &Word::Serving, &[]).and_then(|()| hear(&line));
        for late in accept_anew(mailboxes) {
            logger.error("connections may wait unseen", &[("why", &late)]);
        }
        upgrade::tell(&match &answer {
            Ok((Word::Yours { grace_ms: Some(grace_ms) }, _)) => {
                format!("{pid} serves who is connected to it, for at most {grace_ms} ms")
            }
            Ok((Word::Yours { grace_ms: None }, _)) => {
                format!("{pid} serves who is connected to it, until they leave")
            }
            _ => format!("{pid} has not answered: see the log"),
        });
        match answer {
            Ok((Word::Yours { grace_ms }, _)) => logger.info(
                "took over: the other process serves those who are connected to it",
                &[("from_pid", &pid), ("for_ms_at_most", &shown(grace_ms))],
            ),
            // It may have been told to end, or was killed meanwhile; it may also be too late.
            Ok((word, _)) => logger.error(
                "the other process may serve beside this one: end it with SIGTERM",
                &[("pid", &pid), ("it_says", &format!("{word:?}"))],
            ),
            Err(error) => logger.warn(
                "the other process has not answered: see that it has ended, or end it with SIGTERM",
                &[("pid", &pid), ("why", &error)],
            ),
        }
    }
}

fn connect(path: &Path) -> Result<Line, String> {
    Line::connect(path, WORD_MAX).map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => {
                "there is no such socket: does corelay run, with this handover_socket? If it does \
                 not, start without --take-over"
            }
            io::ErrorKind::ConnectionRefused => {
                "nobody listens there: corelay does not run; start without --take-over"
            }
            io::ErrorKind::WouldBlock => "the process there accepts nobody: it may be stuck",
            io::ErrorKind::PermissionDenied => {
                "permission denied: run it as the user of the process that runs, or root"
            }
            _ => return format!("{error}: is it the handover_socket of a corelay that runs?"),
        };
        remedy.to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::handover::{accept, listen};

    #[test]
    fn who_was_given_up_opens_no_doors() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("h.sock");
        let listener = listen(&path).unwrap();
        let taking = || {
            let line = Line::connect(&path, WORD_MAX).unwrap();
            let theirs = accept(&listener, Some(WORD_MAX)).unwrap().unwrap();
            (TakeOver { line, pid: 1, sockets: Vec::new() }, theirs)
        };
        let (awaited, theirs) = taking();
        assert_eq!(awaited.may_open(), Ok(()));
        say(&theirs, &Word::Refused("too late".to_owned()), &[]).unwrap();
        drop(theirs);
        assert!(awaited.may_open().unwrap_err().contains("too late"));
        let (alone, theirs) = taking();
        drop(theirs);
        assert_eq!(alone.may_open(), Ok(()), "nobody else serves");
    }
}
