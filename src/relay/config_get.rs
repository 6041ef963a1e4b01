//! CONFIG GET: what the proxy decides itself, and for the rest what the redis-servers are set to.
//!
//! Clients meet one redis, so a parameter has one value: that on which all shards agree that
//! answer. Where they differ a pattern leaves it out (directories, process files and so on belong
//! to one server), and who asks for it by its name is told how they differ. Secrets are never
//! passed on.

use std::collections::BTreeMap;

use crate::base::ids::{ClientId, PoolId, ShardId};
use crate::base::time::Now;
use crate::command::glob;
use crate::command::model::Command;
use crate::config::model::{Listen, PoolConfig};
use crate::relay::Relay;
use crate::relay::dispatch::Outcome;
use crate::relay::gather::{Gather, Kind};
use crate::resp::args::Request;
use crate::resp::encode::{self, Encoder};
use crate::resp::{Protocol, value};

/// As redis writes "no bound".
const MAXCLIENTS_MAX: usize = u32::MAX as usize;
/// Of two values that differ, so much is shown of each, bytes.
const SHOWN_BYTES_MAX: usize = 64;

type Parameters = Vec<(Vec<u8>, Vec<u8>)>;

impl Relay {
    /// CONFIG GET pattern …: no shard is asked if all that is asked for is the proxy's own, so that
    /// hand-shakes go through whatever state the shards are in.
    pub(super) fn config_get(
        &mut self,
        id: ClientId,
        command: &'static Command,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        let Some(client) = self.client(id) else { return Outcome::Done };
        let (pool, protocol) = (client.pool, client.protocol);
        let patterns: Vec<Vec<u8>> =
            request.iter().skip(2).map(<[u8]>::to_ascii_lowercase).collect();
        let own = own_parameters(&self.pool(pool).config);
        if patterns.iter().all(|pattern| own.iter().any(|(name, _)| name.as_bytes() == pattern)) {
            let chosen = choose(&own, &patterns);
            self.answer(id, |out| write(&chosen, protocol, out));
            return Outcome::Done;
        }
        let shards = self.all_shards(id);
        let kind = Kind::ConfigGet { patterns };
        self.fan_to(id, command.asked(request.len()), (&shards, request.bytes), kind, now);
        Outcome::Done
    }

    /// All shards have answered, some perhaps with an error: those that are up speak for all.
    pub(super) fn write_config_get(
        &self,
        gather: &Gather,
        patterns: &[Vec<u8>],
        out: &mut Vec<u8>,
    ) {
        let own = own_parameters(&self.pool(gather.pool).config);
        let mut shards = Vec::new();
        for (at, part) in gather.parts.iter().enumerate() {
            if !value::is_error(part) {
                shards.push((ShardId(at as u16), part.as_slice()));
            }
        }
        if shards.is_empty() {
            out.extend_from_slice(gather.parts.first().map_or(b"".as_slice(), |part| part));
            return;
        }
        let mut chosen = choose(&own, patterns);
        for (name, values) in by_name(&shards) {
            // Redis gives a name back as it was asked for.
            let lower = name.to_ascii_lowercase();
            let is_own = own.iter().any(|(own, _)| own.as_bytes() == lower);
            let Some((first, value)) = values.first().filter(|_| !is_own && !is_secret(&lower))
            else {
                continue;
            };
            match values.iter().find(|(_, other)| other != value) {
                None => chosen.push((name.to_vec(), value.to_vec())),
                Some((other, differs)) if patterns.contains(&lower) => {
                    let one = self.shown(gather.pool, *first, value);
                    let two = self.shown(gather.pool, *other, differs);
                    let name = name.escape_ascii();
                    let text = format!("ERR the shards differ in '{name}': {one}, {two}");
                    return encode::error(out, text);
                }
                Some(_) => {}
            }
        }
        write(&chosen, gather.protocol, out);
    }

    /// `'value' on shard1`
    fn shown(&self, pool: PoolId, shard: ShardId, value: &[u8]) -> String {
        let shards = &self.pool(pool).config.shards;
        let name = shards.get(shard.index()).map_or("?", |shard| shard.name.as_str());
        let value = value.get(..SHOWN_BYTES_MAX).unwrap_or(value).escape_ascii();
        format!("'{value}' on {name}")
    }
}

/// What is true of the proxy, whatever the redis-servers behind it are set to.
fn own_parameters(config: &PoolConfig) -> [(&'static str, String); 7] {
    let limits = &config.limits;
    let clients = match limits.client_connections_max {
        0 => MAXCLIENTS_MAX,
        bound => bound.min(MAXCLIENTS_MAX),
    };
    let (mut bind, mut port, mut unixsocket) = (Vec::new(), 0, String::new());
    for listen in &config.listen {
        match listen {
            Listen::Tcp(address) => {
                bind.push(address.ip().to_string());
                port = if port == 0 { address.port() } else { port };
            }
            Listen::Unix { path, .. } if unixsocket.is_empty() => {
                unixsocket = path.display().to_string();
            }
            Listen::Unix { .. } => {}
        }
    }
    [
        ("bind", bind.join(" ")),
        ("databases", config.databases.to_string()),
        ("maxclients", clients.to_string()),
        ("port", port.to_string()),
        ("proto-max-bulk-len", limits.bulk_bytes_max.to_string()),
        ("timeout", (limits.client_idle_timeout_ms / 1_000).to_string()),
        ("unixsocket", unixsocket),
    ]
}

/// Those of the proxy's own that a pattern asks for.
fn choose(own: &[(&str, String)], patterns: &[Vec<u8>]) -> Parameters {
    let wanted = |name: &str| patterns.iter().any(|p| glob::matches(p, name.as_bytes()));
    let chosen = own.iter().filter(|(name, _)| wanted(name));
    chosen.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

/// requirepass, masterauth, tls-key-file-pass and whatever comes to be called like them.
fn is_secret(name: &[u8]) -> bool {
    let has = |word: &[u8]| name.windows(word.len()).any(|part| part == word);
    has(b"pass") || has(b"auth") || has(b"secret")
}

/// By name: what each shard says that knows it.
fn by_name<'a>(shards: &[(ShardId, &'a [u8])]) -> BTreeMap<&'a [u8], Vec<(ShardId, &'a [u8])>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (shard, reply) in shards {
        let Some(mut elements) = value::elements(reply) else { continue };
        while let (Some(name), Some(said)) = (elements.next(), elements.next()) {
            if let (Some(Some(name)), Some(Some(said))) = (value::bulk(name), value::bulk(said)) {
                all.entry(name).or_default().push((*shard, said));
            }
        }
    }
    all
}

fn write(parameters: &Parameters, protocol: Protocol, out: &mut Vec<u8>) {
    Encoder::new(protocol).map_header(out, parameters.len());
    for (name, value) in parameters {
        encode::bulk(out, name);
        encode::bulk(out, value);
    }
}
