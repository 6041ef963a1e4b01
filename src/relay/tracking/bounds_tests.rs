//! CLIENT TRACKING: what is kept here is counted right and bounded, and what nobody would hear of is
//! kept by nobody.

use std::sync::Arc;

use super::tests::{EVERYTHING, all, count, invalid, tracker, tracking, written};
use crate::base::ids::ClientId;
use crate::config::model::DistributionKind;
use crate::relay::world::{World, pool_config, req};
use crate::stats::cells::PoolMetric;

fn tracked_keys(world: &mut World) -> u64 {
    world.relay.write_gauges();
    count(world, PoolMetric::TrackedKeys)
}

#[test]
fn tracked_keys_are_counted_until_they_are_told_of_or_written() {
    let mut world = World::new(1);
    let (id, other) = (tracking(&mut world, ""), tracking(&mut world, ""));
    for reader in [id, id, other] {
        world.ask(reader, &all(&["GET a", "GET b"]));
    }
    assert_eq!(tracked_keys(&mut world), 4);
    world.ask(id, &all(&["SET a 1", "SET x 1"]));
    assert_eq!(tracked_keys(&mut world), 3);
    written(&mut world, 0, &["b"]);
    assert_eq!(tracked_keys(&mut world), 1);
    world.ask(other, &req("DEL a"));
    assert_eq!(tracked_keys(&mut world), 0);
    let table = format!("{:?}", world.relay.pools[0].tracking);
    assert!(table.contains("readers: {}"), "{table}");
}

#[test]
fn one_push_for_many_who_do_not_read_keeps_to_the_budget() {
    let mut world = World::new(1);
    let ids: Vec<ClientId> = (0..20).map(|_| tracking(&mut world, " BCAST")).collect();
    world.deaf.extend(&ids);
    let mut config = (*world.relay.config).clone();
    config.proxy.core_buffer_max_bytes = 10_000;
    world.relay.config = Arc::new(config);
    let keys: Vec<String> = (0..100).map(|n| format!("{n:0100}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let lane = tracker(&world, 0);
    world.reply(lane, invalid(&keys).as_bytes()); // and no turn ends meanwhile
    assert!(world.relay.buffered_bytes < 11_000, "{}", world.relay.buffered_bytes);
}

#[test]
fn an_invalidation_that_names_no_keys_ends_the_tracker() {
    let head = ">2\r\n$10\r\ninvalidate\r\n";
    let strange =
        [">1\r\n$10\r\ninvalidate\r\n", &format!("{head}:1\r\n"), &format!("{head}*1\r\n:1\r\n")];
    for push in strange {
        let mut world = World::new(1);
        let id = tracking(&mut world, "");
        let lane = tracker(&world, 0);
        world.reply(lane, push.as_bytes());
        world.run();
        assert_eq!(world.heard(id), EVERYTHING, "{push:?}");
        assert_ne!(tracker(&world, 0), lane);
    }
}

#[test]
fn where_keys_are_anywhere_all_trackers_have_to_hear() {
    let mut pool = pool_config(2);
    pool.distribution = DistributionKind::Random;
    let mut world = World::with(pool);
    world.stores[0].down = true;
    let id = tracking(&mut world, "");
    for _ in 0..20 {
        let heard = world.ask(id, &req("GET a"));
        assert!(heard.starts_with('-') || heard.ends_with(&invalid(&["a"])), "{heard}");
    }
    world.stores[0].down = false;
    world.advance(2_000);
    assert_eq!(world.ask(id, &req("GET a")), "$-1\r\n");
    written(&mut world, 1, &["a"]);
    assert_eq!(world.heard(id), invalid(&["a"]));
}

#[test]
fn what_a_blocked_client_reads_is_not_kept() {
    let mut world = World::new(1);
    let id = tracking(&mut world, "");
    world.ask(id, &req("GET a")); // so that its tracker is there
    world.stores[0].silent = true;
    world.say(id, &req("XREAD BLOCK 0 STREAMS s $"));
    assert!(world.relay.client(id).unwrap().blocks());
    written(&mut world, 0, &["s"]);
    assert_eq!(world.heard(id), "");
}
