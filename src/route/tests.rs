use super::*;

const SERVERS: [(&str, u32); 4] = [("server1", 1), ("server2", 1), ("server3", 1), ("server4", 1)];

fn rules() -> Rules<'static> {
    Rules {
        hash: HashKind::Fnv1a64,
        char_signedness: CharSignedness::Signed,
        hash_tag: None,
        distribution: DistributionKind::Ketama,
        shards: SERVERS.to_vec(),
    }
}

fn ring_hash(change: impl FnOnce(&mut Rules<'static>)) -> u64 {
    let mut rules = rules();
    change(&mut rules);
    Router::from_rules(&rules).ring_hash()
}

#[test]
fn twemproxys_placements_on_four_servers() {
    let router = Router::from_rules(&rules());
    for (key, server) in [
        ("foo", 1),
        ("bar", 4),
        ("baz", 4),
        ("user:1000", 1),
        ("session:42", 2),
        ("a", 3),
        ("apple", 1),
    ] {
        assert_eq!(router.shard_of(key.as_bytes(), 0), ShardId(server - 1), "{key}");
    }
    for (key, hash) in [
        ("foo", 0xfed9_d577),
        ("bar", 0x1339_461a),
        ("baz", 0x1339_3882),
        ("session:42", 0xf848_db91),
    ] {
        assert_eq!(router.hash_of(key.as_bytes()), hash, "{key}");
    }
}

#[test]
fn twemproxys_shares_of_100_000_keys() {
    let router = Router::from_rules(&rules());
    let mut shares = [0; 4];
    for number in 0..100_000 {
        shares[router.shard_of(format!("key:{number}").as_bytes(), 0).index()] += 1;
    }
    assert_eq!(shares, [24576, 24418, 24765, 26241]);
}

#[test]
fn crc32_with_ketama_leaves_one_shard_with_all_keys() {
    let router = Router::from_rules(&Rules { hash: HashKind::Crc32, ..rules() });
    let first = router.shard_of(b"key:0", 0);
    assert!((0..100_000).all(|n| router.shard_of(format!("key:{n}").as_bytes(), 0) == first));
}

#[test]
fn the_tag_decides() {
    let router = Router::from_rules(&Rules { hash_tag: Some((b'{', b'}')), ..rules() });
    assert_eq!(router.tagged(b"{user:1000}.name"), b"user:1000");
    assert_eq!(router.hash_of(b"{user:1000}.name"), 0xae7b_4289);
    for number in 0..100 {
        let key = format!("{{user:1000}}{number}");
        assert_eq!(router.shard_of(key.as_bytes(), 0), ShardId(0));
    }
}

#[test]
fn an_empty_key_is_placed_as_zero() {
    // The first point of the ring is server3's.
    assert_eq!(Router::from_rules(&rules()).shard_of(b"", 0), ShardId(2));
    let modula = Rules { distribution: DistributionKind::Modula, ..rules() };
    assert_eq!(Router::from_rules(&modula).shard_of(b"", 0), ShardId(0));
}

#[test]
fn modula_counts_weights() {
    let shards = vec![("a", 1), ("b", 3)];
    let distribution = DistributionKind::Modula;
    let router = Router::from_rules(&Rules { shards, distribution, ..rules() });
    for key in [&b"a"[..], b"apple", b"user:1000", b"foo", b"bar"] {
        let shard = if router.hash_of(key).is_multiple_of(4) { 0 } else { 1 };
        assert_eq!(router.shard_of(key, 0), ShardId(shard), "{key:?}");
    }
}

#[test]
fn random_follows_the_number_and_nothing_else() {
    let distribution = DistributionKind::Random;
    let router = Router::from_rules(&Rules { distribution, ..rules() });
    for random in 0..20u64 {
        for key in [&b""[..], b"a", b"foo"] {
            assert_eq!(router.shard_of(key, random), ShardId((random % 4) as u16));
        }
    }
}

#[test]
fn a_single_shard_has_every_key() {
    use DistributionKind::{Ketama, Modula, Random};
    for distribution in [Ketama, Modula, Random] {
        let shards = vec![("only", 7)];
        let router = Router::from_rules(&Rules { distribution, shards, ..rules() });
        assert_eq!(router.shards(), 1);
        for number in 0..100u64 {
            assert_eq!(router.shard_of(&number.to_le_bytes(), number), ShardId(0));
        }
    }
}

#[test]
fn signedness_moves_keys_with_high_bytes() {
    let signed = Router::from_rules(&rules());
    let unsigned =
        Router::from_rules(&Rules { char_signedness: CharSignedness::Unsigned, ..rules() });
    assert_eq!(signed.hash_of("ключ".as_bytes()), 0xa9ad_7881);
    assert_eq!(unsigned.hash_of("ключ".as_bytes()), 0x6f5b_7a81);
}

#[test]
fn points_are_points_or_places() {
    let points = |distribution, shards: &[(&'static str, u32)]| {
        let shards = shards.to_vec();
        let router = Router::from_rules(&Rules { distribution, shards, ..rules() });
        (0..=router.shards()).map(|shard| router.points_of(ShardId(shard))).collect::<Vec<_>>()
    };
    assert_eq!(points(DistributionKind::Ketama, &[("a", 1), ("b", 2)]), [104, 212, 0]);
    assert_eq!(points(DistributionKind::Modula, &[("a", 1), ("b", 2)]), [1, 2, 0]);
    assert_eq!(points(DistributionKind::Random, &[("a", 1), ("b", 2)]), [1, 1, 0]);
    assert_eq!(points(DistributionKind::Ketama, &[("a", 5)]), [1, 0]);
}

#[test]
fn ring_hash_is_the_same_for_ever() {
    // A proxy of an older version is compared with this one by these numbers.
    assert_eq!(ring_hash(|_| ()), 10_577_444_491_618_903_259);
    assert_eq!(
        ring_hash(|rules| rules.distribution = DistributionKind::Modula),
        9_725_666_992_157_026_833
    );
}

#[test]
fn ring_hash_counts_all_that_places_keys() {
    let changes: [fn(&mut Rules<'static>); 9] = [
        |_| (),
        |rules| rules.hash = HashKind::Md5,
        |rules| rules.char_signedness = CharSignedness::Unsigned,
        |rules| rules.hash_tag = Some((b'{', b'}')),
        |rules| rules.hash_tag = Some((0, 0)),
        |rules| rules.distribution = DistributionKind::Modula,
        |rules| rules.distribution = DistributionKind::Random,
        |rules| rules.shards[1].1 = 2,
        |rules| rules.shards[1].0 = "serverX",
    ];
    let mut hashes = changes.map(ring_hash).to_vec();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), changes.len());
}

#[test]
fn ring_hash_leaves_out_what_places_no_key() {
    let md5 = |rules: &mut Rules<'static>| rules.hash = HashKind::Md5;
    let signed = ring_hash(md5);
    let unsigned = ring_hash(|rules| {
        md5(rules);
        rules.char_signedness = CharSignedness::Unsigned;
    });
    assert_eq!(signed, unsigned);

    let doubled = ring_hash(|rules| rules.shards.iter_mut().for_each(|shard| shard.1 = 2));
    assert_eq!(doubled, ring_hash(|_| ()));

    let single = ring_hash(|rules| rules.shards.truncate(1));
    let random = ring_hash(|rules| {
        rules.shards.truncate(1);
        rules.distribution = DistributionKind::Random;
        rules.hash = HashKind::Crc32;
        rules.hash_tag = Some((b'{', b'}'));
    });
    assert_eq!(single, random);
}

/// What redis-server 7.0.15 in cluster mode answers to CLUSTER KEYSLOT.
#[test]
fn hash_slots_are_those_of_a_redis_cluster() {
    for (key, slot) in [
        ("", 0),
        ("a", 15495),
        ("foo", 12182),
        ("123456789", 12739),
        ("{user1000}.following", 3443),
        ("user1000", 3443),
        ("foo{}{bar}", 8363),
        ("foo{{bar}}zap", 4015),
        ("foo{bar}{zap}", 5061),
    ] {
        assert_eq!(hash_slot(key.as_bytes()), slot, "{key}");
    }
}
