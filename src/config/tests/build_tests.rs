use super::*;
use crate::config::model::Listen;

fn pool(name: &str, listen: &str) -> String {
    format!(
        "[[pool]]\nname = '{name}'\nlisten = {listen}\n[[pool.shard]]\nname = 'a'\naddress = 'h:1'\n"
    )
}

#[track_caller]
fn assert_told(text: &str, part: &str, is_error: bool) {
    let result = toml(text);
    assert_eq!(result.is_err(), is_error, "{text}\n{result:?}");
    let told = told(result);
    assert!(told.contains(part), "{part}\nnot in\n{told}");
}

#[test]
fn shards_are_in_twemproxys_order() {
    let text = "[[pool]]\nname='p'\nlisten='127.0.0.1:1'\n".to_owned()
        + &["server10", "server2", "b", "a"]
            .iter()
            .enumerate()
            .map(|(i, name)| format!("[[pool.shard]]\nname='{name}'\naddress='h:{}'\n", i + 1))
            .collect::<String>();
    let loaded = toml(&text).unwrap();
    let names: Vec<_> = loaded.config.pools[0].shards.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "server2", "server10"]);
}

#[test]
fn hosts_to_listen_on_are_resolved() {
    let loaded = toml(&pool("p", "['front:1', '[::]:2', 'unix:/a.sock 0600']")).unwrap();
    let [Listen::Tcp(front), Listen::Tcp(every), Listen::Unix { mode, .. }] =
        loaded.config.pools[0].listen.as_slice()
    else {
        panic!()
    };
    assert_eq!((front.to_string(), every.to_string()), ("10.0.0.9:1".into(), "[::]:2".into()));
    assert_eq!(*mode, Some(0o600));
    assert_told(&pool("p", "'nowhere:1'"), "can not be resolved (no such host)", true);
    assert_told(&pool("p", "'both:1'"), "several addresses, [::1]:1 is taken", false);
}

#[test]
fn listeners_do_not_clash() {
    let two = |a: &str, b: &str| pool("p", a) + &pool("q", b);
    assert_told(&two("'1.1.1.1:1'", "'1.1.1.1:1'"), "used twice, first on line 3", true);
    assert_told(&two("'unix:/a'", "'unix:/a 0600'"), "used twice, first on line 3", true);
    assert_told(&two("'0.0.0.0:1'", "'1.1.1.1:1'"), "taken on 0.0.0.0 too", false);
    assert_told(&two("'1.1.1.1:1'", "'0.0.0.0:1'"), "taken on 1.1.1.1 too", false);
    assert_told(&pool("p", "'127.0.0.1:9180'"), "used twice, by a default", true);
    assert!(told(toml(&two("'0.0.0.0:1'", "'[::]:1'"))).is_empty());
    assert_told(&pool("p", "[]"), "there is no listener", true);
    let many: Vec<_> = (1..=65).map(|port| format!("'1.1.1.1:{port}'")).collect();
    assert_told(&pool("p", &format!("[{}]", many.join(","))), "65 listeners, at most 64", true);
}

#[test]
fn names_are_short_distinct_and_plain() {
    let two = pool("p", "'h:1'").replace("h:1", "front:1") + &pool("p", "'front:2'");
    assert_told(
        &two,
        "c.toml:8: pool.name = \"p\": this name is used twice, first on line 2",
        true,
    );
    assert_told(&pool("", "'front:1'"), "the name is empty", true);
    assert_told(&pool(&"x".repeat(256), "'front:1'"), "the name has 256 bytes, at most 255", true);
    let text = pool("p", "'front:1'").replace("'a'", "\"a\\u0007\"");
    assert_told(&text, "the name has control characters", true);
    let text = pool_with("").replace("\"b\"", "\"a\"");
    assert_told(&text, "pool.shard.name = \"a\": this name is used twice, first on line 5", true);
    let text = pool_with("").replace("h:2", "h:1");
    assert_told(&text, "this redis-server is another shard too", false);
}

#[test]
fn shards_and_weights_are_bounded() {
    assert_told("[[pool]]\nname='p'\nlisten='front:1'\n", "the pool has no shard", true);
    let shards: String =
        (0..10_000).map(|i| format!("[[pool.shard]]\nname='{i}'\naddress='h{i}:1'\n")).collect();
    let text = format!("[[pool]]\nname='p'\nlisten='front:1'\n{shards}");
    assert_told(&text, "10000 shards, at most 4096 are served", true);
    assert_eq!(told(toml(&text)).lines().count(), 1);
    let text = pool_with("").replace("h:1\"", "h:1\"\nweight = 1073741824");
    assert_told(&text, "pool.shard.weight = 1073741824: out of bounds, 1 to 1000000", true);
    let heavy: String = (0..20)
        .map(|i| format!("[[pool.shard]]\nname='{i}'\naddress='h{i}:1'\nweight = 1000000\n"))
        .collect();
    let text = format!("[[pool]]\nname='p'\nlisten='front:1'\n{heavy}");
    assert_told(&text, "the weights sum up to 20000000, at most 16777216", true);
    let text = pool_with("").replace("h:1\"", "h:1\"\nweight = 100000");
    assert_told(&text, "so light beside the others that ketama gives it no key", false);
    let pools: String =
        (1..=300).map(|i| pool(&format!("p{i}"), &format!("'front:{i}'"))).collect();
    assert_told(&pools, "300 pools, at most 256 are served", true);
}

#[test]
fn a_hash_tag_is_two_bytes() {
    for bad in ["{", "{}x", "éa"] {
        assert_told(&pool_with(&format!("hash_tag = '{bad}'")), "exactly two characters", true);
    }
    let tag = |text: &str| toml(&pool_with(text)).unwrap().config.pools[0].hash_tag;
    assert_eq!(tag("hash_tag = ''"), None);
    assert_eq!(tag("hash_tag = '{}'"), Some((b'{', b'}')));
}

#[test]
fn choices_that_surprise_are_warned_about() {
    assert_told(&pool_with("hash = 'crc32'"), "puts all keys on one shard", false);
    assert_told(&pool_with("distribution = 'random'"), "is not found again", false);
    assert!(told(toml(&pool_with("hash = 'crc32'\ndistribution = 'modula'"))).is_empty());
}

#[test]
fn limits_fit_each_other() {
    assert_told(
        &pool_with("client_output_soft_bytes = 8192\nclient_output_max_bytes = 8192"),
        "c.toml:4: pool.client_output_soft_bytes = 8192: not below client_output_max_bytes = 8192",
        true,
    );
    assert_told(&pool_with("request_bytes_max = 2000"), "c.toml:4: pool.bulk_bytes_max", true);
    assert_told(&pool_with("database = 16"), "pool.database = 16: the databases are 0 to 15", true);
    let text = "[proxy]\ncore_buffer_max_bytes = 1048576\n".to_owned() + &pool_with("");
    assert_told(&text, "above proxy.core_buffer_max_bytes = 1048576", false);
}
