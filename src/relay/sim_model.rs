//! What the simulation believes: what a client has to hear, and a store that keeps what it is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::base::ids::{ClientId, LaneId};
use crate::base::limits;
use crate::relay::order::Replies;
use crate::relay::sim_errors::{Faults, is_fit_error, is_no_commit};
use crate::relay::sim_guards::Seen;
use crate::relay::sim_listeners::{Listening, Publication, is_confirmation};
use crate::relay::sim_tests::SHARDS;
use crate::relay::sim_wild::Wild;
use crate::relay::sim_wires::{Waiter, nil};
use crate::relay::tracking::sim::Cache;
use crate::relay::world_messages::Topics;
use crate::relay::world_queue::Queue;
use crate::resp::args::Request;
use crate::resp::reply::ReplyScanner;
use crate::resp::request::RequestLimits;
use crate::resp::{encode, value};

pub(super) const KEYS: u64 = 12;
pub(super) const SCRIPT: &[u8] = b"return ARGV[1]";
pub(super) const DIGEST: &str = "098e0f0d1448c0a81dafe820f66d460eb09263da";

/// What a client has to hear; errors are allowed where faults are.
#[derive(Debug)]
pub(super) enum Expect {
    Exactly(Vec<u8>),
    /// `+OK`, and these versions have been written.
    Written(Vec<u64>),
    /// This value, once run.
    Ran(u64, Vec<u8>),
    /// A value (or nil, as the protocol spells it) of each key, of the client's own none that is
    /// newer than this version.
    Values(Vec<String>, bool, u64),
    /// A key of this database, or nil.
    KeyOf(u32, bool),
    /// A cursor and keys of this database.
    Scan(u32),
    Integer,
    /// A number, and this version has been pushed.
    Pushed(u64),
    /// Nil, or an element of this queue for the request with this token.
    Popped(String, String, bool),
    /// A number; of DEL, of WAIT.
    Deleted,
    Waited,
    Hello,
    /// CLIENT TRACKING; of ON which one.
    Tracks(Option<u64>),
    /// What EXEC says to these, which have written these versions.
    Committed(Vec<Expect>, Vec<u64>),
    /// That it listens from now on, or no longer (`on`), to a topic of this kind and name; so many
    /// more answers to the same request come behind it.
    Topic {
        on: bool,
        topic: (usize, String),
        more: usize,
    },
    /// `+OK` to WATCH: of these keys, and whether it is the first.
    Watched(Vec<String>, bool),
    /// As `Committed`, or nil if something that is watched has changed since this moment. The last
    /// is the key that was read, and what it is now.
    Guarded(Box<Expect>, u64, (String, u64)),
}

pub(super) struct Player {
    pub(super) id: ClientId,
    pub(super) to_say: Vec<u8>,
    pub(super) expects: VecDeque<Expect>,
    pub(super) scanner: ReplyScanner,
    pub(super) reply: Vec<u8>,
    /// Taken out of the relay and not yet received.
    pub(super) sending: VecDeque<u8>,
    pub(super) resp3: bool,
    pub(super) database: u32,
    pub(super) deaf: bool,
    pub(super) paused: bool,
    pub(super) closing: bool,
    pub(super) finishing: bool,
    /// It was let go, and what it had asked last was not taken in.
    pub(super) cut_off: bool,
    /// What it said last of CLIENT REPLY.
    pub(super) replies: Replies,
    /// By key, what it wrote last and heard to be written.
    pub(super) wrote: BTreeMap<String, u64>,
    pub(super) listening: Listening,
    /// What it watches, as far as it has heard.
    pub(super) seen: Seen,
    pub(super) cache: Cache,
}

/// A shard has two nodes that may be its primary, and one that is a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    First,
    Second,
    Third,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Primary,
    /// It was one, and refuses writes.
    Replaced,
    Replica {
        connected: bool,
    },
}

pub(super) struct Wire {
    pub(super) id: LaneId,
    pub(super) shard: usize,
    pub(super) node: Node,
    pub(super) input: Vec<u8>,
    pub(super) sending: VecDeque<u8>,
    pub(super) output: VecDeque<u8>,
    /// Bytes of `output` up to the end of what proves that the store is out of step.
    pub(super) doomed: Option<usize>,
    pub(super) blocked: Option<Waiter>,
    pub(super) resp3: bool,
    pub(super) database: u32,
    pub(super) queue: Option<Queue>,
    /// What it is subscribed to.
    pub(super) topics: Topics,
    /// Keys that are watched here, and how often each had been written.
    pub(super) watched: BTreeMap<(u32, String), u64>,
    pub(super) private: bool,
    pub(super) is_tracker: bool,
}

