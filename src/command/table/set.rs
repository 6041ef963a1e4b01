//! Sets.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::Set, [
    cmd("sadd",        "1.0.0", -3, WRITE | DENYOOM | FAST, KEY,              FORWARD).does(&[INSERTS]).gives(INTEGER),
    cmd("scard",       "1.0.0",  2, READONLY | FAST,        KEY,              FORWARD).does(&[LOOKS]).gives(INTEGER),
    cmd("sdiff",       "1.0.0", -2, READONLY,               ALL_KEYS,         FORWARD).gives(MEMBERS),
    cmd("sdiffcard",   "8.10.0", -3, READONLY,              counted(1, Card), FORWARD),
    cmd("sdiffstore",  "1.0.0", -3, WRITE | DENYOOM,        ALL_KEYS,         FORWARD).does(&[OVERWRITES, READS]).gives(INTEGER),
    cmd("sinter",      "1.0.0", -2, READONLY,               ALL_KEYS,         FORWARD).gives(MEMBERS),
    cmd("sintercard",  "7.0.0", -3, READONLY,               counted(1, Card), FORWARD).gives(INTEGER),
    cmd("sinterstore", "1.0.0", -3, WRITE | DENYOOM,        ALL_KEYS,         FORWARD).does(&[UPDATES, READS]).gives(INTEGER),
    cmd("sismember",   "1.0.0",  3, READONLY | FAST,        KEY,              FORWARD).does(&[LOOKS]).gives(INTEGER),
    cmd("smembers",    "1.0.0",  2, READONLY,               KEY,              FORWARD).gives(MEMBERS),
    cmd("smismember",  "6.2.0", -3, READONLY | FAST,        KEY,              FORWARD).gives_one_for_each(2),
    cmd("smove",       "1.0.0",  4, WRITE | FAST,           keys(1, 2, 1),    FORWARD).does(&[TAKES, INSERTS]).gives(INTEGER),
    cmd("spop",        "1.0.0", -2, WRITE | FAST,           KEY,              FORWARD).does(&[TAKES]).gives(ONE_OR_MORE).gives_bare(2, VALUE),
    cmd("srandmember", "1.0.0", -2, READONLY,               KEY,              FORWARD).gives(ONE_OR_MORE).gives_bare(2, VALUE),
    cmd("srem",        "1.0.0", -3, WRITE | FAST,           KEY,              FORWARD).does(&[DELETES]).gives(INTEGER),
    cmd("sscan",       "2.8.0", -3, READONLY,               KEY,              FORWARD).gives_cursor(),
    cmd("sunion",      "1.0.0", -2, READONLY,               ALL_KEYS,         FORWARD).gives(MEMBERS),
    cmd("sunioncard",  "8.10.0", -3, READONLY,              counted(1, Card), FORWARD),
    cmd("sunionstore", "1.0.0", -3, WRITE | DENYOOM,        ALL_KEYS,         FORWARD).does(&[OVERWRITES, READS]).gives(INTEGER),
]);
