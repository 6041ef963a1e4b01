//! Lanes are to be told from other connections on the redis-server: CLIENT LIST shows whose they are.

mod support;

use support::{Options, Proxy, Redis, Stack, Value};

/// Names in CLIENT LIST, but for connections without one.
fn names(redis: &Redis, ask: &[&str]) -> Vec<String> {
    let mut wire = redis.client();
    if !ask.is_empty() {
        assert_eq!(wire.exchange(ask), Value::ok());
    }
    let list = wire.exchange(&["CLIENT", "LIST"]).text();
    let fields = list.split_whitespace().filter_map(|field| field.strip_prefix("name="));
    let mut names: Vec<String> =
        fields.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn they_are_named_by_pool_and_core() {
    let stack = Stack::start(1, &Options::default());
    let mut wire = stack.client();
    assert_eq!(wire.exchange(&["SET", "key", "value"]), Value::ok());
    assert_eq!(names(&stack.shards[0], &[]), ["corelay:cache:0"]);
    // Every lane of the core has the name, whatever its protocol and database.
    wire.exchange(&["HELLO", "3"]);
    wire.exchange(&["SELECT", "2"]);
    assert_eq!(wire.exchange(&["GET", "key"]), Value::Null);
    assert_eq!(names(&stack.shards[0], &[]), ["corelay:cache:0", "corelay:cache:0"]);
}

#[test]
fn a_user_who_may_give_no_name_is_served_all_the_same() {
    let user = ["--user", "proxy", "on", ">pw", "~*", "+@all", "-client"];
    let admin = ["--user", "admin", "on", ">pw", "~*", "+@all"];
    let no_other = ["--user", "default", "off"];
    let redis = Redis::start(&[user.as_slice(), &admin, &no_other].concat());
    let shards = [("shard1".to_owned(), redis.address().to_string())];
    let tables = "[pool.backend_auth]\nuser = \"proxy\"\npassword = \"pw\"\n".to_owned();
    let proxy = Proxy::start(&shards, &Options { tables, ..Options::default() });
    for protocol in ["2", "3"] {
        let mut wire = proxy.client();
        wire.exchange(&["HELLO", protocol]);
        assert_eq!(wire.exchange(&["SET", "key", "value"]), Value::ok());
        assert_eq!(wire.exchange(&["GET", "key"]), Value::bulk("value"));
    }
    assert!(names(&redis, &["AUTH", "admin", "pw"]).is_empty());
}
