//! A configuration back to text: what `corelay import` prints.
//!
//! Only keys that differ from their defaults, each with its help, and the shards. Reading the text
//! again on the same machine gives the same configuration (`tests` hold it to that).

use std::fmt::Write as _;

use toml::Value;

use super::complaint::Complaint;
use super::keys::{self, Key, Section};
use super::machine::Machine;
use super::model::{
    Config, KeylessScripts, Listen, NodeAddress, PoolConfig, ProxyConfig, SentinelConfig,
    ShardConfig,
};
use super::names::{
    DANGEROUS_COMMANDS, DISTRIBUTIONS, FACADES, HASHES, LOG_LEVELS, READ_FROMS, REPLAYS,
    SIGNEDNESSES, UNKNOWN_COMMANDS, name_of,
};

/// The text of a corelay.toml that means `config`, with `warnings` as comments at its head.
pub fn print(config: &Config, warnings: &[Complaint], machine: &Machine) -> String {
    let mut text = String::from(
        "# Keys that are not here have their defaults: `corelay check --describe` lists them.\n",
    );
    for warning in warnings {
        let _ = writeln!(text, "# {warning}");
    }
    let proxy = |key: &Key| proxy_value(&config.proxy, key.name, machine);
    section(&mut text, Section::Proxy, proxy);
    for pool in &config.pools {
        section(&mut text, Section::Pool, |key| pool_value(pool, key.name));
        section(&mut text, Section::Auth, |_| pool.client_password.as_deref().map(quoted));
        section(&mut text, Section::BackendAuth, |key| {
            let auth = pool.backend_auth.as_ref()?;
            match key.name {
                "user" => auth.user.as_deref().map(quoted),
                _ => Some(quoted(&auth.password)),
            }
        });
        section(&mut text, Section::ReadFromByFamily, |key| {
            let mut own = pool.read_from_by_family.iter();
            let (_, from) = own.find(|(family, _)| family.name() == key.name)?;
            Some(quoted(name_of(&READ_FROMS, from)))
        });
        if let Some(sentinel) = &pool.sentinel {
            section(&mut text, Section::Sentinel, |key| {
                sentinel_value(sentinel, &pool.shards, key.name)
            });
            continue;
        }
        for shard in &pool.shards {
            section(&mut text, Section::Shard, |key| shard_value(shard, key.name));
        }
    }
    text
}

/// A section with its keys; nothing if all have their defaults.
fn section(text: &mut String, section: Section, value: impl Fn(&Key) -> Option<String>) {
    let mut is_open = false;
    for key in keys::of(section) {
        let Some(value) = value(key).filter(|value| *value != key.default.to_string()) else {
            continue;
        };
        if !is_open {
            let _ = writeln!(text, "\n{}", section.header());
            is_open = true;
        }
        // Shards are many and need no explanation.
        let _ = match section {
            Section::Shard => writeln!(text, "{} = {value}", key.name),
            _ => writeln!(text, "{} = {value}  # {}", key.name, key.help),
        };
    }
}

fn proxy_value(proxy: &ProxyConfig, name: &str, machine: &Machine) -> Option<String> {
    let address = |address: Option<std::net::SocketAddr>| match address {
        Some(address) => quoted(&address.to_string()),
        None => quoted("off"),
    };
    Some(match name {
        "cores" if proxy.cores == machine.cores_auto() => quoted("auto"),
        "cores" => format!("{:?}", proxy.cores),
        "admin_listen" => address(proxy.admin_listen),
        "stats_listen" => address(proxy.stats_listen),
        "log_level" => quoted(name_of(&LOG_LEVELS, &proxy.log_level)),
        "log_file" => match &proxy.log_file {
            Some(path) => quoted(&path.to_string_lossy()),
            None => quoted("stderr"),
        },
        "handover_socket" => quoted(&proxy.handover_socket.as_ref()?.to_string_lossy()),
        "handover_grace_ms" => milliseconds(proxy.handover_grace_ms),
        "core_buffer_max_bytes" => proxy.core_buffer_max_bytes.to_string(),
        "spin_us" => proxy.spin_us.to_string(),
        "batch_us" => proxy.batch_us.to_string(),
        _ => return None,
    })
}

fn milliseconds(value: Option<u64>) -> String {
    value.map_or(quoted("none"), |value| value.to_string())
}

