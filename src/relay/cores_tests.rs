//! Several relays, wired by the test: what each tells another lies in `letters` until it is handed
//! over, or lost.

use std::net::SocketAddr;

use crate::base::ids::{ClientId, PoolId};
use crate::base::limits::CORES_ANSWER_MAX_MS;
use crate::relay::api::{ClientEnd, Peer, Shared};
use crate::relay::world::{World, pool_config, req};
use crate::stats::cells::CoreMetric;

pub(super) struct Cores(pub(super) Vec<World>);

/// A client and the core that it is on.
#[derive(Clone, Copy, Debug)]
pub(super) struct On(pub(super) usize, pub(super) ClientId);

impl Cores {
    pub(super) fn new(cores: u16) -> Cores {
        Cores(World::cores(vec![pool_config(2), pool_config(1)], cores))
    }

    /// Its peer's port is 1000 × core + `port`.
    pub(super) fn client(&mut self, core: usize, port: u16) -> On {
        self.client_of(PoolId(0), core, port)
    }

    pub(super) fn client_of(&mut self, pool: PoolId, core: usize, port: u16) -> On {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1000 * core as u16 + port));
        let local = SocketAddr::from(([127, 0, 0, 1], 6379));
        On(core, self.0[core].client_from(pool, Peer::Tcp { peer, local }))
    }

    /// Says it and hands nothing over.
    pub(super) fn say(&mut self, On(core, id): On, words: &str) {
        self.0[core].say(id, &req(words));
    }

    pub(super) fn heard(&mut self, On(core, id): On) -> String {
        self.0[core].heard(id)
    }

    /// Says it, hands over all letters, and gives all that was heard.
    pub(super) fn ask(&mut self, on: On, words: &str) -> String {
        self.say(on, words);
        self.settle();
        self.heard(on)
    }

    /// The letters under way, with the cores that they are for.
    pub(super) fn letters(&mut self) -> Vec<(u16, Shared)> {
        self.0.iter_mut().flat_map(|world| std::mem::take(&mut world.letters)).collect()
    }

    pub(super) fn hand_over(&mut self, letters: Vec<(u16, Shared)>) {
        for (core, news) in letters {
            let world = &mut self.0[usize::from(core)];
            world.relay.on_shared(news, world.now);
            world.run();
        }
    }

    pub(super) fn settle(&mut self) {
        loop {
            let letters = self.letters();
            if letters.is_empty() {
                return;
            }
            self.hand_over(letters);
        }
    }

    pub(super) fn advance(&mut self, ms: u64) {
        self.0.iter_mut().for_each(|world| world.advance(ms));
    }

    pub(super) fn number(&mut self, on: On) -> u64 {
        self.ask(on, "CLIENT ID").trim_matches([':', '\r', '\n']).parse().unwrap()
    }

    pub(super) fn finished(&self, On(core, id): On) -> bool {
        self.0[core].finished.contains(&id)
    }

    pub(super) fn missed(&self, core: usize) -> u64 {
        self.0[core].stats.core(CoreMetric::AnswersMissed).get()
    }

    /// Nothing waits for an answer.
    pub(super) fn assert_at_rest(&self) {
        for world in &self.0 {
            assert!(world.relay.queries.is_empty());
            assert!(world.relay.gathers.is_empty());
            assert_eq!(world.relay.buffered_bytes, 0);
        }
    }
}

/// The ports of the peers in a CLIENT LIST, which has to be one whole reply.
fn ports(list: &str) -> Vec<u16> {
    let (head, body) = list.split_once("\r\n").unwrap();
    let length: usize = head.strip_prefix('$').unwrap().parse().unwrap();
    assert_eq!(body.len(), length + 2, "one reply: {list}");
    let port = |line: &str| line.split_once(" addr=127.0.0.1:")?.1.split(' ').next()?.parse().ok();
    body.lines().filter_map(port).collect()
}

