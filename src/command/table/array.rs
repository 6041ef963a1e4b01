//! Arrays.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::Array, [
    cmd("arcount",     "8.8.0",  2, READONLY | FAST,        KEY, FORWARD).does(&[LOOKS]),
    cmd("ardel",       "8.8.0", -3, WRITE | FAST,           KEY, FORWARD).does(&[DELETES]),
    cmd("ardelrange",  "8.8.0", -4, WRITE,                  KEY, FORWARD).does(&[DELETES]),
    cmd("arget",       "8.8.0",  3, READONLY | FAST,        KEY, FORWARD),
    cmd("argetrange",  "8.8.0",  4, READONLY,               KEY, FORWARD),
    cmd("argrep",      "8.8.0", -6, READONLY,               KEY, FORWARD),
    cmd("arinfo",      "8.8.0", -2, READONLY,               KEY, FORWARD).does(&[LOOKS]),
    cmd("arinsert",    "8.8.0", -3, WRITE | DENYOOM | FAST, KEY, FORWARD).does(&[UPDATES]),
    cmd("arlastitems", "8.8.0", -3, READONLY,               KEY, FORWARD),
    cmd("arlen",       "8.8.0",  2, READONLY | FAST,        KEY, FORWARD).does(&[LOOKS]),
    cmd("armget",      "8.8.0", -3, READONLY | FAST,        KEY, FORWARD),
    cmd("armset",      "8.8.0", -4, WRITE | DENYOOM | FAST, KEY, FORWARD).does(&[UPDATES]),
    cmd("arnext",      "8.8.0",  2, READONLY | FAST,        KEY, FORWARD).does(&[LOOKS]),
    cmd("arop",        "8.8.0", -5, READONLY,               KEY, FORWARD),
    cmd("arring",      "8.8.0", -4, WRITE | DENYOOM,        KEY, FORWARD).does(&[UPDATES]),
    cmd("arscan",      "8.8.0", -4, READONLY,               KEY, FORWARD),
    cmd("arseek",      "8.8.0",  3, WRITE | FAST,           KEY, FORWARD).does(&[UPDATES]),
    cmd("arset",       "8.8.0", -4, WRITE | DENYOOM | FAST, KEY, FORWARD).does(&[UPDATES]),
]);
