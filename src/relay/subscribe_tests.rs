//! Subscriptions: what clients ask for and hear, once and nobody else.

use crate::base::ids::{ClientId, LaneId, PoolId};
use crate::base::limits::{LISTENER_BYTES, SUBSCRIPTIONS_MAX_BYTES, TOPIC_BYTES};
use crate::config::model::PoolConfig;
use crate::relay::api::ClientEnd;
use crate::relay::cores_tests::Cores;
use crate::relay::world::{Lane, World, pool_config, req};
use crate::stats::cells::PoolMetric;

/// A frame of strings and numbers, as RESP2 writes it.
pub(super) fn frame(words: &[&str]) -> String {
    let element = |word: &&str| match word.parse::<i64>() {
        Ok(number) => format!(":{number}\r\n"),
        Err(_) => format!("${}\r\n{word}\r\n", word.len()),
    };
    format!("*{}\r\n{}", words.len(), words.iter().map(element).collect::<String>())
}

pub(super) fn push(words: &[&str]) -> String {
    frame(words).replacen('*', ">", 1)
}

pub(super) fn resp3(world: &mut World) -> ClientId {
    let client = world.client();
    world.ask(client, &req("HELLO 3"));
    client
}

fn gauge(world: &World, metric: PoolMetric) -> u64 {
    world.stats.pool(PoolId(0), metric).get()
}

fn small_output(bytes: usize) -> PoolConfig {
    let mut pool = pool_config(1);
    pool.limits.client_output_soft_bytes = bytes / 2;
    pool.limits.client_output_max_bytes = bytes;
    pool
}

/// Nobody is subscribed to anything, here or there, and nothing is left of it.
pub(super) fn assert_nothing_left(world: &World) {
    for shard in 0..world.stores.len() {
        assert_eq!(world.topics_on(shard), Vec::<String>::new());
    }
    assert_eq!(world.relay.topics.bytes, 0);
    assert!(world.relay.joinings.is_empty());
    for metric in [PoolMetric::Subscribers, PoolMetric::Channels, PoolMetric::Patterns] {
        assert_eq!(gauge(world, metric), 0, "{metric:?}");
    }
    assert_eq!((world.relay.lane_bytes, world.relay.buffered_bytes), (0, 0));
}

#[test]
fn many_listen_by_one_connection_and_each_hears_once() {
    for piece in [1, 7, 1000] {
        let mut world = World::new(1);
        world.piece = piece;
        let old: Vec<ClientId> = (0..5).map(|_| world.client()).collect();
        let new: Vec<ClientId> = (0..5).map(|_| resp3(&mut world)).collect();
        let bystander = world.client();
        for id in &old {
            let heard = world.ask(*id, &req("SUBSCRIBE news"));
            assert_eq!(heard, frame(&["subscribe", "news", "1"]));
        }
        for id in &new {
            let heard = world.ask(*id, &req("SUBSCRIBE news news other"));
            let counts = [("news", "1"), ("news", "1"), ("other", "2")];
            let expected = counts.map(|(name, count)| push(&["subscribe", name, count]));
            assert_eq!(heard, expected.concat());
        }
        assert_eq!(world.publish_on(0, "news", "it rains"), 1, "one connection for all");
        for id in &old {
            assert_eq!(world.heard(*id), frame(&["message", "news", "it rains"]));
        }
        for id in &new {
            assert_eq!(world.heard(*id), push(&["message", "news", "it rains"]));
        }
        assert_eq!(world.heard(bystander), "");
        assert_eq!(gauge(&world, PoolMetric::MessagesDelivered), 10);
        assert_eq!(
            (gauge(&world, PoolMetric::Subscribers), gauge(&world, PoolMetric::Channels)),
            (10, 2)
        );
        for id in old.iter().chain(&new[1..]) {
            world.relay.on_client_closed(*id, ClientEnd::Eof, world.now);
        }
        world.run();
        assert_eq!(world.topics_on(0), ["news", "other"], "somebody still listens");
        assert_eq!(world.ask(new[0], &req("RESET")), "+RESET\r\n");
        assert_nothing_left(&world);
    }
}

