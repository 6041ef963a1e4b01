//! Pub/Sub through the proxy is Pub/Sub of one redis: the same conversations, byte for byte, in
//! RESP2 and RESP3; messages of every shard; one connection of each core to each node, however many
//! clients listen; a redis-server that dies and comes back is no news for them; one that does not
//! read is closed, and the others hear on.
//!
//! Why it must stay: a message to the wrong client, in the middle of a reply, or twice, would be as
//! bad as a wrong reply; and thousands of listeners must not be thousands of connections.

mod support;

use std::time::Duration;

use support::{Options, PATIENCE, Redis, Stack, Value, Wire, encode, wait_until};

/// What is asked on the first connection, and how many frames come back for it; `!` is asked on
/// another one, whose answer does not count.
const CONVERSATION: &[(&str, usize)] = &[
    ("WATCH watched", 1),
    ("SUBSCRIBE one", 1),
    ("! PUBLISH one hello", 1),
    ("! PUBLISH other hello", 0),
    ("SUBSCRIBE one two two three", 4),
    ("PSUBSCRIBE t* one", 2),
    ("! PUBLISH two both", 2),
    ("! PUBLISH one twice", 2),
    ("SSUBSCRIBE one", 1),
    ("! SPUBLISH one sharded", 1),
    ("PING", 1),
    ("PING text", 1),
    ("PING text text", 1),
    ("GET key", 1),
    ("SUBSCRIBE", 1),
    ("NOSUCH command", 1),
    ("EXEC", 1),
    ("! SET watched changed", 0),
    ("CLIENT GETNAME", 1),
    ("PUBLISH", 1),
    ("UNSUBSCRIBE two never", 2),
    ("! PUBLISH two pattern", 1),
    ("PUNSUBSCRIBE t*", 1),
    ("! PUBLISH two nobody", 0),
    ("SUNSUBSCRIBE one", 1),
    ("SUNSUBSCRIBE", 1),
    ("PUNSUBSCRIBE", 1),
    ("PUNSUBSCRIBE", 1),
    ("GET key", 1),
    ("UNSUBSCRIBE one three", 2),
    ("UNSUBSCRIBE", 1),
    ("GET key", 1),
    ("PING", 1),
    ("MULTI", 1),
    ("EXEC", 1),
    ("SSUBSCRIBE alone", 1),
    ("GET key", 1),
    ("SUNSUBSCRIBE alone", 1),
    ("SUBSCRIBE one", 1),
    ("RESET", 1),
    ("! PUBLISH one nobody", 0),
    ("GET key", 1),
    ("SUBSCRIBE one", 1),
    ("QUIT", 1),
];

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// All that the first connection heard.
fn converse(listener: &mut Wire, other: &mut Wire, protocol: &str) -> Vec<(String, Value)> {
    let mut heard = Vec::new();
    if protocol == "3" {
        listener.exchange(&["HELLO", "3"]);
    }
    for (line, frames) in CONVERSATION {
        match line.strip_prefix("! ") {
            Some(line) => drop(other.exchange(&words(line))),
            None => listener.request(&words(line)),
        }
        for _ in 0..*frames {
            heard.push(((*line).to_owned(), listener.read_reply()));
        }
    }
    listener.expect_closed();
    heard
}

#[test]
fn a_conversation_is_the_same_as_with_one_redis() {
    for protocol in ["2", "3"] {
        let (plain, stack) = (Redis::start(&[]), Stack::start(3, &Options::default()));
        let direct = converse(&mut plain.client(), &mut plain.client(), protocol);
        let through = converse(&mut stack.client(), &mut stack.client(), protocol);
        for (expected, got) in direct.iter().zip(&through) {
            assert_eq!(got, expected, "RESP{protocol}");
        }
        assert_eq!(direct.len(), through.len());
    }
}

#[test]
fn a_pipeline_is_answered_in_its_order() {
    let (plain, stack) = (Redis::start(&[]), Stack::start(3, &Options::default()));
    let lines = [
        "SET key value",
        "GET key",
        "SUBSCRIBE a b",
        "PING",
        "GET key",
        "UNSUBSCRIBE a",
        "PING",
        "PSUBSCRIBE a*",
        "UNSUBSCRIBE b",
        "PUNSUBSCRIBE a*",
        "GET key",
        "SUBSCRIBE c",
        "RESET",
        "GET key",
    ];
    let bytes: Vec<u8> = lines.iter().flat_map(|line| encode(&words(line))).collect();
    let heard = |wire: &mut Wire| -> Vec<Value> {
        wire.send(&bytes);
        (0..lines.len() + 1).map(|_| wire.read_reply()).collect()
    };
    assert_eq!(heard(&mut stack.client()), heard(&mut plain.client()));
    // The same in RESP3, cut at every byte.
    let (mut through, mut direct) = (stack.client(), plain.client());
    for wire in [&mut through, &mut direct] {
        wire.exchange(&["HELLO", "3"]);
    }
    let expected = heard(&mut direct);
    for byte in &bytes {
        through.send(&[*byte]);
    }
    let got: Vec<Value> = (0..lines.len() + 1).map(|_| through.read_reply()).collect();
    assert_eq!(got, expected);
}

