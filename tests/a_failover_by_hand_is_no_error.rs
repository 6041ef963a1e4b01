//! `SENTINEL FAILOVER` by hand: the old primary lives on, takes writes and calls itself a master
//! for ten seconds; the proxy leaves it at once.
//!
//! Sentinel does not stop the old primary before it promotes the replica: whatever the old one
//! acknowledges in between is lost. So the proxy sends it nothing from the moment that a sentinel
//! announces the promotion. Why it must stay: thousands of writes were lost before it did so.

mod support;

use std::time::Duration;

use support::scene::OTHERS_WAIT_MAX;
use support::{Scene, SwitchWatch, note};

#[test]
fn a_planned_failover_leaves_the_old_primary_at_once() {
    let scene = Scene::start();
    let load = scene.load();
    let watch = SwitchWatch::start(&scene, &[0, 1, 2], 0, 1);
    scene.watched.fail_over(0, 0);
    scene.wait_moved(0, 1);
    scene.wait_served(0, 1);
    watch.expect_in_time();
    scene.expect_unused(0, 0, Duration::from_secs(3));

    let account = scene.settle(load);
    let waited = account.shards[0].longest;
    note(&format!("clients waited {waited:?} at most"));
    account.expect_one_unknown_outcome_at_most(0);
    assert_eq!(account.shards[0].lost, 0, "acknowledged writes are lost:\n{account}");
    account.expect_undisturbed(1, OTHERS_WAIT_MAX);
}
