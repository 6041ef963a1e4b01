//! Who has read what, and who is told.
//!
//! Keys stand in the table by their hash: two of one hash cost an invalidation that was not needed,
//! and nothing else. As in redis an entry goes with the invalidation: who reads the key again is
//! remembered again. A read that is under way needs no entry of its own after that: its value comes
//! before the invalidation.

use std::collections::BTreeMap;

use ahash::{AHashMap, AHashSet};

use super::{Mode, Tracked};
use crate::base::ids::{ClientId, PoolId};
use crate::base::limits::TRACKED_KEYS_MAX;
use crate::base::time::Now;
use crate::relay::Relay;
use crate::relay::client::Phase;
use crate::relay::lane::Flow;
use crate::relay::pair::Reply;
use crate::relay::plants::{Plant, planted};
use crate::resp::{encode, value};
use crate::stats::cells::{PoolMetric, ShardMetric};

const HEAD: &[u8] = b">2\r\n$10\r\ninvalidate\r\n";
/// As redis says it after FLUSHALL: forget everything.
const EVERYTHING: &[u8] = b">2\r\n$10\r\ninvalidate\r\n_\r\n";
const NAMELESS: &str = "an invalidation that names no keys";

/// What one core knows of the clients of one pool that track.
#[derive(Debug, Default)]
pub(in crate::relay) struct Table {
    /// How many there are.
    pub(super) clients: usize,
    /// By the hash of a key.
    readers: AHashMap<u64, Readers>,
    /// Readers of all keys together.
    count: usize,
    /// Who hears of all keys that begin so; and how many prefixes there are of each length, so that
    /// a key costs a look for each length.
    listeners: AHashMap<Box<[u8]>, Vec<ClientId>>,
    lengths: BTreeMap<usize, usize>,
    hasher: ahash::RandomState,
    /// The tracker of the first shard; those of the others follow.
    pub(super) trackers: Option<u32>,
    /// Since when nobody tracks any more.
    pub(super) unused_since_us: u64,
}

/// Mostly one client has read a key.
#[derive(Debug)]
enum Readers {
    One(ClientId),
    /// Boxed, for it is rare and keys are many.
    Several(Box<AHashSet<ClientId>>),
}

/// What a push of a tracker says.
enum Invalid<'a> {
    Everything,
    Keys(value::Elements<'a>),
}

impl Table {
    pub(super) fn join(&mut self, id: ClientId, fresh: bool, prefixes: Vec<Box<[u8]>>) {
        self.clients += usize::from(fresh);
        for prefix in prefixes {
            let length = prefix.len();
            let listeners = self.listeners.entry(prefix).or_default();
            if listeners.is_empty() {
                *self.lengths.entry(length).or_default() += 1;
            }
            listeners.push(id);
        }
    }

    fn leave(&mut self, id: ClientId, tracked: &Tracked) {
        self.clients = self.clients.saturating_sub(1);
        for prefix in &tracked.prefixes {
            let Some(listeners) = self.listeners.get_mut(prefix) else { continue };
            listeners.retain(|listener| *listener != id);
            if !listeners.is_empty() {
                continue;
            }
            self.listeners.remove(prefix);
            if let Some(count) = self.lengths.get_mut(&prefix.len()) {
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(&prefix.len());
                }
            }
        }
        if self.clients == 0 {
            self.forget();
        }
    }

    /// `false`: there is no room.
    pub(super) fn remember(&mut self, key: &[u8], id: ClientId) -> bool {
        if self.count >= TRACKED_KEYS_MAX {
            return false;
        }
        let hash = self.hasher.hash_one(key);
        let fresh = match self.readers.get_mut(&hash) {
            None => {
                self.readers.insert(hash, Readers::One(id));
                true
            }
            Some(Readers::One(known)) if *known == id => false,
            Some(readers @ Readers::One(_)) => {
                let Readers::One(known) = *readers else { return true };
                *readers = Readers::Several(Box::new([known, id].into_iter().collect()));
                true
            }
            Some(Readers::Several(known)) => known.insert(id),
        };
        self.count += usize::from(fresh);
        true
    }

    /// Who has read this key; nobody has any more.
    fn take(&mut self, key: &[u8]) -> Option<Readers> {
        let readers = self.readers.remove(&self.hasher.hash_one(key))?;
        self.count -= readers.len();
        Some(readers)
    }

    /// This client has not read this key any more. `false`: it had not.
    fn take_one(&mut self, key: &[u8], id: ClientId) -> bool {
        let hash = self.hasher.hash_one(key);
        let (taken, empty) = match self.readers.get_mut(&hash) {
            None => (false, false),
            Some(Readers::One(known)) => (*known == id, *known == id),
            Some(Readers::Several(known)) => (known.remove(&id), known.is_empty()),
        };
        if empty {
            self.readers.remove(&hash);
        }
        self.count -= usize::from(taken);
        taken
    }

    /// Nobody has read anything.
    fn forget(&mut self) {
        self.readers = AHashMap::default();
        self.count = 0;
    }
}

