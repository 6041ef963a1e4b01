//! From drafts to the configuration as used: what holds between keys, shards, pools and listeners.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ahash::AHashMap;

use super::complaint::{Complaint, Complaints};
use super::draft::{At, Draft, ListenDraft, PoolDraft};
use super::facade;
use super::load::Loaded;
use super::machine::Machine;
use super::model::{Config, DistributionKind, HashKind, Listen, NodeAddress};
use super::replicas;
use crate::base::limits;
use crate::route::server_order;

/// Checks a draft and sorts its shards.
pub(super) fn build(
    mut draft: Draft,
    mut complaints: Complaints,
    machine: &Machine,
) -> Result<Loaded, Vec<Complaint>> {
    let mut taken = Taken::default();
    let plane = [
        ("admin_listen", &draft.admin_listen),
        ("stats_listen", &draft.stats_listen),
        ("handover_socket", &draft.handover_socket),
    ];
    let [admin, stats, handover] = plane.map(|(key, listen)| {
        let listen = listen.as_ref()?;
        let place = Place { line: listen.line, key: format!("proxy.{key}") };
        let listen = resolve(listen, &place, &mut complaints, machine)?;
        taken.take(listen.clone(), place, &mut complaints);
        Some(listen)
    });
    draft.proxy.admin_listen = admin.as_ref().and_then(Listen::tcp);
    draft.proxy.stats_listen = stats.as_ref().and_then(Listen::tcp);
    draft.proxy.handover_socket = handover.as_ref().and_then(Listen::path).map(Path::to_owned);
    check_count(&mut draft, &mut complaints);
    for pool in &mut draft.pools {
        pool.pool.listen = listeners(pool, &mut taken, &mut complaints, machine);
        check_pool(pool, &mut complaints);
        check_limits(pool, draft.proxy.core_buffer_max_bytes, &mut complaints);
        check_shards(pool, &mut complaints);
        facade::check(pool, &mut complaints);
        pool.pool.shards.sort_by(|a, b| server_order(&a.name, &b.name));
    }
    check_cores(&draft, &mut complaints);
    let broken = complaints.has_errors();
    let list = complaints.into_sorted();
    if broken {
        return Err(list);
    }
    let pools = draft.pools.into_iter().map(|pool| Arc::new(pool.pool)).collect();
    Ok(Loaded { config: Config { proxy: draft.proxy, pools }, warnings: list })
}

fn check_count(draft: &mut Draft, complaints: &mut Complaints) {
    let count = draft.pools.len();
    if count == 0 && !complaints.has_errors() {
        let remedy = "a file needs at least one: a .toml a table [[pool]], a .yml a name with its keys \
                      indented below";
        complaints.error(0, "", "there is no pool").remedy(remedy);
    }
    if count > limits::POOLS_MAX {
        let why = format!("{count} pools, at most {} are served", limits::POOLS_MAX);
        let line = draft.pools[limits::POOLS_MAX].line;
        complaints.error(line, "", why).remedy("use several processes");
        draft.pools.truncate(limits::POOLS_MAX);
    }
    let mut seen: AHashMap<&str, usize> = AHashMap::new();
    for pool in &draft.pools {
        let Some(name) = &pool.name else { continue };
        if let Some(first) = seen.insert(&name.value, name.line) {
            let why = format!("this name is used twice, first on line {first}");
            complaints
                .error(name.line, pool.key(pool.words.name), why)
                .quoted(&name.value)
                .remedy("give each pool its own name");
        }
    }
}

fn check_cores(draft: &Draft, complaints: &mut Complaints) {
    let mut cores = draft.proxy.cores.clone();
    cores.sort_unstable();
    if let Some(pair) = cores.windows(2).find(|pair| pair[0] == pair[1]) {
        let why = format!("CPU {} is listed twice: its reactors share it", pair[0]);
        complaints.warning(0, "proxy.cores", why).remedy("list each CPU once");
    }
}

