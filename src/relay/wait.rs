//! WAIT and WAITAOF over shards, on shared lanes.
//!
//! redis blocks the connection that waits, which a lane can not bear for long. So the lanes that
//! the client's writes went down are asked again and again, until the least number of replicas
//! suffices or the client's own time-out is over: now and then with a time-out of 1 ms, which makes
//! redis ask its replicas, and else by `WAIT 0 0`, which counts what they have said and never
//! blocks. WAITAOF (redis 7.2) goes the same way, with two numbers: its own disk, and replicas'.
//!
//! redis counts the replicas that have what the *asking connection* wrote last. A lane's offset is
//! at or past that of any write that went down it, so the answer is never too good. A connection
//! that is lost takes this knowledge with it: its successor has written nothing, and would count
//! every replica. Who wrote on it is told so, once.
//!
//! But it may be worse than true, for the other clients of a lane move its offset on. A replica is
//! behind by next to nothing, a disk by up to a second (`appendfsync everysec`): WAITAOF sees what
//! is written there at a moment when nothing has been written on that lane since.

use ahash::{AHashMap, AHashSet};

use crate::base::ids::{ClientId, ShardId};
use crate::base::time::{Now, US_PER_MS};
use crate::command::model::{Command, Merge};
use crate::relay::Relay;
use crate::relay::dispatch::Outcome;
use crate::relay::fan::merge;
use crate::relay::gather::{Gather, Kind};
use crate::relay::lane::LaneState;
use crate::resp::args::Request;
use crate::resp::{encode, value};

/// Pause between two rounds of one WAIT, and between two rounds of this core that may block, ms:
/// however many clients wait, they take at most 1 ms in 10 of a lane's time.
const ROUND_PAUSE_MS: u64 = 10;

/// Pause of a WAIT while a script that was asked for before it is still under way, µs.
const SCRIPT_PAUSE_US: u64 = 500;

const NO_INTEGER: &str = "ERR value is not an integer or out of range";
pub(super) const WRITES_LOST: &str = "ERR A connection that carried writes of yours was lost: \
     how many replicas have them can not be told. What you write from now on can be waited for";

/// Where a client's writes went.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// Shards written to on the client's present lanes: bit `shard % 64`. Of two shards with the
    /// same bit both are asked.
    here: u64,
    /// The same for the lanes it had before SELECT, HELLO or RESET: lane set and bits.
    before: Vec<(u32, u64)>,
    /// Some went down a connection that is lost.
    lost: bool,
}

/// What a WAIT or WAITAOF waits for.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Replicas(i64),
    /// WAITAOF: on the primary's own disk (0 or 1), and on those of so many replicas.
    Disks(i64, i64),
}

/// A WAIT under way: asked again until enough replicas have everything, or its time is over.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    lanes: Vec<u32>,
    /// How often their connections had been lost when WAIT came, if the client had written on them:
    /// a later one knows nothing of that. Else empty.
    losses: Vec<u32>,
    wanted: Wanted,
    until_us: u64,
}

impl Wanted {
    /// WAIT numreplicas timeout, WAITAOF numlocal numreplicas timeout: what, and for how long, ms.
    fn read(request: &Request<'_>) -> Result<(Wanted, u64), &'static str> {
        let number = |at| std::str::from_utf8(request.arg(at)).ok()?.parse::<i64>().ok();
        let (wanted, timeout) = match request.len() {
            3 => (number(1).map(Wanted::Replicas).ok_or(NO_INTEGER)?, number(2)),
            _ => {
                let own = number(1).ok_or(NO_INTEGER)?;
                if !(0..=1).contains(&own) {
                    return Err("ERR value is out of range, value must between 0 and 1");
                }
                let replicas = number(2).filter(|replicas| *replicas >= 0);
                let replicas = replicas.ok_or("ERR value is out of range, must be positive")?;
                (Wanted::Disks(own, replicas), number(3))
            }
        };
        let timeout = timeout.ok_or("ERR timeout is not an integer or out of range")?;
        Ok((wanted, u64::try_from(timeout).map_err(|_| "ERR timeout is negative")?))
    }

    /// The request of one round, which blocks for 1 ms at most or not at all.
    fn request(self, blocks: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        match (self, blocks) {
            (Wanted::Replicas(replicas), true) => {
                encode::request(&mut bytes, &[b"WAIT", replicas.to_string().as_bytes(), b"1"]);
            }
            (Wanted::Replicas(_), false) => encode::request(&mut bytes, &[b"WAIT", b"0", b"0"]),
            (Wanted::Disks(own, replicas), true) => {
                let [own, replicas] = [own, replicas].map(|number| number.to_string());
                let request: [&[u8]; 4] = [b"WAITAOF", own.as_bytes(), replicas.as_bytes(), b"1"];
                encode::request(&mut bytes, &request);
            }
            (Wanted::Disks(..), false) => {
                encode::request(&mut bytes, &[b"WAITAOF", b"0", b"0", b"0"]);
            }
        }
        bytes
    }

    fn merge(self) -> Merge {
        match self {
            Wanted::Replicas(_) => Merge::Min,
            Wanted::Disks(..) => Merge::MinOfEach,
        }
    }

    /// Whether this reply is enough, or an error, after which there is nothing to wait for.
    fn is_met(self, reply: &[u8]) -> bool {
        match self {
            Wanted::Replicas(replicas) => value::integer(reply).is_none_or(|got| got >= replicas),
            Wanted::Disks(own, replicas) => {
                let Some(numbers) = value::elements(reply) else { return true };
                let mut pairs = numbers.zip([own, replicas]);
                pairs.all(|(got, wanted)| value::integer(got).is_none_or(|got| got >= wanted))
            }
        }
    }
}

impl Writes {
    #[inline]
    pub(super) fn note(&mut self, shard: ShardId) {
        self.here |= bit(shard);
    }