#[test]
fn a_confirmation_waits_for_the_node_and_an_unsubscription_for_nobody() {
    let mut world = World::new(1);
    let (client, other) = (world.client(), world.client());
    world.ask(client, &req("GET a"));
    world.silence(0);
    world.say(client, &[req("SUBSCRIBE a b"), req("UNSUBSCRIBE a"), req("PING")].concat());
    assert_eq!(world.heard(client), "");
    world.unsilence(0);
    let expected = [
        frame(&["subscribe", "a", "1"]),
        frame(&["subscribe", "b", "2"]),
        frame(&["unsubscribe", "a", "1"]),
        frame(&["pong", ""]),
    ];
    assert_eq!(world.heard(client), expected.concat());
    // Known already: no node is asked.
    world.silence(0);
    assert_eq!(world.ask(other, &req("SUBSCRIBE b")), frame(&["subscribe", "b", "1"]));
    assert_eq!(world.ask(client, &req("UNSUBSCRIBE")), frame(&["unsubscribe", "b", "0"]));
    let nothing = "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n";
    assert_eq!(world.ask(client, &req("UNSUBSCRIBE")), nothing);
    assert_eq!(world.ask(client, &req("UNSUBSCRIBE x")), frame(&["unsubscribe", "x", "0"]));
    assert_eq!(world.publish_on(0, "a", "late"), 0);
    assert_eq!(world.publish_on(0, "b", "now"), 1);
    assert_eq!(
        (world.heard(client), world.heard(other)),
        (String::new(), frame(&["message", "b", "now"]))
    );
    assert_eq!(world.ask(client, &req("PING")), "+PONG\r\n", "an ordinary client again");
}

#[test]
fn patterns_listen_on_every_shard_and_channels_on_theirs() {
    let mut world = World::new(3);
    let client = resp3(&mut world);
    let channels = [0, 1, 2].map(|shard| world.key_on(shard));
    let expected = [push(&["psubscribe", "key*", "1"]), push(&["psubscribe", "k?y*", "2"])];
    assert_eq!(world.ask(client, &req("PSUBSCRIBE key* k?y*")), expected.concat());
    let names = channels.join(" ");
    world.ask(client, &req(&format!("SUBSCRIBE {names} __keyspace@0__:x")));
    world.ask(client, &req(&format!("SSUBSCRIBE {}", channels[1])));
    for (shard, channel) in channels.iter().enumerate() {
        let topics = if shard == 1 { 5 } else { 4 };
        assert_eq!(world.topics_on(shard).len(), topics);
        world.publish_on(shard, channel, "text");
        let heard = world.heard(client);
        for words in [
            &["message", channel, "text"][..],
            &["pmessage", "key*", channel, "text"],
            &["pmessage", "k?y*", channel, "text"],
        ] {
            assert_eq!(heard.matches(&push(words)).count(), 1, "{heard}");
        }
        assert_eq!(heard.matches('>').count(), 3, "{heard}");
        world.publish_on(shard, "__keyspace@0__:x", "set");
        assert_eq!(world.heard(client), push(&["message", "__keyspace@0__:x", "set"]));
    }
    world.spublish_on(1, &channels[1], "text");
    assert_eq!(world.heard(client), push(&["smessage", &channels[1], "text"]));
    let line = world.ask(client, &req("CLIENT INFO"));
    assert!(line.contains(" flags=P ") && line.contains(" sub=4 psub=2 ssub=1 "), "{line}");
    assert!(world.ask(client, &req("SUNSUBSCRIBE")).ends_with(":0\r\n"), "counted for themselves");
    world.ask(client, &[req("PUNSUBSCRIBE"), req("UNSUBSCRIBE")].concat());
    assert_nothing_left(&world);
}

#[test]
fn who_is_subscribed_in_resp2_may_ask_for_little_else() {
    let mut world = World::new(1);
    let client = world.client();
    world.ask(client, &req("SUBSCRIBE a"));
    for (request, name) in
        [("GET a", "get"), ("CLIENT LIST", "client|list"), ("FLUSHALL", "flushall")]
    {
        let expected = format!(
            "-ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
             RESET are allowed in this context\r\n"
        );
        assert_eq!(world.ask(client, &req(request)), expected);
    }
    assert_eq!(world.ask(client, &req("PING hello")), frame(&["pong", "hello"]));
    let expected = "-EXECABORT Transaction discarded because of: Can't execute 'exec': only ";
    assert!(world.ask(client, &req("EXEC")).starts_with(expected));
    assert_eq!(world.ask(client, &req("UNSUBSCRIBE a")), frame(&["unsubscribe", "a", "0"]));
    assert_eq!(world.ask(client, &req("GET a")), "$-1\r\n");
    let modern = resp3(&mut world);
    world.ask(modern, &req("SUBSCRIBE a"));
    assert_eq!(world.ask(modern, &[req("GET a"), req("PING")].concat()), "$-1\r\n+PONG\r\n");
    // In the other version now, and a listener all the same.
    assert!(world.ask(modern, &req("HELLO 2")).starts_with('*'));
    world.publish_on(0, "a", "text");
    assert_eq!(world.heard(modern), frame(&["message", "a", "text"]));
    assert!(world.ask(modern, &req("GET a")).starts_with("-ERR Can't execute 'get'"));
}

