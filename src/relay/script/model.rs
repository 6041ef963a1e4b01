//! What a script believes: what a client has to hear, and what a connection to a store holds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::base::ids::{ClientId, LaneId};
use crate::relay::world_queue::Session;
use crate::resp::naive;
use crate::resp::reply::{ReplyScanner, Scanned};
use crate::resp::request::{Parsed, RequestLimits, inline_to_multibulk};
use crate::resp::value;

/// Words of requests that have no reply, or change how many others have.
const UNCOUNTED: [&[u8]; 3] = [b"reply", b"monitor", b"subscribe"];

/// One reply that is to come.
#[derive(Debug)]
pub(super) struct Expect {
    pub(super) want: Want,
    /// Whose word it is.
    pub(super) shards: Vec<usize>,
}

/// What a reply has to be, if it is no error.
#[derive(Debug)]
pub(super) enum Want {
    /// This text, from the proxy itself.
    Exactly(String),
    Ok,
    /// For each key nil, or a value that it had.
    Values(Vec<String>),
    Integer,
    Any,
}

/// Shards that have lied, all values of each key, and whether clients need a password.
pub(super) type Truth<'a> = (&'a BTreeSet<usize>, &'a BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>, bool);

/// A client.
#[derive(Debug)]
pub(super) struct Speaker {
    pub(super) id: ClientId,
    /// It says any bytes.
    pub(super) is_strange: bool,
    pub(super) to_say: VecDeque<u8>,
    pub(super) expects: VecDeque<Expect>,
    /// Taken out of the relay and not yet received.
    pub(super) sending: VecDeque<u8>,
    pub(super) paused: bool,
    pub(super) finishing: bool,
    pub(super) leaving: bool,
    /// What it said that is no whole request yet.
    unfinished: Vec<u8>,
    /// It has said what no client may say.
    is_broken: bool,
    /// It may have asked for more replies than requests, or for fewer: they are not counted.
    is_uncounted: bool,
    scanner: ReplyScanner,
    reply: Vec<u8>,
}

impl Speaker {
    pub(super) fn new(id: ClientId) -> Speaker {
        Speaker {
            id,
            is_strange: false,
            to_say: VecDeque::new(),
            expects: VecDeque::new(),
            sending: VecDeque::new(),
            paused: false,
            finishing: false,
            leaving: false,
            unfinished: Vec::new(),
            is_broken: false,
            is_uncounted: false,
            scanner: ReplyScanner::default(),
            reply: Vec::new(),
        }
    }

    /// Counts the requests in what a strange client says, by the slow parser.
    pub(super) fn note(&mut self, bytes: &[u8], limits: &RequestLimits) {
        if !self.is_strange || self.is_broken {
            return;
        }
        self.unfinished.extend_from_slice(bytes);
        loop {
            let (parsed, _) = naive::parse(&self.unfinished, limits);
            let (used, asks) = match parsed {
                Ok(Parsed::More) => return,
                Ok(Parsed::Nothing { bytes }) => (bytes, false),
                Ok(Parsed::Request { bytes }) => (bytes, true),
                Ok(Parsed::Inline { bytes }) => {
                    let mut wire = Vec::new();
                    self.is_broken = match inline_to_multibulk(&self.unfinished[..bytes], &mut wire)
                    {
                        Ok(()) => naive::parse(&wire, limits).0.is_err(),
                        Err(_) => true,
                    };
                    (bytes, self.is_broken || !wire.is_empty())
                }
                Err(_) => {
                    self.is_broken = true;
                    (0, true)
                }
            };
            let request = self.unfinished.drain(..used).collect::<Vec<u8>>().to_ascii_lowercase();
            self.is_uncounted |=
                UNCOUNTED.iter().any(|word| request.windows(word.len()).any(|part| part == *word));
            if asks {
                self.expects.push_back(Expect { want: Want::Any, shards: Vec::new() });
            }
            if self.is_broken {
                return;
            }
        }
    }

    /// Whether more has to come.
    pub(super) fn is_owed(&self) -> bool {
        (!self.expects.is_empty() && !self.is_uncounted) || !self.to_say.is_empty()
    }

    /// All is quiet: nobody who is still there waits for anything.
    pub(super) fn is_content(&self) {
        assert!(!self.is_broken, "its stream is broken, and it is still there: {self:?}");
        assert!(!self.is_owed() && !self.finishing && !self.leaving, "it waits for ever: {self:?}");
        assert!(self.scanner.at_start() && self.sending.is_empty(), "half a reply: {self:?}");
    }

    pub(super) fn hear(&mut self, mut bytes: &[u8], truth: Truth<'_>) {
        while !bytes.is_empty() {
            let scanned = self.scanner.scan(bytes);
            let end = match scanned {
                Ok(Scanned::Reply { bytes, .. }) => bytes,
                Ok(Scanned::More) => bytes.len(),
                Err(_) => 0,
            };
            assert!(end > 0, "{scanned:?}: a client hears {}", bytes.escape_ascii());
            self.reply.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end..];
            if scanned == Ok(Scanned::More) {
                return;
            }
            let reply = std::mem::take(&mut self.reply);
            let expect = self.expects.pop_front();
            let shown = reply[..reply.len().min(200)].escape_ascii();
            assert!(expect.is_some() || self.is_uncounted, "unasked: {shown}");
            let right = expect.as_ref().is_none_or(|expect| expect.is_met(&reply, truth));
            assert!(right, "for {expect:.300?} it hears {shown}");
        }
    }
}

impl Expect {
    fn is_met(&self, reply: &[u8], (liars, history, has_password): Truth<'_>) -> bool {
        if self.shards.iter().any(|shard| liars.contains(shard)) {
            return true;
        }
        if value::is_error(reply) {
            return has_password || !matches!(self.want, Want::Exactly(_));
        }
        let was = |element: &[u8], key: &String| match value::bulk(element) {
            Some(None) => true,
            Some(Some(value)) => {
                history.get(key.as_bytes()).is_some_and(|values| values.contains(value))
            }
            None => false,
        };
        match &self.want {
            Want::Exactly(text) => value::bulk(reply) == Some(Some(text.as_bytes())),
            Want::Ok => reply == b"+OK\r\n",
            Want::Integer => value::integer(reply).is_some(),
            Want::Any => true,
            Want::Values(keys) => match (keys.as_slice(), value::elements(reply)) {
                ([key], None) => was(reply, key),
                (keys, Some(elements)) => {
                    elements.left() == keys.len()
                        && elements.zip(keys).all(|(element, key)| was(element, key))
                }
                _ => false,
            },
        }
    }
}

/// A connection to a store.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) id: LaneId,
    pub(super) shard: usize,
    pub(super) session: Session,
    /// Taken out of the relay and not yet at the store.
    pub(super) sending: VecDeque<u8>,
    /// What the store has and is no whole request yet.
    pub(super) input: Vec<u8>,
    /// The store's replies that are not yet here.
    pub(super) output: VecDeque<u8>,
}

impl Wire {
    pub(super) fn new(id: LaneId, shard: usize) -> Wire {
        let (session, input) = (Session::default(), Vec::new());
        Wire { id, shard, session, sending: VecDeque::new(), input, output: VecDeque::new() }
    }
}
