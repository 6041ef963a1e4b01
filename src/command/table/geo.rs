//! Positions on the globe.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::Geo, [
    cmd("geoadd",               "3.2.0",  -5, WRITE | DENYOOM, KEY,             FORWARD).does(&[UPDATES]).gives(INTEGER),
    cmd("geodist",              "3.2.0",  -4, READONLY,        KEY,             FORWARD).gives(SCORE),
    cmd("geohash",              "3.2.0",  -2, READONLY,        KEY,             FORWARD).gives_one_for_each(2),
    cmd("geopos",               "3.2.0",  -2, READONLY,        KEY,             FORWARD).gives_one_for_each(2),
    cmd("georadius",            "3.2.0",  -6, WRITE | DENYOOM, Keys::Georadius, FORWARD).does(&[READS, OVERWRITES, OVERWRITES]).gives(NUMBER_OR_ARRAY),
    cmd("georadius_ro",         "3.2.10", -6, READONLY,        KEY,             FORWARD).gives(ARRAY),
    cmd("georadiusbymember",    "3.2.0",  -5, WRITE | DENYOOM, Keys::Georadius, FORWARD).does(&[READS, OVERWRITES, OVERWRITES]).gives(NUMBER_OR_ARRAY),
    cmd("georadiusbymember_ro", "3.2.10", -5, READONLY,        KEY,             FORWARD).gives(ARRAY),
    cmd("geosearch",            "6.2.0",  -7, READONLY,        KEY,             FORWARD).gives(ARRAY),
    cmd("geosearchstore",       "6.2.0",  -8, WRITE | DENYOOM, keys(1, 2, 1),   FORWARD).does(&[OVERWRITES, READS]).gives(INTEGER),
]);
