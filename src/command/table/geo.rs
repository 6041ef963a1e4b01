//! Positions on the globe.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::Geo, [
    cmd("geoadd",               "3.2.0",  -5, WRITE | DENYOOM, KEY,             FORWARD),
    cmd("geodist",              "3.2.0",  -4, READONLY,        KEY,             FORWARD),
    cmd("geohash",              "3.2.0",  -2, READONLY,        KEY,             FORWARD),
    cmd("geopos",               "3.2.0",  -2, READONLY,        KEY,             FORWARD),
    cmd("georadius",            "3.2.0",  -6, WRITE | DENYOOM, Keys::Georadius, FORWARD),
    cmd("georadius_ro",         "3.2.10", -6, READONLY,        KEY,             FORWARD),
    cmd("georadiusbymember",    "3.2.0",  -5, WRITE | DENYOOM, Keys::Georadius, FORWARD),
    cmd("georadiusbymember_ro", "3.2.10", -5, READONLY,        KEY,             FORWARD),
    cmd("geosearch",            "6.2.0",  -7, READONLY,        KEY,             FORWARD),
    cmd("geosearchstore",       "6.2.0",  -8, WRITE | DENYOOM, keys(1, 2, 1),   FORWARD),
]);
