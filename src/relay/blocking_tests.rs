//! Blocking commands and the private connections they run on, request by request.

use std::path::PathBuf;

use crate::base::ids::{ClientId, LaneId, PoolId, ShardId};
use crate::base::limits::{BLOCK_GRACE_MS, BLOCK_RECONNECT_MS, PRIVATE_IDLE_MS};
use crate::config::model::PoolConfig;
use crate::relay::api::{ClientEnd, Report};
use crate::relay::lane::LaneState;
use crate::relay::world::{Store, World, pool_config, req, watched_config};
use crate::stats::cells::{PoolMetric, ShardMetric};
use crate::topology::NodeEndpoint;

pub(super) const NIL: &str = "*-1\r\n";
const UNBLOCKED: &[u8] = b"-UNBLOCKED force unblock from blocking operation, instance state \
                           changed (master -> replica?)\r\n";

pub(super) fn world_with(change: impl FnOnce(&mut PoolConfig)) -> (World, ClientId) {
    let mut pool = pool_config(1);
    change(&mut pool);
    let mut world = World::with(pool);
    let client = world.client();
    (world, client)
}

/// One shard on node 0, whose next primary may be node 1, and a client.
pub(super) fn watched_with(change: impl FnOnce(&mut PoolConfig)) -> (World, ClientId) {
    let mut pool = watched_config(1);
    change(&mut pool);
    let mut world = World::with(pool);
    world.stores.push(Store::default());
    world.publish(0, |shard| shard.verified = 1);
    let client = world.client();
    (world, client)
}

pub(super) fn promote(world: &mut World) {
    world.publish(0, |shard| {
        shard.verified += 1;
        shard.primary = Some(NodeEndpoint::Unix(PathBuf::from("/s1")));
    });
}

pub(super) fn popped(key: &str, value: &str) -> String {
    format!("*2\r\n${}\r\n{key}\r\n${}\r\n{value}\r\n", key.len(), value.len())
}

pub(super) fn count(world: &World, metric: ShardMetric) -> u64 {
    world.stats.shard(PoolId(0), ShardId(0), metric).get()
}

/// Connections that are there: private ones.
pub(super) fn private(world: &World) -> Vec<LaneId> {
    let private = |id: &LaneId| world.relay.lanes[id.index as usize].private.is_some();
    world.lanes.iter().map(|(id, _)| *id).filter(private).collect()
}

/// The store pushes what the client on this connection waits for.
fn push(world: &mut World, lane: LaneId, value: &str) {
    world.reply(lane, popped("q", value).as_bytes());
    world.run();
}

pub(super) fn at_rest(world: &World) {
    let relay = &world.relay;
    assert_eq!((relay.buffered_bytes, relay.lane_bytes), (0, 0));
    let lending = &relay.pools[0].lendings[0];
    assert_eq!((lending.lent(), lending.waiting.len()), (0, 0), "{lending:?}");
    for metric in [PoolMetric::BlockedClients, PoolMetric::WatchingClients] {
        assert_eq!(world.stats.pool(PoolId(0), metric).get(), 0, "{metric:?}");
    }
}

#[test]
fn what_is_there_is_popped_at_once_and_the_connection_is_lent_again() {
    let (mut world, client) = world_with(|_| ());
    for value in ["1", "2", "3"] {
        assert_eq!(world.ask(client, &req(&format!("SET q {value}"))), "+OK\r\n");
        assert_eq!(world.ask(client, &req("BLPOP q 5")), popped("q", value));
    }
    assert_eq!(private(&world).len(), 1, "one connection for all three");
    let other = world.client();
    world.say(other, &req("SET q 4"));
    assert_eq!(world.ask(other, &req("BLPOP q 5")), format!("+OK\r\n{}", popped("q", "4")));
    assert_eq!(private(&world).len(), 1);
    assert_eq!(world.stores[0].blocking, ["BLPOP q 5"; 4], "as the clients said it");
    at_rest(&world);
}

#[test]
fn who_blocks_holds_up_itself_alone_and_in_order() {
    let (mut world, client) = world_with(|_| ());
    let other = world.client();
    world.silence(0);
    world.say(client, &[req("GET a"), req("BLPOP q 0"), req("SET b 1"), req("GET b")].concat());
    assert!(world.stores[0].blocking.is_empty(), "what it asked for before comes first");
    world.unsilence(0);
    assert_eq!(world.heard(client), "$-1\r\n", "and is not held back");
    assert_eq!(world.stores[0].blocking, ["BLPOP q 0"]);
    assert_eq!(world.ask(other, &req("GET b")), "$-1\r\n", "others go on");
    assert!(world.ask(other, &req("CLIENT LIST")).contains("flags=b"));
    assert!(world.relay.is_quiet() || !world.relay.waits(client), "no reply to come soon");
    let lane = private(&world)[0];
    push(&mut world, lane, "v");
    assert_eq!(world.heard(client), format!("{}+OK\r\n$1\r\n1\r\n", popped("q", "v")));
    at_rest(&world);
}

