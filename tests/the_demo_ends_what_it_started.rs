//! `corelay demo` ends its redis-servers and removes its directory, however its user leaves.
//!
//! Why it must stay: who closes the terminal instead of pressing Ctrl-C sends SIGHUP, which makes a
//! daemon open its log again. A demo that took it so would hold its port and three redis-servers
//! for ever, and nobody would see it.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::process::Process;
use support::wait_until;

/// Ends the demo in order if the test fails: killed, it would leave its redis-servers.
struct Demo(Process);

impl Drop for Demo {
    fn drop(&mut self) {
        if self.0.ended().is_none() {
            self.0.signal("INT");
            wait_until(Duration::from_secs(5), "it ends", || self.0.ended().is_some());
        }
    }
}

/// Processes whose command line names something in `directory`.
fn processes_of(directory: &Path) -> usize {
    let needle = directory.to_string_lossy().into_owned();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(&needle)).count()
}

#[test]
fn by_interrupt_termination_and_hang_up() {
    for name in ["INT", "TERM", "HUP"] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let temporary = directory.path().join("tmp");
        fs::create_dir(&temporary).expect("a directory in it");
        let mut command = Command::new(env!("CARGO_BIN_EXE_corelay"));
        command.args(["demo", "--port", "0", "--shards", "2"]).env("TMPDIR", &temporary);
        let mut demo = Demo(Process::start("demo", &mut command, &directory.path().join("log")));
        let ready = || demo.0.log().contains("Ctrl-C ends everything");
        wait_until(Duration::from_secs(20), "the demo says what to try", ready);
        assert_eq!(processes_of(&temporary), 2, "its redis-servers");

        demo.0.signal(name);
        wait_until(Duration::from_secs(5), "the demo ends", || demo.0.ended().is_some());
        assert_eq!(demo.0.ended().and_then(|status| status.code()), Some(0), "SIG{name}");
        assert_eq!(processes_of(&temporary), 0, "SIG{name}");
        assert_eq!(fs::read_dir(&temporary).expect("it is there").count(), 0, "SIG{name}");
    }
}
