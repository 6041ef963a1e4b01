//! The command table says what a live redis-server says: arity, flags, categories, keys, errors.
//!
//! Against 7.0 everything has to be equal, but for the forms in `WIDER`; against another version,
//! which knows other flags, what routing needs has to be.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::net::UnixStream;

use corelay::command::model::Command;
use corelay::command::{Lookup, by_name, describe, errors, lookup};
use corelay::resp::Protocol;
use corelay::resp::args::Request;

#[path = "support/one_redis.rs"]
mod one_redis;
#[path = "support/plain_resp.rs"]
mod plain_resp;
use one_redis::OneRedis;
use plain_resp::{Client, Owned, Value, entries, our_keys, words};

/// Lines that have the form of a newer server, which accepts more: name, arity of 7.0.
const WIDER: [(&str, i64); 4] =
    [("zrank", 3), ("zrevrank", 3), ("command|getkeys", -4), ("command|getkeysandflags", -4)];

/// Commands that are spread and merged as redis advises.
const SAME_TIPS: [&str; 20] = [
    "dbsize",
    "del",
    "exists",
    "flushall",
    "flushdb",
    "function|delete",
    "function|flush",
    "function|kill",
    "function|load",
    "function|restore",
    "keys",
    "mget",
    "mset",
    "script|exists",
    "script|flush",
    "script|kill",
    "script|load",
    "touch",
    "unlink",
    "wait",
];

fn texts(set: &Value) -> BTreeSet<&str> {
    set.array().iter().map(Value::text).collect()
}

fn version(client: &mut Client) -> String {
    let info = client.ask(&["INFO", "server"]);
    let mut lines = info.text().lines();
    let version = lines.find_map(|line| line.strip_prefix("redis_version:"));
    version.expect("INFO names the version").to_string()
}

fn ours(name: &str) -> &'static Command {
    by_name(name).unwrap_or_else(|| panic!("{name} is missing from the table"))
}

#[test]
fn every_command_has_the_arity_flags_and_keys_of_redis() {
    let redis = OneRedis::start();
    let mut client = Client::of(redis.connect());
    let exact = version(&mut client).starts_with("7.0.");
    let mut theirs = Vec::new();
    entries(&client.ask(&["COMMAND"]), &mut theirs);
    assert!(theirs.len() > 300, "only {} commands", theirs.len());
    let mut differences = Vec::new();
    for entry in &theirs {
        differences.extend(differences_of(entry.array(), exact));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn differences_of(entry: &[Value], exact: bool) -> Vec<String> {
    let name = entry[0].text().to_lowercase();
    let Some(command) = by_name(&name) else { return vec![format!("{name}: missing")] };
    let mut found = Vec::new();
    let mut compare = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            found.push(format!("{name}: {what} is {ours}, redis says {theirs}"));
        }
    };
    let theirs = entry[1].integer();
    let wider = WIDER.contains(&(name.as_str(), theirs));
    let flags = texts(&entry[2]);
    // A module says -1 for all of its commands.
    if !wider && !flags.contains("module") {
        compare("arity", command.arity.to_string(), theirs.to_string());
    }
    let (first, last, step) = command.range();
    let range: Vec<i64> = entry[3..6].iter().map(Value::integer).collect();
    compare("the range", format!("{:?}", [first, last, step]), format!("{range:?}"));
    if exact {
        let categories: BTreeSet<String> =
            command.categories.names().map(|name| format!("@{name}")).collect();
        compare("the categories", format!("{categories:?}"), format!("{:?}", texts(&entry[6])));
        let names: BTreeSet<&str> = command.flags.names().collect();
        compare("the flags", format!("{names:?}"), format!("{flags:?}"));
    } else {
        for flag in ["write", "readonly", "movablekeys", "no_auth", "pubsub"] {
            let has = command.flags.names().any(|name| name == flag);
            compare(flag, has.to_string(), flags.contains(flag).to_string());
        }
    }
    found
}

#[test]
fn every_command_has_the_version_and_group_of_redis() {
    let redis = OneRedis::start();
    let mut client = Client::of(redis.connect());
    if !version(&mut client).starts_with("7.0.") {
        return;
    }
    let docs = client.ask(&["COMMAND", "DOCS"]);
    let mut compared = 0;
    walk(&docs, &mut |name, since, group| {
        assert_eq!((ours(name).since, ours(name).family.name()), (since, group), "{name}");
        compared += 1;
    });
    assert!(compared > 300);

    fn walk(docs: &Value, check: &mut dyn FnMut(&str, &str, &str)) {
        for pair in docs.array().chunks(2) {
            let fields = pair[1].array();
            let field = |name: &str| {
                fields.chunks(2).find(|field| field[0].text() == name).map(|field| &field[1])
            };
            let text = |name: &str| field(name).map(Value::text).unwrap_or_default();
            check(pair[0].text(), text("since"), text("group"));
            if let Some(subcommands) = field("subcommands") {
                walk(subcommands, check);
            }
        }
    }
}

