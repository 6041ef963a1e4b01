//! The table of bad input: each row whole, and split at every byte.

use crate::base::limits;
use crate::resp::args::{ArgRange, Request};
use crate::resp::request::{
    Parsed, ProtocolError, RequestLimits, RequestParser, inline_to_multibulk,
};

const LIMITS: RequestLimits = RequestLimits {
    args_max: limits::REQUEST_ARGS_MAX,
    bulk_bytes_max: limits::BULK_BYTES_MAX,
    request_bytes_max: limits::REQUEST_BYTES_MAX,
};

type Outcome = Result<Parsed, ProtocolError>;

/// The outcome of `bytes` in one piece; the same must come out when they arrive one by one.
fn parse_with(bytes: &[u8], limits: &RequestLimits) -> (Outcome, Vec<Vec<u8>>) {
    let mut args = Vec::new();
    let whole = RequestParser::default().parse(bytes, &mut args, limits);
    let words = words_of(bytes, &args, whole);

    let mut parser = RequestParser::default();
    let mut args = Vec::new();
    let mut split = Ok(Parsed::More);
    for end in 0..=bytes.len() {
        split = parser.parse(&bytes[..end], &mut args, limits);
        if split != Ok(Parsed::More) {
            break;
        }
    }
    assert_eq!(split, whole, "split: {}", bytes.escape_ascii());
    assert_eq!(words_of(bytes, &args, split), words);

    for cut in 0..bytes.len() {
        let mut parser = RequestParser::default();
        let mut args = Vec::new();
        let mut outcome = parser.parse(&bytes[..cut], &mut args, limits);
        if outcome == Ok(Parsed::More) {
            outcome = parser.parse(bytes, &mut args, limits);
        }
        assert_eq!(outcome, whole, "cut at {cut}: {}", bytes.escape_ascii());
    }
    (whole, words)
}

fn words_of(bytes: &[u8], ranges: &[ArgRange], outcome: Outcome) -> Vec<Vec<u8>> {
    match outcome {
        Ok(Parsed::Request { bytes: end }) => {
            let request = Request { bytes: &bytes[..end], ranges };
            request.iter().map(<[u8]>::to_vec).collect()
        }
        _ => Vec::new(),
    }
}

fn parse(bytes: &[u8]) -> Outcome {
    parse_with(bytes, &LIMITS).0
}

#[test]
fn a_request_gives_its_arguments() {
    let bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nhello\r\nworld\r\n*1\r\n";
    let (outcome, words) = parse_with(bytes, &LIMITS);
    assert_eq!(outcome, Ok(Parsed::Request { bytes: bytes.len() - 4 }));
    assert_eq!(words, [&b"SET"[..], b"k", b"hello\r\nworld"]);
}

#[test]
fn arguments_as_they_stand_on_the_wire() {
    let bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n";
    let mut ranges = Vec::new();
    assert!(RequestParser::default().parse(bytes, &mut ranges, &LIMITS).is_ok());
    let request = Request { bytes, ranges: &ranges };
    let wire: Vec<&[u8]> = (0..4).map(|index| request.wire(index)).collect();
    assert_eq!(wire, [&b"$3\r\nSET\r\n"[..], b"$1\r\nk\r\n", b"$0\r\n\r\n", b""]);
    assert_eq!(request.get(3), None);
    assert_eq!(request.arg(3), b"");
}

#[test]
fn counts_of_zero_and_less_ask_for_nothing() {
    for count in ["*0", "*-1", "*-10", "*-9223372036854775808"] {
        let bytes = format!("{count}\r\n*1\r\n");
        assert_eq!(parse(bytes.as_bytes()), Ok(Parsed::Nothing { bytes: count.len() + 2 }));
    }
}

#[test]
fn a_count_is_a_number_in_its_one_form() {
    let counts = [
        "*+1",
        "*01",
        "*00",
        "*-0",
        "*-01",
        "* 1",
        "*1 ",
        "*1.0",
        "*",
        "*-",
        "*--1",
        "*abc",
        "*2147483647",
        "*1048577",
        "*2147483648",
        "*9223372036854775807",
        "*9223372036854775808",
        "*-9223372036854775809",
        "*18446744073709551617",
        "*1111111111111111111111111111111111111111",
    ];
    for count in counts {
        let bytes = format!("{count}\r\n$4\r\nPING\r\n");
        assert_eq!(parse(bytes.as_bytes()), Err(ProtocolError::MultibulkLength), "{count}");
    }
    let long = [&b"*"[..], &[b'1'; 70_000]].concat();
    let mut args = Vec::new();
    let outcome = RequestParser::default().parse(&long, &mut args, &LIMITS);
    assert_eq!(outcome, Err(ProtocolError::MultibulkLength));
}

