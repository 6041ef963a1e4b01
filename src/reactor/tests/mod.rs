//! Whole cores on real sockets, with a false heart whose clients pull its strings.

mod puppet;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, unbounded};

use self::puppet::{Puppet, Told};
use super::balance::Balance;
use super::{CoreHandle, CoreSetup, spawn_heart};
use crate::base::ids::PoolId;
use crate::config::model::{Config, Listen};
use crate::config::sample;
use crate::mailbox::{Letter, MailboxSender, mailbox};
use crate::net::features::Features;
use crate::net::listen;
use crate::relay::api::{ClientEnd, Peer, Shared as News};
use crate::stats::cells::{CoreMetric, CoreStats};
use crate::topology::Topology;

/// Nothing here takes longer, unless it fails.
const PATIENCE: Duration = Duration::from_secs(10);

struct World {
    cores: Vec<CoreHandle>,
    mailboxes: Vec<MailboxSender>,
    stats: Arc<[Arc<CoreStats>]>,
    balance: Arc<Balance>,
    /// Of the first pool; of the second, whose clients are refused.
    open: SocketAddr,
    refusing: SocketAddr,
    unix: tempfile::TempDir,
    told: Receiver<Told>,
}

impl World {
    fn new(cores: usize, features: Features) -> World {
        let unix = tempfile::tempdir().unwrap();
        let anywhere = Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
        let path = unix.path().join("proxy.sock");
        let mut config = Config::clone(&sample::config(&[("open", &[]), ("refusing", &[])]));
        Arc::make_mut(&mut config.pools[0]).listen =
            vec![anywhere.clone(), Listen::Unix { path, mode: Some(0o600) }];
        Arc::make_mut(&mut config.pools[1]).listen = vec![anywhere];
        let config = Arc::new(config);
        let listeners = listen::bind(&config, cores).unwrap();
        let tcp = |of_core: &[listen::Listener], pool: usize| {
            let of_pool = of_core.iter().filter(|listener| listener.pool.index() == pool);
            let mut addresses = of_pool.filter_map(|listener| match listener.at {
                Listen::Tcp(address) => Some(address),
                Listen::Unix { .. } => None,
            });
            addresses.next().unwrap()
        };
        let (open, refusing) = (tcp(&listeners[0], 0), tcp(&listeners[0], 1));
        let (mailboxes, receivers): (Vec<_>, Vec<_>) =
            (0..cores).map(|_| mailbox().unwrap()).unzip();
        let balance = Arc::new(Balance::new(cores, 1000));
        let (teller, told) = unbounded();
        let stats: Arc<[_]> = (0..cores).map(|_| CoreStats::new(&config)).collect();
        let handles: Vec<_> = receivers
            .into_iter()
            .zip(listeners)
            .enumerate()
            .map(|(index, (mailbox, listeners))| {
                let setup = CoreSetup {
                    index,
                    cpu: 0,
                    config: config.clone(),
                    stats: stats.clone(),
                    listeners,
                    mailbox,
                    peers: mailboxes.clone(),
                    balance: balance.clone(),
                    features,
                    log: Box::new(|event| println!("{event:?}")),
                    every_second: Box::new(|_, _| {}),
                };
                let teller = teller.clone();
                spawn_heart(setup, move |now| Puppet::new(teller, index, now)).unwrap()
            })
            .collect();
        for core in &handles {
            assert_eq!(core.wait_ready().unwrap(), features);
        }
        World { cores: handles, mailboxes, stats, balance, open, refusing, unix, told }
    }

    fn client(&self) -> TcpStream {
        patient(TcpStream::connect(self.open).unwrap())
    }

