//! Hold and verification: what waits, what is asked again, what clients hear, and who is connected
//! to.

use std::path::PathBuf;

use crate::base::ids::{ClientId, PoolId, ShardId};
use crate::config::model::Replay;
use crate::relay::api::Report;
use crate::relay::lane::{LaneState, Target};
use crate::relay::world::{Store, World, req, watched_config};
use crate::stats::cells::ShardMetric;
use crate::topology::NodeEndpoint;

const READONLY: &str = "READONLY You can't write against a read only replica.";
const UNKNOWN: &str =
    "-ERR outcome unknown: the connection to shard s0000 was lost before the reply came\r\n";
const OVERTAKEN: &str = "-LOADING shard s0000 was not ready, and then took a later request of yours: \
                         not executed, try again\r\n";

/// One shard on node 0, whose next primary may be node 1, and a client whose lane is up.
fn world() -> (World, ClientId) {
    world_with(|_| ())
}

fn world_with(change: impl FnOnce(&mut crate::config::model::PoolConfig)) -> (World, ClientId) {
    let mut pool = watched_config(1);
    change(&mut pool);
    let mut world = World::with(pool);
    world.stores.push(Store::default());
    world.publish(0, |shard| shard.verified = 1);
    let client = world.client();
    assert_eq!(world.ask(client, &req("SET k v")), "+OK\r\n");
    (world, client)
}

/// The other node becomes the primary, and has what the first one had.
fn promote(world: &mut World) {
    world.stores[1].keys = world.stores[0].keys.clone();
    world.publish(0, |shard| {
        shard.verified += 1;
        shard.primary = Some(NodeEndpoint::Unix(PathBuf::from("/s1")));
    });
}

fn suspicions(world: &mut World) -> Vec<(u64, bool)> {
    let reports = std::iter::from_fn(|| world.relay.next_report());
    let suspicion = |report| match report {
        Report::ShardSuspect { verified, again, .. } => Some((verified, again)),
        _ => None,
    };
    reports.filter_map(suspicion).collect()
}

fn count(world: &World, metric: ShardMetric) -> u64 {
    world.stats.shard(PoolId(0), ShardId(0), metric).get()
}

fn state(world: &World) -> LaneState {
    world.relay.lanes[0].state
}

#[test]
fn reads_and_what_was_not_sent_wait_and_a_write_hears_that_its_outcome_is_unknown() {
    let (mut world, client) = world();
    world.silence(0);
    world.say(client, &[req("GET k"), req("SET k w"), req("GET k")].concat());
    world.lose(0);
    world.say(client, &[req("SET k x"), req("GET k")].concat());
    assert_eq!(world.heard(client), "", "the first reply is still to come");
    assert_eq!(state(&world), LaneState::Held);
    assert_eq!(suspicions(&mut world), [(1, false)]);
    promote(&mut world);
    let expected = format!("$1\r\nw\r\n{UNKNOWN}$1\r\nw\r\n+OK\r\n$1\r\nx\r\n");
    assert_eq!(world.heard(client), expected, "the store had executed the write");
    let seen = ["ROLE", "CLIENT", "PING", "GET", "GET", "SET", "GET", "PING"];
    assert_eq!(world.stores[1].seen, seen, "and a fence behind them");
    let first = std::iter::from_fn(|| world.relay.next_report())
        .find(|report| matches!(report, Report::FirstReply { verified: 2, .. }));
    assert!(first.is_some(), "the first reply of the new primary is told");
    assert_eq!(count(&world, ShardMetric::UnknownOutcomes), 1);
    assert_eq!(count(&world, ShardMetric::Repeated), 2);
    assert_eq!((world.relay.lane_bytes, world.relay.holds[0].kept_bytes), (0, 0));
}