#[test]
fn its_own_time_counts_and_not_that_of_other_requests() {
    let (mut world, client) = world_with(|_| ());
    world.say(client, &req("BLPOP q 10"));
    world.advance(9_900);
    assert_eq!(world.heard(client), "");
    world.reply(private(&world)[0], NIL.as_bytes());
    world.run();
    assert_eq!(world.heard(client), NIL);
    assert_eq!(private(&world).len(), 1, "clean");
    // A server that does not end it: the connection is given up.
    world.say(client, &req("BLPOP q 10"));
    world.advance(10_000 + BLOCK_GRACE_MS - 1);
    assert_eq!(world.heard(client), "");
    world.advance(1);
    assert_eq!(world.heard(client), "-ERR Connection timed out: shard s0000 at unix:/s0\r\n");
    assert!(private(&world).is_empty());
    // For ever is for ever.
    world.say(client, &req("BLPOP q 0"));
    world.advance(1_000_000_000);
    assert_eq!(world.heard(client), "");
    let lane = private(&world)[0];
    push(&mut world, lane, "v");
    assert_eq!(world.heard(client), popped("q", "v"));
    at_rest(&world);
}

/// As with redis: what is there is popped at once, whatever the time.
#[test]
fn a_connection_that_takes_longer_than_the_command_may_is_used_once() {
    let (mut world, client) = world_with(|_| ());
    world.stores[0].keys.insert(b"q".to_vec(), b"1".to_vec());
    world.silence(0);
    world.say(client, &req("BLPOP q 0.01"));
    world.advance(20);
    assert_eq!(world.heard(client), "");
    world.unsilence(0);
    assert_eq!(world.heard(client), popped("q", "1"));
    // One that was asked in vain is not asked again when its time is over.
    world.say(client, &req("BLPOP q 0.01"));
    world.silence(0);
    world.lose(0);
    world.advance(20);
    world.unsilence(0);
    assert_eq!(world.heard(client), NIL);
    assert_eq!(world.stores[0].blocking, ["BLPOP q 0.01"; 2]);
    at_rest(&world);
}

#[test]
fn who_leaves_takes_its_connection_along() {
    for end in [ClientEnd::Eof, ClientEnd::Error(104), ClientEnd::Asked] {
        let (mut world, client) = world_with(|_| ());
        world.say(client, &req("BLPOP q 0"));
        assert_eq!(private(&world).len(), 1);
        assert!(!world.relay.owes(client), "whoever says goodbye is not popped for");
        world.relay.on_client_closed(client, end, world.now);
        world.run();
        assert!(private(&world).is_empty(), "closed at once");
        at_rest(&world);
    }
}

#[test]
fn who_says_goodbye_hears_what_it_asked_for_before() {
    let (mut world, client) = world_with(|_| ());
    world.silence(0);
    world.say(client, &[req("GET a"), req("BLPOP q 0")].concat());
    assert!(world.relay.owes(client));
    world.unsilence(0);
    assert_eq!(world.heard(client), "$-1\r\n");
    assert!(world.stores[0].blocking.is_empty() && !world.relay.owes(client));
}

#[test]
fn when_all_are_lent_the_others_hear_so_or_wait() {
    let (mut world, client) = world_with(|pool| pool.limits.private_connections_max = 1);
    let other = world.client();
    world.say(client, &req("BLPOP q 0"));
    let refused = world.ask(other, &[req("BLPOP q 0"), req("PING")].concat());
    let text = "-ERR all 1 private connections of this core to shard s0000 are lent \
                (private_connections_max): not executed\r\n+PONG\r\n";
    assert_eq!(refused, text);
    assert_eq!(count(&world, ShardMetric::PrivateRefused), 1);

    let (mut world, client) = world_with(|pool| {
        (pool.limits.private_connections_max, pool.limits.private_connections_queue) = (1, 2);
    });
    let (second, third, fourth) = (world.client(), world.client(), world.client());
    world.say(client, &req("BLPOP q 0"));
    world.say(second, &req("BLPOP q 5"));
    world.say(third, &req("BLPOP q 10"));
    assert!(world.ask(fourth, &req("BLPOP q 0")).contains("2 clients wait"));
    world.advance(5_000);
    assert_eq!(world.heard(second), NIL, "its time is over");
    let lane = private(&world)[0];
    push(&mut world, lane, "v");
    assert_eq!(world.heard(client), popped("q", "v"));
    assert_eq!(world.stores[0].blocking, ["BLPOP q 0", "BLPOP q 5.000"], "what was left of 10 s");
    assert_eq!(private(&world), [lane], "on the same connection");
    push(&mut world, lane, "w");
    assert_eq!(world.heard(third), popped("q", "w"));
    at_rest(&world);
}

