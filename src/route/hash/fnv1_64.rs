//! FNV-1 of 64 bits, of which the low 32 are used, reading `char`.
//!
//! Neither a product nor an exclusive or carries from high bits to low ones, so the low half of the
//! start value and of the prime give the same low half of the result.

use super::widen;

const START: u32 = 0xcbf2_9ce4_8422_2325_u64 as u32;
const PRIME: u32 = 0x0000_0100_0000_01b3_u64 as u32;

pub(super) fn hash<const SIGNED: bool>(key: &[u8]) -> u32 {
    key.iter().fold(START, |value, byte| value.wrapping_mul(PRIME) ^ widen::<SIGNED>(*byte))
}
