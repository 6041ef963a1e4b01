//! Sets.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::Set, [
    cmd("sadd",        "1.0.0", -3, WRITE | DENYOOM | FAST, KEY,              FORWARD),
    cmd("scard",       "1.0.0",  2, READONLY | FAST,        KEY,              FORWARD),
    cmd("sdiff",       "1.0.0", -2, READONLY,               ALL_KEYS,         FORWARD),
    cmd("sdiffcard",   "8.10.0", -3, READONLY,              counted(1, Card), FORWARD),
    cmd("sdiffstore",  "1.0.0", -3, WRITE | DENYOOM,        ALL_KEYS,         FORWARD),
    cmd("sinter",      "1.0.0", -2, READONLY,               ALL_KEYS,         FORWARD),
    cmd("sintercard",  "7.0.0", -3, READONLY,               counted(1, Card), FORWARD),
    cmd("sinterstore", "1.0.0", -3, WRITE | DENYOOM,        ALL_KEYS,         FORWARD),
    cmd("sismember",   "1.0.0",  3, READONLY | FAST,        KEY,              FORWARD),
    cmd("smembers",    "1.0.0",  2, READONLY,               KEY,              FORWARD),
    cmd("smismember",  "6.2.0", -3, READONLY | FAST,        KEY,              FORWARD),
    cmd("smove",       "1.0.0",  4, WRITE | FAST,           keys(1, 2, 1),    FORWARD),
    cmd("spop",        "1.0.0", -2, WRITE | FAST,           KEY,              FORWARD),
    cmd("srandmember", "1.0.0", -2, READONLY,               KEY,              FORWARD),
    cmd("srem",        "1.0.0", -3, WRITE | FAST,           KEY,              FORWARD),
    cmd("sscan",       "2.8.0", -3, READONLY,               KEY,              FORWARD),
    cmd("sunion",      "1.0.0", -2, READONLY,               ALL_KEYS,         FORWARD),
    cmd("sunioncard",  "8.10.0", -3, READONLY,              counted(1, Card), FORWARD),
    cmd("sunionstore", "1.0.0", -3, WRITE | DENYOOM,        ALL_KEYS,         FORWARD),
]);
