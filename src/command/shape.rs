//! Shapes of replies: what a redis-server may say to a command, as far as the first byte tells.
//!
//! Replies are paired with requests by their position on a connection and by nothing else. A reply
//! of a type that its command never gives is the proof that a position is wrong. The test is made
//! for every reply, so it is one shift; what it can not say (EVAL, modules, commands that are not
//! in the table) is allowed, and so is every error.

use crate::base::limits::TRANSACTION_REQUESTS_MAX;
use crate::command::model::Family;

/// A set of types of replies. A type is its first byte, of which the lower five bits tell all types
/// apart but `~` and `>`, and a push is nobody's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u32);

const TYPES: &[u8] = b"+-:$*_#,(=!%~|";

const _: () = {
    let (mut at, mut seen) = (0, 0);
    while at < TYPES.len() {
        assert!(seen & bit(TYPES[at]) == 0, "two types share a bit");
        seen |= bit(TYPES[at]);
        at += 1;
    }
};

const fn bit(kind: u8) -> u32 {
    1 << (kind & 31)
}

impl Kinds {
    pub const ANY: Kinds = Kinds(u32::MAX);
    /// Errors alone: of a command that no redis-server is asked.
    pub const ERRORS: Kinds = Kinds::of(b"");
    /// All that a connection may carry that has not said HELLO 3.
    pub const RESP2: Kinds = Kinds::of(b"+:$*");

    /// These types, and errors.
    pub const fn of(types: &[u8]) -> Kinds {
        let (mut at, mut set) = (0, bit(b'-') | bit(b'!'));
        while at < types.len() {
            set |= bit(types[at]);
            at += 1;
        }
        Kinds(set)
    }

    #[inline]
    pub const fn and(self, other: Kinds) -> Kinds {
        Kinds(self.0 & other.0)
    }

    /// Without arrays: where these are counted, the count decides.
    pub const fn without_arrays(self) -> Kinds {
        Kinds(self.0 & !bit(b'*'))
    }

    #[inline]
    pub const fn has(self, kind: u8) -> bool {
        self.0 & bit(kind) != 0
    }
}

/// What the number of its arguments says more of a command's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByArgs {
    Nothing,
    /// An array of so many elements.
    Array(u16),
    /// An array with one element for each argument from this one on (MGET: 1, HMGET: 2).
    ArrayOfArgs {
        from: u16,
    },
    /// With so many arguments, which leave no room for an option that would change its reply, only
    /// these types (SET with 3).
    Bare {
        args: u16,
        kinds: Kinds,
    },
}

/// What is remembered of a request until its reply comes: for whom it counts, and what may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub kinds: Kinds,
    /// Elements of the array that alone is an answer beside `kinds`; 0: none is.
    pub elements: u16,
    pub family: Family,
    /// The answer to the last request of a transaction, before which those to the others come.
    pub is_block: bool,
}

/// More elements than `Asked` can count: any array is right.
const UNCOUNTED: u16 = u16::MAX;

const _: () = assert!(TRANSACTION_REQUESTS_MAX < UNCOUNTED as usize);

impl Asked {
    /// Whatever the answer may be.
    pub const fn any(family: Family) -> Asked {
        Asked { kinds: Kinds::ANY, elements: 0, family, is_block: false }
    }

    pub const fn of(family: Family, types: &[u8]) -> Asked {
        Asked { kinds: Kinds::of(types), elements: 0, family, is_block: false }
    }

    /// MULTI, so many requests (at most [`TRANSACTION_REQUESTS_MAX`]) and EXEC. None of the types
    /// is right at first sight: what may come depends on what has come. Of one in which nothing
    /// but scripts can write the answer is looked into.
    pub const fn block(requests: usize, scripts_write: bool) -> Asked {
        let (kinds, elements) = (Kinds(0), requests as u16);
        let family = if scripts_write { Family::Scripting } else { Family::Transactions };
        Asked { kinds, elements, family, is_block: true }
    }

    /// With an array of so many elements.
    pub const fn counted(self, elements: usize) -> Asked {
        let elements = if elements < UNCOUNTED as usize { elements as u16 } else { UNCOUNTED };
        Asked { kinds: self.kinds.without_arrays(), elements, ..self }
    }

    /// Whether an array of `elements` elements is an answer although `kinds` has none.
    pub const fn allows_array(self, elements: u64) -> bool {
        self.elements == UNCOUNTED || (self.elements != 0 && self.elements as u64 == elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_its_types_and_errors() {
        for kind in TYPES {
            assert!(Kinds::ANY.has(*kind));
            let named = b"+:-!".contains(kind);
            assert_eq!(Kinds::of(b"+:").has(*kind), named, "{}", kind.escape_ascii());
            assert_eq!(Kinds::ERRORS.has(*kind), b"-!".contains(kind));
            assert_eq!(Kinds::RESP2.has(*kind), b"+:$*-!".contains(kind));
        }
    }

    #[test]
    fn arrays_are_counted_as_far_as_16_bits_go() {
        let asked = |elements| Asked::of(Family::String, b"*_").counted(elements);
        assert!(!asked(3).kinds.has(b'*') && asked(3).kinds.has(b'_'));
        assert!(asked(3).allows_array(3) && !asked(3).allows_array(2));
        assert!(!Asked::of(Family::String, b":").allows_array(0));
        for many in [65_535, 65_536, 1 << 20] {
            assert!(asked(many).allows_array(many as u64) && asked(many).allows_array(7));
        }
    }
}
