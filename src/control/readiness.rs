//! Is this proxy ready to be given clients? Answered from what the cores count.
//!
//! Ready: it is not draining; every pool listens on at least one socket; and every shard either has
//! a connected lane on some core, or was never needed (no request, no connect, no attempt). A shard
//! whose primary is not known (a name that does not resolve), or that sentinels watch and is in
//! doubt, is not ready, needed or not.
//!
//! One dead shard makes the proxy not ready although it serves the others: a load balancer that
//! should keep it in that case asks /healthz.

use super::state::ControlState;
use crate::base::ids::{PoolId, ShardId};
use crate::config::model::NodeAddress;
use crate::stats::cells::{PoolMetric, ShardMetric, pool_total, shard_total};

/// Why it is not ready, one line each; empty: it is.
pub(super) fn reasons(state: &ControlState) -> Vec<String> {
    let mut reasons = Vec::new();
    if state.is_draining() {
        reasons.push("draining: finishing what is under way, then ending".to_owned());
    }
    let topology = state.topology();
    for (index, pool) in topology.config.pools.iter().enumerate() {
        let id = PoolId(index as u16);
        if pool_total(&state.cores, id, PoolMetric::Listeners) == 0 {
            reasons.push(format!("pool {}: no listener is open", pool.name));
        }
        for (number, shard) in pool.shards.iter().enumerate() {
            let shard_id = ShardId(number as u16);
            let count = |metric| shard_total(&state.cores, id, shard_id, metric);
            let primary = topology.shard(id, shard_id).and_then(|shard| shard.primary.as_ref());
            let Some(primary) = primary else {
                let why = match shard.address {
                    NodeAddress::Sentinel => "no verified primary".to_owned(),
                    _ => format!("no primary is known for {}", shard.address),
                };
                let doubt = doubt(state, id, number);
                let doubt = doubt.map_or_else(String::new, |doubt| format!(": {doubt}"));
                reasons.push(format!("pool {} shard {}: {why}{doubt}", pool.name, shard.name));
                continue;
            };
            if let Some(doubt) = doubt(state, id, number) {
                reasons.push(format!(
                    "pool {} shard {}: primary {primary} is not verified: {doubt}",
                    pool.name, shard.name
                ));
            }
            if is_needed(state, id, shard_id) && count(ShardMetric::ServerConnections) == 0 {
                reasons.push(format!(
                    "pool {} shard {}: no lane is connected to {primary}",
                    pool.name, shard.name
                ));
            }
        }
    }
    reasons
}

/// Whether any core has had a request for this shard, or tried to connect to it.
pub(super) fn is_needed(state: &ControlState, pool: PoolId, shard: ShardId) -> bool {
    [ShardMetric::Requests, ShardMetric::LaneConnects, ShardMetric::LaneConnectFailures]
        .into_iter()
        .any(|metric| shard_total(&state.cores, pool, shard, metric) > 0)
}

/// Why a watched shard's primary is in doubt.
fn doubt(state: &ControlState, pool: PoolId, shard: usize) -> Option<String> {
    let picture = state.picture(pool)?;
    let shard = picture.shards.get(shard)?;
    let doubt = shard.in_doubt.as_ref()?;
    let more = shard.refusal.as_ref().or(shard.node_says.as_ref());
    Some(more.unwrap_or(doubt).clone())
}
