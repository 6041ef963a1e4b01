//! Shards of a primary and a replica, and the real sentinels that watch them.
//!
//! The sentinels are told of each other and of the replicas in their configuration files, as they
//! would have written them down themselves: so they are ready within a second and not within ten.
//! Everything else is Sentinel's own pace, but for `down-after-milliseconds` of one second. No node
//! has persistence or a role in its arguments: one that is started again comes back empty and calls
//! itself a master, until the sentinels tell it otherwise (about ten seconds later).

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::{Ended, Look, PATIENCE, Port, Redis, Value, Wire, process::Process, wait_until};

/// Detection, vote, random delays and promotion together; much of it is waiting by plan.
pub const FAILOVER_PATIENCE: Duration = Duration::from_secs(30);

/// Replication starts at once, and nothing keeps a primary without its replica from writing.
const NODE_ARGS: [&str; 8] = [
    "--repl-diskless-sync",
    "yes",
    "--repl-diskless-sync-delay",
    "0",
    "--repl-ping-replica-period",
    "1",
    "--min-replicas-to-write",
    "0",
];

/// How a stack is to differ from the ordinary one.
#[derive(Clone, Debug)]
pub struct Watching {
    pub shards: usize,
    pub sentinels: usize,
    pub down_after_ms: u64,
    /// Sentinel begins a second failover of a shard at the earliest twice this after the first.
    pub failover_timeout_ms: u64,
    /// `requirepass` of the sentinels.
    pub sentinel_password: Option<&'static str>,
    /// `requirepass` of the redis-servers.
    pub node_password: Option<&'static str>,
    /// Further arguments of the redis-servers.
    pub node_args: Vec<&'static str>,
}

impl Default for Watching {
    fn default() -> Watching {
        Watching {
            shards: 1,
            sentinels: 3,
            down_after_ms: 1_000,
            failover_timeout_ms: 3_000,
            sentinel_password: None,
            node_password: None,
            node_args: Vec::new(),
        }
    }
}

#[derive(Debug)]
pub struct Watched {
    /// Dropped first: they should not see their nodes die.
    pub sentinels: Vec<Sentinel>,
    /// `shard1`, `shard2` … in this order.
    pub shards: Vec<WatchedShard>,
    watching: Watching,
}

#[derive(Debug)]
pub struct WatchedShard {
    /// The Sentinel master name.
    pub name: String,
    /// The first one is the primary at first, the second one its replica.
    pub nodes: [Redis; 2],
    password: Option<&'static str>,
}

impl Watched {
    /// Three sentinels over `shards` shards, settled.
    pub fn start(shards: usize) -> Watched {
        Watched::start_with(&Watching { shards, ..Watching::default() })
    }

    pub fn start_with(watching: &Watching) -> Watched {
        let shards: Vec<WatchedShard> =
            (0..watching.shards).map(|index| WatchedShard::start(index, watching)).collect();
        shards.iter().for_each(WatchedShard::wait_in_sync);
        let ports: Vec<Port> = (0..watching.sentinels).map(|_| Port::reserve()).collect();
        let numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        let sentinels = ports
            .into_iter()
            .map(|port| {
                let config = sentinel_config(port.number(), &numbers, &shards, watching);
                Sentinel::start(port, config, watching.sentinel_password)
            })
            .collect();
        let watched = Watched { sentinels, shards, watching: watching.clone() };
        watched.wait_settled();
        watched
    }

    /// Sentinels that have to agree.
    pub fn majority(&self) -> usize {
        self.sentinels.len() / 2 + 1
    }

    /// Every sentinel knows every other one and every replica, and all of them are well.
    pub fn wait_settled(&self) {
        for shard in &self.shards {
            wait_until(PATIENCE, "the sentinels know each other and the replica", || {
                self.sentinels.iter().all(|sentinel| self.is_settled(sentinel, &shard.name))
            });
        }
    }

