//! CLIENT PAUSE: what waits, how long, and that nothing of it is lost or overtaken.

use super::cores_tests::Cores;
use super::world::{World, pool_config, req};
use crate::base::ids::PoolId;
use crate::config::model::UnknownCommands;
use crate::relay::api::ClientEnd;

fn all(requests: &[&str]) -> Vec<u8> {
    requests.iter().flat_map(|words| req(words)).collect()
}

#[test]
fn writes_wait_and_reads_do_not() {
    let mut pool = pool_config(2);
    pool.unknown_commands = UnknownCommands::Forward;
    let mut world = World::with(pool);
    let (admin, reader) = (world.client(), world.client());
    world.ask(admin, &req("SET a 1"));
    assert_eq!(world.ask(admin, &req("CLIENT PAUSE 500 WRITE")), "+OK\r\n");
    assert_eq!(world.ask(reader, &req("GET a")), "$1\r\n1\r\n");
    assert_eq!(world.ask(reader, &req("MGET a b")), "*2\r\n$1\r\n1\r\n$-1\r\n");
    let seen = world.requests_seen();
    let writes = [
        "SET a 2",
        "MSET a 2 b 2",
        "DEL a",
        "EVAL body 1 a",
        "EVALSHA aa 1 a",
        "PUBLISH channel hello",
        "FLUSHALL",
        "WHATEVER a",
    ];
    let waiting = writes.map(|words| (words, world.client()));
    for (words, client) in &waiting {
        // What follows waits with it.
        assert_eq!(world.ask(*client, &all(&[words, "PING"])), "", "{words}");
    }
    assert_eq!(world.requests_seen(), seen);
    world.advance(499);
    assert_eq!(world.requests_seen(), seen);
    world.advance(1);
    for (words, client) in &waiting {
        assert!(world.heard(*client).ends_with("+PONG\r\n"), "{words}");
    }
    assert_eq!(world.relay.next_deadline().filter(|at| *at < world.now.mono_us), None);
    assert!(!world.relay.overseen, "nothing is left of it");
}

/// EXEC changes something if what was queued before the pause does.
#[test]
fn a_transaction_waits_if_one_of_its_requests_would() {
    for (words, waits) in
        [("SET a 1", true), ("PUBLISH c m", true), ("NOSUCH a", true), ("GET a", false)]
    {
        let mut pool = pool_config(2);
        pool.unknown_commands = UnknownCommands::Forward;
        let mut world = World::with(pool);
        let (admin, client) = (world.client(), world.client());
        world.ask(client, &all(&["MULTI", words]));
        world.ask(admin, &req("CLIENT PAUSE 500 WRITE"));
        assert_eq!(world.ask(client, &req("EXEC")).is_empty(), waits, "{words}");
        assert_eq!(world.requests_seen() == 0, waits, "{words}");
        world.ask(admin, &req("CLIENT UNPAUSE"));
        assert_eq!(world.heard(client).starts_with("*1\r\n"), waits, "{words}");
    }
}

#[test]
fn everything_waits_but_what_ends_it() {
    let mut pool = pool_config(1);
    pool.client_password = Some("secret".to_owned());
    let mut world = World::with(pool);
    let admin = world.client();
    world.ask(admin, &req("AUTH secret"));
    assert_eq!(world.ask(admin, &req("CLIENT PAUSE 100000")), "+OK\r\n");
    let late = world.client();
    assert_eq!(world.ask(late, &req("HELLO 2 AUTH default secret")).get(..5), Some("*14\r\n"));
    for words in ["GET a", "SET a 1", "PING", "NOSUCHCOMMAND"] {
        let client = world.client();
        let heard = world.ask(client, &all(&["AUTH secret", words]));
        let refused = words == "NOSUCHCOMMAND"; // it would not have been executed
        assert_eq!(heard.starts_with("+OK\r\n-ERR unknown"), refused, "{words}: {heard}");
        assert!(refused || heard == "+OK\r\n", "{words}: {heard}");
    }
    // A longer, weaker pause does not shorten or weaken it.
    assert_eq!(world.ask(late, &req("CLIENT PAUSE 1 WRITE")), "+OK\r\n");
    assert_eq!(world.ask(admin, &req("GET a")), "");
    world.advance(2);
    assert_eq!(world.heard(admin), "");
    assert_eq!(world.ask(late, &req("CLIENT UNPAUSE")), "+OK\r\n");
    assert_eq!(world.heard(admin), "$1\r\n1\r\n", "the SET of another came first");
}

#[test]
fn what_a_client_sends_meanwhile_is_taken_in_afterwards() {
    for piece in [1, 3, 1000] {
        let mut world = World::new(3);
        let (admin, id) = (world.client(), world.client());
        world.ask(admin, &req("CLIENT PAUSE 300 WRITE"));
        let (mut requests, mut expected) = (Vec::new(), String::new());
        for n in 0..50 {
            requests.extend(req(&format!("GET k{n}")));
            requests.extend(req(&format!("SET k{n} {n:05}")));
            requests.extend(format!("GET k{n}\r\n").bytes());
            expected += &format!("$-1\r\n+OK\r\n$5\r\n{n:05}\r\n");
        }
        for bytes in requests.chunks(piece) {
            world.say(id, bytes);
        }
        assert_eq!(world.heard(id), "$-1\r\n", "a read before the first write");
        world.advance(300);
        assert_eq!(world.heard(id), expected.get(5..).unwrap());
        assert_eq!((world.relay.buffered_bytes, world.relay.lane_bytes), (0, 0));
    }
}

