//! One plain redis-server on a unix socket in a temporary directory, ended when dropped.
//!
//! A socket in a directory of its own needs no port, so that nothing can be taken between choosing
//! and binding. `REDIS_SERVER` names another binary than the one on the path.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

pub(crate) struct OneRedis {
    child: Child,
    directory: tempfile::TempDir,
    /// Kept open: a server that logs to a closed pipe would end.
    _log: BufReader<ChildStdout>,
}

impl OneRedis {
    pub(crate) fn start() -> OneRedis {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let binary = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_string());
        let mut child = Command::new(&binary)
            .args(["--port", "0", "--unixsocket", "redis.sock", "--save", "", "--daemonize", "no"])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{binary} does not start: {error}"));
        let mut log = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let mut line = String::new();
        while !line.to_lowercase().contains("ready to accept connections") {
            line.clear();
            let bytes = log.read_line(&mut line).expect("its log is text");
            assert_ne!(bytes, 0, "{binary} ended before it was ready");
        }
        OneRedis { child, directory, _log: log }
    }

    /// A new connection; its reads fail after ten seconds.
    pub(crate) fn connect(&self) -> UnixStream {
        let socket = UnixStream::connect(self.directory.path().join("redis.sock"));
        let socket = socket.expect("redis-server accepts");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket has time-outs");
        socket
    }
}

impl Drop for OneRedis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