    fn is_settled(&self, sentinel: &Sentinel, name: &str) -> bool {
        let flags = |what: &str| -> Vec<String> {
            let Some(Value::Array(items)) = sentinel.try_ask(&["SENTINEL", what, name]) else {
                return Vec::new();
            };
            items
                .iter()
                .map(|item| item.field("flags").map(Value::text).unwrap_or_default())
                .collect()
        };
        let others = self.sentinels.len() - 1;
        flags("sentinels") == vec!["sentinel"; others] && flags("slaves") == ["slave"]
    }

    /// What a proxy is told of the sentinels and of passwords: tables of a pool.
    pub fn pool_toml(&self) -> String {
        let addresses: Vec<String> =
            self.sentinels.iter().map(|sentinel| sentinel.address().to_string()).collect();
        let masters: Vec<&str> = self.shards.iter().map(|shard| shard.name.as_str()).collect();
        let password = |word: Option<&str>| {
            word.map(|word| format!("password = \"{word}\"\n")).unwrap_or_default()
        };
        let (ours, nodes) = (self.watching.sentinel_password, self.watching.node_password);
        let mut toml = format!(
            "[pool.sentinel]\naddresses = {addresses:?}\nmasters = {masters:?}\n{}",
            password(ours)
        );
        if nodes.is_some() {
            toml += &format!("[pool.backend_auth]\n{}", password(nodes));
        }
        toml
    }

    /// What most of the sentinels that answer say, if a majority of all does so: the node's index.
    pub fn primary(&self, shard: usize) -> Option<usize> {
        let name = &self.shards[shard].name;
        let said: Vec<SocketAddr> =
            self.sentinels.iter().filter_map(|sentinel| sentinel.primary(name)).collect();
        (0..2).find(|&node| {
            let address = self.shards[shard].nodes[node].address();
            said.iter().filter(|&&found| found == address).count() >= self.majority()
        })
    }

    /// Waits until a majority says so, and the node itself too.
    pub fn wait_primary(&self, shard: usize, node: usize) {
        wait_until(FAILOVER_PATIENCE, "the sentinels move the primary", || {
            self.primary(shard) == Some(node) && self.shards[shard].role(node) == "master"
        });
    }

    /// From now on the sentinels call this shard's primary down after `period`. On a machine that is
    /// busy a second is soon over: then they move what nobody wanted to be moved, back to an empty
    /// node for instance.
    pub fn set_down_after(&self, shard: usize, period: Duration) {
        let (name, period) = (&self.shards[shard].name, period.as_millis().to_string());
        for sentinel in &self.sentinels {
            // One that is stopped stays as it is.
            sentinel.try_ask(&["SENTINEL", "SET", name, "down-after-milliseconds", &period]);
        }
    }

    /// `SENTINEL FAILOVER` by hand, at the sentinel with this index; asked again while the replica
    /// is not yet known to be good for it.
    pub fn fail_over(&self, sentinel: usize, shard: usize) {
        let name = &self.shards[shard].name;
        wait_until(FAILOVER_PATIENCE, "SENTINEL FAILOVER is taken", || {
            self.sentinels[sentinel].ask(&["SENTINEL", "FAILOVER", name]) == Value::ok()
        });
    }
}

impl WatchedShard {
    fn start(index: usize, watching: &Watching) -> WatchedShard {
        let mut args = NODE_ARGS.to_vec();
        args.extend(&watching.node_args);
        if let Some(password) = watching.node_password {
            args.extend(["--requirepass", password, "--masterauth", password]);
        }
        let nodes = [Redis::start(&args), Redis::start(&args)];
        let name = super::Stack::shard_name(index);
        let shard = WatchedShard { name, nodes, password: watching.node_password };
        let primary = shard.nodes[0].port().to_string();
        assert_eq!(shard.ask(1, &["REPLICAOF", "127.0.0.1", &primary]), Value::ok());
        shard
    }

    /// A connection of its own to one node.
    pub fn client(&self, node: usize) -> Wire {
        let mut wire = self.nodes[node].client();
        if let Some(password) = self.password {
            assert_eq!(wire.exchange(&["AUTH", password]), Value::ok());
        }
        wire
    }

