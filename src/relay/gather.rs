//! Gathers: requests that wait for several replies, or for one that is not passed on as it is.

use crate::base::ids::{ClientId, PoolId, ShardId};
use crate::base::time::Now;
use crate::command::model::Merge;
use crate::command::shape::Asked;
use crate::relay::Relay;
use crate::relay::fan::merge;
use crate::relay::lane::{Target, Token};
use crate::relay::pair::Reply;
use crate::relay::query::Deed;
use crate::relay::scan::{Cursor, Search};
use crate::relay::wait::Waiting;
use crate::resp::{Protocol, encode, value};

/// One request in parts.
#[derive(Debug)]
pub(super) struct Gather {
    pub(super) client: ClientId,
    pub(super) seq: u32,
    pub(super) pool: PoolId,
    pub(super) protocol: Protocol,
    /// The client's lanes when it asked: a second question goes where the first went, whatever
    /// SELECT or HELLO the client has sent since.
    pub(super) lane_set: u32,
    pub(super) since_us: u64,
    /// What each part may be answered with.
    pub(super) asked: Asked,
    pub(super) kind: Kind,
    /// Parts that are not answered yet.
    pub(super) left: usize,
    /// The replies, by part; empty until answered (a reply never is).
    pub(super) parts: Vec<Vec<u8>>,
}

/// What is made of the parts.
#[derive(Debug)]
pub(super) enum Kind {
    /// Part `owners[i]` has the value of key `i`.
    Mget {
        owners: Vec<u32>,
    },
    Merge(Merge),
    /// One shard's SCAN: its cursor is made ours.
    Scan {
        shard: ShardId,
    },
    /// RANDOMKEY of one shard; the next is asked if it has no key, or can not say.
    RandomKey(Search),
    /// EVALSHA of a script whose body is known.
    EvalSha {
        request: Vec<u8>,
        lane: u32,
        digest: [u8; 40],
        repeated: bool,
    },
    ScriptLoad,
    /// Part `i` is what core `i` says of its clients.
    Clients(Deed),
    /// INFO of every shard.
    Info {
        section: Vec<u8>,
    },
    /// CONFIG GET of every shard.
    ConfigGet {
        patterns: Vec<Vec<u8>>,
    },
    Wait(Waiting),
}

impl Relay {
    /// Opens a gather of `parts` parts in the client's next slot. `None`: the client is gone.
    pub(super) fn open_gather(
        &mut self,
        id: ClientId,
        asked: Asked,
        kind: Kind,
        parts: usize,
        now: Now,
    ) -> Option<(u32, u32)> {
        let client = self.clients.get_mut(id.index, id.generation)?;
        let gather = Gather {
            client: id,
            seq: client.order.push(&mut self.rings),
            pool: client.pool,
            protocol: client.protocol,
            lane_set: client.lane_set,
            since_us: now.mono_us,
            asked,
            kind,
            left: parts,
            parts: vec![Vec::new(); parts],
        };
        Some(self.gathers.insert(gather))
    }

    /// Sends one part of a gather to a lane; a part whose lane is down fails (after all are sent:
    /// the error goes to `failed`, to be handed to [`Relay::fail_parts`]).
    pub(super) fn send_part(
        &mut self,
        gather: (u32, u32),
        part: usize,
        lane: u32,
        asked: Asked,
        now: Now,
    ) -> bool {
        let (index, generation) = gather;
        let target = Target::Gather { index, generation, part: part as u32 };
        self.enqueue(lane, Token { target, since_us: now.mono_us, asked })
    }

    /// Fails the parts whose lanes were down.
    pub(super) fn fail_parts(&mut self, gather: (u32, u32), failed: &[(usize, u32)], now: Now) {
        for (part, lane) in failed {
            let mut error = Vec::new();
            self.lane_error(*lane, &mut error);
            self.gather_reply(gather, *part as u32, Reply::Owned(error), now);
        }
    }

