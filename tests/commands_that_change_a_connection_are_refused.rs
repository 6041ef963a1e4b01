//! Commands that change or take over the connection they run on never reach a shared lane:
//! they get an error, and the next request of everybody works.
//!
//! Why it must stay: one HIMPORT on a shared connection would put
//! every client's replies out of step.

mod support;

use support::{Options, Stack, Value};

const REFUSED: [&str; 24] = [
    "HIMPORT PREPARE fields a b",
    "HIMPORT SET key fields 1 2",
    "HIMPORT DISCARDALL",
    "CLIENT TRACKING ON REDIRECT 1",
    "CLIENT TRACKING ON NOLOOP",
    "CLIENT CACHING YES",
    "PSYNC ? -1",
    "SYNC",
    "REPLCONF listening-port 1",
    "DEBUG SLEEP 1",
    "DEBUG SEGFAULT",
    "SHUTDOWN NOSAVE",
    "REPLICAOF NO ONE",
    "SLAVEOF NO ONE",
    "FAILOVER",
    "ACL SETUSER someone on",
    "ACL LOAD",
    "MODULE LOAD /tmp/module.so",
    "CLUSTER RESET",
    "SAVE",
    "BGSAVE",
    "BGREWRITEAOF",
    "SWAPDB 0 1",
    "NOSUCHCOMMAND key",
];

/// Calls that the servers behind have executed, apart from the test's own.
fn calls_behind(stack: &Stack) -> Vec<String> {
    let mut calls = Vec::new();
    for redis in &stack.shards {
        let info = redis.ask(&["INFO", "commandstats"]).text();
        for line in info.lines().filter_map(|line| line.strip_prefix("cmdstat_")) {
            let name = line.split(':').next().unwrap_or_default();
            if !["info", "get", "set", "ping", "hello", "select", "auth"].contains(&name)
                && !name.starts_with("client|set")
            {
                calls.push(name.to_owned());
            }
        }
    }
    calls
}

#[test]
fn each_gets_an_error_and_the_next_request_works() {
    let refuse =
        Options { pool: "dangerous_commands = \"refuse\"".to_owned(), ..Options::default() };
    let stack = Stack::start(2, &refuse);
    let (mut client, mut other) = (stack.client(), stack.client());
    assert_eq!(client.exchange(&["SET", "key", "value"]), Value::ok());
    for request in REFUSED {
        let words: Vec<&str> = request.split(' ').collect();
        let reply = client.exchange(&words);
        assert!(reply.is_error(), "{request}: {reply:?}");
        let text = reply.error();
        assert!(
            text.starts_with("ERR ") && text.len() > 15,
            "{request}: not a clear error: {text}"
        );
        for wire in [&mut client, &mut other] {
            assert_eq!(wire.exchange(&["GET", "key"]), Value::bulk("value"), "after {request}");
        }
        // In a pipeline, and in RESP3.
        let replies = client.pipeline(&[vec!["GET", "key"], words, vec!["GET", "key"]]);
        assert_eq!(replies[0], Value::bulk("value"));
        assert!(replies[1].is_error());
        assert_eq!(replies[2], Value::bulk("value"), "behind {request}");
    }
    other.exchange(&["HELLO", "3"]);
    for request in REFUSED {
        let words: Vec<&str> = request.split(' ').collect();
        assert!(other.exchange(&words).is_error(), "{request} in RESP3");
        assert_eq!(other.exchange(&["GET", "key"]), Value::bulk("value"), "after {request}");
    }
    assert_eq!(calls_behind(&stack), Vec::<String>::new(), "these reached a server");
}

#[test]
fn mistakes_in_the_number_of_arguments_are_answered_here() {
    let stack = Stack::start(1, &Options::default());
    let plain = support::Redis::start(&[]);
    let (mut client, mut direct) = (stack.client(), plain.client());
    for request in
        ["GET", "GET a b", "SET a", "HSET h", "HSET h f", "LPUSH l", "PING a b", "ECHO", "INCR"]
    {
        let words: Vec<&str> = request.split(' ').collect();
        assert_eq!(client.exchange(&words), direct.exchange(&words), "{request}");
    }
    for request in ["EVAL return(1) -1 a", "EVAL return(1) 9 a", "EVAL return(1) x a"] {
        let words: Vec<&str> = request.split(' ').collect();
        assert_eq!(client.exchange(&words), direct.exchange(&words), "{request}");
    }
}

#[test]
fn an_unknown_command_can_not_forge_a_reply() {
    let stack = Stack::start(1, &Options::default());
    let mut client = stack.client();
    let reply = client.exchange(&["NO\r\n+SUCH\r\n$3\r\nfoo\r\n", "arg\r\n:1\r\n"]);
    assert!(reply.error().starts_with("ERR unknown command"), "{reply:?}");
    assert_eq!(client.exchange(&["PING"]), Value::Simple("PONG".to_owned()));
    let long = "x".repeat(100_000);
    let reply = client.exchange(&[&long, &long]);
    assert!(reply.error().len() < 600, "an error of {} bytes", reply.error().len());
    assert_eq!(client.exchange(&["PING"]), Value::Simple("PONG".to_owned()));
}
