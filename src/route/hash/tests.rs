//! Vectors made by twemproxy's own functions on x86-64; those for unsigned `char` by the same
//! source compiled for it.

use super::*;

/// In the order of [`HASHES`].
type Row = [u32; 12];
type OwnValues = &'static [(HashKind, u32)];

#[rustfmt::skip]
const SIGNED: [(&[u8], Row); 9] = [
    (b"a",                 [0xca2e9442, 0xb975c10c, 0x00007c87, 0x000068b7, 0xe8b7be43, 0x8601b7be, 0x8601ec8c, 0x050c5d7e, 0xe40c292c, 0x93642e87, 0x4b41757c, 0xe0a38690]),
    (b"apple",             [0x88f08ef3, 0xbe70381f, 0xda525bb4, 0x0000292e, 0xa92ed050, 0x1c347217, 0x58befdbf, 0x04010657, 0x10bc2abf, 0xdeda533e, 0xf6e68f62, 0x55f9f550]),
    (b"0123456789",        [0x921893be, 0x245e1e78, 0xc0649c58, 0x00002684, 0xa684c7c6, 0x5df30b0c, 0x8b4330b2, 0x6792412c, 0xf9808ff2, 0x86fc39e4, 0x74af26fc, 0x177eb53e]),
    (b"user:1000",         [0xb563b74f, 0x2e986207, 0xe1644671, 0x00001f74, 0x9f7417e3, 0xd39e3d21, 0xae7b4289, 0xa6affca1, 0x507c1d89, 0xddec1969, 0x8e24aec7, 0x048c4d84]),
    (b"foo{bar}baz",       [0xbd22d2ae, 0xe6e544c8, 0xbf80fd55, 0x00004349, 0xc349e68e, 0x2c68949d, 0xb09ec879, 0x9a5f1c3d, 0x5a1893d9, 0xc54f6c55, 0xe9376e36, 0xc778e022]),
    (b"\x80",              [0xc31d4e27, 0x7edd398d, 0x00009188, 0x00003fba, 0x3fba6cad, 0x79fe485f, 0x79fdec5f, 0xfaf3a29f, 0x04f3b29f, 0xd6f4cb32, 0x90556245, 0xb16fde48]),
    (b"a\xff",             [0xefc67232, 0x9ab97bcc, 0x007c26eb, 0x0000103d, 0x103da794, 0x4b14c825, 0x4abb0c69, 0x8f88d2a5, 0xd3db2e29, 0x633883d6, 0xc2066bca, 0x3f9cc444]),
    (b"ab\xe9",            [0x7c6c3def, 0x8c72c1c8, 0x7c74ad14, 0x00003849, 0x38492bfc, 0x94505241, 0xfabde399, 0xbc63d0c1, 0xb1b7c519, 0x125794e5, 0x6baf059f, 0x8927b2b4]),
    ("ключ".as_bytes(),    [0xfbca080a, 0x667b65c3, 0x3c55683f, 0x00000caf, 0x0caf961a, 0x64997a19, 0xa9ad7881, 0x31b3eff9, 0xafd617e1, 0xfa8a713c, 0x9ac6d2af, 0x4b2c236f]),
];

