//! Placement: key to shard.

mod meter;

use corelay::config::model::{CharSignedness, DistributionKind, HashKind};
use corelay::route::hash::{HASHES, hash};
use corelay::route::{Router, Rules};
use meter::{Meter, key};

const KEYS: usize = 64;

fn sum(keys: &[Vec<u8>], kind: HashKind) -> u64 {
    keys.iter().map(|key| u64::from(hash(kind, CharSignedness::Signed, key))).sum()
}

/// Where keys go, added up in a way that knows their order.
fn places(router: &Router, keys: &[Vec<u8>]) -> u64 {
    keys.iter()
        .fold(7, |sum, key| sum.wrapping_mul(31).wrapping_add(u64::from(router.shard_of(key, 0).0)))
}

fn main() {
    let meter = Meter::from_args();
    let keys: Vec<Vec<u8>> = (0..KEYS).map(key).collect();
    for (kind, name) in HASHES {
        let expected = sum(&keys, kind);
        meter.case(&format!("hash: {name}, 16 B"), KEYS, expected, || sum(&keys, kind));
    }
    // The values of the placement itself have their golden vectors in the unit tests.
    let apple = u64::from(hash(HashKind::Fnv1a64, CharSignedness::Signed, b"apple"));
    assert_eq!(apple, 0x58be_fdbf, "twemproxy's own test vector");

    for (shards, distribution, name) in [
        (3, DistributionKind::Ketama, "ketama"),
        (100, DistributionKind::Ketama, "ketama"),
        (3, DistributionKind::Modula, "modula"),
    ] {
        let names: Vec<String> = (0..shards).map(|number| format!("shard{number:03}")).collect();
        let router = Router::from_rules(&Rules {
            hash: HashKind::Fnv1a64,
            char_signedness: CharSignedness::Signed,
            hash_tag: Some((b'{', b'}')),
            distribution,
            shards: names.iter().map(|name| (name.as_str(), 1)).collect(),
        });
        let expected = places(&router, &keys);
        let case = format!("route: {name} over {shards} shards, fnv1a_64");
        meter.case(&case, KEYS, expected, || places(&router, &keys));
    }
}
