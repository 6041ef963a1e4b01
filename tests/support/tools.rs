//! Small things: random numbers with a seed, a stop watch, threads, descriptors.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// xorshift64*: the same numbers for the same seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.max(1))
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// Time since it was started.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Threads of a test: joined at its end, their panics passed on.
#[derive(Debug, Default)]
pub struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    pub fn run(&mut self, work: impl FnOnce() + Send + 'static) {
        self.0.push(std::thread::spawn(work));
    }

    pub fn join(&mut self) {
        for thread in self.0.drain(..) {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// CPUs that this process may use.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Lets this process (and those it starts) open `wanted` descriptors, or as many as it may; gives
/// how many that is.
pub fn raise_descriptor_limit(wanted: usize) -> usize {
    let limit = |at: usize| -> usize {
        let limits = std::fs::read_to_string("/proc/self/limits").expect("own limits");
        let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
        line.split_whitespace().nth(3 + at).and_then(|word| word.parse().ok()).unwrap_or(usize::MAX)
    };
    if limit(0) < wanted {
        let to = wanted.min(limit(1));
        let done = Command::new("prlimit")
            .args(["--pid", &std::process::id().to_string(), &format!("--nofile={to}:")])
            .status();
        assert!(done.is_ok_and(|status| status.success()), "prlimit can not set {to} descriptors");
    }
    limit(0)
}

/// Runs a program to its end; panics if it is not there.
pub fn output_of(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| {
        let program = command.get_program().to_string_lossy();
        panic!("{program} does not start: {error}; `make test` installs what is needed")
    })
}

/// Runs a script of `tests/clients/` to its end, and notes what it says; panics with that if it fails.
pub fn run_client(script: &str, args: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".venv/bin/python");
    // What was added last to each list of libraries.
    let installed = root.join("tests/clients/node_modules/bullmq").exists();
    let installed = installed && python.with_file_name("celery").exists();
    assert!(installed, "the client libraries are not there; run `make clients`");
    let program = if script.ends_with(".py") { &python } else { Path::new("node") };
    let output =
        output_of(Command::new(program).arg(root.join("tests/clients").join(script)).args(args));
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} {args:?}:\n{said}\n{complained}");
    super::note(&said);
}

/// `name` within a temporary directory that lives as long as the first part of what is given.
pub fn in_temporary_directory(name: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join(name);
    (directory, path)
}
