//! corelay's own file, read into drafts.
//!
//! The text is parsed to a table with places (`toml`'s `DeTable`), not by serde: serde stops at
//! the first thing it does not like, and a user wants to hear all of it.

use toml::de::{DeTable, DeValue};

use super::build::build;
use super::complaint::Complaint;
use super::draft::{At, Draft, ListenDraft, PoolDraft, Words};
use super::keys::Section;
use super::load::Loaded;
use super::machine::Machine;
use super::model::{
    Credentials, KeylessScripts, NodeAddress, PoolConfig, PoolLimits, ProxyConfig, ShardConfig,
};
use super::names::{
    DANGEROUS_COMMANDS, DISTRIBUTIONS, FACADES, HASHES, LOG_LEVELS, READ_FAMILIES, READ_FROMS,
    REPLAYS, SIGNEDNESSES, UNKNOWN_COMMANDS,
};
use super::section::{Source, Table};
use super::wording::whole;
use super::{address, keys, sentinel_table};
use crate::base::limits;

/// Reads the text of a corelay.toml; `name` is what complaints call the file.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file, warnings among it.
pub fn parse_toml(text: &str, name: &str, machine: &Machine) -> Result<Loaded, Vec<Complaint>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Source::new(text, name);
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut broken = false;
    for error in errors {
        let line = error.span().map_or(0, |span| source.line(span.start));
        // A key that is written twice leaves the table readable; other errors do not.
        broken |= !error.message().starts_with("duplicate key");
        let what = format!("this is no TOML: {}", error.message());
        source.complaints.borrow_mut().error(line, "", what);
    }
    if broken {
        return Err(source.complaints.into_inner().into_sorted());
    }
    let draft = read_root(&source, root.get_ref(), machine);
    build(draft, source.complaints.into_inner(), machine)
}

/// A pool of nothing but defaults, which another dialect fills in.
pub(super) fn default_pool() -> PoolConfig {
    let (source, table) = (Source::new("", ""), DeTable::new());
    pool_values(&Table::new(&source, &table, Section::Pool, 0))
}

/// A file without pools where nothing else is written.
pub(super) fn default_draft(machine: &Machine) -> Draft {
    read_proxy(&Source::new("", ""), &DeTable::new(), 0, machine)
}

fn read_root(source: &Source, root: &DeTable<'_>, machine: &Machine) -> Draft {
    let empty = DeTable::new();
    let mut draft = None;
    let mut pools = Vec::new();
    for (key, value) in root.iter() {
        let line = source.line(key.span().start);
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("proxy", DeValue::Table(table)) => {
                draft = Some(read_proxy(source, table, line, machine))
            }
            ("pool", DeValue::Array(items)) => {
                for item in items.iter() {
                    let line = source.line(item.span().start);
                    match item.get_ref() {
                        DeValue::Table(table) => pools.push(read_pool(source, table, line)),
                        _ => refuse_root(source, line, "pool", "begin each pool with [[pool]]"),
                    }
                }
            }
            ("proxy", _) => refuse_root(source, line, "proxy", "begin it with [proxy]"),
            ("pool", _) => refuse_root(source, line, "pool", "begin each pool with [[pool]]"),
            (word, _) => {
                let home = keys::KEYS.iter().find(|key| key.name == word);
                let remedy = home.map_or("a file has [proxy] and [[pool]]".to_owned(), |key| {
                    format!("it belongs into {}", key.section.header())
                });
                let mut complaints = source.complaints.borrow_mut();
                complaints.error(line, word, "unknown key").remedy(remedy);
            }
        }
    }
    let mut draft = draft.unwrap_or_else(|| read_proxy(source, &empty, 0, machine));
    draft.pools = pools;
    draft
}

fn refuse_root(source: &Source, line: usize, key: &str, remedy: &str) {
    let mut complaints = source.complaints.borrow_mut();
    complaints.error(line, key, "this is not the table it should be").remedy(remedy);
}

fn read_proxy(source: &Source, table: &DeTable<'_>, line: usize, machine: &Machine) -> Draft {
    let table = Table::new(source, table, Section::Proxy, line);
    Draft {
        proxy: proxy_values(&table, machine),
        admin_listen: table.address("admin_listen"),
        stats_listen: table.address("stats_listen"),
        handover_socket: table.socket("handover_socket"),
        pools: Vec::new(),
    }
}

fn proxy_values(table: &Table<'_, '_>, machine: &Machine) -> ProxyConfig {
    ProxyConfig {
        cores: cores(table, machine),
        admin_listen: None,
        stats_listen: None,
        log_level: table.choice("log_level", &LOG_LEVELS),
        log_file: log_file(table),
        handover_socket: None,
        handover_grace_ms: table.integer_or_none("handover_grace_ms"),
        core_buffer_max_bytes: table.size("core_buffer_max_bytes"),
        spin_us: table.integer("spin_us"),
        batch_us: table.integer("batch_us"),
    }
}

