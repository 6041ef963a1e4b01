//! Commands on keys of any type.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::Generic, [
    // With DB, and MOVE: the same server, so the key alone says where.
    cmd("copy",        "6.2.0", -3, WRITE | DENYOOM,        keys(1, 2, 1), FORWARD),
    cmd("del",         "1.0.0", -2, WRITE,                  ALL_KEYS,      SPLIT_SUM),
    cmd("dump",        "2.6.0",  2, READONLY,               KEY,           FORWARD),
    cmd("exists",      "1.0.0", -2, READONLY | FAST,        ALL_KEYS,      SPLIT_SUM),
    cmd("expire",      "1.0.0", -3, WRITE | FAST,           KEY,           FORWARD),
    cmd("expireat",    "1.2.0", -3, WRITE | FAST,           KEY,           FORWARD),
    cmd("expiretime",  "7.0.0",  2, READONLY | FAST,        KEY,           FORWARD),
    cmd("keys",        "1.0.0",  2, READONLY,               NO_KEYS,       FAN_CONCAT).dangerous().acl(DANGEROUS),
    cmd("migrate",     "2.6.0", -6, WRITE,                  Keys::Migrate, FORWARD).dangerous().acl(DANGEROUS),
    cmd("move",        "1.0.0",  3, WRITE | FAST,           KEY,           FORWARD),
    cmd("object",      "2.2.3", -2, 0,                      NO_KEYS,       HELP).with(OBJECT_COMMANDS),
    cmd("persist",     "2.2.0",  2, WRITE | FAST,           KEY,           FORWARD),
    cmd("pexpire",     "2.6.0", -3, WRITE | FAST,           KEY,           FORWARD),
    cmd("pexpireat",   "2.6.0", -3, WRITE | FAST,           KEY,           FORWARD),
    cmd("pexpiretime", "7.0.0",  2, READONLY | FAST,        KEY,           FORWARD),
    cmd("pttl",        "2.6.0",  2, READONLY | FAST,        KEY,           FORWARD),
    cmd("randomkey",   "1.0.0",  1, READONLY,               NO_KEYS,       special(Special::RandomKey)),
    cmd("rename",      "1.0.0",  3, WRITE,                  keys(1, 2, 1), FORWARD),
    cmd("renamenx",    "1.0.0",  3, WRITE | FAST,           keys(1, 2, 1), FORWARD),
    cmd("restore",     "2.6.0", -4, WRITE | DENYOOM,        KEY,           FORWARD).acl(DANGEROUS),
    cmd("scan",        "2.8.0", -2, READONLY,               NO_KEYS,       special(Special::Scan)),
    // Patterns of BY and GET are looked up by the server among its own keys.
    cmd("sort",        "1.0.0", -2, WRITE | DENYOOM,        Keys::Sort,    special(Special::Sort)).acl_instead(SET | SORTED_SET | LIST | DANGEROUS),
    cmd("sort_ro",     "7.0.0", -2, READONLY | MOVABLEKEYS, KEY,           special(Special::Sort)).acl_instead(SET | SORTED_SET | LIST | DANGEROUS),
    cmd("touch",       "3.2.1", -2, READONLY | FAST,        ALL_KEYS,      SPLIT_SUM),
    cmd("ttl",         "1.0.0",  2, READONLY | FAST,        KEY,           FORWARD),
    cmd("type",        "1.0.0",  2, READONLY | FAST,        KEY,           FORWARD),
    cmd("unlink",      "4.0.0", -2, WRITE | FAST,           ALL_KEYS,      SPLIT_SUM),
    cmd("wait",        "3.0.0",  3, NOSCRIPT,               NO_KEYS,       special(Special::Wait)).acl_instead(CONNECTION),
    cmd("waitaof",     "7.2.0",  4, BLOCKING,               NO_KEYS,       REFUSE_BLOCKING).acl_instead(CONNECTION),
]);

#[rustfmt::skip]
static OBJECT_COMMANDS: &[Command] = &family(Family::Generic, [
    cmd("object|encoding", "2.2.3", 3, READONLY, KEY_2,   FORWARD),
    cmd("object|freq",     "4.0.0", 3, READONLY, KEY_2,   FORWARD),
    cmd("object|help",     "6.2.0", 2, ANYTIME,  NO_KEYS, HELP),
    cmd("object|idletime", "2.2.3", 3, READONLY, KEY_2,   FORWARD),
    cmd("object|refcount", "2.2.3", 3, READONLY, KEY_2,   FORWARD),
]);
