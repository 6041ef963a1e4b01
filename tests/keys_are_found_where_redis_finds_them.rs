//! `find_keys` against COMMAND GETKEYS of a live redis-server: listed requests, and requests
//! invented from a fixed seed, with numbers of keys that may be wrong.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use corelay::command::keys::KeysError;
use corelay::command::model::{Command, Family, Keys};
use corelay::command::{Lookup, all, lookup};

#[path = "support/one_redis.rs"]
mod one_redis;
#[path = "support/plain_resp.rs"]
mod plain_resp;
use one_redis::OneRedis;
use plain_resp::{Client, Owned, Value, entries, our_keys, words};

/// COMMAND GETKEYS of the server; `None` for its error.
fn their_keys(client: &mut Client, words: &[String]) -> Option<Vec<String>> {
    let mut asked = vec!["COMMAND", "GETKEYS"];
    asked.extend(words.iter().map(String::as_str));
    match client.ask(&asked) {
        Value::Array(keys) => Some(keys.iter().map(|key| key.text().to_string()).collect()),
        Value::Error(_) => None,
        other => panic!("{words:?}: {other:?}"),
    }
}

#[test]
fn keys_are_found_where_redis_finds_them() {
    let redis = OneRedis::start();
    let mut client = Client::of(redis.connect());
    for line in [
        "EVAL body 0",
        "EVAL body 2 a b c",
        "EVALSHA 0000 1 a",
        "EVAL_RO body 1 a b",
        "EVALSHA_RO 0000 2 a b",
        "FCALL f 1 a",
        "FCALL_RO f 0 a",
        "ZUNIONSTORE d 2 a b WEIGHTS 1 2",
        "ZINTERSTORE d 1 a",
        "ZDIFFSTORE d 2 a b",
        "ZUNION 2 a b WITHSCORES",
        "ZINTER 1 a",
        "ZDIFF 2 a b",
        "ZINTERCARD 2 a b LIMIT 1",
        "SINTERCARD 2 a b",
        "LMPOP 2 a b LEFT",
        "ZMPOP 1 a MIN COUNT 2",
        "BLMPOP 0 2 a b LEFT",
        "BZMPOP 0 1 a MAX",
        "XREAD STREAMS a 0",
        "XREAD COUNT 2 BLOCK 5 STREAMS a b 0 0",
        "XREADGROUP GROUP g c COUNT 1 NOACK STREAMS a b > >",
        "XREADGROUP GROUP STREAMS STREAMS STREAMS a >",
        "SORT a",
        "SORT a BY w* LIMIT 0 2 GET # STORE d",
        "SORT a STORE d STORE e",
        "SORT a BY store GET store ALPHA",
        "SORT_RO a BY w*",
        "GEORADIUS a 1 2 3 m",
        "GEORADIUS a 1 2 3 m COUNT 1 STORE d",
        "GEORADIUS a 1 2 3 m STORE d STOREDIST e",
        "GEORADIUSBYMEMBER a store 3 m STOREDIST d",
        "GEOSEARCHSTORE d a FROMMEMBER m BYRADIUS 1 m",
        "MIGRATE h 1 a 0 10",
        "MIGRATE h 1 '' 0 10 COPY KEYS a b",
        "MIGRATE h 1 '' 0 10 AUTH KEYS KEYS a",
        "MIGRATE h 1 '' 0 10 AUTH2 u KEYS KEYS a b",
        "BITOP AND d a b",
        "MEMORY USAGE a SAMPLES 5",
        "OBJECT ENCODING a",
        "XINFO STREAM a FULL",
        "XGROUP CREATE a g $",
        "PFDEBUG encoding a",
        "COPY a b DB 1",
        "LCS a b IDX",
        "BLPOP a b 0",
        "MSETNX a 1 b 2",
        "SMOVE a b m",
        "WATCH a b",
    ] {
        let line = words(line);
        let theirs = their_keys(&mut client, &line).unwrap_or_else(|| panic!("refused: {line:?}"));
        assert_eq!(our_keys(&line), Ok(theirs), "{line:?}");
    }
}

/// Marsaglia's xorshift: the same numbers for a seed everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % end
    }

    fn word(&mut self, of: &[&str]) -> String {
        of[self.below(of.len())].to_string()
    }

    fn keys(&mut self, least: usize) -> Vec<String> {
        (0..least + self.below(4)).map(|_| self.word(&["a", "b", "{c}", "", "d e", "0"])).collect()
    }
}

