//! What the watcher shows of the sentinels and of the shards they watch.

use std::sync::Arc;
use std::time::Duration;

/// A watched pool.
#[derive(Clone, Debug)]
pub(super) struct PoolPicture {
    pub(super) sentinels: Arc<[SentinelPicture]>,
    /// By `ShardId`.
    pub(super) shards: Vec<ShardPicture>,
}

#[derive(Clone, Debug)]
pub(super) struct SentinelPicture {
    pub(super) address: String,
    pub(super) id: Option<String>,
    /// In the configuration; else others name it.
    pub(super) is_configured: bool,
    pub(super) answers: bool,
    /// Its events are subscribed to.
    pub(super) listens: bool,
    pub(super) tilt: bool,
    pub(super) trouble: Option<String>,
    pub(super) answered_ms_ago: Option<u128>,
}

#[derive(Clone, Debug)]
pub(super) struct ShardPicture {
    pub(super) config_epoch: Option<u64>,
    pub(super) sentinels_known: usize,
    pub(super) sentinels_answering: usize,
    pub(super) sentinels_in_tilt: usize,
    pub(super) in_doubt: Option<String>,
    /// Why the sentinels' answers are no verdict.
    pub(super) refusal: Option<String>,
    /// What the node said when it was no master.
    pub(super) node_says: Option<String>,
}

/// A replica of a pool that reads from them.
#[derive(Clone, Debug)]
pub(super) struct ReplicaPicture {
    pub(super) address: String,
    /// Bytes that it lacks, or why it is not read from.
    pub(super) standing: Result<u64, String>,
    pub(super) near: bool,
    pub(super) round_trip: Option<Duration>,
}
