//! `corelay probe`: is a proxy fit to serve, and do two proxies agree? For Nagios and keepalived.
//!
//! It asks the admin port for `/topology`, and a PING of every listener, and judges what it hears.
//! What is wrong with the proxy *itself* (it does not answer, drains, does not listen, hears too
//! few sentinels) is told apart from what is wrong with a shard: a virtual address should move for
//! the first, since the other proxy may do better, and stay for the second, which both have in
//! common.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::Deserialize;

use super::admin_client;

/// What to look at.
#[derive(Clone, Debug)]
pub struct Probe {
    pub admin: SocketAddr,
    /// Another proxy's admin port, with which it has to agree.
    pub peer: Option<SocketAddr>,
    /// Only what is wrong with this proxy itself.
    pub itself: bool,
    /// For each question.
    pub within: Duration,
}

/// As Nagios has it; the number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    Ok = 0,
    Warning = 1,
    Critical = 2,
    Unknown = 3,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub level: Level,
    /// Worst first.
    problems: Vec<(Level, String)>,
    figures: Figures,
}

#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    pools: usize,
    shards: usize,
    shards_down: usize,
    held: u64,
    clients: u64,
    epoch: u64,
    sentinels: u64,
    sentinels_reachable: u64,
    replicas: usize,
    replicas_in_sync: usize,
}

/// `/topology`, as far as it is judged.
#[derive(Debug, Deserialize)]
struct Page {
    epoch: u64,
    draining: bool,
    pools: BTreeMap<String, Pool>,
}

#[derive(Debug, Deserialize)]
struct Pool {
    ring: String,
    listen: Vec<String>,
    listeners: u64,
    clients: u64,
    #[serde(default)]
    sentinels: Option<Sentinels>,
    shards: BTreeMap<String, Shard>,
}

#[derive(Debug, Deserialize)]
struct Sentinels {
    known: u64,
    reachable: u64,
    majority: u64,
    #[serde(default)]
    tilt: bool,
}

#[derive(Debug, Deserialize)]
struct Shard {
    primary: Option<String>,
    writable: bool,
    paused: bool,
    /// Connections to the primary, and whether any was ever needed.
    lanes: u64,
    needed: bool,
    #[serde(default)]
    held: u64,
    /// Of a pool that reads from them.
    #[serde(default)]
    replicas_known: Vec<Replica>,
}

#[derive(Debug, Deserialize)]
struct Replica {
    read_from: bool,
}

impl Shard {
    fn replicas_in_sync(&self) -> usize {
        self.replicas_known.iter().filter(|replica| replica.read_from).count()
    }
}

/// Asks and judges.
pub fn probe(probe: &Probe) -> Verdict {
    let page = match page(probe.admin, probe.within) {
        Ok(page) => page,
        Err((level, why)) => {
            let why = format!("admin port {}: {why}", probe.admin);
            return Verdict::new(vec![(level, why)], Figures::default());
        }
    };
    let mut problems = problems_of(&page, probe.itself);
    for (name, pool) in &page.pools {
        let unanswered = pool.listen.iter().filter_map(|listen| {
            let why = ping(listen, probe.within).err()?;
            Some((Level::Critical, format!("pool {name}: no PONG from {listen}: {why}")))
        });
        problems.extend(unanswered);
    }
    if let Some(peer) = probe.peer {
        match self::page(peer, probe.within) {
            Ok(other) => problems.extend(differences(&page, &other, peer)),
            Err((_, why)) => {
                problems.push((Level::Warning, format!("peer {peer}: {why}")));
            }
        }
    }
    Verdict::new(problems, figures(&page))
}

fn page(admin: SocketAddr, within: Duration) -> Result<Page, (Level, String)> {
    let text =
        admin_client::get(admin, "/topology", within).map_err(|why| (Level::Critical, why))?;
    serde_json::from_str(&text)
        .map_err(|error| (Level::Unknown, format!("this is no corelay of this version: {error}")))
}

/// What is wrong by its own account.
fn problems_of(page: &Page, itself: bool) -> Vec<(Level, String)> {
    let mut problems = Vec::new();
    if page.draining {
        problems.push((Level::Critical, "it is ending (draining)".to_owned()));
    }
    for (name, pool) in &page.pools {
        if pool.listeners == 0 {
            problems.push((Level::Critical, format!("pool {name}: no listener is open")));
        }
        if let Some(sentinels) = &pool.sentinels {
            problems.extend(problem_of_sentinels(name, sentinels));
        }
        if !itself {
            let shards = pool.shards.iter();
            problems.extend(shards.filter_map(|(shard, state)| {
                let (level, what) = problem_of_shard(state)?;
                Some((level, format!("pool {name} shard {shard}: {what}")))
            }));
        }
    }
    problems
}

fn problem_of_sentinels(pool: &str, sentinels: &Sentinels) -> Option<(Level, String)> {
    let Sentinels { known, reachable, majority, tilt } = *sentinels;
    let level = if reachable < majority { Level::Critical } else { Level::Warning };
    if reachable < known {
        return Some((level, format!("pool {pool}: {reachable} of {known} sentinels answer")));
    }
    tilt.then(|| (Level::Warning, format!("pool {pool}: a sentinel is in tilt mode")))
}

