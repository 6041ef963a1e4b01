//! The command table: name to command, command to keys.

mod meter;

use corelay::base::limits;
use corelay::command::keys::find_keys;
use corelay::command::{Lookup, lookup};
use corelay::resp::args::{ArgRange, Request};
use corelay::resp::request::{Parsed, RequestLimits, RequestParser};
use meter::{Meter, request};

struct Owned {
    bytes: Vec<u8>,
    ranges: Vec<ArgRange>,
}

fn owned(line: &str) -> Owned {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let mut owned = Owned { bytes: request(&words), ranges: Vec::new() };
    let bounds = RequestLimits {
        args_max: limits::REQUEST_ARGS_MAX,
        bulk_bytes_max: limits::BULK_BYTES_MAX,
        request_bytes_max: limits::REQUEST_BYTES_MAX,
    };
    let parsed = RequestParser::default().parse(&owned.bytes, &mut owned.ranges, &bounds);
    assert_eq!(parsed, Ok(Parsed::Request { bytes: owned.bytes.len() }), "{line}");
    owned
}

fn requests(lines: &[&str]) -> Vec<Owned> {
    lines.iter().map(|line| owned(line)).collect()
}

/// Looks all up; gives the number that was found.
fn find(requests: &[Owned]) -> u64 {
    let mut found = 0;
    for owned in requests {
        let request = Request { bytes: &owned.bytes, ranges: &owned.ranges };
        found += u64::from(matches!(lookup(&request), Lookup::Found(_)));
    }
    found
}

/// Looks all up and finds their keys; gives the number of keys.
fn keys(requests: &[Owned], out: &mut Vec<u32>) -> u64 {
    let mut found = 0;
    for owned in requests {
        let request = Request { bytes: &owned.bytes, ranges: &owned.ranges };
        out.clear();
        if let Lookup::Found(command) = lookup(&request)
            && find_keys(command, &request, out).is_ok()
        {
            found += out.len() as u64;
        }
    }
    found
}

fn main() {
    let meter = Meter::from_args();
    let common = requests(&[
        "GET key",
        "SET key value",
        "get key",
        "HGET key field",
        "INCR key",
        "EXPIRE key 1",
        "LPUSH key 1",
        "ZADD key 1 a",
        "SADD key a",
        "DEL key",
        "MGET a b",
        "EXISTS key",
        "TTL key",
        "HSET key f v",
        "ZRANGEBYSCORE key 1 2",
        "GEORADIUSBYMEMBER key a 1 m",
    ]);
    meter.case("lookup: common commands", 16, 16, || find(&common));
    let nested =
        requests(&["CLIENT ID", "CONFIG GET a", "XINFO STREAM key", "OBJECT ENCODING key"]);
    meter.case("lookup: subcommands", 4, 4, || find(&nested));
    let unknown = requests(&["NOSUCH key", "GETT key", "G key", "ZRANGEBYSCOREX key"]);
    meter.case("lookup: unknown commands", 4, 0, || find(&unknown));

    let mut out = Vec::new();
    let fixed = requests(&["GET key", "SET key value", "HSET key f v", "ZADD key 1 a"]);
    meter.case("keys: one, at its place", 4, 4, || keys(&fixed, &mut out));
    let movable = requests(&[
        "EVAL body 2 a b c",
        "ZUNIONSTORE d 2 a b",
        "XREAD COUNT 1 STREAMS a b 0 0",
        "SORT a STORE b",
    ]);
    meter.case("keys: movable", 4, 9, || keys(&movable, &mut out));
}
