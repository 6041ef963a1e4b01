//! `corelay explain`: key → part that is hashed → hash → shard → address.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;

use super::{failed, output, usage};
use crate::config::model::{Config, DistributionKind, PoolConfig};
use crate::config::names::{distribution_name, hash_name};
use crate::route::Router;

pub(super) fn explain(config: &Config, pool: Option<&str>, keys: &[OsString]) -> ExitCode {
    let mut unescaped = Vec::new();
    for key in keys {
        match unescape(key.as_bytes()) {
            Some(key) => unescaped.push(key),
            None => {
                let key = output::shown(key.as_bytes());
                return usage(&format!("{key}: after \\ comes xHH, n, r, t, 0 or another \\"));
            }
        }
    }
    let pools: Vec<&PoolConfig> = config
        .pools
        .iter()
        .map(AsRef::as_ref)
        .filter(|candidate| pool.is_none_or(|name| candidate.name == name))
        .collect();
    if pools.is_empty() {
        let names: Vec<&str> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
        let name = pool.unwrap_or_default();
        return failed(&format!("there is no pool {name}; there is {}", names.join(", ")));
    }
    let texts: Vec<String> = pools.iter().map(|pool| pool_text(pool, &unescaped)).collect();
    output::print(&texts.join("\n"))
}

fn pool_text(pool: &PoolConfig, keys: &[Vec<u8>]) -> String {
    let router = Router::new(pool);
    let how = match pool.shards.len() {
        1 => "one shard, nothing is hashed".to_owned(),
        shards => {
            let (distribution, hash) = (distribution_name(pool.distribution), hash_name(pool.hash));
            format!("{distribution} by {hash} over {shards} shards")
        }
    };
    let is_random = pool.distribution == DistributionKind::Random && pool.shards.len() > 1;
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|key| {
            let part = router.tagged(key);
            let hash = format!("{:08x}", router.hash_of(key));
            let mut row = vec![output::shown(key), output::shown(part), hash];
            let shard = pool.shards.get(router.shard_of(key, 0).index());
            match shard.filter(|_| !is_random) {
                Some(shard) => row.extend([shard.name.clone(), shard.address.to_string()]),
                None => row.extend(["any".to_owned(), "any".to_owned()]),
            }
            row
        })
        .collect();
    let table = output::table("  ", &["KEY", "HASHED PART", "HASH", "SHARD", "ADDRESS"], &rows);
    format!("pool {}: {how}\n{table}", pool.name)
}

/// Bytes with their escapes resolved; `None` if an escape is none of ours.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next()? {
            b'x' => {
                let (high, low) = (hex(rest.next()?)?, hex(rest.next()?)?);
                high * 16 + low
            }
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            _ => return None,
        });
    }
    Some(bytes)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn escapes_are_resolved_and_others_refused() {
        assert_eq!(unescape(br"a\xff\n\\\0").unwrap(), b"a\xff\n\\\0");
        assert_eq!(unescape("ключ".as_bytes()).unwrap(), "ключ".as_bytes());
        for bad in [r"\", r"\x", r"\xf", r"\xfg", r"\q"] {
            assert_eq!(unescape(bad.as_bytes()), None, "{bad}");
        }
    }
}
