//! The lanes that subscribe: in step or closed, renewed without a word, on the right shard.

use crate::base::limits::{SUBSCRIBE_AGAIN_MS, SUBSCRIBER_PING_MS};
use crate::config::model::{HashKind, NodeAddress};
use crate::relay::subscribe_tests::{assert_nothing_left, frame, push};
use crate::relay::world::{Store, World, req, watched_config};
use crate::stats::cells::ShardMetric;
use crate::topology::NodeEndpoint;

#[test]
fn a_lost_connection_subscribes_again_and_nobody_is_told() {
    let mut world = World::new(2);
    let (client, late) = (world.client(), world.client());
    world.ask(client, &req("PSUBSCRIBE *"));
    let channel = world.key_on(1);
    world.ask(client, &req(&format!("SUBSCRIBE {channel}")));
    world.stores[1].down = true;
    world.lose(1);
    assert!(world.ask(late, &req(&format!("SUBSCRIBE {channel}"))).starts_with("-ERR "));
    world.advance(500);
    world.stores[1].down = false;
    world.stores[1].subscribe_says = Some("BUSY a script");
    world.advance(1_500);
    assert_eq!(world.topics_on(1), Vec::<String>::new());
    world.stores[1].subscribe_says = None;
    world.advance(SUBSCRIBE_AGAIN_MS);
    assert_eq!(world.topics_on(1), [channel.as_str(), "*"], "what was refused is tried again");
    assert_eq!(world.heard(client), "", "nobody is told");
    world.publish_on(1, &channel, "text");
    let expected =
        frame(&["message", &channel, "text"]) + &frame(&["pmessage", "*", &channel, "text"]);
    assert_eq!(world.heard(client), expected);
    let heard = world.ask(late, &req(&format!("SUBSCRIBE {channel}")));
    assert_eq!(heard, frame(&["subscribe", &channel, "1"]));
}

#[test]
fn a_failover_is_not_heard_and_the_old_primary_neither() {
    let mut world = watched();
    let (client, late) = (world.client(), world.client());
    assert_eq!(world.ask(client, &req("SUBSCRIBE a")), frame(&["subscribe", "a", "1"]));
    let old = world.lane_of_shard(0);
    world.stores[0].down = true;
    world.lose(0);
    world.say(late, &req("SUBSCRIBE a"));
    world.relay.on_lane_bytes(old, frame(&["message", "a", "late"]).as_bytes(), world.now);
    world.advance(1_000);
    assert_eq!((world.heard(client), world.heard(late)), (String::new(), String::new()));
    world.stores[0].down = false;
    world.publish(0, |shard| shard.verified = 2);
    world.advance(1_000);
    assert_eq!(world.heard(late), frame(&["subscribe", "a", "1"]), "held until then");
    world.publish_on(0, "a", "text");
    for id in [client, late] {
        assert_eq!(world.heard(id), frame(&["message", "a", "text"]));
    }
    // The primary moves: its connection is closed at once.
    world.publish(0, |shard| shard.paused = true);
    world.publish_on(0, "a", "paused");
    for id in [client, late] {
        assert_eq!(world.heard(id), frame(&["message", "a", "paused"]), "no write is in it");
    }
    world.stores[0].down = true;
    world.lose(0);
    world.say(late, &req("SUBSCRIBE b"));
    world.advance(5_001);
    assert!(world.heard(late).starts_with("-LOADING "), "past hold_ms");
    world.stores[0].down = false;
    world.publish(0, |shard| shard.verified = 3);
    world.advance(1_000);
    assert_eq!(world.topics_on(0), ["a"], "what failed is not subscribed");
    world.stores.push(Store::default());
    world.publish(0, |shard| {
        shard.verified = 4;
        shard.primary = Some(NodeEndpoint::Unix("/s1".into()));
    });
    assert!(world.topics_on(0).is_empty(), "the old one is left at once");
    assert_eq!(world.publish_on(0, "a", "old"), 0);
    assert_eq!(world.publish_on(1, "a", "new"), 1);
    for id in [client, late] {
        assert_eq!(world.heard(id), frame(&["message", "a", "new"]));
    }
}

#[test]
fn a_frame_that_was_not_asked_for_ends_the_connection() {
    for stray in [
        frame(&["message", "b", "text"]),
        frame(&["message", "a"]),
        frame(&["subscribe", "a", "1"]),
        frame(&["unsubscribe", "a", "0"]),
        frame(&["pong", ""]),
        "+PONG\r\n".to_owned(),
        "+OK\r\n".to_owned(),
        ":1\r\n".to_owned(),
        "*-1\r\n".to_owned(),
        "*0\r\n".to_owned(),
        "-ERR what\r\n".to_owned(),
        push(&["message", "a", "text"]),
    ] {
        let mut world = World::new(1);
        let client = world.client();
        world.ask(client, &req("SUBSCRIBE a"));
        let lane = world.lane_of_shard(0);
        world.reply(lane, stray.as_bytes());
        world.run();
        let pool = crate::base::ids::PoolId(0);
        let shard = crate::base::ids::ShardId(0);
        let cell = world.stats.shard(pool, shard, ShardMetric::LaneDesynchronised);
        assert_eq!(cell.get(), 1, "{stray:?}");
        assert_eq!(world.heard(client), "", "{stray:?} is nobody's");
        assert_ne!(world.lane_of_shard(0), lane);
        world.publish_on(0, "a", "text");
        assert_eq!(world.heard(client), frame(&["message", "a", "text"]), "subscribed again");
    }
}

