//! The request parser: bytes to ranges.

mod meter;

use corelay::base::limits;
use corelay::resp::args::ArgRange;
use corelay::resp::request::{Parsed, RequestLimits, RequestParser};
use meter::{Meter, key, request};

const LIMITS: RequestLimits = RequestLimits {
    args_max: limits::REQUEST_ARGS_MAX,
    bulk_bytes_max: limits::BULK_BYTES_MAX,
    request_bytes_max: limits::REQUEST_BYTES_MAX,
};
const PIPELINE: usize = 64;

/// Parses all requests in `bytes`; gives the number of their arguments.
fn parse_all(bytes: &[u8], args: &mut Vec<ArgRange>) -> u64 {
    let (mut at, mut found) = (0, 0);
    while let Some(rest) = bytes.get(at..)
        && !rest.is_empty()
    {
        args.clear();
        match RequestParser::default().parse(rest, args, &LIMITS) {
            Ok(Parsed::Request { bytes }) => at += bytes,
            _ => return u64::MAX,
        }
        found += args.len() as u64;
    }
    found
}

/// Parses one request that comes in pieces; gives the number of its arguments.
fn parse_pieces(bytes: &[u8], piece: usize, args: &mut Vec<ArgRange>) -> u64 {
    let mut parser = RequestParser::default();
    args.clear();
    let mut end = 0;
    loop {
        end = (end + piece).min(bytes.len());
        match parser.parse(bytes.get(..end).unwrap_or_default(), args, &LIMITS) {
            Ok(Parsed::Request { .. }) => return args.len() as u64,
            Ok(Parsed::More) if end < bytes.len() => {}
            _ => return u64::MAX,
        }
    }
}

fn main() {
    let meter = Meter::from_args();
    let mut args = Vec::new();
    let value = vec![b'v'; 64];
    let get: Vec<u8> = (0..PIPELINE).flat_map(|n| request(&[b"GET", &key(n)])).collect();
    let set: Vec<u8> = (0..PIPELINE).flat_map(|n| request(&[b"SET", &key(n), &value])).collect();
    meter.case("parser: GET, of 64 in a pipeline", PIPELINE, 2 * 64, || parse_all(&get, &mut args));
    meter.case("parser: SET, of 64 in a pipeline", PIPELINE, 3 * 64, || parse_all(&set, &mut args));

    let keys: Vec<Vec<u8>> = (0..100).map(key).collect();
    let words: Vec<&[u8]> =
        std::iter::once(b"MGET".as_slice()).chain(keys.iter().map(Vec::as_slice)).collect();
    let mget = request(&words);
    meter.case("parser: MGET of 100 keys, each key", 100, 101, || parse_all(&mget, &mut args));
    meter.case("parser: MGET of 100 keys, byte by byte", 1, 101, || {
        parse_pieces(&mget, 1, &mut args)
    });

    let large = request(&[b"SET", b"key", &vec![b'v'; 1024 * 1024]]);
    meter.case("parser: SET of 1 MiB in pieces of 16 KiB", 1, 3, || {
        parse_pieces(&large, 16 * 1024, &mut args)
    });
}
