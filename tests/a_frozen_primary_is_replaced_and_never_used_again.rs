//! A primary freezes, Sentinel promotes its replica, and it thaws: what it says then reaches nobody,
//! and nothing is asked of it again, although it calls itself a master.
//!
//! Why it must stay: its connections never broke. Whoever keeps one of them reads late replies as
//! answers to something else, and writes to a primary that is none.

mod support;

use std::time::Duration;

use support::scene::OTHERS_WAIT_MAX;
use support::{PATIENCE, Scene, Stopwatch, SwitchWatch, Watching, wait_until};

fn freeze_and_thaw(scene: &Scene) {
    let load = scene.load();
    let watch = SwitchWatch::start(scene, &[0, 1, 2], 0, 1);
    scene.alert(0);
    scene.watched.shards[0].nodes[0].pause();
    scene.wait_moved(0, 1);
    scene.wait_served(0, 1);
    watch.expect_in_time();

    scene.watched.shards[0].nodes[0].resume();
    // It reads what was sent before it froze, and answers it.
    let old = &scene.watched.shards[0];
    let (_, mut before) = old.role_and_commands(0);
    let mut quiet = Stopwatch::start();
    wait_until(PATIENCE, "the thawed primary has answered what it had been asked", || {
        let (_, now) = old.role_and_commands(0);
        if std::mem::replace(&mut before, now) != now {
            quiet = Stopwatch::start();
        }
        quiet.elapsed() > Duration::from_millis(200)
    });
    scene.expect_unused(0, 0, Duration::from_secs(3));

    let account = scene.settle(load);
    account.expect_one_unknown_outcome_at_most(0);
    account.expect_undisturbed(1, OTHERS_WAIT_MAX);
}

#[test]
fn its_late_replies_reach_nobody() {
    freeze_and_thaw(&Scene::start());
}

#[test]
fn the_same_if_the_proxy_gave_up_before_the_sentinels() {
    let watching = Watching { shards: 2, ..Watching::default() };
    freeze_and_thaw(&Scene::start_with_timeout(&watching, 400));
}
