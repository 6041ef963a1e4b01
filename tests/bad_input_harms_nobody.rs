//! Whatever a client sends, it gets redis' answer (or a stricter one), and nobody else notices.
//!
//! Mechanics: every row of the table "Bad input" is sent whole, and again cut in two at every
//! byte (long ones at random places), with a checked request of another client on the same core
//! and lane between the parts and afterwards: the proxy has certainly seen the first part alone.
//! Why it must stay: lengths that wrap, headers that two parsers read differently and replies
//! that a client can forge are how one client gets at another's data.

mod support;

use support::hostile::{Expect, Row, answer_of, check, ends, play_all, row, stays};
use support::{Options, Random, Stack, Value, Wire, encode, wait_until};

const MULTIBULK: &str = "-ERR Protocol error: invalid multibulk length\r\n";
const BULK: &str = "-ERR Protocol error: invalid bulk length\r\n";
const QUOTES: &str = "-ERR Protocol error: unbalanced quotes in request\r\n";

/// The header of an array.
fn arrays() -> Vec<Row> {
    vec![
        row("*0", "*0\r\nPING\r\n", stays("+PONG\r\n")),
        row("*-1", "*-1\r\n*1\r\n$4\r\nPING\r\n", stays("+PONG\r\n")),
        row("*-10", "*-10\r\nPING\r\n", stays("+PONG\r\n")),
        row("plus sign", "*+1\r\n$4\r\nPING\r\n", ends(MULTIBULK)),
        row("leading zero", "*01\r\n$4\r\nPING\r\n", ends(MULTIBULK)),
        row("leading blank", "* 1\r\n$4\r\nPING\r\n", ends(MULTIBULK)),
        row("trailing blank", "*1 \r\n$4\r\nPING\r\n", ends(MULTIBULK)),
        row("fraction", "*1.0\r\n$4\r\nPING\r\n", ends(MULTIBULK)),
        row("nothing", "*\r\n$4\r\nPING\r\n", ends(MULTIBULK)),
        row("letters", "*abc\r\n$4\r\nPING\r\n", ends(MULTIBULK)),
        row("above 1,048,576", "*1048577\r\n$4\r\nPING\r\n", ends(MULTIBULK)),
        row("2^31 - 1", "*2147483647\r\n$4\r\nPING\r\n", ends(MULTIBULK)),
        row("2^31", "*2147483648\r\n$4\r\nPING\r\n", ends(MULTIBULK)),
        row("2^32 + 1", "*4294967297\r\n$4\r\nPING\r\n", ends(MULTIBULK)),
        row("2^63", "*9223372036854775808\r\n$4\r\nPING\r\n", ends(MULTIBULK)),
        row("2^64 + 1", "*18446744073709551617\r\n$4\r\nPING\r\n", ends(MULTIBULK)),
        row("40 digits", format!("*{}\r\n$4\r\nPING\r\n", "1".repeat(40)), Expect::Refused),
        row("70 KB of digits", format!("*{}", "1".repeat(70_000)), Expect::Refused),
        row("a billion promised", "*1000000000\r\n$4\r\nPING\r\n", ends(MULTIBULK)),
        row("CR and no LF", "*1\rX$4\r\nPING\r\n", Expect::Refused),
        row("LF and no CR", "*1\n$4\r\nPING\r\n", Expect::Refused),
    ]
}

