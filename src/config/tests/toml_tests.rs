use super::*;
use crate::config::model::{
    CharSignedness, DistributionKind, HashKind, Listen, LogLevel, NodeAddress,
};

#[test]
fn every_key_arrives() {
    let text = "[proxy]\ncores = [5, 0]\nadmin_listen = \"off\"\nstats_listen = \"front:22222\"\n\
        log_level = \"debug\"\nlog_file = \"/var/log/c\"\ncore_buffer_max_bytes = 1_073_741_824\n\
        spin_us = 7\nbatch_us = 9\nhandover_socket = \"/run/h.sock\"\nhandover_grace_ms = \"none\"\n"
        .to_owned()
        + &pool_with(
            "backlog = 9\ntcp_keepalive = false\nhash = \"murmur\"\nhash_tag = \"$$\"\n\
             distribution = \"modula\"\nchar_signedness = \"unsigned\"\ntimeout_ms = \"none\"\n\
             connect_timeout_ms = 77\nfence_interval_ms = 8\nlanes_per_node = 3\npreconnect = true\ndatabase = 3\n\
             databases = 4\nclient_connections_max = 0\nclient_idle_timeout_ms = 5\n\
             [pool.auth]\npassword = \"x\"\n[pool.backend_auth]\nuser = \"u\"\npassword = \"y\"\n",
        );
    let loaded = toml(&text).unwrap();
    assert_eq!(loaded.warnings, []);
    let proxy = &loaded.config.proxy;
    assert_eq!(proxy.cores, [5, 0]);
    assert_eq!(proxy.admin_listen, None);
    assert_eq!(proxy.stats_listen, Some("10.0.0.9:22222".parse().unwrap()));
    assert_eq!(proxy.log_level, LogLevel::Debug);
    assert_eq!(proxy.log_file, Some("/var/log/c".into()));
    assert_eq!((proxy.spin_us, proxy.batch_us), (7, 9));
    assert_eq!(proxy.handover_socket, Some("/run/h.sock".into()));
    assert_eq!(proxy.handover_grace_ms, None);
    let pool = &loaded.config.pools[0];
    assert_eq!(pool.listen, [Listen::Tcp("127.0.0.1:6380".parse().unwrap())]);
    assert_eq!((pool.backlog, pool.tcp_keepalive), (9, false));
    assert_eq!((pool.hash, pool.hash_tag), (HashKind::Murmur, Some((b'$', b'$'))));
    assert_eq!(pool.distribution, DistributionKind::Modula);
    assert_eq!(pool.char_signedness, CharSignedness::Unsigned);
    assert_eq!((pool.timeout_ms, pool.connect_timeout_ms), (None, 77));
    assert_eq!((pool.lanes_per_node, pool.preconnect, pool.fence_interval_ms), (3, true, 8));
    assert_eq!((pool.database, pool.databases), (3, 4));
    assert_eq!(pool.client_password.as_deref(), Some("x"));
    let auth = pool.backend_auth.as_ref().unwrap();
    assert_eq!((auth.user.as_deref(), auth.password.as_str()), (Some("u"), "y"));
    assert_eq!(pool.limits.client_connections_max, 0);
    assert_eq!(pool.limits.client_idle_timeout_ms, 5);
    assert_eq!(pool.shards[1].address, NodeAddress::Tcp { host: "h".into(), port: 2 });
}

