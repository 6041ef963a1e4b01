//! An error that a redis-server answers reaches the client as it is, and closes nothing.
//!
//! Mechanics: real conditions of a real server (out of memory, a failed save, a replica, a running
//! script …), the same request asked directly and through the proxy, on one lane whose connection
//! must survive all of them. Why it must stay: twemproxy turns `-OOM` into "Invalid argument",
//! closes the shared connection and fails everybody's requests on it.

mod support;

use support::{
    FalseRedis, Options, PATIENCE, Proxy, Stack, Value, Wire, false_redis::is, wait_until,
};

struct Scene {
    stack: Stack,
    direct: Wire,
    client: Wire,
    bystander: Wire,
}

fn scene(redis_args: &[&str]) -> Scene {
    let stack = Stack::start_with(1, redis_args, &Options::default());
    let direct = stack.shards[0].client();
    let (client, bystander) = (stack.client(), stack.client());
    Scene { stack, direct, client, bystander }
}

impl Scene {
    fn configure(&mut self, key: &str, value: &str) {
        assert_eq!(self.direct.exchange(&["CONFIG", "SET", key, value]), Value::ok());
    }

    fn connections(&mut self) -> String {
        let info = self.direct.exchange(&["INFO", "stats"]);
        support::redis::info_field(&info, "total_connections_received")
    }

    /// `request` gives an error of the kind `word`, the same one directly and through the proxy,
    /// while others are served over the same connection.
    fn passes(&mut self, word: &str, request: &[&str]) {
        assert_eq!(self.bystander.exchange(&["ECHO", "before"]), Value::bulk("before"));
        assert!(!self.client.exchange(&["EXISTS", "bystander"]).is_null());
        let connections = self.connections();
        let expected = self.direct.exchange(request);
        assert!(expected.error().starts_with(word), "redis itself says {expected:?}");
        assert_eq!(self.client.exchange(request), expected);
        for _ in 0..3 {
            let replies = self.client.pipeline(&[request.to_vec(), vec!["ECHO", "x"]]);
            assert_eq!(replies, [expected.clone(), Value::bulk("x")]);
        }
        assert_eq!(self.connections(), connections, "a lane was closed by {expected:?}");
    }
}

#[test]
fn oom() {
    let mut scene = scene(&[]);
    scene.configure("maxmemory", "1");
    scene.passes("OOM", &["SET", "key", "value"]);
    scene.configure("maxmemory", "0");
    assert_eq!(scene.client.exchange(&["SET", "key", "value"]), Value::ok());
}

#[test]
fn misconf() {
    let mut scene = scene(&["--enable-protected-configs", "local"]);
    // The directory that it saves to disappears, so that saving fails, for root too.
    let lost = scene.stack.shards[0].directory().join("lost");
    std::fs::create_dir(&lost).expect("a directory");
    scene.configure("dir", &lost.to_string_lossy());
    std::fs::remove_dir(&lost).expect("a directory removed");
    scene.configure("save", "3600 1");
    scene.direct.exchange(&["BGSAVE"]);
    let direct = &mut scene.direct;
    wait_until(PATIENCE, "saving fails", || {
        let info = direct.exchange(&["INFO", "persistence"]);
        support::redis::info_field(&info, "rdb_last_bgsave_status") == "err"
    });
    scene.passes("MISCONF", &["SET", "key", "value"]);
}

#[test]
fn wrongtype_and_other_mistakes_of_a_client() {
    let mut scene = scene(&[]);
    scene.client.exchange(&["LPUSH", "list", "1"]);
    scene.client.exchange(&["SET", "string", "text"]);
    scene.passes("WRONGTYPE", &["GET", "list"]);
    scene.passes("WRONGTYPE", &["HGET", "string", "field"]);
    scene.passes("ERR value is not an integer", &["INCR", "string"]);
    scene.passes("ERR syntax error", &["SET", "string", "x", "NOSUCH"]);
    scene.passes("MINE", &["EVAL", "return redis.error_reply('MINE of my own')", "1", "a"]);
}

#[test]
fn readonly_and_noreplicas() {
    let mut scene = scene(&[]);
    scene.configure("min-replicas-to-write", "1");
    scene.passes("NOREPLICAS", &["SET", "key", "value"]);
    scene.configure("min-replicas-to-write", "0");
    // A primary that nobody answers at: this server becomes a replica without one.
    let nobody = support::Port::reserve();
    let port = nobody.number().to_string();
    assert_eq!(scene.direct.exchange(&["REPLICAOF", "127.0.0.1", &port]), Value::ok());
    scene.passes("READONLY", &["SET", "key", "value"]);
    scene.configure("replica-serve-stale-data", "no");
    scene.direct.exchange(&["PING"]);
    let expected = scene.direct.exchange(&["GET", "key"]);
    assert!(expected.error().starts_with("MASTERDOWN"), "{expected:?}");
    assert_eq!(scene.client.exchange(&["GET", "key"]), expected);
}

#[test]
fn busy() {
    let mut scene = scene(&["--busy-reply-threshold", "50"]);
    let mut looping = scene.stack.shards[0].client();
    looping.request(&["EVAL", "while true do end", "0"]);
    let direct = &mut scene.direct;
    wait_until(PATIENCE, "the server is busy", || direct.exchange(&["GET", "key"]).is_error());
    let expected = scene.direct.exchange(&["GET", "key"]);
    assert!(expected.error().starts_with("BUSY"), "{expected:?}");
    assert_eq!(scene.client.exchange(&["GET", "key"]), expected);
    assert_eq!(scene.direct.exchange(&["SCRIPT", "KILL"]), Value::ok());
    let client = &mut scene.client;
    wait_until(PATIENCE, "the server is free", || client.exchange(&["GET", "key"]).is_null());
}

#[test]
fn every_word_that_an_error_may_begin_with() {
    const WORDS: [&str; 16] = [
        "ERR something",
        "OOM command not allowed",
        "LOADING Redis is loading",
        "BUSY running",
        "MISCONF saving",
        "NOSCRIPT No matching",
        "READONLY You can't",
        "MASTERDOWN Link",
        "NOAUTH Authentication",
        "NOPERM no permission",
        "EXECABORT discarded",
        "BUSYKEY Target",
        "NOREPLICAS Not enough",
        "UNKILLABLE Sorry",
        "CROSSSLOT Keys",
        "lower case without a word",
    ];
    let server = FalseRedis::start(|connection| {
        while let Some(request) = connection.read_request() {
            if is(&request, "GET") && request[1].starts_with(b"error:") {
                let number: usize = String::from_utf8_lossy(&request[1][6..]).parse().unwrap_or(0);
                connection.write(format!("-{}\r\n", WORDS[number]).as_bytes());
            } else {
                connection.answer(&request);
            }
        }
    });
    let shards = [("shard1".to_owned(), server.address().to_string())];
    let proxy = Proxy::start(&shards, &Options::default());
    let mut client = proxy.client();
    assert_eq!(client.exchange(&["GET", "key"]), Value::bulk("value of key"));
    let connections = server.accepted();
    for (number, word) in WORDS.iter().enumerate() {
        let reply = client.exchange(&["GET", &format!("error:{number}")]);
        assert_eq!(reply, Value::Error((*word).to_owned()));
        assert_eq!(client.exchange(&["GET", "key"]), Value::bulk("value of key"));
    }
    assert_eq!(server.accepted(), connections, "an error closed the lane");
}
