//! Reads go to replicas that are in sync, and to no other; whatever happens to a replica, no client
//! hears of it.
//!
//! Mechanics: real primaries with real replicas, at fixed addresses and under real sentinels; the
//! nodes' own counts say who executed what. Why it must stay: a replica that is loading, cut off or
//! far behind answers from the past without a word of it.
#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use support::redis::info_field;
use support::replicas::{Cable, Readers};
use support::sentinels::calls_in;
use support::{
    Look, Options, PATIENCE, Port, Proxy, Redis, Scene, Value, Watching, Wire, holds_for,
    wait_until,
};

/// A replica that is cut off, or far behind, is not read from after so long: it is looked at each
/// second, and three looks that find it standing still are one too many. On a machine with much
/// else to do it takes longer.
const LEFT_WITHIN: Duration = Duration::from_secs(8);

/// A primary, its replica, and a proxy that knows both.
#[derive(Debug)]
struct Pair {
    proxy: Proxy,
    primary: Redis,
    replica: Redis,
}

impl Pair {
    fn start(pool: &str) -> Pair {
        Pair::start_with(pool, &[])
    }

    /// `args`: further ones of the replica.
    fn start_with(pool: &str, args: &[&str]) -> Pair {
        let primary = Redis::start(&["--repl-diskless-sync-delay", "0"]);
        let port = primary.port().to_string();
        let replica = Redis::start(&[&["--replicaof", "127.0.0.1", &port], args].concat());
        Pair::behind_proxy(primary, replica, pool)
    }

    fn behind_proxy(primary: Redis, replica: Redis, pool: &str) -> Pair {
        let tables = format!(
            "[[pool.shard]]\nname = \"shard1\"\naddress = \"{}\"\nreplicas = [\"{}\"]\n",
            primary.address(),
            replica.address()
        );
        let options = Options { tables, pool: pool.to_owned(), ..Options::default() };
        let pair = Pair { proxy: Proxy::start(&[], &options), primary, replica };
        pair.wait_read_from(true);
        pair
    }

    /// What `/topology` says of the replica.
    fn known(&self) -> serde_json::Value {
        known(&self.proxy, "shard1")
    }

    fn wait_read_from(&self, yes: bool) {
        wait_until(LEFT_WITHIN, &format!("the replica is read from: {yes}"), || {
            self.known()["read_from"] == yes
        });
    }

    /// Writes the value that readers expect; from now on the replica has it. (The first writes after
    /// a full synchronisation are passed on when the replica has said that it is there, which it
    /// does once a second.)
    fn write(&self) {
        assert_eq!(self.proxy.client().exchange(&["SET", "k", "v"]), Value::ok());
        let has = || self.replica.ask(&["GET", "k"]) == Value::bulk("v");
        wait_until(PATIENCE, "the replica has it", has);
    }

    /// From now on a read goes to the replica at once: its lane stands.
    fn wait_served_by_replica(&self, client: &mut Wire) {
        wait_until(PATIENCE, "the replica serves", || {
            let before = calls(&self.replica, "get");
            client.exchange(&["GET", "k"]);
            calls(&self.replica, "get") > before
        });
    }
}

fn known(proxy: &Proxy, shard: &str) -> serde_json::Value {
    let topology: serde_json::Value =
        serde_json::from_str(&proxy.admin("/topology")).expect("JSON");
    topology["pools"]["cache"]["shards"][shard]["replicas_known"][0].clone()
}

fn calls(node: &Redis, command: &str) -> u64 {
    calls_in(&node.ask(&["INFO", "commandstats"]), command)
}

/// A client never wrote to it.
fn expect_no_write(node: &Redis) {
    let errors = node.ask(&["INFO", "errorstats"]).text();
    assert!(!errors.contains("READONLY"), "{errors}");
}

fn pair_with_cable(pool: &str) -> (Pair, Cable) {
    let primary = Redis::start(&["--repl-diskless-sync-delay", "0"]);
    let cable = Cable::lay(primary.address());
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &cable.at.number().to_string()]);
    (Pair::behind_proxy(primary, replica, pool), cable)
}

#[test]
fn reads_arrive_at_the_replica_and_writes_never() {
    let pair = Pair::start("read_from = \"prefer-replica\"\nread_your_writes_ms = 0\n");
    let mut client = pair.proxy.client();
    assert_eq!(client.exchange(&["SET", "k", "v"]), Value::ok());
    pair.wait_served_by_replica(&mut client);
    let before = calls(&pair.primary, "get");
    for n in 0..500 {
        assert_eq!(client.exchange(&["SET", "k", &n.to_string()]), Value::ok());
        assert!(!client.exchange(&["GET", "k"]).is_error());
    }
    assert_eq!(calls(&pair.primary, "get"), before, "not one was asked of the primary");
    assert!(calls(&pair.replica, "get") >= 500);
    expect_no_write(&pair.replica);
    let sum = |name: &str| pair.proxy.metric_sum(name);
    assert!(sum("corelay_shard_replica_reads_total") >= 500.0);
    assert_eq!(sum("corelay_shard_replica_repeats_total"), 0.0);
}

