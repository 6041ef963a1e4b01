//! WATCH, MULTI, EXEC answer as a redis-server does, on one shard and on three, in RESP2 and RESP3;
//! clients that count by WATCH, GET, MULTI, SET, EXEC lose no update, also while a primary is
//! replaced; and nothing of one client's watch aborts another's transaction.
//!
//! Mechanics: the same requests to a plain redis-server and to proxies in front of fresh ones, the
//! replies compared; counters that many clients count up, whose end is the number of EXECs that were
//! not aborted. Why it must stay: whoever watches keys relies on nothing else for what it writes, and
//! has its watch on a connection that was another's before and will be another's afterwards.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use support::{
    Options, PATIENCE, Random, Redis, Scene, Stack, Value, Watching, Wire, note, wait_until,
};

/// Longer than a machine pauses that does ten other things.
const PAUSES_MS: u64 = 60_000;

/// One watch, or what is none, in a line: requests are set apart by `;`, those of another client
/// begin with `>`.
const LINES: [&str; 30] = [
    "WATCH {t}a; GET {t}a; MULTI; SET {t}a 1; EXEC; GET {t}a",
    "WATCH {t}a; GET {t}a; > SET {t}a 2; MULTI; SET {t}a 3; EXEC; GET {t}a",
    "WATCH {t}a; SET {t}a 4; MULTI; SET {t}a 5; EXEC; GET {t}a",
    "WATCH {t}a; MULTI; > SET {t}a 6; SET {t}a 7; EXEC; GET {t}a",
    "WATCH {t}a; MULTI; SET {t}a 8; > DEL {t}a; EXEC; GET {t}a",
    "> SET {t}a 0; WATCH {t}a; > GET {t}a; > EXPIRE {t}missing 10; MULTI; GET {t}a; EXEC",
    "WATCH {t}a {t}b; WATCH {t}c; > SET {t}c 1; MULTI; GET {t}a; EXEC",
    "WATCH {t}a {t}a; > SET {t}b 1; MULTI; GET {t}a; EXEC",
    "WATCH {t}a; > SET {t}a 9; UNWATCH; MULTI; SET {t}a 10; EXEC",
    "WATCH {t}a; > SET {t}a 11; MULTI; DISCARD; MULTI; SET {t}a 12; EXEC",
    "WATCH {t}a; > SET {t}a 13; MULTI; EXEC; MULTI; SET {t}a 14; EXEC",
    "WATCH {t}a; MULTI; EXEC",
    "WATCH {t}a; > SET {t}a 15; MULTI; GET; EXEC; MULTI; GET {t}a; EXEC",
    "WATCH {t}a; > SET {t}a 16; EXEC; MULTI; GET {t}a; EXEC",
    "WATCH {t}a; > SET {t}a 17; EXEC x; MULTI; GET {t}a; EXEC",
    "WATCH {t}a; > SET {t}a 17; DISCARD; MULTI; GET {t}a; EXEC",
    "WATCH {t}a; MULTI; WATCH {t}b; SET {t}a 18; EXEC",
    "WATCH {t}a; MULTI; UNWATCH; > SET {t}a 19; EXEC; UNWATCH",
    "UNWATCH; UNWATCH x; WATCH; WATCH {t}a; UNWATCH",
    "watch {t}a; multi; set {t}a 20; exec",
    "WATCH {t}a; > SET {t}a 21; RESET; MULTI; GET {t}a; EXEC",
    "WATCH {t}n; INCR {t}m; GET {t}n; MULTI; INCR {t}n; INCR {t}m; EXEC",
    "SET {t}s text; WATCH {t}s; MULTI; INCR {t}s; SET {t}after 1; EXEC; GET {t}after",
    "WATCH {t}a; MULTI; PING; ECHO x; EXEC",
    "WATCH {t}a; PING; ECHO x; HELLO; CLIENT SETNAME me; MULTI; GET {t}a; EXEC",
    "SET {t}e 1 PX 20; WATCH {t}e; > SET {t}e 2 PX 1; MULTI; SET {t}x 1; EXEC",
    "WATCH {t}l; > RPUSH {t}l x; MULTI; LPOP {t}l; EXEC; LRANGE {t}l 0 -1; DEL {t}l",
    "WATCH {t}h; HSET {t}g f v; MULTI; HSET {t}h f v; HGETALL {t}h; EXEC; DEL {t}h",
    "WATCH {t}a; > MULTI; > SET {t}a 22; > EXEC; MULTI; SET {t}a 23; EXEC",
    "WATCH {t}a; > EVAL return(redis.call('SET',KEYS[1],1)) 1 {t}a; MULTI; GET {t}a; EXEC",
];

fn is_others(request: &str) -> (bool, Vec<&str>) {
    let others = request.strip_prefix("> ");
    (others.is_some(), others.unwrap_or(request).split(' ').collect())
}

