//! How long requests wait: each lane's window is its own, and none is used up by what others suffer.

use crate::base::ids::{ClientId, LaneId, PoolId, ShardId};
use crate::config::model::PoolConfig;
use crate::relay::api::{LaneEnd, Report};
use crate::relay::lane::LaneState;
use crate::relay::world::{World, req, watched_config};

const HOLD_MS: u64 = 300;

fn world(change: impl FnOnce(&mut PoolConfig)) -> (World, ClientId) {
    let mut pool = watched_config(1);
    pool.hold_ms = HOLD_MS;
    change(&mut pool);
    let mut world = World::with(pool);
    world.publish(0, |shard| shard.verified = 1);
    let client = world.client();
    assert_eq!(world.ask(client, &req("SET k v")), "+OK\r\n");
    (world, client)
}

fn verify(world: &mut World) {
    world.publish(0, |shard| shard.verified += 1);
}

fn lose_lane(world: &mut World, lane: LaneId) {
    world.lanes.retain(|(of, _)| *of != lane);
    world.relay.on_lane_closed(lane, LaneEnd::Eof, world.now);
    world.run();
}

fn suspicions(world: &mut World) -> usize {
    let reports = std::iter::from_fn(|| world.relay.next_report());
    reports.filter(|report| matches!(report, Report::ShardSuspect { .. })).count()
}

#[test]
fn an_idle_lane_that_was_lost_long_ago_does_not_use_up_the_window_of_a_busy_one() {
    let (mut world, client) = world(|pool| pool.lanes_per_node = 2);
    let busy = world.lane_of_shard(0);
    let other = world.client();
    world.ask(other, &req("GET k"));
    world.silence(0);
    world.say(client, &req("GET k"));
    world.stores[0].silent = false;
    world.advance(1);
    world.lose(0); // that of the other client, which asks nothing
    verify(&mut world);
    assert_eq!(world.lanes.len(), 2, "connected again while the busy one waits for a reply");
    world.unsilence_lane(0, busy);
    assert_eq!(world.heard(client), "$1\r\nv\r\n");
    assert_eq!(world.relay.holds[0].outage_us, None, "nobody waits");
    world.advance(2 * HOLD_MS);
    lose_lane(&mut world, busy);
    assert_eq!(world.ask(client, &req("GET k")), "", "a new outage, a window of its own");
    verify(&mut world);
    assert_eq!(world.heard(client), "$1\r\nv\r\n");
}

#[test]
fn a_lane_that_is_turned_away_puts_nothing_in_doubt_and_uses_up_no_window_but_its_own() {
    let (mut world, client) = world(|_| ());
    world.stores[0].one_database = true;
    let other = world.client();
    world.say(other, &[req("SELECT 1"), req("GET k")].concat());
    for _ in 0..20 {
        world.advance(HOLD_MS / 10);
    }
    assert_eq!(suspicions(&mut world), 0, "the server answers");
    let heard = world.heard(other);
    assert!(heard.starts_with("+OK\r\n-LOADING "), "{heard}");
    assert_eq!(world.ask(client, &req("GET k")), "$1\r\nv\r\n");
    let lane = world.lanes.iter().find(|(_, lane)| lane.database == 0).unwrap().0;
    lose_lane(&mut world, lane);
    assert_eq!(world.ask(client, &req("GET k")), "", "the whole window is there");
    world.stores[0].one_database = false;
    verify(&mut world);
    assert_eq!(world.heard(client), "$1\r\nv\r\n");
    world.advance(1_000);
    assert_eq!(world.ask(other, &req("GET k")), "$1\r\nv\r\n", "it was tried again and again");
}

#[test]
fn a_pause_that_found_no_lane_leaves_no_window_behind() {
    let mut pool = watched_config(1);
    pool.hold_ms = HOLD_MS;
    let mut world = World::with(pool);
    world.publish(0, |shard| (shard.verified, shard.paused) = (1, true));
    world.advance(2 * HOLD_MS);
    world.publish(0, |shard| shard.paused = false);
    let client = world.client();
    assert_eq!(world.ask(client, &req("SET k v")), "+OK\r\n");
    assert_eq!(world.relay.holds[0].outage_us, None);
}

#[test]
fn an_error_is_an_answer_and_ends_the_outage() {
    let (mut world, client) = world(|_| ());
    world.lose(0);
    world.say(client, &req("INCR k"));
    verify(&mut world);
    assert!(world.heard(client).starts_with("-ERR unknown to the false store"));
    world.advance(2 * HOLD_MS);
    world.lose(0);
    assert_eq!(world.ask(client, &req("GET k")), "");
}

