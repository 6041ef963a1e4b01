//! The sets of bits that a command carries: what COMMAND INFO shows as its flags, the access
//! categories that rules for users are written in, and what it does with its keys.

/// Redis' command flags, those that COMMAND INFO shows; a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u32);

/// Access categories (`@read`, `@dangerous` …); a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Categories(pub u32);

/// What a command does with a key: one of the first four, and what is done with the value behind
/// it; a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(pub u32);

/// One bit for each name of a list, in its order.
macro_rules! bits {
    ($set:ident: $($(#[$doc:meta])* $bit:ident = $name:literal,)*) => {
        bits!(@ $set 0; $($(#[$doc])* $bit,)*);

        impl $set {
            /// The names of all bits, as redis writes them; bit 0 first.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// Whether all bits of `other` are in here.
            pub const fn contains(self, other: $set) -> bool {
                self.0 & other.0 == other.0
            }

            /// The bits of both.
            pub const fn and(self, other: $set) -> $set {
                $set(self.0 | other.0)
            }

            /// The names of the bits that are set, in the order in which redis lists them.
            pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
                let names = Self::NAMES.iter().enumerate();
                names.filter(move |(at, _)| self.0 >> at & 1 == 1).map(|(_, name)| *name)
            }

            /// The bit of this name, in any case of letters.
            pub fn by_name(name: &[u8]) -> Option<$set> {
                let known = |known: &&str| name.eq_ignore_ascii_case(known.as_bytes());
                let at = Self::NAMES.iter().position(known)?;
                Some($set(1 << at))
            }
        }
    };
    (@ $set:ident $at:expr; $(#[$doc:meta])* $bit:ident, $($rest:tt)*) => {
        impl $set {
            $(#[$doc])*
            pub const $bit: $set = $set(1 << ($at));
        }
        bits!(@ $set $at + 1; $($rest)*);
    };
    (@ $set:ident $at:expr;) => {};
}

bits! { Flags:
    WRITE = "write",
    READONLY = "readonly",
    /// Refused by a server that is out of memory.
    DENYOOM = "denyoom",
    /// Of a data type that came as a module.
    MODULE = "module",
    ADMIN = "admin",
    PUBSUB = "pubsub",
    NOSCRIPT = "noscript",
    BLOCKING = "blocking",
    /// Allowed while the server loads its data.
    LOADING = "loading",
    /// Allowed on a replica that lost its primary.
    STALE = "stale",
    SKIP_MONITOR = "skip_monitor",
    SKIP_SLOWLOG = "skip_slowlog",
    ASKING = "asking",
    FAST = "fast",
    /// Allowed before the client is authenticated.
    NO_AUTH = "no_auth",
    /// May be called without any key although it can have some.
    NO_MANDATORY_KEYS = "no_mandatory_keys",
    NO_ASYNC_LOADING = "no_async_loading",
    /// Not inside MULTI.
    NO_MULTI = "no_multi",
    /// The range of COMMAND INFO does not show all keys.
    MOVABLEKEYS = "movablekeys",
    /// Allowed while the server is busy with a script.
    ALLOW_BUSY = "allow_busy",
}

bits! { Categories:
    KEYSPACE = "keyspace",
    READ = "read",
    WRITE = "write",
    SET = "set",
    SORTED_SET = "sortedset",
    LIST = "list",
    HASH = "hash",
    STRING = "string",
    BITMAP = "bitmap",
    HYPERLOGLOG = "hyperloglog",
    GEO = "geo",
    STREAM = "stream",
    PUBSUB = "pubsub",
    ADMIN = "admin",
    FAST = "fast",
    SLOW = "slow",
    BLOCKING = "blocking",
    DANGEROUS = "dangerous",
    CONNECTION = "connection",
    TRANSACTION = "transaction",
    SCRIPTING = "scripting",
    ARRAY = "array",
}

bits! { Access:
    /// The key and what it has stay as they are.
    READ_ONLY = "RO",
    READ_WRITE = "RW",
    /// Whatever was there is replaced.
    OVERWRITE = "OW",
    REMOVE = "RM",
    /// The value is read, copied, or can be told from the reply.
    ACCESS = "access",
    UPDATE = "update",
    INSERT = "insert",
    DELETE = "delete",
    /// A channel, which is routed as a key.
    NOT_A_KEY = "not_key",
    /// There may be more such keys than the specification finds.
    INCOMPLETE = "incomplete",
    /// The options decide; what is said is the most that they can ask for.
    VARIABLE = "variable_flags",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_names_stand_in_one_order() {
        assert_eq!(Flags::WRITE, Flags(1));
        assert_eq!(Flags::by_name(b"ALLOW_busy"), Some(Flags::ALLOW_BUSY));
        assert_eq!(Categories::by_name(b"scripting"), Some(Categories::SCRIPTING));
        assert_eq!(Flags::by_name(b"bogus"), None);
        let both = Flags::FAST.and(Flags::READONLY);
        assert_eq!(both.names().collect::<Vec<_>>(), ["readonly", "fast"]);
        assert!(both.contains(Flags::FAST) && !both.contains(Flags::WRITE));
    }
}
