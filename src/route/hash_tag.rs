//! The part of a key that is hashed.

use memchr::memchr;

/// What stands between the first opening byte and the first closing byte after it, if that is at
/// least one byte; else the whole key. The two may be equal. A later pair is never looked for:
/// of `{}{a}` everything is hashed.
pub(super) fn tagged(tag: Option<(u8, u8)>, key: &[u8]) -> &[u8] {
    let Some((open, close)) = tag else { return key };
    let Some(start) = memchr(open, key) else { return key };
    let inside = &key[start + 1..];
    match memchr(close, inside) {
        Some(len) if len > 0 => &inside[..len],
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::tagged;

    fn check(open: u8, close: u8, cases: &[(&str, &str)]) {
        for (key, part) in cases {
            let got = tagged(Some((open, close)), key.as_bytes());
            assert_eq!(got, part.as_bytes(), "{key:?} with tag {open} {close}");
        }
    }

    #[test]
    fn braces() {
        check(
            b'{',
            b'}',
            &[
                ("", ""),
                ("key", "key"),
                ("foo{bar}baz", "bar"),
                ("{bar}", "bar"),
                ("{a}{b}", "a"),
                ("foo{}baz", "foo{}baz"),
                ("{}{a}", "{}{a}"),
                ("foo{{bar}}", "{bar"),
                ("}foo{bar}", "bar"),
                ("}{", "}{"),
                ("{", "{"),
                ("foo{bar", "foo{bar"),
                ("foo{\0\r\n}", "\0\r\n"),
            ],
        );
    }

    #[test]
    fn equal_bytes_open_and_close() {
        check(
            b'$',
            b'$',
            &[("a$b$c", "b"), ("$b$c$d", "b"), ("$$a$", "$$a$"), ("$", "$"), ("a$b", "a$b")],
        );
    }

    #[test]
    fn no_tag_is_the_whole_key() {
        assert_eq!(tagged(None, b"foo{bar}"), b"foo{bar}");
    }
}
