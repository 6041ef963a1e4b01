//! Requests over shards that can be split: MGET, MSET, DEL, UNLINK, TOUCH, EXISTS.

use crate::base::ids::{ClientId, ShardId};
use crate::base::time::Now;
use crate::command::keys::find_keys;
use crate::command::model::{Command, Keys, Merge, Split};
use crate::relay::Relay;
use crate::relay::dispatch::Outcome;
use crate::relay::gather::Kind;
use crate::resp::args::Request;
use crate::resp::encode;
use crate::stats::cells::PoolMetric;

/// One shard's part of a split request.
struct Part {
    shard: ShardId,
    lane: u32,
    keys: usize,
    sent: bool,
}

impl Relay {
    /// All keys on one shard: forwarded as it is. Else each shard gets its keys, in their order,
    /// duplicates kept.
    pub(super) fn split(
        &mut self,
        id: ClientId,
        command: &'static Command,
        split: Split,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        let outcome = match find_keys(command, request, &mut keys) {
            Ok(()) => self.split_keys(id, command, split, (request, &keys), now),
            Err(error) => self.answer_keys_error(id, command, error),
        };
        self.keys = keys;
        outcome
    }

    fn split_keys(
        &mut self,
        id: ClientId,
        command: &'static Command,
        split: Split,
        (request, keys): (&Request<'_>, &[u32]),
        now: Now,
    ) -> Outcome {
        if let Keys::Range { step: 2, .. } = command.keys
            && request.len() % 2 == 0
        {
            self.answer(id, |out| crate::command::errors::wrong_arity(command, out));
            return Outcome::Done;
        }
        let first = self.shard_of(id, request.arg(1));
        let Some(other) =
            keys.iter().position(|key| self.shard_of(id, request.arg(*key as usize)) != first)
        else {
            return self.forward_to(id, command, (request.len(), first), now);
        };
        // `owners[i]`: the part that key `i` belongs to.
        let mut parts: Vec<Part> = Vec::new();
        let mut part_of = vec![u32::MAX; usize::from(self.shards_of(id))];
        let mut owners = Vec::with_capacity(keys.len());
        for (at, key) in keys.iter().enumerate() {
            let shard =
                if at < other { first } else { self.shard_of(id, request.arg(*key as usize)) };
            let Some(owner) = part_of.get_mut(shard.index()) else { return Outcome::Done };
            if *owner == u32::MAX {
                *owner = parts.len() as u32;
                parts.push(Part { shard, lane: 0, keys: 0, sent: false });
            }
            owners.push(*owner);
            parts[*owner as usize].keys += 1;
        }
        self.send_split(id, command, split, (request, keys), (parts, owners), now);
        Outcome::Done
    }

    /// Writes every shard's part straight into its lane.
    fn send_split(
        &mut self,
        id: ClientId,
        command: &'static Command,
        split: Split,
        (request, keys): (&Request<'_>, &[u32]),
        (mut parts, owners): (Vec<Part>, Vec<u32>),
        now: Now,
    ) {
        if self.unwritable && command.may_write() {
            let shards: Vec<ShardId> = parts.iter().map(|part| part.shard).collect();
            if self.refuse_write(id, &shards) {
                return;
            }
        }
        let Some(client) = self.client(id) else { return };
        let (pool, lane_set) = (client.pool, client.lane_set);
        for part in &mut parts {
            part.lane = self.lane_for(id, (lane_set, part.shard), command, now);
        }
        // Known to fail: then no part is sent, rather than done on some shards.
        if let Some(refuses) = parts.iter().find(|part| !self.may_enqueue(part.lane, now.mono_us)) {
            let lane = refuses.lane;
            self.count_forward_error(id);
            let mut error = Vec::new();
            self.lane_error(lane, &mut error);
            self.answer(id, |out| out.extend_from_slice(&error));
            return;
        }
        if command.may_write() {
            parts.iter().for_each(|part| self.note_write(id, Some(part.shard)));
        }
        self.stats.pool(pool, PoolMetric::Fragments).add(parts.len() as u64);
        let (kind, args_a_key) = match split {
            Split::Mget => (Kind::Mget { owners: owners.clone() }, 1),
            Split::Mset => (Kind::Merge(Merge::AllSucceeded), 2),
            Split::Sum => (Kind::Merge(Merge::Sum), 1),
        };
        let Some(gather) = self.open_gather(id, command.asked(0), kind, parts.len(), now) else {
            return;
        };
        let mut failed = Vec::new();
        for (at, part) in parts.iter_mut().enumerate() {
            let asked = command.asked(1 + part.keys * args_a_key);
            part.sent = self.send_part(gather, at, part.lane, asked, now);
            if !part.sent {
                failed.push((at, part.lane));
                continue;
            }
            let mut header = self.spare();
            encode::array_header(&mut header, 1 + part.keys * args_a_key);
            header.extend_from_slice(request.wire(0));
            self.put_lane(part.lane, &header);
            super::give_spare(&mut self.spares, header);
        }
        for (key, owner) in keys.iter().zip(&owners) {
            let part = &parts[*owner as usize];
            if part.sent {
                let lane = part.lane;
                for arg in *key as usize..*key as usize + args_a_key {
                    self.put_lane(lane, request.wire(arg));
                }
            }
        }
        for part in &parts {
            self.stall_feeder(part.lane, id);
        }
        if !failed.is_empty() {
            self.count_forward_error(id);
            self.fail_parts(gather, &failed, now);
        }
    }

    pub(super) fn shards_of(&self, id: ClientId) -> u16 {
        match self.clients.get(id.index, id.generation) {
            Some(client) => self.pool(client.pool).router.shards(),
            None => 0,
        }
    }

    /// The shards of the client's pool, in their order.
    pub(super) fn all_shards(&self, id: ClientId) -> Vec<ShardId> {
        (0..self.shards_of(id)).map(ShardId).collect()
    }
}