/// Connections of a redis-server that are subscribed.
fn subscribers(redis: &Redis) -> Vec<String> {
    let list = redis.ask(&["CLIENT", "LIST", "TYPE", "pubsub"]).text();
    list.lines().filter(|line| line.contains("name=corelay:")).map(str::to_owned).collect()
}

fn message(channel: &str, text: &str) -> Value {
    Value::Array(["message", channel, text].map(Value::bulk).to_vec())
}

#[test]
fn many_listen_by_one_connection_for_each_core_and_node() {
    let options = Options { cores: "2", ..Options::default() };
    let stack = Stack::start(2, &options);
    let channels: Vec<String> = stack.keys_by_shard(1).concat();
    let mut listeners: Vec<Wire> = (0..200).map(|_| stack.client()).collect();
    for wire in &mut listeners {
        for (count, channel) in (1..).zip(&channels) {
            let reply = wire.exchange(&["SUBSCRIBE", channel]);
            assert_eq!(reply.items()[2], Value::Integer(count));
        }
    }
    for redis in &stack.shards {
        assert_eq!(subscribers(redis).len(), 2, "{:?}", subscribers(redis));
    }
    let mut publisher = stack.client();
    for n in 0..50 {
        for channel in &channels {
            let heard = publisher.exchange(&["PUBLISH", channel, &n.to_string()]);
            assert_eq!(heard, Value::Integer(2), "each core counts as one");
        }
    }
    for wire in &mut listeners {
        let mut next = vec![0; channels.len()];
        for _ in 0..50 * channels.len() {
            let heard = wire.read_reply();
            let at = channels.iter().position(|channel| heard.items()[1] == Value::bulk(channel));
            let at = at.expect("one of the channels");
            assert_eq!(heard, message(&channels[at], &next[at].to_string()), "in order, each once");
            next[at] += 1;
        }
    }
    assert_eq!(stack.proxy.metric_sum("corelay_pool_subscribers"), 200.0);
    let heard = publisher.exchange(&["PUBSUB", "NUMSUB", &channels[1], "none", &channels[0]]);
    let [first, second] = [0, 1].map(|at| Value::bulk(&channels[at]));
    let (all, none) = (Value::Integer(200), Value::Integer(0));
    let pairs = [second, all.clone(), Value::bulk("none"), none, first, all];
    assert_eq!(heard, Value::Array(pairs.to_vec()), "clients, not cores");
    let heard = publisher.exchange(&["PUBSUB", "CHANNELS"]);
    assert_eq!(heard.items().len(), channels.len(), "each once");
    drop(listeners);
    for redis in &stack.shards {
        wait_until(PATIENCE, "nothing is subscribed any more", || subscribers(redis).is_empty());
    }
}

#[test]
fn a_redis_server_that_dies_and_comes_back_is_no_news() {
    let mut stack = Stack::start(2, &Options::default());
    let channels: Vec<String> = stack.keys_by_shard(1).concat();
    let mut listener = stack.client();
    for channel in &channels {
        listener.exchange(&["SUBSCRIBE", channel]);
    }
    listener.exchange(&["PSUBSCRIBE", "nothing*"]);
    stack.shards[0].restart_same_port();
    wait_until(PATIENCE, "it is subscribed again", || {
        subscribers(&stack.shards[0]).first().is_some_and(|line| line.contains(" sub=1 psub=1 "))
    });
    for (redis, channel) in stack.shards.iter().zip(&channels) {
        assert_eq!(redis.ask(&["PUBLISH", channel, "text"]), Value::Integer(1));
        assert_eq!(listener.read_reply(), message(channel, "text"));
    }
    listener.expect_silence(Duration::from_millis(200));
    // While it is down: an error that names it, in time.
    stack.shards[0].kill_hard();
    let mut late = stack.client();
    wait_until(PATIENCE, "the loss is known", || {
        late.exchange(&["SUBSCRIBE", &channels[0]]).is_error()
    });
    assert!(late.exchange(&["PSUBSCRIBE", "*"]).error().contains("shard1"));
    assert_eq!(late.exchange(&["SUBSCRIBE", &channels[1]]).items()[2], Value::Integer(1));
}

#[test]
fn a_connection_that_is_closed_by_the_server_is_made_again_and_counts_once() {
    let stack = Stack::start(1, &Options { cores: "2", ..Options::default() });
    let (mut listener, mut other) = (stack.client(), stack.client());
    listener.exchange(&["SUBSCRIBE", "news"]);
    for round in 0..30 {
        let text = round.to_string();
        stack.shards[0].ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        other.exchange(&["SET", "key", &text]);
        wait_until(PATIENCE, "it is subscribed again", || {
            subscribers(&stack.shards[0]).iter().any(|line| line.contains(" sub=1 "))
        });
        assert_eq!(other.exchange(&["PUBLISH", "news", &text]), Value::Integer(1), "{round}");
        assert_eq!(listener.read_reply(), message("news", &text));
        assert_eq!(other.exchange(&["GET", "key"]), Value::bulk(&text), "nobody else notices");
    }
    listener.expect_silence(Duration::from_millis(100));
}

