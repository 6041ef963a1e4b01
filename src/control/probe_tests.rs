use super::*;

/// A page on which all is well.
fn page(change: impl FnOnce(&mut serde_json::Value)) -> Page {
    let shard = |address: &str| {
        serde_json::json!({
            "primary": address, "writable": true, "paused": false, "lanes": 2, "needed": true,
        })
    };
    let mut page = serde_json::json!({
        "epoch": 7,
        "draining": false,
        "pools": { "cache": {
            "ring": "00ff", "listen": [], "listeners": 2, "clients": 5,
            "sentinels": { "known": 3, "reachable": 3, "majority": 2 },
            "shards": { "a": shard("10.0.0.1:6379"), "b": shard("10.0.0.2:6379") },
        } },
    });
    change(&mut page);
    serde_json::from_value(page).unwrap()
}

fn said(change: impl FnOnce(&mut serde_json::Value), itself: bool) -> (Level, String) {
    let page = page(change);
    let verdict = Verdict::new(problems_of(&page, itself), figures(&page));
    (verdict.level, verdict.line())
}

#[test]
fn a_proxy_without_fault_is_ok_and_gives_its_figures() {
    let (level, line) = said(|_| (), false);
    assert_eq!(level, Level::Ok);
    assert_eq!(
        line,
        "CORELAY OK - 2 shards in 1 pools, 5 clients | shards=2;;;0 shards_down=0;;1;0 held=0;;;0 \
         clients=5;;;0 sentinels=3;;;0 sentinels_reachable=3;;;0 replicas=0;;;0 \
         replicas_in_sync=0;;;0 epoch=7c"
    );
}

#[test]
fn a_dead_shard_is_critical_but_not_the_proxys_own_fault() {
    let dead =
        |page: &mut serde_json::Value| page["pools"]["cache"]["shards"]["a"]["lanes"] = 0.into();
    let (level, line) = said(dead, false);
    assert_eq!(level, Level::Critical);
    assert!(line.contains("pool cache shard a: not connected to 10.0.0.1:6379"), "{line}");
    assert!(line.contains("shards_down=1"), "{line}");
    assert_eq!(said(dead, true).0, Level::Ok);
    let unknown = |page: &mut serde_json::Value| {
        page["pools"]["cache"]["shards"]["b"]["primary"] = serde_json::Value::Null;
    };
    assert_eq!(said(unknown, false).0, Level::Critical);
    assert_eq!(said(unknown, true).0, Level::Ok);
}

#[test]
fn what_another_proxy_may_do_better_is_its_own_fault() {
    for (change, level) in [
        (("draining", serde_json::json!(true)), Level::Critical),
        (("/pools/cache/listeners", serde_json::json!(0)), Level::Critical),
        (("/pools/cache/sentinels/reachable", serde_json::json!(1)), Level::Critical),
        (("/pools/cache/sentinels/reachable", serde_json::json!(2)), Level::Warning),
        (("/pools/cache/sentinels/tilt", serde_json::json!(true)), Level::Warning),
    ] {
        let (place, value) = change;
        let change = |page: &mut serde_json::Value| match place.strip_prefix('/') {
            Some("pools/cache/sentinels/tilt") => {
                page["pools"]["cache"]["sentinels"]["tilt"] = value.clone();
            }
            Some(_) => *page.pointer_mut(place).unwrap() = value.clone(),
            None => page[place] = value.clone(),
        };
        assert_eq!(said(change, true).0, level, "{place}");
    }
}

#[test]
fn passing_troubles_are_warnings() {
    for (key, value) in [("held", serde_json::json!(9)), ("paused", serde_json::json!(true))] {
        let change = |page: &mut serde_json::Value| {
            page["pools"]["cache"]["shards"]["a"][key] = value.clone();
        };
        assert_eq!(said(change, false).0, Level::Warning, "{key}");
    }
}

#[test]
fn a_replica_that_is_not_read_from_is_a_warning() {
    let replicas = |page: &mut serde_json::Value| {
        page["pools"]["cache"]["shards"]["a"]["replicas_known"] = serde_json::json!([{ "read_from": true }, { "read_from": false, "why_not": "it is loading" }]);
    };
    let (level, line) = said(replicas, false);
    assert_eq!(level, Level::Warning);
    assert!(line.contains("pool cache shard a: 1 of 2 replicas are read from"), "{line}");
    assert!(line.contains("replicas=2;;;0 replicas_in_sync=1;;;0"), "{line}");
    assert_eq!(said(replicas, true).0, Level::Ok, "the other proxy would not do better");
}

#[test]
fn two_proxies_that_place_keys_otherwise_are_told_apart() {
    let own = page(|_| ());
    let peer = "10.9.9.9:9180".parse().unwrap();
    assert!(differences(&own, &page(|_| ()), peer).is_empty());
    let ring = page(|page| page["pools"]["cache"]["ring"] = "0100".into());
    assert_eq!(differences(&own, &ring, peer)[0].0, Level::Critical);
    let moved = page(|page| {
        page["pools"]["cache"]["shards"]["b"]["primary"] = "10.0.0.9:6379".into();
    });
    let found = differences(&own, &moved, peer);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, Level::Warning);
    assert!(found[0].1.contains("primary 10.0.0.2:6379 here, 10.0.0.9:6379 at peer"), "{found:?}");
    let none = page(|page| page["pools"] = serde_json::json!({}));
    assert_eq!(differences(&own, &none, peer)[0].0, Level::Critical);
}

#[test]
fn the_worst_comes_first_and_a_long_list_is_cut() {
    let problems = (0..9).map(|n| (Level::Warning, format!("w{n}|")));
    let problems: Vec<_> = problems.chain([(Level::Critical, "c".to_owned())]).collect();
    let line = Verdict::new(problems, Figures::default()).line();
    assert!(line.starts_with("CORELAY CRITICAL - c; w0/; w1/; w2/; 6 more | "), "{line}");
}
