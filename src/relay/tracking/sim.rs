//! Tracking in the simulation: stores tell their trackers what is written, and clients keep what they
//! have read. When all is quiet, nobody may keep what is not so any more.

use std::collections::BTreeMap;

use crate::relay::sim_model::{Expect, Player, version_of, versions_in};
use crate::relay::sim_tests::Simulation;
use crate::resp::{encode, value};

/// What a client keeps: by key the version that it has read, `None` of one that was not there.
#[derive(Debug, Default)]
pub(in crate::relay) struct Cache {
    /// How often it has said anything of tracking.
    said: u64,
    /// It has heard of the last of them that it tracks: values that come now were asked for later.
    tracks: bool,
    kept: BTreeMap<String, Option<u64>>,
}

impl Cache {
    /// Nothing is told of from now on.
    pub(in crate::relay) fn end(&mut self) {
        *self = Cache { said: self.said + 1, ..Cache::default() };
    }

    /// It hears a reply; an error tells nothing.
    pub(in crate::relay) fn hear(&mut self, expect: &Expect, reply: &[u8]) {
        match expect {
            Expect::Tracks(said) => self.tracks = *said == Some(self.said),
            Expect::Values(keys, ..) if self.tracks => self.kept.extend(versions_in(keys, reply)),
            _ => {}
        }
    }

    /// It hears a push. `false`: it is no invalidation.
    pub(in crate::relay) fn forget(&mut self, push: &[u8]) -> bool {
        let mut parts = value::elements(push).expect("a push has elements");
        if parts.next().and_then(value::bulk).flatten() != Some(b"invalidate".as_slice()) {
            return false;
        }
        match parts.next().and_then(value::elements) {
            None => self.kept.clear(),
            Some(keys) => {
                for key in keys.filter_map(value::bulk).flatten() {
                    self.kept.remove(&*String::from_utf8_lossy(key));
                }
            }
        }
        true
    }
}

impl Simulation {
    /// A player switches tracking off, and perhaps on.
    pub(in crate::relay) fn think_of_tracking(&mut self, at: usize) {
        self.end_tracking(at);
        let said = self.players[at].cache.said;
        let mut say = |how: &str, expect| self.say_tracking(at, how, expect);
        match said % 4 {
            0 => say("ON BCAST PREFIX d", Expect::Tracks(Some(said))),
            1 => say("ON OPTOUT", Expect::Tracks(Some(said))),
            2 => say("ON", Expect::Tracks(Some(said))),
            _ => {}
        }
    }

    pub(in crate::relay) fn end_tracking(&mut self, at: usize) {
        self.players[at].cache.end();
        self.say_tracking(at, "OFF", Expect::Tracks(None));
    }

    fn say_tracking(&mut self, at: usize, how: &str, expect: Expect) {
        let words = format!("CLIENT TRACKING {how}");
        let words: Vec<_> = words.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        self.say_words(at, &words, expect);
    }

    /// Keys have been written on a shard: its trackers hear of it. (Of a shard that has got another
    /// address both nodes are one redis-server.)
    pub(in crate::relay) fn tell_trackers(&mut self, at: usize) {
        let told = std::mem::take(&mut self.executed.told);
        let (shard, node, watched) =
            (self.wires[at].shard, self.wires[at].node, self.sentinels.is_some());
        for key in told {
            let mut push = b">2\r\n$10\r\ninvalidate\r\n".to_vec();
            encode::array_header(&mut push, 1);
            encode::bulk(&mut push, key.as_bytes());
            let there = self.wires.iter_mut().filter(|wire| {
                wire.is_tracker && wire.shard == shard && (!watched || wire.node == node)
            });
            there.for_each(|wire| wire.output.extend(&push));
        }
    }

    /// All trackers lose their connections, and what their stores have is deleted before there are
    /// others. `false`: there was none.
    pub(in crate::relay) fn lose_trackers(&mut self) -> bool {
        let before = self.wires.len();
        for at in (0..before).rev() {
            if self.wires[at].is_tracker {
                self.stores[self.wires[at].shard].keys.clear();
                self.lose(at);
            }
        }
        self.wires.len() < before
    }

    /// All is quiet.
    pub(in crate::relay) fn check_caches(&self) {
        for Player { id, cache, .. } in &self.players {
            for (key, kept) in &cache.kept {
                let shard = self.world.relay.pools[0].router.shard_of(key.as_bytes(), 0);
                let database = u32::from(key.as_bytes()[1] - b'0');
                let stored = self.stores[shard.index()].keys.get(&(database, key.clone()));
                let stored = stored.and_then(|stored| version_of(stored));
                assert_eq!(*kept, stored, "{id:?} keeps an old value of {key}");
            }
        }
    }
}
