use std::collections::BTreeMap;

use super::*;
use crate::command::model::Family;
use crate::config::model::ReadFrom;
use crate::config::sample;
use crate::stats::latency::{LatencyRecorder, LatencyTotals};
use crate::stats::table;

fn exposition() -> Exposition {
    let config = sample::config(&[("cache", &["s\"1\\", "s2"]), ("queue", &["q"])]);
    let mut config = Config::clone(&sample::watched(&config));
    let read_from = ReadFrom::PreferReplica;
    config.pools.iter_mut().for_each(|pool| Arc::make_mut(pool).read_from = read_from);
    let config = Arc::new(config);
    let cores: Vec<_> = (0..2).map(|_| CoreStats::new(&config)).collect();
    for core in &cores {
        core.pool(PoolId(0), PoolMetric::ClientConnections).add(4);
        core.shard(PoolId(0), ShardId(0), ShardMetric::RequestBytes).add(50);
        core.shard(PoolId(0), ShardId(0), ShardMetric::ServerEjectedAt).set(1_500_000);
        core.core(CoreMetric::Turns).add(9);
    }
    let mut recorder = LatencyRecorder::new(2);
    for micros in [40, 300, 30_000_000] {
        recorder.record(PoolId(1), Family::String, micros);
    }
    let mut latency = LatencyTotals::new(2, 0);
    latency.absorb(recorder.hand_over().unwrap());
    let process = ProcessFigures { descriptors: Some(7), ..ProcessFigures::default() };
    let watch = Arc::new(WatchStats::new(&config));
    Exposition { config, cores, watch, latency: latency.figures(), process }
}

/// `name{labels} value`, strictly; the label values are not looked into.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let mut samples = BTreeMap::new();
    let mut family = "";
    let body = text.strip_suffix("# EOF\n").expect("ends with the end mark");
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (keyword, name) = (words.next().unwrap(), words.next().unwrap());
            assert!(["HELP", "TYPE", "UNIT"].contains(&keyword), "{line}");
            assert!(!words.next().unwrap().is_empty(), "{line}");
            family = name;
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        assert!(name.starts_with(family), "{line} does not belong to {family}");
        let suffix = &name[family.len()..];
        assert!(
            ["", "_total", "_sum", "_count", "_bucket", "_info"].contains(&suffix),
            "{line}: {family}"
        );
        assert!(samples.insert(series, value.parse().unwrap()).is_none(), "{line} stands twice");
    }
    samples
}

#[test]
fn every_metric_of_the_table_is_shown_under_its_name() {
    let text = exposition().into_text().unwrap();
    let samples = samples(&text);
    for metric in table::all() {
        let head = format!("{}{{", metric.prometheus);
        assert!(samples.keys().any(|series| series.starts_with(&head)), "{head} is not shown");
    }
}

#[test]
fn pools_and_shards_are_summed_over_cores_and_cores_are_not() {
    let text = exposition().into_text().unwrap();
    let samples = samples(&text);
    assert_eq!(samples[r#"corelay_pool_clients{pool="cache"}"#], 8.0);
    assert_eq!(samples[r#"corelay_pool_clients{pool="queue"}"#], 0.0);
    assert_eq!(samples[r#"corelay_core_clients{core="1",pool="cache"}"#], 4.0);
    assert_eq!(samples[r#"corelay_core_turns_total{core="0"}"#], 9.0);
    let shard = r#"{pool="cache",shard="s\"1\\"}"#;
    let of_shard = |name: &str| samples[format!("{name}{shard}").as_str()];
    assert_eq!(of_shard("corelay_shard_request_bytes_total"), 100.0);
    assert_eq!(of_shard("corelay_shard_ejected_at_seconds"), 1.5);
}

#[test]
fn latency_is_a_cumulative_histogram_in_seconds() {
    let text = exposition().into_text().unwrap();
    let samples = samples(&text);
    let labels = r#"pool="queue",family="string""#;
    let bucket = |le: &str| {
        let mut found = samples.iter().filter(|(series, _)| {
            series.starts_with("corelay_latency_seconds_bucket{")
                && series.contains(labels)
                && series.contains(&format!("le=\"{le}\""))
        });
        *found.next().unwrap_or_else(|| panic!("no bucket {le} in {text}")).1
    };
    let bounds: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("corelay_latency_seconds_bucket{le=\""))
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(bounds.len(), BUCKETS_US.len() + 1);
    assert_eq!(bounds.last(), Some(&"+Inf"));
    assert_eq!(
        (bucket(bounds[0]), bucket("0.0005"), bucket("10.0"), bucket("+Inf")),
        (1., 2., 2., 3.)
    );
    assert_eq!(samples[format!("corelay_latency_seconds_count{{{labels}}}").as_str()], 3.0);
    assert_eq!(samples[format!("corelay_latency_seconds_sum{{{labels}}}").as_str()], 30.00034);
}

#[test]
fn what_could_not_be_read_is_not_shown() {
    let text = exposition().into_text().unwrap();
    let samples = samples(&text);
    assert_eq!(samples["process_open_fds"], 7.0);
    assert!(!samples.contains_key("process_max_fds"));
    let build = format!("corelay_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(samples[build.as_str()], 1.0);
}
