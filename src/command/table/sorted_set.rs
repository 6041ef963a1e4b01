//! Sorted sets.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::SortedSet, [
    cmd("bzmpop",           "7.0.0", -5, WRITE | BLOCKING,                   counted(2, Pop),       BLOCK_FIRST).does(&[TAKES]).gives(ARRAY),
    cmd("bzpopmax",         "5.0.0", -3, WRITE | NOSCRIPT | BLOCKING | FAST, keys(1, -2, 1),        BLOCK_LAST).does(&[TAKES]).gives(ARRAY),
    cmd("bzpopmin",         "5.0.0", -3, WRITE | NOSCRIPT | BLOCKING | FAST, keys(1, -2, 1),        BLOCK_LAST).does(&[TAKES]).gives(ARRAY),
    cmd("zadd",             "1.2.0", -4, WRITE | DENYOOM | FAST,             KEY,                   FORWARD).does(&[UPDATES]).gives(NUMBER_OR_SCORE).gives_bare(4, INTEGER),
    cmd("zcard",            "1.2.0",  2, READONLY | FAST,                    KEY,                   FORWARD).does(&[LOOKS]).gives(INTEGER),
    cmd("zcount",           "2.0.0",  4, READONLY | FAST,                    KEY,                   FORWARD).gives(INTEGER),
    cmd("zdiff",            "6.2.0", -3, READONLY,                           counted(1, Aggregate), FORWARD).gives(ARRAY),
    cmd("zdiffstore",       "6.2.0", -4, WRITE | DENYOOM,                    counted_sources(2),    FORWARD).does(&[OVERWRITES, READS]).gives(INTEGER),
    cmd("zincrby",          "1.2.0",  4, WRITE | DENYOOM | FAST,             KEY,                   FORWARD).gives(SCORE),
    cmd("zinter",           "6.2.0", -3, READONLY,                           counted(1, Aggregate), FORWARD).gives(ARRAY),
    cmd("zintercard",       "7.0.0", -3, READONLY,                           counted(1, Aggregate), FORWARD).gives(INTEGER),
    cmd("zinterstore",      "2.0.0", -4, WRITE | DENYOOM,                    counted_sources(2),    FORWARD).does(&[OVERWRITES, READS]).gives(INTEGER),
    cmd("zlexcount",        "2.8.9",  4, READONLY | FAST,                    KEY,                   FORWARD).gives(INTEGER),
    cmd("zmpop",            "7.0.0", -4, WRITE,                              counted(1, Pop),       FORWARD).does(&[TAKES]).gives(ARRAY),
    cmd("zmscore",          "6.2.0", -3, READONLY | FAST,                    KEY,                   FORWARD).gives_one_for_each(2),
    cmd("zpopmax",          "5.0.0", -2, WRITE | FAST,                       KEY,                   FORWARD).does(&[TAKES]).gives(ARRAY),
    cmd("zpopmin",          "5.0.0", -2, WRITE | FAST,                       KEY,                   FORWARD).does(&[TAKES]).gives(ARRAY),
    cmd("zrandmember",      "6.2.0", -2, READONLY,                           KEY,                   FORWARD).gives(ONE_OR_MORE).gives_bare(2, VALUE),
    cmd("zrange",           "1.2.0", -4, READONLY,                           KEY,                   FORWARD).gives(ARRAY),
    cmd("zrangebylex",      "2.8.9", -4, READONLY,                           KEY,                   FORWARD).gives(ARRAY),
    cmd("zrangebyscore",    "1.0.5", -4, READONLY,                           KEY,                   FORWARD).gives(ARRAY),
    cmd("zrangestore",      "6.2.0", -5, WRITE | DENYOOM,                    keys(1, 2, 1),         FORWARD).does(&[OVERWRITES, READS]).gives(INTEGER),
    // WITHSCORE since 7.2: 3 arguments before.
    cmd("zrank",            "2.0.0", -3, READONLY | FAST,                    KEY,                   FORWARD).gives(RANK).gives_bare(3, NUMBER_OR_NIL),
    cmd("zrem",             "1.2.0", -3, WRITE | FAST,                       KEY,                   FORWARD).does(&[DELETES]).gives(INTEGER),
    cmd("zremrangebylex",   "2.8.9",  4, WRITE,                              KEY,                   FORWARD).does(&[DELETES]).gives(INTEGER),
    cmd("zremrangebyrank",  "2.0.0",  4, WRITE,                              KEY,                   FORWARD).does(&[DELETES]).gives(INTEGER),
    cmd("zremrangebyscore", "1.2.0",  4, WRITE,                              KEY,                   FORWARD).does(&[DELETES]).gives(INTEGER),
    cmd("zrevrange",        "1.2.0", -4, READONLY,                           KEY,                   FORWARD).gives(ARRAY),
    cmd("zrevrangebylex",   "2.8.9", -4, READONLY,                           KEY,                   FORWARD).gives(ARRAY),
    cmd("zrevrangebyscore", "2.2.0", -4, READONLY,                           KEY,                   FORWARD).gives(ARRAY),
    cmd("zrevrank",         "2.0.0", -3, READONLY | FAST,                    KEY,                   FORWARD).gives(RANK).gives_bare(3, NUMBER_OR_NIL),
    cmd("zscan",            "2.8.0", -3, READONLY,                           KEY,                   FORWARD).gives_cursor(),
    cmd("zscore",           "1.2.0",  3, READONLY | FAST,                    KEY,                   FORWARD).gives(SCORE),
    cmd("zunion",           "6.2.0", -3, READONLY,                           counted(1, Aggregate), FORWARD).gives(ARRAY),
    cmd("zunionstore",      "2.0.0", -4, WRITE | DENYOOM,                    counted_sources(2),    FORWARD).does(&[OVERWRITES, READS]).gives(INTEGER),
]);
