//! Reads from replicas: who answers, who is asked instead, and what a client that wrote sees.

use std::path::PathBuf;

use crate::base::ids::{ClientId, PoolId, ShardId};
use crate::command::model::Family;
use crate::config::model::{PoolConfig, ReadFrom};
use crate::relay::world::{Store, World, pool_config, req, watched_config};
use crate::stats::cells::ShardMetric;
use crate::topology::{NodeEndpoint, Replica};

const PRIMARY: &str = "$1\r\np\r\n";

fn node(store: usize) -> NodeEndpoint {
    NodeEndpoint::Unix(PathBuf::from(format!("/s{store}")))
}

/// One shard on store 0, and replicas on the stores from 1 on. The key `k` says which store answers:
/// `p`, or the replica's number.
fn world(from: ReadFrom, replicas: usize) -> (World, ClientId) {
    world_of(pool_config(1), from, replicas)
}

fn world_of(mut pool: PoolConfig, from: ReadFrom, replicas: usize) -> (World, ClientId) {
    pool.read_from = from;
    pool.read_your_writes_ms = 500;
    let mut world = World::with(pool);
    world.stores[0].keys.insert(b"k".to_vec(), b"p".to_vec());
    for number in 1..=replicas {
        let mut store = Store { replica: Some("connected"), ..Store::default() };
        store.keys.insert(b"k".to_vec(), number.to_string().into_bytes());
        world.stores.push(store);
    }
    read_from(&mut world, &(1..=replicas).collect::<Vec<_>>());
    let client = world.client();
    (world, client)
}

/// From now on these may be read from.
fn read_from(world: &mut World, replicas: &[usize]) {
    let of = |store: &usize| Replica { endpoint: node(*store), near: false };
    let replicas: Vec<Replica> = replicas.iter().map(of).collect();
    world.publish(0, |shard| {
        shard.verified = shard.verified.max(1);
        shard.replicas = replicas;
    });
}

/// A client that has the replica's lane up.
fn reader(from: ReadFrom) -> (World, ClientId) {
    let (mut world, client) = world(from, 1);
    world.say(client, &req("GET k"));
    world.heard(client);
    assert_eq!(world.ask(client, &req("GET k")), replica(1));
    (world, client)
}

fn replica(number: usize) -> String {
    format!("$1\r\n{number}\r\n")
}

fn count(world: &World, metric: ShardMetric) -> u64 {
    world.stats.shard(PoolId(0), ShardId(0), metric).get()
}

fn rests(world: &World) {
    assert_eq!(world.relay.lane_bytes, 0);
    assert!(world.relay.lanes.iter().all(|lane| lane.inflight.is_empty()));
    assert!(world.relay.lanes.iter().all(|lane| lane.kept_bytes() == 0));
}

#[test]
fn reads_go_to_the_replica_as_soon_as_its_lane_stands_and_writes_never() {
    let (mut world, client) = world(ReadFrom::PreferReplica, 1);
    assert_eq!(world.ask(client, &req("GET k")), PRIMARY, "not connected yet");
    assert_eq!(world.ask(client, &req("GET k")), replica(1));
    assert_eq!(world.ask(client, &req("MGET k k")), "*2\r\n$1\r\n1\r\n$1\r\n1\r\n");
    let all = [req("SET k x"), req("DEL y"), req("EVAL x 1 k"), req("NOSUCH k")].concat();
    world.ask(client, &all);
    assert_eq!(world.stores[1].seen[3..], ["GET", "PING", "MGET"], "behind the hand-shake");
    assert_eq!(count(&world, ShardMetric::ReplicaReads), 2);
    assert_eq!(count(&world, ShardMetric::ReplicaFallbacks), 1);
    assert_eq!(count(&world, ShardMetric::ReplicaLanes), 1);
    assert_eq!(count(&world, ShardMetric::ServerConnections), 1, "that of the primary");
    rests(&world);
}

#[test]
fn what_only_the_primary_can_answer_goes_there() {
    let (mut world, client) = reader(ReadFrom::PreferReplica);
    let seen = world.stores[1].seen.len();
    for words in [
        "SCAN 0",
        "HSCAN k 0",
        "SSCAN k 0",
        "ZSCAN k 0",
        "TOUCH k",
        "OBJECT ENCODING k",
        "DBSIZE",
        "RANDOMKEY",
        "KEYS *",
        "MEMORY USAGE k",
        "EVALSHA_RO a 1 k",
        "EVAL x 1 k",
    ] {
        world.ask(client, &req(words));
        assert_eq!(world.stores[1].seen.len(), seen, "{words}");
    }
    world.advance(501);
    for words in ["EVAL_RO x 1 k", "STRLEN k", "XREAD STREAMS k 0", "SORT_RO k", "EXISTS k"] {
        world.ask(client, &req(words));
        let name = words.split(' ').next().unwrap();
        assert!(world.stores[1].seen.iter().any(|seen| seen == name), "{words}");
    }
}