#[test]
fn a_length_is_a_number_in_its_one_form() {
    let lengths = [
        "$-1",
        "$-5",
        "$-",
        "$+4",
        "$04",
        "$00",
        "$ 4",
        "$4 ",
        "$",
        "$x",
        "$4x",
        "$536870913",
        "$2147483648",
        "$9223372036854775807",
        "$9223372036854775808",
        "$18446744073709551620",
        "$4444444444444444444444444444444444444444",
    ];
    for length in lengths {
        let bytes = format!("*1\r\n{length}\r\nPING\r\n");
        assert_eq!(parse(bytes.as_bytes()), Err(ProtocolError::BulkLength), "{length}");
    }
}

#[test]
fn the_largest_body_is_waited_for_and_nothing_is_reserved() {
    let mut args = Vec::new();
    for header in ["*1\r\n$536870912\r\n", "*1048576\r\n$1\r\nx\r\n"] {
        args.clear();
        let mut parser = RequestParser::default();
        assert_eq!(parser.parse(header.as_bytes(), &mut args, &LIMITS), Ok(Parsed::More));
        assert!(args.capacity() <= 4, "{header} made room for {} arguments", args.capacity());
    }
}

#[test]
fn another_type_where_a_length_belongs() {
    for byte in [b':', b'*', b'+', b'P', b'\r', b'\n', 0, 0xff] {
        let bytes = [&b"*2\r\n$3\r\nGET\r\n"[..], &[byte], b"1\r\n"].concat();
        assert_eq!(parse(&bytes), Err(ProtocolError::ExpectedDollar(byte)));
    }
}

#[test]
fn crlf_is_cr_and_lf() {
    let broken = [
        &b"*1\rX$4\r\nPING\r\n"[..],
        b"*1\r\r\n$4\r\nPING\r\n",
        b"*1\n$4\nPING\n",
        b"*\n",
        b"*1\r\n$4\rXPING\r\n",
        b"*1\r\n$4\nPING\r\n",
        b"*1\r\n$\nPING\r\n",
        // A body that is longer, or shorter, than its length.
        b"*1\r\n$4\r\nPINGXY",
        b"*1\r\n$4\r\nPINGS\r\n",
        b"*1\r\n$4\r\nPING\n\n",
        b"*1\r\n$4\r\nPING\rX",
        b"*1\r\n$4\r\nPIN\r\n*1\r\n$4\r\nPING\r\n",
        b"*2\r\n$3\r\nGET\r\n$1\r\nkk\r\n",
    ];
    for bytes in broken {
        assert_eq!(parse(bytes), Err(ProtocolError::MissingCrlf), "{}", bytes.escape_ascii());
    }
}

#[test]
fn limits_hold_at_their_very_value() {
    let limits = RequestLimits { args_max: 3, bulk_bytes_max: 10, request_bytes_max: 40 };
    let at_limit = b"*3\r\n$2\r\nab\r\n$10\r\n0123456789\r\n$3\r\nabc\r\n";
    assert_eq!(at_limit.len(), 38);
    let (outcome, _) = parse_with(at_limit, &limits);
    assert_eq!(outcome, Ok(Parsed::Request { bytes: 38 }));
    let (outcome, _) = parse_with(b"*4\r\n", &limits);
    assert_eq!(outcome, Err(ProtocolError::MultibulkLength));
    let (outcome, _) = parse_with(b"*1\r\n$11\r\n", &limits);
    assert_eq!(outcome, Err(ProtocolError::BulkLength));
    let limits = RequestLimits { request_bytes_max: 38, ..limits };
    assert_eq!(parse_with(at_limit, &limits).0, Ok(Parsed::Request { bytes: 38 }));
    let limits = RequestLimits { request_bytes_max: 37, ..limits };
    assert_eq!(parse_with(at_limit, &limits).0, Err(ProtocolError::RequestTooBig));
    // Limits without sense must not wrap around.
    let boundless = RequestLimits {
        args_max: usize::MAX,
        bulk_bytes_max: usize::MAX,
        request_bytes_max: usize::MAX,
    };
    let bytes = b"*1\r\n$9223372036854775807\r\n";
    assert_eq!(parse_with(bytes, &boundless).0, Err(ProtocolError::RequestTooBig));
    assert_eq!(
        parse_with(b"*9223372036854775807\r\n", &boundless).0,
        Err(ProtocolError::MultibulkLength)
    );
}

