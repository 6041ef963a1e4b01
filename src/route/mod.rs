//! Which shard a key belongs to: twemproxy's hashes and distributions, bit for bit.
//!
//! A pool's [`Router`] is made once from its configuration and never changes: a key that was placed
//! must be found again by every core, every other proxy and twemproxy itself, whatever is alive.
//! So there is no `auto_eject_hosts` here, no state, and no address: only names and weights count.
//! Called by the relay for every key, by `corelay explain` and `placement`, and by the
//! configuration for the order and the names of shards, and for what a reload would move.
//!
//! The order of questions (twemproxy, `server_pool_idx`): a pool of one shard is that shard; else
//! the [`hash_tag`] cuts the key, a function of [`hash`] makes 32 bits of it (of nothing: 0), and
//! the distribution, [`ketama`] or [`modula`], makes a shard of these.
#![forbid(unsafe_code)]

pub mod hash;
mod hash_tag;
mod ketama;
mod modula;
pub mod moves;
mod names;
#[cfg(test)]
mod tests;

pub use names::{derived_name, server_order};

use md5::{Digest, Md5};

use crate::base::ids::ShardId;
use crate::config::model::{CharSignedness, DistributionKind, HashKind, PoolConfig};
use hash::HashFn;

/// Hash slots of a Redis Cluster.
pub const HASH_SLOTS: u16 = 16_384;

/// The hash slot of a key: what CLUSTER KEYSLOT says. No placement of ours depends on it.
pub fn hash_slot(key: &[u8]) -> u16 {
    let crc = hash::crc16_of_cluster(hash_tag::tagged(Some((b'{', b'}')), key));
    crc % HASH_SLOTS
}

/// All that a placement depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules<'a> {
    pub hash: HashKind,
    pub char_signedness: CharSignedness,
    /// Opening and closing byte.
    pub hash_tag: Option<(u8, u8)>,
    pub distribution: DistributionKind,
    /// Name and weight (at least 1), in [`server_order`]; at most `limits::SHARDS_MAX`.
    pub shards: Vec<(&'a str, u32)>,
}

/// The placement of one pool. Immutable.
#[derive(Clone, Debug)]
pub struct Router {
    hash: HashFn,
    hash_tag: Option<(u8, u8)>,
    distribution: Distribution,
    shards: u16,
    ring_hash: u64,
}

#[derive(Clone, Debug)]
enum Distribution {
    /// One shard: there is no choice.
    Single,
    Ketama(ketama::Ring),
    Modula(modula::Table),
    Random,
}

impl<'a> From<&'a PoolConfig> for Rules<'a> {
    fn from(pool: &'a PoolConfig) -> Rules<'a> {
        Rules {
            hash: pool.hash,
            char_signedness: pool.char_signedness,
            hash_tag: pool.hash_tag,
            distribution: pool.distribution,
            shards: pool.shards.iter().map(|shard| (shard.name.as_str(), shard.weight)).collect(),
        }
    }
}

impl Router {
    /// Takes 0.2 ms for ten shards on a ring, 6 ms for a hundred, 0.2 s for 4096 (measured): mostly
    /// MD5 and the sort.
    pub fn new(pool: &PoolConfig) -> Router {
        Router::from_rules(&Rules::from(pool))
    }

    pub fn from_rules(rules: &Rules<'_>) -> Router {
        let weights = rules.shards.iter().map(|(_, weight)| *weight);
        let distribution = match rules.distribution {
            _ if rules.shards.len() <= 1 => Distribution::Single,
            DistributionKind::Ketama => Distribution::Ketama(ketama::Ring::new(&rules.shards)),
            DistributionKind::Modula => Distribution::Modula(modula::Table::new(weights)),
            DistributionKind::Random => Distribution::Random,
        };
        Router {
            hash: hash::function(rules.hash, rules.char_signedness),
            hash_tag: rules.hash_tag,
            ring_hash: digest_of(rules, &distribution),
            distribution,
            shards: rules.shards.len() as u16,
        }
    }