fn same_as(stack: &Stack, protocol: &str) {
    let plain = Redis::start(&[]);
    let pair = |connect: &dyn Fn() -> Wire| {
        let mut both = [connect(), connect()];
        both.iter_mut().for_each(|wire| drop(wire.exchange(&["HELLO", protocol])));
        both
    };
    let (mut direct, mut through) = (pair(&|| plain.client()), pair(&|| stack.client()));
    for line in LINES {
        for request in line.split("; ") {
            let (others, words) = is_others(request);
            let expected = direct[usize::from(others)].exchange(&words);
            let got = through[usize::from(others)].exchange(&words);
            if words != ["HELLO"] {
                assert_eq!(got, expected, "{request} in {line}");
            }
        }
        if line.contains("RESET") {
            for wire in [&mut direct[0], &mut through[0]] {
                wire.exchange(&["HELLO", protocol]);
            }
        }
    }
    // All of a line in one write.
    for line in LINES.iter().filter(|line| !line.contains('>') && !line.contains("HELLO")) {
        let requests: Vec<Vec<&str>> = line.split("; ").map(|one| is_others(one).1).collect();
        let (expected, got) = (direct[0].pipeline(&requests), through[0].pipeline(&requests));
        assert_eq!(got, expected, "{line}");
    }
}

#[test]
fn on_one_shard_in_resp2_and_resp3() {
    Stack::in_both_versions(1, &Options::default(), same_as);
}

#[test]
fn on_three_shards_in_resp2_and_resp3() {
    Stack::in_both_versions(3, &Options { cores: "2", ..Options::default() }, same_as);
}

/// How one attempt to count ended.
enum Counted {
    Done,
    Aborted,
    Unknown,
}

fn count_up(wire: &mut Wire, key: &str, pipelined: bool) -> Counted {
    let read = match pipelined {
        true => wire.pipeline(&[vec!["WATCH", key], vec!["GET", key]]),
        false => vec![wire.exchange(&["WATCH", key]), wire.exchange(&["GET", key])],
    };
    assert_eq!(read[0], Value::ok(), "WATCH");
    let value = match &read[1] {
        Value::Null => 0,
        other => other.text().parse::<u64>().expect("a number"),
    };
    let next = (value + 1).to_string();
    let replies = wire.pipeline(&[vec!["MULTI"], vec!["SET", key, &next], vec!["EXEC"]]);
    match &replies[2] {
        Value::Null => Counted::Aborted,
        Value::Array(done) if done == &[Value::ok()] => Counted::Done,
        Value::Error(text) if text.starts_with("ERR outcome unknown") => Counted::Unknown,
        other => panic!("EXEC: {other:?}"),
    }
}

