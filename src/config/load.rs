//! From a path to a checked configuration: the only place of this room that touches files.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::complaint::{Complaint, Complaints, Severity};
use super::machine::Machine;
use super::model::{Config, NodeAddress};
use super::nutcracker::{Dialect, parse_with};
use crate::base::limits;

pub use super::nutcracker::{STATS_LISTEN, parse_nutcracker};
pub use super::toml_file::parse_toml;

/// A configuration that can be run.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// What the user should hear, in the order of the file.
    pub warnings: Vec<Complaint>,
}

/// The two dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// corelay's own.
    Toml,
    /// twemproxy's nutcracker.yml.
    Nutcracker,
}

impl Format {
    /// By extension: `.toml` is ours, `.yml` and `.yaml` are nutcracker's.
    ///
    /// # Errors
    /// Any other extension.
    pub fn of(path: &Path) -> Result<Format, Vec<Complaint>> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Ok(Format::Toml),
            Some("yml" | "yaml") => Ok(Format::Nutcracker),
            _ => Err(vec![Complaint::of_file(
                &path.to_string_lossy(),
                "the extension does not tell what this file is",
                "name it .toml (corelay's own) or .yml (nutcracker's)",
            )]),
        }
    }
}

/// Reads and checks a file in the dialect of its extension.
///
/// # Errors
/// All complaints at once, in the order of the file, warnings among them.
pub fn load(path: &Path) -> Result<Loaded, Vec<Complaint>> {
    match Format::of(path)? {
        Format::Toml => load_with(path, parse_toml),
        Format::Nutcracker => load_with(path, parse_nutcracker),
    }
}

/// Reads and checks a nutcracker.yml of any name, with twemproxy's statistics on `stats`.
///
/// # Errors
/// As [`load`].
pub fn load_nutcracker(path: &Path, stats: SocketAddr) -> Result<Loaded, Vec<Complaint>> {
    load_with(path, |text, name, machine| {
        parse_with(text, name, machine, Dialect { stats, sentinels: &[] })
    })
}

/// Reads and checks a nutcracker.yml whose servers are the masters of these sentinels.
///
/// # Errors
/// As [`load`].
pub fn load_watched_nutcracker(
    path: &Path,
    sentinels: &[NodeAddress],
) -> Result<Loaded, Vec<Complaint>> {
    load_with(path, |text, name, machine| {
        parse_with(text, name, machine, Dialect { stats: STATS_LISTEN, sentinels })
    })
}

fn load_with(
    path: &Path,
    parse: impl FnOnce(&str, &str, &Machine) -> Result<Loaded, Vec<Complaint>>,
) -> Result<Loaded, Vec<Complaint>> {
    let name = path.to_string_lossy();
    let (text, mode) = read(path, &name)?;
    let mut loaded = parse(&text, &name, &Machine::this())?;
    if mode & 0o077 != 0 && holds_secret(&loaded.config) {
        let why =
            format!("it holds passwords, and others may read it (mode {:04o})", mode & 0o7777);
        let remedy = format!("chmod 600 {name}");
        let mut warning = Complaint::of_file(&name, why, remedy);
        warning.severity = Severity::Warning;
        loaded.warnings.insert(0, warning);
    }
    Ok(loaded)
}

/// The file's text and permissions; one clear complaint about what is no text file.
fn read(path: &Path, name: &str) -> Result<(String, u32), Vec<Complaint>> {
    let failed = |error: std::io::Error| {
        vec![Complaint::of_file(name, format!("it can not be read ({error})"), "")]
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(vec![Complaint::of_file(name, "this is a directory", "name a file in it")]);
    }
    let mut bytes = Vec::new();
    let most = limits::CONFIG_FILE_BYTES_MAX;
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > most {
        let why = format!("it is longer than {most} bytes");
        return Err(vec![Complaint::of_file(name, why, "this can not be a configuration")]);
    }
    // Access by group and others matters for files, not for a pipe or a terminal.
    let mode = if metadata.is_file() { metadata.mode() } else { 0 };
    Ok((text(bytes, name)?, mode))
}

/// The bytes of a file as text.
pub(super) fn text(bytes: Vec<u8>, name: &str) -> Result<String, Vec<Complaint>> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count();
        let mut complaints = Complaints::new(name);
        let byte = error.as_bytes()[valid];
        let why = format!("byte 0x{byte:02x} here is not UTF-8");
        complaints.error(line, "", why).remedy("save the file as UTF-8");
        complaints.into_sorted()
    })
}

fn holds_secret(config: &Config) -> bool {
    let mut pools = config.pools.iter();
    pools.any(|pool| {
        let sentinel = pool.sentinel.as_ref();
        pool.client_password.is_some()
            || pool.backend_auth.is_some()
            || sentinel.is_some_and(|sentinel| sentinel.credentials.is_some())
    })
}