impl Readers {
    fn len(&self) -> usize {
        match self {
            Readers::One(_) => 1,
            Readers::Several(all) => all.len(),
        }
    }
}

impl Relay {
    /// A client that tracks has asked for a key: to read it, or to write.
    pub(in crate::relay) fn note_key(&mut self, id: ClientId, key: &[u8], writes: bool) {
        let Some(client) = self.clients.get(id.index, id.generation) else { return };
        let (pool, Some(tracked)) = (client.pool, &client.tracking) else { return };
        let broadcast = tracked.mode == Mode::Broadcast;
        let keeps = tracked.keeps(key);
        if writes {
            // What it writes it must not find as it was: the tracker may be later than the answer.
            let kept =
                if broadcast { keeps } else { self.pools[pool.index()].tracking.take_one(key, id) };
            if kept {
                self.tell(id, &invalidation(key));
            }
            return;
        }
        if !keeps {
            return;
        }
        if !self.is_heard(pool, key) {
            return self.tell(id, &invalidation(key));
        }
        if !broadcast
            && !planted(Plant::ForgetReaders)
            && !self.pools[pool.index()].tracking.remember(key, id)
        {
            self.stats.pool(pool, PoolMetric::TrackingOverflows).add(1);
            self.forget_all(pool);
        }
    }

