use super::*;
use crate::command::test_request::Owned;
use crate::command::{Lookup, lookup};

fn keys(words: &str) -> Result<Vec<String>, KeysError> {
    let owned = Owned::of_words(words);
    let request = owned.request();
    let Lookup::Found(command) = lookup(&request) else { panic!("{words}: unknown") };
    assert!(command.arity_ok(request.len()), "{words}: arity");
    let mut out = vec![77];
    let found = find_keys(command, &request, &mut out);
    if found.is_err() {
        assert!(out.is_empty(), "{words}: an error leaves keys");
    }
    let text = |&at: &u32| String::from_utf8(request.arg(at as usize).to_vec()).unwrap();
    found.map(|()| out.iter().map(text).collect())
}

#[track_caller]
fn finds(words: &str, expected: &str) {
    let expected: Vec<&str> = expected.split_whitespace().collect();
    assert_eq!(keys(words).as_deref().unwrap(), expected, "{words}");
}

#[track_caller]
fn fails(words: &str, expected: KeysError) {
    assert_eq!(keys(words), Err(expected), "{words}");
}

#[test]
fn ranges() {
    finds("GET a", "a");
    finds("PING", "");
    finds("MGET a b a", "a b a");
    finds("MSET a 1 b 2", "a b");
    finds("BITOP AND d a b", "d a b");
    finds("RENAME a b", "a b");
    finds("BLPOP a b 0", "a b");
    finds("OBJECT ENCODING a", "a");
    finds("MEMORY USAGE a SAMPLES 5", "a");
    finds("JSON.MGET a b $", "a b");
    finds("JSON.MSET a $ 1 b $ 2", "a b");
    finds("SUNSUBSCRIBE", "");
    fails("MSET a 1 b", KeysError::Unpaired);
    fails("JSON.MSET a $ 1 b", KeysError::Unpaired);
}

#[test]
fn counts() {
    finds("EVAL body 0", "");
    finds("EVAL body 0 a", "");
    finds("EVAL body 2 a b c", "a b");
    finds("FCALL f 1 a", "a");
    finds("SINTERCARD 2 a b LIMIT 1", "a b");
    finds("LMPOP 1 a LEFT", "a");
    finds("BZMPOP 0 2 a b MIN", "a b");
    finds("MSETEX 2 a 1 b 2 EX 5", "a b");
    finds("ZUNIONSTORE d 2 a b WEIGHTS 1 2", "d a b");
    finds("CMS.MERGE d 1 a", "d a");
}

#[test]
fn counts_that_are_wrong() {
    for (number, error) in [
        ("x", KeysError::NumkeysNotAnInteger),
        ("1.0", KeysError::NumkeysNotAnInteger),
        ("+1", KeysError::NumkeysNotAnInteger),
        ("01", KeysError::NumkeysNotAnInteger),
        ("-0", KeysError::NumkeysNotAnInteger),
        ("-", KeysError::NumkeysNotAnInteger),
        ("9223372036854775808", KeysError::NumkeysNotAnInteger),
        ("18446744073709551617", KeysError::NumkeysNotAnInteger),
        ("9223372036854775807", KeysError::TooManyKeys),
        ("4294967297", KeysError::TooManyKeys),
        ("3", KeysError::TooManyKeys),
        ("-1", KeysError::NegativeKeys),
        ("-9223372036854775808", KeysError::NegativeKeys),
    ] {
        fails(&format!("EVAL body {number} a b"), error);
        fails(&format!("ZUNION {number} a b"), error);
        fails(&format!("ZUNIONSTORE d {number} a b"), error);
        fails(&format!("MSETEX {number} a 1"), error);
    }
    fails("ZUNION 0 a", KeysError::NoKeys);
    fails("ZUNIONSTORE d 0 a", KeysError::NoKeys);
    fails("SINTERCARD 0 a", KeysError::NoKeys);
    fails("MSETEX 2 a 1 b", KeysError::TooManyKeys);
    fails("MSETEX 9223372036854775807 a 1 b", KeysError::TooManyKeys);
}

#[test]
fn stores() {
    finds("SORT a", "a");
    finds("SORT a BY w LIMIT 0 5 GET # STORE d", "a d");
    finds("SORT a BY store STORE d store e", "a e");
    finds("SORT a GET store x", "a");
    finds("SORT a LIMIT store store", "a");
    finds("SORT a STORE", "a");
    finds("SORT_RO a BY w", "a");
    finds("GEORADIUS a 1 2 3 m STORE d", "a d");
    finds("GEORADIUS a 1 2 3 m COUNT 1 ANY STOREDIST d", "a d");
    finds("GEORADIUS a 1 2 3 m STORE d STOREDIST e", "a d e");
    finds("GEORADIUSBYMEMBER a store 3 m", "a");
    finds("GEORADIUS a 1 2 3 m STORE", "a");
}

