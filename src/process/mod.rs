//! The process: boots the cores and the control plane, listens to signals, ends in order, or when
//! another process has taken over.
//!
//! It is the only place that knows both planes. What can fail, fails here at boot, in one line
//! each, before the first client is accepted.

mod boot;
pub mod demo;
mod doors;
mod handover;
mod notify;
mod panic;
mod report;
pub mod upgrade;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use self::doors::Book;
use crate::base::limits::DRAIN_MS;
use crate::config::model::{Config, LogLevel};
use crate::control::listener::PortHandle;
use crate::control::reload::{Reloads, Source};
use crate::control::replicas::ReplicasHandle;
use crate::control::sentinel::WatchHandle;
use crate::control::state::ControlState;
use crate::log::Logger;
use crate::mailbox::{Letter, MailboxSender};
use crate::reactor::CoreHandle;

/// A proxy that runs; ended by `end`.
struct Proxy {
    logger: Logger,
    cores: Vec<CoreHandle>,
    mailboxes: Vec<MailboxSender>,
    state: Arc<ControlState>,
    reloads: Reloads,
    book: Book,
    giver: Option<JoinHandle<()>>,
    admin: Option<PortHandle>,
    stats_port: Option<PortHandle>,
    // Kept for their threads: dropping a handle ends its thread.
    _watch: Option<WatchHandle>,
    _replicas: Option<ReplicasHandle>,
}

/// Whose place a fresh process takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nobody's: its addresses are free.
    Fresh,
    /// That of the one that listens at its `handover_socket`.
    TakeOver,
}

/// Runs until a signal ends it, or another process takes over; `source` is where `config` came
/// from.
pub fn run(config: Config, source: Source, start: Start) -> ExitCode {
    run_with(config, source, start, HangUp::Reloads, |_| ())
}

/// What SIGHUP is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HangUp {
    /// A daemon has no terminal that could hang up: it says that the log was rotated, or the
    /// configuration changed.
    Reloads,
    /// The terminal was closed, and nobody is left for whom to run.
    Ends,
}

/// What the main thread is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Signal(i32),
    /// The process with this id serves in our place.
    HandedOver {
        to: u32,
    },
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    /// Who is connected may stay for long.
    HandedOver,
    /// It was asked for.
    Asked,
}

/// Runs until it ends; `ready` is called when clients are served.
fn run_with(
    config: Config,
    source: Source,
    start: Start,
    hang_up: HangUp,
    ready: impl FnOnce(&Config),
) -> ExitCode {
    panic::end_the_process();
    // Signals first: one that comes while booting must not be lost, nor kill us half-way.
    let signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2]);
    let (caller, calls) = bounded(CALLS_MAX);
    if let Err(error) = signals.and_then(|signals| forward_signals(signals, caller.clone())) {
        return complain(&[format!("signals can not be received: {error}")]);
    }
    let config = Arc::new(config);
    let mut proxy = match boot::boot(config.clone(), source, start, caller) {
        Ok(proxy) => proxy,
        Err(complaints) => return complain(&complaints),
    };
    ready(&config);
    let code = proxy.serve(&calls, hang_up);
    proxy.end(code)
}

/// Hands signals to a channel, from a thread of their own.
fn forward_signals(mut signals: Signals, caller: Sender<Call>) -> std::io::Result<()> {
    let forward = move || {
        for signal in signals.forever() {
            // More than a handful that nobody has looked at yet say nothing new.
            let _ = caller.try_send(Call::Signal(signal));
        }
    };
    std::thread::Builder::new().name("corelay-signals".to_owned()).spawn(forward)?;
    Ok(())
}

fn complain(complaints: &[String]) -> ExitCode {
    let mut stderr = std::io::stderr().lock();
    for complaint in complaints {
        // Nobody is left to tell if even this fails.
        let _ = writeln!(stderr, "corelay: {complaint}");
    }
    ExitCode::FAILURE
}