/// A request of this command, with its keys and options at random; numbers of keys may be wrong.
fn invented(command: &Command, random: &mut Random) -> Vec<String> {
    let mut line: Vec<String> = command.name.split('|').map(str::to_string).collect();
    let numkeys = |random: &mut Random, keys: &[String]| match random.below(8) {
        // No number beyond 32 bits: GETKEYS takes 4294967297 for 1, the command itself does not.
        0 => random.word(&["-1", "0", "x", "2147483647", ""]),
        1 => (keys.len() + 1 + random.below(3)).to_string(),
        _ => random.below(keys.len() + 1).to_string(),
    };
    match command.keys {
        Keys::None | Keys::Range { .. } => line.extend(random.keys(8)),
        Keys::Numkeys { at, .. } | Keys::DestinationNumkeys { at } => {
            let keys = random.keys(3);
            line.resize(usize::from(at), "x".to_string());
            line.push(numkeys(random, &keys));
            line.extend(keys);
        }
        Keys::Sort => {
            line.push("a".to_string());
            for _ in 0..random.below(5) {
                let options =
                    ["BY by", "get store", "LIMIT 0 store", "STORE d", "store e", "ALPHA", "DESC"];
                line.extend(words(&random.word(&options)));
            }
        }
        Keys::Georadius => {
            line.extend(words("a store 2 3 m"));
            let options = ["STORE d", "storedist e", "COUNT 1 ANY", "WITHCOORD", "STORE"];
            let mut at = 0;
            while at < options.len() {
                line.extend(words(options[at]));
                at += 1 + random.below(options.len());
            }
        }
        Keys::Streams => {
            for _ in 0..random.below(3) {
                line.extend(words(&random.word(&["COUNT 1", "block 5", "NOACK"])));
            }
            if command.name == "xreadgroup" {
                line.splice(1..1, words("GROUP streams STREAMS"));
            }
            let keys = random.keys(1);
            line.push("streams".to_string());
            line.extend(keys.iter().cloned());
            line.extend(keys.iter().map(|_| "$".to_string()));
        }
        Keys::Migrate => {
            line.extend(words("host 1 '' 0 5"));
            for _ in 0..random.below(4) {
                line.extend(words(&random.word(&["COPY", "replace", "AUTH keys", "AUTH2 keys x"])));
            }
            line.push("keys".to_string());
            line.extend(random.keys(1));
        }
    }
    line
}

#[test]
fn keys_of_random_requests_are_found_where_redis_finds_them() {
    let redis = OneRedis::start();
    let mut client = Client::of(redis.connect());
    let mut known = Vec::new();
    entries(&client.ask(&["COMMAND"]), &mut known);
    // Where a newer server takes more arguments, ours is the newer form: not to be compared here.
    let known: BTreeSet<(&str, i64)> =
        known.iter().map(|entry| (entry.array()[0].text(), entry.array()[1].integer())).collect();
    let commands: Vec<&Command> = all()
        .flat_map(|command| std::iter::once(command).chain(command.subcommands))
        .filter(|command| {
            command.keys != Keys::None && known.contains(&(command.name, command.arity.into()))
        })
        // Channels of shards are routed as keys, but GETKEYS does not show them.
        .filter(|command| command.family != Family::PubSub)
        .collect();
    let movable: Vec<&Command> = commands
        .iter()
        .copied()
        .filter(|command| !matches!(command.keys, Keys::Range { .. }))
        .collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut agreed = 0;
    for turn in 0..6000 {
        let from = if turn % 3 == 0 { &commands } else { &movable };
        let line = invented(from[random.below(from.len())], &mut random);
        let owned = Owned::new(&line);
        let Lookup::Found(command) = lookup(&owned.request()) else { panic!("{line:?}") };
        if !command.arity_ok(line.len()) {
            assert_eq!(their_keys(&mut client, &line), None, "turn {turn}: {line:?}");
            continue;
        }
        let theirs = their_keys(&mut client, &line);
        match our_keys(&line) {
            Ok(keys) => {
                let mut keys = keys;
                let mut theirs = theirs.unwrap_or_else(|| panic!("turn {turn}: {line:?}"));
                // Redis looks for STORE before STOREDIST, we go by the order of the arguments.
                if command.keys == Keys::Georadius {
                    keys.sort();
                    theirs.sort();
                }
                assert_eq!(keys, theirs, "turn {turn}: {line:?}");
                agreed += 1;
            }
            // GETKEYS does not count values and IDs; the command itself does.
            Err(KeysError::Unpaired | KeysError::Unbalanced) => {}
            Err(why) => {
                let none = theirs.is_none_or(|keys| keys.is_empty());
                assert!(none, "turn {turn}: {line:?} is {why:?}");
            }
        }
    }
    assert!(agreed > 3000, "only {agreed} requests were valid");
}
