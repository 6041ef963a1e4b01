//! The relay, request by request, in a world without sockets.

use std::sync::Arc;

use crate::base::ids::{PoolId, ShardId};
use crate::config::model::UnknownCommands;
use crate::relay::api::{Ask, ClientEnd, LaneEnd};
use crate::relay::world::{World, pool_config, req};
use crate::stats::cells::{PoolMetric, ShardMetric};
#[test]
fn a_request_goes_to_its_shard_and_its_reply_comes_back() {
    let mut world = World::new(3);
    let client = world.client();
    for n in 0..100 {
        assert_eq!(world.ask(client, &req(&format!("SET k{n} v{n}"))), "+OK\r\n");
    }
    for n in 0..100 {
        let value = format!("v{n}");
        let expected = format!("${}\r\n{value}\r\n", value.len());
        assert_eq!(world.ask(client, &req(&format!("GET k{n}"))), expected);
    }
    let counts: Vec<usize> = world.stores.iter().map(|store| store.keys.len()).collect();
    assert!(counts.iter().all(|count| *count > 0), "all shards have keys: {counts:?}");
    assert_eq!(world.ask(client, b"get k1\r\n"), "$2\r\nv1\r\n", "inline too");
}

#[test]
fn replies_keep_their_order_however_shards_answer() {
    for piece in [1, 3, 7, 1000] {
        let mut world = World::new(3);
        world.piece = piece;
        let client = world.client();
        let (mut requests, mut expected) = (Vec::new(), String::new());
        for n in 0..200 {
            requests.extend(req(&format!("SET k{n} value-{n}")));
            expected += "+OK\r\n";
            requests.extend(req(&format!("GET k{n}")));
            let value = format!("value-{n}");
            expected += &format!("${}\r\n{value}\r\n", value.len());
            requests.extend(req("PING"));
            expected += "+PONG\r\n";
        }
        assert_eq!(world.ask(client, &requests), expected);
    }
}

#[test]
fn the_bytes_of_a_request_may_be_cut_anywhere() {
    let mut world = World::new(2);
    let client = world.client();
    let requests = [req("SET a 1"), req("MGET a b a"), b"PING\r\n".to_vec(), req("GET a")].concat();
    for byte in &requests {
        world.say(client, &[*byte]);
    }
    let expected = "+OK\r\n*3\r\n$1\r\n1\r\n$-1\r\n$1\r\n1\r\n+PONG\r\n$1\r\n1\r\n";
    assert_eq!(world.heard(client), expected);
}

#[test]
fn a_large_request_is_forwarded_whether_it_comes_whole_or_in_pieces() {
    for piece in [20_000, 100_000, 7_000, 1_000_000] {
        let mut world = World::new(1);
        let client = world.client();
        let value = "v".repeat(100_000 - 37);
        let requests = [req(&format!("SET a {value}")), req("GET b")].concat();
        for piece in requests.chunks(piece) {
            world.say(client, piece);
        }
        assert_eq!(world.heard(client), "+OK\r\n$-1\r\n", "in pieces of {piece}");
        let whole = req(&format!("SET c {}", "v".repeat(20_000)));
        assert_eq!(world.ask(client, &whole), "+OK\r\n");
        assert_eq!(world.relay.buffered_bytes, 0);
    }
}

#[test]
fn split_requests_are_merged_in_key_order_with_duplicates() {
    let mut world = World::new(3);
    let client = world.client();
    let (a, b, c) = (world.key_on(0), world.key_on(1), world.key_on(2));
    assert_eq!(world.ask(client, &req(&format!("MSET {a} A {b} B {c} C {a} A2"))), "+OK\r\n");
    let got = world.ask(client, &req(&format!("MGET {c} {a} nope {b} {c}")));
    assert_eq!(got, "*5\r\n$1\r\nC\r\n$2\r\nA2\r\n$-1\r\n$1\r\nB\r\n$1\r\nC\r\n");
    assert_eq!(world.ask(client, &req("DBSIZE")), ":3\r\n");
    assert_eq!(world.ask(client, &req(&format!("DEL {a} {b} {a} nope"))), ":2\r\n");
    assert_eq!(
        world.ask(client, &req(&format!("MSET {a} 1 {b}"))),
        "-ERR wrong number of arguments for 'mset' command\r\n"
    );
    let crossslot = world.ask(client, &req(&format!("RENAME {a} {b}")));
    assert!(crossslot.starts_with("-CROSSSLOT "), "{crossslot}");
}

