//! The sample file, the table of keys and the readers say the same.

use toml::de::{DeTable, DeValue};

use super::*;
use crate::config::keys::{Fallback, KEYS, Kind, Section};
use crate::config::model::NodeAddress;
use crate::config::toml_print::print;

const SAMPLE: &str = include_str!("../../../config/corelay.toml");
const SENTINEL: &str = include_str!("../../../config/sentinel.toml");
const NUTCRACKER: &str = include_str!("../../../config/nutcracker.example.yml");

/// With every default (`#key = value`) switched on, and the examples (`#   …`) too if asked for.
pub(super) fn enabled(with_examples: bool) -> String {
    let lines = SAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with("or ") => line,
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest,
        Some(rest) if with_examples && rest.starts_with("   ") => rest.trim_start(),
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The same with sentinels (`#or …`) instead of the shards.
fn enabled_with_sentinels() -> String {
    let text = enabled(true);
    let (before, rest) = text.split_once("[[pool.shard]]").unwrap();
    let sentinel = rest.lines().filter_map(|line| line.strip_prefix("#or "));
    before.to_owned() + &sentinel.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_sample_with_sentinels_is_a_watched_pool() {
    let pool = toml(&enabled_with_sentinels()).unwrap().config.pools[0].clone();
    let names: Vec<&str> = pool.shards.iter().map(|shard| shard.name.as_str()).collect();
    assert_eq!(names, ["shard1", "shard2", "shard3"]);
    assert!(pool.shards.iter().all(|shard| shard.address == NodeAddress::Sentinel));
    let sentinel = pool.sentinel.as_ref().unwrap();
    assert_eq!((sentinel.addresses.len(), sentinel.quorum_required), (3, false));
    assert!(sentinel.credentials.as_ref().unwrap().user.is_some());

    let loaded = toml(SENTINEL).unwrap();
    assert_eq!(loaded.warnings, []);
    let weights: Vec<u32> = loaded.config.pools[0].shards.iter().map(|s| s.weight).collect();
    assert_eq!(weights, [1, 1, 2]);
}

#[test]
fn the_sample_shows_the_true_defaults() {
    let plain = toml(SAMPLE).unwrap();
    assert_eq!(plain.warnings, []);
    let switched_on = toml(&enabled(false)).unwrap();
    assert_eq!(switched_on.config, plain.config);
    assert_ne!(enabled(false), SAMPLE);
    let examples = toml(&enabled(true)).unwrap().config;
    assert!(examples.pools[0].client_password.is_some());
    assert!(examples.pools[0].backend_auth.as_ref().unwrap().user.is_some());
}

/// A table, or the first of a list of tables.
fn table<'i>(value: &DeValue<'i>) -> DeTable<'i> {
    match value {
        DeValue::Array(items) => items[0].get_ref().as_table().unwrap().clone(),
        DeValue::Table(table) => table.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_key_is_in_the_sample_with_its_default() {
    let text = enabled(true);
    let root = DeTable::parse(&text).unwrap().into_inner();
    let proxy = table(root.get("proxy").unwrap().get_ref());
    let pool = table(root.get("pool").unwrap().get_ref());
    let watched = enabled_with_sentinels();
    let watched = DeTable::parse(&watched).unwrap().into_inner();
    let sentinel =
        table(table(watched.get("pool").unwrap().get_ref()).get("sentinel").unwrap().get_ref());
    for section in Section::ALL {
        let written = match section {
            Section::Proxy => proxy.clone(),
            Section::Pool => pool.clone(),
            Section::Shard => table(pool.get("shard").unwrap().get_ref()),
            Section::Sentinel => sentinel.clone(),
            Section::Master => table(sentinel.get("masters").unwrap().get_ref()),
            Section::Auth => table(pool.get("auth").unwrap().get_ref()),
            Section::BackendAuth => table(pool.get("backend_auth").unwrap().get_ref()),
            Section::ReadFromByFamily => table(pool.get("read_from_by_family").unwrap().get_ref()),
        };
        for key in KEYS.iter().filter(|key| key.section == section) {
            let value = written.get(key.name);
            let value = value.unwrap_or_else(|| panic!("{} is missing", key.name)).get_ref();
            let shown = match value {
                DeValue::String(text) => format!("\"{text}\""),
                DeValue::Integer(number) => number.to_string(),
                DeValue::Boolean(yes) => yes.to_string(),
                _ => String::new(),
            };
            if !matches!(key.default, Fallback::Required | Fallback::Absent) {
                assert_eq!(shown, key.default.to_string(), "{}", key.name);
            }
        }
        for name in written.keys() {
            let name: &str = name.get_ref();
            let known = KEYS.iter().any(|key| key.section == section && key.name == name);
            assert!(known || section.tables().contains(&name), "{name}");
        }
    }
}

#[test]
fn the_table_of_keys_is_consistent() {
    for (i, key) in KEYS.iter().enumerate() {
        let twice = KEYS[..i].iter().any(|o| o.name == key.name && o.section == key.section);
        assert!(!twice, "{} is there twice", key.name);
        assert!(!key.help.is_empty() && key.help.len() <= 100, "{}", key.name);
        match (key.kind, key.default) {
            (Kind::Integer { min, max } | Kind::IntegerOrNone { min, max }, default) => {
                let Fallback::Integer(value) = default else { panic!("{}", key.name) };
                assert!(min < max && (min..=max).contains(&value), "{}", key.name);
            }
            (Kind::Choice(names), Fallback::Text(word)) => assert!(names.contains(&word)),
            (Kind::Choice(_), Fallback::Absent) => {}
            (Kind::Choice(_), _) => panic!("{} needs a default", key.name),
            (Kind::Bool, default) => assert!(matches!(default, Fallback::Bool(_))),
            _ => {}
        }
    }
}

#[test]
fn what_is_printed_is_read_again_as_the_same() {
    let odd = "p:\n  listen: /run/a b.sock 0600\n  redis: true\n  hash: hsieh\n  hash_tag: \"'\\\"\"\n  \
        redis_auth: 'a\"\\b # c'\n  redis_db: 30\n  backlog: 0\n  distribution: modula\n  \
        auto_eject_hosts: true\n  client_connections: 9\n  server_connections: 3\n  preconnect: true\n  \
        servers:\n   - ::1:6379:3\n   - /tmp/x y.sock:1 z\n   - \"h:11211:2\"\n   - h:06379:1\n\
        q:\n  listen: ::1:5\n  redis: true\n  timeout: 5\n  servers:\n   - \"h:1:1 é'\\\"#\"\n";
    let sources = [
        yaml(NUTCRACKER),
        yaml(odd),
        toml(&enabled(true)),
        toml(&enabled_with_sentinels()),
        toml(SENTINEL),
        toml(&pool_with("")),
    ];
    for source in sources {
        let source = source.unwrap();
        let text = print(&source.config, &source.warnings, &machine());
        let again = toml(&text).unwrap_or_else(|list| panic!("{list:?}\n{text}"));
        assert_eq!(again.config, source.config, "{text}");
        for warning in &source.warnings {
            assert!(text.contains(&format!("# {warning}\n")));
        }
    }
}

#[test]
fn only_what_differs_is_printed() {
    let loaded = toml(SAMPLE).unwrap();
    let text = print(&loaded.config, &[], &machine());
    assert!(!text.contains("[proxy]") && !text.contains("hash"), "{text}");
    let imported = yaml(NUTCRACKER).unwrap();
    let text = print(&imported.config, &imported.warnings, &machine());
    for part in
        ["stats_listen = \"0.0.0.0:22222\"", "timeout_ms = 400  # deadline", "name = \"shard1\""]
    {
        assert!(text.contains(part), "{part}\nnot in\n{text}");
    }
}
