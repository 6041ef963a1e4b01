//! Where replies end, however they are cut, and what is refused.

use crate::resp::reply::{ReplyError, ReplyScanner, Scanned};

/// The outcome of `bytes` in one piece; the same must come out byte by byte and for two pieces.
fn scan(bytes: &[u8]) -> Result<Scanned, ReplyError> {
    let whole = ReplyScanner::default().scan(bytes);
    let mut pieces: Vec<usize> = vec![1; bytes.len()];
    assert_eq!(scan_pieces(bytes, &pieces), whole, "one by one: {}", bytes.escape_ascii());
    for cut in 1..bytes.len().min(2_000) {
        pieces = vec![cut, bytes.len() - cut];
        assert_eq!(scan_pieces(bytes, &pieces), whole, "cut at {cut}: {}", bytes.escape_ascii());
    }
    whole
}

fn scan_pieces(bytes: &[u8], pieces: &[usize]) -> Result<Scanned, ReplyError> {
    let mut scanner = ReplyScanner::default();
    let mut rest = bytes;
    let mut passed = 0;
    for piece in pieces {
        let (now, later) = rest.split_at(*piece);
        match scanner.scan(now)? {
            Scanned::Reply { bytes, kind } => {
                assert!(scanner.at_start() && scanner.kind().is_none());
                return Ok(Scanned::Reply { bytes: passed + bytes, kind });
            }
            Scanned::More => assert!(now.is_empty() || !scanner.at_start()),
        }
        passed += piece;
        rest = later;
    }
    Ok(Scanned::More)
}

#[test]
fn every_type_of_reply_has_its_end() {
    let replies = [
        "+OK\r\n",
        "+\r\n",
        "-ERR no\r\n",
        ":0\r\n",
        ":-9223372036854775808\r\n",
        "$0\r\n\r\n",
        "$5\r\na\r\nbc\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*2\r\n:1\r\n$1\r\nx\r\n",
        "_\r\n",
        ",3.14\r\n",
        ",inf\r\n",
        "#t\r\n",
        "!5\r\nERR x\r\n",
        "=7\r\ntxt:abc\r\n",
        "(3492890328409238509324850943850943825024385\r\n",
        "%0\r\n",
        "%1\r\n+k\r\n*1\r\n:1\r\n",
        "~2\r\n+a\r\n+b\r\n",
        ">2\r\n+message\r\n*1\r\n+x\r\n",
        "*3\r\n*0\r\n*1\r\n*-1\r\n%1\r\n*1\r\n+a\r\n$-1\r\n",
        "*12\r\n+\r\n+\r\n+\r\n+\r\n+\r\n+\r\n+\r\n+\r\n+\r\n+\r\n+\r\n+\r\n",
        "*1\r\n|1\r\n+a\r\n:1\r\n+b\r\n",
        "*2\r\n|0\r\n|1\r\n+a\r\n*1\r\n:1\r\n+b\r\n+c\r\n",
    ];
    for reply in replies {
        let kind = reply.as_bytes()[0];
        let end = Ok(Scanned::Reply { bytes: reply.len(), kind });
        assert_eq!(scan(reply.as_bytes()), end, "{reply}");
        let with_next = format!("{reply}*1\r\n:1\r\n");
        assert_eq!(scan(with_next.as_bytes()), end, "{reply}");
        for cut in 0..reply.len() {
            assert_eq!(scan(&reply.as_bytes()[..cut]), Ok(Scanned::More), "{reply} until {cut}");
        }
    }
}

#[test]
fn attributes_belong_to_the_reply_behind_them() {
    let attributes = "|2\r\n+ttl\r\n:3600\r\n+more\r\n*2\r\n:1\r\n:2\r\n";
    for (reply, kind) in [("$2\r\nhi\r\n", b'$'), ("*1\r\n+x\r\n", b'*'), (">1\r\n+x\r\n", b'>')] {
        let bytes = format!("{attributes}|1\r\n+x\r\n+y\r\n{reply}");
        assert_eq!(scan(bytes.as_bytes()), Ok(Scanned::Reply { bytes: bytes.len(), kind }));
    }
    let mut scanner = ReplyScanner::default();
    assert_eq!(scanner.scan(attributes.as_bytes()), Ok(Scanned::More));
    assert_eq!((scanner.kind(), scanner.at_start()), (None, false));
    assert_eq!(scanner.scan(b"$100\r\nabc"), Ok(Scanned::More));
    assert_eq!(scanner.kind(), Some(b'$'));
}

