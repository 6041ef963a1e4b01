//! A heart whose clients pull the strings: each line that one sends is an order to this heart, so
//! that a test says what it wants over the same socket on which it looks.
//!
//! | line | what happens |
//! |---|---|
//! | `SAY word` | `word` comes back |
//! | `BIG bytes` | so many bytes come back |
//! | `LATE ms word` | `word` comes back later; until then the client is owed something |
//! | `PAUSE ms` | `PAUSED` comes back, the client is not read for so long, then comes `RESUMED` |
//! | `FINISH word` | `word` comes back, and `FinishClient` is asked for |
//! | `DROP` | `DropClient` is asked for |
//! | `LANE address` | connects a lane; `OPEN`, or `CLOSED why`, comes back |
//! | `FORWARD word` | goes down the lane; what it answers comes back |
//! | `CUT` | `CloseLane` |
//! | `TELL core number` | that core's heart hears it |
//!
//! Whatever ends is told on a channel.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam::channel::Sender;

use crate::base::buffer::{ChunkPool, Outbox};
use crate::base::ids::{ClientId, LaneId, PoolId};
use crate::base::slab::Slab;
use crate::base::time::{Now, US_PER_MS};
use crate::reactor::heart::Heart;
use crate::relay::api::{Ask, ClientEnd, Dirty, LaneEnd, Peer, Report, Shared as News};
use crate::topology::{NodeEndpoint, Topology};

/// What the test hears from the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Opened(Peer),
    Ended(ClientEnd),
    Epoch(u64),
    /// This core's heart has heard this of another.
    News(usize, News),
}

#[derive(Default)]
struct Child {
    outbox: Outbox,
    unfinished_line: Vec<u8>,
    /// Bytes taken but not said to be sent.
    unsent: usize,
    /// When what is to come back, and whether the client was paused for it.
    late: Option<(u64, Vec<u8>, bool)>,
}

pub(super) struct Puppet {
    children: Slab<Child>,
    pool: ChunkPool,
    asks: VecDeque<Ask>,
    dirty: VecDeque<Dirty>,
    lane: Option<(LaneId, ClientId)>,
    lane_generation: u32,
    lane_outbox: Outbox,
    told: Sender<Told>,
    core: usize,
    now: Now,
}

impl Puppet {
    pub(super) fn new(told: Sender<Told>, core: usize, now: Now) -> Puppet {
        Puppet {
            children: Slab::default(),
            pool: ChunkPool::default(),
            asks: VecDeque::new(),
            dirty: VecDeque::new(),
            lane: None,
            lane_generation: 0,
            lane_outbox: Outbox::default(),
            told,
            core,
            now,
        }
    }

    fn say(&mut self, client: ClientId, bytes: &[u8]) {
        if let Some(child) = self.children.get_mut(client.index, client.generation) {
            child.outbox.put(bytes, &mut self.pool);
            self.dirty.push_back(Dirty::Client(client));
        }
    }

    fn later(&mut self, client: ClientId, ms: &str, word: &str, paused: bool) {
        let at = self.now.mono_us + ms.parse::<u64>().unwrap() * US_PER_MS;
        if let Some(child) = self.children.get_mut(client.index, client.generation) {
            child.late = Some((at, word.as_bytes().to_vec(), paused));
        }
    }

    fn obey(&mut self, client: ClientId, line: &str) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words[..] {
            ["SAY", word] => self.say(client, word.as_bytes()),
            ["BIG", bytes] => {
                let big = vec![b'x'; bytes.parse().unwrap()];
                if let Some(child) = self.children.get_mut(client.index, client.generation) {
                    child.outbox.put_owned(big, &mut self.pool);
                    self.dirty.push_back(Dirty::Client(client));
                }
            }
            ["LATE", ms, word] => self.later(client, ms, word, false),
            ["PAUSE", ms] => {
                self.say(client, b"PAUSED");
                self.later(client, ms, "RESUMED", true);
                self.asks.push_back(Ask::PauseClient(client));
            }
            ["FINISH", word] => {
                self.say(client, word.as_bytes());
                self.asks.push_back(Ask::FinishClient(client));
            }
            ["DROP"] => self.asks.push_back(Ask::DropClient(client)),
            ["LANE", address] => {
                self.lane_generation += 1;
                let lane = LaneId { index: 0, generation: self.lane_generation };
                self.lane = Some((lane, client));
                let endpoint = match address.strip_prefix("unix:") {
                    Some(path) => NodeEndpoint::Unix(path.into()),
                    None => NodeEndpoint::Tcp(address.parse().unwrap()),
                };
                self.asks.push_back(Ask::Connect { lane, endpoint });
            }
            ["FORWARD", word] => {
                self.lane_outbox.put(word.as_bytes(), &mut self.pool);
                let (lane, _) = self.lane.unwrap();
                self.dirty.push_back(Dirty::Lane(lane));
            }
            ["CUT"] => {
                let (lane, _) = self.lane.take().unwrap();
                self.asks.push_back(Ask::CloseLane(lane));
            }
            ["TELL", core, number] => {
                let news = News::ScriptFlush(PoolId(number.parse().unwrap()));
                self.asks.push_back(Ask::Tell { core: core.parse().unwrap(), news });
            }
            _ => panic!("no such order: {line}"),
        }
    }

    fn owner_of(&self, lane: LaneId) -> Option<ClientId> {
        self.lane.filter(|(id, _)| *id == lane).map(|(_, client)| client)
    }
}

