//! The configuration is read again (SIGHUP, `corelay reload`) while clients ask: no request gets an
//! error, no connection is refused or closed, also where shards get other addresses, listeners come
//! and go, and further pools are served. A file that is wrong, needs a restart or would place keys
//! elsewhere changes nothing, and says so.
#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::{
    Checking, Clients, Options, PATIENCE, Port, Proxy, Redis, Stack, Threads, Wire, holds_for,
    note, wait_until,
};

/// Two shards, each to be reached at a port and at a socket.
fn start(cores: &'static str) -> Stack {
    let options = Options { cores, ..Options::default() };
    Stack::start_with(2, &["--unixsocket", "redis.sock"], &options)
}

fn addresses(redis: &Redis) -> [String; 2] {
    let socket = redis.directory().join("redis.sock");
    [redis.address().to_string(), format!("unix:{}", socket.display())]
}

/// The file with this shard at its other address.
fn readdressed(text: &str, redis: &Redis) -> String {
    let [port, socket] = addresses(redis).map(|address| format!("\"{address}\""));
    match text.contains(&port) {
        true => text.replace(&port, &socket),
        false => text.replace(&socket, &port),
    }
}

/// Whether lanes have come by the port, and by the socket.
fn lanes(redis: &Redis) -> [bool; 2] {
    let clients = redis.ask(&["CLIENT", "LIST"]).text();
    let lanes: Vec<&str> = clients.lines().filter(|it| it.contains("name=corelay:")).collect();
    let by_socket = |lane: &&str| lane.contains("redis.sock");
    [!lanes.iter().all(by_socket), lanes.iter().any(by_socket)]
}

fn with_value(text: &str, key: &str, value: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once(" = ") {
        Some((found, _)) if found == key => format!("{key} = {value}\n"),
        _ => format!("{line}\n"),
    });
    lines.collect()
}

fn reloads(proxy: &Proxy, result: &str) -> f64 {
    let label = format!("result=\"{result}\"}}");
    let samples = proxy.metric("corelay_reloads_total");
    samples.iter().find(|(labels, _)| label.starts_with(labels)).map_or(0.0, |(_, count)| *count)
}

/// SIGHUP, and waits until it has had its effect.
fn hang_up(proxy: &mut Proxy, result: &str) {
    let before = reloads(proxy, result);
    proxy.process().signal("HUP");
    wait_until(PATIENCE, "the reload is over", || reloads(proxy, result) > before);
}

/// Connections come and go, each asks once. Gives how many; one that is refused or reset panics.
fn callers(threads: &mut Threads, proxy: &Proxy) -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    for _ in 0..2 {
        let (connect, stop) = (proxy.connector(), stop.clone());
        threads.run(move || {
            let mut calls = 0;
            while !stop.load(Ordering::SeqCst) {
                let mut wire: Wire = connect().unwrap();
                assert_eq!(wire.exchange(&["PING"]).text(), "PONG");
                calls += 1;
            }
            assert!(calls > 50, "only {calls} calls");
        });
    }
    stop
}

#[test]
fn a_reload_under_load_refuses_nobody() {
    let mut stack = start("2");
    let tags = stack.keys_by_shard(1).into_iter().map(|keys| format!("{{{}}}", keys[0]));
    let tags: Vec<String> = tags.collect();
    let clients = Clients { pause: Duration::from_millis(1), ..Clients::default() };
    let load = Checking::start(stack.proxy.address(), &tags, clients);
    let mut threads = Threads::default();
    let stop = callers(&mut threads, &stack.proxy);
    for round in 0..12 {
        let shard = &stack.shards[round % 2];
        stack.proxy.edit(|text| {
            let text = readdressed(text, shard);
            let text = with_value(&text, "timeout_ms", &(4_000 + round * 100).to_string());
            format!("{text}# round {round}\n")
        });
        hang_up(&mut stack.proxy, "taken");
        let by_socket = (round / 2) % 2 == 0;
        wait_until(PATIENCE, "all lanes have gone over", || {
            lanes(shard) == [!by_socket, by_socket]
        });
    }
    stop.store(true, Ordering::SeqCst);
    threads.join();
    let account = load.settle(|shard| stack.shards[shard].client());
    note(&account.to_string());
    account.expect_integrity();
    for shard in 0..2 {
        account.expect_undisturbed(shard, PATIENCE);
    }
    assert_eq!(stack.proxy.metric_sum("corelay_last_reload_ok"), 1.0);
}

