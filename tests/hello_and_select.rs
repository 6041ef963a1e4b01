//! Protocol versions and databases: every client in its own, on one proxy, at the same time.

mod support;

use support::{Options, Stack, Value};

#[test]
fn hello_answers_as_redis() {
    let stack = Stack::start(1, &Options::default());
    let mut wire = stack.client();
    for (request, protocol) in
        [(&["HELLO"] as &[&str], 2), (&["HELLO", "3"], 3), (&["HELLO"], 3), (&["HELLO", "2"], 2)]
    {
        let reply = wire.exchange(request);
        assert_eq!(matches!(reply, Value::Map(_)), protocol == 3, "{reply:?}");
        assert_eq!(reply.field("proto"), Some(&Value::Integer(protocol)));
        for name in ["server", "version", "id", "mode", "role", "modules"] {
            assert!(reply.field(name).is_some(), "HELLO without {name}: {reply:?}");
        }
        let text = |name: &str| reply.field(name).map(Value::text);
        assert_eq!(text("server").as_deref(), Some("redis"));
        assert_eq!(text("mode").as_deref(), Some("standalone"));
        assert_eq!(text("role").as_deref(), Some("master"));
    }
    for request in [&["HELLO", "1"] as &[&str], &["HELLO", "4"]] {
        assert!(wire.exchange(request).error().starts_with("NOPROTO"), "{request:?}");
    }
    let error = wire.exchange(&["HELLO", "x"]);
    assert!(error.is_error() && !error.error().starts_with("NOPROTO"), "{error:?}");
    let syntax = wire.exchange(&["HELLO", "3", "NOSUCH"]);
    assert!(syntax.error().starts_with("ERR Syntax error in HELLO"), "{syntax:?}");
    let named = wire.exchange(&["HELLO", "3", "SETNAME", "me"]);
    assert_eq!(named.field("proto"), Some(&Value::Integer(3)));
    assert_eq!(wire.exchange(&["CLIENT", "GETNAME"]), Value::bulk("me"));
}

#[test]
fn replies_come_in_the_protocol_of_their_client() {
    let stack = Stack::start(2, &Options::default());
    let (mut two, mut three) = (stack.client(), stack.client());
    three.exchange(&["HELLO", "3"]);
    two.exchange(&["HSET", "hash", "field", "value"]);
    two.exchange(&["ZADD", "zset", "1.5", "member"]);
    two.exchange(&["SADD", "set", "one"]);
    let (field, value) = (Value::bulk("field"), Value::bulk("value"));
    for _ in 0..3 {
        let array = Value::Array(vec![field.clone(), value.clone()]);
        assert_eq!(two.exchange(&["HGETALL", "hash"]), array);
        let map = Value::Map(vec![(field.clone(), value.clone())]);
        assert_eq!(three.exchange(&["HGETALL", "hash"]), map);
        assert_eq!(two.exchange(&["ZSCORE", "zset", "member"]), Value::bulk("1.5"));
        assert_eq!(three.exchange(&["ZSCORE", "zset", "member"]), Value::Double("1.5".into()));
        let one = vec![Value::bulk("one")];
        assert_eq!(two.exchange(&["SMEMBERS", "set"]), Value::Array(one.clone()));
        assert_eq!(three.exchange(&["SMEMBERS", "set"]), Value::Set(one));
        assert_eq!(three.exchange(&["GET", "missing"]), Value::Null);
    }
    // Changed in the middle of a pipeline: each reply in the version of its moment.
    let requests: Vec<Vec<&str>> = ["HGETALL hash", "HELLO 3", "HGETALL hash", "HELLO 2", "GET x"]
        .iter()
        .map(|request| request.split(' ').collect())
        .collect();
    let replies = two.pipeline(&requests);
    assert!(matches!(replies[0], Value::Array(_)), "{replies:?}");
    assert!(matches!(replies[1], Value::Map(_)), "{replies:?}");
    assert!(matches!(replies[2], Value::Map(_)), "{replies:?}");
    assert!(matches!(replies[3], Value::Array(_)), "{replies:?}");
}

