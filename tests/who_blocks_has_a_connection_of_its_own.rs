//! Blocking commands answer as those of one redis, and whoever blocks holds up nobody else.
//!
//! Each runs on a connection lent to one client: with what is there, with what comes later, until
//! its time is over; many clients, clients that leave, that are unblocked or killed, a redis-server
//! that is started again. Why it must stay: consumers of queues do nothing else, and an element that
//! is popped for nobody is lost.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use support::{
    Options, PATIENCE, Redis, Stack, Value, Wire, cpus, encode, holds_for, note, wait_until,
};

/// What fills a key, and what takes from it.
const PAIRS: [(&str, &str); 13] = [
    ("RPUSH {q}l one two", "BLPOP {q}none {q}l 0.2"),
    ("RPUSH {q}l one two", "BRPOP {q}l 0.2"),
    ("RPUSH {q}l one two", "BLMOVE {q}l {q}to LEFT RIGHT 0.2"),
    ("RPUSH {q}l one two", "BRPOPLPUSH {q}l {q}to 0.2"),
    ("RPUSH {q}l one two", "BLMPOP 0.2 2 {q}none {q}l LEFT COUNT 5"),
    ("ZADD {q}z 1 a 2 b", "BZPOPMIN {q}none {q}z 0.2"),
    ("ZADD {q}z 1 a 2 b", "BZPOPMAX {q}z 0.2"),
    ("ZADD {q}z 1 a 2 b", "BZMPOP 0.2 1 {q}z MAX"),
    ("XADD {q}x 1-1 f v", "XREAD BLOCK 200 STREAMS {q}x {q}y 0 0"),
    ("XADD {q}x 1-1 f v", "XREAD COUNT 5 STREAMS {q}x 0"),
    ("XADD {q}x 1-1 f v", "XREADGROUP GROUP g c BLOCK 200 STREAMS {q}x >"),
    ("XADD {q}x 1-1 f v", "XREADGROUP GROUP g c STREAMS {q}x >"),
    ("SET {q}l text", "BLPOP {q}l 0.2"),
];

/// What a redis-server says to these is said by nobody else.
const WRONG: [&str; 12] = [
    "BLPOP {q}l",
    "BLPOP {q}l x",
    "BLPOP {q}l -1",
    "BLPOP {q}l 1e400",
    "BLMPOP 0.2 0 {q}l LEFT",
    "BLMPOP x 1 {q}l LEFT",
    "BLMOVE {q}l {q}to UP LEFT 1",
    "BZMPOP 1 1 {q}z LEAST",
    "XREAD BLOCK x STREAMS {q}x 0",
    "XREAD BLOCK -1 STREAMS {q}x 0",
    "XREADGROUP GROUP none c BLOCK 10 STREAMS {q}x >",
    "XREAD BLOCK 10 STREAMS {q}x",
];

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// Clients that are blocked, as a server (or the proxy) counts them.
fn blocked(client: &mut Wire) -> usize {
    let info = client.exchange(&["INFO", "clients"]).text();
    let line = info.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
    line.and_then(|count| count.trim().parse().ok()).expect("a count in INFO")
}

fn one_connection_only(redis: &Redis) -> bool {
    let list = redis.ask(&["CLIENT", "LIST"]).text();
    list.lines().filter(|line| line.contains("name=corelay:")).count() == 1
}

/// A client of the proxy and one of a plain redis, and others of both that fill keys.
struct Both {
    askers: [Wire; 2],
    fillers: [Wire; 2],
}

impl Both {
    fn ask(&mut self, line: &str) {
        self.askers.iter_mut().for_each(|asker| asker.request(&words(line)));
    }

    fn same(&mut self, line: &str) -> Value {
        let [ours, theirs] = &mut self.askers;
        let (ours, theirs) = (ours.read_reply(), theirs.read_reply());
        assert_eq!(ours, theirs, "{line}");
        ours
    }

    fn fill(&mut self, line: &str) {
        for filler in &mut self.fillers {
            assert!(!filler.exchange(&words(line)).is_error(), "{line}");
        }
    }

    /// Nothing is there but a group of a stream.
    fn clear(&mut self) {
        self.fill("DEL {q}l {q}z {q}x {q}y {q}to");
        self.fill("XGROUP CREATE {q}x g 0 MKSTREAM");
    }

    fn wait_blocked(&mut self) {
        for filler in &mut self.fillers {
            wait_until(PATIENCE, "the client blocks", || blocked(filler) == 1);
        }
    }
}

