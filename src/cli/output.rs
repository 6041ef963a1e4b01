//! Words to the user. A reader that went away (`| head`) is no error.

use std::io::Write as _;
use std::process::ExitCode;

use crate::config::Complaint;

/// What was asked for, to standard output.
pub(super) fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            tell(&format!("corelay: standard output can not be written ({error})"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// One line to standard error.
pub(super) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Complaints, one a line; what is far too much to read is counted only.
pub(super) fn complain(complaints: &[Complaint]) {
    for complaint in complaints.iter().take(COMPLAINTS_MAX) {
        tell(&complaint.to_string());
    }
    if complaints.len() > COMPLAINTS_MAX {
        tell(&format!("corelay: {} more like these", complaints.len() - COMPLAINTS_MAX));
    }
}

/// Rows under a header, columns as wide as their widest cell, every line after `indent`.
pub(super) fn table(indent: &str, header: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            widest.max(header[column].chars().count())
        })
        .collect();
    let header: Vec<String> = header.iter().map(|&word| word.to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&header).chain(rows) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = format!("{indent}{}", cells.collect::<Vec<_>>().join("  "));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Bytes as text where they are some, escaped otherwise.
pub(super) fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|c| c.is_control() || c == '\\') => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

const COMPLAINTS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["шард".to_owned(), "1".to_owned()], vec!["a".to_owned(), String::new()]];
        assert_eq!(table(" ", &["NAME", "W"], &rows), " NAME  W\n шард  1\n a\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped() {
        assert_eq!(shown("ключ".as_bytes()), "ключ");
        assert_eq!(shown(b"a\xff\n"), "a\\xff\\n");
        assert_eq!(shown(b"a\\"), "a\\\\");
    }
}
