//! A lane that is out of step is closed at the first reply that shows it; nobody hears that reply.

use crate::base::ids::{ClientId, LaneId, PoolId, ShardId};
use crate::relay::world::{World, pool_config, req};
use crate::stats::cells::ShardMetric;

/// One shard that answers nothing by itself, a client with a request in flight there, and the lane.
fn asked(request: &str) -> (World, ClientId, LaneId) {
    asked_of(World::new(1), request)
}

fn asked_of(mut world: World, request: &str) -> (World, ClientId, LaneId) {
    let client = world.client();
    world.ask(client, &req("GET warm"));
    world.silence(0);
    world.say(client, &req(request));
    let lane = world.lane_of_shard(0);
    (world, client, lane)
}

fn lanes_lost(world: &World) -> u64 {
    world.stats.shard(PoolId(0), ShardId(0), ShardMetric::LaneDesynchronised).get()
}

fn hears(request: &str, reply: &str) -> String {
    let (mut world, client, lane) = asked(request);
    world.reply(lane, reply.as_bytes());
    world.run();
    world.heard(client)
}

#[test]
fn a_reply_that_its_command_never_gives_closes_the_lane() {
    for (request, reply) in [
        ("GET k", "+OK\r\n"),
        ("GET k", ":1\r\n"),
        ("GET k", "*1\r\n:1\r\n"),
        ("SET k v", ":1\r\n"),
        ("SET k v", "$1\r\n1\r\n"),
        ("LPOP k", "*1\r\n$1\r\n1\r\n"),
        ("INCR k", "$1\r\n1\r\n"),
        ("INCR k", "+OK\r\n"),
        ("LRANGE k 0 -1", "$1\r\n1\r\n"),
        ("MGET {k}1 {k}2", "*1\r\n$-1\r\n"),
        ("MGET {k}1 {k}2", "*3\r\n$-1\r\n$-1\r\n$-1\r\n"),
        ("MGET {k}1 {k}2", "$1\r\n1\r\n"),
        ("HMGET k a b c", "*2\r\n$-1\r\n$-1\r\n"),
        ("SCAN 0", "*3\r\n$1\r\n0\r\n*0\r\n*0\r\n"),
        ("HSCAN k 0", "$-1\r\n"),
        // What RESP2 has not.
        ("EVAL x 1 k", "_\r\n"),
        ("EVAL x 1 k", "%0\r\n"),
        ("GET k", ">2\r\n+invalidate\r\n*0\r\n"),
    ] {
        let (mut world, client, lane) = asked(request);
        let other = world.client();
        world.say(other, &req("GET other"));
        world.reply(lane, reply.as_bytes());
        world.run();
        for client in [client, other] {
            let heard = world.heard(client);
            assert!(heard.starts_with("-ERR Connection out of step ("), "{request}: {heard}");
            assert!(heard.ends_with(": shard s0000 at unix:/s0\r\n"), "{heard}");
        }
        assert_eq!(lanes_lost(&world), 1);
        assert!(world.lanes.iter().all(|(id, _)| *id != lane), "{request}: the lane is open");
    }
}

#[test]
fn what_a_command_may_give_passes_unchanged() {
    for (request, reply) in [
        ("GET k", "$-1\r\n"),
        ("GET k", "-LOADING later\r\n"),
        ("SET k v GET", "$1\r\n1\r\n"),
        ("SET k v NX", "$-1\r\n"),
        ("LPOP k 2", "*1\r\n$1\r\n1\r\n"),
        ("MGET {k}1 {k}2", "*2\r\n$-1\r\n$-1\r\n"),
        ("MGET {k}1 {k}2", "-OOM no\r\n"),
        ("EVAL x 1 k", "*1\r\n*0\r\n"),
        ("HMGET k a b c", "*3\r\n$-1\r\n$-1\r\n$-1\r\n"),
    ] {
        assert_eq!(hears(request, reply), reply, "{request}");
    }
}

#[test]
fn resp3_has_its_own_types() {
    for (request, reply, fits) in [
        ("GET k", "_\r\n", true),
        ("GET k", "%0\r\n", false),
        ("HGETALL k", "%0\r\n", true),
        ("SMEMBERS k", "~0\r\n", true),
        ("ZSCORE k m", ",1.5\r\n", true),
        ("ZSCORE k m", "#t\r\n", false),
        // A push is nobody's: the reply behind it is.
        ("GET k", ">1\r\n+x\r\n$1\r\n1\r\n", true),
    ] {
        let mut world = World::new(1);
        let client = world.client();
        world.say(client, &req("HELLO 3"));
        world.say(client, &req("GET warm"));
        world.heard(client);
        world.silence(0);
        world.say(client, &req(request));
        let lane = world.lane_of_shard(0);
        world.reply(lane, reply.as_bytes());
        world.run();
        let heard = world.heard(client);
        let expected = reply.strip_prefix(">1\r\n+x\r\n").unwrap_or(reply);
        assert_eq!(heard == expected, fits, "{request}: {heard}");
        assert_eq!(heard.starts_with("-ERR Connection out of step"), !fits, "{request}: {heard}");
    }
}

