//! Chaos, seeded: clients pipeline whatever comes to mind over false stores, bytes are cut
//! anywhere, lanes and clients are lost, some clients do not read, time jumps. A model checks every
//! reply: each value names its key, its database and its version, so a foreign one shows; a write
//! runs at most once; at the end nothing is left.
//!
//! A seed that fails is printed; `CORELAY_CHAOS_SEED=n` runs that one alone, `CORELAY_CHAOS_SEEDS=n`
//! so many.

use std::collections::{BTreeSet, VecDeque};

use crate::base::ids::{ClientId, PoolId};
use crate::relay::api::{Ask, ClientEnd, Dirty, LaneEnd, Peer};
use crate::relay::chaos_model::{DIGEST, Expect, KEYS, LIMITS, Player, SCRIPT, Store, Wire};
use crate::relay::lane::LaneState;
use crate::relay::world::{World, pool_config};
use crate::relay::{Random, Relay};
use crate::resp::args::Request;
use crate::resp::encode;
use crate::resp::reply::{ReplyScanner, Scanned};
use crate::resp::request::{Parsed, RequestParser};
use crate::topology::NodeEndpoint;

const SHARDS: usize = 3;

struct Chaos {
    faults: bool,
    random: Random,
    world: World,
    players: Vec<Player>,
    wires: Vec<Wire>,
    stores: Vec<Store>,
    versions: u64,
    executed: BTreeSet<u64>,
}

impl Chaos {
    fn new(seed: u64) -> Chaos {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let faults = random.below(4) != 0;
        let mut pool = pool_config(SHARDS);
        pool.limits.client_inflight_max = 1 + random.below(40) as usize;
        pool.limits.client_output_soft_bytes = 500 + random.below(50_000) as usize;
        pool.limits.lane_inflight_max = 1 + random.below(40) as usize;
        pool.limits.lane_output_soft_bytes = 500 + random.below(50_000) as usize;
        pool.lanes_per_node = 1 + random.below(2) as usize;
        if faults {
            pool.limits.client_output_max_bytes = 400_000;
        }
        let mut chaos = Chaos {
            faults,
            random,
            world: World::with(pool),
            players: Vec::new(),
            wires: Vec::new(),
            stores: (0..SHARDS).map(|_| Store::default()).collect(),
            versions: 0,
            executed: BTreeSet::new(),
        };
        chaos.world.relay.scripts.remember(PoolId(0), SCRIPT);
        chaos
    }

