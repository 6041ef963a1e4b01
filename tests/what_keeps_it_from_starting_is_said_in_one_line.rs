//! Without io_uring, locked memory or descriptors the proxy does not start, says in one line what to
//! do, and exits with 1.
//!
//! Mechanics: a seccomp filter refuses the three system calls of io_uring, as the profiles of most
//! containers do; limits are set by prlimit. Why it must stay: a service that fails in a loop with
//! a panic's backtrace is searched for hours.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::process::{Command, ExitStatus};

use support::proxy::binary;
use support::{PATIENCE, Port, process::Process, wait_until};

/// Answers the system calls of io_uring with the error that is its first argument, and runs the
/// rest. Python, because every line of it would be unsafe here.
const WITHOUT_IO_URING: &str = r#"
import ctypes, os, struct, sys
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2
LOAD, AT_LEAST, ABOVE, RETURN = 0x20, 0x35, 0x25, 0x06
SETUP, REGISTER = 425, 427
steps = [
    (LOAD, 0, 0, 0),
    (AT_LEAST, 0, 2, SETUP),
    (ABOVE, 1, 0, REGISTER),
    (RETURN, 0, 0, 0x00050000 | int(sys.argv[1])),
    (RETURN, 0, 0, 0x7fff0000),
]
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
filter = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(program))
libc = ctypes.CDLL(None)
assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
assert libc.prctl(PR_SET_SECCOMP, FILTER, ctypes.c_char_p(filter), 0, 0) == 0
os.execv(sys.argv[2], sys.argv[2:])
"#;

/// How it ends if started by `launcher`, and what it says.
fn start_by(launcher: &[&str]) -> (ExitStatus, String) {
    let (_directory, path) = support::in_temporary_directory("corelay.toml");
    let (listen, admin) = (Port::reserve(), Port::reserve());
    let toml = format!(
        "[proxy]\ncores = 1\nadmin_listen = \"{}\"\n[[pool]]\nname = \"a\"\nlisten = \"{}\"\n\
         [[pool.shard]]\nname = \"s\"\naddress = \"127.0.0.1:6391\"\n",
        admin.address, listen.address
    );
    std::fs::write(&path, toml).expect("a written configuration");
    let mut command = Command::new(launcher[0]);
    command.args(&launcher[1..]).arg(binary()).args(["run", "-c"]).arg(&path);
    let mut process = Process::start("corelay", &mut command, &path.with_extension("log"));
    let mut ended = None;
    wait_until(PATIENCE, "it does not start", || {
        ended = process.ended();
        ended.is_some()
    });
    (ended.expect("an exit status"), process.log())
}

fn refuses(launcher: &[&str], remedy: &str) {
    let (ended, said) = start_by(launcher);
    assert_eq!(ended.code(), Some(1), "{said}");
    assert!(said.starts_with("corelay: ") && said.lines().count() == 1, "{said}");
    assert!(said.contains(remedy), "{said}");
}

#[test]
fn a_filter_of_system_calls() {
    for errno in ["1", "38"] {
        let remedy = "allow io_uring_setup, io_uring_enter and io_uring_register in its profile";
        refuses(&["python3", "-c", WITHOUT_IO_URING, errno], remedy);
    }
}

#[test]
fn too_little_locked_memory() {
    refuses(&["prlimit", "--memlock=65536:65536"], "raise it with LimitMEMLOCK=infinity");
}

#[test]
fn too_few_descriptors() {
    for limit in ["12", "16", "23"] {
        let remedy = format!("descriptors are limited to {limit}, at least 24 are needed");
        refuses(&["prlimit", &format!("--nofile={limit}:{limit}")], &remedy);
    }
}
