//! The relay under a script of bytes: clients that say what they like, stores that lie, and time.
//!
//! Where the simulation asks for every reply to be right with stores that are honest, here anybody
//! may send anything; what a fuzzer finds in its bytes is decoded into steps. What must hold all
//! the same:
//! - nothing panics, and what a store is sent are whole requests;
//! - a client hears whole replies, never more than it has asked for, and in the end as many, or its
//!   connection ends; one whose stream is broken is closed;
//! - what comes from shards that never lied is right: no value of another key, no value that nobody
//!   has written, `+OK` for what was written;
//! - when all is quiet nothing is left behind.

mod model;
mod stores;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::base::ids::{ClientId, LaneId, PoolId};
use crate::base::time::US_PER_MS;
use crate::config::model::UnknownCommands;
use crate::relay::api::{Ask, ClientEnd, Dirty, Peer};
use crate::relay::chance::Chance;
use crate::relay::lane::LaneState;
use crate::relay::script::model::{Expect, Speaker, Want, Wire};
use crate::relay::world::{World, pool_config};
use crate::resp::encode;
use crate::resp::request::RequestLimits;
use crate::topology::NodeEndpoint;

const SHARDS: usize = 3;
const KEYS: u64 = 9;
const SPEAKERS_MAX: usize = 5;
const PASSWORD: &str = "secret";
/// More than any script's replies need at the end.
const ROUNDS_MAX: usize = 3_000;

/// The target `relay`.
pub(crate) fn play(bytes: &[u8]) -> Result<(), String> {
    let mut script = Script::new(Chance::of_bytes(bytes));
    while !script.chance.is_over() {
        script.step();
        script.turn();
    }
    script.calm();
    Ok(())
}

struct Script {
    chance: Chance,
    world: World,
    limits: RequestLimits,
    has_password: bool,
    speakers: Vec<Speaker>,
    wires: Vec<Wire>,
    /// Connects that are under way, with the path of the node.
    connecting: Vec<(LaneId, usize)>,
    /// Connections that are no more; bytes of theirs may still come.
    dead: Option<LaneId>,
    /// Shards one of whose nodes has lied: what they say is nobody's.
    liars: BTreeSet<usize>,
    /// All values that each key ever had.
    history: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    epoch: u64,
    said: u64,
}