#[test]
fn a_lost_primary_is_connected_only_after_a_higher_verification() {
    let (mut world, client) = world();
    world.lose(0);
    world.say(client, &req("GET k"));
    world.publish(0, |shard| shard.paused = false);
    world.advance(900);
    assert!(world.lanes.is_empty(), "the same number does not count");
    assert_eq!(suspicions(&mut world), [(1, false)]);
    world.advance(200);
    assert_eq!(suspicions(&mut world), [(1, true)], "told again: news may get lost");
    world.publish(0, |shard| shard.verified = 2);
    assert_eq!(world.heard(client), "$1\r\nv\r\n");
}

#[test]
fn a_connection_under_way_is_given_up_when_another_is_lost() {
    let (mut world, client) = world_with(|pool| pool.lanes_per_node = 2);
    let second = world.client();
    assert_eq!(world.ask(second, &req("GET k")), "$1\r\nv\r\n");
    world.lose(0);
    world.publish(0, |shard| shard.verified = 2);
    assert_eq!(world.lanes.len(), 2, "connected again");
    // One is connecting while the other is lost once more.
    let lane = world.lane_of_shard(0);
    let greeting = |lane: &crate::relay::lane::Lane| matches!(lane.state, LaneState::Ready);
    assert!(world.relay.lanes.iter().all(greeting));
    world.relay.lanes[usize::from(lane.index == 0)].state =
        LaneState::Connecting { until_us: u64::MAX };
    world.lose(0);
    let held = |lane: &crate::relay::lane::Lane| lane.state == LaneState::Held;
    assert!(world.relay.lanes.iter().all(held), "{:?}", world.relay.lanes);
    assert_eq!(world.ask(client, &req("GET k")), "");
    world.publish(0, |shard| shard.verified = 3);
    assert_eq!(world.heard(client), "$1\r\nv\r\n");
}

#[test]
fn what_is_refused_unexecuted_goes_to_the_next_primary_in_its_order() {
    let (mut world, client) = world();
    let other = world.client();
    world.stores[0].refusal = Some(READONLY);
    world.say(client, &[req("SET k 1"), req("GET k"), req("SET k 2"), req("GET k")].concat());
    world.say(other, &req("SET k 3"));
    assert_eq!((world.heard(client), world.heard(other)), (String::new(), String::new()));
    assert_eq!(state(&world), LaneState::Held, "the lane was closed when all had been refused");
    assert_eq!(suspicions(&mut world), [(1, false)]);
    assert_eq!(count(&world, ShardMetric::Refused), 4);
    promote(&mut world);
    assert_eq!(world.heard(client), "+OK\r\n$1\r\n1\r\n+OK\r\n$1\r\n2\r\n");
    assert_eq!(world.heard(other), "+OK\r\n");
    assert_eq!(world.relay.lane_bytes, 0);
}

#[test]
fn behind_a_refusal_nothing_more_is_sent_and_what_was_sent_is_sorted() {
    let (mut world, client) = world();
    world.silence(0);
    let lane = world.lane_of_shard(0);
    let words = ["SET k 1", "GET k", "SET k 2", "GET k", "DEL k"];
    world.say(client, &words.map(req).concat());
    world.stores[0].held.clear();
    let seen = world.stores[0].seen.len();
    // As of a server that became a replica between the second and the third.
    world.reply(lane, format!("+OK\r\n$1\r\n1\r\n-{READONLY}\r\n").as_bytes());
    world.run();
    world.say(client, &req("SET k 9"));
    assert_eq!(world.stores[0].seen.len(), seen, "nothing more is sent to it");
    assert_eq!(world.heard(client), "+OK\r\n$1\r\n1\r\n");
    world.reply(lane, b"$1\r\n1\r\n");
    world.run();
    assert_eq!(state(&world), LaneState::Stopped, "DEL is still to be answered");
    world.advance(150);
    assert_eq!(state(&world), LaneState::Held, "that took too long");
    promote(&mut world);
    // DEL may have been done: SET k 2, sent again, would come behind it.
    assert_eq!(world.heard(client), format!("{OVERTAKEN}$-1\r\n{UNKNOWN}+OK\r\n"));
    assert_eq!(world.stores[1].keys.get(b"k".as_slice()), Some(&b"9".to_vec()));
    assert_eq!((world.relay.lane_bytes, world.relay.holds[0].kept_bytes), (0, 0));
}