#[test]
fn what_happens_to_keys_is_heard_from_every_shard() {
    let stack = Stack::start_with(3, &["--notify-keyspace-events", "KEA"], &Options::default());
    let keys: Vec<String> = stack.keys_by_shard(2).concat();
    let (mut events, mut patterns, mut writer) = (stack.client(), stack.client(), stack.client());
    events.exchange(&["SUBSCRIBE", "__keyevent@0__:set"]);
    patterns.exchange(&["PSUBSCRIBE", "__keyspace@0__:*"]);
    for key in &keys {
        writer.exchange(&["SET", key, "1"]);
        assert_eq!(events.read_reply(), message("__keyevent@0__:set", key));
        let channel = format!("__keyspace@0__:{key}");
        let words = ["pmessage", "__keyspace@0__:*", &channel, "set"];
        assert_eq!(patterns.read_reply(), Value::Array(words.map(Value::bulk).to_vec()));
    }
    events.expect_silence(Duration::from_millis(100));
    patterns.expect_silence(Duration::from_millis(100));
}

#[test]
fn a_subscriber_that_does_not_read_is_closed_and_the_others_hear_on() {
    let pool = "client_output_soft_bytes = 100000\nclient_output_max_bytes = 2000000".to_owned();
    let stack = Stack::start(1, &Options { pool, ..Options::default() });
    let (mut slow, mut quick, mut publisher) = (stack.client(), stack.client(), stack.client());
    slow.exchange(&["SUBSCRIBE", "news"]);
    quick.exchange(&["SUBSCRIBE", "news"]);
    let text = "x".repeat(100_000);
    let closed = || stack.proxy.metric_sum("corelay_pool_subscribers_closed_for_output_total");
    let mut sent = 0;
    while closed() == 0.0 {
        assert!(sent < 1_000, "100 MB are not too much");
        for _ in 0..10 {
            publisher.exchange(&["PUBLISH", "news", &text]);
            assert_eq!(quick.read_reply(), message("news", &text));
            sent += 1;
        }
    }
    assert_eq!(closed(), 1.0);
    wait_until(PATIENCE, "it is logged", || {
        stack.proxy.log().contains("client closed: it does not read its replies")
    });
    let rest = slow.read_until_closed();
    assert!(rest.len() < sent * 100_000, "it was closed before all of it came");
    publisher.exchange(&["PUBLISH", "news", "more"]);
    assert_eq!(quick.read_reply(), message("news", "more"));
}

/// What PUBSUB says to all of its questions; names have no order.
fn questions(wire: &mut Wire) -> Vec<(&'static str, Value)> {
    let lines = [
        "PUBSUB CHANNELS",
        "PUBSUB CHANNELS t*",
        "PUBSUB CHANNELS t* o*",
        "PUBSUB CHANNELS nothing*",
        "PUBSUB NUMSUB",
        "PUBSUB NUMSUB two one none two",
        "PUBSUB NUMPAT",
        "PUBSUB NUMPAT much",
        "PUBSUB SHARDCHANNELS",
        "PUBSUB SHARDCHANNELS n*",
        "PUBSUB SHARDNUMSUB one two",
        "PUBSUB SHARDNUMSUB",
        "PUBSUB NOSUCH",
    ];
    let answer = |line: &'static str| {
        let mut heard = wire.exchange(&words(line));
        if let Value::Array(names) = &mut heard
            && line.contains("CHANNELS")
        {
            names.sort_by_key(Value::text);
        }
        (line, heard)
    };
    lines.map(answer).to_vec()
}

#[test]
fn pubsub_tells_of_clients_as_one_redis_would() {
    let plain = Redis::start(&[]);
    let stack = Stack::start(3, &Options { cores: "2", ..Options::default() });
    let mut plain_clients: Vec<Wire> = (0..12).map(|_| plain.client()).collect();
    let mut clients: Vec<Wire> = (0..12).map(|_| stack.client()).collect();
    for (number, wire) in plain_clients.iter_mut().chain(&mut clients).enumerate() {
        for request in ["SUBSCRIBE one", "SUBSCRIBE two", "PSUBSCRIBE t*", "SSUBSCRIBE one"]
            .iter()
            .skip(number % 4)
        {
            wire.exchange(&words(request));
        }
    }
    let (mut direct, mut through) = (plain.client(), stack.client());
    for protocol in ["2", "3"] {
        for wire in [&mut direct, &mut through] {
            wire.exchange(&["HELLO", protocol]);
        }
        for (got, expected) in questions(&mut through).iter().zip(questions(&mut direct)) {
            assert_eq!(got, &expected, "RESP{protocol}");
        }
    }
}
