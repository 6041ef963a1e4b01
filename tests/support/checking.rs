//! A load of many clients that checks every reply, retries nothing, and counts every failure by its
//! kind: what a failover may cost has bounds. (`load` is the other one: it takes errors for granted
//! and stops at the first wrong reply.)
//!
//! Clients in a closed loop (one request, its reply, a short pause) belong to one shard each; they
//! tell what a failover costs one client, and that other shards notice nothing. Others pipeline
//! over all shards, with reads that are split: they tell that order and pairing survive. A client
//! whose connection ends counts that, and connects again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::account::{Account, Fate, Ledger, counter, mark, parse_mark_value, value_key};
use super::{Ended, PATIENCE, Value, Wire, encode};

/// How many clients there are, and how fast they go.
#[derive(Clone, Copy, Debug)]
pub struct Clients {
    /// In a closed loop, for each shard.
    pub closed_loops: usize,
    /// Pipelining over all shards.
    pub pipelines: usize,
    /// Between a reply and the next request.
    pub pause: Duration,
    /// For one reply; then the client gives its connection up.
    pub patience: Duration,
}

impl Default for Clients {
    fn default() -> Clients {
        Clients {
            closed_loops: 12,
            pipelines: 6,
            pause: Duration::from_millis(5),
            patience: PATIENCE,
        }
    }
}

/// A load that is under way.
#[derive(Debug)]
pub struct Checking {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Account>>,
    idler: Option<JoinHandle<Duration>>,
    tags: Vec<String>,
    started: Instant,
}

impl Checking {
    /// `tags` begin the keys of each shard; with a proxy, hash tags that lead there.
    pub fn start(address: SocketAddr, tags: &[String], clients: Clients) -> Checking {
        let (stop, started) = (Arc::new(AtomicBool::new(false)), Instant::now());
        let closed_loops =
            (0..tags.len()).flat_map(|shard| vec![Some(shard); clients.closed_loops]);
        let homes = closed_loops.chain(vec![None; clients.pipelines]);
        let spawn = |(number, home)| {
            let client = Client {
                number,
                home,
                address,
                patience: clients.patience,
                tags: tags.to_vec(),
                wire: None,
                ledgers: vec![Ledger::default(); tags.len()],
                account: Account::new(tags.len(), started),
            };
            let (stop, pause) = (Arc::clone(&stop), clients.pause);
            std::thread::spawn(move || client.run(&stop, pause))
        };
        let clients = homes.enumerate().map(spawn).collect();
        let end = Arc::clone(&stop);
        let idler = std::thread::spawn(move || longest_pause(&end));
        Checking { stop, clients, idler: Some(idler), tags: tags.to_vec(), started }
    }

    pub fn started(&self) -> Instant {
        self.started
    }

    /// Lets every client finish its request, reads back what they have written from `store` (a
    /// connection to a shard's present primary), and gives the account of it all.
    pub fn settle(mut self, store: impl FnMut(usize) -> Wire) -> Account {
        self.stop.store(true, Ordering::SeqCst);
        let mut account = Account::new(self.tags.len(), self.started);
        for client in self.clients.drain(..) {
            match client.join() {
                Ok(seen) => account.absorb(seen),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        account.paused = self.idler.take().and_then(|idler| idler.join().ok()).unwrap_or_default();
        account.settle(&self.tags, store);
        account
    }
}

impl Drop for Checking {
    /// A test that fails leaves no clients behind.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.clients.drain(..).for_each(|client| drop(client.join()));
    }
}

/// The longest that this machine kept a thread waiting which wanted next to nothing of it.
fn longest_pause(stop: &AtomicBool) -> Duration {
    const NAP: Duration = Duration::from_millis(5);
    let mut longest = Duration::ZERO;
    while !stop.load(Ordering::SeqCst) {
        let since = Instant::now();
        std::thread::sleep(NAP);
        longest = longest.max(since.elapsed().saturating_sub(NAP));
    }
    longest
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    Set,
    Get,
    Increment,
    Push,
    /// MGET of the client's own values on all shards.
    Gather,
}

impl Operation {
    fn command(self) -> &'static str {
        match self {
            Operation::Set => "SET",
            Operation::Get => "GET",
            Operation::Increment => "INCR",
            Operation::Push => "RPUSH",
            Operation::Gather => "MGET",
        }
    }
}

const ROUND: [Operation; 4] =
    [Operation::Set, Operation::Get, Operation::Increment, Operation::Push];

struct Client {
    number: usize,
    /// The shard of a client in a closed loop.
    home: Option<usize>,
    address: SocketAddr,
    patience: Duration,
    tags: Vec<String>,
    wire: Option<Wire>,
    /// By shard.
    ledgers: Vec<Ledger>,
    account: Account,
}

impl Client {
    fn run(mut self, stop: &AtomicBool, pause: Duration) -> Account {
        let pipeline: Vec<(Operation, usize)> = (0..self.tags.len())
            .flat_map(|shard| ROUND.map(|operation| (operation, shard)))
            .chain([(Operation::Gather, 0), (Operation::Push, 0)])
            .collect();
        let mut turn = self.number;
        while !stop.load(Ordering::SeqCst) {
            match self.home {
                Some(shard) => self.ask(&[(ROUND[turn % ROUND.len()], shard)]),
                None => self.ask(&pipeline),
            }
            turn += 1;
            std::thread::sleep(pause);
        }
        self.account.ledgers.push(self.ledgers);
        self.account
    }