#[test]
fn migrations() {
    finds("MIGRATE h 1 a 0 10", "a");
    finds("MIGRATE h 1 a 0 10 KEYS b", "a");
    finds("MIGRATE h 1 '' 0 10 KEYS a b", "a b");
    finds("MIGRATE h 1 '' 0 10 AUTH keys KEYS a b", "a b");
    finds("MIGRATE h 1 '' 0 10 COPY AUTH2 keys keys KEYS keys b", "keys b");
    fails("MIGRATE h 1 '' 0 10 KEYS", KeysError::Syntax);
}

#[test]
fn streams_and_their_options() {
    finds("XREAD STREAMS a b 0 0", "a b");
    finds("XREAD count 1 block 0 streams a 0", "a");
    finds("XREAD BLOCK STREAMS STREAMS a 0", "a");
    finds("XREADGROUP GROUP g STREAMS COUNT 1 CLAIM 5 NOACK STREAMS a >", "a");
    finds("XREAD COUNT 1 MAXCOUNT 5 maxsize 9 STREAMS a b 0 0", "a b");
    finds("XREADGROUP COUNT 1 GROUP g c MAXCOUNT 5 STREAMS a >", "a");
    fails("XREAD STREAMS a b 0", KeysError::Unbalanced);
    fails("XREAD COUNT 1 STREAMS", KeysError::Syntax);
    fails("XREAD COUNT 1 a", KeysError::Syntax);
    fails("XREAD BOGUS STREAMS a 0", KeysError::Syntax);
    for (words, blocks) in [
        ("XREAD BLOCK 0 STREAMS a 0", true),
        ("XREAD COUNT 5 BlOcK 0 STREAMS a 0", true),
        ("XREADGROUP GROUP g BLOCK STREAMS a >", false),
        ("XREADGROUP GROUP BLOCK BLOCK COUNT 1 STREAMS a >", false),
        ("XREAD STREAMS BLOCK 0", false),
        ("XREAD COUNT BLOCK STREAMS a 0", false),
        ("XREAD MAXCOUNT 9 MAXSIZE 99 BLOCK 0 STREAMS a 0", true),
        ("XREAD MAXSIZE BLOCK STREAMS a 0", false),
        ("TS.READ a 0", false),
        ("TS.READ block 0 MAX_COUNT 5", false),
        ("TS.READ a 0 BLOCK 0 1", true),
        ("TS.READ a 0 MAX_COUNT 5 block 0 1", true),
    ] {
        let owned = Owned::of_words(words);
        let Lookup::Found(command) = lookup(&owned.request()) else { panic!("{words}: unknown") };
        assert_eq!(block_option(command, &owned.request()).is_some(), blocks, "{words}");
    }
}

#[test]
fn a_million_keys_are_found_in_one_pass() {
    let mut words = vec!["DEL".to_string()];
    words.extend((0..1_000_000).map(|key| key.to_string()));
    let owned = Owned::new(words.iter().map(|word| word.as_bytes()));
    let Lookup::Found(command) = lookup(&owned.request()) else { panic!("DEL is known") };
    let mut out = Vec::new();
    find_keys(command, &owned.request(), &mut out).unwrap();
    assert_eq!(out.len(), 1_000_000);
    assert_eq!(out.last(), Some(&1_000_000));
}

/// Whatever a client sends: no panic, and no index beyond the arguments.
#[test]
fn hostile_requests_are_harmless() {
    let words: [&[u8]; 14] = [
        b"",
        b"-1",
        b"0",
        b"1",
        b"3",
        b"99999999999999999999",
        b"STREAMS",
        b"store",
        b"KEYS",
        b"LIMIT",
        b"block",
        b"GROUP",
        b"count",
        b"\xff\0\r\n",
    ];
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 11) as usize % below
    };
    let commands: Vec<&Command> =
        crate::command::all().flat_map(|c| std::iter::once(c).chain(c.subcommands)).collect();
    let mut out = Vec::new();
    for _ in 0..50_000 {
        let command = commands[random(commands.len())];
        let length = 1 + random(12);
        let owned = Owned::new((0..length).map(|_| words[random(words.len())]));
        let request = owned.request();
        if find_keys(command, &request, &mut out).is_ok() {
            // Without the arity check, which comes first in life, a range may reach too far.
            assert!(out.iter().all(|&at| (at as usize) < length.max(4)), "{}", command.name);
        } else {
            assert!(out.is_empty(), "{}", command.name);
        }
        block_option(command, &request);
    }
}
