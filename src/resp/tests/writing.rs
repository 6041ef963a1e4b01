//! What we write, and what we read out of whole replies.

use crate::resp::Protocol::{Resp2, Resp3};
use crate::resp::encode::{self, Encoder};
use crate::resp::value;

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn numbers_are_written_as_fmt_writes_them() {
    let mut number: u64 = 1;
    for shift in 0..64 {
        for near in [number.wrapping_sub(1), number, number + 1, 10_u64.saturating_pow(shift)] {
            assert_eq!(written(|out| encode::write_number(out, near)), near.to_string());
            let signed = near as i64;
            assert_eq!(written(|out| encode::integer(out, signed)), format!(":{signed}\r\n"));
        }
        number = number.wrapping_shl(1) | 1;
        if number == u64::MAX {
            break;
        }
    }
    assert_eq!(written(|out| encode::write_number(out, u64::MAX)), u64::MAX.to_string());
    assert_eq!(written(|out| encode::integer(out, i64::MIN)), ":-9223372036854775808\r\n");
}

#[test]
fn what_both_versions_write_alike() {
    assert_eq!(written(|out| encode::simple(out, "OK")), "+OK\r\n");
    assert_eq!(written(|out| encode::bulk(out, b"a\r\nb")), "$4\r\na\r\nb\r\n");
    assert_eq!(written(|out| encode::array_header(out, 0)), "*0\r\n");
    assert_eq!(
        written(|out| encode::request(out, &[b"GET", b"k"])),
        "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
    );
}

#[test]
fn an_error_can_not_be_made_to_hold_a_second_reply() {
    assert_eq!(
        written(|out| encode::error(out, "ERR unknown command 'a\r\n+OK\r\n'")),
        "-ERR unknown command 'a  +OK  '\r\n"
    );
    assert_eq!(written(|out| encode::error(out, [b'x'; 1000])).len(), 1 + 256 + 2);
}

/// Writes one value, by the encoder of either version.
type Write = fn(Encoder, &mut Vec<u8>);

#[test]
fn each_version_has_its_own_types() {
    let pairs: [(Write, &str, &str); 14] = [
        (|to, out| to.null(out), "$-1\r\n", "_\r\n"),
        (|to, out| to.null_array(out), "*-1\r\n", "_\r\n"),
        (|to, out| to.map_header(out, 6), "*12\r\n", "%6\r\n"),
        (|to, out| to.set_header(out, 6), "*6\r\n", "~6\r\n"),
        (|to, out| to.push_header(out, 3), "*3\r\n", ">3\r\n"),
        (|to, out| to.boolean(out, true), ":1\r\n", "#t\r\n"),
        (|to, out| to.boolean(out, false), ":0\r\n", "#f\r\n"),
        (|to, out| to.verbatim(out, b"hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
        (|to, out| to.double(out, 0.1), "$3\r\n0.1\r\n", ",0.1\r\n"),
        (|to, out| to.double(out, -3.0), "$2\r\n-3\r\n", ",-3\r\n"),
        (|to, out| to.double(out, 1e300), "$5\r\n1e300\r\n", ",1e300\r\n"),
        (|to, out| to.double(out, f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
        (|to, out| to.double(out, f64::NAN), "$3\r\nnan\r\n", ",nan\r\n"),
        (|to, out| to.double(out, 0.0), "$1\r\n0\r\n", ",0\r\n"),
    ];
    for (write, resp2, resp3) in pairs {
        assert_eq!(written(|out| write(Encoder::new(Resp2), out)), resp2);
        assert_eq!(written(|out| write(Encoder::new(Resp3), out)), resp3);
    }
}

fn elements(reply: &str) -> Option<Vec<&str>> {
    let elements = value::elements(reply.as_bytes())?;
    Some(elements.map(|element| std::str::from_utf8(element).unwrap()).collect())
}

#[test]
fn elements_are_cut_at_the_top_level_only() {
    let array = "*3\r\n:1\r\n*2\r\n+a\r\n+b\r\n$-1\r\n";
    let cut = vec![":1\r\n", "*2\r\n+a\r\n+b\r\n", "$-1\r\n"];
    assert_eq!(elements(array), Some(cut.clone()));
    assert_eq!(elements(&array.replacen('*', "~", 1)), Some(cut.clone()));
    assert_eq!(elements(&array.replacen('*', ">", 1)), Some(cut));
    assert_eq!(elements("%1\r\n+k\r\n:1\r\n"), Some(vec!["+k\r\n", ":1\r\n"]));
    assert_eq!(elements("*0\r\n"), Some(vec![]));
    assert_eq!(elements("|1\r\n+a\r\n*1\r\n+x\r\n*1\r\n:1\r\n"), Some(vec![":1\r\n"]));
    assert_eq!(
        elements("*2\r\n|1\r\n+a\r\n:1\r\n:2\r\n:3\r\n"),
        Some(vec!["|1\r\n+a\r\n:1\r\n:2\r\n", ":3\r\n"])
    );
    for other in ["*-1\r\n", "$-1\r\n", ":1\r\n", "-ERR\r\n", "", "*", "*x\r\n", "|9\r\n"] {
        assert_eq!(elements(other), None, "{other}");
    }
    // A header that promises more than there is.
    let short = value::elements(b"*1000000\r\n:1\r\n").unwrap();
    assert_eq!((short.left(), short.count()), (1_000_000, 1));
}

#[test]
fn scalars_are_read_from_every_form_they_have() {
    assert_eq!(value::integer(b":42\r\n"), Some(42));
    assert_eq!(value::integer(b":-9223372036854775808\r\n"), Some(i64::MIN));
    assert_eq!(value::integer(b":9223372036854775808\r\n"), None);
    assert_eq!(value::integer(b"|1\r\n+a\r\n+b\r\n:7\r\n"), Some(7));
    for other in [&b":\r\n"[..], b":-\r\n", b":1", b":1x\r\n", b"+1\r\n", b"", b":1\r"] {
        assert_eq!(value::integer(other), None);
    }
    assert_eq!(value::bulk(b"$4\r\na\r\nb\r\n"), Some(Some(&b"a\r\nb"[..])));
    assert_eq!(value::bulk(b"+OK\r\n"), Some(Some(&b"OK"[..])));
    assert_eq!(value::bulk(b"=6\r\ntxt:hi\r\n"), Some(Some(&b"hi"[..])));
    for null in [&b"$-1\r\n"[..], b"*-1\r\n", b"_\r\n"] {
        assert_eq!(value::bulk(null), Some(None));
    }
    for other in [&b":1\r\n"[..], b"-ERR\r\n", b"", b"$", b"$9\r\nx", b"=1\r\nx\r\n", b"*0\r\n"] {
        assert_eq!(value::bulk(other), None);
    }
}

#[test]
fn errors_of_both_forms_are_told() {
    assert!(value::is_error(b"-ERR x\r\n") && value::is_error(b"!5\r\nERR x\r\n"));
    assert!(!value::is_error(b"+OK\r\n") && !value::is_error(b""));
    assert_eq!(value::error_word(b"-NOSCRIPT No matching script.\r\n"), b"NOSCRIPT");
    assert_eq!(value::error_word(b"!10\r\nREADONLY x\r\n"), b"READONLY");
    assert_eq!(value::error_word(b"-ERR\r\n"), b"ERR");
    assert_eq!(value::error_word(b"+OK\r\n"), b"");
    assert_eq!(value::error_text(b"-ERR a b\r\n"), b"ERR a b");
}