    /// A push has come on a tracker.
    pub(in crate::relay) fn on_invalidation(
        &mut self,
        index: u32,
        flow: Flow,
        frame: &[u8],
        now: Now,
    ) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        lane.failures = 0;
        let (pool, shard) = (lane.pool, lane.shard);
        if flow == Flow::Drop {
            return self.forget_all(pool); // it named more keys than can be kept
        }
        match invalid(frame) {
            Ok(None) => {}
            Ok(Some(Invalid::Everything)) => self.forget_all(pool),
            Ok(Some(Invalid::Keys(keys))) => {
                let mut count = 0;
                for key in keys {
                    let Some(Some(key)) = value::bulk(key) else {
                        return self.desynchronised(index, NAMELESS, now);
                    };
                    self.invalidate(pool, key);
                    count += 1;
                }
                self.stats.shard(pool, shard, ShardMetric::Invalidations).add(count);
            }
            Err(()) => self.desynchronised(index, NAMELESS, now),
        }
    }

    /// A key has changed: those hear of it who have read it, or want to hear of all.
    fn invalidate(&mut self, pool: PoolId, key: &[u8]) {
        let message = invalidation(key);
        match self.pools[pool.index()].tracking.take(key) {
            None => {}
            Some(Readers::One(id)) => self.tell(id, &message),
            Some(Readers::Several(all)) => all.iter().for_each(|id| self.tell(*id, &message)),
        }
        if self.pools[pool.index()].tracking.listeners.is_empty() {
            return;
        }
        let lengths: Vec<usize> = {
            let known = self.pools[pool.index()].tracking.lengths.keys();
            known.copied().take_while(|length| *length <= key.len()).collect()
        };
        for length in lengths {
            let prefix = key.get(..length).unwrap_or_default();
            let listeners = self.pools[pool.index()].tracking.listeners.get_mut(prefix);
            let Some(listeners) = listeners.map(std::mem::take) else { continue };
            listeners.iter().for_each(|id| self.tell(*id, &message));
            if let Some(place) = self.pools[pool.index()].tracking.listeners.get_mut(prefix) {
                *place = listeners;
            }
        }
    }

    /// All clients of the pool that track must forget everything.
    pub(in crate::relay) fn forget_all(&mut self, pool: PoolId) {
        let table = &mut self.pools[pool.index()].tracking;
        table.forget();
        if table.clients == 0 {
            return;
        }
        self.stats.pool(pool, PoolMetric::InvalidationsOfAll).add(1);
        let tracks = self.clients.iter().filter(|(_, _, it)| it.pool == pool && it.tracks());
        let ids = tracks.map(|(index, generation, _)| ClientId { index, generation });
        for id in ids.collect::<Vec<_>>() {
            self.tell(id, EVERYTHING);
        }
    }

    /// This client must forget everything.
    pub(super) fn tell_all(&mut self, id: ClientId) {
        self.tell(id, EVERYTHING);
    }

    /// An invalidation, behind all that the client has asked for. Who blocks has asked for nothing
    /// else, and hears it at once, unless it is just being answered.
    fn tell(&mut self, id: ClientId, message: &[u8]) {
        let over_budget = self.is_over_budget();
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        if client.phase == Phase::Closed || !client.tracks() {
            return;
        }
        // One may be for thousands, of whom nobody reads before this turn ends.
        if over_budget && client.output_bytes() > 0 {
            return self.close_for_output(id);
        }
        self.stats.pool(client.pool, PoolMetric::InvalidationsDelivered).add(1);
        // In the middle of a value nothing may stand.
        let alone = client.blocks() || planted(Plant::OvertakeReplies);
        if client.order.is_empty() || (alone && !client.streaming) {
            return self.put_client(id, Reply::Lent(message));
        }
        let seq = client.order.push_unasked(&mut self.rings);
        self.keep(id, seq, Reply::Lent(message));
    }

    /// A client tracks no more.
    pub(in crate::relay) fn leave_tracking(
        &mut self,
        id: ClientId,
        pool: PoolId,
        tracked: &Tracked,
    ) {
        let turn_us = self.turn_us;
        let table = &mut self.pools[pool.index()].tracking;
        table.leave(id, tracked);
        if table.clients == 0 {
            table.unused_since_us = turn_us;
        }
        self.count_tracking(pool);
    }

    pub(super) fn count_tracking(&mut self, pool: PoolId) {
        self.tracks = self.pools.iter().any(|pool| pool.tracking.clients > 0);
        let table = &self.pools[pool.index()].tracking;
        self.stats.pool(pool, PoolMetric::TrackingClients).set(table.clients as u64);
        self.stats.pool(pool, PoolMetric::TrackedKeys).set(table.count as u64);
    }
}

fn invalidation(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD.len() + 24 + key.len());
    out.extend_from_slice(HEAD);
    encode::array_header(&mut out, 1);
    encode::bulk(&mut out, key);
    out
}

/// `Ok(None)`: it is another push. `Err`: nobody can say what it names.
fn invalid(frame: &[u8]) -> Result<Option<Invalid<'_>>, ()> {
    let mut parts = value::elements(frame).ok_or(())?;
    if parts.next().and_then(value::bulk).flatten() != Some(b"invalidate") {
        return Ok(None);
    }
    let names = parts.next().ok_or(())?;
    match value::elements(names) {
        Some(keys) => Ok(Some(Invalid::Keys(keys))),
        None if value::bulk(names) == Some(None) => Ok(Some(Invalid::Everything)),
        None => Err(()),
    }
}
