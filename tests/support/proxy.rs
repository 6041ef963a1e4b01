//! The proxy under test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{PATIENCE, Port, Wire, process::Process, wait_until};

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
        }
    }
}

#[derive(Debug)]
pub struct Proxy {
    process: Process,
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
        Proxy::run(path, directory, listen, Some(admin))
    }

    /// Serves a file that is there (a nutcracker.yml, say) which listens on `listen`.
    pub fn start_with_file(path: &Path, listen: Port) -> Proxy {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Proxy::run(path.to_owned(), directory, listen, None)
    }

    fn run(config: PathBuf, directory: TempDir, listen: Port, admin: Option<Port>) -> Proxy {
        let process = spawn(&config, &directory);
        let mut proxy = Proxy { process, listen, admin, config, directory };
        proxy.wait_ready();
        proxy
    }

    fn wait_ready(&mut self) {
        let address = self.listen.address;
        wait_until(PATIENCE, "corelay answers PING", || {
            if let Some(status) = self.process.ended() {
                let config = std::fs::read_to_string(&self.config).unwrap_or_default();
                let said = self.process.log_end();
                panic!("corelay ended ({status}) instead of serving:\n{config}\nit said: {said}");
            }
            let Ok(mut wire) = Wire::try_connect(address) else { return false };
            wire.request(&["PING"]);
            wire.next().is_ok()
        });
    }

    pub fn address(&self) -> SocketAddr {
        self.listen.address
    }

    pub fn admin_address(&self) -> SocketAddr {
        self.admin.as_ref().expect("a proxy with an admin port").address
    }

    pub fn client(&self) -> Wire {
        Wire::connect(self.listen.address)
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
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

fn spawn(config: &Path, directory: &TempDir) -> Process {
    let mut command = Command::new(binary());
    command.arg("run").arg("-c").arg(config).current_dir(directory.path());
    Process::start("corelay", &mut command, &directory.path().join("corelay.log"))
}

fn config_toml(
    listen: &Port,
    admin: &Port,
    shards: &[(String, String)],
    options: &Options,
) -> String {
    let mut listens = vec![listen.address.to_string()];
    listens.extend(options.listen.iter().cloned());
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
