//! A new process takes the place of the one that runs (`corelay run --take-over`) while clients ask:
//! no connection is refused or reset, no reply is wrong, no write is lost or doubled, also with other
//! cores and shards. The old one serves who is connected to it, and ends with them. A process that
//! does not come as far as serving changes nothing.
#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod support;

use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use support::proxy::binary;
use support::{
    Checking, Clients, Options, PATIENCE, Port, Process, Proxy, Redis, Stack, Stopwatch, Threads,
    Wire, holds_for, note, wait_until,
};
use tempfile::TempDir;

/// A stack that can be taken over; its sockets are in the directory.
fn start(shards: usize, options: Options) -> (Stack, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("handover.sock");
    let proxy = format!("{}handover_socket = \"{}\"\n", options.proxy, socket.display());
    let unix = format!("unix:{} 0660", directory.path().join("cache.sock").display());
    let listen = [options.listen, vec![unix]].concat();
    (Stack::start(shards, &Options { proxy, listen, ..options }), directory)
}

fn on(cores: &'static str) -> Options {
    Options { cores, ..Options::default() }
}

fn tags(stack: &Stack) -> Vec<String> {
    let tags = stack.keys_by_shard(1).into_iter().map(|keys| format!("{{{}}}", keys[0]));
    tags.collect()
}

/// A call takes less than a millisecond; a machine that is busy takes its time.
const LONGEST_CALL: Duration = Duration::from_secs(3);

/// Clients each of whose requests has a connection of its own. A refused or a reset one panics.
struct Callers {
    stop: Arc<AtomicBool>,
    threads: Threads,
    /// INCRs that were acknowledged.
    counted: Arc<AtomicI64>,
}

impl Callers {
    /// Two that come by TCP, one by the unix socket.
    fn start(proxy: &Proxy, directory: &Path) -> Callers {
        let address = proxy.address();
        let socket = directory.join("cache.sock");
        let mut callers =
            Callers { stop: Arc::default(), threads: Threads::default(), counted: Arc::default() };
        for _ in 0..2 {
            callers.add(move || Wire::try_connect(address));
        }
        callers.add(move || Wire::try_connect_unix(&socket));
        callers
    }

    fn add(&mut self, connect: impl Fn() -> std::io::Result<Wire> + Send + 'static) {
        let (stop, counted) = (self.stop.clone(), self.counted.clone());
        self.threads.run(move || {
            let mut calls = 0;
            while !stop.load(Ordering::SeqCst) {
                let since = Stopwatch::start();
                let mut wire = connect().unwrap();
                assert!(wire.exchange(&["INCR", "calls"]).integer() > 0);
                let waited = since.elapsed();
                assert!(waited < LONGEST_CALL, "connected and answered after {waited:?}");
                counted.fetch_add(1, Ordering::SeqCst);
                calls += 1;
            }
            assert!(calls > 50, "only {calls} calls");
        });
    }

    /// Ends them; every call was counted once.
    fn end(mut self, stack: &Stack) {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.join();
        let counted = self.counted.load(Ordering::SeqCst);
        note(&format!("{counted} calls, each with a connection of its own"));
        assert_eq!(stack.client().exchange(&["GET", "calls"]).text(), counted.to_string());
    }
}

fn ends(mut old: Process, within: Duration) {
    let id = old.id();
    wait_until(within, "the old process has ended", || old.ended().is_some());
    assert!(old.ended().unwrap().success(), "{id}: {}", old.log_end());
}

/// Without clients: what is accepted, a second's tick, and a loaded machine.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn an_upgrade_under_load_refuses_nobody() {
    let (mut stack, directory) = start(2, on("2"));
    let tags = tags(&stack);
    let clients = Clients { pause: Duration::from_millis(1), ..Clients::default() };
    let load = Checking::start(stack.proxy.address(), &tags, clients);
    let callers = Callers::start(&stack.proxy, directory.path());
    // The load stays with the first one, whatever comes after it.
    let mut first = stack.proxy.upgrade();
    let of_second = Checking::start(stack.proxy.address(), &tags_beside(&tags), clients);
    let mut second = stack.proxy.upgrade();
    for _ in 0..6 {
        ends(stack.proxy.upgrade(), SOON);
        assert!(first.ended().is_none() && second.ended().is_none());
    }
    for load in [load, of_second] {
        let account = load.settle(|shard| stack.shards[shard].client());
        note(&account.to_string());
        account.expect_integrity();
        (0..2).for_each(|shard| account.expect_undisturbed(shard, PATIENCE));
    }
    ends(first, SOON);
    ends(second, SOON);
    callers.end(&stack);
    let log = stack.proxy.log();
    assert_eq!(log.matches("handed over").count(), 8, "{log}");
    assert_eq!(log.matches(" error ").count(), 0, "{log}");
}

