use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::base::ids::PoolId;
use crate::config::model::PoolConfig;
use crate::config::sample;
use crate::log::Logger;
use crate::stats::cells::{CoreStats, ShardMetric};
use crate::stats::latency::latency_door;

/// Listens nowhere; what is told it as a refusal stays.
struct NoDoors(Result<(), Vec<String>>);

impl Doors for NoDoors {
    fn bind(&mut self, _: &Config, _: &Config) -> Result<(), Vec<String>> {
        self.0.clone()
    }

    fn open(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// A reloader of a pool of two shards whose file says what `next` makes of it, and what the last
/// topology delivered was.
fn reloader(
    next: impl Fn(&mut Config) + Send + 'static,
) -> (Reloader, Arc<ShardedLock<Option<Arc<Topology>>>>) {
    let config = sample::config(&[("cache", &["s1", "s2"])]);
    let (first, _) = resolver::resolve_all(&config, &Logger::discard()).unwrap();
    let cores = vec![CoreStats::new(&config)];
    let state = ControlState::new(cores, first.clone(), latency_door(1), Logger::discard());
    let delivered = Arc::new(ShardedLock::new(None));
    let (of_state, last) = (state.clone(), delivered.clone());
    let publisher = Publisher::new(first, move |topology| {
        of_state.cores[0].core(CoreMetric::TopologyEpoch).set(topology.epoch);
        of_state.set_topology(topology.clone());
        *last.write().unwrap() = Some(topology);
    });
    let load = move || {
        let mut config = Config::clone(&config);
        next(&mut config);
        Ok(Loaded { config, warnings: Vec::new() })
    };
    let source = Source { file: "corelay.toml".to_owned(), load: Box::new(load) };
    let doors = Box::new(NoDoors(Ok(())));
    (Reloader { source, doors, state, publisher, resolver: None }, delivered)
}

fn pool(config: &mut Config) -> &mut PoolConfig {
    Arc::make_mut(&mut config.pools[0])
}

#[test]
fn what_is_good_is_published_whole_in_one_topology() {
    let (mut reloader, delivered) = reloader(|config| {
        config.proxy.spin_us = 3;
        pool(config).timeout_ms = Some(77);
        pool(config).shards[1].address = NodeAddress::Tcp { host: "10.1.2.3".to_owned(), port: 4 };
    });
    let told = reloader.reload(false).unwrap();
    assert_eq!(told, ["corelay.toml is in force, as topology 2"]);
    let topology = delivered.read().unwrap().clone().unwrap();
    assert_eq!(topology.config.pools[0].timeout_ms, Some(77));
    let primary = |shard: usize| topology.pools[0].shards[shard].primary.clone().unwrap();
    assert_eq!(primary(0).to_string(), "127.0.0.1:1");
    assert_eq!(primary(1).to_string(), "10.1.2.3:4");
    assert_eq!(reloader.state.config().proxy.spin_us, 3);
}

#[test]
fn what_is_in_force_already_is_published_to_nobody() {
    let (mut reloader, delivered) = reloader(|_| ());
    assert_eq!(reloader.reload(false).unwrap(), ["corelay.toml says what is in force already"]);
    assert!(delivered.read().unwrap().is_none());
}

#[test]
fn whatever_stands_in_the_way_nothing_changes() {
    type Change = fn(&mut Config);
    let changes: [(Change, &str); 4] = [
        (|config| config.proxy.cores = vec![0], "restart needed"),
        (|config| pool(config).shards[0].weight = 5, "keys move"),
        (
            |config| {
                let host = "no-such-host.invalid".to_owned();
                pool(config).shards[0].address = NodeAddress::Tcp { host, port: 1 };
            },
            "does not resolve",
        ),
        (|config| config.pools.clear(), "restart needed"),
    ];
    for (change, why) in changes {
        let (mut reloader, delivered) = reloader(move |config| {
            pool(config).timeout_ms = Some(77);
            change(config);
        });
        let told = reloader.reload(false).unwrap_err();
        assert!(told[0].contains(why), "{told:?}");
        assert!(delivered.read().unwrap().is_none(), "{told:?}");
        assert_ne!(reloader.state.config().pools[0].timeout_ms, Some(77));
    }
    let (mut reloader, delivered) = reloader(|config| pool(config).shards[0].weight = 5);
    reloader.reload(true).unwrap();
    assert!(delivered.read().unwrap().is_some(), "keys may move if that is wanted");
}

#[test]
fn a_further_pool_has_its_cells_and_places() {
    let (mut reloader, delivered) = reloader(|config| {
        config.pools.insert(0, Arc::new(sample::pool("more", &["m1"])));
    });
    let told = reloader.reload(false).unwrap();
    assert_eq!(told[1..], ["pool more is served, too"]);
    let topology = delivered.read().unwrap().clone().unwrap();
    let names: Vec<&str> = topology.config.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(names, ["cache", "more"]);
    let further = topology.shard(PoolId(1), ShardId(0)).unwrap().primary.clone().unwrap();
    assert_eq!(further.to_string(), "127.0.0.1:1");
    let cell = reloader.state.cores[0].shard(PoolId(1), ShardId(0), ShardMetric::Requests);
    assert_eq!(cell.get(), 0);
    assert_eq!(reloader.reload(false).unwrap(), ["corelay.toml says what is in force already"]);
}

#[test]
fn without_its_listeners_nothing_is_taken() {
    let (mut reloader, delivered) = reloader(|config| pool(config).timeout_ms = Some(77));
    reloader.doors = Box::new(NoDoors(Err(vec!["address already in use".to_owned()])));
    assert_eq!(reloader.reload(true).unwrap_err(), ["address already in use"]);
    assert!(delivered.read().unwrap().is_none());
}

#[test]
fn a_name_without_an_answer_keeps_its_last_address_where_it_was_not_changed() {
    let rounds = Arc::new(AtomicU64::new(0));
    let round = rounds.clone();
    let (mut reloader, _) = reloader(move |config| {
        let host = match round.fetch_add(1, Ordering::SeqCst) {
            0 => "localhost",
            _ => "no-such-host.invalid",
        };
        pool(config).shards[0].address = NodeAddress::Tcp { host: host.to_owned(), port: 1 };
    });
    reloader.reload(false).unwrap();
    let before = reloader.publisher.current();
    assert!(before.pools[0].shards[0].primary.is_some(), "localhost");
    // The same name, now unknown: as if its resolver had died.
    let mut next = Topology::clone(&before);
    let mut found = Topology::clone(&before);
    found.pools[0].shards[0].primary = None;
    take_over(&mut next, &before.config, &found);
    assert_eq!(next.pools[0].shards[0].primary, before.pools[0].shards[0].primary);
    assert!(reloader.unresolved(&before, &found).is_empty(), "it was not changed");
    assert!(reloader.reload(false).is_err(), "a changed one has to be known");
}

#[test]
fn the_last_reload_is_told_to_those_who_look() {
    let last = LastReload::default();
    assert_eq!(last.show(), json!({ "state": "none" }));
    assert!(last.figures().last_is_taken);
    last.set("SIGHUP", &Err(vec!["bad".to_owned()]));
    assert_eq!(last.show()["told"][0], "bad");
    last.set("SIGHUP", &Ok(Vec::new()));
    let figures = last.figures();
    assert_eq!((figures.taken, figures.refused, figures.last_is_taken), (1, 1, true));
}
