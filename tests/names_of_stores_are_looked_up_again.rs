//! A store that is known by a name is found at its new address when the name is changed, and kept
//! when the name has no answer any more.
//!
//! Mechanics: a hosts file in a mount namespace of the test's own, one name, two stores on the same
//! port of two addresses. Skipped where the user may not have one. Why it must stay: what a cluster
//! manager or an administrator moves is a name, and an empty answer is the commonest fault of DNS.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::time::Duration;

use support::{Namespace, Options, PATIENCE, Process, Proxy, Value, Wire, holds_for, wait_until};

const PORT: u16 = 7001;
/// Names are looked up every 5 s.
const LOOKED_UP_WITHIN: Duration = Duration::from_secs(8);

fn start_store(namespace: &Namespace, address: &str, directory: &Path) -> Process {
    let socket = directory.join(address);
    let mut command = namespace.command("redis-server");
    command.args(["--bind", address, "--port", &PORT.to_string(), "--save", ""]);
    command.arg("--dir").arg(directory).arg("--unixsocket").arg(&socket);
    let log = directory.join(format!("{address}.log"));
    let process = Process::start("redis-server", &mut command, &log);
    wait_until(PATIENCE, "a store listens", || Wire::try_connect_unix(&socket).is_ok());
    let mut behind = Wire::try_connect_unix(&socket).expect("a store");
    assert_eq!(behind.exchange(&["SET", "who", address]), Value::ok());
    process
}

#[test]
fn and_the_last_address_stays_if_there_is_no_answer() {
    let Some(namespace) = Namespace::new(&["ip", "mount"]) else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let hosts = directory.path().join("hosts");
    // Written in place: what is mounted is the file, not its name.
    let name_is = |lines: &str| std::fs::write(&hosts, lines).expect("a written file");
    name_is("127.0.0.1 store.test\n");
    let none = directory.path().join("resolv.conf");
    std::fs::write(&none, "").expect("a written file");
    namespace.run(&format!(
        "ip link set lo up; mount --bind {} /etc/hosts; mount --bind {} /etc/resolv.conf",
        hosts.display(),
        none.display()
    ));
    let _stores =
        ["127.0.0.1", "127.0.0.2"].map(|at| start_store(&namespace, at, directory.path()));
    let options = Options {
        launcher: namespace.launcher(),
        by_socket: Some(directory.path().join("proxy.sock")),
        ..Options::default()
    };
    let shards = [("shard1".to_owned(), format!("store.test:{PORT}"))];
    let proxy = Proxy::start(&shards, &options);
    let mut client = proxy.client();
    let mut who = || client.exchange(&["GET", "who"]);
    assert_eq!(who(), Value::bulk("127.0.0.1"));

    name_is("127.0.0.2 store.test\n");
    wait_until(LOOKED_UP_WITHIN, "the new address is used", || who() == Value::bulk("127.0.0.2"));

    name_is("");
    wait_until(LOOKED_UP_WITHIN, "the log says that there is no answer", || {
        assert_eq!(who(), Value::bulk("127.0.0.2"));
        proxy.log().lines().any(|line| line.contains("store.test") && line.contains("warn"))
    });
    holds_for(Duration::from_millis(200), "it stays", || who() == Value::bulk("127.0.0.2"));
}