#[test]
fn a_write_that_was_refused_is_never_repeated_behind_a_later_one_of_its_client() {
    let (mut world, client) = world();
    let other = world.client();
    world.silence(0);
    let lane = world.lane_of_shard(0);
    world.say(client, &["SET k 1", "GET k", "SET k 2"].map(req).concat());
    world.say(other, &req("SET o 3"));
    world.say(client, &req("SET k 4"));
    world.stores[0].held.clear();
    // As of a server that has loaded its data between the second and the third.
    let loading = "-LOADING Redis is loading the dataset in memory\r\n";
    world.reply(lane, format!("{loading}{loading}+OK\r\n{loading}+OK\r\n").as_bytes());
    world.run();
    promote(&mut world);
    assert_eq!(world.heard(client), format!("{OVERTAKEN}$1\r\n4\r\n+OK\r\n+OK\r\n"));
    assert_eq!(world.heard(other), "+OK\r\n", "nothing of its own came behind it: repeated");
    assert_eq!(world.stores[1].keys.get(b"k".as_slice()), Some(&b"4".to_vec()));
    let writes = world.stores[1].seen.iter().filter(|name| *name == "SET").count();
    assert_eq!(writes, 1, "that of the other client");
    assert_eq!((world.relay.lane_bytes, world.relay.holds[0].kept_bytes), (0, 0));
}

#[test]
fn past_hold_ms_clients_hear_a_word_on_which_they_try_again() {
    let (mut world, client) = world_with(|pool| pool.hold_ms = 300);
    world.lose(0);
    world.say(client, &req("SET k w"));
    world.advance(299);
    assert_eq!(world.heard(client), "");
    world.advance(1);
    let expired = "-LOADING shard s0000 has no verified primary, and 300 ms are over (hold_ms): not \
                   executed, try again\r\n";
    assert_eq!(world.heard(client), expired);
    assert_eq!(world.ask(client, &req("GET k")), expired, "the outage lasts: at once");
    assert_eq!(count(&world, ShardMetric::HoldExpired), 1);
    world.publish(0, |shard| shard.verified = 2);
    assert_eq!(world.ask(client, &req("GET k")), "$1\r\nv\r\n");
    world.lose(0);
    assert_eq!(world.ask(client, &req("GET k")), "", "another outage, another window");
}

#[test]
fn past_hold_bytes_nothing_more_is_held() {
    let (mut world, client) = world_with(|pool| pool.hold_bytes = 100);
    world.lose(0);
    let long = "x".repeat(80);
    let words = ["SET k 1".to_owned(), format!("SET k {long}"), "SET k 2".to_owned()];
    world.say(client, &words.map(|words| req(&words)).concat());
    let full = "-LOADING shard s0000 has no verified primary, and 100 bytes wait already (hold_bytes): \
                not executed, try again\r\n";
    world.publish(0, |shard| shard.verified = 2);
    assert_eq!(world.heard(client), format!("+OK\r\n{full}+OK\r\n"));
    // On a lane that stands it is not kept, but sent.
    assert_eq!(world.ask(client, &req(&format!("SET k {long}"))), "+OK\r\n");
    world.silence(0);
    world.say(client, &req(&format!("MGET {long} {long}")));
    world.lose(0);
    assert_eq!(world.heard(client), UNKNOWN, "it can not be repeated");
    world.stores[0].silent = false;
    world.stores[0].refusal = Some(READONLY);
    world.stores[0].held.clear();
    world.publish(0, |shard| shard.verified = 3);
    world.stores[0].refusal = None;
    world.publish(0, |shard| shard.verified = 4);
    world.stores[0].refusal = Some(READONLY);
    assert_eq!(world.ask(client, &req(&format!("SET k {long}"))), full, "nor be held");
    assert_eq!(world.relay.lane_bytes, 0);
}