impl Script {
    fn new(mut chance: Chance) -> Script {
        let mut pool = pool_config(SHARDS);
        pool.limits.client_inflight_max = 1 + chance.below(16) as usize;
        pool.limits.client_output_soft_bytes = 500 + chance.below(256) as usize * 64;
        pool.limits.client_output_max_bytes = 150_000;
        pool.limits.lane_inflight_max = 1 + chance.below(16) as usize;
        pool.limits.lane_output_soft_bytes = 500 + chance.below(256) as usize * 64;
        pool.limits.request_args_max = 64;
        pool.limits.bulk_bytes_max = 100_000;
        pool.limits.request_bytes_max = 200_000;
        let rules = chance.below(16);
        pool.lanes_per_node = 1 + (rules & 1) as usize;
        if rules & 2 == 0 {
            pool.unknown_commands = UnknownCommands::Forward;
        }
        let has_password = rules & 12 == 12;
        pool.client_password = has_password.then(|| PASSWORD.to_owned());
        let limits = RequestLimits {
            args_max: pool.limits.request_args_max,
            bulk_bytes_max: pool.limits.bulk_bytes_max,
            request_bytes_max: pool.limits.request_bytes_max,
        };
        let world = World::with(pool);
        Script {
            chance,
            world,
            limits,
            has_password,
            speakers: Vec::new(),
            wires: Vec::new(),
            connecting: Vec::new(),
            dead: None,
            liars: BTreeSet::new(),
            history: BTreeMap::new(),
            epoch: 1,
            said: 0,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.chance.below(bound as u64) as usize
    }

    /// One byte decides what happens, the next ones how.
    fn step(&mut self) {
        match self.below(24) {
            0 => self.open(),
            1..=4 => self.ask(),
            5 | 6 => self.say_anything(),
            7 | 8 => self.with_speaker(Script::say),
            9 => self.with_speaker(Script::hear),
            10 => self.with_wire(Script::serve),
            11 => self.with_wire(Script::reply),
            12 | 13 => self.lie(),
            14 => self.with_wire(|script, at, _| script.lose(at)),
            15 => self.connect(),
            16 => {
                let store = self.below(SHARDS);
                self.world.stores[store].down ^= true;
            }
            17 => self.world.now.mono_us += US_PER_MS * (1 + self.chance.below(1_500)),
            18 => self.publish(),
            19 => self.with_speaker(|script, at, _| script.say_goodbye(at)),
            20 => self.haunt(),
            _ => self.all_moves(),
        }
    }

    /// How many bytes move: one, some, or all.
    fn amount(&mut self) -> usize {
        match self.below(4) {
            0 => 1,
            1 => 1 + self.below(256),
            _ => usize::MAX,
        }
    }

    fn with_speaker(&mut self, act: fn(&mut Script, usize, usize)) {
        if !self.speakers.is_empty() {
            let (at, most) = (self.below(self.speakers.len()), self.amount());
            act(self, at, most);
        }
    }

    fn with_wire(&mut self, act: fn(&mut Script, usize, usize)) {
        if !self.wires.is_empty() {
            let (at, most) = (self.below(self.wires.len()), self.amount());
            act(self, at, most);
        }
    }

    fn open(&mut self) {
        if self.speakers.len() >= SPEAKERS_MAX {
            return;
        }
        let (peer, now) = (Peer::Unix { path: "script".into() }, self.world.now);
        if let Ok(id) = self.world.relay.on_client_open(PoolId(0), peer, now) {
            self.speakers.push(Speaker::new(id));
        }
    }

    /// A well-behaved request, of which is known what it has to hear.
    fn ask(&mut self) {
        if self.speakers.is_empty() {
            self.open();
        }
        let at = self.below(self.speakers.len());
        let kind = self.below(18);
        let count = if matches!(kind, 3..=5) { 1 + self.below(4) } else { 1 };
        let keys: Vec<String> =
            (0..count).map(|_| format!("k{}", self.chance.below(KEYS))).collect();
        self.said += 1;
        let mut value = format!("{}|{}", keys[0], self.said);
        if kind == 6 {
            value += &"x".repeat(1 + 400 * self.below(256));
        }
        let said = self.said;
        let pairs = || keys.iter().flat_map(|key| [key.clone(), format!("{key}|{said}")]).collect();
        let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (request, want): (Vec<String>, Want) = match kind {
            0 | 1 => (words(format!("GET {}", keys[0])), Want::Values(keys.clone())),
            2 | 6 => (words(format!("SET {} {value}", keys[0])), Want::Ok),
            3 => (words(format!("MGET {}", keys.join(" "))), Want::Values(keys.clone())),
            4 => ([vec!["MSET".to_owned()], pairs()].concat(), Want::Ok),
            5 => (words(format!("DEL {}", keys.join(" "))), Want::Integer),
            7 => (words(format!("EVAL body{} 1 {}", said % 3, keys[0])), Want::Integer),
            8 => (words(format!("EVALSHA {:040} 1 {}", said % 3, keys[0])), Want::Integer),
            9 => (words(format!("HELLO {}", 2 + said % 2)), Want::Any),
            10 => (words(format!("SELECT {}", said % 3)), Want::Ok),
            11 => (words("DBSIZE".to_owned()), Want::Integer),
            12 => (words("RANDOMKEY".to_owned()), Want::Any),
            13 => (words("WAIT 1 20".to_owned()), Want::Integer),
            14 => (words(format!("AUTH {PASSWORD}")), Want::Any),
            15 => (words("RESET".to_owned()), Want::Any),
            16 if said.is_multiple_of(4) => (words("QUIT".to_owned()), Want::Ok),
            _ => (words(format!("PING {said}")), Want::Exactly(said.to_string())),
        };
        let shards = self.shards_of(&keys, &want);
        let mut wire = Vec::new();
        let request: Vec<&[u8]> = request.iter().map(String::as_bytes).collect();
        encode::request(&mut wire, &request);
        let speaker = &mut self.speakers[at];
        if speaker.is_strange {
            return; // its stream may be broken or unfinished: nothing can be promised behind it
        }
        speaker.to_say.extend(wire);
        speaker.expects.push_back(Expect { want, shards });
    }

    fn shards_of(&self, keys: &[String], want: &Want) -> Vec<usize> {
        let router = &self.world.relay.pools[0].router;
        match want {
            Want::Exactly(_) => Vec::new(),
            Want::Values(_) | Want::Ok => {
                keys.iter().map(|key| router.shard_of(key.as_bytes(), 0).index()).collect()
            }
            Want::Integer | Want::Any => (0..SHARDS).collect(),
        }
    }

    /// Any bytes; from now on this client is one that nobody knows what to expect of.
    fn say_anything(&mut self) {
        if self.speakers.is_empty() {
            self.open();
        }
        let at = self.below(self.speakers.len());
        let count = self.below(256);
        let bytes = self.chance.take(count);
        let speaker = &mut self.speakers[at];
        if speaker.is_strange || (speaker.to_say.is_empty() && speaker.expects.is_empty()) {
            speaker.is_strange = true;
            speaker.to_say.extend(bytes);
        }
    }

    fn say(&mut self, at: usize, most: usize) {
        let speaker = &mut self.speakers[at];
        let count = most.min(speaker.to_say.len());
        if speaker.paused || count == 0 {
            return;
        }
        let bytes: Vec<u8> = speaker.to_say.drain(..count).collect();
        if speaker.finishing || speaker.leaving {
            return; // swallowed
        }
        speaker.note(&bytes, &self.limits);
        let (id, now) = (speaker.id, self.world.now);
        if self.world.relay.client_takes_chunk(id, bytes.len()) {
            self.world.relay.on_client_chunk(id, bytes, now);
        } else {
            self.world.relay.on_client_bytes(id, &bytes, now);
        }
    }

    fn hear(&mut self, at: usize, most: usize) {
        let speaker = &mut self.speakers[at];
        let id = speaker.id;
        let count = most.min(speaker.sending.len());
        let bytes: Vec<u8> = speaker.sending.drain(..count).collect();
        if count > 0 {
            self.world.relay.on_client_sent(id, count);
            let truth = (&self.liars, &self.history, self.has_password);
            self.speakers[at].hear(&bytes, truth);
        }
        if self.speakers[at].sending.is_empty() {
            self.take(Dirty::Client(id));
        }
        let speaker = &self.speakers[at];
        if !speaker.sending.is_empty() {
            return;
        }
        if speaker.finishing {
            self.leave(id, ClientEnd::Asked);
        } else if speaker.leaving && !self.world.relay.owes(id) {
            self.leave(id, ClientEnd::Eof);
        }
    }

    /// A half-close: it is closed when it has heard what it is owed. Or the connection breaks.
    fn say_goodbye(&mut self, at: usize) {
        let id = self.speakers[at].id;
        if self.below(2) == 0 {
            return self.leave(id, ClientEnd::Error(104));
        }
        self.speakers[at].leaving = true;
        if self.speakers[at].sending.is_empty()
            && !self.speakers[at].finishing
            && !self.world.relay.owes(id)
        {
            self.leave(id, ClientEnd::Eof);
        }
    }

    fn leave(&mut self, id: ClientId, end: ClientEnd) {
        self.speakers.retain(|speaker| speaker.id != id);
        let now = self.world.now;
        self.world.relay.on_client_closed(id, end, now);
    }

    /// What the relay wants.
    fn turn(&mut self) {
        let now = self.world.now;
        let relay = &mut self.world.relay;
        relay.on_turn(now);
        while let Some(ask) = self.world.relay.next_ask() {
            self.carry_out(ask);
        }
        while let Some(dirty) = self.world.relay.next_dirty() {
            self.take(dirty);
        }
        while self.world.relay.next_report().is_some() {}
        self.world.relay.write_gauges();
    }

    fn carry_out(&mut self, ask: Ask) {
        match ask {
            Ask::Connect { lane, endpoint } => {
                let NodeEndpoint::Unix(path) = endpoint else { return };
                let digits = path.to_string_lossy().trim_start_matches(['/', 's', 't']).parse();
                self.connecting.push((lane, digits.unwrap_or(0)));
            }
            Ask::CloseLane(lane) => {
                self.wires.retain(|wire| wire.id != lane);
                self.connecting.retain(|(id, _)| *id != lane);
                self.dead = Some(lane);
            }
            Ask::FinishClient(id) => {
                self.take(Dirty::Client(id));
                let found = self.speakers.iter().position(|speaker| speaker.id == id);
                if let Some(at) = found {
                    self.speakers[at].finishing = true;
                    self.hear(at, 0);
                }
            }
            Ask::DropClient(id) => self.leave(id, ClientEnd::Asked),
            Ask::PauseClient(id) | Ask::ResumeClient(id) => {
                let paused = matches!(ask, Ask::PauseClient(_));
                for speaker in self.speakers.iter_mut().filter(|speaker| speaker.id == id) {
                    speaker.paused = paused;
                }
            }
            Ask::Share(news) | Ask::Tell { news, .. } => drop(news),
        }
    }

    fn take(&mut self, dirty: Dirty) {
        let mut speakers = self.speakers.iter_mut();
        let mut wires = self.wires.iter_mut();
        let sending = match dirty {
            Dirty::Client(id) => speakers.find(|one| one.id == id).map(|one| &mut one.sending),
            Dirty::Lane(id) => wires.find(|one| one.id == id).map(|one| &mut one.sending),
        };
        let Some(sending) = sending.filter(|sending| sending.is_empty()) else { return };
        let mut chunks = VecDeque::new();
        let bytes = self.world.relay.take_output(dirty, &mut chunks);
        assert_eq!(
            bytes,
            chunks.iter().map(Vec::len).sum::<usize>(),
            "output is what it is said to be"
        );
        for chunk in chunks {
            sending.extend(&chunk);
            self.world.relay.recycle(chunk);
        }
    }

    /// Everything that is under way goes one step further.
    fn all_moves(&mut self) {
        while !self.connecting.is_empty() {
            self.connect();
        }
        for at in (0..self.speakers.len()).rev() {
            self.say(at, usize::MAX);
        }
        self.turn();
        for at in 0..self.wires.len() {
            if at < self.wires.len() {
                self.serve(at, usize::MAX);
            }
            if at < self.wires.len() {
                self.reply(at, usize::MAX);
            }
        }
        self.turn();
        for at in (0..self.speakers.len()).rev() {
            if at < self.speakers.len() {
                self.hear(at, usize::MAX);
            }
        }
    }

    /// All are honest and quick from now on: everybody gets what is owed, and nothing is left.
    fn calm(&mut self) {
        self.world.stores.iter_mut().for_each(|store| store.down = false);
        self.epoch += 1;
        self.hand_over(|shard| Some(format!("/s{shard}")));
        let mut quiet_rounds = 0;
        for _ in 0..ROUNDS_MAX {
            self.turn();
            self.all_moves();
            self.turn();
            let owed = self.speakers.iter().any(Speaker::is_owed);
            quiet_rounds = if owed { 0 } else { quiet_rounds + 1 };
            self.world.now.mono_us += US_PER_MS * if owed { 10 } else { 100 };
            if quiet_rounds > 40 {
                break;
            }
        }
        for speaker in &self.speakers {
            speaker.is_content();
        }
        while let Some(speaker) = self.speakers.first() {
            self.leave(speaker.id, ClientEnd::Eof);
        }
        self.turn();
        self.nothing_is_left();
    }

    fn nothing_is_left(&self) {
        let relay = &self.world.relay;
        assert_eq!((relay.buffered_bytes, relay.lane_bytes), (0, 0), "bytes that are nowhere");
        assert_eq!((relay.gathers.len(), relay.naps.len()), (0, 0), "gathers, naps");
        assert!(relay.is_quiet());
        for lane in &relay.lanes {
            let at_rest = matches!(lane.state, LaneState::Ready | LaneState::Idle);
            let empty = lane.inflight.is_empty() && lane.feeders.is_empty();
            assert!(at_rest && empty, "{lane:?}");
            assert_eq!((lane.expired, lane.output_bytes(), lane.tail.len()), (0, 0, 0));
        }
    }
}
