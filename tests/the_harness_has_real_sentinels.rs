//! The harness itself: three real sentinels move the primary of a shard, and nothing else.
//!
//! Why it must stay: every test of failover trusts that the sentinels do what real ones do, and
//! that a node which comes back calls itself a master for a while, with nothing in it.

mod support;

use std::time::Duration;

use support::{Value, Watched, Watching, holds_for, sentinels::calls_in, wait_until};

#[test]
fn a_killed_primary_is_replaced_and_comes_back_as_a_master_at_first() {
    let mut watched = Watched::start(2);
    assert_eq!((watched.primary(0), watched.primary(1)), (Some(0), Some(0)));
    assert_eq!(watched.shards[0].ask(0, &["SET", "key", "value"]), Value::ok());
    watched.shards[0].wait_in_sync();
    watched.shards[0].nodes[0].kill_hard();
    watched.wait_primary(0, 1);
    assert_eq!(watched.shards[0].ask(1, &["GET", "key"]), Value::bulk("value"));
    assert_eq!(watched.primary(1), Some(0), "another shard was moved");

    watched.shards[0].nodes[0].restart_same_port();
    holds_for(Duration::from_secs(1), "it calls itself a master", || {
        watched.shards[0].role(0) == "master"
    });
    assert_eq!(watched.shards[0].ask(0, &["GET", "key"]), Value::Null);
    assert_eq!((watched.shards[0].calls(0, "get"), watched.shards[0].calls(0, "set")), (1, 0));
}

#[test]
fn a_failover_by_hand_a_stopped_sentinel_and_a_stale_one() {
    let mut watched = Watched::start_with(&Watching {
        sentinel_password: Some("of-the-sentinels"),
        node_password: Some("of-the-nodes"),
        ..Watching::default()
    });
    watched.sentinels[2].pause();
    assert_eq!(watched.sentinels[2].try_ask(&["PING"]), None);
    watched.fail_over(0, 0);
    watched.wait_primary(0, 1);
    assert_eq!(watched.shards[0].role(0), "master", "Sentinel does not tell it for a while");

    // Without the old primary the stale sentinel meets nobody who knows better.
    watched.shards[0].nodes[0].kill_hard();
    let (shard, [first, second, third]) = (&watched.shards[0], &watched.sentinels[..]) else {
        panic!("three sentinels")
    };
    let epoch = first.config_epoch(&shard.name);
    let old = shard.nodes[0].address();
    second.point_at(&shard.name, old, watched.majority());
    // Longer than the two seconds after which sentinels tell each other what they know.
    holds_for(Duration::from_millis(2_500), "it believes what it was told", || {
        second.primary(&shard.name) == Some(old)
    });
    assert!(second.config_epoch(&shard.name) < epoch, "the stale sentinel is not stale");
    assert_eq!(watched.primary(0), None, "one of three is a majority");
    third.resume();
    wait_until(support::PATIENCE, "the stopped sentinel hears of the failover", || {
        third.primary(&shard.name) == Some(shard.nodes[1].address())
    });
    assert_eq!(watched.primary(0), Some(1));
}

#[test]
fn calls_are_found_by_whole_names() {
    let text =
        "# Commandstats\r\ncmdstat_getrange:calls=7,usec=1\r\ncmdstat_get:calls=12,usec=9\r\n";
    assert_eq!(calls_in(&Value::bulk(text), "get"), 12);
    assert_eq!(calls_in(&Value::bulk(text), "set"), 0);
}