#[test]
fn each_command_answers_as_that_of_one_redis() {
    let (stack, plain) = (Stack::start(2, &Options::default()), Redis::start(&[]));
    for version in ["2", "3"] {
        let mut both = Both {
            askers: [stack.client(), plain.client()],
            fillers: [stack.client(), plain.client()],
        };
        for asker in &mut both.askers {
            asker.exchange(&["HELLO", version]);
        }
        for (fill, take) in PAIRS {
            both.clear();
            both.fill(fill);
            both.ask(take);
            both.same(take);
            let blocks = take.contains("BLOCK") || take.starts_with('B');
            if blocks && !fill.starts_with("SET") {
                // So long that no pause of the machine outlasts it.
                let take = take.replace("0.2", "20").replace("BLOCK 200", "BLOCK 20000");
                both.clear();
                both.ask(&take);
                both.wait_blocked();
                both.fill(fill);
                assert!(!both.same(&take).is_null(), "{take}");
            }
            both.clear();
            both.ask(take);
            assert!(both.same(take).is_null(), "{take} in its time");
        }
        for wrong in WRONG {
            both.ask(wrong);
            assert!(both.same(wrong).is_error(), "{wrong}");
        }
    }
    let keys = stack.keys_by_shard(1);
    let crossslot = stack.client().exchange(&["BLPOP", &keys[0][0], &keys[1][0], "1"]);
    assert!(crossslot.error().starts_with("CROSSSLOT "), "{crossslot:?}");
}

#[test]
fn whoever_leaves_is_not_popped_for() {
    let stack = Stack::start(1, &Options::default());
    let mut other = stack.client();
    for goodbye in [true, false] {
        let mut client = stack.client();
        client.request(&["BLPOP", "queue", "0"]);
        wait_until(PATIENCE, "it blocks", || blocked(&mut other) == 1);
        if goodbye {
            client.finish_sending();
            client.expect_closed();
        }
        drop(client);
        wait_until(PATIENCE, "its connection is closed", || one_connection_only(&stack.shards[0]));
        assert_eq!(blocked(&mut other), 0);
        assert_eq!(other.exchange(&["RPUSH", "queue", "element"]), Value::Integer(1));
        assert_eq!(other.exchange(&["LPOP", "queue"]), Value::bulk("element"));
    }
}

#[test]
fn what_follows_in_a_pipeline_waits_and_others_do_not() {
    let stack = Stack::start(2, &Options { timeout_ms: 500, ..Options::default() });
    let (mut client, mut other) = (stack.client(), stack.client());
    for line in ["SET {q}a 1", "BLPOP {q}l 0", "GET {q}a", "BRPOP {q}l 0", "INCR {q}a"] {
        client.request(&words(line));
    }
    assert_eq!(client.read_reply(), Value::ok());
    client.expect_silence(Duration::from_secs(1));
    assert_eq!(other.exchange(&["SET", "{q}a", "7"]), Value::ok());
    other.exchange(&["RPUSH", "{q}l", "one"]);
    let popped = |value: &str| Value::Array(vec![Value::bulk("{q}l"), Value::bulk(value)]);
    assert_eq!(client.read_reply(), popped("one"));
    assert_eq!(client.read_reply(), Value::bulk("7"), "asked when its turn came");
    client.expect_silence(Duration::from_millis(100));
    other.exchange(&["RPUSH", "{q}l", "two"]);
    assert_eq!(client.read_reply(), popped("two"));
    assert_eq!(client.read_reply(), Value::Integer(8));
    assert_eq!(blocked(&mut other), 0);
}

const MANY: usize = 1_000;

/// So many clients that block, one after the other; those that were refused are counted.
fn many(stack: &Stack) -> Vec<Wire> {
    let mut clients: Vec<Wire> = (0..MANY).map(|_| stack.client()).collect();
    clients.iter_mut().for_each(|client| client.request(&["BLPOP", "queue", "0"]));
    clients
}

#[test]
fn a_thousand_wait_for_a_hundred_connections() {
    let pool = "private_connections_max = 100\nprivate_connections_queue = 900\n";
    let stack = Stack::start(1, &Options { pool: pool.to_owned(), ..Options::default() });
    let mut other = stack.client();
    let mut clients = many(&stack);
    wait_until(PATIENCE, "all wait", || blocked(&mut other) == MANY);
    let connected = || stack.shards[0].info("connected_clients").parse().unwrap_or(0);
    wait_until(PATIENCE, "as many block there as may", || connected() >= 101);
    let one_more = stack.client().exchange(&["BLPOP", "queue", "0"]);
    assert!(one_more.error().contains("private_connections_queue"), "{one_more:?}");
    let requests: Vec<_> =
        (0..MANY).map(|n| vec!["RPUSH".to_owned(), "queue".into(), n.to_string()]).collect();
    other.pipeline(&requests);
    let mut heard = BTreeSet::new();
    for client in &mut clients {
        heard.insert(client.read_reply().items()[1].text());
    }
    assert_eq!(heard.len(), MANY, "each element once");
    assert!(connected() <= 103, "never more than a hundred, a lane and this look");
    wait_until(PATIENCE, "all are given back", || {
        stack.proxy.metric_sum("corelay_shard_private_connections") == 0.0
    });
    assert_eq!(stack.proxy.metric_sum("corelay_shard_private_refused_total"), 1.0);
}

