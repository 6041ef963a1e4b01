//! Transactions: what is collected, what is sent, and that it is one request in all that can befall
//! a lane.

use std::path::PathBuf;

use crate::base::ids::{ClientId, PoolId, ShardId};
use crate::base::limits::TRANSACTION_REQUESTS_MAX;
use crate::relay::api::ClientEnd;
use crate::relay::lane::LaneState;
use crate::relay::world::{Store, World, pool_config, req, watched_config};
use crate::resp::encode;
use crate::stats::cells::{PoolMetric, ShardMetric};
use crate::topology::NodeEndpoint;

const ABORT: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";
const UNKNOWN: &str =
    "-ERR outcome unknown: the connection to shard s0000 was lost before the reply came\r\n";

fn all(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| req(line)).collect()
}

/// What the store was asked, apart from what the proxy asks for itself.
fn seen(store: &Store) -> Vec<&str> {
    let own = ["CLIENT", "PING", "ROLE"];
    store.seen.iter().map(String::as_str).filter(|name| !own.contains(name)).collect()
}

fn at_rest(world: &World) {
    assert_eq!((world.relay.buffered_bytes, world.relay.lane_bytes), (0, 0));
    assert!(world.relay.lanes.iter().all(|lane| lane.inflight.is_empty()));
}

#[test]
fn nothing_is_sent_before_exec_and_then_all_of_it_together() {
    let mut world = World::new(1);
    let (client, other) = (world.client(), world.client());
    assert_eq!(world.ask(client, &req("MULTI")), "+OK\r\n");
    assert_eq!(world.ask(client, &req("SET k 1")), "+QUEUED\r\n");
    assert_eq!(world.ask(client, &req("get k")), "+QUEUED\r\n");
    assert!(seen(&world.stores[0]).is_empty());
    assert_eq!(world.ask(other, &req("GET k")), "$-1\r\n");
    assert_eq!(world.ask(client, &req("PING")), "+QUEUED\r\n");
    assert!(world.relay.buffered_bytes > 0);
    let answer = world.ask(client, &all(&["EXEC", "GET k"]));
    assert_eq!(answer, "*3\r\n+OK\r\n$1\r\n1\r\n+PONG\r\n$1\r\n1\r\n");
    let expected = ["GET", "MULTI", "EXEC", "SET", "GET", "GET"];
    assert_eq!(seen(&world.stores[0]), expected);
    at_rest(&world);
}

#[test]
fn the_words_are_those_of_redis() {
    let mut world = World::new(1);
    let client = world.client();
    for (said, heard) in [
        (&["EXEC"][..], "-ERR EXEC without MULTI\r\n"),
        (&["DISCARD"], "-ERR DISCARD without MULTI\r\n"),
        (&["MULTI", "EXEC"], "+OK\r\n*0\r\n"),
        (
            &["MULTI", "SET a 1", "DISCARD", "EXEC"],
            "+OK\r\n+QUEUED\r\n+OK\r\n-ERR EXEC without MULTI\r\n",
        ),
        (
            &["MULTI", "MULTI", "GET a", "EXEC"],
            "+OK\r\n-ERR MULTI calls can not be nested\r\n+QUEUED\r\n*1\r\n$-1\r\n",
        ),
        (
            &["MULTI", "GET a", "RESET", "EXEC"],
            "+OK\r\n+QUEUED\r\n+RESET\r\n-ERR EXEC without MULTI\r\n",
        ),
        (
            &["MULTI", "EXEC x", "EXEC"],
            "+OK\r\n-EXECABORT Transaction discarded because of: wrong number of arguments for \
             'exec' command\r\n-ERR EXEC without MULTI\r\n",
        ),
    ] {
        assert_eq!(world.ask(client, &all(said)), heard, "{said:?}");
    }
    at_rest(&world);
}

