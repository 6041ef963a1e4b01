//! Seeded streams of requests and replies, honest and mutated, against `resp::properties`.

use crate::resp::Protocol::{Resp2, Resp3};
use crate::resp::encode::{self, Encoder};
use crate::resp::properties;

/// Streams of each kind; a few seconds in an unoptimised build.
const STREAMS: u64 = 3_000;

struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn pick<'a>(&mut self, from: &[&'a [u8]]) -> &'a [u8] {
        from[self.below(from.len() as u64) as usize]
    }

    fn bytes(&mut self, count_max: u64) -> Vec<u8> {
        let count = self.below(count_max + 1);
        let alphabet = b"ab \r\n$*:+-0129\"'\\x\0\xff";
        (0..count).map(|_| alphabet[self.below(alphabet.len() as u64) as usize]).collect()
    }

    fn word(&mut self) -> Vec<u8> {
        match self.below(12) {
            0 => self.bytes(300),
            1 => self.pick(&[b"POST", b"Host:", b"host:x", b""]).to_vec(),
            _ => self.bytes(12),
        }
    }
}

fn request(random: &mut Random, out: &mut Vec<u8>) {
    match random.below(10) {
        0 => out.extend_from_slice(random.pick(&[b"*0\r\n", b"*-1\r\n", b"\r\n", b"\n"])),
        1 => {
            out.extend_from_slice(random.pick(&[b"PING", b"SET k ", b"get \"x\\x4", b"Post "]));
            out.extend(random.bytes(20).into_iter().filter(|byte| *byte != b'\n'));
            out.push(b'\n');
        }
        _ => {
            let count = if random.below(20) == 0 { 70 } else { random.below(5) + 1 };
            let words: Vec<Vec<u8>> = (0..count).map(|_| random.word()).collect();
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            encode::request(out, &words);
        }
    }
}

fn reply(random: &mut Random, depth: u32, out: &mut Vec<u8>) {
    let to = Encoder::new(if random.below(2) == 0 { Resp2 } else { Resp3 });
    let kinds = if depth == 0 { 10 } else { 16 };
    match random.below(kinds) {
        0 => encode::simple(out, "OK"),
        1 => encode::error(out, random.bytes(40)),
        2 => encode::integer(out, random.0 as i64),
        3 => to.null(out),
        4 => to.null_array(out),
        5 => to.double(out, random.0 as f64 / 7.0),
        6 => to.boolean(out, true),
        7 => to.verbatim(out, &random.word()),
        8 | 9 => encode::bulk(out, &random.word()),
        kind => {
            let count = random.below(5) as usize;
            let inner = match kind {
                10 => {
                    to.map_header(out, count);
                    count * 2
                }
                11 => {
                    encode::array_header(out, count);
                    let at = out.iter().rposition(|byte| *byte == b'*').unwrap();
                    out[at] = b'|';
                    count * 2 + 1
                }
                12 => {
                    to.set_header(out, count);
                    count
                }
                13 => {
                    to.push_header(out, count);
                    count
                }
                _ => {
                    encode::array_header(out, count);
                    count
                }
            };
            for _ in 0..inner {
                reply(random, depth - 1, out);
            }
        }
    }
}

/// A few bytes changed, left out, doubled; or the end cut off.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..random.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len() as u64) as usize;
        match random.below(6) {
            0 => bytes[at] = random.below(256) as u8,
            1 => bytes[at] = random.pick(&[b"\r", b"\n", b"0", b"1", b"9", b"-", b"$", b"|"])[0],
            2 => {
                bytes.remove(at);
            }
            3 => bytes.insert(at, bytes[at]),
            4 => bytes.truncate(at),
            _ => {
                let long = random.pick(&[
                    b"0",
                    b"-",
                    b"2147483648",
                    b"18446744073709551617",
                    b"4097",
                    b"\r\n",
                ]);
                bytes.splice(at..at, long.iter().copied());
            }
        }
    }
}

fn check(seed: u64, bytes: &[u8], property: fn(&[u8]) -> Result<(), String>) {
    if let Err(complaint) = property(bytes) {
        panic!("seed {seed}: {complaint}\nin {}", bytes.escape_ascii());
    }
}

#[test]
fn random_requests_are_parsed_alike_whole_split_and_slowly() {
    for seed in 0..STREAMS {
        let mut random = Random::new(seed);
        let mut bytes = Vec::new();
        for _ in 0..random.below(5) + 1 {
            request(&mut random, &mut bytes);
        }
        if seed % 3 != 0 {
            mutate(&mut random, &mut bytes);
        }
        check(seed, &bytes, properties::request_splits_agree);
        check(seed, &bytes, properties::parsers_agree);
        check(seed, &bytes, properties::inline_makes_a_request);
    }
}

#[test]
fn random_replies_are_scanned_alike_whole_split_and_slowly() {
    for seed in 0..STREAMS {
        let mut random = Random::new(seed);
        let mut bytes = Vec::new();
        for _ in 0..random.below(3) + 1 {
            reply(&mut random, 4, &mut bytes);
        }
        if seed % 3 != 0 {
            mutate(&mut random, &mut bytes);
        }
        check(seed, &bytes, properties::reply_splits_agree);
        check(seed, &bytes, properties::parsers_agree);
        check(seed, &bytes, properties::values_are_whole);
    }
}

#[test]
fn honest_replies_are_all_found() {
    for seed in 0..STREAMS {
        let mut random = Random::new(seed);
        let mut bytes = Vec::new();
        reply(&mut random, 5, &mut bytes);
        let end = crate::resp::value::split_reply(&bytes).map(|(reply, _)| reply.len());
        assert_eq!(end, Some(bytes.len()), "seed {seed}: {}", bytes.escape_ascii());
        check(seed, &bytes, properties::values_are_whole);
    }
}

#[test]
fn noise_is_met_alike() {
    for seed in 0..STREAMS {
        let mut random = Random::new(seed);
        let mut bytes = random.pick(&[b"", b"*", b"*1\r\n$", b"$", b"|1\r\n", b"PING "]).to_vec();
        let noise = random.bytes(60);
        bytes.extend(noise);
        for property in [
            properties::request_splits_agree,
            properties::reply_splits_agree,
            properties::parsers_agree,
            properties::inline_makes_a_request,
            properties::values_are_whole,
        ] {
            check(seed, &bytes, property);
        }
    }
}
