//! What a checking load has seen: every failure by its kind, and what the stores say at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::{Value, Wire};

/// Part of the error that a write gets which was sent and not answered.
pub const OUTCOME_UNKNOWN: &str = "outcome unknown";
/// Part of the error that a request gets which was kept for longer than the hold allows.
pub const HELD_TOO_LONG: &str = "not executed, try again";

/// What happened to the requests for one shard.
#[derive(Clone, Default)]
pub struct ShardAccount {
    pub requests: u64,
    /// Errors that say that nobody knows whether the write was executed.
    pub unknown: u64,
    /// The most of them that one client in a closed loop got.
    pub unknown_of_one: u64,
    /// The commands that they were told for.
    pub unknown_commands: BTreeMap<&'static str, u64>,
    /// Errors that say that the request was kept too long, and not executed.
    pub held_too_long: u64,
    /// All other errors, by their text.
    pub others: BTreeMap<String, u64>,
    /// Reads that got an error, whichever.
    pub failed_reads: u64,
    /// Executed more often than asked for: INCR by its result, RPUSH by its id.
    pub duplicates: u64,
    /// Writes that were acknowledged and are not in the store, or were missing when it was read.
    pub lost: u64,
    /// Refused as not executed, and executed after all.
    pub after_all: u64,
    /// A client's ids stand in the list in another order than it sent them.
    pub out_of_order: u64,
    /// The longest that a client in a closed loop waited for one reply.
    pub longest: Duration,
    /// When clients in a closed loop got a good reply, since the start, and how long they waited.
    pub(super) successes: Vec<(Duration, Duration)>,
}

/// Everything that a checking load has seen.
#[derive(Clone)]
pub struct Account {
    pub shards: Vec<ShardAccount>,
    /// Reads that are split over all shards.
    pub gathers: ShardAccount,
    /// Connections that ended before they were asked to.
    pub closed: u64,
    /// Attempts to connect that failed.
    pub refused: u64,
    /// Requests without any reply within [`super::PATIENCE`].
    pub silent: u64,
    /// Replies that can only be somebody else's, or nobody's.
    pub foreign: u64,
    /// The longest that the machine kept an idle thread waiting.
    pub paused: Duration,
    pub(super) started: Instant,
    pub(super) ledgers: Vec<Vec<Ledger>>,
}

/// How long the slowest hundredth of a shard's replies took at least: before another shard's outage,
/// and beside it.
#[derive(Clone, Copy, Debug)]
pub struct P99 {
    pub before: Duration,
    pub beside: Duration,
    /// See [`Account::paused`].
    paused: Duration,
}

impl P99 {
    /// The promise is 20 %; the rest is for the machine, on which the sentinels, the new primary and
    /// its replica have more to do than before.
    pub fn expect_kept(self) {
        const NOISE: Duration = Duration::from_millis(5);
        assert!(
            self.beside <= self.before * 6 / 5 + NOISE + self.paused,
            "other shards lost their pace: {self:?}"
        );
    }
}

/// What became of a write, as far as its client was told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    Acknowledged,
    /// No reply, or one that says that nobody knows.
    Maybe,
    /// The error says that it was not executed.
    Refused,
}

/// What one client has written to one shard.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The highest number sent by SET, and the one that must be there at least.
    pub(super) set_sent: u64,
    pub(super) set_floor: u64,
    /// The counter's last known value, and INCRs since then of which nobody knows.
    pub(super) count: i64,
    pub(super) count_maybe: i64,
    /// By the number in the id.
    pub(super) pushed: Vec<Fate>,
    /// RPUSHs whose fate is told.
    pub(super) answered: usize,
}

impl Account {
    pub(super) fn new(shards: usize, started: Instant) -> Account {
        Account {
            shards: vec![ShardAccount::default(); shards],
            gathers: ShardAccount::default(),
            closed: 0,
            refused: 0,
            silent: 0,
            foreign: 0,
            paused: Duration::ZERO,
            started,
            ledgers: Vec::new(),
        }
    }

    /// Takes in what one client has seen.
    pub(super) fn absorb(&mut self, other: Account) {
        for (ours, theirs) in self.shards.iter_mut().zip(other.shards) {
            ours.absorb(theirs);
        }
        self.gathers.absorb(other.gathers);
        self.closed += other.closed;
        self.refused += other.refused;
        self.silent += other.silent;
        self.foreign += other.foreign;
        self.ledgers.extend(other.ledgers);
    }

    /// Reads back from the stores what the clients have written: `tags` as the load had them,
    /// `store` gives a connection to a shard's present primary.
    pub(super) fn settle(&mut self, tags: &[String], mut store: impl FnMut(usize) -> Wire) {
        for (shard, tag) in tags.iter().enumerate() {
            let mut store = store(shard);
            let list = store.exchange(&["LRANGE", &format!("{tag}list"), "0", "-1"]);
            self.settle_list(shard, &list.texts());
            for client in 0..self.ledgers.len() {
                let count = store.exchange(&["GET", &counter(tag, client)]);
                let count =
                    if count.is_null() { 0 } else { count.text().parse().expect("a count") };
                let value = store.exchange(&["GET", &value_key(tag, client)]);
                self.settle_client(shard, client, count, &value);
            }
        }
    }

