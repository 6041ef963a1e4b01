//! A request that is whole and still wrong gets redis' own words, the client stays, and nobody else
//! notices; what is merely odd is answered as redis answers it, in order.
//!
//! Mechanics: as for broken frames (whole, cut at every byte, with a checked client beside), and
//! each answer is compared with that of a redis-server to the same bytes. Two shards, so that what
//! is split is merged too. Why it must stay: a name that carries CRLF into an error reply forges
//! replies, and a number of keys that is believed reads beyond the request.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use support::hostile::{Expect, Row, check, ends, play_all, row};
use support::{Options, Stack, Value, encode, wait_until};

fn request(args: &[&str]) -> Vec<u8> {
    encode(args)
}

fn as_redis(what: &'static str, args: &[&str]) -> Row {
    row(what, request(args), Expect::AsRedis)
}

#[test]
fn names_and_numbers_of_arguments() {
    play_all(
        2,
        vec![
            as_redis("GET of nothing", &["GET"]),
            as_redis("GET of two", &["GET", "a", "b"]),
            as_redis("MGET of nothing", &["MGET"]),
            as_redis("MSET, odd", &["MSET", "a", "1", "b"]),
            as_redis("MSET of nothing", &["MSET"]),
            as_redis("DEL of nothing", &["DEL"]),
            as_redis("an unknown name", &["NOSUCH", "x"]),
            as_redis("an empty name", &["", "x"]),
            as_redis("CRLF in a name", &["NO\r\n+OK\r\n:1", "x"]),
            as_redis("CRLF in an argument of an unknown name", &["NOSUCH", "a\r\n-ERR forged\r\n"]),
            as_redis("a very long unknown name", &[&"n".repeat(300), &"x".repeat(300)]),
            as_redis("NUL in a name", &["G\0ET", "x"]),
        ],
    );
}

#[test]
fn numbers_of_keys_in_scripts() {
    let script = "return 1";
    let beyond = "9223372036854775807";
    let rows = ["-1", "-9223372036854775808", "3", beyond, "9223372036854775808", "x", "", "1.0"]
        .map(|count| as_redis("EVAL", &["EVAL", script, count, "a"]))
        .to_vec();
    play_all(2, rows);
    let sha = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    let rows = ["-1", beyond, "x"].map(|n| as_redis("EVALSHA", &["EVALSHA", sha, n, "a"])).to_vec();
    play_all(2, rows);
}

#[test]
fn keys_that_are_named_twice() {
    let of = |requests: &[&[&str]]| requests.concat_requests();
    play_all(
        2,
        vec![
            row(
                "MGET and MSET",
                of(&[
                    &["MSET", "a", "1", "b", "2", "a", "3"],
                    &["MGET", "b", "a", "none", "b", "a"],
                    &["DEL", "a", "a", "b", "none", "b"],
                ]),
                Expect::AsRedis,
            ),
            row(
                "EXISTS",
                of(&[
                    &["MSET", "a", "1", "b", "2"],
                    &["EXISTS", "a", "a", "b", "c"],
                    &["UNLINK", "b", "a", "a"],
                ]),
                Expect::AsRedis,
            ),
        ],
    );
}

trait ConcatRequests {
    fn concat_requests(&self) -> Vec<u8>;
}

impl ConcatRequests for [&[&str]] {
    fn concat_requests(&self) -> Vec<u8> {
        self.iter().flat_map(|request| encode(request)).collect()
    }
}

#[test]
fn replies_that_are_not_to_be_sent() {
    let [off, skip, on] = ["OFF", "SKIP", "ON"].map(|how| request(&["CLIENT", "REPLY", how]));
    let (get, wrong) = (request(&["GET", "key"]), request(&["NOSUCHCOMMAND"]));
    let off = [off, get.clone(), wrong.clone()].concat();
    let broken = [off.as_slice(), b"*x\r\n"].concat();
    let stays = |heard: &[u8]| Expect::Stays(heard.to_vec());
    play_all(
        2,
        vec![
            row("OFF", off.clone(), Expect::Waits),
            row("OFF and a broken frame", broken, ends("")),
            row("SKIP", [skip.clone(), wrong].concat(), stays(b"")),
            row("SKIP, and one more", [skip, get.clone(), get].concat(), stays(b"$-1\r\n")),
            row("ON again", [off, on].concat(), stays(b"+OK\r\n")),
        ],
    );
}

#[test]
fn many_requests_in_one_write() {
    let pings = request(&["PING"]).repeat(10_000);
    let pongs = b"+PONG\r\n".repeat(10_000);
    let quit = [request(&["ECHO", "x"]), request(&["QUIT"]), request(&["SET", "after", "it"])];
    play_all(
        2,
        vec![
            row("10,000 PINGs", pings, Expect::Stays(pongs)),
            row("QUIT with more behind", quit.concat(), ends("$1\r\nx\r\n+OK\r\n")),
        ],
    );
}

/// A client's first words on a TLS connection: TLS 1.2 record, hello of 1.3, one cipher.
const TLS_HELLO: &[u8] = b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03\
    0123456789abcdef0123456789abcdef\x00\x00\x02\x13\x01\x01\x00\x00\x00";

#[test]
fn who_takes_the_port_for_another_is_told_and_named_in_the_log() {
    const TLS: &str = "-ERR Protocol error: TLS hello on a port without TLS\r\n";
    play_all(1, vec![row("TLS", TLS_HELLO, ends(TLS))]);

    let stack = Stack::start(1, &Options::default());
    let mut other = stack.client();
    check(&mut other, 0);
    for (bytes, said) in [
        (TLS_HELLO, "TLS hello on a port without TLS"),
        (b"POST / HTTP/1.1\r\nHost: redis\r\n\r\n", "possibly an attack through a browser"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "is this the right port?"),
    ] {
        let mut client = stack.client();
        let from = client.local_address().to_string();
        client.send(bytes);
        let _ = client.read_until_closed();
        wait_until(support::PATIENCE, "one line says who and why", || {
            let log = stack.proxy.log();
            let lines = log.lines().filter(|line| line.contains(said)).collect::<Vec<_>>();
            lines.len() == 1 && lines[0].contains(&format!("peer={from}"))
        });
        check(&mut other, 1);
    }
}

#[test]
fn nothing_of_a_refused_request_is_done() {
    let stack = Stack::start(2, &Options::default());
    let mut client = stack.client();
    let _ = client.exchange(&["MSET", "a", "1", "b", "2", "c"]);
    let _ = client.exchange(&["EVAL", "redis.call('SET', KEYS[1], 1)", "9", "d"]);
    client.send(b"*3\r\n$3\r\nSET\r\n$1\r\ne\r\n$1\r\n12\r\n");
    let said = String::from_utf8(client.read_until_closed()).expect("text");
    assert!(said.contains("Protocol error"), "{said}");
    assert_eq!(stack.keys_behind(), 0);
    let found = stack.client().exchange(&["MGET", "a", "b", "c", "d", "e"]);
    assert_eq!(found, Value::Array(vec![Value::Null; 5]));
}
