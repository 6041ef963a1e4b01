//! The real nutcracker, for what must be the same.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::{PATIENCE, Port, Wire, process::Process, wait_until};

#[derive(Debug)]
pub struct Nutcracker {
    process: Process,
    listen: Port,
    _stats: Port,
    _directory: TempDir,
}

impl Nutcracker {
    /// Serves the file at `path`, whose (first) pool listens on `listen`.
    pub fn start(path: &Path, listen: Port) -> Nutcracker {
        let stats = Port::reserve();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new("nutcracker");
        command
            .arg("-c")
            .arg(path)
            .args(["-a", "127.0.0.1", "-s", &stats.number().to_string(), "-v", "5"])
            .current_dir(directory.path());
        let log = directory.path().join("nutcracker.log");
        let mut process = Process::start("nutcracker", &mut command, &log);
        // It answers no PING before a server is connected: a connection must do.
        wait_until(PATIENCE, "nutcracker listens", || {
            assert!(process.ended().is_none(), "nutcracker ended:\n{}", process.log_end());
            Wire::try_connect(listen.address).is_ok()
        });
        Nutcracker { process, listen, _stats: stats, _directory: directory }
    }

    pub fn address(&self) -> SocketAddr {
        self.listen.address
    }

    pub fn client(&self) -> Wire {
        Wire::connect(self.listen.address)
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