    /// The shard of `key`. `random` is a number of the caller's, used only by the distribution of
    /// that name (the router has no state).
    #[inline]
    pub fn shard_of(&self, key: &[u8], random: u64) -> ShardId {
        match &self.distribution {
            Distribution::Single => ShardId(0),
            Distribution::Ketama(ring) => ring.shard_of(self.hash_of(key)),
            Distribution::Modula(table) => table.shard_of(self.hash_of(key)),
            Distribution::Random => ShardId((random % u64::from(self.shards)) as u16),
        }
    }

    /// Whether `shard_of` looks at its random number.
    #[inline]
    pub fn is_random(&self) -> bool {
        matches!(self.distribution, Distribution::Random)
    }

    /// The 32 bits that the distribution places: the hash of the [`tagged`](Router::tagged) part.
    /// A pool of one shard, and the distribution random, do not look at it.
    #[inline]
    pub fn hash_of(&self, key: &[u8]) -> u32 {
        let part = self.tagged(key);
        if part.is_empty() { 0 } else { (self.hash)(part) }
    }

    /// The part of `key` that is hashed.
    #[inline]
    pub fn tagged<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        hash_tag::tagged(self.hash_tag, key)
    }

    /// How many shards the pool has.
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// What `shard` has of the distribution: points on ketama's ring, places in modula's list, else
    /// 1. A shard with 0 has no keys; one that the pool does not have has 0.
    pub fn points_of(&self, shard: ShardId) -> usize {
        match &self.distribution {
            Distribution::Ketama(ring) => ring.points().filter(|(_, own)| *own == shard).count(),
            Distribution::Modula(table) => {
                table.weights().nth(shard.index()).map_or(0, |weight| weight as usize)
            }
            Distribution::Single | Distribution::Random => usize::from(shard.0 < self.shards),
        }
    }

    /// A number that two proxies (of any version or machine) share exactly if they place every key
    /// on the shard of the same name by the same rules; what can not matter (the hash of a pool of
    /// one shard, the signedness for a hash that does not read `char`) does not count.
    pub fn ring_hash(&self) -> u64 {
        self.ring_hash
    }
}

/// The first half of the MD5 of everything that matters, written down without ambiguity: numbers
/// little-endian and of a fixed width, names with their length before them.
fn digest_of(rules: &Rules<'_>, distribution: &Distribution) -> u64 {
    let mut text = Md5::new();
    let (kind, is_hashed) = match distribution {
        Distribution::Single => ("single", false),
        Distribution::Random => ("random", false),
        Distribution::Ketama(_) => ("ketama", true),
        Distribution::Modula(_) => ("modula", true),
    };
    put_name(&mut text, kind);
    put_number(&mut text, rules.shards.len() as u32);
    rules.shards.iter().for_each(|(name, _)| put_name(&mut text, name));
    if is_hashed {
        put_name(&mut text, hash::name(rules.hash));
        let is_unsigned = rules.char_signedness == CharSignedness::Unsigned;
        put_number(&mut text, u32::from(is_unsigned && hash::reads_char(rules.hash)));
        let tag = rules.hash_tag.map_or(0, |(open, close)| u32::from_le_bytes([1, open, close, 0]));
        put_number(&mut text, tag);
    }
    match distribution {
        Distribution::Ketama(ring) => ring.points().for_each(|(value, shard)| {
            put_number(&mut text, value);
            put_number(&mut text, u32::from(shard.0));
        }),
        Distribution::Modula(table) => {
            table.weights().for_each(|weight| put_number(&mut text, weight));
        }
        Distribution::Single | Distribution::Random => {}
    }
    let digest = text.finalize();
    digest.as_chunks::<8>().0.first().map_or(0, |half| u64::from_le_bytes(*half))
}

fn put_name(text: &mut Md5, name: &str) {
    put_number(text, name.len() as u32);
    text.update(name);
}

fn put_number(text: &mut Md5, number: u32) {
    text.update(number.to_le_bytes());
}
