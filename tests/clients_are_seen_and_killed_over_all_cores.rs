//! CLIENT LIST, CLIENT KILL and INFO know all clients of the pool, whichever core serves them; CLIENT
//! PAUSE pauses all of them, and MONITOR shows what all of them ask.
//!
//! Why it must stay: a user who looks for a client, or wants to be rid of it, does not know that
//! there are cores, and must not have to reconnect until he happens to be on the right one.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use support::{
    Options, PATIENCE, Stack, Stopwatch, Value, Wire, cpus, holds_for, note, wait_until,
};

const CORES: u64 = 2;
const CLIENTS: usize = 20;

/// A stack of two cores, and clients that have spoken; there are some on each core.
fn two_cores() -> Option<(Stack, Vec<Wire>)> {
    if cpus() < 2 {
        note("not run: this machine has one core");
        return None;
    }
    let stack = Stack::start(2, &Options { cores: "2", ..Options::default() });
    let mut clients: Vec<Wire> = (0..CLIENTS).map(|_| stack.client()).collect();
    let homes: BTreeSet<u64> = clients.iter_mut().map(|client| number(client) % CORES).collect();
    assert_eq!(homes.len(), 2, "the clients are on both cores");
    // The harness has looked whether the proxy answers: that connection has to be gone.
    let first = &mut clients[0];
    wait_until(PATIENCE, "only our clients are connected", || list(first, &[]).len() == CLIENTS);
    Some((stack, clients))
}

/// CLIENT ID; its remainder tells the core.
fn number(client: &mut Wire) -> u64 {
    u64::try_from(client.exchange(&["CLIENT", "ID"]).integer()).expect("a number above 0")
}

/// The ids that CLIENT LIST shows.
fn list(client: &mut Wire, filter: &[&str]) -> Vec<u64> {
    let words = [&["CLIENT", "LIST"], filter].concat();
    ids(&client.exchange(&words))
}

fn ids(list: &Value) -> Vec<u64> {
    let id = |line: &str| line.strip_prefix("id=")?.split(' ').next()?.parse().ok();
    list.text().lines().map(|line| id(line).expect("a line that begins with an id")).collect()
}

fn kill(client: &mut Wire, filter: &[&str]) -> i64 {
    client.exchange(&[&["CLIENT", "KILL"], filter].concat()).integer()
}

fn connected(client: &mut Wire) -> usize {
    let info = client.exchange(&["INFO", "clients"]).text();
    let line = info.lines().find_map(|line| line.strip_prefix("connected_clients:"));
    line.and_then(|count| count.parse().ok()).expect("a count in INFO")
}

/// A client of each core.
fn one_of_each(clients: &mut [Wire]) -> [usize; 2] {
    [0, 1].map(|core| {
        clients.iter_mut().position(|client| number(client) % CORES == core).expect("a client")
    })
}

#[test]
fn a_list_shows_the_clients_of_both_cores() {
    let Some((_stack, mut clients)) = two_cores() else { return };
    let all: BTreeSet<u64> = clients.iter_mut().map(number).collect();
    for at in one_of_each(&mut clients) {
        let client = &mut clients[at];
        let seen = list(client, &[]);
        assert_eq!(seen.len(), CLIENTS, "each once");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), all);
        assert_eq!(list(client, &["TYPE", "normal"]).len(), CLIENTS);
        assert_eq!(list(client, &["TYPE", "pubsub"]), []);
        for number in &all {
            assert_eq!(list(client, &["ID", &number.to_string()]), [*number]);
        }
        assert_eq!(connected(client), CLIENTS);
    }
}

#[test]
fn a_kill_by_id_reaches_the_other_core() {
    let Some((stack, mut clients)) = two_cores() else { return };
    for (me, victim) in [(0, 1), (1, 0)] {
        let homes = one_of_each(&mut clients);
        let gone = number(&mut clients[homes[victim]]).to_string();
        let mut victim = std::mem::replace(&mut clients[homes[victim]], stack.client());
        let me = &mut clients[homes[me]];
        assert_eq!(kill(me, &["ID", &gone]), 1);
        victim.expect_closed();
        assert_eq!(kill(me, &["ID", &gone]), 0, "it has gone");
        assert_eq!(list(me, &["ID", &gone]), []);
    }
}

#[test]
fn a_kill_by_address_reaches_the_other_core() {
    let Some((_stack, mut clients)) = two_cores() else { return };
    let [me, victim] = one_of_each(&mut clients);
    let address = clients[victim].local_address().to_string();
    assert_eq!(clients[me].exchange(&["CLIENT", "KILL", &address]), Value::ok());
    clients[victim].expect_closed();
    let again = clients[me].exchange(&["CLIENT", "KILL", &address]);
    assert_eq!(again, Value::Error("ERR No such client".to_owned()));
}

#[test]
fn a_kill_of_all_others_spares_me_alone() {
    let Some((_stack, mut clients)) = two_cores() else { return };
    let [me, _] = one_of_each(&mut clients);
    let mut me = clients.remove(me);
    assert_eq!(kill(&mut me, &["TYPE", "normal", "SKIPME", "yes"]), CLIENTS as i64 - 1);
    for client in &mut clients {
        client.expect_closed();
    }
    let my_number = number(&mut me);
    assert_eq!(list(&mut me, &[]), [my_number]);
    assert_eq!(connected(&mut me), 1);
    assert_eq!(kill(&mut me, &["TYPE", "normal", "SKIPME", "no"]), 1);
    me.expect_closed();
}

