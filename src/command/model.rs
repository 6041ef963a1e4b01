//! What is known of a command.

/// One command or subcommand.
#[derive(Debug)]
pub struct Command {
    /// Lower case; a subcommand's full name is `parent|sub`, as redis writes it.
    pub name: &'static str,
    /// As redis counts it: the name included, negative for "at least".
    pub arity: i16,
    pub flags: Flags,
    pub keys: Keys,
    pub run: Run,
    pub family: Family,
    /// Needs `dangerous_commands = "allow"`: reaches every key, or changes the servers themselves.
    pub dangerous: bool,
    pub subcommands: &'static [Command],
}

/// redis' command flags, those that COMMAND INFO shows; a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u32);

/// Where the keys are among the arguments (0 is the name).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    None,
    /// `first`, `first + step`, … up to `last`; a negative `last` counts from the end (-1: the last
    /// argument).
    Range {
        first: i16,
        last: i16,
        step: i16,
    },
    /// `args[at]` says how many keys follow it directly (EVAL, SINTERCARD, LMPOP …).
    Numkeys {
        at: u16,
    },
    /// A destination at 1 and, at `at`, the number of source keys that follow (ZUNIONSTORE …).
    DestinationNumkeys {
        at: u16,
    },
    /// Key 1, and the destination behind a STORE or STOREDIST option (SORT, GEORADIUS …).
    OptionalStore,
    /// The first half of what follows STREAMS (XREAD, XREADGROUP).
    Streams,
    /// Key 3, or those behind KEYS if key 3 is empty.
    Migrate,
}

/// How the relay runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// To the shard of its keys, which have to be on one shard.
    Forward,
    /// As `Forward`, unless it has the option BLOCK, which needs a private connection.
    ForwardUnlessBlock,
    /// Split by shard, merged in key order.
    Split(Split),
    /// To the primary of every shard, the replies merged.
    Fan(Merge),
    /// To one shard, whichever (FUNCTION LIST: all have the same).
    AnyShard,
    /// To the shard of this argument although it is no key (PUBLISH by channel).
    ByArgument(u16),
    /// Answered here.
    Local(Local),
    Special(Special),
    /// Answered with an error.
    Refuse(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Arrays of replies, in key order.
    Mget,
    /// Key and value pairs; all have to succeed.
    Mset,
    /// Integers are added (DEL, UNLINK, TOUCH, EXISTS).
    Sum,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// The first error, else the first reply.
    AllSucceeded,
    /// The first reply that is no error, else the first error that is not NOTBUSY.
    OneSucceeded,
    Sum,
    Min,
    /// Element by element (SCRIPT EXISTS).
    LogicalAnd,
    /// Arrays (RESP3: arrays or sets) one behind the other.
    Concat,
}

/// What needs code of its own in the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    Scan,
    RandomKey,
    /// EVAL, EVAL_RO: body at 1.
    Eval,
    /// EVALSHA, EVALSHA_RO: digest at 1.
    EvalSha,
    /// FCALL, FCALL_RO.
    Fcall,
    ScriptLoad,
    ScriptFlush,
    Wait,
}

/// Answered by the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    Ping,
    Echo,
    Hello,
    Auth,
    Select,
    Quit,
    Reset,
    Time,
    Lolwut,
    Info,
    ConfigGet,
    /// +OK without effect here: READONLY, READWRITE, CLIENT NO-EVICT, CLIENT NO-TOUCH …
    Ok,
    ClientId,
    ClientInfo,
    ClientList,
    ClientGetname,
    ClientSetname,
    ClientSetinfo,
    ClientKill,
    ClientGetredir,
    ClientTrackinginfo,
    Command,
    CommandCount,
    CommandInfo,
    CommandDocs,
    CommandList,
    CommandGetkeys,
    CommandGetkeysandflags,
    /// CLUSTER INFO and its like: "cluster support disabled".
    NotACluster,
    /// X HELP: the subcommands that this proxy answers.
    Help,
}

/// Why a command is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Changes the state of the connection, which is shared (MULTI, WATCH, SUBSCRIBE, MONITOR …).
    ConnectionState,
    /// Blocks the connection, which is shared (BLPOP …).
    Blocking,
    /// Is about one redis-server, not about the data (SHUTDOWN, REPLICAOF, DEBUG, ACL …): to be
    /// asked of that server itself.
    ServerAdministration,
}

/// redis' command groups; latencies are kept for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Family {
    String,
    Bitmap,
    Hash,
    List,
    Set,
    SortedSet,
    Stream,
    Geo,
    HyperLogLog,
    Generic,
    Scripting,
    PubSub,
    Connection,
    Transactions,
    Server,
    Cluster,
    /// Redis 8's data types that were modules: JSON, TS, BF, CF, CMS, TOPK, TDIGEST, FT, vector sets.
    Module,
    /// Not in the table.
    Unknown,
}

impl Family {
    pub const COUNT: usize = 18;
}
