//! `read_from`, families with their own, and the replicas of shards with fixed addresses.

use super::*;
use crate::command::model::Family;
use crate::config::model::{NodeAddress, PoolConfig, ReadFrom};

/// A pool of two shards; `keys` go to the pool, `tables` behind them, `shard` to the first shard.
fn text(keys: &str, tables: &str, shard: &str) -> String {
    format!(
        "[[pool]]\nname = \"p\"\nlisten = \"127.0.0.1:1\"\n{keys}\n{tables}\n\
         [[pool.shard]]\nname = \"a\"\naddress = \"h:1\"\n{shard}\n\
         [[pool.shard]]\nname = \"b\"\naddress = \"h:2\"\n"
    )
}

fn pool(text: &str) -> PoolConfig {
    let loaded = toml(text).unwrap_or_else(|list| panic!("{list:?}"));
    PoolConfig::clone(&loaded.config.pools[0])
}

const REPLICAS: &str = "replicas = [\"h:3\", \"[::1]:4\"]";

#[test]
fn reads_go_where_the_pool_and_the_family_say() {
    let plain = pool(&text("", "", ""));
    assert!(!plain.reads_replicas());
    let families = "[pool.read_from_by_family]\nstring = \"nearest\"\nsorted-set = \"primary\"";
    let pool = pool(&text("read_from = \"prefer-replica\"", families, REPLICAS));
    assert!(pool.reads_replicas());
    assert_eq!(pool.read_from_of(Family::String), ReadFrom::Nearest);
    assert_eq!(pool.read_from_of(Family::SortedSet), ReadFrom::Primary);
    assert_eq!(pool.read_from_of(Family::Hash), ReadFrom::PreferReplica);
    let at = |host: &str, port| NodeAddress::Tcp { host: host.to_owned(), port };
    assert_eq!(pool.shards[0].replicas, [at("h", 3), at("::1", 4)]);
    let only = self::pool(&text("", "[pool.read_from_by_family]\nhash = \"replica\"", REPLICAS));
    assert!(only.reads_replicas());
    assert_eq!(only.read_from_of(Family::String), ReadFrom::Primary);
}

#[test]
fn what_is_wrong_with_replicas_is_told() {
    for (keys, tables, shard, part) in [
        (
            "read_from = \"any\"",
            "",
            "",
            "c.toml:4: pool.read_from = \"any\": unknown read from; use",
        ),
        ("", "[pool.read_from_by_family]\nstrings = \"replica\"", "", "did you mean string?"),
        ("", "[pool.read_from_by_family]\nserver = \"replica\"", "", "unknown key"),
        ("", "[pool.read_from_by_family]\nhash = 1", "", "expected a text in quotes"),
        ("", "", "replicas = \"h:3\"", "expected a list"),
        ("", "", "replicas = [\"h:3\", \"h:3\"]", "this address is listed twice"),
        ("", "", "replicas = [\"h:1\"]", "it is the primary of line 6 too"),
        ("", "", "replicas = [\"h:2\"]", "it is the primary of line 10 too"),
        ("", "", "replicas = [\"/sock\"]", "pool.shard.replicas"),
        ("replica_lag_max_bytes = -1", "", "", "out of bounds, 0 to"),
    ] {
        let told = told(toml(&text(keys, tables, shard)));
        assert!(told.contains(part), "{part}\nnot in\n{told}");
    }
    let unix = text("", "", REPLICAS).replace("address = \"h:1\"", "address = \"unix:/s\"");
    assert!(told(toml(&unix)).contains("the primary is at a unix socket"));
}

#[test]
fn what_has_no_effect_is_warned_of() {
    let replicas = "read_from = \"replica\"";
    for (keys, shard, part) in [
        (replicas, "", "pool.read_from: no shard has a replica to read from; add replicas ="),
        ("read_your_writes_ms = 5", "", "no effect: only primaries are read from"),
        ("replica_lag_max_bytes = 5", "", "no effect: only primaries are read from"),
        ("", REPLICAS, "pool.shard.replicas: no effect: only primaries are read from"),
    ] {
        let warnings = toml(&text(keys, "", shard)).unwrap().warnings;
        let told: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert!(told.concat().contains(part), "{part}\nnot in\n{told:?}");
    }
    assert_eq!(toml(&text(replicas, "", REPLICAS)).unwrap().warnings, []);
}
