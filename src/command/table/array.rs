//! Arrays.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::Array, [
    cmd("arcount",     "8.8.0",  2, READONLY | FAST,        KEY, FORWARD),
    cmd("ardel",       "8.8.0", -3, WRITE | FAST,           KEY, FORWARD),
    cmd("ardelrange",  "8.8.0", -4, WRITE,                  KEY, FORWARD),
    cmd("arget",       "8.8.0",  3, READONLY | FAST,        KEY, FORWARD),
    cmd("argetrange",  "8.8.0",  4, READONLY,               KEY, FORWARD),
    cmd("argrep",      "8.8.0", -6, READONLY,               KEY, FORWARD),
    cmd("arinfo",      "8.8.0", -2, READONLY,               KEY, FORWARD),
    cmd("arinsert",    "8.8.0", -3, WRITE | DENYOOM | FAST, KEY, FORWARD),
    cmd("arlastitems", "8.8.0", -3, READONLY,               KEY, FORWARD),
    cmd("arlen",       "8.8.0",  2, READONLY | FAST,        KEY, FORWARD),
    cmd("armget",      "8.8.0", -3, READONLY | FAST,        KEY, FORWARD),
    cmd("armset",      "8.8.0", -4, WRITE | DENYOOM | FAST, KEY, FORWARD),
    cmd("arnext",      "8.8.0",  2, READONLY | FAST,        KEY, FORWARD),
    cmd("arop",        "8.8.0", -5, READONLY,               KEY, FORWARD),
    cmd("arring",      "8.8.0", -4, WRITE | DENYOOM,        KEY, FORWARD),
    cmd("arscan",      "8.8.0", -4, READONLY,               KEY, FORWARD),
    cmd("arseek",      "8.8.0",  3, WRITE | FAST,           KEY, FORWARD),
    cmd("arset",       "8.8.0", -4, WRITE | DENYOOM | FAST, KEY, FORWARD),
]);
