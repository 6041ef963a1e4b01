//! SCAN and RANDOMKEY over shards.
//!
//! A cursor of ours is `node cursor × 2^bits + shard`, with the fewest bits that number all shards.
//! A node's cursor is passed back to it unchanged, so each shard keeps redis' promise for its keys,
//! and the shards are gone through one after another. Redis' cursors use no more bits than its
//! table has (2^48 keys would need 48): with up to 12 bits for the shard the result stays below
//! 2^63, which clients that read it as a signed number need.

use crate::base::ids::{ClientId, ShardId};
use crate::base::time::Now;
use crate::command::model::Command;
use crate::relay::Relay;
use crate::relay::dispatch::Outcome;
use crate::relay::gather::{Gather, Kind};
use crate::resp::args::Request;
use crate::resp::encode::Encoder;
use crate::resp::{encode, value};

/// A place in the scan of all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) shard: ShardId,
    pub(super) node: u64,
}

/// A search for any key.
#[derive(Debug)]
pub(super) struct Search {
    /// The shard to be asked next, and how many are left.
    next: u16,
    left: u16,
    /// What the first shard said that could not be asked.
    error: Option<Vec<u8>>,
}

impl Cursor {
    /// Bits that number `shards` shards.
    fn bits(shards: u16) -> u32 {
        u16::BITS - shards.saturating_sub(1).leading_zeros()
    }

    fn decode(text: &[u8], shards: u16) -> Option<Cursor> {
        let number: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        let bits = Cursor::bits(shards);
        let shard = number & ((1 << bits) - 1);
        let shard = u16::try_from(shard).ok().filter(|shard| *shard < shards)?;
        Some(Cursor { shard: ShardId(shard), node: number >> bits })
    }

    /// `None`: the node's cursor leaves no room for the shard.
    fn encode(self, shards: u16) -> Option<u64> {
        let bits = Cursor::bits(shards);
        if self.node.leading_zeros() <= bits {
            return None;
        }
        Some(self.node << bits | u64::from(self.shard.0))
    }

    /// Where the scan goes on after a node has answered `node`; 0 after the last key of the last
    /// shard.
    fn next(shard: ShardId, node: u64, shards: u16) -> Option<u64> {
        if node != 0 {
            return Cursor { shard, node }.encode(shards);
        }
        if shard.0 + 1 >= shards {
            return Some(0);
        }
        Cursor { shard: ShardId(shard.0 + 1), node: 0 }.encode(shards)
    }

    /// The reply of a shard's SCAN, with our cursor in place of the node's.
    pub(super) fn rewrite(shard: ShardId, shards: u16, parts: &[Vec<u8>], out: &mut Vec<u8>) {
        let reply = parts.first().map_or(b"".as_slice(), |part| part);
        if value::is_error(reply) {
            out.extend_from_slice(reply);
            return;
        }
        let read = || {
            let mut elements = value::elements(reply)?;
            let node = value::bulk(elements.next()?)??;
            let node: u64 = std::str::from_utf8(node).ok()?.parse().ok()?;
            Some((Cursor::next(shard, node, shards)?, elements.next()?))
        };
        match read() {
            Some((cursor, keys)) => {
                encode::array_header(out, 2);
                encode::bulk(out, cursor.to_string().as_bytes());
                out.extend_from_slice(keys);
            }
            None => encode::error(out, "ERR a shard answered SCAN with something else"),
        }
    }
}

impl Relay {
    /// SCAN cursor [MATCH …] [COUNT …] [TYPE …]: one shard is asked for each call.
    pub(super) fn scan(
        &mut self,
        id: ClientId,
        command: &'static Command,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        let shards = self.all_shards(id).len() as u16;
        let Some(cursor) = Cursor::decode(request.arg(1), shards) else {
            return self.refuse(id, "ERR invalid cursor");
        };
        let node = cursor.node.to_string();
        let mut args: Vec<&[u8]> = request.iter().collect();
        if let Some(arg) = args.get_mut(1) {
            *arg = node.as_bytes();
        }
        let mut bytes = Vec::new();
        encode::request(&mut bytes, &args);
        let kind = Kind::Scan { shard: cursor.shard };
        self.fan_to(id, command.asked(request.len()), (&[cursor.shard], &bytes), kind, now);
        Outcome::Done
    }