#[test]
fn a_client_that_wrote_reads_from_the_primary_for_a_while() {
    let (mut world, client) = reader(ReadFrom::Replica);
    let other = world.client();
    let pipeline = [req("SET j v"), req("GET k"), req("MGET k k")].concat();
    let expected = format!("+OK\r\n{PRIMARY}*2\r\n{PRIMARY}{PRIMARY}");
    assert_eq!(world.ask(client, &pipeline), expected, "the write is in flight");
    world.advance(499);
    assert_eq!(world.ask(client, &req("GET k")), PRIMARY);
    assert_eq!(world.ask(other, &req("GET k")), replica(1), "it wrote nothing");
    world.advance(1);
    assert_eq!(world.ask(client, &req("GET k")), replica(1));
}

/// The time counts from the moment at which the client can have heard of its write.
#[test]
fn the_while_begins_with_the_answer() {
    let mut pool = pool_config(1);
    pool.timeout_ms = None;
    let (mut world, client) = world_of(pool, ReadFrom::PreferReplica, 1);
    world.say(client, &req("GET k"));
    world.silence(0);
    world.heard(client);
    world.say(client, &req("SET j v"));
    world.advance(10_000);
    world.unsilence(0);
    assert_eq!(world.heard(client), "+OK\r\n");
    world.advance(499);
    assert_eq!(world.ask(client, &req("GET k")), PRIMARY);
    world.advance(1);
    assert_eq!(world.ask(client, &req("GET k")), replica(1));
    // A write that is answered long before its turn: the read in front of it keeps it back.
    world.silence(1);
    world.say(client, &[req("GET k"), req("SET j v")].concat());
    world.advance(10_000);
    assert_eq!(world.heard(client), "");
    world.unsilence(1);
    assert_eq!(world.heard(client), format!("{}+OK\r\n", replica(1)));
    world.advance(499);
    assert_eq!(world.ask(client, &req("GET k")), PRIMARY);
}

/// A replica that is slow would tell of what was written behind the question.
#[test]
fn a_write_waits_for_what_its_client_reads_from_replicas() {
    let writes = [
        req("SET k x"),
        b"SET k x\r\n".to_vec(),
        req("EVAL x 1 k"),
        req("MSET k x j y"),
        req("DEL k"),
        req("FLUSHALL"),
    ];
    for write in writes {
        let (mut world, client) = reader(ReadFrom::PreferReplica);
        world.silence(1);
        let behind = [req("PING"), write.clone(), req("GET k")].concat();
        world.say(client, &[req("GET k"), behind].concat());
        world.say(client, &req("ECHO e"));
        let seen = |world: &World, store: usize| world.stores[store].seen.clone();
        let before = seen(&world, 0);
        assert_eq!(before.last().unwrap(), "PING", "the write is not sent yet: {before:?}");
        world.unsilence(1);
        let heard = world.heard(client);
        assert!(heard.starts_with(&format!("{}+PONG\r\n", replica(1))), "{heard:?}");
        assert!(heard.ends_with("$1\r\ne\r\n"), "{heard:?}");
        assert_eq!(seen(&world, 0).len(), before.len() + 2, "write and read: {:?}", write);
        rests(&world);
    }
    let (mut world, client) = reader(ReadFrom::PreferReplica);
    let large = req(&format!("SET k {}", "x".repeat(200_000)));
    world.silence(1);
    world.say(client, &req("GET k"));
    large.chunks(10_000).for_each(|piece| world.say(client, piece));
    assert_eq!(world.heard(client), "");
    world.unsilence(1);
    assert_eq!(world.heard(client), format!("{}+OK\r\n", replica(1)));
    assert_eq!(world.stores[0].keys[b"k".as_slice()].len(), 200_000);
    rests(&world);
}

#[test]
fn with_0_ms_not_even_then() {
    let mut pool = pool_config(1);
    pool.read_from = ReadFrom::Replica;
    pool.read_your_writes_ms = 0;
    let mut world = World::with(pool);
    let mut store = Store { replica: Some("connected"), ..Store::default() };
    store.keys.insert(b"k".to_vec(), b"1".to_vec());
    world.stores.push(store);
    read_from(&mut world, &[1]);
    let client = world.client();
    let heard = world.ask(client, &[req("GET k"), req("SET k v"), req("GET k")].concat());
    assert_eq!(heard, format!("{}+OK\r\n{}", replica(1), replica(1)));
}

