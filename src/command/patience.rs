//! For how long a command blocks: read where it says so, and written anew when a part of that time
//! is over.

use crate::base::time::{US_PER_MS, US_PER_S};
use crate::command::keys::block_option;
use crate::command::model::{Command, Patience};
use crate::resp::args::Request;

/// For ever, as a number of µs.
pub const FOR_EVER_US: u64 = u64::MAX;

/// Redis takes longer ones, up to 292 million years; µs in 63 bits hold a thousandth of that.
const SECONDS_MAX: f64 = 9e12;

/// Whether this request may block at all.
pub fn may_block(patience: Patience, command: &Command, request: &Request<'_>) -> bool {
    patience != Patience::BlockMs || block_option(command, request).is_some()
}

/// Which argument says how long, and how long that is, µs. `None`: it does not say it in a way that
/// is understood here; its server may say that it is wrong, or understand more.
pub fn timeout(
    patience: Patience,
    command: &Command,
    request: &Request<'_>,
) -> Option<(usize, u64)> {
    let at = match patience {
        Patience::LastSeconds => request.len().checked_sub(1)?,
        Patience::FirstSeconds => 1,
        Patience::BlockMs => block_option(command, request)? + 1,
        Patience::Unknown => return None,
    };
    let text = std::str::from_utf8(request.get(at)?).ok()?;
    let us = match patience {
        Patience::BlockMs => text.parse::<u64>().ok()?.checked_mul(US_PER_MS)?,
        _ => seconds(text)?,
    };
    Some((at, if us == 0 { FOR_EVER_US } else { us }))
}

/// Digits, and perhaps a fraction: whatever else `strtold` takes is left to the server.
fn seconds(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds: f64 = text.parse().ok().filter(|_| plain)?;
    if !(0.0..SECONDS_MAX).contains(&seconds) {
        return None;
    }
    // Redis counts in ms, and rounds up.
    Some((seconds * 1e3).ceil() as u64 * US_PER_MS)
}

/// The same argument when so much is left: never 0, which would be for ever.
pub fn rest(patience: Patience, left_us: u64) -> String {
    let ms = left_us.div_ceil(US_PER_MS).max(1);
    match patience {
        Patience::BlockMs => ms.to_string(),
        _ => format!("{}.{:03}", ms * US_PER_MS / US_PER_S, ms % 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup::by_name;
    use crate::command::model::Run;
    use crate::command::test_request::Owned;

    fn of(words: &str) -> Option<(usize, u64)> {
        let owned = Owned::of_words(words);
        let request = owned.request();
        let name = String::from_utf8_lossy(request.name()).to_lowercase();
        let command = by_name(&name).unwrap();
        let Run::Block(patience) = command.run else { panic!("{words} does not block") };
        timeout(patience, command, &request)
    }

    #[test]
    fn each_command_has_its_place_and_its_unit() {
        for (words, expected) in [
            ("BLPOP a b 1", Some((3, 1_000_000))),
            ("BRPOP a 0.1", Some((2, 100_000))),
            ("BZPOPMIN a 0", Some((2, FOR_EVER_US))),
            ("BZPOPMAX a 0.0001", Some((2, 1_000))),
            ("BLMOVE a b LEFT RIGHT 2.5", Some((5, 2_500_000))),
            ("BRPOPLPUSH a b 7", Some((3, 7_000_000))),
            ("BLMPOP 3 1 a LEFT", Some((1, 3_000_000))),
            ("BZMPOP 0 1 a MIN", Some((1, FOR_EVER_US))),
            ("XREAD COUNT 1 BLOCK 250 STREAMS a $", Some((4, 250_000))),
            ("XREADGROUP GROUP g c BLOCK 0 STREAMS a >", Some((5, FOR_EVER_US))),
            ("TS.READ a 0 BLOCK 20 1", Some((4, 20_000))),
        ] {
            assert_eq!(of(words), expected, "{words}");
        }
    }

    #[test]
    fn what_is_no_plain_number_is_left_to_the_server() {
        for words in [
            "BLPOP a -1",
            "BLPOP a b",
            "BLPOP a 1e3",
            "BLPOP a inf",
            "BLPOP a 0x10",
            "BLPOP a +1",
            "BLPOP a .",
            "BLPOP a 99999999999999",
            "BLMPOP x 1 a LEFT",
            "XREAD BLOCK -5 STREAMS a 0",
            "XREAD BLOCK 1.5 STREAMS a 0",
            "XREAD BLOCK 18446744073709551615 STREAMS a 0",
            "BLMOVEM a b LEFT RIGHT 5",
        ] {
            assert_eq!(of(words), None, "{words}");
        }
    }

    #[test]
    fn what_is_left_is_never_nothing() {
        for (left_us, seconds, ms) in [
            (0, "0.001", "1"),
            (1, "0.001", "1"),
            (1_500, "0.002", "2"),
            (61_234_000, "61.234", "61234"),
        ] {
            assert_eq!(rest(Patience::LastSeconds, left_us), seconds);
            assert_eq!(rest(Patience::BlockMs, left_us), ms);
        }
    }
}
