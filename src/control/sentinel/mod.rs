//! The watcher of Redis Sentinel: finds out where the primaries of watched pools are, and publishes
//! it.
//!
//! One thread for all of them: a runtime on which each set of sentinels has a watcher (pools that
//! list the same sentinels share it) with two tasks for each sentinel, one that asks and one that
//! listens. What counts is what was asked, by the rules of `verdict` and `master`; what was heard
//! only makes it ask at once. It must never publish what was not verified.
//!
//! ```text
//!  cores ── Suspicions ──▶ watch ──▶ publisher ──▶ cores
//!  sentinels ◀─▶ link ────▶  │ ▲
//!  nodes ◀────── node ◀──────┘ │        master, verdict: the rules, pure
//!                  └───────────┘        pace: how often; words, wire: the protocol; ask: by hand
//! ```

pub(super) mod ask;
mod hearing;
mod link;
mod master;
mod node;
mod pace;
mod promotion;
mod sentinels;
mod tell;
pub(super) mod verdict;
mod watch;
pub(super) mod wire;
pub(super) mod words;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::Receiver;
use tokio::sync::{mpsc, oneshot};

use super::publisher::Publisher;
use super::state::ControlState;
use crate::base::ids::{PoolId, ShardId};
use crate::config::model::{PoolConfig, SentinelConfig};
use watch::{Event, Watch};

/// Events that wait for a watcher.
const EVENTS_MAX: usize = 4096;
/// Threads that look up host names.
const LOOKUP_THREADS: usize = 4;

/// Ends the watchers when dropped.
#[derive(Debug)]
#[must_use = "nothing is watched any more when this is dropped"]
pub struct WatchHandle {
    suspicions: Suspicions,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    verified: Vec<Receiver<()>>,
}

/// Where cores report what they see of watched shards; cheap to clone, never blocks.
#[derive(Clone, Debug, Default)]
pub struct Suspicions {
    /// By `PoolId`; `None`: not watched.
    watchers: Arc<[Option<mpsc::Sender<Event>>]>,
}

/// Starts to watch all pools that have sentinels. `None`: there are none.
///
/// # Errors
/// The thread can not be started.
pub fn start(
    state: &Arc<ControlState>,
    publisher: &Arc<Publisher>,
) -> io::Result<Option<WatchHandle>> {
    let sets = sets(state);
    if sets.is_empty() {
        return Ok(None);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(LOOKUP_THREADS)
        .thread_name("corelay-lookup")
        .build()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let mut watchers = vec![None; state.config().pools.len()];
    let (mut verified, mut work) = (Vec::new(), Vec::new());
    for (config, pools) in sets {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let (all_verified, is_verified) = crossbeam::channel::bounded(1);
        for (id, _) in &pools {
            if let Some(slot) = watchers.get_mut(id.index()) {
                *slot = Some(sender.clone());
            }
        }
        verified.push(is_verified);
        work.push((config, pools, (sender, events), all_verified));
    }
    let (state, publisher) = (state.clone(), publisher.clone());
    let run = move || {
        runtime.block_on(async {
            for (config, pools, channel, all_verified) in work {
                let (publisher, state) = (publisher.clone(), state.clone());
                let watch = Watch::new(&config, &pools, channel, publisher, state, all_verified);
                drop(tokio::spawn(watch.run()));
            }
            // Either end of the handle's life.
            let _ = stopped.await;
        });
        // Look-ups that hang are not waited for.
        runtime.shutdown_background();
    };
    let thread = std::thread::Builder::new().name("corelay-sentinel".to_owned()).spawn(run)?;
    let suspicions = Suspicions { watchers: watchers.into() };
    Ok(Some(WatchHandle { suspicions, stop: Some(stop), thread: Some(thread), verified }))
}

type Set = (SentinelConfig, Vec<(PoolId, Arc<PoolConfig>)>);

/// Watched pools by the sentinels that they list.
fn sets(state: &ControlState) -> Vec<Set> {
    let mut sets: Vec<Set> = Vec::new();
    for (index, pool) in state.config().pools.iter().enumerate() {
        let Some(sentinel) = &pool.sentinel else { continue };
        let pool = (PoolId(index as u16), pool.clone());
        let same = |(config, _): &&mut Set| {
            config.addresses == sentinel.addresses && config.credentials == sentinel.credentials
        };
        match sets.iter_mut().find(same) {
            Some((_, pools)) => pools.push(pool),
            None => sets.push((sentinel.clone(), vec![pool])),
        }
    }
    sets
}

impl WatchHandle {
    pub fn suspicions(&self) -> Suspicions {
        self.suspicions.clone()
    }

    /// Waits until every watched shard has a verified primary, at most so long.
    pub fn wait_verified(&self, at_most: Duration) {
        let deadline = crossbeam::channel::after(at_most);
        for verified in &self.verified {
            crossbeam::channel::select! {
                recv(verified) -> _ => {}
                recv(deadline) -> _ => return,
            }
        }
    }
}

impl Drop for WatchHandle {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has ended the process already.
            let _ = thread.join();
        }
    }
}

impl Suspicions {
    /// A core lost a connection to a primary, which was verified by this number, or is refused by
    /// it. One that finds no room is lost; cores remind of it as long as nothing comes of it.
    pub fn suspect(&self, pool: PoolId, shard: ShardId, verified: u64, again: bool, why: &str) {
        let why = why.to_owned();
        self.send(pool, Event::Suspect { pool, shard, verified, again, why });
    }

    /// A core was served again by the primary of this number.
    pub fn first_reply(&self, pool: PoolId, shard: ShardId, verified: u64) {
        self.send(pool, Event::FirstReply { pool, shard, verified });
    }

    fn send(&self, pool: PoolId, event: Event) {
        if let Some(Some(watcher)) = self.watchers.get(pool.index()) {
            // Full: see `suspect`. Closed: the process ends.
            let _ = watcher.try_send(event);
        }
    }
}