#[test]
fn a_message_on_its_way_when_nobody_listens_any_more_is_dropped() {
    let mut world = World::new(1);
    let (client, other) = (world.client(), world.client());
    world.ask(client, &req("SUBSCRIBE a"));
    let lane = world.lane_of_shard(0);
    world.silence(0);
    world.ask(client, &req("UNSUBSCRIBE a"));
    world.say(other, &req("SUBSCRIBE a"));
    world.reply(lane, frame(&["message", "a", "late"]).as_bytes());
    world.run();
    assert_eq!((world.heard(client), world.heard(other)), (String::new(), String::new()));
    world.unsilence(0);
    assert_eq!(world.lane_of_shard(0), lane, "in step");
    assert_eq!(world.heard(other), frame(&["subscribe", "a", "1"]));
    world.publish_on(0, "a", "text");
    assert_eq!(world.heard(other), frame(&["message", "a", "text"]));
}

#[test]
fn an_idle_connection_is_asked_for_a_sign_of_life() {
    let mut world = World::new(1);
    let client = world.client();
    world.ask(client, &req("SUBSCRIBE a"));
    let lane = world.lane_of_shard(0);
    let pings = |world: &World| world.stores[0].seen.iter().filter(|name| *name == "PING").count();
    let before = pings(&world);
    world.advance(SUBSCRIBER_PING_MS + 1);
    world.advance(SUBSCRIBER_PING_MS + 1);
    assert_eq!((world.lane_of_shard(0), pings(&world)), (lane, before), "answered as a subscriber");
    world.silence(0);
    world.advance(SUBSCRIBER_PING_MS + 1);
    world.stores[0].held.clear();
    world.stores[0].silent = false;
    world.advance(1_001);
    assert_ne!(world.lane_of_shard(0), lane, "a silent one is given up");
    world.publish_on(0, "a", "text");
    assert_eq!(world.heard(client), frame(&["message", "a", "text"]));
}

#[test]
fn a_shard_that_gets_another_address_is_subscribed_there() {
    let mut world = World::new(1);
    world.stores.push(Store::default());
    let (client, late) = (world.client(), world.client());
    world.ask(client, &req("SUBSCRIBE a"));
    world.silence(0);
    world.say(late, &req("SUBSCRIBE b"));
    world.reload(|pool| pool.shards[0].address = NodeAddress::Unix { path: "/s1".into() });
    assert!(world.topics_on(0).is_empty(), "the old one is left");
    assert_eq!(world.heard(late), frame(&["subscribe", "b", "1"]));
    world.publish_on(1, "a", "text");
    assert_eq!(world.heard(client), frame(&["message", "a", "text"]));
    world.ask(late, &req("UNSUBSCRIBE"));
    world.ask(client, &req("UNSUBSCRIBE"));
    assert_nothing_left(&world);
}

/// A watched shard whose primary is verified.
fn watched() -> World {
    let mut world = World::with(watched_config(1));
    world.publish(0, |shard| {
        shard.primary = Some(NodeEndpoint::Unix("/s0".into()));
        shard.verified = 1;
        shard.writable = true;
    });
    world
}

#[test]
fn a_lane_that_subscribes_puts_no_primary_in_doubt_before_it_is_refused() {
    let mut world = watched();
    let (listener, client) = (world.client(), world.client());
    assert_eq!(world.ask(client, &req("SET a 1")), "+OK\r\n");
    world.ask(listener, &req("SUBSCRIBE a"));
    let lane = world.lane_of_shard(0);
    for _ in 0..5 {
        world.lose(0);
        world.advance(3_000);
        assert_eq!(world.ask(client, &req("GET a")), "$1\r\n1\r\n", "nobody else waits");
        assert_ne!(world.lane_of_shard(0), lane);
        world.publish_on(0, "a", "text");
        assert_eq!(world.heard(listener), frame(&["message", "a", "text"]));
    }
    assert!(world.relay.next_report().is_some(), "it is told");
    world.stores[0].down = true;
    world.lose(0);
    world.advance(1_000);
    world.stores[0].down = false;
    world.advance(3_000);
    assert!(world.topics_on(0).is_empty(), "a refused connection is a doubt: it waits for news");
    world.publish(0, |shard| shard.verified = 2);
    world.advance(3_000);
    assert_eq!(world.topics_on(0), ["a"]);
}

#[test]
fn channels_that_move_with_their_keys_are_subscribed_where_they_are() {
    let mut world = World::new(2);
    let (client, late) = (world.client(), world.client());
    let names: Vec<String> = (0..8).map(|n| format!("channel{n}")).collect();
    world.ask(client, &req(&format!("SUBSCRIBE {}", names.join(" "))));
    world.ask(client, &req("PSUBSCRIBE n*"));
    let before = [0, 1].map(|shard| world.topics_on(shard));
    world.silence(0);
    world.silence(1);
    world.say(late, &req("SUBSCRIBE late0 late1 late2 late3"));
    world.reload(|pool| pool.hash = HashKind::Md5);
    world.unsilence(0);
    world.unsilence(1);
    let after = [0, 1].map(|shard| world.topics_on(shard));
    assert_ne!(before, after);
    assert_eq!(world.heard(late).matches("subscribe").count(), 4);
    for name in &names {
        let home = world.relay.pools[0].router.shard_of(name.as_bytes(), 0).index();
        assert!(after[home].contains(name) && !after[1 - home].contains(name), "{name}");
        assert_eq!(world.publish_on(home, name, "text"), 1);
        assert_eq!(world.heard(client), frame(&["message", name, "text"]));
    }
    for id in [client, late] {
        world.ask(id, &[req("UNSUBSCRIBE"), req("PUNSUBSCRIBE")].concat());
    }
    assert_nothing_left(&world);
}
