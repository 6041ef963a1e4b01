//! What must hold for any text whatever: the readers never panic, accept only what a proxy can run
//! with, say what is wrong in one line each, and what they accept means the same when it is printed
//! and read again. For the random tests here and for the targets of `fuzz`.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use ahash::AHashSet;

use super::address::{self, Trouble};
use super::complaint::{Complaint, Severity};
use super::draft::ListenDraft;
use super::load::{self, Loaded};
use super::machine::Machine;
use super::model::{Config, Listen, NodeAddress, PoolConfig};
use super::toml_print::print;
use super::{parse_nutcracker, parse_toml, server_line};
use crate::base::ids::ShardId;
use crate::base::limits;
use crate::route::Router;

/// A machine with CPUs 0, 1, 2 and 5 that knows two names.
pub(crate) fn machine() -> Machine {
    fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match host {
            "front" => Ok(vec![SocketAddr::from(([10, 0, 0, 9], port))]),
            "both" => Ok(vec![
                SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)),
                SocketAddr::from(([127, 0, 0, 1], port)),
            ]),
            _ => Err(io::Error::other("no such host")),
        }
    }
    Machine { cpus: vec![0, 1, 2, 5], parallelism: 4, resolve }
}

/// The target `toml`: the bytes of a corelay.toml.
pub(crate) fn toml(bytes: &[u8]) -> Result<(), String> {
    reader(bytes, parse_toml)
}

/// The target `nutcracker`: the bytes of a nutcracker.yml.
pub(crate) fn nutcracker(bytes: &[u8]) -> Result<(), String> {
    reader(bytes, parse_nutcracker)
}

type Read = fn(&str, &str, &Machine) -> Result<Loaded, Vec<Complaint>>;

fn reader(bytes: &[u8], read: Read) -> Result<(), String> {
    let text = match load::text(bytes.to_vec(), "file") {
        Ok(text) => text,
        Err(list) => return told(&list, true, bytes),
    };
    match read(&text, "file", &machine()) {
        Ok(loaded) => {
            told(&loaded.warnings, false, bytes)?;
            accepted(&loaded)
        }
        Err(list) => told(&list, true, bytes),
    }
}

/// Complaints are one line each, of a line that there is; a refusal has an error among them.
fn told(list: &[Complaint], is_refused: bool, bytes: &[u8]) -> Result<(), String> {
    let has_error = list.iter().any(|complaint| complaint.severity == Severity::Error);
    if has_error != is_refused {
        return Err(format!("refused: {is_refused}, and yet: {list:?}"));
    }
    let lines = 1 + bytes.iter().filter(|byte| **byte == b'\n').count();
    for complaint in list {
        let shown = complaint.to_string();
        if shown.chars().any(char::is_control) || shown.lines().count() != 1 {
            return Err(format!("a complaint is no line: {shown:?}"));
        }
        if complaint.line > lines {
            return Err(format!("line {} of {lines}: {shown}", complaint.line));
        }
    }
    Ok(())
}

/// A configuration that was accepted can be run, printed, and read again.
pub(super) fn accepted(loaded: &Loaded) -> Result<(), String> {
    let Loaded { config, warnings } = loaded;
    runnable(config)?;
    let printed = print(config, warnings, &machine());
    match parse_toml(&printed, "printed", &machine()) {
        Ok(again) if again.config == *config => Ok(()),
        Ok(again) => Err(format!("{:?} is not {config:?}, printed as {printed}", again.config)),
        Err(list) => Err(format!("{list:?}, printed as {printed}")),
    }
}

/// What every accepted configuration is, whichever way its readers went.
fn runnable(config: &Config) -> Result<(), String> {
    let mut listeners = Vec::new();
    let mut names = AHashSet::default();
    let pools = config.pools.len();
    let cores = &config.proxy.cores;
    let known = cores.iter().all(|core| machine().cpus.contains(core));
    if pools == 0 || pools > limits::POOLS_MAX || cores.is_empty() || !known {
        return Err(format!("{pools} pools on the CPUs {cores:?}"));
    }
    let plane = [config.proxy.admin_listen, config.proxy.stats_listen];
    listeners.extend(plane.into_iter().flatten().map(Listen::Tcp));
    for pool in &config.pools {
        if !names.insert(pool.name.as_str()) || !is_name(&pool.name) {
            return Err(format!("a pool's name: {:?}", pool.name));
        }
        if pool.listen.is_empty() || pool.listen.len() > limits::LISTENERS_MAX {
            return Err(format!("{} listeners", pool.listen.len()));
        }
        listeners.extend(pool.listen.iter().cloned());
        bounded(pool)?;
        shards(pool)?;
    }
    for (at, listen) in listeners.iter().enumerate() {
        let is_whole = match listen {
            Listen::Tcp(address) => address.port() > 0,
            Listen::Unix { path, mode } => {
                is_socket_path(path) && mode.is_none_or(|mode| mode <= 0o777)
            }
        };
        let place = listen.to_string();
        let is_taken = listeners.iter().skip(at + 1).any(|other| other.to_string() == place);
        if !is_whole || is_taken {
            return Err(format!("a listener: {listen:?}, taken: {is_taken}"));
        }
    }
    Ok(())
}

