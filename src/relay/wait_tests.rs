//! WAIT and WAITAOF: whom they ask, for how long, and what they never say.

use crate::relay::api::LaneEnd;
use crate::relay::world::{World, pool_config, req};

const LOST: &str = "-ERR A connection that carried writes of yours was lost";

/// How many WAITs databases 0, 1 and 2 of shard 0 have seen.
fn waits(world: &World) -> [usize; 3] {
    [0, 1, 2].map(|database| world.stores[0].waits.get(&database).copied().unwrap_or(0))
}

#[test]
fn a_wait_after_select_asks_the_lanes_that_were_written_on() {
    let mut world = World::new(1);
    let client = world.client();
    world.ask(client, &req("SET a 1"));
    world.ask(client, &req("SELECT 1"));
    assert_eq!(world.ask(client, &req("WAIT 1 100")), ":1\r\n");
    assert_eq!(waits(&world), [1, 0, 0], "nothing was written in database 1");
    world.ask(client, &[req("SET a 1"), req("SELECT 2")].concat());
    assert_eq!(world.ask(client, &req("WAIT 1 100")), ":1\r\n");
    assert_eq!(waits(&world), [2, 1, 0]);
    world.ask(client, &[req("SELECT 0"), req("SET a 1")].concat());
    assert_eq!(world.ask(client, &req("WAIT 1 100")), ":1\r\n");
    assert_eq!(waits(&world), [3, 2, 0], "each of them once");
}

#[test]
fn a_wait_asks_only_shards_that_were_written_to() {
    let mut world = World::new(3);
    let client = world.client();
    let key = world.key_on(2);
    world.ask(client, &req(&format!("SET {key} 1")));
    assert_eq!(world.ask(client, &req("WAIT 1 100")), ":1\r\n");
    let asked = |world: &World, shard: usize| world.stores[shard].seen.contains(&"WAIT".into());
    assert_eq!([0, 1, 2].map(|shard| asked(&world, shard)), [false, false, true]);
    let reader = world.client();
    assert_eq!(world.ask(reader, &req("WAIT 1 100")), ":1\r\n");
    assert_eq!([0, 1, 2].map(|shard| asked(&world, shard)), [true; 3]);
}

#[test]
fn who_wrote_on_a_lost_connection_is_told_so_once() {
    let mut world = World::new(1);
    let (writer, reader) = (world.client(), world.client());
    world.ask(writer, &req("SET a 1"));
    world.ask(reader, &req("GET a"));
    let lane = world.lane_of_shard(0);
    world.lanes.clear();
    // In the same turn: no `on_turn` has been between the two.
    world.relay.on_lane_closed(lane, LaneEnd::Eof, world.now);
    let heard = world.ask(writer, &req("WAIT 1 100"));
    assert!(heard.starts_with(LOST), "{heard}");
    assert_eq!(world.ask(reader, &req("WAIT 1 100")), ":1\r\n", "it wrote nothing");
    world.ask(writer, &req("SET a 2"));
    assert_eq!(world.ask(writer, &req("WAIT 1 100")), ":1\r\n");
}

#[test]
fn a_connection_lost_between_two_rounds_ends_a_wait() {
    let mut world = World::new(2);
    let client = world.client();
    let key = world.key_on(0);
    world.ask(client, &req(&format!("SET {key} 1")));
    assert_eq!(world.ask(client, &req("WAIT 2 100")), "");
    let lane = world.lane_of_shard(0);
    world.lanes.retain(|(id, _)| *id != lane);
    world.relay.on_lane_closed(lane, LaneEnd::Eof, world.now);
    world.advance(10);
    let heard = world.heard(client);
    assert!(heard.starts_with(LOST), "{heard}");
}