fn check_pool(draft: &mut PoolDraft, complaints: &mut Complaints) {
    if let Some(name) = draft.name.take() {
        let key = draft.key(draft.words.name);
        check_name(&name.value, name.line, &key, complaints);
        draft.pool.name = name.value;
    }
    if let Some(tag) = draft.hash_tag.take() {
        match *tag.value.as_bytes() {
            [open, close] => draft.pool.hash_tag = Some((open, close)),
            _ => {
                let why = "a hash tag has exactly two characters (bytes)";
                complaints
                    .error(tag.line, draft.key("hash_tag"), why)
                    .quoted(&tag.value)
                    .remedy("write an opening and a closing one as in \"{}\", or remove the key");
            }
        }
    }
    let pool = &draft.pool;
    if pool.database >= pool.databases {
        let key = draft.words.database;
        let why = format!("the databases are 0 to {}", pool.databases - 1);
        complaints
            .error(draft.line_of(key), draft.key(key), why)
            .value(pool.database)
            .remedy("raise databases or lower it");
    }
    if pool.shards.len() < 2 {
        return;
    }
    let line = draft.line_of("distribution");
    if pool.distribution == DistributionKind::Random {
        let why = "keys go to any shard by chance: what is written is not found again";
        complaints
            .warning(line, draft.key("distribution"), why)
            .quoted("random")
            .remedy("use ketama for a store; random fits only identical read-only shards");
    }
    if pool.hash == HashKind::Crc32 && pool.distribution == DistributionKind::Ketama {
        let why = "crc32 has 15 bits: with ketama it puts all keys on one shard, as in twemproxy";
        complaints
            .warning(draft.line_of("hash"), draft.key("hash"), why)
            .quoted("crc32")
            .remedy("keep it while the data lies there; use crc32a for a new store");
    }
}

fn check_name(name: &str, line: usize, key: &str, complaints: &mut Complaints) {
    let why = if name.is_empty() {
        "the name is empty".to_owned()
    } else if name.len() > limits::NAME_BYTES_MAX {
        format!("the name has {} bytes, at most {}", name.len(), limits::NAME_BYTES_MAX)
    } else if name.chars().any(char::is_control) {
        "the name has control characters".to_owned()
    } else {
        return;
    };
    complaints.error(line, key, why).quoted(name).remedy("use a short word");
}

fn check_shards(draft: &mut PoolDraft, complaints: &mut Complaints) {
    let words = draft.words;
    let count = draft.pool.shards.len();
    if !draft.has_shards {
        let remedy = format!("add {}", words.shard_form);
        complaints
            .error(draft.line, draft.key(words.shards), "the pool has no shard")
            .remedy(remedy);
    }
    if count > limits::SHARDS_MAX {
        let why = format!("{count} shards, at most {} are served", limits::SHARDS_MAX);
        complaints.error(draft.line, draft.key(words.shards), why).remedy("use fewer");
        draft.pool.shards.truncate(limits::SHARDS_MAX);
    }
    let mut names: AHashMap<&str, usize> = AHashMap::new();
    let mut addresses = AHashMap::new();
    for (shard, line) in draft.pool.shards.iter().zip(&draft.shard_lines) {
        check_name(&shard.name, *line, &draft.key(words.shard_name), complaints);
        if let Some(first) = names.insert(&shard.name, *line) {
            let why = format!("this name is used twice, first on line {first}");
            complaints
                .error(*line, draft.key(words.shard_name), why)
                .quoted(&shard.name)
                .remedy("give each shard its own name");
        }
        if shard.address != NodeAddress::Sentinel
            && let Some(first) = addresses.insert(&shard.address, *line)
        {
            let why = format!("this redis-server is another shard too, on line {first}");
            complaints
                .warning(*line, draft.key(words.shard_address), why)
                .quoted(&shard.address.to_string())
                .remedy("give each shard its own redis-server");
        }
    }
    check_weights(draft, complaints);
}