#[test]
fn a_bad_file_is_refused_and_the_old_one_stays() {
    let mut stack = start("1");
    let mut client = stack.client();
    let mut good = String::new();
    stack.proxy.edit(|text| {
        text.clone_into(&mut good);
        with_value(text, "timeout_ms", "\"soon\"").replace("hash_tag", "hsh_tag")
    });
    hang_up(&mut stack.proxy, "refused");
    let shown = stack.proxy.admin("/reload");
    for word in ["\"refused\"", "\"SIGHUP\"", "timeout_ms", "hsh_tag", "corelay.toml:"] {
        assert!(shown.contains(word), "no {word} in {shown}");
    }
    let log = stack.proxy.log();
    assert!(
        log.contains("reload refused, nothing has changed") && log.contains("hsh_tag"),
        "{log}"
    );
    let (taken, said) = stack.proxy.reload(&[]);
    assert!(!taken && said.contains("hsh_tag"), "{said}");
    assert_eq!(stack.proxy.metric_sum("corelay_last_reload_ok"), 0.0);
    assert_eq!(client.exchange(&["SET", "a", "1"]).text(), "OK");
    // No file at all is no better; the good one is.
    stack.proxy.edit(|_| String::new());
    assert!(!stack.proxy.reload(&[]).0);
    stack.proxy.edit(|_| good);
    let (taken, said) = stack.proxy.reload(&[]);
    assert!(taken && said.contains("in force already"), "{said}");
    assert_eq!(client.exchange(&["GET", "a"]).text(), "1");
}

#[test]
fn what_moves_keys_is_refused_unless_it_is_wanted() {
    let mut stack = start("2");
    let mut client = stack.client();
    stack.proxy.edit(|text| with_value(text, "hash", "\"md5\""));
    hang_up(&mut stack.proxy, "refused");
    let log = stack.proxy.log();
    assert!(log.contains("keys move: 50.") || log.contains("keys move: 49."), "the share: {log}");
    assert!(log.contains("corelay reload --allow-moved-keys"), "{log}");
    let keys: Vec<String> = (0..100).map(|n| format!("key{n}")).collect();
    for key in &keys {
        client.exchange(&["SET", key, "old place"]);
    }
    let (taken, said) = stack.proxy.reload(&["--allow-moved-keys"]);
    assert!(taken, "{said}");
    let missing =
        keys.iter().filter(|key| client.exchange(&["EXISTS", key]).integer() == 0).count();
    assert!((20..80).contains(&missing), "another placement: {missing} of 100 are elsewhere");
}

#[test]
fn what_needs_a_restart_is_told_and_nothing_is_taken() {
    let stack = start("1");
    stack.proxy.edit(|text| {
        let text = with_value(text, "cores", "2");
        with_value(&text, "admin_listen", "\"127.0.0.1:1\"").replace("\"shard2\"", "\"shard3\"")
    });
    let (taken, said) = stack.proxy.reload(&["--allow-moved-keys"]);
    assert!(!taken, "{said}");
    for key in ["proxy.cores = ", "proxy.admin_listen = ", "shard.name = "] {
        let line = said.lines().find(|line| line.contains(key));
        assert!(line.is_some_and(|line| line.contains("restart needed")), "{key}: {said}");
    }
    assert!(stack.proxy.admin("/topology").contains("shard2"));
}

#[test]
fn bounds_and_passwords_hold_from_the_reload_on() {
    let stack = start("1");
    let mut early = stack.client();
    early.exchange(&["PING"]);
    stack.proxy.edit(|text| {
        let text =
            text.replace("dangerous_commands", "client_connections_max = 2\ndangerous_commands");
        format!("{text}[pool.auth]\npassword = \"front door\"\n")
    });
    let (taken, said) = stack.proxy.reload(&[]);
    assert!(taken, "{said}");
    assert_eq!(early.exchange(&["SET", "a", "1"]).text(), "OK", "who is in stays in");
    let mut late = stack.client();
    assert!(late.exchange(&["GET", "a"]).error().starts_with("NOAUTH"));
    assert_eq!(late.exchange(&["AUTH", "front door"]).text(), "OK");
    assert_eq!(late.exchange(&["GET", "a"]).text(), "1");
    let mut third = stack.client();
    assert!(third.next().unwrap().error().contains("max number of clients"));
    holds_for(Duration::from_millis(100), "both are served", || {
        [&mut early, &mut late].into_iter().all(|wire| wire.exchange(&["GET", "a"]).text() == "1")
    });
}

