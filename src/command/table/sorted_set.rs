//! Sorted sets.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::SortedSet, [
    cmd("bzmpop",           "7.0.0", -5, WRITE | BLOCKING,                   counted(2, Pop),       REFUSE_BLOCKING),
    cmd("bzpopmax",         "5.0.0", -3, WRITE | NOSCRIPT | BLOCKING | FAST, keys(1, -2, 1),        REFUSE_BLOCKING),
    cmd("bzpopmin",         "5.0.0", -3, WRITE | NOSCRIPT | BLOCKING | FAST, keys(1, -2, 1),        REFUSE_BLOCKING),
    cmd("zadd",             "1.2.0", -4, WRITE | DENYOOM | FAST,             KEY,                   FORWARD),
    cmd("zcard",            "1.2.0",  2, READONLY | FAST,                    KEY,                   FORWARD),
    cmd("zcount",           "2.0.0",  4, READONLY | FAST,                    KEY,                   FORWARD),
    cmd("zdiff",            "6.2.0", -3, READONLY,                           counted(1, Aggregate), FORWARD),
    cmd("zdiffstore",       "6.2.0", -4, WRITE | DENYOOM,                    counted_sources(2),    FORWARD),
    cmd("zincrby",          "1.2.0",  4, WRITE | DENYOOM | FAST,             KEY,                   FORWARD),
    cmd("zinter",           "6.2.0", -3, READONLY,                           counted(1, Aggregate), FORWARD),
    cmd("zintercard",       "7.0.0", -3, READONLY,                           counted(1, Aggregate), FORWARD),
    cmd("zinterstore",      "2.0.0", -4, WRITE | DENYOOM,                    counted_sources(2),    FORWARD),
    cmd("zlexcount",        "2.8.9",  4, READONLY | FAST,                    KEY,                   FORWARD),
    cmd("zmpop",            "7.0.0", -4, WRITE,                              counted(1, Pop),       FORWARD),
    cmd("zmscore",          "6.2.0", -3, READONLY | FAST,                    KEY,                   FORWARD),
    cmd("zpopmax",          "5.0.0", -2, WRITE | FAST,                       KEY,                   FORWARD),
    cmd("zpopmin",          "5.0.0", -2, WRITE | FAST,                       KEY,                   FORWARD),
    cmd("zrandmember",      "6.2.0", -2, READONLY,                           KEY,                   FORWARD),
    cmd("zrange",           "1.2.0", -4, READONLY,                           KEY,                   FORWARD),
    cmd("zrangebylex",      "2.8.9", -4, READONLY,                           KEY,                   FORWARD),
    cmd("zrangebyscore",    "1.0.5", -4, READONLY,                           KEY,                   FORWARD),
    cmd("zrangestore",      "6.2.0", -5, WRITE | DENYOOM,                    keys(1, 2, 1),         FORWARD),
    // WITHSCORE since 7.2: 3 arguments before.
    cmd("zrank",            "2.0.0", -3, READONLY | FAST,                    KEY,                   FORWARD),
    cmd("zrem",             "1.2.0", -3, WRITE | FAST,                       KEY,                   FORWARD),
    cmd("zremrangebylex",   "2.8.9",  4, WRITE,                              KEY,                   FORWARD),
    cmd("zremrangebyrank",  "2.0.0",  4, WRITE,                              KEY,                   FORWARD),
    cmd("zremrangebyscore", "1.2.0",  4, WRITE,                              KEY,                   FORWARD),
    cmd("zrevrange",        "1.2.0", -4, READONLY,                           KEY,                   FORWARD),
    cmd("zrevrangebylex",   "2.8.9", -4, READONLY,                           KEY,                   FORWARD),
    cmd("zrevrangebyscore", "2.2.0", -4, READONLY,                           KEY,                   FORWARD),
    cmd("zrevrank",         "2.0.0", -3, READONLY | FAST,                    KEY,                   FORWARD),
    cmd("zscan",            "2.8.0", -3, READONLY,                           KEY,                   FORWARD),
    cmd("zscore",           "1.2.0",  3, READONLY | FAST,                    KEY,                   FORWARD),
    cmd("zunion",           "6.2.0", -3, READONLY,                           counted(1, Aggregate), FORWARD),
    cmd("zunionstore",      "2.0.0", -4, WRITE | DENYOOM,                    counted_sources(2),    FORWARD),
]);
