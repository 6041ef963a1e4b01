//! Requests to every shard, and what is made of the replies (redis' response policies).

use crate::base::ids::{ClientId, ShardId};
use crate::base::time::Now;
use crate::command::model::{Command, Merge};
use crate::command::shape::Asked;
use crate::relay::Relay;
use crate::relay::dispatch::Outcome;
use crate::relay::gather::Kind;
use crate::relay::lane::LaneState;
use crate::resp::args::Request;
use crate::resp::{Protocol, encode, value};
use crate::stats::cells::PoolMetric;

impl Relay {
    pub(super) fn fan(
        &mut self,
        id: ClientId,
        command: &'static Command,
        merge: Merge,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        let shards = self.all_shards(id);
        if command.may_write() {
            if self.unwritable && self.refuse_write(id, &shards) {
                return Outcome::Done;
            }
            self.note_write(id, None);
        }
        let asked = command.asked(request.len());
        self.fan_to(id, asked, (&shards, request.bytes), Kind::Merge(merge), now);
        Outcome::Done
    }

    /// The same bytes to each of `shards`; part `i` is the reply of `shards[i]`.
    pub(super) fn fan_to(
        &mut self,
        id: ClientId,
        asked: Asked,
        (shards, bytes): (&[ShardId], &[u8]),
        kind: Kind,
        now: Now,
    ) {
        if let Some(gather) = self.open_gather(id, asked, kind, shards.len(), now) {
            self.fan_parts(gather, id, asked, (shards, bytes), now);
        }
    }

    /// Sends the parts of an open gather.
    pub(super) fn fan_parts(
        &mut self,
        gather: (u32, u32),
        id: ClientId,
        asked: Asked,
        (shards, bytes): (&[ShardId], &[u8]),
        now: Now,
    ) {
        let Some(lane_set) = self.gathers.get(gather.0, gather.1).map(|open| open.lane_set) else {
            return;
        };
        let lanes = shards.iter().map(|shard| self.lane_of(lane_set, *shard, id));
        let lanes: Vec<u32> = lanes.collect();
        self.fan_lanes(gather, id, asked, (&lanes, bytes), now);
    }

    /// The same bytes down each of `lanes`, as the parts of an open gather.
    pub(super) fn fan_lanes(
        &mut self,
        gather: (u32, u32),
        id: ClientId,
        asked: Asked,
        (lanes, bytes): (&[u32], &[u8]),
        now: Now,
    ) {
        let Some(pool) = self.gathers.get(gather.0, gather.1).map(|open| open.pool) else { return };
        self.stats.pool(pool, PoolMetric::Fragments).add(lanes.len() as u64);
        let mut failed = Vec::new();
        for (part, lane) in lanes.iter().copied().enumerate() {
            if self.send_part(gather, part, lane, asked, now) {
                self.put_lane(lane, bytes);
                self.stall_feeder(lane, id);
            } else {
                failed.push((part, lane));
            }
        }
        self.fail_parts(gather, &failed, now);
    }

    /// To one shard, whichever: the first that is not down.
    pub(super) fn forward_to_any(
        &mut self,
        id: ClientId,
        command: &Command,
        args: usize,
        now: Now,
    ) -> Outcome {
        let Some(lane_set) = self.client(id).map(|client| client.lane_set) else {
            return Outcome::Done;
        };
        let up = self.all_shards(id).into_iter().find(|shard| {
            let lane = self.lane_of(lane_set, *shard, id);
            !matches!(self.lanes[lane as usize].state, LaneState::Down { .. } | LaneState::Held)
        });
        self.forward_to(id, command, (args, up.unwrap_or(ShardId(0))), now)
    }
}

/// Merges the replies of several shards into one.
pub(super) fn merge(by: Merge, parts: &[Vec<u8>], protocol: Protocol, out: &mut Vec<u8>) {
    let errors = || parts.iter().filter(|part| value::is_error(part));
    if by == Merge::OneSucceeded {
        let chosen = parts
            .iter()
            .find(|part| !value::is_error(part))
            .or_else(|| errors().find(|part| value::error_word(part) != b"NOTBUSY"))
            .or_else(|| parts.first());
        out.extend_from_slice(chosen.map_or(b"".as_slice(), |part| part));
        return;
    }
    if let Some(error) = errors().next() {
        out.extend_from_slice(error);
        return;
    }
    match by {
        Merge::AllSucceeded | Merge::OneSucceeded => {
            out.extend_from_slice(parts.first().map_or(b"".as_slice(), |part| part));
        }
        Merge::Sum => merge_integers(parts, out, |a, b| a.saturating_add(b)),
        Merge::Min => merge_integers(parts, out, i64::min),
        Merge::MinOfEach => merge_each(parts, out, i64::min),
        Merge::LogicalAnd => merge_each(parts, out, |a, b| a & b),
        Merge::Concat => merge_concat(parts, protocol, out),
    }
}

fn merge_integers(parts: &[Vec<u8>], out: &mut Vec<u8>, by: fn(i64, i64) -> i64) {
    let numbers = parts.iter().map(|part| value::integer(part));
    match numbers.reduce(|a, b| Some(by(a?, b?))).flatten() {
        Some(number) => encode::integer(out, number),
        None => encode::error(out, "ERR a shard answered with something else than a number"),
    }
}

/// Arrays of as many integers each, element by element.
fn merge_each(parts: &[Vec<u8>], out: &mut Vec<u8>, by: fn(i64, i64) -> i64) {
    let numbers = |part| value::elements(part)?.map(value::integer).collect::<Option<Vec<_>>>();
    let all = parts.iter().map(|part| numbers(part)).reduce(|all, part| {
        let (all, part) = (all?, part?);
        let pairs = all.iter().zip(&part);
        (all.len() == part.len()).then(|| pairs.map(|(a, b)| by(*a, *b)).collect())
    });
    let Some(all) = all.flatten() else {
        return encode::error(out, "ERR a shard answered with something else than these numbers");
    };
    encode::array_header(out, all.len());
    for number in all {
        encode::integer(out, number);
    }
}

/// Arrays, or RESP3's sets, one behind the other.
fn merge_concat(parts: &[Vec<u8>], protocol: Protocol, out: &mut Vec<u8>) {
    let mut count = 0;
    let mut body = Vec::with_capacity(parts.iter().map(Vec::len).sum());
    for part in parts {
        for element in value::elements(part).into_iter().flatten() {
            body.extend_from_slice(element);
            count += 1;
        }
    }
    let set = parts.first().is_some_and(|part| part.first() == Some(&b'~'));
    if set {
        encode::Encoder::new(protocol).set_header(out, count);
    } else {
        encode::array_header(out, count);
    }
    out.extend_from_slice(&body);
}