#[test]
fn a_dead_shard_fails_only_its_own_requests() {
    let mut world = World::new(2);
    world.stores[1].down = true;
    let client = world.client();
    let (alive, dead) = (world.key_on(0), world.key_on(1));
    let requests =
        [req(&format!("SET {dead} 1")), req(&format!("SET {alive} 1")), req("PING")].concat();
    let refused = "-ERR Connection refused: shard s0001 at unix:/s1\r\n";
    assert_eq!(world.ask(client, &requests), format!("{refused}+OK\r\n+PONG\r\n"));
    let mget = world.ask(client, &req(&format!("MGET {alive} {dead}")));
    assert_eq!(mget, refused, "half an answer is none");
    world.stores[1].down = false;
    world.advance(2_000);
    assert_eq!(world.ask(client, &req(&format!("SET {dead} 1"))), "+OK\r\n");
}

#[test]
fn a_late_reply_is_dropped_by_position() {
    let mut world = World::new(1);
    let client = world.client();
    assert_eq!(world.ask(client, &req("SET a 1")), "+OK\r\n");
    world.stores[0].silent = true;
    assert_eq!(world.ask(client, &req("GET a")), "");
    world.advance(600);
    assert_eq!(world.ask(client, &req("GET b")), "");
    world.advance(500);
    let timed_out = "-ERR Connection timed out: shard s0000 at unix:/s0\r\n";
    assert_eq!(world.heard(client), timed_out, "the first is late, the second is not");
    let held = std::mem::take(&mut world.stores[0].held);
    world.stores[0].silent = false;
    let lane = world.lane_of_shard(0);
    world.reply(lane, &held);
    world.run();
    assert_eq!(world.heard(client), "$-1\r\n", "b's reply, not a's");
    assert_eq!(world.ask(client, &req("GET a")), "$1\r\n1\r\n");
    let late = world.stats.shard(PoolId(0), ShardId(0), ShardMetric::LateReplies);
    assert_eq!(late.get(), 1);
}

#[test]
fn a_lane_that_stays_silent_is_closed_and_renewed() {
    let mut world = World::new(1);
    let client = world.client();
    world.ask(client, &req("SET a 1"));
    world.stores[0].silent = true;
    let before = world.lane_of_shard(0);
    world.ask(client, &req("GET a"));
    world.advance(1_001);
    assert!(world.heard(client).starts_with("-ERR Connection timed out"));
    world.stores[0].silent = false;
    world.advance(1_001);
    assert_ne!(world.lane_of_shard(0), before);
    assert_eq!(world.ask(client, &req("GET a")), "$1\r\n1\r\n");
}

#[test]
fn a_surplus_reply_closes_the_lane() {
    let mut world = World::new(1);
    let client = world.client();
    world.ask(client, &req("SET a 1"));
    let lane = world.lane_of_shard(0);
    world.reply(lane, b"+STRAY\r\n");
    world.run();
    assert_ne!(world.lane_of_shard(0), lane);
    assert_eq!(world.ask(client, &req("GET a")), "$1\r\n1\r\n", "and nobody heard the stray one");
}

#[test]
fn an_error_of_the_server_at_connect_is_nobodys_reply() {
    let mut world = World::new(1);
    world.stores[0].silent = true;
    let client = world.client();
    world.say(client, &req("GET a"));
    let lane = world.lane_of_shard(0);
    world.reply(lane, b"-ERR max number of clients reached\r\n");
    world.run();
    let heard = world.heard(client);
    assert!(heard.starts_with("-ERR hand-shake refused with 'ERR max number"), "{heard}");
}

#[test]
fn the_greeting_is_answered_before_the_first_request_is_sent() {
    let mut world = World::new(1);
    world.stores[0].silent = true;
    let client = world.client();
    world.say(client, &[req("SELECT 3"), req("GET a")].concat());
    assert_eq!(world.heard(client), "+OK\r\n");
    assert_eq!(world.stores[0].seen, ["SELECT", "CLIENT", "PING"]);
    world.stores[0].silent = false;
    let held = std::mem::take(&mut world.stores[0].held);
    let lane = world.lane_of_shard(0);
    world.reply(lane, &held);
    world.run();
    assert_eq!(world.heard(client), "$-1\r\n");
}

