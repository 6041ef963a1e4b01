//! Redis' patterns (`*`, `?`, `[a-z]`, `[^a]`, `\x`), for COMMAND LIST.
//!
//! Small texts only: names of commands. No recursion: after a mismatch the last `*` takes one byte
//! more, so that the work is bounded by the product of both lengths.

/// Whether all of `text` matches `pattern`, in any case of letters.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where the last `*` stands, and where in the text what follows it is tried.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, read));
            at += 1;
            continue;
        }
        let one = match (pattern.get(at..), text.get(read)) {
            (Some([]) | None, None) => return true,
            (Some(rest @ [_, ..]), Some(&byte)) => element(rest, byte),
            _ => None,
        };
        match (one, star) {
            (Some(used), _) => {
                at += used;
                read += 1;
            }
            (None, Some((behind, tried))) if tried < text.len() => {
                star = Some((behind, tried + 1));
                at = behind + 1;
                read = tried + 1;
            }
            (None, _) => return false,
        }
    }
}

/// How many bytes of the pattern match this byte of the text, if they do.
fn element(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', rest @ ..] => set(rest, byte).map(|used| used + 1),
        [b'\\', escaped, ..] => escaped.eq_ignore_ascii_case(&byte).then_some(2),
        [plain, ..] => plain.eq_ignore_ascii_case(&byte).then_some(1),
        [] => None,
    }
}

/// The inside of `[…]`. One that is not closed ends with the pattern, as for redis.
fn set(pattern: &[u8], byte: u8) -> Option<usize> {
    let byte = byte.to_ascii_lowercase();
    let negated = pattern.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut inside = false;
    loop {
        match pattern.get(at..).unwrap_or_default() {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                inside |= escaped.to_ascii_lowercase() == byte;
                at += 2;
            }
            [first, b'-', last, ..] => {
                let (first, last) = (first.to_ascii_lowercase(), last.to_ascii_lowercase());
                inside |= (first.min(last)..=first.max(last)).contains(&byte);
                at += 3;
            }
            [plain, ..] => {
                inside |= plain.to_ascii_lowercase() == byte;
                at += 1;
            }
        }
    }
    (inside != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("xr*", "xread", true),
            ("XR*", "xread", true),
            ("xr*", "xadd", false),
            ("*set", "hset", true),
            ("*s*t*", "hset", true),
            ("h?et", "hset", true),
            ("h?et", "het", false),
            ("h[gs]et", "hget", true),
            ("h[^gs]et", "hget", false),
            ("h[a-f]et", "hget", false),
            ("h[h-f]et", "hget", true),
            ("h[gs", "hs", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a\\", "a\\", true),
            ("get", "gett", false),
            ("gett", "get", false),
            ("*get", "getget", true),
            ("client|*", "client|id", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_is_soon_done() {
        let pattern = b"*a".repeat(10_000);
        assert!(!matches(&pattern, &b"a".repeat(64)));
    }
}
