//! The CRC-32 of zlib cut to 15 bits (16 to 30), as libmemcached has it.
//!
//! With ketama every value lies before nearly every point of the ring, so that all keys go to the
//! shard of the first one. The data is there; the configuration warns about it.

pub(super) fn hash(key: &[u8]) -> u32 {
    crc32fast::hash(key) >> 16 & 0x7fff
}
