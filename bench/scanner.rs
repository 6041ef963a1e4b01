//! The reply scanner: where does a reply end?

mod meter;

use corelay::resp::reply::{ReplyScanner, Scanned};
use meter::Meter;

const PIPELINE: usize = 64;

/// Scans `bytes`, given in pieces; gives the number of replies.
fn scan(bytes: &[u8], piece: usize) -> u64 {
    let mut scanner = ReplyScanner::default();
    let mut replies = 0;
    for piece in bytes.chunks(piece) {
        let mut rest = piece;
        while !rest.is_empty() {
            match scanner.scan(rest) {
                Ok(Scanned::Reply { bytes, .. }) => {
                    replies += 1;
                    rest = rest.get(bytes..).unwrap_or_default();
                }
                Ok(Scanned::More) => break,
                Err(_) => return u64::MAX,
            }
        }
    }
    replies
}

fn main() {
    let meter = Meter::from_args();
    let bulk = [b"$64\r\n".as_slice(), &[b'v'; 64], b"\r\n"].concat();
    let bulks = bulk.repeat(PIPELINE);
    meter.case("scanner: bulk of 64 B, of 64", PIPELINE, 64, || scan(&bulks, usize::MAX));
    let oks = b"+OK\r\n".repeat(PIPELINE);
    meter.case("scanner: +OK, of 64", PIPELINE, 64, || scan(&oks, usize::MAX));

    let array = [b"*100\r\n".as_slice(), &bulk.repeat(100)].concat();
    meter.case("scanner: array of 100 bulks, each bulk", 100, 1, || scan(&array, usize::MAX));
    meter.case("scanner: array of 100 bulks, byte by byte", 1, 1, || scan(&array, 1));
    let deep = [b"*1\r\n".repeat(5_000).as_slice(), b":1\r\n"].concat();
    meter.case("scanner: 5,000 levels deep", 1, 1, || scan(&deep, usize::MAX));
    let large = [b"$1048576\r\n".as_slice(), &vec![b'v'; 1 << 20], b"\r\n"].concat();
    meter.case("scanner: 1 MiB in pieces of 16 KiB", 1, 1, || scan(&large, 16 * 1024));
}