#[test]
fn a_list_has_the_clients_of_all_cores_of_the_pool() {
    let mut cores = Cores::new(3);
    let clients: Vec<On> =
        [(0, 1), (0, 2), (1, 1), (2, 1)].map(|(core, port)| cores.client(core, port)).into();
    let other = cores.client_of(PoolId(1), 1, 77);
    for asker in &clients {
        assert_eq!(ports(&cores.ask(*asker, "CLIENT LIST")), [1, 2, 1001, 2001]);
    }
    assert_eq!(ports(&cores.ask(other, "CLIENT LIST")), [1077], "no pool sees another's");
    let me = clients[0];
    assert_eq!(ports(&cores.ask(me, "CLIENT LIST TYPE normal")), [1, 2, 1001, 2001]);
    assert_eq!(cores.ask(me, "CLIENT LIST TYPE pubsub"), "$0\r\n\r\n");
    let (a, b) = (cores.number(clients[1]), cores.number(clients[3]));
    let others = cores.number(other);
    let by_id = format!("CLIENT LIST ID {b} {a} 999999 -1 {others}");
    assert_eq!(ports(&cores.ask(me, &by_id)), [2, 2001]);
    for (words, error) in [
        ("CLIENT LIST ID x", "-ERR Invalid client ID\r\n"),
        ("CLIENT LIST TYPE odd", "-ERR Unknown client type 'odd'\r\n"),
        ("CLIENT LIST SKIPME yes", "-ERR syntax error\r\n"),
    ] {
        assert_eq!(cores.ask(me, words), error);
    }
    assert_eq!(cores.ask(me, "HELLO 3").chars().next(), Some('%'));
    let list = cores.ask(me, "CLIENT LIST");
    assert!(list.starts_with('=') && list.contains("txt:id="), "{list}");
    cores.assert_at_rest();
}

#[test]
fn a_kill_closes_and_counts_on_all_cores() {
    let mut cores = Cores::new(2);
    let me = cores.client(0, 1);
    let other_pools = cores.client_of(PoolId(1), 1, 77);
    let (near, far) = (cores.client(0, 2), cores.client(1, 2));
    for (victim, port) in [(near, 2), (far, 1002)] {
        let number = cores.number(victim);
        let wrong = format!("CLIENT KILL ID {number} ADDR 127.0.0.1:9");
        assert_eq!(cores.ask(me, &wrong), ":0\r\n", "all filters have to match");
        let right = format!("CLIENT KILL ID {number} ADDR 127.0.0.1:{port} LADDR 127.0.0.1:6379");
        assert_eq!(cores.ask(me, &right), ":1\r\n");
        assert!(cores.finished(victim));
        assert_eq!(cores.ask(me, &right), ":0\r\n", "it has gone");
    }

    let victim = cores.client(1, 3);
    assert_eq!(cores.ask(me, "CLIENT KILL 127.0.0.1:1003"), "+OK\r\n", "the old form");
    assert!(cores.finished(victim));
    assert_eq!(cores.ask(me, "CLIENT KILL 127.0.0.1:1003"), "-ERR No such client\r\n");

    let victims = [cores.client(0, 4), cores.client(1, 4), cores.client(1, 5)];
    assert_eq!(cores.ask(me, "CLIENT KILL TYPE pubsub"), ":0\r\n");
    let unknown = "-ERR No such user 'nobody'\r\n";
    assert_eq!(cores.ask(me, "CLIENT KILL USER nobody"), unknown);
    assert_eq!(cores.ask(me, "CLIENT KILL MAXAGE 3 USER default"), ":0\r\n", "all are young");
    assert_eq!(cores.ask(me, "CLIENT KILL TYPE normal SKIPME yes"), ":3\r\n");
    assert!(victims.iter().all(|victim| cores.finished(*victim)));
    assert_eq!(ports(&cores.ask(me, "CLIENT LIST")), [1]);
    assert!(!cores.finished(other_pools), "no pool reaches another's");
    let number = cores.number(other_pools);
    assert_eq!(cores.ask(me, &format!("CLIENT KILL ID {number}")), ":0\r\n");
    cores.assert_at_rest();
}

#[test]
fn who_kills_himself_hears_the_count_and_nothing_after_it() {
    let mut cores = Cores::new(2);
    let (me, far) = (cores.client(0, 1), cores.client(1, 1));
    let requests = [req("PING"), req("CLIENT KILL TYPE normal SKIPME no"), req("SET a 1")].concat();
    cores.0[0].say(me.1, &requests);
    assert_eq!(cores.heard(me), "+PONG\r\n");
    assert!(!cores.finished(me), "he waits for his answer");
    cores.settle();
    assert_eq!(cores.heard(me), ":2\r\n");
    assert!(cores.finished(me) && cores.finished(far));
    cores.assert_at_rest();
}