#[test]
fn ping_of_who_is_subscribed_is_a_request_as_any_other() {
    let mut world = World::new(1);
    let (client, other) = (world.client(), world.client());
    world.ask(client, &req("SUBSCRIBE a"));
    let before = gauge(&world, PoolMetric::LocalRequests);
    world.ask(client, &req("PING"));
    assert_eq!(gauge(&world, PoolMetric::LocalRequests), before + 1);
    world.ask(other, &req("CLIENT PAUSE 1000 ALL"));
    assert_eq!(world.ask(client, &req("PING")), "", "it waits");
    world.advance(1_001);
    assert_eq!(world.heard(client), frame(&["pong", ""]));
    world.ask(other, &req("MONITOR"));
    world.ask(client, &[req("GET a"), req("PING seen")].concat());
    let shown = world.heard(other);
    assert!(shown.ends_with(" \"PING\" \"seen\"\r\n"), "{shown}");
    assert!(!shown.contains("GET"), "what is refused is not shown: {shown}");
}

#[test]
fn a_message_comes_neither_in_a_reply_nor_before_its_confirmation() {
    let mut world = World::new(1);
    world.piece = 10_000;
    let (first, client) = (world.client(), resp3(&mut world));
    world.ask(first, &req("SUBSCRIBE a b"));
    world.ask(client, &[req("SUBSCRIBE a"), req("GET x")].concat());
    // A reply of 300,000 bytes, of which half has come.
    let ordinary = |(_, lane): &&(LaneId, Lane)| lane.topics.is_empty();
    let lane = world.lanes.iter().rfind(ordinary).unwrap().0;
    world.silence(0);
    world.say(client, &[req("GET x"), req("SUBSCRIBE b")].concat());
    world.stores[0].silent = false;
    world.stores[0].held.clear();
    let mut reply = b"$300000\r\n".to_vec();
    reply.extend(vec![b'x'; 300_000]);
    reply.extend_from_slice(b"\r\n");
    world.reply(lane, &reply[..150_000]);
    world.run();
    assert!(world.heard(client).len() >= 100_000, "it streams");
    assert_eq!(world.publish_on(0, "a", "first"), 1);
    assert_eq!(world.publish_on(0, "b", "second"), 1);
    assert_eq!(
        world.heard(first),
        frame(&["message", "a", "first"]) + &frame(&["message", "b", "second"])
    );
    assert_eq!(world.heard(client), "", "they wait");
    world.reply(lane, &reply[150_000..]);
    world.run();
    let heard = world.heard(client);
    let behind = [
        push(&["subscribe", "b", "2"]),
        push(&["message", "a", "first"]),
        push(&["message", "b", "second"]),
    ];
    assert!(
        heard.ends_with(&format!("x\r\n{}", behind.concat())),
        "{}",
        &heard[heard.len() - 200..]
    );
    assert_eq!(world.ask(client, &req("PING")), "+PONG\r\n");
    assert_eq!(world.relay.buffered_bytes, 0);
}

#[test]
fn what_can_not_be_subscribed_is_one_error_and_leaves_nothing() {
    let mut world = World::new(2);
    let [on_0, on_1] = [0, 1].map(|shard| world.key_on(shard));
    let client = world.client();
    world.stores[1].down = true;
    for request in [format!("SUBSCRIBE {on_0} {on_1}"), "PSUBSCRIBE *".to_owned()] {
        let heard = world.ask(client, &req(&request));
        assert!(heard.starts_with("-ERR Connection refused: shard s0001"), "{heard}");
        assert_eq!(heard.lines().count(), 1);
    }
    assert_nothing_left(&world);
    assert_eq!(world.ask(client, &req("PING")), "+PONG\r\n");
    world.stores[1].down = false;
    world.advance(2_000);
    world.stores[1].subscribe_says = Some("NOPERM not this channel");
    let both = req(&format!("SUBSCRIBE {on_0} {on_1}"));
    assert_eq!(world.ask(client, &both), "-NOPERM not this channel\r\n");
    assert_nothing_left(&world);
    world.stores[1].subscribe_says = None;
    // A node that does not answer: an error in time, and the connection is given up.
    world.silence(1);
    world.say(client, &both);
    world.advance(999);
    assert_eq!(world.heard(client), "");
    world.advance(2);
    assert!(world.heard(client).starts_with("-ERR Connection timed out"), "in time");
    world.stores[1].silent = false;
    world.stores[1].held.clear();
    world.advance(2_000);
    world.advance(100);
    assert_eq!(world.ask(client, &both).matches("subscribe").count(), 2);
}