fn check_weights(draft: &PoolDraft, complaints: &mut Complaints) {
    let shards = &draft.pool.shards;
    let total: u64 = shards.iter().map(|shard| u64::from(shard.weight)).sum();
    if total > u64::from(limits::WEIGHTS_SUM_MAX) {
        let why = format!("the weights sum up to {total}, at most {}", limits::WEIGHTS_SUM_MAX);
        let remedy = "divide all of them by the same number";
        complaints.error(draft.line, draft.key(draft.words.shard_weight), why).remedy(remedy);
        return;
    }
    if draft.pool.distribution != DistributionKind::Ketama {
        return;
    }
    for (shard, line) in shards.iter().zip(&draft.shard_lines) {
        // twemproxy gives 4 points for each whole n·40·weight/total.
        if u64::from(shard.weight) * shards.len() as u64 * 40 < total {
            let why = "so light beside the others that ketama gives it no key";
            complaints
                .warning(*line, draft.key(draft.words.shard_weight), why)
                .value(shard.weight)
                .remedy(format!("the weights sum up to {total}: raise it, or remove the shard"));
        }
    }
}

/// What two limits must be to each other.
fn check_limits(draft: &PoolDraft, core_buffer_max: usize, complaints: &mut Complaints) {
    let limits = &draft.pool.limits;
    let (soft, hard) = (limits.client_output_soft_bytes, limits.client_output_max_bytes);
    if soft >= hard {
        refuse(
            draft,
            "client_output_soft_bytes",
            soft,
            "client_output_max_bytes",
            hard,
            complaints,
        );
    }
    let (bulk, request) = (limits.bulk_bytes_max, limits.request_bytes_max);
    if bulk >= request {
        refuse(draft, "bulk_bytes_max", bulk, "request_bytes_max", request, complaints);
    }
    check_hold(draft, complaints);
    replicas::check(draft, complaints);
    let within_core = [
        ("hold_bytes", draft.pool.hold_bytes),
        ("request_bytes_max", request),
        ("client_output_max_bytes", hard),
        ("lane_output_soft_bytes", limits.lane_output_soft_bytes),
    ];
    for (key, value) in within_core {
        if value > core_buffer_max {
            let why = format!("above proxy.core_buffer_max_bytes = {core_buffer_max}");
            complaints
                .warning(draft.line_of(key), draft.key(key), why + ", which is reached first")
                .value(value)
                .remedy("lower it, or raise proxy.core_buffer_max_bytes");
        }
    }
}

/// What belongs to a pool that sentinels watch.
fn check_hold(draft: &PoolDraft, complaints: &mut Complaints) {
    let pool = &draft.pool;
    if pool.sentinel.is_none() {
        for key in ["hold_ms", "hold_bytes", "replay"] {
            if let Some((_, line)) = draft.lines.iter().find(|(written, _)| *written == key) {
                complaints
                    .warning(*line, draft.key(key), "no effect: no sentinel watches this pool")
                    .remedy("remove it, or write [pool.sentinel] instead of [[pool.shard]]");
            }
        }
        return;
    }
    if pool.hold_ms < pool.connect_timeout_ms {
        let why = format!("below connect_timeout_ms = {}", pool.connect_timeout_ms);
        complaints
            .warning(
                draft.line_of("hold_ms"),
                draft.key("hold_ms"),
                why + ": one connect that gets no answer takes all of it",
            )
            .value(pool.hold_ms)
            .remedy("raise it, or lower connect_timeout_ms");
    }
    if pool.timeout_ms.is_some_and(|timeout_ms| timeout_ms > pool.hold_ms) {
        let why = "above hold_ms: a primary that hangs is noticed when the wait is over already";
        complaints
            .warning(draft.line_of("timeout_ms"), draft.key("timeout_ms"), why)
            .value(pool.timeout_ms.unwrap_or_default())
            .remedy("lower it, or raise hold_ms");
    }
}

fn refuse(
    draft: &PoolDraft,
    key: &str,
    value: usize,
    above: &str,
    bound: usize,
    complaints: &mut Complaints,
) {
    // The line of the one that was written; of the first, if both were.
    let line = match draft.line_of(key) {
        line if line == draft.line => draft.line_of(above),
        line => line,
    };
    complaints
        .error(line, draft.key(key), format!("not below {above} = {bound}"))
        .value(value)
        .remedy(format!("lower it, or raise {above}"));
}

