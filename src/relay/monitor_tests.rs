//! MONITOR: what is shown, of which cores, and that it is bounded and ends.

use super::cores_tests::{Cores, On};
use super::world::{World, pool_config, req};
use crate::base::ids::{ClientId, PoolId};
use crate::base::limits::{
    CORES_ANSWER_MAX_MS, MONITOR_ARG_BYTES_MAX, MONITOR_ARGS_MAX, MONITOR_WAITING_BYTES_MAX,
};
use crate::relay::api::{ClientEnd, Peer, Shared};
use crate::stats::cells::CoreMetric;

/// One core: who monitors, and a client at 127.0.0.1:1.
fn monitored(pool: crate::config::model::PoolConfig) -> (World, ClientId, ClientId) {
    let mut world = World::with(pool);
    let monitor = world.client();
    let address = "127.0.0.1:1".parse().unwrap();
    let id = world.client_from(PoolId(0), Peer::Tcp { peer: address, local: address });
    (world, monitor, id)
}

/// What a monitor heard: the arguments of each line.
fn shown(heard: &str) -> Vec<String> {
    let line = |line: &str| line.split_once("] ").map(|(_, args)| args.to_owned());
    heard.lines().filter_map(line).collect()
}

#[test]
fn each_request_is_shown_as_redis_shows_it() {
    let (mut world, monitor, id) = monitored(pool_config(2));
    assert_eq!(world.ask(id, &req("SET a 1")), "+OK\r\n");
    assert!(!world.relay.overseen, "nobody looks");
    assert_eq!(world.ask(monitor, &req("MONITOR")), "+OK\r\n");
    world.say(id, b"*3\r\n$3\r\nset\r\n$2\r\n\"\\\r\n$6\r\n\x00\xff\t\r\n \r\nMGET a b\r\n");
    assert_eq!(
        world.heard(monitor),
        "+1700000000.000000 [0 127.0.0.1:1] \"set\" \"\\\"\\\\\" \"\\x00\\xff\\t\\r\\n \"\r\n\
         +1700000000.000000 [0 127.0.0.1:1] \"MGET\" \"a\" \"b\"\r\n"
    );
    world.say(id, &req("SELECT 3"));
    world.say(id, &req("GET a"));
    world.say(monitor, &req("PING"));
    assert_eq!(
        world.heard(monitor),
        "+1700000000.000000 [0 127.0.0.1:1] \"SELECT\" \"3\"\r\n\
         +1700000000.000000 [3 127.0.0.1:1] \"GET\" \"a\"\r\n\
         +1700000000.000000 [0 unix:test] \"PING\"\r\n+PONG\r\n"
    );
    // Mistakes are not executed, so not shown; nor is administration.
    for words in ["GET", "NOSUCHCOMMAND a", "CLIENT LIST", "CONFIG SET requirepass x"] {
        world.say(id, &req(words));
        assert_eq!(world.heard(monitor), "", "{words}");
    }
}

#[test]
fn no_password_is_shown() {
    let mut pool = pool_config(1);
    pool.client_password = Some("secret".to_owned());
    let (mut world, monitor, id) = monitored(pool);
    world.ask(monitor, &req("AUTH secret"));
    world.ask(monitor, &req("MONITOR"));
    for words in [
        "AUTH wrongsecret",
        "AUTH default secret",
        "HELLO 3 AUTH default secret SETNAME secret",
        "hello 2 auth default secret",
        "HELLO 2 AUTH secret",
        "MIGRATE host 1 key 0 10 AUTH secret",
        "MIGRATE host 1 key 0 10 AUTH2 user secret KEYS a b",
    ] {
        world.say(id, &req(words));
        let heard = world.heard(monitor);
        let name = words.split(' ').next().unwrap();
        assert!(heard.contains(&format!("\"{name}\"")), "{words}: {heard}");
        assert!(heard.contains("(redacted)") && !heard.contains("secret"), "{words}: {heard}");
    }
}

