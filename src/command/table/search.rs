//! The query engine.
//!
//! An index holds the documents of one shard only, whatever its name: on a pool of one shard all
//! of this is forwarded, on more it is refused. Suggestion dictionaries are ordinary keys.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::Module, [
    cmd("ft._list",       "1.0.0",  1, READONLY,        NO_KEYS, ONLY_SHARD),
    cmd("ft.aggregate",   "1.1.0", -3, READONLY,        NO_KEYS, ONLY_SHARD),
    cmd("ft.aliasadd",    "1.0.0",  3, READONLY,        NO_KEYS, ONLY_SHARD),
    cmd("ft.aliasdel",    "1.0.0",  2, READONLY,        NO_KEYS, ONLY_SHARD),
    cmd("ft.aliaslist",   "8.10.0", 2, READONLY,        NO_KEYS, ONLY_SHARD),
    cmd("ft.aliasupdate", "1.0.0",  3, READONLY,        NO_KEYS, ONLY_SHARD),
    cmd("ft.alter",       "1.0.0", -6, WRITE,           NO_KEYS, ONLY_SHARD),
    cmd("ft.config",      "1.0.0", -3, READONLY,        NO_KEYS, REFUSE_ADMIN),
    cmd("ft.create",      "1.0.0", -4, WRITE | DENYOOM, NO_KEYS, ONLY_SHARD),
    cmd("ft.cursor",      "1.1.0", -4, READONLY,        NO_KEYS, ONLY_SHARD),
    cmd("ft.dictadd",     "1.4.0", -3, READONLY,        NO_KEYS, ONLY_SHARD),
    cmd("ft.dictdel",     "1.4.0", -3, READONLY,        NO_KEYS, ONLY_SHARD),
    cmd("ft.dictdump",    "1.4.0",  2, READONLY,        NO_KEYS, ONLY_SHARD),
    cmd("ft.dropindex",   "2.0.0", -2, WRITE,           NO_KEYS, ONLY_SHARD),
    cmd("ft.explain",     "1.0.0", -3, READONLY,        NO_KEYS, ONLY_SHARD),
    cmd("ft.explaincli",  "1.0.0", -3, READONLY,        NO_KEYS, ONLY_SHARD),
    cmd("ft.hybrid",      "8.4.0", -3, READONLY,        NO_KEYS, ONLY_SHARD),
    cmd("ft.info",        "1.0.0",  2, READONLY,        NO_KEYS, ONLY_SHARD),
    cmd("ft.profile",     "2.2.0", -5, READONLY,        NO_KEYS, ONLY_SHARD),
    cmd("ft.search",      "1.0.0", -3, READONLY,        NO_KEYS, ONLY_SHARD),
    cmd("ft.spellcheck",  "1.4.0", -3, READONLY,        NO_KEYS, ONLY_SHARD),
    cmd("ft.sugadd",      "1.0.0", -4, WRITE | DENYOOM, KEY,     FORWARD).does(&[INSERTS]),
    cmd("ft.sugdel",      "1.0.0",  3, WRITE,           KEY,     FORWARD).does(&[DELETES]),
    cmd("ft.sugget",      "1.0.0", -3, READONLY,        KEY,     FORWARD),
    cmd("ft.suglen",      "1.0.0",  2, READONLY,        KEY,     FORWARD).does(&[LOOKS]),
    cmd("ft.syndump",     "1.2.0",  2, READONLY,        NO_KEYS, ONLY_SHARD),
    cmd("ft.synupdate",   "1.2.0", -4, WRITE,           NO_KEYS, ONLY_SHARD),
    cmd("ft.tagvals",     "1.0.0",  3, READONLY,        NO_KEYS, ONLY_SHARD),
]);