/// What was executed, by whom, and in which order.
#[derive(Default)]
pub(super) struct Executed {
    pub(super) versions: BTreeSet<u64>,
    /// Those that a client has heard as popped.
    pub(super) popped: BTreeSet<u64>,
    /// SET and MSET may be sent twice: `replay = "idempotent"`.
    pub(super) repeats: bool,
    /// Who wrote a version, and of which key it is.
    pub(super) authors: BTreeMap<u64, ClientId>,
    pub(super) keys: BTreeMap<u64, String>,
    /// The last version of a client on one of its lanes: shard, protocol, database.
    pub(super) last: BTreeMap<(u32, u32, usize, bool, u32), u64>,
    /// What is past its deadline may come behind what goes down a private connection then.
    pub(super) is_late: bool,
    /// The moments at which versions were written last, and keys deleted.
    pub(super) moment: u64,
    pub(super) written_at: BTreeMap<u64, u64>,
    pub(super) deleted_at: BTreeMap<String, u64>,
    /// Versions that are written together, or not at all.
    pub(super) transactions: Vec<Vec<u64>>,
    /// The moments at which versions were published.
    pub(super) published_at: BTreeMap<u64, u64>,
    /// Which version this one took the place of, and when each key was written last.
    pub(super) before: BTreeMap<u64, Option<u64>>,
    pub(super) touched_at: BTreeMap<String, u64>,
    /// Keys that have been written, and of which trackers have not been told.
    pub(super) told: Vec<String>,
}

impl Executed {
    /// Whether this can be read, as the value of `key`, by a client that knows that it wrote `own`.
    pub(super) fn is_as_new_as(&self, key: &str, read: Option<u64>, own: u64) -> bool {
        let own_at = self.written_at.get(&own);
        match read {
            Some(version) => self.written_at.get(&version) >= own_at,
            None => self.deleted_at.get(key) > own_at,
        }
    }

    fn delete(&mut self, key: String) {
        self.moment += 1;
        self.touched_at.insert(key.clone(), self.moment);
        self.told.push(key.clone());
        self.deleted_at.insert(key, self.moment);
    }

    pub(super) fn write(&mut self, version: u64, wire: &Wire, scripted: bool) {
        self.moment += 1;
        self.written_at.insert(version, self.moment);
        self.told.push(self.keys[&version].clone());
        let fresh = self.versions.insert(version);
        assert!(fresh || (self.repeats && !scripted), "version {version} was written twice");
        // A script that a shard did not know is repeated, later than in its order.
        if scripted || self.repeats {
            return;
        }
        let author = self.authors[&version];
        let apart = usize::from(self.is_late && wire.private);
        let shard = wire.shard + SHARDS * apart;
        let place = (author.index, author.generation, shard, wire.resp3, wire.database);
        let last = self.last.entry(place).or_default();
        assert!(*last < version, "version {version} was written after {last}");
        *last = version;
    }
}

/// What a replica may be sent.
const READS: [&str; 6] = ["GET", "MGET", "PING", "CLIENT", "SELECT", "HELLO"];

#[derive(Default)]
pub(super) struct Store {
    pub(super) wild: Option<Wild>,
    pub(super) keys: BTreeMap<(u32, String), Vec<u8>>,
    /// How often each key was written.
    pub(super) touched: BTreeMap<(u32, String), u64>,
    pub(super) queues: BTreeMap<(u32, String), VecDeque<Vec<u8>>>,
    pub(super) script: bool,
    pub(super) down: bool,
    pub(super) silent: bool,
    pub(super) loading: bool,
    /// What those who listen are still to be told.
    pub(super) published: Vec<Publication>,
}

pub(super) const LIMITS: RequestLimits = RequestLimits {
    args_max: limits::REQUEST_ARGS_MAX,
    bulk_bytes_max: limits::BULK_BYTES_MAX,
    request_bytes_max: limits::REQUEST_BYTES_MAX,
};

