//! What must hold for any bytes whatever: plain functions, for the random tests here and for the
//! targets of `fuzz`. Each gives the complaint; none panics by itself.

use crate::resp::args::{ArgRange, Request};
use crate::resp::naive;
use crate::resp::reply::{ReplyError, ReplyScanner, Scanned};
use crate::resp::request::{
    Parsed, ProtocolError, RequestLimits, RequestParser, inline_to_multibulk,
};
use crate::resp::value;

/// Small, so that short inputs reach them.
pub(crate) const LIMITS: RequestLimits =
    RequestLimits { args_max: 64, bulk_bytes_max: 4096, request_bytes_max: 8192 };

/// Inputs up to this many bytes are tried with every prefix and every cut.
const EXHAUSTIVE_BYTES_MAX: usize = 128;

/// The target `requests`.
pub(crate) fn requests(bytes: &[u8]) -> Result<(), String> {
    request_splits_agree(bytes)?;
    each_prefix(bytes, requests_agree)
}

/// The target `replies`.
pub(crate) fn replies(bytes: &[u8]) -> Result<(), String> {
    reply_splits_agree(bytes)?;
    values_are_whole(bytes)?;
    each_prefix(bytes, replies_agree)
}

/// The target `inline`: the bytes as one line.
pub(crate) fn inline(line: &[u8]) -> Result<(), String> {
    inline_makes_a_request(line)?;
    words_agree(line)
}

/// What a stream of requests holds, frame by frame.
#[derive(Debug, PartialEq, Eq)]
enum Frame {
    Request(Vec<Vec<u8>>),
    Nothing(usize),
    Inline(usize),
    Broken(ProtocolError),
    /// So many bytes at the end belong to a frame that is not complete.
    Unfinished(usize),
}

/// A stream of requests gives the same frames however it is cut.
pub(crate) fn request_splits_agree(bytes: &[u8]) -> Result<(), String> {
    let whole = request_frames(bytes, |_| bytes.len())?;
    for seed in 0..4 {
        let mut steps = Steps::new(bytes, seed);
        let split = request_frames(bytes, |end| end + steps.next())?;
        if split != whole {
            return Err(format!("request split by steps {seed}: {split:?} is not {whole:?}"));
        }
    }
    Ok(())
}

/// Parses the stream as a connection would, with the end of what has arrived moved by `grow`.
fn request_frames(
    bytes: &[u8],
    mut grow: impl FnMut(usize) -> usize,
) -> Result<Vec<Frame>, String> {
    let mut parser = RequestParser::default();
    let mut ranges = Vec::new();
    let mut frames = Vec::new();
    let (mut start, mut end) = (0, 0);
    loop {
        let arrived = bytes.get(start..end).unwrap_or_default();
        let consumed = match parser.parse(arrived, &mut ranges, &LIMITS) {
            Ok(Parsed::More) if end == bytes.len() => {
                frames.push(Frame::Unfinished(arrived.len()));
                return Ok(frames);
            }
            Ok(Parsed::More) => {
                end = grow(end).clamp(end + 1, bytes.len());
                continue;
            }
            Ok(Parsed::Request { bytes }) => {
                frames.push(Frame::Request(words(arrived, bytes, &ranges)?));
                bytes
            }
            Ok(Parsed::Nothing { bytes }) => {
                frames.push(Frame::Nothing(bytes));
                bytes
            }
            Ok(Parsed::Inline { bytes }) => {
                frames.push(Frame::Inline(bytes));
                bytes
            }
            Err(error) => {
                frames.push(Frame::Broken(error));
                return Ok(frames);
            }
        };
        if consumed == 0 || consumed > arrived.len() {
            return Err(format!("{consumed} bytes consumed of {}", arrived.len()));
        }
        start += consumed;
    }
}

