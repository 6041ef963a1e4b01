//! The twelve hash functions of twemproxy, bit for bit: a key's bytes to the 32 bits that a
//! distribution places.
//!
//! Each file is one function and knows nothing else. None may ever be "corrected": several differ
//! from the textbook (the files say where), and the data of our users lies where these put it.
//! Called by `route::Router`, which chooses the function once and then calls it for every key.

mod crc16;
mod crc32;
mod crc32a;
mod fnv1_32;
mod fnv1_64;
mod fnv1a_32;
mod fnv1a_64;
mod hsieh;
mod jenkins;
mod md5;
mod murmur;
mod one_at_a_time;
#[cfg(test)]
mod tests;

use crate::config::model::{CharSignedness, HashKind};

/// A key's bytes to the value that is looked up.
pub type HashFn = fn(&[u8]) -> u32;

/// Every hash with its name in the configuration, in twemproxy's order.
pub const HASHES: [(HashKind, &str); 12] = [
    (HashKind::OneAtATime, "one_at_a_time"),
    (HashKind::Md5, "md5"),
    (HashKind::Crc16, "crc16"),
    (HashKind::Crc32, "crc32"),
    (HashKind::Crc32a, "crc32a"),
    (HashKind::Fnv1_64, "fnv1_64"),
    (HashKind::Fnv1a64, "fnv1a_64"),
    (HashKind::Fnv1_32, "fnv1_32"),
    (HashKind::Fnv1a32, "fnv1a_32"),
    (HashKind::Hsieh, "hsieh"),
    (HashKind::Murmur, "murmur"),
    (HashKind::Jenkins, "jenkins"),
];

/// The hash of `key`. An empty key is 0 whatever the function: twemproxy never hashes it.
pub fn hash(kind: HashKind, signedness: CharSignedness, key: &[u8]) -> u32 {
    if key.is_empty() {
        return 0;
    }
    function(kind, signedness)(key)
}

/// CRC-16 as Redis Cluster has it: of twemproxy's the low half.
pub(super) fn crc16_of_cluster(key: &[u8]) -> u16 {
    crc16::hash(key) as u16
}

/// The function itself, for callers that hash many keys. It must not be given an empty key, for
/// which only [`hash`] knows the answer.
pub fn function(kind: HashKind, signedness: CharSignedness) -> HashFn {
    match signedness {
        CharSignedness::Signed => function_of::<true>(kind),
        CharSignedness::Unsigned => function_of::<false>(kind),
    }
}

/// The name of `kind` in the configuration.
pub fn name(kind: HashKind) -> &'static str {
    // The table holds every kind (a test says so), so the fallback is never taken.
    HASHES.iter().find(|(listed, _)| *listed == kind).map_or("unknown", |(_, name)| name)
}

/// Whether the signedness of `char` changes any value of `kind`.
pub fn reads_char(kind: HashKind) -> bool {
    match kind {
        HashKind::OneAtATime
        | HashKind::Fnv1_64
        | HashKind::Fnv1a64
        | HashKind::Fnv1_32
        | HashKind::Fnv1a32
        | HashKind::Hsieh => true,
        HashKind::Md5
        | HashKind::Crc16
        | HashKind::Crc32
        | HashKind::Crc32a
        | HashKind::Murmur
        | HashKind::Jenkins => false,
    }
}

fn function_of<const SIGNED: bool>(kind: HashKind) -> HashFn {
    match kind {
        HashKind::OneAtATime => one_at_a_time::hash::<SIGNED>,
        HashKind::Md5 => md5::hash,
        HashKind::Crc16 => crc16::hash,
        HashKind::Crc32 => crc32::hash,
        HashKind::Crc32a => crc32a::hash,
        HashKind::Fnv1_64 => fnv1_64::hash::<SIGNED>,
        HashKind::Fnv1a64 => fnv1a_64::hash::<SIGNED>,
        HashKind::Fnv1_32 => fnv1_32::hash::<SIGNED>,
        HashKind::Fnv1a32 => fnv1a_32::hash::<SIGNED>,
        HashKind::Hsieh => hsieh::hash::<SIGNED>,
        HashKind::Murmur => murmur::hash,
        HashKind::Jenkins => jenkins::hash,
    }
}

/// What C makes of a `char` that meets a 32-bit word: a signed one of 0x80 or more is sign-extended
/// to 0xffffffXX.
#[inline(always)]
fn widen<const SIGNED: bool>(byte: u8) -> u32 {
    if SIGNED { i32::from(byte.cast_signed()).cast_unsigned() } else { u32::from(byte) }
}

/// A little-endian word of up to four bytes; missing high bytes are 0.
#[inline(always)]
fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}
