//! A real redis-server of a test's own.

use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::{PATIENCE, Port, Value, Wire, process::Process, wait_until};

#[derive(Debug)]
pub struct Redis {
    process: Process,
    port: Port,
    directory: TempDir,
    args: Vec<String>,
}

impl Redis {
    /// Starts one without persistence; `args` go behind (and so override) those of the harness.
    pub fn start(args: &[&str]) -> Redis {
        let port = Port::reserve();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let process = Redis::spawn(&port, &directory, &args);
        let mut redis = Redis { process, port, directory, args };
        redis.wait_ready();
        redis
    }

    fn spawn(port: &Port, directory: &TempDir, args: &[String]) -> Process {
        let mut command = Command::new("redis-server");
        command
            .current_dir(directory.path())
            .args(["--port", &port.number().to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--loglevel", "warning"])
            .arg("--dir")
            .arg(directory.path())
            .args(args);
        Process::start("redis-server", &mut command, &directory.path().join("redis.log"))
    }

    fn wait_ready(&mut self) {
        let address = self.port.address;
        wait_until(PATIENCE, "redis-server answers PING", || {
            let ended = self.process.ended();
            assert!(ended.is_none(), "redis-server ended:\n{}", self.process.log_end());
            let Ok(mut wire) = Wire::try_connect(address) else { return false };
            wire.request(&["PING"]);
            match wire.next() {
                Ok(Value::Error(text)) => text.starts_with("NOAUTH"),
                reply => reply.is_ok(),
            }
        });
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// A connection of its own to this server.
    pub fn client(&self) -> Wire {
        Wire::connect(self.port.address)
    }

    /// One request on a fresh connection; for a look behind the proxy.
    pub fn ask(&self, args: &[&str]) -> Value {
        self.client().exchange(args)
    }

    /// One field of INFO.
    pub fn info(&self, field: &str) -> String {
        info_field(&self.ask(&["INFO", "everything"]), field)
    }

    pub fn kill_hard(&mut self) {
        self.process.kill_hard();
    }

    /// SIGSTOP: connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.process.signal("STOP");
    }

    pub fn resume(&self) {
        self.process.signal("CONT");
    }

    /// Started again on its port, without what it held; killed first if it still runs.
    pub fn restart_same_port(&mut self) {
        if self.process.ended().is_none() {
            self.process.kill_hard();
        }
        self.process = Redis::spawn(&self.port, &self.directory, &self.args);
        self.wait_ready();
    }
}

/// One field of the text that INFO gave.
pub fn info_field(info: &Value, field: &str) -> String {
    let text = info.text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("INFO has no field {field}:\n{text}")).trim().to_owned()
}