/// The arguments, after a look at whether their ranges make sense.
fn words(arrived: &[u8], end: usize, ranges: &[ArgRange]) -> Result<Vec<Vec<u8>>, String> {
    let request = Request { bytes: arrived.get(..end).unwrap_or_default(), ranges };
    let words: Vec<Vec<u8>> = request.iter().map(<[u8]>::to_vec).collect();
    let mut wire = format!("*{}\r\n", words.len()).into_bytes();
    for (index, word) in words.iter().enumerate() {
        let piece = [format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"].concat();
        if request.wire(index) != piece {
            return Err(format!("argument {index} is not {} on the wire", piece.escape_ascii()));
        }
        wire.extend_from_slice(&piece);
    }
    if words.is_empty() || wire != request.bytes {
        return Err(format!("{} is not {}", wire.escape_ascii(), request.bytes.escape_ascii()));
    }
    Ok(words)
}

/// What a stream of replies holds: the end and the type of each.
type Replies = (Vec<(usize, u8)>, Option<ReplyError>);

/// A stream of replies gives the same ends however it is cut.
pub(crate) fn reply_splits_agree(bytes: &[u8]) -> Result<(), String> {
    let whole = reply_ends(bytes, |_| bytes.len())?;
    for seed in 0..4 {
        let mut steps = Steps::new(bytes, seed);
        let split = reply_ends(bytes, |_| steps.next())?;
        if split != whole {
            return Err(format!("reply split by steps {seed}: {split:?} is not {whole:?}"));
        }
    }
    Ok(())
}

fn reply_ends(bytes: &[u8], mut step: impl FnMut(usize) -> usize) -> Result<Replies, String> {
    let mut scanner = ReplyScanner::default();
    let mut ends = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let mut piece_end = step(start).saturating_add(start).clamp(start + 1, bytes.len());
        // A piece may hold many replies.
        while start < piece_end {
            let piece = bytes.get(start..piece_end).unwrap_or_default();
            match scanner.scan(piece) {
                Ok(Scanned::Reply { bytes, kind }) => {
                    if bytes == 0 || bytes > piece.len() || !scanner.at_start() {
                        return Err(format!("a reply ends after {bytes} of {}", piece.len()));
                    }
                    start += bytes;
                    ends.push((start, kind));
                }
                Ok(Scanned::More) => {
                    if scanner.at_start() {
                        return Err("inside a reply, and yet at the start".to_owned());
                    }
                    start = piece_end;
                }
                Err(error) => return Ok((ends, Some(error))),
            }
            piece_end = piece_end.max(start);
        }
    }
    Ok((ends, None))
}

/// The parsers find what their slow twins find.
pub(crate) fn parsers_agree(bytes: &[u8]) -> Result<(), String> {
    each_prefix(bytes, requests_agree)?;
    each_prefix(bytes, replies_agree)
}

/// Short inputs are tried with all their prefixes, too.
fn each_prefix(bytes: &[u8], property: impl Fn(&[u8]) -> Result<(), String>) -> Result<(), String> {
    let shortest = if bytes.len() <= EXHAUSTIVE_BYTES_MAX { 0 } else { bytes.len() };
    for end in shortest..=bytes.len() {
        property(bytes.get(..end).unwrap_or_default())?;
    }
    Ok(())
}

fn requests_agree(bytes: &[u8]) -> Result<(), String> {
    let mut rest = bytes;
    let mut ranges = Vec::new();
    loop {
        let fast = RequestParser::default().parse(rest, &mut ranges, &LIMITS);
        let (slow, slow_words) = naive::parse(rest, &LIMITS);
        if fast != slow {
            return Err(format!("{fast:?} is not {slow:?}: {}", rest.escape_ascii()));
        }
        let consumed = match fast {
            Ok(Parsed::Request { bytes }) => {
                let fast_words = words(rest, bytes, &ranges)?;
                if fast_words != slow_words {
                    return Err(format!("{fast_words:?} is not {slow_words:?}"));
                }
                bytes
            }
            Ok(Parsed::Nothing { bytes } | Parsed::Inline { bytes }) => bytes,
            Ok(Parsed::More) | Err(_) => return Ok(()),
        };
        rest = rest.get(consumed..).unwrap_or_default();
    }
}

