//! `corelay check` tells everything that is wrong with a file, in one line each, and exits with 1;
//! what is right it shows as it would run. No input, however odd, gets more than that.
#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

fn corelay(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_corelay")).args(args).output().unwrap()
}

fn check(path: &Path) -> (Option<i32>, String, String) {
    let output = corelay(&["check", "-c", path.to_str().unwrap()]);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn file(dir: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn pool(keys: &str) -> String {
    format!(
        "[[pool]]\nname = 'p'\nlisten = '127.0.0.1:6380'\n{keys}\n\
         [[pool.shard]]\nname = 'a'\naddress = '127.0.0.1:6379'\n"
    )
}

#[test]
fn the_samples_are_right_and_shown_as_they_would_run() {
    for sample in ["config/corelay.toml", "config/nutcracker.example.yml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(sample);
        let (code, shown, told) = check(&path);
        assert_eq!((code, told.as_str()), (Some(0), ""), "{sample}");
        for part in ["pool cache", "ketama by fnv1a_64", "shard3  127.0.0.1:6393  1"] {
            assert!(shown.contains(part), "{part}\nnot in\n{shown}");
        }
    }
}

#[test]
fn a_facade_is_shown_and_one_that_does_not_fit_is_warned_about() {
    const SHOWN: &str = "  facade    a Redis Cluster of one node, ";
    let dir = TempDir::new().unwrap();
    let second = "[[pool.shard]]\nname = 'b'\naddress = '127.0.0.1:6378'\n";
    let path = file(&dir, "facade.toml", pool("facade = 'cluster'") + second);
    let (code, shown, told) = check(&path);
    assert!(code == Some(0) && told.contains("warning: pool.facade = \"cluster\": keys"), "{told}");
    assert!(shown.contains(&format!("{SHOWN}the address that a client connects to\n")), "{shown}");
    let keys = "facade = 'cluster'\nhash_tag = '{}'\nfacade_address = 'cache.example:7000'";
    let (code, shown, told) = check(&file(&dir, "fits.toml", pool(keys) + second));
    assert_eq!((code, told.as_str()), (Some(0), ""));
    assert!(shown.contains(&format!("{SHOWN}cache.example:7000\n")), "{shown}");
    let (_, shown, _) = check(&file(&dir, "none.toml", pool("")));
    assert!(!shown.contains("facade"), "{shown}");
}

#[test]
fn who_answers_reads_is_shown() {
    let dir = TempDir::new().unwrap();
    let keys = "read_from = 'prefer-replica'\n[pool.read_from_by_family]\nstring = 'nearest'";
    let path = file(&dir, "reads.toml", pool(keys) + "replicas = ['10.0.0.2:6379', 'r:1']\n");
    let (code, shown, told) = check(&path);
    assert_eq!((code, told.as_str()), (Some(0), ""));
    for part in [
        "prefer-replica (string: nearest); replicas that the shards list, at most 1048576 bytes behind",
        "the primary for 1000 ms after a write",
        "REPLICAS",
        "10.0.0.2:6379, r:1",
    ] {
        assert!(shown.contains(part), "{part}\nnot in\n{shown}");
    }
}

#[test]
fn all_complaints_come_at_once_and_the_exit_code_is_1() {
    let dir = TempDir::new().unwrap();
    let path = file(&dir, "bad.toml", pool("hash = 'md6'\nlisen = 5\ntimeout_ms = 0"));
    let (code, shown, told) = check(&path);
    assert_eq!((code, shown.as_str()), (Some(1), ""));
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 3, "{told}");
    for (line, part) in lines.iter().zip([":4: pool.hash", ":5: pool.lisen", ":6: pool.timeout_ms"])
    {
        assert!(line.starts_with(path.to_str().unwrap()) && line.contains(part), "{line}");
    }
}

#[test]
fn what_is_no_configuration_gets_one_clear_line() {
    let dir = TempDir::new().unwrap();
    let shards: String = (0..10_000)
        .map(|i| format!("[[pool.shard]]\nname = 's{i}'\naddress = 'h{i}:1'\n"))
        .collect();
    let huge = fs::File::create(dir.path().join("huge.toml")).unwrap();
    huge.set_len(1 << 30).unwrap();
    let heavy = pool("").replace("6379'", "6379'\nweight = 1073741824");
    for (path, part) in [
        (dir.path().join("missing.toml"), "can not be read"),
        (dir.path().join("huge.toml"), "longer than 16777216 bytes"),
        (dir.path().to_owned(), "the extension does not tell"),
        (file(&dir, "a.conf", ""), "the extension does not tell"),
        (
            file(&dir, "latin.toml", b"# ok\nname = '\xe9'\n"),
            "latin.toml:2: byte 0xe9 here is not UTF-8",
        ),
        (file(&dir, "empty.toml", ""), "there is no pool"),
        (file(&dir, "empty.yml", ""), "no mapping of pools"),
        (file(&dir, "many.toml", pool("") + &shards), "10001 shards, at most 4096"),
        (file(&dir, "heavy.toml", heavy), "pool.shard.weight = 1073741824: out of bounds"),
        (file(&dir, "zeros.yml", [0; 4096]), "zeros.yml:1: "),
    ] {
        let (code, shown, told) = check(&path);
        assert_eq!((code, shown.as_str()), (Some(1), ""), "{path:?}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(told.contains(part), "{part}\nnot in\n{told}");
    }
    let sub = dir.path().join("dir.toml");
    fs::create_dir(&sub).unwrap();
    assert!(check(&sub).2.contains("this is a directory"));
}

#[test]
fn passwords_that_others_may_read_are_warned_about() {
    let dir = TempDir::new().unwrap();
    let path = file(&dir, "secret.toml", pool("") + "[pool.auth]\npassword = 'hush'\n");
    for (mode, is_warned) in [(0o644, true), (0o640, true), (0o600, false)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let (code, shown, told) = check(&path);
        assert_eq!(code, Some(0), "{told}");
        assert_eq!(told.contains("others may read it"), is_warned, "{mode:o}: {told}");
        assert!(!shown.contains("hush") && !told.contains("hush"));
    }
}

#[test]
fn a_wrong_command_line_exits_with_2_and_help_with_0() {
    for args in [&[][..], &["serve"], &["check"], &["run"], &["explain", "-c", "x.toml"]] {
        assert_eq!(corelay(args).status.code(), Some(2), "{args:?}");
    }
    for command in ["run", "check", "explain", "placement", "import", "demo", "nutcracker"] {
        let output = corelay(&[command, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{command}");
        assert!(!output.stdout.is_empty());
    }
    let keys = corelay(&["check", "--describe"]);
    assert_eq!(keys.status.code(), Some(0));
    assert!(String::from_utf8(keys.stdout).unwrap().contains("client_output_soft_bytes"));
}
