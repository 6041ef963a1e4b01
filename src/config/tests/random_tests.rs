//! No bytes make the readers panic, and what they accept can be printed and read again.

use super::*;
use crate::config::properties;

/// SplitMix64 (Steele, Lea, Flood 2014): a seed replays a failure.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Changes `text` in a few places: takes out, doubles, swaps in a word that means something.
fn mutated(text: &str, words: &[&str], random: &mut Random) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(4) {
        let at = random.below(chars.len() + 1);
        let end = (at + random.below(20)).min(chars.len());
        match random.below(4) {
            0 => drop(chars.drain(at..end)),
            1 => {
                let piece: Vec<char> = chars[at..end].to_vec();
                chars.splice(at..at, piece);
            }
            2 => {
                let word = words[random.below(words.len())];
                chars.splice(at..end, word.chars());
            }
            _ => {
                if let Some(c) = char::from_u32(random.below(0x300) as u32) {
                    chars.insert(at, c);
                }
            }
        }
    }
    chars.into_iter().collect()
}

const WORDS: [&str; 24] = [
    "0",
    "-1",
    "18446744073709551616",
    "1e9",
    "0x10",
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    "\n",
    "=",
    ": ",
    "#",
    "[[pool]]\n",
    "[pool.auth]\n",
    "unix:/",
    "true",
    "none",
    "::",
    "&a ",
    "*a",
    "- ",
];

fn check(read: fn(&str) -> Result<Loaded, Vec<Complaint>>, samples: &[String], seed: u64) {
    let mut random = Random(seed);
    let mut accepted = 0;
    for round in 0..ROUNDS {
        let text = mutated(&samples[round % samples.len()], &WORDS, &mut random);
        match read(&text) {
            Ok(loaded) => {
                accepted += 1;
                properties::accepted(&loaded).unwrap_or_else(|why| panic!("{why}\n{text}"));
            }
            Err(list) => {
                assert!(list.iter().any(|c| c.severity == Severity::Error), "{text}");
                for complaint in list {
                    assert_eq!(complaint.to_string().lines().count(), 1, "{complaint}");
                }
            }
        }
    }
    assert!((ROUNDS / 100..ROUNDS).contains(&accepted), "{accepted} accepted: the test is blunt");
}

#[test]
fn no_text_makes_the_toml_reader_panic() {
    let sample = sample_tests::enabled(true);
    let small = pool_with("hash = \"md5\"\nhash_tag = \"{}\"\ntimeout_ms = 5\n");
    check(toml, &[sample, small], 1);
}

#[test]
fn no_text_makes_the_nutcracker_reader_panic() {
    let sample = include_str!("../../../config/nutcracker.example.yml").to_owned();
    let small = yaml_with("hash: md5\nhash_tag: \"{}\"\ntimeout: 5\nredis_auth: x\nredis_db: 3");
    check(yaml, &[sample, small], 2);
}

const ROUNDS: usize = 3000;
