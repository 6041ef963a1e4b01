//! Requests for the tests of this room.

use crate::resp::args::{ArgRange, Request};

pub(super) struct Owned {
    bytes: Vec<u8>,
    ranges: Vec<ArgRange>,
}

impl Owned {
    pub(super) fn new<'a>(args: impl Iterator<Item = &'a [u8]>) -> Owned {
        let args: Vec<&[u8]> = args.collect();
        let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
        let mut ranges = Vec::new();
        for arg in args {
            bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            let start = bytes.len() as u32;
            bytes.extend_from_slice(arg);
            ranges.push(ArgRange { start, end: bytes.len() as u32 });
            bytes.extend_from_slice(b"\r\n");
        }
        Owned { bytes, ranges }
    }

    /// Words between blanks; `''` is the empty word.
    pub(super) fn of_words(words: &str) -> Owned {
        let words = words.split_whitespace();
        Owned::new(words.map(|word| if word == "''" { &b""[..] } else { word.as_bytes() }))
    }

    pub(super) fn request(&self) -> Request<'_> {
        Request { bytes: &self.bytes, ranges: &self.ranges }
    }
}
