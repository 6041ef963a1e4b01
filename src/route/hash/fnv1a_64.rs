//! FNV-1a of 64 bits, of which the low 32 are used, reading `char`. The default of twemproxy.
//!
//! In halves as `fnv1_64`; twemproxy itself calculates this one in 32 bits.

use super::widen;

const START: u32 = 0xcbf2_9ce4_8422_2325_u64 as u32;
const PRIME: u32 = 0x0000_0100_0000_01b3_u64 as u32;

pub(super) fn hash<const SIGNED: bool>(key: &[u8]) -> u32 {
    key.iter().fold(START, |value, byte| (value ^ widen::<SIGNED>(*byte)).wrapping_mul(PRIME))
}
