//! twemproxy's nutcracker.yml, read whole and with its own meaning.
//!
//! Keys, types and defaults as in `nc_conf.c` and `nc_conf.h` of twemproxy 0.5. What changes its
//! meaning here is warned about; what it never refused is not refused because of taste.

use std::net::{Ipv4Addr, SocketAddr};

use super::address::Trouble;
use super::build::build;
use super::complaint::{Complaint, Complaints, nearest};
use super::draft::{At, ListenDraft, PoolDraft, Words};
use super::load::Loaded;
use super::machine::Machine;
use super::model::{Credentials, NodeAddress, SentinelConfig};
use super::names::{DISTRIBUTIONS, HASHES, value_of};
use super::server_line::{has_name, listen, number, server};
use super::toml_file::{default_draft, default_pool};
use super::wording::one_of;
use super::yaml::{self, Node, Value};
use crate::base::limits;

/// Where twemproxy shows its statistics unless `-a` and `-s` say otherwise.
pub const STATS_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 22222);

/// Reads the text of a nutcracker.yml; `name` is what complaints call the file.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file, warnings among it.
pub fn parse_nutcracker(
    text: &str,
    name: &str,
    machine: &Machine,
) -> Result<Loaded, Vec<Complaint>> {
    parse_with(text, name, machine, Dialect { stats: STATS_LISTEN, sentinels: &[] })
}

/// What the command line adds to the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect<'a> {
    /// Where the statistics are shown.
    pub(super) stats: SocketAddr,
    /// Of which the servers are the masters; none: the servers' addresses hold.
    pub(super) sentinels: &'a [NodeAddress],
}

/// As [`parse_nutcracker`], with what the command line adds.
pub(super) fn parse_with(
    text: &str,
    name: &str,
    machine: &Machine,
    dialect: Dialect<'_>,
) -> Result<Loaded, Vec<Complaint>> {
    let mut complaints = Complaints::new(name);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let pools = match yaml::parse(text) {
        Ok(Some(Node { value: Value::Map(pools), .. })) => pools,
        Ok(root) => {
            let line = root.map_or(0, |root| root.line);
            let form = "write pool: and below it, indented, key: value";
            complaints.error(line, "", "this is no mapping of pools").remedy(form);
            return Err(complaints.into_sorted());
        }
        Err((line, why)) => {
            complaints.error(line, "", why);
            return Err(complaints.into_sorted());
        }
    };
    let mut draft = default_draft(machine);
    let (host, port) = (dialect.stats.ip().to_string(), dialect.stats.port());
    draft.stats_listen = Some(At { value: ListenDraft::Tcp { host, port }, line: 0 });
    for (name, node) in &pools {
        draft.pools.extend(read_pool(name, node, dialect.sentinels, &mut complaints));
    }
    build(draft, complaints, machine)
}

/// One pool; `None` if it is no mapping at all.
fn read_pool(
    name: &Node,
    node: &Node,
    sentinels: &[NodeAddress],
    complaints: &mut Complaints,
) -> Option<PoolDraft> {
    let Value::Scalar(pool_name) = &name.value else {
        complaints.error(name.line, "", "a pool's name is one word");
        return None;
    };
    let Value::Map(entries) = &node.value else {
        let form = "write the pool's keys below it, indented, as key: value";
        complaints.error(node.line, pool_name, "this is no mapping of keys").remedy(form);
        return None;
    };
    let mut pool = default_pool();
    // What twemproxy assumes where our own default is another.
    pool.backlog = 512;
    pool.tcp_keepalive = false;
    pool.timeout_ms = None;
    pool.limits.client_connections_max = 0;
    pool.sentinel = (!sentinels.is_empty()).then(|| SentinelConfig {
        addresses: sentinels.to_vec(),
        credentials: None,
        quorum_required: false,
        quorum_grace_ms: limits::QUORUM_GRACE_MS,
    });
    let draft = PoolDraft {
        pool,
        name: Some(At { value: pool_name.clone(), line: name.line }),
        words: &WORDS,
        path: pool_name.clone(),
        line: name.line,
        lines: Vec::new(),
        listen: Vec::new(),
        hash_tag: None,
        shard_lines: Vec::new(),
        has_shards: false,
    };
    let mut reader = PoolReader { draft, complaints, serves_redis: None };
    for (key, value) in entries {
        reader.entry(key, value);
    }
    reader.finish();
    Some(reader.draft)
}

struct PoolReader<'a> {
    draft: PoolDraft,
    complaints: &'a mut Complaints,
    /// What its key `redis` says, if that is there and can be read.
    serves_redis: Option<bool>,
}

