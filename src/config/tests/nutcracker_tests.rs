use super::*;
use crate::config::model::{
    DangerousCommands, DistributionKind, HashKind, Listen, UnknownCommands,
};

#[test]
fn a_whole_file_is_read() {
    let loaded = yaml(
        "alpha:\n  listen: front:22121\n  hash: md5\n  hash_tag: \"{}\"\n  distribution: modula\n  \
         timeout: 400\n  backlog: 1024\n  redis: true\n  tcpkeepalive: true\n  redis_auth: 007\n  \
         redis_db: 20\n  preconnect: true\n  server_connections: 1\n  auto_eject_hosts: false\n  \
         servers:\n   - 10.0.0.1:6379:2 server2\n   - 10.0.0.2:6379:1 server1\n\
         beta:\n  listen: /run/beta.sock 0666\n  redis: true\n  servers:\n   - 10.0.0.1:6379:1\n",
    )
    .unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.proxy.stats_listen, Some("0.0.0.0:22222".parse().unwrap()));
    assert_eq!(loaded.config.proxy.admin_listen, Some("127.0.0.1:9180".parse().unwrap()));
    let alpha = &loaded.config.pools[0];
    assert_eq!(alpha.name, "alpha");
    assert_eq!(alpha.listen, [Listen::Tcp("10.0.0.9:22121".parse().unwrap())]);
    assert_eq!((alpha.hash, alpha.distribution), (HashKind::Md5, DistributionKind::Modula));
    assert_eq!((alpha.hash_tag, alpha.timeout_ms), (Some((b'{', b'}')), Some(400)));
    assert_eq!((alpha.backlog, alpha.tcp_keepalive, alpha.preconnect), (1024, true, true));
    assert_eq!(alpha.client_password.as_deref(), Some("007"));
    let auth = alpha.backend_auth.as_ref().unwrap();
    assert_eq!((auth.user.as_deref(), auth.password.as_str()), (None, "007"));
    assert_eq!((alpha.database, alpha.databases), (20, 21));
    assert_eq!(alpha.shards[0].name, "server1");
    assert_eq!(alpha.shards[1].weight, 2);
    let beta = &loaded.config.pools[1];
    assert_eq!(beta.listen, [Listen::Unix { path: "/run/beta.sock".into(), mode: Some(0o666) }]);
    // twemproxy's own defaults.
    assert_eq!((beta.hash, beta.distribution), (HashKind::Fnv1a64, DistributionKind::Ketama));
    assert_eq!((beta.timeout_ms, beta.backlog, beta.tcp_keepalive), (None, 512, false));
    assert_eq!(beta.limits.client_connections_max, 0);
    assert_eq!(beta.shards[0].name, "10.0.0.1:6379");
    // Where it has none, ours.
    assert_eq!(beta.unknown_commands, UnknownCommands::Refuse);
    assert_eq!(beta.dangerous_commands, DangerousCommands::Refuse);
}

#[test]
fn keys_that_change_their_meaning_are_warned_about() {
    let told = told(yaml(&yaml_with(
        "auto_eject_hosts: true\nserver_retry_timeout: 2000\nserver_failure_limit: 1\n\
         client_connections: 5\nserver_connections: 4\nhash: crc32",
    )));
    for part in [
        "n.yml:4: warning: p.auto_eject_hosts = true: not offered",
        "n.yml:5: warning: p.server_retry_timeout = 2000: has no effect",
        "n.yml:6: warning: p.server_failure_limit = 1: has no effect",
        "n.yml:7: warning: p.client_connections = 5: twemproxy never enforced it",
        "n.yml:8: warning: p.server_connections = 4: each core opens as many",
        "n.yml:9: warning: p.hash = \"crc32\"",
    ] {
        assert!(told.contains(part), "{part}\nnot in\n{told}");
    }
}

#[test]
fn all_complaints_come_at_once() {
    let told = told(yaml(&yaml_with(
        "hash: MD5\ntimeout: -1\npreconnect: yes\nfoo: bar\nhash: md5\nredis_auth:\nbacklog: [1]\n\
         server_connections: 0\nhash_tag: '{'",
    )));
    for part in [
        "n.yml:4: p.hash = \"MD5\": unknown hash; use one of one_at_a_time",
        "n.yml:5: p.timeout = \"-1\": expected a whole number from 0 to 2147483647; remove it to wait",
        "n.yml:6: p.preconnect = \"yes\": expected true or false in exactly these letters",
        "n.yml:7: p.foo: unknown key; nutcracker has listen",
        "n.yml:8: p.hash: this key is written twice, first on line 4",
        "n.yml:9: p.redis_auth: nothing is written",
        "n.yml:10: p.backlog: one value belongs here",
        "n.yml:11: p.server_connections = 0: out of bounds",
        "n.yml:12: p.hash_tag = \"{\": a hash tag has exactly two characters",
    ] {
        assert!(told.contains(part), "{part}\nnot in\n{told}");
    }
}

#[test]
fn what_twemproxy_accepts_is_accepted() {
    for good in [
        "timeout: 0",
        "timeout: \"400\"",
        "preconnect: \"true\"",
        "hash_tag: $$",
        "backlog: 0",
        "reuseport: true",
        "redis_db: 70",
    ] {
        assert!(told(yaml(&yaml_with(good))).is_empty(), "{good}");
    }
    let timeout = |text: &str| yaml(&yaml_with(text)).unwrap().config.pools[0].timeout_ms;
    assert_eq!((timeout("timeout: 0"), timeout("timeout: 5")), (None, Some(5)));
    // The same server under two names.
    assert!(yaml(&yaml_with("").replace("h:2", "h:1")).is_ok());
}

#[test]
fn memcached_pools_are_refused_clearly() {
    let without = yaml_with("").replace("  redis: true\n", "");
    assert!(told(yaml(&without)).contains("n.yml:1: p.redis: memcached is not served"));
    let with_false = yaml_with("").replace("true", "false");
    assert!(told(yaml(&with_false)).contains("n.yml:3: p.redis: memcached is not served"));
    let with_yes = yaml_with("").replace("true", "yes");
    assert_eq!(yaml(&with_yes).unwrap_err().len(), 1, "one mistake, one complaint");
}

#[test]
fn files_that_are_no_pools_get_one_clear_line() {
    for bad in [
        "",
        "x",
        "- a\n",
        "a: 5\n",
        "a:\n",
        "a: &x\n  listen: h:1\n",
        "%YAML 9.9\n",
        "a: [",
        "\u{0}",
        "? [a]\n: b\n",
        "a:\n  ? [b]\n  : c\n",
        "a: !!map {}\n",
        "a:\n\tb: c\n",
    ] {
        let result = yaml(bad);
        assert!(result.is_err(), "{bad:?}");
        assert!(told(result).starts_with("n.yml"), "{bad:?}");
    }
    let noservers = "p:\n  listen: front:1\n  redis: true\n";
    assert!(told(yaml(noservers)).contains("p.servers: the pool has no shard"));
    for servers in
        ["  servers:\n", "  servers: []\n", "  servers: h:1:1\n", "  servers:\n   - a: b\n"]
    {
        let told = told(yaml(&format!("{noservers}{servers}")));
        assert!(told.contains("p.servers"), "{servers:?}: {told}");
    }
    let nolisten = "p:\n  redis: true\n  servers:\n   - h:1:1\n";
    assert!(told(yaml(nolisten)).contains("p.listen: has to be written"));
    let twice = yaml_with("").to_owned() + &yaml_with("").replace("6380", "6381");
    assert!(told(yaml(&twice)).contains("this name is used twice, first on line 1"));
}
