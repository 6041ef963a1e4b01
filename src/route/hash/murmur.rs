//! Austin Appleby's MurmurHash2 with a seed made of the key's length.

use super::word;

const M: u32 = 0x5bd1_e995;

pub(super) fn hash(key: &[u8]) -> u32 {
    // Lengths are 32 bits wide in twemproxy.
    let len = key.len() as u32;
    let seed = len.wrapping_mul(0xdead_beef);
    let (blocks, tail) = key.as_chunks::<4>();
    let mut value = blocks.iter().fold(seed ^ len, |value, block| {
        let mixed = word(block).wrapping_mul(M);
        let mixed = (mixed ^ mixed >> 24).wrapping_mul(M);
        value.wrapping_mul(M) ^ mixed
    });
    if !tail.is_empty() {
        value = (value ^ word(tail)).wrapping_mul(M);
    }
    value ^= value >> 13;
    value = value.wrapping_mul(M);
    value ^ value >> 15
}
