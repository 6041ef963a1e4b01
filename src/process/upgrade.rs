//! `corelay upgrade`: starts the process that takes over, and ends when that serves.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use super::complain;

/// What a process that takes over says on standard output when it serves: one line, no longer.
const LINE_BYTES_MAX: u64 = 4096;

/// Lets a fresh process of this program take over from the one that runs with the same
/// configuration. Its complaints go to our standard error, and so does its log if it has no file.
pub fn upgrade(config: &Path) -> ExitCode {
    match start(config).map_err(|error| error.to_string()).and_then(wait) {
        Ok(line) => {
            // A closed pipe is no reason to call it failed.
            let _ = write!(std::io::stdout(), "{line}");
            ExitCode::SUCCESS
        }
        Err(why) => complain(&[format!("nothing has changed: {why}")]),
    }
}

fn start(config: &Path) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["run", "--take-over", "-c"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // It stays when we end: a Ctrl-C that is meant for us is none of its business.
        .process_group(0)
        .spawn()
}

fn wait(mut child: Child) -> Result<String, String> {
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        // Nothing at all: it has ended.
        let _ = BufReader::new(stdout.take(LINE_BYTES_MAX)).read_line(&mut line);
    }
    if !line.is_empty() {
        return Ok(line);
    }
    let how = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
    Err(format!("the new process has ended before it served ({how}), and has said why"))
}

/// Called by the new process: it serves, and this is known of the one before.
pub(super) fn tell(before: &str) {
    let own = std::process::id();
    let mut stdout = std::io::stdout().lock();
    // Nobody need be there to hear it.
    let _ = writeln!(stdout, "process {own} serves; {before}");
    let _ = stdout.flush();
}
