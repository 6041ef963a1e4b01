//! From the name in a request to its line of the table: one hash, mostly one comparison, no
//! allocation, any bytes.
//!
//! A name is read into four words in lower case, filled up with zeros, and these are looked up in
//! an open-addressed index that the compiler builds. Names longer than [`NAME_BYTES_MAX`] are no
//! command's.

use crate::command::model::{Command, Run};
use crate::command::table;
use crate::resp::args::Request;

/// The longest name that one word holds: nearly all that are asked for …
const WORD_BYTES: usize = 8;

/// … that two words hold: every command's but a few …
const SHORT_BYTES_MAX: usize = 16;

/// … and that four words hold.
pub const NAME_BYTES_MAX: usize = 32;

/// What a request's name (and its subcommand's) stands for.
#[derive(Clone, Copy, Debug)]
pub enum Lookup {
    /// For a container command (CLIENT, CONFIG …) this is the subcommand's line; the container's
    /// own if there is no second argument, for the arity error.
    Found(&'static Command),
    /// The container is known, its subcommand is not.
    UnknownSubcommand(&'static Command),
    Unknown,
}

/// Finds the command of `request`, in any case of letters.
#[inline]
pub fn lookup(request: &Request<'_>) -> Lookup {
    let Some(command) = INDEX.find(request.name()) else { return Lookup::Unknown };
    if command.subcommands.is_empty() || request.len() < 2 {
        return Lookup::Found(command);
    }
    within(command, request.arg(1))
}

/// Finds a command by its name in any case of letters, a subcommand by `parent|sub`.
pub fn by_name(name: impl AsRef<[u8]>) -> Option<&'static Command> {
    let name = name.as_ref();
    let Some(bar) = memchr::memchr(b'|', name) else { return INDEX.find(name) };
    let (parent, sub) = name.split_at(bar);
    subcommand(INDEX.find(parent)?, sub.get(1..)?)
}

fn within(container: &'static Command, name: &[u8]) -> Lookup {
    match subcommand(container, name) {
        Some(command) => Lookup::Found(command),
        // DEBUG: it is refused as a whole, beside the few subcommands that have a line.
        None if matches!(container.run, Run::Refuse(_)) => Lookup::Found(container),
        None => Lookup::UnknownSubcommand(container),
    }
}

fn subcommand(container: &'static Command, name: &[u8]) -> Option<&'static Command> {
    let skip = container.name.len() + 1;
    container.subcommands.iter().find(|command| {
        command.name.as_bytes().get(skip..).is_some_and(|short| name.eq_ignore_ascii_case(short))
    })
}

/// A name in lower case. It is read by words that overlap, so that no byte behind the name is
/// touched. The length beside them tells a name from the same one with NUL bytes behind it.
#[derive(Clone, Copy)]
struct Folded {
    words: [u64; 4],
    length: usize,
}

impl Folded {
    #[inline]
    const fn new(name: &[u8]) -> Option<Folded> {
        let length = name.len();
        if length > WORD_BYTES {
            return Folded::of_long(name);
        }
        let word = match (name, name.first_chunk(), name.last_chunk()) {
            ([], ..) => return None,
            (_, Some(first), Some(last)) => {
                let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
                first as u64 | (last as u64) << (8 * (length - 4))
            }
            (few, ..) => {
                let (first, middle, last) = (few[0], few[length / 2], few[length - 1]);
                let middle = (middle as u64) << (8 * (length / 2));
                first as u64 | middle | (last as u64) << (8 * (length - 1))
            }
        };
        Some(Folded { words: [lower(word), 0, 0, 0], length })
    }

    const fn of_long(name: &[u8]) -> Option<Folded> {
        let length = name.len();
        if length > NAME_BYTES_MAX {
            return None;
        }
        let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) else {
            return None;
        };
        let (a, b) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        if length <= SHORT_BYTES_MAX {
            let b = b >> (8 * (SHORT_BYTES_MAX - length));
            return Some(Folded { words: [lower(a), lower(b), 0, 0], length });
        }
        let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) else {
            return None;
        };
        let (first, last) = (u128::from_le_bytes(*first), u128::from_le_bytes(*last));
        let last = last >> (8 * (NAME_BYTES_MAX - length));
        let [a, b] = [lower(first as u64), lower((first >> 64) as u64)];
        let [c, d] = [lower(last as u64), lower((last >> 64) as u64)];
        Some(Folded { words: [a, b, c, d], length })
    }

