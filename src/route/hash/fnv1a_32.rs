//! FNV-1a of 32 bits, reading `char`.

use super::widen;

const START: u32 = 2_166_136_261;
const PRIME: u32 = 16_777_619;

pub(super) fn hash<const SIGNED: bool>(key: &[u8]) -> u32 {
    key.iter().fold(START, |value, byte| (value ^ widen::<SIGNED>(*byte)).wrapping_mul(PRIME))
}
