//! The server.
//!
//! What is about one redis-server is refused: an operator asks that server itself. What changes
//! all of them alike is fanned out, for those who may run dangerous commands.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::Server, [
    cmd("acl",            "6.0.0",  -2, 0,                                              NO_KEYS, HELP).with(ACL_COMMANDS),
    cmd("backup",         "8.10.0", -2, 0,                                              NO_KEYS, HELP).with(BACKUP_COMMANDS),
    cmd("bgrewriteaof",   "1.0.0",   1, ADMIN | NOSCRIPT | NO_ASYNC_LOADING,            NO_KEYS, REFUSE_ADMIN),
    cmd("bgsave",         "1.0.0",  -1, ADMIN | NOSCRIPT | NO_ASYNC_LOADING,            NO_KEYS, REFUSE_ADMIN),
    cmd("command",        "2.8.13", -1, ANYTIME,                                        NO_KEYS, local(Local::Command)).with(COMMAND_COMMANDS).acl(CONNECTION),
    cmd("commandlog",     "8.1.0",  -2, 0,                                              NO_KEYS, HELP).with(COMMANDLOG_COMMANDS),
    cmd("config",         "2.0.0",  -2, 0,                                              NO_KEYS, HELP).with(CONFIG_COMMANDS),
    cmd("dbsize",         "1.0.0",   1, READONLY | FAST,                                NO_KEYS, FAN_SUM).gives(INTEGER).acl(KEYSPACE),
    cmd("debug",          "1.0.0",  -2, ADMIN | SESSION,                                NO_KEYS, REFUSE_ADMIN).with(DEBUG_COMMANDS),
    cmd("failover",       "6.2.0",  -1, ADMIN | NOSCRIPT | STALE,                       NO_KEYS, REFUSE_ADMIN),
    cmd("flushall",       "1.0.0",  -1, WRITE,                                          NO_KEYS, FAN_ALL).gives(STATUS).dangerous().acl(KEYSPACE | DANGEROUS),
    cmd("flushdb",        "1.0.0",  -1, WRITE,                                          NO_KEYS, FAN_ALL).gives(STATUS).dangerous().acl(KEYSPACE | DANGEROUS),
    cmd("hotkeys",        "8.6.0",  -2, 0,                                              NO_KEYS, HELP).with(HOTKEYS_COMMANDS),
    cmd("info",           "1.0.0",  -1, ANYTIME,                                        NO_KEYS, local(Local::Info)).gives(TEXT).acl(DANGEROUS),
    // The shard whose last save is the longest ago.
    cmd("lastsave",       "1.0.0",   1, FAST | ANYTIME,                                 NO_KEYS, FAN_MIN).gives(INTEGER).acl(ADMIN_RIGHTS | DANGEROUS),
    cmd("latency",        "2.8.13", -2, 0,                                              NO_KEYS, HELP).with(LATENCY_COMMANDS),
    cmd("lolwut",         "5.0.0",  -1, READONLY | FAST,                                NO_KEYS, local(Local::Lolwut)),
    cmd("memory",         "4.0.0",  -2, 0,                                              NO_KEYS, HELP).with(MEMORY_COMMANDS),
    cmd("module",         "4.0.0",  -2, 0,                                              NO_KEYS, HELP).with(MODULE_COMMANDS),
    cmd("monitor",        "1.0.0",   1, ADMIN | SESSION,                                NO_KEYS, local(Local::Monitor)).dangerous(),
    cmd("psync",          "2.8.0",  -3, ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI, NO_KEYS, REFUSE_STATE),
    cmd("replconf",       "3.0.0",  -1, ADMIN | ALLOW_BUSY | SESSION,                   NO_KEYS, REFUSE_STATE),
    cmd("replicaof",      "5.0.0",   3, ADMIN | NOSCRIPT | STALE | NO_ASYNC_LOADING,    NO_KEYS, REFUSE_ADMIN),
    cmd("restore-asking", "3.0.0",  -4, WRITE | DENYOOM | ASKING,                       KEY,     REFUSE_ADMIN).does(&[OVERWRITES]).acl(KEYSPACE | DANGEROUS),
    cmd("role",           "2.8.12",  1, FAST | SESSION,                                 NO_KEYS, local(Local::Role)).acl(ADMIN_RIGHTS | DANGEROUS),
    cmd("save",           "1.0.0",   1, ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI, NO_KEYS, REFUSE_ADMIN),
    cmd("shutdown",       "1.0.0",  -1, ADMIN | NO_MULTI | ALLOW_BUSY | SESSION,        NO_KEYS, REFUSE_ADMIN),
    cmd("slaveof",        "1.0.0",   3, ADMIN | NOSCRIPT | STALE | NO_ASYNC_LOADING,    NO_KEYS, REFUSE_ADMIN),
    cmd("slowlog",        "2.2.12", -2, 0,                                              NO_KEYS, HELP).with(SLOWLOG_COMMANDS),
    // Could not be done on all shards at one moment.
    cmd("swapdb",         "4.0.0",   3, WRITE | FAST,                                   NO_KEYS, REFUSE_ADMIN).acl(KEYSPACE | DANGEROUS),
    cmd("sync",           "1.0.0",   1, ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI, NO_KEYS, REFUSE_STATE),
    cmd("time",           "2.6.0",   1, FAST | ANYTIME,                                 NO_KEYS, local(Local::Time)),
    cmd("trimslots",      "8.4.0",  -5, WRITE,                                          NO_KEYS, REFUSE_ADMIN).acl(KEYSPACE | DANGEROUS),
]);

