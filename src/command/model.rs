//! What is known of a command: the shape of one line of the table, and the words in it.
//!
//! Pure data: nothing here is decided at run time. Written by `table`, read by `lookup`, `keys` and
//! `describe`, and acted upon by the relay.

use crate::command::flags::{Access, Categories, Flags};
use crate::command::shape::{Asked, ByArgs, Kinds};

/// One command or subcommand.
#[derive(Debug)]
pub struct Command {
    /// Lower case; a subcommand's full name is `parent|sub`, as redis writes it.
    pub name: &'static str,
    /// The version that brought it: of redis, of Valkey for what only that has, of the module for
    /// what came with one.
    pub since: &'static str,
    /// As redis counts it: the name included, negative for "at least".
    pub arity: i16,
    pub flags: Flags,
    pub keys: Keys,
    /// What is done with the first key, the second …; the last word holds for all that follow.
    pub access: &'static [Access],
    pub run: Run,
    pub family: Family,
    pub categories: Categories,
    /// Types that a reply may have.
    pub reply: Kinds,
    pub reply_by_args: ByArgs,
    /// A replica may answer it as well: it reads keys, and neither asks about the server that it
    /// reaches nor goes on where another request of before has ended (the cursor of HSCAN).
    pub at_replica: bool,
    /// Needs `dangerous_commands = "allow"`: reaches every key, other clients, or the servers.
    pub dangerous: bool,
    pub subcommands: &'static [Command],
}

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
        of: Counted,
    },
    /// A destination at 1 and, at `at`, the number of source keys that follow (ZUNIONSTORE …).
    DestinationNumkeys {
        at: u16,
    },
    /// Key 1, and the destination behind the last STORE.
    Sort,
    /// Key 1, and the destinations behind STORE and STOREDIST.
    Georadius,
    /// The first half of what follows STREAMS (XREAD, XREADGROUP).
    Streams,
    /// Key 3, or those behind KEYS if key 3 is empty.
    Migrate,
}

/// What a numkeys argument counts; it decides whether 0 is allowed and how redis words an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Keys of a script, which may have none.
    Script,
    /// Keys of ZUNION, ZINTER, ZDIFF, ZINTERCARD.
    Aggregate,
    /// Keys of SINTERCARD.
    Card,
    /// Keys of LMPOP, ZMPOP and their blocking forms.
    Pop,
    /// Pairs of key and value (MSETEX).
    Pairs,
}

/// How the relay runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// To the shard of its keys, which have to be on one shard.
    Forward,
    /// As `Forward`, but it may block: on a private connection.
    Block(Patience),
    /// Split by shard, merged in key order.
    Split(Split),
    /// To the primary of every shard, the replies merged.
    Fan(Merge),
    /// To one shard, whichever (FUNCTION LIST: all have the same).
    AnyShard,
    /// Reaches data that no argument names, in a way that can not be merged (FT.SEARCH, TS.MRANGE):
    /// forwarded if the pool has one shard only, else answered with the CROSSSLOT error.
    OnlyShard,
    /// To the shard of this argument although it is no key (PUBLISH by channel).
    ByArgument(u16),
    /// Answered here.
    Local(Local),
    Special(Special),
    /// Answered with an error.
    Refuse(Refusal),
}

/// Where a command says for how long it blocks, and in which unit; 0 is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Seconds, in the last argument (BLPOP …).
    LastSeconds,
    /// Seconds, in the first argument (BLMPOP, BZMPOP).
    FirstSeconds,
    /// Milliseconds, behind the option BLOCK; without that it does not block (XREAD …).
    BlockMs,
    /// Only its server knows (BLMOVEM).
    Unknown,
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
    /// Element by element (WAITAOF).
    MinOfEach,
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
    /// SORT, SORT_RO: the keys that BY and GET make are not in the request.
    Sort,
    /// WAIT, WAITAOF.
    Wait,
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
    ConfigGet,
    ConfigSet,
    /// SCRIPT KILL, FUNCTION KILL: past the lanes that the script holds up.
    Kill,
    /// SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE.
    Subscribe(TopicKind),
    /// And their UN-forms.
    Unsubscribe(TopicKind),
}

/// What can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicKind {
    /// The messages of one channel.
    Channel,
    /// Those of all channels whose names match.
    Pattern,
    /// Those of SPUBLISH.
    ShardChannel,
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
    /// ROLE: a master without replicas, as HELLO and INFO say.
    Role,
    /// +OK without effect here: CLIENT CAPA …
    Ok,
    /// The same, after ON or OFF: CLIENT NO-EVICT, CLIENT NO-TOUCH.
    OnOff,
    ClientId,
    ClientInfo,
    ClientList,
    ClientGetname,
    ClientSetname,
    ClientSetinfo,
    ClientPause,
    ClientReply,
    ClientUnpause,
    Monitor,
    PubsubChannels(TopicKind),
    PubsubNumsub(TopicKind),
    PubsubNumpat,
    ClientKill,
    ClientUnblock,
    ClientGetredir,
    ClientTracking,
    ClientCaching,
    ClientTrackinginfo,
    Command,
    CommandCount,
    CommandInfo,
    CommandDocs,
    CommandList,
    CommandGetkeys,
    CommandGetkeysandflags,
    Cluster(ClusterQuestion),
    /// X HELP: the subcommands that this proxy answers.
    Help,
}