    /// What is told next, openings left out.
    fn next_told(&self) -> Told {
        loop {
            match self.told.recv_timeout(PATIENCE).unwrap() {
                Told::Opened(_) => {}
                told => return told,
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for mailbox in &self.mailboxes {
            mailbox.send(Letter::Stop).unwrap();
        }
        if std::thread::panicking() {
            return;
        }
        wait_until("the cores end", || self.cores.iter().all(CoreHandle::is_finished));
        for core in self.cores.drain(..) {
            core.join().unwrap().unwrap();
        }
    }
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn order(mut stream: &TcpStream, line: &str) {
    stream.write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn expect(mut stream: impl Read, words: &str) {
    let mut heard = vec![0; words.len()];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(String::from_utf8_lossy(&heard), words);
}

/// Everything up to the end of the connection.
fn rest_of(mut stream: &TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    rest
}

fn each_kernel(test: impl Fn(Features)) {
    test(Features::ALL);
    test(Features::PLAIN);
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        // A step of the wait for a condition, not a wait for luck.
        let (_keep, never) = crossbeam::channel::bounded::<()>(1);
        let _ = never.recv_timeout(PATIENCE / 1000);
    }
    panic!("not within {PATIENCE:?}: {what}");
}

#[test]
fn a_reply_comes_back_whatever_its_size() {
    each_kernel(|features| {
        let world = World::new(1, features);
        let client = world.client();
        order(&client, "SAY hello");
        expect(&client, "hello");
        // The second order is read while the first reply waits for the client to read it.
        order(&client, "BIG 20000000");
        expect(&client, "x");
        order(&client, "SAY after");
        expect(&client, &"x".repeat(19_999_999));
        expect(&client, "after");
        drop(client);
        assert_eq!(world.next_told(), Told::Ended(ClientEnd::Eof));
    });
}

#[test]
fn a_client_that_has_shut_its_end_still_gets_what_it_is_owed() {
    each_kernel(|features| {
        let world = World::new(1, features);
        let client = world.client();
        order(&client, "SAY now\nLATE 50 later");
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(rest_of(&client), b"nowlater");
        assert_eq!(world.next_told(), Told::Ended(ClientEnd::Eof));
        // A large reply, which does not go through at once.
        let client = world.client();
        order(&client, "BIG 20000000");
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(rest_of(&client).len(), 20_000_000);
        assert_eq!(world.next_told(), Told::Ended(ClientEnd::Eof));
    });
}

#[test]
fn a_goodbye_is_heard_although_the_client_goes_on_sending() {
    each_kernel(|features| {
        let world = World::new(1, features);
        let client = world.client();
        order(&client, "BIG 3000000\nFINISH bye");
        // Unread bytes at the time of the close would turn it into a reset, which destroys the
        // reply on its way.
        (&client).write_all(&[b'x'; 100_000]).unwrap();
        let heard = rest_of(&client);
        assert_eq!(heard.len(), 3_000_003);
        assert!(heard.ends_with(b"bye"));
        drop(client);
        assert_eq!(world.next_told(), Told::Ended(ClientEnd::Asked));
    });
}

#[test]
fn a_goodbye_does_not_wait_for_ever() {
    each_kernel(|features| {
        let world = World::new(1, features);
        // One that neither reads nor closes.
        let deaf = world.client();
        order(&deaf, "BIG 50000000\nFINISH bye");
        assert_eq!(world.next_told(), Told::Ended(ClientEnd::Asked));
        // One that never stops talking.
        let talker = world.client();
        order(&talker, "FINISH bye");
        let mut sent = 0;
        let error = loop {
            match (&talker).write(&[b'x'; 65536]) {
                Ok(bytes) => sent += bytes,
                Err(error) => break error,
            }
        };
        assert!(sent > crate::base::limits::FAREWELL_BYTES, "{sent}");
        let kinds = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
        assert!(kinds.contains(&error.kind()), "{error}");
        assert_eq!(world.next_told(), Told::Ended(ClientEnd::Asked));
    });
}

#[test]
fn a_dropped_client_is_closed_at_once() {
    each_kernel(|features| {
        let world = World::new(1, features);
        let client = world.client();
        order(&client, "DROP");
        let _ = (&client).read(&mut [0; 1]);
        assert_eq!(world.next_told(), Told::Ended(ClientEnd::Asked));
        wait_until("it is counted off", || world.balance.clients(0) == 0);
    });
}

#[test]
fn a_refused_client_hears_why() {
    each_kernel(|features| {
        let world = World::new(1, features);
        let client = patient(TcpStream::connect(world.refusing).unwrap());
        (&client).write_all(b"not read by anybody").unwrap();
        assert_eq!(rest_of(&client), b"REFUSED");
        drop(client);
        wait_until("it is counted off", || world.balance.clients(0) == 0);
    });
}

#[test]
fn a_paused_client_is_not_read_until_it_is_resumed() {
    each_kernel(|features| {
        let world = World::new(1, features);
        let client = world.client();
        order(&client, "PAUSE 100");
        // What comes in one piece with the order would be obeyed with it.
        expect(&client, "PAUSED");
        // More than any buffer between here and there holds: it only gets through once the client
        // is read again.
        let line = format!("SAY {}\n", "x".repeat(1000));
        let lines = line.repeat(20_000);
        let writer = {
            let client = client.try_clone().unwrap();
            std::thread::spawn(move || (&client).write_all(lines.as_bytes()))
        };
        expect(&client, "RESUMED");
        expect(&client, &"x".repeat(20_000_000));
        writer.join().unwrap().unwrap();
    });
}

#[test]
fn a_lane_is_connected_used_lost_and_cut() {
    each_kernel(|features| {
        let world = World::new(1, features);
        let client = world.client();
        let node = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = node.local_addr().unwrap();
        order(&client, &format!("LANE {at}"));
        let (lane, _) = node.accept().unwrap();
        expect(&client, "OPEN");
        order(&client, "FORWARD question");
        expect(&lane, "question");
        (&lane).write_all(b"answer").unwrap();
        expect(&client, "answer");
        drop(lane);
        expect(&client, "CLOSED Eof");
        order(&client, &format!("LANE {at}"));
        let (lane, _) = node.accept().unwrap();
        expect(&client, "OPEN");
        order(&client, "CUT\nSAY cut");
        expect(&client, "cut");
        assert!(rest_of(&patient(lane)).is_empty());
        drop(node);
        order(&client, &format!("LANE {at}"));
        expect(&client, &format!("CLOSED Error({})", libc::ECONNREFUSED));
        let path = world.unix.path().join("node.sock");
        let node = UnixListener::bind(&path).unwrap();
        order(&client, &format!("LANE unix:{}", path.display()));
        let (_lane, _) = node.accept().unwrap();
        expect(&client, "OPEN");
    });
}

#[test]
fn clients_come_by_tcp_and_by_unix_socket() {
    let world = World::new(1, Features::ALL);
    let tcp = world.client();
    let (peer, local) = (tcp.local_addr().unwrap(), tcp.peer_addr().unwrap());
    assert_eq!(world.told.recv_timeout(PATIENCE).unwrap(), Told::Opened(Peer::Tcp { peer, local }));
    let path = world.unix.path().join("proxy.sock");
    let mut unix = UnixStream::connect(&path).unwrap();
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    let path = path.to_str().unwrap().into();
    assert_eq!(world.told.recv_timeout(PATIENCE).unwrap(), Told::Opened(Peer::Unix { path }));
    unix.write_all(b"SAY hello\n").unwrap();
    expect(unix, "hello");
}

#[test]
fn who_is_passed_on_to_a_core_whose_own_door_is_not_open_yet_is_let_in() {
    let world = World::new(1, Features::ALL);
    let (client, socket) = UnixStream::pair().unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    world.balance.arrive(0);
    // A pool without a unix socket, as far as this core knows: its heart has the word.
    let letter = Letter::Client { pool: PoolId(1), socket: socket.into() };
    world.mailboxes[0].send(letter).unwrap();
    expect(client, "REFUSED");
}

#[test]
fn fifty_clients_are_spread_over_two_cores() {
    each_kernel(|features| {
        let world = World::new(2, features);
        for _ in 0..5 {
            let clients: Vec<_> = (0..50).map(|_| world.client()).collect();
            for client in &clients {
                order(client, "SAY hello");
                expect(client, "hello");
            }
            let (first, second) = (world.balance.clients(0), world.balance.clients(1));
            assert_eq!(first + second, 50);
            assert!(first <= 27 && second <= 27, "{first} and {second}");
            drop(clients);
            wait_until("all are counted off", || {
                world.balance.clients(0) + world.balance.clients(1) == 0
            });
        }
    });
}

#[test]
fn a_topology_reaches_a_sleeping_core_at_once() {
    let world = World::new(1, Features::ALL);
    for epoch in 1..=20 {
        let topology = Arc::new(Topology { epoch, config: sample::config(&[]), pools: Vec::new() });
        world.mailboxes[0].send(Letter::Topology(topology)).unwrap();
        let told = world.told.recv_timeout(Duration::from_millis(250)).unwrap();
        assert_eq!(told, Told::Epoch(epoch));
    }
}

#[test]
fn what_is_told_to_one_core_is_heard_there() {
    each_kernel(|features| {
        let world = World::new(3, features);
        let client = world.client();
        for round in 0..10 {
            for core in [2, 0, 1] {
                order(&client, &format!("TELL {core} {round}"));
                let news = News::ScriptFlush(PoolId(round));
                assert_eq!(world.next_told(), Told::News(core, news));
            }
        }
    });
}

#[test]
fn a_draining_core_ends_when_its_last_client_leaves() {
    each_kernel(|features| {
        let mut world = World::new(1, features);
        let client = world.client();
        order(&client, "SAY hello");
        expect(&client, "hello");
        world.mailboxes[0].send(Letter::Drain { grace_ms: 60_000 }).unwrap();
        wait_until("nobody is let in", || TcpStream::connect(world.open).is_err());
        order(&client, "SAY still");
        expect(&client, "still");
        drop(client);
        world.cores.remove(0).join().unwrap().unwrap();
    });
}

#[test]
fn a_draining_core_ends_when_its_grace_is_over() {
    let mut world = World::new(1, Features::ALL);
    let client = world.client();
    order(&client, "SAY hello");
    expect(&client, "hello");
    world.mailboxes[0].send(Letter::Drain { grace_ms: 50 }).unwrap();
    world.cores.remove(0).join().unwrap().unwrap();
    assert!(rest_of(&client).is_empty());
}

#[test]
fn an_idle_core_sleeps() {
    let world = World::new(1, Features::ALL);
    let turns = || world.stats[0].core(CoreMetric::Turns).get();
    let before = turns();
    let (_keep, never) = crossbeam::channel::bounded::<()>(1);
    let _ = never.recv_timeout(Duration::from_secs(2));
    let taken = turns() - before;
    assert!(taken <= 10, "{taken} turns in 2 s");
}

#[test]
fn a_door_is_opened_when_its_pool_is_known_and_closed_when_nobody_wants_it() {
    let world = World::new(1, Features::ALL);
    let mut next =
        Config::clone(&sample::config(&[("open", &[]), ("refusing", &[]), ("more", &[])]));
    let unix = Listen::Unix { path: world.unix.path().join("proxy.sock"), mode: Some(0o600) };
    let listens = [vec![Listen::Tcp(world.open), unix], vec![Listen::Tcp(world.refusing)]];
    let open: Vec<Listen> = listens.iter().flatten().cloned().collect();
    for (pool, listen) in next.pools.iter_mut().zip(listens) {
        Arc::make_mut(pool).listen = listen;
    }
    let mut wanted = next.clone();
    Arc::make_mut(&mut wanted.pools[2]).listen =
        vec![Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))];
    let listeners = listen::bind_more(&open, &wanted, 1).unwrap().remove(0);
    let at = listeners[0].at.clone();
    let Listen::Tcp(address) = at else { panic!("tcp only") };
    Arc::make_mut(&mut wanted.pools[2]).listen = vec![at];
    world.stats[0].grow(&wanted);

    let early = patient(TcpStream::connect(address).unwrap());
    world.mailboxes[0].send(Letter::Listen(listeners)).unwrap();
    assert!(world.told.recv_timeout(Duration::from_millis(50)).is_err(), "nobody knows that pool");
    let tell = |epoch, config: Config| {
        let topology = Arc::new(Topology { epoch, config: Arc::new(config), pools: Vec::new() });
        world.mailboxes[0].send(Letter::Topology(topology)).unwrap();
        assert_eq!(world.next_told(), Told::Epoch(epoch));
    };
    tell(1, wanted);
    let of_old = world.client();
    for client in [&early, &of_old] {
        order(client, "SAY hello");
        expect(client, "hello");
    }
    tell(2, next);
    wait_until("nobody is let in any more", || TcpStream::connect(address).is_err());
    for client in [&early, &of_old, &world.client()] {
        order(client, "SAY again");
        expect(client, "again");
    }
}