#[test]
fn browsers_and_other_protocols_are_turned_away() {
    let cross = [
        &b"POST / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"post /\n",
        b" Post\r\n",
        b"Host: localhost:6379\r\n",
        b"hOST:\r\n",
        b"*2\r\n$4\r\nPOST\r\n$1\r\n/\r\n",
        b"*1\r\n$4\r\npost\r\n",
        b"*2\r\n$5\r\nHost:\r\n$1\r\nx\r\n",
    ];
    for bytes in cross {
        assert_eq!(parse(bytes), Err(ProtocolError::CrossProtocol), "{}", bytes.escape_ascii());
    }
    assert_eq!(parse(b"\x16\x03\x01\x02\x00\x01"), Err(ProtocolError::TlsHello));
    let foreign = [
        &b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"[..],
        b"PROXY UNKNOWN\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"%1\r\n+a\r\n:1\r\n",
        b"$4\r\nPING\r\n",
        b">1\r\n+a\r\n",
        b"\0\r\nQUIT\n",
        b"\xff\xfe\r\n",
    ];
    for bytes in foreign {
        assert_eq!(parse(bytes), Err(ProtocolError::ForeignProtocol), "{}", bytes.escape_ascii());
    }
    // PROXY version 2 begins with two empty lines.
    assert_eq!(parse(b"\r\n\r\n\0\r\nQUIT\n"), Ok(Parsed::Nothing { bytes: 2 }));
    for harmless in [&b"*1\r\n$4\r\nHOST\r\n"[..], b"*2\r\n$4\r\nPOSX\r\n$4\r\nPOST\r\n"] {
        assert_eq!(parse(harmless), Ok(Parsed::Request { bytes: harmless.len() }));
    }
}

#[test]
fn inline_lines() {
    assert_eq!(parse(b"PING\r\nPING\r\n"), Ok(Parsed::Inline { bytes: 6 }));
    assert_eq!(parse(b"GET k\n"), Ok(Parsed::Inline { bytes: 6 }));
    for empty in ["\r\n", "\n", "  \t \r\n", "\r\r\n"] {
        assert_eq!(parse(empty.as_bytes()), Ok(Parsed::Nothing { bytes: empty.len() }));
    }
    assert_eq!(parse(b"PING"), Ok(Parsed::More));
    let mut longest = vec![b'x'; limits::INLINE_BYTES_MAX];
    let mut args = Vec::new();
    let mut parser = RequestParser::default();
    let outcome = parser.parse(&longest, &mut args, &LIMITS);
    assert_eq!(outcome, Err(ProtocolError::InlineTooBig));
    longest[limits::INLINE_BYTES_MAX - 1] = b'\n';
    let mut parser = RequestParser::default();
    assert_eq!(parser.parse(&longest[..7], &mut args, &LIMITS), Ok(Parsed::More));
    let outcome = parser.parse(&longest, &mut args, &LIMITS);
    assert_eq!(outcome, Ok(Parsed::Inline { bytes: limits::INLINE_BYTES_MAX }));
    longest.insert(0, b'x');
    let outcome = RequestParser::default().parse(&longest, &mut args, &LIMITS);
    assert_eq!(outcome, Err(ProtocolError::InlineTooBig));
}

fn inline(line: &[u8]) -> Result<Vec<u8>, ProtocolError> {
    let mut out = Vec::new();
    let outcome = inline_to_multibulk(line, &mut out);
    assert!(outcome.is_ok() || out.is_empty());
    outcome.map(|()| out)
}

