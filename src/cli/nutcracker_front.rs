//! `corelay nutcracker`: twemproxy's options, for the scripts that were made for it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use super::args::NutcrackerArgs;
use super::{EXIT_CONFIG, failed, output};
use crate::config::model::LogLevel;
use crate::config::{Machine, load_nutcracker};
use crate::control::reload::Source;
use crate::process::{self, Start};

pub(super) fn run(args: &NutcrackerArgs) -> ExitCode {
    if args.version {
        return output::print(&format!("This is corelay-{}\n", env!("CARGO_PKG_VERSION")));
    }
    if args.describe_stats {
        return output::print(&describe_stats());
    }
    let file = args.conf_file.display();
    let stats = match stats_listen(&args.stats_addr, args.stats_port, &Machine::this()) {
        Ok(address) => address,
        Err(why) => return failed(&why),
    };
    // Whatever its name: nutcracker reads nothing else.
    let source = source(args, stats);
    let config = match (source.load)() {
        Ok(loaded) => {
            output::complain(&loaded.warnings);
            loaded.config
        }
        Err(complaints) => {
            output::complain(&complaints);
            output::tell(&format!("nutcracker: configuration file '{file}' syntax is invalid"));
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if args.test_conf {
        output::tell(&format!("nutcracker: configuration file '{file}' syntax is ok"));
        return ExitCode::SUCCESS;
    }
    for (is_given, note) in [
        (args.daemonize, "-d: not daemonizing: use systemd or another supervisor"),
        (args.mbuf_size.is_some(), "-m: there are no mbufs, their size has no effect"),
        (args.stats_interval.is_some(), "-i: statistics are always fresh"),
    ] {
        if is_given {
            output::tell(&format!("nutcracker: {note}"));
        }
    }
    with_pid_file(args.pid_file.as_deref(), || process::run(config, source, Start::Fresh))
}

/// The file, and what the options say instead of it.
fn source(args: &NutcrackerArgs, stats: SocketAddr) -> Source {
    let args = args.clone();
    let file = args.conf_file.to_string_lossy().into_owned();
    let load = move || {
        let mut loaded = load_nutcracker(&args.conf_file, stats)?;
        loaded.config.proxy.log_level = level(args.verbose);
        loaded.config.proxy.log_file = args.output.clone();
        Ok(loaded)
    };
    Source { file, load: Box::new(load) }
}

fn stats_listen(host: &str, port: u16, machine: &Machine) -> Result<SocketAddr, String> {
    match (machine.resolve)(host, port) {
        Ok(found) => {
            found.first().copied().ok_or_else(|| format!("-a {host}: this host has no address"))
        }
        Err(error) => Err(format!("-a {host}: this host can not be resolved ({error})")),
    }
}

/// twemproxy's levels are syslog's (`nc_log.h`) and some more of debugging.
fn level(verbose: u8) -> LogLevel {
    match verbose {
        0..=3 => LogLevel::Error,
        4 => LogLevel::Warn,
        5 | 6 => LogLevel::Info,
        _ => LogLevel::Debug,
    }
}

fn with_pid_file(path: Option<&Path>, run: impl FnOnce() -> ExitCode) -> ExitCode {
    let Some(path) = path else { return run() };
    if let Err(error) = std::fs::write(path, format!("{}\n", std::process::id())) {
        return failed(&format!("-p {}: can not be written ({error})", path.display()));
    }
    let code = run();
    // Gone already is as good as removed.
    let _ = std::fs::remove_file(path);
    code
}

/// The names that twemproxy has, level by level, with what they count here.
fn describe_stats() -> String {
    let mut text = String::new();
    for (level, names) in [("pool stats:", POOL_STATS.as_slice()), ("server stats:", &SERVER_STATS)]
    {
        let rows: Vec<Vec<String>> =
            names.iter().map(|(name, what)| vec![(*name).to_owned(), (*what).to_owned()]).collect();
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("{level}\n"));
        text.push_str(&output::table("  ", &["NAME", "WHAT"], &rows));
    }
    text
}

const POOL_STATS: [(&str, &str); 6] = [
    ("client_eof", "clients that closed their connection"),
    ("client_err", "client connections that ended by an error"),
    ("client_connections", "clients that are connected"),
    ("server_ejects", "always 0: servers are not ejected"),
    ("forward_error", "requests that could not be forwarded"),
    ("fragments", "parts of requests that were split over shards"),
];
const SERVER_STATS: [(&str, &str); 13] = [
    ("server_eof", "connections that the server closed"),
    ("server_err", "connections to the server that ended by an error"),
    ("server_timedout", "requests that had no reply by their deadline"),
    ("server_connections", "connections to the server"),
    ("server_ejected_at", "always 0: servers are not ejected"),
    ("requests", "requests sent"),
    ("request_bytes", "bytes of requests sent"),
    ("responses", "replies received"),
    ("response_bytes", "bytes of replies received"),
    ("in_queue", "requests that wait to be sent"),
    ("in_queue_bytes", "bytes of requests that wait to be sent"),
    ("out_queue", "requests sent and not answered"),
    ("out_queue_bytes", "bytes of requests sent and not answered"),
];