#[rustfmt::skip]
static BACKUP_COMMANDS: &[Command] = &family(Family::Server, [
    cmd("backup|abort",   "8.10.0", 2, ADMIN | NOSCRIPT, NO_KEYS, REFUSE_ADMIN),
    cmd("backup|cleanup", "8.10.0", 2, ADMIN | NOSCRIPT, NO_KEYS, REFUSE_ADMIN),
    cmd("backup|help",    "8.10.0", 2, ANYTIME,          NO_KEYS, HELP),
    cmd("backup|list",    "8.10.0", 2, ADMIN | NOSCRIPT, NO_KEYS, REFUSE_ADMIN),
    cmd("backup|seal",    "8.10.0", 2, ADMIN | NOSCRIPT, NO_KEYS, REFUSE_ADMIN),
    cmd("backup|start",   "8.10.0", 2, ADMIN | NOSCRIPT, NO_KEYS, REFUSE_ADMIN),
    cmd("backup|status",  "8.10.0", 2, ADMIN | NOSCRIPT, NO_KEYS, REFUSE_ADMIN),
]);

#[rustfmt::skip]
static ACL_COMMANDS: &[Command] = &family(Family::Server, [
    cmd("acl|cat",     "6.0.0", -2, SESSION,         NO_KEYS, REFUSE_ADMIN),
    cmd("acl|deluser", "6.0.0", -3, ADMIN | SESSION, NO_KEYS, REFUSE_ADMIN),
    cmd("acl|dryrun",  "7.0.0", -4, ADMIN | SESSION, NO_KEYS, REFUSE_ADMIN),
    cmd("acl|genpass", "6.0.0", -2, SESSION,         NO_KEYS, REFUSE_ADMIN),
    cmd("acl|getuser", "6.0.0",  3, ADMIN | SESSION, NO_KEYS, REFUSE_ADMIN),
    cmd("acl|help",    "6.0.0",  2, ANYTIME,         NO_KEYS, HELP),
    cmd("acl|list",    "6.0.0",  2, ADMIN | SESSION, NO_KEYS, REFUSE_ADMIN),
    cmd("acl|load",    "6.0.0",  2, ADMIN | SESSION, NO_KEYS, REFUSE_ADMIN),
    cmd("acl|log",     "6.0.0", -2, ADMIN | SESSION, NO_KEYS, REFUSE_ADMIN),
    cmd("acl|save",    "6.0.0",  2, ADMIN | SESSION, NO_KEYS, REFUSE_ADMIN),
    cmd("acl|setuser", "6.0.0", -3, ADMIN | SESSION, NO_KEYS, REFUSE_ADMIN),
    cmd("acl|users",   "6.0.0",  2, ADMIN | SESSION, NO_KEYS, REFUSE_ADMIN),
    cmd("acl|whoami",  "6.0.0",  2, SESSION,         NO_KEYS, REFUSE_ADMIN),
]);