#[test]
fn every_wait_that_was_under_way_hears_of_the_loss() {
    let mut world = World::new(1);
    let client = world.client();
    world.ask(client, &req("SET a 1"));
    world.ask(client, &[req("WAIT 2 50"), req("WAIT 2 50")].concat());
    let lane = world.lane_of_shard(0);
    world.lanes.clear();
    world.relay.on_lane_closed(lane, LaneEnd::Eof, world.now);
    world.say(client, &req("WAIT 1 50"));
    world.advance(10);
    let heard = world.heard(client);
    assert_eq!(heard.matches(LOST).count(), 3, "{heard}");
}

#[test]
fn a_shard_that_shares_its_bit_with_one_written_to_is_not_taken_for_lost() {
    let mut world = World::new(65);
    let client = world.client();
    let key = world.key_on(0);
    world.ask(client, &req(&format!("SET {key} 1")));
    assert_eq!(world.ask(client, &req("WAIT 2 30")), "");
    (0..5).for_each(|_| world.advance(10));
    assert_eq!(world.heard(client), ":1\r\n");
}

#[test]
fn what_a_script_wrote_is_waited_for() {
    let mut world = World::new(2);
    let client = world.client();
    let [key, other] = [0, 1].map(|shard| world.key_on(shard));
    world.ask(client, &req(&format!("SET {key} 1")));
    world.ask(client, &req(&format!("EVAL x 1 {other}")));
    assert_eq!(world.ask(client, &req("WAIT 1 50")), ":1\r\n");
    let asked =
        |shard: usize| world.stores[shard].seen.iter().filter(|name| *name == "WAIT").count();
    assert_eq!([asked(0), asked(1)], [1, 1]);
}

#[test]
fn a_wait_behind_a_script_that_is_repeated_asks_after_it() {
    const DIGEST: &str = "11f6ad8ec52a2984abaafd7c3b516503785c2072"; // SHA-1 of `x`
    let mut world = World::new(1);
    let client = world.client();
    world.ask(client, &req("SCRIPT LOAD x"));
    world.ask(client, &req(&format!("EVALSHA {DIGEST} 1 a")));
    world.stores[0].scripts.clear();
    world.stores[0].seen.clear();
    let heard =
        world.ask(client, &[req(&format!("EVALSHA {DIGEST} 1 a")), req("WAIT 1 50")].concat());
    assert_eq!(heard, ":42\r\n");
    world.advance(1);
    assert_eq!(world.heard(client), ":1\r\n");
    assert_eq!(world.stores[0].seen, ["EVALSHA", "SCRIPT", "EVALSHA", "WAIT"]);
}

#[test]
fn only_writers_on_the_lost_one_of_several_lanes_are_told() {
    let mut pool = pool_config(1);
    pool.lanes_per_node = 2;
    let mut world = World::with(pool);
    let (first, second) = (world.client(), world.client());
    world.ask(first, &req("SET a 1"));
    world.ask(second, &req("SET a 1"));
    let lane = world.lane_of_shard(0);
    world.lanes.retain(|(id, _)| *id != lane);
    world.relay.on_lane_closed(lane, LaneEnd::Eof, world.now);
    let heard = [first, second].map(|client| world.ask(client, &req("WAIT 1 100")));
    assert_eq!(heard.iter().filter(|heard| heard.starts_with(LOST)).count(), 1, "{heard:?}");
}

#[test]
fn wait_asks_again_until_its_time_is_over() {
    let mut world = World::new(2);
    let client = world.client();
    world.ask(client, &req("SET a 1"));
    assert_eq!(world.ask(client, &req("WAIT 1 100")), ":1\r\n");
    assert_eq!(world.ask(client, &req("WAIT 2 100")), "");
    for _ in 0..9 {
        world.advance(10);
        assert_eq!(world.heard(client), "");
    }
    world.advance(20);
    assert_eq!(world.heard(client), ":1\r\n");
}

#[test]
fn a_wait_ahead_of_quit_is_answered() {
    let mut world = World::new(2);
    let client = world.client();
    assert_eq!(world.ask(client, &[req("WAIT 2 100"), req("QUIT")].concat()), "");
    for _ in 0..15 {
        world.advance(10);
    }
    assert_eq!(world.heard(client), ":1\r\n+OK\r\n");
    assert_eq!(world.finished, [client]);
}