#[test]
fn a_client_sees_what_it_wrote() {
    let (pair, cable) = pair_with_cable("read_from = \"replica\"\n");
    let (mut writer, mut reader) = (pair.proxy.client(), pair.proxy.client());
    reader.exchange(&["SET", "k", "old"]);
    let has = || pair.replica.ask(&["GET", "k"]) == Value::bulk("old");
    wait_until(PATIENCE, "the replica has it", has);
    pair.wait_served_by_replica(&mut reader);
    // What the replica has is of the past from now on.
    cable.cut.store(true, Ordering::SeqCst);
    let before = calls(&pair.replica, "mget");
    for n in 0..300 {
        let n = n.to_string();
        let requests = [vec!["SET", "k", &n], vec!["GET", "k"], vec!["MGET", "k", "k"]];
        assert_eq!(writer.pipeline(&requests)[1], Value::bulk(&n));
        assert_eq!(writer.exchange(&["GET", "k"]), Value::bulk(&n));
    }
    assert_eq!(calls(&pair.replica, "mget"), before, "all of them by the primary");
    assert_eq!(reader.exchange(&["GET", "k"]), Value::bulk("old"), "it wrote nothing of late");
    cable.cut.store(false, Ordering::SeqCst);
    wait_until(LEFT_WITHIN, "the writer reads from the replica again", || {
        assert_eq!(writer.exchange(&["MGET", "k"]).items(), [Value::bulk("299")]);
        calls(&pair.replica, "mget") > before
    });
}

#[test]
fn a_replica_that_follows_nobody_or_another_is_left() {
    let pair = Pair::start("read_from = \"prefer-replica\"\n");
    let mut client = pair.proxy.client();
    pair.wait_served_by_replica(&mut client);
    let nowhere = Port::reserve();
    pair.replica.ask(&["REPLICAOF", "127.0.0.1", &nowhere.number().to_string()]);
    pair.wait_read_from(false);
    assert_eq!(pair.known()["why_not"], "its link to the primary is down");
    let before = calls(&pair.replica, "get");
    holds_for(Duration::from_secs(2), "it is not asked", || {
        client.exchange(&["GET", "k"]);
        calls(&pair.replica, "get") == before
    });
    pair.replica.ask(&["REPLICAOF", "NO", "ONE"]);
    wait_until(LEFT_WITHIN, "its role is known", || {
        pair.known()["why_not"] == "its role is master"
    });
    pair.replica.ask(&["REPLICAOF", "127.0.0.1", &pair.primary.port().to_string()]);
    pair.wait_read_from(true);
    pair.wait_served_by_replica(&mut client);
}

/// The pool's rules and the list of replicas are read anew.
#[test]
fn a_reload_changes_who_is_read_from() {
    let pair = Pair::start("read_from = \"prefer-replica\"\n");
    let mut client = pair.proxy.client();
    pair.wait_served_by_replica(&mut client);
    let replicas = format!("replicas = [\"{}\"]", pair.replica.address());
    pair.proxy.edit(|text| text.replace(&replicas, ""));
    let (taken, said) = pair.proxy.reload(&[]);
    assert!(taken, "{said}");
    wait_until(LEFT_WITHIN, "the replica is not known any more", || pair.known().is_null());
    let before = calls(&pair.replica, "get");
    holds_for(Duration::from_secs(1), "it is not asked", || {
        client.exchange(&["GET", "k"]);
        calls(&pair.replica, "get") == before
    });
    pair.proxy.edit(|text| text.replace("address =", &format!("{replicas}\naddress =")));
    assert!(pair.proxy.reload(&[]).0);
    pair.wait_read_from(true);
    pair.wait_served_by_replica(&mut client);
    pair.proxy.edit(|text| text.replace("\"prefer-replica\"", "\"primary\""));
    let (taken, said) = pair.proxy.reload(&[]);
    assert!(!taken && said.contains("read_from: restart needed"), "{said}");
}

/// The dataset is loaded slowly, so that there is time to look.
#[test]
fn a_replica_that_is_loading_is_not_asked() {
    let slow = ["--key-load-delay", "300", "--loading-process-events-interval-bytes", "1024"];
    let mut pair = Pair::start_with("read_from = \"replica\"\n", &slow);
    pair.write();
    let fill = "for n = 1, 10000 do redis.call('SET', 'key' .. n, n) end";
    assert!(!pair.primary.ask(&["EVAL", fill, "0"]).is_error());
    pair.wait_served_by_replica(&mut pair.proxy.client());
    let readers = Readers::start(&pair.proxy);
    let mut look = Look::at(pair.replica.address(), None);
    let watch = std::thread::spawn(move || {
        let mut seen = false;
        wait_until(2 * LEFT_WITHIN, "it has loaded", || {
            let Some(info) = look.try_ask(&[&["INFO", "everything"]]) else { return false };
            let loading = info_field(&info[0], "loading") == "1";
            assert!(!loading || calls_in(&info[0], "get") == 0, "it was asked while it loads");
            seen |= loading;
            seen && !loading
        });
    });
    pair.replica.kill_hard();
    // What it kept of the first synchronisation would spare it the second.
    let kept = pair.replica.directory().join("dump.rdb");
    std::fs::remove_file(kept).expect("a file of the first synchronisation");
    // It answers PING when it has loaded.
    pair.replica.restart_same_port();
    watch.join().expect("it was loading, and not asked");
    pair.wait_read_from(true);
    pair.wait_served_by_replica(&mut pair.proxy.client());
    readers.wait_for(200);
    readers.stop();
}