impl Heart for Puppet {
    fn on_client_open(
        &mut self,
        pool: PoolId,
        peer: Peer,
        now: Now,
    ) -> Result<ClientId, &'static [u8]> {
        self.now = now;
        if pool == PoolId(1) {
            return Err(b"REFUSED");
        }
        let (index, generation) = self.children.insert(Child::default());
        let _ = self.told.send(Told::Opened(peer));
        Ok(ClientId { index, generation })
    }

    fn on_client_bytes(&mut self, client: ClientId, bytes: &[u8], now: Now) {
        self.now = now;
        let child = self.children.get_mut(client.index, client.generation).unwrap();
        child.unfinished_line.extend_from_slice(bytes);
        let whole = child.unfinished_line.iter().rposition(|byte| *byte == b'\n');
        let Some(whole) = whole else { return };
        let lines: Vec<u8> = child.unfinished_line.drain(..=whole).collect();
        for line in String::from_utf8(lines).unwrap().lines() {
            self.obey(client, line);
        }
    }

    fn on_client_sent(&mut self, client: ClientId, bytes: usize) {
        let child = self.children.get_mut(client.index, client.generation).unwrap();
        assert!(child.unsent >= bytes, "more sent than was taken");
        child.unsent -= bytes;
    }

    fn on_client_closed(&mut self, client: ClientId, end: ClientEnd, _now: Now) {
        let child = self.children.remove(client.index, client.generation);
        assert!(child.is_some(), "told twice of one end");
        let _ = self.told.send(Told::Ended(end));
    }

    fn on_lane_open(&mut self, lane: LaneId, _now: Now) {
        if let Some(client) = self.owner_of(lane) {
            self.say(client, b"OPEN");
        }
    }

    fn on_lane_bytes(&mut self, lane: LaneId, bytes: &[u8], _now: Now) {
        let client = self.owner_of(lane).expect("bytes of a lane that was closed");
        self.say(client, bytes);
    }

    fn on_lane_sent(&mut self, _lane: LaneId, _bytes: usize) {}

    fn on_lane_closed(&mut self, lane: LaneId, end: LaneEnd, _now: Now) {
        let client = self.owner_of(lane).expect("the end of a lane that was closed");
        self.lane = None;
        self.say(client, format!("CLOSED {end:?}").as_bytes());
    }

    fn on_topology(&mut self, topology: Arc<Topology>, _now: Now) {
        let _ = self.told.send(Told::Epoch(topology.epoch));
    }

    fn on_shared(&mut self, news: News, _now: Now) {
        let _ = self.told.send(Told::News(self.core, news));
    }

    fn on_turn(&mut self, now: Now) {
        self.now = now;
        let ids: Vec<_> = self
            .children
            .iter()
            .filter(|(_, _, child)| child.late.as_ref().is_some_and(|late| late.0 <= now.mono_us))
            .map(|(index, generation, _)| ClientId { index, generation })
            .collect();
        for client in ids {
            let child = self.children.get_mut(client.index, client.generation).unwrap();
            let (_, word, paused) = child.late.take().unwrap();
            self.say(client, &word);
            if paused {
                self.asks.push_back(Ask::ResumeClient(client));
            }
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        self.children
            .iter()
            .filter_map(|(_, _, child)| child.late.as_ref())
            .map(|late| late.0)
            .min()
    }

    fn next_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    fn next_dirty(&mut self) -> Option<Dirty> {
        self.dirty.pop_front()
    }

    fn take_output(&mut self, of: Dirty, into: &mut VecDeque<Vec<u8>>) -> usize {
        match of {
            Dirty::Client(client) => {
                let child = self.children.get_mut(client.index, client.generation);
                child.map_or(0, |child| {
                    let bytes = child.outbox.take(into);
                    child.unsent += bytes;
                    bytes
                })
            }
            Dirty::Lane(_) => self.lane_outbox.take(into),
        }
    }

    fn recycle(&mut self, chunk: Vec<u8>) {
        self.pool.give(chunk);
    }

    fn next_report(&mut self) -> Option<Report> {
        None
    }

    fn is_quiet(&self) -> bool {
        self.children.is_empty()
    }

    fn owes(&mut self, client: ClientId) -> bool {
        let child = self.children.get(client.index, client.generation);
        child.is_some_and(|child| child.late.is_some() || !child.outbox.is_empty())
    }
}