#[test]
fn an_error_while_queueing_is_told_and_nothing_is_executed() {
    let mut world = World::new(3);
    let (here, there) = (world.key_on(1), world.key_on(2));
    let client = world.client();
    let here_set = format!("SET {here} 1");
    for (wrong, error) in [
        ("GET".to_owned(), "-ERR wrong number of arguments for 'get' command\r\n"),
        ("NOSUCH".to_owned(), "-ERR unknown command 'NOSUCH', with args beginning with: \r\n"),
        (format!("GET {there}"), "-CROSSSLOT Keys in request don't hash to the same shard\r\n"),
        (
            format!("MGET {here} {there}"),
            "-CROSSSLOT Keys in request don't hash to the same shard\r\n",
        ),
        ("SAVE".to_owned(), "-ERR Command not allowed inside a transaction\r\n"),
    ] {
        let heard = world.ask(client, &all(&["MULTI", &here_set, &wrong, &here_set, "EXEC"]));
        assert_eq!(heard, format!("+OK\r\n+QUEUED\r\n{error}+QUEUED\r\n{ABORT}"), "{wrong}");
    }
    for wrong in
        ["SELECT 1", "CLIENT ID", "SCAN 0", "FLUSHALL", "CONFIG GET *", "WAIT 1 0", "SUBSCRIBE c"]
    {
        let heard = world.ask(client, &all(&["MULTI", wrong, "EXEC"]));
        assert!(heard.starts_with("+OK\r\n-ERR '") && heard.ends_with(ABORT), "{wrong}: {heard}");
    }
    assert!(world.stores.iter().all(|store| seen(store).is_empty()));
    assert_eq!(world.stats.pool(PoolId(0), PoolMetric::CrossslotErrors).get(), 2);
    at_rest(&world);
}

#[test]
fn what_has_no_keys_goes_where_the_keys_are() {
    let mut world = World::new(3);
    let client = world.client();
    let key = world.key_on(2);
    let set = format!("SET {key} 1");
    let heard = world.ask(client, &all(&["MULTI", "PING x", "DBSIZE", &set, "DBSIZE", "EXEC"]));
    let queued = "+QUEUED\r\n".repeat(4);
    assert_eq!(heard, format!("+OK\r\n{queued}*4\r\n$1\r\nx\r\n:0\r\n+OK\r\n:1\r\n"));
    assert_eq!(world.stores[2].keys.len(), 1);
    assert_eq!(
        world.ask(client, &all(&["MULTI", "PING x", "EXEC"])),
        "+OK\r\n+QUEUED\r\n*1\r\n$1\r\nx\r\n"
    );
}

#[test]
fn it_comes_through_however_it_is_cut() {
    let large = "x".repeat(70_000);
    let lines = ["GET k", "MULTI", &format!("SET k {large}"), "GET k", "PING", "EXEC", "GET k"];
    let (bytes, value) = (all(&lines), format!("$70000\r\n{large}\r\n"));
    let expected =
        format!("$-1\r\n+OK\r\n{}*3\r\n+OK\r\n{value}+PONG\r\n{value}", "+QUEUED\r\n".repeat(3));
    for piece in [1, 7, 999, 20_000, 1 << 20] {
        let mut world = World::with(pool_config(1));
        world.piece = piece;
        let client = world.client();
        for part in bytes.chunks(piece) {
            if world.relay.client_takes_chunk(client, part.len()) {
                world.relay.on_client_chunk(client, part.to_vec(), world.now);
            } else {
                world.relay.on_client_bytes(client, part, world.now);
            }
            world.run();
        }
        assert!(world.heard(client) == expected, "in pieces of {piece}");
        at_rest(&world);
    }
}

#[test]
fn who_leaves_before_exec_has_asked_for_nothing() {
    let mut world = World::new(1);
    let client = world.client();
    let large = format!("SET k {}", "x".repeat(40_000));
    world.ask(client, &all(&["MULTI", &large, "SET l 1"]));
    world.relay.on_client_closed(client, ClientEnd::Eof, world.now);
    let client = world.client();
    world.ask(client, &all(&["MULTI", &large, "QUIT"]));
    assert!(seen(&world.stores[0]).is_empty());
    at_rest(&world);
}

