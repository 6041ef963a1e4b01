//! A sentinel is pointed at a replica. Its word is not enough: the node says that it is none.
//!
//! Why it must stay: writes to a replica fail, and to a replica that takes them they vanish.

mod support;

use std::time::Duration;

use support::scene::{OTHERS_WAIT_MAX, options};
use support::{PATIENCE, Proxy, Scene, Value, Watching, holds_for, wait_until};

const LONG_ENOUGH: Duration = Duration::from_secs(3);

#[test]
fn one_of_three_is_outvoted() {
    let scene = Scene::start();
    let (name, replica) =
        (&scene.watched.shards[0].name, scene.watched.shards[0].nodes[1].address());
    let load = scene.load();
    scene.watched.sentinels[0].point_at(name, replica, 2);
    holds_for(LONG_ENOUGH, "it stays with that", || {
        scene.watched.sentinels[0].primary(name) == Some(replica)
    });
    let account = scene.settle(load);
    account.expect_integrity();
    account.expect_undisturbed(0, OTHERS_WAIT_MAX);
    account.expect_undisturbed(1, OTHERS_WAIT_MAX);
    assert_eq!(scene.calls(0, 1), 0, "reads went to the replica");
}

#[test]
fn the_only_sentinel_is_not_believed_either() {
    let watching = Watching { shards: 2, sentinels: 1, ..Watching::default() };
    let scene = Scene::start_with(&watching, "");
    let shard = &scene.watched.shards[0];
    let (primary, replica) = (shard.nodes[0].address(), shard.nodes[1].address());
    let load = scene.load();
    scene.watched.sentinels[0].point_at(&shard.name, replica, 1);
    holds_for(LONG_ENOUGH, "it stays with that", || {
        scene.watched.sentinels[0].primary(&shard.name) == Some(replica)
    });
    // One that knows nothing else holds what it is asked, and says why it can not be served.
    let fresh = Proxy::start(&[], &options_of_the_impatient(&scene));
    let key = format!("{}probe", scene.tags[0]);
    let mut client = fresh.client();
    let refused = client.exchange(&["SET", &key, "1"]);
    assert!(refused.error().contains(&shard.name), "{refused:?}");
    scene.watched.sentinels[0].point_at(&shard.name, primary, 1);
    wait_until(PATIENCE, "it is served when the sentinel is right again", || {
        client.exchange(&["SET", &key, "2"]) == Value::ok()
    });

    // One that knew the primary has gone on with it.
    let account = load.settle(|shard| scene.watched.shards[shard].client(0));
    account.expect_integrity();
    account.expect_undisturbed(0, OTHERS_WAIT_MAX);
    account.expect_undisturbed(1, OTHERS_WAIT_MAX);
    assert_eq!(scene.calls(0, 1), 0, "reads went to the replica");
}

fn options_of_the_impatient(scene: &Scene) -> support::Options {
    let mut options = options(&scene.watched, "");
    options.pool =
        options.pool.replace(&format!("hold_ms = {}", support::scene::HOLD_MS), "hold_ms = 500");
    options
}