#[test]
fn a_slow_subscriber_is_closed_and_the_others_hear_on() {
    let mut world = World::with(small_output(20_000));
    let (slow, quick) = (world.client(), world.client());
    for id in [slow, quick] {
        world.ask(id, &req("SUBSCRIBE a"));
    }
    world.deaf.push(slow);
    let text = "x".repeat(1_000);
    for n in 0..40 {
        world.publish_on(0, "a", &text);
        assert_eq!(world.heard(quick), frame(&["message", "a", &text]), "message {n}");
        assert!(world.relay.buffered_bytes <= 21_100);
    }
    assert_eq!(world.finished, [slow]);
    assert_eq!(gauge(&world, PoolMetric::SubscribersClosedForOutput), 1);
    assert_eq!(gauge(&world, PoolMetric::Subscribers), 1);
}

#[test]
fn subscriptions_are_bounded_and_who_listens_is_not_idle() {
    let mut pool = pool_config(1);
    pool.limits.client_subscriptions_max = 2;
    pool.limits.client_idle_timeout_ms = 1_000;
    let mut world = World::with(pool);
    let (client, idle) = (world.client(), world.client());
    world.ask(client, &req("SUBSCRIBE a b"));
    let heard = world.ask(client, &req("PSUBSCRIBE c"));
    assert!(heard.starts_with("-ERR a client of this proxy may be subscribed to 2 "), "{heard}");
    let again = world.ask(client, &req("SUBSCRIBE a b"));
    assert_eq!(again.matches("subscribe").count(), 2, "these it has");
    for _ in 0..10 {
        world.advance(500);
    }
    assert_eq!(world.finished, [idle]);
    world.ask(client, &req("UNSUBSCRIBE"));
    for _ in 0..10 {
        world.advance(500);
    }
    assert_eq!(world.finished, [idle, client]);
    assert_nothing_left(&world);
}

#[test]
fn the_subscriptions_of_a_core_are_bounded() {
    let mut world = World::new(1);
    let client = world.client();
    let claimed = SUBSCRIPTIONS_MAX_BYTES - TOPIC_BYTES - LISTENER_BYTES - 10;
    world.relay.topics.bytes += claimed;
    assert_eq!(world.ask(client, &req("SUBSCRIBE a")), frame(&["subscribe", "a", "1"]));
    let heard = world.ask(client, &req("SUBSCRIBE b"));
    assert!(heard.starts_with("-ERR the subscriptions of this proxy's core take "), "{heard}");
    assert_eq!(world.ask(client, &req("SUBSCRIBE a")), frame(&["subscribe", "a", "1"]));
    world.relay.topics.bytes -= claimed;
    world.ask(client, &req("UNSUBSCRIBE"));
    assert_nothing_left(&world);
}

#[test]
fn client_reply_does_not_hold_back_what_is_no_reply() {
    let mut world = World::new(1);
    let client = world.client();
    assert_eq!(world.ask(client, &req("CLIENT REPLY OFF")), "");
    let requests = [req("SUBSCRIBE"), req("SUBSCRIBE a"), req("PING"), req("GET a")].concat();
    assert_eq!(world.ask(client, &requests), frame(&["subscribe", "a", "1"]));
    world.publish_on(0, "a", "text");
    assert_eq!(world.heard(client), frame(&["message", "a", "text"]));
    assert_eq!(world.ask(client, &req("UNSUBSCRIBE")), frame(&["unsubscribe", "a", "0"]));
    world.stores[0].subscribe_says = Some("NOPERM no");
    assert_eq!(world.ask(client, &req("SUBSCRIBE a")), "", "an error is a reply");
    world.stores[0].subscribe_says = None;
    let requests =
        [req("CLIENT REPLY ON"), req("CLIENT REPLY SKIP"), req("SUBSCRIBE b"), req("PING")];
    let expected = format!("+OK\r\n{}{}", frame(&["subscribe", "b", "1"]), frame(&["pong", ""]));
    assert_eq!(world.ask(client, &requests.concat()), expected);
}