/// A pool of its own over the first shard.
fn further_pool(listen: &Port, redis: &Redis) -> String {
    format!(
        "[[pool]]\nname = \"more\"\nlisten = \"{}\"\n[[pool.shard]]\nname = \"only\"\n\
         address = \"{}\"\n",
        listen.address,
        redis.address()
    )
}

#[test]
fn pools_and_listeners_are_added_and_nobody_who_is_in_notices() {
    let stack = start("2");
    let tags = stack.keys_by_shard(1).into_iter().map(|keys| format!("{{{}}}", keys[0]));
    let tags: Vec<String> = tags.collect();
    let clients = Clients { closed_loops: 4, pipelines: 2, ..Clients::default() };
    let load = Checking::start(stack.proxy.address(), &tags, clients);
    let mut threads = Threads::default();
    let stop = callers(&mut threads, &stack.proxy);
    let (second, of_more) = (Port::reserve(), Port::reserve());
    let first = format!("\"{}\"]", stack.proxy.address());
    let mut old = String::new();
    stack.proxy.edit(|text| {
        text.clone_into(&mut old);
        let both = format!("\"{}\", \"{}\"]", stack.proxy.address(), second.address);
        let text = text.replace(&first, &both).replace("timeout_ms", "backlog = 77\ntimeout_ms");
        text + &further_pool(&of_more, &stack.shards[0])
    });
    let (taken, said) = stack.proxy.reload(&[]);
    assert!(taken && said.contains("pool more is served, too"), "{said}");
    // Every core listens: so many connections come to all of them.
    for _ in 0..30 {
        let mut by_second = Wire::connect(second.address);
        assert_eq!(by_second.exchange(&["SET", &format!("{}x", tags[0]), "1"]).text(), "OK");
        let mut by_more = Wire::connect(of_more.address);
        assert_eq!(by_more.exchange(&["GET", &format!("{}x", tags[0])]).text(), "1");
    }
    let stats = stack.proxy.admin("/stats");
    assert!(stats.contains("\"more\"") && stats.contains("\"only\""), "{stats}");
    assert!(stack.proxy.admin("/readyz").contains("ready"));
    let listeners = stack.proxy.metric("corelay_pool_listeners");
    let of_pool =
        |name: &str| listeners.iter().find(|(labels, _)| labels.contains(name)).unwrap().1;
    assert_eq!((of_pool("cache"), of_pool("more")), (4.0, 2.0));

    // A listener goes; who came by it stays.
    let mut by_second = Wire::connect(second.address);
    assert_eq!(by_second.exchange(&["PING"]).text(), "PONG");
    stack.proxy.edit(|_| old.clone() + &further_pool(&of_more, &stack.shards[0]));
    let (taken, said) = stack.proxy.reload(&[]);
    assert!(taken, "{said}");
    wait_until(PATIENCE, "nobody is let in there", || Wire::try_connect(second.address).is_err());
    assert_eq!(by_second.exchange(&["PING"]).text(), "PONG");

    // A pool does not go.
    stack.proxy.edit(|_| old.clone());
    let (taken, said) = stack.proxy.reload(&[]);
    assert!(!taken && said.contains("pool more: restart needed"), "{said}");
    stop.store(true, Ordering::SeqCst);
    threads.join();
    let account = load.settle(|shard| stack.shards[shard].client());
    account.expect_integrity();
    (0..2).for_each(|shard| account.expect_undisturbed(shard, PATIENCE));
}

#[test]
fn an_address_that_can_not_be_had_keeps_everything_as_it_was() {
    let stack = start("1");
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_by_us = held.local_addr().unwrap();
    stack.proxy.edit(|text| {
        let first = format!("\"{}\"]", stack.proxy.address());
        let both = format!("\"{}\", \"{taken_by_us}\"]", stack.proxy.address());
        with_value(&text.replace(&first, &both), "timeout_ms", "1234")
    });
    let (taken, said) = stack.proxy.reload(&[]);
    assert!(!taken && said.contains("address already in use"), "{said}");
    assert_eq!(stack.client().exchange(&["PING"]).text(), "PONG");
    drop(held);
    assert!(stack.proxy.reload(&[]).0, "it is free now");
    assert_eq!(Wire::connect(taken_by_us).exchange(&["PING"]).text(), "PONG");
}