    /// One request on a fresh connection to one node: a look behind the proxy.
    pub fn ask(&self, node: usize, args: &[&str]) -> Value {
        self.look(node).ask(&[args]).remove(0)
    }

    /// For several looks at one node.
    pub fn look(&self, node: usize) -> Look {
        Look::at(self.nodes[node].address(), self.password)
    }

    /// `master` or `slave`: what the node says of itself; empty while it does not answer.
    pub fn role(&self, node: usize) -> String {
        match self.look(node).try_ask(&[&["ROLE"]]).as_deref() {
            Some([Value::Array(items)]) => items[0].text(),
            _ => String::new(),
        }
    }

    /// The replica has everything and is connected.
    pub fn wait_in_sync(&self) {
        wait_until(PATIENCE, "the replica is in sync with its primary", || {
            let state = |role: &Value| role.items().get(3).map(|state| format!("{state:?}"));
            (0..2).any(|node| {
                state(&self.ask(node, &["ROLE"])).is_some_and(|s| s.contains("connected"))
            })
        });
    }

    /// What the node says of itself, and the commands of the checking load that it has executed, of
    /// one moment: a replica executes those of its primary too.
    pub fn role_and_commands(&self, node: usize) -> (String, [u64; 5]) {
        let replies = self.look(node).ask(&[&["INFO", "commandstats"], &["ROLE"]]);
        (replies[1].items()[0].text(), COMMANDS.map(|command| calls_in(&replies[0], command)))
    }

    /// Calls of one command that the node has executed: by clients, and by its primary.
    pub fn calls(&self, node: usize, command: &str) -> u64 {
        calls_in(&self.ask(node, &["INFO", "commandstats"]), command)
    }
}

/// Commands of the checking load.
const COMMANDS: [&str; 5] = ["get", "mget", "set", "incr", "rpush"];
/// A node that has executed none of them.
pub const NO_COMMANDS: [u64; 5] = [0; 5];

/// Calls of one command in the text that `INFO commandstats` gave.
pub fn calls_in(info: &Value, command: &str) -> u64 {
    let text = info.text();
    let line =
        text.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    let number = line.and_then(|line| line.split(',').next());
    number.map_or(0, |number| number.parse().expect("a number of calls"))
}

/// One sentinel with a configuration file of its own, which it rewrites.
#[derive(Debug)]
pub struct Sentinel {
    process: Process,
    port: Port,
    directory: TempDir,
    password: Option<&'static str>,
}

impl Sentinel {
    fn start(port: Port, config: String, password: Option<&'static str>) -> Sentinel {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("sentinel.conf"), config).expect("a configuration");
        let process = Sentinel::spawn(&directory);
        let mut sentinel = Sentinel { process, port, directory, password };
        sentinel.wait_ready();
        sentinel
    }

    fn spawn(directory: &TempDir) -> Process {
        let mut command = Command::new("redis-server");
        command.current_dir(directory.path()).args(["sentinel.conf", "--sentinel"]);
        Process::start("sentinel", &mut command, &directory.path().join("sentinel.log"))
    }

