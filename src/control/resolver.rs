//! Host names of redis-servers become addresses: at boot, and again every few seconds.
//!
//! A lookup may hang for as long as the system's resolver likes, so it runs on threads of its own
//! that nobody waits for beyond the boot's deadline; a name that is still being asked for is not
//! asked again. An answer that fails or is empty changes nothing: the last address stays in use. Of
//! several addresses the one in use stays if it is still among them, else the first is taken.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ahash::AHashMap;
use crossbeam::channel::{Receiver, Sender, after, bounded, select, tick};

use super::publisher::Publisher;
use crate::base::ids::{PoolId, ShardId};
use crate::config::model::{Config, NodeAddress};
use crate::log::Logger;
use crate::topology::{NodeEndpoint, PoolTopology, ShardTopology, Topology};

/// How often every name is asked for.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How long the boot waits for names; those that come later are published.
const BOOT_MAX: Duration = Duration::from_secs(5);
/// Lookups at the same time.
const LOOKUPS_MAX: usize = 4;

type Answer = io::Result<Vec<SocketAddr>>;
type Lookup = dyn Fn(&str, u16) -> Answer + Send + Sync;

/// The first topology (epoch 1): literal addresses at once, names as far as they resolve in 5 s,
/// the others' primaries unknown (and logged). With it comes what keeps the names up to date, if
/// there are any. Fails if a thread can not be started.
pub fn resolve_all(
    config: &Arc<Config>,
    log: &Logger,
) -> io::Result<(Arc<Topology>, Option<Resolver>)> {
    let system = |host: &str, port: u16| (host, port).to_socket_addrs().map(Iterator::collect);
    resolve_with(config, log, Arc::new(system), BOOT_MAX)
}

fn resolve_with(
    config: &Arc<Config>,
    log: &Logger,
    lookup: Arc<Lookup>,
    boot_max: Duration,
) -> io::Result<(Arc<Topology>, Option<Resolver>)> {
    let (topology, names) = literal(config);
    if names.is_empty() {
        return Ok((Arc::new(topology), None));
    }
    let mut resolver = Resolver::new(topology, names, log.clone(), lookup)?;
    resolver.ask_all();
    let deadline = after(boot_max);
    while resolver.names.iter().any(|name| name.asked) {
        select! {
            recv(resolver.answers) -> answer => match answer {
                Ok(answer) => { resolver.take(answer); }
                Err(_) => break,
            },
            recv(deadline) -> _ => break,
        }
    }
    for name in resolver.names.iter().filter(|name| name.asked) {
        log.warn(
            "name not resolved yet",
            &[("host", &name.host), ("waited_ms", &boot_max.as_millis())],
        );
    }
    let mut topology = resolver.topology.clone();
    resolver.put_into(&mut topology);
    Ok((Arc::new(topology), Some(resolver)))
}

/// The topology of what needs no lookup, and the names that do, each once.
fn literal(config: &Arc<Config>) -> (Topology, Vec<Name>) {
    let mut names: Vec<Name> = Vec::new();
    let mut known: AHashMap<(String, u16), usize> = AHashMap::new();
    let mut pools = Vec::new();
    for (index, pool) in config.pools.iter().enumerate() {
        let mut shards = Vec::new();
        for (number, shard) in pool.shards.iter().enumerate() {
            let primary = match &shard.address {
                NodeAddress::Unix { path } => Some(NodeEndpoint::Unix(path.clone())),
                NodeAddress::Sentinel => None,
                NodeAddress::Tcp { host, port } => match host.parse::<IpAddr>() {
                    Ok(ip) => Some(NodeEndpoint::Tcp(SocketAddr::new(ip, *port))),
                    Err(_) => {
                        let place = (PoolId(index as u16), ShardId(number as u16));
                        let at = *known.entry((host.clone(), *port)).or_insert_with(|| {
                            names.push(Name::new(host, *port));
                            names.len() - 1
                        });
                        names[at].shards.push(place);
                        None
                    }
                },
            };
            shards.push(ShardTopology::fixed(primary));
        }
        pools.push(PoolTopology { shards });
    }
    (Topology { epoch: 1, config: config.clone(), pools }, names)
}

#[derive(Debug)]
struct Name {
    host: Arc<str>,
    port: u16,
    shards: Vec<(PoolId, ShardId)>,
    current: Option<SocketAddr>,
    /// No answer yet to the last question.
    asked: bool,
    /// The last answer was none; logged when it begins and when it ends.
    failing: bool,
}

impl Name {
    fn new(host: &str, port: u16) -> Name {
        let host = Arc::from(host);
        Name { host, port, shards: Vec::new(), current: None, asked: false, failing: false }
    }
}

/// Keeps names up to date; idle until it is started.
pub struct Resolver {
    /// The first topology; afterwards the publisher has it.
    topology: Topology,
    names: Vec<Name>,
    questions: Sender<(usize, Arc<str>, u16)>,
    answers: Receiver<(usize, Answer)>,
    log: Logger,
}

