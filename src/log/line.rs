//! One line: time, level, message, `key=value` pairs (logfmt: a value with anything odd in it is
//! quoted and escaped, so that a line stays one line and a pair stays a pair).

use std::fmt::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Field;
use crate::config::model::LogLevel;

/// Bytes of one value that are shown; the rest is left out and three dots stand for it.
const VALUE_BYTES_MAX: usize = 512;
/// Bytes of a [`Bytes`] that are looked at.
const RAW_BYTES_MAX: usize = 128;

/// Bytes of somebody else's (a client's key, a command's name) as a value: what is not printable
/// ASCII is escaped, the first 128 bytes are shown.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..RAW_BYTES_MAX).unwrap_or(self.0);
        write!(f, "{}", shown.escape_ascii())?;
        if shown.len() < self.0.len() { f.write_str("...") } else { Ok(()) }
    }
}

pub(super) fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    }
}

/// Seconds since the Unix epoch; 0 for a clock that stands before it.
pub(super) fn unix_second(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The whole line, line feed included.
pub(super) fn format(
    now: SystemTime,
    level: LogLevel,
    message: &str,
    fields: &[Field<'_>],
) -> String {
    let mut line = String::with_capacity(160);
    // The library refuses times before the epoch; writing to a string fails for those past 9999.
    let _ = write!(line, "{}", humantime::format_rfc3339_millis(now.max(UNIX_EPOCH)));
    line.push(' ');
    line.push_str(level_name(level));
    line.push(' ');
    line.push_str(message);
    for (key, value) in fields {
        line.push(' ');
        line.push_str(key);
        line.push('=');
        let start = line.len();
        let mut shown = Shown { line: &mut line, left: VALUE_BYTES_MAX };
        let whole = write!(shown, "{value}").is_ok();
        if !whole {
            line.push_str("...");
        }
        escape_from(&mut line, start);
    }
    line.push('\n');
    line
}

/// Takes in so many bytes and then fails, which ends the formatting of the value.
struct Shown<'a> {
    line: &'a mut String,
    left: usize,
}

impl Write for Shown<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.floor_char_boundary(self.left);
        self.line.push_str(&text[..end]);
        self.left -= end;
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Quotes and escapes what stands in `line` from `start` on, if it needs to be.
fn escape_from(line: &mut String, start: usize) {
    let value = &line[start..];
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
    if !value.is_empty() && value.bytes().all(plain) {
        return;
    }
    let value = line.split_off(start);
    line.push('"');
    for letter in value.chars() {
        match letter {
            '\'' => line.push(letter),
            _ => line.extend(letter.escape_debug()),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn value(value: &dyn fmt::Display) -> String {
        let line = format(UNIX_EPOCH, LogLevel::Info, "m", &[("k", value)]);
        let line = line.strip_suffix('\n').unwrap();
        assert!(!line.contains(['\n', '\r', '\u{1b}']), "{line:?}");
        line.strip_prefix("1970-01-01T00:00:00.000Z info m k=").unwrap().to_owned()
    }

    #[test]
    fn a_line_is_time_level_message_and_pairs() {
        let now = UNIX_EPOCH + Duration::from_millis(1_795_359_845_123);
        let fields: [Field<'_>; 2] = [("pool", &"cache"), ("core", &0)];
        assert_eq!(
            format(now, LogLevel::Warn, "lane up", &fields),
            "2026-11-22T15:04:05.123Z warn lane up pool=cache core=0\n"
        );
    }

    #[test]
    fn a_clock_before_the_epoch_or_far_ahead_does_no_harm() {
        let before = UNIX_EPOCH - Duration::from_secs(5);
        assert!(format(before, LogLevel::Info, "m", &[]).starts_with("1970-01-01T00:00:00.000Z"));
        assert_eq!(unix_second(before), 0);
        let far = UNIX_EPOCH + Duration::from_secs(400_000_000_000);
        assert!(format(far, LogLevel::Info, "m", &[]).ends_with(" info m\n"));
    }

    #[test]
    fn odd_values_are_quoted_and_escaped() {
        assert_eq!(value(&"10.0.0.1:6379"), "10.0.0.1:6379");
        assert_eq!(value(&""), r#""""#);
        assert_eq!(value(&"connection refused"), r#""connection refused""#);
        assert_eq!(value(&"a=b"), r#""a=b""#);
        assert_eq!(value(&r#"say "hi" \ isn't"#), r#""say \"hi\" \\ isn't""#);
        assert_eq!(value(&"x\r\n2026 error forged"), r#""x\r\n2026 error forged""#);
        assert_eq!(value(&"\u{1b}[2J\u{202e}"), r#""\u{1b}[2J\u{202e}""#);
        assert_eq!(value(&"ключ"), r#""ключ""#);
        assert_eq!(value(&Bytes(b"k\r\n\xff")), r#""k\\r\\n\\xff""#);
        assert_eq!(value(&Bytes(b"plain")), "plain");
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(value(&"x".repeat(512)), "x".repeat(512));
        assert_eq!(value(&"x".repeat(513)), format!("{}...", "x".repeat(512)));
        assert_eq!(value(&"é".repeat(300)).len(), r#""...""#.len() + 512);
        assert_eq!(value(&Bytes(&[b'x'; 129])), format!("{}...", "x".repeat(128)));
    }
}