#[test]
fn its_size_is_bounded() {
    let mut pool = pool_config(1);
    pool.limits.request_bytes_max = 10_000;
    let mut world = World::with(pool);
    let client = world.client();
    let large = format!("SET k {}", "x".repeat(6_000));
    let heard = world.ask(client, &all(&["MULTI", &large, &large, "EXEC"]));
    let error = "-ERR more than 10000 bytes inside MULTI (request_bytes_max)\r\n";
    assert_eq!(heard, format!("+OK\r\n+QUEUED\r\n{error}{ABORT}"));

    let mut pool = pool_config(1);
    pool.limits.request_bytes_max = 200_000;
    let mut world = World::with(pool);
    let client = world.client();
    let large = req(&format!("SET k {}", "x".repeat(120_000)));
    let (head, rest) = large.split_at(1_000);
    let pieces = [&req("MULTI"), head, rest, head, rest, &req("EXEC")];
    let heard: String = pieces.iter().map(|piece| world.ask(client, piece)).collect();
    let error = error.replace("10000", "200000");
    assert_eq!(heard, format!("+OK\r\n+QUEUED\r\n{error}{ABORT}"), "taken in chunk by chunk");
    at_rest(&world);

    let mut world = World::new(1);
    let client = world.client();
    let many = |count: usize| [req("MULTI"), req("PING").repeat(count), req("EXEC")].concat();
    let heard = world.ask(client, &many(TRANSACTION_REQUESTS_MAX));
    assert!(heard.ends_with(&format!("*65534\r\n{}", "+PONG\r\n".repeat(65_534))));
    let heard = world.ask(client, &many(TRANSACTION_REQUESTS_MAX + 1));
    assert!(heard.ends_with(&format!("-ERR more than 65534 requests inside MULTI\r\n{ABORT}")));
    at_rest(&world);
}

