//! A store that answers before it has the whole request (an error at the sight of a large value)
//! answers the client that sent it, and nobody else.
//!
//! Mechanics: a false store says `-OOM` to a large SET as soon as its first bytes are there; then it
//! reads the rest and goes on, or closes. Other clients of the same lane check every value. Why it
//! must stay: a proxy that drops such a request, or pairs it with the next, gives every later client
//! another's reply.

mod support;

use std::time::Duration;

use support::{Connection, Options, Stage, Value, encode};

const VALUE_BYTES: usize = 2 << 20;
const EARLY: &[u8] = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    ReadsOn,
    Closes,
}

fn serve(connection: &mut Connection, then: Then) {
    while let Some((mut request, bytes)) = connection.read_head() {
        if bytes < VALUE_BYTES {
            let Some(last) = connection.read_last(bytes) else { return };
            request.push(last);
            connection.answer(&request);
            continue;
        }
        connection.write(EARLY);
        if then == Then::Closes {
            return;
        }
        connection.skip(bytes + 2);
    }
}

fn early(then: Then) {
    let options = Options { timeout_ms: 5_000, ..Options::default() };
    let stage = Stage::start(&options, move |connection| serve(connection, then));
    let (bad, good) = stage.watch(3);
    let (mut client, key) = (stage.proxy.client(), stage.bad_keys[0].as_str());
    let large = vec![b'x'; VALUE_BYTES];
    for _ in 0..10 {
        client.send(&encode(&[b"SET", key.as_bytes(), &large]));
        let reply = client.read_reply();
        let whole = reply.error().starts_with("OOM ");
        assert!(whole || then == Then::Closes && reply.error().contains("shard1"), "{reply:?}");
        let reply = client.exchange(&["GET", key]);
        assert!(
            reply == Value::bulk(format!("value of {key}"))
                || then == Then::Closes && reply.is_error(),
            "{reply:?}"
        );
    }
    bad.wait_for(100);
    good.end_unharmed(Duration::from_secs(1));
    let tally = bad.end();
    assert_eq!(tally.foreign(), 0, "{}", tally.said());
    assert!(then == Then::Closes || tally.errors() == 0, "{}", tally.said());
    stage.serves_again(Duration::from_secs(5));
}

#[test]
fn if_the_store_reads_on() {
    early(Then::ReadsOn);
}

#[test]
fn if_the_store_closes() {
    early(Then::Closes);
}