    fn wait_ready(&mut self) {
        wait_until(PATIENCE, "the sentinel answers PING", || {
            let ended = self.process.ended();
            assert!(ended.is_none(), "the sentinel ended:\n{}", self.process.log_end());
            self.try_ask(&["PING"]).is_some()
        });
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// A connection of its own, authenticated; `None` if nobody listens.
    pub fn try_client(&self) -> Option<Wire> {
        let mut wire = Wire::try_connect(self.port.address).ok()?;
        if let Some(password) = self.password {
            assert_eq!(wire.exchange(&["AUTH", password]), Value::ok());
        }
        Some(wire)
    }

    /// One request on a fresh connection; `None` if there is no answer soon: a stopped sentinel
    /// accepts (its kernel does) and says nothing.
    pub fn try_ask(&self, args: &[&str]) -> Option<Value> {
        let mut wire = Wire::try_connect(self.port.address).ok()?;
        wire.set_patience(Duration::from_secs(1));
        for request in self.password.iter().map(|word| vec!["AUTH", word]) {
            wire.request(&request);
            wire.next().ok()?;
        }
        wire.request(args);
        match wire.next() {
            Ok(value) => Some(value),
            Err(Ended::Garbage(line)) => panic!("a sentinel said {line}"),
            Err(_) => None,
        }
    }

    pub fn ask(&self, args: &[&str]) -> Value {
        self.try_ask(args).unwrap_or_else(|| panic!("the sentinel does not answer {args:?}"))
    }

    /// What it answers to a client that looks for the primary.
    pub fn primary(&self, name: &str) -> Option<SocketAddr> {
        let reply = self.try_ask(&["SENTINEL", "get-master-addr-by-name", name])?;
        primary_in(&reply)
    }

    /// Which configuration of the shard it believes in; a higher one is a later one.
    pub fn config_epoch(&self, name: &str) -> u64 {
        let master = self.ask(&["SENTINEL", "master", name]);
        let epoch = master.field("config-epoch").map(Value::text).expect("a config-epoch");
        epoch.parse().expect("a number")
    }

    /// Forgets all that it knows of a shard and believes that its primary is at `address`, with the
    /// oldest of all epochs. Other sentinels can not tell it better (they would within 2 s); the
    /// node at `address` can, if it lives.
    pub fn point_at(&self, name: &str, address: SocketAddr, quorum: usize) {
        assert_eq!(self.ask(&["ACL", "SETUSER", "default", "-publish"]), Value::ok());
        assert_eq!(self.ask(&["SENTINEL", "REMOVE", name]), Value::ok());
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let monitor = ["SENTINEL", "MONITOR", name, &ip, &port, &quorum.to_string()];
        assert_eq!(self.ask(&monitor), Value::ok());
    }

    pub fn kill_hard(&mut self) {
        self.process.kill_hard();
    }

    /// SIGSTOP: it answers nothing, hears nothing and votes for nobody.
    pub fn pause(&self) {
        self.process.signal("STOP");
    }

    /// SIGCONT. It notices that time has passed and acts on nothing for 30 s (TILT).
    pub fn resume(&self) {
        self.process.signal("CONT");
    }

    /// Started again with what it knew; killed first if it still runs.
    pub fn restart_same_port(&mut self) {
        if self.process.ended().is_none() {
            self.process.kill_hard();
        }
        self.process = Sentinel::spawn(&self.directory);
        self.wait_ready();
    }
}

/// The address in an answer to `SENTINEL get-master-addr-by-name`.
pub fn primary_in(reply: &Value) -> Option<SocketAddr> {
    match reply {
        Value::Array(items) if items.len() == 2 => {
            format!("{}:{}", items[0].text(), items[1].text()).parse().ok()
        }
        _ => None,
    }
}

/// An id as Sentinel makes them: 40 hexadecimal digits.
fn sentinel_id(port: u16) -> String {
    format!("{port:040x}")
}

fn sentinel_config(
    port: u16,
    ports: &[u16],
    shards: &[WatchedShard],
    watching: &Watching,
) -> String {
    let mut config = format!("port {port}\nbind 127.0.0.1\nsentinel myid {}\n", sentinel_id(port));
    if let Some(password) = watching.sentinel_password {
        config += &format!("requirepass {password}\n");
    }
    let quorum = ports.len() / 2 + 1;
    for shard in shards {
        let (name, [primary, replica]) = (&shard.name, &shard.nodes);
        config += &format!(
            "sentinel monitor {name} 127.0.0.1 {} {quorum}\n\
             sentinel down-after-milliseconds {name} {}\n\
             sentinel failover-timeout {name} {}\n\
             sentinel known-replica {name} 127.0.0.1 {}\n",
            primary.port(),
            watching.down_after_ms,
            watching.failover_timeout_ms,
            replica.port()
        );
        if let Some(password) = watching.node_password {
            config += &format!("sentinel auth-pass {name} {password}\n");
        }
        for &other in ports.iter().filter(|&&other| other != port) {
            let id = sentinel_id(other);
            config += &format!("sentinel known-sentinel {name} 127.0.0.1 {other} {id}\n");
        }
    }
    config
}