#[test]
fn a_pause_holds_the_writes_of_both_cores() {
    let Some((stack, mut clients)) = two_cores() else { return };
    let admin = &mut stack.client();
    for how in ["its time is over", "UNPAUSE"] {
        let ms = if how == "UNPAUSE" { "60000" } else { "300" };
        let started = Stopwatch::start();
        assert_eq!(admin.exchange(&["CLIENT", "PAUSE", ms, "WRITE"]), Value::ok());
        for (n, client) in clients.iter_mut().enumerate() {
            client.request(&["SET", &format!("key:{n}"), how]);
            client.request(&["GET", &format!("key:{n}")]);
        }
        if how == "UNPAUSE" {
            holds_for(Duration::from_millis(200), "nobody writes", || {
                admin.exchange(&["GET", "key:0"]) != Value::bulk(how)
            });
            assert_eq!(admin.exchange(&["CLIENT", "UNPAUSE"]), Value::ok());
        }
        for client in &mut clients {
            assert_eq!(client.next().expect("a reply"), Value::ok());
            assert_eq!(client.next().expect("a reply"), Value::bulk(how));
        }
        let least = if how == "UNPAUSE" { 200 } else { 300 };
        assert!(started.elapsed() >= Duration::from_millis(least), "{:?}", started.elapsed());
    }
}

#[test]
fn a_monitor_sees_what_clients_of_both_cores_ask() {
    const ROUNDS: usize = 50;
    let Some((stack, mut clients)) = two_cores() else { return };
    let mut monitor = stack.client();
    assert_eq!(monitor.exchange(&["MONITOR"]), Value::ok());
    for round in 0..ROUNDS {
        for (n, client) in clients.iter_mut().enumerate() {
            client.exchange(&["GET", &format!("{n}:{round}")]);
        }
    }
    let mut seen = BTreeSet::new();
    for _ in 0..ROUNDS * CLIENTS {
        let Value::Simple(line) = monitor.next().expect("a line") else { panic!("no line") };
        let key = line.split('"').nth(3).map(str::to_owned);
        assert!(line.contains("[0 127.0.0.1:") && line.contains("\"GET\""), "{line}");
        assert!(seen.insert(key.expect("a key")), "each once: {line}");
    }
    assert_eq!(monitor.exchange(&["RESET"]), Value::Simple("RESET".to_owned()));
    clients[0].exchange(&["GET", "unseen"]);
    assert_eq!(monitor.exchange(&["PING"]), Value::Simple("PONG".to_owned()));
}

#[test]
fn a_pipeline_around_a_list_keeps_its_order() {
    const ROUNDS: usize = 200;
    let Some((_stack, mut clients)) = two_cores() else { return };
    for at in one_of_each(&mut clients) {
        let client = &mut clients[at];
        let words = |n: usize| {
            let (key, value) = (format!("key:{n}"), format!("value:{n}"));
            [
                format!("SET {key} {value}"),
                "CLIENT LIST".to_owned(),
                format!("GET {key}"),
                "CLIENT KILL ADDR 127.0.0.1:1".to_owned(),
                format!("ECHO {n}"),
            ]
        };
        let requests: Vec<Vec<String>> = (0..ROUNDS)
            .flat_map(words)
            .map(|line| line.split(' ').map(str::to_owned).collect())
            .collect();
        let replies = client.pipeline(&requests);
        for (n, replies) in replies.chunks(5).enumerate() {
            assert_eq!(replies[0], Value::ok());
            assert_eq!(ids(&replies[1]).len(), CLIENTS);
            assert_eq!(replies[2], Value::bulk(format!("value:{n}")));
            assert_eq!(replies[3], Value::Integer(0));
            assert_eq!(replies[4], Value::bulk(n.to_string()));
        }
    }
}

#[test]
fn both_cores_ask_each_other_at_once_while_clients_come_and_go() {
    const ROUNDS: usize = 100;
    let Some((stack, clients)) = two_cores() else { return };
    let address = stack.proxy.address();
    let leaver = std::thread::spawn(move || {
        for _ in 0..ROUNDS {
            // It does not wait for its answer.
            Wire::connect(address).request(&["CLIENT", "LIST"]);
        }
    });
    let askers: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            std::thread::spawn(move || {
                for _ in 0..ROUNDS {
                    assert!(list(&mut client, &[]).len() >= CLIENTS);
                }
                client
            })
        })
        .collect();
    leaver.join().expect("a leaver");
    let mut clients: Vec<Wire> =
        askers.into_iter().map(|asker| asker.join().expect("an asker")).collect();
    let first = &mut clients[0];
    wait_until(PATIENCE, "the leavers have gone", || list(first, &[]).len() == CLIENTS);
    assert_eq!(connected(first), CLIENTS);
    assert_eq!(stack.proxy.metric_sum("corelay_core_answers_missed_total"), 0.0);
}