#[rustfmt::skip]
static COMMAND_COMMANDS: &[Command] = &family(Family::Server, [
    cmd("command|count",           "2.8.13",  2, ANYTIME, NO_KEYS, local(Local::CommandCount)).acl(CONNECTION),
    cmd("command|docs",            "7.0.0",  -2, ANYTIME, NO_KEYS, local(Local::CommandDocs)).acl(CONNECTION),
    // A command without arguments is allowed since 7.2.
    cmd("command|getkeys",         "2.8.13", -3, ANYTIME, NO_KEYS, local(Local::CommandGetkeys)).acl(CONNECTION),
    cmd("command|getkeysandflags", "7.0.0",  -3, ANYTIME, NO_KEYS, local(Local::CommandGetkeysandflags)).acl(CONNECTION),
    cmd("command|help",            "5.0.0",   2, ANYTIME, NO_KEYS, HELP).acl(CONNECTION),
    cmd("command|info",            "2.8.13", -2, ANYTIME, NO_KEYS, local(Local::CommandInfo)).acl(CONNECTION),
    cmd("command|list",            "7.0.0",  -2, ANYTIME, NO_KEYS, local(Local::CommandList)).acl(CONNECTION),
]);

#[rustfmt::skip]
static COMMANDLOG_COMMANDS: &[Command] = &family(Family::Server, [
    cmd("commandlog|get",   "8.1.0", 4, ADMIN | ANYTIME, NO_KEYS, REFUSE_ADMIN),
    cmd("commandlog|help",  "8.1.0", 2, ANYTIME,         NO_KEYS, HELP),
    cmd("commandlog|len",   "8.1.0", 3, ADMIN | ANYTIME, NO_KEYS, REFUSE_ADMIN),
    cmd("commandlog|reset", "8.1.0", 3, ADMIN | ANYTIME, NO_KEYS, FAN_ALL).dangerous(),
]);

#[rustfmt::skip]
static CONFIG_COMMANDS: &[Command] = &family(Family::Server, [
    cmd("config|get",       "2.0.0", -3, ADMIN | SESSION, NO_KEYS, special(Special::ConfigGet)).gives(MAP),
    cmd("config|help",      "5.0.0",  2, ANYTIME,         NO_KEYS, HELP),
    cmd("config|resetstat", "2.0.0",  2, ADMIN | SESSION, NO_KEYS, FAN_ALL).gives(STATUS).dangerous(),
    cmd("config|rewrite",   "2.8.0",  2, ADMIN | SESSION, NO_KEYS, FAN_ALL).gives(STATUS).dangerous(),
    cmd("config|set",       "2.0.0", -4, ADMIN | SESSION, NO_KEYS, special(Special::ConfigSet)).gives(STATUS).dangerous(),
]);

#[rustfmt::skip]
static DEBUG_COMMANDS: &[Command] = &family(Family::Server, [
    // The only one that is about a key; every other is refused as DEBUG is.
    cmd("debug|object", "1.0.0", -3, ADMIN | SESSION, KEY_2, FORWARD).does(&[LOOKS]).gives(STATUS).dangerous(),
]);

#[rustfmt::skip]
static HOTKEYS_COMMANDS: &[Command] = &family(Family::Server, [
    cmd("hotkeys|get",   "8.6.0",  2, ADMIN | NOSCRIPT, NO_KEYS, REFUSE_ADMIN),
    cmd("hotkeys|help",  "8.6.0",  2, ANYTIME,          NO_KEYS, HELP),
    cmd("hotkeys|reset", "8.6.0",  2, ADMIN | NOSCRIPT, NO_KEYS, REFUSE_ADMIN),
    cmd("hotkeys|start", "8.6.0", -2, ADMIN | NOSCRIPT, NO_KEYS, REFUSE_ADMIN),
    cmd("hotkeys|stop",  "8.6.0",  2, ADMIN | NOSCRIPT, NO_KEYS, REFUSE_ADMIN),
]);

