//! Commands about all data reach every shard, and their replies are merged as redis' command tips
//! say.
//!
//! Mechanics: three shards, looked at directly behind the proxy before and after.

mod support;

use std::collections::BTreeSet;

use support::{Options, Stack, Value};

fn fill(stack: &Stack, keys: usize) -> BTreeSet<String> {
    let mut wire = stack.client();
    let names: Vec<String> = (0..keys).map(|key| format!("key:{key}")).collect();
    for name in &names {
        assert_eq!(wire.exchange(&["SET", name, "1"]), Value::ok());
    }
    for redis in &stack.shards {
        assert!(redis.ask(&["DBSIZE"]).integer() > 0, "the keys do not reach every shard");
    }
    names.into_iter().collect()
}

/// What every shard answers to `request`.
fn behind(stack: &Stack, request: &[&str]) -> Vec<Value> {
    stack.shards.iter().map(|redis| redis.ask(request)).collect()
}

#[test]
fn dbsize_adds_and_keys_concatenates() {
    let stack = Stack::start(3, &Options::default());
    let all = fill(&stack, 300);
    let mut wire = stack.client();
    assert_eq!(wire.exchange(&["DBSIZE"]), Value::Integer(300));
    for protocol in ["2", "3"] {
        wire.exchange(&["HELLO", protocol]);
        let found: BTreeSet<String> = wire.exchange(&["KEYS", "*"]).texts().into_iter().collect();
        assert_eq!(found, all);
        assert_eq!(wire.exchange(&["KEYS", "key:1?"]).items().len(), 10);
        assert_eq!(wire.exchange(&["KEYS", "nothing"]), Value::Array(Vec::new()));
    }
}

#[test]
fn flushall_and_flushdb_empty_every_shard() {
    for flush in [&["FLUSHALL"] as &[&str], &["FLUSHDB", "ASYNC"], &["flushall", "SYNC"]] {
        let stack = Stack::start(3, &Options::default());
        fill(&stack, 60);
        assert_eq!(stack.client().exchange(flush), Value::ok());
        assert_eq!(stack.keys_behind(), 0, "{flush:?}");
    }
}

#[test]
fn flushdb_empties_the_selected_database_only() {
    let stack = Stack::start(2, &Options::default());
    let mut wire = stack.client();
    for database in ["0", "3"] {
        wire.exchange(&["SELECT", database]);
        for key in 0..20 {
            wire.exchange(&["SET", &format!("key:{key}"), database]);
        }
    }
    assert_eq!(wire.exchange(&["FLUSHDB"]), Value::ok());
    assert_eq!(wire.exchange(&["DBSIZE"]), Value::Integer(0));
    wire.exchange(&["SELECT", "0"]);
    assert_eq!(wire.exchange(&["DBSIZE"]), Value::Integer(20));
}

#[test]
fn commands_over_all_data_are_refused_where_they_are_dangerous() {
    let options =
        Options { pool: "dangerous_commands = \"refuse\"".to_owned(), ..Options::default() };
    let stack = Stack::start(2, &options);
    fill(&stack, 40);
    let mut wire = stack.client();
    let dangerous: [&[&str]; 5] = [
        &["FLUSHALL"],
        &["FLUSHDB"],
        &["KEYS", "*"],
        &["SCRIPT", "FLUSH"],
        &["CLIENT", "KILL", "TYPE", "normal"],
    ];
    for request in dangerous {
        let reply = wire.exchange(request);
        assert!(reply.is_error(), "{request:?}: {reply:?}");
        assert_eq!(wire.exchange(&["ECHO", "next"]), Value::bulk("next"));
    }
    assert_eq!(wire.exchange(&["DBSIZE"]), Value::Integer(40));
}

#[test]
fn randomkey_finds_a_key_wherever_it_is() {
    let stack = Stack::start(3, &Options::default());
    let mut wire = stack.client();
    assert_eq!(wire.exchange(&["RANDOMKEY"]), Value::Null);
    for keys in stack.keys_by_shard(1) {
        wire.exchange(&["SET", &keys[0], "1"]);
        for _ in 0..20 {
            assert_eq!(wire.exchange(&["RANDOMKEY"]), Value::bulk(&keys[0]));
        }
        wire.exchange(&["DEL", &keys[0]]);
    }
    let all = fill(&stack, 90);
    let found: BTreeSet<String> = (0..300).map(|_| wire.exchange(&["RANDOMKEY"]).text()).collect();
    assert!(found.is_subset(&all) && found.len() > 30, "{found:?}");
}

