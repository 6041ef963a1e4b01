//! Lists.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::List, [
    cmd("blmove",     "6.2.0",  6, WRITE | DENYOOM | NOSCRIPT | BLOCKING, keys(1, 2, 1),   REFUSE_BLOCKING),
    cmd("blmovem",    "8.10.0", -6, WRITE | DENYOOM | BLOCKING,           keys(1, 2, 1),   REFUSE_BLOCKING),
    cmd("blmpop",     "7.0.0", -5, WRITE | BLOCKING,                      counted(2, Pop), REFUSE_BLOCKING),
    cmd("blpop",      "2.0.0", -3, WRITE | NOSCRIPT | BLOCKING,           keys(1, -2, 1),  REFUSE_BLOCKING),
    cmd("brpop",      "2.0.0", -3, WRITE | NOSCRIPT | BLOCKING,           keys(1, -2, 1),  REFUSE_BLOCKING),
    cmd("brpoplpush", "2.2.0",  4, WRITE | DENYOOM | NOSCRIPT | BLOCKING, keys(1, 2, 1),   REFUSE_BLOCKING),
    cmd("lindex",     "1.0.0",  3, READONLY,                              KEY,             FORWARD).gives(VALUE),
    cmd("linsert",    "2.2.0",  5, WRITE | DENYOOM,                       KEY,             FORWARD).gives(INTEGER),
    cmd("llen",       "1.0.0",  2, READONLY | FAST,                       KEY,             FORWARD).gives(INTEGER),
    cmd("lmove",      "6.2.0",  5, WRITE | DENYOOM,                       keys(1, 2, 1),   FORWARD).gives(VALUE),
    cmd("lmovem",     "8.10.0", -5, WRITE | DENYOOM,                      keys(1, 2, 1),   FORWARD),
    cmd("lmpop",      "7.0.0", -4, WRITE,                                 counted(1, Pop), FORWARD).gives(ARRAY),
    cmd("lpop",       "1.0.0", -2, WRITE | FAST,                          KEY,             FORWARD).gives(ONE_OR_MORE),
    cmd("lpos",       "6.0.6", -3, READONLY,                              KEY,             FORWARD).gives(RANK),
    cmd("lpush",      "1.0.0", -3, WRITE | DENYOOM | FAST,                KEY,             FORWARD).gives(INTEGER),
    cmd("lpushx",     "2.2.0", -3, WRITE | DENYOOM | FAST,                KEY,             FORWARD).gives(INTEGER),
    cmd("lrange",     "1.0.0",  4, READONLY,                              KEY,             FORWARD).gives(ARRAY),
    cmd("lrem",       "1.0.0",  4, WRITE,                                 KEY,             FORWARD).gives(INTEGER),
    cmd("lset",       "1.0.0",  4, WRITE | DENYOOM,                       KEY,             FORWARD).gives(STATUS),
    cmd("ltrim",      "1.0.0",  4, WRITE,                                 KEY,             FORWARD).gives(STATUS),
    cmd("rpop",       "1.0.0", -2, WRITE | FAST,                          KEY,             FORWARD).gives(ONE_OR_MORE),
    cmd("rpoplpush",  "1.2.0",  3, WRITE | DENYOOM,                       keys(1, 2, 1),   FORWARD).gives(VALUE),
    cmd("rpush",      "1.0.0", -3, WRITE | DENYOOM | FAST,                KEY,             FORWARD).gives(INTEGER),
    cmd("rpushx",     "2.2.0", -3, WRITE | DENYOOM | FAST,                KEY,             FORWARD).gives(INTEGER),
]);