    /// RANDOMKEY: of a shard drawn by lot, or of the next that has a key.
    pub(super) fn random_key(
        &mut self,
        id: ClientId,
        command: &'static Command,
        now: Now,
    ) -> Outcome {
        let shards = self.shards_of(id).max(1);
        let next = self.random.below(u64::from(shards)) as u16;
        let search = Search { next, left: shards, error: None };
        let opened = self.open_gather(id, command.asked(1), Kind::ScriptLoad, 1, now);
        if let Some(gather) = opened.and_then(|at| self.gathers.remove(at.0, at.1)) {
            self.search_key(gather, search, now);
        }
        Outcome::Done
    }

    pub(super) fn complete_random_key(&mut self, gather: Gather, mut search: Search, now: Now) {
        let reply = gather.parts.first().cloned().unwrap_or_default();
        if value::is_error(&reply) {
            search.error.get_or_insert(reply);
        } else if value::bulk(&reply) != Some(None) {
            return self.deliver_gather(&gather, reply, now);
        }
        self.search_key(gather, search, now);
    }

    /// Asks the next shard that can be asked. If there is none any more, nobody has a key: unless
    /// a shard could not say so.
    fn search_key(&mut self, gather: Gather, mut search: Search, now: Now) {
        let (id, asked, lane_set) = (gather.client, gather.asked, gather.lane_set);
        let shards = self.pool(gather.pool).router.shards().max(1);
        while search.left > 0 {
            let lane = self.lane_of(lane_set, ShardId(search.next), id);
            (search.next, search.left) = ((search.next + 1) % shards, search.left - 1);
            if self.may_enqueue(lane, now.mono_us) {
                let at = self.reopen_gather(gather, Kind::RandomKey(search), 1);
                return self.fan_lanes(at, id, asked, (&[lane], RANDOMKEY), now);
            }
            if search.error.is_none() {
                let mut error = Vec::new();
                self.lane_error(lane, &mut error);
                search.error = Some(error);
            }
        }
        let mut reply = search.error.unwrap_or_default();
        if reply.is_empty() {
            Encoder::new(gather.protocol).null(&mut reply);
        }
        self.deliver_gather(&gather, reply, now);
    }
}

const RANDOMKEY: &[u8] = b"*1\r\n$9\r\nRANDOMKEY\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_carries_its_shard() {
        for shards in [1, 2, 3, 4, 100, 4096] {
            for shard in [0, shards - 1] {
                for node in [1, 2, 0x5555_5555, (1 << 48) - 1] {
                    let cursor = Cursor { shard: ShardId(shard), node };
                    let number = cursor.encode(shards).unwrap();
                    assert!(number < 1 << 63);
                    assert_eq!(Cursor::decode(number.to_string().as_bytes(), shards), Some(cursor));
                }
            }
        }
    }

    #[test]
    fn the_scan_visits_every_shard_and_ends() {
        let shards = 3;
        let mut visited = Vec::new();
        let mut number = 0;
        loop {
            let cursor = Cursor::decode(number.to_string().as_bytes(), shards).unwrap();
            visited.push(cursor.shard.0);
            let node = if cursor.node == 0 { 17 } else { 0 };
            number = Cursor::next(cursor.shard, node, shards).unwrap();
            if number == 0 {
                break;
            }
        }
        assert_eq!(visited, [0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn a_cursor_of_no_shard_is_refused() {
        assert_eq!(Cursor::decode(b"3", 3), None);
        assert_eq!(Cursor::decode(b"-1", 3), None);
        assert_eq!(Cursor::decode(b"", 3), None);
        assert_eq!(Cursor::decode(b"99999999999999999999", 3), None);
        assert_eq!(Cursor::decode(b"0", 1), Some(Cursor { shard: ShardId(0), node: 0 }));
    }
}
