//! Strings.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::String, [
    cmd("append",      "2.0.0",  3, WRITE | DENYOOM | FAST, KEY,               FORWARD).does(&[INSERTS]).gives(INTEGER),
    cmd("decr",        "1.0.0",  2, WRITE | DENYOOM | FAST, KEY,               FORWARD).gives(INTEGER),
    cmd("decrby",      "1.0.0",  3, WRITE | DENYOOM | FAST, KEY,               FORWARD).gives(INTEGER),
    cmd("delex",       "8.4.0", -2, WRITE | FAST,           KEY,               FORWARD).does(&[REMOVES]),
    cmd("delifeq",     "9.0.0",  3, WRITE,                  KEY,               FORWARD).does(&[REMOVES]),
    cmd("digest",      "8.4.0",  2, READONLY | FAST,        KEY,               FORWARD),
    cmd("get",         "1.0.0",  2, READONLY | FAST,        KEY,               FORWARD).gives(VALUE),
    cmd("getdel",      "6.2.0",  2, WRITE | FAST,           KEY,               FORWARD).does(&[TAKES]).gives(VALUE),
    cmd("getex",       "6.2.0", -2, WRITE | FAST,           KEY,               FORWARD).gives(VALUE),
    cmd("getrange",    "2.4.0",  4, READONLY,               KEY,               FORWARD).gives(VALUE),
    cmd("getset",      "1.0.0",  3, WRITE | DENYOOM | FAST, KEY,               FORWARD).gives(VALUE),
    cmd("incr",        "1.0.0",  2, WRITE | DENYOOM | FAST, KEY,               FORWARD).gives(INTEGER),
    cmd("incrby",      "1.0.0",  3, WRITE | DENYOOM | FAST, KEY,               FORWARD).gives(INTEGER),
    cmd("incrbyfloat", "2.6.0",  3, WRITE | DENYOOM | FAST, KEY,               FORWARD).gives(VALUE),
    cmd("increx",      "8.8.0", -2, WRITE | DENYOOM | FAST, KEY,               FORWARD),
    cmd("lcs",         "7.0.0", -3, READONLY,               keys(1, 2, 1),     FORWARD).gives(VALUE_NUMBER_OR_MATCHES).gives_bare(3, VALUE),
    cmd("mget",        "1.0.0", -2, READONLY | FAST,        ALL_KEYS,          SPLIT_MGET).gives_one_for_each(1),
    cmd("mset",        "1.0.1", -3, WRITE | DENYOOM,        keys(1, -1, 2),    SPLIT_MSET).does(&[OVERWRITES]).gives(STATUS),
    // All or nothing with NX and XX: not split.
    cmd("msetex",      "8.4.0", -4, WRITE | DENYOOM,        counted(1, Pairs), FORWARD).does(&[OVERWRITES]),
    // Not split although redis gives it a policy: all or nothing would be lost.
    cmd("msetnx",      "1.0.1", -3, WRITE | DENYOOM,        keys(1, -1, 2),    FORWARD).does(&[CREATES]).gives(INTEGER),
    cmd("psetex",      "2.6.0",  4, WRITE | DENYOOM,        KEY,               FORWARD).does(&[OVERWRITES]).gives(STATUS),
    cmd("set",         "1.0.0", -3, WRITE | DENYOOM,        KEY,               FORWARD).does(&[VARIES]).gives(STATUS_OR_VALUE).gives_bare(3, STATUS),
    cmd("setex",       "2.0.0",  4, WRITE | DENYOOM,        KEY,               FORWARD).does(&[OVERWRITES]).gives(STATUS),
    cmd("setnx",       "1.0.0",  3, WRITE | DENYOOM | FAST, KEY,               FORWARD).does(&[CREATES]).gives(INTEGER),
    cmd("setrange",    "2.2.0",  4, WRITE | DENYOOM,        KEY,               FORWARD).does(&[UPDATES]).gives(INTEGER),
    cmd("strlen",      "2.2.0",  2, READONLY | FAST,        KEY,               FORWARD).does(&[LOOKS]).gives(INTEGER),
    cmd("substr",      "1.0.0",  4, READONLY,               KEY,               FORWARD).gives(VALUE),
]);
