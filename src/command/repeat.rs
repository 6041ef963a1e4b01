//! What may be sent a second time when nobody knows whether the first was executed.

use crate::command::flags::Flags;
use crate::command::model::{Command, Run, Special};
use crate::command::{Lookup, lookup};
use crate::resp::args::Request;

/// Whether a request whose reply is lost may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It changes no key.
    Always,
    /// It writes, and twice in a row leaves the keys as once (the second reply may differ: DEL says
    /// 0).
    Idempotent,
    Never,
    /// WAIT, WAITAOF ask about their connection: on another one they ask something else.
    SameConnection,
}

/// Neither flagged as reading nor as writing by redis, and harmless a second time (MULTI, EXEC, and
/// SELECT between them: as far as they know).
const HARMLESS: [&str; 12] = [
    "exec",
    "function|dump",
    "function|list",
    "function|stats",
    "info",
    "lastsave",
    "multi",
    "ping",
    "script|exists",
    "script|load",
    "script|show",
    "select",
];

/// Which options a command may have and still be idempotent.
#[derive(Clone, Copy, Debug)]
enum Options {
    /// Whatever they are.
    Any,
    /// From this argument on only these, and numbers.
    Only(usize, &'static [&'static str]),
    /// From this argument on none of these.
    Without(usize, &'static [&'static str]),
}

/// Relative times (EX, EXPIRE) are not in it: the second one counts from later. Nor is what says by
/// its reply who came first (SETNX, SET … NX, SETBIT): a lock's owner would be told that it is not.
#[rustfmt::skip]
const IDEMPOTENT: [(&str, Options); 24] = [
    ("del",        Options::Any),
    ("expireat",   Options::Any),
    ("geoadd",     Options::Without(2, &["NX", "XX"])),
    ("hdel",       Options::Any),
    ("hexpireat",  Options::Any),
    ("hmset",      Options::Any),
    ("hpersist",   Options::Any),
    ("hpexpireat", Options::Any),
    ("hset",       Options::Any),
    ("lset",       Options::Any),
    ("mset",       Options::Any),
    ("persist",    Options::Any),
    ("pexpireat",  Options::Any),
    ("pfadd",      Options::Any),
    ("sadd",       Options::Any),
    ("set",        Options::Only(3, &["KEEPTTL", "EXAT", "PXAT"])),
    ("setrange",   Options::Any),
    ("srem",       Options::Any),
    ("unlink",     Options::Any),
    ("xack",       Options::Any),
    ("xdel",       Options::Any),
    ("zadd",       Options::Without(2, &["NX", "XX", "INCR"])),
    ("zrem",       Options::Any),
    ("zremrangebyscore", Options::Any),
];

/// What this request is.
pub fn repeat(request: &Request<'_>) -> Repeat {
    let Lookup::Found(command) = lookup(request) else { return Repeat::Never };
    if is_read(command) {
        return Repeat::Always;
    }
    if command.run == Run::Special(Special::Wait) {
        return Repeat::SameConnection;
    }
    let options = IDEMPOTENT.iter().find(|(name, _)| *name == command.name);
    match options {
        Some((_, options)) if options.allow(request) => Repeat::Idempotent,
        _ => Repeat::Never,
    }
}

/// Whether it changes no key, as far as its server's own flags and [`HARMLESS`] tell.
fn is_read(command: &Command) -> bool {
    command.flags.contains(Flags::READONLY) || HARMLESS.contains(&command.name)
}

impl Options {
    fn allow(self, request: &Request<'_>) -> bool {
        let among = |words: &[&str], arg: &[u8]| {
            words.iter().any(|word| arg.eq_ignore_ascii_case(word.as_bytes()))
        };
        let number = |arg: &[u8]| arg.iter().all(u8::is_ascii_digit);
        match self {
            Options::Any => true,
            Options::Only(from, words) => {
                request.iter().skip(from).all(|arg| among(words, arg) || number(arg))
            }
            // A score is no word, so the first that is none of the options ends them; a member that
            // is spelt like one costs a repetition, no more.
            Options::Without(from, words) => {
                !request.iter().skip(from).any(|arg| among(words, arg))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup::by_name;
    use crate::command::test_request::Owned;

    fn of(words: &str) -> Repeat {
        repeat(&Owned::of_words(words).request())
    }

    #[test]
    fn reads_may_always_be_repeated() {
        for words in ["GET k", "mget a b", "EVAL_RO x 1 k", "DBSIZE", "SCRIPT LOAD x", "INFO"] {
            assert_eq!(of(words), Repeat::Always, "{words}");
        }
        assert_eq!(of("WAIT 1 0"), Repeat::SameConnection);
        assert_eq!(of("WAITAOF 1 0 0"), Repeat::SameConnection);
    }

    #[test]
    fn what_counts_or_says_who_was_first_is_never_repeated() {
        for words in [
            "INCR k",
            "APPEND k v",
            "LPUSH k v",
            "EVAL x 1 k",
            "EXPIRE k 1",
            "SETNX k v",
            "SET k v NX",
            "SET k v EX 5",
            "SET k v GET",
            "SET k v IFEQ x",
            "PUBLISH c m",
            "NOSUCH k",
            "GETDEL k",
            "ZADD k INCR 1 m",
            "ZADD k NX 1 m",
            "SETEX k 5 v",
            "SPOP k",
            "RENAME a b",
        ] {
            assert_eq!(of(words), Repeat::Never, "{words}");
        }
    }

    #[test]
    fn what_leaves_the_same_twice_is_idempotent() {
        for words in [
            "SET k v",
            "set k NX",
            "SET k v KEEPTTL",
            "SET k v EXAT 1700000000",
            "DEL k",
            "UNLINK a b",
            "MSET a 1",
            "HSET h f v",
            "SADD s m",
            "ZADD z GT 1 m",
            "EXPIREAT k 1 GT",
            "PERSIST k",
        ] {
            assert_eq!(of(words), Repeat::Idempotent, "{words}");
        }
    }

    #[test]
    fn every_name_is_a_commands_and_the_idempotent_ones_write() {
        for name in HARMLESS {
            let command = by_name(name).unwrap_or_else(|| panic!("{name}"));
            assert!(!command.flags.contains(Flags::WRITE), "{name}");
        }
        for (name, _) in IDEMPOTENT {
            let command = by_name(name).unwrap_or_else(|| panic!("{name}"));
            assert!(command.flags.contains(Flags::WRITE), "{name}");
        }
    }
}