    fn settle_list(&mut self, shard: usize, ids: &[String]) {
        let mut found: Vec<Vec<u64>> =
            self.ledgers.iter().map(|of| vec![0; of[shard].pushed.len()]).collect();
        let mut last = vec![0; self.ledgers.len()];
        let account = &mut self.shards[shard];
        for id in ids {
            let known = parse_mark(id)
                .filter(|&(of, client, _)| of == shard && client < found.len())
                .filter(|&(_, client, number)| number < found[client].len() as u64);
            let Some((_, client, number)) = known else {
                self.foreign += 1;
                continue;
            };
            found[client][number as usize] += 1;
            account.out_of_order += u64::from(number < last[client]);
            last[client] = number;
        }
        for (ledgers, found) in self.ledgers.iter().zip(&found) {
            for (fate, &times) in ledgers[shard].pushed.iter().zip(found) {
                account.duplicates += times.saturating_sub(1);
                account.lost += u64::from(*fate == Fate::Acknowledged && times == 0);
                account.after_all += u64::from(*fate == Fate::Refused && times > 0);
            }
        }
    }

    fn settle_client(&mut self, shard: usize, client: usize, count: i64, value: &Value) {
        let ledger = &mut self.ledgers[client][shard];
        let account = &mut self.shards[shard];
        account.on_count(ledger, count, 0);
        match (value, parse_mark_value(value)) {
            (Value::Null, _) => account.lost += u64::from(ledger.set_floor > 0),
            (_, Some((of, by, number))) if (of, by) == (shard, client) => {
                account.on_value(ledger, number);
                self.foreign += u64::from(number > ledger.set_sent);
            }
            _ => self.foreign += 1,
        }
    }

    /// Nothing at all happened to this shard, and no client waited longer than `longest` for it, but
    /// for what the machine kept everybody waiting.
    pub fn expect_undisturbed(&self, shard: usize, longest: Duration) {
        let account = &self.shards[shard];
        assert!(account.requests > 0, "shard {shard} was not asked");
        assert!(account.is_clean(), "shard {shard} was disturbed:\n{self}");
        let waited = account.longest;
        let allowed = longest + 2 * self.paused;
        assert!(waited <= allowed, "shard {shard}: a client waited {waited:?}:\n{self}");
    }

    /// Whatever may happen to a shard: no connection ended, no reply went astray or stayed away, no
    /// read failed, nothing was executed twice, or although it was refused, or in another order.
    pub fn expect_integrity(&self) {
        let astray = (self.closed, self.refused, self.silent, self.foreign);
        assert_eq!(astray, (0, 0, 0, 0), "closed, refused, silent, foreign:\n{self}");
        for account in self.shards.iter().chain([&self.gathers]) {
            let broken =
                (account.failed_reads, account.duplicates, account.after_all, account.out_of_order);
            let what = "failed reads, duplicates, executed after all, out of order";
            assert_eq!(broken, (0, 0, 0, 0), "{what}:\n{self}");
            assert!(account.others.is_empty(), "errors of no known kind:\n{self}");
        }
    }

    /// What a failover of this shard may cost: one unknown outcome for each client in a closed
    /// loop, and nothing else that the proxy could help. Sentinel itself loses what the old primary
    /// acknowledged in its last turn, before it had passed it on to its replica: at most one write
    /// of each client that waits for its reply, and what one write of a pipeline carries.
    pub fn expect_one_unknown_outcome_at_most(&self, shard: usize) {
        self.expect_integrity();
        let account = &self.shards[shard];
        assert!(account.unknown_of_one <= 1, "more than one for one client:\n{self}");
        assert_eq!(account.held_too_long + self.gathers.held_too_long, 0, "held too long:\n{self}");
        let in_one_turn = 5 * self.ledgers.len() as u64;
        assert!(account.lost <= in_one_turn, "acknowledged writes are lost:\n{self}");
    }

    /// The longest time without a good reply from a shard: when it began and ended.
    pub fn outage(&self, shard: usize) -> (Instant, Instant) {
        let successes = &self.shards[shard].successes;
        let longest = successes.windows(2).max_by_key(|pair| pair[1].0 - pair[0].0);
        let pair = longest.expect("two good replies at least");
        (self.started + pair[0].0, self.started + pair[1].0)
    }