#[test]
fn where_nobody_may_wait_the_others_hear_why() {
    let pool = "private_connections_max = 100\n";
    let stack = Stack::start(1, &Options { pool: pool.to_owned(), ..Options::default() });
    let mut other = stack.client();
    let mut clients = many(&stack);
    let refused = || stack.proxy.metric_sum("corelay_shard_private_refused_total");
    wait_until(PATIENCE, "nine hundred are refused", || refused() == 900.0);
    for n in 0..100 {
        other.exchange(&["RPUSH", "queue", &n.to_string()]);
    }
    let (refused, popped): (Vec<Value>, Vec<Value>) =
        clients.iter_mut().map(Wire::read_reply).partition(Value::is_error);
    assert_eq!((refused.len(), popped.len()), (900, 100));
    assert!(refused.iter().all(|error| error.error().contains("private_connections_max")));
    // They may go on, and so may who was refused.
    other.exchange(&["RPUSH", "queue", "again"]);
    let again = clients[0].exchange(&["BLPOP", "queue", "1"]);
    assert_eq!(again.items()[1], Value::bulk("again"));
}

#[test]
fn clients_are_unblocked_and_killed_over_all_cores() {
    if cpus() < 2 {
        return note("not run: this machine has one core");
    }
    let stack = Stack::start(1, &Options { cores: "2", ..Options::default() });
    let mut askers: Vec<Wire> = (0..4).map(|_| stack.client()).collect();
    for round in 0..8 {
        let mut client = stack.client();
        let number = client.exchange(&["CLIENT", "ID"]).integer().to_string();
        client.request(&["BLPOP", "queue", "0"]);
        let asker = &mut askers[round % 4];
        wait_until(PATIENCE, "it blocks", || {
            let list = asker.exchange(&["CLIENT", "LIST", "ID", &number]).text();
            list.contains("flags=b") && list.contains("cmd=blpop")
        });
        match round % 3 {
            0 => {
                assert_eq!(asker.exchange(&["CLIENT", "UNBLOCK", &number]), Value::Integer(1));
                assert_eq!(client.read_reply(), Value::Null);
            }
            1 => {
                let unblock = ["CLIENT", "UNBLOCK", &number, "ERROR"];
                assert_eq!(asker.exchange(&unblock), Value::Integer(1));
                let error = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
                assert_eq!(client.read_reply(), Value::Error(error.to_owned()));
            }
            _ => {
                let kill = ["CLIENT", "KILL", "ID", &number];
                assert_eq!(asker.exchange(&kill), Value::Integer(1));
                client.expect_closed();
            }
        }
        assert_eq!(asker.exchange(&["CLIENT", "UNBLOCK", &number]), Value::Integer(0));
        wait_until(PATIENCE, "nothing is popped for it", || {
            !stack.shards[0].ask(&["CLIENT", "LIST"]).text().contains("cmd=blpop")
        });
    }
    let asker = &mut askers[0];
    assert_eq!(asker.exchange(&["RPUSH", "queue", "element"]), Value::Integer(1));
    assert_eq!(asker.exchange(&["LPOP", "queue"]), Value::bulk("element"));
}

/// A push and CLIENT UNBLOCK at the same moment: the element was popped for the client, or is there.
#[test]
fn an_element_that_meets_an_unblock_is_not_lost() {
    const ROUNDS: usize = 300;
    let stack = Stack::start(1, &Options::default());
    let (mut client, mut asker) = (stack.client(), stack.client());
    let mut pusher = stack.shards[0].client();
    let number = client.exchange(&["CLIENT", "ID"]).integer().to_string();
    let mut popped = 0;
    for round in 0..ROUNDS {
        client.request(&["BLPOP", "queue", "0"]);
        wait_until(PATIENCE, "it blocks", || blocked(&mut pusher) == 1);
        let (push, unblock) = (encode(&["RPUSH", "queue", "x"]), ["CLIENT", "UNBLOCK", &number]);
        if round % 2 == 0 {
            asker.request(&unblock);
            pusher.send(&push);
        } else {
            pusher.send(&push);
            asker.request(&unblock);
        }
        let heard = client.read_reply();
        assert_eq!(pusher.read_reply(), Value::Integer(1));
        assert!(!asker.read_reply().is_error());
        let left = pusher.exchange(&["LPOP", "queue"]);
        assert_eq!(heard.is_null(), !left.is_null(), "{heard:?}, and {left:?} is left");
        popped += usize::from(left.is_null());
    }
    note(&format!("{popped} of {ROUNDS} were popped"));
}

