//! One shard's replicas: asked together with their primary once a second, judged, published.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::Lists;
use super::judge::{EVERY, Primary, Sample, Track, find_near};
use super::node::Node;
use crate::base::ids::{PoolId, ShardId};
use crate::base::limits::REPLICAS_MAX;
use crate::config::model::{NodeAddress, PoolConfig, ShardConfig};
use crate::control::picture::ReplicaPicture;
use crate::control::publisher::Publisher;
use crate::control::sentinel::verdict::Address;
use crate::control::sentinel::words::Listed;
use crate::control::state::ControlState;
use crate::log::Field;
use crate::stats::watch::ReplicaMetric;
use crate::topology::{NodeEndpoint, Replica};

/// Shards do not all ask in the same moment: so many different ones, so far apart.
const MOMENTS: u16 = 64;
const MOMENT: Duration = Duration::from_millis(10);

/// A node, lent to a task of its own while it is asked.
#[derive(Debug)]
struct Asked {
    address: Address,
    node: Option<Node>,
}

type Answer = JoinHandle<(Node, Result<Sample, String>)>;

#[derive(Debug)]
struct Known {
    asked: Asked,
    track: Track,
    /// Why the sentinel that lists it would not read from it.
    trouble: Option<String>,
    /// Whether it was read from when that was told last.
    told: bool,
}

/// See the module.
pub(super) struct Sampler {
    pool_id: PoolId,
    shard: ShardId,
    pool: Arc<PoolConfig>,
    lists: watch::Receiver<Lists>,
    state: Arc<ControlState>,
    publisher: Arc<Publisher>,
    started: Instant,
    /// The primary that is asked, as the topology names it.
    endpoint: Option<NodeEndpoint>,
    primary: Option<(Asked, Primary)>,
    replicas: Vec<Known>,
}

/// The replicas that the configuration names.
fn listed(shard: &ShardConfig) -> Vec<Listed> {
    let address = |address: &NodeAddress| match address {
        NodeAddress::Tcp { host, port } => Some(Listed::at(host, *port)),
        NodeAddress::Unix { .. } | NodeAddress::Sentinel => None,
    };
    shard.replicas.iter().filter_map(address).collect()
}

impl Asked {
    fn new(address: Address, pool: &PoolConfig) -> Asked {
        let node = Node::new(address.clone(), pool.backend_auth.clone());
        Asked { address, node: Some(node) }
    }

    fn begin(&mut self, started: Instant) -> Option<Answer> {
        let mut node = self.node.take()?;
        Some(tokio::spawn(async move {
            let sample = node.sample(started).await;
            (node, sample)
        }))
    }

    async fn end(&mut self, asked: Option<Answer>) -> Result<Sample, String> {
        match asked {
            Some(asked) => {
                let (node, sample) = asked.await.map_err(|error| error.to_string())?;
                self.node = Some(node);
                sample
            }
            None => Err("it is being asked".to_owned()),
        }
    }
}

impl Sampler {
    pub(super) fn new(
        (pool_id, shard): (PoolId, ShardId),
        pool: Arc<PoolConfig>,
        lists: watch::Receiver<Lists>,
        state: Arc<ControlState>,
        publisher: Arc<Publisher>,
    ) -> Sampler {
        let started = Instant::now();
        let (endpoint, primary, replicas) = (None, None, Vec::new());
        Sampler {
            pool_id,
            shard,
            pool,
            lists,
            state,
            publisher,
            started,
            endpoint,
            primary,
            replicas,
        }
    }

    /// Runs for ever; ended by dropping its task.
    pub(super) async fn run(mut self) {
        sleep(MOMENT * u32::from(self.shard.0 % MOMENTS)).await;
        loop {
            let next = Instant::now() + EVERY;
            self.follow_config();
            self.follow_primary();
            self.follow_list();
            self.round().await;
            sleep_until(next).await;
        }
    }

    /// A reload may have changed bounds, replicas and passwords.
    fn follow_config(&mut self) {
        let topology = self.publisher.current();
        let Some(pool) = topology.config.pools.get(self.pool_id.index()) else { return };
        if Arc::ptr_eq(pool, &self.pool) {
            return;
        }
        if pool.backend_auth != self.pool.backend_auth {
            (self.endpoint, self.primary) = (None, None);
            self.replicas.clear();
        }
        self.pool = pool.clone();
    }

    fn follow_primary(&mut self) {
        let topology = self.publisher.current();
        let shard = topology.shard(self.pool_id, self.shard);
        let endpoint = shard.and_then(|shard| shard.primary.clone());
        if self.endpoint == endpoint {
            return;
        }
        // What was known was known beside another primary.
        self.replicas.iter_mut().for_each(|known| known.track = Track::new());
        self.primary = match &endpoint {
            Some(NodeEndpoint::Tcp(at)) => {
                let address = Address { host: at.ip().to_string(), port: at.port() };
                Some((Asked::new(address, &self.pool), Primary::default()))
            }
            // The configuration has no replicas of such a one.
            Some(NodeEndpoint::Unix(_)) | None => None,
        };
        self.endpoint = endpoint;
    }

