//! A pool that looks like a cluster, and scripts without keys.

use std::net::SocketAddr;

use super::world::{World, pool_config, req};
use crate::base::ids::{ClientId, PoolId};
use crate::config::model::{Facade, KeylessScripts, PoolConfig};
use crate::relay::api::Peer;

fn cluster() -> PoolConfig {
    let mut pool = pool_config(3);
    pool.facade = Facade::Cluster;
    pool
}

/// A client that has connected to this address.
fn client_at(world: &mut World, local: &str) -> ClientId {
    let local: SocketAddr = local.parse().unwrap();
    world.client_from(PoolId(0), Peer::Tcp { peer: local, local })
}

#[test]
fn the_one_node_is_the_address_that_the_client_connected_to() {
    let mut world = World::with(cluster());
    for (local, host) in [
        ("10.0.0.9:6380", "10.0.0.9"),
        ("[::1]:6380", "::1"),
        ("[::ffff:10.0.0.9]:6380", "10.0.0.9"),
    ] {
        let id = client_at(&mut world, local);
        let name = world.ask(id, &req("CLUSTER MYID"));
        let name = name.trim_start_matches("$40\r\n").trim_end();
        assert!(name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
        let length = host.len();
        let slots = format!(
            "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n${length}\r\n{host}\r\n:6380\r\n$40\r\n{name}\r\n*0\r\n"
        );
        assert_eq!(world.ask(id, &req("CLUSTER SLOTS")), slots);
        let nodes = world.ask(id, &req("CLUSTER NODES"));
        let line = format!("{name} {host}:6380@0 myself,master - 0 0 1 connected 0-16383\n");
        assert!(nodes.ends_with(&format!("\r\n{line}\r\n")), "{nodes}");
        let shards = world.ask(id, &req("CLUSTER SHARDS"));
        assert!(
            shards.starts_with("*1\r\n*4\r\n$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n"),
            "{shards}"
        );
        assert_eq!(shards.matches(&format!("${length}\r\n{host}\r\n")).count(), 2, "{shards}");
        assert_eq!(world.ask(id, &req(&format!("CLUSTER REPLICAS {name}"))), "*0\r\n");
        let unknown = "-ERR Unknown node nobody\r\n";
        assert_eq!(world.ask(id, &req("CLUSTER REPLICAS nobody")), unknown);
    }
}

#[test]
fn behind_another_address_clients_are_told_that_one() {
    let mut pool = cluster();
    pool.facade_address = Some(("cache.example".to_owned(), 7000));
    let mut world = World::with(pool);
    let by_socket = world.client();
    for id in [client_at(&mut world, "10.0.0.9:6380"), by_socket] {
        let slots = world.ask(id, &req("CLUSTER SLOTS"));
        assert!(slots.contains("$13\r\ncache.example\r\n:7000\r\n"), "{slots}");
    }
    let mut world = World::with(cluster());
    let id = world.client();
    for question in ["SLOTS", "SHARDS", "NODES"] {
        let answer = world.ask(id, &req(&format!("CLUSTER {question}")));
        assert!(answer.starts_with("-ERR a connection by a unix socket has no"), "{answer}");
    }
}

#[test]
fn clients_find_a_cluster_wherever_they_look() {
    let mut world = World::with(cluster());
    let id = client_at(&mut world, "10.0.0.9:6380");
    assert_eq!(world.ask(id, &req("CLUSTER KEYSLOT {user1000}.x")), ":3443\r\n");
    for words in ["ASKING", "READONLY", "READWRITE"] {
        assert_eq!(world.ask(id, &req(words)), "+OK\r\n");
    }
    assert!(world.ask(id, &req("CLUSTER INFO")).contains("cluster_state:ok\r\n"));
    assert!(world.ask(id, &req("INFO")).contains("redis_mode:cluster\r\n"));
    assert!(world.ask(id, &req("INFO cluster")).contains("cluster_enabled:1\r\n"));
    assert!(world.ask(id, &req("HELLO 2")).contains("mode\r\n$7\r\ncluster\r\n"));
    assert!(world.ask(id, &req("CLUSTER HELP")).contains("+SLOTS\r\n"));
    for words in ["CLUSTER COUNTKEYSINSLOT 1", "CLUSTER GETKEYSINSLOT 1 1", "CLUSTER RESET"] {
        let answer = world.ask(id, &req(words));
        assert!(answer.contains("its shards are none and know no hash slots"), "{answer}");
    }
    // In RESP3 maps are maps.
    world.ask(id, &req("HELLO 3"));
    assert!(world.ask(id, &req("CLUSTER SLOTS")).ends_with("%0\r\n"));
    assert!(world.ask(id, &req("CLUSTER SHARDS")).starts_with("*1\r\n%2\r\n$5\r\nslots"));
    assert!(world.ask(id, &req("CLUSTER NODES")).starts_with('='));
}

#[test]
fn without_the_facade_there_is_no_cluster() {
    let mut world = World::new(3);
    let id = client_at(&mut world, "10.0.0.9:6380");
    for words in ["CLUSTER SLOTS", "CLUSTER KEYSLOT a", "CLUSTER HELP", "ASKING", "READONLY"] {
        let answer = world.ask(id, &req(words));
        assert_eq!(answer, "-ERR This instance has cluster support disabled\r\n", "{words}");
    }
    assert!(world.ask(id, &req("INFO cluster")).contains("cluster_enabled:0\r\n"));
    assert!(world.ask(id, &req("HELLO 2")).contains("standalone"));
}

#[test]
fn scripts_without_keys_run_where_the_pool_says() {
    const SCRIPTS: [&str; 3] = ["EVAL body 0", "FCALL f 0", "EVALSHA e0e1f9 0"];
    for (keyless, shard) in [
        (KeylessScripts::FirstShard, Some(0)),
        (KeylessScripts::Shard("s0002".to_owned()), Some(2)),
        (KeylessScripts::Refuse, None),
    ] {
        let mut pool = pool_config(3);
        pool.keyless_scripts = keyless;
        let mut world = World::with(pool);
        let id = world.client();
        for script in SCRIPTS {
            let name = script.split(' ').next().unwrap();
            let answer = world.ask(id, &req(script));
            let ran: Vec<usize> = (0..3)
                .filter(|at| world.stores[*at].seen.iter().any(|seen| seen == name))
                .collect();
            assert_eq!(ran, Vec::from_iter(shard), "{script}");
            if shard.is_none() {
                let expected = format!("-ERR '{}' without keys is refused", name.to_lowercase());
                assert!(answer.starts_with(&expected), "{answer}");
            }
            let with_key = script.replace(" 0", " 1 key");
            assert!(!world.ask(id, &req(&with_key)).contains("refused"), "{with_key}");
            world.stores.iter_mut().for_each(|store| store.seen.clear());
        }
        // A digest that is known goes the other way.
        world.ask(id, &req("EVAL return(1) 1 key"));
        let answer = world.ask(id, &req("EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0"));
        assert_eq!(answer.contains("without keys is refused"), shard.is_none(), "{answer}");
    }
}