#[test]
fn a_user_that_may_not_unblock_is_unblocked_by_a_closed_connection() {
    let user = ["--user", "few", "on", ">of-few", "~*", "&*", "+@all", "-client|id"];
    let tables = "[pool.backend_auth]\nuser = \"few\"\npassword = \"of-few\"\n".to_owned();
    let stack = Stack::start_with(1, &user, &Options { tables, ..Options::default() });
    let (mut client, mut other) = (stack.client(), stack.client());
    let number = client.exchange(&["CLIENT", "ID"]).integer().to_string();
    for how in ["TIMEOUT", "ERROR"] {
        client.request(&["BLPOP", "queue", "0"]);
        wait_until(PATIENCE, "it blocks", || stack.shards[0].info("blocked_clients") == "1");
        let unblock = ["CLIENT", "UNBLOCK", &number, how];
        assert_eq!(other.exchange(&unblock), Value::Integer(1));
        assert_eq!(client.read_reply().is_error(), how == "ERROR");
        wait_until(PATIENCE, "its connection is closed", || {
            stack.shards[0].info("blocked_clients") == "0"
        });
    }
    assert_eq!(other.exchange(&["RPUSH", "queue", "x"]), Value::Integer(1));
}

#[test]
fn a_redis_server_that_comes_back_is_waited_for() {
    let mut stack = Stack::start(1, &Options::default());
    let mut clients = [stack.client(), stack.client(), stack.client()];
    for (client, time) in clients.iter_mut().zip(["0", "20", "6"]) {
        client.request(&["BLPOP", "queue", time]);
    }
    let mut other = stack.client();
    wait_until(PATIENCE, "they block", || blocked(&mut other) == 3);
    stack.shards[0].restart_same_port();
    let behind = stack.shards[0].client();
    let mut behind = behind;
    wait_until(PATIENCE, "they block again", || blocked(&mut behind) == 3);
    assert_eq!(clients[2].read_reply(), Value::Null, "in what was left of its time");
    behind.exchange(&["RPUSH", "queue", "one", "two"]);
    let mut heard: Vec<Value> =
        clients[..2].iter_mut().map(|client| client.read_reply().items()[1].clone()).collect();
    heard.sort_by_key(Value::text);
    assert_eq!(heard, [Value::bulk("one"), Value::bulk("two")]);
    stack.shards[0].kill_hard();
    clients[0].request(&["BLPOP", "queue", "0"]);
    clients[0].expect_silence(Duration::from_secs(3));
    clients[0].set_patience(Duration::from_secs(30));
    let error = clients[0].read_reply();
    assert!(error.error().contains("shard1"), "after a while it is told: {error:?}");
    holds_for(Duration::from_millis(100), "the others are served", || {
        other.exchange(&["PING"]) == Value::Simple("PONG".to_owned())
    });
}

#[test]
fn a_reload_moves_who_blocks_to_the_other_address() {
    let stack = Stack::start(1, &Options::default());
    let (next, mut other) = (Redis::start(&[]), stack.client());
    let (mut clients, mut behind) = ([stack.client(), stack.client()], next.client());
    clients[0].request(&["BLPOP", "queue", "0"]);
    clients[1].request(&["BLPOP", "queue", "30"]);
    wait_until(PATIENCE, "they block", || blocked(&mut other) == 2);
    let [before, after] = [stack.shards[0].address(), next.address()].map(|it| it.to_string());
    stack.proxy.edit(|text| text.replace(&before, &after));
    let (taken, said) = stack.proxy.reload(&[]);
    assert!(taken, "{said}");
    wait_until(PATIENCE, "they block there", || blocked(&mut behind) == 2);
    behind.exchange(&["RPUSH", "queue", "one", "two"]);
    let heard: BTreeSet<String> =
        clients.iter_mut().map(|client| client.read_reply().items()[1].text()).collect();
    assert_eq!(heard.into_iter().collect::<Vec<_>>(), ["one", "two"]);
}

/// At the end of a drain who still blocks is unblocked and closed; what is pushed afterwards is not
/// popped for it.
#[test]
fn a_drain_ends_who_blocks() {
    let mut stack = Stack::start(1, &Options::default());
    let mut client = stack.client();
    client.set_patience(Duration::from_secs(30));
    client.request(&["BLPOP", "queue", "0"]);
    let mut other = stack.client();
    wait_until(PATIENCE, "it blocks", || blocked(&mut other) == 1);
    stack.proxy.process().signal("TERM");
    assert!(client.read_reply().is_null(), "as if its time were over");
    client.expect_closed();
    wait_until(PATIENCE, "the proxy ends", || stack.proxy.process().ended().is_some());
    let mut behind = stack.shards[0].client();
    assert_eq!(behind.exchange(&["RPUSH", "queue", "element"]), Value::Integer(1));
    assert_eq!(behind.exchange(&["LPOP", "queue"]), Value::bulk("element"));
}
