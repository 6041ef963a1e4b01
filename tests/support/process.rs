//! A process of ours: ended by its id, whatever happens.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// Lines of a log that are shown when a test fails.
const LOG_LINES_SHOWN: usize = 60;

#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it says goes to the file `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Process {
        let file = File::options().create(true).append(true).open(log).expect("a log file");
        Process::start_with_stderr(name, command, log, file)
    }

    /// The same with a standard error of its own.
    pub fn start_with_stderr(
        name: &str,
        command: &mut Command,
        log: &Path,
        errors: File,
    ) -> Process {
        let file = File::options().create(true).append(true).open(log).expect("a log file");
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn();
        let program = command.get_program().to_string_lossy().into_owned();
        let child = child.unwrap_or_else(|error| {
            panic!("{program} does not start: {error}; `make test` installs what is needed")
        });
        Process { name: name.to_owned(), child, log: log.to_owned() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of a child")
    }

    /// Sends a signal by name: `STOP`, `CONT`, `TERM`, `HUP` …
    pub fn signal(&self, name: &str) {
        // The shell's own `kill`: no package has to be there for it.
        let done = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.id())])
            .status()
            .expect("a shell");
        assert!(done.success(), "no signal {name} to {} ({})", self.name, self.id());
    }

    /// SIGKILL, and waits until the process is gone.
    pub fn kill_hard(&mut self) {
        self.child.kill().expect("a signal to a child");
        self.child.wait().expect("the end of a child");
    }

    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of what it wrote.
    pub fn log_end(&self) -> String {
        let log = self.log();
        // redis-server says this one on every ordinary machine.
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains("overcommit")).collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    /// Resident memory, bytes.
    pub fn resident_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))
            .expect("the status of a running process");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        let kilobytes: usize = line
            .split_whitespace()
            .nth(1)
            .and_then(|number| number.parse().ok())
            .expect("a number of kB");
        kilobytes * 1024
    }

    /// Numbers of its open descriptors.
    pub fn descriptors(&self) -> Vec<usize> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.id())).expect("/proc/PID/fd");
        let number = |name: std::ffi::OsString| name.to_str().and_then(|name| name.parse().ok());
        entries.flatten().filter_map(|entry| number(entry.file_name())).collect()
    }

    /// CPU time of all threads so far, in ticks of 10 ms.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("a stat");
        let after_name = stat.rsplit_once(") ").expect("a name in parentheses").1;
        let fields: Vec<&str> = after_name.split(' ').collect();
        let ticks = |at: usize| fields[at].parse::<u64>().expect("a number of ticks");
        ticks(11) + ticks(12)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        if std::thread::panicking() {
            let state = ended.map_or("running".to_owned(), |status| status.to_string());
            println!("--- {} ({}, {state}):\n{}\n---", self.name, self.id(), self.log_end());
        }
        if ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
