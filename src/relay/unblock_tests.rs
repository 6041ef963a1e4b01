//! CLIENT UNBLOCK, and what is under way when a wait is to end.

use crate::base::limits::{BLOCK_GRACE_MS, UNBLOCK_MAX_MS};
use crate::relay::blocking_tests::{NIL, at_rest, popped, private, watched_with, world_with};
use crate::relay::lane::LaneState;
use crate::relay::world::{World, req};

#[test]
fn a_client_is_unblocked_wherever_it_waits() {
    for state in ["at the server", "for a connection", "for a primary"] {
        let (mut world, client) = watched_with(|pool| {
            (pool.limits.private_connections_max, pool.limits.private_connections_queue) = (1, 1);
        });
        let (holder, asker) = (world.client(), world.client());
        if state == "for a connection" {
            world.say(holder, &req("BLPOP q 0"));
        }
        let number = world.ask(client, &req("CLIENT ID"));
        let number = number[1..].trim_end();
        let unblock = |world: &mut World, reason: &str| {
            world.ask(asker, &req(format!("CLIENT UNBLOCK {number} {reason}").trim_end()))
        };
        assert_eq!(unblock(&mut world, ""), ":0\r\n", "it does not block");
        for (reason, heard) in [
            ("", NIL),
            ("TIMEOUT", NIL),
            ("error", "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"),
        ] {
            world.say(client, &[req("BLPOP q 0"), req("PING")].concat());
            if state == "for a primary" && !private(&world).is_empty() {
                world.lose(0);
            }
            assert_eq!(unblock(&mut world, reason), ":1\r\n", "{state}");
            assert_eq!(world.heard(client), format!("{heard}+PONG\r\n"), "{state}");
            let left = usize::from(state == "for a connection");
            assert_eq!(private(&world).len(), left, "{state}: nothing is popped for it");
        }
    }
    let (mut world, client) = world_with(|_| ());
    for (words, error) in [
        ("CLIENT UNBLOCK x", "-ERR value is not an integer or out of range\r\n"),
        ("CLIENT UNBLOCK 1 NOW", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n"),
        ("CLIENT UNBLOCK 1 ERROR x", "-ERR syntax error\r\n"),
        ("CLIENT UNBLOCK -1", ":0\r\n"),
    ] {
        assert_eq!(world.ask(client, &req(words)), error, "{words}");
    }
}

/// What the server popped before it heard of it is not lost.
#[test]
fn the_server_itself_ends_the_wait_where_it_can() {
    for (answer, heard) in [
        (NIL.to_owned(), NIL.to_owned()),
        (popped("q", "v"), popped("q", "v")),
        (String::new(), "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n".to_owned()),
    ] {
        let (mut world, client) = watched_with(|_| ());
        world.stores[0].number = Some(7);
        let asker = world.client();
        let number = world.ask(client, &req("CLIENT ID"));
        let unblock = req(&format!("CLIENT UNBLOCK {} ERROR", number[1..].trim_end()));
        world.say(client, &req("BLPOP q 0"));
        let lane = private(&world)[0];
        assert_eq!(world.ask(asker, &unblock), ":1\r\n");
        assert_eq!(world.stores[0].unblocked, ["7 ERROR"]);
        assert_eq!(world.ask(asker, &unblock), ":0\r\n", "that is under way");
        assert_eq!(world.heard(client), "");
        if answer.is_empty() {
            world.advance(UNBLOCK_MAX_MS); // it was not there yet, or is stuck
        } else {
            world.reply(lane, answer.as_bytes());
            world.run();
        }
        assert!(!private(&world).contains(&lane), "nobody's next wait is ended");
        assert!(world.relay.lanes[0].state == LaneState::Idle, "on no shared lane");
        assert_eq!(world.heard(client), heard);
        at_rest(&world);
    }
}

/// Half of a reply has gone to the client: nothing else may follow it, and no time is over.
#[test]
fn a_large_reply_that_is_coming_is_waited_for() {
    let whole = popped("q", &"x".repeat(300_000));
    let (one, rest) = whole.as_bytes().split_at(100_000);
    let (two, three) = rest.split_at(100_000);
    for unblocked in [false, true] {
        let (mut world, client) = world_with(|_| ());
        world.stores[0].number = Some(7);
        let asker = world.client();
        let number = world.ask(client, &req("CLIENT ID"));
        world.say(client, &req("BLPOP q 1"));
        let lane = private(&world)[0];
        if unblocked {
            let unblock = req(&format!("CLIENT UNBLOCK {}", number[1..].trim_end()));
            assert_eq!(world.ask(asker, &unblock), ":1\r\n");
        }
        for (piece, pause_ms) in [(one, 1_900), (two, 1_900), (three, 0)] {
            world.reply(lane, piece);
            world.advance(pause_ms);
        }
        let heard = world.heard(client);
        assert!(heard == whole, "unblocked: {unblocked}: {} bytes", heard.len());
        assert!(world.finished.is_empty());
        at_rest(&world);
    }
    // One that stops coming is given up, and so is who has half of it.
    let (mut world, client) = world_with(|_| ());
    world.say(client, &req("BLPOP q 1"));
    let lane = private(&world)[0];
    world.reply(lane, one);
    world.advance(1_000 + BLOCK_GRACE_MS);
    assert_eq!(world.finished, [client]);
    assert!(private(&world).is_empty());
    at_rest(&world);
}
