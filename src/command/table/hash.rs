//! Hashes.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::Hash, [
    cmd("hdel",         "2.0.0", -3, WRITE | FAST,           KEY, FORWARD).does(&[DELETES]).gives(INTEGER),
    cmd("hexists",      "2.0.0",  3, READONLY | FAST,        KEY, FORWARD).does(&[LOOKS]).gives(INTEGER),
    cmd("hexpire",      "7.4.0", -6, WRITE | FAST,           KEY, FORWARD).does(&[UPDATES]),
    cmd("hexpireat",    "7.4.0", -6, WRITE | FAST,           KEY, FORWARD).does(&[UPDATES]),
    cmd("hexpiretime",  "7.4.0", -5, READONLY | FAST,        KEY, FORWARD),
    cmd("hget",         "2.0.0",  3, READONLY | FAST,        KEY, FORWARD).gives(VALUE),
    cmd("hgetall",      "2.0.0",  2, READONLY,               KEY, FORWARD).gives(MAP),
    cmd("hgetdel",      "8.0.0", -5, WRITE | FAST,           KEY, FORWARD).does(&[TAKES]),
    cmd("hgetex",       "8.0.0", -5, WRITE | FAST,           KEY, FORWARD),
    cmd("himport",      "8.10.0", -2, 0,                     NO_KEYS, HELP).with(HIMPORT_COMMANDS),
    cmd("hincrby",      "2.0.0",  4, WRITE | DENYOOM | FAST, KEY, FORWARD).gives(INTEGER),
    cmd("hincrbyfloat", "2.6.0",  4, WRITE | DENYOOM | FAST, KEY, FORWARD).gives(VALUE),
    cmd("hkeys",        "2.0.0",  2, READONLY,               KEY, FORWARD).gives(ARRAY),
    cmd("hlen",         "2.0.0",  2, READONLY | FAST,        KEY, FORWARD).does(&[LOOKS]).gives(INTEGER),
    cmd("hmget",        "2.0.0", -3, READONLY | FAST,        KEY, FORWARD).gives_one_for_each(2),
    cmd("hmset",        "2.0.0", -4, WRITE | DENYOOM | FAST, KEY, FORWARD).does(&[UPDATES]).gives(STATUS),
    cmd("hpersist",     "7.4.0", -5, WRITE | FAST,           KEY, FORWARD).does(&[UPDATES]),
    cmd("hpexpire",     "7.4.0", -6, WRITE | FAST,           KEY, FORWARD).does(&[UPDATES]),
    cmd("hpexpireat",   "7.4.0", -6, WRITE | FAST,           KEY, FORWARD).does(&[UPDATES]),
    cmd("hpexpiretime", "7.4.0", -5, READONLY | FAST,        KEY, FORWARD),
    cmd("hpttl",        "7.4.0", -5, READONLY | FAST,        KEY, FORWARD),
    cmd("hrandfield",   "6.2.0", -2, READONLY,               KEY, FORWARD).gives(ONE_OR_MORE).gives_bare(2, VALUE),
    cmd("hscan",        "2.8.0", -3, READONLY,               KEY, FORWARD).gives_cursor(),
    cmd("hset",         "2.0.0", -4, WRITE | DENYOOM | FAST, KEY, FORWARD).does(&[UPDATES]).gives(INTEGER),
    cmd("hsetex",       "8.0.0", -6, WRITE | DENYOOM | FAST, KEY, FORWARD).does(&[UPDATES]),
    cmd("hsetnx",       "2.0.0",  4, WRITE | DENYOOM | FAST, KEY, FORWARD).does(&[INSERTS]).gives(INTEGER),
    cmd("hstrlen",      "3.2.0",  3, READONLY | FAST,        KEY, FORWARD).does(&[LOOKS]).gives(INTEGER),
    cmd("httl",         "7.4.0", -5, READONLY | FAST,        KEY, FORWARD),
    cmd("hvals",        "2.0.0",  2, READONLY,               KEY, FORWARD).gives(ARRAY),
]);

/// Names of fields that a connection keeps: they would be there for whoever shares the lane.
#[rustfmt::skip]
static HIMPORT_COMMANDS: &[Command] = &family(Family::Hash, [
    cmd("himport|discard",    "8.10.0",  3, 0,               NO_KEYS, REFUSE_STATE),
    cmd("himport|discardall", "8.10.0",  2, 0,               NO_KEYS, REFUSE_STATE),
    cmd("himport|prepare",    "8.10.0", -4, 0,               NO_KEYS, REFUSE_STATE),
    cmd("himport|set",        "8.10.0", -5, WRITE | DENYOOM, KEY_2,   REFUSE_STATE).does(&[UPDATES]),
]);
