//! What holds between `read_from`, the shards' `replicas`, and the keys that belong to them.

use ahash::AHashMap;

use super::complaint::Complaints;
use super::draft::PoolDraft;
use super::model::{NodeAddress, PoolConfig, ReadFrom};

/// Complains about replicas that can not be, and warns of what has no effect.
pub(super) fn check(draft: &PoolDraft, complaints: &mut Complaints) {
    let pool = &draft.pool;
    check_addresses(draft, complaints);
    if pool.reads_replicas() {
        let key = if pool.read_from == ReadFrom::Primary { FAMILIES } else { "read_from" };
        if pool.sentinel.is_none() && draft.has_shards && !lists_replicas(pool) {
            complaints
                .warning(draft.line_of(key), draft.key(key), "no shard has a replica to read from")
                .remedy("add replicas = [\"host:port\", …] to [[pool.shard]]");
        }
        return;
    }
    for key in ["replica_lag_max_bytes", "read_your_writes_ms"] {
        if let Some((_, line)) = draft.lines.iter().find(|(written, _)| *written == key) {
            complaints
                .warning(*line, draft.key(key), "no effect: only primaries are read from")
                .remedy("remove it, or write read_from = \"prefer-replica\"");
        }
    }
    if let Some(at) = pool.shards.iter().position(|shard| !shard.replicas.is_empty()) {
        let line = draft.shard_lines.get(at).copied().unwrap_or(draft.line);
        complaints
            .warning(line, draft.key(REPLICAS), "no effect: only primaries are read from")
            .remedy("remove it, or write read_from = \"prefer-replica\" to [[pool]]");
    }
}

const FAMILIES: &str = "read_from_by_family";
const REPLICAS: &str = "shard.replicas";

fn lists_replicas(pool: &PoolConfig) -> bool {
    pool.shards.iter().any(|shard| !shard.replicas.is_empty())
}

/// A node is one shard's, and either its primary or a replica of it.
fn check_addresses(draft: &PoolDraft, complaints: &mut Complaints) {
    let shards = || draft.pool.shards.iter().zip(&draft.shard_lines);
    let mut known: AHashMap<&NodeAddress, (&str, usize)> =
        shards().map(|(shard, line)| (&shard.address, ("the primary", *line))).collect();
    for (shard, line) in shards().filter(|(shard, _)| !shard.replicas.is_empty()) {
        if let NodeAddress::Unix { .. } = shard.address {
            complaints
                .error(*line, draft.key(REPLICAS), "the primary is at a unix socket")
                .quoted(&shard.address.to_string())
                .remedy("write its address as \"host:port\": that is asked how far it is");
        }
        for replica in &shard.replicas {
            if let Some((what, first)) = known.insert(replica, ("a replica", *line)) {
                complaints
                    .error(*line, draft.key(REPLICAS), format!("it is {what} of line {first} too"))
                    .quoted(&replica.to_string())
                    .remedy("list each redis-server once");
            }
        }
    }
}