#[test]
fn a_split_request_counts_what_each_shard_gives() {
    let mut world = World::new(2);
    let client = world.client();
    let keys = [world.key_on(0), world.key_on(1)];
    world.ask(client, &req(&format!("MGET {} {}", keys[0], keys[1])));
    (0..2).for_each(|shard| world.silence(shard));
    world.say(client, &req(&format!("MGET {} {} {}", keys[0], keys[1], keys[0])));
    let lanes = [world.lane_of_shard(0), world.lane_of_shard(1)];
    world.reply(lanes[1], b"*1\r\n$1\r\nb\r\n");
    world.reply(lanes[0], b"*1\r\n$1\r\na\r\n");
    world.run();
    let heard = world.heard(client);
    assert!(heard.starts_with("-ERR Connection out of step ("), "{heard}");
    assert_eq!(lanes_lost(&world), 1);
}

#[test]
fn a_long_reply_is_looked_at_before_any_of_it_leaves() {
    for (request, header) in [
        ("INCR k", "$200000\r\n"),
        ("MGET {k}1 {k}2", "*3\r\n$200000\r\n"),
        ("HGET k f", "*2\r\n$200000\r\n"),
    ] {
        let (mut world, client, lane) = asked(request);
        world.piece = 10_000;
        world.reply(lane, &[header.as_bytes(), &vec![b'x'; 100_000]].concat());
        world.run();
        let heard = world.heard(client);
        assert!(heard.starts_with("-ERR Connection out of step ("), "{request}: {heard:.50}");
    }
    let whole = format!("*2\r\n$200000\r\n{}\r\n$-1\r\n", "x".repeat(200_000));
    let (mut world, client, lane) = asked("MGET {k}1 {k}2");
    world.piece = 10_000;
    world.reply(lane, whole.as_bytes());
    world.run();
    assert!(world.heard(client) == whole, "an array that is announced as it has to be");
}

#[test]
fn a_reply_without_end_is_bounded() {
    // As the part of a merged reply it has to be collected.
    let mut pool = pool_config(2);
    pool.timeout_ms = None;
    let mut world = World::with(pool);
    let client = world.client();
    let keys = [world.key_on(0), world.key_on(1)];
    let mget = req(&format!("MGET {} {}", keys[0], keys[1]));
    world.ask(client, &mget);
    (0..2).for_each(|shard| world.silence(shard));
    let mut config = crate::config::model::Config::clone(&world.relay.config);
    config.proxy.core_buffer_max_bytes = 3 << 20;
    world.relay.config = std::sync::Arc::new(config);
    world.say(client, &mget);
    let lane = world.lane_of_shard(0);
    world.reply(lane, b"*1\r\n*2147483647\r\n");
    let part = b":1\r\n".repeat(8 * 1024);
    let mut given = 0;
    while world.lanes.iter().any(|(id, _)| *id == lane) {
        world.reply(lane, &part);
        world.run();
        given += part.len();
        assert!(given < 8 << 20, "nothing stops it");
    }
    assert!(given > 2 << 20, "{given}");
    let other = world.lane_of_shard(1);
    world.reply(other, b"*1\r\n$-1\r\n");
    world.run();
    let heard = world.heard(client);
    assert!(heard.starts_with("-ERR core_buffer_max_bytes is reached by a reply that"), "{heard}");
}

#[test]
fn an_endless_push_or_greeting_takes_no_memory() {
    let mut world = World::new(1);
    let client = world.client();
    world.say(client, &req("HELLO 3"));
    world.say(client, &req("GET warm"));
    let lane = world.lane_of_shard(0);
    world.reply(lane, b">1000000\r\n");
    for _ in 0..40 {
        world.reply(lane, &b":1\r\n".repeat(1024));
    }
    assert!(world.relay.lanes.iter().all(|lane| lane.tail.capacity() < 200_000));
}

#[test]
fn a_greeting_that_is_out_of_step_serves_nobody() {
    // One reply too many: HELLO's stands where PING's has to be.
    let mut world = World::new(1);
    let client = world.client();
    world.silence(0);
    world.say(client, &req("GET k"));
    let lane = world.lane_of_shard(0);
    world.stores[0].held.clear();
    world.reply(lane, b"+OK\r\n+OK\r\n+PONG\r\n$1\r\n1\r\n");
    world.run();
    let heard = world.heard(client);
    assert!(heard.starts_with("-ERR Connection out of step (PING of the hand-shake"), "{heard}");
    assert_eq!(lanes_lost(&world), 1);
}

fn fences(world: &World) -> u64 {
    world.stats.shard(PoolId(0), ShardId(0), ShardMetric::Fences).get()
}