#[test]
fn what_is_not_resp_is_refused() {
    let refused = [
        ("OK\r\n", ReplyError::UnknownType(b'O')),
        ("\r\n", ReplyError::UnknownType(b'\r')),
        ("*1\r\nx", ReplyError::UnknownType(b'x')),
        (";4\r\n", ReplyError::UnknownType(b';')),
        ("$?\r\n", ReplyError::BadLength),
        ("*?\r\n", ReplyError::BadLength),
        ("%?\r\n", ReplyError::BadLength),
        ("$\r\n", ReplyError::BadLength),
        ("$-\r\n", ReplyError::BadLength),
        ("$-2\r\n", ReplyError::BadLength),
        ("$-01\r\n", ReplyError::BadLength),
        ("$-0\r\n", ReplyError::BadLength),
        ("$--1\r\n", ReplyError::BadLength),
        ("$+1\r\n", ReplyError::BadLength),
        ("$01\r\nx\r\n", ReplyError::BadLength),
        ("$ 1\r\nx\r\n", ReplyError::BadLength),
        ("$1 \r\nx\r\n", ReplyError::BadLength),
        ("%-1\r\n", ReplyError::BadLength),
        ("~-1\r\n", ReplyError::BadLength),
        (">-1\r\n", ReplyError::BadLength),
        ("|-1\r\n", ReplyError::BadLength),
        ("!-1\r\n", ReplyError::BadLength),
        ("=-1\r\n", ReplyError::BadLength),
        ("$1\n", ReplyError::MissingCrlf),
        ("$1\rx", ReplyError::MissingCrlf),
        ("$1\r\nxy", ReplyError::MissingCrlf),
        ("$1\r\nx\n", ReplyError::MissingCrlf),
        ("$1\r\nx\rx", ReplyError::MissingCrlf),
        ("$0\r\nx", ReplyError::MissingCrlf),
        ("+OK\n", ReplyError::MissingCrlf),
        ("+O\rK\r\n", ReplyError::MissingCrlf),
        ("+OK\r\r\n", ReplyError::MissingCrlf),
        ("$536870913\r\n", ReplyError::TooBig),
        ("!536870913\r\n", ReplyError::TooBig),
        ("$18446744073709551620\r\n", ReplyError::TooBig),
        ("*2147483649\r\n", ReplyError::TooBig),
        ("%18446744073709551617\r\n", ReplyError::TooBig),
        ("$11111111111111111111111111111111\r\n", ReplyError::HeaderTooLong),
        (":11111111111111111111111111111111\r\n", ReplyError::HeaderTooLong),
    ];
    for (bytes, error) in refused {
        assert_eq!(scan(bytes.as_bytes()), Err(error), "{bytes}");
        let nested = format!("*2\r\n:1\r\n{bytes}");
        assert_eq!(scan(nested.as_bytes()), Err(error), "{nested}");
    }
}

#[test]
fn limits_hold_at_their_very_value() {
    for bytes in ["$536870912\r\n", "*2147483648\r\n", "%2147483648\r\n", "|2147483648\r\n"] {
        assert_eq!(scan(bytes.as_bytes()), Ok(Scanned::More), "{bytes}");
    }
    for (kind, content_bytes_max) in [(b'+', 65_533), (b',', 65_533), (b':', 29), (b'#', 29)] {
        let mut line = vec![b'1'; content_bytes_max + 1];
        line[0] = kind;
        line.extend_from_slice(b"\r\n");
        assert_eq!(scan(&line), Ok(Scanned::Reply { bytes: line.len(), kind }));
        line.insert(1, b'1');
        assert_eq!(scan(&line), Err(ReplyError::HeaderTooLong), "{}", kind as char);
    }
}

#[test]
fn nested_five_thousand_deep() {
    let mut bytes = b"*1\r\n".repeat(5_000);
    assert_eq!(ReplyScanner::default().scan(&bytes), Ok(Scanned::More));
    bytes.extend_from_slice(b"$1\r\nx\r\n");
    let end = Ok(Scanned::Reply { bytes: bytes.len(), kind: b'*' });
    assert_eq!(ReplyScanner::default().scan(&bytes), end);
    assert_eq!(scan_pieces(&bytes, &vec![1; bytes.len()]), end);
    // The same depth with something to come at each level.
    let fat = [b"*2\r\n".repeat(5_000), b":1\r\n".repeat(5_001)].concat();
    let end = Ok(Scanned::Reply { bytes: fat.len(), kind: b'*' });
    assert_eq!(ReplyScanner::default().scan(&fat), end);
    assert_eq!(scan_pieces(&fat, &vec![1; fat.len()]), end);
}

#[test]
fn complaints_show_no_raw_byte() {
    assert_eq!(ReplyError::UnknownType(b'\n').to_string(), "a reply can not begin with '\\n'");
    let text = ReplyError::TooBig.to_string();
    assert!(text.contains("536870912") && text.contains("2147483648"), "{text}");
}

#[test]
fn a_scanner_is_small() {
    assert!(size_of::<ReplyScanner>() <= 24, "{}", size_of::<ReplyScanner>());
}
