use super::*;
use crate::config::model::{NodeAddress, PoolConfig, Replay};
use crate::config::nutcracker::{Dialect, parse_with};
use crate::config::toml_print::print;

/// A pool with `keys` in it and `[pool.sentinel]` of these lines.
fn watched_with(keys: &str, sentinel: &str) -> String {
    format!(
        "[[pool]]\nname = \"p\"\nlisten = \"127.0.0.1:6380\"\n{keys}\n[pool.sentinel]\n{sentinel}\n"
    )
}

const GOOD: &str =
    "addresses = [\"s1:26379\", \"[::1]:26380\"]\nmasters = [\"b\", { name = \"a\", weight = 3 }]";

fn pool(text: &str) -> PoolConfig {
    let loaded = toml(text).unwrap_or_else(|list| panic!("{list:?}"));
    PoolConfig::clone(&loaded.config.pools[0])
}

#[test]
fn masters_are_the_shards() {
    let pool = pool(&watched_with(
        "hold_ms = 7000\nhold_bytes = 1048576\nreplay = \"idempotent\"",
        &format!(
            "{GOOD}\nuser = \"u\"\npassword = \"x\"\nquorum_required = true\nquorum_grace_ms = 500"
        ),
    ));
    let shards: Vec<_> = pool.shards.iter().map(|s| (s.name.as_str(), s.weight)).collect();
    assert_eq!(shards, [("a", 3), ("b", 1)]);
    assert!(pool.shards.iter().all(|shard| shard.address == NodeAddress::Sentinel));
    assert_eq!((pool.hold_ms, pool.hold_bytes, pool.replay), (7000, 1 << 20, Replay::Idempotent));
    let sentinel = pool.sentinel.unwrap();
    let addresses: Vec<_> = sentinel.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["s1:26379", "[::1]:26380"]);
    let credentials = sentinel.credentials.unwrap();
    assert_eq!((credentials.user.as_deref(), credentials.password.as_str()), (Some("u"), "x"));
    assert_eq!((sentinel.quorum_required, sentinel.quorum_grace_ms), (true, 500));
}

#[test]
fn what_is_wrong_with_sentinels_is_told_at_once() {
    let told = told(toml(&watched_with(
        "",
        "addresses = [\"s1\", \"unix:/a\", \"s2:1\", \"s2:1\", 5]\n\
         masters = [\"a\", \"a\", \"b c\", 7, { weight = 2 }, { name = \"d\", wight = 1 }, \"\"]\n\
         user = \"u\"\nquorum_grace_ms = -1\nquorum = 2",
    )));
    for part in [
        "c.toml:6: pool.sentinel.addresses = \"s1\": the port is missing; write \"host:port\"",
        "c.toml:6: pool.sentinel.addresses = \"unix:/a\"",
        "c.toml:6: pool.sentinel.addresses = \"s2:1\": this address is listed twice",
        "c.toml:6: pool.sentinel.addresses = 5: expected a text in quotes, found a number",
        "c.toml:7: pool.sentinel.masters = \"a\": this name is used twice",
        "c.toml:7: pool.sentinel.masters = \"b c\": the name of a master has no blanks",
        "c.toml:7: pool.sentinel.masters = 7: expected a name, or { name = ",
        "c.toml:7: pool.sentinel.masters.name: has to be written",
        "c.toml:7: pool.sentinel.masters.wight: unknown key; did you mean weight?",
        "c.toml:7: pool.sentinel.masters = \"\": the name is empty",
        "c.toml:8: pool.sentinel.user = \"u\": a user without a password; write password too",
        "c.toml:9: pool.sentinel.quorum_grace_ms = -1: out of bounds",
        "c.toml:10: pool.sentinel.quorum: unknown key",
    ] {
        assert!(told.contains(part), "{part}\nnot in\n{told}");
    }
}

