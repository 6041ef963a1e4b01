//! Large requests and replies, cut anywhere, lent or handed over with their memory.

use super::world::{World, pool_config, req, watched_config};
use crate::base::ids::ClientId;
use crate::resp::encode;

fn value(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| b'a' + (at % 23) as u8).collect()
}

fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::request(&mut out, words);
    out
}

/// Says it in pieces of `piece` bytes; those that the relay would rather own, it gets.
fn say_cut(world: &mut World, id: ClientId, bytes: &[u8], piece: usize) {
    for part in bytes.chunks(piece) {
        if world.relay.client_takes_chunk(id, part.len()) {
            world.relay.on_client_chunk(id, part.to_vec(), world.now);
        } else {
            world.relay.on_client_bytes(id, part, world.now);
        }
        world.run();
    }
}

const PIECES: [usize; 7] = [999, 4_096, 16_384, 20_000, 32_768, 65_536, 1 << 20];

#[test]
fn a_large_value_comes_through_however_it_is_cut() {
    for bytes in [33_000, 70_000, 300_000] {
        let value = value(bytes);
        for piece in PIECES {
            let mut world = World::with(pool_config(2));
            world.piece = piece;
            let id = world.client();
            let mut all = request(&[b"GET", b"small"]);
            all.extend(request(&[b"SET", b"large", &value]));
            all.extend(request(&[b"GET", b"large"]));
            all.extend(request(&[b"SET", b"small", b"1"]));
            say_cut(&mut world, id, &all, piece);
            let value = String::from_utf8_lossy(&value);
            let expected = format!("$-1\r\n+OK\r\n${bytes}\r\n{value}\r\n+OK\r\n");
            assert!(world.heard(id) == expected, "{bytes} bytes in pieces of {piece}");
            assert_eq!(world.relay.buffered_bytes, 0);
        }
    }
}

#[test]
fn arguments_behind_a_large_value_are_not_lost() {
    let (first, second) = (value(100_000), value(90_000));
    for piece in PIECES {
        let mut world = World::with(pool_config(1));
        let id = world.client();
        // The store takes every pair; what comes behind the first large one is in the right place.
        let words: [&[u8]; 7] = [b"SET", b"a", &first, b"b", b"2", b"c", &second];
        say_cut(&mut world, id, &request(&words), piece);
        assert_eq!(world.heard(id), "+OK\r\n");
        assert_eq!(world.ask(id, b"GET b\r\n"), "$1\r\n2\r\n");
        assert_eq!(world.ask(id, b"GET a\r\n").len(), "$100000\r\n\r\n".len() + 100_000);
        assert_eq!(world.ask(id, b"GET c\r\n").len(), "$90000\r\n\r\n".len() + 90_000);
    }
}

#[test]
fn a_request_whose_arguments_are_needed_is_collected() {
    let value = value(100_000);
    for piece in PIECES {
        let mut world = World::with(pool_config(3));
        let id = world.client();
        let words: [&[u8]; 7] = [b"MSET", b"a", &value, b"b", &value, b"c", b"3"];
        say_cut(&mut world, id, &request(&words), piece);
        assert_eq!(world.heard(id), "+OK\r\n");
        assert_eq!(world.ask(id, b"GET b\r\n").len(), "$100000\r\n\r\n".len() + 100_000);
        assert_eq!(world.ask(id, b"GET c\r\n"), "$1\r\n3\r\n");
    }
}

#[test]
fn a_large_value_without_its_crlf_ends_the_client_and_leaves_nothing() {
    for piece in PIECES {
        let mut world = World::with(pool_config(1));
        let (id, other) = (world.client(), world.client());
        let mut broken = request(&[b"SET", b"large", &value(100_000)]);
        let end = broken.len() - 2;
        broken[end] = b'x';
        say_cut(&mut world, id, &broken, piece);
        assert!(world.heard(id).starts_with("-ERR Protocol error"), "{piece}");
        assert_eq!(world.finished, [id]);
        assert_eq!(world.relay.buffered_bytes, 0);
        assert_eq!(world.ask(other, b"GET large\r\n"), "$-1\r\n", "nothing of it was sent");
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_leaves_nothing() {
    let mut world = World::with(pool_config(1));
    let id = world.client();
    let all = request(&[b"SET", b"large", &value(100_000)]);
    say_cut(&mut world, id, &all[..80_000], 32_768);
    assert_eq!(world.relay.buffered_bytes, 80_000);
    world.relay.on_client_closed(id, crate::relay::api::ClientEnd::Eof, world.now);
    assert_eq!(world.relay.buffered_bytes, 0);
    let other = world.client();
    assert_eq!(world.ask(other, b"GET large\r\n"), "$-1\r\n", "nothing of it was sent");
}

#[test]
fn a_request_that_is_too_large_is_refused_at_its_header() {
    let mut pool = pool_config(1);
    pool.limits.request_bytes_max = 100_000;
    let mut world = World::with(pool);
    let id = world.client();
    // The value fits, what stands behind it does not any more.
    let all = request(&[b"SET", b"large", &value(99_900), b"PX", &value(200)]);
    say_cut(&mut world, id, &all, 16_384);
    assert!(world.heard(id).starts_with("-ERR Protocol error"));
    assert_eq!(world.relay.buffered_bytes, 0);
}

#[test]
fn many_clients_at_once_in_turns() {
    let mut world = World::with(pool_config(3));
    let ids: Vec<_> = (0..5).map(|_| world.client()).collect();
    let value = value(120_000);
    let requests: Vec<Vec<u8>> = (0..ids.len())
        .map(|number| request(&[b"SET", format!("large{number}").as_bytes(), &value]))
        .collect();
    for at in (0..requests[0].len()).step_by(20_000) {
        for (id, request) in ids.iter().zip(&requests) {
            let end = request.len().min(at + 20_000);
            say_cut(&mut world, *id, &request[at..end], 20_000);
        }
    }
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(world.heard(*id), "+OK\r\n");
        let reply = world.ask(*id, format!("GET large{number}\r\n").as_bytes());
        assert!(reply.as_bytes()[9..].starts_with(&value), "{number}");
    }
}

/// A value may say anything, and be cut anywhere.
#[test]
fn the_end_of_a_value_is_not_taken_for_a_refusal() {
    let mut world = World::with(watched_config(1));
    world.publish(0, |shard| shard.verified = 1);
    let (one, other) = (world.client(), world.client());
    world.ask(one, &req("GET k"));
    world.silence(0);
    world.say(one, &req("SET k v"));
    world.say(other, &req("GETDEL k"));
    let lane = world.lane_of_shard(0);
    let refusal = "-READONLY You can't write against a read only replica.\r\n";
    let value = format!("{}{refusal}", "x".repeat(100_000));
    let begin = format!("{refusal}${}\r\n{}", value.len(), "x".repeat(100_000));
    world.reply(lane, begin.as_bytes());
    world.reply(lane, format!("{refusal}\r\n").as_bytes());
    world.run();
    assert!(world.heard(other) == format!("${}\r\n{value}\r\n", value.len()));
    assert_eq!(world.heard(one), "", "it waits for the next primary, alone");
    assert_eq!(world.relay.lanes[0].inflight.len(), 1);
}
