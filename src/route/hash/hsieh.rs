//! Paul Hsieh's SuperFastHash, started at 0 and not at the length. Only the last byte of a tail of
//! three is read as `char`; a tail of one is unsigned everywhere.

use super::{widen, word};

pub(super) fn hash<const SIGNED: bool>(key: &[u8]) -> u32 {
    let (blocks, tail) = key.as_chunks::<4>();
    let mut value = blocks.iter().fold(0u32, |value, block| {
        let value = value.wrapping_add(word(&block[..2]));
        let mixed = value << 16 ^ word(&block[2..]) << 11 ^ value;
        mixed.wrapping_add(mixed >> 11)
    });
    match tail {
        [low, high, last] => {
            value = value.wrapping_add(word(&[*low, *high]));
            value ^= value << 16;
            value ^= widen::<SIGNED>(*last) << 18;
            value = value.wrapping_add(value >> 11);
        }
        [low, high] => {
            value = value.wrapping_add(word(&[*low, *high]));
            value ^= value << 11;
            value = value.wrapping_add(value >> 17);
        }
        [last] => {
            value = value.wrapping_add(u32::from(*last));
            value ^= value << 10;
            value = value.wrapping_add(value >> 1);
        }
        _ => {}
    }
    value ^= value << 3;
    value = value.wrapping_add(value >> 5);
    value ^= value << 4;
    value = value.wrapping_add(value >> 17);
    value ^= value << 25;
    value.wrapping_add(value >> 6)
}