#[test]
fn a_long_reply_is_streamed_and_its_client_dropped_if_the_lane_dies_in_it() {
    let mut pool = pool_config(1);
    pool.unknown_commands = UnknownCommands::Forward;
    let mut world = World::with(pool);
    world.piece = 10_000;
    let client = world.client();
    let reply = world.ask(client, &[req("BIG x"), req("PING")].concat());
    assert_eq!(reply.len(), "$300000\r\n".len() + 300_000 + 2 + "+PONG\r\n".len());
    assert!(reply.ends_with("xx\r\n+PONG\r\n"));

    world.stores[0].silent = true;
    world.say(client, &req("BIG x"));
    let lane = world.lane_of_shard(0);
    let held = std::mem::take(&mut world.stores[0].held);
    world.reply(lane, &held[..200_000]);
    world.run();
    assert!(world.heard(client).len() > 100_000, "part of it has gone out");
    world.lanes.retain(|(id, _)| *id != lane);
    world.relay.on_lane_closed(lane, LaneEnd::Eof, world.now);
    world.run();
    assert_eq!(world.finished, [client]);
}

#[test]
fn a_client_that_left_gets_nothing_and_harms_nobody() {
    let mut world = World::new(1);
    let (first, second) = (world.client(), world.client());
    world.ask(first, &req("SET a 1"));
    world.stores[0].silent = true;
    world.say(first, &[req("GET a"), req("GET a")].concat());
    world.say(second, &req("GET b"));
    world.relay.on_client_closed(first, ClientEnd::Eof, world.now);
    let third = world.client();
    assert_eq!(third.index, first.index, "its place is used again");
    world.say(third, &req("SET c 3"));
    let held = std::mem::take(&mut world.stores[0].held);
    let lane = world.lane_of_shard(0);
    world.reply(lane, &held);
    world.run();
    assert_eq!(world.heard(second), "$-1\r\n");
    assert_eq!(world.heard(third), "+OK\r\n");
}

#[test]
fn a_client_that_does_not_read_is_paused_and_then_closed() {
    let mut pool = pool_config(1);
    pool.unknown_commands = UnknownCommands::Forward;
    pool.limits.client_output_max_bytes = 4_000_000;
    let mut world = World::with(pool);
    let (deaf, other) = (world.client(), world.client());
    world.deaf.push(deaf);
    let requests = req("BIG x").repeat(1_000);
    for _ in 0..20 {
        world.say(deaf, &requests);
    }
    let bytes = world.heard(deaf).len();
    assert!(bytes < 4_000_000 + 300_000, "{bytes}");
    assert!(world.paused.contains(&deaf) || world.finished.contains(&deaf));
    assert_eq!(world.ask(other, &req("SET a 1")), "+OK\r\n");
}

#[test]
fn a_deep_pipeline_stalls_and_goes_on() {
    let mut world = World::new(2);
    let client = world.client();
    let requests = req("GET a").repeat(10_000);
    assert_eq!(world.ask(client, &requests), "$-1\r\n".repeat(10_000));
    assert!(world.paused.is_empty());
    assert_eq!(world.relay.buffered_bytes, 0);
}

#[test]
fn an_evalsha_survives_a_shard_that_lost_its_scripts() {
    let mut world = World::new(2);
    let client = world.client();
    assert_eq!(world.ask(client, &req("EVAL script 1 a")), ":42\r\n");
    let digest = "04e4a2d8c9b8b0d4b1b7e7d6b7f6b6a1d2d3c4c5";
    let unknown = world.ask(client, &req(&format!("EVALSHA {digest} 1 a")));
    assert!(unknown.starts_with("-NOSCRIPT"), "a digest never seen: {unknown}");
    let known = world.relay.scripts.remember(PoolId(0), b"another").unwrap().digest;
    let known = String::from_utf8_lossy(&known).into_owned();
    let evalsha = req(&format!("EVALSHA {} 1 a", known.to_uppercase()));
    assert_eq!(world.ask(client, &evalsha), ":42\r\n", "loaded ahead");
    for store in &mut world.stores {
        store.scripts.clear(); // flushed behind the proxy's back
    }
    assert_eq!(world.ask(client, &evalsha), ":42\r\n", "loaded and repeated");
}

#[test]
fn commands_that_change_a_connection_never_reach_a_lane() {
    let mut world = World::new(1);
    let client = world.client();
    for words in ["CLIENT CACHING YES", "CLIENT TRACKING ON", "SHUTDOWN", "FOO a"] {
        let answer = world.ask(client, &req(words));
        assert!(answer.starts_with("-ERR "), "{words}: {answer}");
        assert!(answer.ends_with("\r\n") && answer.matches('\n').count() == 1, "{answer}");
    }
    assert!(world.stores[0].seen.is_empty());
    assert!(world.finished.is_empty(), "a client is never closed for a command");
}

