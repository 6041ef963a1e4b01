//! The connection.
//!
//! All answered here, or refused where they would change the state of a shared connection.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::Connection, [
    cmd("auth",   "1.0.0", -2, FAST | NO_AUTH | ALLOW_BUSY | SESSION, NO_KEYS, local(Local::Auth)),
    cmd("client", "2.4.0", -2, 0,                                     NO_KEYS, HELP).with(CLIENT_COMMANDS),
    cmd("echo",   "1.0.0",  2, FAST | ANYTIME,                        NO_KEYS, local(Local::Echo)),
    cmd("hello",  "6.0.0", -1, FAST | NO_AUTH | ALLOW_BUSY | SESSION, NO_KEYS, local(Local::Hello)),
    cmd("ping",   "1.0.0", -1, FAST,                                  NO_KEYS, local(Local::Ping)),
    cmd("quit",   "1.0.0", -1, FAST | NO_AUTH | ALLOW_BUSY | SESSION, NO_KEYS, local(Local::Quit)),
    cmd("reset",  "6.2.0",  1, FAST | NO_AUTH | ALLOW_BUSY | SESSION, NO_KEYS, local(Local::Reset)),
    cmd("select", "1.0.0",  2, FAST | ANYTIME,                        NO_KEYS, local(Local::Select)),
]);

#[rustfmt::skip]
static CLIENT_COMMANDS: &[Command] = &family(Family::Connection, [
    cmd("client|caching",       "6.0.0",   3, SESSION,         NO_KEYS, local(Local::ClientCaching)),
    // Unknown capabilities are ignored, as Valkey does.
    cmd("client|capa",          "8.0.0",  -3, SESSION,         NO_KEYS, OK),
    cmd("client|getname",       "2.6.9",   2, SESSION,         NO_KEYS, local(Local::ClientGetname)),
    cmd("client|getredir",      "6.0.0",   2, SESSION,         NO_KEYS, local(Local::ClientGetredir)),
    cmd("client|help",          "5.0.0",   2, ANYTIME,         NO_KEYS, HELP),
    cmd("client|id",            "5.0.0",   2, SESSION,         NO_KEYS, local(Local::ClientId)),
    cmd("client|import-source", "8.1.0",   3, SESSION,         NO_KEYS, REFUSE_STATE),
    cmd("client|info",          "6.2.0",   2, SESSION,         NO_KEYS, local(Local::ClientInfo)),
    cmd("client|kill",          "2.4.0",  -3, ADMIN | SESSION, NO_KEYS, local(Local::ClientKill)).dangerous(),
    cmd("client|list",          "2.4.0",  -2, ADMIN | SESSION, NO_KEYS, local(Local::ClientList)),
    cmd("client|no-evict",      "7.0.0",   3, ADMIN | SESSION, NO_KEYS, local(Local::OnOff)),
    cmd("client|no-touch",      "7.2.0",   3, SESSION,         NO_KEYS, local(Local::OnOff)),
    cmd("client|pause",         "2.9.50", -3, ADMIN | SESSION, NO_KEYS, local(Local::ClientPause)).dangerous(),
    cmd("client|reply",         "3.2.0",   3, SESSION,         NO_KEYS, local(Local::ClientReply)),
    cmd("client|setinfo",       "7.2.0",   4, SESSION,         NO_KEYS, local(Local::ClientSetinfo)),
    cmd("client|setname",       "2.6.9",   3, SESSION,         NO_KEYS, local(Local::ClientSetname)),
    cmd("client|tracking",      "6.0.0",  -3, SESSION,         NO_KEYS, local(Local::ClientTracking)),
    cmd("client|trackinginfo",  "6.2.0",   2, SESSION,         NO_KEYS, local(Local::ClientTrackinginfo)),
    cmd("client|unblock",       "5.0.0",  -3, ADMIN | SESSION, NO_KEYS, local(Local::ClientUnblock)).dangerous(),
    cmd("client|unpause",       "6.2.0",   2, ADMIN | SESSION, NO_KEYS, local(Local::ClientUnpause)).dangerous(),
]);
