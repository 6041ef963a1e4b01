//! Transactions.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::Transactions, [
    cmd("discard", "2.0.0",  1, FAST | ALLOW_BUSY | SESSION, NO_KEYS,  special(Special::Discard)),
    cmd("exec",    "1.2.0",  1, SKIP_SLOWLOG | SESSION,      NO_KEYS,  special(Special::Exec)),
    cmd("multi",   "1.2.0",  1, FAST | ALLOW_BUSY | SESSION, NO_KEYS,  special(Special::Multi)),
    cmd("unwatch", "2.2.0",  1, FAST | ALLOW_BUSY | SESSION, NO_KEYS,  special(Special::Unwatch)),
    cmd("watch",   "2.2.0", -2, FAST | ALLOW_BUSY | SESSION, ALL_KEYS, special(Special::Watch)).does(&[LOOKS]),
]);