/// Other keys on the same shards.
fn tags_beside(tags: &[String]) -> Vec<String> {
    tags.iter().map(|tag| format!("{tag}beside")).collect()
}

#[test]
fn other_cores_and_other_shards_take_over_as_well() {
    let (mut stack, directory) = start(2, on("2"));
    let keys = stack.keys_by_shard(1);
    let callers = Callers::start(&stack.proxy, directory.path());
    let more = Redis::start(&[]);
    let with = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{from} in {text}");
        text.replace(from, to)
    };
    for round in 0..6 {
        stack.proxy.edit(|text| match round {
            0 | 3 => with(text, "cores = 2", "cores = 1"),
            1 | 4 => with(text, "cores = 1", "cores = 2"),
            _ => text.to_owned(),
        });
        ends(stack.proxy.upgrade(), SOON);
        let cores = stack.proxy.metric("corelay_core_clients").len();
        assert_eq!(cores, if matches!(round, 0 | 3) { 1 } else { 2 }, "round {round}");
    }
    // What a reload refuses: a further shard. The callers' key may not move for it.
    callers.end(&stack);
    let shard = format!("[[pool.shard]]\nname = \"shard3\"\naddress = \"{}\"\n", more.address());
    stack.proxy.edit(|text| text.to_owned() + &shard);
    assert!(!stack.proxy.reload(&[]).0, "a reload does not do it");
    let mut client = stack.client();
    assert_eq!(client.exchange(&["SET", &keys[0][0], "old"]).text(), "OK");
    let old = stack.proxy.upgrade();
    assert!(stack.proxy.admin("/topology").contains("shard3"));
    let mut reached = stack.client();
    for n in 0..1000 {
        assert_eq!(reached.exchange(&["SET", &format!("key{n}"), "1"]).text(), "OK");
    }
    assert!(more.ask(&["DBSIZE"]).integer() > 0, "the third has its share");
    // Who is connected to the old one still has the old shards.
    assert_eq!(client.exchange(&["GET", &keys[0][0]]).text(), "old");
    drop(client);
    ends(old, SOON);
}

