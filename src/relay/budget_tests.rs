//! What all buffers of a core may hold: who has to give way when it is reached.

use std::sync::Arc;

use crate::base::ids::ClientId;
use crate::relay::world::{World, pool_config, req};

const BUDGET: usize = 1_000_000;
const SOFT: usize = 50_000;
const VALUE: usize = 100_000;

fn world(shards: usize) -> World {
    let mut pool = pool_config(shards);
    pool.limits.lane_output_soft_bytes = SOFT;
    let mut world = World::with(pool);
    let mut config = (*world.relay.config).clone();
    config.proxy.core_buffer_max_bytes = BUDGET;
    world.relay.config = Arc::new(config);
    world
}

fn held(world: &World) -> usize {
    world.relay.buffered_bytes + world.relay.lane_bytes
}

#[test]
fn a_lane_that_does_not_take_its_requests_gets_no_more_than_the_budget() {
    let mut world = world(2);
    let [key, other] = [0, 1].map(|shard| world.key_on(shard));
    let clients: Vec<ClientId> = (0..30).map(|_| world.client()).collect();
    let bystander = world.client();
    world.ask(bystander, &req(&format!("SET {other} 1")));
    world.ask(clients[0], &req(&format!("GET {key}")));
    world.stores[0].stuck = true;
    let set = req(&format!("SET {key} {}", "x".repeat(VALUE)));
    let mut refused = 0;
    for id in &clients {
        // In two pieces, so that the value is kept by the client first.
        world.say(*id, &set[..VALUE / 2]);
        let heard = world.ask(*id, &set[VALUE / 2..]);
        if heard.starts_with("-ERR core_buffer_max_bytes is reached: shard s0000") {
            refused += 1;
        } else {
            assert_eq!(heard, "");
        }
        assert!(held(&world) <= BUDGET + 2 * VALUE, "{} bytes are held", held(&world));
    }
    assert_eq!(refused, clients.len() - BUDGET.div_ceil(set.len()), "what fits is taken");
    assert!(world.finished.is_empty(), "nobody is closed for it");
    assert_eq!(world.ask(bystander, &req(&format!("GET {other}"))), "$1\r\n1\r\n");
    world.unstick();
    let done = clients.iter().filter(|id| world.heard(**id) == "+OK\r\n").count();
    assert_eq!(done, clients.len() - refused);
    assert_eq!(held(&world), 0);
    assert_eq!(world.ask(clients[29], &set), "+OK\r\n", "there is room again");
}

#[test]
fn a_lane_that_is_lost_gives_its_bytes_back() {
    let mut world = world(1);
    let client = world.client();
    world.ask(client, &req("GET a"));
    world.stores[0].stuck = true;
    world.say(client, &req(&format!("SET a {}", "x".repeat(VALUE))));
    assert!(held(&world) >= VALUE);
    world.advance(1_001);
    world.stores[0].stuck = false; // the next connection's greeting is taken
    world.advance(2_001);
    let heard = world.heard(client);
    assert!(heard.starts_with("-ERR Connection timed out"), "{heard}");
    assert_eq!(held(&world), 0);
}

#[test]
fn clients_that_hold_most_of_the_budget_give_way() {
    let mut world = world(1);
    let clients: Vec<ClientId> = (0..12).map(|_| world.client()).collect();
    let start = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n${}\r\n", 2 * VALUE);
    let mut start = start.into_bytes();
    start.extend(vec![b'x'; VALUE]);
    for id in &clients {
        world.say(*id, &start);
        assert!(held(&world) <= BUDGET);
    }
    assert!(!world.finished.is_empty() && world.finished.len() <= 4, "{:?}", world.finished);
}
