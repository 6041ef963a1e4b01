//! What may stand on the command line, and the help for it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

/// One relay per core: a Redis proxy that spreads keys over several redis-servers.
#[derive(Debug, Parser)]
#[command(
    name = "corelay",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  corelay demo                               three redis-servers with the proxy in front, to try
  corelay check -c nutcracker.yml            what is wrong with it, and what would run
  corelay run -c nutcracker.yml              serve twemproxy's file as it is
  corelay import nutcracker.yml > corelay.toml
  corelay probe                              is the proxy that runs here all right?

A FILE named .toml is corelay's own, one named .yml or .yaml is read as nutcracker's.
Exit codes: 0 all right, 1 the configuration or another file is wrong, 2 the command line is;
of probe: those of Nagios."
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve clients until a signal ends it
    #[command(after_help = "\
Runs in the foreground; let systemd or another supervisor do the rest.
  SIGTERM        accept nobody any more, end when the last client has left, after 10 s at most (after
                 7 s each is closed when it has the replies that it is owed);
                 a second one ends at once
  SIGINT         end at once (Ctrl-C)
  SIGHUP         open the log again, and reload the configuration (see corelay reload)
  SIGTTIN, TTOU  log more, log less
An upgrade, or a change that a reload refuses as it needs a restart, without a refused connection:
  corelay run -c corelay.toml --take-over &
takes all listeners over from the process that runs, at the handover_socket of the file. If it does
not come as far as serving, that one goes on; else that one serves those who are connected to it for
handover_grace_ms at most, and ends. (corelay upgrade starts such a process, and waits for it.)
Exit codes: 0 ended when told to, or was taken over, 1 the configuration is wrong or could not be served.")]
    Run {
        /// The configuration: .toml, or nutcracker's .yml
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
        /// Take the place of the process that runs, without refusing a connection
        #[arg(long)]
        take_over: bool,
    },

    /// Tell everything that is wrong with a configuration, then what would run
    #[command(after_help = "\
Examples:
  corelay check -c corelay.toml && systemctl restart corelay
  corelay check --describe                   every key with its type, default and meaning

Complaints go to standard error, one a line: FILE:LINE: KEY = VALUE: what is wrong; what to do.
Exit codes: 0 it can be run (there may be warnings), 1 it can not.")]
    Check {
        /// The configuration: .toml, or nutcracker's .yml
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// List every key of a corelay.toml
        #[arg(long)]
        describe: bool,
    },

    /// Show where keys are: the part that is hashed, hash, shard and its address
    #[command(after_help = r"Examples:
  corelay explain -c corelay.toml user:1000 session:42
  corelay explain -c nutcracker.yml --pool cache '{user1}:cart' 'a\xff\n'

A key is taken as written; \xHH, \n, \r, \t, \0 and \\ stand for the bytes they usually do.")]
    Explain {
        /// The configuration: .toml, or nutcracker's .yml
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
        /// Only this pool; without it, all
        #[arg(short, long, value_name = "NAME")]
        pool: Option<String>,
        /// The keys
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<OsString>,
    },

    /// Show what share of the keys is on another shard after a change
    #[command(after_help = "\
Examples:
  corelay placement nutcracker.yml corelay.toml
  redis-cli --scan > keys; corelay placement --file keys old.toml new.toml

Pools are compared by name (one pool each: these two), shards by name or address. A random sample
of N keys tells the share to about 1/sqrt(N). Nothing is connected to, nothing is moved.")]
    Placement {
        /// The configuration as it is
        old: PathBuf,
        /// The configuration as it would be
        new: PathBuf,
        /// Only this pool
        #[arg(short, long, value_name = "NAME")]
        pool: Option<String>,
        /// How many random keys to try
        #[arg(short = 'n', long, value_name = "N", default_value_t = 100_000,
              value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
        keys: u64,
        /// Try the keys of this file instead, one a line
        #[arg(short, long, value_name = "KEYS", conflicts_with = "keys")]
        file: Option<PathBuf>,
    },

    /// Print a nutcracker.yml as a corelay.toml
    #[command(after_help = "\