    /// The reply to one part.
    pub(super) fn gather_reply(
        &mut self,
        (index, generation): (u32, u32),
        part: u32,
        reply: Reply<'_>,
        now: Now,
    ) {
        let Some(gather) = self.gathers.get_mut(index, generation) else { return };
        let Some(place) = gather.parts.get_mut(part as usize) else { return };
        debug_assert!(place.is_empty(), "a part is answered once");
        *place = match reply {
            Reply::Owned(bytes) => bytes,
            Reply::Lent(bytes) => bytes.to_vec(),
        };
        gather.left = gather.left.saturating_sub(1);
        if gather.left > 0 {
            return;
        }
        let Some(gather) = self.gathers.remove(index, generation) else { return };
        if self.clients.get(gather.client.index, gather.client.generation).is_none() {
            return;
        }
        self.complete(gather, now);
    }

    /// All parts are there, or all that may still come. Some kinds ask once more; the others answer
    /// now.
    pub(super) fn complete(&mut self, mut gather: Gather, now: Now) {
        let protocol = gather.protocol;
        let kind = std::mem::replace(&mut gather.kind, Kind::ScriptLoad);
        let mut out = Vec::new();
        match kind {
            Kind::Mget { owners } => merge_mget(&owners, &gather.parts, &mut out),
            Kind::Merge(by) => merge(by, &gather.parts, protocol, &mut out),
            Kind::ScriptLoad => {
                merge(Merge::AllSucceeded, &gather.parts, protocol, &mut out);
                self.note_loaded(gather.pool, &out);
            }
            Kind::Scan { shard } => {
                let shards = self.pool(gather.pool).router.shards();
                Cursor::rewrite(shard, shards, &gather.parts, &mut out);
            }
            Kind::RandomKey(search) => return self.complete_random_key(gather, search, now),
            Kind::EvalSha { request, lane, digest, repeated } => {
                return self.complete_eval_sha(gather, (request, lane, digest, repeated), now);
            }
            Kind::Clients(deed) => return self.complete_clients(gather, deed, now),
            Kind::Info { section } => self.write_info(&gather, &section, now, &mut out),
            Kind::ConfigGet { patterns } => self.write_config_get(&gather, &patterns, &mut out),
            Kind::Wait(waiting) => return self.complete_wait(gather, waiting, now),
        }
        self.deliver_gather(&gather, out, now);
    }

    pub(super) fn deliver_gather(&mut self, gather: &Gather, reply: Vec<u8>, now: Now) {
        let waited_us = now.mono_us.saturating_sub(gather.since_us).min(u64::from(u32::MAX));
        self.latency.record(gather.pool, gather.asked.family, waited_us as u32);
        if self.reads_replicas {
            self.note_answered(Target::Client { client: gather.client, seq: gather.seq }, now);
        }
        self.deliver(gather.client, gather.seq, Reply::Owned(reply));
    }

    /// Puts a gather back that asks once more, with `parts` parts.
    pub(super) fn reopen_gather(
        &mut self,
        mut gather: Gather,
        kind: Kind,
        parts: usize,
    ) -> (u32, u32) {
        gather.kind = kind;
        gather.left = parts;
        gather.parts.clear();
        gather.parts.resize(parts, Vec::new());
        self.gathers.insert(gather)
    }
}

/// The values in the order of the keys. A part that failed fails the whole: half an answer would
/// say of the missing keys that they do not exist.
fn merge_mget(owners: &[u32], parts: &[Vec<u8>], out: &mut Vec<u8>) {
    if let Some(error) = parts.iter().find(|part| value::is_error(part)) {
        out.extend_from_slice(error);
        return;
    }
    let mut values: Vec<_> = parts.iter().map(|part| value::elements(part)).collect();
    encode::array_header(out, owners.len());
    for owner in owners {
        let next = values.get_mut(*owner as usize).and_then(|values| values.as_mut()?.next());
        let Some(next) = next else {
            out.clear();
            encode::error(out, "ERR a shard answered MGET with too few values");
            return;
        };
        out.extend_from_slice(next);
    }
}