#[test]
fn every_client_is_in_its_own_database() {
    let stack = Stack::start(2, &Options::default());
    let mut clients: Vec<_> = (0..4).map(|_| stack.client()).collect();
    for (database, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.exchange(&["SELECT", &database.to_string()]), Value::ok());
        for key in 0..10 {
            client.exchange(&["SET", &format!("key:{key}"), &format!("{database}:{key}")]);
        }
    }
    for (database, client) in clients.iter_mut().enumerate() {
        for key in 0..10 {
            let reply = client.exchange(&["GET", &format!("key:{key}")]);
            assert_eq!(reply, Value::bulk(format!("{database}:{key}")));
        }
        assert_eq!(client.exchange(&["DBSIZE"]), Value::Integer(10));
    }
    let requests: Vec<Vec<&str>> =
        ["GET key:1", "SELECT 2", "GET key:1", "SELECT 0", "MGET key:1 key:2"]
            .iter()
            .map(|request| request.split(' ').collect())
            .collect();
    let replies = clients[1].pipeline(&requests);
    assert_eq!(replies[0], Value::bulk("1:1"));
    assert_eq!(replies[2], Value::bulk("2:1"));
    assert_eq!(replies[4].texts(), ["0:1", "0:2"]);
}

#[test]
fn a_database_that_is_not_there() {
    let stack = Stack::start(1, &Options::default());
    let mut wire = stack.client();
    wire.exchange(&["SET", "key", "in 0"]);
    for (database, error) in [
        ("16", "ERR DB index is out of range"),
        ("-1", "ERR DB index is out of range"),
        ("99999999999999999999", "ERR"),
        ("x", "ERR"),
    ] {
        let reply = wire.exchange(&["SELECT", database]);
        assert!(reply.error().starts_with(error), "SELECT {database}: {reply:?}");
    }
    assert_eq!(wire.exchange(&["GET", "key"]), Value::bulk("in 0"));
    assert_eq!(wire.exchange(&["SELECT", "15"]), Value::ok());
    assert_eq!(wire.exchange(&["GET", "key"]), Value::Null);
    assert_eq!(wire.exchange(&["RESET"]), Value::Simple("RESET".to_owned()));
    assert_eq!(wire.exchange(&["GET", "key"]), Value::bulk("in 0"), "RESET goes back to 0");
}

#[test]
fn hand_shakes_of_client_libraries_are_answered() {
    let stack = Stack::start(1, &Options::default());
    let mut wire = stack.client();
    for request in [
        "CLIENT SETINFO LIB-NAME test",
        "CLIENT SETINFO LIB-VER 1.0",
        "CLIENT SETNAME test",
        "CLIENT NO-EVICT on",
        "CLIENT NO-TOUCH on",
        "READONLY",
        "SELECT 0",
    ] {
        let words: Vec<&str> = request.split(' ').collect();
        let reply = wire.exchange(&words);
        let fine = reply == Value::ok() || request == "READONLY";
        assert!(fine, "{request}: {reply:?}");
    }
    let typo = wire.exchange(&["CLIENT", "NO-EVICT", "yes"]);
    assert_eq!(typo.error(), "ERR syntax error");
    assert!(wire.exchange(&["CLIENT", "ID"]).integer() > 0);
    assert!(wire.exchange(&["CLIENT", "INFO"]).text().contains("name=test"));
    assert!(wire.exchange(&["CLIENT", "LIST"]).text().contains("name=test"));
    assert!(wire.exchange(&["COMMAND", "COUNT"]).integer() > 200);
    assert!(wire.exchange(&["COMMAND"]).items().len() > 200);
    assert!(!wire.exchange(&["COMMAND", "DOCS", "GET"]).is_error());
    assert_eq!(wire.exchange(&["COMMAND", "GETKEYS", "GET", "a"]).texts(), ["a"]);
    let info = wire.exchange(&["INFO"]).text();
    assert!(info.contains("redis_version:"), "{info}");
    assert!(!wire.exchange(&["CONFIG", "GET", "maxmemory"]).is_error());
    assert_eq!(wire.exchange(&["TIME"]).items().len(), 2);
    assert_eq!(wire.exchange(&["PING", "text"]), Value::bulk("text"));
    assert_eq!(wire.exchange(&["ECHO", "a\r\nb\0"]), Value::bulk("a\r\nb\0"));
    assert!(wire.exchange(&["CLUSTER", "INFO"]).is_error());
    assert!(!wire.exchange(&["LOLWUT"]).is_error());
}
