//! `corelay upgrade` starts the process that takes over and waits for it; a supervisor that waits to
//! be told (systemd with `Type=notify`) hears that it serves and which process to watch, before the
//! old one may end.
#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod support;

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use support::proxy::binary;
use support::{Options, PATIENCE, Stack, wait_until};

/// What a supervisor hears.
fn told(socket: &UnixDatagram) -> String {
    let mut text = [0; 256];
    let count = socket.recv(&mut text).unwrap();
    String::from_utf8_lossy(&text[..count]).into_owned()
}

/// A process that is nobody's child here; it ends with this.
struct Stranger(u32);

impl Stranger {
    fn signal(&self, name: &str) -> bool {
        let kill = format!("kill -{name} {} 2>&1", self.0);
        Command::new("sh").args(["-c", &kill]).output().unwrap().status.success()
    }

    fn is_there(&self) -> bool {
        // An orphan that has ended may wait for whoever inherited it.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        if self.is_there() {
            self.signal("KILL");
        }
    }
}

fn upgrade(config: &Path, notify: &Path) -> Output {
    let mut command = Command::new(binary());
    command.args(["upgrade", "-c"]).arg(config).env("NOTIFY_SOCKET", notify);
    command.stderr(std::fs::File::create(config.with_extension("said")).unwrap());
    command.output().unwrap()
}

#[test]
fn an_upgrade_is_followed_by_its_supervisor() {
    let directory = tempfile::tempdir().unwrap();
    let notify = directory.path().join("notify");
    let supervisor = UnixDatagram::bind(&notify).unwrap();
    supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
    let socket = directory.path().join("handover.sock");
    let proxy = format!(
        "handover_socket = \"{}\"\nlog_file = \"{}\"\n",
        socket.display(),
        directory.path().join("log").display()
    );
    let launcher = vec!["env".to_owned(), format!("NOTIFY_SOCKET={}", notify.display())];
    let mut stack = Stack::start(1, &Options { proxy, launcher, ..Options::default() });
    let first = stack.proxy.process().id();
    assert_eq!(told(&supervisor), format!("READY=1\nMAINPID={first}\n"));
    let config = stack.proxy.directory().join("corelay.toml");
    let said = || std::fs::read_to_string(config.with_extension("said")).unwrap();

    let good = std::fs::read_to_string(&config).unwrap();
    stack.proxy.edit(|text| text.replace("timeout_ms", "timeout_mss"));
    let failed = upgrade(&config, &notify);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert!(said().contains("timeout_mss") && said().contains("nothing has changed"), "{}", said());
    assert!(failed.stdout.is_empty());
    assert_eq!(stack.client().exchange(&["PING"]).text(), "PONG");

    stack.proxy.edit(|_| good);
    let mut before = first;
    let mut last: Option<Stranger> = None;
    for _ in 0..3 {
        let done = upgrade(&config, &notify);
        assert!(done.status.success(), "{}", said());
        let message = told(&supervisor);
        let main = message.strip_prefix("READY=1\nMAINPID=").unwrap().trim_end().parse().unwrap();
        let next = Stranger(main);
        let line = String::from_utf8_lossy(&done.stdout).into_owned();
        let expected = format!(
            "process {main} serves; {before} serves who is connected to it, for at most 600000 ms\n"
        );
        assert_eq!(line, expected);
        match last.replace(next) {
            Some(old) => wait_until(PATIENCE, "it has ended", || !old.is_there()),
            None => {
                wait_until(PATIENCE, "it has ended", || stack.proxy.process().ended().is_some())
            }
        }
        assert_eq!(stack.client().exchange(&["PING"]).text(), "PONG");
        before = main;
    }
    supervisor.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(supervisor.recv(&mut [0; 8]).is_err(), "once each");
    let last = last.unwrap();
    assert!(last.signal("TERM"));
    wait_until(PATIENCE, "it has ended as it was told", || !last.is_there());
}
