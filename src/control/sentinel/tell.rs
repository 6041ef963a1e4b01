//! What a watcher tells: lines of the log, metrics, and the picture that the admin port shows.
//!
//! A line comes when something changes, not as long as it lasts.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::master::{Change, Moment};
use super::sentinels::Sentinels;
use super::watch::Shard;
use crate::base::ids::{PoolId, ShardId};
use crate::control::picture::{PoolPicture, SentinelPicture, ShardPicture};
use crate::control::state::ControlState;
use crate::log::Field;
use crate::stats::watch::WatchMetric;

/// How often metrics and picture are brought up to date if nothing was published.
const REFRESH: Duration = Duration::from_millis(250);
/// What a failover takes behind the sentinels' `down-after-milliseconds`: election and promotion.
const FAILOVER_MS: u64 = 1_000;

pub(super) struct Teller {
    state: Arc<ControlState>,
    pools: Vec<PoolId>,
    refresh_at: Moment,
    /// What was said last of each shard.
    said: Vec<Said>,
    /// Shards that have moved and not replied yet: pool, shard, verified, when it was published.
    awaited: Vec<(PoolId, ShardId, u64, Moment)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    refusal: String,
    no_majority: bool,
    few_sentinels: bool,
    low_quorum: bool,
    long_down_after: bool,
}

impl Teller {
    pub(super) fn new(state: Arc<ControlState>, pools: Vec<PoolId>) -> Teller {
        let (refresh_at, said, awaited) = (Duration::ZERO, Vec::new(), Vec::new());
        Teller { state, pools, refresh_at, said, awaited }
    }

    pub(super) fn suspected(&self, pool: PoolId, shard: ShardId) {
        self.add(pool, shard, WatchMetric::Suspicions);
    }

    fn add(&self, pool: PoolId, shard: ShardId, metric: WatchMetric) {
        if let Some(cell) = self.state.watch.cell(pool, shard, metric) {
            cell.add(1);
        }
    }

    fn set(&self, pool: PoolId, shard: ShardId, metric: WatchMetric, value: u64) {
        if let Some(cell) = self.state.watch.cell(pool, shard, metric) {
            cell.set(value);
        }
    }

