//! The words of the configuration for values that have names, one table each.

use super::model::{
    CharSignedness, DangerousCommands, DistributionKind, Facade, HashKind, LogLevel, ReadFrom,
    Replay, UnknownCommands,
};
use crate::command::model::Family;

pub(super) const HASHES: [(&str, HashKind); 12] = [
    ("one_at_a_time", HashKind::OneAtATime),
    ("md5", HashKind::Md5),
    ("crc16", HashKind::Crc16),
    ("crc32", HashKind::Crc32),
    ("crc32a", HashKind::Crc32a),
    ("fnv1_64", HashKind::Fnv1_64),
    ("fnv1a_64", HashKind::Fnv1a64),
    ("fnv1_32", HashKind::Fnv1_32),
    ("fnv1a_32", HashKind::Fnv1a32),
    ("hsieh", HashKind::Hsieh),
    ("murmur", HashKind::Murmur),
    ("jenkins", HashKind::Jenkins),
];
pub(super) const DISTRIBUTIONS: [(&str, DistributionKind); 3] = [
    ("ketama", DistributionKind::Ketama),
    ("modula", DistributionKind::Modula),
    ("random", DistributionKind::Random),
];
pub(super) const SIGNEDNESSES: [(&str, CharSignedness); 2] =
    [("signed", CharSignedness::Signed), ("unsigned", CharSignedness::Unsigned)];
pub(super) const UNKNOWN_COMMANDS: [(&str, UnknownCommands); 2] =
    [("refuse", UnknownCommands::Refuse), ("forward", UnknownCommands::Forward)];
pub(super) const DANGEROUS_COMMANDS: [(&str, DangerousCommands); 2] =
    [("refuse", DangerousCommands::Refuse), ("allow", DangerousCommands::Allow)];
pub(super) const FACADES: [(&str, Facade); 2] =
    [("none", Facade::None), ("cluster", Facade::Cluster)];
pub(super) const REPLAYS: [(&str, Replay); 2] =
    [("reads", Replay::Reads), ("idempotent", Replay::Idempotent)];
pub(super) const READ_FROMS: [(&str, ReadFrom); 4] = [
    ("primary", ReadFrom::Primary),
    ("prefer-replica", ReadFrom::PreferReplica),
    ("replica", ReadFrom::Replica),
    ("nearest", ReadFrom::Nearest),
];
/// Families that have reads which a replica can answer.
pub(super) const READ_FAMILIES: [Family; 13] = [
    Family::String,
    Family::Bitmap,
    Family::Hash,
    Family::List,
    Family::Set,
    Family::SortedSet,
    Family::Stream,
    Family::Geo,
    Family::HyperLogLog,
    Family::Array,
    Family::Generic,
    Family::Scripting,
    Family::Module,
];
pub(super) const LOG_LEVELS: [(&str, LogLevel); 4] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
];

/// The names of a table, for the list of keys.
pub(super) const fn names<T, const N: usize>(table: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut i = 0;
    while i < N {
        names[i] = table[i].0;
        i += 1;
    }
    names
}

pub(super) fn value_of<T: Copy>(table: &[(&'static str, T)], name: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

pub(super) fn name_of<T: PartialEq>(table: &[(&'static str, T)], value: &T) -> &'static str {
    table.iter().find(|(_, known)| known == value).map_or("", |(name, _)| name)
}

/// What is said of who answers reads.
pub fn read_from_name(read_from: ReadFrom) -> &'static str {
    name_of(&READ_FROMS, &read_from)
}

/// What a hash is called in a configuration file.
pub fn hash_name(hash: HashKind) -> &'static str {
    name_of(&HASHES, &hash)
}

/// What a distribution is called in a configuration file.
pub fn distribution_name(distribution: DistributionKind) -> &'static str {
    name_of(&DISTRIBUTIONS, &distribution)
}
