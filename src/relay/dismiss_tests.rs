//! Clients are let go at the end of a drain: with all they are owed, and nothing half done.

use crate::base::ids::ClientId;
use crate::relay::world::{World, pool_config, req};

const NIL: &str = "*-1\r\n";

fn world() -> (World, ClientId) {
    let mut world = World::with(pool_config(1));
    let client = world.client();
    (world, client)
}

fn dismiss(world: &mut World) {
    let now = world.now;
    world.relay.dismiss(now);
    world.run();
}

fn at_rest(world: &World) {
    let relay = &world.relay;
    assert_eq!((relay.buffered_bytes, relay.lane_bytes, relay.clients.len()), (0, 0, 0));
}

#[test]
fn who_is_owed_nothing_goes_at_once_and_the_others_with_their_replies() {
    let (mut world, client) = world();
    let idle = world.client();
    let half = world.client();
    assert_eq!(world.ask(client, &req("SET a 1")), "+OK\r\n");
    world.say(half, &req("MULTI"));
    world.say(half, b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$9\r\n12345");
    world.silence(0);
    world.say(client, &[req("GET a"), req("SET a 2"), req("GET a")].concat());
    dismiss(&mut world);
    assert_eq!(world.finished, [idle, half]);
    world.say(client, &req("SET a 3"));
    world.unsilence(0);
    assert_eq!(world.heard(client), "$1\r\n1\r\n+OK\r\n$1\r\n2\r\n");
    assert_eq!(world.finished, [idle, half, client]);
    assert_eq!(world.stores[0].keys[b"a".as_slice()], b"2", "what came later is not taken in");
    at_rest(&world);
}

#[test]
fn who_blocks_is_unblocked_and_nothing_is_popped_for_it() {
    for sent in [true, false] {
        let (mut world, client) = world();
        assert_eq!(world.ask(client, &req("SET a 1")), "+OK\r\n");
        if !sent {
            world.silence(0);
            world.say(client, &req("GET a"));
        }
        world.say(client, &[req("BLPOP q 0"), req("PING")].concat());
        dismiss(&mut world);
        if sent {
            assert_eq!(world.heard(client), NIL);
        } else {
            assert_eq!(world.finished, []);
            world.unsilence(0);
            assert_eq!(world.heard(client), format!("$1\r\n1\r\n{NIL}"), "in its order");
        }
        assert_eq!(world.finished, [client], "sent: {sent}");
        world.advance(10_000);
        at_rest(&world);
    }
}

#[test]
fn what_is_popped_in_that_very_moment_is_not_lost() {
    let (mut world, client) = world();
    world.stores[0].number = Some(7);
    world.say(client, &req("BLPOP q 0"));
    let lane = world.lanes.last().unwrap().0;
    dismiss(&mut world);
    assert_eq!(world.stores[0].unblocked, ["7 TIMEOUT"]);
    assert_eq!((world.heard(client).as_str(), world.finished.len()), ("", 0));
    let popped = "*2\r\n$1\r\nq\r\n$1\r\nv\r\n";
    world.reply(lane, popped.as_bytes());
    world.run();
    assert_eq!(world.heard(client), popped);
    assert_eq!(world.finished, [client]);
    world.advance(10_000);
    at_rest(&world);
}