Example:
  corelay import /etc/nutcracker/nutcracker.yml > corelay.toml; corelay check -c corelay.toml

Example, for those who ran smitty:
  corelay import nutcracker.yml --sentinel 10.0.0.7:26379,10.0.0.8:26379 > corelay.toml

Placement stays the same. What changes its meaning is a comment in the output, and on standard
error. Take the live file: agents such as smitty rewrite it (weights, dropped keys). With --sentinel
the servers' names are the masters' names, and their addresses are the sentinels' business.")]
    Import {
        /// A nutcracker.yml
        file: PathBuf,
        /// The sentinels that watch its servers, as host:port,host:port; some are enough
        #[arg(long, value_name = "SENTINELS")]
        sentinel: Option<String>,
    },

    /// Start a throw-away stack to try: redis-servers with the proxy in front
    #[command(after_help = "\
Example:
  corelay demo
  redis-cli -p 6380 set greeting hello       in another terminal

The redis-servers live in a temporary directory; everything ends with Ctrl-C.")]
    Demo {
        /// The proxy's port on 127.0.0.1; 0 takes any free one
        #[arg(long, default_value_t = 6380)]
        port: u16,
        /// How many redis-servers
        #[arg(long, value_name = "N", default_value_t = 3,
              value_parser = clap::value_parser!(u16).range(1..=64))]
        shards: u16,
        /// The program to start for each
        #[arg(long, value_name = "PROGRAM", default_value = "redis-server")]
        redis_server: PathBuf,
    },

    /// Ask a proxy that runs whether it is fit to serve: for you, Nagios and keepalived
    #[command(after_help = "\
Examples:
  corelay probe                              Nagios: this proxy, its shards and its sentinels
  corelay probe --itself                     keepalived: only what another proxy would do better
  corelay probe --peer 10.0.0.2:9180         do both place every key alike, by the same primaries?

Prints one line, with figures behind a |. --itself looks at the process, its listeners (each has to
answer PING) and whether a majority of the sentinels can be heard; it says nothing of shards, which
are dead for both proxies.
Exit codes: 0 all right, 1 warning, 2 critical, 3 unknown (the command line is wrong, or the answer
is not understood).")]
    Probe {
        /// The proxy's admin_listen
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9180", value_parser = address)]
        admin: SocketAddr,
        /// The admin_listen of another proxy that should serve the same
        #[arg(long, value_name = "ADDRESS", value_parser = address)]
        peer: Option<SocketAddr>,
        /// Only what is wrong with the proxy itself
        #[arg(long)]
        itself: bool,
        /// How long each answer may take
        #[arg(long, value_name = "MS", default_value_t = 1000,
              value_parser = clap::value_parser!(u64).range(1..=60_000))]
        timeout_ms: u64,
    },

    /// Let a shard's primary change places with a replica, planned, without an error for any client
    #[command(after_help = "\
Examples:
  corelay switchover shard1                  before the primary's host is taken down
  corelay switchover shard1 --pool cache

Asks the proxy that runs on this host: it holds the shard's requests, waits until a replica has
everything, asks the sentinels to fail over, and goes on when the new primary is verified. Until the
sentinels are asked it can give up, and then everything is as it was. Run it on one proxy only: those
beside it hold what the old primary refuses.
Exit codes: 0 done, 1 not done (the last line says why).")]
    Switchover {
        /// The shard: the name of its Sentinel master
        shard: String,
        /// Its pool, if several have a shard of that name
        #[arg(short, long, value_name = "NAME")]
        pool: Option<String>,
        /// The proxy's admin_listen
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9180", value_parser = address)]
        admin: SocketAddr,
    },

    /// Let a proxy that runs read its configuration again, without closing any connection
    #[command(after_help = "\