#[test]
fn a_wait_without_end_ends_when_its_client_leaves() {
    let mut world = World::new(1);
    let client = world.client();
    assert_eq!(world.ask(client, &req("WAIT 2 0")), "");
    assert!(world.relay.owes(client), "asked by the reactor after its FIN");
    world.advance(10);
    assert!(!world.relay.owes(client));
    assert_eq!(world.heard(client), ":1\r\n");
}

/// What a client hears of WAITAOF that waits for `wanted`, 20 ms, where it has written on both of
/// two shards, which answer so.
fn disks(wanted: &str, answers: [[i64; 2]; 2]) -> String {
    let mut world = World::new(2);
    let client = world.client();
    for (shard, [own, replicas]) in answers.into_iter().enumerate() {
        world.stores[shard].waitaof = format!("*2\r\n:{own}\r\n:{replicas}\r\n");
        let key = world.key_on(shard);
        world.ask(client, &req(&format!("SET {key} 1")));
    }
    let at_once = world.ask(client, &req(&format!("WAITAOF {wanted} 20")));
    (0..3).for_each(|_| world.advance(10));
    format!("{}{}", if at_once.is_empty() { "later " } else { &at_once }, world.heard(client))
}

#[test]
fn a_wait_for_disks_answers_the_least_of_each_number() {
    assert_eq!(disks("1 1", [[1, 2], [1, 1]]), "*2\r\n:1\r\n:1\r\n");
    assert_eq!(disks("1 1", [[1, 0], [0, 3]]), "later *2\r\n:0\r\n:0\r\n");
    assert_eq!(disks("1 2", [[1, 1], [1, 3]]), "later *2\r\n:1\r\n:1\r\n");
    assert_eq!(disks("0 0", [[0, 0], [1, 1]]), "*2\r\n:0\r\n:0\r\n");
}

#[test]
fn a_wait_for_disks_blocks_a_lane_now_and_then_only() {
    let mut world = World::new(1);
    let client = world.client();
    world.ask(client, &req("SET a 1"));
    world.stores[0].stuck = true;
    assert_eq!(world.ask(client, &[req("WAITAOF 1 2 20"), req("WAITAOF 1 3 20")].concat()), "");
    let sent: Vec<u8> = world.unsent.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    assert_eq!(sent, [req("WAITAOF 1 2 1"), req("WAITAOF 0 0 0")].concat());
}

#[test]
fn a_wait_for_disks_ends_with_what_a_shard_says_against_it() {
    let mut world = World::new(2);
    let client = world.client();
    world.stores[0].waitaof = "*2\r\n:1\r\n:0\r\n".to_owned();
    world.stores[1].refusal = Some("ERR unknown command 'WAITAOF'");
    let heard = world.ask(client, &req("WAITAOF 1 0 0"));
    assert_eq!(heard, "-ERR unknown command 'WAITAOF'\r\n");
}

#[test]
fn wrong_numbers_get_the_words_of_redis() {
    let mut world = World::new(1);
    let client = world.client();
    for (request, error) in [
        ("WAIT x 0", "value is not an integer or out of range"),
        ("WAIT 0 x", "timeout is not an integer or out of range"),
        ("WAIT 0 -1", "timeout is negative"),
        ("WAITAOF x 0 0", "value is not an integer or out of range"),
        ("WAITAOF 2 0 0", "value is out of range, value must between 0 and 1"),
        ("WAITAOF 0 -1 0", "value is out of range, must be positive"),
        ("WAITAOF 0 x 0", "value is out of range, must be positive"),
        ("WAITAOF 0 0 x", "timeout is not an integer or out of range"),
        ("WAITAOF 0 0 -1", "timeout is negative"),
    ] {
        assert_eq!(world.ask(client, &req(request)), format!("-ERR {error}\r\n"), "{request}");
    }
    assert!(world.stores[0].seen.is_empty());
}
