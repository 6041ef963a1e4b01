//! Tests of the room as a whole: text in, configuration or complaints out.

mod build_tests;
mod nutcracker_tests;
mod random_tests;
mod replica_tests;
mod sample_tests;
mod sentinel_tests;
mod toml_tests;

use super::properties::machine;
use super::*;

pub(super) fn toml(text: &str) -> Result<Loaded, Vec<Complaint>> {
    parse_toml(text, "c.toml", &machine())
}

pub(super) fn yaml(text: &str) -> Result<Loaded, Vec<Complaint>> {
    parse_nutcracker(text, "n.yml", &machine())
}

/// All complaints, one a line.
pub(super) fn told(result: Result<Loaded, Vec<Complaint>>) -> String {
    let list = match result {
        Ok(loaded) => loaded.warnings,
        Err(list) => list,
    };
    list.iter().map(|complaint| format!("{complaint}\n")).collect()
}

/// A pool with `keys` in it and two shards.
pub(super) fn pool_with(keys: &str) -> String {
    format!(
        "[[pool]]\nname = \"p\"\nlisten = \"127.0.0.1:6380\"\n{keys}\n\
         [[pool.shard]]\nname = \"a\"\naddress = \"h:1\"\n\
         [[pool.shard]]\nname = \"b\"\naddress = \"h:2\"\n"
    )
}

/// A nutcracker pool with `keys` in it and two servers.
pub(super) fn yaml_with(keys: &str) -> String {
    let keys: String = keys.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "p:\n  listen: 127.0.0.1:6380\n  redis: true\n{keys}  servers:\n   - h:1:1 a\n   - h:2:1 b\n"
    )
}