Examples:
  corelay check -c corelay.toml && corelay reload
  corelay reload --allow-moved-keys          after corelay placement has shown which

Asks the proxy that runs on this host to read the file that it was started with. All of it is taken,
or nothing: whatever is wrong with it, needs a restart (cores, the admin port, fewer pools, names of
shards) or places keys elsewhere (hash, weights, a server under another name) is told, and then
everything stays as it was. SIGHUP does the same without the flag; the log says what became of it.
A shard with another address: requests under way are answered by the old server, later ones go to the
new; its data has to be there.
Exit codes: 0 in force on all cores, 1 nothing has changed (the lines say why).")]
    Reload {
        /// Take it even if keys are placed elsewhere: their data has to be moved by you
        #[arg(long)]
        allow_moved_keys: bool,
        /// The proxy's admin_listen
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9180", value_parser = address)]
        admin: SocketAddr,
    },

    /// Let a fresh process of this program take over from the one that runs, and refuse nobody
    #[command(after_help = "\
Examples:
  corelay check -c corelay.toml && corelay upgrade -c corelay.toml
  ExecReload=/usr/local/bin/corelay upgrade -c /etc/corelay/corelay.toml    (a systemd unit)

Starts corelay run -c FILE --take-over in the background, and ends when that process serves, or has
ended. The file needs proxy.handover_socket, and the process that runs has to have been started with
it. What a reload can change costs less by corelay reload.
Exit codes: 0 the new process serves, 1 nothing has changed (the lines say why).")]
    Upgrade {
        /// The configuration: .toml
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
    },

    /// Take nutcracker's options (also when the program is called `nutcracker`)
    #[command(
        disable_version_flag = true,
        after_help = "\
Example:
  ln -s corelay nutcracker; ./nutcracker -c nutcracker.yml -s 22222 -o nutcracker.log

For files and scripts made for twemproxy. Every option of its version 0.5 is taken; those that mean
nothing here say so."
    )]
    Nutcracker(NutcrackerArgs),
}

/// The options of nutcracker 0.5.
#[derive(ClapArgs, Clone, Debug)]
pub(super) struct NutcrackerArgs {
    /// Show the version and exit
    #[arg(short = 'V', long)]
    pub(super) version: bool,
    /// Test the configuration and exit
    #[arg(short, long)]
    pub(super) test_conf: bool,
    /// Print the names of the statistics and exit
    #[arg(short = 'D', long)]
    pub(super) describe_stats: bool,
    /// Run in the foreground all the same: a supervisor such as systemd does this better
    #[arg(short, long)]
    pub(super) daemonize: bool,
    /// Log level: 0 to 3 errors, 4 warnings, 5 and 6 information, from 7 everything
    #[arg(short, long, value_name = "N", default_value_t = 5)]
    pub(super) verbose: u8,
    /// Log file
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "conf/nutcracker.yml")]
    pub(super) conf_file: PathBuf,
    /// Port of the statistics
    #[arg(short, long, value_name = "PORT", default_value_t = 22222,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) stats_port: u16,
    /// Address of the statistics
    #[arg(short = 'a', long, value_name = "ADDRESS", default_value = "0.0.0.0")]
    pub(super) stats_addr: String,
    /// Interval of the statistics: without effect, they are always fresh
    #[arg(short = 'i', long, value_name = "MSEC")]
    pub(super) stats_interval: Option<u64>,
    /// File for the process id
    #[arg(short, long, value_name = "FILE")]
    pub(super) pid_file: Option<PathBuf>,
    /// Size of an mbuf: without effect, there are none
    #[arg(short, long, value_name = "BYTES")]
    pub(super) mbuf_size: Option<u64>,
}

/// Of an admin port. No name: a probe must not wait for a resolver.
fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "write an IP address and a port, as 127.0.0.1:9180 or [::1]:9180")
}
