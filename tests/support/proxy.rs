//! The proxy under test.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::{PATIENCE, Port, Stopwatch, Wire, encode, process::Process, wait_until};

/// What a test may want different from the harness's ordinary configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// `proxy.cores`, as it stands in TOML.
    pub cores: &'static str,
    /// Further lines of `[proxy]`.
    pub proxy: String,
    /// `timeout_ms` of the pool.
    pub timeout_ms: u64,
    /// Further lines of `[[pool]]`.
    pub pool: String,
    /// Tables of the pool (`[pool.backend_auth]` …) behind its shards.
    pub tables: String,
    /// Further listeners beside the ordinary one.
    pub listen: Vec<String>,
    /// A program, and its arguments, that starts the proxy: `prlimit --nofile=128`, `nsenter …`.
    pub launcher: Vec<String>,
    /// Clients come by this unix socket: the proxy's network may not be that of the test.
    pub by_socket: Option<PathBuf>,
    /// Where its standard error goes instead of to the harness's log.
    pub stderr: Option<Arc<File>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            cores: "1",
            proxy: String::new(),
            timeout_ms: 5_000,
            pool: "dangerous_commands = \"allow\"\n".to_owned(),
            tables: String::new(),
            listen: Vec::new(),
            launcher: Vec::new(),
            by_socket: None,
            stderr: None,
        }
    }
}

#[derive(Debug)]
pub struct Proxy {
    process: Process,
    options: Options,
    listen: Port,
    admin: Option<Port>,
    config: PathBuf,
    directory: TempDir,
}

/// The binary under test.
pub fn binary() -> PathBuf {
    std::env::var_os("CORELAY_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_corelay")), PathBuf::from)
}

impl Proxy {
    /// Starts one pool over `shards` (name, address) and waits until it answers.
    pub fn start(shards: &[(String, String)], options: &Options) -> Proxy {
        let (listen, admin) = (Port::reserve(), Port::reserve());
        let config = config_toml(&listen, &admin, shards, options);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("corelay.toml");
        std::fs::write(&path, config).expect("a written configuration");
        Proxy::run(path, directory, (listen, Some(admin)), options)
    }

    /// Serves a file that is there (a nutcracker.yml, say) which listens on `listen`.
    pub fn start_with_file(path: &Path, listen: Port) -> Proxy {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Proxy::run(path.to_owned(), directory, (listen, None), &Options::default())
    }

    fn run(
        config: PathBuf,
        directory: TempDir,
        (listen, admin): (Port, Option<Port>),
        options: &Options,
    ) -> Proxy {
        let process = spawn(&config, &directory, options);
        let options = options.clone();
        let mut proxy = Proxy { process, options, listen, admin, config, directory };
        proxy.wait_ready();
        proxy
    }

    /// SIGKILL, and started again as it was; gives how long it took to answer again.
    pub fn kill_and_restart(&mut self) -> Duration {
        self.process.kill_hard();
        let since = Stopwatch::start();
        self.process = spawn(&self.config, &self.directory, &self.options);
        self.wait_ready();
        since.elapsed()
    }

    /// Another process takes over; gives the old one, which may still have clients.
    pub fn upgrade(&mut self) -> Process {
        let mut next = spawn_with(&self.config, &self.directory, &self.options, &["--take-over"]);
        let took_over = format!("from_pid={}", self.process.id());
        wait_until(PATIENCE, "the new process has taken over", || {
            if let Some(status) = next.ended() {
                panic!("it ended ({status}): {}", next.log_end());
            }
            next.log().contains(&took_over)
        });
        std::mem::replace(&mut self.process, next)
    }

