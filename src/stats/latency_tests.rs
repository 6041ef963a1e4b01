use super::*;

const POOL: PoolId = PoolId(1);

fn totals_of(recorders: &mut [LatencyRecorder], now_us: u64) -> LatencyTotals {
    let mut totals = LatencyTotals::new(2, now_us);
    for recorder in recorders {
        if let Some(snapshot) = recorder.hand_over() {
            totals.absorb(snapshot);
        }
    }
    totals
}

#[test]
fn a_family_stands_at_its_number_and_has_a_name_of_its_own() {
    let mut names = std::collections::BTreeSet::new();
    for (number, family) in FAMILIES.into_iter().enumerate() {
        assert_eq!(family as usize, number);
        assert!(names.insert(family.name()), "{family:?}");
    }
}

#[test]
fn all_cores_are_added_up() {
    let mut cores = [LatencyRecorder::new(2), LatencyRecorder::new(2)];
    for n in 1..=100 {
        cores[0].record(POOL, Family::Hash, n);
        cores[1].record(POOL, Family::Hash, 100 + n);
        cores[1].record(POOL, Family::List, 3);
    }
    let figures = totals_of(&mut cores, 0).figures();
    assert_eq!(figures.len(), 2);
    let hash = &figures[0];
    assert_eq!((hash.pool, hash.family, hash.count), (POOL, Family::Hash, 200));
    assert_eq!(hash.sum_us, (1..=200).sum::<u64>());
    assert_eq!(hash.buckets[..4], [50, 50, 100, 0]);
    let recent = hash.recent.unwrap();
    assert_eq!((recent.count, recent.p50_us, recent.p99_us, recent.max_us), (200, 100, 198, 200));
}

#[test]
fn what_is_out_of_bounds_is_cut() {
    let mut core = LatencyRecorder::new(2);
    core.record(POOL, Family::Set, 0);
    core.record(POOL, Family::Set, u32::MAX);
    core.record(PoolId(7), Family::Set, 1);
    let figures = totals_of(&mut [core], 0).figures();
    assert_eq!(figures.len(), 1);
    assert_eq!(figures[0].sum_us, 1 + HIGHEST_US);
    assert_eq!((figures[0].buckets[0], figures[0].buckets[BUCKETS_US.len()]), (1, 1));
}

#[test]
fn a_value_is_off_by_one_percent_at_most() {
    for micros in [99, 777, 2_500, 31_337, 1_234_567, 59_999_999] {
        let mut core = LatencyRecorder::new(2);
        core.record(POOL, Family::Set, micros);
        let recent = totals_of(&mut [core], 0).figures()[0].recent.unwrap();
        let off = recent.p50_us.abs_diff(u64::from(micros)) as f64 / f64::from(micros);
        assert!(off <= 0.01, "{micros}: {recent:?}");
    }
}

#[test]
fn a_full_door_loses_nothing() {
    let door: LatencyDoor = Arc::new(ArrayQueue::new(1));
    let mut core = LatencyRecorder::new(2);
    for _ in 0..5 {
        core.record(POOL, Family::Geo, 10);
        core.hand_over_to(&door);
    }
    let mut totals = LatencyTotals::new(2, 0);
    totals.absorb(door.pop().unwrap());
    assert_eq!(totals.figures()[0].count, 1);
    core.hand_over_to(&door);
    totals.absorb(door.pop().unwrap());
    assert_eq!(totals.figures()[0].count, 5);
    core.hand_over_to(&door);
    assert!(door.is_empty(), "an idle core hands nothing over");

    core.record(POOL, Family::Geo, 10);
    let snapshot = core.hand_over().unwrap();
    core.take_back(snapshot);
    totals.absorb(core.hand_over().unwrap());
    assert_eq!(totals.figures()[0].count, 6);
}

#[test]
fn quantiles_are_of_the_last_two_windows_only() {
    let mut core = LatencyRecorder::new(2);
    core.record(POOL, Family::String, 5);
    let mut totals = totals_of(&mut [core], 0);
    let recent = |totals: &LatencyTotals| totals.figures()[0].recent.map(|recent| recent.count);
    totals.turn_windows(WINDOW_US - 1);
    assert_eq!(recent(&totals), Some(1));
    totals.turn_windows(WINDOW_US);
    assert_eq!(recent(&totals), Some(1));
    totals.turn_windows(2 * WINDOW_US);
    assert_eq!(recent(&totals), None);
    assert_eq!(totals.figures()[0].count, 1, "what is shown since the start stays");
}

#[test]
fn nothing_old_is_shown_after_a_long_pause() {
    let mut core = LatencyRecorder::new(2);
    core.record(POOL, Family::String, 5);
    let mut totals = totals_of(&mut [core], 0);
    totals.turn_windows(3 * WINDOW_US);
    assert_eq!(totals.figures()[0].recent, None);
}