#[test]
fn while_paused_nothing_is_sent_and_the_core_says_when_nothing_is_on_its_way() {
    let (mut world, client) = world();
    let quiet = |world: &World| world.stats.quiet_epoch(PoolId(0), ShardId(0)).get();
    world.silence(0);
    world.say(client, &req("SET k w"));
    world.publish(0, |shard| shard.paused = true);
    world.say(client, &req("GET k"));
    assert_eq!(quiet(&world), 0, "the write is not answered");
    world.unsilence(0);
    assert_eq!(world.heard(client), "+OK\r\n");
    let epoch = world.relay.topology.epoch;
    assert_eq!(quiet(&world), epoch);
    assert!(!world.stores[0].seen.contains(&"GET".to_owned()));
    world.publish(0, |shard| shard.paused = false);
    assert_eq!(world.heard(client), "$1\r\nw\r\n", "it goes on on the same connection");
    world.publish(0, |shard| shard.paused = true);
    world.say(client, &req("SET k z"));
    promote(&mut world);
    assert_eq!(world.heard(client), "", "verified, but still paused");
    world.publish(0, |shard| shard.paused = false);
    assert_eq!(world.heard(client), "+OK\r\n");
    assert_eq!(world.stores[1].keys.get(b"k".as_slice()), Some(&b"z".to_vec()));
}

#[test]
fn a_shard_that_is_not_writable_takes_reads_only() {
    let (mut world, client) = world();
    let refused = "-NOREPLICAS shard s0000 takes no writes: fewer than a majority of its sentinels can \
                   be reached (quorum_required)\r\n";
    world.lose(0);
    world.say(client, &req("SET k held"));
    world.publish(0, |shard| (shard.writable, shard.verified) = (false, 2));
    assert_eq!(world.heard(client), refused, "a held write, too");
    for words in ["SET k 1", "DEL k", "MSET a 1 b 2", "FLUSHALL", "EVAL x 0"] {
        assert_eq!(world.ask(client, &req(words)), refused, "{words}");
    }
    assert_eq!(world.ask(client, &req("GET k")), "$1\r\nv\r\n");
    world.publish(0, |shard| shard.writable = true);
    assert_eq!(world.ask(client, &req("SET k 1")), "+OK\r\n");
}

#[test]
fn what_says_that_it_is_no_primary_or_not_ready_is_not_asked() {
    for refusal in [READONLY, "LOADING Redis is loading the dataset in memory"] {
        let (mut world, client) = world();
        world.stores[0].refusal = Some(refusal);
        world.lose(0);
        world.say(client, &req("GET k"));
        suspicions(&mut world);
        world.publish(0, |shard| shard.verified = 2);
        world.advance(20);
        assert_eq!(state(&world), LaneState::Held, "{refusal}");
        assert_eq!(suspicions(&mut world), [(2, false)], "{refusal}");
        world.stores[0].refusal = None;
        world.publish(0, |shard| shard.verified = 3);
        world.advance(20);
        assert_eq!(world.heard(client), "$1\r\nv\r\n", "{refusal}");
    }
}

#[test]
fn a_silent_primary_is_left_at_the_first_deadline() {
    let (mut world, client) = world();
    world.silence(0);
    world.say(client, &[req("GET k"), req("SET k w")].concat());
    world.advance(1000);
    assert_eq!(state(&world), LaneState::Held);
    world.advance(2000);
    assert_eq!(world.heard(client), "", "deadlines do not run while requests are held");
    promote(&mut world);
    let overdue = "-ERR outcome unknown: shard s0000 did not answer in time (timeout_ms)\r\n";
    assert_eq!(world.heard(client), format!("$1\r\nw\r\n{overdue}"));
}

#[test]
fn a_primary_that_freezes_in_the_middle_of_its_work_is_left_too() {
    let (mut world, client) = world();
    world.silence(0);
    world.say(client, &req("GET k"));
    world.advance(100);
    // What it answers now was sent after the request that it never answers.
    world.relay.lanes[0].heard_us = world.now.mono_us;
    world.advance(900);
    assert_eq!(state(&world), LaneState::Held, "nothing came for most of the time");
    assert_eq!(world.heard(client), "");
    promote(&mut world);
    assert_eq!(world.heard(client), "$1\r\nv\r\n");
}

