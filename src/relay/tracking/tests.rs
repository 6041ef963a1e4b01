//! CLIENT TRACKING: who hears of which key, and when.

use crate::base::ids::{ClientId, LaneId, PoolId, ShardId};
use crate::base::limits::{
    CLIENT_PREFIXES_MAX, INVALIDATION_MAX_BYTES, TRACKED_KEYS_MAX, TRACKER_LINGER_MS,
    TRACKER_PING_MS,
};
use crate::relay::api::{ClientEnd, LaneEnd};
use crate::relay::lane::LaneState;
use crate::relay::world::{World, pool_config, req, watched_config};
use crate::resp::encode;
use crate::stats::cells::{PoolMetric, ShardMetric};

pub(super) const EVERYTHING: &str = ">2\r\n$10\r\ninvalidate\r\n_\r\n";

pub(super) fn all(requests: &[&str]) -> Vec<u8> {
    requests.iter().flat_map(|words| req(words)).collect()
}

/// What redis says of these keys.
pub(super) fn invalid(keys: &[&str]) -> String {
    let mut out = b">2\r\n$10\r\ninvalidate\r\n".to_vec();
    encode::array_header(&mut out, keys.len());
    keys.iter().for_each(|key| encode::bulk(&mut out, key.as_bytes()));
    String::from_utf8(out).unwrap()
}

/// A client that tracks in this way.
pub(super) fn tracking(world: &mut World, how: &str) -> ClientId {
    let id = world.client();
    assert!(world.ask(id, &req("HELLO 3")).starts_with("%7"));
    assert_eq!(world.ask(id, &req(&format!("CLIENT TRACKING ON{how}"))), "+OK\r\n");
    id
}

/// The tracker of a shard, which is connected.
pub(super) fn tracker(world: &World, shard: usize) -> LaneId {
    let index = world.relay.pools[0].tracking.trackers.unwrap() + shard as u32;
    assert!(world.relay.lanes[index as usize].is_greeted());
    LaneId { index, generation: world.relay.lanes[index as usize].generation }
}

/// A shard's redis tells that these keys were written.
pub(super) fn written(world: &mut World, shard: usize, keys: &[&str]) {
    let lane = tracker(world, shard);
    world.reply(lane, invalid(keys).as_bytes());
    world.run();
}

/// Where the requests of those who track go, on this shard.
fn reads_on(world: &World, shard: usize) -> LaneId {
    let tracker = world.relay.pools[0].tracking.trackers.unwrap() + shard as u32;
    let there = |(id, lane): &&(LaneId, _)| {
        let crate::relay::world::Lane { shard: of, .. } = lane;
        *of == shard && id.index != tracker
    };
    world.lanes.iter().rfind(there).unwrap().0
}

/// A shard's tracker loses its connection.
fn lose_tracker(world: &mut World, shard: usize) -> LaneId {
    let lost = tracker(world, shard);
    world.lanes.retain(|(of, _)| *of != lost);
    world.relay.on_lane_closed(lost, LaneEnd::Eof, world.now);
    world.run();
    lost
}

pub(super) fn count(world: &World, metric: PoolMetric) -> u64 {
    world.stats.pool(PoolId(0), metric).get()
}

#[test]
fn who_has_read_a_key_hears_of_its_change_once() {
    let mut world = World::new(1);
    let (reader, second) = (tracking(&mut world, ""), tracking(&mut world, ""));
    let other = tracking(&mut world, "");
    let plain = world.client();
    for id in [reader, second] {
        assert_eq!(world.ask(id, &req("GET a")), "$-1\r\n");
    }
    world.ask(plain, &req("GET a"));
    world.ask(other, &req("GET b"));
    world.ask(reader, &req("MGET b c"));
    written(&mut world, 0, &["x", "a", "c"]);
    assert_eq!(world.heard(reader), invalid(&["a"]) + &invalid(&["c"]));
    assert_eq!(world.heard(second), invalid(&["a"]));
    assert_eq!((world.heard(other), world.heard(plain)), (String::new(), String::new()));
    written(&mut world, 0, &["a"]);
    assert_eq!(world.heard(reader), "", "it was told, and has not read it again");
    world.ask(reader, &req("GET a"));
    written(&mut world, 0, &["a", "b"]);
    assert_eq!(world.heard(reader), invalid(&["a"]) + &invalid(&["b"]));
    assert_eq!(world.heard(other), invalid(&["b"]));
    let told = world.stats.shard(PoolId(0), ShardId(0), ShardMetric::Invalidations);
    assert_eq!((told.get(), count(&world, PoolMetric::InvalidationsDelivered)), (6, 6));
}

