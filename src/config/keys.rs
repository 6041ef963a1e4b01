//! Every key of corelay's own file: one line of data each, with type, bounds, default and help.
//!
//! The reader takes types, bounds and defaults from here, `corelay check --describe` prints it,
//! and a test holds the sample `config/corelay.toml` to it. A key that is not here is refused.

use std::fmt;

mod table;

pub use table::KEYS;

/// One key of the file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub section: Section,
    pub name: &'static str,
    pub kind: Kind,
    pub default: Fallback,
    pub help: &'static str,
}

/// The table that a key stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Proxy,
    Pool,
    Shard,
    Sentinel,
    /// One of the masters of a `Sentinel`, if it is more than a name.
    Master,
    Auth,
    BackendAuth,
    /// Families of commands whose reads have their own rule.
    ReadFromByFamily,
}

/// What may be written as a key's value.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A whole number within bounds; the unit is in the key's name.
    Integer {
        min: u64,
        max: u64,
    },
    /// The same, or "none".
    IntegerOrNone {
        min: u64,
        max: u64,
    },
    Bool,
    Choice(&'static [&'static str]),
    Text,
    /// A text that is never shown.
    Secret,
    /// "auto", a count, or a list of CPU ids.
    Cores,
    /// "host:port", or "off".
    Address,
    /// One or a list of "host:port", "[ipv6]:port", "unix:/path MODE".
    Listens,
    /// A list of "host:port" and "[ipv6]:port".
    Addresses,
    /// A list of names, or tables with name and weight.
    Masters,
}

/// What holds when the key is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// The key has to be written.
    Required,
    /// Nothing.
    Absent,
    Integer(u64),
    Bool(bool),
    Text(&'static str),
}

impl Section {
    pub const ALL: [Section; 8] = [
        Section::Proxy,
        Section::Pool,
        Section::Shard,
        Section::Sentinel,
        Section::Master,
        Section::Auth,
        Section::BackendAuth,
        Section::ReadFromByFamily,
    ];

    /// As complaints name it.
    pub fn path(self) -> &'static str {
        match self {
            Section::Proxy => "proxy",
            Section::Pool => "pool",
            Section::Shard => "pool.shard",
            Section::Sentinel => "pool.sentinel",
            Section::Master => "pool.sentinel.masters",
            Section::Auth => "pool.auth",
            Section::BackendAuth => "pool.backend_auth",
            Section::ReadFromByFamily => "pool.read_from_by_family",
        }
    }

    /// As the file has it.
    pub fn header(self) -> &'static str {
        match self {
            Section::Proxy => "[proxy]",
            Section::Pool => "[[pool]]",
            Section::Shard => "[[pool.shard]]",
            Section::Sentinel => "[pool.sentinel]",
            Section::Master => "[pool.sentinel] masters = [{ … }]",
            Section::Auth => "[pool.auth]",
            Section::BackendAuth => "[pool.backend_auth]",
            Section::ReadFromByFamily => "[pool.read_from_by_family]",
        }
    }

    /// Tables that may stand inside this one.
    pub(super) fn tables(self) -> &'static [&'static str] {
        match self {
            Section::Pool => &["shard", "sentinel", "auth", "backend_auth", "read_from_by_family"],
            _ => &[],
        }
    }
}

impl fmt::Display for Fallback {
    /// As it would be written in the file; empty if there is nothing to write.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fallback::Required | Fallback::Absent => Ok(()),
            Fallback::Integer(value) => write!(f, "{value}"),
            Fallback::Bool(value) => write!(f, "{value}"),
            Fallback::Text(value) => write!(f, "\"{value}\""),
        }
    }
}

/// The line of `name` in `section`.
pub fn find(section: Section, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.section == section && key.name == name)
}

/// The keys of one section, in the order of the sample file.
pub fn of(section: Section) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.section == section)
}