#[test]
fn what_a_lost_replica_did_not_answer_the_primary_is_asked() {
    let (mut world, client) = reader(ReadFrom::PreferReplica);
    world.silence(1);
    world.say(client, &[req("GET k"), req("MGET k j"), req("PING"), req("GET j")].concat());
    assert_eq!(world.heard(client), "");
    world.stores[1].down = true;
    world.lose(1);
    let expected = format!("{PRIMARY}*2\r\n{PRIMARY}$-1\r\n+PONG\r\n$-1\r\n");
    assert_eq!(world.heard(client), expected);
    assert_eq!(count(&world, ShardMetric::ReplicaRepeats), 3);
    assert_eq!(count(&world, ShardMetric::ReplicaLanes), 0);
    assert_eq!(count(&world, ShardMetric::ServerEof), 0, "that is said of the primary");
    assert_eq!(world.ask(client, &req("GET k")), PRIMARY, "the replica is down");
    world.stores[1].down = false;
    world.stores[1].silent = false;
    world.advance(2_000);
    assert_eq!(world.ask(client, &req("GET k")), replica(1), "and back");
    rests(&world);
}

#[test]
fn parts_of_a_split_read_go_each_their_way() {
    let mut pool = pool_config(2);
    pool.read_from = ReadFrom::PreferReplica;
    let mut world = World::with(pool);
    let keys = [world.key_on(0), world.key_on(1)];
    for (store, value) in [(0, "p"), (1, "q")] {
        world.stores[store].keys.insert(keys[store].clone().into_bytes(), value.into());
    }
    let mut store = Store { replica: Some("connected"), ..Store::default() };
    store.keys.insert(keys[0].clone().into_bytes(), b"1".to_vec());
    world.stores.push(store);
    world.publish(0, |shard| shard.replicas = vec![Replica { endpoint: node(2), near: false }]);
    let client = world.client();
    let mget = req(&format!("MGET {} {}", keys[0], keys[1]));
    let answer = |first: &str| format!("*2\r\n$1\r\n{first}\r\n$1\r\nq\r\n");
    assert_eq!(world.ask(client, &mget), answer("p"));
    assert_eq!(world.ask(client, &mget), answer("1"));
    world.silence(2);
    world.say(client, &mget);
    assert_eq!(world.heard(client), "");
    world.lose(2);
    assert_eq!(world.heard(client), answer("p"));
    let write = req(&format!("MSET {} a {} b", keys[0], keys[1]));
    assert_eq!(world.ask(client, &write), "+OK\r\n");
    assert_eq!(world.ask(client, &mget), "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "it wrote to both");
    rests(&world);
}

#[test]
fn no_error_of_a_replica_is_heard() {
    for (refusal, shunned) in [
        ("ERR unknown command", false),
        ("LOADING Redis is loading the dataset in memory", true),
        ("MASTERDOWN Link with MASTER is down", true),
        ("BUSY Redis is busy running a script.", true),
    ] {
        let (mut world, client) = reader(ReadFrom::Replica);
        world.stores[1].refusal = Some(refusal);
        assert_eq!(world.ask(client, &[req("GET k"), req("GET k")].concat()), PRIMARY.repeat(2));
        world.stores[1].refusal = None;
        let next = world.ask(client, &req("GET k"));
        assert_eq!(next == PRIMARY, shunned, "{refusal}: {next}");
        world.advance(1_000);
        assert_eq!(world.ask(client, &req("GET k")), replica(1), "{refusal}");
        rests(&world);
    }
}

/// A long error, and one in pieces.
#[test]
fn no_piece_of_an_error_of_a_replica_is_heard() {
    let (mut world, client) = reader(ReadFrom::Replica);
    world.silence(1);
    world.say(client, &req("GET k"));
    let lane = world.lane_of_shard(1);
    world.reply(lane, b"-ERR ");
    for _ in 0..200 {
        world.reply(lane, &[b'x'; 1_000]);
    }
    world.reply(lane, b"\r\n");
    world.run();
    assert_eq!(world.heard(client), PRIMARY);
    rests(&world);
}

#[test]
fn a_silent_replica_is_left_in_half_of_the_time() {
    let (mut world, client) = reader(ReadFrom::PreferReplica);
    world.silence(1);
    world.say(client, &req("GET k"));
    world.advance(499);
    assert_eq!(world.heard(client), "");
    world.advance(1);
    assert_eq!(world.heard(client), PRIMARY);
    assert_eq!(count(&world, ShardMetric::ServerTimedout), 0);
    assert_eq!(world.ask(client, &req("GET k")), PRIMARY, "its lane is not greeted any more");
    world.advance(60_000);
    assert_eq!(world.heard(client), "");
    rests(&world);
}

#[test]
fn a_long_reply_that_is_coming_is_waited_for() {
    let (mut world, client) = reader(ReadFrom::PreferReplica);
    world.silence(1);
    world.say(client, &req("GET k"));
    let lane = world.lane_of_shard(1);
    world.reply(lane, b"$1000000\r\n");
    for _ in 0..10 {
        world.reply(lane, &vec![b'x'; 100_000]);
        world.advance(400);
    }
    world.reply(lane, b"\r\n");
    world.run();
    assert_eq!(world.heard(client).len(), 1_000_012);
    world.say(client, &req("GET k"));
    world.reply(lane, b"$1000000\r\n");
    world.reply(lane, &vec![b'x'; 100_000]);
    world.lose(1);
    assert_eq!(world.finished, [client], "it has half of it: nothing true can follow");
    rests(&world);
}

#[test]
fn a_replica_that_may_not_be_read_from_any_more_is_left_at_once() {
    let (mut world, client) = reader(ReadFrom::Replica);
    world.silence(1);
    world.say(client, &[req("GET k"), req("GET j")].concat());
    read_from(&mut world, &[]);
    assert_eq!(world.heard(client), format!("{PRIMARY}$-1\r\n"));
    assert!(world.lanes.iter().all(|(_, lane)| lane.shard == 0), "it is closed");
    world.stores[1].silent = false;
    world.advance(60_000);
    assert!(world.lanes.iter().all(|(_, lane)| lane.shard == 0), "and stays so");
    assert_eq!(world.ask(client, &req("GET k")), PRIMARY);
    read_from(&mut world, &[1]);
    world.ask(client, &req("GET k"));
    assert_eq!(world.ask(client, &req("GET k")), replica(1));
    let lanes = world.relay.lanes.len();
    read_from(&mut world, &[]);
    world.stores.push(Store { replica: Some("connected"), ..Store::default() });
    read_from(&mut world, &[2]);
    assert_eq!(world.relay.lanes.len(), lanes, "another node takes the lanes of one that is gone");
    world.ask(client, &req("GET k"));
    assert_eq!(world.ask(client, &req("GET k")), "$-1\r\n");
    rests(&world);
}

/// Its lane was one to a replica: writes go down another one.
#[test]
fn a_replica_that_is_promoted_is_no_replica_any_more() {
    let (mut world, client) = world_of(watched_config(1), ReadFrom::PreferReplica, 1);
    world.say(client, &req("GET k"));
    world.heard(client);
    world.silence(1);
    world.say(client, &req("GET k"));
    world.stores[1].replica = None;
    world.stores[1].silent = false;
    world.publish(0, |shard| {
        shard.verified += 1;
        shard.set_primary(node(1));
        assert!(shard.replicas.is_empty());
        // Even if somebody lists it.
        shard.replicas = vec![Replica { endpoint: node(1), near: true }];
    });
    assert_eq!(world.heard(client), replica(1), "by the new primary");
    assert_eq!(world.ask(client, &req("SET k x")), "+OK\r\n");
    assert_eq!(world.ask(client, &req("GET k")), "$1\r\nx\r\n");
    assert_eq!(world.lanes.iter().filter(|(_, lane)| lane.shard == 1).count(), 1);
    assert!(world.lanes.iter().all(|(_, lane)| lane.shard == 1), "the old primary is left");
}

#[test]
fn while_the_primary_is_in_doubt_replicas_answer_as_long_as_they_are_in_sync() {
    let (mut world, client) = world_of(watched_config(1), ReadFrom::PreferReplica, 1);
    world.say(client, &req("GET k"));
    world.heard(client);
    world.lose(0);
    assert_eq!(world.ask(client, &req("GET k")), replica(1));
    world.silence(1);
    world.say(client, &req("GET k"));
    read_from(&mut world, &[]);
    world.say(client, &req("GET j"));
    assert_eq!(world.heard(client), "", "both wait for a verified primary");
    world.publish(0, |shard| shard.verified += 1);
    assert_eq!(world.heard(client), format!("{PRIMARY}$-1\r\n"));
    rests(&world);
    assert_eq!(world.relay.holds[0].kept_bytes, 0);
}

#[test]
fn one_that_waits_for_a_replica_tries_the_others_first() {
    let (mut world, client) = world(ReadFrom::Replica, 2);
    assert_eq!(world.ask(client, &req("GET k")), replica(1), "it waits for the connection");
    world.stores[1].down = true;
    world.lose(1);
    assert_eq!(world.ask(client, &req("GET k")), replica(2), "its own is down");
    world.stores[2].down = true;
    world.lose(2);
    assert_eq!(world.ask(client, &req("GET k")), PRIMARY, "none is left");
    let (mut world, client) = world_of(pool_config(1), ReadFrom::PreferReplica, 2);
    world.ask(client, &req("GET k"));
    world.stores[1].down = true;
    world.lose(1);
    assert_eq!(world.ask(client, &req("GET k")), PRIMARY, "that is nearer than to wait");
}

#[test]
fn each_client_has_its_replica_and_keeps_it() {
    let mut pool = pool_config(1);
    pool.lanes_per_node = 2;
    let (mut world, first) = world_of(pool, ReadFrom::Replica, 2);
    let mut clients = vec![first];
    clients.extend((0..7).map(|_| world.client()));
    let mut heard: Vec<String> = Vec::new();
    for _ in 0..3 {
        heard = clients.iter().map(|client| world.ask(*client, &req("GET k"))).collect();
    }
    let expected: Vec<String> = [1, 1, 2, 2, 1, 1, 2, 2].map(replica).to_vec();
    assert_eq!(heard, expected);
    let lanes = |store: usize| world.lanes.iter().filter(|(_, lane)| lane.shard == store).count();
    assert_eq!((lanes(1), lanes(2)), (2, 2), "as many as to a primary");
}

#[test]
fn the_nearest_may_be_the_primary() {
    let (mut world, client) = world(ReadFrom::Nearest, 2);
    let near = |world: &mut World, primary: bool, replicas: [bool; 2]| {
        world.publish(0, |shard| {
            shard.near = primary;
            shard.replicas.iter_mut().zip(replicas).for_each(|(it, near)| it.near = near);
        });
    };
    near(&mut world, true, [false, false]);
    assert_eq!(world.ask(client, &req("GET k")), PRIMARY);
    assert_eq!(count(&world, ShardMetric::ReplicaFallbacks), 0, "that is as it should be");
    near(&mut world, false, [false, true]);
    world.ask(client, &req("GET k"));
    assert_eq!(world.ask(client, &req("GET k")), replica(2));
    near(&mut world, true, [false, true]);
    let second = world.client();
    let heard = [client, second].map(|client| world.ask(client, &req("GET k")));
    assert_eq!(heard, [PRIMARY.to_owned(), replica(2)], "clients are spread");
}

#[test]
fn a_family_has_its_own_rule() {
    let mut pool = pool_config(1);
    pool.read_from_by_family = vec![(Family::String, ReadFrom::Primary)];
    let (mut world, client) = world_of(pool, ReadFrom::Replica, 1);
    world.ask(client, &req("EXISTS k"));
    assert_eq!(world.ask(client, &req("GET k")), PRIMARY);
    assert!(world.stores[1].seen.iter().any(|name| name == "EXISTS"));
    let mut pool = pool_config(1);
    pool.read_from_by_family = vec![(Family::String, ReadFrom::Replica)];
    let (mut world, client) = world_of(pool, ReadFrom::Primary, 1);
    assert_eq!(world.ask(client, &req("GET k")), replica(1));
    world.ask(client, &req("EXISTS k"));
    assert!(world.stores[1].seen.iter().all(|name| name != "EXISTS"));
}

#[test]
fn who_is_no_replica_or_cut_off_is_not_read_from() {
    for role in [None, Some("connect"), Some("sync")] {
        let (mut world, client) = world(ReadFrom::Replica, 1);
        world.stores[1].replica = role;
        assert_eq!(world.ask(client, &req("GET k")), PRIMARY, "{role:?}");
        assert!(!world.stores[1].seen.iter().any(|name| name == "GET"), "{role:?}");
    }
}

#[test]
fn databases_and_protocols_have_their_own_lanes_to_replicas() {
    let (mut world, client) = reader(ReadFrom::Replica);
    assert_eq!(world.ask(client, &req("SELECT 3")), "+OK\r\n");
    assert_eq!(world.ask(client, &req("GET k")), replica(1));
    let (_, lane) = world.lanes.last().unwrap();
    assert_eq!((lane.shard, lane.database), (1, 3));
    world.ask(client, &req("HELLO 3"));
    assert_eq!(world.ask(client, &req("GET k")), replica(1));
}