#[test]
fn randomkey_finds_a_key_while_a_shard_is_dead() {
    let mut stack = Stack::start(3, &Options::default());
    let keys = stack.keys_by_shard(1);
    let mut wire = stack.client();
    wire.exchange(&["SET", &keys[1][0], "1"]);
    stack.shards[0].kill_hard();
    for _ in 0..30 {
        assert_eq!(wire.exchange(&["RANDOMKEY"]), Value::bulk(&keys[1][0]));
    }
    // The living have none: only the dead one could say that there is no key at all.
    wire.exchange(&["DEL", &keys[1][0]]);
    let error = wire.exchange(&["RANDOMKEY"]);
    assert!(error.error().contains("shard1"), "{error:?}");
    stack.shards[1].kill_hard();
    stack.shards[2].kill_hard();
    for _ in 0..10 {
        assert!(wire.exchange(&["RANDOMKEY"]).is_error());
    }
}

#[test]
fn scripts_are_loaded_to_every_shard() {
    let stack = Stack::start(3, &Options::default());
    let mut wire = stack.client();
    let digest = wire.exchange(&["SCRIPT", "LOAD", "return 42"]).text();
    let there = |wanted: i64| {
        let expected = Value::Array(vec![Value::Integer(wanted)]);
        behind(&stack, &["SCRIPT", "EXISTS", &digest]).iter().all(|reply| *reply == expected)
    };
    assert!(there(1), "SCRIPT LOAD did not reach every shard");
    let unknown = "0".repeat(40);
    let asked = wire.exchange(&["SCRIPT", "EXISTS", &digest, &unknown, &digest]);
    assert_eq!(asked, Value::Array([1, 0, 1].map(Value::Integer).to_vec()));
    for keys in stack.keys_by_shard(1) {
        assert_eq!(wire.exchange(&["EVALSHA", &digest, "1", &keys[0]]), Value::Integer(42));
    }
    assert_eq!(wire.exchange(&["SCRIPT", "FLUSH"]), Value::ok());
    assert!(there(0), "SCRIPT FLUSH did not reach every shard");
    let error = wire.exchange(&["SCRIPT", "LOAD", "this is no Lua"]);
    assert!(error.error().starts_with("ERR Error compiling script"), "{error:?}");
    assert!(wire.exchange(&["SCRIPT", "KILL"]).error().starts_with("NOTBUSY"));
}

#[test]
fn functions_are_loaded_to_every_shard() {
    let stack = Stack::start(3, &Options::default());
    let mut wire = stack.client();
    let library = "#!lua name=mine\nredis.register_function('twice', \
                   function(keys, args) return 2 * tonumber(args[1]) end)";
    assert_eq!(wire.exchange(&["FUNCTION", "LOAD", library]), Value::bulk("mine"));
    let error = wire.exchange(&["FUNCTION", "LOAD", library]);
    assert!(error.error().contains("already exists"), "{error:?}");
    assert_eq!(wire.exchange(&["FUNCTION", "LOAD", "REPLACE", library]), Value::bulk("mine"));
    for keys in stack.keys_by_shard(1) {
        let reply = wire.exchange(&["FCALL", "twice", "1", &keys[0], "21"]);
        assert_eq!(reply, Value::Integer(42));
    }
    assert_eq!(wire.exchange(&["FCALL", "twice", "0", "4"]), Value::Integer(8));
    let list = wire.exchange(&["FUNCTION", "LIST"]);
    assert_eq!(list.items().len(), 1, "one library, listed once: {list:?}");
    assert_eq!(wire.exchange(&["FUNCTION", "DELETE", "mine"]), Value::ok());
    for reply in behind(&stack, &["FUNCTION", "LIST"]) {
        assert_eq!(reply, Value::Array(Vec::new()));
    }
    assert!(wire.exchange(&["FUNCTION", "DELETE", "mine"]).is_error());
    wire.exchange(&["FUNCTION", "LOAD", library]);
    assert_eq!(wire.exchange(&["FUNCTION", "FLUSH"]), Value::ok());
    assert_eq!(wire.exchange(&["FUNCTION", "LIST"]), Value::Array(Vec::new()));
}

#[test]
fn a_channel_has_one_shard() {
    let stack = Stack::start(3, &Options::default());
    let mut wire = stack.client();
    for channel in ["news", "weather", "sport"] {
        assert_eq!(wire.exchange(&["PUBLISH", channel, "text"]), Value::Integer(0));
    }
    let published: u64 = stack
        .shards
        .iter()
        .map(|redis| {
            let info = redis.ask(&["INFO", "commandstats"]);
            let line = info
                .text()
                .lines()
                .find_map(|line| line.strip_prefix("cmdstat_publish:calls=").map(str::to_owned));
            line.and_then(|line| line.split(',').next()?.parse::<u64>().ok()).unwrap_or(0)
        })
        .sum();
    assert_eq!(published, 3, "each message goes to exactly one shard");
}
