//! What a core has to report, as lines of the log, and to the watcher of its shards.

use std::sync::Arc;

use crate::base::ids::{PoolId, ShardId};
use crate::config::model::{Config, LogLevel};
use crate::control::sentinel::Suspicions;
use crate::log::{Field, Logger};
use crate::reactor::CoreEvent;
use crate::relay::api::Report;

/// The hook of one core: it formats, and puts the line into the log's queue; what the watcher has
/// to know goes to it. It never blocks.
pub(super) fn take(
    logger: Logger,
    mut config: Arc<Config>,
    suspicions: Suspicions,
    core: usize,
) -> Box<dyn FnMut(CoreEvent) + Send> {
    let core = core.to_string();
    Box::new(move |event| match event {
        CoreEvent::Config(next) => config = next,
        CoreEvent::Note { level, text } => {
            logger.event(level, "note", &[("core", &core), ("text", &text)]);
        }
        CoreEvent::Report(report) => {
            pass_on(&suspicions, &report);
            write(&logger, &config, &core, &report);
        }
    })
}

/// Tells the watcher first: a failover does not wait for the formatting of a line.
fn pass_on(suspicions: &Suspicions, report: &Report) {
    match report {
        Report::ShardSuspect { pool, shard, verified, why, again } => {
            suspicions.suspect(*pool, *shard, *verified, *again, why);
        }
        Report::FirstReply { pool, shard, verified, .. } => {
            suspicions.first_reply(*pool, *shard, *verified);
        }
        _ => {}
    }
}

fn write(logger: &Logger, config: &Config, core: &str, report: &Report) {
    match report {
        Report::LaneUp { pool, shard } => {
            let (pool, shard) = names(config, *pool, *shard);
            logger.info("lane up", &[("pool", &pool), ("shard", &shard), ("core", &core)]);
        }
        Report::LaneDown { pool, shard, why }
        | Report::SubscriptionRefused { pool, shard, why } => {
            let what = match report {
                Report::LaneDown { .. } => "lane down",
                _ => "subscription refused, to be tried again",
            };
            let (pool, shard) = names(config, *pool, *shard);
            let fields: [Field<'_>; 4] =
                [("pool", &pool), ("shard", &shard), ("core", &core), ("why", &why)];
            logger.event(LogLevel::Warn, what, &fields);
        }
        Report::ReplicaUp { pool, shard, node } => {
            let (pool, shard) = names(config, *pool, *shard);
            let fields: [Field<'_>; 4] =
                [("pool", &pool), ("shard", &shard), ("replica", &node), ("core", &core)];
            logger.info("replica answers again", &fields);
        }
        Report::ReplicaDown { pool, shard, node, why } => {
            let (pool, shard) = names(config, *pool, *shard);
            let fields: [Field<'_>; 5] = [
                ("pool", &pool),
                ("shard", &shard),
                ("replica", &node),
                ("core", &core),
                ("why", &why),
            ];
            logger.event(LogLevel::Warn, "replica does not answer, the primary is asked", &fields);
        }
        Report::ClientProtocolError { pool, peer, why } => {
            let pool = pool_name(config, *pool);
            let fields: [Field<'_>; 3] = [("pool", &pool), ("peer", &peer), ("why", &why)];
            logger.event(LogLevel::Info, "client sent a broken frame", &fields);
        }
        Report::ClientClosedForOutput { pool, peer, bytes } => {
            let (pool, bytes) = (pool_name(config, *pool), bytes.to_string());
            let fields: [Field<'_>; 3] = [("pool", &pool), ("peer", &peer), ("bytes", &bytes)];
            logger.event(LogLevel::Warn, "client closed: it does not read its replies", &fields);
        }
        Report::ShardSuspect { again: true, .. } => {}
        Report::ShardSuspect { pool, shard, verified, why, again: false } => {
            let (pool, shard) = names(config, *pool, *shard);
            let verified = verified.to_string();
            let fields: [Field<'_>; 5] = [
                ("pool", &pool),
                ("shard", &shard),
                ("core", &core),
                ("verified", &verified),
                ("why", &why),
            ];
            logger.event(LogLevel::Warn, "primary in doubt", &fields);
        }
        Report::FirstReply { pool, shard, verified, outage_us } => {
            let (pool, shard) = names(config, *pool, *shard);
            let (verified, outage_ms) =
                (verified.to_string(), outage_us.div_ceil(1_000).to_string());
            let fields: [Field<'_>; 5] = [
                ("pool", &pool),
                ("shard", &shard),
                ("core", &core),
                ("verified", &verified),
                ("outage_ms", &outage_ms),
            ];
            logger.event(LogLevel::Info, "shard is served again", &fields);
        }
    }
}

fn pool_name(config: &Config, pool: PoolId) -> &str {
    config.pools.get(pool.index()).map_or("?", |pool| pool.name.as_str())
}

fn names(config: &Config, pool: PoolId, shard: ShardId) -> (&str, &str) {
    let shards = config.pools.get(pool.index()).map(|pool| &pool.shards);
    let shard = shards.and_then(|shards| shards.get(shard.index()));
    (pool_name(config, pool), shard.map_or("?", |shard| shard.name.as_str()))
}
