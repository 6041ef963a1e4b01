//! What a store says of its own accord at connect (too many clients, protected mode, a password is
//! needed) is nobody's reply: it is the reason in the errors of those who asked, and the lane is
//! tried again after pauses.
//!
//! Mechanics: a false store refuses some connections in each of these ways, at once or in answer to
//! the hand-shake, closing or not; then it is honest. Clients check every value.

mod support;

use std::time::Duration;

use support::{Options, Stage, wait_until};

const REFUSED: usize = 5;

/// `words` instead of a greeting, on so many connections.
fn refuses(words: &'static [u8], waits: bool, closes: bool) {
    let first = std::sync::OnceLock::new();
    let stage = Stage::start(&Options::default(), move |connection| {
        let first = *first.get_or_init(|| connection.number);
        if connection.number < first + REFUSED {
            if waits && connection.read_request().is_none() {
                return;
            }
            connection.write(words);
            if !closes {
                connection.wait_closed();
            }
            return;
        }
        while let Some(request) = connection.read_request() {
            connection.answer(&request);
        }
    });
    let (bad, good) = stage.watch(3);
    wait_until(Duration::from_secs(20), "the store is honest at last", || {
        stage.bad.accepted() > REFUSED + 1
    });
    bad.wait_for(100);
    good.end_unharmed(Duration::from_secs(1));
    let tally = bad.end();
    assert_eq!(tally.foreign(), 0, "{}", tally.said());
    let said = tally.said();
    assert!(tally.errors() > 0 && said.contains("shard shard1 at"), "{said}");
    stage.serves_again(Duration::from_secs(1));
}

#[test]
fn too_many_clients() {
    refuses(b"-ERR max number of clients reached\r\n", false, true);
    refuses(b"-ERR max number of clients reached\r\n", true, true);
}

#[test]
fn protected_mode() {
    let words = b"-DENIED Redis is running in protected mode because it is.\r\n";
    refuses(words, false, true);
    refuses(words, true, false);
}

#[test]
fn a_password_is_needed() {
    refuses(b"-NOAUTH Authentication required.\r\n", true, false);
}

#[test]
fn a_reply_too_many() {
    // The name has one answer, and PING's is another.
    refuses(b"+OK\r\n+OK\r\n+PONG\r\n", true, false);
}