#[test]
fn a_broken_frame_is_answered_behind_the_other_replies_and_closes() {
    let mut world = World::new(1);
    let client = world.client();
    let heard = world.ask(client, &[req("GET a"), b"*x\r\n".to_vec(), req("GET b")].concat());
    assert_eq!(heard, "$-1\r\n-ERR Protocol error: invalid multibulk length\r\n");
    assert_eq!(world.finished, [client]);
    let errors = world.stats.pool(PoolId(0), PoolMetric::ProtocolErrors);
    assert_eq!(errors.get(), 1);
}

#[test]
fn a_password_is_asked_for() {
    let mut pool = pool_config(1);
    pool.client_password = Some("secret".into());
    let mut world = World::with(pool);
    let client = world.client();
    assert_eq!(world.ask(client, &req("GET a")), "-NOAUTH Authentication required.\r\n");
    assert!(world.ask(client, &req("AUTH wrong")).starts_with("-WRONGPASS"));
    assert!(world.ask(client, &req("HELLO 3")).starts_with("-NOAUTH"));
    assert!(world.ask(client, &req("HELLO 3 AUTH default secret")).starts_with("%7\r\n"));
    assert_eq!(world.ask(client, &req("GET a")), "$-1\r\n");
    assert_eq!(world.ask(client, &req("RESET")), "+RESET\r\n");
    assert_eq!(world.ask(client, &req("GET a")), "-NOAUTH Authentication required.\r\n");
}

#[test]
fn a_key_is_found_at_random_on_any_shard() {
    let mut world = World::new(4);
    let client = world.client();
    assert_eq!(world.ask(client, &req("RANDOMKEY")), "$-1\r\n");
    let key = world.key_on(2);
    world.ask(client, &req(&format!("SET {key} 1")));
    for _ in 0..20 {
        assert_eq!(world.ask(client, &req("RANDOMKEY")), format!("${}\r\n{key}\r\n", key.len()));
    }
}

#[test]
fn a_large_request_that_comes_in_one_piece_is_sent() {
    let mut world = World::new(1);
    let (first, second) = (world.client(), world.client());
    let value = "x".repeat(20_000);
    assert_eq!(world.ask(first, &req(&format!("SET a {value}"))), "+OK\r\n");
    assert_eq!(world.ask(second, &req("GET b")), "$-1\r\n");
    let expected = format!("$20000\r\n{value}\r\n");
    assert_eq!(world.ask(second, &req("GET a")), expected);
}

#[test]
fn a_second_question_goes_where_the_first_went() {
    let mut world = World::new(3);
    let client = world.client();
    world.ask(client, &[req("RANDOMKEY"), req("SELECT 1")].concat());
    let connections: usize = world
        .stores
        .iter()
        .map(|store| store.seen.iter().filter(|name| *name == "SELECT").count())
        .sum();
    assert_eq!(connections, 0, "nothing was asked in database 1");
}

#[test]
fn a_finished_client_that_does_not_read_pays_for_its_own_bytes() {
    let mut world = World::new(1);
    let (deaf, other) = (world.client(), world.client());
    world.deaf.push(deaf);
    let value = "x".repeat(100_000);
    world.ask(other, &req(&format!("SET a {value}")));
    world.say(deaf, &req("GET a"));
    let mut config = (*world.relay.config).clone();
    config.proxy.core_buffer_max_bytes = 50_000;
    world.relay.on_client_bytes(deaf, &req("QUIT"), world.now);
    assert!(matches!(world.relay.next_ask(), Some(Ask::FinishClient(id)) if id == deaf));
    world.relay.config = Arc::new(config);
    world.relay.on_turn(world.now);
    assert!(matches!(world.relay.next_ask(), Some(Ask::DropClient(id)) if id == deaf));
    assert!(world.relay.next_ask().is_none(), "the other one stays");
}

#[test]
fn a_reply_ahead_of_its_request_is_nobodys() {
    let mut world = World::new(1);
    let client = world.client();
    world.ask(client, &req("SET a 1"));
    let lane = world.lane_of_shard(0);
    world.relay.on_client_bytes(client, &req("GET a"), world.now); // not sent yet
    world.reply(lane, b"$5\r\nSTRAY\r\n");
    world.run();
    let heard = world.heard(client);
    assert!(heard.starts_with("-ERR Connection out of step"), "{heard}");
}
