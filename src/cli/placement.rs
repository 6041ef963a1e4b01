//! `corelay placement`: which keys would be on another shard after a change.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::{failed, loaded, output};
use crate::config::model::{Config, DistributionKind, NodeAddress, PoolConfig};
use crate::route::moves::{Moves, random_keys};

pub(super) fn placement(
    old: &Path,
    new: &Path,
    pool: Option<&str>,
    count: u64,
    file: Option<&Path>,
) -> ExitCode {
    let (old, new) = match (loaded(old), loaded(new)) {
        (Ok(old), Ok(new)) => (old.config, new.config),
        (Err(code), _) | (_, Err(code)) => return code,
    };
    let pairs = pairs(&old, &new, pool);
    if pairs.is_empty() {
        return failed("no pool is in both files; pools are compared by their names");
    }
    let mut text = String::new();
    for (old, new) in pairs {
        let moves = match file {
            None => Moves::of(old, new, |each| {
                random_keys(count, each);
                Ok(())
            }),
            Some(path) => Moves::of(old, new, |each| keys_of(path, each)),
        };
        match moves {
            Ok(moves) => text.push_str(&report(old, new, &moves)),
            Err(error) => {
                let of = file.map_or_else(String::new, |path| format!(" of {}", path.display()));
                return failed(&format!("the keys{of} can not be read ({error})"));
            }
        }
    }
    output::print(&text)
}

/// Pools of the same name; one each are a pair whatever their names.
fn pairs<'a>(
    old: &'a Config,
    new: &'a Config,
    only: Option<&str>,
) -> Vec<(&'a PoolConfig, &'a PoolConfig)> {
    if let ([old], [new], None) = (old.pools.as_slice(), new.pools.as_slice(), only) {
        return vec![(old, new)];
    }
    let wanted = |pool: &&Arc<PoolConfig>| only.is_none_or(|name| pool.name == name);
    let twin = |pool: &'a Arc<PoolConfig>| {
        let twin = new.pools.iter().find(|candidate| candidate.name == pool.name)?;
        Some((pool.as_ref(), twin.as_ref()))
    };
    old.pools.iter().filter(wanted).filter_map(twin).collect()
}

fn report(old: &PoolConfig, new: &PoolConfig, moves: &Moves) -> String {
    let mut text = format!(
        "pool {} ({} shards) -> {} ({} shards): {} of {} keys would move ({})\n",
        old.name,
        old.shards.len(),
        new.name,
        new.shards.len(),
        moves.moved,
        moves.keys,
        moves.percent(moves.moved),
    );
    if [old, new].iter().any(|pool| pool.distribution == DistributionKind::Random) {
        text.push_str("  random distribution: no key has a place, so the figures mean nothing\n");
    }
    for shard in &new.shards {
        let before = old.shards.iter().find(|before| before.name == shard.name);
        if let Some(before) = before.filter(|before| before.address != shard.address) {
            let (from, to) = (&before.address, &shard.address);
            let name = &shard.name;
            let _ = match (from, to) {
                (from, NodeAddress::Sentinel) => writeln!(
                    text,
                    "  {name} is where the sentinels say that master {name} is, instead of on {from}"
                ),
                (NodeAddress::Sentinel, to) => {
                    writeln!(text, "  {name} is on {to}, whatever the sentinels say")
                }
                (from, to) => {
                    writeln!(
                        text,
                        "  {name} is on {to} instead of {from}: its data has to be there"
                    )
                }
            };
        }
    }
    let name = |pool: &PoolConfig, at: usize| {
        pool.shards.get(at).map_or(String::new(), |shard| shard.name.clone())
    };
    let rows: Vec<Vec<String>> = moves
        .ways
        .iter()
        .map(|((from, to), keys)| {
            vec![name(old, *from), name(new, *to), keys.to_string(), moves.percent(*keys)]
        })
        .collect();
    if !rows.is_empty() {
        text.push_str(&output::table("  ", &["FROM", "TO", "KEYS", "SHARE"], &rows));
    }
    text
}

/// The lines of a file; empty ones are no keys.
fn keys_of(path: &Path, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let key = line.strip_suffix(b"\n").unwrap_or(&line);
        if !key.is_empty() {
            each(key);
        }
        line.clear();
    }
    Ok(())
}