/// The header and the body of an argument.
fn bulks() -> Vec<Row> {
    vec![
        row("-1", "*1\r\n$-1\r\n", ends(BULK)),
        row("-5", "*1\r\n$-5\r\nPING\r\n", ends(BULK)),
        row("plus sign", "*1\r\n$+4\r\nPING\r\n", ends(BULK)),
        row("leading zero", "*1\r\n$04\r\nPING\r\n", ends(BULK)),
        row("leading blank", "*1\r\n$ 4\r\nPING\r\n", ends(BULK)),
        row("nothing", "*1\r\n$\r\nPING\r\n", ends(BULK)),
        row("letter", "*1\r\n$x\r\nPING\r\n", ends(BULK)),
        row("512 MB promised", "*1\r\n$536870912\r\nPING\r\n", Expect::Waits),
        row("above 512 MB", "*1\r\n$536870913\r\nPING\r\n", ends(BULK)),
        row("2^31", "*1\r\n$2147483648\r\nPING\r\n", ends(BULK)),
        row("2^32 + 4", "*1\r\n$4294967300\r\nPING\r\n", ends(BULK)),
        row("2^63", "*1\r\n$9223372036854775808\r\nPING\r\n", ends(BULK)),
        row("2^64 + 4", "*1\r\n$18446744073709551620\r\nPING\r\n", ends(BULK)),
        row("70 KB of digits", format!("*1\r\n${}", "4".repeat(70_000)), Expect::Refused),
        row(
            "integer for $",
            "*1\r\n:4\r\nPING\r\n",
            ends("-ERR Protocol error: expected '$', got ':'\r\n"),
        ),
        row(
            "array for $",
            "*1\r\n*4\r\nPING\r\n",
            ends("-ERR Protocol error: expected '$', got '*'\r\n"),
        ),
        row(
            "simple string for $",
            "*2\r\n$3\r\nGET\r\n+key\r\n",
            ends("-ERR Protocol error: expected '$', got '+'\r\n"),
        ),
        row("CR and no LF", "*1\r\n$4\rXPING\r\n", Expect::Refused),
        row("LF and no CR", "*1\r\n$4\nPING\r\n", Expect::Refused),
        row("no CRLF behind the body", "*1\r\n$4\r\nPINGXY", Expect::Refused),
        row("body too long", "*1\r\n$4\r\nPINGPONG\r\n", Expect::Refused),
        row("half a request", "*2\r\n$3\r\nGET\r\n$3\r\nab", Expect::Waits),
        row("only a star", "*", Expect::Waits),
    ]
}