/// Limits that hold between keys.
fn bounded(pool: &PoolConfig) -> Result<(), String> {
    let limits = &pool.limits;
    let ordered = limits.client_output_soft_bytes < limits.client_output_max_bytes
        && limits.bulk_bytes_max < limits.request_bytes_max
        && pool.database < pool.databases;
    let positive = pool.backlog > 0
        && pool.timeout_ms != Some(0)
        && pool.connect_timeout_ms > 0
        && pool.lanes_per_node > 0
        && limits.client_inflight_max > 0
        && limits.lane_inflight_max > 0
        && limits.request_args_max > 0;
    if ordered && positive { Ok(()) } else { Err(format!("limits: {pool:?}")) }
}

/// The shards of a pool, and that keys are placed on them.
fn shards(pool: &PoolConfig) -> Result<(), String> {
    let shards = &pool.shards;
    if shards.is_empty() || shards.len() > limits::SHARDS_MAX {
        return Err(format!("{} shards", shards.len()));
    }
    let mut names = AHashSet::default();
    for shard in shards {
        let is_whole = match &shard.address {
            NodeAddress::Sentinel => pool.sentinel.is_some(),
            fixed => pool.sentinel.is_none() && is_node(fixed).is_ok(),
        };
        let weighed = (1..=limits::WEIGHT_MAX).contains(&shard.weight);
        if !is_whole || !weighed || !is_name(&shard.name) || !names.insert(&shard.name) {
            return Err(format!("a shard: {shard:?}"));
        }
    }
    let weights: u64 = shards.iter().map(|shard| u64::from(shard.weight)).sum();
    if weights > u64::from(limits::WEIGHTS_SUM_MAX) {
        return Err(format!("weights of {weights}"));
    }
    // Tables of a size that a fuzzer can afford.
    if weights < 10_000 && shards.len() < 100 {
        let router = Router::new(pool);
        for key in [&b""[..], b"key", b"{tag}key", b"\xff\x80\0"] {
            let ShardId(shard) = router.shard_of(key, weights);
            if usize::from(shard) >= shards.len() {
                return Err(format!("{key:?} is on shard {shard} of {}", shards.len()));
            }
        }
    }
    Ok(())
}

/// The target `addresses`: the bytes as the text of an address of each kind.
pub(crate) fn addresses(bytes: &[u8]) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Ok(()) };
    let node = |address: &NodeAddress| match address {
        NodeAddress::Unix { path } => format!("unix:{}", path.display()),
        tcp => tcp.to_string(),
    };
    if let Some(found) = read(address::node(text))? {
        is_node(&found)?;
        same(Ok(found.clone()), address::node(&node(&found)))?;
    }
    if let Some(found) = read(server_line::server(text))? {
        is_node(&found.address)?;
        same(Ok(found.address.clone()), address::node(&node(&found.address)))?;
        let is_weight = (1..=limits::WEIGHT_MAX).contains(&found.weight);
        if !is_weight || !text.contains(&found.name) {
            return Err(format!("{found:?} of {text:?}"));
        }
        let line = format!("{}:{} {}", found.address, found.weight, found.name);
        same(Ok(found), server_line::server(&line))?;
    }
    if let Some(found) = read(address::listen(text))? {
        is_listen(&found)?;
        same(Ok(found.clone()), address::listen(&listen(&found)))?;
    }
    if let Some((found, _)) = read(server_line::listen(text))? {
        is_listen(&found)?;
    }
    Ok(())
}

/// What was found; of a refusal, that its words are one line.
fn read<T>(found: Result<T, Trouble>) -> Result<Option<T>, String> {
    match found {
        Ok(found) => Ok(Some(found)),
        // What they quote of the text is made one line by the complaint.
        Err(trouble) if !trouble.why.is_empty() => Ok(None),
        Err(trouble) => Err(format!("refused without a reason: {trouble:?}")),
    }
}

fn same<T: PartialEq + std::fmt::Debug>(
    found: Result<T, Trouble>,
    again: Result<T, Trouble>,
) -> Result<(), String> {
    if found == again { Ok(()) } else { Err(format!("{found:?} is read again as {again:?}")) }
}

fn listen(listen: &ListenDraft) -> String {
    match listen {
        ListenDraft::Unix { path, mode: Some(mode) } => {
            format!("unix:{} {mode:04o}", path.display())
        }
        other => other.to_string(),
    }
}

fn is_node(address: &NodeAddress) -> Result<(), String> {
    let is_whole = match address {
        NodeAddress::Tcp { host, port } => is_host(host) && *port > 0,
        NodeAddress::Unix { path } => is_socket_path(path),
        NodeAddress::Sentinel => false,
    };
    if is_whole { Ok(()) } else { Err(format!("no address: {address:?}")) }
}

fn is_listen(listen: &ListenDraft) -> Result<(), String> {
    let is_whole = match listen {
        ListenDraft::Tcp { host, port } => is_host(host) && *port > 0,
        ListenDraft::Unix { path, mode } => {
            is_socket_path(path) && mode.is_none_or(|mode| mode <= 0o777)
        }
    };
    if is_whole { Ok(()) } else { Err(format!("no listener: {listen:?}")) }
}

fn is_name(name: &str) -> bool {
    (1..=limits::NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

fn is_host(host: &str) -> bool {
    let strange = |c: char| c.is_whitespace() || c.is_control() || "/[]\"'".contains(c);
    host != "*" && (1..=253).contains(&host.len()) && !host.chars().any(strange)
}

/// `sun_path` of Linux has 108 bytes with its terminating zero.
fn is_socket_path(path: &Path) -> bool {
    let text = path.to_string_lossy();
    path.is_absolute() && text.len() < 108 && !text.chars().any(char::is_control)
}