#[test]
fn a_connection_of_another_database_makes_room() {
    let (mut world, client) = world_with(|pool| pool.limits.private_connections_max = 1);
    world.stores[0].keys.insert(b"q".to_vec(), b"1".to_vec());
    assert_eq!(world.ask(client, &req("BLPOP q 1")), popped("q", "1"));
    let first = private(&world);
    world.say(client, &[req("SELECT 1"), req("BLPOP q 0")].concat());
    let second = private(&world);
    assert_eq!(second.len(), 1);
    assert!(second != first, "the one of database 0 was closed");
    let lane = world.lanes.iter().find(|(id, _)| *id == second[0]);
    assert_eq!(lane.map(|(_, lane)| lane.database), Some(1));
}

#[test]
fn one_that_nobody_needs_is_closed() {
    let (mut world, client) = world_with(|_| ());
    world.stores[0].keys.insert(b"q".to_vec(), b"1".to_vec());
    assert_eq!(world.ask(client, &req("BLPOP q 1")), popped("q", "1"));
    world.advance(PRIVATE_IDLE_MS - 1);
    assert_eq!(private(&world).len(), 1);
    world.advance(1);
    assert!(private(&world).is_empty());
    at_rest(&world);
}

#[test]
fn one_that_comes_back_proves_that_it_is_in_step() {
    let (mut world, client) = world_with(|_| ());
    world.say(client, &req("BLPOP q 0"));
    world.silence(0);
    let lane = private(&world)[0];
    push(&mut world, lane, "v");
    assert_eq!(count(&world, ShardMetric::Fences), 1);
    world.stores[0].held = popped("q", "of somebody else").into_bytes();
    world.unsilence_lane(0, lane);
    assert_eq!(count(&world, ShardMetric::LaneDesynchronised), 1);
    assert_eq!(world.heard(client), popped("q", "v"));
    assert!(private(&world).is_empty());
    at_rest(&world);
}

#[test]
fn an_error_of_the_server_is_passed_on_and_the_connection_stays() {
    let (mut world, client) = world_with(|_| ());
    world.say(client, &req("BLPOP q x"));
    let lane = private(&world)[0];
    world.reply(lane, b"-ERR timeout is not a float or out of range\r\n");
    world.run();
    assert_eq!(world.heard(client), "-ERR timeout is not a float or out of range\r\n");
    world.say(client, &req("BLPOP q 0"));
    world.reply(lane, UNBLOCKED);
    world.run();
    assert_eq!(world.heard(client).as_bytes(), UNBLOCKED, "no sentinel says who is next");
    assert_eq!(private(&world), [lane]);
    at_rest(&world);
}

#[test]
fn a_wait_goes_on_where_a_server_comes_back_within_a_bound() {
    let (mut world, client) = world_with(|_| ());
    world.say(client, &req("BLPOP q 30"));
    world.advance(2_000);
    world.lose(0);
    assert_eq!(world.heard(client), "");
    assert_eq!(world.stores[0].blocking, ["BLPOP q 30", "BLPOP q 28.000"]);
    assert_eq!(count(&world, ShardMetric::WaitsMoved), 1);
    world.stores[0].down = true;
    world.lose(0);
    for _ in 0..BLOCK_RECONNECT_MS / 100 - 1 {
        world.advance(100);
    }
    assert_eq!(world.heard(client), "");
    (0..12).for_each(|_| world.advance(100)); // and a pause between two attempts
    let refused = "-ERR Connection refused: shard s0000 at unix:/s0\r\n";
    assert_eq!(world.heard(client), refused);
    assert_eq!(world.ask(client, &req("BLPOP q 0")), refused, "known to be down: at once");
    world.stores[0].down = false;
    world.advance(2_000);
    world.say(client, &req("BLPOP q 0"));
    world.advance(2_000);
    assert_eq!(private(&world).len(), 1);
}