/// What we say where redis itself would have said it, word by word.
#[test]
fn errors_are_worded_as_by_redis() {
    let redis = OneRedis::start();
    let mut client = Client::of(redis.connect());
    if !version(&mut client).starts_with("7.0.") {
        return;
    }
    for line in [
        "FOO",
        "FOO a b",
        "CLIENT FOO",
        "object foo a",
        "CLIENT",
        "CLIENT SETNAME",
        "CLIENT SETNAME a b",
        "GET",
        "GET a b",
        "MSET a 1 b",
        "MSETNX a 1 b",
        "EVAL x abc",
        "EVAL x -1",
        "EVAL x 5 a",
        "EVAL x 99999999999999999999 a",
        "ZUNION abc a",
        "ZUNION 0 a",
        "ZUNION -1 a",
        "ZUNION 5 a",
        "ZUNIONSTORE d abc a",
        "ZUNIONSTORE d 0 a",
        "ZUNIONSTORE d 5 a",
        "ZDIFF 0 a",
        "ZINTERCARD 0 a",
        "ZINTERCARD abc a",
        "ZINTERCARD 5 a",
        "SINTERCARD 0 a",
        "SINTERCARD abc a",
        "SINTERCARD -1 a",
        "SINTERCARD 5 a",
        "LMPOP 0 a LEFT",
        "LMPOP abc a LEFT",
        "LMPOP 5 a LEFT",
        "ZMPOP -1 a MIN",
        "ZMPOP 5 a MIN",
        "BLMPOP 0 0 a LEFT",
        "BLMPOP 0 5 a LEFT",
        "XREAD STREAMS a b 0",
        "XREAD COUNT 1 a",
        "XREAD FOO a b",
        "XREADGROUP GROUP g c STREAMS a b 0",
    ] {
        let words = words(line);
        let theirs = client.ask(&line.split(' ').collect::<Vec<_>>());
        let Value::Error(theirs) = theirs else { panic!("{line}: {theirs:?}") };
        let mut out = Vec::new();
        let owned = Owned::new(&words);
        let request = owned.request();
        match lookup(&request) {
            Lookup::Unknown => errors::unknown_command(&request, &mut out),
            Lookup::UnknownSubcommand(container) => {
                errors::unknown_subcommand(container, &request, &mut out);
            }
            Lookup::Found(command) if !command.arity_ok(request.len()) => {
                errors::wrong_arity(command, &mut out);
            }
            Lookup::Found(command) => match our_keys(&words) {
                Err(why) => errors::keys_error(command, why, &mut out),
                Ok(keys) => panic!("{line}: we find {keys:?}, redis says {theirs}"),
            },
        }
        assert_eq!(String::from_utf8(out).unwrap(), format!("-{theirs}\r\n"), "{line}");
    }
}