    fn relay(&mut self) -> &mut Relay {
        &mut self.world.relay
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound.max(1))
    }

    fn open(&mut self) {
        let (peer, now) = (Peer::Unix { path: "chaos".into() }, self.world.now);
        let id = self.relay().on_client_open(PoolId(0), peer, now).unwrap();
        self.players.push(Player {
            id,
            to_say: Vec::new(),
            expects: VecDeque::new(),
            scanner: ReplyScanner::default(),
            reply: Vec::new(),
            sending: VecDeque::new(),
            resp3: false,
            database: 0,
            deaf: false,
            paused: false,
            closing: false,
            finishing: false,
        });
    }

    fn value(&mut self, key: &str) -> (u64, Vec<u8>) {
        self.versions += 1;
        let mut value = format!("{key}|{}|", self.versions).into_bytes();
        let more = match self.below(40) {
            0 => 16_000 + self.below(90_000),
            1..=3 => self.below(2_000),
            _ => self.below(20),
        };
        value.resize(value.len() + more as usize, b'x');
        (self.versions, value)
    }

    /// Writes one more request of a player.
    #[expect(clippy::too_many_lines, reason = "a list of what a client may say")]
    fn think(&mut self, at: usize) {
        let (resp3, database) = (self.players[at].resp3, self.players[at].database);
        let count = 1 + self.below(4);
        let keys: Vec<String> =
            (0..count).map(|_| format!("d{database}k{}", self.random.below(KEYS))).collect();
        let (version, value) = self.value(&keys[0]);
        let mut words: Vec<Vec<u8>> = Vec::new();
        let mut say =
            |text: &str| words.extend(text.split(' ').map(|word| word.as_bytes().to_vec()));
        let expect = match self.below(34) {
            0..=6 => {
                say(&format!("GET {}", keys[0]));
                Expect::Values(keys[..1].to_vec(), resp3)
            }
            7..=12 => {
                say(&format!("SET {}", keys[0]));
                words.push(value);
                Expect::Written(vec![version])
            }
            13..=16 if count > 1 => {
                say(&format!("MGET {}", keys.join(" ")));
                Expect::Values(keys, resp3)
            }
            17..=18 => {
                say("MSET");
                let mut versions = Vec::new();
                for key in &keys {
                    let (version, value) = self.value(key);
                    versions.push(version);
                    words.extend([key.clone().into_bytes(), value]);
                }
                Expect::Written(versions)
            }
            19..=20 => {
                say(&format!("DEL {}", keys.join(" ")));
                Expect::Integer
            }
            21..=24 => {
                say(&format!("EVALSHA {DIGEST} 1 {} ", keys[0]));
                words.pop();
                words.extend([value.clone()]);
                Expect::Ran(version, value)
            }
            25 => {
                say(&format!("SCAN {}", [0, 1, 2, 17 << 2][self.random.below(4) as usize]));
                Expect::Scan(database)
            }
            26 => {
                say("RANDOMKEY");
                Expect::KeyOf(database, resp3)
            }
            27 => {
                say("WAIT 1 20");
                if self.random.below(2) == 0 {
                    words[1] = b"2".to_vec();
                }
                Expect::Integer
            }
            28 => {
                say("DBSIZE");
                Expect::Integer
            }
            29 => {
                self.players[at].database = self.random.below(2) as u32;
                say(&format!("SELECT {}", self.players[at].database));
                Expect::Exactly(b"+OK\r\n".to_vec())
            }
            30 => {
                self.players[at].resp3 = true;
                say("HELLO 3 SETNAME x");
                Expect::Hello
            }
            31 if self.random.below(20) == 0 => {
                say("QUIT");
                self.players[at].closing = true;
                Expect::Exactly(b"+OK\r\n".to_vec())
            }
            _ => {
                say(&format!("PING {version}"));
                let mut pong = Vec::new();
                encode::bulk(&mut pong, version.to_string().as_bytes());
                Expect::Exactly(pong)
            }
        };
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        encode::request(&mut self.players[at].to_say, &words);
        self.players[at].expects.push_back(expect);
    }

    /// What the relay wants, and some of what it has.
    fn turn(&mut self) {
        let now = self.world.now;
        self.relay().on_turn(now);
        while let Some(ask) = self.relay().next_ask() {
            self.carry_out(ask);
        }
        while let Some(dirty) = self.relay().next_dirty() {
            self.take(dirty);
        }
    }

    fn carry_out(&mut self, ask: Ask) {
        let now = self.world.now;
        let player = |id| move |player: &&mut Player| player.id == id;
        match ask {
            Ask::Connect { lane: id, endpoint } => {
                let NodeEndpoint::Unix(path) = endpoint else { panic!("unix only") };
                let shard: usize = path.to_str().unwrap()[2..].parse().unwrap();
                if self.stores[shard].down {
                    return self.relay().on_lane_closed(id, LaneEnd::Error(111), now);
                }
                let (input, sending, output) = Default::default();
                self.wires.push(Wire {
                    id,
                    shard,
                    input,
                    sending,
                    output,
                    resp3: false,
                    database: 0,
                });
                self.relay().on_lane_open(id, now);
            }
            Ask::CloseLane(lane) => self.wires.retain(|wire| wire.id != lane),
            Ask::FinishClient(id) => {
                if let Some(player) = self.players.iter_mut().find(player(id)) {
                    player.finishing = true;
                }
                self.take(Dirty::Client(id));
            }
            Ask::DropClient(id) => {
                let player = self.players.iter().find(|player| player.id == id).unwrap();
                assert!(self.faults || player.deaf, "a client was dropped for nothing");
                self.leave(id, ClientEnd::Asked);
            }
            Ask::PauseClient(id) | Ask::ResumeClient(id) => {
                if let Some(player) = self.players.iter_mut().find(player(id)) {
                    player.paused = matches!(ask, Ask::PauseClient(_));
                }
            }
            Ask::Share(_) | Ask::Tell { .. } => {}
        }
    }

    fn take(&mut self, dirty: Dirty) {
        let sending = match dirty {
            Dirty::Client(id) => {
                self.players.iter_mut().find(|player| player.id == id).map(|p| &mut p.sending)
            }
            Dirty::Lane(id) => {
                self.wires.iter_mut().find(|wire| wire.id == id).map(|w| &mut w.sending)
            }
        };
        let Some(sending) = sending.filter(|sending| sending.is_empty()) else { return };
        let mut chunks = VecDeque::new();
        self.world.relay.take_output(dirty, &mut chunks);
        for chunk in chunks {
            sending.extend(&chunk);
            self.world.relay.recycle(chunk);
        }
    }

    fn leave(&mut self, id: ClientId, end: ClientEnd) {
        self.players.retain(|player| player.id != id);
        let now = self.world.now;
        self.relay().on_client_closed(id, end, now);
    }

    fn lose(&mut self, at: usize) {
        let (wire, now) = (self.wires.swap_remove(at), self.world.now);
        self.stores[wire.shard].script &= self.below(2) == 0;
        self.relay().on_lane_closed(wire.id, LaneEnd::Eof, now);
    }

    /// Some bytes of a client go in, some come out.
    fn play(&mut self, at: usize, most: u64) {
        let (now, bytes) = (self.world.now, 1 + self.below(most) as usize);
        let player = &mut self.players[at];
        let id = player.id;
        if !player.paused && !player.to_say.is_empty() {
            let some: Vec<u8> = player.to_say.drain(..bytes.min(player.to_say.len())).collect();
            if self.world.relay.client_takes_chunk(id, some.len()) {
                self.world.relay.on_client_chunk(id, some, now);
            } else {
                self.world.relay.on_client_bytes(id, &some, now);
            }
        }
        let player = &mut self.players[at];
        if player.deaf {
            return;
        }
        let some: Vec<u8> = player.sending.drain(..bytes.min(player.sending.len())).collect();
        if !some.is_empty() {
            self.world.relay.on_client_sent(id, some.len());
            self.hear(at, &some);
        }
        let player = &self.players[at];
        if player.sending.is_empty() {
            self.take(Dirty::Client(id));
            let player = &self.players[at];
            if player.finishing && player.sending.is_empty() {
                assert!(player.expects.is_empty(), "closed without {:?}", player.expects);
                self.leave(id, ClientEnd::Asked);
            }
        }
    }

    fn hear(&mut self, at: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let player = &mut self.players[at];
            let scanned = player.scanner.scan(bytes).expect("a client hears replies");
            let Scanned::Reply { bytes: end, .. } = scanned else {
                player.reply.extend_from_slice(bytes);
                return;
            };
            player.reply.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end..];
            let reply = std::mem::take(&mut player.reply);
            let text = String::from_utf8_lossy(&reply[..reply.len().min(200)]).into_owned();
            let expect = player.expects.pop_front().unwrap_or_else(|| panic!("unasked: {text}"));
            let player = &self.players[at];
            let right = player.check(&expect, &reply, (self.faults, &self.executed));
            assert!(right, "for {expect:.200?} it heard {text}");
        }
    }

    /// Some bytes of a lane go to its store, some of the store's come back.
    fn serve(&mut self, at: usize, most: u64) {
        let (now, bytes) = (self.world.now, 1 + self.below(most) as usize);
        let wire = &mut self.wires[at];
        let id = wire.id;
        let some = wire.sending.drain(..bytes.min(wire.sending.len())).collect::<Vec<u8>>();
        wire.input.extend(&some);
        let (mut used, mut ranges) = (0, Vec::new());
        let input = std::mem::take(&mut wire.input);
        while let Ok(Parsed::Request { bytes }) =
            RequestParser::default().parse(&input[used..], &mut ranges, &LIMITS)
        {
            let request = Request { bytes: &input[used..used + bytes], ranges: &ranges };
            self.stores[wire.shard].answer(&request, wire, &mut self.executed);
            used += bytes;
        }
        wire.input = input[used..].to_vec();
        let mut reply = Vec::new();
        if !self.stores[wire.shard].silent {
            reply = wire.output.drain(..bytes.min(wire.output.len())).collect();
        }
        let empty = wire.sending.is_empty();
        if !some.is_empty() {
            self.relay().on_lane_sent(id, some.len());
        }
        if empty {
            self.take(Dirty::Lane(id));
        }
        if self.relay().lane_takes_chunk(id, reply.len()) {
            self.relay().on_lane_chunk(id, reply, now);
        } else {
            self.relay().on_lane_bytes(id, &reply, now);
        }
    }

    fn fault(&mut self) {
        let (player, shard) =
            (self.below(self.players.len() as u64) as usize, self.below(3) as usize);
        match self.below(9) {
            0 | 1 if !self.wires.is_empty() => {
                let at = self.below(self.wires.len() as u64) as usize;
                self.lose(at);
            }
            2 if self.players.len() > 1 => self.leave(self.players[player].id, ClientEnd::Eof),
            3 if !self.players.is_empty() => self.players[player].deaf ^= true,
            4 => self.stores[shard].silent ^= true,
            5 => self.stores[shard].down ^= true,
            6 => self.world.now.mono_us += 1000 * self.below(1500),
            7 => self.stores[shard].script = false,
            _ => self.open(),
        }
    }

    fn step(&mut self) {
        self.world.now.mono_us += self.below(2_000);
        if self.players.is_empty() || self.below(30) == 0 && self.players.len() < 8 {
            self.open();
        }
        if self.faults && self.below(12) == 0 {
            self.fault();
        }
        let most = [3, 300, 30_000][self.below(3) as usize];
        let at = self.below(self.players.len() as u64) as usize;
        if at < self.players.len() {
            if !self.players[at].closing && self.players[at].to_say.len() < 10_000 {
                for _ in 0..self.below(12) {
                    if !self.players[at].closing {
                        self.think(at);
                    }
                }
            }
            self.play(at, most);
        }
        self.turn();
        let at = self.below(self.wires.len() as u64) as usize;
        if at < self.wires.len() {
            self.serve(at, most);
        }
        self.turn();
    }

    /// All is well again: everybody gets what is owed to them, and nothing is left behind.
    fn calm(&mut self) {
        for store in &mut self.stores {
            (store.silent, store.down) = (false, false);
        }
        let mut quiet_rounds = 0;
        for _ in 0..4_000 {
            self.turn();
            for at in (0..self.players.len()).rev() {
                self.players[at].deaf = false;
                self.play(at, 100_000);
            }
            self.turn();
            for at in (0..self.wires.len()).rev() {
                if at < self.wires.len() {
                    self.serve(at, 100_000);
                }
            }
            // Then four seconds more: what was lost is connected again, what was late has come.
            let owed = self.players.iter().any(|player| !player.expects.is_empty());
            quiet_rounds = if owed { 0 } else { quiet_rounds + 1 };
            self.world.now.mono_us += if owed { 10_000 } else { 100_000 };
            if quiet_rounds > 40 {
                break;
            }
        }
        for player in &self.players {
            assert!(
                player.expects.is_empty(),
                "still owed: {:.300?} ({} bytes unsaid, paused: {})",
                player.expects,
                player.to_say.len(),
                player.paused
            );
        }
        assert_eq!(self.relay().buffered_bytes, 0, "bytes that are accounted for and not there");
        assert_eq!(self.relay().lane_bytes, 0, "the same, of lanes");
        while let Some(player) = self.players.first() {
            self.leave(player.id, ClientEnd::Eof);
        }
        let relay = &self.world.relay;
        assert_eq!((relay.buffered_bytes, relay.gathers.len(), relay.naps.len()), (0, 0, 0));
        for lane in &relay.lanes {
            let ready = matches!(lane.state, LaneState::Ready | LaneState::Idle);
            assert!(ready && lane.inflight.is_empty() && lane.feeders.is_empty(), "{lane:?}");
            assert_eq!((lane.expired, lane.output_bytes(), lane.tail.len()), (0, 0, 0));
        }
    }
}

fn run(seed: u64) {
    let mut chaos = Chaos::new(seed);
    for _ in 0..150 {
        chaos.step();
    }
    chaos.calm();
}

#[test]
fn chaos_gives_nobody_a_wrong_reply() {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    let alone = number("CORELAY_CHAOS_SEED").map(|seed| seed..seed + 1);
    for seed in alone.unwrap_or(0..number("CORELAY_CHAOS_SEEDS").unwrap_or(80)) {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("chaos: replay with CORELAY_CHAOS_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