#[test]
fn long_requests_are_cut() {
    let (mut world, monitor, id) = monitored(pool_config(1));
    world.ask(monitor, &req("MONITOR"));
    let value = "x".repeat(MONITOR_ARG_BYTES_MAX);
    world.say(id, &req(&format!("SET a {value} EX 10")));
    assert_eq!(shown(&world.heard(monitor)), [format!("\"SET\" \"a\" \"{value}\" \"EX\" \"10\"")]);
    world.say(id, &req(&format!("SET a {value}yy EX 10")));
    let cut = format!("\"SET\" \"a\" \"{value}... (2 more bytes)\" \"EX\" \"10\"");
    assert_eq!(shown(&world.heard(monitor)), [cut]);
    let keys = "k ".repeat(MONITOR_ARGS_MAX + 4);
    world.say(id, &req(&format!("DEL {}", keys.trim_end())));
    let heard = world.heard(monitor);
    assert!(heard.ends_with("\"k\" \"... (5 more arguments)\"\r\n"), "{heard}");
    // One whose value is not kept in one piece.
    let large = req(&format!("SET a {} EX 10", "y".repeat(300_000)));
    for piece in large.chunks(50_000) {
        world.say(id, piece);
    }
    let lines = shown(&world.heard(monitor));
    let cut = format!(
        "\"SET\" \"a\" \"{}... ({} more bytes)\" \"... (2 more arguments)\"",
        "y".repeat(MONITOR_ARG_BYTES_MAX),
        300_000 - MONITOR_ARG_BYTES_MAX
    );
    assert_eq!(lines, [cut]);
}

#[test]
fn who_monitors_can_do_little_else_until_it_ends() {
    for end in ["RESET", "QUIT"] {
        let (mut world, monitor, id) = monitored(pool_config(1));
        world.ask(monitor, &req("MONITOR"));
        assert!(world.ask(monitor, &req("GET a")).starts_with("-ERR only PING, AUTH"));
        assert_eq!(world.ask(monitor, &req("MONITOR")).get(..5), Some("-ERR "));
        assert!(world.ask(id, &req("CLIENT LIST")).contains(" flags=O "));
        let said = if end == "QUIT" { "+OK\r\n" } else { "+RESET\r\n" };
        assert_eq!(world.ask(monitor, &req(end)), said);
        world.say(id, &req("GET a"));
        assert_eq!(world.heard(monitor), "");
        assert!(!world.relay.overseen && world.relay.monitors.is_empty());
    }
}

/// What it asked for before is answered first, however late, and nothing comes in between.
#[test]
fn it_begins_when_what_was_asked_before_is_answered() {
    let (mut world, monitor, id) = monitored(pool_config(1));
    world.ask(id, &req("SET a 1"));
    world.silence(0);
    world.say(monitor, &[req("GET a"), req("MONITOR")].concat());
    world.say(id, &req("GET b"));
    assert_eq!(world.heard(monitor), "");
    world.unsilence(0);
    assert_eq!(world.heard(monitor), "$1\r\n1\r\n+OK\r\n");
    world.say(id, &req("PING"));
    assert_eq!(shown(&world.heard(monitor)), ["\"PING\""]);
}

#[test]
fn a_monitor_that_does_not_read_is_told_how_much_it_missed() {
    let mut pool = pool_config(1);
    pool.limits.client_output_soft_bytes = 10_000;
    let (mut world, monitor, id) = monitored(pool);
    world.ask(monitor, &req("MONITOR"));
    world.deaf.push(monitor);
    for n in 0..1_000 {
        world.say(id, &req(&format!("GET key:{n}")));
    }
    let heard = world.heard(monitor);
    assert!(heard.len() < 11_000, "{} bytes", heard.len());
    let lines = shown(&heard).len();
    world.deaf.clear();
    world.relay.on_client_sent(monitor, heard.len());
    world.say(id, &req("PING"));
    let missed = format!("\"CORELAY.MISSED\" \"{}\"", 1_000 - lines);
    assert_eq!(shown(&world.heard(monitor)), [missed, "\"PING\"".to_owned()]);
    assert_eq!(world.stats.core(CoreMetric::MonitorLinesMissed).get(), 1_000 - lines as u64);
}

fn ask_all(cores: &mut Cores, clients: &[On], words: &str) {
    for client in clients {
        cores.ask(*client, words);
    }
}