#[test]
fn an_invalidation_never_overtakes_a_value_that_was_asked_for_before() {
    let mut world = World::new(3);
    let id = tracking(&mut world, "");
    let (slow, fast) = (world.key_on(0), world.key_on(1));
    world.ask(id, &all(&[&format!("SET {slow} old"), &format!("SET {fast} 1")]));
    world.silence(0);
    let requests = [format!("GET {slow}"), format!("GET {fast}"), format!("MGET {fast} {slow}")];
    let requests: Vec<&str> = requests.iter().map(String::as_str).collect();
    assert_eq!(world.ask(id, &all(&requests)), "");
    written(&mut world, 0, &[&slow]);
    world.say(id, &req("PING"));
    assert_eq!(world.heard(id), "", "nor anything that was asked for behind it");
    let lane = reads_on(&world, 0);
    world.unsilence_lane(0, lane);
    let values = "$3\r\nold\r\n$1\r\n1\r\n*2\r\n$1\r\n1\r\n$3\r\nold\r\n";
    assert_eq!(world.heard(id), format!("{values}{}+PONG\r\n", invalid(&[&slow])));
    assert_eq!(world.relay.buffered_bytes, 0);
}

#[test]
fn what_a_client_writes_it_hears_of_before_anything_else_it_asks_for() {
    let mut world = World::new(2);
    let (id, other) = (tracking(&mut world, ""), tracking(&mut world, ""));
    let broad = tracking(&mut world, " BCAST PREFIX k");
    let (a, b) = (world.key_on(0), world.key_on(1));
    for reader in [id, other] {
        world.ask(reader, &all(&[&format!("GET {a}"), &format!("GET {b}")]));
    }
    let heard = world.ask(id, &all(&[&format!("MSET {a} 1 {b} 2 zzz 3"), "PING"]));
    assert_eq!(heard, format!("+OK\r\n{}{}+PONG\r\n", invalid(&[&a]), invalid(&[&b])));
    assert_eq!(world.heard(other), "", "of it the redis-server tells");
    assert_eq!(
        world.ask(broad, &req(&format!("DEL {a} zzz"))),
        format!(":2\r\n{}", invalid(&[&a]))
    );
    written(&mut world, 0, &[&a]);
    assert_eq!((world.heard(id), world.heard(other)), (String::new(), invalid(&[&a])));
}

#[test]
fn values_are_not_kept_while_nobody_would_tell_of_a_change() {
    let mut world = World::new(2);
    let (a, b) = (world.key_on(0), world.key_on(1));
    let plain = world.client();
    world.ask(plain, &req("HELLO 3"));
    world.ask(plain, &req(&format!("MGET {a} {b}")));
    world.stores[0].down = true;
    let (id, broad) = (tracking(&mut world, ""), tracking(&mut world, " BCAST PREFIX nokey"));
    let expected = format!("$-1\r\n{}$-1\r\n", invalid(&[&a]));
    let requests = all(&[&format!("GET {a}"), &format!("GET {b}")]);
    assert_eq!(world.ask(id, &requests), expected, "its shard's tracker is down");
    assert_eq!(world.ask(broad, &requests), "$-1\r\n$-1\r\n", "it does not keep these");
    world.stores[0].down = false;
    world.advance(2_000);
    assert_eq!(world.ask(id, &requests), "$-1\r\n$-1\r\n");
    written(&mut world, 0, &[&a]);
    assert_eq!(world.heard(id), invalid(&[&a]));
}

