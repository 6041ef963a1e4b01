use std::collections::BTreeSet;

use super::*;
use crate::command::all;
use crate::command::test_request::Owned;

fn found(words: &[&[u8]]) -> Option<&'static str> {
    match lookup(&Owned::new(words.iter().copied()).request()) {
        Lookup::Found(command) => Some(command.name),
        Lookup::UnknownSubcommand(_) | Lookup::Unknown => None,
    }
}

/// Every other letter a capital.
fn mixed(name: &str) -> String {
    let letters = name.chars().enumerate();
    letters.map(|(at, c)| if at % 2 == 0 { c.to_ascii_uppercase() } else { c }).collect()
}

#[test]
fn every_command_is_found_in_any_case_of_letters() {
    for command in all() {
        for name in [command.name.to_string(), command.name.to_uppercase(), mixed(command.name)] {
            assert_eq!(found(&[name.as_bytes()]), Some(command.name), "{name}");
            for sub in command.subcommands {
                let short = sub.short_name();
                for short in [short.to_string(), short.to_uppercase(), mixed(short)] {
                    assert_eq!(found(&[name.as_bytes(), short.as_bytes()]), Some(sub.name));
                }
            }
        }
        assert_eq!(by_name(command.name).unwrap().name, command.name);
    }
    assert_eq!(by_name("Client|SetName").map(|command| command.name), Some("client|setname"));
    assert!(by_name("client|").is_none());
    assert!(by_name("get|set").is_none());
}

/// What redis 8.8 and 8.10 and Valkey 9.1 brought; the live server of the tests may be older.
#[test]
fn commands_of_the_newest_servers_are_known() {
    use crate::command::model::{Counted, Keys, Patience, Refusal, Run};
    let key = Keys::Range { first: 1, last: 1, step: 1 };
    let two_keys = Keys::Range { first: 1, last: 2, step: 1 };
    let card = Keys::Numkeys { at: 1, of: Counted::Card };
    for (name, arity, keys, run) in [
        ("increx", -2, key, Run::Forward),
        ("xnack", -7, key, Run::Forward),
        ("arset", -4, key, Run::Forward),
        ("argrep", -6, key, Run::Forward),
        ("lmovem", -5, two_keys, Run::Forward),
        ("blmovem", -6, two_keys, Run::Block(Patience::Unknown)),
        ("sunioncard", -3, card, Run::Forward),
        ("sdiffcard", -3, card, Run::Forward),
        ("ts.read", -3, key, Run::Block(Patience::BlockMs)),
        ("himport|prepare", -4, Keys::None, Run::Refuse(Refusal::ConnectionState)),
        ("backup|start", 2, Keys::None, Run::Refuse(Refusal::ServerAdministration)),
    ] {
        let command = by_name(name).unwrap();
        assert_eq!((command.arity, command.keys, command.run), (arity, keys, run), "{name}");
    }
    assert_eq!(all().filter(|command| command.name.starts_with("ar")).count(), 18);
}

#[test]
fn the_table_is_in_order() {
    let mut seen = BTreeSet::new();
    for command in all() {
        assert!(seen.insert(command.name), "{} stands twice", command.name);
        assert_eq!(command.name, command.name.to_lowercase());
        assert_ne!(command.arity, 0, "{}", command.name);
        for sub in command.subcommands {
            assert!(seen.insert(sub.name), "{} stands twice", sub.name);
            let (parent, _) = sub.name.split_once('|').expect("a subcommand has its parent's name");
            assert_eq!(parent, command.name);
            assert_eq!(sub.family, command.family, "{}", sub.name);
            assert!(sub.arity.unsigned_abs() >= 2, "{}", sub.name);
        }
    }
    for file in table::FILES {
        assert!(file.is_sorted_by_key(|command| command.name), "{}", file[0].name);
    }
}

#[test]
fn containers_answer_for_their_subcommands() {
    assert_eq!(found(&[b"CLIENT"]), Some("client"));
    assert!(!by_name("client").unwrap().arity_ok(1));
    assert_eq!(found(&[b"COMMAND"]), Some("command"));
    assert!(matches!(
        lookup(&Owned::of_words("CLIENT BOGUS").request()),
        Lookup::UnknownSubcommand(command) if command.name == "client"
    ));
    assert_eq!(found(&[b"DEBUG", b"SLEEP"]), Some("debug"));
    assert_eq!(found(&[b"debug", b"Object", b"k"]), Some("debug|object"));
}

#[test]
fn other_bytes_are_unknown() {
    let names: [&[u8]; 12] = [
        b"",
        b"\0",
        b"GET\0",
        b"\0GET",
        b"GE",
        b"GETT",
        b"G\xc5T",
        b"@GET",
        b"JSON\x0eGET",
        b"client|setname",
        &[0xff; 32],
        &[b'a'; 33],
    ];
    for name in names {
        assert_eq!(found(&[name]), None, "{name:?}");
        assert_eq!(found(&[b"CLIENT", name]), None, "{name:?}");
    }
    assert_eq!(found(&[&vec![b'g'; 1 << 20]]), None);
}

/// Only `A` to `Z` become small: no other byte is changed by it, and none becomes a letter.
#[test]
fn folding_knows_ascii_capitals_only() {
    for byte in 0..=u8::MAX {
        let word = u64::from_le_bytes([byte, b'A', byte, 0, byte, 0xff, byte, byte]);
        let small = byte.to_ascii_lowercase();
        let expected = u64::from_le_bytes([small, b'a', small, 0, small, 0xff, small, small]);
        assert_eq!(lower(word), expected, "{byte:#x}");
    }
}

/// A name with one byte changed is another name, at every length and place.
#[test]
fn no_byte_of_a_name_is_overlooked() {
    for length in 1..=NAME_BYTES_MAX {
        let name: Vec<u8> = (0..length).map(|at| b'a' + at as u8 % 26).collect();
        let folded = Folded::new(&name).unwrap();
        for at in 0..length {
            let mut other = name.clone();
            other[at] ^= 1;
            assert!(!folded.equals(&Folded::new(&other).unwrap()), "length {length}, byte {at}");
        }
    }
}

/// Words that overlap are the same for `aaaa` and `aaaaa`: the length tells them apart.
#[test]
fn names_of_one_letter_differ_by_their_length() {
    let names: Vec<Vec<u8>> = (1..=NAME_BYTES_MAX).map(|length| vec![b'a'; length]).collect();
    for one in &names {
        let folded = Folded::new(one).unwrap();
        let same = names.iter().filter(|other| folded.equals(&Folded::new(other).unwrap()));
        assert_eq!(same.count(), 1, "length {}", one.len());
    }
}

/// The index is good: a look-up rarely has to go on.
#[test]
fn most_names_stand_in_their_own_slot() {
    let steps = |name: &str| {
        let own = Folded::new(name.as_bytes()).unwrap().slot() % SLOTS;
        let at = (0..SLOTS).find(|&step| {
            let entry = usize::from(INDEX.slots[(own + step) % SLOTS]);
            entry != 0 && INDEX.entries[entry - 1].1.name == name
        });
        at.unwrap()
    };
    for name in ["get", "set", "del", "mget", "mset", "incr", "hget", "hset", "lpush", "expire"] {
        assert!(steps(name) <= 1, "{name}");
    }
    let all: Vec<usize> = all().map(|command| steps(command.name)).collect();
    assert!(all.iter().sum::<usize>() < all.len(), "more than one step on average");
}
