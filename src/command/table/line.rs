//! The words in which the lines of the table are written. All of it is worked out by the compiler.

pub(super) use crate::command::model::{
    ClusterQuestion, Command, Counted::*, Family, Keys, Local, Merge, Patience, Refusal, Run,
    Special, Split, TopicKind,
};

use crate::command::flags::{Access, Categories, Flags};
use crate::command::shape::{ByArgs, Kinds};

// Flags, to be joined by `|`, for which operators of our own types can not be used in constants.
pub(super) const WRITE: u32 = Flags::WRITE.0;
pub(super) const READONLY: u32 = Flags::READONLY.0;
pub(super) const DENYOOM: u32 = Flags::DENYOOM.0;
pub(super) const ADMIN: u32 = Flags::ADMIN.0;
pub(super) const PUBSUB: u32 = Flags::PUBSUB.0;
pub(super) const NOSCRIPT: u32 = Flags::NOSCRIPT.0;
pub(super) const BLOCKING: u32 = Flags::BLOCKING.0;
pub(super) const LOADING: u32 = Flags::LOADING.0;
pub(super) const STALE: u32 = Flags::STALE.0;
pub(super) const SKIP_SLOWLOG: u32 = Flags::SKIP_SLOWLOG.0;
pub(super) const ASKING: u32 = Flags::ASKING.0;
pub(super) const FAST: u32 = Flags::FAST.0;
pub(super) const NO_AUTH: u32 = Flags::NO_AUTH.0;
pub(super) const NO_ASYNC_LOADING: u32 = Flags::NO_ASYNC_LOADING.0;
pub(super) const NO_MULTI: u32 = Flags::NO_MULTI.0;
pub(super) const MOVABLEKEYS: u32 = Flags::MOVABLEKEYS.0;
pub(super) const ALLOW_BUSY: u32 = Flags::ALLOW_BUSY.0;
/// In any state of the server's data.
pub(super) const ANYTIME: u32 = LOADING | STALE;
/// About the connection or the server: in any state, but not from a script.
pub(super) const SESSION: u32 = NOSCRIPT | ANYTIME;
/// Runs a script.
pub(super) const SCRIPTED: u32 =
    NOSCRIPT | STALE | Flags::SKIP_MONITOR.0 | Flags::NO_MANDATORY_KEYS.0;

// Access categories, beside those that follow from family and flags.
pub(super) const KEYSPACE: u32 = Categories::KEYSPACE.0;
pub(super) const SET: u32 = Categories::SET.0;
pub(super) const SORTED_SET: u32 = Categories::SORTED_SET.0;
pub(super) const LIST: u32 = Categories::LIST.0;
pub(super) const ADMIN_RIGHTS: u32 = Categories::ADMIN.0;
pub(super) const DANGEROUS: u32 = Categories::DANGEROUS.0;
pub(super) const CONNECTION: u32 = Categories::CONNECTION.0;
/// Not a category: the family adds none.
const INSTEAD: u32 = 1 << 31;

// Where the keys are.
pub(super) const NO_KEYS: Keys = Keys::None;
pub(super) const KEY: Keys = keys(1, 1, 1);
pub(super) const KEY_2: Keys = keys(2, 2, 1);
pub(super) const ALL_KEYS: Keys = keys(1, -1, 1);

// What is done with a key, where that is not `READS` for what only reads and `CHANGES` for the
// rest.
pub(super) const READS: Access = Access::READ_ONLY.and(Access::ACCESS);
/// Not at the value, but at its type, length, members or age.
pub(super) const LOOKS: Access = Access::READ_ONLY;
/// Reads, and keeps a result of its own with the value.
pub(super) const READS_AND_CACHES: Access = Access::READ_WRITE.and(Access::ACCESS);
pub(super) const READS_AND_INSERTS: Access = READS_AND_CACHES.and(Access::INSERT);
pub(super) const CHANGES: Access = READS_AND_CACHES.and(Access::UPDATE);
/// As `CHANGES`, or less: SET without GET only overwrites, BITFIELD with nothing but GETs only
/// reads.
pub(super) const VARIES: Access = CHANGES.and(Access::VARIABLE);
pub(super) const UPDATES: Access = Access::READ_WRITE.and(Access::UPDATE);
pub(super) const INSERTS: Access = Access::READ_WRITE.and(Access::INSERT);
pub(super) const DELETES: Access = Access::READ_WRITE.and(Access::DELETE);
/// Deletes what it tells.
pub(super) const TAKES: Access = DELETES.and(Access::ACCESS);
pub(super) const TAKES_SOME: Access = TAKES.and(Access::INCOMPLETE);
pub(super) const OVERWRITES: Access = Access::OVERWRITE.and(Access::UPDATE);
pub(super) const CREATES: Access = Access::OVERWRITE.and(Access::INSERT);
pub(super) const REMOVES: Access = Access::REMOVE.and(Access::DELETE);
pub(super) const NOT_A_KEY: Access = Access::NOT_A_KEY;

