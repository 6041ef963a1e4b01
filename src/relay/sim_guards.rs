//! WATCH in the simulation: what a store remembers of it, what a client says, and what may come of
//! it.
//!
//! Whoever reads a value behind WATCH and writes behind EXEC has to find that value still there: the
//! store notes what each write took the place of. And EXEC may say nil only for a reason.

use std::collections::{BTreeMap, BTreeSet};

use crate::relay::order::Replies;
use crate::relay::sim_errors::{Faults, is_no_commit};
use crate::relay::sim_model::{
    Executed, Expect, KEYS, Player, Store, Wire, version_of, versions_in,
};
use crate::relay::sim_tests::Simulation;
use crate::resp::args::Request;
use crate::resp::{encode, value};

/// What a client has heard of its watch.
#[derive(Default)]
pub(super) struct Seen {
    keys: BTreeSet<String>,
    /// By key, what it has read behind WATCH: a version, or nil.
    read: BTreeMap<String, Option<u64>>,
}

impl Seen {
    pub(super) fn hear(&mut self, expect: &Expect, reply: &[u8]) {
        let is_error = value::is_error(reply);
        match expect {
            Expect::Watched(keys, first) => {
                if *first {
                    *self = Seen::default();
                }
                self.keys.extend(keys.iter().filter(|_| !is_error).cloned());
            }
            Expect::Values(keys, ..) if !is_error => {
                let keys = keys.iter().filter(|key| self.keys.contains(*key));
                let keys: Vec<String> = keys.cloned().collect();
                if let [_] = keys.as_slice() {
                    self.read.extend(versions_in(&keys, reply));
                }
            }
            _ => {}
        }
    }
}

impl Wire {
    pub(super) fn watch(
        &mut self,
        request: &Request<'_>,
        touched: &BTreeMap<(u32, String), u64>,
        out: &mut Vec<u8>,
    ) {
        if request.name() == b"UNWATCH" && self.queue.is_none() {
            self.watched.clear();
        }
        for key in request.iter().skip(1) {
            let key = (self.database, String::from_utf8_lossy(key).into_owned());
            let count = touched.get(&key).copied().unwrap_or_default();
            self.watched.entry(key).or_insert(count);
        }
        encode::simple(out, "OK");
    }

    pub(super) fn has_changed(&self, touched: &BTreeMap<(u32, String), u64>) -> bool {
        let count = |key| touched.get(key).copied().unwrap_or_default();
        self.watched.iter().any(|(key, seen)| count(key) != *seen)
    }
}

impl Store {
    pub(super) fn set(&mut self, key: (u32, String), value: &[u8], executed: &mut Executed) {
        *self.touched.entry(key.clone()).or_default() += 1;
        executed.touched_at.insert(key.1.clone(), executed.moment);
        let before = self.keys.insert(key, value.to_vec());
        let before = before.as_deref().and_then(version_of);
        executed.before.insert(version_of(value).expect("a value of ours"), before);
    }

    /// Whether it was there.
    pub(super) fn delete(&mut self, key: (u32, String)) -> bool {
        let gone = self.keys.remove(&key).is_some();
        *self.touched.entry(key).or_default() += u64::from(gone);
        gone
    }
}

impl Player {
    /// Whether EXEC behind WATCH can say this.
    pub(super) fn is_guarded(
        &self,
        expect: &Expect,
        reply: &[u8],
        (faults, executed): (Faults, &Executed),
    ) -> bool {
        let Expect::Guarded(commit, since, (key, now)) = expect else { return false };
        let Expect::Committed(_, versions) = &**commit else { return false };
        let truth = (faults, &executed.versions);
        if value::is_error(reply) {
            return is_no_commit(versions, reply, truth);
        }
        let touched = |key: &String| executed.touched_at.get(key).is_some_and(|at| at > since);
        if matches!(reply, b"*-1\r\n" | b"_\r\n") {
            // Without a fault only if a key was written meanwhile.
            return !versions.iter().any(|version| executed.versions.contains(version))
                && !self.seen.keys.is_empty()
                && (faults != Faults::None || self.seen.keys.iter().any(touched));
        }
        let read = self.seen.read.get(key);
        let same = read.is_none_or(|read| executed.before.get(now) == Some(read));
        assert!(same, "{key} was {read:?} for who wrote {now} over {:?}", executed.before.get(now));
        self.is_commit(commit, reply, truth)
    }
}

impl Simulation {
    /// What is read is written anew, if nobody else does: mostly.
    pub(super) fn think_of_guard(&mut self, at: usize) {
        let (resp3, database) = (self.players[at].resp3, self.players[at].database);
        if self.players[at].replies != Replies::On {
            return; // it would not know what it has read
        }
        let ok = || Expect::Exactly(b"+OK\r\n".to_vec());
        let key = format!("d{database}k{}", self.below(KEYS));
        let other = format!("{{{key}}}"); // on the same shard
        let keys = if self.below(2) == 0 { vec![key.clone()] } else { vec![key.clone(), other] };
        let since = self.executed.moment;
        let mut words: Vec<&[u8]> = vec![b"WATCH"];
        words.extend(keys.iter().map(|key| key.as_bytes()));
        self.say(at, &words, Expect::Watched(keys.clone(), true));
        if self.below(4) == 0 {
            self.say(at, &words, Expect::Watched(keys.clone(), false));
        }
        let k = key.as_bytes();
        let newest = self.versions;
        self.say(at, &[b"GET", k], Expect::Values(vec![key.clone()], resp3, newest));
        if self.below(8) == 0 {
            let (version, value) = self.value(&key);
            self.say(at, &[b"SET", k, &value], Expect::Written(vec![version]));
        }
        if self.below(6) == 0 {
            return self.say(at, &[b"UNWATCH"], ok());
        }
        self.say(at, &[b"MULTI"], ok());
        let queued = || Expect::Exactly(b"+QUEUED\r\n".to_vec());
        let (version, value) = self.value(&key);
        self.say(at, &[b"SET", k, &value], queued());
        let mut expects = vec![Expect::Written(vec![version])];
        if self.below(3) == 0 {
            self.say(at, &[b"UNWATCH"], queued());
            expects.push(ok());
        }
        if self.below(6) == 0 {
            return self.say(at, &[b"DISCARD"], ok());
        }
        self.executed.transactions.push(vec![version]);
        let commit = Box::new(Expect::Committed(expects, vec![version]));
        self.say(at, &[b"EXEC"], Expect::Guarded(commit, since, (key, version)));
    }
}