#[test]
fn requests_of_all_cores_are_shown_and_of_no_other_pool() {
    let mut cores = Cores::new(3);
    let monitor = cores.client(1, 1);
    let clients = [cores.client(0, 1), cores.client(1, 2), cores.client(2, 1)];
    let other = cores.client_of(PoolId(1), 2, 9);
    cores.say(monitor, "MONITOR");
    assert_eq!(cores.heard(monitor), "", "not all cores know");
    cores.settle();
    assert_eq!(cores.heard(monitor), "+OK\r\n");
    ask_all(&mut cores, &clients, "GET a");
    cores.ask(other, "GET hidden");
    let heard = cores.heard(monitor);
    for port in [1, 1002, 2001] {
        assert_eq!(
            heard.matches(&format!("[0 127.0.0.1:{port}] \"GET\" \"a\"")).count(),
            1,
            "{heard}"
        );
    }
    assert!(!heard.contains("hidden"));
    // It goes, and the others find out with the next request.
    let On(core, id) = monitor;
    let now = cores.0[core].now;
    cores.0[core].relay.on_client_closed(id, ClientEnd::Eof, now);
    ask_all(&mut cores, &clients, "GET a");
    ask_all(&mut cores, &clients, "GET a");
    assert!(cores.0.iter().all(|world| !world.relay.overseen && world.relay.viewers.is_empty()));
    cores.assert_at_rest();
}

#[test]
fn a_core_sends_the_next_lines_when_the_last_have_been_seen() {
    let mut cores = Cores::new(2);
    let (monitor, far) = (cores.client(0, 1), cores.client(1, 1));
    cores.ask(monitor, "MONITOR");
    for n in 0..10 {
        cores.say(far, &format!("GET k{n}"));
    }
    let letters = cores.letters();
    assert_eq!(letters.len(), 1, "one letter at a time");
    cores.hand_over(letters);
    assert_eq!(shown(&cores.heard(monitor)), ["\"GET\" \"k0\""]);
    cores.settle();
    assert_eq!(shown(&cores.heard(monitor)).len(), 9);

    // The answer is lost: after a while it goes on without.
    cores.say(far, "GET lost");
    let letters = cores.letters();
    cores.hand_over(letters);
    assert!(matches!(cores.letters()[..], [(1, Shared::SeenBy { go_on: true, .. })]));
    cores.say(far, "GET later");
    assert!(cores.letters().is_empty());
    cores.advance(CORES_ANSWER_MAX_MS);
    cores.settle();
    assert_eq!(shown(&cores.heard(monitor)), ["\"GET\" \"lost\"", "\"GET\" \"later\""]);
}

#[test]
fn lines_for_another_core_are_bounded() {
    let mut cores = Cores::new(2);
    let (monitor, far) = (cores.client(0, 1), cores.client(1, 1));
    cores.ask(monitor, "MONITOR");
    cores.say(far, "GET first");
    let kept = cores.letters();
    let key = "k".repeat(MONITOR_ARG_BYTES_MAX);
    let many = 2 * MONITOR_WAITING_BYTES_MAX / MONITOR_ARG_BYTES_MAX;
    for _ in 0..many {
        cores.say(far, &format!("GET {key}"));
    }
    assert!(cores.letters().is_empty());
    cores.hand_over(kept);
    cores.settle();
    let lines = shown(&cores.heard(monitor));
    let [first, missed, rest @ ..] = lines.as_slice() else { panic!("{} lines", lines.len()) };
    assert_eq!(first, "\"GET\" \"first\"");
    assert_eq!(*missed, format!("\"CORELAY.MISSED\" \"{}\"", many - rest.len()));
    assert!(rest.len() > many / 3 && rest.len() < many);
}

#[test]
fn a_core_that_does_not_answer_makes_it_an_error() {
    let mut cores = Cores::new(2);
    let (monitor, far) = (cores.client(0, 1), cores.client(1, 1));
    cores.say(monitor, "MONITOR");
    let late = cores.letters();
    cores.advance(CORES_ANSWER_MAX_MS);
    let heard = cores.heard(monitor);
    assert!(heard.starts_with("-ERR 1 of 2 cores have not answered in time"), "{heard}");
    assert_eq!(cores.ask(monitor, "GET a"), "$-1\r\n", "it does not monitor");
    // The late core shows its requests to nobody, and is told.
    cores.hand_over(late);
    cores.settle();
    cores.ask(far, "GET a");
    assert_eq!(cores.heard(monitor), "");
    assert!(cores.0[1].relay.viewers.is_empty());
}
