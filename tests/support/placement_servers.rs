//! Real redis-servers, a real nutcracker and corelay for the placement test, and the few commands
//! that it gives them.
//!
//! Everything lives in one temporary directory and ends with its owner, also when a test panics.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Both are addresses of every server; as texts of different lengths they sort differently.
pub(crate) const HOSTS: [&str; 2] = ["127.0.0.1", "127.10.20.30"];

const START_DEADLINE: Duration = Duration::from_secs(20);
const REPLY_DEADLINE: Duration = Duration::from_secs(20);
const PORTS_DEADLINE: Duration = Duration::from_secs(120);
/// A port that the system found free may be taken before the server has it.
const PORT_ATTEMPTS: usize = 10;

/// A child that is killed with its owner.
struct Server(Child);

pub(crate) struct RedisServer {
    _server: Server,
    pub(crate) socket: PathBuf,
    pub(crate) port: u16,
    pub(crate) connection: Connection,
}

pub(crate) struct Nutcracker {
    _server: Server,
}

pub(crate) struct Corelay {
    _server: Server,
}

/// A client's connection over a unix socket.
pub(crate) struct Connection {
    stream: BufReader<UnixStream>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Status(String),
    Error(String),
    Bulk(Option<Vec<u8>>),
    Array(Vec<Reply>),
}

impl RedisServer {
    pub(crate) fn start(directory: &Path, number: usize) -> RedisServer {
        let socket = directory.join(format!("r{number}.sock"));
        let (server, port, connection) = start(&socket, |port| {
            let mut command = Command::new("redis-server");
            command.args(["--port", &port.to_string(), "--bind"]).args(HOSTS);
            command.arg("--unixsocket").arg(&socket).arg("--dir").arg(directory);
            command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
            command
        });
        RedisServer { _server: server, socket, port, connection }
    }

    pub(crate) fn flush(&mut self) {
        let replies = self.connection.pipeline(&[vec![b"FLUSHALL"]]);
        assert_eq!(replies, [Reply::Status("OK".into())]);
    }

    pub(crate) fn keys(&mut self) -> Vec<Vec<u8>> {
        let replies = self.connection.pipeline(&[vec![b"KEYS", b"*"]]);
        let Some(Reply::Array(keys)) = replies.into_iter().next() else {
            panic!("KEYS was not answered by an array");
        };
        keys.into_iter()
            .map(|key| match key {
                Reply::Bulk(Some(key)) => key,
                other => panic!("KEYS gave {other:?}"),
            })
            .collect()
    }
}

impl Nutcracker {
    /// With a file that makes it listen on `probe` after all its other sockets.
    pub(crate) fn start(directory: &Path, file: &Path, probe: &Path) -> Nutcracker {
        let (server, ..) = start(probe, |port| {
            let mut command = Command::new("nutcracker");
            command.arg("-c").arg(file).args(["-a", "127.0.0.1", "-s", &port.to_string()]);
            command.arg("-o").arg(directory.join("nutcracker.log"));
            command.arg("-p").arg(directory.join("nutcracker.pid"));
            command
        });
        Nutcracker { _server: server }
    }
}

impl Corelay {
    /// With a file that makes it listen on `probe` after all its other sockets.
    pub(crate) fn start(directory: &Path, file: &Path, probe: &Path) -> Corelay {
        let log = directory.join("corelay.log");
        let (server, ..) = start(probe, |_| {
            wait_for_its_ports();
            let binary = std::env::var_os("CORELAY_BIN");
            let mut command =
                Command::new(binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_corelay").into()));
            command.arg("run").arg("-c").arg(file);
            command.stderr(std::fs::File::create(&log).expect("a log"));
            command
        });
        Corelay { _server: server }
    }
}

/// A nutcracker.yml can not name the ports of statistics and administration; another corelay on
/// this machine may have them for a while.
fn wait_for_its_ports() {
    #[expect(clippy::disallowed_methods, reason = "a deadline for real processes")]
    let now = Instant::now;
    let deadline = now() + PORTS_DEADLINE;
    while [("127.0.0.1", 9180), ("0.0.0.0", 22222)].iter().any(|at| TcpListener::bind(at).is_err())
    {
        assert!(now() < deadline, "ports 9180 and 22222 are not free within {PORTS_DEADLINE:?}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Starts the command with a free port until it answers PING on its socket.
fn start(socket: &Path, command: impl Fn(u16) -> Command) -> (Server, u16, Connection) {
    for _ in 0..PORT_ATTEMPTS {
        let port = free_port();
        let mut command = command(port);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut server = match child {
            Ok(child) => Server(child),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("{program} is not installed: `make test` installs it")
            }
            Err(error) => panic!("{program} can not be started: {error}"),
        };
        if let Some(connection) = server.answering(&program, socket) {
            return (server, port, connection);
        }
    }
    panic!("no server on {} after {PORT_ATTEMPTS} attempts", socket.display());
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((HOSTS[0], 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

impl Server {
    /// `None`: it has ended.
    fn answering(&mut self, program: &str, socket: &Path) -> Option<Connection> {
        #[expect(clippy::disallowed_methods, reason = "a deadline for a real process")]
        let now = Instant::now;
        let deadline = now() + START_DEADLINE;
        while now() < deadline {
            if self.0.try_wait().expect("state of a child").is_some() {
                return None;
            }
            if let Ok(mut connection) = Connection::open(socket) {
                // nutcracker listens before it serves, so the answer counts.
                let replies = connection.pipeline(&[vec![b"PING"]]);
                assert_eq!(replies, [Reply::Status("PONG".into())], "{program}");
                return Some(connection);
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        panic!("{program} did not listen on {} within {START_DEADLINE:?}", socket.display());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only if it has ended, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Connection {
    pub(crate) fn open(socket: &Path) -> std::io::Result<Connection> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(REPLY_DEADLINE))?;
        stream.set_write_timeout(Some(REPLY_DEADLINE))?;
        Ok(Connection { stream: BufReader::new(stream) })
    }

    /// Sends all requests, then reads a reply for each.
    pub(crate) fn pipeline(&mut self, requests: &[Vec<&[u8]>]) -> Vec<Reply> {
        let mut bytes = Vec::new();
        for request in requests {
            bytes.extend_from_slice(format!("*{}\r\n", request.len()).as_bytes());
            for argument in request {
                bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
                bytes.extend_from_slice(argument);
                bytes.extend_from_slice(b"\r\n");
            }
        }
        self.stream.get_mut().write_all(&bytes).expect("send a pipeline");
        requests.iter().map(|_| self.reply()).collect()
    }

    fn reply(&mut self) -> Reply {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a reply in time");
        assert!(line.ends_with("\r\n"), "the connection was closed after {line:?}");
        let (kind, rest) = line.trim_end().split_at(1);
        let len = || rest.parse::<i64>().expect("a length");
        match kind {
            "+" => Reply::Status(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            "*" => Reply::Array((0..len()).map(|_| self.reply()).collect()),
            "$" => Reply::Bulk(usize::try_from(len()).ok().map(|len| {
                let mut bytes = vec![0; len + 2];
                self.stream.read_exact(&mut bytes).expect("a bulk string in time");
                bytes.truncate(len);
                bytes
            })),
            _ => panic!("not a reply: {line:?}"),
        }
    }
}