/// What an HTTP or statistics port says, or the end of the test.
fn read_all(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect_timeout(&address, LONGEST_CALL).unwrap();
    stream.set_read_timeout(Some(LONGEST_CALL)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_other_ports_go_over_too_and_what_a_reload_has_opened() {
    let stats = Port::reserve();
    let proxy = format!("stats_listen = \"{}\"\n", stats.address);
    let (mut stack, directory) = start(1, Options { proxy, ..on("2") });
    let stop: Arc<AtomicBool> = Arc::default();
    let mut threads = Threads::default();
    let ask = "GET /healthz HTTP/1.0\r\nHost: x\r\n\r\n";
    let asked = [
        (stack.proxy.admin_address(), ask, " 200 OK"),
        (stats.address, "", "\"service\":\"nutcracker\""),
    ];
    for (address, request, answer) in asked {
        let stop = stop.clone();
        threads.run(move || {
            while !stop.load(Ordering::SeqCst) {
                let said = read_all(address, request);
                assert!(said.contains(answer), "{said}");
            }
        });
    }
    let mut callers = Callers::start(&stack.proxy, directory.path());
    ends(stack.proxy.upgrade(), SOON);

    let second = Port::reserve();
    let first = format!("\"{}\", ", stack.proxy.address());
    let mut alone = String::new();
    stack.proxy.edit(|text| {
        text.clone_into(&mut alone);
        text.replace(&first, &format!("{first}\"{}\", ", second.address))
    });
    let (taken, said) = stack.proxy.reload(&[]);
    assert!(taken, "{said}");
    let address = second.address;
    callers.add(move || Wire::try_connect(address));
    for _ in 0..3 {
        ends(stack.proxy.upgrade(), SOON);
    }
    callers.end(&stack);

    // A listener that a reload closes is closed, although it was once handed over.
    stack.proxy.edit(|_| alone);
    assert!(stack.proxy.reload(&[]).0);
    wait_until(PATIENCE, "nobody is let in there", || Wire::try_connect(address).is_err());
    ends(stack.proxy.upgrade(), SOON);
    assert!(Wire::try_connect(address).is_err());
    stop.store(true, Ordering::SeqCst);
    threads.join();
}

#[test]
fn a_process_that_does_not_come_to_serve_leaves_everything_as_it_was() {
    let (mut stack, directory) = start(1, on("2"));
    let callers = Callers::start(&stack.proxy, directory.path());
    let mut good = String::new();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap();
    stack.proxy.edit(|text| {
        text.clone_into(&mut good);
        text.replace("listen = [", &format!("listen = [\"{taken}\", "))
    });
    for _ in 0..3 {
        let said = stack.proxy.refused_upgrade();
        assert!(said.contains("address already in use"), "{said}");
    }
    stack.proxy.edit(|text| text.replace("timeout_ms", "timeout_mss"));
    assert!(stack.proxy.refused_upgrade().contains("timeout_mss"), "it has not even asked");
    let log = stack.proxy.log();
    let told = "not taken over, this process goes on why=\"it has ended before it served\"";
    assert_eq!(log.matches(told).count(), 3, "{log}");
    stack.proxy.edit(|_| good.clone());
    let (taken, said) = stack.proxy.reload(&[]);
    assert!(taken, "it can still be reloaded: {said}");
    ends(stack.proxy.upgrade(), SOON);
    callers.end(&stack);
}

/// A connection to the handover socket.
fn connect_by_hand(path: &Path) -> Socket {
    let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None).unwrap();
    socket.connect(&SockAddr::unix(path).unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// One that says this.
fn ask_by_hand(path: &Path, word: &str) -> Socket {
    let socket = connect_by_hand(path);
    socket.send(word.as_bytes()).unwrap();
    socket
}

fn answer(mut socket: &Socket) -> String {
    let mut bytes = [0; 4096];
    let count = socket.read(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

#[test]
fn what_keeps_it_from_taking_over_is_said_in_one_line() {
    let (mut stack, directory) = start(1, on("1"));
    let path: PathBuf = directory.path().join("handover.sock");
    let said_once = |stack: &Stack, words: &[&str]| {
        let said = stack.proxy.refused_upgrade();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    };

    let take = format!("{{\"take\":{{\"version\":1,\"pid\":{}}}}}", std::process::id());
    let first = ask_by_hand(&path, &take);
    assert!(answer(&first).contains("sockets"));
    said_once(&stack, &["handover.sock", "refused: another process is taking over"]);
    let (taken, said) = stack.proxy.reload(&[]);
    assert!(taken && said.contains("in force already"), "nothing to do: {said}");
    stack.proxy.edit(|text| text.replace("timeout_ms = 5000", "timeout_ms = 5001"));
    assert!(stack.proxy.reload(&[]).1.contains("another process is taking over"));
    drop(first);

    for (word, told) in [
        ("{\"take\":{\"version\":2,\"pid\":7,\"more\":1}}", "speaks version 2"),
        ("\"serving\"", "it does not begin by asking"),
        ("GET / HTTP/1.0\r\n\r\n", "a word that is not known here"),
        (&"x".repeat(10_000), "cut off"),
    ] {
        assert!(answer(&ask_by_hand(&path, word)).contains(told), "{told}");
    }
    // Who says nothing is not waited for.
    let silent = connect_by_hand(&path);
    wait_until(PATIENCE, "it is given up", || stack.proxy.reload(&[]).0);
    drop(silent);
    ends(stack.proxy.upgrade(), SOON);

    stack.proxy.process().signal("TERM");
    wait_until(SOON, "it has ended", || stack.proxy.process().ended().is_some());
    said_once(&stack, &["nobody listens there", "start without --take-over"]);
    std::fs::remove_file(&path).unwrap();
    said_once(&stack, &["there is no such socket", "does corelay run"]);
    stack.proxy.edit(|text| text.replace("handover_socket", "#"));
    said_once(&stack, &["corelay.toml: proxy.handover_socket: it is not set"]);
}

/// Runs this program as user 65534, and ends it if it takes over.
fn by_nobody(program: &Path, args: &[&str]) -> std::io::Result<Output> {
    let user = ["20", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    Command::new("timeout").args(user).arg(program).args(args).output()
}

#[test]
fn another_user_gets_no_listener() {
    let (mut stack, directory) = start(1, on("1"));
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    // Where that user can reach everything.
    let (program, config) = (directory.path().join("corelay"), directory.path().join("c.toml"));
    std::fs::copy(binary(), &program).unwrap();
    std::fs::copy(stack.proxy.directory().join("corelay.toml"), &config).unwrap();
    [directory.path(), &program].into_iter().for_each(|path| mode(path, 0o755));
    mode(&config, 0o644);
    let can = by_nobody(&program, &["--version"]);
    if !can.as_ref().is_ok_and(|output| output.status.success()) {
        return support::root::skip(&format!("no program can be run as another user: {can:?}"));
    }
    let socket = directory.path().join("handover.sock");
    for (its_mode, told) in [
        (0o600, "permission denied: run it as the user of the process that runs, or root"),
        (0o666, "refused: user 65534 asks, and this process runs as user 0: run it as that user"),
    ] {
        mode(&socket, its_mode);
        let config = config.to_str().unwrap();
        let output = by_nobody(&program, &["run", "--take-over", "-c", config]).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(told), "{output:?}");
    }
    assert_eq!(stack.proxy.log().matches("user 65534 asks").count(), 1);
    ends(stack.proxy.upgrade(), SOON);
}

#[test]
fn who_stays_with_the_old_process_is_let_go_with_all_it_is_owed() {
    let proxy = "handover_grace_ms = 1600\n".to_owned();
    let (mut stack, _directory) = start(2, Options { proxy, ..on("2") });
    let keys: Vec<String> = stack.keys_by_shard(1).into_iter().flatten().collect();
    let mut clients: Vec<Wire> = (0..6).map(|_| stack.client()).collect();
    let (mut asks, mut blocks) = (stack.client(), stack.client());
    assert_eq!(asks.exchange(&["SET", &keys[0], "1"]).text(), "OK");
    blocks.request(&["BLPOP", &format!("{}q", keys[1]), "0"]);
    let since = Stopwatch::start();
    let old = stack.proxy.upgrade();
    holds_for(Duration::from_millis(400), "all are served", || {
        clients.iter_mut().all(|client| client.exchange(&["PING"]).text() == "PONG")
    });
    // The half of the time is over before the redis-server answers.
    stack.shards[0].ask(&["CLIENT", "PAUSE", "700", "ALL"]);
    asks.send(
        &[support::encode(&["INCR", &keys[0]]), support::encode(&["GET", &keys[0]])].concat(),
    );
    clients.iter_mut().for_each(Wire::expect_closed);
    assert!(since.elapsed() >= Duration::from_millis(800), "{:?}", since.elapsed());
    assert!(blocks.read_reply().is_null(), "as if its time were over");
    blocks.expect_closed();
    assert_eq!((asks.read_reply().integer(), asks.read_reply().text()), (2, "2".to_owned()));
    asks.expect_closed();
    ends(old, SOON);
}

#[test]
fn the_old_process_can_be_told_to_end_sooner() {
    let proxy = "handover_grace_ms = \"none\"\n".to_owned();
    let (mut stack, _directory) = start(1, Options { proxy, ..on("2") });
    let mut client = stack.client();
    client.exchange(&["PING"]);
    let mut old = stack.proxy.upgrade();
    holds_for(Duration::from_secs(1), "it is served", || {
        client.exchange(&["PING"]).text() == "PONG" && old.ended().is_none()
    });
    old.signal("TERM");
    // Two signals at once would be one.
    wait_until(SOON, "it has heard that", || old.log().matches("draining").count() == 2);
    assert_eq!(client.exchange(&["PING"]).text(), "PONG");
    old.signal("TERM");
    client.expect_closed();
    ends(old, SOON);
    assert_eq!(stack.client().exchange(&["PING"]).text(), "PONG");
}
