//! What a reload does to requests under way, and to those that come after it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::base::ids::PoolId;
use crate::config::model::{Config, HashKind, NodeAddress, PoolConfig};
use crate::relay::api::Peer;
use crate::relay::world::{Store, World, req};
use crate::stats::cells::{PoolMetric, ShardMetric};
use crate::topology::{PoolTopology, Topology};

/// The shard is at the socket `/s<to>` from now on.
fn readdress(shard: usize, to: usize) -> impl FnOnce(&mut PoolConfig) {
    move |pool| {
        pool.shards[shard].address = NodeAddress::Unix { path: PathBuf::from(format!("/s{to}")) };
    }
}

/// Two shards, and a third store to which one of them may move.
fn world() -> World {
    let mut world = World::new(2);
    world.stores.push(Store::default());
    world
}

fn server_connections(world: &World) -> u64 {
    let shard = crate::base::ids::ShardId(0);
    world.stats.shard(PoolId(0), shard, ShardMetric::ServerConnections).get()
}

#[test]
fn a_shard_with_another_address_is_left_without_an_error() {
    let mut world = world();
    let (client, key) = (world.client(), world.key_on(0));
    world.ask(client, &req(&format!("SET {key} old")));
    world.silence(0);
    world.say(client, &req(&format!("GET {key}")));
    world.reload(readdress(0, 2));
    world.say(client, &req(&format!("SET {key} new")));
    assert_eq!(world.stores[2].seen.len(), 0, "what was sent before is answered first");
    world.unsilence(0);
    assert_eq!(world.heard(client), "$3\r\nold\r\n+OK\r\n");
    assert_eq!(world.ask(client, &req(&format!("GET {key}"))), "$3\r\nnew\r\n");
    assert_eq!(world.stores[0].keys[key.as_bytes()], b"old", "nothing more goes there");
    assert_eq!(server_connections(&world), 1);
    // Another client of the core, and back again without anything under way.
    world.reload(readdress(0, 0));
    let other = world.client();
    assert_eq!(world.ask(other, &req(&format!("GET {key}"))), "$3\r\nold\r\n");
    assert_eq!(server_connections(&world), 1);
}

#[test]
fn a_server_that_is_left_and_does_not_answer_is_not_waited_for_long() {
    for closes in [false, true] {
        let mut world = world();
        let (client, key) = (world.client(), world.key_on(0));
        world.ask(client, &req(&format!("SET {key} old")));
        world.silence(0);
        world.say(client, &req(&format!("INCR {key}")));
        world.reload(readdress(0, 2));
        world.say(client, &req(&format!("SET {key} new")));
        world.advance(499);
        assert_eq!(world.heard(client), "");
        match closes {
            true => world.lose(0),
            false => world.advance(1),
        }
        let why = "-ERR The address was changed before the reply came: shard s0000 at unix:/s2\r\n";
        assert_eq!(world.heard(client), format!("{why}+OK\r\n"));
        assert_eq!(world.stores[2].keys[key.as_bytes()], b"new");
        assert_eq!(world.stores[2].seen.iter().filter(|name| *name == "INCR").count(), 0);
        assert_eq!(server_connections(&world), 1);
    }
}

#[test]
fn a_late_reply_to_an_expired_request_is_dropped_in_the_middle_of_a_move() {
    let mut world = world();
    let (client, key) = (world.client(), world.key_on(0));
    world.ask(client, &req(&format!("SET {key} old")));
    world.silence(0);
    world.say(client, &req(&format!("GET {key}")));
    world.advance(900);
    world.reload(readdress(0, 2));
    world.say(client, &req(&format!("SET {key} new")));
    world.advance(100);
    let timed_out = "-ERR Connection timed out: shard s0000 at unix:/s2\r\n";
    assert_eq!(world.heard(client), timed_out);
    world.unsilence(0);
    assert_eq!(world.heard(client), "+OK\r\n");
    assert_eq!(world.ask(client, &req(&format!("GET {key}"))), "$3\r\nnew\r\n");
}

#[test]
fn a_lane_that_connects_when_its_shard_moves_connects_to_where_it_is() {
    let mut world = world();
    let (client, key) = (world.client(), world.key_on(0));
    world.stores[0].silent = true; // not even the hand-shake is answered
    world.say(client, &req(&format!("SET {key} 1")));
    world.reload(readdress(0, 2));
    assert_eq!(world.heard(client), "+OK\r\n");
    assert_eq!(world.stores[2].keys[key.as_bytes()], b"1");
    assert_eq!(server_connections(&world), 1);
}

