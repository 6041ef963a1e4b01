//! Two proxy hosts with keepalived and a virtual address: one proxy is killed, and a client that
//! connects again is served by the other within seconds. When the first is back, nothing moves.
//!
//! Three network namespaces: the stores' and clients', and one for each proxy host, on one bridge.
//! keepalived runs with the very files of `config/keepalived`, but for the path of the program.
#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use support::process::Process;
use support::{Namespace, PATIENCE, Threads, wait_until};

const ADDRESS: &str = "10.77.0.10";
const PORT: &str = "6380";
/// Found dead by the second of two questions a second apart, and given up at once: 2 s, some more
/// for the machine's sake.
const WITHOUT_SERVICE_MAX_MS: u64 = 5_000;

/// A proxy host: its network, its proxy and its keepalived.
struct Host {
    proxy: Option<Process>,
    keepalived: Process,
    network: Namespace,
    config: PathBuf,
    program: PathBuf,
}

impl Host {
    fn start(middle: &Namespace, number: usize, directory: &Path, program: &Path) -> Host {
        let network = Namespace::new(&["ip", "keepalived"]).unwrap();
        let id = network.id();
        middle.run(&format!(
            "ip link add host{number} type veth peer name eth0 netns {id}
             ip link set host{number} master bridge; ip link set host{number} up"
        ));
        network.run(&format!(
            "ip link set lo up; ip addr add 10.77.0.1{number}/24 dev eth0; ip link set eth0 up"
        ));
        let config = directory.join(format!("corelay{number}.toml"));
        let text = format!(
            "[proxy]\ncores = 1\n[[pool]]\nname = \"cache\"\nlisten = \"0.0.0.0:{PORT}\"\n\
             [[pool.shard]]\nname = \"shard1\"\naddress = \"10.77.0.1:7001\"\n"
        );
        std::fs::write(&config, text).unwrap();
        let sample = format!("{}/config/keepalived/proxy{number}.conf", env!("CARGO_MANIFEST_DIR"));
        let sample = std::fs::read_to_string(sample).unwrap();
        let path = directory.join(format!("keepalived{number}.conf"));
        let sample = sample.replace("/usr/local/bin/corelay", program.to_str().unwrap());
        std::fs::write(&path, sample).unwrap();
        let mut command = network.command("keepalived");
        command.args(["--dont-fork", "--log-console", "--vrrp", "--use-file"]).arg(&path);
        for (option, name) in [("--pid", "pid"), ("--vrrp_pid", "vrrp")] {
            command.arg(option).arg(directory.join(format!("{name}{number}")));
        }
        let log = directory.join(format!("keepalived{number}.log"));
        let keepalived = Process::start("keepalived", &mut command, &log);
        let mut host = Host { proxy: None, keepalived, network, config, program: program.into() };
        host.start_proxy();
        host
    }

    fn start_proxy(&mut self) {
        let mut command = self.network.command(self.program.to_str().unwrap());
        command.args(["run", "-c"]).arg(&self.config);
        let log = self.config.with_extension("log");
        self.proxy = Some(Process::start("corelay", &mut command, &log));
    }

    fn has_the_address(&self) -> bool {
        self.network.run("ip -4 -o addr show dev eth0").contains(&format!("{ADDRESS}/"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SIGKILL would leave its child behind: it is asked to end, and ends both.
        self.keepalived.signal("TERM");
        wait_until(PATIENCE, "keepalived ends", || self.keepalived.ended().is_some());
    }
}

/// `reconnecting.py` in the middle network; ends with its standard input.
struct Client {
    child: Child,
    _stdin: ChildStdin,
    lines: Receiver<String>,
    /// Replies, wrong ones, longest time without one.
    heard: [u64; 3],
    threads: Threads,
}

impl Client {
    fn start(middle: &Namespace) -> Client {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/reconnecting.py");
        let mut command: Command = middle.command("python3");
        command.args([script, ADDRESS, PORT]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        let mut threads = Threads::default();
        threads.run(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Client { child, _stdin: stdin, lines, heard: [0; 3], threads }
    }

    fn look(&mut self) -> [u64; 3] {
        for line in self.lines.try_iter() {
            let mut numbers = line.split(' ').map(|number| number.parse().unwrap());
            self.heard = std::array::from_fn(|_| numbers.next().unwrap());
        }
        self.heard
    }

    /// Until so many more replies have come.
    fn wait_for_replies(&mut self, more: u64) {
        let before = self.look()[0];
        wait_until(3 * PATIENCE, "the client is served", || self.look()[0] >= before + more);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.threads.join();
    }
}

#[test]
fn two_proxies_share_a_virtual_address() {
    let Some(middle) = Namespace::new(&["ip", "keepalived", "python3"]) else { return };
    middle.run(
        "ip link set lo up; ip link add bridge type bridge
         ip addr add 10.77.0.1/24 dev bridge; ip link set bridge up",
    );
    let directory = tempfile::tempdir().unwrap();
    // keepalived runs the check as nobody, who has to reach the program.
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), everybody).unwrap();
    let program = directory.path().join("corelay");
    std::fs::copy(support::proxy::binary(), &program).unwrap();
    let mut redis = middle.command("redis-server");
    redis.args(["--port", "7001", "--protected-mode", "no", "--save", "", "--dir"]);
    redis.arg(directory.path());
    let _redis = Process::start("redis-server", &mut redis, &directory.path().join("redis.log"));
    let mut hosts = [1, 2].map(|number| Host::start(&middle, number, directory.path(), &program));
    let mut client = Client::start(&middle);
    client.wait_for_replies(50);
    let first = hosts.iter().position(Host::has_the_address).unwrap();
    let second = 1 - first;

    hosts[first].proxy = None; // SIGKILL
    wait_until(3 * PATIENCE, "the other host has the address", || hosts[second].has_the_address());
    client.wait_for_replies(50);
    let [_, wrong, longest_ms] = client.look();
    println!("without service for {longest_ms} ms");
    assert_eq!(wrong, 0);
    assert!(longest_ms < WITHOUT_SERVICE_MAX_MS, "{longest_ms} ms without service");

    let said = |host: &Host| host.keepalived.log().matches("succeeded").count();
    let before = said(&hosts[first]);
    hosts[first].start_proxy();
    wait_until(3 * PATIENCE, "keepalived finds the first proxy well", || {
        said(&hosts[first]) > before
    });
    client.wait_for_replies(200);
    assert!(hosts[second].has_the_address(), "the address does not go back");
    assert_eq!(client.look(), [client.heard[0], 0, longest_ms], "no second interruption");
}