/// What is asked of a cluster. Where the pool's facade is none: "cluster support disabled".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterQuestion {
    /// ASKING, READONLY, READWRITE: no question, and OK.
    Accepted,
    Help,
    Info,
    Keyslot,
    Links,
    MyId,
    MyShardId,
    Nodes,
    Replicas,
    Shards,
    Slots,
    /// Has no meaning in a cluster of one node that is a proxy.
    Unserved,
}

/// Why a command is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Changes the state of the connection, which is shared (SYNC, HIMPORT …).
    ConnectionState,
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
    Array,
    Generic,
    Scripting,
    PubSub,
    Connection,
    Transactions,
    Server,
    Cluster,
    /// Redis 8's data types that were modules: JSON, TS, BF, CF, CMS, TOPK, TDIGEST, FT, vector
    /// sets.
    Module,
    /// Not in the table.
    Unknown,
}

impl Family {
    pub const COUNT: usize = Family::ALL.len();

    /// In the order of their numbers.
    pub const ALL: [Family; 19] = [
        Family::String,
        Family::Bitmap,
        Family::Hash,
        Family::List,
        Family::Set,
        Family::SortedSet,
        Family::Stream,
        Family::Geo,
        Family::HyperLogLog,
        Family::Array,
        Family::Generic,
        Family::Scripting,
        Family::PubSub,
        Family::Connection,
        Family::Transactions,
        Family::Server,
        Family::Cluster,
        Family::Module,
        Family::Unknown,
    ];

    /// As COMMAND DOCS writes the group.
    pub const fn name(self) -> &'static str {
        match self {
            Family::String => "string",
            Family::Bitmap => "bitmap",
            Family::Hash => "hash",
            Family::List => "list",
            Family::Set => "set",
            Family::SortedSet => "sorted-set",
            Family::Stream => "stream",
            Family::Geo => "geo",
            Family::HyperLogLog => "hyperloglog",
            Family::Array => "array",
            Family::Generic => "generic",
            Family::Scripting => "scripting",
            Family::PubSub => "pubsub",
            Family::Connection => "connection",
            Family::Transactions => "transactions",
            Family::Server => "server",
            Family::Cluster => "cluster",
            Family::Module => "module",
            Family::Unknown => "unknown",
        }
    }

    /// The access category that every command of this family has.
    pub const fn category(self) -> Categories {
        match self {
            Family::String => Categories::STRING,
            Family::Bitmap => Categories::BITMAP,
            Family::Hash => Categories::HASH,
            Family::List => Categories::LIST,
            Family::Set => Categories::SET,
            Family::SortedSet => Categories::SORTED_SET,
            Family::Stream => Categories::STREAM,
            Family::Geo => Categories::GEO,
            Family::HyperLogLog => Categories::HYPERLOGLOG,
            Family::Array => Categories::ARRAY,
            Family::Generic => Categories::KEYSPACE,
            Family::Scripting => Categories::SCRIPTING,
            Family::Connection => Categories::CONNECTION,
            Family::Transactions => Categories::TRANSACTION,
            Family::PubSub
            | Family::Server
            | Family::Cluster
            | Family::Module
            | Family::Unknown => Categories(0),
        }
    }
}

impl Command {
    /// Whether a request of `args` arguments, the name included, has the right number of them.
    #[inline]
    pub const fn arity_ok(&self, args: usize) -> bool {
        let least = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { args >= least } else { args == least }
    }

    /// What is to be remembered of a request of `args` arguments until its reply comes.
    #[inline]
    pub fn asked(&self, args: usize) -> Asked {
        let asked = Asked { kinds: self.reply, ..Asked::any(self.family) };
        match self.reply_by_args {
            ByArgs::Nothing => asked,
            ByArgs::Bare { args: bare, kinds } if args == usize::from(bare) => {
                Asked { kinds, ..asked }
            }
            ByArgs::Bare { .. } => asked,
            ByArgs::Array(elements) => asked.counted(usize::from(elements)),
            ByArgs::ArrayOfArgs { from } => asked.counted(args.saturating_sub(usize::from(from))),
        }
    }

    /// Whether it may change keys: what a script does, only its server knows.
    #[inline]
    pub fn may_write(&self) -> bool {
        self.flags.contains(Flags::WRITE)
            || (self.family == Family::Scripting && !self.flags.contains(Flags::READONLY))
    }

    /// What is done with the key at `place` of a request's list of keys.
    pub fn access_of(&self, place: usize) -> Access {
        let word = self.access.get(place).or(self.access.last());
        word.copied().unwrap_or(Access(0))
    }

    /// What follows the container's name, or the whole name of what is no subcommand.
    pub fn short_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, sub)| sub)
    }

    /// First key, last key and step as COMMAND INFO shows them; zeros where they can not be shown.
    pub const fn range(&self) -> (i16, i16, i16) {
        match self.keys {
            Keys::Range { first, last, step } => (first, last, step),
            Keys::DestinationNumkeys { .. } | Keys::Sort | Keys::Georadius => (1, 1, 1),
            Keys::Migrate => (3, 3, 1),
            Keys::None | Keys::Numkeys { .. } | Keys::Streams => (0, 0, 0),
        }
    }
}