#[test]
fn inline_words_are_split_as_redis_splits_them() {
    let lines: [(&[u8], &[&[u8]]); 16] = [
        (b"PING\r\n", &[b"PING"]),
        (b"  set  k\tv \n", &[b"set", b"k", b"v"]),
        (b"a b", &[b"a", b"b"]),
        (b"a\x0bb \x0bc\n", &[b"a\x0bb", b"c"]),
        (b"a\0b\n", &[b"a\0b"]),
        (br#"SET "a b" 'c d'"#, &[b"SET", b"a b", b"c d"]),
        (br#""" ''"#, &[b"", b""]),
        (br#""\x41\x0d\n\r\t\b\a\\\"\q""#, &[b"A\r\n\r\t\x08\x07\\\"q"]),
        (br#""\xfF\xg1\x4""#, &[b"\xffxg1x4"]),
        // Envoy fell over an escape that ends with the word.
        (br#"GET "x\x4""#, &[b"GET", b"xx4"]),
        (br#"GET "x\x""#, &[b"GET", b"xx"]),
        (br"'\'' '\n' '\x41'", &[b"'", br"\n", br"\x41"]),
        (br#"pre"fix ed" x"#, &[b"prefix ed", b"x"]),
        (br"a\nb", &[br"a\nb"]),
        (b"PING\r\r\n", &[b"PING"]),
        (b"\r\n", &[]),
    ];
    for (line, words) in lines {
        let out = inline(line).unwrap();
        if words.is_empty() {
            assert!(out.is_empty());
            continue;
        }
        let (outcome, parsed) = parse_with(&out, &LIMITS);
        assert_eq!(outcome, Ok(Parsed::Request { bytes: out.len() }));
        assert_eq!(parsed, words, "{}", line.escape_ascii());
    }
}

#[test]
fn quotes_that_do_not_end_their_word() {
    let lines = [
        &br#"GET "abc"#[..],
        br#"GET "abc\"#,
        br#"GET "abc\""#,
        br#"GET "abc"d"#,
        br#"GET ""a"#,
        br"GET 'abc",
        br"GET 'abc\'",
        br"GET 'abc'd",
        br#"GET ""'"#,
        br#"""#,
        br#"GET "x\x4"#,
        br#"GET "x\x"#,
    ];
    for line in lines {
        let error = Err(ProtocolError::UnbalancedQuotes);
        assert_eq!(inline(line), error, "{}", line.escape_ascii());
        assert_eq!(inline(&[line, b"\r\n"].concat()), error, "{}", line.escape_ascii());
    }
}

#[test]
fn errors_are_worded_as_redis_words_them() {
    let texts = [
        (ProtocolError::MultibulkLength, "-ERR Protocol error: invalid multibulk length\r\n"),
        (ProtocolError::BulkLength, "-ERR Protocol error: invalid bulk length\r\n"),
        (ProtocolError::ExpectedDollar(b':'), "-ERR Protocol error: expected '$', got ':'\r\n"),
        (ProtocolError::ExpectedDollar(b'\n'), "-ERR Protocol error: expected '$', got '\\n'\r\n"),
        (ProtocolError::ExpectedDollar(0xff), "-ERR Protocol error: expected '$', got '\\xff'\r\n"),
        (ProtocolError::UnbalancedQuotes, "-ERR Protocol error: unbalanced quotes in request\r\n"),
        (ProtocolError::InlineTooBig, "-ERR Protocol error: too big inline request\r\n"),
        (ProtocolError::CrossProtocol, ""),
    ];
    for (error, text) in texts {
        let mut out = Vec::new();
        error.reply(&mut out);
        assert_eq!(out.escape_ascii().to_string(), text.as_bytes().escape_ascii().to_string());
    }
    let log = ProtocolError::ExpectedDollar(b'\r').to_string();
    assert_eq!(log, "protocol error: expected '$', got '\\r'");
    for byte in 0..=u8::MAX {
        let mut out = Vec::new();
        ProtocolError::ExpectedDollar(byte).reply(&mut out);
        let line = out.strip_suffix(b"\r\n").unwrap();
        assert!(line.iter().all(|byte| (b' '..=b'~').contains(byte)), "{byte}");
    }
}

#[test]
fn ten_thousand_pings_in_one_write() {
    let bytes = b"*1\r\n$4\r\nPING\r\n".repeat(10_000);
    let mut parser = RequestParser::default();
    let mut args = Vec::new();
    let mut rest = &bytes[..];
    let mut requests = 0;
    while let Ok(Parsed::Request { bytes }) = parser.parse(rest, &mut args, &LIMITS) {
        rest = &rest[bytes..];
        requests += 1;
    }
    assert_eq!((requests, rest.len()), (10_000, 0));
}