#[test]
fn replies_keep_their_order_around_a_query() {
    let mut cores = Cores::new(2);
    let me = cores.client(0, 1);
    cores.client(1, 1);
    let mut requests = Vec::new();
    // 1 is nobody's number, but it would be one of core 1.
    for n in 0..50 {
        for words in [&format!("SET k{n} {n}"), "CLIENT LIST ID 1", &format!("GET k{n}")] {
            requests.extend(req(words));
        }
        requests.extend(req("CLIENT KILL TYPE normal ADDR 127.0.0.1:9"));
        requests.extend(b"PING\r\n");
    }
    cores.0[0].say(me.1, &requests);
    let mut heard = cores.heard(me);
    assert_eq!(heard, "+OK\r\n");
    assert_eq!(cores.0[0].requests_seen(), 1, "what follows a query is not taken in yet");
    cores.settle();
    heard += &cores.heard(me);
    let mut expected = String::new();
    for n in 0..50 {
        let value = n.to_string();
        let length = value.len();
        expected += &format!("+OK\r\n$0\r\n\r\n${length}\r\n{value}\r\n:0\r\n+PONG\r\n");
    }
    assert_eq!(heard, expected);
    cores.assert_at_rest();
}

#[test]
fn a_list_waits_for_the_replies_before_it() {
    let mut cores = Cores::new(2);
    let me = cores.client_of(PoolId(1), 0, 1);
    assert_eq!(cores.ask(me, "SET a 1"), "+OK\r\n");
    cores.0[0].silence(0);
    cores.0[0].say(me.1, &[req("GET a"), req("CLIENT LIST"), req("PING")].concat());
    cores.settle();
    assert_eq!(cores.heard(me), "", "the cores have answered, the shard has not");
    cores.0[0].unsilence(0);
    let heard = cores.heard(me);
    let list = heard.strip_prefix("$1\r\n1\r\n").unwrap().strip_suffix("+PONG\r\n").unwrap();
    assert_eq!(ports(list), [1]);
    cores.assert_at_rest();
}

#[test]
fn with_one_core_nobody_is_asked() {
    let mut cores = Cores::new(1);
    let (me, other) = (cores.client(0, 1), cores.client(0, 2));
    cores.say(me, "CLIENT LIST");
    assert_eq!(ports(&cores.heard(me)), [1, 2], "at once");
    let number = cores.number(other);
    cores.say(me, &format!("CLIENT KILL ID {number}"));
    assert_eq!(cores.heard(me), ":1\r\n");
    assert!(cores.letters().is_empty());
    assert_eq!(cores.ask(me, "CLIENT KILL TYPE normal SKIPME no"), ":1\r\n");
    assert!(cores.finished(me) && cores.finished(other));
    let gathers = format!("{:?}", cores.0[0].relay.gathers);
    assert!(gathers.contains("entries: []"), "nothing ever had to wait: {gathers}");
}

#[test]
fn only_the_cores_that_are_concerned_are_asked() {
    let mut cores = Cores::new(4);
    let (me, far) = (cores.client(1, 1), cores.client(3, 1));
    let (mine, his) = (cores.number(me), cores.number(far));
    for (words, asked) in [
        (format!("CLIENT LIST ID {mine}"), vec![]),
        (format!("CLIENT KILL ID {mine} ADDR 127.0.0.1:9"), vec![]),
        ("CLIENT LIST TYPE replica".to_owned(), vec![]),
        (format!("CLIENT LIST ID {his} {mine}"), vec![3]),
        (format!("CLIENT KILL ID {his} ADDR 127.0.0.1:9"), vec![3]),
        ("CLIENT LIST".to_owned(), vec![0, 2, 3]),
    ] {
        cores.say(me, &words);
        let letters = cores.letters();
        assert_eq!(letters.iter().map(|(core, _)| *core).collect::<Vec<_>>(), asked, "{words}");
        cores.hand_over(letters);
        cores.settle();
        assert!(!cores.heard(me).is_empty(), "{words}");
    }
    cores.assert_at_rest();
}

#[test]
fn a_core_that_does_not_answer_is_not_waited_for() {
    let mut cores = Cores::new(3);
    let me = cores.client(0, 1);
    for core in [1, 2] {
        cores.client(core, 1);
    }
    cores.0[0].say(me.1, &[req("CLIENT LIST"), req("PING")].concat());
    // Core 1 answers, core 2 does not yet.
    let (to_2, to_1) = cores.letters().into_iter().partition(|(core, _)| *core == 2);
    cores.hand_over(to_1);
    cores.settle();
    let deadline_us = cores.0[0].relay.next_deadline().unwrap();
    assert!(deadline_us <= cores.0[0].now.mono_us + CORES_ANSWER_MAX_MS * 1000, "and it wakes up");
    cores.advance(CORES_ANSWER_MAX_MS - 1);
    assert_eq!(cores.heard(me), "");
    cores.advance(1);
    let heard = cores.heard(me);
    assert_eq!(
        ports(heard.strip_suffix("+PONG\r\n").unwrap()),
        [1, 1001],
        "what came, and in order"
    );
    assert_eq!(cores.missed(0), 1);
    // A later query is under way when the answer to the first one comes after all.
    cores.say(me, "CLIENT KILL TYPE normal");
    cores.hand_over(to_2);
    let late: Vec<_> = cores.letters();
    assert_eq!(late.len(), 3, "two queries and the late answer");
    cores.hand_over(late);
    cores.settle();
    assert_eq!(cores.heard(me), ":2\r\n");
    assert_eq!(cores.missed(0), 1);
    cores.assert_at_rest();
}

