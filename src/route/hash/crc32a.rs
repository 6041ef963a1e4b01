//! The CRC-32 of zlib, whole.

pub(super) fn hash(key: &[u8]) -> u32 {
    crc32fast::hash(key)
}
