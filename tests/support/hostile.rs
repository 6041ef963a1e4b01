//! Bytes of a client that means no good (or knows no better), and what has to come back.
//!
//! [`play_all`] sends every row whole, and again cut in two at every byte (long ones at random
//! places), with a checked request of another client on the same core and lanes between the parts
//! and afterwards: the proxy has certainly seen the first part alone.

use std::time::Duration;

use super::{Random, Redis, Stack, Value, Wire, encode};

/// What has to come back.
#[derive(Clone, Debug)]
pub enum Expect {
    /// Exactly these bytes, then the end.
    Ends(Vec<u8>),
    /// Any protocol error, then the end.
    Refused,
    /// Exactly these bytes, and the client stays.
    Stays(Vec<u8>),
    /// What the redis-server itself answers, and the client stays.
    AsRedis,
    /// The end without a word.
    Silence,
    /// Some error, and then the end or not.
    SomeError,
    /// One error, and the client stays.
    ErrorAndStays,
    /// Nothing yet: more has to come.
    Waits,
}

#[derive(Clone, Debug)]
pub struct Row {
    pub what: &'static str,
    pub bytes: Vec<u8>,
    pub expect: Expect,
}

/// Longer inputs are cut at random places only.
const CUT_EVERYWHERE_BYTES: usize = 80;
const RANDOM_CUTS: usize = 12;
/// An input that is still being sent when it is refused may cost the answer.
const LONG_BYTES: usize = 60_000;

pub fn row(what: &'static str, bytes: impl AsRef<[u8]>, expect: Expect) -> Row {
    Row { what, bytes: bytes.as_ref().to_vec(), expect }
}

pub fn ends(bytes: &str) -> Expect {
    Expect::Ends(bytes.as_bytes().to_vec())
}

pub fn stays(bytes: &str) -> Expect {
    Expect::Stays(bytes.as_bytes().to_vec())
}

/// Requests of another client through the same core and lanes.
pub fn check(other: &mut Wire, number: usize) {
    let key = format!("checked:{}", number % 50);
    let value = format!("value {number}");
    let replies = other.pipeline(&[vec!["SET", &key, &value], vec!["GET", &key]]);
    assert_eq!(replies, [Value::ok(), Value::bulk(&value)]);
}

/// All that a redis-server says to these bytes.
pub fn answer_of(redis: &Redis, bytes: &[u8]) -> Vec<u8> {
    let mut client = redis.client();
    client.send(bytes);
    client.finish_sending();
    client.read_until_closed()
}

/// Sends `row` in parts and looks at what comes back.
pub fn play(stack: &Stack, other: &mut Wire, row: &Row, cuts: &[usize]) {
    let mut client = stack.client();
    client.set_patience(Duration::from_secs(5));
    let mut from = 0;
    for (number, &cut) in cuts.iter().chain([&row.bytes.len()]).enumerate() {
        // It may have been closed already: then what follows can not be sent.
        let _ = client.try_send(&row.bytes[from..cut]);
        from = cut;
        check(other, number + cut);
    }
    if matches!(row.expect, Expect::Stays(_) | Expect::ErrorAndStays) {
        client.send(&encode(&["ECHO", "and then"]));
    }
    if !matches!(row.expect, Expect::Ends(_) | Expect::Refused | Expect::Silence) {
        // Nothing more is sent, so a client that was not closed is now.
        client.finish_sending();
    }
    let got = client.read_until_closed();
    if !is_expected(row, &got) {
        let (sent, got) = (row.bytes[..row.bytes.len().min(80)].escape_ascii(), got.escape_ascii());
        panic!("{}: \"{sent}\" cut at {cuts:?}: \"{got}\"", row.what);
    }
    check(other, 0);
}

fn is_expected(row: &Row, got: &[u8]) -> bool {
    const AND_THEN: &[u8] = b"$8\r\nand then\r\n";
    let text = String::from_utf8_lossy(got);
    let one_line = |text: &str| text.matches("\r\n").count() == 1 && text.ends_with("\r\n");
    match &row.expect {
        Expect::Ends(bytes) => got == bytes,
        Expect::Refused => {
            let lost = got.is_empty() && row.bytes.len() > LONG_BYTES;
            (text.starts_with("-ERR Protocol error: ") && one_line(&text)) || lost
        }
        Expect::Stays(bytes) => got == [bytes, AND_THEN].concat(),
        Expect::Silence | Expect::Waits => got.is_empty(),
        Expect::SomeError => got.starts_with(b"-ERR "),
        Expect::ErrorAndStays => got.strip_suffix(AND_THEN).is_some_and(|error| {
            error.starts_with(b"-ERR ") && one_line(&String::from_utf8_lossy(error))
        }),
        Expect::AsRedis => panic!("{}: redis is to be asked first", row.what),
    }
}

/// Plays all `rows`, whole and cut, against one proxy over `shards` redis-servers.
pub fn play_all(shards: usize, rows: Vec<Row>) {
    let stack = Stack::start(shards, &super::Options { cores: "1", ..Default::default() });
    let plain = Redis::start(&[]);
    let mut other = stack.client();
    let mut random = Random::new(11);
    for mut row in rows {
        if matches!(row.expect, Expect::AsRedis) {
            row.expect = Expect::Stays(answer_of(&plain, &row.bytes));
        }
        play(&stack, &mut other, &row, &[]);
        let length = row.bytes.len();
        if length > CUT_EVERYWHERE_BYTES {
            for _ in 0..RANDOM_CUTS {
                let mut cuts = [1 + random.below(length - 1), 1 + random.below(length - 1)];
                cuts.sort_unstable();
                play(&stack, &mut other, &row, &cuts);
            }
            continue;
        }
        for cut in 1..length {
            play(&stack, &mut other, &row, &[cut]);
        }
        let every_byte: Vec<usize> = (1..length).collect();
        play(&stack, &mut other, &row, &every_byte);
    }
}
