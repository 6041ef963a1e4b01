//! Commands on keys of any type.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::Generic, [
    // With DB, and MOVE: the same server, so the key alone says where.
    cmd("copy",        "6.2.0", -3, WRITE | DENYOOM,        keys(1, 2, 1), FORWARD).does(&[READS, OVERWRITES]).gives(INTEGER),
    cmd("del",         "1.0.0", -2, WRITE,                  ALL_KEYS,      SPLIT_SUM).does(&[REMOVES]).gives(INTEGER),
    cmd("dump",        "2.6.0",  2, READONLY,               KEY,           FORWARD).gives(VALUE),
    cmd("exists",      "1.0.0", -2, READONLY | FAST,        ALL_KEYS,      SPLIT_SUM).does(&[LOOKS]).gives(INTEGER),
    cmd("expire",      "1.0.0", -3, WRITE | FAST,           KEY,           FORWARD).does(&[UPDATES]).gives(INTEGER),
    cmd("expireat",    "1.2.0", -3, WRITE | FAST,           KEY,           FORWARD).does(&[UPDATES]).gives(INTEGER),
    cmd("expiretime",  "7.0.0",  2, READONLY | FAST,        KEY,           FORWARD).gives(INTEGER),
    cmd("keys",        "1.0.0",  2, READONLY,               NO_KEYS,       FAN_CONCAT).gives(ARRAY).dangerous().acl(DANGEROUS),
    cmd("migrate",     "2.6.0", -6, WRITE,                  Keys::Migrate, FORWARD).does(&[TAKES, TAKES_SOME]).gives(STATUS).dangerous().acl(DANGEROUS),
    cmd("move",        "1.0.0",  3, WRITE | FAST,           KEY,           FORWARD).gives(INTEGER),
    cmd("object",      "2.2.3", -2, 0,                      NO_KEYS,       HELP).with(OBJECT_COMMANDS),
    cmd("persist",     "2.2.0",  2, WRITE | FAST,           KEY,           FORWARD).does(&[UPDATES]).gives(INTEGER),
    cmd("pexpire",     "2.6.0", -3, WRITE | FAST,           KEY,           FORWARD).does(&[UPDATES]).gives(INTEGER),
    cmd("pexpireat",   "2.6.0", -3, WRITE | FAST,           KEY,           FORWARD).does(&[UPDATES]).gives(INTEGER),
    cmd("pexpiretime", "7.0.0",  2, READONLY | FAST,        KEY,           FORWARD).gives(INTEGER),
    cmd("pttl",        "2.6.0",  2, READONLY | FAST,        KEY,           FORWARD).gives(INTEGER),
    cmd("randomkey",   "1.0.0",  1, READONLY,               NO_KEYS,       special(Special::RandomKey)).gives(VALUE),
    cmd("rename",      "1.0.0",  3, WRITE,                  keys(1, 2, 1), FORWARD).does(&[TAKES, OVERWRITES]).gives(STATUS),
    cmd("renamenx",    "1.0.0",  3, WRITE | FAST,           keys(1, 2, 1), FORWARD).does(&[TAKES, CREATES]).gives(INTEGER),
    cmd("restore",     "2.6.0", -4, WRITE | DENYOOM,        KEY,           FORWARD).does(&[OVERWRITES]).gives(STATUS).acl(DANGEROUS),
    cmd("scan",        "2.8.0", -2, READONLY,               NO_KEYS,       special(Special::Scan)).gives_cursor(),
    // Patterns of BY and GET are looked up by the server among its own keys.
    cmd("sort",        "1.0.0", -2, WRITE | DENYOOM,        Keys::Sort,    special(Special::Sort)).does(&[READS, OVERWRITES]).gives(NUMBER_OR_ARRAY).gives_bare(2, ARRAY).acl_instead(SET | SORTED_SET | LIST | DANGEROUS),
    cmd("sort_ro",     "7.0.0", -2, READONLY | MOVABLEKEYS, KEY,           special(Special::Sort)).gives(ARRAY).acl_instead(SET | SORTED_SET | LIST | DANGEROUS),
    cmd("touch",       "3.2.1", -2, READONLY | FAST,        ALL_KEYS,      SPLIT_SUM).does(&[LOOKS]).gives(INTEGER).at_primary(),
    cmd("ttl",         "1.0.0",  2, READONLY | FAST,        KEY,           FORWARD).gives(INTEGER),
    cmd("type",        "1.0.0",  2, READONLY | FAST,        KEY,           FORWARD).does(&[LOOKS]).gives(STATUS),
    cmd("unlink",      "4.0.0", -2, WRITE | FAST,           ALL_KEYS,      SPLIT_SUM).does(&[REMOVES]).gives(INTEGER),
    cmd("wait",        "3.0.0",  3, NOSCRIPT,               NO_KEYS,       special(Special::Wait)).gives(INTEGER).acl_instead(CONNECTION),
    cmd("waitaof",     "7.2.0",  4, BLOCKING,               NO_KEYS,       special(Special::Wait)).gives(ARRAY).acl_instead(CONNECTION),
]);

#[rustfmt::skip]
static OBJECT_COMMANDS: &[Command] = &family(Family::Generic, [
    cmd("object|encoding", "2.2.3", 3, READONLY, KEY_2,   FORWARD).does(&[LOOKS]).gives(VALUE).at_primary(),
    cmd("object|freq",     "4.0.0", 3, READONLY, KEY_2,   FORWARD).does(&[LOOKS]).gives(NUMBER_OR_NIL).at_primary(),
    cmd("object|help",     "6.2.0", 2, ANYTIME,  NO_KEYS, HELP),
    cmd("object|idletime", "2.2.3", 3, READONLY, KEY_2,   FORWARD).does(&[LOOKS]).gives(NUMBER_OR_NIL).at_primary(),
    cmd("object|refcount", "2.2.3", 3, READONLY, KEY_2,   FORWARD).does(&[LOOKS]).gives(NUMBER_OR_NIL).at_primary(),
]);
