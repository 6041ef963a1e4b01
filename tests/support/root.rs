//! What only root may do: namespaces of a test's own for network and mounts.
//!
//! A test that needs one and can not have it is skipped, and says so on standard error, past the
//! harness that would swallow it. A namespace lives as long as a process in it, which ends when the
//! pipe on its standard input does: with the test, whatever becomes of that.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

use super::{PATIENCE, wait_until};

/// Network and mounts of its own; nothing in it yet.
#[derive(Debug)]
pub struct Namespace {
    holder: Child,
}

impl Namespace {
    /// `None`, and a word why, if this machine or user can not have one, or lacks `programs`.
    pub fn new(programs: &[&str]) -> Option<Namespace> {
        for program in programs {
            let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
            if !found.is_ok_and(|found| found.status.success()) {
                skip(&format!("there is no {program}; `make test` installs it"));
                return None;
            }
        }
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "--mount", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
        unshare.stderr(Stdio::null());
        let mut holder = match unshare.spawn() {
            Ok(holder) => holder,
            Err(error) => {
                skip(&format!("unshare: {error}"));
                return None;
            }
        };
        let of = |what: &str, id: &str| std::fs::read_link(format!("/proc/{id}/ns/{what}")).ok();
        let (id, mut refused) = (holder.id().to_string(), false);
        wait_until(PATIENCE, "unshare has its namespaces", || {
            refused = holder.try_wait().is_ok_and(|ended| ended.is_some());
            let own = |what| of(what, &id).is_some_and(|it| Some(it) != of(what, "self"));
            refused || (own("net") && own("mnt"))
        });
        if refused {
            skip("namespaces are for root");
            return None;
        }
        Some(Namespace { holder })
    }

    /// The process that it lives as long as: `/proc/ID/root` shows its files.
    pub fn id(&self) -> u32 {
        self.holder.id()
    }

    /// What goes in front of a program for it to run in here; it keeps its process id.
    pub fn launcher(&self) -> Vec<String> {
        let mut launcher = self.launcher_of_mounts();
        launcher.insert(2, "--net".to_owned());
        launcher
    }

    /// The same with the files of this namespace, and the network of the test.
    pub fn launcher_of_mounts(&self) -> Vec<String> {
        let target = format!("--target={}", self.id());
        ["nsenter", &target, "--mount", "--"].map(str::to_owned).to_vec()
    }

    /// A program that is to run in here.
    pub fn command(&self, program: &str) -> Command {
        let launcher = self.launcher();
        let mut command = Command::new(&launcher[0]);
        command.args(&launcher[1..]).arg(program);
        command
    }

    /// Runs a line of shell in here; it has to succeed.
    pub fn run(&self, line: &str) -> String {
        let Output { status, stdout, stderr } =
            self.command("sh").args(["-ec", line]).output().expect("nsenter");
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{line}: {status}\n{stdout}{stderr}");
        stdout.into_owned()
    }

    /// Another one, and a cable between the two: 10.77.0.1 at this end of it, 10.77.0.2 at that.
    pub fn with_neighbour(&self) -> Option<Namespace> {
        let other = Namespace::new(&["ip", "nft"])?;
        let id = other.holder.id();
        self.run(&format!("ip link add cable type veth peer name cable netns {id}"));
        for (end, address) in [(self, "10.77.0.1"), (&other, "10.77.0.2")] {
            end.run(&format!(
                "ip link set lo up; ip addr add {address}/24 dev cable; ip link set cable up"
            ));
        }
        Some(other)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Says that a test is skipped, and why, also if it passes.
pub fn skip(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}
