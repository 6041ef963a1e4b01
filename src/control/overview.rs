//! What the admin port shows as JSON: `/stats` and `/topology`, for people and scripts.
//!
//! A metric's key is its Prometheus name without the scope in front (`requests_total`).

use serde_json::{Map, Value, json};

use super::picture::{PoolPicture, ReplicaPicture, SentinelPicture, ShardPicture};
use super::readiness;
use super::state::ControlState;
use crate::base::ids::{PoolId, ShardId};
use crate::stats::cells::{CoreMetric, Metric, PoolMetric, ShardMetric, pool_total, shard_total};
use crate::stats::latency::LatencyFigures;
use crate::stats::watch::{ReplicaMetric, WatchMetric};
use crate::topology::ShardTopology;

/// Counters of cores, pools and shards, latency quantiles of the last 10 to 20 s.
pub(super) fn stats(state: &ControlState) -> Value {
    let process = state.process();
    let latency = state.latency();
    let config = state.config();
    let pools = config.pools.iter().enumerate().map(|(index, pool)| {
        let id = PoolId(index as u16);
        let shards = pool.shards.iter().enumerate().map(|(number, shard)| {
            let shard_id = ShardId(number as u16);
            let counts = ShardMetric::ALL.iter().map(|metric| {
                let value = shard_total(&state.cores, id, shard_id, *metric);
                (key(metric.metric()), Value::from(value))
            });
            let watched = WatchMetric::ALL.iter().filter_map(|metric| {
                let cell = state.watch.cell(id, shard_id, *metric)?;
                Some((key(metric.metric()), Value::from(cell.get())))
            });
            let replicas = ReplicaMetric::ALL.iter().filter_map(|metric| {
                let cell = state.watch.of_replicas(id, shard_id, *metric)?;
                Some((key(metric.metric()), Value::from(cell.get())))
            });
            let figures = counts.chain(watched).chain(replicas);
            (shard.name.clone(), Value::Object(figures.collect()))
        });
        let counts = PoolMetric::ALL.iter().map(|metric| {
            (key(metric.metric()), Value::from(pool_total(&state.cores, id, *metric)))
        });
        let of_pool = latency.iter().filter(|figures| figures.pool == id);
        let latencies =
            of_pool.map(|figures| (figures.family.name().to_owned(), latency_of(figures)));
        let pool_value = json!({
            "counts": counts.collect::<Map<_, _>>(),
            "latency_us": latencies.collect::<Map<_, _>>(),
            "shards": shards.collect::<Map<_, _>>(),
        });
        (pool.name.clone(), pool_value)
    });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": process.uptime_s,
        "draining": state.is_draining(),
        "process": {
            "cpu_s": process.cpu_s,
            "resident_bytes": process.resident_bytes,
            "descriptors": process.descriptors,
            "descriptors_max": process.descriptors_max,
            "threads": process.threads,
            "log_lines_dropped": process.log_lines_dropped,
            "log_lines_suppressed": process.log_lines_suppressed,
        },
        "cores": (0..state.cores.len()).map(|core| core_of(state, core)).collect::<Vec<_>>(),
        "pools": pools.collect::<Map<_, _>>(),
    })
}

fn core_of(state: &ControlState, number: usize) -> Value {
    let Some(core) = state.cores.get(number) else { return Value::Null };
    let counts = CoreMetric::ALL
        .iter()
        .map(|metric| (key(metric.metric()), Value::from(core.core(*metric).get())));
    let config = state.config();
    let clients = config.pools.iter().enumerate().map(|(index, pool)| {
        let count = core.pool(PoolId(index as u16), PoolMetric::ClientConnections).get();
        (pool.name.clone(), Value::from(count.cast_signed()))
    });
    json!({
        "core": number,
        "cpu": config.proxy.cores.get(number),
        "counts": counts.collect::<Map<_, _>>(),
        "clients": clients.collect::<Map<_, _>>(),
    })
}

fn latency_of(figures: &LatencyFigures) -> Value {
    let recent = figures.recent.map(|recent| {
        json!({
            "count": recent.count,
            "p50": recent.p50_us,
            "p99": recent.p99_us,
            "p999": recent.p999_us,
            "max": recent.max_us,
        })
    });
    json!({ "count": figures.count, "sum": figures.sum_us, "recent": recent })
}

fn key(metric: &Metric) -> String {
    let name = metric.prometheus.splitn(3, '_').nth(2);
    let name = name.unwrap_or(metric.prometheus);
    // A moment is kept in µs, and shown as it is kept.
    name.strip_suffix("_seconds").map_or_else(|| name.to_owned(), |name| format!("{name}_us"))
}