#[test]
fn idempotent_writes_are_repeated_where_a_pool_allows_it() {
    let (mut world, client) = world_with(|pool| pool.replay = Replay::Idempotent);
    world.silence(0);
    world.say(client, &[req("SET k w"), req("SET k x NX"), req("DEL j")].concat());
    world.lose(0);
    promote(&mut world);
    assert_eq!(world.heard(client), format!("+OK\r\n{UNKNOWN}:0\r\n"));
}

/// Whether a fence stands behind the requests that are in flight.
fn fence_in_flight(world: &World) -> bool {
    world.relay.lanes[0].inflight.back().is_some_and(|token| token.target == Target::Fence)
}

#[test]
fn a_fence_is_neither_repeated_nor_held() {
    let (mut world, client) = world();
    world.advance(1_000);
    world.silence(0);
    world.say(client, &[req("GET k"), req("SET k w")].concat());
    assert!(fence_in_flight(&world));
    world.lose(0);
    assert_eq!(world.relay.lanes[0].inflight.len(), 1, "the read");
    world.say(client, &req("GET k"));
    promote(&mut world);
    assert_eq!(world.heard(client), format!("$1\r\nw\r\n{UNKNOWN}$1\r\nw\r\n"));
    assert_eq!(world.stores[1].seen, ["ROLE", "CLIENT", "PING", "GET", "GET", "PING"]);
    assert_eq!(count(&world, ShardMetric::UnknownOutcomes), 1, "a fence is no write");
    assert_eq!(count(&world, ShardMetric::Repeated), 1);
    // A server that refuses answers it; the connection ends with that.
    world.advance(1_000);
    world.silence(1);
    let seen = world.stores[1].seen.len();
    world.stores[1].refusal = Some(READONLY);
    world.say(client, &[req("SET k x"), req("GET k")].concat());
    assert!(fence_in_flight(&world));
    world.unsilence(1);
    assert_eq!(world.stores[1].seen[seen..], ["SET", "GET", "PING"]);
    assert_eq!(state(&world), LaneState::Held);
    assert_eq!(count(&world, ShardMetric::Refused), 2);
    world.stores[1].refusal = None;
    world.publish(0, |shard| shard.verified += 1);
    assert_eq!(world.heard(client), "+OK\r\n$1\r\nx\r\n");
    assert_eq!((world.relay.lane_bytes, world.relay.holds[0].kept_bytes), (0, 0));
}

#[test]
fn a_fence_that_comes_back_wrong_ends_the_connection_of_a_watched_shard() {
    let (mut world, client) = world();
    world.advance(1_000);
    world.silence(0);
    world.say(client, &[req("GET k"), req("SET k w")].concat());
    let lane = world.lane_of_shard(0);
    suspicions(&mut world);
    world.reply(lane, b"$1\r\nv\r\n+OK\r\n$1\r\nw\r\n");
    world.run();
    assert_eq!(
        (world.heard(client).as_str(), state(&world)),
        ("$1\r\nv\r\n+OK\r\n", LaneState::Held)
    );
    assert_eq!(suspicions(&mut world), [(1, false)]);
    world.stores[0].silent = false;
    world.say(client, &req("GET k"));
    world.publish(0, |shard| shard.verified = 2);
    assert_eq!(world.heard(client), "$1\r\nw\r\n");
    assert_eq!((world.relay.lane_bytes, world.relay.holds[0].kept_bytes), (0, 0));
}

