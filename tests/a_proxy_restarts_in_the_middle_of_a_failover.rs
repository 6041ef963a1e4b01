//! The primary is dead, the sentinels have not moved it yet, and the proxy is killed and started
//! again: it finds a shard without a primary, holds what it is asked, and serves it after the
//! promotion.
//!
//! Why it must stay: on a bad day things fail together, and a restart is what people try first.

mod support;

use std::time::Duration;

use support::scene::OTHERS_WAIT_MAX;
use support::{PATIENCE, Scene, holds_for, note, wait_until};

/// Start of a debug build, and what the boot waits for sentinels to name all primaries.
const RESTART_MAX: Duration = Duration::from_millis(1_000);

#[test]
fn what_is_asked_meanwhile_waits_for_the_promotion() {
    let mut scene = Scene::start();
    let load = scene.load();
    scene.alert(0);
    scene.watched.shards[0].nodes[0].kill_hard();
    let restart = scene.proxy.kill_and_restart();
    assert_eq!(scene.watched.primary(0), Some(0), "the failover was quicker than the restart");
    let reads = scene.calls(1, 0);
    wait_until(PATIENCE, "the other shard is served meanwhile", || scene.calls(1, 0) > reads + 50);

    scene.wait_moved(0, 1);
    scene.wait_served(0, 1);
    holds_for(Duration::from_millis(300), "it stays", || scene.watched.primary(0) == Some(1));
    let account = scene.settle(load);
    note(&format!("{} connections were closed by the restart of {restart:?}", account.closed));
    assert!(restart < RESTART_MAX, "a shard without a primary delays the others: {restart:?}");

    // The restart costs every client its connection, once. After that it is as if nothing had been.
    let clients =
        2 * support::Clients::default().closed_loops + support::Clients::default().pipelines;
    assert!(account.closed <= clients as u64, "{account}");
    assert_eq!((account.foreign, account.silent), (0, 0), "{account}");
    for shard in &account.shards {
        assert_eq!((shard.failed_reads, shard.held_too_long), (0, 0), "{account}");
        assert_eq!((shard.duplicates, shard.after_all, shard.out_of_order), (0, 0, 0), "{account}");
        assert!(shard.unknown_of_one <= 1 && shard.others.is_empty(), "{account}");
    }
    assert_eq!((account.shards[1].unknown, account.shards[1].lost), (0, 0), "{account}");
    assert!(account.shards[1].longest < OTHERS_WAIT_MAX + RESTART_MAX, "{account}");
}