    pub(super) fn note_all(&mut self) {
        self.here = u64::MAX;
    }

    /// Some went down a connection that is lost.
    pub(super) fn note_lost(&mut self) {
        self.lost = true;
    }

    /// The client goes from the lanes of one set to those of another.
    pub(super) fn change_lanes(&mut self, from: u32, to: u32) {
        if from == to {
            return;
        }
        let left = std::mem::take(&mut self.here);
        if left != 0 {
            self.before.push((from, left));
        }
        if let Some(at) = self.before.iter().position(|(set, _)| *set == to) {
            self.here = self.before.swap_remove(at).1;
        }
    }

    /// Lane sets with the shards written to, those of the present set last.
    fn by_set(&self, present: u32) -> impl Iterator<Item = (u32, u64)> {
        self.before.iter().copied().chain([(present, self.here)]).filter(|(_, bits)| *bits != 0)
    }
}

fn bit(shard: ShardId) -> u64 {
    1 << (shard.0 % u64::BITS as u16)
}

impl Relay {
    /// WAIT, WAITAOF
    pub(super) fn wait(
        &mut self,
        id: ClientId,
        command: &'static Command,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        let (wanted, timeout_ms) = match Wanted::read(request) {
            Ok(read) => read,
            Err(error) => return self.refuse(id, error),
        };
        let until_us = match timeout_ms {
            0 => u64::MAX,
            ms => now.mono_us.saturating_add(ms.saturating_mul(US_PER_MS)),
        };
        self.note_lost_writes();
        if self.take_lost_writes(id) {
            return self.refuse(id, WRITES_LOST);
        }
        let (lanes, wrote) = self.lanes_written(id);
        let losses = if wrote { self.losses_of(&lanes) } else { Vec::new() };
        let parts = lanes.len();
        let waiting = Waiting { lanes, losses, wanted, until_us };
        let kind = Kind::Wait(waiting.clone());
        if let Some(gather) = self.open_gather(id, command.asked(request.len()), kind, parts, now) {
            if self.has_script_under_way(id) {
                self.naps.push((now.mono_us + SCRIPT_PAUSE_US, gather.0, gather.1));
            } else {
                self.ask_round(gather, id, &waiting, now);
            }
        }
        Outcome::Done
    }

    /// An EVALSHA that a shard does not know is repeated: what it writes comes behind what was
    /// asked for after it.
    fn has_script_under_way(&self, id: ClientId) -> bool {
        self.gathers.iter().any(|(_, _, gather)| {
            gather.client == id && matches!(gather.kind, Kind::EvalSha { .. })
        })
    }

    /// Asks all lanes of a WAIT.
    fn ask_round(&mut self, at: (u32, u32), id: ClientId, waiting: &Waiting, now: Now) {
        let Some(asked) = self.gathers.get(at.0, at.1).map(|gather| gather.asked) else { return };
        let bytes = self.wait_round(waiting.wanted, now);
        self.fan_lanes(at, id, asked, (&waiting.lanes, &bytes), now);
    }

    fn losses_of(&self, lanes: &[u32]) -> Vec<u32> {
        lanes.iter().map(|lane| self.lanes[*lane as usize].losses).collect()
    }

    /// The lanes that this client wrote on, and `true`; if there are none, its present ones of all
    /// shards.
    fn lanes_written(&self, id: ClientId) -> (Vec<u32>, bool) {
        let Some(client) = self.clients.get(id.index, id.generation) else {
            return (Vec::new(), false);
        };
        let shards = self.all_shards(id);
        let mut lanes = Vec::new();
        for (set, bits) in client.writes.by_set(client.lane_set) {
            let written = shards.iter().filter(|shard| bits & bit(**shard) != 0);
            // A lane that nobody has asked for yet carried nothing: its bit is another shard's.
            let lanes_of_set = written.map(|shard| self.lane_of(set, *shard, id));
            lanes.extend(lanes_of_set.filter(|lane| {
                self.lanes.get(*lane as usize).is_some_and(|lane| lane.state != LaneState::Idle)
            }));
        }
        let wrote = !lanes.is_empty();
        if !wrote {
            lanes.extend(shards.iter().map(|shard| self.lane_of(client.lane_set, *shard, id)));
        }
        (lanes, wrote)
    }

