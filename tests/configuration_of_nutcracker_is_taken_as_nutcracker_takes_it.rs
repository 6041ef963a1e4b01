//! `corelay nutcracker` takes the options and files that twemproxy's program takes: each file here
//! is shown to both, and both have to say the same, but for the differences named below.
#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const SERVERS: &str = "  servers:\n   - 127.0.0.1:6379:1 s1\n";
const LISTEN: &str = "alpha:\n  listen: 127.0.0.1:22121\n";

fn front(args: &[&str]) -> Output {
    let mut all = vec!["nutcracker"];
    all.extend_from_slice(args);
    Command::new(env!("CARGO_BIN_EXE_corelay")).args(all).output().unwrap()
}

/// Whether the file is right, in the view of both.
fn verdicts(path: &Path) -> (bool, bool) {
    let path = path.to_str().unwrap();
    let theirs = Command::new("nutcracker").args(["-t", "-c", path]).output().unwrap();
    (theirs.status.success(), front(&["-t", "-c", path]).status.success())
}

fn with(keys: &str) -> String {
    format!("{LISTEN}  redis: true\n  {keys}\n{SERVERS}")
}

fn server(line: &str) -> String {
    format!("{LISTEN}  redis: true\n  servers:\n   - {line}\n")
}

fn listen(text: &str) -> String {
    format!("alpha:\n  listen: {text}\n  redis: true\n{SERVERS}")
}

#[test]
fn both_accept_and_refuse_the_same_files() {
    let two = with("").replace("6379:1 s1\n", "6379:1 s1\n   - 127.0.0.1:6380:1 s1\n");
    let whole = [
        String::new(),
        "- a\n".into(),
        "alpha: 5\n".into(),
        format!("{LISTEN}  redis: true\n"),
        format!("{LISTEN}  redis: true\n  servers:\n"),
        format!("{LISTEN}  redis: true\n  servers: []\n"),
        format!("{LISTEN}  redis: true\n  servers: 127.0.0.1:6379:1\n"),
        format!("alpha:\n  redis: true\n{SERVERS}"),
        with("") + &with(""),
        with("") + &with("").replace("alpha", "beta"),
        with("") + &with("").replace("alpha", "beta").replace("22121", "22122"),
        with("").replace("alpha:", "alpha: &a"),
        two.clone(),
        two.replace("6380:1 s1", "6380:1 s2"),
        two.replace("6380:1 s1", "6379:1 s2"),
    ];
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("n.yml");
    let files =
        KEYS.iter().map(|keys| with(keys)).chain(SERVER_LINES.iter().map(|line| server(line)));
    let files = files.chain(LISTENS.iter().map(|text| listen(text))).chain(whole);
    let mut accepted = 0;
    for text in files {
        fs::write(&path, &text).unwrap();
        let (theirs, ours) = verdicts(&path);
        assert_eq!(theirs, ours, "nutcracker accepts: {theirs}, corelay: {ours}\n{text}");
        accepted += u32::from(ours);
    }
    assert!(accepted > 20, "only {accepted} files were right");
}

#[test]
fn the_differences_are_these() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("n.yml");
    let differences = [
        // Memcached is not served.
        (format!("{LISTEN}{SERVERS}"), (true, false)),
        // A weight that twemproxy's int turns into 1, a name that is empty, a host that is.
        (server("127.0.0.1:6379:4294967297 s1"), (true, false)),
        (server("\"127.0.0.1:6379:1 \""), (true, false)),
        (server(":6379:1 x"), (true, false)),
        // A path that ends as permissions do, which no corelay.toml could say.
        (listen("/tmp/a 777 0"), (true, false)),
        // YAML that means the same, in forms that 0.5 does not read; a key of its later days.
        (with("").replace("alpha:", "---\nalpha:"), (false, true)),
        (server("x").replace("servers:\n   - x", "servers: [\"127.0.0.1:6379:1\"]"), (false, true)),
        (with("reuseport: true"), (false, true)),
        (listen("'[::1]:22121'"), (false, true)),
    ];
    for (text, expected) in differences {
        fs::write(&path, &text).unwrap();
        assert_eq!(verdicts(&path), expected, "{text}");
    }
}

