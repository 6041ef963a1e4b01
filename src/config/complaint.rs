//! A complaint about a configuration: where, what is written there, why not, and what to do.
//!
//! Readers collect them and go on; the user hears all of them at once, in the order of the file.
//! One complaint is one line, whatever bytes the file holds.

use std::fmt;

/// One thing that is wrong, or that the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// As the user named the file.
    pub file: String,
    /// From 1; 0: the file as a whole.
    pub line: usize,
    /// With its section, as `pool.hash`; empty: no key is meant.
    pub key: String,
    /// As it would be written, cut short; never a secret.
    pub value: Option<String>,
    pub why: String,
    /// What to do; may be empty.
    pub remedy: String,
    pub severity: Severity,
}

/// Whether a configuration can be used in spite of the complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

impl Complaint {
    /// A complaint about the file as a whole.
    pub fn of_file(file: &str, why: impl Into<String>, remedy: impl Into<String>) -> Complaint {
        Complaint {
            file: file.to_owned(),
            line: 0,
            key: String::new(),
            value: None,
            why: why.into(),
            remedy: remedy.into(),
            severity: Severity::Error,
        }
    }

    pub(super) fn value(&mut self, value: impl fmt::Display) -> &mut Complaint {
        self.value = Some(clip(&value.to_string()));
        self
    }

    /// A text is shown in quotes, as it would be written.
    pub(super) fn quoted(&mut self, text: &str) -> &mut Complaint {
        self.value = Some(format!("\"{}\"", clip(text)));
        self
    }

    pub(super) fn remedy(&mut self, remedy: impl Into<String>) -> &mut Complaint {
        self.remedy = remedy.into();
        self
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.escape_debug())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": ")?;
        if self.severity == Severity::Warning {
            write!(f, "warning: ")?;
        }
        match (&self.key, &self.value) {
            (key, Some(value)) if !key.is_empty() => write!(f, "{} = {value}: ", clip(key))?,
            (key, None) if !key.is_empty() => write!(f, "{}: ", clip(key))?,
            _ => {}
        }
        write!(f, "{}", one_line(&self.why))?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", one_line(&self.remedy))?;
        }
        Ok(())
    }
}

/// The complaints of one file while it is read.
#[derive(Debug)]
pub(super) struct Complaints {
    file: String,
    list: Vec<Complaint>,
}

impl Complaints {
    pub(super) fn new(file: &str) -> Complaints {
        Complaints { file: file.to_owned(), list: Vec::new() }
    }

    /// Adds an error; what it returns takes the value and the remedy.
    pub(super) fn error(
        &mut self,
        line: usize,
        key: impl Into<String>,
        why: impl Into<String>,
    ) -> &mut Complaint {
        self.add(Severity::Error, line, key.into(), why.into())
    }

    /// Adds a warning; what it returns takes the value and the remedy.
    pub(super) fn warning(
        &mut self,
        line: usize,
        key: impl Into<String>,
        why: impl Into<String>,
    ) -> &mut Complaint {
        self.add(Severity::Warning, line, key.into(), why.into())
    }

    pub(super) fn has_errors(&self) -> bool {
        self.list.iter().any(|complaint| complaint.severity == Severity::Error)
    }

    /// All of them, in the order of the file.
    pub(super) fn into_sorted(mut self) -> Vec<Complaint> {
        self.list.sort_by_key(|complaint| complaint.line);
        self.list
    }

    fn add(&mut self, severity: Severity, line: usize, key: String, why: String) -> &mut Complaint {
        let mut complaint = Complaint::of_file(&self.file, why, "");
        complaint.line = line;
        complaint.key = key;
        complaint.severity = severity;
        let place = self.list.len();
        self.list.push(complaint);
        &mut self.list[place]
    }
}

/// The word of `known` that the user may have meant by `word`: one that begins with it or differs
/// by a letter or two.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > NEAR_BYTES_MAX {
        return None;
    }
    let allowed = (word.len() / 3).clamp(1, 3);
    known
        .filter_map(|candidate| {
            let stem = word.len() >= 3 && candidate.starts_with(&format!("{word}_"));
            let far = if stem { 0 } else { distance(word.as_bytes(), candidate.as_bytes()) };
            (far <= allowed).then_some((far, candidate))
        })
        .min_by_key(|(far, _)| *far)
        .map(|(_, candidate)| candidate)
}

/// Text cut to what fits on a line, without control characters.
pub(super) fn clip(text: &str) -> String {
    let mut shown = one_line(&text.chars().take(VALUE_CHARS_MAX).collect::<String>());
    if text.chars().nth(VALUE_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

fn one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_line_break(c) {
            shown.extend(c.escape_debug());
        } else {
            shown.push(c);
        }
    }
    shown
}

fn is_line_break(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// Letters to put in, take out or change, by the textbook table of two rows (Wagner–Fischer).
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let change = above[j] + usize::from(x != y);
            row.push(change.min(above[j + 1] + 1).min(row[j] + 1));
        }
        above = row;
    }
    above.last().copied().unwrap_or(0)
}

/// Characters of a value that a complaint shows.
const VALUE_CHARS_MAX: usize = 60;
/// Longer words are not compared with the known ones: the table would cost more than it tells.
const NEAR_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_one_line_with_place_key_value_why_and_remedy() {
        let mut complaints = Complaints::new("corelay.toml");
        complaints.error(12, "pool.hash", "unknown hash").quoted("md6").remedy("use one of md5");
        let shown = complaints.into_sorted()[0].to_string();
        assert_eq!(shown, "corelay.toml:12: pool.hash = \"md6\": unknown hash; use one of md5");
    }

    #[test]
    fn no_bytes_of_a_file_break_the_line() {
        let mut complaints = Complaints::new("a\nb");
        complaints.warning(0, "x\ny", "z\r\n").quoted(&"\n".repeat(500));
        let shown = complaints.into_sorted()[0].to_string();
        assert_eq!(shown.lines().count(), 1, "{shown}");
        assert!(shown.contains("warning: "));
        assert!(shown.len() < 300);
    }

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["timeout_ms", "listen", "hash", "hash_tag", "distribution"];
        assert_eq!(nearest("timeout", known.into_iter()), Some("timeout_ms"));
        assert_eq!(nearest("lisen", known.into_iter()), Some("listen"));
        assert_eq!(nearest("distribtuion", known.into_iter()), Some("distribution"));
        assert_eq!(nearest("colour", known.into_iter()), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), known.into_iter()), None);
    }
}