    /// Marks the clients whose writes went down connections that were lost. Looks at all clients,
    /// once for all that was lost in a turn.
    pub(super) fn note_lost_writes(&mut self) {
        let lost = std::mem::take(&mut self.lost_lanes);
        // By lane set: the shards of which a lane was lost.
        let mut shards: AHashMap<u32, u64> = AHashMap::new();
        for lane in &lost {
            let lane = &self.lanes[*lane as usize];
            let sets = &self.pools[lane.pool.index()].lane_sets;
            if let Some(set) = sets.get(&(lane.protocol, lane.database)) {
                *shards.entry(*set).or_default() |= bit(lane.shard);
            }
        }
        if shards.is_empty() {
            return;
        }
        let lost: AHashSet<u32> = lost.into_iter().collect();
        let mut losers = Vec::new();
        for (index, generation, client) in self.clients.iter() {
            let id = ClientId { index, generation };
            let by_set = client.writes.by_set(client.lane_set);
            let hit = by_set.filter_map(|(set, bits)| {
                let both = bits & shards.get(&set)?;
                (both != 0).then_some((set, both))
            });
            // With several lanes for a node only one of them is this client's.
            let mut mine = hit.flat_map(|(set, both)| {
                let of_pool = (0..self.shards_of(id)).map(ShardId);
                of_pool.filter(move |shard| both & bit(*shard) != 0).map(move |shard| (set, shard))
            });
            if mine.any(|(set, shard)| lost.contains(&self.lane_of(set, shard, id))) {
                losers.push(id);
            }
        }
        for id in losers {
            if let Some(client) = self.client(id) {
                client.writes.note_lost();
            }
        }
    }

    /// Whether writes of this client were lost sight of. That is said once: what it writes from
    /// then on is seen again.
    fn take_lost_writes(&mut self, id: ClientId) -> bool {
        self.client(id).is_some_and(|client| std::mem::take(&mut client.writes.lost))
    }

    pub(super) fn complete_wait(&mut self, gather: Gather, waiting: Waiting, now: Now) {
        let mut reply = Vec::new();
        merge(waiting.wanted.merge(), &gather.parts, gather.protocol, &mut reply);
        let enough = waiting.wanted.is_met(&reply);
        // A client that has left may have asked for ever: it must not stay for ever.
        let leaving = self.client(gather.client).is_none_or(|client| client.leaving);
        if enough || leaving || now.mono_us >= waiting.until_us {
            return self.deliver_gather(&gather, reply, now);
        }
        let (parts, until_us) = (waiting.lanes.len(), waiting.until_us);
        let (index, generation) = self.reopen_gather(gather, Kind::Wait(waiting), parts);
        let next_us = (now.mono_us + ROUND_PAUSE_MS * US_PER_MS).min(until_us);
        self.naps.push((next_us, index, generation));
    }

    /// The next round of those whose pause is over.
    pub(super) fn wake_gathers(&mut self, now: Now) {
        let due: Vec<_> = self.naps.extract_if(.., |nap| nap.0 <= now.mono_us).collect();
        for (_, index, generation) in due {
            let Some(gather) = self.gathers.get(index, generation) else { continue };
            let client = gather.client;
            let Kind::Wait(waiting) = &gather.kind else { continue };
            let waiting = waiting.clone();
            if self.live_client(client).is_none() {
                self.gathers.remove(index, generation);
                continue;
            }
            let wrote = !waiting.losses.is_empty();
            if wrote && self.losses_of(&waiting.lanes) != waiting.losses {
                let Some(gather) = self.gathers.remove(index, generation) else { continue };
                let mut reply = Vec::new();
                encode::error(&mut reply, WRITES_LOST);
                self.deliver_gather(&gather, reply, now);
            } else if self.has_script_under_way(client) {
                self.naps.push((now.mono_us + SCRIPT_PAUSE_US, index, generation));
            } else {
                self.ask_round((index, generation), client, &waiting, now);
            }
        }
    }

    /// The request of one round: it may block for 1 ms if none did lately.
    fn wait_round(&mut self, wanted: Wanted, now: Now) -> Vec<u8> {
        let blocks = now.mono_us >= self.wait_round_us;
        if blocks {
            self.wait_round_us = now.mono_us + ROUND_PAUSE_MS * US_PER_MS;
        }
        wanted.request(blocks)
    }
}