/// One that began before the pause is postponed when all of it is there.
#[test]
fn a_large_value_waits_too() {
    let value = "x".repeat(300_000);
    let request = req(&format!("SET a {value}"));
    for begun in [true, false] {
        let mut world = World::new(1);
        let (admin, id) = (world.client(), world.client());
        let (head, rest) = request.split_at(100);
        if begun {
            world.say(id, head);
        }
        world.ask(admin, &req("CLIENT PAUSE 100 WRITE"));
        if !begun {
            world.say(id, head);
        }
        for chunk in [rest, &req("GET a"), &req("GET b")].concat().chunks(40_000) {
            if world.relay.client_takes_chunk(id, chunk.len()) {
                world.relay.on_client_chunk(id, chunk.to_vec(), world.now);
            } else {
                world.say(id, chunk);
            }
        }
        assert_eq!(world.heard(id), "");
        assert!(world.stores[0].keys.is_empty());
        assert!(world.relay.buffered_bytes >= value.len());
        world.advance(100);
        assert_eq!(world.heard(id), format!("+OK\r\n$300000\r\n{value}\r\n$-1\r\n"));
        assert_eq!((world.relay.buffered_bytes, world.relay.lane_bytes), (0, 0));
    }
}

#[test]
fn who_leaves_or_idles_meanwhile_is_treated_as_ever() {
    let mut pool = pool_config(1);
    pool.limits.client_idle_timeout_ms = 1_000;
    let mut world = World::with(pool);
    let (admin, leaves, stays) = (world.client(), world.client(), world.client());
    world.ask(admin, &req("CLIENT PAUSE 5000 WRITE"));
    for id in [leaves, stays] {
        world.say(id, &req("SET a 1"));
    }
    assert!(world.relay.owes(stays), "a half-closed one waits for its reply");
    world.relay.on_client_closed(leaves, ClientEnd::Error(104), world.now);
    for _ in 0..6 {
        world.advance(1_000);
    }
    assert_eq!(world.heard(stays), "+OK\r\n", "it was not idle, it waited");
    assert!(world.finished.contains(&admin), "and one that was idle is closed");
}

#[test]
fn mistakes_are_worded_as_by_redis() {
    let mut world = World::new(1);
    let id = world.client();
    for (words, error) in [
        ("CLIENT PAUSE x", "-ERR timeout is not an integer or out of range\r\n"),
        ("CLIENT PAUSE 1.5", "-ERR timeout is not an integer or out of range\r\n"),
        ("CLIENT PAUSE -1", "-ERR timeout is negative\r\n"),
        ("CLIENT PAUSE 1 SOME", "-ERR CLIENT PAUSE mode must be WRITE or ALL\r\n"),
    ] {
        assert_eq!(world.ask(id, &req(words)), error);
    }
    assert_eq!(world.ask(id, &req("CLIENT UNPAUSE")), "+OK\r\n", "of nothing");
    assert!(!world.relay.overseen);
}

#[test]
fn all_cores_pause_before_it_is_said() {
    let mut cores = Cores::new(3);
    let (admin, near, far) = (cores.client(0, 1), cores.client(0, 2), cores.client(2, 1));
    let other_pool = cores.client_of(PoolId(1), 2, 9);
    cores.say(admin, "CLIENT PAUSE 100 WRITE");
    assert_eq!(cores.heard(admin), "", "the others have not answered");
    cores.settle();
    assert_eq!(cores.heard(admin), "+OK\r\n");
    assert_eq!(cores.ask(near, "SET a 1"), "");
    assert_eq!(cores.ask(far, "SET a 1"), "");
    assert_eq!(cores.ask(other_pool, "SET a 1"), "+OK\r\n", "another pool is not paused");
    assert_eq!(cores.ask(admin, "CLIENT UNPAUSE"), "+OK\r\n");
    assert_eq!((cores.heard(near), cores.heard(far)), ("+OK\r\n".into(), "+OK\r\n".into()));

    // A core that does not hear of it.
    cores.say(admin, "CLIENT PAUSE 5000 WRITE");
    let mut letters = cores.letters();
    letters.retain(|(core, _)| *core != 2);
    cores.hand_over(letters);
    cores.settle();
    cores.advance(crate::base::limits::CORES_ANSWER_MAX_MS);
    let heard = cores.heard(admin);
    assert!(heard.starts_with("-ERR 1 of 3 cores have not answered in time"), "{heard}");
    assert_eq!(cores.ask(near, "SET a 1"), "");
    assert_eq!(cores.ask(far, "SET a 1"), "+OK\r\n");
}

#[test]
fn one_without_end_is_one() {
    let mut world = World::new(1);
    let (admin, client) = (world.client(), world.client());
    let ms = i64::MAX;
    assert_eq!(world.ask(admin, &req(&format!("CLIENT PAUSE {ms} WRITE"))), "+OK\r\n");
    assert_eq!(world.ask(client, &req("SET a 1")), "");
    world.advance(1_000_000_000);
    assert_eq!(world.heard(client), "");
    assert_eq!(world.ask(admin, &req("CLIENT UNPAUSE")), "+OK\r\n");
    assert_eq!(world.heard(client), "+OK\r\n");
}