#[test]
fn a_pool_has_shards_or_masters_and_at_least_one() {
    let both = watched_with("", GOOD) + "[[pool.shard]]\nname = \"x\"\naddress = \"h:1\"\n";
    for (text, part) in [
        (both, "pool.sentinel: the pool has [[pool.shard]] too; keep one"),
        (watched_with("", "addresses = [\"s:1\"]"), "pool.sentinel.masters: has to be written"),
        (watched_with("", "masters = [\"a\"]"), "pool.sentinel.addresses: has to be written"),
        (watched_with("", "addresses = []\nmasters = []"), "masters: the list is empty"),
        (watched_with("", "addresses = \"s:1\"\nmasters = \"a\""), "expected a list, found a text"),
        ("[[pool]]\nname = \"p\"\nlisten = \"127.0.0.1:1\"".to_owned(), "or [pool.sentinel]"),
    ] {
        let result = toml(&text);
        assert!(result.is_err(), "{text}");
        let told = told(result);
        assert!(told.contains(part), "{part}\nnot in\n{told}");
    }
    let many: Vec<_> = (1..=33).map(|port| format!("\"s:{port}\"")).collect();
    let text = format!("addresses = [{}]\nmasters = [\"a\"]", many.join(","));
    assert!(told(toml(&watched_with("", &text))).contains("33 addresses, at most 32"));
}

#[test]
fn holding_without_sentinels_and_times_that_do_not_fit_are_warned_about() {
    let warned = |text: String, part: &str| {
        let loaded = toml(&text).unwrap_or_else(|list| panic!("{list:?}"));
        let told: String = loaded.warnings.iter().map(|warning| format!("{warning}\n")).collect();
        assert!(told.contains(part), "{part}\nnot in\n{told}");
    };
    for key in ["hold_ms = 5000", "hold_bytes = 65536", "replay = \"reads\""] {
        warned(pool_with(key), "no effect: no sentinel watches this pool");
    }
    let watched = |keys: &str| watched_with(keys, GOOD);
    warned(watched("hold_ms = 500\ntimeout_ms = 400"), "hold_ms = 500: below connect_timeout_ms");
    warned(
        watched("timeout_ms = 6000"),
        "c.toml:4: warning: pool.timeout_ms = 6000: above hold_ms",
    );
    warned(watched("hold_bytes = 2147483648"), "hold_bytes = 2147483648: above proxy.core");
    assert!(toml(&watched("")).unwrap().warnings.is_empty());
}

#[test]
fn a_nutcracker_file_becomes_a_watched_pool_with_the_same_names_and_weights() {
    let listed = sentinels("10.0.0.7:26379, s2:26379").unwrap();
    let watched = |servers: &str| {
        let text = format!("p:\n  listen: 127.0.0.1:1\n  redis: true\n  servers:\n{servers}");
        let stats = "127.0.0.1:2".parse().unwrap();
        parse_with(&text, "n.yml", &machine(), Dialect { stats, sentinels: &listed })
    };
    let loaded = watched("   - 10.0.0.1:6379:2 shard2\n   - /tmp/a.sock:1 shard1\n").unwrap();
    let pool = &loaded.config.pools[0];
    let shards: Vec<_> = pool.shards.iter().map(|s| (s.name.as_str(), s.weight)).collect();
    assert_eq!(shards, [("shard1", 1), ("shard2", 2)]);
    assert!(pool.shards.iter().all(|shard| shard.address == NodeAddress::Sentinel));
    let text = print(&loaded.config, &loaded.warnings, &machine());
    assert!(text.contains("masters = [\"shard1\", { name = \"shard2\", weight = 2 }]"), "{text}");
    assert_eq!(toml(&text).unwrap().config, loaded.config);

    let told = told(watched("   - 10.0.0.1:6379:2\n   - 10.0.0.2:6379:1 a\n"));
    assert!(
        told.contains("n.yml:5: p.servers = \"10.0.0.1:6379:2\": this server has no name"),
        "{told}"
    );
    assert!(sentinels("10.0.0.7").unwrap_err().contains("the port is missing"));
}