    /// Sends all in one write and judges every reply.
    fn ask(&mut self, operations: &[(Operation, usize)]) {
        if self.wire.is_none() {
            self.wire = Wire::try_connect(self.address).ok();
        }
        let Some(mut wire) = self.wire.take() else {
            self.account.refused += 1;
            return;
        };
        wire.set_patience(self.patience);
        let mut requests = Vec::new();
        for &(operation, shard) in operations {
            requests.extend(self.request(operation, shard));
        }
        let sent = Instant::now();
        // A write that fails shows in the reads.
        let _ = wire.try_send(&requests);
        for (at, &(operation, shard)) in operations.iter().enumerate() {
            match wire.next() {
                Ok(reply) => self.judge(operation, shard, &reply, sent.elapsed()),
                Err(ended) => {
                    match ended {
                        Ended::Closed | Ended::Torn => self.account.closed += 1,
                        Ended::Silent => self.account.silent += 1,
                        Ended::Garbage(_) => self.account.foreign += 1,
                    }
                    for &(operation, shard) in &operations[at..] {
                        self.note_fate(operation, shard, Fate::Maybe);
                    }
                    return;
                }
            }
        }
        self.wire = Some(wire);
    }

    fn request(&mut self, operation: Operation, shard: usize) -> Vec<u8> {
        let (number, tag, ledger) = (self.number, &self.tags[shard], &mut self.ledgers[shard]);
        match operation {
            Operation::Set => {
                ledger.set_sent += 1;
                let value = mark(shard, number, ledger.set_sent);
                encode(&["SET", &value_key(tag, number), &value])
            }
            Operation::Get => encode(&["GET", &value_key(tag, number)]),
            Operation::Increment => encode(&["INCR", &counter(tag, number)]),
            Operation::Push => {
                // Its fate is told when the reply comes; until then it may be there.
                ledger.pushed.push(Fate::Maybe);
                let id = mark(shard, number, ledger.pushed.len() as u64 - 1);
                encode(&["RPUSH", &format!("{tag}list"), &id])
            }
            Operation::Gather => {
                let keys = self.tags.iter().map(|tag| value_key(tag, number));
                encode(&std::iter::once("MGET".to_owned()).chain(keys).collect::<Vec<_>>())
            }
        }
    }

    fn judge(&mut self, operation: Operation, shard: usize, reply: &Value, waited: Duration) {
        let gather = operation == Operation::Gather;
        let since_start = self.account.started.elapsed();
        let account =
            if gather { &mut self.account.gathers } else { &mut self.account.shards[shard] };
        account.requests += 1;
        if self.home.is_some() {
            account.longest = account.longest.max(waited);
        } else {
            self.account.gathers.longest = self.account.gathers.longest.max(waited);
        }
        if let Value::Error(text) = reply {
            let account =
                if gather { &mut self.account.gathers } else { &mut self.account.shards[shard] };
            let fate = account.on_error(text, operation.command());
            if self.home.is_some() {
                account.unknown_of_one = account.unknown;
            }
            return self.note_fate(operation, shard, fate);
        }
        if self.home.is_some() {
            self.account.shards[shard].successes.push((since_start, waited));
        }
        let ledger = &mut self.ledgers[shard];
        match (operation, reply) {
            (Operation::Set, Value::Simple(ok)) if ok == "OK" => ledger.set_floor = ledger.set_sent,
            (Operation::Get, value) => self.on_value(shard, value),
            (Operation::Increment, Value::Integer(count)) => {
                self.account.shards[shard].on_count(ledger, *count, 1);
            }
            (Operation::Push, Value::Integer(1..)) => self.on_pushed(shard, Fate::Acknowledged),
            (Operation::Gather, Value::Array(values)) if values.len() == self.tags.len() => {
                values.iter().enumerate().for_each(|(shard, value)| self.on_value(shard, value));
            }
            _ => self.account.foreign += 1,
        }
    }

    /// A write without a good reply.
    fn note_fate(&mut self, operation: Operation, shard: usize, fate: Fate) {
        match operation {
            Operation::Increment if fate == Fate::Maybe => self.ledgers[shard].count_maybe += 1,
            Operation::Push => self.on_pushed(shard, fate),
            // A SET that may have been executed is known by the number sent.
            _ => {}
        }
    }

    /// The oldest RPUSH of a pipeline that has no reply yet.
    fn on_pushed(&mut self, shard: usize, fate: Fate) {
        let ledger = &mut self.ledgers[shard];
        ledger.pushed[ledger.answered] = fate;
        ledger.answered += 1;
    }

    /// One of this client's own values was read.
    fn on_value(&mut self, shard: usize, value: &Value) {
        let (ledger, account) = (&mut self.ledgers[shard], &mut self.account.shards[shard]);
        match (value, parse_mark_value(value)) {
            (Value::Null, _) => {
                account.lost += u64::from(ledger.set_floor > 0);
                ledger.set_floor = 0;
            }
            (_, Some((of, client, number)))
                if (of, client) == (shard, self.number) && number <= ledger.set_sent =>
            {
                account.on_value(ledger, number);
            }
            _ => self.account.foreign += 1,
        }
    }
}
