//! `corelay demo`: real redis-servers in a temporary directory, with the proxy in front of them.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use super::{HangUp, Start};
use crate::config::model::Config;
use crate::config::{Complaint, Machine, parse_toml};
use crate::control::reload::Source;

/// What `corelay demo` may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoOptions {
    /// The proxy listens on 127.0.0.1 at this port; 0: the system chooses.
    pub port: u16,
    /// redis-servers behind it.
    pub shards: usize,
    /// The program to start for each.
    pub redis_server: PathBuf,
}

/// A redis-server of the demo; it ends with it.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself (Ctrl-C reaches it too); then both calls have nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The temporary directory of the demo; it is removed with it.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        // What can not be removed is left to the system's cleaning of temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Starts the servers and the proxy; ends them all on Ctrl-C, and when the terminal is closed.
pub fn demo(options: &DemoOptions) -> ExitCode {
    match start(options) {
        Ok((config, _servers, _directory)) => {
            super::run_with(config, no_file(), Start::Fresh, HangUp::Ends, show)
        }
        Err(complaint) => super::complain(&[complaint]),
    }
}

/// There is nothing to reload.
fn no_file() -> Source {
    let load =
        || Err(vec![Complaint::of_file("demo", "it has no file", "corelay run -c FILE has")]);
    Source { file: "demo".to_owned(), load: Box::new(load) }
}

fn start(options: &DemoOptions) -> Result<(Config, Vec<Server>, Directory), String> {
    let directory = Directory(temporary_directory()?);
    let port = free_port(options.port)?;
    let mut toml = format!(
        "[proxy]\nadmin_listen = \"127.0.0.1:{}\"\nlog_level = \"warn\"\n\n[[pool]]\nname = \"demo\"\n\
         listen = [\"127.0.0.1:{port}\"]\nhash_tag = \"{{}}\"\ndangerous_commands = \"allow\"\n",
        free_port(0)?
    );
    let mut servers = Vec::new();
    for number in 1..=options.shards {
        let socket = directory.0.join(format!("redis{number}.sock"));
        servers.push(start_server(&options.redis_server, &socket, &directory.0)?);
        toml += &format!(
            "\n[[pool.shard]]\nname = \"redis{number}\"\naddress = \"unix:{}\"\nweight = 1\n",
            socket.display()
        );
    }
    for number in 1..=options.shards {
        wait_for(&directory.0.join(format!("redis{number}.sock")))?;
    }
    let loaded = parse_toml(&toml, "demo", &Machine::this()).map_err(|complaints| {
        complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    })?;
    Ok((loaded.config, servers, directory))
}

fn temporary_directory() -> Result<PathBuf, String> {
    let path = std::env::temp_dir().join(format!("corelay-demo-{}", std::process::id()));
    std::fs::create_dir(&path)
        .map_err(|error| format!("the directory {} can not be made: {error}", path.display()))?;
    Ok(path)
}

fn free_port(wanted: u16) -> Result<u16, String> {
    let bound = TcpListener::bind(("127.0.0.1", wanted)).and_then(|socket| socket.local_addr());
    bound.map(|address| address.port()).map_err(|error| {
        format!("port {wanted} of 127.0.0.1 can not be used: {error}; try corelay demo --port 0")
    })
}

fn start_server(program: &Path, socket: &Path, directory: &Path) -> Result<Server, String> {
    let child = Command::new(program)
        .args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"])
        .arg("--unixsocket")
        .arg(socket)
        .arg("--dir")
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    child.map(Server).map_err(|error| {
        format!(
            "{} can not be started: {error}; install it (apt-get install redis-server)",
            program.display()
        )
    })
}

/// Waits until the server answers PING; at most ten seconds.
fn wait_for(socket: &Path) -> Result<(), String> {
    let pong = || -> std::io::Result<bool> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(&answer == b"+PONG")
    };
    for _ in 0..WAIT_ROUNDS {
        if matches!(pong(), Ok(true)) {
            return Ok(());
        }
        std::thread::park_timeout(WAIT_ROUND);
    }
    Err(format!("the redis-server at {} does not answer", socket.display()))
}

const WAIT_ROUND: Duration = Duration::from_millis(20);
const WAIT_ROUNDS: u32 = 500;

/// What a newcomer may try.
fn show(config: &Config) {
    let Some(pool) = config.pools.first() else { return };
    let Some(listen) = pool.listen.first() else { return };
    let text = listen.to_string();
    let port = text.rsplit(':').next().unwrap_or_default();
    let admin = config.proxy.admin_listen.map(|address| address.to_string()).unwrap_or_default();
    let mut stdout = std::io::stdout().lock();
    // A closed pipe is no reason not to serve.
    let _ = write!(
        stdout,
        "corelay serves {} redis-servers as one on {text}, with {} core(s)\n\n\
         try, in another terminal:\n\
         \x20 redis-cli -p {port} set user:1000 Ada\n\
         \x20 redis-cli -p {port} mget user:1000 user:1001\n\
         \x20 redis-cli -p {port} info shards\n\
         \x20 redis-cli -p {port} --scan\n\
         \x20 redis-benchmark -p {port} -q -P 16 -t set,get -r 100000\n\
         \x20 curl http://{admin}/metrics\n\n\
         Ctrl-C ends everything\n",
        pool.shards.len(),
        config.proxy.cores.len(),
    );
    let _ = stdout.flush();
}
