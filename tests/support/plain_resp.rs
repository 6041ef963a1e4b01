//! RESP2 as plainly as it can be written, so that it shares no mistake with what is tested.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use corelay::command::keys::{KeysError, find_keys};
use corelay::command::{Lookup, lookup};
use corelay::resp::args::{ArgRange, Request};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Error(String),
    Integer(i64),
    Nothing,
    Array(Vec<Value>),
}

impl Value {
    pub(crate) fn text(&self) -> &str {
        match self {
            Value::Text(text) => text,
            other => panic!("not a text: {other:?}"),
        }
    }

    pub(crate) fn integer(&self) -> i64 {
        match self {
            Value::Integer(number) => *number,
            other => panic!("not an integer: {other:?}"),
        }
    }

    pub(crate) fn array(&self) -> &[Value] {
        match self {
            Value::Array(elements) => elements,
            other => panic!("not an array: {other:?}"),
        }
    }
}

/// A connection that speaks RESP2.
pub(crate) struct Client(BufReader<UnixStream>);

impl Client {
    pub(crate) fn of(socket: UnixStream) -> Client {
        Client(BufReader::new(socket))
    }

    pub(crate) fn ask(&mut self, words: &[&str]) -> Value {
        let owned = Owned::new(words);
        self.0.get_mut().write_all(&owned.bytes).expect("redis-server reads");
        self.read()
    }

    pub(crate) fn read(&mut self) -> Value {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).expect("redis-server answers");
        let line = String::from_utf8(line).expect("texts of the tests are UTF-8");
        let (kind, rest) = line.trim_end_matches("\r\n").split_at(1);
        let number = || rest.parse::<i64>().expect("a header has a number");
        match kind {
            "+" => Value::Text(rest.to_string()),
            "-" => Value::Error(rest.to_string()),
            ":" => Value::Integer(number()),
            "$" | "*" if number() < 0 => Value::Nothing,
            "$" => {
                let mut body = vec![0; number() as usize + 2];
                self.0.read_exact(&mut body).expect("redis-server answers");
                body.truncate(body.len() - 2);
                Value::Text(String::from_utf8(body).expect("texts of the tests are UTF-8"))
            }
            "*" => Value::Array((0..number()).map(|_| self.read()).collect()),
            _ => panic!("not RESP2: {line}"),
        }
    }
}

/// A request and its bytes.
pub(crate) struct Owned {
    bytes: Vec<u8>,
    ranges: Vec<ArgRange>,
}

impl Owned {
    pub(crate) fn new<T: AsRef<str>>(words: &[T]) -> Owned {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        let mut ranges = Vec::new();
        for word in words.iter().map(AsRef::as_ref) {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            let start = bytes.len() as u32;
            bytes.extend_from_slice(word.as_bytes());
            ranges.push(ArgRange { start, end: bytes.len() as u32 });
            bytes.extend_from_slice(b"\r\n");
        }
        Owned { bytes, ranges }
    }

    pub(crate) fn request(&self) -> Request<'_> {
        Request { bytes: &self.bytes, ranges: &self.ranges }
    }
}

/// What `find_keys` finds, as texts.
pub(crate) fn our_keys(words: &[String]) -> Result<Vec<String>, KeysError> {
    let owned = Owned::new(words);
    let request = owned.request();
    let Lookup::Found(command) = lookup(&request) else { panic!("{words:?} is unknown") };
    let mut found = Vec::new();
    find_keys(command, &request, &mut found)?;
    Ok(found.iter().map(|&at| words[at as usize].clone()).collect())
}

pub(crate) fn words(line: &str) -> Vec<String> {
    line.split(' ').map(|word| if word == "''" { String::new() } else { word.into() }).collect()
}

/// All entries of COMMAND, those of subcommands too.
pub(crate) fn entries(commands: &Value, out: &mut Vec<Value>) {
    for entry in commands.array() {
        out.push(entry.clone());
        entries(&entry.array()[9], out);
    }
}
