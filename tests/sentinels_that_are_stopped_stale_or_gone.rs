//! One sentinel says nothing, one is behind, all are gone: the majority and the highest epoch decide,
//! and with nobody left what was known last stays in use.
//!
//! Why it must stay: a proxy that believes the first sentinel it reaches follows the wrong one sooner
//! or later.

mod support;

use std::time::Duration;

use support::scene::{OTHERS_WAIT_MAX, options};
use support::{PATIENCE, Proxy, Scene, SwitchWatch, Value, holds_for, note, wait_until};

/// Longer than sentinels, and proxies, take to ask each other.
const LONG_ENOUGH: Duration = Duration::from_secs(3);

fn answering(proxy: &Proxy) -> Vec<f64> {
    proxy.metric("corelay_shard_sentinels_answering").into_iter().map(|(_, count)| count).collect()
}

#[test]
fn one_stopped_sentinel_changes_nothing_and_a_stale_one_neither() {
    let mut scene = Scene::start();
    scene.watched.sentinels[0].pause();
    let load = scene.load();
    let watch = SwitchWatch::start(&scene, &[1, 2], 0, 1);
    scene.alert(0);
    scene.watched.shards[0].nodes[0].kill_hard();
    scene.wait_moved(0, 1);
    scene.wait_served(0, 1);
    watch.expect_in_time();
    let account = scene.settle(load);
    account.expect_one_unknown_outcome_at_most(0);
    account.expect_undisturbed(1, OTHERS_WAIT_MAX);

    // Now the first one is back and right, and the second one believes in the dead primary.
    scene.watched.sentinels[0].restart_same_port();
    let (name, old) = (&scene.watched.shards[0].name, scene.watched.shards[0].nodes[0].address());
    let new = scene.watched.shards[0].nodes[1].address();
    wait_until(PATIENCE, "the first sentinel hears of the failover", || {
        scene.watched.sentinels[0].primary(name) == Some(new)
    });
    scene.watched.sentinels[1].point_at(name, old, 2);
    let load = scene.load();
    holds_for(LONG_ENOUGH, "the second sentinel is stale", || {
        scene.watched.sentinels[1].primary(name) == Some(old)
    });
    // One that is started now hears the stale one among the first.
    let fresh = Proxy::start(&[], &options(&scene.watched, ""));
    let key = format!("{}probe", scene.tags[0]);
    assert_eq!(fresh.client().exchange(&["SET", &key, "1"]), Value::ok());
    let account = scene.settle(load);
    account.expect_integrity();
    account.expect_undisturbed(0, OTHERS_WAIT_MAX);
    account.expect_undisturbed(1, OTHERS_WAIT_MAX);
}

#[test]
fn without_any_sentinel_the_last_topology_stays_in_use() {
    let mut scene = Scene::start();
    wait_until(PATIENCE, "all sentinels answer", || answering(&scene.proxy) == [3.0, 3.0]);
    let load = scene.load();
    scene.watched.sentinels.iter_mut().for_each(support::Sentinel::kill_hard);
    wait_until(PATIENCE, "the metric says so", || answering(&scene.proxy) == [0.0, 0.0]);
    let reads = scene.calls(0, 0);
    wait_until(PATIENCE, "the primary is asked as before", || scene.calls(0, 0) > reads + 300);

    // A connection that is lost now is replaced once the node has said itself that it is a master.
    let killed = scene.watched.shards[0].ask(0, &["CLIENT", "KILL", "TYPE", "normal"]).integer();
    assert!(killed > 0, "the proxy has a connection");
    let reads = scene.calls(0, 0);
    wait_until(PATIENCE, "the primary is asked again", || scene.calls(0, 0) > reads + 300);

    scene.watched.sentinels.iter_mut().for_each(support::Sentinel::restart_same_port);
    wait_until(PATIENCE, "the metric says that they are back", || {
        answering(&scene.proxy) == [3.0, 3.0]
    });
    let account = load.settle(|shard| scene.watched.shards[shard].client(0));
    note(&account.to_string());
    account.expect_one_unknown_outcome_at_most(0);
    account.expect_undisturbed(1, OTHERS_WAIT_MAX);
    assert!(account.shards[0].longest < Duration::from_secs(5), "{account}");
}
