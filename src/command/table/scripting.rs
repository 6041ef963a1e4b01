//! Scripts and functions.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::Scripting, [
    cmd("eval",       "2.6.0", -3, SCRIPTED,            counted(2, Script), special(Special::Eval)),
    cmd("eval_ro",    "7.0.0", -3, READONLY | SCRIPTED, counted(2, Script), special(Special::Eval)),
    cmd("evalsha",    "2.6.0", -3, SCRIPTED,            counted(2, Script), special(Special::EvalSha)),
    cmd("evalsha_ro", "7.0.0", -3, READONLY | SCRIPTED, counted(2, Script), special(Special::EvalSha)).at_primary(),
    cmd("fcall",      "7.0.0", -3, SCRIPTED,            counted(2, Script), special(Special::Fcall)),
    cmd("fcall_ro",   "7.0.0", -3, READONLY | SCRIPTED, counted(2, Script), special(Special::Fcall)),
    cmd("function",   "7.0.0", -2, 0,                   NO_KEYS,            HELP).with(FUNCTION_COMMANDS),
    cmd("script",     "2.6.0", -2, 0,                   NO_KEYS,            HELP).with(SCRIPT_COMMANDS),
]);

#[rustfmt::skip]
static FUNCTION_COMMANDS: &[Command] = &family(Family::Scripting, [
    cmd("function|delete",  "7.0.0",  3, WRITE | NOSCRIPT,           NO_KEYS, FAN_ALL).gives(STATUS).dangerous(),
    // FUNCTION LOAD goes everywhere, so that every shard can answer.
    cmd("function|dump",    "7.0.0",  2, NOSCRIPT,                   NO_KEYS, ANY_SHARD).gives(VALUE),
    cmd("function|flush",   "7.0.0", -2, WRITE | NOSCRIPT,           NO_KEYS, FAN_ALL).gives(STATUS).dangerous(),
    cmd("function|help",    "7.0.0",  2, ANYTIME,                    NO_KEYS, HELP),
    cmd("function|kill",    "7.0.0",  2, NOSCRIPT | ALLOW_BUSY,      NO_KEYS, special(Special::Kill)).gives(STATUS).dangerous(),
    cmd("function|list",    "7.0.0", -2, NOSCRIPT,                   NO_KEYS, ANY_SHARD).gives(ARRAY),
    cmd("function|load",    "7.0.0", -3, WRITE | DENYOOM | NOSCRIPT, NO_KEYS, FAN_ALL).gives(VALUE),
    cmd("function|restore", "7.0.0", -3, WRITE | DENYOOM | NOSCRIPT, NO_KEYS, FAN_ALL).gives(STATUS).dangerous(),
    // The running script is that of the shard asked; the libraries are those of all.
    cmd("function|stats",   "7.0.0",  2, NOSCRIPT | ALLOW_BUSY,      NO_KEYS, ANY_SHARD).gives(MAP),
]);

#[rustfmt::skip]
static SCRIPT_COMMANDS: &[Command] = &family(Family::Scripting, [
    cmd("script|debug",  "3.2.0",  3, NOSCRIPT,              NO_KEYS, REFUSE_STATE),
    cmd("script|exists", "2.6.0", -3, NOSCRIPT,              NO_KEYS, FAN_AND).gives_one_for_each(2),
    cmd("script|flush",  "2.6.0", -2, NOSCRIPT,              NO_KEYS, special(Special::ScriptFlush)).gives(STATUS).dangerous(),
    cmd("script|help",   "5.0.0",  2, ANYTIME,               NO_KEYS, HELP),
    cmd("script|kill",   "2.6.0",  2, NOSCRIPT | ALLOW_BUSY, NO_KEYS, special(Special::Kill)).gives(STATUS).dangerous(),
    cmd("script|load",   "2.6.0",  3, NOSCRIPT | STALE,      NO_KEYS, special(Special::ScriptLoad)).gives(VALUE),
    // Only the shards on which it ran know a script.
    cmd("script|show",   "8.0.0",  3, NOSCRIPT,              NO_KEYS, FAN_ONE),
]);
