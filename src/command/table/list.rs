//! Lists.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::List, [
    cmd("blmove",     "6.2.0",  6, WRITE | DENYOOM | NOSCRIPT | BLOCKING, keys(1, 2, 1),   BLOCK_LAST).does(&[TAKES, INSERTS]).gives(ONE_OR_NONE),
    cmd("blmovem",    "8.10.0", -6, WRITE | DENYOOM | BLOCKING,           keys(1, 2, 1),   BLOCK_UNKNOWN).does(&[TAKES, INSERTS]),
    cmd("blmpop",     "7.0.0", -5, WRITE | BLOCKING,                      counted(2, Pop), BLOCK_FIRST).does(&[TAKES]).gives(ARRAY),
    cmd("blpop",      "2.0.0", -3, WRITE | NOSCRIPT | BLOCKING,           keys(1, -2, 1),  BLOCK_LAST).does(&[TAKES]).gives(ARRAY),
    cmd("brpop",      "2.0.0", -3, WRITE | NOSCRIPT | BLOCKING,           keys(1, -2, 1),  BLOCK_LAST).does(&[TAKES]).gives(ARRAY),
    cmd("brpoplpush", "2.2.0",  4, WRITE | DENYOOM | NOSCRIPT | BLOCKING, keys(1, 2, 1),   BLOCK_LAST).does(&[TAKES, INSERTS]).gives(ONE_OR_NONE),
    cmd("lindex",     "1.0.0",  3, READONLY,                              KEY,             FORWARD).gives(VALUE),
    cmd("linsert",    "2.2.0",  5, WRITE | DENYOOM,                       KEY,             FORWARD).does(&[INSERTS]).gives(INTEGER),
    cmd("llen",       "1.0.0",  2, READONLY | FAST,                       KEY,             FORWARD).does(&[LOOKS]).gives(INTEGER),
    cmd("lmove",      "6.2.0",  5, WRITE | DENYOOM,                       keys(1, 2, 1),   FORWARD).does(&[TAKES, INSERTS]).gives(VALUE),
    cmd("lmovem",     "8.10.0", -5, WRITE | DENYOOM,                      keys(1, 2, 1),   FORWARD).does(&[TAKES, INSERTS]),
    cmd("lmpop",      "7.0.0", -4, WRITE,                                 counted(1, Pop), FORWARD).does(&[TAKES]).gives(ARRAY),
    cmd("lpop",       "1.0.0", -2, WRITE | FAST,                          KEY,             FORWARD).does(&[TAKES]).gives(ONE_OR_MORE).gives_bare(2, VALUE),
    cmd("lpos",       "6.0.6", -3, READONLY,                              KEY,             FORWARD).gives(RANK).gives_bare(3, NUMBER_OR_NIL),
    cmd("lpush",      "1.0.0", -3, WRITE | DENYOOM | FAST,                KEY,             FORWARD).does(&[INSERTS]).gives(INTEGER),
    cmd("lpushx",     "2.2.0", -3, WRITE | DENYOOM | FAST,                KEY,             FORWARD).does(&[INSERTS]).gives(INTEGER),
    cmd("lrange",     "1.0.0",  4, READONLY,                              KEY,             FORWARD).gives(ARRAY),
    cmd("lrem",       "1.0.0",  4, WRITE,                                 KEY,             FORWARD).does(&[DELETES]).gives(INTEGER),
    cmd("lset",       "1.0.0",  4, WRITE | DENYOOM,                       KEY,             FORWARD).does(&[UPDATES]).gives(STATUS),
    cmd("ltrim",      "1.0.0",  4, WRITE,                                 KEY,             FORWARD).does(&[DELETES]).gives(STATUS),
    cmd("rpop",       "1.0.0", -2, WRITE | FAST,                          KEY,             FORWARD).does(&[TAKES]).gives(ONE_OR_MORE).gives_bare(2, VALUE),
    cmd("rpoplpush",  "1.2.0",  3, WRITE | DENYOOM,                       keys(1, 2, 1),   FORWARD).does(&[TAKES, INSERTS]).gives(VALUE),
    cmd("rpush",      "1.0.0", -3, WRITE | DENYOOM | FAST,                KEY,             FORWARD).does(&[INSERTS]).gives(INTEGER),
    cmd("rpushx",     "2.2.0", -3, WRITE | DENYOOM | FAST,                KEY,             FORWARD).does(&[INSERTS]).gives(INTEGER),
]);