/// The pool's listeners, resolved; those that can not be are left out and complained about.
fn listeners(
    draft: &mut PoolDraft,
    taken: &mut Taken,
    complaints: &mut Complaints,
    machine: &Machine,
) -> Vec<Listen> {
    if draft.listen.len() > limits::LISTENERS_MAX {
        let why = format!("{} listeners, at most {}", draft.listen.len(), limits::LISTENERS_MAX);
        complaints
            .error(draft.line_of("listen"), draft.key("listen"), why)
            .remedy("listen on every interface with 0.0.0.0 or [::]");
        draft.listen.truncate(limits::LISTENERS_MAX);
    }
    let mut listeners = Vec::new();
    for listen in &draft.listen {
        let place = Place { line: listen.line, key: draft.key("listen") };
        if let Some(resolved) = resolve(listen, &place, complaints, machine) {
            taken.take(resolved.clone(), place, complaints);
            listeners.push(resolved);
        }
    }
    listeners
}

fn resolve(
    listen: &At<ListenDraft>,
    place: &Place,
    complaints: &mut Complaints,
    machine: &Machine,
) -> Option<Listen> {
    let (host, port) = match &listen.value {
        ListenDraft::Tcp { host, port } => (host, *port),
        ListenDraft::Unix { path, mode } => {
            return Some(Listen::Unix { path: path.clone(), mode: *mode });
        }
    };
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some(Listen::Tcp(SocketAddr::new(ip, port)));
    }
    let why = match (machine.resolve)(host, port) {
        Ok(found) => match found.as_slice() {
            [first, others @ ..] => {
                let others: Vec<_> = others.iter().filter(|other| *other != first).collect();
                if !others.is_empty() {
                    let why = format!("this host has several addresses, {first} is taken");
                    complaints
                        .warning(listen.line, place.key.as_str(), why)
                        .quoted(&listen.value.to_string())
                        .remedy("write the address that is meant");
                }
                return Some(Listen::Tcp(*first));
            }
            [] => "this host has no address".to_owned(),
        },
        Err(error) => format!("this host can not be resolved ({error})"),
    };
    complaints
        .error(listen.line, place.key.as_str(), why)
        .quoted(&listen.value.to_string())
        .remedy("write an address, or make the name known to this machine");
    None
}

/// Where a listener is written.
struct Place {
    line: usize,
    key: String,
}

/// Listeners of the whole process so far.
#[derive(Default)]
struct Taken {
    paths: AHashMap<PathBuf, usize>,
    ports: AHashMap<u16, Vec<(IpAddr, usize)>>,
}

impl Taken {
    /// Notes a listener; complains if it or a part of it is taken.
    fn take(&mut self, listen: Listen, place: Place, complaints: &mut Complaints) {
        let shown = listen.to_string();
        let address = match listen {
            Listen::Unix { path, .. } => {
                if let Some(first) = self.paths.insert(path, place.line) {
                    twice(&shown, first, &place, complaints);
                }
                return;
            }
            Listen::Tcp(address) => address,
        };
        let ip = address.ip();
        let others = self.ports.entry(address.port()).or_default();
        for (other, line) in others.iter() {
            if *other == ip {
                twice(&shown, *line, &place, complaints);
                break;
            }
            let wild = other.is_unspecified() || ip.is_unspecified();
            if wild && other.is_ipv4() == ip.is_ipv4() {
                let why = format!("this port is taken on {other} too{}", on_line(*line));
                complaints
                    .warning(place.line, place.key.as_str(), why)
                    .quoted(&shown)
                    .remedy("the specific address wins; use another port if this is not meant");
            }
        }
        others.push((ip, place.line));
    }
}

fn twice(shown: &str, first: usize, place: &Place, complaints: &mut Complaints) {
    let why = format!("this listener is used twice{}", on_line(first));
    complaints
        .error(place.line, place.key.as_str(), why)
        .quoted(shown)
        .remedy("give each its own address or port");
}

fn on_line(line: usize) -> String {
    match line {
        0 => ", by a default".to_owned(),
        line => format!(", first on line {line}"),
    }
}