#[test]
fn options_are_taken_and_what_means_nothing_says_so() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("n.yml");
    fs::write(&path, with("")).unwrap();
    let file = path.to_str().unwrap();
    let all = ["-d", "-v", "11", "-o", "/dev/null", "-s", "22223", "-a", "127.0.0.1", "-i", "1000"];
    let output =
        front(&[&["-t", "-c", file, "-m", "512", "-p", "/nonexistent/pid"], &all[..]].concat());
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("syntax is ok"), "{told}");
    let output = front(&["-c", file, "-p", "/nonexistent/pid", "-d", "-m", "512"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    for part in ["not daemonizing", "no mbufs", "-p /nonexistent/pid: can not be written"] {
        assert!(told.contains(part), "{part}\nnot in\n{told}");
    }
    assert_eq!(front(&["-s", "0"]).status.code(), Some(2));
    assert_eq!(front(&["-x"]).status.code(), Some(2));
    assert_eq!(front(&["-t", "-c", "/nonexistent.yml"]).status.code(), Some(1));
    assert!(String::from_utf8(front(&["-V"]).stdout).unwrap().starts_with("This is corelay-"));
}

#[test]
fn the_names_of_the_statistics_are_twemproxys() {
    let names = |text: &[u8]| -> Vec<String> {
        let text = String::from_utf8(text.to_vec()).unwrap();
        let words = text.lines().filter(|line| line.starts_with("  "));
        let first = words.filter_map(|line| line.split_whitespace().next());
        first.filter(|word| word.contains('_') || word.ends_with('s')).map(str::to_owned).collect()
    };
    let theirs = Command::new("nutcracker").arg("-D").output().unwrap();
    let theirs = if theirs.stdout.is_empty() { theirs.stderr } else { theirs.stdout };
    assert_eq!(names(&front(&["-D"]).stdout), names(&theirs));
}

#[test]
fn a_link_called_nutcracker_is_nutcracker() {
    let dir = TempDir::new().unwrap();
    let link = dir.path().join("nutcracker");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_corelay"), &link).unwrap();
    let output = Command::new(&link).arg("-V").output().unwrap();
    assert!(output.status.success());
    assert!(output.stdout.starts_with(b"This is corelay-"));
}

const KEYS: [&str; 34] = [
    "timeout: 400",
    "timeout: -1",
    "timeout: 0",
    "timeout: \"400\"",
    "timeout: 4s",
    "timeout:",
    "preconnect: \"true\"",
    "preconnect: yes",
    "preconnect: True",
    "hash_tag: \"\"",
    "hash_tag: \"{}x\"",
    "hash_tag: \"{}\"",
    "hash_tag: $$",
    "foo: bar",
    "hash: MD5",
    "hash: murmur",
    "hash: crc32a",
    "distribution: modula",
    "distribution: ring",
    "timeout: 4\n  timeout: 4",
    "server_connections: 0",
    "server_connections: 1",
    "redis_db: 70",
    "redis_auth: ''",
    "redis_auth:",
    "redis_auth: 007",
    "backlog: 0",
    "backlog: 1024",
    "tcpkeepalive: true",
    "client_connections: 5",
    "auto_eject_hosts: true",
    "server_retry_timeout: 2000",
    "server_failure_limit: 1",
    "timeout: !!int 5",
];

const SERVER_LINES: [&str; 12] = [
    "127.0.0.1:6379:1",
    "127.0.0.1:6379",
    "127.0.0.1:6379 s1",
    "127.0.0.1:6379:0 s1",
    "127.0.0.1:0:1 x",
    "127.0.0.1:65536:1 x",
    "127.0.0.1:1",
    "/tmp/x.sock:1",
    "/tmp/x.sock:1 s",
    "\"127.0.0.1:6379:1  s1\"",
    "::1:6379:1 n",
    "127.0.0.1:6379:-1 s",
];

const LISTENS: [&str; 10] = [
    "/tmp/a.sock",
    "/tmp/a.sock 0777",
    "/tmp/a.sock 999",
    "/tmp/a.sock 1777",
    "/tmp/a.sock xx",
    "127.0.0.1",
    "127.0.0.1:0",
    "127.0.0.1:65536",
    "127.0.0.1:x",
    "localhost:22121",
];