/// The topology in force: where each shard's primary and replicas are, and what `corelay probe`
/// asks for beside it. `ring` is the same at two proxies exactly if they place every key alike.
pub(super) fn topology(state: &ControlState) -> Value {
    let topology = state.topology();
    let rings = state.rings();
    let pools = topology.config.pools.iter().enumerate().map(|(index, pool)| {
        let id = PoolId(index as u16);
        let picture = state.picture(id);
        let shards = pool.shards.iter().enumerate().map(|(number, shard)| {
            let now = topology.shard(id, ShardId(number as u16));
            let replicas = now.map_or(&[][..], |now: &ShardTopology| &now.replicas);
            let known = state.replicas(id, ShardId(number as u16));
            let count = |metric| shard_total(&state.cores, id, ShardId(number as u16), metric);
            let value = json!({
                "address": shard.address.to_string(),
                "weight": shard.weight,
                "primary": now.and_then(|now| now.primary.as_ref()).map(ToString::to_string),
                "verified": now.map_or(0, |now| now.verified),
                "writable": now.is_none_or(|now| now.writable),
                "paused": now.is_some_and(|now| now.paused),
                "lanes": count(ShardMetric::ServerConnections),
                "needed": readiness::is_needed(state, id, ShardId(number as u16)),
                "replicas": replicas.iter().map(|it| it.endpoint.to_string()).collect::<Vec<_>>(),
                "replicas_known": known.iter().map(replica_of).collect::<Vec<_>>(),
            });
            let watched = picture.as_ref().and_then(|picture| picture.shards.get(number));
            let value = match (value, watched) {
                (Value::Object(mut shown), Some(watched)) => {
                    shown.extend(watched_shard(watched));
                    Value::Object(shown)
                }
                (value, _) => value,
            };
            (shard.name.clone(), value)
        });
        let mut value = json!({
            "ring": format!("{:016x}", rings.get(index).copied().unwrap_or_default()),
            "listen": pool.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "listeners": pool_total(&state.cores, id, PoolMetric::Listeners),
            "clients": pool_total(&state.cores, id, PoolMetric::ClientConnections),
            "shards": shards.collect::<Map<_, _>>(),
        });
        if let (Value::Object(shown), Some(picture)) = (&mut value, &picture) {
            shown.insert("sentinels".to_owned(), sentinels_of(picture));
        }
        (pool.name.clone(), value)
    });
    json!({
        "epoch": topology.epoch,
        "draining": state.is_draining(),
        "pools": pools.collect::<Map<_, _>>(),
    })
}

fn replica_of(replica: &ReplicaPicture) -> Value {
    let round_trip_us = replica.round_trip.map(|it| u64::try_from(it.as_micros()).ok());
    json!({
        "address": replica.address,
        "read_from": replica.standing.is_ok(),
        "lag_bytes": replica.standing.as_ref().ok(),
        "why_not": replica.standing.as_ref().err(),
        "near": replica.near,
        "round_trip_us": round_trip_us,
    })
}

/// What the watcher adds to a shard.
fn watched_shard(watched: &ShardPicture) -> Map<String, Value> {
    let value = json!({
        "config_epoch": watched.config_epoch,
        "sentinels_known": watched.sentinels_known,
        "sentinels_answering": watched.sentinels_answering,
        "sentinels_in_tilt": watched.sentinels_in_tilt,
        "in_doubt": watched.in_doubt,
        "sentinels_say": watched.refusal,
        "node_says": watched.node_says,
    });
    match value {
        Value::Object(shown) => shown,
        _ => Map::new(),
    }
}

/// All sentinels of a pool, and how many of them there are for the shard that has the fewest.
fn sentinels_of(picture: &PoolPicture) -> Value {
    let worst = picture.shards.iter().min_by_key(|shard| shard.sentinels_answering);
    let known = worst.map_or(0, |shard| shard.sentinels_known);
    json!({
        "known": known,
        "reachable": worst.map_or(0, |shard| shard.sentinels_answering),
        "majority": known / 2 + 1,
        "tilt": picture.sentinels.iter().any(|sentinel| sentinel.tilt),
        "list": picture.sentinels.iter().map(sentinel_of).collect::<Vec<_>>(),
    })
}

fn sentinel_of(sentinel: &SentinelPicture) -> Value {
    json!({
        "address": sentinel.address,
        "id": sentinel.id,
        "configured": sentinel.is_configured,
        "answers": sentinel.answers,
        "listened_to": sentinel.listens,
        "tilt": sentinel.tilt,
        "trouble": sentinel.trouble,
        "answered_ms_ago": sentinel.answered_ms_ago.and_then(|ms| u64::try_from(ms).ok()),
    })
}
