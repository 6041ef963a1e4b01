//! What the world's stores do with clients that block, and with questions about connections.

use crate::relay::world::Store;
use crate::resp::args::Request;
use crate::resp::encode;

impl Store {
    pub(super) fn answer_client(&mut self, request: &Request<'_>, out: &mut Vec<u8>) {
        match (request.arg(1), self.number) {
            (b"ID", Some(number)) => encode::integer(out, number),
            (b"UNBLOCK", _) => {
                let words: Vec<_> = request.iter().skip(2).map(String::from_utf8_lossy).collect();
                self.unblocked.push(words.join(" "));
                encode::integer(out, 1);
            }
            _ => encode::simple(out, "OK"),
        }
    }

    /// Pops if there is something; else the test answers when it likes.
    pub(super) fn block(&mut self, request: &Request<'_>, out: &mut Vec<u8>) {
        let words: Vec<_> = request.iter().map(String::from_utf8_lossy).collect();
        self.blocking.push(words.join(" "));
        if let Some(value) = self.keys.remove(request.arg(1)) {
            encode::array_header(out, 2);
            encode::bulk(out, request.arg(1));
            encode::bulk(out, &value);
        }
    }
}