#[rustfmt::skip]
static LATENCY_COMMANDS: &[Command] = &family(Family::Server, [
    cmd("latency|doctor",    "2.8.13",  2, ADMIN | SESSION, NO_KEYS, REFUSE_ADMIN),
    cmd("latency|graph",     "2.8.13",  3, ADMIN | SESSION, NO_KEYS, REFUSE_ADMIN),
    cmd("latency|help",      "2.8.13",  2, ANYTIME,         NO_KEYS, HELP),
    cmd("latency|histogram", "7.0.0",  -2, ADMIN | SESSION, NO_KEYS, REFUSE_ADMIN),
    cmd("latency|history",   "2.8.13",  3, ADMIN | SESSION, NO_KEYS, REFUSE_ADMIN),
    cmd("latency|latest",    "2.8.13",  2, ADMIN | SESSION, NO_KEYS, REFUSE_ADMIN),
    cmd("latency|reset",     "2.8.13", -2, ADMIN | SESSION, NO_KEYS, FAN_SUM).gives(INTEGER).dangerous(),
]);

#[rustfmt::skip]
static MEMORY_COMMANDS: &[Command] = &family(Family::Server, [
    cmd("memory|doctor",       "4.0.0",  2, 0,        NO_KEYS, REFUSE_ADMIN),
    cmd("memory|help",         "4.0.0",  2, ANYTIME,  NO_KEYS, HELP),
    cmd("memory|malloc-stats", "4.0.0",  2, 0,        NO_KEYS, REFUSE_ADMIN),
    cmd("memory|purge",        "4.0.0",  2, 0,        NO_KEYS, FAN_ALL).gives(STATUS).dangerous(),
    cmd("memory|stats",        "4.0.0",  2, 0,        NO_KEYS, REFUSE_ADMIN),
    cmd("memory|usage",        "4.0.0", -3, READONLY, KEY_2,   FORWARD).does(&[LOOKS]).gives(NUMBER_OR_NIL).at_primary(),
]);

#[rustfmt::skip]
static MODULE_COMMANDS: &[Command] = &family(Family::Server, [
    cmd("module|help",   "5.0.0",  2, ANYTIME,                             NO_KEYS, HELP),
    // Every shard is expected to have the same modules.
    cmd("module|list",   "4.0.0",  2, ADMIN | NOSCRIPT,                    NO_KEYS, ANY_SHARD).gives(MEMBERS),
    cmd("module|load",   "4.0.0", -3, ADMIN | NOSCRIPT | NO_ASYNC_LOADING, NO_KEYS, REFUSE_ADMIN),
    cmd("module|loadex", "7.0.0", -3, ADMIN | NOSCRIPT | NO_ASYNC_LOADING, NO_KEYS, REFUSE_ADMIN),
    cmd("module|unload", "4.0.0",  3, ADMIN | NOSCRIPT | NO_ASYNC_LOADING, NO_KEYS, REFUSE_ADMIN),
]);

#[rustfmt::skip]
static SLOWLOG_COMMANDS: &[Command] = &family(Family::Server, [
    cmd("slowlog|get",   "2.2.12", -2, ADMIN | ANYTIME, NO_KEYS, REFUSE_ADMIN),
    cmd("slowlog|help",  "6.2.0",   2, ANYTIME,         NO_KEYS, HELP),
    cmd("slowlog|len",   "2.2.12",  2, ADMIN | ANYTIME, NO_KEYS, REFUSE_ADMIN),
    cmd("slowlog|reset", "2.2.12",  2, ADMIN | ANYTIME, NO_KEYS, FAN_ALL).gives(STATUS).dangerous(),
]);