#[test]
fn a_server_that_hangs_up_on_whoever_blocks_is_not_asked_for_ever() {
    let (mut world, client) = world_with(|_| ());
    world.say(client, &req("BLPOP q 0"));
    let mut waited_ms = 0;
    while world.relay.clients.get(client.index, client.generation).unwrap().blocked.is_some() {
        if !private(&world).is_empty() {
            world.lose(0);
        }
        world.advance(50);
        waited_ms += 50;
        assert!(waited_ms < BLOCK_RECONNECT_MS + 2_000, "still asked after {waited_ms} ms");
    }
    let heard = world.heard(client);
    assert_eq!(heard, "-ERR Connection closed by server: shard s0000 at unix:/s0\r\n");
    assert!(waited_ms >= BLOCK_RECONNECT_MS, "after {waited_ms} ms");
    assert!(world.stores[0].blocking.len() < 60, "with pauses");
}

#[test]
fn a_wait_whose_time_only_the_server_knows_is_not_moved() {
    let (mut world, client) = world_with(|_| ());
    world.say(client, &req("BLPOP q 1e3"));
    world.lose(0);
    assert!(world.heard(client).starts_with("-ERR not connected: shard s0000"));
    assert_eq!(world.stores[0].blocking, ["BLPOP q 1e3"]);
}

#[test]
fn a_failover_moves_the_wait_to_the_next_primary() {
    for how in 0..4 {
        let (mut world, client) = watched_with(|_| ());
        world.say(client, &req("BLPOP q 60"));
        world.advance(1_000);
        let lane = private(&world)[0];
        match how {
            0 => world.lose(0),
            1 => world.reply(lane, UNBLOCKED),
            2 => world.reply(lane, b"-READONLY You can't write against a read only replica.\r\n"),
            _ => {} // the sentinels' word comes first
        }
        world.run();
        if how < 3 {
            assert!(private(&world).is_empty());
            let doubts = std::iter::from_fn(|| world.relay.next_report());
            let doubt = |report| matches!(report, Report::ShardSuspect { verified: 1, .. });
            assert_eq!(doubts.filter(|report| doubt(report.clone())).count(), 1);
        }
        world.advance(3_000);
        assert_eq!(world.heard(client), "", "it blocks as long as it wanted to");
        promote(&mut world);
        assert_eq!(world.stores[1].blocking, ["BLPOP q 56.000"]);
        assert_eq!(world.stores[0].blocking.len(), 1, "never again there");
        let lane = private(&world)[0];
        push(&mut world, lane, "v");
        assert_eq!(world.heard(client), popped("q", "v"));
        assert_eq!(world.relay.holds[0].outage_us, None);
        at_rest(&world);
    }
}

#[test]
fn who_waits_for_a_primary_hears_nil_in_a_short_outage_and_why_in_a_long_one() {
    let (mut world, client) = watched_with(|pool| pool.hold_ms = 5_000);
    world.say(client, &req("BLPOP q 0"));
    world.lose(0);
    let other = world.client();
    world.say(other, &req("BLPOP q 1"));
    world.advance(1_000);
    assert_eq!(world.heard(other), NIL);
    world.say(other, &req("BLPOP q 5"));
    world.advance(5_000);
    let expired = world.heard(other);
    assert!(expired.starts_with("-LOADING shard s0000 has no verified primary"), "{expired}");
    assert_eq!(world.heard(client), "", "for ever is for ever");
    world.publish(0, |shard| shard.paused = true);
    promote(&mut world);
    assert!(world.stores[1].blocking.is_empty(), "nothing goes to a paused shard");
    world.publish(0, |shard| shard.paused = false);
    assert_eq!(world.stores[1].blocking, ["BLPOP q 0"]);
}

#[test]
fn who_blocks_does_not_keep_a_paused_shard_busy() {
    let (mut world, client) = watched_with(|_| ());
    world.say(client, &req("BLPOP q 0"));
    world.publish(0, |shard| shard.paused = true);
    let epoch = world.relay.topology.epoch;
    assert_eq!(world.stats.quiet_epoch(PoolId(0), ShardId(0)).get(), epoch);
}

#[test]
fn a_large_reply_streams_and_a_client_that_leaves_in_it_closes_the_connection() {
    let (mut world, client) = world_with(|_| ());
    world.say(client, &req("BLPOP q 0"));
    let lane = private(&world)[0];
    let value = "x".repeat(200_000);
    let whole = popped("q", &value);
    let (one, two) = whole.as_bytes().split_at(100_000);
    world.reply(lane, one);
    world.run();
    assert_eq!(world.relay.lanes[lane.index as usize].state, LaneState::Ready);
    world.reply(lane, two);
    world.run();
    assert_eq!(world.heard(client), whole);
    assert_eq!(private(&world), [lane]);
    world.say(client, &req("BLPOP q 0"));
    world.reply(lane, one);
    world.run();
    world.relay.on_client_closed(client, ClientEnd::Error(104), world.now);
    world.run();
    assert!(private(&world).is_empty());
    at_rest(&world);
}