impl PoolReader<'_> {
    fn entry(&mut self, key: &Node, value: &Node) {
        let Value::Scalar(word) = &key.value else {
            self.complaints.error(key.line, self.draft.key(""), "a key is one word");
            return;
        };
        let Some(known) = KEYS.iter().find(|known| *known == word) else {
            let remedy = match nearest(word, KEYS.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("nutcracker has {}", KEYS.join(", ")),
            };
            let path = self.draft.key(word);
            self.complaints.error(key.line, path, "unknown key").remedy(remedy);
            return;
        };
        if let Some((_, first)) = self.draft.lines.iter().find(|(name, _)| name == known) {
            let why = format!("this key is written twice, first on line {first}");
            let path = self.draft.key(known);
            self.complaints.error(key.line, path, why).remedy("remove one");
            return;
        }
        self.draft.lines.push((known, key.line));
        match (*known, &value.value) {
            ("servers", Value::List(servers)) => self.servers(servers),
            ("servers", _) => {
                self.draft.has_shards = true;
                let form = "write each as a line: - host:port:weight name";
                self.error(key.line, "servers", "this is no list of servers").remedy(form);
            }
            (_, Value::Scalar(text)) if text.is_empty() => {
                self.error(key.line, known, "nothing is written")
                    .remedy("write a value, or remove it");
            }
            (_, Value::Scalar(text)) => self.scalar(known, text, key.line),
            _ => {
                self.error(key.line, known, "one value belongs here").remedy("write key: value");
            }
        }
    }

    fn scalar(&mut self, key: &'static str, text: &str, line: usize) {
        match key {
            "listen" => self.listen(text, line),
            "hash" => {
                if let Some(hash) = self.word(key, text, line, &HASHES) {
                    self.draft.pool.hash = hash;
                }
            }
            "distribution" => {
                if let Some(distribution) = self.word(key, text, line, &DISTRIBUTIONS) {
                    self.draft.pool.distribution = distribution;
                }
            }
            "hash_tag" => self.draft.hash_tag = Some(At { value: text.to_owned(), line }),
            "redis_auth" => {
                let password = text.to_owned();
                self.draft.pool.client_password = Some(password.clone());
                self.draft.pool.backend_auth = Some(Credentials { user: None, password });
            }
            "redis" | "preconnect" | "tcpkeepalive" | "reuseport" | "auto_eject_hosts" => {
                if let Some(yes) = self.boolean(key, text, line) {
                    self.flag(key, yes, line);
                }
            }
            _ => {
                if let Some(number) = self.number(key, text, line) {
                    self.count(key, number, line);
                }
            }
        }
    }

    fn listen(&mut self, text: &str, line: usize) {
        match listen(text) {
            Ok((listen, is_odd)) => {
                if is_odd {
                    let why = "the permissions are not all octal digits; read as twemproxy does";
                    self.warn(line, "listen", why, "write them as in \"/path 0660\"").quoted(text);
                }
                self.draft.listen.push(At { value: listen, line });
            }
            Err(trouble) => self.bad(line, "listen", text, trouble),
        }
    }

    fn servers(&mut self, servers: &[Node]) {
        self.draft.has_shards = !servers.is_empty();
        for node in servers {
            let Value::Scalar(text) = &node.value else {
                self.error(node.line, "servers", "a server is one text")
                    .remedy("write - host:port:weight name");
                continue;
            };
            let watched = self.draft.pool.sentinel.is_some();
            match server(text) {
                Ok(_) if watched && !has_name(text) => {
                    self.error(node.line, "servers", "this server has no name")
                        .quoted(text)
                        .remedy("write behind it the name of the master that the sentinels know");
                }
                Ok(mut shard) => {
                    if watched {
                        shard.address = NodeAddress::Sentinel;
                    }
                    self.draft.pool.shards.push(shard);
                    self.draft.shard_lines.push(node.line);
                }
                Err(trouble) => self.bad(node.line, "servers", text, trouble),
            }
        }
    }

    fn flag(&mut self, key: &'static str, yes: bool, line: usize) {
        match key {
            "redis" => self.serves_redis = Some(yes),
            "preconnect" => self.draft.pool.preconnect = yes,
            "tcpkeepalive" => self.draft.pool.tcp_keepalive = yes,
            "auto_eject_hosts" if yes => {
                let why = "not offered: a dead server's keys are NOT moved to the others, \
                           they fail with an error until it is back";
                let remedy = "write false; for a store this is what keeps its data in one place";
                self.warn(line, key, why, remedy).value("true");
            }
            // Listeners are shared between the cores in any case.
            _ => {}
        }
    }

    fn count(&mut self, key: &'static str, number: u32, line: usize) {
        let pool = &mut self.draft.pool;
        match key {
            // twemproxy takes 0 as no deadline too.
            "timeout" => pool.timeout_ms = (number > 0).then_some(u64::from(number)),
            "backlog" => pool.backlog = number.clamp(1, BACKLOG_MAX),
            "redis_db" => {
                pool.database = number;
                pool.databases = pool.databases.max(number.saturating_add(1));
                if number >= DATABASES_MAX {
                    let why = format!("at most {} databases are served", DATABASES_MAX);
                    self.error(line, key, why).value(number).remedy("use a lower one");
                }
            }
            "server_connections" => {
                pool.lanes_per_node = number as usize;
                if !(1..=LANES_MAX).contains(&number) {
                    let why = format!("out of bounds, 1 to {LANES_MAX}");
                    self.error(line, key, why).value(number).remedy("write 1");
                } else if number > 1 {
                    let why = "each core opens as many connections to each server, \
                               in twemproxy the process did";
                    self.warn(line, key, why, "1 is enough for most").value(number);
                }
            }
            "client_connections" => {
                let why = "twemproxy never enforced it, so no bound is set here either";
                let remedy = "import the file and set client_connections_max for a bound";
                self.warn(line, key, why, remedy).value(number);
            }
            _ => {
                let why = "has no effect: servers are never ejected";
                self.warn(line, key, why, "remove it").value(number);
            }
        }
    }

    fn finish(&mut self) {
        if !self.has("listen") {
            let line = self.draft.line;
            self.error(line, "listen", "has to be written").remedy("add listen: host:port");
        }
        let unreadable = self.serves_redis.is_none() && self.has("redis");
        if self.serves_redis != Some(true) && !unreadable {
            let line = self.draft.line_of("redis");
            let why = "memcached is not served, and a pool is one unless it says redis: true";
            self.error(line, "redis", why).remedy("write redis: true if the servers are redis");
        }
    }

    fn has(&self, key: &str) -> bool {
        self.draft.lines.iter().any(|(written, _)| *written == key)
    }

    fn boolean(&mut self, key: &str, text: &str, line: usize) -> Option<bool> {
        match text {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                let why = "expected true or false in exactly these letters";
                self.error(line, key, why).quoted(text);
                None
            }
        }
    }

    fn number(&mut self, key: &str, text: &str, line: usize) -> Option<u32> {
        let found = number(text).filter(|number| *number <= NUMBER_MAX);
        if found.is_none() {
            let why = format!("expected a whole number from 0 to {NUMBER_MAX}");
            let remedy = if key == "timeout" { "remove it to wait for ever" } else { "use digits" };
            self.error(line, key, why).quoted(text).remedy(remedy);
        }
        found.and_then(|number| u32::try_from(number).ok())
    }

    fn word<T: Copy>(
        &mut self,
        key: &str,
        text: &str,
        line: usize,
        table: &[(&'static str, T)],
    ) -> Option<T> {
        let found = value_of(table, text);
        if found.is_none() {
            let known: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
            let remedy = format!("use {}", one_of(&known));
            self.error(line, key, format!("unknown {key}")).quoted(text).remedy(remedy);
        }
        found
    }

    fn error(&mut self, line: usize, key: &str, why: impl Into<String>) -> &mut Complaint {
        self.complaints.error(line, self.draft.key(key), why)
    }

    fn warn(&mut self, line: usize, key: &str, why: &str, remedy: &str) -> &mut Complaint {
        self.complaints.warning(line, self.draft.key(key), why).remedy(remedy)
    }

    fn bad(&mut self, line: usize, key: &str, text: &str, trouble: Trouble) {
        self.error(line, key, trouble.why).quoted(text).remedy(trouble.remedy);
    }
}

/// Every key of a pool (`nc_conf.c`, `conf_commands`, and `reuseport` of twemproxy's later days).
const KEYS: [&str; 18] = [
    "listen",
    "hash",
    "hash_tag",
    "distribution",
    "timeout",
    "backlog",
    "client_connections",
    "redis",
    "tcpkeepalive",
    "reuseport",
    "redis_auth",
    "redis_db",
    "preconnect",
    "auto_eject_hosts",
    "server_connections",
    "server_retry_timeout",
    "server_failure_limit",
    "servers",
];

static WORDS: Words = Words {
    name: "",
    shards: "servers",
    shard_name: "servers",
    shard_address: "servers",
    shard_weight: "servers",
    database: "redis_db",
    shard_form: "servers: and below it lines as - host:port:weight name",
};

/// twemproxy counts in a C `int`.
const NUMBER_MAX: u64 = i32::MAX as u64;
/// As the bounds of our own keys.
const BACKLOG_MAX: u32 = 65_535;
const DATABASES_MAX: u32 = 16_384;
const LANES_MAX: u32 = 1024;