#[test]
fn a_pause_is_over_although_a_fence_is_still_to_come_back() {
    let (mut world, client) = world();
    world.advance(1_000);
    world.silence(0);
    world.say(client, &req("SET k w"));
    world.publish(0, |shard| shard.paused = true);
    let lane = world.lane_of_shard(0);
    let held = std::mem::take(&mut world.stores[0].held);
    let fence = held.strip_prefix(b"+OK\r\n").unwrap();
    world.reply(lane, b"+OK\r\n");
    world.run();
    assert!(fence_in_flight(&world));
    world.publish(0, |shard| shard.paused = false);
    assert_eq!(world.relay.holds[0].outage_us, None, "nobody waits");
    world.say(client, &req("GET k"));
    world.reply(lane, &[fence, b"$1\r\nw\r\n"].concat());
    world.run();
    assert_eq!(world.heard(client), "+OK\r\n$1\r\nw\r\n");
    assert_eq!((state(&world), world.relay.lane_bytes), (LaneState::Ready, 0));
}

#[test]
fn parts_of_gathers_are_held_like_whole_requests() {
    let mut world = World::with(watched_config(2));
    world.publish(0, |shard| shard.verified = 1);
    world.publish(1, |shard| shard.verified = 1);
    let client = world.client();
    let (a, b) = (world.key_on(0), world.key_on(1));
    world.ask(client, &req(&format!("MSET {a} 1 {b} 2")));
    world.silence(1);
    world.say(client, &[req(&format!("MGET {a} {b}")), req(&format!("MSET {a} 3 {b} 4"))].concat());
    world.lose(1);
    world.say(client, &req(&format!("MGET {a} {b}")));
    assert_eq!(world.heard(client), "");
    world.stores[1].silent = false;
    world.publish(1, |shard| shard.verified = 2);
    let unknown = UNKNOWN.replace("s0000", "s0001");
    let pair = |a: u8, b: u8| format!("*2\r\n$1\r\n{a}\r\n$1\r\n{b}\r\n");
    assert_eq!(world.heard(client), format!("{}{unknown}{}", pair(1, 4), pair(3, 4)));
}

#[test]
fn a_wait_is_not_asked_of_another_connection() {
    let (mut world, client) = world();
    world.silence(0);
    world.say(client, &[req("SET k w"), req("WAIT 1 100")].concat());
    world.lose(0);
    let heard = world.heard(client);
    assert!(heard.starts_with(UNKNOWN) && heard.contains("A connection that carried"), "{heard}");
    world.say(client, &[req("SET k x"), req("WAIT 1 100")].concat());
    world.stores[0].silent = false;
    world.publish(0, |shard| shard.verified = 2);
    let heard = world.heard(client);
    assert!(heard.starts_with("+OK\r\n:1\r\n") || heard.contains("A connection"), "{heard}");
}

#[test]
fn large_values_are_held_as_well() {
    let (mut world, client) = world();
    world.lose(0);
    let value = "x".repeat(300_000);
    for piece in req(&format!("SET k {value}")).chunks(40_000) {
        if world.relay.client_takes_chunk(client, piece.len()) {
            world.relay.on_client_chunk(client, piece.to_vec(), world.now);
        } else {
            world.relay.on_client_bytes(client, piece, world.now);
        }
        world.run();
    }
    world.publish(0, |shard| shard.verified = 2);
    assert_eq!(world.heard(client), "+OK\r\n");
    assert_eq!(world.stores[0].keys.get(b"k".as_slice()).map(Vec::len), Some(300_000));
    assert_eq!(world.relay.lane_bytes, 0);
}

#[test]
fn other_shards_notice_nothing() {
    let mut world = World::with(watched_config(2));
    world.publish(0, |shard| shard.verified = 1);
    world.publish(1, |shard| shard.verified = 1);
    let client = world.client();
    let (a, b) = (world.key_on(0), world.key_on(1));
    world.ask(client, &req(&format!("MSET {a} 1 {b} 2")));
    world.lose(0);
    assert_eq!(world.ask(client, &req(&format!("GET {b}"))), "$1\r\n2\r\n");
    world.say(client, &req(&format!("GET {a}")));
    let other = world.client();
    assert_eq!(world.ask(other, &req(&format!("GET {b}"))), "$1\r\n2\r\n");
}