pub(super) fn version_of(value: &[u8]) -> Option<u64> {
    let text = value.split(|byte| *byte == b'|').nth(1)?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

impl Store {
    /// What a node says of itself, or instead of doing what it is asked.
    pub(super) fn answer_as_node(&self, name: &str, part: Part, out: &mut Vec<u8>) -> bool {
        let writes =
            matches!(name, "SET" | "MSET" | "DEL" | "EVAL" | "EVALSHA" | "RPUSH" | "BLPOP");
        let primary = part == Part::Primary;
        match (name, part) {
            ("ROLE", Part::Replica { connected }) => {
                let link = if connected { b"connected".as_slice() } else { b"connect" };
                encode::request(out, &[b"slave", b"h", b"1", link, b"0"]);
            }
            (_, Part::Replica { .. }) if !READS.contains(&name) => {
                panic!("a replica was sent {name}");
            }
            ("ROLE", _) => {
                encode::array_header(out, 1);
                encode::bulk(out, if primary { b"master" } else { b"slave" });
            }
            ("SELECT" | "HELLO", _) => return false,
            _ if self.loading => {
                encode::error(out, "LOADING Redis is loading the dataset in memory");
            }
            _ if writes && !primary => {
                encode::error(out, "READONLY You can't write against a read only replica.");
            }
            _ => return false,
        }
        true
    }

    /// All keys, and a cursor that ends after the second time.
    fn scan(&self, database: u32, first: bool, out: &mut Vec<u8>) {
        encode::array_header(out, 2);
        encode::bulk(out, if first { b"17" } else { b"0" });
        let keys: Vec<_> = self.keys.keys().filter(|(of, _)| *of == database).collect();
        encode::array_header(out, keys.len());
        for (_, key) in keys {
            encode::bulk(out, key.as_bytes());
        }
    }

    pub(super) fn answer(
        &mut self,
        request: &Request<'_>,
        wire: &mut Wire,
        (executed, part): (&mut Executed, Part),
    ) {
        let mut out = Vec::new();
        let text = |at: usize| String::from_utf8_lossy(request.arg(at)).into_owned();
        let scripted = request.name().starts_with(b"EVAL");
        let execute = |executed: &mut Executed, wire: &Wire, value: &[u8]| {
            let version = version_of(value).expect("a value of ours");
            executed.write(version, wire, scripted);
        };
        let database = wire.database;
        if self.answer_as_node(&text(0), part, &mut out) {
            return wire.output.extend(out);
        }
        match text(0).as_str() {
            "PING" if request.len() > 1 => encode::bulk(&mut out, request.arg(1)),
            "PING" => encode::simple(&mut out, "PONG"),
            "CLIENT" if text(1) == "ID" => out = format!(":{}\r\n", wire.number()).into_bytes(),
            "CLIENT" if text(1) == "UNBLOCK" => encode::integer(&mut out, 1),
            "CLIENT" => encode::simple(&mut out, "OK"),
            "SELECT" => {
                wire.database = text(1).parse().unwrap();
                encode::simple(&mut out, "OK");
            }
            "HELLO" => {
                wire.resp3 = text(1) == "3";
                out.extend_from_slice(b"%1\r\n+proto\r\n:3\r\n");
            }
            "SET" | "MSET" => {
                for at in (1..request.len()).step_by(2) {
                    execute(executed, wire, request.arg(at + 1));
                    self.set((database, text(at)), request.arg(at + 1), executed);
                }
                encode::simple(&mut out, "OK");
            }
            "GET" | "MGET" => {
                if request.name() == b"MGET" {
                    encode::array_header(&mut out, request.len() - 1);
                }
                for at in 1..request.len() {
                    let value = self.keys.get(&(database, text(at)));
                    bulk_or_nil(value.map(Vec::as_slice), wire.resp3, &mut out);
                }
            }
            "DEL" => {
                let gone = (1..request.len()).filter(|at| self.delete((database, text(*at))));
                encode::integer(&mut out, gone.count() as i64);
                (1..request.len()).for_each(|at| executed.delete(text(at)));
            }
            "PUBLISH" | "SPUBLISH" => self.publish(request, executed, &mut out),
            "RPUSH" | "BLPOP" => self.answer_queue(request, wire, executed, &mut out),
            "WATCH" | "UNWATCH" => wire.watch(request, &self.touched, &mut out),
            "DBSIZE" | "WAIT" => encode::integer(&mut out, 1),
            "WAITAOF" => out.extend_from_slice(b"*2\r\n:1\r\n:1\r\n"),
            "RANDOMKEY" => {
                let key = self.keys.keys().find(|(of, _)| *of == database);
                bulk_or_nil(key.map(|(_, key)| key.as_bytes()), wire.resp3, &mut out);
            }
            "SCAN" => self.scan(database, text(1) == "0", &mut out),
            "SCRIPT" => {
                self.script = true;
                encode::bulk(&mut out, DIGEST.as_bytes());
            }
            "EVALSHA" if !self.script => out.extend_from_slice(b"-NOSCRIPT No script.\r\n"),
            "EVALSHA" | "EVAL" => {
                self.script = true;
                execute(executed, wire, request.arg(4));
                encode::bulk(&mut out, request.arg(4));
            }
            other => panic!("a store was sent {other}"),
        }
        wire.output.extend(out);
    }
}

fn bulk_or_nil(value: Option<&[u8]>, resp3: bool, out: &mut Vec<u8>) {
    match value {
        Some(value) => encode::bulk(out, value),
        None => out.extend_from_slice(nil(resp3)),
    }
}

impl Player {
    pub(super) fn check(
        &self,
        expect: &Expect,
        reply: &[u8],
        truth: (Faults, &BTreeSet<u64>),
    ) -> bool {
        let (_, executed) = truth;
        let of_key = |value: &[u8], key: &str| value.starts_with(format!("{key}|").as_bytes());
        let is_nil = |reply: &[u8], resp3| reply == nil(resp3);
        let key_of = |reply: &[u8], database: u32| {
            let key = value::bulk(reply).flatten();
            key.is_some_and(|key| key.starts_with(format!("d{database}k").as_bytes()))
        };
        if let Expect::Exactly(bytes) = expect {
            return bytes == reply;
        }
        if let (Expect::Committed(_, versions), true) = (expect, value::is_error(reply)) {
            return is_no_commit(versions, reply, truth);
        }
        if value::is_error(reply) {
            return is_fit_error(expect, reply, truth);
        }
        match expect {
            Expect::Exactly(_) | Expect::Popped(..) | Expect::Guarded(..) => false,
            Expect::Watched(..) => reply == b"+OK\r\n",
            Expect::Written(versions) => {
                reply == b"+OK\r\n" && versions.iter().all(|version| executed.contains(version))
            }
            Expect::Ran(version, value) => {
                executed.contains(version) && value::bulk(reply).flatten() == Some(value)
            }
            Expect::Values(keys, resp3, _) => {
                let one = |reply: &[u8], key: &String| {
                    is_nil(reply, *resp3)
                        || value::bulk(reply).flatten().is_some_and(|value| of_key(value, key))
                };
                if let [key] = keys.as_slice() {
                    return one(reply, key);
                }
                value::elements(reply).is_some_and(|elements| {
                    elements.left() == keys.len() && elements.zip(keys).all(|(e, k)| one(e, k))
                })
            }
            Expect::KeyOf(database, resp3) => is_nil(reply, *resp3) || key_of(reply, *database),
            Expect::Scan(database) => value::elements(reply).is_some_and(|mut elements| {
                let cursor = elements.next().and_then(value::bulk).flatten();
                let mut keys = elements.next().and_then(value::elements).into_iter().flatten();
                cursor.is_some() && keys.all(|key| key_of(key, *database))
            }),
            Expect::Pushed(version) => reply == b":1\r\n" && executed.contains(version),
            Expect::Waited if reply == b"*2\r\n:1\r\n:1\r\n" => true,
            Expect::Integer | Expect::Deleted | Expect::Waited => value::integer(reply).is_some(),
            Expect::Committed(..) => self.is_commit(expect, reply, truth),
            Expect::Topic { on, topic, .. } => is_confirmation(reply, *on, topic),
            Expect::Hello => reply.starts_with(b"%7\r\n") || reply.starts_with(b"*14\r\n"),
            Expect::Tracks(_) => reply == b"+OK\r\n",
        }
    }
}

/// The versions of the values in a reply to GET or MGET, by key; `None`: nil.
pub(super) fn versions_in(keys: &[String], reply: &[u8]) -> Vec<(String, Option<u64>)> {
    let version = |reply: &[u8]| value::bulk(reply).flatten().and_then(version_of);
    match keys {
        [key] => vec![(key.clone(), version(reply))],
        keys => {
            let elements = value::elements(reply).into_iter().flatten();
            keys.iter().cloned().zip(elements.map(version)).collect()
        }
    }
}