impl Resolver {
    fn new(
        topology: Topology,
        names: Vec<Name>,
        log: Logger,
        lookup: Arc<Lookup>,
    ) -> io::Result<Resolver> {
        // A name is asked for once at a time, so neither channel is ever full.
        let (questions, asked) = bounded::<(usize, Arc<str>, u16)>(names.len());
        let (answer, answers) = bounded(names.len());
        for _ in 0..names.len().min(LOOKUPS_MAX) {
            let (asked, answer, lookup) = (asked.clone(), answer.clone(), lookup.clone());
            let work = move || {
                for (at, host, port) in asked {
                    if answer.send((at, lookup(&host, port))).is_err() {
                        return;
                    }
                }
            };
            std::thread::Builder::new().name("corelay-lookup".to_owned()).spawn(work)?;
        }
        Ok(Resolver { topology, names, questions, answers, log })
    }

    /// Asks for the names every 5 s from now on, and publishes whenever an address has changed.
    /// Fails if the thread can not be started.
    pub fn start(self, publisher: Arc<Publisher>) -> io::Result<ResolverHandle> {
        self.start_every(ASK_EVERY, publisher)
    }

    fn start_every(
        mut self,
        every: Duration,
        publisher: Arc<Publisher>,
    ) -> io::Result<ResolverHandle> {
        let (stop, stopped) = bounded::<()>(0);
        let run = move || {
            let time = tick(every);
            loop {
                select! {
                    recv(stopped) -> _ => return,
                    recv(time) -> _ => self.ask_all(),
                    recv(self.answers) -> answer => {
                        let Ok(answer) = answer else { return };
                        if self.take_all(answer) {
                            publisher.change(|topology| self.put_into(topology));
                        }
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("corelay-resolver".to_owned()).spawn(run)?;
        Ok(ResolverHandle { stop, thread: Some(thread) })
    }

    fn ask_all(&mut self) {
        for (at, name) in self.names.iter_mut().enumerate().filter(|(_, name)| !name.asked) {
            let question = (at, name.host.clone(), name.port);
            name.asked = self.questions.try_send(question).is_ok();
        }
    }

    /// Takes this answer and those that are already there; whether an address has changed.
    fn take_all(&mut self, answer: (usize, Answer)) -> bool {
        let mut changed = self.take(answer);
        while let Ok(answer) = self.answers.try_recv() {
            changed |= self.take(answer);
        }
        changed
    }

    /// Whether the address has changed.
    fn take(&mut self, (at, answer): (usize, Answer)) -> bool {
        let Some(name) = self.names.get_mut(at) else { return false };
        name.asked = false;
        let addresses = match answer {
            Ok(addresses) if !addresses.is_empty() => addresses,
            Ok(_) => return name.failed(&"the answer is empty", &self.log),
            Err(error) => return name.failed(&error, &self.log),
        };
        if std::mem::take(&mut name.failing) {
            self.log.info("name resolves again", &[("host", &name.host)]);
        }
        if name.current.is_some_and(|current| addresses.contains(&current)) {
            return false;
        }
        let address = addresses[0];
        if let Some(before) = name.current.replace(address) {
            self.log.info(
                "name has another address",
                &[("host", &name.host), ("address", &address), ("before", &before)],
            );
        }
        true
    }

    /// Writes the addresses of all names into the shards that have them.
    fn put_into(&self, topology: &mut Topology) {
        for name in &self.names {
            let Some(address) = name.current else { continue };
            for (pool, shard) in &name.shards {
                let pool = topology.pools.get_mut(pool.index());
                if let Some(shard) = pool.and_then(|pool| pool.shards.get_mut(shard.index())) {
                    shard.set_primary(NodeEndpoint::Tcp(address));
                }
            }
        }
    }
}

impl Name {
    /// Nothing has changed but that it fails.
    fn failed(&mut self, why: &dyn fmt::Display, log: &Logger) -> bool {
        if !std::mem::replace(&mut self.failing, true) {
            match &self.current {
                Some(current) => log.warn(
                    "name does not resolve, its last address stays in use",
                    &[("host", &self.host), ("address", current), ("error", why)],
                ),
                None => log.error(
                    "name does not resolve, its shards have no primary",
                    &[("host", &self.host), ("error", why)],
                ),
            }
        }
        false
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("names", &self.names).finish_non_exhaustive()
    }
}

/// Ends the resolver when dropped; lookups under way are not waited for.
#[derive(Debug)]
#[must_use = "names are no longer kept up to date when this is dropped"]
pub struct ResolverHandle {
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for ResolverHandle {
    fn drop(&mut self) {
        // The receiver sees its channel end.
        self.stop = bounded(0).0;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has ended the process already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
