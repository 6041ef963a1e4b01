//! One core: a pinned thread, a glommio executor that hosts it, and one task that drives the core's
//! own ring for all clients and lanes.
//!
//! ```text
//!        ┌────────────────────────── one turn ──────────────────────────┐
//!  enter (submit everything, sleep) ─▶ events ─▶ heart ─▶ on_turn ─▶ asks ─▶ dirty: one write each
//!        └──────▲───────────────────────────────────────────────────────┘
//!               └─ every tick: glommio's turn (timers, housekeeping)
//! ```
//!
//! It must never decide anything about Redis, block outside its ring, or share anything with
//! another core beside the balance of clients, and the cells that each writes and all may read.
//! Called by `process`.
#![forbid(unsafe_code)]

mod accept;
pub mod balance;
mod clients;
mod clock;
mod conn;
mod core;
mod doors;
pub mod echo;
pub mod heart;
mod lanes;
mod pace;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use glommio::timer::Timer;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

use self::balance::Balance;
use self::clock::Clock;
use self::core::Core;
use self::heart::Heart;
use crate::base::limits::BUSY_TICK_MS;
use crate::base::time::Now;
use crate::config::model::{Config, LogLevel};
use crate::mailbox::{Mailbox, MailboxSender};
use crate::net::boot::{self, BootError};
use crate::net::features::Features;
use crate::net::listen::Listener;
use crate::relay::Relay;
use crate::relay::api::{CoreIdentity, Report};
use crate::stats::cells::CoreStats;
use crate::topology::Topology;

/// Something for the log.
#[derive(Clone, Debug)]
pub enum CoreEvent {
    /// From the heart.
    Report(Report),
    /// What it says from now on is of this configuration.
    Config(Arc<Config>),
    /// From the reactor itself.
    Note { level: LogLevel, text: String },
}

/// Takes what a core has to say; called on its thread, must not block.
pub type Log = Box<dyn FnMut(CoreEvent) + Send>;

/// What else is to be done once a second on the core's thread; must not block.
pub type EverySecond<H> = Box<dyn FnMut(&mut H, Now) + Send>;

/// Everything a core starts with.
pub struct CoreSetup<H = Relay> {
    /// Place of this core in `stats`, in `peers` and in `balance`.
    pub index: usize,
    /// The CPU it is pinned to.
    pub cpu: usize,
    pub config: Arc<Config>,
    /// The cells of all cores; only this one's are written here.
    pub stats: Arc<[Arc<CoreStats>]>,
    pub listeners: Vec<Listener>,
    pub mailbox: Mailbox,
    /// The mailboxes of all cores, this one's included.
    pub peers: Vec<MailboxSender>,
    pub balance: Arc<Balance>,
    /// What the ring may make use of; [`Features::ALL`] but in tests.
    pub features: Features,
    pub log: Log,
    pub every_second: EverySecond<H>,
}

/// Why a core has ended without being told to.
#[derive(Debug)]
pub enum CoreError {
    Boot(BootError),
    /// The ring does not work any more.
    Ring(io::Error),
}

/// A core that runs.
#[derive(Debug)]
pub struct CoreHandle {
    thread: std::thread::JoinHandle<Result<(), CoreError>>,
    ready: Receiver<Result<Features, BootError>>,
}

impl CoreHandle {
    /// Waits until the core listens; gives what its ring makes use of.
    pub fn wait_ready(&self) -> Result<Features, BootError> {
        self.ready.recv().unwrap_or_else(|_| {
            Err(BootError::Executor { cpu: usize::MAX, why: "its thread has panicked".to_owned() })
        })
    }

    /// Waits until it has ended. `None`: it has panicked (which in a release build aborts the
    /// process).
    pub fn join(self) -> Option<Result<(), CoreError>> {
        self.thread.join().ok()
    }

    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Starts a core with the real heart.
pub fn spawn(setup: CoreSetup, topology: Arc<Topology>, seed: u64) -> io::Result<CoreHandle> {
    let stats = setup.stats.clone();
    let identity = CoreIdentity { core: setup.index as u16, cores: stats.len() as u16 };
    spawn_heart(setup, move |now| Relay::new(identity, topology, stats, seed, now))
}

/// Starts a core with a heart of the caller's, which is made on the core's own thread.
pub fn spawn_heart<H: Heart + 'static>(
    setup: CoreSetup<H>,
    heart: impl FnOnce(Now) -> H + Send + 'static,
) -> io::Result<CoreHandle> {
    let (ready_sender, ready) = bounded(1);
    let thread = std::thread::Builder::new()
        .name(format!("corelay-{}", setup.index))
        .spawn(move || run(setup, heart, &ready_sender))?;
    Ok(CoreHandle { thread, ready })
}

/// The core's thread.
fn run<H: Heart + 'static>(
    setup: CoreSetup<H>,
    heart: impl FnOnce(Now) -> H,
    ready: &Sender<Result<Features, BootError>>,
) -> Result<(), CoreError> {
    let result = host(setup.cpu).map_err(CoreError::Boot).and_then(|executor| {
        executor.run(async {
            let clock = Clock::new();
            let heart = heart(clock.now());
            let mut core = Core::new(setup, heart, clock).map_err(CoreError::Boot)?;
            // Whoever waits may have gone; the core runs on.
            let _ = ready.send(Ok(core.features()));
            let second = Rc::new(Cell::new(false));
            let housekeeping = glommio::spawn_local(housekeeping(second.clone())).detach();
            let ended = drive(&mut core, &second).await;
            housekeeping.cancel();
            ended
        })
    });
    match result {
        Err(CoreError::Boot(error)) => {
            let text = error.to_string();
            let _ = ready.send(Err(error));
            Err(CoreError::Ring(io::Error::other(text)))
        }
        ended => ended,
    }
}

/// The executor of a core. Its own rings serve nothing but timers, so they are small.
fn host(cpu: usize) -> Result<LocalExecutor, BootError> {
    // Ours first: where io_uring is forbidden, glommio panics instead of saying so.
    boot::check()?;
    LocalExecutorBuilder::new(Placement::Fixed(cpu))
        .io_memory(64 * 1024)
        .ring_depth(16)
        .preempt_timer(Duration::from_millis(BUSY_TICK_MS))
        .make()
        .map_err(|error| BootError::Executor { cpu, why: error.to_string() })
}

/// The data path: turns until the core is told to end. Glommio's own timer says when it wants its
/// turn: then all its rings are looked at, and whatever became ready runs.
async fn drive<H: Heart>(core: &mut Core<H>, second: &Cell<bool>) -> Result<(), CoreError> {
    loop {
        if core.turn().map_err(CoreError::Ring)?.is_break() {
            return Ok(());
        }
        if glommio::executor().need_preempt() {
            // Once for glommio to look at its rings, once more for the tasks that this has woken.
            glommio::executor().yield_task_queue_now().await;
            glommio::executor().yield_task_queue_now().await;
        }
        if second.take() {
            core.every_second();
        }
    }
}

/// What is done at leisure: says once a second that a second has passed.
async fn housekeeping(second: Rc<Cell<bool>>) {
    loop {
        Timer::new(Duration::from_secs(1)).await;
        second.set(true);
    }
}

impl fmt::Display for CoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CoreError::Boot(error) => write!(f, "{error}"),
            CoreError::Ring(error) => write!(f, "the core's ring has failed: {error}"),
        }
    }
}

impl std::error::Error for CoreError {}