#[test]
fn all_complaints_come_at_once_in_the_order_of_the_file() {
    let told = told(toml(
        "[proxy]\nlog_level = \"loud\"\ncolour = 1\n\
         [[pool]]\nlisten = \"localhost\"\nhash = \"md6\"\ntimeout_ms = 0\nlisen = 5\n\
         [[pool.shard]]\nname = \"a\"\naddress = \"h:70000\"\nweight = 0\n",
    ));
    let expected = [
        "c.toml:2: proxy.log_level = \"loud\": unknown log level; use one of error, warn, info, debug",
        "c.toml:3: proxy.colour: unknown key; remove it, or see config/corelay.toml for every key",
        "c.toml:4: pool.name: has to be written; add it to this [[pool]]: name in logs and statistics",
        "c.toml:5: pool.listen = \"localhost\": the port is missing; write \"host:port\"",
        "c.toml:6: pool.hash = \"md6\": unknown hash; use one of one_at_a_time, md5, crc16, crc32, \
         crc32a, fnv1_64, fnv1a_64, fnv1_32, fnv1a_32, hsieh, murmur, jenkins",
        "c.toml:7: pool.timeout_ms = 0: out of bounds, 1 to 4294967295 of milliseconds; \
         write \"none\" to wait for ever",
        "c.toml:8: pool.lisen: unknown key; did you mean listen?",
        "c.toml:11: pool.shard.address = \"h:70000\": port 70000 is not valid; use a port from 1 to 65535",
        "c.toml:12: pool.shard.weight = 0: out of bounds, 1 to 1000000; write at least 1",
    ];
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_wrong_type_is_named_and_a_secret_never_shown() {
    let told = told(toml(&pool_with(
        "timeout_ms = \"2s\"\npreconnect = 1\nhash = 5\nlisten_ = 1\nbacklog = 1.5\n\
         [pool.auth]\npassword = 4711\n",
    )));
    for part in [
        "pool.timeout_ms = \"2s\": expected a whole number of milliseconds or \"none\", found a text",
        "pool.preconnect = 1: expected true or false, found a number",
        "pool.hash = 5: expected a text in quotes, found a number",
        "pool.backlog = 1.5: expected a whole number, found a fraction",
        "pool.auth.password: expected a text in quotes, found a number",
    ] {
        assert!(told.contains(part), "{part}\nnot in\n{told}");
    }
    assert!(!told.contains("4711"));
}

#[test]
fn keys_in_the_wrong_place_and_keys_of_nutcracker_are_explained() {
    let told = told(toml(
        &("timeout_ms = 5\n".to_owned()
            + &pool_with("cores = 1\nserver_connections = 1\ntimeout = 5\ntcpkeepalive = true")),
    ));
    for part in [
        "c.toml:1: timeout_ms: unknown key; it belongs into [[pool]]",
        "pool.cores: unknown key; it belongs into [proxy]",
        "pool.server_connections: unknown key; nutcracker's server_connections is lanes_per_node here",
        "pool.timeout: unknown key; did you mean timeout_ms?",
        "pool.tcpkeepalive: unknown key; did you mean tcp_keepalive?",
    ] {
        assert!(told.contains(part), "{part}\nnot in\n{told}");
    }
}

#[test]
fn broken_toml_is_told_with_its_line() {
    for bad in ["[[pool]\n", "a = \n", "[proxy]\nx = 'a", "= 5", "[proxy]\n[proxy]\n", "\u{0}"] {
        let told = told(toml(bad));
        assert!(told.starts_with("c.toml:"), "{bad:?}: {told}");
    }
    let twice = told(toml(&pool_with("hash = \"md5\"\nhash = \"md5\"\nlisten_ = 1")));
    assert!(twice.contains("c.toml:5: this is no TOML: duplicate key"), "{twice}");
    assert!(twice.contains("pool.listen_"), "the rest is read all the same: {twice}");
}

#[test]
fn tables_of_the_wrong_kind_are_told() {
    for (bad, part) in [
        ("proxy = 5\n", "begin it with [proxy]"),
        ("[pool]\nname = 'x'\n", "begin each pool with [[pool]]"),
        ("pool = [5]\n", "begin each pool with [[pool]]"),
        ("[[pool]]\n[pool.shard]\nname = 'x'\n", "begin each with [[pool.shard]]"),
        ("[[pool]]\n[[pool.auth]]\n", "begin it with [pool.auth]"),
        ("", "there is no pool"),
    ] {
        let told = told(toml(bad));
        assert!(told.contains(part), "{bad:?}: {told}");
    }
}

#[test]
fn cores_are_auto_a_count_or_ids_that_exist() {
    let cores = |value: &str| {
        let text = format!("[proxy]\ncores = {value}\n{}", pool_with(""));
        toml(&text).map(|loaded| loaded.config.proxy.cores).map_err(|list| list[0].to_string())
    };
    assert_eq!(cores("\"auto\"").unwrap(), [0, 1, 2, 5]);
    assert_eq!(cores("3").unwrap(), [0, 1, 2]);
    assert_eq!(cores("[5]").unwrap(), [5]);
    assert_eq!(cores("[1, 1]").unwrap(), [1, 1], "a warning only");
    for bad in [
        "0",
        "5",
        "-1",
        "99999999999999999999999999999999999999999",
        "[]",
        "[3]",
        "[-1]",
        "['x']",
        "\"all\"",
        "1.0",
        "true",
    ] {
        assert!(cores(bad).unwrap_err().contains("proxy.cores"), "{bad}");
    }
    assert!(cores("[3]").unwrap_err().contains("use 0-2, 5"));
}
