//! The old process: gives its sockets to who may have them, and ends when the other one serves.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;

use super::{VERSION, Word, hear, say};
use crate::base::limits::HANDOVER_MAX_MS;
use crate::control::state::ControlState;
use crate::mailbox::MailboxSender;
use crate::net::handover::{DESCRIPTORS_EACH, Line, accept, is_timeout, is_trusted, own_uid};
use crate::process::Call;
use crate::process::doors::{Book, Kept, accept_anew};
use crate::reactor::balance::Balance;

/// A word that does not come within this time does not come.
const WORD_MAX: Duration = Duration::from_secs(2);
/// While one takes over: how often others are told that they come too late. A word of who may not ask
/// is waited for so long.
const LOOK: Duration = Duration::from_millis(20);
/// How often it is looked whether the cores have closed their doors.
const LOOK_AT_CORES: Duration = Duration::from_millis(1);
/// Pause after an accept that failed (no descriptors left): no spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the handover socket on a thread of its own, which ends when somebody has taken over, and
/// has been told so.
pub(in crate::process) fn start(
    socket: OwnedFd,
    book: Book,
    state: Arc<ControlState>,
    caller: Sender<Call>,
    cores: Cores,
) -> io::Result<JoinHandle<()>> {
    let giver = Giver { socket, book, state, caller, cores };
    let run = move || giver.run();
    std::thread::Builder::new().name("corelay-handover".to_owned()).spawn(run)
}

/// The cores, as far as a handover is concerned.
pub(in crate::process) struct Cores {
    pub(in crate::process) mailboxes: Vec<MailboxSender>,
    pub(in crate::process) balance: Arc<Balance>,
}

struct Giver {
    socket: OwnedFd,
    book: Book,
    state: Arc<ControlState>,
    caller: Sender<Call>,
    cores: Cores,
}

impl Giver {
    fn run(self) {
        loop {
            match accept(&self.socket, None) {
                Ok(Some(line)) => {
                    if self.give_to(&line) {
                        // The socket is closed, and the other process has it.
                        return;
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    self.state.log.warn("handover: accept failed", &[("error", &error)]);
                    std::thread::park_timeout(ACCEPT_PAUSE);
                }
            }
        }
    }

    /// Whether all is over for this process.
    fn give_to(&self, line: &Line) -> bool {
        let log = &self.state.log;
        let taken = self.asked_by(line).and_then(|pid| {
            self.book.begin("another process is taking over")?;
            log.info("another process takes over", &[("pid", &pid)]);
            let served = self.give(line).and_then(|()| self.wait_until_served(line));
            served.map(|()| pid).map_err(|error| {
                self.book.end();
                // It may have come as far as to wait for connections beside us.
                for late in accept_anew(&self.cores.mailboxes) {
                    log.error("connections may wait unseen", &[("why", &late)]);
                }
                match error.kind() {
                    io::ErrorKind::UnexpectedEof => "it has ended before it served".to_owned(),
                    _ => error.to_string(),
                }
            })
        });
        match taken {
            Ok(pid) => {
                // It fails only if the end has come.
                let _ = self.caller.send(Call::HandedOver { to: pid });
                self.wait_until_closed();
                let grace_ms = self.state.config().proxy.handover_grace_ms;
                // It serves, whether it hears this or not.
                let _ = say(line, &Word::Yours { grace_ms }, &[]);
                true
            }
            Err(why) => {
                log.warn("not taken over, this process goes on", &[("why", &why)]);
                // It may have gone; whatever it was given is closed with it.
                let _ = say(line, &Word::Refused(why), &[]);
                false
            }
        }
    }

    /// No core accepts any more.
    fn wait_until_closed(&self) {
        let deadline = instant() + WORD_MAX;
        while !self.cores.balance.is_closed() && instant() < deadline {
            std::thread::park_timeout(LOOK_AT_CORES);
        }
    }

    /// Who asks, if it may.
    fn asked_by(&self, line: &Line) -> Result<u32, String> {
        let told = |error: io::Error| error.to_string();
        line.set_patience(WORD_MAX).map_err(told)?;
        let uid = line.peer_uid().map_err(told)?;
        if !is_trusted(uid) {
            // What it has said is read, or the kernel would throw the refusal away.
            let _ = line.set_patience(LOOK).and_then(|()| hear(line));
            let own = own_uid();
            return Err(format!(
                "user {uid} asks, and this process runs as user {own}: run it as that user or root"
            ));
        }
        match hear(line) {
            Ok((Word::Take { version: VERSION, pid }, _)) => Ok(pid),
            Ok((Word::Take { version, .. }, _)) => Err(format!(
                "it speaks version {version} of the handover, corelay {} that runs speaks {VERSION}: \
                 stop it, and start the other without --take-over",
                env!("CARGO_PKG_VERSION")
            )),
            Ok(_) => Err("it does not begin by asking".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err("it has asked for nothing".to_owned())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn give(&self, line: &Line) -> io::Result<()> {
        let copies = self.book.copies()?;
        for together in copies.chunk_by(|one, next| one.place == next.place) {
            for some in together.chunks(DESCRIPTORS_EACH) {
                let descriptors: Vec<BorrowedFd<'_>> =
                    some.iter().map(|kept: &Kept| kept.socket.as_fd()).collect();
                say(line, &Word::Sockets(some[0].place.clone()), &descriptors)?;
            }
        }
        say(line, &Word::All { pid: std::process::id() }, &[])
    }

    /// It boots; others who ask are refused meanwhile.
    fn wait_until_served(&self, line: &Line) -> io::Result<()> {
        let deadline = instant() + Duration::from_millis(HANDOVER_MAX_MS);
        line.set_patience(LOOK)?;
        loop {
            match hear(line) {
                Ok((Word::Serving, _)) => return line.set_patience(WORD_MAX),
                Ok(_) => return Err(io::Error::other("it says what is not asked for")),
                Err(error) if !is_timeout(&error) => return Err(error),
                Err(_) if instant() > deadline => {
                    let why = format!("it does not serve within {HANDOVER_MAX_MS} ms");
                    return Err(io::Error::other(why));
                }
                Err(_) => {}
            }
            if let Some(other) = accept(&self.socket, Some(Duration::from_millis(1)))? {
                let refused = self.asked_by(&other).and_then(|pid| {
                    self.state.log.warn("a second process wants to take over", &[("pid", &pid)]);
                    Err::<(), _>("another process is taking over".to_owned())
                });
                // It may have gone.
                let _ = refused.map_err(|why| say(&other, &Word::Refused(why), &[]));
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the control plane reads the clock")]
fn instant() -> Instant {
    Instant::now()
}