    /// The p99 of the waits for a shard's replies that came while another shard had its outage, and
    /// of those that came before.
    pub fn p99_beside(&self, outage: (Instant, Instant), shard: usize) -> P99 {
        let (from, to) = (outage.0 - self.started, outage.1 - self.started);
        let of = |within: &dyn Fn(Duration) -> bool| {
            let there = self.shards[shard].successes.iter().filter(|(at, _)| within(*at));
            let mut waits: Vec<Duration> = there.map(|(_, waited)| *waited).collect();
            waits.sort_unstable();
            assert!(waits.len() > 200, "{} replies are too few for a p99:\n{self}", waits.len());
            waits[waits.len() * 99 / 100]
        };
        P99 {
            before: of(&|at| at < from),
            beside: of(&|at| (from..to).contains(&at)),
            paused: self.paused,
        }
    }
}

impl ShardAccount {
    fn absorb(&mut self, other: ShardAccount) {
        self.requests += other.requests;
        self.unknown += other.unknown;
        self.unknown_of_one = self.unknown_of_one.max(other.unknown_of_one);
        self.held_too_long += other.held_too_long;
        for (command, times) in other.unknown_commands {
            *self.unknown_commands.entry(command).or_default() += times;
        }
        for (text, times) in other.others {
            *self.others.entry(text).or_default() += times;
        }
        self.failed_reads += other.failed_reads;
        self.duplicates += other.duplicates;
        self.lost += other.lost;
        self.after_all += other.after_all;
        self.out_of_order += other.out_of_order;
        self.longest = self.longest.max(other.longest);
        self.successes.extend(other.successes);
        self.successes.sort_unstable();
    }

    /// No error, nothing lost, nothing twice.
    pub fn is_clean(&self) -> bool {
        let counts = [
            self.unknown,
            self.held_too_long,
            self.others.values().sum(),
            self.failed_reads,
            self.duplicates,
            self.lost,
            self.after_all,
            self.out_of_order,
        ];
        counts == [0; 8]
    }

    /// The counter stands at `found` after `asked` further INCRs that are certain.
    pub(super) fn on_count(&mut self, ledger: &mut Ledger, found: i64, asked: i64) {
        let least = ledger.count + asked;
        self.lost += (least - found).max(0) as u64;
        self.duplicates += (found - least - ledger.count_maybe).max(0) as u64;
        (ledger.count, ledger.count_maybe) = (found, 0);
    }

    /// The value of SET that was found has this number.
    pub(super) fn on_value(&mut self, ledger: &mut Ledger, number: u64) {
        self.lost += u64::from(number < ledger.set_floor);
        ledger.set_floor = number;
    }

    /// An error; says what it tells of a write's fate.
    pub(super) fn on_error(&mut self, text: &str, command: &'static str) -> Fate {
        self.failed_reads += u64::from(matches!(command, "GET" | "MGET"));
        if text.contains(OUTCOME_UNKNOWN) {
            self.unknown += 1;
            *self.unknown_commands.entry(command).or_default() += 1;
            Fate::Maybe
        } else if text.contains(HELD_TOO_LONG) {
            self.held_too_long += 1;
            Fate::Refused
        } else {
            *self.others.entry(text.to_owned()).or_default() += 1;
            Fate::Maybe
        }
    }
}

/// What a client writes to tell it from all else: its shard, itself, a number that grows.
pub(super) fn mark(shard: usize, client: usize, number: u64) -> String {
    format!("s{shard}c{client}:{number}")
}

pub(super) fn parse_mark(text: &str) -> Option<(usize, usize, u64)> {
    let (shard, rest) = text.strip_prefix('s')?.split_once('c')?;
    let (client, number) = rest.split_once(':')?;
    Some((shard.parse().ok()?, client.parse().ok()?, number.parse().ok()?))
}

pub(super) fn parse_mark_value(value: &Value) -> Option<(usize, usize, u64)> {
    match value {
        Value::Bulk(bytes) => parse_mark(std::str::from_utf8(bytes).ok()?),
        _ => None,
    }
}

pub(super) fn counter(tag: &str, client: usize) -> String {
    format!("{tag}c{client}:count")
}

pub(super) fn value_key(tag: &str, client: usize) -> String {
    format!("{tag}c{client}:value")
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Account { closed, refused, silent, foreign, .. } = self;
        writeln!(f, "closed {closed}, refused {refused}, silent {silent}, foreign {foreign}")?;
        writeln!(f, "the machine kept an idle thread waiting for {:?}", self.paused)?;
        for (shard, account) in self.shards.iter().enumerate() {
            writeln!(f, "shard{}: {account}", shard + 1)?;
        }
        writeln!(f, "gathers: {}", self.gathers)
    }
}

impl fmt::Display for ShardAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "requests {}, longest wait {:?}, outcome unknown {} (at most {} of one client) {:?}, held too \
             long {}, failed reads {}, duplicates {}, acknowledged and lost {}, executed after all {}, \
             out of order {}, other errors {:?}",
            self.requests,
            self.longest,
            self.unknown,
            self.unknown_of_one,
            self.unknown_commands,
            self.held_too_long,
            self.failed_reads,
            self.duplicates,
            self.lost,
            self.after_all,
            self.out_of_order,
            self.others
        )
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