    /// A line for each publication, with its time line.
    pub(super) fn published(
        &mut self,
        shard: &Shard,
        name: &str,
        change: &Change,
        epoch: Option<u64>,
        now: Moment,
    ) {
        self.refresh_at = now;
        let Some(current) = &shard.master.in_force else { return };
        let noticed = shard.master.noticed.as_ref();
        let took = noticed.map_or(Duration::ZERO, |noticed| now.saturating_sub(noticed.at));
        let (verified, config_epoch) = (current.verified, current.config_epoch);
        let topology = epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string());
        let why = noticed.map_or("-", |noticed| noticed.why.as_str());
        let took_ms = took.as_millis();
        let of: [Field<'_>; 3] =
            [("pool", &shard.pool_name), ("shard", &name), ("primary", &current.at)];
        let timed: [Field<'_>; 5] = [
            ("config_epoch", &config_epoch),
            ("detected_by", &why),
            ("published_after_ms", &took_ms),
            ("verified", &verified),
            ("topology", &topology),
        ];
        let log = &self.state.log;
        match change {
            Change::Moved { from: Some(from) } => {
                let from: [Field<'_>; 1] = [("from", from)];
                log.info("primary moved", &[&of[..], &from, &timed].concat());
                self.add(shard.pool, shard.shard, WatchMetric::Switches);
                self.awaited.retain(|(pool, at, ..)| (*pool, *at) != (shard.pool, shard.shard));
                self.awaited.push((shard.pool, shard.shard, verified, now));
                self.time_line(shard, took);
            }
            Change::Moved { from: None } => {
                log.info("primary verified", &[&of[..], &timed].concat())
            }
            Change::Confirmed => log.info("primary verified again", &[&of[..], &timed].concat()),
            Change::ConfirmedAlone => {
                let message =
                    "primary verified by its role alone: no majority of the sentinels answers";
                log.warn(message, &[&of[..], &timed].concat());
                self.add(shard.pool, shard.shard, WatchMetric::VerificationsAlone);
            }
            Change::Paused => {
                let message = "requests are held: a sentinel promotes the replica";
                log.info(message, &of);
            }
            Change::ReadOnly => {
                let (known, answering) = (shard.master.count.known, shard.master.count.answered);
                let count: [Field<'_>; 2] = [("sentinels", &known), ("answering", &answering)];
                let message = "writes are refused: no majority of the sentinels answers";
                log.error(message, &[&of[..], &count].concat());
            }
        }
        if change.is_verified() {
            self.add(shard.pool, shard.shard, WatchMetric::Verifications);
        }
    }

    fn time_line(&self, shard: &Shard, took: Duration) {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = |at: Duration| u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        let (pool, at) = (shard.pool, shard.shard);
        self.set(pool, at, WatchMetric::SwitchDetectedAt, micros(wall.saturating_sub(took)));
        self.set(pool, at, WatchMetric::SwitchPublishedAt, micros(wall));
        self.set(pool, at, WatchMetric::SwitchFirstReplyAt, 0);
    }

    /// The end of the time line: the first core that was served again.
    pub(super) fn first_reply(&mut self, pool: PoolId, shard: ShardId, verified: u64, now: Moment) {
        let awaited = self.awaited.iter().position(|(of, at, published, _)| {
            (*of, *at) == (pool, shard) && verified >= *published
        });
        let Some(awaited) = awaited else { return };
        let (.., published_at) = self.awaited.swap_remove(awaited);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
        self.set(pool, shard, WatchMetric::SwitchFirstReplyAt, micros);
        let config = self.state.config();
        let config = config.pools.get(pool.index());
        let pool_name = config.map_or("?", |pool| pool.name.as_str());
        let name = config.and_then(|pool| pool.shards.get(shard.index()));
        self.state.log.info(
            "new primary has replied",
            &[
                ("pool", &pool_name),
                ("shard", &name.map_or("?", |shard| shard.name.as_str())),
                ("after_publishing_ms", &now.saturating_sub(published_at).as_millis()),
            ],
        );
    }

    /// Says what has changed since the last time.
    pub(super) fn tell(
        &mut self,
        shards: &[Shard],
        sentinels: &Sentinels,
        names: &[String],
        now: Moment,
    ) {
        if now < self.refresh_at {
            return;
        }
        self.refresh_at = now + REFRESH;
        self.said.resize(shards.len(), Said::default());
        for (shard, said) in shards.iter().zip(&mut self.said) {
            let name = names.get(shard.name).map_or("?", String::as_str);
            say(&self.state, shard, name, sentinels, said);
        }
        for shard in shards {
            self.measure(shard);
        }
        self.show(shards, sentinels, now);
    }

    fn measure(&self, shard: &Shard) {
        let (pool, at, master) = (shard.pool, shard.shard, &shard.master);
        let current = master.in_force.as_ref();
        let verified = current.is_some() && master.doubt.is_none();
        let figures = [
            (WatchMetric::PrimaryVerified, u64::from(verified)),
            (WatchMetric::Writable, u64::from(current.is_some_and(|current| current.writable))),
            (WatchMetric::ConfigEpoch, current.map_or(0, |current| current.config_epoch)),
            (WatchMetric::SentinelsKnown, master.count.known as u64),
            (WatchMetric::SentinelsAnswering, master.count.answered as u64),
            (WatchMetric::SentinelsInTilt, master.count.tilted as u64),
        ];
        for (metric, value) in figures {
            self.set(pool, at, metric, value);
        }
    }

    fn show(&self, shards: &[Shard], sentinels: &Sentinels, now: Moment) {
        let of_sentinels: Arc<[SentinelPicture]> = sentinels
            .list
            .iter()
            .map(|sentinel| SentinelPicture {
                address: sentinel.address.to_string(),
                id: sentinel.id.clone(),
                is_configured: sentinel.is_configured,
                answers: sentinel.trouble.is_none() && sentinel.answered.is_some(),
                listens: sentinel.listens,
                tilt: sentinel.tilt,
                trouble: sentinel.trouble.clone(),
                answered_ms_ago: sentinel.answered.map(|at| now.saturating_sub(at).as_millis()),
            })
            .collect();
        for pool in &self.pools {
            let of_shards = shards.iter().filter(|shard| shard.pool == *pool);
            let picture = PoolPicture {
                sentinels: of_sentinels.clone(),
                shards: of_shards.map(picture_of).collect(),
            };
            self.state.set_picture(*pool, Arc::new(picture));
        }
    }
}

fn picture_of(shard: &Shard) -> ShardPicture {
    let master = &shard.master;
    ShardPicture {
        config_epoch: master.in_force.as_ref().map(|current| current.config_epoch),
        sentinels_known: master.count.known,
        sentinels_answering: master.count.answered,
        sentinels_in_tilt: master.count.tilted,
        in_doubt: master.doubt.as_ref().map(|doubt| doubt.why.clone()),
        refusal: master.refusal.as_ref().map(ToString::to_string),
        node_says: master.node_says.clone(),
    }
}

/// What is new about a shard: why it has no verified primary, and how many sentinels answer.
fn say(state: &ControlState, shard: &Shard, name: &str, sentinels: &Sentinels, said: &mut Said) {
    let (log, master) = (&state.log, &shard.master);
    let mut refusal = master.refusal.as_ref().map(ToString::to_string).unwrap_or_default();
    if refusal.is_empty() {
        refusal = master.node_says.clone().unwrap_or_default();
    }
    if said.refusal != refusal {
        if !refusal.is_empty() && master.in_force.is_some() {
            log.warn(
                "primary is not verified, its last address stays",
                &[("pool", &shard.pool_name), ("shard", &name), ("why", &refusal)],
            );
        } else if !refusal.is_empty() {
            log.error(
                "no primary is known",
                &[("pool", &shard.pool_name), ("shard", &name), ("why", &refusal)],
            );
        }
        said.refusal = refusal;
    }
    let count = master.count;
    let no_majority = !count.is_majority() && master.in_force.is_some();
    if no_majority != said.no_majority {
        let fields: [Field<'_>; 4] = [
            ("pool", &shard.pool_name),
            ("shard", &name),
            ("answering", &count.answered),
            ("sentinels", &count.known),
        ];
        match no_majority {
            true => {
                log.warn("no majority of the sentinels answers, the last address stays", &fields);
            }
            false => log.info("a majority of the sentinels answers again", &fields),
        }
        said.no_majority = no_majority;
    }
    if count.is_majority() {
        say_setup(state, shard, name, sentinels, said);
    }
}

/// What of the sentinels' set-up makes failovers slow or unsafe.
fn say_setup(
    state: &ControlState,
    shard: &Shard,
    name: &str,
    sentinels: &Sentinels,
    said: &mut Said,
) {
    let (log, count) = (&state.log, shard.master.count);
    let few = count.known < SENTINELS_MIN;
    if few && !said.few_sentinels {
        log.warn(
            "fewer than three sentinels: one that fails can prevent a failover",
            &[("pool", &shard.pool_name), ("shard", &name), ("sentinels", &count.known)],
        );
    }
    said.few_sentinels = few;
    let heard = sentinels.heard(shard.name);
    let quorum = heard.iter().filter_map(|heard| heard.said()).map(|said| said.quorum).min();
    let low = quorum.is_some_and(|quorum| quorum < count.majority());
    if low && !said.low_quorum {
        log.warn(
            "the sentinels' quorum is below a majority: a minority may call the primary down",
            &[
                ("pool", &shard.pool_name),
                ("shard", &name),
                ("quorum", &quorum.unwrap_or_default()),
                ("majority", &count.majority()),
            ],
        );
    }
    said.low_quorum = low;
    let down_after = heard.iter().filter_map(|heard| heard.said()).map(|said| said.down_after_ms);
    let down_after = down_after.max().unwrap_or_default();
    let long = down_after.saturating_add(FAILOVER_MS) > shard.hold_ms;
    if long && !said.long_down_after {
        log.warn(
            "a failover takes longer than hold_ms: raise it, or lower down-after-milliseconds",
            &[
                ("pool", &shard.pool_name),
                ("shard", &name),
                ("down_after_ms", &down_after),
                ("hold_ms", &shard.hold_ms),
            ],
        );
    }
    said.long_down_after = long;
}

/// With fewer there is no majority without all of them.
const SENTINELS_MIN: usize = 3;