#[test]
fn when_a_tracker_is_lost_everybody_forgets_everything() {
    for watched in [false, true] {
        let mut world = World::with(if watched { watched_config(2) } else { pool_config(2) });
        if watched {
            (0..2).for_each(|shard| world.publish(shard, |known| known.verified = 1));
        }
        let (id, broad) = (tracking(&mut world, ""), tracking(&mut world, " BCAST"));
        let plain = world.client();
        let a = world.key_on(0);
        world.ask(id, &req(&format!("GET {a}")));
        world.silence(0);
        world.say(id, &req(&format!("GET {a}")));
        world.stores[0].down = true;
        let of_reads = reads_on(&world, 0);
        let lost = lose_tracker(&mut world, 0);
        assert_eq!(world.heard(broad), EVERYTHING);
        assert_eq!(world.heard(id), "", "its value comes first");
        world.stores[0].down = false;
        world.unsilence_lane(0, of_reads);
        assert_eq!(world.heard(id), format!("$-1\r\n{EVERYTHING}"));
        assert_eq!(world.heard(plain), "");
        assert_eq!(count(&world, PoolMetric::InvalidationsOfAll), 1);
        world.publish(0, |known| known.verified += 1);
        world.advance(2_000);
        let next = tracker(&world, 0);
        assert_ne!(next, lost);
        world.reply(lost, invalid(&[&a]).as_bytes());
        assert_eq!(world.heard(broad), "", "the old connection is nobody's");
        written(&mut world, 0, &["z"]);
        assert_eq!(world.heard(broad), invalid(&["z"]));
    }
}

#[test]
fn when_a_primary_moves_everybody_forgets_everything() {
    let mut world = World::with(watched_config(1));
    world.stores.push(Default::default());
    world.publish(0, |known| known.verified = 1);
    let id = tracking(&mut world, "");
    world.ask(id, &req("GET a"));
    let second = crate::topology::NodeEndpoint::Unix("/s1".into());
    world.publish(0, |known| {
        known.primary = Some(second);
        known.verified = 2;
    });
    assert_eq!(world.heard(id), EVERYTHING);
    world.ask(id, &req("GET a"));
    let lane = tracker(&world, 0);
    assert!(world.lanes.iter().any(|(of, at)| *of == lane && at.shard == 1));
    written(&mut world, 0, &["a"]);
    assert_eq!(world.heard(id), invalid(&["a"]));
}

#[test]
fn who_opts_in_hears_of_what_it_chose_and_of_nothing_else() {
    let mut world = World::new(1);
    let id = tracking(&mut world, " OPTIN");
    let ask = |world: &mut World, requests: &[&str]| world.ask(id, &all(requests));
    ask(&mut world, &["GET a", "CLIENT CACHING YES", "GET b", "GET c"]);
    ask(&mut world, &["CLIENT CACHING YES", "CLIENT ID", "GET d"]);
    ask(&mut world, &["CLIENT CACHING YES", "NOSUCHCOMMAND", "GET e"]);
    written(&mut world, 0, &["a", "b", "c", "d", "e"]);
    assert_eq!(world.heard(id), invalid(&["b"]) + &invalid(&["d"]), "as in redis: till the next");

    let out = tracking(&mut world, " OPTOUT");
    let requests = ["GET a", "CLIENT CACHING NO", "GET b", "CLIENT CACHING NO", "GET", "GET c"];
    world.ask(out, &all(&requests));
    written(&mut world, 0, &["a", "b", "c"]);
    assert_eq!(world.heard(out), invalid(&["a"]) + &invalid(&["c"]));
}