// How it is run.
pub(super) const FORWARD: Run = Run::Forward;
pub(super) const BLOCK_LAST: Run = Run::Block(Patience::LastSeconds);
pub(super) const BLOCK_FIRST: Run = Run::Block(Patience::FirstSeconds);
pub(super) const BLOCK_OPTION: Run = Run::Block(Patience::BlockMs);
pub(super) const BLOCK_UNKNOWN: Run = Run::Block(Patience::Unknown);
pub(super) const SPLIT_MGET: Run = Run::Split(Split::Mget);
pub(super) const SPLIT_MSET: Run = Run::Split(Split::Mset);
pub(super) const SPLIT_SUM: Run = Run::Split(Split::Sum);
pub(super) const FAN_ALL: Run = Run::Fan(Merge::AllSucceeded);
pub(super) const FAN_ONE: Run = Run::Fan(Merge::OneSucceeded);
pub(super) const FAN_SUM: Run = Run::Fan(Merge::Sum);
pub(super) const FAN_MIN: Run = Run::Fan(Merge::Min);
pub(super) const FAN_AND: Run = Run::Fan(Merge::LogicalAnd);
pub(super) const FAN_CONCAT: Run = Run::Fan(Merge::Concat);
pub(super) const ANY_SHARD: Run = Run::AnyShard;
pub(super) const ONLY_SHARD: Run = Run::OnlyShard;
pub(super) const OK: Run = Run::Local(Local::Ok);
/// Also what a container does alone, which never comes to pass: its arity asks for a subcommand.
pub(super) const HELP: Run = Run::Local(Local::Help);
pub(super) const NO_CLUSTER: Run = cluster(ClusterQuestion::Unserved);
pub(super) const REFUSE_STATE: Run = Run::Refuse(Refusal::ConnectionState);
pub(super) const REFUSE_ADMIN: Run = Run::Refuse(Refusal::ServerAdministration);

// What its reply may be, in RESP2 or RESP3, beside an error. `$` and `*` are also RESP2's nil.
pub(super) const STATUS: Kinds = Kinds::of(b"+");
pub(super) const INTEGER: Kinds = Kinds::of(b":");
/// A bulk string or nil.
pub(super) const VALUE: Kinds = Kinds::of(b"$_");
pub(super) const STATUS_OR_VALUE: Kinds = Kinds::of(b"+$_");
pub(super) const NUMBER_OR_NIL: Kinds = Kinds::of(b":$_");
pub(super) const NUMBER_OR_ARRAY: Kinds = Kinds::of(b":*");
/// A bulk string, which RESP3 marks as text.
pub(super) const TEXT: Kinds = Kinds::of(b"$=");
/// A floating-point number or nil.
pub(super) const SCORE: Kinds = Kinds::of(b"$,_");
pub(super) const NUMBER_OR_SCORE: Kinds = Kinds::of(b":$,_");
/// An integer, with an option an array, or nil.
pub(super) const RANK: Kinds = Kinds::of(b":$*_");
pub(super) const ARRAY: Kinds = Kinds::of(b"*_");
/// A value, or nil as an array of none (BLMOVE).
pub(super) const ONE_OR_NONE: Kinds = Kinds::of(b"$*_");
pub(super) const MEMBERS: Kinds = Kinds::of(b"*~");
pub(super) const MAP: Kinds = Kinds::of(b"*%_");
/// One element or nil; with a count all of them.
pub(super) const ONE_OR_MORE: Kinds = Kinds::of(b"$_*~");
/// LCS: the text, its length or where it is.
pub(super) const VALUE_NUMBER_OR_MATCHES: Kinds = Kinds::of(b"$:*%");

/// One command: its name, the version that brought it, its arity, its flags, where its keys are,
/// how it is run.
pub(super) const fn cmd(
    name: &'static str,
    since: &'static str,
    arity: i16,
    flags: u32,
    keys: Keys,
    run: Run,
) -> Command {
    let movable = match keys {
        Keys::None | Keys::Range { .. } => 0,
        _ => MOVABLEKEYS,
    };
    let access: &[Access] = match keys {
        Keys::None => &[],
        _ if Flags(flags).contains(Flags::READONLY) => &[READS],
        _ => &[CHANGES],
    };
    Command {
        name,
        since,
        arity,
        flags: Flags(flags | movable),
        keys,
        access,
        run,
        family: Family::Unknown,
        categories: Categories(0),
        reply: Kinds::ANY,
        reply_by_args: ByArgs::Nothing,
        at_replica: Flags(flags).contains(Flags::READONLY) && !matches!(keys, Keys::None),
        dangerous: false,
        subcommands: &[],
    }
}

