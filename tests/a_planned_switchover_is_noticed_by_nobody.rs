//! `corelay switchover`: primary and replica change places under load, and no client hears an error,
//! no write is lost, none is done twice. What can not be is given up, and everything is as it was.
#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod support;

use std::process::{Command, Output};

use support::scene::OTHERS_WAIT_MAX;
use support::{
    Options, PATIENCE, Proxy, Scene, Stopwatch, Threads, Watched, Watching, note, wait_until,
};

fn switchover(proxy: &Proxy, shard: &str) -> Output {
    let admin = proxy.admin_address().to_string();
    Command::new(support::proxy::binary())
        .args(["switchover", shard, "--admin", &admin])
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8(text).unwrap()
}

#[test]
fn a_planned_switchover_is_noticed_by_nobody() {
    let scene = Scene::start();
    let load = scene.load();
    let output = switchover(&scene.proxy, "shard1");
    let said = said(&output);
    note(&said);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("done: "), "{said}");
    scene.watched.wait_primary(0, 1);
    scene.wait_served(0, 1);

    let account = scene.settle(load);
    account.expect_integrity();
    account.expect_undisturbed(1, OTHERS_WAIT_MAX);
    let shard = &account.shards[0];
    assert_eq!((shard.unknown, shard.held_too_long, shard.failed_reads), (0, 0, 0), "{account}");
    assert!(shard.others.is_empty(), "{account}");
}

#[test]
fn a_switchover_that_can_not_be_is_given_up_and_changes_nothing() {
    let mut watched = Watched::start_with(&Watching { shards: 1, ..Watching::default() });
    let pool = "hold_ms = 4000\n".to_owned();
    let options = Options { pool, tables: watched.pool_toml(), ..Options::default() };
    let proxy = Proxy::start(&[], &options);
    proxy.client().exchange(&["SET", "before", "1"]);

    // Its link stands, and it applies nothing.
    watched.shards[0].nodes[1].process().signal("STOP");
    let mut threads = Threads::default();
    let connect = proxy.connector();
    threads.run(move || {
        let mut client = connect().unwrap();
        let (since, mut longest) = (Stopwatch::start(), std::time::Duration::ZERO);
        while since.elapsed() < std::time::Duration::from_secs(5) {
            let asked = Stopwatch::start();
            let reply = client.exchange(&["SET", "meanwhile", "2"]);
            assert_eq!(reply.text(), "OK", "held, not refused");
            longest = longest.max(asked.elapsed());
        }
        note(&format!("held for {longest:?}"));
        assert!(longest > std::time::Duration::from_secs(1), "it was held: {longest:?}");
    });
    let output = switchover(&proxy, "shard1");
    let text = said(&output);
    note(&text);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("nothing has changed"), "{text}");
    threads.join();
    let shown = proxy.admin("/topology");
    assert!(shown.contains("\"paused\": false"), "{shown}");
    // Past the proxy nobody is held any more either.
    let direct = Stopwatch::start();
    watched.shards[0].ask(0, &["SET", "direct", "3"]);
    assert!(direct.elapsed() < PATIENCE / 10, "CLIENT PAUSE was taken back");
    watched.shards[0].nodes[1].process().signal("CONT");
    wait_until(PATIENCE, "nothing has moved", || watched.primary(0) == Some(0));
}

#[test]
fn a_switchover_of_what_is_not_watched_is_refused_with_a_word_why() {
    let stack = support::Stack::start(1, &Options::default());
    for (shard, why) in [("shard1", "fixed addresses"), ("nonsense", "there is no shard nonsense")]
    {
        let output = switchover(&stack.proxy, shard);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(why), "{}", said(&output));
    }
}