/// What a client of ours hears: the reply of one of `describe`'s functions.
fn our_answer(words: &[&str], say: impl Fn(&Request<'_>, Protocol, &mut Vec<u8>)) -> Value {
    let mut out = Vec::new();
    say(&Owned::new(words).request(), Protocol::Resp2, &mut out);
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let writer = std::thread::spawn(move || (&ours).write_all(&out));
    let answer = Client::of(theirs).read();
    writer.join().expect("no panic").expect("the reply is read");
    answer
}

/// Every command's entry field by field, key specifications and all, but for most tips and for
/// remarks on keys.
#[test]
fn command_info_has_the_fields_of_redis() {
    let redis = OneRedis::start();
    let mut client = Client::of(redis.connect());
    if !version(&mut client).starts_with("7.0.") {
        return;
    }
    let mut theirs = Vec::new();
    entries(&client.ask(&["COMMAND"]), &mut theirs);
    let mut differences = Vec::new();
    let names = theirs.iter().map(|entry| entry.array()[0].text());
    for name in names.chain(["bogus", "Strlen"]) {
        let words = ["COMMAND", "INFO", name];
        let ours = comparable(&our_answer(&words, describe::info), name);
        let theirs = comparable(&client.ask(&words), name);
        for (field, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            if ours != theirs {
                differences.push(format!("{name}: field {field} is {ours:?}, redis: {theirs:?}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));

    fn comparable(reply: &Value, name: &str) -> Vec<Value> {
        let Value::Array(fields) = &reply.array()[0] else { return vec![reply.clone()] };
        let mut fields = fields.clone();
        let sorted = |value: &Value| {
            let texts = texts(value).into_iter().map(str::to_string);
            Value::Array(texts.map(Value::Text).collect())
        };
        if WIDER.iter().any(|(wider, _)| *wider == name) {
            fields[1] = Value::Nothing;
        }
        fields[2] = sorted(&fields[2]);
        fields[6] = sorted(&fields[6]);
        // Elsewhere the tips tell how this proxy spreads a command, not how a cluster's client would.
        let is_policy = |tip: &&str| SAME_TIPS.contains(&name) && tip.contains("policy");
        let tips = texts(&fields[7]).into_iter().filter(is_policy).map(str::to_string);
        fields[7] = Value::Array(tips.map(Value::Text).collect());
        let without_notes = |spec: &Value| {
            let fields = spec.array().chunks(2).filter(|field| field[0].text() != "notes");
            Value::Array(fields.flatten().cloned().collect())
        };
        fields[8] = Value::Array(fields[8].array().iter().map(without_notes).collect());
        fields.truncate(9); // each subcommand has an entry of its own
        fields
    }
}

const WITH_KEYS: [&str; 65] = [
    "GET a",
    "SET a 1",
    "SET a 1 EX 10 NX",
    "SET a 1 XX get",
    "SET a get",
    "SETNX a 1",
    "MSET a 1 b 2",
    "MSETNX a 1 b 2",
    "APPEND a 1",
    "INCR a",
    "GETDEL a",
    "DEL a b",
    "UNLINK a",
    "EXISTS a b",
    "TYPE a",
    "EXPIRE a 1",
    "RENAME a b",
    "RENAMENX a b",
    "COPY a b REPLACE",
    "BITFIELD a GET u8 0",
    "BITFIELD a GET u8 0 OVERFLOW FAIL GET i5 1",
    "BITFIELD a GET u8 0 SET u8 0 1",
    "BITFIELD a INCRBY u8 0 1",
    "BITFIELD a",
    "BITFIELD_RO a GET u8 0",
    "BITOP AND d a b",
    "PFCOUNT a b",
    "PFMERGE d a b",
    "HSET a f v",
    "HDEL a f",
    "LPUSH a 1",
    "LPOP a",
    "LMOVE a b LEFT RIGHT",
    "RPOPLPUSH a b",
    "LMPOP 2 a b LEFT",
    "LCS a b",
    "SMOVE a b m",
    "SINTERSTORE d a b",
    "SUNIONSTORE d a b",
    "SINTERCARD 2 a b",
    "ZADD a 1 m",
    "ZUNIONSTORE d 2 a b",
    "ZRANGESTORE d a 0 1",
    "ZPOPMIN a",
    "ZREM a m",
    "SORT a",
    "SORT a BY w* STORE d",
    "SORT_RO a GET x*",
    "GEORADIUS a 1 2 3 km STORE d",
    "GEORADIUSBYMEMBER a m 3 km STOREDIST d",
    "GEOSEARCHSTORE d a FROMMEMBER m BYRADIUS 1 km",
    "XADD a * f v",
    "XREAD STREAMS a b 0 0",
    "XREADGROUP GROUP g c STREAMS a b > >",
    "XGROUP CREATE a g $",
    "XGROUP DESTROY a g",
    "OBJECT ENCODING a",
    "EVAL x 2 a b",
    "EVAL_RO x 1 a",
    "MIGRATE h 1 a 0 10",
    "MIGRATE h 1 \u{0} 0 10 KEYS a b",
    "BLPOP a b 0",
    "PING a",
    "GET a b",
    "bogus a",
];

/// COMMAND GETKEYSANDFLAGS: what each request does with each of its keys.
#[test]
fn what_is_done_with_each_key_is_what_redis_says() {
    let redis = OneRedis::start();
    let mut client = Client::of(redis.connect());
    if !version(&mut client).starts_with("7.0.") {
        return;
    }
    for line in WITH_KEYS {
        let words = line.split(' ').map(|word| if word == "\0" { "" } else { word });
        let words: Vec<&str> = ["COMMAND", "GETKEYSANDFLAGS"].into_iter().chain(words).collect();
        let ours = our_answer(&words, describe::getkeysandflags);
        assert_eq!(ours, client.ask(&words), "{line}");
    }
}