    /// What a process says that can not take over.
    pub fn refused_upgrade(&self) -> String {
        let mut command = Command::new(binary());
        command.args(["run", "--take-over", "-c"]).arg(&self.config);
        let output = command.output().expect("corelay run");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn wait_ready(&mut self) {
        let connect = self.connector();
        wait_until(PATIENCE, "corelay answers PING", || {
            if let Some(status) = self.process.ended() {
                let config = std::fs::read_to_string(&self.config).unwrap_or_default();
                let said = self.process.log_end();
                panic!("corelay ended ({status}) instead of serving:\n{config}\nit said: {said}");
            }
            let Ok(mut wire) = connect() else { return false };
            // It may be full.
            let _ = wire.try_send(&encode(&["PING"]));
            wire.next().is_ok()
        });
    }

    /// How clients connect; for threads that outlive a borrow of the proxy.
    pub fn connector(&self) -> impl Fn() -> io::Result<Wire> + Send + Sync + use<> {
        let (address, socket) = (self.listen.address, self.options.by_socket.clone());
        move || match &socket {
            Some(path) => Wire::try_connect_unix(path),
            None => Wire::try_connect(address),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.listen.address
    }

    pub fn admin_address(&self) -> SocketAddr {
        self.admin.as_ref().expect("a proxy with an admin port").address
    }

    pub fn client(&self) -> Wire {
        self.connector()().unwrap_or_else(|error| panic!("no connection: {error}"))
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes the configuration file anew; nothing has read it yet.
    pub fn edit(&self, change: impl FnOnce(&str) -> String) {
        let text = std::fs::read_to_string(&self.config).expect("the configuration");
        std::fs::write(&self.config, change(&text)).expect("a written configuration");
    }

    /// `corelay reload` with further arguments: whether it was taken, and what it said.
    pub fn reload(&self, args: &[&str]) -> (bool, String) {
        let admin = self.admin_address().to_string();
        let mut command = Command::new(binary());
        command.arg("reload").args(args).args(["--admin", &admin]);
        let output = command.output().expect("corelay reload");
        let said = [output.stdout.as_slice(), &output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    pub fn resident_bytes(&self) -> usize {
        self.process.resident_bytes()
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The body of `GET path` on the admin port.
    pub fn admin(&self, path: &str) -> String {
        let admin = self.admin.as_ref().expect("a proxy with an admin port");
        let mut stream = TcpStream::connect_timeout(&admin.address, PATIENCE).expect("admin port");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // HTTP/1.0: the answer is never chunked and ends with the connection.
        let request = format!("GET {path} HTTP/1.0\r\nHost: corelay\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("a request sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer of the admin port");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.lines().next().is_some_and(|line| line.contains(" 200")), "{path}: {head}");
        body.to_owned()
    }

    /// The samples of a Prometheus metric: labels as written, value.
    pub fn metric(&self, name: &str) -> Vec<(String, f64)> {
        let text = self.admin("/metrics");
        let samples: Vec<(String, f64)> = text
            .lines()
            .filter_map(|line| {
                let rest = line.strip_prefix(name)?;
                let (labels, value) = match rest.strip_prefix('{') {
                    Some(rest) => rest.split_once("} ")?,
                    None => ("", rest.strip_prefix(' ')?),
                };
                Some((labels.to_owned(), value.trim().parse().ok()?))
            })
            .collect();
        assert!(!samples.is_empty(), "no metric {name} in:\n{text}");
        samples
    }

    /// The sum of a metric over all its labels.
    pub fn metric_sum(&self, name: &str) -> f64 {
        self.metric(name).iter().map(|(_, value)| value).sum()
    }
}

fn spawn(config: &Path, directory: &TempDir, options: &Options) -> Process {
    spawn_with(config, directory, options, &[])
}

fn spawn_with(config: &Path, directory: &TempDir, options: &Options, more: &[&str]) -> Process {
    let mut command = match options.launcher.split_first() {
        Some((launcher, args)) => {
            let mut command = Command::new(launcher);
            command.args(args).arg(binary());
            command
        }
        None => Command::new(binary()),
    };
    command.arg("run").arg("-c").arg(config).args(more).current_dir(directory.path());
    let log = directory.path().join("corelay.log");
    match &options.stderr {
        Some(stderr) => {
            let stderr = stderr.try_clone().expect("a second handle");
            Process::start_with_stderr("corelay", &mut command, &log, stderr)
        }
        None => Process::start("corelay", &mut command, &log),
    }
}

fn config_toml(
    listen: &Port,
    admin: &Port,
    shards: &[(String, String)],
    options: &Options,
) -> String {
    let mut listens = vec![listen.address.to_string()];
    listens.extend(options.listen.iter().cloned());
    listens.extend(options.by_socket.iter().map(|path| format!("unix:{}", path.display())));
    let mut toml = format!(
        "[proxy]\ncores = {}\nadmin_listen = \"{}\"\n{}\n\
         [[pool]]\nname = \"cache\"\nlisten = {listens:?}\n\
         hash = \"fnv1a_64\"\nhash_tag = \"{{}}\"\ndistribution = \"ketama\"\n\
         timeout_ms = {}\n{}\n",
        options.cores, admin.address, options.proxy, options.timeout_ms, options.pool
    );
    for (name, address) in shards {
        toml += &format!("[[pool.shard]]\nname = \"{name}\"\naddress = \"{address}\"\n");
    }
    toml + &options.tables
}
