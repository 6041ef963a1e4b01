//! Bob Jenkins' one-at-a-time hash, reading `char`.

use super::widen;

pub(super) fn hash<const SIGNED: bool>(key: &[u8]) -> u32 {
    let mut value = 0u32;
    for byte in key {
        value = value.wrapping_add(widen::<SIGNED>(*byte));
        value = value.wrapping_add(value << 10);
        value ^= value >> 6;
    }
    value = value.wrapping_add(value << 3);
    value ^= value >> 11;
    value.wrapping_add(value << 15)
}
