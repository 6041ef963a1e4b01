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
    cmd("lindex",     "1.0.0",  3, READONLY,                              KEY,             FORWARD),
    cmd("linsert",    "2.2.0",  5, WRITE | DENYOOM,                       KEY,             FORWARD),
    cmd("llen",       "1.0.0",  2, READONLY | FAST,                       KEY,             FORWARD),
    cmd("lmove",      "6.2.0",  5, WRITE | DENYOOM,                       keys(1, 2, 1),   FORWARD),
    cmd("lmovem",     "8.10.0", -5, WRITE | DENYOOM,                      keys(1, 2, 1),   FORWARD),
    cmd("lmpop",      "7.0.0", -4, WRITE,                                 counted(1, Pop), FORWARD),
    cmd("lpop",       "1.0.0", -2, WRITE | FAST,                          KEY,             FORWARD),
    cmd("lpos",       "6.0.6", -3, READONLY,                              KEY,             FORWARD),
    cmd("lpush",      "1.0.0", -3, WRITE | DENYOOM | FAST,                KEY,             FORWARD),
    cmd("lpushx",     "2.2.0", -3, WRITE | DENYOOM | FAST,                KEY,             FORWARD),
    cmd("lrange",     "1.0.0",  4, READONLY,                              KEY,             FORWARD),
    cmd("lrem",       "1.0.0",  4, WRITE,                                 KEY,             FORWARD),
    cmd("lset",       "1.0.0",  4, WRITE | DENYOOM,                       KEY,             FORWARD),
    cmd("ltrim",      "1.0.0",  4, WRITE,                                 KEY,             FORWARD),
    cmd("rpop",       "1.0.0", -2, WRITE | FAST,                          KEY,             FORWARD),
    cmd("rpoplpush",  "1.2.0",  3, WRITE | DENYOOM,                       keys(1, 2, 1),   FORWARD),
    cmd("rpush",      "1.0.0", -3, WRITE | DENYOOM | FAST,                KEY,             FORWARD),
    cmd("rpushx",     "2.2.0", -3, WRITE | DENYOOM | FAST,                KEY,             FORWARD),
]);
