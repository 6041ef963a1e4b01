//! Vector sets.
//!
//! Arities are the smallest that the documentation allows; the module checks the rest.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::Module, [
    cmd("vadd",        "8.0.0", -5, WRITE | DENYOOM, KEY, FORWARD).does(&[INSERTS]),
    cmd("vcard",       "8.0.0",  2, READONLY | FAST, KEY, FORWARD).does(&[LOOKS]),
    cmd("vdim",        "8.0.0",  2, READONLY | FAST, KEY, FORWARD).does(&[LOOKS]),
    cmd("vemb",        "8.0.0", -3, READONLY | FAST, KEY, FORWARD),
    cmd("vgetattr",    "8.0.0",  3, READONLY | FAST, KEY, FORWARD),
    cmd("vinfo",       "8.0.0",  2, READONLY | FAST, KEY, FORWARD).does(&[LOOKS]),
    cmd("vismember",   "8.0.0",  3, READONLY,        KEY, FORWARD).does(&[LOOKS]),
    cmd("vlinks",      "8.0.0", -3, READONLY | FAST, KEY, FORWARD),
    cmd("vrandmember", "8.0.0", -2, READONLY,        KEY, FORWARD),
    cmd("vrange",      "8.4.0", -4, READONLY | FAST, KEY, FORWARD),
    cmd("vrem",        "8.0.0",  3, WRITE,           KEY, FORWARD).does(&[DELETES]),
    cmd("vsetattr",    "8.0.0",  4, WRITE | FAST,    KEY, FORWARD).does(&[UPDATES]),
    cmd("vsim",        "8.0.0", -4, READONLY,        KEY, FORWARD),
]);
