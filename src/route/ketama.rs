//! ketama: shards own points on a ring of 32-bit values; a hash belongs to the first point at or
//! after it.
//!
//! How many points a weight gives is calculated with `f32` where twemproxy does (hashkit,
//! `ketama_update`), for its rounding is part of the placement. The look-up is not twemproxy's
//! binary search but gives the same answer.

use std::fmt;
use std::io::Write;

use md5::{Digest, Md5};

use crate::base::ids::ShardId;
use crate::base::limits;

/// Points of a shard among equals (unless `f32` rounds it to 156).
const POINTS_PER_SHARD: f32 = 160.0;
/// A digest of 16 bytes is four points.
const POINTS_PER_DIGEST: usize = 4;
/// twemproxy hashes the name, `-` and a decimal out of a buffer of 273 bytes, of which one is NUL.
/// Past it, it reads what lies behind; there is no placement to be identical to.
const LABEL_BYTES_MAX: usize = 272;
/// Digits of the largest number after the name: a shard has at most all 160 × 4096 points.
const LABEL_DIGITS_MAX: usize = 6;
const _: () = assert!(limits::NAME_BYTES_MAX + 1 + LABEL_DIGITS_MAX <= LABEL_BYTES_MAX);
const _: () = assert!(limits::SHARDS_MAX * 160 / POINTS_PER_DIGEST < 1_000_000);
/// Bits of the index at most: 2^20 buckets are 4 MiB, for the 655,360 points of 4096 shards.
const INDEX_BITS_MAX: u32 = 20;

/// Where a shard's territory ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    value: u32,
    shard: ShardId,
}

/// The ring of one pool. Immutable.
///
/// The index cuts the values by their highest bits into 2 to 4 buckets a point, and holds for each
/// its first point, so that a look-up is one read there and 1.3 points on average. Measured with
/// random hashes, each waiting for the one before: 2.5 ns against 10 ns of a binary search with
/// 640 points, 5 ns against 18 ns with 16,000, 5 ns against 40 ns with 160,000. Values and shards
/// side by side were 10 % faster than in lists of their own.
#[derive(Clone)]
pub(super) struct Ring {
    /// By value; equal values in the order of shards. The last one is not a point of the ring: it
    /// stands at the highest value for the first point, so that past the end needs no question.
    points: Box<[Point]>,
    /// By the highest bits of a hash: the first point that is not below the bucket.
    index: Box<[u32]>,
    /// How far to shift a hash to the right for its bucket.
    shift: u32,
}

impl Ring {
    /// Names and weights stand in the order of `ShardId`.
    pub(super) fn new(shards: &[(&str, u32)]) -> Ring {
        let weight_total: u64 = shards.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut points = Vec::new();
        for (index, (name, weight)) in shards.iter().enumerate() {
            let count = point_count(*weight, weight_total, shards.len());
            push_points(&mut points, ShardId(index as u16), name, count);
        }
        // Stable, so equal values keep the order of shards.
        points.sort_by_key(|point| point.value);
        let first = points.first().map_or(ShardId(0), |point| point.shard);
        let (index, shift) = index_of(&points);
        points.push(Point { value: u32::MAX, shard: first });
        Ring { points: points.into(), index, shift }
    }

    #[inline]
    pub(super) fn shard_of(&self, hash: u32) -> ShardId {
        let mut at = self.index[(hash >> self.shift) as usize] as usize;
        // The last value is the highest there is, so this ends.
        while self.points[at].value < hash {
            at += 1;
        }
        self.points[at].shard
    }

    /// The points in ascending order: value and shard.
    pub(super) fn points(&self) -> impl ExactSizeIterator<Item = (u32, ShardId)> + '_ {
        let own = self.points.split_last().map_or(&[][..], |(_, own)| own);
        own.iter().map(|point| (point.value, point.shard))
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("points", &self.points().len()).finish_non_exhaustive()
    }
}

/// How many points a weight gives among `shards` of `weight_total` together; a multiple of 4, and 0
/// for a share below a tenth of a percent or so (such a shard has no keys).
fn point_count(weight: u32, weight_total: u64, shards: usize) -> usize {
    let share = weight as f32 / weight_total as f32;
    // All in f32 up to the sum, which twemproxy makes in double and cuts to float again.
    let digests = share * POINTS_PER_SHARD / POINTS_PER_DIGEST as f32 * shards as f32;
    let digests = (f64::from(digests) + 1e-10) as f32;
    digests.floor() as usize * POINTS_PER_DIGEST
}

fn push_points(points: &mut Vec<Point>, shard: ShardId, name: &str, count: usize) {
    let mut label = Vec::with_capacity(name.len() + 1 + LABEL_DIGITS_MAX);
    label.extend_from_slice(name.as_bytes());
    label.push(b'-');
    let prefix_len = label.len();
    for number in 0..count / POINTS_PER_DIGEST {
        label.truncate(prefix_len);
        // Writing to a vector does not fail.
        let _ = write!(label, "{number}");
        let digest = Md5::digest(&label);
        let (words, _) = digest.as_chunks::<4>();
        points.extend(words.iter().map(|word| Point { value: u32::from_le_bytes(*word), shard }));
    }
}

/// The index over sorted points, and the shift that leads into it.
fn index_of(points: &[Point]) -> (Box<[u32]>, u32) {
    let bits = (points.len().next_power_of_two().ilog2() + 1).min(INDEX_BITS_MAX);
    let shift = u32::BITS - bits;
    let mut at = 0;
    let index = (0..1u32 << bits)
        .map(|bucket| {
            while points.get(at).is_some_and(|point| point.value < bucket << shift) {
                at += 1;
            }
            at as u32
        })
        .collect();
    (index, shift)
}

#[cfg(test)]
mod tests;