fn replies_agree(bytes: &[u8]) -> Result<(), String> {
    let mut rest = bytes;
    loop {
        let fast = ReplyScanner::default().scan(rest);
        let slow = naive::scan(rest);
        if fast != slow {
            return Err(format!("{fast:?} is not {slow:?}: {}", rest.escape_ascii()));
        }
        let Ok(Scanned::Reply { bytes, .. }) = fast else { return Ok(()) };
        rest = rest.get(bytes..).unwrap_or_default();
    }
}

/// A line becomes one request that parses, or nothing, or is refused.
pub(crate) fn inline_makes_a_request(line: &[u8]) -> Result<(), String> {
    let mut wire = Vec::new();
    let outcome = inline_to_multibulk(line, &mut wire);
    if wire.is_empty() {
        return Ok(());
    }
    let limits = RequestLimits {
        args_max: usize::MAX,
        bulk_bytes_max: usize::MAX,
        request_bytes_max: usize::MAX,
    };
    let parsed = RequestParser::default().parse(&wire, &mut Vec::new(), &limits);
    match (outcome, parsed) {
        (Ok(()), Ok(Parsed::Request { bytes })) if bytes == wire.len() => Ok(()),
        (Ok(()), Err(ProtocolError::CrossProtocol)) => Ok(()),
        _ => Err(format!("{outcome:?}, {parsed:?}: {}", wire.escape_ascii())),
    }
}

/// The words of a line are those that the slow twin finds; what redis-cli would take for the end
/// of the line ends it for both.
fn words_agree(line: &[u8]) -> Result<(), String> {
    let mut wire = Vec::new();
    let fast = inline_to_multibulk(line, &mut wire).is_ok().then_some(&wire);
    let slow = naive::words(line).map(|words| {
        let mut wire = Vec::new();
        if !words.is_empty() {
            wire = format!("*{}\r\n", words.len()).into_bytes();
        }
        for word in words {
            wire.extend([format!("${}\r\n", word.len()).as_bytes(), &word, b"\r\n"].concat());
        }
        wire
    });
    if fast == slow.as_ref() {
        return Ok(());
    }
    Err(format!("{fast:?} is not {slow:?}: {}", line.escape_ascii()))
}

/// What is read out of a reply lies in it, and its elements are all of it.
pub(crate) fn values_are_whole(bytes: &[u8]) -> Result<(), String> {
    let _ = (value::integer(bytes), value::bulk(bytes), value::error_word(bytes));
    let Some(elements) = value::elements(bytes) else { return Ok(()) };
    let is_whole = value::split_reply(bytes).is_some_and(|(_, rest)| rest.is_empty());
    let left = elements.left();
    // Not `count()` first: a header may promise 2^31 elements, the bytes decide.
    let (count, size) =
        elements.fold((0, 0), |(count, size), element| (count + 1, size + element.len()));
    if size > bytes.len() || (is_whole && count != left) {
        return Err(format!("{count} of {left} elements: {}", bytes.escape_ascii()));
    }
    Ok(())
}

/// Sizes of pieces, drawn from the input itself: the same bytes are always cut alike.
struct Steps {
    state: u64,
    size_max: u64,
}

impl Steps {
    /// Seed 0 cuts after every byte, the others after up to 7, 49, 343 bytes.
    fn new(bytes: &[u8], seed: u32) -> Self {
        let sum = bytes.iter().fold(u64::from(seed) + 1, |sum, byte| {
            sum.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(*byte))
        });
        Self { state: sum | 1, size_max: 7_u64.pow(seed) }
    }

    fn next(&mut self) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state % self.size_max) as usize + 1
    }
}
