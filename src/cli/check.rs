//! `corelay check`: what would run, and every key there is.

use std::fmt::Write as _;

use super::output::table;
use crate::config::keys::{self, Fallback, Kind, Section};
use crate::config::model::{
    Config, Facade, Listen, PoolConfig, Replay, SentinelConfig, ShardConfig,
};
use crate::config::names::{distribution_name, hash_name, read_from_name};

/// Cores, listeners, pools and shards, to be read by a person.
pub(super) fn what_would_run(config: &Config) -> String {
    let proxy = &config.proxy;
    let cores: Vec<String> = proxy.cores.iter().map(usize::to_string).collect();
    let address = |address: Option<std::net::SocketAddr>| {
        address.map_or("off".to_owned(), |address| address.to_string())
    };
    let log = proxy.log_file.as_ref().map_or("stderr".into(), |path| path.to_string_lossy());
    let mut text = String::new();
    let _ = writeln!(text, "cores  {} (CPU {})", cores.len(), cores.join(", "));
    let _ = writeln!(text, "admin  {}", address(proxy.admin_listen));
    let _ = writeln!(text, "stats  {}", address(proxy.stats_listen));
    let _ = writeln!(text, "log    {log}");
    if let Some(path) = &proxy.handover_socket {
        let _ = writeln!(text, "handover {}", path.display());
    }
    for pool in &config.pools {
        text.push_str(&pool_text(pool));
    }
    text
}

fn pool_text(pool: &PoolConfig) -> String {
    let mut text = format!("\npool {}\n", pool.name);
    for listen in &pool.listen {
        let _ = match listen {
            Listen::Unix { mode: Some(mode), .. } => {
                writeln!(text, "  listen    {listen} (mode {mode:04o})")
            }
            _ => writeln!(text, "  listen    {listen}"),
        };
    }
    let tag = pool.hash_tag.map_or(String::new(), |(open, close)| {
        format!(", of the part between {}", super::output::shown(&[open, close]))
    });
    let placement = format!("{} by {}", distribution_name(pool.distribution), hash_name(pool.hash));
    let timeout = pool.timeout_ms.map_or("none".to_owned(), |timeout| format!("{timeout} ms"));
    let clients = match pool.limits.client_connections_max {
        0 => "no bound".to_owned(),
        most => format!("at most {most}"),
    };
    let _ = writeln!(text, "  placement {placement}{tag}");
    let _ = writeln!(text, "  timeout   {timeout}");
    let _ = writeln!(text, "  clients   {clients}");
    if pool.facade == Facade::Cluster {
        let node = match &pool.facade_address {
            Some((host, port)) => format!("{host}:{port}"),
            None => "the address that a client connects to".to_owned(),
        };
        let _ = writeln!(text, "  facade    a Redis Cluster of one node, {node}");
    }
    if let Some(sentinel) = &pool.sentinel {
        let addresses: Vec<String> = sentinel.addresses.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "  sentinels {} and those that they name", addresses.join(", "));
        let _ = writeln!(text, "  hold      {}", hold_text(pool, sentinel));
    }
    if pool.reads_replicas() {
        let _ = writeln!(text, "  reads     {}", reads_text(pool));
    }
    let lists_replicas = pool.shards.iter().any(|shard| !shard.replicas.is_empty());
    let row = |shard: &ShardConfig| {
        let replicas: Vec<String> = shard.replicas.iter().map(ToString::to_string).collect();
        let mut row = vec![shard.name.clone(), shard.address.to_string(), shard.weight.to_string()];
        row.extend(lists_replicas.then(|| replicas.join(", ")));
        row
    };
    let rows: Vec<Vec<String>> = pool.shards.iter().map(row).collect();
    let columns = ["SHARD", "ADDRESS", "WEIGHT", "REPLICAS"];
    let shown = if lists_replicas { columns.len() } else { columns.len() - 1 };
    text + &table("  ", columns.get(..shown).unwrap_or(&columns), &rows)
}

/// Who answers reads, and how much of the past they may tell.
fn reads_text(pool: &PoolConfig) -> String {
    let own = pool.read_from_by_family.iter();
    let families: Vec<String> =
        own.map(|(of, from)| format!("{}: {}", of.name(), read_from_name(*from))).collect();
    let families = match families.is_empty() {
        true => String::new(),
        false => format!(" ({})", families.join(", ")),
    };
    let known = match pool.sentinel {
        Some(_) => "that the sentinels list",
        None => "that the shards list",
    };
    format!(
        "{}{families}; replicas {known}, at most {} bytes behind; the primary for {} ms after a write",
        read_from_name(pool.read_from),
        pool.replica_lag_max_bytes,
        pool.read_your_writes_ms
    )
}

/// What happens while a shard has no verified primary.
fn hold_text(pool: &PoolConfig, sentinel: &SentinelConfig) -> String {
    let replay = match pool.replay {
        Replay::Reads => "reads are sent again",
        Replay::Idempotent => "reads and idempotent writes are sent again",
    };
    let quorum = match sentinel.quorum_required {
        true => format!(
            "; writes are refused after {} ms without a majority of the sentinels",
            sentinel.quorum_grace_ms
        ),
        false => String::new(),
    };
    format!(
        "{} ms, {} bytes for each core and shard, {replay}{quorum}",
        pool.hold_ms, pool.hold_bytes
    )
}

/// Every key with type, default and meaning.
pub(super) fn describe() -> String {
    let mut text = String::new();
    for section in Section::ALL {
        let rows: Vec<Vec<String>> = keys::of(section)
            .map(|key| {
                let default = match key.default {
                    Fallback::Required => "required".to_owned(),
                    Fallback::Absent => "absent".to_owned(),
                    default => default.to_string(),
                };
                vec![key.name.to_owned(), type_of(key.kind), default, key.help.to_owned()]
            })
            .collect();
        let gap = if text.is_empty() { "" } else { "\n" };
        let _ = writeln!(text, "{gap}{}", section.header());
        text.push_str(&table("  ", &["KEY", "TYPE", "DEFAULT", "MEANING"], &rows));
    }
    text
}

fn type_of(kind: Kind) -> String {
    match kind {
        Kind::Integer { min, max } => format!("{min}..={max}"),
        Kind::IntegerOrNone { min, max } => format!("{min}..={max} or \"none\""),
        Kind::Bool => "true, false".to_owned(),
        // The long list of hashes would push everything else off the screen.
        Kind::Choice(words) if words.len() > 4 => "one word".to_owned(),
        Kind::Choice(words) => words.join(", "),
        Kind::Text | Kind::Secret => "text".to_owned(),
        Kind::Cores => "text, number or list".to_owned(),
        Kind::Address => "address".to_owned(),
        Kind::Listens => "address or list".to_owned(),
        Kind::Addresses => "list of addresses".to_owned(),
        Kind::Masters => "list of names".to_owned(),
    }
}