/// Only the hashes of which the vectors give an unsigned value of their own; the others agree.
#[rustfmt::skip]
const UNSIGNED: [(&[u8], OwnValues); 4] = [
    (b"\x80", &[
        (HashKind::OneAtATime, 0x277fcedb), (HashKind::Fnv1_64, 0x8601b75f), (HashKind::Fnv1a64, 0x8602915f),
        (HashKind::Fnv1_32, 0x050c5d9f), (HashKind::Fnv1a32, 0x850b939f),
    ]),
    (b"a\xff", &[
        (HashKind::OneAtATime, 0x33acf9c6), (HashKind::Fnv1_64, 0xb4eb3725), (HashKind::Fnv1a64, 0xb544c769),
        (HashKind::Fnv1_32, 0x70772da5), (HashKind::Fnv1a32, 0xd225d729),
    ]),
    (b"ab\xe9", &[
        (HashKind::OneAtATime, 0x657a5da0), (HashKind::Fnv1_64, 0x6bafad41), (HashKind::Fnv1a64, 0x05422699),
        (HashKind::Fnv1_32, 0x439c2fc1), (HashKind::Fnv1a32, 0x94471619), (HashKind::Hsieh, 0x057091c1),
    ]),
    ("ключ".as_bytes(), &[
        (HashKind::OneAtATime, 0x5f21feca), (HashKind::Fnv1_64, 0x5008f219), (HashKind::Fnv1a64, 0x6f5b7a81),
        (HashKind::Fnv1_32, 0x2a7b2bf9), (HashKind::Fnv1a32, 0x95c4e9e1),
    ]),
];

fn row(key: &[u8]) -> &'static Row {
    &SIGNED.iter().find(|(listed, _)| *listed == key).expect("a key of the table").1
}

#[test]
fn every_cell_of_the_signed_table() {
    for (key, values) in &SIGNED {
        for ((kind, name), value) in HASHES.iter().zip(values) {
            let got = hash(*kind, CharSignedness::Signed, key);
            assert_eq!(got, *value, "{name} of {key:?}: {got:08x}, not {value:08x}");
        }
    }
}

#[test]
fn every_cell_of_the_unsigned_table() {
    for (key, own) in UNSIGNED {
        for ((kind, name), signed) in HASHES.iter().zip(row(key)) {
            let value = own.iter().find(|(listed, _)| listed == kind).map_or(*signed, |(_, v)| *v);
            let got = hash(*kind, CharSignedness::Unsigned, key);
            assert_eq!(got, value, "{name} of {key:?}: {got:08x}, not {value:08x}");
        }
    }
}

#[test]
fn signedness_is_of_no_matter_below_0x80() {
    for (key, values) in SIGNED.iter().filter(|(key, _)| key.is_ascii()) {
        for ((kind, name), value) in HASHES.iter().zip(values) {
            assert_eq!(hash(*kind, CharSignedness::Unsigned, key), *value, "{name} of {key:?}");
        }
    }
}

#[test]
fn reads_char_says_which_hashes_have_two_answers() {
    // Tails of every length, for hsieh's sake.
    let keys: [&[u8]; 4] = [b"\xff", b"a\xff", b"ab\xff", b"abc\xff"];
    for (kind, name) in HASHES {
        let differs = keys.iter().any(|key| {
            hash(kind, CharSignedness::Signed, key) != hash(kind, CharSignedness::Unsigned, key)
        });
        assert_eq!(differs, reads_char(kind), "{name}");
    }
}

#[test]
fn an_empty_key_is_zero() {
    for (kind, name) in HASHES {
        for signedness in [CharSignedness::Signed, CharSignedness::Unsigned] {
            assert_eq!(hash(kind, signedness, b""), 0, "{name}");
        }
    }
}

#[test]
fn fnv_64_in_halves_is_fnv_64_cut_in_half() {
    let key: Vec<u8> = (0..=255).collect();
    for len in 1..key.len() {
        let (mut fnv1, mut fnv1a) = (0xcbf2_9ce4_8422_2325_u64, 0xcbf2_9ce4_8422_2325_u64);
        for byte in &key[..len] {
            fnv1 = fnv1.wrapping_mul(0x100_0000_01b3) ^ u64::from(*byte);
            fnv1a = (fnv1a ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
        let got = |kind| hash(kind, CharSignedness::Unsigned, &key[..len]);
        assert_eq!(got(HashKind::Fnv1_64), fnv1 as u32, "{len} bytes");
        assert_eq!(got(HashKind::Fnv1a64), fnv1a as u32, "{len} bytes");
    }
}

#[test]
fn every_kind_has_its_name() {
    for (kind, listed) in HASHES {
        assert_eq!(name(kind), listed);
    }
}
