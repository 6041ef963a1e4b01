//! CLIENT REPLY: what a client does not want to hear, and everything else.

use super::world::{World, pool_config, req};

/// Requests, one after the other.
fn all(requests: &[&str]) -> Vec<u8> {
    requests.iter().flat_map(|words| req(words)).collect()
}

#[test]
fn replies_are_swallowed_until_they_are_switched_on() {
    let mut world = World::new(3);
    let (id, other) = (world.client(), world.client());
    let heard = world.ask(
        id,
        &all(&[
            "SET a 1",
            "CLIENT REPLY OFF",
            "SET b 2",
            "GET a",
            "MGET a b c",
            "PING",
            "NOSUCHCOMMAND",
            "GET",
            "EVAL body 1 a",
            "CLIENT REPLY SKIP",
            "PING lost",
            "CLIENT REPLY ON",
            "GET b",
        ]),
    );
    assert_eq!(heard, "+OK\r\n+OK\r\n$1\r\n2\r\n", "of SET a, ON and GET b");
    assert_eq!(world.ask(id, &req("CLIENT REPLY OFF")), "");
    assert_eq!(world.ask(id, &req("GET a")), "");
    assert_eq!(world.ask(other, &req("GET a")), "$1\r\n1\r\n", "another client hears all of his");
    assert_eq!(world.ask(id, &req("RESET")), "+RESET\r\n", "as a fresh connection");
    assert_eq!(world.ask(id, &req("GET a")), "$1\r\n1\r\n");
    assert_eq!(world.ask(id, &req("CLIENT REPLY odd")), "-ERR syntax error\r\n");
}

#[test]
fn one_reply_is_skipped() {
    let mut world = World::new(2);
    let id = world.client();
    for skipped in ["SET a 1", "PING", "MGET a b", "GET", "CLIENT REPLY odd", "RESET"] {
        let requests = all(&["CLIENT REPLY SKIP", skipped, "PING", "GET x"]);
        assert_eq!(world.ask(id, &requests), "+PONG\r\n$-1\r\n", "{skipped}");
    }
    assert_eq!(world.ask(id, &all(&["CLIENT REPLY SKIP", "CLIENT REPLY OFF", "PING"])), "");
    assert_eq!(world.ask(id, &all(&["CLIENT REPLY ON", "PING"])), "+OK\r\n+PONG\r\n");
}

/// Shards answer in any order: swallowed replies are first, last, and come early.
#[test]
fn what_is_swallowed_keeps_its_place() {
    for piece in [1, 1000] {
        let mut world = World::new(3);
        world.piece = piece;
        let id = world.client();
        let (mut requests, mut expected) = (Vec::new(), String::new());
        for n in 0..300 {
            requests.extend(req(&format!("SET k{n} {n}")));
            expected += "+OK\r\n";
            match n % 4 {
                0 => requests.extend(all(&["CLIENT REPLY SKIP", "GET k0"])),
                1 => requests.extend(all(&["CLIENT REPLY SKIP", "MGET k0 k1 k2"])),
                2 => requests.extend(all(&["CLIENT REPLY SKIP", "PING"])),
                _ => {
                    requests.extend(all(&["CLIENT REPLY OFF", "GET k0", "GET k1"]));
                    requests.extend(all(&["CLIENT REPLY ON"]));
                    expected += "+OK\r\n";
                }
            }
        }
        assert_eq!(world.ask(id, &requests), expected);
        assert_eq!(world.relay.buffered_bytes, 0);
    }
}

/// Its bytes are not even collected.
#[test]
fn a_large_reply_is_swallowed() {
    let mut pool = pool_config(1);
    pool.unknown_commands = crate::config::model::UnknownCommands::Forward;
    let mut world = World::with(pool);
    world.piece = 10_000;
    let id = world.client();
    for before in ["", "GET a"] {
        let mut requests = all(&["CLIENT REPLY SKIP", "BIG key", "GET a"]);
        if !before.is_empty() {
            requests.splice(0..0, req(before));
        }
        let expected = "$-1\r\n".repeat(1 + usize::from(!before.is_empty()));
        assert_eq!(world.ask(id, &requests), expected);
        assert_eq!((world.relay.buffered_bytes, world.relay.lane_bytes), (0, 0));
    }
}

#[test]
fn errors_of_the_protocol_and_the_last_words_are_swallowed_too() {
    for last in [&b"*x\r\n"[..], b"QUIT\r\n"] {
        let mut world = World::new(1);
        let id = world.client();
        let requests = [&b"SET a 1\r\nCLIENT REPLY OFF\r\nGET a\r\n"[..], last].concat();
        assert_eq!(world.ask(id, &requests), "+OK\r\n");
        assert_eq!(world.finished, [id]);
    }
}

#[test]
fn a_shard_that_is_lost_fails_what_nobody_wants_to_hear() {
    let mut world = World::new(1);
    let id = world.client();
    world.ask(id, &req("GET a"));
    world.silence(0);
    world.say(id, &all(&["CLIENT REPLY SKIP", "GET a", "GET b", "CLIENT REPLY SKIP", "GET c"]));
    world.advance(1001);
    assert_eq!(world.heard(id).matches("Connection timed out").count(), 1, "of GET b");
    world.unsilence(0);
    assert_eq!(world.ask(id, &all(&["PING", "GET d"])), "+PONG\r\n$-1\r\n");
}

/// What waits behind a swallowed reply leaves with it, though nothing of that itself does.
#[test]
fn who_waits_behind_what_is_swallowed_hears_at_once() {
    for behind in ["PING", "GET"] {
        let mut world = World::new(2);
        let id = world.client();
        let (slow, fast) = (world.key_on(0), world.key_on(1));
        let behind = if behind == "GET" { format!("GET {fast}") } else { behind.to_owned() };
        let expected = world.ask(id, &req(&behind));
        world.ask(id, &req(&format!("GET {slow}")));
        world.silence(0);
        world.say(id, &all(&["CLIENT REPLY SKIP", &format!("GET {slow}"), &behind]));
        assert_eq!(world.heard(id), "");
        world.unsilence(0);
        assert_eq!(world.heard(id), expected);
        assert_eq!(world.relay.buffered_bytes, 0);
    }
}