#[test]
fn a_replica_that_is_killed_or_stopped_is_no_error() {
    let mut pair = Pair::start("read_from = \"prefer-replica\"\n");
    pair.write();
    pair.wait_served_by_replica(&mut pair.proxy.client());
    let readers = Readers::start(&pair.proxy);
    readers.wait_for(500);
    pair.replica.kill_hard();
    readers.wait_for(500);
    pair.replica.restart_same_port();
    pair.wait_read_from(true);
    pair.wait_served_by_replica(&mut pair.proxy.client());
    readers.wait_for(500);
    pair.replica.pause();
    readers.wait_for(500);
    pair.wait_read_from(false);
    readers.wait_for(500);
    pair.replica.resume();
    pair.wait_read_from(true);
    readers.stop();
    expect_no_write(&pair.replica);
}

#[test]
fn a_replica_that_lags_is_left_and_used_again_when_it_has_caught_up() {
    let pool = "read_from = \"prefer-replica\"\nreplica_lag_max_bytes = 100000\n";
    let (pair, cable) = pair_with_cable(pool);
    cable.cut.store(true, Ordering::SeqCst);
    pair.primary.ask(&["SET", "large", &"x".repeat(200_000)]);
    pair.wait_read_from(false);
    assert_eq!(pair.replica.info("master_link_status"), "up", "it does not know it");
    let why = pair.known()["why_not"].as_str().expect("why").to_owned();
    assert!(why.starts_with("it lacks 200"), "{why}");
    cable.cut.store(false, Ordering::SeqCst);
    pair.wait_read_from(true);
}

/// However little it lacks.
#[test]
fn a_replica_that_is_cut_off_without_knowing_it_is_left() {
    let (pair, cable) = pair_with_cable("read_from = \"prefer-replica\"\n");
    cable.cut.store(true, Ordering::SeqCst);
    holds_for(Duration::from_secs(4), "as long as nobody writes it has everything", || {
        pair.known()["read_from"] == true
    });
    pair.primary.ask(&["SET", "k", "v"]);
    pair.wait_read_from(false);
    assert_eq!(pair.replica.info("master_link_status"), "up", "it does not know it");
    assert_eq!(pair.known()["why_not"], "it stands still, and its primary goes on");
    cable.cut.store(false, Ordering::SeqCst);
    pair.wait_read_from(true);
}

/// Of a load that checks its own writes, and readers that write nothing.
#[test]
fn a_failover_is_no_error_for_those_who_read_from_replicas() {
    let watching =
        Watching { shards: 2, node_password: Some("of-the-nodes"), ..Watching::default() };
    let mut scene = Scene::start_with(&watching, "read_from = \"prefer-replica\"\n");
    let shard = scene.watched.shards[0].name.clone();
    wait_until(LEFT_WITHIN, "the replica is read from", || {
        known(&scene.proxy, &shard)["read_from"] == true
    });
    let key = format!("{}reader", scene.tags[0]);
    scene.proxy.client().exchange(&["SET", &key, "v"]);
    let mut reader = scene.proxy.client();
    reader.set_patience(Duration::from_millis(2 * support::scene::HOLD_MS));
    wait_until(PATIENCE, "the replica serves", || {
        let before = scene.calls(0, 1);
        reader.exchange(&["GET", &key]);
        scene.calls(0, 1) > before
    });
    let load = scene.load();
    scene.alert(0);
    scene.watched.shards[0].nodes[0].kill_hard();
    let mut replies = 0;
    wait_until(support::sentinels::FAILOVER_PATIENCE, "the primary is moved", || {
        assert_eq!(reader.exchange(&["GET", &key]), Value::bulk("v"));
        replies += 1;
        scene.watched.primary(0) == Some(1) && scene.watched.shards[0].role(1) == "master"
    });
    scene.wait_moved(0, 1);
    scene.wait_served(0, 1);
    let account = scene.settle(load);
    account.expect_one_unknown_outcome_at_most(0);
    account.expect_undisturbed(1, support::scene::OTHERS_WAIT_MAX);
    // The old primary comes back as a replica, and is read from.
    scene.watched.shards[0].nodes[0].restart_same_port();
    wait_until(Duration::from_secs(60), "the old primary is read from", || {
        assert_eq!(reader.exchange(&["GET", &key]), Value::bulk("v"));
        known(&scene.proxy, &shard)["read_from"] == true
    });
    assert!(replies > 0);
}