#[test]
fn a_message_is_in_the_version_that_its_client_knows_of() {
    let mut world = World::new(1);
    let client = resp3(&mut world);
    world.ask(client, &[req("SUBSCRIBE a"), req("GET x")].concat());
    let ordinary = |(_, lane): &&(LaneId, Lane)| lane.topics.is_empty();
    let lane = world.lanes.iter().rfind(ordinary).unwrap().0;
    world.silence(0);
    world.say(client, &[req("GET x"), req("HELLO 2")].concat());
    world.publish_on(0, "a", "text");
    assert_eq!(world.heard(client), push(&["message", "a", "text"]), "HELLO waits for the reply");
    world.unsilence_lane(0, lane);
    let heard = world.heard(client);
    assert!(heard.starts_with("_\r\n*14\r\n") || heard.starts_with("$-1\r\n*14\r\n"), "{heard}");
    world.publish_on(0, "a", "text");
    assert_eq!(world.heard(client), frame(&["message", "a", "text"]));
}

#[test]
fn inside_multi_nobody_subscribes() {
    let mut world = World::new(1);
    let client = resp3(&mut world);
    world.ask(client, &req("SUBSCRIBE a"));
    for request in ["SUBSCRIBE b", "PSUBSCRIBE *", "SSUBSCRIBE b", "UNSUBSCRIBE a"] {
        assert_eq!(world.ask(client, &req("MULTI")), "+OK\r\n");
        let name = request.split(' ').next().unwrap().to_lowercase();
        let expected = format!(
            "-ERR '{name}' is not served inside MULTI by this proxy: it is answered by the proxy, \
             not by a shard; send it before or after\r\n"
        );
        assert_eq!(world.ask(client, &req(request)), expected);
        world.publish_on(0, "a", "text");
        assert_eq!(world.heard(client), push(&["message", "a", "text"]), "it listens on");
        assert!(world.ask(client, &req("EXEC")).starts_with("-EXECABORT "));
    }
    assert_eq!(world.topics_on(0), ["a"]);
}

#[test]
fn who_blocks_in_resp3_hears_messages_meanwhile() {
    let mut world = World::new(1);
    let client = resp3(&mut world);
    world.ask(client, &req("SUBSCRIBE a"));
    assert_eq!(world.ask(client, &req("BLPOP queue 0")), "");
    world.publish_on(0, "a", "text");
    assert_eq!(world.heard(client), push(&["message", "a", "text"]));
    let other = world.client();
    let lines = world.ask(other, &req("CLIENT LIST"));
    assert!(lines.contains(" flags=Pb ") && lines.contains(" flags=N "), "{lines}");
}

#[test]
fn pubsub_counts_the_clients_of_all_cores_of_the_pool() {
    let mut cores = Cores::new(3);
    let on = [0, 0, 2].map(|core| cores.client(core, 1));
    let elsewhere = cores.client_of(PoolId(1), 1, 9);
    cores.ask(elsewhere, "SUBSCRIBE a other");
    cores.ask(elsewhere, "PSUBSCRIBE other*");
    for (number, client) in on.into_iter().enumerate() {
        cores.ask(client, "SUBSCRIBE a");
        cores.ask(client, &format!("PSUBSCRIBE {}*", number % 2));
        cores.ask(client, &format!("SSUBSCRIBE shard{number}"));
    }
    let me = cores.client(1, 2);
    let expected = frame(&["a", "3", "none", "0", "a", "3"]);
    assert_eq!(cores.ask(me, "PUBSUB NUMSUB a none a"), expected);
    assert_eq!(cores.ask(me, "PUBSUB NUMPAT"), ":2\r\n", "the same one counts once");
    assert_eq!(cores.ask(me, "PUBSUB CHANNELS"), frame(&["a"]));
    assert_eq!(cores.ask(me, "PUBSUB CHANNELS b*"), "*0\r\n");
    assert_eq!(cores.ask(me, "PUBSUB SHARDCHANNELS *2"), frame(&["shard2"]));
    assert_eq!(cores.ask(me, "PUBSUB SHARDNUMSUB shard1 a"), frame(&["shard1", "1", "a", "0"]));
    assert_eq!(cores.ask(me, "PUBSUB NUMSUB"), "*0\r\n");
    cores.assert_at_rest();
}
