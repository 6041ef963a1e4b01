//! Inputs of a seed: those of the corpus, changed, put together, cut; and noise.

/// SplitMix64 (Steele, Lea, Flood 2014): a seed replays a failure.
pub(super) struct Random(pub(super) u64);

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

/// An input of at most `bytes_max` bytes.
pub(super) fn input(random: &mut Random, corpus: &[Vec<u8>], bytes_max: usize) -> Vec<u8> {
    let mut bytes = match random.below(8) {
        0 => noise(random, bytes_max),
        1 | 2 => [one(random, corpus), one(random, corpus)].concat(),
        _ => one(random, corpus).to_vec(),
    };
    for _ in 0..random.below(5) {
        change(random, corpus, &mut bytes);
    }
    bytes.truncate(bytes_max);
    bytes
}

fn one<'a>(random: &mut Random, corpus: &'a [Vec<u8>]) -> &'a [u8] {
    corpus.get(random.below(corpus.len())).map_or(&[], Vec::as_slice)
}

fn noise(random: &mut Random, bytes_max: usize) -> Vec<u8> {
    let count = random.below(bytes_max);
    (0..count).map(|_| random.next() as u8).collect()
}

/// Takes out, doubles, replaces, puts in.
fn change(random: &mut Random, corpus: &[Vec<u8>], bytes: &mut Vec<u8>) {
    let at = random.below(bytes.len() + 1);
    let end = (at + random.below(16)).min(bytes.len());
    match random.below(7) {
        0 => drop(bytes.drain(at..end)),
        1 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        2 => {
            let word = WORDS[random.below(WORDS.len())];
            bytes.splice(at..end, word.iter().copied());
        }
        3 => {
            let other = one(random, corpus);
            let from = random.below(other.len() + 1);
            let piece = &other[from..(from + random.below(64)).min(other.len())];
            bytes.splice(at..at, piece.iter().copied());
        }
        4 => bytes.insert(at, random.next() as u8),
        5 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        _ => bytes.truncate(bytes.len().saturating_sub(random.below(8))),
    }
}

/// What means something to one reader or another.
const WORDS: [&[u8]; 40] = [
    b"\r\n",
    b"\r",
    b"\n",
    b"\0",
    b"\xff",
    b" ",
    b"0",
    b"1",
    b"9",
    b"-",
    b"-1",
    b"+",
    b":",
    b"*",
    b"$",
    b"%",
    b"~",
    b">",
    b"|",
    b"(",
    b",",
    b"_\r\n",
    b"*0\r\n",
    b"$-1\r\n",
    b"4097",
    b"2147483648",
    b"18446744073709551617",
    b"\"",
    b"'",
    b"\\x",
    b"{",
    b"}",
    b"[",
    b"]",
    b"=",
    b"#",
    b"[[pool]]\n",
    b"unix:/",
    b"&a ",
    b": ",
];