fn problem_of_shard(shard: &Shard) -> Option<(Level, String)> {
    let Some(primary) = &shard.primary else {
        return Some((Level::Critical, "no primary is known".to_owned()));
    };
    if shard.paused {
        return Some((Level::Warning, "paused for a switchover".to_owned()));
    }
    if shard.needed && shard.lanes == 0 {
        return Some((Level::Critical, format!("not connected to {primary}")));
    }
    if !shard.writable {
        return Some((Level::Critical, "writes are refused (quorum_required)".to_owned()));
    }
    if shard.held > 0 {
        return Some((Level::Warning, format!("{} requests are held", shard.held)));
    }
    let (known, in_sync) = (shard.replicas_known.len(), shard.replicas_in_sync());
    let why = || format!("{in_sync} of {known} replicas are read from");
    (in_sync < known).then(|| (Level::Warning, why()))
}

/// Where two proxies would send the same key to different places.
fn differences(own: &Page, other: &Page, peer: SocketAddr) -> Vec<(Level, String)> {
    let mut found = Vec::new();
    for (name, pool) in &own.pools {
        let Some(theirs) = other.pools.get(name) else {
            found.push((Level::Critical, format!("peer {peer} has no pool {name}")));
            continue;
        };
        if pool.ring != theirs.ring {
            let what = format!(
                "pool {name}: keys are placed otherwise at peer {peer} (ring {} here, {} there)",
                pool.ring, theirs.ring
            );
            found.push((Level::Critical, what));
            continue;
        }
        for (shard, state) in &pool.shards {
            let there = theirs.shards.get(shard).and_then(|shard| shard.primary.as_deref());
            let here = state.primary.as_deref();
            if here != there {
                let word = |primary: Option<&str>| primary.unwrap_or("none").to_owned();
                let what = format!(
                    "pool {name} shard {shard}: primary {} here, {} at peer {peer}",
                    word(here),
                    word(there)
                );
                found.push((Level::Warning, what));
            }
        }
    }
    found
}

fn figures(page: &Page) -> Figures {
    let shards = || page.pools.values().flat_map(|pool| pool.shards.values());
    let sentinels = || page.pools.values().filter_map(|pool| pool.sentinels.as_ref());
    let is_down =
        |shard: &&Shard| problem_of_shard(shard).is_some_and(|(level, _)| level == Level::Critical);
    Figures {
        pools: page.pools.len(),
        shards: shards().count(),
        shards_down: shards().filter(is_down).count(),
        held: shards().map(|shard| shard.held).sum(),
        clients: page.pools.values().map(|pool| pool.clients).sum(),
        epoch: page.epoch,
        sentinels: sentinels().map(|sentinels| sentinels.known).sum(),
        sentinels_reachable: sentinels().map(|sentinels| sentinels.reachable).sum(),
        replicas: shards().map(|shard| shard.replicas_known.len()).sum(),
        replicas_in_sync: shards().map(Shard::replicas_in_sync).sum(),
    }
}

impl Verdict {
    fn new(mut problems: Vec<(Level, String)>, figures: Figures) -> Verdict {
        problems.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
        let level = problems.first().map_or(Level::Ok, |(level, _)| *level);
        Verdict { level, problems, figures }
    }

    /// One line: the word, what is wrong (or how much is right), and figures for graphs.
    pub fn line(&self) -> String {
        let figures = &self.figures;
        let word = match self.level {
            Level::Ok => "OK",
            Level::Warning => "WARNING",
            Level::Critical => "CRITICAL",
            Level::Unknown => "UNKNOWN",
        };
        let mut line = format!("CORELAY {word} - ");
        if self.problems.is_empty() {
            let Figures { pools, shards, clients, .. } = figures;
            let _ = write!(line, "{shards} shards in {pools} pools, {clients} clients");
        }
        for (number, (_, what)) in self.problems.iter().take(PROBLEMS_SHOWN).enumerate() {
            // `|` begins the figures, and a name may have one.
            let what = what.replace('|', "/");
            let _ = write!(line, "{}{what}", if number > 0 { "; " } else { "" });
        }
        if let Some(more) = self.problems.len().checked_sub(PROBLEMS_SHOWN).filter(|n| *n > 0) {
            let _ = write!(line, "; {more} more");
        }
        let _ = write!(
            line,
            " | shards={};;;0 shards_down={};;1;0 held={};;;0 clients={};;;0 sentinels={};;;0 \
             sentinels_reachable={};;;0 replicas={};;;0 replicas_in_sync={};;;0 epoch={}c",
            figures.shards,
            figures.shards_down,
            figures.held,
            figures.clients,
            figures.sentinels,
            figures.sentinels_reachable,
            figures.replicas,
            figures.replicas_in_sync,
            figures.epoch,
        );
        line
    }
}

/// A line that a pager shows has to end somewhere.
const PROBLEMS_SHOWN: usize = 4;

/// PING at a listener, as a client would. An answer that asks for a password is one, too.
fn ping(listen: &str, within: Duration) -> Result<(), String> {
    let answer = match listen.strip_prefix("unix:") {
        Some(path) => UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(within))?;
            ask(stream)
        }),
        None => {
            let address: SocketAddr = listen.parse().map_err(|_| "no address".to_owned())?;
            TcpStream::connect_timeout(&reachable(address), within).and_then(|stream| {
                stream.set_read_timeout(Some(within))?;
                ask(stream)
            })
        }
    };
    match answer.map_err(|error| error.to_string())?.as_slice() {
        b"+PONG" | b"-NOAU" => Ok(()),
        other => Err(format!("'{}' instead", other.escape_ascii())),
    }
}

fn ask(mut stream: impl Read + Write) -> io::Result<Vec<u8>> {
    stream.write_all(b"PING\r\n")?;
    let mut answer = vec![0; 5];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// Who listens on all addresses is asked at the loopback's.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
