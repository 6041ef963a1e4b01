//! What a reader hands over: values of the right type, with the lines they were written on.
//!
//! A draft may still contradict itself, name a shard twice, or listen on a host nobody knows:
//! `build` looks at that.

use std::path::PathBuf;

use super::model::{PoolConfig, ProxyConfig};

/// A whole file, read.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) proxy: ProxyConfig,
    pub(super) admin_listen: Option<At<ListenDraft>>,
    pub(super) stats_listen: Option<At<ListenDraft>>,
    pub(super) handover_socket: Option<At<ListenDraft>>,
    pub(super) pools: Vec<PoolDraft>,
}

/// A value and the line it stands on; 0: it is a default.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) line: usize,
}

/// A pool whose listeners are not resolved and whose shards are in the file's order.
#[derive(Debug)]
pub(super) struct PoolDraft {
    /// Name, listeners and hash tag are still empty.
    pub(super) pool: PoolConfig,
    /// `None`: missing, and complained about.
    pub(super) name: Option<At<String>>,
    pub(super) words: &'static Words,
    /// What stands before a key in a complaint.
    pub(super) path: String,
    /// Of the pool as a whole.
    pub(super) line: usize,
    /// Keys that were written, with their lines.
    pub(super) lines: Vec<(&'static str, usize)>,
    pub(super) listen: Vec<At<ListenDraft>>,
    pub(super) hash_tag: Option<At<String>>,
    /// By place in `pool.shards`.
    pub(super) shard_lines: Vec<usize>,
    /// Something was written about shards, be it right or wrong.
    pub(super) has_shards: bool,
}

/// How the two dialects call what `build` may complain about.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) name: &'static str,
    pub(super) shards: &'static str,
    pub(super) shard_name: &'static str,
    pub(super) shard_address: &'static str,
    pub(super) shard_weight: &'static str,
    pub(super) database: &'static str,
    /// How a shard is written.
    pub(super) shard_form: &'static str,
}

/// A listener whose host may be a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListenDraft {
    Tcp { host: String, port: u16 },
    Unix { path: PathBuf, mode: Option<u32> },
}

impl PoolDraft {
    /// A key with its pool, as complaints name it; an empty key is the pool itself.
    pub(super) fn key(&self, key: &str) -> String {
        match key {
            "" => self.path.clone(),
            key => format!("{}.{key}", self.path),
        }
    }

    /// The line of `key`, or of the pool if the key is not written.
    pub(super) fn line_of(&self, key: &str) -> usize {
        self.lines.iter().find(|(name, _)| *name == key).map_or(self.line, |(_, line)| *line)
    }
}

impl std::fmt::Display for ListenDraft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ListenDraft::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            ListenDraft::Tcp { host, port } => write!(f, "{host}:{port}"),
            ListenDraft::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}
