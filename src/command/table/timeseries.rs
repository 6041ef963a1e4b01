//! Time series.
//!
//! Queries by label name no key: answers that can not be merged without the query engine are
//! forwarded only where there is one shard.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::Module, [
    cmd("ts.add",         "1.0.0",  -4, WRITE | DENYOOM, KEY,                   FORWARD).does(&[INSERTS]),
    cmd("ts.alter",       "1.0.0",  -2, WRITE | DENYOOM, KEY,                   FORWARD).does(&[UPDATES]),
    cmd("ts.create",      "1.0.0",  -2, WRITE | DENYOOM, KEY,                   FORWARD).does(&[CREATES]),
    cmd("ts.createrule",  "1.0.0",  -6, WRITE | DENYOOM, keys(1, 2, 1),         FORWARD).does(&[READS, UPDATES]),
    cmd("ts.decrby",      "1.0.0",  -3, WRITE | DENYOOM, KEY,                   FORWARD),
    cmd("ts.del",         "1.6.0",   4, WRITE,           KEY,                   FORWARD).does(&[DELETES]),
    cmd("ts.deleterule",  "1.0.0",   3, WRITE,           keys(1, 2, 1),         FORWARD).does(&[UPDATES, UPDATES]),
    cmd("ts.get",         "1.0.0",  -2, READONLY,        KEY,                   FORWARD),
    cmd("ts.incrby",      "1.0.0",  -3, WRITE | DENYOOM, KEY,                   FORWARD),
    cmd("ts.info",        "1.0.0",  -2, READONLY,        KEY,                   FORWARD).does(&[LOOKS]),
    cmd("ts.madd",        "1.0.0",  -4, WRITE | DENYOOM, keys(1, -1, 3),        FORWARD).does(&[INSERTS]),
    cmd("ts.mget",        "1.0.0",  -3, READONLY,        NO_KEYS,               ONLY_SHARD),
    cmd("ts.mrange",      "1.0.0",  -5, READONLY,        NO_KEYS,               ONLY_SHARD),
    cmd("ts.mrevrange",   "1.4.0",  -5, READONLY,        NO_KEYS,               ONLY_SHARD),
    cmd("ts.nrange",      "8.10.0", -5, READONLY,        counted(1, Aggregate), FORWARD),
    cmd("ts.nrevrange",   "8.10.0", -5, READONLY,        counted(1, Aggregate), FORWARD),
    // Names of keys: one behind the other.
    cmd("ts.queryindex",  "1.0.0",  -2, READONLY,        NO_KEYS,               FAN_CONCAT),
    cmd("ts.querylabels", "8.10.0", -2, READONLY,        NO_KEYS,               ONLY_SHARD),
    cmd("ts.range",       "1.0.0",  -4, READONLY,        KEY,                   FORWARD),
    cmd("ts.read",        "8.10.0", -3, READONLY,        KEY,                   BLOCK_OPTION),
    cmd("ts.revrange",    "1.4.0",  -4, READONLY,        KEY,                   FORWARD),
]);