fn log_file(table: &Table<'_, '_>) -> Option<std::path::PathBuf> {
    let path = table.text("log_file").filter(|path| path.value != "stderr")?;
    if path.value.is_empty() || path.value.chars().any(char::is_control) {
        table
            .complain(path.line, "log_file", "this is no path")
            .quoted(&path.value)
            .remedy("write a path or \"stderr\"");
        return None;
    }
    Some(path.value.into())
}

/// "auto", a count of CPUs, or their ids.
fn cores(table: &Table<'_, '_>, machine: &Machine) -> Vec<usize> {
    let Some(value) = table.value("cores") else { return machine.cores_auto() };
    let line = table.line_of(value);
    let expected = "\"auto\", a count, or a list of CPU ids";
    match value.get_ref() {
        DeValue::String(word) if word == "auto" => {}
        DeValue::Integer(_) => {
            let count = whole(value.get_ref()).unwrap_or(i128::MAX);
            match usize::try_from(count) {
                Ok(count) if (1..=machine.cpus.len()).contains(&count) => {
                    return machine.cpus.iter().copied().take(count).collect();
                }
                _ => {
                    let has = machine.cpus.len();
                    let why = format!("this process may run on {has} CPUs");
                    let remedy = format!("write 1 to {has}, or \"auto\"");
                    table.complain(line, "cores", why).value(count).remedy(remedy);
                }
            }
        }
        DeValue::Array(items) => {
            let ids: Vec<usize> =
                items.iter().filter_map(|item| cpu(table, item, machine)).collect();
            if items.is_empty() || items.len() > limits::CORES_MAX {
                let why = format!(
                    "{} CPUs are listed, 1 to {} are needed",
                    items.len(),
                    limits::CORES_MAX
                );
                table.complain(line, "cores", why).remedy("write \"auto\"");
            }
            return ids;
        }
        _ => table.wrong_type("cores", value, expected),
    }
    machine.cores_auto()
}

fn cpu(
    table: &Table<'_, '_>,
    item: &toml::Spanned<DeValue<'_>>,
    machine: &Machine,
) -> Option<usize> {
    let Some(id) = whole(item.get_ref()) else {
        table.wrong_type("cores", item, "the number of a CPU");
        return None;
    };
    let known = usize::try_from(id).ok().filter(|id| machine.cpus.contains(id));
    if known.is_none() {
        let why = format!("there is no CPU {id} that this process may run on");
        let remedy = format!("use {}", ranges(&machine.cpus));
        table.complain(table.line_of(item), "cores", why).remedy(remedy);
    }
    known
}

/// Ascending numbers as `0-3, 8`.
fn ranges(cpus: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for cpu in cpus {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *cpu => *last = *cpu,
            _ => parts.push((*cpu, *cpu)),
        }
    }
    let shown = parts.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn read_pool(source: &Source, table: &DeTable<'_>, line: usize) -> PoolDraft {
    let table = Table::new(source, table, Section::Pool, line);
    let mut pool = pool_values(&table);
    pool.client_password =
        table.table("auth", Section::Auth).and_then(|auth| auth.secret("password"));
    pool.backend_auth = table.table("backend_auth", Section::BackendAuth).and_then(|auth| {
        let user = auth.text("user").map(|user| user.value);
        Some(Credentials { user, password: auth.secret("password")? })
    });
    if let Some(families) = table.table("read_from_by_family", Section::ReadFromByFamily) {
        let written = READ_FAMILIES.iter().filter(|of| families.value(of.name()).is_some());
        pool.read_from_by_family =
            written.map(|of| (*of, families.choice(of.name(), &READ_FROMS))).collect();
    }
    let mut shard_lines = Vec::new();
    for (shard, line) in table.tables("shard", Section::Shard.header()) {
        let shard = Table::new(source, shard, Section::Shard, line);
        if let Some(shard) = read_shard(&shard) {
            pool.shards.push(shard);
            shard_lines.push(line);
        }
    }
    let mut draft = PoolDraft {
        pool,
        name: table.text("name"),
        words: &WORDS,
        path: Section::Pool.path().to_owned(),
        line,
        lines: table.lines(),
        listen: table.listens("listen"),
        hash_tag: table.text("hash_tag").filter(|tag| !tag.value.is_empty()),
        shard_lines,
        has_shards: table.value("shard").is_some(),
    };
    sentinel_table::read(&table, &mut draft);
    draft
}