#[test]
fn clients_that_count_lose_no_update() {
    const EACH: u64 = 60;
    let stack = Stack::start(3, &Options { cores: "2", ..Options::default() });
    let aborted: u64 = std::thread::scope(|threads| {
        let clients: Vec<_> = (0..12)
            .map(|number| {
                let mut wire = stack.client();
                threads.spawn(move || {
                    wire.exchange(&["HELLO", if number % 2 == 0 { "2" } else { "3" }]);
                    let (mut done, mut aborted) = ([0; 3], 0);
                    let mut random = Random::new(number);
                    while done.iter().any(|done| *done < EACH) {
                        let at = random.below(3);
                        if done[at] == EACH {
                            continue;
                        }
                        let key = format!("counter{at}");
                        match count_up(&mut wire, &key, number % 3 == 0) {
                            Counted::Done => done[at] += 1,
                            Counted::Aborted => aborted += 1,
                            Counted::Unknown => panic!("nothing was lost"),
                        }
                    }
                    aborted
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("a client")).sum()
    });
    let mut client = stack.client();
    for at in 0..3 {
        let counted = client.exchange(&["GET", &format!("counter{at}")]);
        assert_eq!(counted, Value::bulk((12 * EACH).to_string()));
    }
    note(&format!("{} counted, {aborted} aborted", 3 * 12 * EACH));
    assert!(aborted > 0, "they never met");
    assert_eq!(stack.proxy.metric_sum("corelay_pool_watching_clients"), 0.0);
    wait_until(PATIENCE, "all connections are back", || {
        stack.proxy.metric_sum("corelay_shard_private_connections") == 0.0
    });
}

/// One private connection for all: whatever one leaves there meets the next.
#[test]
fn a_watch_that_was_left_does_not_abort_the_next_clients_transaction() {
    let pool = "dangerous_commands = \"allow\"\nprivate_connections_max = 1\n\
                private_connections_queue = 10\n";
    let options = Options { pool: pool.to_owned(), timeout_ms: PAUSES_MS, ..Options::default() };
    let stack = Stack::start(1, &options);
    let (mut other, mut next) = (stack.client(), stack.client());
    for round in 0..40 {
        let mut client = stack.client();
        assert_eq!(client.exchange(&["WATCH", "theirs"]), Value::ok());
        match round % 5 {
            0 => drop(client), // with nothing under way
            1 => {
                client.request(&["WATCH", "more"]);
                drop(client);
            }
            2 => assert_eq!(client.exchange(&["UNWATCH"]), Value::ok()),
            3 => drop(client.pipeline(&[vec!["MULTI"], vec!["SET", "x", "1"], vec!["DISCARD"]])),
            _ => {
                let number = client.exchange(&["CLIENT", "ID"]).integer().to_string();
                assert_eq!(other.exchange(&["CLIENT", "KILL", "ID", &number]), Value::Integer(1));
            }
        }
        let round = round.to_string();
        let begin = next.pipeline(&[vec!["WATCH", "mine"], vec!["GET", "mine"]]);
        assert_eq!(begin[0], Value::ok(), "it waits for the connection");
        assert_eq!(other.exchange(&["SET", "theirs", &round]), Value::ok());
        assert_eq!(other.exchange(&["SET", "more", &round]), Value::ok());
        let end = next.pipeline(&[vec!["MULTI"], vec!["SET", "mine", &round], vec!["EXEC"]]);
        assert_eq!(end[2], Value::Array(vec![Value::ok()]), "in round {round}");
    }
    let mut holder = stack.client();
    holder.exchange(&["WATCH", "k"]);
    assert_eq!(stack.shards[0].ask(&["CLIENT", "LIST"]).text().matches("corelay:").count(), 2);
    let list = other.exchange(&["CLIENT", "LIST"]).text();
    assert_eq!(list.matches(" watch=1 ").count(), 1, "{list}");
}

#[test]
fn a_store_that_dies_aborts_what_it_had_to_remember() {
    let mut stack = Stack::start(1, &Options::default());
    let mut client = stack.client();
    assert_eq!(client.exchange(&["WATCH", "k"]), Value::ok());
    stack.shards[0].restart_same_port();
    let mut other = stack.client();
    wait_until(PATIENCE, "it serves again", || !other.exchange(&["GET", "k"]).is_error());
    let replies = client.pipeline(&[vec!["MULTI"], vec!["SET", "k", "1"], vec!["EXEC"]]);
    assert_eq!(replies[2], Value::Null);
    assert_eq!(client.exchange(&["GET", "k"]), Value::Null);
    assert!(matches!(count_up(&mut client, "k", true), Counted::Done), "the next one goes well");
}

/// Clients that count on a watched shard, until they are told to stop: done, of unknown outcome.
struct Counters {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<(u64, u64)>>,
}

impl Counters {
    fn start(scene: &Scene, key: &str) -> Counters {
        let stop = Arc::<AtomicBool>::default();
        let clients = (0..6).map(|number| {
            let (mut wire, key, stop) = (scene.proxy.client(), key.to_owned(), Arc::clone(&stop));
            wire.set_patience(Duration::from_millis(2 * PAUSES_MS));
            std::thread::spawn(move || {
                let (mut done, mut unknown) = (0, 0);
                while !stop.load(Ordering::SeqCst) {
                    match count_up(&mut wire, &key, number % 2 == 0) {
                        Counted::Done => done += 1,
                        Counted::Unknown => unknown += 1,
                        Counted::Aborted => {}
                    }
                }
                (done, unknown)
            })
        });
        Counters { clients: clients.collect(), stop }
    }

    fn end(self) -> (u64, u64) {
        self.stop.store(true, Ordering::SeqCst);
        let ended = self.clients.into_iter().map(|client| client.join().expect("a client"));
        ended.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

fn counted(wire: &mut Wire, key: &str) -> u64 {
    match wire.exchange(&["GET", key]) {
        Value::Null => 0,
        other => other.text().parse().expect("a number"),
    }
}

fn fail_over(kill: bool) {
    let watching = Watching { shards: 2, ..Watching::default() };
    let mut scene = Scene::start_with_timeout(&watching, PAUSES_MS);
    let key = format!("{}counter", scene.tags[0]);
    let (counters, mut wire) = (Counters::start(&scene, &key), scene.proxy.client());
    wire.set_patience(Duration::from_millis(2 * PAUSES_MS));
    let more = |wire: &mut Wire| {
        let before = counted(wire, &key);
        wait_until(PATIENCE, "they count", || counted(wire, &key) > before + 100);
    };
    more(&mut wire);
    if kill {
        scene.alert(0);
        scene.watched.shards[0].nodes[0].kill_hard();
    } else {
        scene.watched.fail_over(0, 0);
    }
    scene.wait_moved(0, 1);
    more(&mut wire);
    let (done, unknown) = counters.end();
    let end = counted(&mut wire, &key);
    note(&format!("{done} done, {unknown} unknown, at {end}"));
    assert!(unknown <= 6, "one for a client at most");
    assert!(end <= done + unknown, "{end} of {done} and {unknown}: something was done twice");
    // What was acknowledged in the moment of the kill, and not replicated.
    let lost = if kill { 6 } else { 0 };
    assert!(end + lost >= done, "{end} of {done}: an update is lost");
}

#[test]
fn a_killed_primary_costs_no_update_and_doubles_none() {
    fail_over(true);
}

#[test]
fn a_failover_by_hand_costs_no_update_and_doubles_none() {
    fail_over(false);
}