fn pool_value(pool: &PoolConfig, name: &str) -> Option<String> {
    let limits = &pool.limits;
    Some(match name {
        "name" => quoted(&pool.name),
        "listen" => {
            let listens: Vec<String> = pool.listen.iter().map(|l| quoted(&listen(l))).collect();
            format!("[{}]", listens.join(", "))
        }
        "backlog" => pool.backlog.to_string(),
        "tcp_keepalive" => pool.tcp_keepalive.to_string(),
        "hash" => quoted(name_of(&HASHES, &pool.hash)),
        "hash_tag" => match pool.hash_tag {
            Some((open, close)) => quoted(&String::from_utf8_lossy(&[open, close])),
            None => quoted(""),
        },
        "distribution" => quoted(name_of(&DISTRIBUTIONS, &pool.distribution)),
        "char_signedness" => quoted(name_of(&SIGNEDNESSES, &pool.char_signedness)),
        "timeout_ms" => milliseconds(pool.timeout_ms),
        "connect_timeout_ms" => pool.connect_timeout_ms.to_string(),
        "fence_interval_ms" => pool.fence_interval_ms.to_string(),
        "lanes_per_node" => pool.lanes_per_node.to_string(),
        "preconnect" => pool.preconnect.to_string(),
        "hold_ms" => pool.hold_ms.to_string(),
        "hold_bytes" => pool.hold_bytes.to_string(),
        "replay" => quoted(name_of(&REPLAYS, &pool.replay)),
        "read_from" => quoted(name_of(&READ_FROMS, &pool.read_from)),
        "replica_lag_max_bytes" => pool.replica_lag_max_bytes.to_string(),
        "read_your_writes_ms" => pool.read_your_writes_ms.to_string(),
        "database" => pool.database.to_string(),
        "databases" => pool.databases.to_string(),
        "unknown_commands" => quoted(name_of(&UNKNOWN_COMMANDS, &pool.unknown_commands)),
        "dangerous_commands" => quoted(name_of(&DANGEROUS_COMMANDS, &pool.dangerous_commands)),
        "keyless_scripts" => match &pool.keyless_scripts {
            KeylessScripts::Refuse => quoted("refuse"),
            KeylessScripts::FirstShard => quoted("first-shard"),
            KeylessScripts::Shard(name) => quoted(&format!("shard:{name}")),
        },
        "facade" => quoted(name_of(&FACADES, &pool.facade)),
        "facade_address" => match &pool.facade_address {
            Some((host, port)) if host.contains(':') => quoted(&format!("[{host}]:{port}")),
            Some((host, port)) => quoted(&format!("{host}:{port}")),
            None => quoted("off"),
        },
        "client_connections_max" => limits.client_connections_max.to_string(),
        "client_idle_timeout_ms" => limits.client_idle_timeout_ms.to_string(),
        "client_inflight_max" => limits.client_inflight_max.to_string(),
        "client_output_soft_bytes" => limits.client_output_soft_bytes.to_string(),
        "client_output_max_bytes" => limits.client_output_max_bytes.to_string(),
        "client_subscriptions_max" => limits.client_subscriptions_max.to_string(),
        "request_args_max" => limits.request_args_max.to_string(),
        "request_bytes_max" => limits.request_bytes_max.to_string(),
        "bulk_bytes_max" => limits.bulk_bytes_max.to_string(),
        "lane_inflight_max" => limits.lane_inflight_max.to_string(),
        "lane_output_soft_bytes" => limits.lane_output_soft_bytes.to_string(),
        "private_connections_max" => limits.private_connections_max.to_string(),
        "private_connections_queue" => limits.private_connections_queue.to_string(),
        _ => return None,
    })
}

fn sentinel_value(sentinel: &SentinelConfig, shards: &[ShardConfig], name: &str) -> Option<String> {
    Some(match name {
        "addresses" => {
            list(sentinel.addresses.iter().map(|address| quoted(&address.to_string())).collect())
        }
        "masters" => list(shards.iter().map(master).collect()),
        "user" => quoted(sentinel.credentials.as_ref()?.user.as_deref()?),
        "password" => quoted(&sentinel.credentials.as_ref()?.password),
        "quorum_required" => sentinel.quorum_required.to_string(),
        "quorum_grace_ms" => sentinel.quorum_grace_ms.to_string(),
        _ => return None,
    })
}

fn master(shard: &ShardConfig) -> String {
    match shard.weight {
        1 => quoted(&shard.name),
        weight => format!("{{ name = {}, weight = {weight} }}", quoted(&shard.name)),
    }
}

/// A list on one line, or one element a line if they are many.
fn list(items: Vec<String>) -> String {
    match items.len() {
        0..=ON_ONE_LINE => format!("[{}]", items.join(", ")),
        _ => format!("[\n  {},\n]", items.join(",\n  ")),
    }
}

/// Elements of a list that stand on one line.
const ON_ONE_LINE: usize = 4;

fn shard_value(shard: &ShardConfig, name: &str) -> Option<String> {
    Some(match (name, &shard.address) {
        ("name", _) => quoted(&shard.name),
        ("weight", _) => shard.weight.to_string(),
        ("replicas", _) if shard.replicas.is_empty() => return None,
        ("replicas", _) => list(shard.replicas.iter().map(|at| quoted(&at.to_string())).collect()),
        (_, NodeAddress::Unix { path }) => quoted(&format!("unix:{}", path.display())),
        (_, tcp) => quoted(&tcp.to_string()),
    })
}

fn listen(listen: &Listen) -> String {
    match listen {
        Listen::Unix { path, mode: Some(mode) } => format!("unix:{} {mode:04o}", path.display()),
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
