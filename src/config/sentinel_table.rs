//! `[pool.sentinel]`: who tells where the primaries are, and the masters that are the pool's
//! shards.

use toml::Spanned;
use toml::de::DeValue;

use super::address;
use super::draft::{PoolDraft, Words};
use super::keys::Section;
use super::model::{Credentials, NodeAddress, SentinelConfig, ShardConfig};
use super::section::Table;
use crate::base::limits;

/// Reads the table, if there is one, into the pool: its sentinels, and its shards.
pub(super) fn read(pool: &Table<'_, '_>, draft: &mut PoolDraft) {
    let Some(table) = pool.table("sentinel", Section::Sentinel) else { return };
    draft.pool.sentinel = Some(SentinelConfig {
        addresses: addresses(&table, "addresses", limits::SENTINELS_MAX),
        credentials: credentials(&table),
        quorum_required: table.boolean("quorum_required"),
        quorum_grace_ms: table.integer("quorum_grace_ms"),
    });
    if draft.has_shards {
        pool.complain(table.line, "sentinel", "the pool has [[pool.shard]] too")
            .remedy("keep one: the shards are the masters that sentinels watch, or have addresses");
        return;
    }
    draft.has_shards = table.value("masters").is_some();
    draft.words = &WORDS;
    for (item, line) in items(&table, "masters") {
        if let Some(shard) = master(&table, item, line) {
            draft.pool.shards.push(shard);
            draft.shard_lines.push(line);
        }
    }
}

/// A list of at most so many addresses.
pub(super) fn addresses(table: &Table<'_, '_>, name: &'static str, max: usize) -> Vec<NodeAddress> {
    let mut addresses: Vec<NodeAddress> = Vec::new();
    for (item, line) in items(table, name) {
        let Some(text) = item.get_ref().as_str() else {
            table.wrong_type(name, item, "a text in quotes");
            continue;
        };
        match address::host_port(text) {
            Ok((host, port)) => {
                let address = NodeAddress::Tcp { host, port };
                if addresses.contains(&address) {
                    table
                        .complain(line, name, "this address is listed twice")
                        .quoted(text)
                        .remedy("list each once");
                }
                addresses.push(address);
            }
            Err(trouble) => {
                table.complain(line, name, trouble.why).quoted(text).remedy(trouble.remedy);
            }
        }
    }
    if addresses.len() > max {
        let why = format!("{} addresses, at most {max}", addresses.len());
        table.complain(table.line, name, why).remedy("list fewer; sentinels name the others");
    }
    addresses
}

fn credentials(table: &Table<'_, '_>) -> Option<Credentials> {
    let user = table.text("user");
    let password = table.secret("password");
    match (user, password) {
        (user, Some(password)) => Some(Credentials { user: user.map(|user| user.value), password }),
        (Some(user), None) if table.value("password").is_none() => {
            table
                .complain(user.line, "user", "a user without a password")
                .quoted(&user.value)
                .remedy("write password too");
            None
        }
        _ => None,
    }
}

/// A name, or a table with name and weight.
fn master(table: &Table<'_, '_>, item: &Spanned<DeValue<'_>>, line: usize) -> Option<ShardConfig> {
    let (name, weight) = match item.get_ref() {
        DeValue::String(name) => (name.to_string(), 1),
        DeValue::Table(inner) => {
            let inner = table.inner(inner, Section::Master, line);
            let weight = inner.number("weight");
            (inner.text("name")?.value, weight)
        }
        _ => {
            table.wrong_type("masters", item, "a name, or { name = \"…\", weight = 2 }");
            return None;
        }
    };
    if name.chars().any(char::is_whitespace) {
        table
            .complain(line, "masters", "the name of a master has no blanks")
            .quoted(&name)
            .remedy("write it as in the sentinels' own configuration");
        return None;
    }
    Some(ShardConfig { name, address: NodeAddress::Sentinel, weight, replicas: Vec::new() })
}

/// The elements of a list, which must not be empty, with their lines.
fn items<'a, 'i>(
    table: &Table<'a, 'i>,
    name: &'static str,
) -> Vec<(&'a Spanned<DeValue<'i>>, usize)> {
    let Some(value) = table.written(name) else { return Vec::new() };
    let DeValue::Array(items) = value.get_ref() else {
        table.wrong_type(name, value, "a list");
        return Vec::new();
    };
    if items.is_empty() {
        table
            .complain(table.line_of(value), name, "the list is empty")
            .remedy("write at least one");
    }
    items.iter().map(|item| (item, table.line_of(item))).collect()
}

/// How `build` calls the shards of a watched pool.
static WORDS: Words = Words {
    name: "name",
    shards: "sentinel.masters",
    shard_name: "sentinel.masters",
    shard_address: "sentinel.masters",
    shard_weight: "sentinel.masters",
    database: "database",
    shard_form: "masters = [\"name\", …] to [pool.sentinel]",
};