    #[inline]
    const fn equals(&self, other: &Folded) -> bool {
        let [a, b, c, d] = self.words;
        let [e, f, g, h] = other.words;
        (a ^ e) | (b ^ f) | (self.length ^ other.length) as u64 == 0
            && (self.length <= SHORT_BYTES_MAX || (c ^ g) | (d ^ h) == 0)
    }

    /// A multiplicative hash of the first words, which tell nearly all names apart. The factors are
    /// odd numbers without a pattern (of the square roots of 2 and 3); nobody can flood the index,
    /// for its content is fixed.
    #[inline]
    const fn slot(&self) -> usize {
        let [a, b, ..] = self.words;
        let mut mixed = a ^ a >> 32;
        if self.length > WORD_BYTES {
            mixed ^= b.wrapping_mul(0x6a09_e667_f3bc_c909);
        }
        mixed.wrapping_mul(0xbb67_ae85_84ca_a73b) as usize >> (64 - SLOT_BITS)
    }
}

/// The ASCII capitals of eight bytes as small letters; other bytes as they are.
#[inline]
const fn lower(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let seven = word & (0x7f * EACH);
    // No byte overflows into its neighbour: 0x7f and at most 0x3f.
    let from_a = seven.wrapping_add((0x80 - b'A' as u64) * EACH);
    let past_z = seven.wrapping_add((0x7f - b'Z' as u64) * EACH);
    let capitals = (from_a ^ past_z) & !word & (0x80 * EACH);
    word | capitals >> 2
}

/// 1024 slots of 2 bytes: about a third is used, so that most names are found at once.
const SLOT_BITS: u32 = 10;
const SLOTS: usize = 1 << SLOT_BITS;
const _: () = assert!(table::COUNT < SLOTS / 2, "the index is too full: raise SLOT_BITS");

struct Index {
    /// Index into `entries` plus one; 0 is free.
    slots: [u16; SLOTS],
    entries: [(Folded, &'static Command); table::COUNT],
}

static INDEX: Index = Index::build();

impl Index {
    #[inline]
    fn find(&self, name: &[u8]) -> Option<&'static Command> {
        let name = Folded::new(name)?;
        let mut slot = name.slot();
        // Ends: more than half of all slots are free.
        loop {
            let entry = usize::from(*self.slots.get(slot % SLOTS)?);
            let (known, command) = self.entries.get(entry.checked_sub(1)?)?;
            if known.equals(&name) {
                return Some(command);
            }
            slot += 1;
        }
    }

    const fn build() -> Index {
        let nothing = (Folded { words: [0; 4], length: 0 }, &table::FILES[0][0]);
        let mut index = Index { slots: [0; SLOTS], entries: [nothing; table::COUNT] };
        let mut count = 0;
        let mut file = 0;
        while file < table::FILES.len() {
            let mut line = 0;
            while line < table::FILES[file].len() {
                index.put(count, &table::FILES[file][line]);
                count += 1;
                line += 1;
            }
            file += 1;
        }
        index
    }

    const fn put(&mut self, at: usize, command: &'static Command) {
        let name = Folded::new(command.name.as_bytes());
        assert!(name.is_some(), "a command's name is empty or too long");
        let Some(name) = name else { return };
        let mut slot = name.slot() % SLOTS;
        while self.slots[slot] != 0 {
            let (known, _) = &self.entries[self.slots[slot] as usize - 1];
            assert!(!known.equals(&name), "a command stands in the table twice");
            slot = (slot + 1) % SLOTS;
        }
        self.entries[at] = (name, command);
        self.slots[slot] = at as u16 + 1;
    }
}

#[cfg(test)]
mod tests;
