//! The command line: reads arguments, loads files, prints; whatever runs is in `process`.
//!
//! Exit codes: 0 all right, 1 the configuration (or another file) is wrong, 2 the command line is;
//! `probe` has those of Nagios.
//! What was asked for goes to standard output, complaints go to standard error.

mod args;
mod check;
mod explain;
mod nutcracker_front;
mod output;
mod placement;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use crate::config::{
    Complaint, Format, Loaded, Machine, load, load_watched_nutcracker, sentinels as sentinels_of,
    toml_print,
};
use crate::control::probe::{Level, Probe, probe};
use crate::control::reload::{self, Source};
use crate::control::switchover;
use crate::process::demo::{DemoOptions, demo};
use crate::process::upgrade::upgrade;
use crate::process::{self, Start};
use args::{Args, Command};

/// The configuration is wrong.
const EXIT_CONFIG: u8 = 1;
/// The command line is wrong.
const EXIT_USAGE: u8 = 2;

/// Does what the arguments say; the first is the program's name, and `nutcracker` there means
/// `corelay nutcracker`.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let name = args.first().map(Path::new).and_then(Path::file_name);
    if name == Some(OsStr::new("nutcracker")) {
        args.splice(..1, ["corelay".into(), "nutcracker".into()]);
    }
    // What Nagios calls must not say "critical" because its own command line is wrong.
    let misused = match args.get(1).is_some_and(|command| command == "probe") {
        true => Level::Unknown as u8,
        false => EXIT_USAGE,
    };
    match Args::try_parse_from(args) {
        Ok(args) => dispatch(args.command),
        Err(error) => {
            // Help goes to standard output and is no error; clap knows which is which.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { misused } else { 0 })
        }
    }
}

fn dispatch(command: Command) -> ExitCode {
    match command {
        Command::Run { config, take_over } => match loaded(&config) {
            Ok(loaded) => {
                let file = config.to_string_lossy().into_owned();
                let source = Source { file, load: Box::new(move || load(&config)) };
                let start = if take_over { Start::TakeOver } else { Start::Fresh };
                process::run(loaded.config, source, start)
            }
            Err(code) => code,
        },
        Command::Check { describe: true, .. } => output::print(&check::describe()),
        Command::Check { config: Some(config), .. } => match loaded(&config) {
            Ok(loaded) => output::print(&check::what_would_run(&loaded.config)),
            Err(code) => code,
        },
        Command::Check { config: None, .. } => usage("check needs -c FILE or --describe"),
        Command::Explain { config, pool, keys } => match loaded(&config) {
            Ok(loaded) => explain::explain(&loaded.config, pool.as_deref(), &keys),
            Err(code) => code,
        },
        Command::Placement { old, new, pool, keys, file } => {
            placement::placement(&old, &new, pool.as_deref(), keys, file.as_deref())
        }
        Command::Import { file, sentinel } => import(&file, sentinel.as_deref()),
        Command::Demo { port, shards, redis_server } => {
            demo(&DemoOptions { port, shards: usize::from(shards), redis_server })
        }
        Command::Probe { admin, peer, itself, timeout_ms } => {
            let within = Duration::from_millis(timeout_ms);
            let verdict = probe(&Probe { admin, peer, itself, within });
            let _ = output::print(&format!("{}\n", verdict.line()));
            ExitCode::from(verdict.level as u8)
        }
        Command::Switchover { shard, pool, admin } => {
            let told = switchover::ask_for(admin, pool.as_deref(), &shard, |step| {
                let _ = output::print(&format!("{step}\n"));
            });
            match told {
                Ok(text) => output::print(&format!("done: {text}\n")),
                Err(why) => failed(&why),
            }
        }
        Command::Reload { allow_moved_keys, admin } => {
            match reload::ask_for(admin, allow_moved_keys) {
                Ok(text) => output::print(&text),
                Err(why) => failed(why.trim_end()),
            }
        }
        Command::Upgrade { config } => upgrade(&config),
        Command::Nutcracker(args) => nutcracker_front::run(&args),
    }
}

fn import(file: &Path, sentinels: Option<&str>) -> ExitCode {
    if matches!(Format::of(file), Ok(Format::Toml)) {
        return usage(
            "import takes a nutcracker.yml; this file is ours already: corelay check -c FILE",
        );
    }
    let result = match sentinels.map(sentinels_of) {
        None => load(file),
        Some(Ok(sentinels)) => load_watched_nutcracker(file, &sentinels),
        Some(Err(why)) => return usage(&format!("--sentinel: {why}")),
    };
    match told(result) {
        Ok(loaded) => {
            let text = toml_print::print(&loaded.config, &loaded.warnings, &Machine::this());
            output::print(&text)
        }
        Err(code) => code,
    }
}

/// Loads a file and tells what there is to tell about it.
fn loaded(path: &Path) -> Result<Loaded, ExitCode> {
    told(load(path))
}

fn told(result: Result<Loaded, Vec<Complaint>>) -> Result<Loaded, ExitCode> {
    match result {
        Ok(loaded) => {
            output::complain(&loaded.warnings);
            Ok(loaded)
        }
        Err(complaints) => {
            output::complain(&complaints);
            Err(ExitCode::from(EXIT_CONFIG))
        }
    }
}

fn usage(what: &str) -> ExitCode {
    output::tell(&format!("corelay: {what}; see --help"));
    ExitCode::from(EXIT_USAGE)
}

fn failed(what: &str) -> ExitCode {
    output::tell(&format!("corelay: {what}"));
    ExitCode::from(EXIT_CONFIG)
}
