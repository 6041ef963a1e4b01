use super::*;

/// The sizes of pools of equal weights up to 110 whose shards have 156 points and not 160.
const SIZES_OF_156: [usize; 11] = [25, 47, 50, 55, 61, 71, 94, 100, 107, 109, 110];

fn counts(weights: &[u32]) -> Vec<usize> {
    let total = weights.iter().map(|weight| u64::from(*weight)).sum();
    weights.iter().map(|weight| point_count(*weight, total, weights.len())).collect()
}

fn ring_of(points: &[(u32, u16)]) -> Ring {
    let mut points: Vec<Point> = points
        .iter()
        .map(|(value, shard)| Point { value: *value, shard: ShardId(*shard) })
        .collect();
    let (index, shift) = index_of(&points);
    points.push(Point { value: u32::MAX, shard: points[0].shard });
    Ring { points: points.into(), index, shift }
}

/// twemproxy's way: the first point at or after the hash, past the last one the first.
fn searched(points: &[(u32, ShardId)], hash: u32) -> ShardId {
    let at = points.partition_point(|(value, _)| *value < hash);
    points[at % points.len()].1
}

#[test]
fn weights_give_points() {
    assert_eq!(counts(&[1, 2]), [104, 212]);
    assert_eq!(counts(&[1, 1, 2]), [120, 120, 240]);
    assert_eq!(counts(&[1, 1, 1, 1, 1, 100]), [8, 8, 8, 8, 8, 912]);
    assert_eq!(counts(&[100_000, 1]), [316, 0]);
}

#[test]
fn equal_weights_give_160_points_except_where_f32_rounds_down() {
    let short: Vec<usize> =
        (1..=2048).filter(|size| point_count(1, *size as u64, *size) != 160).collect();
    assert!(short.iter().all(|size| point_count(1, *size as u64, *size) == 156));
    assert_eq!(short[..SIZES_OF_156.len()], SIZES_OF_156);
    assert_eq!(short.len(), 218);
}

#[test]
fn the_ring_of_four_servers() {
    let ring = Ring::new(&[("server1", 1), ("server2", 1), ("server3", 1), ("server4", 1)]);
    let points: Vec<(u32, u16)> = ring.points().map(|(value, shard)| (value, shard.0)).collect();
    assert_eq!(points.len(), 640);
    assert_eq!(points[..3], [(0x0095_7bcf, 2), (0x00a3_1052, 1), (0x0194_4b4e, 0)]);
    assert_eq!(points[639], (0xffc1_2355, 3));
    assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

#[test]
fn the_index_finds_what_a_search_finds() {
    let names: Vec<String> = (0..100).map(|number| format!("shard{number}")).collect();
    for size in [2, 3, 25, 100] {
        let shards: Vec<(&str, u32)> =
            names[..size].iter().zip(1..).map(|(name, weight)| (name.as_str(), weight)).collect();
        let ring = Ring::new(&shards);
        let points: Vec<(u32, ShardId)> = ring.points().collect();
        let near = points
            .iter()
            .flat_map(|(value, _)| [value.wrapping_sub(1), *value, value.wrapping_add(1)]);
        let spread = (0..10_000u32).map(|number| number.wrapping_mul(0x9e37_79b9));
        for hash in near.chain(spread).chain([0, u32::MAX]) {
            assert_eq!(ring.shard_of(hash), searched(&points, hash), "{size} shards, {hash:08x}");
        }
    }
}

#[test]
fn a_hash_past_the_last_point_belongs_to_the_first() {
    let ring = ring_of(&[(10, 3), (20, 1), (0xffff_0000, 2)]);
    for (hash, shard) in [(0, 3), (10, 3), (11, 1), (20, 1), (21, 2), (0xffff_0000, 2)] {
        assert_eq!(ring.shard_of(hash), ShardId(shard), "{hash:08x}");
    }
    assert_eq!(ring.shard_of(0xffff_0001), ShardId(3));
    assert_eq!(ring.shard_of(u32::MAX), ShardId(3));
}

#[test]
fn a_point_at_the_highest_value_is_not_taken_for_the_end() {
    let ring = ring_of(&[(10, 3), (u32::MAX, 1)]);
    assert_eq!(ring.shard_of(11), ShardId(1));
    assert_eq!(ring.shard_of(u32::MAX), ShardId(1));
}

#[test]
fn of_equal_points_the_first_shard_has_the_keys() {
    let ring = ring_of(&[(10, 2), (20, 0), (20, 1), (20, 3)]);
    assert_eq!(ring.shard_of(11), ShardId(0));
    assert_eq!(ring.shard_of(20), ShardId(0));
    assert_eq!(ring.shard_of(21), ShardId(2));
    // The same name twice is refused by the configuration; here it makes every point twice.
    let twins = Ring::new(&[("twin", 1), ("twin", 1)]);
    assert!(twins.points().step_by(2).all(|(_, shard)| shard == ShardId(0)));
    assert!((0..1000u32).all(|n| twins.shard_of(n.wrapping_mul(0x9e37_79b9)) == ShardId(0)));
}

#[test]
fn a_shard_without_points_has_no_keys() {
    let ring = Ring::new(&[("large", 100_000), ("tiny", 1)]);
    assert!((0..10_000u32).all(|n| ring.shard_of(n.wrapping_mul(0x9e37_79b9)) == ShardId(0)));
}

#[test]
fn the_largest_pool_fits_the_index() {
    let count = limits::SHARDS_MAX as u32 * 160;
    let spread: Vec<(u32, u16)> =
        (0..count).map(|number| (number * (u32::MAX / count), (number % 4096) as u16)).collect();
    let ring = ring_of(&spread);
    assert_eq!(ring.index.len(), 1 << INDEX_BITS_MAX);
    let points: Vec<(u32, ShardId)> = ring.points().collect();
    for hash in (0..20_000u32).map(|number| number.wrapping_mul(0x9e37_79b9)) {
        assert_eq!(ring.shard_of(hash), searched(&points, hash), "{hash:08x}");
    }
}

#[test]
fn an_empty_ring_answers_nevertheless() {
    for shards in [&[][..], &[("weightless", 0), ("too", 0)]] {
        let ring = Ring::new(shards);
        assert_eq!(ring.points().len(), 0);
        assert_eq!(ring.shard_of(u32::MAX), ShardId(0));
    }
}