#[test]
fn a_fence_follows_the_first_requests_and_then_one_each_interval_under_load() {
    let mut world = World::new(1);
    let client = world.client();
    world.ask(client, &req("GET a"));
    assert_eq!(fences(&world), 1, "a new connection proves itself");
    world.ask(client, &req("GET a"));
    world.advance(999);
    world.ask(client, &req("GET a"));
    assert_eq!(fences(&world), 1);
    world.advance(1);
    assert_eq!(fences(&world), 1, "without a request there is none");
    assert_eq!(world.ask(client, &req("GET a")), "$-1\r\n");
    assert_eq!(fences(&world), 2);
    world.advance(60_000);
    assert_eq!(fences(&world), 2, "an idle lane stays idle");
    assert!(world.relay.next_deadline().is_none_or(|at| at > world.now.mono_us + 100_000));
    for _ in 0..100 {
        world.advance(100);
        world.ask(client, &req("GET a"));
    }
    assert_eq!(fences(&world), 12);
    let cells = |metric| world.stats.shard(PoolId(0), ShardId(0), metric).get();
    assert_eq!(cells(ShardMetric::Requests), 104, "fences are no requests");
    assert_eq!(cells(ShardMetric::Responses), 104);
}

#[test]
fn no_fence_where_none_is_wanted() {
    let mut pool = pool_config(1);
    pool.fence_interval_ms = 0;
    let mut world = World::with(pool);
    let client = world.client();
    for _ in 0..5 {
        world.ask(client, &req("GET a"));
        world.advance(10_000);
    }
    assert_eq!(fences(&world), 0);
}

/// A lane whose store has given one value too many or too few; what five clients hear.
fn slipped(values: usize) -> (World, Vec<String>) {
    let mut world = World::new(1);
    let clients: Vec<_> = (0..5).map(|_| world.client()).collect();
    world.ask(clients[0], &req("GET warm"));
    world.advance(2_000);
    world.silence(0);
    for (number, client) in clients.iter().enumerate() {
        world.relay.on_client_bytes(*client, &req(&format!("GET k{number}")), world.now);
    }
    world.run();
    // Five nils were to come, and the fence's text behind them.
    let held = std::mem::take(&mut world.stores[0].held);
    let fence = held.strip_prefix(b"$-1\r\n".repeat(5).as_slice()).unwrap().to_vec();
    assert!(fence.starts_with(b"$32\r\n"));
    let lane = world.lane_of_shard(0);
    let values: Vec<u8> =
        (0..values).flat_map(|n| format!("$2\r\nv{n}\r\n").into_bytes()).collect();
    world.reply(lane, &[values, fence].concat());
    world.run();
    let heard = clients.iter().map(|client| world.heard(*client)).collect();
    (world, heard)
}

#[test]
fn a_slip_among_equal_shapes_ends_at_the_next_fence() {
    let (world, _) = slipped(5);
    assert_eq!(lanes_lost(&world), 0, "in step");
    // One too many: the fence hears a value.
    let (world, _) = slipped(6);
    assert_eq!(lanes_lost(&world), 1);
    // One too few: a client would hear the fence's text, and the fence nothing.
    let (mut world, heard) = slipped(4);
    assert!(heard[4].starts_with("$32\r\n"), "this one can not be told: {}", heard[4]);
    let late = world.client();
    world.say(late, &req("GET late"));
    let lane = world.lane_of_shard(0);
    world.reply(lane, b"$4\r\nlate\r\n");
    world.run();
    let heard = world.heard(late);
    assert!(heard.starts_with("-ERR Connection out of step (a fence came back as"), "{heard}");
    assert_eq!(lanes_lost(&world), 1);
}

#[test]
fn a_late_fence_still_tells_and_an_error_tells_nothing() {
    for (reply, lost) in [("$3\r\nbad\r\n", 1), ("-LOADING later\r\n", 0), ("-MISCONF\r\n", 0)] {
        let mut world = World::new(1);
        let client = world.client();
        world.ask(client, &req("GET warm"));
        world.advance(2_000);
        world.silence(0);
        world.say(client, &req("GET k"));
        world.advance(1_500);
        let heard = world.heard(client);
        assert!(heard.starts_with("-ERR Connection timed out: shard s0000"), "{heard}");
        let lane = world.lane_of_shard(0);
        world.reply(lane, format!("$-1\r\n{reply}").as_bytes());
        world.run();
        assert_eq!(lanes_lost(&world), lost, "{reply}");
        let cells = |metric| world.stats.shard(PoolId(0), ShardId(0), metric).get();
        assert_eq!(cells(ShardMetric::ServerTimedout), 1, "a fence is no request");
        assert_eq!(cells(ShardMetric::LateReplies), 1);
    }
}

#[test]
fn no_two_fences_are_the_same() {
    let mut world = World::new(1);
    let client = world.client();
    world.ask(client, &req("GET warm"));
    let mut texts = std::collections::BTreeSet::new();
    for _ in 0..50 {
        world.advance(1_000);
        world.silence(0);
        world.say(client, &req("SET k v"));
        let held = world.stores[0].held.clone();
        let text = held.strip_prefix(b"+OK\r\n$32\r\n").unwrap().to_vec();
        assert!(texts.insert(text));
        world.unsilence(0);
    }
}
