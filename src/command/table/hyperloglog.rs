//! HyperLogLogs.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::HyperLogLog, [
    cmd("pfadd",      "2.8.9", -2, WRITE | DENYOOM | FAST,  KEY,      FORWARD).does(&[INSERTS]).gives(INTEGER),
    cmd("pfcount",    "2.8.9", -2, READONLY,                ALL_KEYS, FORWARD).does(&[READS_AND_CACHES]).gives(INTEGER),
    cmd("pfdebug",    "2.8.9",  3, WRITE | DENYOOM | ADMIN, KEY_2,    REFUSE_ADMIN).does(&[READS_AND_CACHES]),
    cmd("pfmerge",    "2.8.9", -2, WRITE | DENYOOM,         ALL_KEYS, FORWARD).does(&[READS_AND_INSERTS, READS]).gives(STATUS),
    cmd("pfselftest", "2.8.9",  1, ADMIN,                   NO_KEYS,  REFUSE_ADMIN),
]);