    fn follow_list(&mut self) {
        let shard = self.pool.shards.get(self.shard.index());
        let mut listed = match self.pool.sentinel {
            Some(_) => self.lists.borrow_and_update().get(self.shard.index()).cloned(),
            None => shard.map(listed),
        };
        let listed = listed.get_or_insert_default();
        listed.truncate(REPLICAS_MAX);
        self.replicas.retain(|known| listed.iter().any(|it| it.address == known.asked.address));
        for it in listed {
            let known = self.replicas.iter_mut().find(|known| known.asked.address == it.address);
            match known {
                Some(known) => known.trouble.clone_from(&it.trouble),
                None => self.replicas.push(Known {
                    asked: Asked::new(it.address.clone(), &self.pool),
                    track: Track::new(),
                    trouble: it.trouble.clone(),
                    told: false,
                }),
            }
        }
    }

    /// Asks all at once, and publishes what came of it.
    async fn round(&mut self) {
        let Some((asked, primary)) = &mut self.primary else { return };
        let of_primary = asked.begin(self.started);
        let asking = self.replicas.iter_mut().map(|known| known.asked.begin(self.started));
        let of_replicas: Vec<_> = asking.collect();
        primary.take(asked.end(of_primary).await.ok());
        for (known, asked) in self.replicas.iter_mut().zip(of_replicas) {
            let answer = known.asked.end(asked).await;
            let now = self.started.elapsed();
            known.track.take(answer, primary, self.pool.replica_lag_max_bytes, now);
            if let Some(trouble) = &known.trouble {
                known.track.standing = Err(trouble.clone());
            }
        }
        self.publish();
    }

    fn publish(&mut self) {
        let Some((_, primary)) = &mut self.primary else { return };
        let tracks = self.replicas.iter_mut().map(|known| &mut known.track);
        let (read, left): (Vec<_>, Vec<_>) = tracks.partition(|track| track.standing.is_ok());
        left.into_iter().for_each(|track| track.way.near = false);
        let ways = read.into_iter().map(|track| &mut track.way);
        find_near(ways.chain([&mut primary.way]));
        let primary_near = primary.way.near;
        let mut readable: Vec<Replica> = Vec::new();
        for Known { track, .. } in &self.replicas {
            let (Ok(_), Some(at)) = (&track.standing, track.at) else { continue };
            let endpoint = NodeEndpoint::Tcp(at);
            let double = readable.iter().any(|replica| replica.endpoint == endpoint);
            if !double && self.endpoint.as_ref() != Some(&endpoint) {
                readable.push(Replica { endpoint, near: track.way.near });
            }
        }
        self.publisher.change_shard(self.pool_id, self.shard, |shard| {
            // It may have moved while its replicas were asked.
            if shard.primary == self.endpoint {
                shard.near = primary_near || readable.iter().all(|replica| !replica.near);
                shard.replicas = readable;
            }
        });
        self.tell();
    }

    /// Lines of the log when something has changed, and the picture.
    fn tell(&mut self) {
        let shard = self.pool.shards.get(self.shard.index());
        let name = shard.map_or("?", |shard| shard.name.as_str());
        for known in &mut self.replicas {
            let replica = &known.asked.address;
            let of: [Field<'_>; 3] =
                [("pool", &self.pool.name), ("shard", &name), ("replica", replica)];
            match &known.track.standing {
                Ok(lag_bytes) if !known.told => {
                    let lag: [Field<'_>; 1] = [("lag_bytes", lag_bytes)];
                    self.state.log.info("replica is read from", &[&of[..], &lag].concat());
                }
                Err(why) if known.told => {
                    let why: [Field<'_>; 1] = [("why", why)];
                    self.state.log.warn("replica is not read from", &[&of[..], &why].concat());
                }
                _ => {}
            }
            known.told = known.track.standing.is_ok();
        }
        let lags = self.replicas.iter().filter_map(|known| known.track.standing.as_ref().ok());
        for (metric, value) in [
            (ReplicaMetric::Known, self.replicas.len() as u64),
            (ReplicaMetric::ReadFrom, lags.clone().count() as u64),
            (ReplicaMetric::Lag, lags.copied().max().unwrap_or(0)),
        ] {
            if let Some(cell) = self.state.watch.of_replicas(self.pool_id, self.shard, metric) {
                cell.set(value);
            }
        }
        let picture = self.replicas.iter().map(|Known { asked, track, .. }| ReplicaPicture {
            address: asked.address.to_string(),
            standing: track.standing.clone(),
            near: track.way.near,
            round_trip: track.way.mean,
        });
        self.state.set_replicas(self.pool_id, self.shard, picture.collect());
    }
}
