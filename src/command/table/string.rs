//! Strings.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::String, [
    cmd("append",      "2.0.0",  3, WRITE | DENYOOM | FAST, KEY,               FORWARD),
    cmd("decr",        "1.0.0",  2, WRITE | DENYOOM | FAST, KEY,               FORWARD),
    cmd("decrby",      "1.0.0",  3, WRITE | DENYOOM | FAST, KEY,               FORWARD),
    cmd("delex",       "8.4.0", -2, WRITE | FAST,           KEY,               FORWARD),
    cmd("delifeq",     "9.0.0",  3, WRITE,                  KEY,               FORWARD),
    cmd("digest",      "8.4.0",  2, READONLY | FAST,        KEY,               FORWARD),
    cmd("get",         "1.0.0",  2, READONLY | FAST,        KEY,               FORWARD),
    cmd("getdel",      "6.2.0",  2, WRITE | FAST,           KEY,               FORWARD),
    cmd("getex",       "6.2.0", -2, WRITE | FAST,           KEY,               FORWARD),
    cmd("getrange",    "2.4.0",  4, READONLY,               KEY,               FORWARD),
    cmd("getset",      "1.0.0",  3, WRITE | DENYOOM | FAST, KEY,               FORWARD),
    cmd("incr",        "1.0.0",  2, WRITE | DENYOOM | FAST, KEY,               FORWARD),
    cmd("incrby",      "1.0.0",  3, WRITE | DENYOOM | FAST, KEY,               FORWARD),
    cmd("incrbyfloat", "2.6.0",  3, WRITE | DENYOOM | FAST, KEY,               FORWARD),
    cmd("increx",      "8.8.0", -2, WRITE | DENYOOM | FAST, KEY,               FORWARD),
    cmd("lcs",         "7.0.0", -3, READONLY,               keys(1, 2, 1),     FORWARD),
    cmd("mget",        "1.0.0", -2, READONLY | FAST,        ALL_KEYS,          SPLIT_MGET),
    cmd("mset",        "1.0.1", -3, WRITE | DENYOOM,        keys(1, -1, 2),    SPLIT_MSET),
    // All or nothing with NX and XX: not split.
    cmd("msetex",      "8.4.0", -4, WRITE | DENYOOM,        counted(1, Pairs), FORWARD),
    // Not split although redis gives it a policy: all or nothing would be lost.
    cmd("msetnx",      "1.0.1", -3, WRITE | DENYOOM,        keys(1, -1, 2),    FORWARD),
    cmd("psetex",      "2.6.0",  4, WRITE | DENYOOM,        KEY,               FORWARD),
    cmd("set",         "1.0.0", -3, WRITE | DENYOOM,        KEY,               FORWARD),
    cmd("setex",       "2.0.0",  4, WRITE | DENYOOM,        KEY,               FORWARD),
    cmd("setnx",       "1.0.0",  3, WRITE | DENYOOM | FAST, KEY,               FORWARD),
    cmd("setrange",    "2.2.0",  4, WRITE | DENYOOM,        KEY,               FORWARD),
    cmd("strlen",      "2.2.0",  2, READONLY | FAST,        KEY,               FORWARD),
    cmd("substr",      "1.0.0",  4, READONLY,               KEY,               FORWARD),
]);
