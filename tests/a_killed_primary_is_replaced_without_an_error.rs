//! The primary of a shard is killed under load, Sentinel promotes its replica, and no client hears
//! more of it than that one write's outcome is unknown.
//!
//! Mechanics: two shards with a replica each, three real sentinels, a load that checks every reply
//! and retries nothing. Why it must stay: this is what the program is for.

mod support;

use std::time::Duration;

use support::scene::OTHERS_WAIT_MAX;
use support::{Account, Scene, SwitchWatch, Watching, note};

/// Kills the primary of the first shard under load; gives what the load has seen.
fn kill_under_load(scene: &mut Scene) -> Account {
    let load = scene.load();
    scene.wait_served(1, 0); // long enough to know the pace of the other shard
    let watch = SwitchWatch::start(scene, &[0, 1, 2], 0, 1);
    scene.alert(0);
    scene.watched.shards[0].nodes[0].kill_hard();
    scene.wait_moved(0, 1);
    scene.wait_served(0, 1);
    let account = scene.settle(load);
    let (from, to) = account.outage(0);
    watch.expect_in_time();
    note(&format!("nothing was served for {:?}", to - from));
    account.expect_one_unknown_outcome_at_most(0);
    account.expect_undisturbed(1, OTHERS_WAIT_MAX);
    let p99 = account.p99_beside((from, to), 1);
    note(&format!("p99 of the other shard: {p99:?}"));
    p99.expect_kept();
    account
}

#[test]
fn a_killed_primary_costs_a_client_one_unknown_outcome_at_most() {
    kill_under_load(&mut Scene::start());
}

#[test]
fn idempotent_writes_are_repeated_where_the_pool_says_so() {
    let watching =
        Watching { shards: 2, node_password: Some("of-the-nodes"), ..Watching::default() };
    let mut scene = Scene::start_with(&watching, "replay = \"idempotent\"\n");
    let account = kill_under_load(&mut scene);
    // INCR and RPUSH are not idempotent, whatever the pool says; SET is.
    let unknown = &account.shards[0].unknown_commands;
    assert!(!unknown.contains_key("SET"), "{account}");
}

/// The sentinels never call it down; what was sent is in doubt, and nothing else.
#[test]
fn a_primary_that_restarts_at_once_is_used_again() {
    let persistent = vec!["--appendonly", "yes"];
    let watching = Watching { shards: 2, node_args: persistent, ..Watching::default() };
    let mut scene = Scene::start_with(&watching, "");
    let load = scene.load();
    scene.watched.shards[0].nodes[0].restart_same_port();
    scene.wait_served(0, 0);
    let account = scene.settle(load);
    account.expect_one_unknown_outcome_at_most(0);
    account.expect_undisturbed(1, OTHERS_WAIT_MAX);
    assert!(account.shards[0].longest < Duration::from_secs(5), "{account}");
}