/// What stands in the pool's own table and needs no second look.
fn pool_values(table: &Table<'_, '_>) -> PoolConfig {
    PoolConfig {
        name: String::new(),
        listen: Vec::new(),
        backlog: table.number("backlog"),
        tcp_keepalive: table.boolean("tcp_keepalive"),
        hash: table.choice("hash", &HASHES),
        hash_tag: None,
        distribution: table.choice("distribution", &DISTRIBUTIONS),
        char_signedness: table.choice("char_signedness", &SIGNEDNESSES),
        shards: Vec::new(),
        timeout_ms: table.integer_or_none("timeout_ms"),
        connect_timeout_ms: table.integer("connect_timeout_ms"),
        fence_interval_ms: table.integer("fence_interval_ms"),
        lanes_per_node: table.size("lanes_per_node"),
        preconnect: table.boolean("preconnect"),
        sentinel: None,
        hold_ms: table.integer("hold_ms"),
        hold_bytes: table.size("hold_bytes"),
        replay: table.choice("replay", &REPLAYS),
        read_from: table.choice("read_from", &READ_FROMS),
        read_from_by_family: Vec::new(),
        replica_lag_max_bytes: table.integer("replica_lag_max_bytes"),
        read_your_writes_ms: table.integer("read_your_writes_ms"),
        backend_auth: None,
        client_password: None,
        database: table.number("database"),
        databases: table.number("databases"),
        unknown_commands: table.choice("unknown_commands", &UNKNOWN_COMMANDS),
        dangerous_commands: table.choice("dangerous_commands", &DANGEROUS_COMMANDS),
        keyless_scripts: keyless_scripts(table),
        facade: table.choice("facade", &FACADES),
        facade_address: table.address("facade_address").and_then(|address| match address.value {
            ListenDraft::Tcp { host, port } => Some((host, port)),
            ListenDraft::Unix { .. } => None,
        }),
        limits: PoolLimits {
            client_connections_max: table.size("client_connections_max"),
            client_idle_timeout_ms: table.integer("client_idle_timeout_ms"),
            client_inflight_max: table.size("client_inflight_max"),
            client_output_soft_bytes: table.size("client_output_soft_bytes"),
            client_output_max_bytes: table.size("client_output_max_bytes"),
            client_subscriptions_max: table.size("client_subscriptions_max"),
            request_args_max: table.size("request_args_max"),
            request_bytes_max: table.size("request_bytes_max"),
            bulk_bytes_max: table.size("bulk_bytes_max"),
            lane_inflight_max: table.size("lane_inflight_max"),
            lane_output_soft_bytes: table.size("lane_output_soft_bytes"),
            private_connections_max: table.size("private_connections_max"),
            private_connections_queue: table.size("private_connections_queue"),
        },
    }
}

/// Whether there is a shard of that name is looked at when all are known.
fn keyless_scripts(table: &Table<'_, '_>) -> KeylessScripts {
    const KEY: &str = "keyless_scripts";
    let Some(text) = table.text(KEY) else { return KeylessScripts::FirstShard };
    match (text.value.as_str(), text.value.strip_prefix("shard:")) {
        ("refuse", _) => return KeylessScripts::Refuse,
        (_, Some(name)) => return KeylessScripts::Shard(name.to_owned()),
        ("first-shard", _) => {}
        _ => {
            table
                .complain(text.line, KEY, "unknown place for scripts without keys")
                .quoted(&text.value)
                .remedy("use \"first-shard\", \"shard:NAME\" or \"refuse\"");
        }
    }
    KeylessScripts::FirstShard
}

/// `None` if name or address can not be used; that has been complained about.
fn read_shard(table: &Table<'_, '_>) -> Option<ShardConfig> {
    let name = table.text("name");
    let address = table.text("address").and_then(|text| node(table, text));
    let weight = table.number("weight");
    let replicas = match table.value("replicas") {
        Some(_) => sentinel_table::addresses(table, "replicas", limits::REPLICAS_MAX),
        None => Vec::new(),
    };
    Some(ShardConfig { name: name?.value, address: address?, weight, replicas })
}

fn node(table: &Table<'_, '_>, text: At<String>) -> Option<NodeAddress> {
    match address::node(&text.value) {
        Ok(address) => Some(address),
        Err(trouble) => {
            table
                .complain(text.line, "address", trouble.why)
                .quoted(&text.value)
                .remedy(trouble.remedy);
            None
        }
    }
}

static WORDS: Words = Words {
    name: "name",
    shards: "shard",
    shard_name: "shard.name",
    shard_address: "shard.address",
    shard_weight: "shard.weight",
    database: "database",
    shard_form: "[[pool.shard]] with name and address, or [pool.sentinel]",
};