impl Proxy {
    /// Handles calls until all cores have ended: because one of the calls said so, or, which is a
    /// failure, because a core has ended by itself.
    fn serve(&mut self, calls: &Receiver<Call>, hang_up: HangUp) -> ExitCode {
        let mut ending = Ending::No;
        loop {
            let wait = if ending == Ending::No { LOOK_AT_CORES_SELDOM } else { LOOK_AT_CORES };
            match calls.recv_timeout(wait) {
                Ok(Call::HandedOver { to }) if ending == Ending::No => {
                    self.leave_to(to);
                    ending = Ending::HandedOver;
                }
                Ok(Call::Signal(signal)) => ending = self.on_signal(signal, ending, hang_up),
                Ok(Call::HandedOver { .. }) | Err(_) => {}
            }
            if self.cores.iter().all(CoreHandle::is_finished) {
                return match ending {
                    Ending::No => ExitCode::FAILURE,
                    Ending::HandedOver | Ending::Asked => ExitCode::SUCCESS,
                };
            }
            if ending == Ending::No && self.cores.iter().any(CoreHandle::is_finished) {
                // Its share of the connections would be accepted by nobody: better none at all.
                self.logger.error("a core has ended by itself: the proxy ends", &[]);
                self.end_by(&Letter::Stop, "ending");
                self.wait_for_cores();
                return ExitCode::FAILURE;
            }
        }
    }

    fn on_signal(&self, signal: i32, ending: Ending, hang_up: HangUp) -> Ending {
        match signal {
            SIGTERM if ending != Ending::Asked => {
                self.end_by(&Letter::Drain { grace_ms: DRAIN_MS }, "draining");
                return Ending::Asked;
            }
            // Ctrl-C does not wait for clients, nor does who asks twice.
            SIGTERM | SIGINT => {
                self.end_by(&Letter::Stop, "ending");
                return Ending::Asked;
            }
            SIGHUP if hang_up == HangUp::Ends => {
                self.end_by(&Letter::Stop, "ending");
                return Ending::Asked;
            }
            SIGHUP => {
                self.logger.reopen();
                self.reloads.by_signal();
            }
            SIGTTIN => self.log_level(self.logger.raise_level()),
            SIGTTOU => self.log_level(self.logger.lower_level()),
            _ => {}
        }
        ending
    }

    /// Another process accepts from the same sockets: ours are closed, and who is connected is
    /// served for as long as the configuration says.
    fn leave_to(&mut self, pid: u32) {
        let grace_ms = self.state.config().proxy.handover_grace_ms;
        self.logger.info(
            "handed over: serving those who are connected, and nobody else",
            &[("to_pid", &pid), ("for_ms_at_most", &handover::shown(grace_ms))],
        );
        // Not shut down: the other process has them, too.
        let ports = [&mut self.admin, &mut self.stats_port];
        ports.into_iter().flatten().for_each(PortHandle::close);
        self.end_by(&Letter::Drain { grace_ms: grace_ms.unwrap_or(u64::MAX) }, "draining");
        // It tells the other process that the cores have closed, which is soon, before we may end.
        if let Some(giver) = self.giver.take() {
            // A panic of the thread has ended the process already.
            let _ = giver.join();
        }
    }

    /// Waits for cores that have been told to stop.
    fn wait_for_cores(&self) {
        while !self.cores.iter().all(CoreHandle::is_finished) {
            std::thread::park_timeout(LOOK_AT_CORES);
        }
    }

    fn end_by(&self, order: &Letter, message: &'static str) {
        self.logger.info(message, &[]);
        self.state.set_draining();
        // What is open there would be accepted by nobody.
        self.book.close();
        for mailbox in &self.mailboxes {
            // Orders always go in.
            let _ = match order {
                Letter::Drain { grace_ms } => mailbox.send(Letter::Drain { grace_ms: *grace_ms }),
                _ => mailbox.send(Letter::Stop),
            };
        }
    }

    fn log_level(&self, level: LogLevel) {
        self.logger.info("log level changed", &[("level", &format!("{level:?}").to_lowercase())]);
    }

    /// Waits for the cores and the log.
    fn end(self, code: ExitCode) -> ExitCode {
        for core in self.cores {
            if let Some(Err(error)) = core.join() {
                self.logger.error("core failed", &[("why", &error.to_string())]);
            }
        }
        self.logger.info("ended", &[]);
        self.logger.flush(LOG_FLUSH);
        code
    }
}

/// How often the cores are looked at: a dead one is noticed within this time.
const LOOK_AT_CORES: Duration = Duration::from_millis(100);
/// The same while all is well: a core that ends by itself is a fault that never was.
const LOOK_AT_CORES_SELDOM: Duration = Duration::from_secs(1);
const CALLS_MAX: usize = 16;
const LOG_FLUSH: Duration = Duration::from_secs(1);