pub(super) const fn keys(first: i16, last: i16, step: i16) -> Keys {
    Keys::Range { first, last, step }
}

/// `args[at]` counts the keys that follow it.
pub(super) const fn counted(at: u16, of: crate::command::model::Counted) -> Keys {
    Keys::Numkeys { at, of }
}

/// A destination at 1, and `args[at]` counts the sources that follow it.
pub(super) const fn counted_sources(at: u16) -> Keys {
    Keys::DestinationNumkeys { at }
}

pub(super) const fn by_argument(index: u16) -> Run {
    Run::ByArgument(index)
}

pub(super) const fn local(local: Local) -> Run {
    Run::Local(local)
}

pub(super) const fn cluster(question: ClusterQuestion) -> Run {
    Run::Local(Local::Cluster(question))
}

pub(super) const fn special(special: Special) -> Run {
    Run::Special(special)
}

pub(super) const fn subscribe(kind: TopicKind) -> Run {
    Run::Special(Special::Subscribe(kind))
}

pub(super) const fn unsubscribe(kind: TopicKind) -> Run {
    Run::Special(Special::Unsubscribe(kind))
}

impl Command {
    pub(super) const fn with(mut self, subcommands: &'static [Command]) -> Command {
        self.subcommands = subcommands;
        self
    }

    /// What its reply may be; without this it may be anything.
    pub(super) const fn gives(mut self, reply: Kinds) -> Command {
        self.reply = reply;
        self
    }

    /// And with so many arguments only these.
    pub(super) const fn gives_bare(mut self, args: u16, kinds: Kinds) -> Command {
        self.reply_by_args = ByArgs::Bare { args, kinds };
        self
    }

    /// An array with one element for each argument from this one on.
    pub(super) const fn gives_one_for_each(mut self, from: u16) -> Command {
        self.reply = Kinds::of(b"");
        self.reply_by_args = ByArgs::ArrayOfArgs { from };
        self
    }

    /// An array of the next cursor and what was found.
    pub(super) const fn gives_cursor(mut self) -> Command {
        self.reply = Kinds::of(b"");
        self.reply_by_args = ByArgs::Array(2);
        self.at_primary() // where a cursor leads to only the server knows that gave it
    }

    /// What it does with its keys: the first, the second …; the last word holds for the rest.
    pub(super) const fn does(mut self, access: &'static [Access]) -> Command {
        self.access = access;
        self
    }

    /// Although it reads keys, only the primary's answer is one.
    pub(super) const fn at_primary(mut self) -> Command {
        self.at_replica = false;
        self
    }

    pub(super) const fn dangerous(mut self) -> Command {
        self.dangerous = true;
        self
    }

    /// Access categories beside those that follow from its family and its flags.
    pub(super) const fn acl(mut self, categories: u32) -> Command {
        self.categories = Categories(self.categories.0 | categories);
        self
    }

    /// Access categories in the place of its family's.
    pub(super) const fn acl_instead(self, categories: u32) -> Command {
        self.acl(categories | INSTEAD)
    }
}

/// Puts commands into a family, and completes what follows from it.
pub(super) const fn family<const N: usize>(
    family: Family,
    mut commands: [Command; N],
) -> [Command; N] {
    let mut at = 0;
    while at < N {
        let command = &mut commands[at];
        command.family = family;
        if matches!(family, Family::Module) {
            command.flags = command.flags.and(Flags::MODULE);
        }
        command.categories = categories(command);
        at += 1;
    }
    commands
}

/// The access categories as redis derives them: a container has none of its family, and a script
/// does not count as a reader.
const fn categories(command: &Command) -> Categories {
    let flags = command.flags;
    let mut set = command.categories.0;
    if set & INSTEAD == 0 && command.subcommands.is_empty() {
        set |= command.family.category().0;
    }
    set &= !INSTEAD;
    if flags.contains(Flags::WRITE) {
        set |= Categories::WRITE.0;
    }
    if flags.contains(Flags::READONLY) && !matches!(command.family, Family::Scripting) {
        set |= Categories::READ.0;
    }
    if flags.contains(Flags::ADMIN) {
        set |= Categories::ADMIN.0 | Categories::DANGEROUS.0;
    }
    if flags.contains(Flags::PUBSUB) {
        set |= Categories::PUBSUB.0;
    }
    if flags.contains(Flags::BLOCKING) {
        set |= Categories::BLOCKING.0;
    }
    let pace = if flags.contains(Flags::FAST) { Categories::FAST } else { Categories::SLOW };
    Categories(set | pace.0)
}