/// It owes a fence at most, for which nobody waits; what is asked on it later would block at the old
/// server.
#[test]
fn a_private_connection_that_nobody_has_is_left_at_once() {
    let mut world = world();
    let (client, key) = (world.client(), world.key_on(0));
    world.ask(client, &req(&format!("WATCH {key}")));
    world.silence(0);
    world.ask(client, &req("UNWATCH"));
    let (lane, cleaned) = (world.lane_of_shard(0), std::mem::take(&mut world.stores[0].held));
    world.reply(lane, &cleaned);
    world.run();
    assert!(!world.stores[0].held.is_empty(), "the fence is under way");
    world.reload(readdress(0, 2));
    world.unsilence_lane(0, lane);
    world.stores[2].keys.insert(key.clone().into_bytes(), b"1".to_vec());
    let heard = world.ask(client, &req(&format!("BLPOP {key} 0")));
    assert!(heard.ends_with("$1\r\n1\r\n"), "{heard}");
    assert!(world.stores[0].blocking.is_empty());
}

#[test]
fn a_shorter_deadline_holds_for_what_is_under_way() {
    let mut world = world();
    let (client, key) = (world.client(), world.key_on(0));
    world.ask(client, &req(&format!("SET {key} 1")));
    world.silence(0);
    world.say(client, &req(&format!("GET {key}")));
    world.reload(|pool| pool.timeout_ms = Some(200));
    world.advance(199);
    assert_eq!(world.heard(client), "");
    world.advance(1);
    assert!(world.heard(client).starts_with("-ERR Connection timed out"));
}

#[test]
fn passwords_change_for_those_who_come() {
    let mut world = world();
    let early = world.client();
    let set = |password: Option<&str>| {
        let password = password.map(str::to_owned);
        move |pool: &mut PoolConfig| pool.client_password = password
    };
    world.reload(set(Some("first")));
    assert_eq!(world.ask(early, &req("GET a")), "$-1\r\n", "who is in stays in");
    let late = world.client();
    assert!(world.ask(late, &req("GET a")).starts_with("-NOAUTH"));
    world.reload(set(Some("second")));
    assert!(world.ask(late, &req("AUTH first")).starts_with("-WRONGPASS"));
    assert_eq!(world.ask(late, &req("AUTH second")), "+OK\r\n");
    let stranger = world.client();
    world.reload(set(Some("third")));
    assert_eq!(world.ask(late, &req("GET a")), "$-1\r\n");
    assert!(world.ask(stranger, &req("GET a")).starts_with("-NOAUTH"));
    world.reload(set(None));
    assert_eq!(world.ask(stranger, &req("GET a")), "$-1\r\n");
}

#[test]
fn bounds_and_placement_change_at_once() {
    let mut world = world();
    let (client, key) = (world.client(), world.key_on(0));
    world.ask(client, &req(&format!("SET {key} 1")));
    world.reload(|pool| {
        pool.limits.client_connections_max = 1;
        pool.limits.request_args_max = 3;
        pool.hash = HashKind::Md5;
    });
    let peer = Peer::Unix { path: "test".into() };
    assert!(world.relay.on_client_open(PoolId(0), peer, world.now).is_err());
    assert_eq!(world.stats.pool(PoolId(0), PoolMetric::ClientsRefused).get(), 1);
    let moved = (0..100).map(|n| format!("key{n}")).filter(|key| {
        let before = world.stores[0].seen.len();
        world.ask(client, &req(&format!("GET {key}")));
        world.stores[0].seen.len() == before
    });
    let moved: Vec<String> = moved.collect();
    assert!(moved.len() > 20 && moved.len() < 80, "another hash: {moved:?}");
    assert!(world.ask(client, &req("MGET a b c")).starts_with("-ERR Protocol error"));
    assert_eq!(world.finished, [client]);
}

#[test]
fn a_further_pool_is_served_from_the_topology_on_that_has_it() {
    let mut world = world();
    let (client, key) = (world.client(), world.key_on(0));
    let mut next = Topology::clone(&world.relay.topology);
    let mut config = Config::clone(&next.config);
    let mut more = PoolConfig::clone(&config.pools[0]);
    more.name = "more".to_owned();
    more.shards.truncate(1);
    config.pools.push(Arc::new(more));
    next.pools.push(PoolTopology { shards: vec![next.pools[0].shards[1].clone()] });
    next.epoch += 1;
    next.config = Arc::new(config);
    world.stats.grow(&next.config);
    world.relay.on_topology(Arc::new(next), world.now);
    let other = world.client_from(PoolId(1), Peer::Unix { path: "test".into() });
    assert_eq!(world.ask(other, &req(&format!("SET {key} more"))), "+OK\r\n");
    assert_eq!(world.ask(client, &req(&format!("SET {key} first"))), "+OK\r\n");
    assert_eq!(world.stores[1].keys[key.as_bytes()], b"more", "its one shard");
    assert_eq!(world.stores[0].keys[key.as_bytes()], b"first");
}
