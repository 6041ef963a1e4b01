//! Passwords in front of the proxy and behind it are two things.

mod support;

use support::{Options, Proxy, Stack, Value};

const FRONT: &str = "[pool.auth]\npassword = \"front secret\"\n";
const BACK: &str = "[pool.backend_auth]\npassword = \"back secret\"\n";

fn with(tables: &str) -> Options {
    Options { tables: tables.to_owned(), ..Options::default() }
}

fn is_noauth(reply: &Value) -> bool {
    matches!(reply, Value::Error(text) if text.starts_with("NOAUTH"))
}

#[test]
fn a_client_has_to_give_the_password_of_the_pool() {
    let stack = Stack::start(2, &with(FRONT));
    let mut wire = stack.client();
    for request in [&["GET", "key"] as &[&str], &["MGET", "a", "b"], &["PING"], &["DBSIZE"]] {
        assert!(is_noauth(&wire.exchange(request)), "{request:?}");
    }
    assert!(is_noauth(&wire.exchange(&["HELLO", "3"])));
    let wrong = wire.exchange(&["AUTH", "wrong"]);
    assert!(wrong.error().starts_with("WRONGPASS"), "{wrong:?}");
    assert!(is_noauth(&wire.exchange(&["GET", "key"])));
    assert_eq!(wire.exchange(&["AUTH", "front secret"]), Value::ok());
    assert_eq!(wire.exchange(&["SET", "key", "value"]), Value::ok());
    assert_eq!(wire.exchange(&["RESET"]), Value::Simple("RESET".to_owned()));
    assert!(is_noauth(&wire.exchange(&["GET", "key"])), "RESET forgets who the client is");
    assert_eq!(wire.exchange(&["AUTH", "default", "front secret"]), Value::ok());
    assert!(wire.exchange(&["AUTH", "nobody", "front secret"]).error().starts_with("WRONGPASS"));

    let mut three = stack.client();
    let wrong = three.exchange(&["HELLO", "3", "AUTH", "default", "wrong"]);
    assert!(wrong.error().starts_with("WRONGPASS"), "{wrong:?}");
    let hello = three.exchange(&["HELLO", "3", "AUTH", "default", "front secret"]);
    assert_eq!(hello.field("proto"), Some(&Value::Integer(3)));
    assert_eq!(three.exchange(&["GET", "key"]), Value::bulk("value"));

    let mut quitting = stack.client();
    assert_eq!(quitting.exchange(&["QUIT"]), Value::ok());
    quitting.expect_closed();
}

#[test]
fn who_has_not_given_it_may_say_as_little_as_to_redis() {
    let (stack, plain) =
        (Stack::start(1, &with(FRONT)), support::Redis::start(&["--requirepass", "front secret"]));
    for words in ["*11\r\n$4\r\nPING\r\n", "*2\r\n$4\r\nECHO\r\n$16385\r\n", "*x\r\n"] {
        let answers = [stack.client(), plain.client()].map(|mut wire| {
            let _ = wire.try_send(words.as_bytes());
            let answer = wire.read_reply();
            wire.expect_closed();
            answer
        });
        assert_eq!(answers[0], answers[1], "{words:?}");
        assert!(answers[0].is_error());
    }
}

#[test]
fn without_a_password_auth_is_answered_as_redis_does() {
    let (stack, plain) = (Stack::start(1, &Options::default()), support::Redis::start(&[]));
    let (mut wire, mut direct) = (stack.client(), plain.client());
    for request in [&["AUTH", "any"] as &[&str], &["AUTH", "default", "any"], &["AUTH", "no", "x"]]
    {
        assert_eq!(wire.exchange(request), direct.exchange(request), "{request:?}");
    }
    assert_eq!(wire.exchange(&["GET", "key"]), Value::Null);
}

#[test]
fn the_proxy_gives_the_password_of_its_shards() {
    let stack = Stack::start_with(2, &["--requirepass", "back secret"], &with(BACK));
    let mut wire = stack.client();
    for key in 0..40 {
        let key = format!("key:{key}");
        assert_eq!(wire.exchange(&["SET", &key, &key]), Value::ok());
        assert_eq!(wire.exchange(&["GET", &key]), Value::bulk(&key));
    }
    wire.exchange(&["HELLO", "3"]);
    wire.exchange(&["SELECT", "2"]);
    assert_eq!(wire.exchange(&["SET", "key", "in 2"]), Value::ok());
    wire.exchange(&["SELECT", "0"]);
    assert_eq!(wire.exchange(&["GET", "key"]), Value::Null);
}

#[test]
fn an_acl_user_of_the_shards() {
    let user = ["--user", "proxy", "on", ">pw", "~*", "+@all"];
    let no_other = ["--user", "default", "off"];
    let redis = support::Redis::start(&[user.as_slice(), &no_other].concat());
    let shards = [("shard1".to_owned(), redis.address().to_string())];
    let tables = "[pool.backend_auth]\nuser = \"proxy\"\npassword = \"pw\"\n";
    let proxy = Proxy::start(&shards, &with(tables));
    let mut wire = proxy.client();
    assert_eq!(wire.exchange(&["SET", "key", "value"]), Value::ok());
    assert_eq!(wire.exchange(&["GET", "key"]), Value::bulk("value"));
}

#[test]
fn a_wrong_password_behind_is_an_error_in_front_and_never_a_reply() {
    let stack = Stack::start_with(1, &["--requirepass", "another"], &with(BACK));
    let mut wire = stack.client();
    for _ in 0..3 {
        let reply = wire.exchange(&["GET", "key"]);
        assert!(reply.error().contains("shard1"), "{reply:?}");
        assert!(!reply.error().contains("secret"), "{reply:?}");
        assert_eq!(wire.exchange(&["ECHO", "x"]), Value::bulk("x"));
    }
}

#[test]
fn passwords_are_in_no_log() {
    let stack =
        Stack::start_with(1, &["--requirepass", "back secret"], &with(&format!("{FRONT}{BACK}")));
    let mut wire = stack.client();
    wire.exchange(&["AUTH", "wrong secret"]);
    assert_eq!(wire.exchange(&["AUTH", "front secret"]), Value::ok());
    assert_eq!(wire.exchange(&["SET", "key", "value"]), Value::ok());
    let log = stack.proxy.log();
    assert!(!log.contains("secret"), "{log}");
    for path in ["/metrics", "/topology", "/stats"] {
        assert!(!stack.proxy.admin(path).contains("secret"), "{path}");
    }
}
