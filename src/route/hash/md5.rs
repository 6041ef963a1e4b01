//! The first word of the MD5 digest, little-endian.

use md5::{Digest, Md5};

pub(super) fn hash(key: &[u8]) -> u32 {
    super::word(&Md5::digest(key)[..4])
}
