//! Which replicas may be read from: each is asked every second how far behind its primary it is.
//!
//! One thread for all pools that read from replicas: a runtime on which each shard has a task that
//! samples its nodes, and each watched pool one that asks a sentinel for their replicas. What counts
//! is what the nodes themselves say, by the rules of `judge`: a replica that is loading, cut off
//! from its primary, or behind by more than its pool allows is taken out of the topology. The
//! primary is the one that the topology in force names; of another one nothing is published.
//!
//! ```text
//!  sentinels ── SENTINEL REPLICAS ──▶ find ─┐
//!  configuration ───────────────────────────┴▶ shard ──▶ publisher ──▶ cores
//!  nodes ◀──── PING, INFO ────▶ node ─────────▶  │
//!                                            judge: the rules, pure
//! ```

mod find;
mod judge;
mod node;
mod shard;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

use super::publisher::Publisher;
use super::sentinel::words::Listed;
use super::state::ControlState;
use crate::base::ids::{PoolId, ShardId};
use shard::Sampler;

/// Threads that look up host names.
const LOOKUP_THREADS: usize = 4;

/// Ends the sampling when dropped.
#[derive(Debug)]
#[must_use = "replicas are no longer looked at when this is dropped"]
pub struct ReplicasHandle {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The replicas of each shard of a watched pool, as far as they are known.
type Lists = Vec<Vec<Listed>>;

/// Starts to look at the replicas of all pools that read from them. `None`: there are none.
///
/// # Errors
/// The thread can not be started.
pub fn start(
    state: &Arc<ControlState>,
    publisher: &Arc<Publisher>,
) -> io::Result<Option<ReplicasHandle>> {
    if !state.config().pools.iter().any(|pool| pool.reads_replicas()) {
        return Ok(None);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(LOOKUP_THREADS)
        .thread_name("corelay-lookup")
        .build()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let (state, publisher) = (state.clone(), publisher.clone());
    let run = move || {
        runtime.block_on(async {
            spawn_all(&state, &publisher);
            // Either end of the handle's life.
            let _ = stopped.await;
        });
        // Look-ups that hang are not waited for.
        runtime.shutdown_background();
    };
    let thread = std::thread::Builder::new().name("corelay-replicas".to_owned()).spawn(run)?;
    Ok(Some(ReplicasHandle { stop: Some(stop), thread: Some(thread) }))
}

/// The tasks run until their runtime ends.
fn spawn_all(state: &Arc<ControlState>, publisher: &Arc<Publisher>) {
    for (pool, id) in state.config().pools.iter().zip(0..) {
        if !pool.reads_replicas() {
            continue;
        }
        let (found, lists) = watch::channel(vec![Vec::new(); pool.shards.len()]);
        if let Some(sentinel) = &pool.sentinel {
            drop(tokio::spawn(find::run(sentinel.clone(), pool.clone(), found)));
        }
        for shard in 0..pool.shards.len() as u16 {
            let (state, publisher) = (state.clone(), publisher.clone());
            let place = (PoolId(id), ShardId(shard));
            let sampler = Sampler::new(place, pool.clone(), lists.clone(), state, publisher);
            drop(tokio::spawn(sampler.run()));
        }
    }
}

impl Drop for ReplicasHandle {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has ended the process already.
            let _ = thread.join();
        }
    }
}
