use std::sync::Barrier;

use crossbeam::channel::unbounded;

use super::*;
use crate::config::sample;

const SOON: Duration = Duration::from_secs(10);
const POOL: PoolId = PoolId(0);

fn tcp(host: &str, port: u16) -> NodeAddress {
    NodeAddress::Tcp { host: host.to_owned(), port }
}

/// One pool whose shards are at these addresses.
fn config(addresses: &[NodeAddress]) -> Arc<Config> {
    let mut config = (*sample::config(&[("cache", &["a", "b", "c"][..addresses.len()])])).clone();
    let mut pool = (*config.pools[0]).clone();
    for (shard, address) in pool.shards.iter_mut().zip(addresses) {
        shard.address = address.clone();
    }
    config.pools = vec![Arc::new(pool)];
    Arc::new(config)
}

fn primary(topology: &Topology, shard: u16) -> Option<String> {
    topology.shard(POOL, ShardId(shard)).unwrap().primary.as_ref().map(ToString::to_string)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Answers every question with what was sent last, and hands each question out.
fn scripted(answers: Receiver<Answer>) -> Arc<Lookup> {
    Arc::new(move |_: &str, _| answers.recv().unwrap_or_else(|_| Ok(Vec::new())))
}

#[test]
fn literals_need_no_lookup_and_no_thread() {
    let unix = NodeAddress::Unix { path: "/run/redis.sock".into() };
    let config = config(&[tcp("10.0.0.1", 6379), tcp("::1", 6380), unix]);
    let lookup: Arc<Lookup> = Arc::new(|host: &str, _| panic!("asked for {host}"));
    let (topology, resolver) = resolve_with(&config, &Logger::discard(), lookup, SOON).unwrap();
    assert!(resolver.is_none());
    assert_eq!(topology.epoch, 1);
    assert_eq!(primary(&topology, 0).unwrap(), "10.0.0.1:6379");
    assert_eq!(primary(&topology, 1).unwrap(), "[::1]:6380");
    assert_eq!(primary(&topology, 2).unwrap(), "unix:/run/redis.sock");
}

#[test]
fn the_system_knows_localhost() {
    let (topology, resolver) =
        resolve_all(&config(&[tcp("localhost", 6379)]), &Logger::discard()).unwrap();
    assert!(resolver.is_some());
    let primary = primary(&topology, 0).unwrap();
    assert!(["127.0.0.1:6379", "[::1]:6379"].contains(&primary.as_str()), "{primary}");
}

#[test]
fn a_name_that_does_not_resolve_has_no_primary_and_hinders_no_other() {
    let lookup: Arc<Lookup> = Arc::new(|host: &str, port| match host {
        "good" => Ok(vec![SocketAddr::new([10, 0, 0, 5].into(), port)]),
        _ => Err(io::Error::other("no such host")),
    });
    let config = config(&[tcp("bad", 1), tcp("good", 2), tcp("10.0.0.3", 3)]);
    let (topology, _) = resolve_with(&config, &Logger::discard(), lookup, SOON).unwrap();
    assert_eq!(primary(&topology, 0), None);
    assert_eq!(primary(&topology, 1).unwrap(), "10.0.0.5:2");
    assert_eq!(primary(&topology, 2).unwrap(), "10.0.0.3:3");
}

#[test]
fn a_lookup_that_hangs_does_not_hang_the_boot() {
    let hang = Arc::new(Barrier::new(2));
    let hanging = hang.clone();
    let lookup: Arc<Lookup> = Arc::new(move |host: &str, port| {
        if host == "hangs" {
            hanging.wait();
        }
        Ok(vec![SocketAddr::new([10, 0, 0, 5].into(), port)])
    });
    let config = config(&[tcp("hangs", 1), tcp("good", 2)]);
    let boot = Duration::from_millis(300);
    let (topology, resolver) = resolve_with(&config, &Logger::discard(), lookup, boot).unwrap();
    assert_eq!(primary(&topology, 0), None);
    assert_eq!(primary(&topology, 1).unwrap(), "10.0.0.5:2");

    // What comes late is published.
    let (published, topologies) = unbounded();
    let resolver = resolver.unwrap();
    let publish = move |topology| published.send(topology).unwrap();
    let publisher = Publisher::new(topology, publish);
    let _handle = resolver.start_every(SOON, publisher).unwrap();
    hang.wait();
    let topology = topologies.recv_timeout(SOON).unwrap();
    assert_eq!((topology.epoch, primary(&topology, 0).unwrap()), (2, "10.0.0.5:1".to_owned()));
}

#[test]
fn only_a_change_is_published_and_no_answer_is_none() {
    let (answer, answers) = unbounded();
    let config = config(&[tcp("name", 1), tcp("name", 1)]);
    answer.send(Ok(vec![address("10.0.0.1:1"), address("10.0.0.2:1")])).unwrap();
    let (first, resolver) =
        resolve_with(&config, &Logger::discard(), scripted(answers), SOON).unwrap();
    assert_eq!(primary(&first, 0).unwrap(), "10.0.0.1:1");

    let (published, topologies) = unbounded();
    let publish = move |topology| published.send(topology).unwrap();
    let every = Duration::from_millis(1);
    let publisher = Publisher::new(first, publish);
    let _handle = resolver.unwrap().start_every(every, publisher).unwrap();
    // Another order, none, an error: all the same as before. Then another address.
    answer.send(Ok(vec![address("10.0.0.2:1"), address("10.0.0.1:1")])).unwrap();
    answer.send(Ok(Vec::new())).unwrap();
    answer.send(Err(io::Error::other("the name server is away"))).unwrap();
    answer.send(Ok(vec![address("10.0.0.3:1"), address("10.0.0.2:1")])).unwrap();
    let second = topologies.recv_timeout(SOON).unwrap();
    assert_eq!(second.epoch, 2);
    assert_eq!(primary(&second, 0).unwrap(), "10.0.0.3:1");
    assert_eq!(primary(&second, 1).unwrap(), "10.0.0.3:1", "asked once, used twice");
    assert!(topologies.is_empty());
}

#[test]
fn dropping_the_handle_ends_the_thread() {
    let lookup: Arc<Lookup> = Arc::new(|_: &str, _| Ok(Vec::new()));
    let config = config(&[tcp("name", 1)]);
    let (first, resolver) = resolve_with(&config, &Logger::discard(), lookup, SOON).unwrap();
    let (published, topologies) = unbounded::<Arc<Topology>>();
    let publish = move |topology| published.send(topology).unwrap();
    let publisher = Publisher::new(first, publish);
    drop(resolver.unwrap().start_every(Duration::from_millis(1), publisher).unwrap());
    // Its end of the channel went with it.
    assert!(topologies.recv_timeout(SOON).is_err() && topologies.is_empty());
    assert_eq!(topologies.try_recv(), Err(crossbeam::channel::TryRecvError::Disconnected));
}