#[test]
fn a_known_script_goes_with_its_body_once() {
    let mut world = World::new(1);
    let client = world.client();
    let script = world.relay.scripts.remember(PoolId(0), b"return1").unwrap();
    let evalsha = format!("EVALSHA {} 1 k", String::from_utf8_lossy(&script.digest));
    let heard = world.ask(client, &all(&["MULTI", &evalsha, "EVAL_RO return2 1 k", "EXEC"]));
    assert!(heard.starts_with("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:42\r\n-ERR "), "{heard}");
    assert_eq!(seen(&world.stores[0]), ["MULTI", "EXEC", "EVAL", "EVAL_RO"]);
    world.stores[0].seen.clear();
    world.stores[0].scripts.push(Vec::new());
    let heard = world.ask(client, &all(&["MULTI", &evalsha, &evalsha, "EXEC"]));
    assert_eq!(heard, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:42\r\n:42\r\n");
    assert_eq!(seen(&world.stores[0]), ["MULTI", "EXEC", "EVAL", "EVALSHA"]);
}

#[test]
fn a_lost_connection_is_one_error_and_what_comes_late_is_dropped() {
    let mut world = World::new(1);
    let (client, other) = (world.client(), world.client());
    world.ask(client, &req("GET k"));
    world.silence(0);
    world.say(client, &all(&["MULTI", "SET k 1", "GET k", "EXEC", "GET k"]));
    world.say(other, &req("GET k"));
    assert_eq!(world.heard(client), "+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    // The first of its replies come in time, the last too late.
    let held = std::mem::take(&mut world.stores[0].held);
    let lane = world.lane_of_shard(0);
    world.reply(lane, &held[..12]);
    world.advance(1_100);
    let late = "-ERR Connection timed out: shard s0000 at unix:/s0\r\n";
    assert_eq!(world.heard(client), late.repeat(2));
    world.reply(lane, &held[12..]);
    world.unsilence(0);
    assert_eq!(world.ask(other, &req("GET k")), format!("{late}$1\r\n1\r\n"));
    world.silence(0);
    world.say(client, &all(&["MULTI", "SET k 1", "EXEC", "GET k"]));
    world.reply(lane, b"+OK\r\n+QUEUED\r\n");
    world.stores[0].silent = false;
    world.lose(0);
    let lost = "-ERR Connection closed by server: shard s0000 at unix:/s0\r\n";
    assert_eq!(world.heard(client), format!("+OK\r\n+QUEUED\r\n{}", lost.repeat(2)));
    let next = world.ask(client, &all(&["MULTI", "GET k", "EXEC"]));
    assert_eq!(next, "+OK\r\n+QUEUED\r\n*1\r\n$1\r\n1\r\n", "it begins from the beginning");
    at_rest(&world);
}

#[test]
fn a_lane_that_takes_no_multi_is_closed() {
    for replies in
        ["-NOPERM no\r\n+OK\r\n-ERR EXEC without MULTI\r\n", "+OK\r\n+QUEUED\r\n-NOPERM no\r\n"]
    {
        let mut world = World::new(1);
        let client = world.client();
        world.ask(client, &req("GET k"));
        world.silence(0);
        world.say(client, &all(&["MULTI", "SET k 1", "EXEC"]));
        let lane = world.lane_of_shard(0);
        world.reply(lane, replies.as_bytes());
        world.run();
        let heard = world.heard(client);
        assert!(heard.contains("QUEUED\r\n-ERR Connection out of step ("), "{heard}");
        assert_ne!(world.lane_of_shard(0), lane);
    }
}

/// One shard on node 0, whose next primary may be node 1.
fn watched() -> (World, ClientId) {
    let mut world = World::with(watched_config(1));
    world.stores.push(Store::default());
    world.publish(0, |shard| shard.verified = 1);
    let client = world.client();
    assert_eq!(world.ask(client, &req("SET k v")), "+OK\r\n");
    (world, client)
}

fn promote(world: &mut World) {
    world.stores[1].keys = world.stores[0].keys.clone();
    world.publish(0, |shard| {
        shard.verified += 1;
        shard.primary = Some(NodeEndpoint::Unix(PathBuf::from("/s1")));
    });
}

#[test]
fn in_a_failover_it_is_one_request() {
    let (mut world, client) = watched();
    world.silence(0);
    let transaction = all(&["MULTI", "SET k w", "SET l w", "EXEC"]);
    let reads = all(&["MULTI", "GET k", "GET l", "EXEC"]);
    world.say(client, &[transaction.clone(), reads].concat());
    world.lose(0);
    world.say(client, &transaction);
    assert_eq!(world.relay.lanes[0].state, LaneState::Held);
    promote(&mut world);
    let queued = "+OK\r\n+QUEUED\r\n+QUEUED\r\n";
    let expected = format!(
        "{queued}{UNKNOWN}{queued}*2\r\n$1\r\nw\r\n$1\r\nw\r\n{queued}*2\r\n+OK\r\n+OK\r\n"
    );
    assert_eq!(world.heard(client), expected, "unknown once, reads again, and what was not sent");
    let count = |metric| world.stats.shard(PoolId(0), ShardId(0), metric).get();
    assert_eq!((count(ShardMetric::UnknownOutcomes), count(ShardMetric::Repeated)), (1, 1));
    at_rest(&world);
    assert_eq!(world.relay.holds[0].kept_bytes, 0);
}

#[test]
fn refused_while_queueing_it_goes_to_the_next_primary_whole() {
    for refusal in [
        "READONLY You can't write against a read only replica.",
        "LOADING Redis is loading the dataset in memory",
    ] {
        let (mut world, client) = watched();
        world.stores[0].refusal = Some(refusal);
        world.say(client, &all(&["MULTI", "SET k w", "GET k", "EXEC", "GET k"]));
        assert_eq!(world.heard(client), "+OK\r\n+QUEUED\r\n+QUEUED\r\n");
        assert_eq!(world.relay.lanes[0].state, LaneState::Held, "closed when all was refused");
        promote(&mut world);
        assert_eq!(world.heard(client), "*2\r\n+OK\r\n$1\r\nw\r\n$1\r\nw\r\n");
        assert_eq!(seen(&world.stores[1]), ["MULTI", "EXEC", "SET", "GET", "GET"]);
        at_rest(&world);
    }
    // Another error is the client's.
    let (mut world, client) = watched();
    world.stores[0].refusal = Some("OOM command not allowed when used memory > 'maxmemory'.");
    let heard = world.ask(client, &all(&["MULTI", "SET k w", "EXEC"]));
    assert_eq!(heard, "+OK\r\n+QUEUED\r\n-EXECABORT because of errors\r\n");
}

/// A script is queued by a replica, too, and refused with its first write.
#[test]
fn refused_inside_its_answer_it_goes_to_the_next_primary_unless_something_was_written() {
    let script = ["MULTI", "EVAL x 1 k", "GET k", "EXEC"];
    let refused = "-READONLY You can't write against a read only replica. script: x";
    let (mut world, client) = watched();
    world.stores[0].script_says = Some(&refused[1..]);
    world.say(client, &all(&script));
    assert_eq!(world.heard(client), "+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    assert_eq!(world.relay.lanes[0].state, LaneState::Held);
    promote(&mut world);
    assert_eq!(world.heard(client), "*2\r\n:42\r\n$1\r\nv\r\n");
    assert_eq!(seen(&world.stores[1]), ["MULTI", "EXEC", "EVAL", "GET"]);
    at_rest(&world);
    // Where a write was executed it is no replica: the script has made it up.
    let (mut world, client) = watched();
    world.stores[0].script_says = Some(&refused[1..]);
    let heard = world.ask(client, &all(&["MULTI", "SET k w", "EVAL x 1 k", "EXEC"]));
    assert_eq!(heard, format!("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n{refused}\r\n"));
    // And it is believed now and then only.
    world.say(client, &all(&script));
    world.publish(0, |shard| shard.verified += 1);
    let heard = world.heard(client);
    let answer = format!("*2\r\n{refused}\r\n$1\r\nw\r\n");
    assert_eq!(heard, format!("+OK\r\n+QUEUED\r\n+QUEUED\r\n{answer}"));
    at_rest(&world);
    // Nor is a message sent a second time.
    let (mut world, client) = watched();
    world.stores[0].script_says = Some(&refused[1..]);
    let heard = world.ask(client, &all(&["MULTI", "PUBLISH c m", "EVAL x 1 k", "EXEC"]));
    assert!(heard.ends_with(&format!("{refused}\r\n")), "{heard}");
}

#[test]
fn select_of_its_own_database_changes_nothing() {
    let mut world = World::new(1);
    let client = world.client();
    let heard = world.ask(client, &all(&["SELECT 1", "MULTI", "SELECT 1", "SET k v", "EXEC"]));
    assert_eq!(heard, "+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+OK\r\n");
    let heard = world.ask(client, &all(&["MULTI", "SELECT 0", "EXEC"]));
    assert!(heard.contains("-ERR 'select' is not served inside MULTI"), "{heard}");
}

#[test]
fn a_shard_that_takes_no_writes_takes_no_transaction_with_one() {
    let (mut world, client) = watched();
    world.publish(0, |shard| shard.writable = false);
    let heard = world.ask(client, &all(&["MULTI", "SET k w", "EXEC"]));
    assert!(heard.starts_with("+OK\r\n+QUEUED\r\n-NOREPLICAS shard s0000 "), "{heard}");
    let heard = world.ask(client, &all(&["MULTI", "GET k", "EXEC"]));
    assert_eq!(heard, "+OK\r\n+QUEUED\r\n*1\r\n$1\r\nv\r\n");
    at_rest(&world);
}

#[test]
fn an_answer_of_any_length_is_passed_on_as_it_comes() {
    let mut world = World::new(1);
    let client = world.client();
    let mut set = Vec::new();
    encode::request(&mut set, &[b"SET", b"k", &vec![b'x'; 300_000]]);
    world.ask(client, &set);
    world.piece = 10_000;
    let heard = world.ask(client, &all(&["MULTI", "GET k", "GET k", "EXEC", "PING"]));
    assert_eq!(heard.len(), "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+PONG\r\n".len() + 2 * 300_011);
    assert!(heard.ends_with("x\r\n+PONG\r\n"));
    at_rest(&world);
}

#[test]
fn one_that_writes_waits_for_the_end_of_a_pause_and_is_sent_then() {
    let mut world = World::new(1);
    let (admin, client, reader) = (world.client(), world.client(), world.client());
    world.ask(client, &all(&["MULTI", "SET k 1"]));
    world.ask(reader, &all(&["MULTI", "GET k"]));
    assert_eq!(world.ask(admin, &req("CLIENT PAUSE 500 WRITE")), "+OK\r\n");
    assert_eq!(world.ask(client, &all(&["EXEC", "PING"])), "");
    assert_eq!(world.ask(reader, &req("EXEC")), "*1\r\n$-1\r\n");
    world.advance(500);
    assert_eq!(world.heard(client), "*1\r\n+OK\r\n+PONG\r\n");
    at_rest(&world);
}
