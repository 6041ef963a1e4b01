//! JSON documents.
//!
//! Arities are the smallest that the documentation allows; the module checks the rest.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::Module, [
    cmd("json.arrappend", "1.0.0", -3, WRITE | DENYOOM, KEY,            FORWARD).does(&[INSERTS]),
    cmd("json.arrindex",  "1.0.0", -4, READONLY,        KEY,            FORWARD),
    cmd("json.arrinsert", "1.0.0", -5, WRITE | DENYOOM, KEY,            FORWARD).does(&[UPDATES]),
    cmd("json.arrlen",    "1.0.0", -2, READONLY,        KEY,            FORWARD).does(&[LOOKS]),
    cmd("json.arrpop",    "1.0.0", -2, WRITE,           KEY,            FORWARD).does(&[TAKES]),
    cmd("json.arrtrim",   "1.0.0",  5, WRITE,           KEY,            FORWARD).does(&[DELETES]),
    cmd("json.clear",     "2.0.0", -2, WRITE,           KEY,            FORWARD).does(&[UPDATES]),
    cmd("json.debug",     "1.0.0", -2, READONLY,        KEY_2,          REFUSE_ADMIN).does(&[LOOKS]),
    cmd("json.del",       "1.0.0", -2, WRITE,           KEY,            FORWARD).does(&[DELETES]),
    cmd("json.forget",    "1.0.0", -2, WRITE,           KEY,            FORWARD).does(&[DELETES]),
    cmd("json.get",       "1.0.0", -2, READONLY,        KEY,            FORWARD),
    cmd("json.merge",     "2.6.0",  4, WRITE | DENYOOM, KEY,            FORWARD).does(&[UPDATES]),
    // The last argument is the path.
    cmd("json.mget",      "1.0.0", -3, READONLY,        keys(1, -2, 1), FORWARD),
    cmd("json.mset",      "2.6.0", -4, WRITE | DENYOOM, keys(1, -1, 3), FORWARD).does(&[OVERWRITES]),
    cmd("json.numincrby", "1.0.0",  4, WRITE,           KEY,            FORWARD),
    cmd("json.nummultby", "1.0.0",  4, WRITE,           KEY,            FORWARD),
    cmd("json.numpowby",  "1.0.0",  4, WRITE,           KEY,            FORWARD),
    cmd("json.objkeys",   "1.0.0", -2, READONLY,        KEY,            FORWARD),
    cmd("json.objlen",    "1.0.0", -2, READONLY,        KEY,            FORWARD).does(&[LOOKS]),
    cmd("json.resp",      "1.0.0", -2, READONLY,        KEY,            FORWARD),
    cmd("json.set",       "1.0.0", -4, WRITE | DENYOOM, KEY,            FORWARD).does(&[UPDATES]),
    cmd("json.strappend", "1.0.0", -3, WRITE | DENYOOM, KEY,            FORWARD).does(&[UPDATES]),
    cmd("json.strlen",    "1.0.0", -2, READONLY,        KEY,            FORWARD).does(&[LOOKS]),
    cmd("json.toggle",    "2.0.0", -2, WRITE | DENYOOM, KEY,            FORWARD),
    cmd("json.type",      "1.0.0", -2, READONLY,        KEY,            FORWARD).does(&[LOOKS]),
]);