#[test]
fn a_pause_uses_up_its_own_window_only() {
    let (mut world, client) = world(|_| ());
    world.publish(0, |shard| shard.paused = true);
    world.say(client, &req("GET k"));
    world.advance(HOLD_MS);
    let heard = world.heard(client);
    assert!(heard.starts_with("-LOADING shard s0000 is being switched over"), "{heard}");
    world.publish(0, |shard| shard.paused = false);
    world.lose(0);
    assert_eq!(world.ask(client, &req("GET k")), "");
}

#[test]
fn a_script_that_says_that_the_server_refuses_is_believed_once() {
    for says in [
        "READONLY You can't write against a read only replica. script: it says",
        "ERR Error running script: -READONLY You can't write against a read only slave.",
        "LOADING Redis is loading the dataset in memory",
    ] {
        let (mut world, client) = world(|_| ());
        let other = world.client();
        world.stores[0].script_says = Some(says);
        world.say(client, &req("EVAL x 0"));
        assert_eq!(world.relay.lanes[0].state, LaneState::Held, "it may be so");
        world.say(other, &req("GET k"));
        verify(&mut world);
        assert_eq!(world.heard(client), format!("-{says}\r\n"), "it is the script's own word");
        assert_eq!(world.heard(other), "$1\r\nv\r\n");
        assert_eq!(world.ask(client, &req("EVAL x 0")), format!("-{says}\r\n"));
        assert_eq!(world.relay.lanes[0].state, LaneState::Ready);
        let kept = world.relay.holds[usize::from(PoolId(0).0) + ShardId(0).index()].kept_bytes;
        assert_eq!((world.relay.lane_bytes, kept), (0, 0));
    }
}

/// What an application calls its own errors is not for the proxy to act on.
#[test]
fn an_error_of_a_script_in_its_own_words_is_passed_on() {
    for says in ["READONLY account", "LOADING bay is full", "ERR Error running script: -READONLY x"]
    {
        let (mut world, client) = world(|_| ());
        world.stores[0].script_says = Some(says);
        let answer = format!("-{says}\r\n");
        assert_eq!(world.ask(client, &req("EVAL x 1 k")), answer);
        let transaction = [req("MULTI"), req("EVAL x 1 k"), req("EVAL x 1 k"), req("EXEC")];
        let heard = world.ask(client, &transaction.concat());
        let queued = "+QUEUED\r\n".repeat(2);
        assert_eq!(heard, format!("+OK\r\n{queued}*2\r\n{answer}{answer}"));
        assert_eq!(world.relay.lanes[0].state, LaneState::Ready);
        assert_eq!(suspicions(&mut world), 0);
    }
}

#[test]
fn a_read_that_may_be_what_kills_its_server_is_sent_three_times() {
    let (mut world, client) = world(|pool| pool.hold_ms = 60_000);
    let behind = world.client();
    world.silence(0);
    world.say(client, &req("GET k"));
    world.say(behind, &req("GET k"));
    for _ in 1..3 {
        world.lose(0);
        world.stores[0].held.clear();
        verify(&mut world);
        world.advance(100);
        // It answers the hand-shake, and nothing else.
        let (lane, greeting) = (world.lane_of_shard(0), std::mem::take(&mut world.stores[0].held));
        world.reply(lane, &greeting);
        world.run();
        assert_eq!((world.heard(client), world.heard(behind)), (String::new(), String::new()));
    }
    world.lose(0);
    let unknown =
        "-ERR outcome unknown: the connection to shard s0000 was lost before the reply came\r\n";
    assert_eq!(world.heard(client), unknown);
    world.stores[0].silent = false;
    verify(&mut world);
    world.advance(100);
    assert_eq!(world.heard(behind), "$1\r\nv\r\n", "the others have their own chances");
}

#[test]
fn what_is_answered_in_between_proves_that_no_read_kills_the_server() {
    let (mut world, client) = world(|pool| pool.hold_ms = 60_000);
    for _ in 0..5 {
        world.silence(0);
        world.say(client, &req("GET k"));
        world.lose(0);
        world.stores[0].silent = false;
        verify(&mut world);
        assert_eq!(world.heard(client), "$1\r\nv\r\n");
    }
}