#[test]
fn queries_wait_for_each_other_and_not_for_ever() {
    let mut cores = Cores::new(2);
    let clients: Vec<On> = (0..5).map(|port| cores.client(0, port)).collect();
    let far = cores.client(1, 1);
    for client in &clients {
        cores.say(*client, "CLIENT LIST");
    }
    let lost = cores.letters();
    assert_eq!(lost.len(), 1, "one is asked at a time");
    cores.advance(CORES_ANSWER_MAX_MS);
    for client in &clients {
        assert_eq!(ports(&cores.heard(*client)), [0, 1, 2, 3, 4], "from this core at least");
    }
    assert!(cores.letters().is_empty(), "a core that is slow finds no heap of letters");
    assert_eq!(cores.missed(0), 5);
    for client in &clients {
        cores.say(*client, "CLIENT LIST");
    }
    cores.say(far, "CLIENT LIST");
    cores.settle();
    for client in clients.iter().chain([&far]) {
        assert_eq!(ports(&cores.heard(*client)), [0, 1, 2, 3, 4, 1001]);
    }
    cores.hand_over(lost);
    cores.settle();
    assert_eq!(cores.missed(0), 5);
    cores.assert_at_rest();
}

#[test]
fn who_leaves_while_waiting_harms_nobody() {
    let mut cores = Cores::new(2);
    let (me, next, victim) = (cores.client(0, 1), cores.client(0, 2), cores.client(1, 1));
    // One that is asked, and one that waits for its turn, both by clients that leave.
    cores.say(me, "CLIENT LIST");
    cores.say(next, "CLIENT LIST");
    for On(core, id) in [me, next] {
        let world = &mut cores.0[core];
        world.relay.on_client_closed(id, ClientEnd::Eof, world.now);
    }
    let (heir, second) = (cores.client(0, 3), cores.client(0, 4));
    assert_eq!(
        [heir.1.index, second.1.index],
        [next.1.index, me.1.index],
        "the places are used again"
    );
    cores.say(heir, "PING");
    assert_eq!(cores.heard(heir), "+PONG\r\n");
    cores.settle();
    assert_eq!((cores.heard(heir), cores.heard(second)), (String::new(), String::new()));
    assert_eq!(ports(&cores.ask(second, "CLIENT LIST")).len(), 3);
    // What was asked to be done is done.
    cores.say(heir, "CLIENT KILL TYPE normal ADDR 127.0.0.1:1001");
    let world = &mut cores.0[0];
    world.relay.on_client_closed(heir.1, ClientEnd::Error(104), world.now);
    cores.settle();
    assert!(cores.finished(victim));
    // One that has said goodbye properly still hears its answer.
    cores.say(second, "CLIENT LIST");
    assert!(cores.0[0].relay.owes(second.1));
    cores.settle();
    assert_eq!(ports(&cores.heard(second)), [4]);
    assert!(!cores.0[0].relay.owes(second.1));
    cores.assert_at_rest();
}

#[test]
fn info_counts_all_cores_of_the_pool() {
    let mut cores = Cores::new(2);
    let me = cores.client(0, 1);
    let others = [cores.client(1, 1), cores.client(1, 2)];
    cores.client_of(PoolId(1), 1, 77);
    for client in others {
        assert_eq!(cores.ask(client, "SET a 1"), "+OK\r\n");
    }
    let info = cores.ask(me, "INFO");
    for line in
        ["connected_clients:3", "total_connections_received:3", "total_commands_processed:3"]
    {
        assert!(info.contains(&format!("\r\n{line}\r\n")), "{line}: {info}");
    }
    assert!(info.contains(",requests=2,") || info.contains(",requests=3,"), "{info}");
    assert_eq!(cores.ask(me, "CLIENT KILL TYPE normal"), ":2\r\n");
    let info = cores.ask(me, "INFO clients");
    assert!(info.contains("connected_clients:1\r\n"), "{info}");
}
