//! Streams.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::Stream, [
    cmd("xack",       "5.0.0", -4, WRITE | FAST,           KEY,           FORWARD).does(&[UPDATES]).gives(INTEGER),
    cmd("xackdel",    "8.2.0", -6, WRITE | FAST,           KEY,           FORWARD).does(&[DELETES]),
    cmd("xadd",       "5.0.0", -5, WRITE | DENYOOM | FAST, KEY,           FORWARD).does(&[UPDATES]).gives(VALUE),
    cmd("xautoclaim", "6.2.0", -6, WRITE | FAST,           KEY,           FORWARD).does(&[DELETES]).gives(ARRAY),
    cmd("xcfgset",    "8.6.0", -2, WRITE | FAST,           KEY,           FORWARD).does(&[UPDATES]),
    cmd("xclaim",     "5.0.0", -6, WRITE | FAST,           KEY,           FORWARD).does(&[UPDATES]).gives(ARRAY),
    cmd("xdel",       "5.0.0", -3, WRITE | FAST,           KEY,           FORWARD).does(&[DELETES]).gives(INTEGER),
    cmd("xdelex",     "8.2.0", -5, WRITE | FAST,           KEY,           FORWARD).does(&[DELETES]),
    cmd("xgroup",     "5.0.0", -2, 0,                      NO_KEYS,       HELP).with(XGROUP_COMMANDS),
    cmd("xinfo",      "5.0.0", -2, 0,                      NO_KEYS,       HELP).with(XINFO_COMMANDS),
    cmd("xlen",       "5.0.0",  2, READONLY | FAST,        KEY,           FORWARD).does(&[LOOKS]).gives(INTEGER),
    cmd("xnack",      "8.8.0", -7, WRITE | FAST,           KEY,           FORWARD).does(&[UPDATES]),
    cmd("xpending",   "5.0.0", -3, READONLY,               KEY,           FORWARD).gives(ARRAY),
    cmd("xrange",     "5.0.0", -4, READONLY,               KEY,           FORWARD).gives(ARRAY),
    cmd("xread",      "5.0.0", -4, READONLY | BLOCKING,    Keys::Streams, BLOCK_OPTION).gives(MAP),
    cmd("xreadgroup", "5.0.0", -7, WRITE | BLOCKING,       Keys::Streams, BLOCK_OPTION).does(&[READS]).gives(MAP),
    cmd("xrevrange",  "5.0.0", -4, READONLY,               KEY,           FORWARD).gives(ARRAY),
    cmd("xsetid",     "5.0.0", -3, WRITE | DENYOOM | FAST, KEY,           FORWARD).does(&[UPDATES]).gives(STATUS),
    cmd("xtrim",      "5.0.0", -4, WRITE,                  KEY,           FORWARD).does(&[DELETES]).gives(INTEGER),
]);

#[rustfmt::skip]
static XGROUP_COMMANDS: &[Command] = &family(Family::Stream, [
    cmd("xgroup|create",         "5.0.0", -5, WRITE | DENYOOM, KEY_2,   FORWARD).does(&[INSERTS]).gives(STATUS),
    cmd("xgroup|createconsumer", "6.2.0",  5, WRITE | DENYOOM, KEY_2,   FORWARD).does(&[INSERTS]).gives(INTEGER),
    cmd("xgroup|delconsumer",    "5.0.0",  5, WRITE,           KEY_2,   FORWARD).does(&[DELETES]).gives(INTEGER),
    cmd("xgroup|destroy",        "5.0.0",  4, WRITE,           KEY_2,   FORWARD).does(&[DELETES]).gives(INTEGER),
    cmd("xgroup|help",           "5.0.0",  2, ANYTIME,         NO_KEYS, HELP),
    cmd("xgroup|setid",          "5.0.0", -5, WRITE,           KEY_2,   FORWARD).does(&[UPDATES]).gives(STATUS),
]);

#[rustfmt::skip]
static XINFO_COMMANDS: &[Command] = &family(Family::Stream, [
    cmd("xinfo|consumers", "5.0.0",  4, READONLY, KEY_2,   FORWARD).gives(ARRAY),
    cmd("xinfo|groups",    "5.0.0",  3, READONLY, KEY_2,   FORWARD).gives(ARRAY),
    cmd("xinfo|help",      "5.0.0",  2, ANYTIME,  NO_KEYS, HELP),
    cmd("xinfo|stream",    "5.0.0", -3, READONLY, KEY_2,   FORWARD).gives(MAP),
]);
