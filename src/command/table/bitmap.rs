//! Bitmaps.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::Bitmap, [
    cmd("bitcount",    "2.6.0", -2, READONLY,        KEY,            FORWARD).gives(INTEGER),
    cmd("bitfield",    "3.2.0", -2, WRITE | DENYOOM, KEY,            FORWARD).does(&[VARIES]).gives(ARRAY),
    cmd("bitfield_ro", "6.0.0", -2, READONLY | FAST, KEY,            FORWARD).gives(ARRAY),
    cmd("bitop",       "2.6.0", -4, WRITE | DENYOOM, keys(2, -1, 1), FORWARD).does(&[OVERWRITES, READS]).gives(INTEGER),
    cmd("bitpos",      "2.8.7", -3, READONLY,        KEY,            FORWARD).gives(INTEGER),
    cmd("getbit",      "2.2.0",  3, READONLY | FAST, KEY,            FORWARD).gives(INTEGER),
    cmd("setbit",      "2.2.0",  4, WRITE | DENYOOM, KEY,            FORWARD).gives(INTEGER),
]);