#[test]
fn a_transaction_reads_when_it_is_executed() {
    let mut world = World::new(1);
    let id = tracking(&mut world, " OPTIN");
    let queued = ["CLIENT CACHING YES", "MULTI", "GET a", "GET b"];
    let heard = world.ask(id, &all(&queued));
    assert_eq!(heard, "+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    written(&mut world, 0, &["a"]);
    assert_eq!(world.heard(id), "", "it has not read it yet");
    assert_eq!(world.ask(id, &req("EXEC")), "*2\r\n$-1\r\n$-1\r\n");
    world.ask(id, &req("GET c"));
    written(&mut world, 0, &["a", "b", "c"]);
    assert_eq!(world.heard(id), invalid(&["a"]) + &invalid(&["b"]));
    let own = ["CLIENT CACHING YES", "MULTI", "GET a", "SET a 1", "EXEC"];
    assert!(world.ask(id, &all(&own)).ends_with(&invalid(&["a"])), "it wrote what it read");
    world.ask(id, &all(&["CLIENT CACHING YES", "MULTI", "GET d", "DISCARD"]));
    written(&mut world, 0, &["a", "d"]);
    assert_eq!(world.heard(id), "");
}

#[test]
fn who_wants_all_keys_hears_of_those_with_its_prefixes() {
    let mut world = World::new(2);
    let every = tracking(&mut world, " BCAST");
    let some = tracking(&mut world, " BCAST PREFIX user: PREFIX x");
    let same = tracking(&mut world, " BCAST PREFIX x");
    written(&mut world, 0, &["user:1", "y"]);
    written(&mut world, 1, &["xy", "user", ""]);
    let told = |keys: &[&str]| keys.iter().map(|key| invalid(&[key])).collect::<String>();
    assert_eq!(world.heard(every), told(&["user:1", "y", "xy", "user", ""]));
    assert_eq!(world.heard(some), told(&["user:1", "xy"]));
    assert_eq!(world.heard(same), told(&["xy"]));
    world.relay.on_client_closed(some, ClientEnd::Eof, world.now);
    world.ask(every, &req("CLIENT TRACKING OFF"));
    written(&mut world, 0, &["user:1", "x"]);
    assert_eq!((world.heard(every), world.heard(same)), (String::new(), told(&["x"])));
    world.relay.on_client_closed(same, ClientEnd::Eof, world.now);
    let table = &world.relay.pools[0].tracking;
    assert!(format!("{table:?}").contains("listeners: {}, lengths: {}"), "{table:?}");
}

#[test]
fn after_flushall_everybody_forgets_everything() {
    let mut world = World::new(1);
    let (id, other) = (tracking(&mut world, ""), tracking(&mut world, " BCAST PREFIX x"));
    world.ask(id, &req("GET a"));
    let lane = tracker(&world, 0);
    world.reply(lane, EVERYTHING.as_bytes());
    world.run();
    assert_eq!((world.heard(id), world.heard(other)), (EVERYTHING.into(), EVERYTHING.into()));
    written(&mut world, 0, &["a"]);
    assert_eq!(world.heard(id), "");
    let flushed = world.ask(id, &all(&["FLUSHALL", "PING"]));
    assert!(flushed.ends_with(&format!("{EVERYTHING}+PONG\r\n")), "its own: {flushed}");
}

#[test]
fn more_keys_than_are_remembered_are_forgotten_by_all() {
    let mut world = World::new(1);
    let id = tracking(&mut world, "");
    let filler = tracking(&mut world, "");
    let table = &mut world.relay.pools[0].tracking;
    for n in 0..TRACKED_KEYS_MAX - 1 {
        assert!(table.remember(format!("k{n}").as_bytes(), filler));
    }
    assert_eq!(world.ask(id, &req("GET a")), "$-1\r\n");
    let last = world.ask(id, &all(&["GET b", "GET c"]));
    assert_eq!(last, format!("$-1\r\n{EVERYTHING}$-1\r\n"));
    assert_eq!(world.heard(filler), EVERYTHING);
    assert_eq!(count(&world, PoolMetric::TrackingOverflows), 1);
    written(&mut world, 0, &["a", "b", "c"]);
    assert_eq!(world.heard(id), invalid(&["c"]));
}

#[test]
fn a_long_list_of_keys_is_collected_and_a_longer_one_means_all() {
    let mut world = World::new(1);
    world.piece = 60_000;
    let id = tracking(&mut world, "");
    world.ask(id, &req("GET a"));
    let long: Vec<String> = (0..10_000).map(|n| format!("some-key-{n:020}")).collect();
    let mut keys: Vec<&str> = long.iter().map(String::as_str).collect();
    keys.push("a");
    // A sign of life is under way meanwhile.
    world.stores[0].silent = true;
    world.advance(TRACKER_PING_MS + 1);
    written(&mut world, 0, &keys);
    assert_eq!(world.heard(id), invalid(&["a"]));
    let lane = tracker(&world, 0);
    world.unsilence_lane(0, lane);
    let huge = "x".repeat(INVALIDATION_MAX_BYTES);
    written(&mut world, 0, &[&huge, &huge, "a"]);
    assert_eq!(world.heard(id), EVERYTHING);
    assert_eq!(tracker(&world, 0), lane, "and the lane goes on");
    world.ask(id, &req("GET a"));
    written(&mut world, 0, &["a"]);
    assert_eq!(world.heard(id), invalid(&["a"]));
}

#[test]
fn who_mutes_replies_hears_invalidations() {
    let mut world = World::new(1);
    let id = tracking(&mut world, "");
    world.ask(id, &all(&["GET a", "GET b", "CLIENT REPLY SKIP"]));
    written(&mut world, 0, &["a"]);
    assert_eq!(world.heard(id), invalid(&["a"]));
    assert_eq!(world.ask(id, &all(&["PING", "PING heard"])), "$5\r\nheard\r\n");
    world.ask(id, &req("CLIENT REPLY OFF"));
    world.stores[0].silent = true;
    world.say(id, &req("GET c"));
    written(&mut world, 0, &["b"]);
    let lane = reads_on(&world, 0);
    world.unsilence_lane(0, lane);
    assert_eq!(world.heard(id), invalid(&["b"]));
    assert_eq!(world.relay.buffered_bytes, 0);
}

#[test]
fn who_blocks_hears_invalidations_meanwhile() {
    let mut world = World::new(1);
    let id = tracking(&mut world, "");
    world.ask(id, &all(&["GET a", "GET e"]));
    world.stores[0].silent = true;
    world.say(id, &all(&["GET b", "BLPOP q 0", "GET d"]));
    written(&mut world, 0, &["b"]);
    assert_eq!(world.heard(id), "");
    let of_reads = reads_on(&world, 0);
    world.unsilence_lane(0, of_reads);
    assert_eq!(world.heard(id), format!("$-1\r\n{}", invalid(&["b"])));
    assert_eq!(world.stores[0].blocking, ["BLPOP q 0"]);
    written(&mut world, 0, &["a"]);
    assert_eq!(world.heard(id), invalid(&["a"]), "at once");
    let private = world.lane_of_shard(0);
    let head = "*2\r\n$1\r\nq\r\n$100000\r\n";
    world.reply(private, format!("{head}{}", "0".repeat(70_000)).as_bytes());
    written(&mut world, 0, &["e"]);
    world.reply(private, format!("{}\r\n", "0".repeat(30_000)).as_bytes());
    world.run();
    let expected = format!("{head}{}\r\n{}$-1\r\n", "0".repeat(100_000), invalid(&["e"]));
    assert!(world.heard(id) == expected, "but not in the middle of a value");
}

#[test]
fn who_does_not_read_invalidations_is_closed() {
    let mut pool = pool_config(1);
    pool.limits.client_output_max_bytes = 10_000;
    let mut world = World::with(pool);
    let (id, busy) = (tracking(&mut world, " BCAST"), tracking(&mut world, " BCAST"));
    world.deaf.push(id);
    world.stores[0].silent = true;
    world.say(busy, &req("GET a"));
    for n in 0..300 {
        written(&mut world, 0, &[&format!("key{n}")]);
    }
    assert_eq!(world.finished.len(), 2, "nor may they wait for a reply without bound");
    assert_eq!(world.relay.buffered_bytes, 0);
}

#[test]
fn a_tracker_that_says_nothing_is_given_up() {
    let mut world = World::new(1);
    let id = tracking(&mut world, "");
    world.ask(id, &req("GET a"));
    let before = tracker(&world, 0);
    for _ in 0..4 {
        world.advance(TRACKER_PING_MS + 1);
    }
    assert_eq!((tracker(&world, 0), world.heard(id)), (before, String::new()), "it answers");
    world.stores[0].silent = true;
    world.advance(TRACKER_PING_MS + 1);
    assert_eq!(world.heard(id), "");
    world.stores[0].silent = false;
    world.advance(TRACKER_PING_MS + 1);
    assert_eq!(world.heard(id), EVERYTHING);
    assert_ne!(tracker(&world, 0), before);
}

#[test]
fn trackers_are_closed_when_nobody_tracks_any_more() {
    for watched in [false, true] {
        let mut world = World::with(if watched { watched_config(1) } else { pool_config(1) });
        if watched {
            world.publish(0, |known| known.verified = 1);
        }
        let id = tracking(&mut world, "");
        let lane = tracker(&world, 0);
        world.ask(id, &req("RESET"));
        world.relay.write_gauges();
        world.run();
        assert_eq!(tracker(&world, 0), lane, "who comes soon finds it there");
        world.advance(TRACKER_LINGER_MS);
        world.relay.write_gauges();
        world.run();
        assert!(world.lanes.iter().all(|(of, _)| *of != lane));
        assert_eq!(world.relay.lanes[lane.index as usize].state, LaneState::Idle);
        assert_eq!(count(&world, PoolMetric::TrackingClients), 0);
        let id = tracking(&mut world, "");
        world.ask(id, &req("GET a"));
        written(&mut world, 0, &["a"]);
        assert_eq!(world.heard(id), invalid(&["a"]));
        assert_eq!(world.relay.lane_bytes, 0);
    }
}

#[test]
fn nothing_is_kept_of_a_server_that_does_not_track() {
    let mut world = World::new(1);
    world.stores[0].silent = true;
    let id = world.client();
    world.say(id, &all(&["HELLO 3", "CLIENT TRACKING ON"]));
    let lane = world.lane_of_shard(0);
    world.stores[0].held.clear();
    world.reply(lane, b"%1\r\n+proto\r\n:3\r\n-NOPERM no permissions\r\n+OK\r\n+PONG\r\n");
    world.stores[0].down = true;
    world.run();
    assert!(world.lanes.iter().all(|(of, _)| *of != lane));
    (world.stores[0].silent, world.stores[0].down) = (false, false);
    world.heard(id);
    assert_eq!(world.ask(id, &req("GET a")), format!("$-1\r\n{}", invalid(&["a"])));
}

#[test]
fn what_can_not_be_honest_is_refused() {
    let mut world = World::new(1);
    let id = world.client();
    let refused = |world: &mut World, words: &str, says: &str| {
        let heard = world.ask(id, &req(words));
        assert!(heard.starts_with("-ERR ") && heard.contains(says), "{words}: {heard}");
    };
    refused(&mut world, "CLIENT TRACKING ON", "say HELLO 3 before");
    world.ask(id, &req("HELLO 3"));
    refused(&mut world, "CLIENT TRACKING ON NOLOOP", "Track without it");
    refused(&mut world, "CLIENT TRACKING ON REDIRECT 1", "say HELLO 3");
    let many: Vec<String> = (0..=CLIENT_PREFIXES_MAX).map(|n| format!("PREFIX p{n}:")).collect();
    refused(&mut world, &format!("CLIENT TRACKING ON BCAST {}", many.join(" ")), "64 prefixes");
    assert!(world.stores[0].seen.is_empty());
    assert_eq!(world.ask(id, &req("CLIENT TRACKING ON")), "+OK\r\n");
    refused(&mut world, "HELLO 2", "CLIENT TRACKING OFF before");
    let list = world.ask(id, &req("CLIENT LIST"));
    assert!(list.contains(" flags=t ") && list.contains(" redir=0 "), "{list}");
}

#[test]
fn who_guards_keys_executes_in_its_turn_and_hears_of_what_it_read() {
    let mut world = World::new(1);
    let id = tracking(&mut world, "");
    world.silence(0);
    world.say(id, &req("GET a"));
    written(&mut world, 0, &["a"]);
    world.say(id, &all(&["WATCH a", "MULTI", "GET a", "EXEC", "GET b"]));
    let lane = reads_on(&world, 0);
    world.unsilence_lane(0, lane);
    let executed = "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n$-1\r\n$-1\r\n";
    assert_eq!(world.heard(id), format!("$-1\r\n{}{executed}", invalid(&["a"])));
    written(&mut world, 0, &["b", "a"]);
    assert_eq!(world.heard(id), invalid(&["b"]) + &invalid(&["a"]));
}