/// Inline commands, and what is not RESP at all.
fn lines() -> Vec<Row> {
    vec![
        row("inline", "PING\r\n", stays("+PONG\r\n")),
        row("inline, LF only", "PING\n", stays("+PONG\r\n")),
        row("inline with blanks", "  ECHO   \"a b\"  \r\n", stays("$3\r\na b\r\n")),
        row("inline with escapes", "ECHO \"\\x41\\n\\\"\"\r\n", stays("$3\r\nA\n\"\r\n")),
        row("inline, single quotes", "ECHO 'it\\'s'\r\n", stays("$4\r\nit's\r\n")),
        row("empty lines", "\r\n\r\n\nPING\r\n", stays("+PONG\r\n")),
        row("only blanks", "    \r\nPING\r\n", stays("+PONG\r\n")),
        row("open quotes", "ECHO \"abc\r\n", ends(QUOTES)),
        row("open single quotes", "ECHO 'abc\r\n", ends(QUOTES)),
        row("text behind quotes", "ECHO \"a\"b\r\n", ends(QUOTES)),
        row("Envoy's escape", "GET \"x\\x4\"\r\n", stays("$-1\r\n")),
        row("escape at the end", "GET \"x\\x", Expect::Waits),
        row("65 KB in one line", "x".repeat(66_000), Expect::Refused),
        row("POST", "POST / HTTP/1.1\r\nHost: a\r\n\r\n", Expect::Silence),
        row("post", "post / HTTP/1.1\r\n\r\n", Expect::Silence),
        row("Host:", "Host: example.com\r\n\r\n", Expect::Silence),
        row("POST as an array", "*2\r\n$4\r\nPOST\r\n$1\r\n/\r\n", Expect::Silence),
        row("host: as an array", "*2\r\n$5\r\nhost:\r\n$1\r\na\r\n", Expect::Silence),
        row("GET of a browser", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", Expect::SomeError),
        row("PROXY", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", Expect::SomeError),
        row("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Expect::SomeError),
        row("SSH", "SSH-2.0-OpenSSH_9.2\r\n", Expect::SomeError),
        row("memcached", "gets foo\r\n", Expect::SomeError),
        row("RESP3 map", "%1\r\n$3\r\nGET\r\n$1\r\na\r\n", Expect::SomeError),
        row("RESP3 set", "~1\r\n", Expect::SomeError),
        row("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", Expect::SomeError),
        row("reply-like", "+OK\r\n", Expect::SomeError),
        row("integer", ":1\r\n", Expect::SomeError),
    ]
}

/// All clients on one core, and so on one lane.
fn core_and_lane() -> Options {
    Options { cores: "1", ..Options::default() }
}

#[test]
fn in_the_header_of_an_array() {
    play_all(1, arrays());
}

#[test]
fn in_an_argument() {
    play_all(1, bulks());
}

#[test]
fn in_a_line() {
    play_all(1, lines());
}

#[test]
fn rows_that_are_as_redis_really_are() {
    // Stricter than redis 7.0, which accepts counts up to 2^31 - 1.
    const STRICTER: [&str; 3] = ["above 1,048,576", "2^31 - 1", "a billion promised"];
    let redis = support::Redis::start(&[]);
    let rows = arrays().into_iter().chain(bulks()).chain(lines());
    for row in rows.filter(|row| !STRICTER.contains(&row.what)) {
        let expected = match row.expect {
            Expect::Ends(bytes) | Expect::Stays(bytes) => bytes,
            Expect::Silence => Vec::new(),
            _ => continue,
        };
        let got = answer_of(&redis, &row.bytes);
        assert!(got == expected, "{}: redis says \"{}\"", row.what, got.escape_ascii());
    }
}

#[test]
fn promised_sizes_cost_no_memory() {
    let stack = Stack::start(1, &core_and_lane());
    let mut other = stack.client();
    check(&mut other, 0);
    let before = stack.proxy.resident_bytes();
    let promises = ["*1\r\n$536870912\r\n", "*1048576\r\n$3\r\nGET\r\n", "*1048576\r\n"];
    let mut clients: Vec<Wire> = (0..300).map(|_| stack.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(promises[number % promises.len()].as_bytes());
    }
    check(&mut other, 1);
    let growth = stack.proxy.resident_bytes().saturating_sub(before);
    assert!(growth < 32 * 1024 * 1024, "300 promises cost {growth} bytes");
}

#[test]
fn keys_and_values_are_any_bytes() {
    let stack = Stack::start(3, &Options::default());
    let mut client = stack.client();
    let all: Vec<u8> = (0..=255).collect();
    for key in [
        b"".as_slice(),
        b"\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"-ERR forged\r\n",
        b"\0",
        &all,
        b"{",
        b"}",
        b"}{",
        b"{}",
        b"{a",
        b"a}",
        b"{}{a}",
        b"\xff\xfe\xfd",
        "ключ".as_bytes(),
        b"$-1\r\n",
        b"POST",
        b"Host:",
    ] {
        for value in [b"".as_slice(), b"\r\n", b"+OK\r\n:1\r\n", &all, b"\0\0\0"] {
            assert_eq!(client.exchange(&[b"SET".as_slice(), key, value]), Value::ok());
            assert_eq!(client.exchange(&[b"GET".as_slice(), key]), Value::bulk(value));
            let reply = client.exchange(&[b"MGET".as_slice(), key, b"no such key", key]);
            let expected = vec![Value::bulk(value), Value::Null, Value::bulk(value)];
            assert_eq!(reply, Value::Array(expected));
        }
    }
}

#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    let mut stack = Stack::start(1, &core_and_lane());
    let mut other = stack.client();
    check(&mut other, 0);
    let descriptors = stack.proxy.process().descriptors().len();
    let mut random = Random::new(13);
    for round in 0..500 {
        let mut client = stack.client();
        let bytes = random.below(40);
        let _ = client.try_send(&encode(&["GET", "checked:1"])[..bytes.min(28)]);
        if round % 50 == 0 {
            check(&mut other, round);
        }
    }
    check(&mut other, 1);
    let process = stack.proxy.process();
    wait_until(support::PATIENCE, "all descriptors are closed", || {
        process.descriptors().len() <= descriptors
    });
}

#[test]
fn random_bytes_never_take_the_proxy_down() {
    let stack = Stack::start(1, &core_and_lane());
    let mut other = stack.client();
    let mut random = Random::new(17);
    let alphabet = b"*$:+-%0123456789\r\n\r\nGETSETPING key\"'\\\x16\0\xff";
    for number in 0..400 {
        let mut client = stack.client();
        let length = 1 + random.below(200);
        let noise: Vec<u8> = (0..length).map(|_| alphabet[random.below(alphabet.len())]).collect();
        let _ = client.try_send(&noise);
        client.finish_sending();
        check(&mut other, number);
    }
}
