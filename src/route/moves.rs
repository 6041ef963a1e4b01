//! What share of the keys is on another shard after a change: tried out, key by key.

use std::collections::BTreeMap;
use std::io;

use super::Router;
use crate::config::model::{NodeAddress, PoolConfig, ShardConfig};

/// How many keys went from which shard to which.
#[derive(Debug, Default, PartialEq)]
pub struct Moves {
    pub keys: u64,
    pub moved: u64,
    /// By places in the old and the new pool's shards.
    pub ways: BTreeMap<(usize, usize), u64>,
}

impl Moves {
    /// Sends `keys` through both pools.
    ///
    /// # Errors
    /// Those of `keys`.
    pub fn of(
        old: &PoolConfig,
        new: &PoolConfig,
        keys: impl FnOnce(&mut dyn FnMut(&[u8])) -> io::Result<()>,
    ) -> io::Result<Moves> {
        let (before, after) = (Router::new(old), Router::new(new));
        let mut moves = Moves::default();
        keys(&mut |key| {
            let (from, to) = (before.shard_of(key, 0).index(), after.shard_of(key, 0).index());
            moves.keys += 1;
            let stays = match (old.shards.get(from), new.shards.get(to)) {
                // The same redis-server under another name, or the same shard on another one.
                (Some(from), Some(to)) => from.name == to.name || is_same_server(from, to),
                _ => false,
            };
            if !stays {
                moves.moved += 1;
                *moves.ways.entry((from, to)).or_default() += 1;
            }
        })?;
        Ok(moves)
    }

    /// The share of `part` in all keys that were tried, in words.
    pub fn percent(&self, part: u64) -> String {
        match self.keys {
            0 => "0.0 %".to_owned(),
            keys => format!("{:.1} %", part as f64 * 100.0 / keys as f64),
        }
    }
}

fn is_same_server(from: &ShardConfig, to: &ShardConfig) -> bool {
    // Where sentinels tell the address, only the name says which one it is.
    from.address == to.address && from.address != NodeAddress::Sentinel
}

/// The same keys each time, so that two runs can be compared: `key:` and a SplitMix64 number
/// (Steele, Lea, Flood 2014).
pub fn random_keys(count: u64, each: &mut dyn FnMut(&[u8])) {
    let mut state: u64 = 0;
    for _ in 0..count {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        each(format!("key:{:016x}", z ^ (z >> 31)).as_bytes());
    }
}
