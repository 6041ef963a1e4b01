//! `explain`, `placement` and `import` answer from the files alone, and their answers fit each
//! other: what is imported places every key as before.
#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Standard output of a command that has to succeed.
fn corelay(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_corelay")).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn servers(count: usize, hash: &str) -> String {
    let servers: String =
        (1..=count).map(|i| format!("   - 127.0.0.1:{}:1 server{i}\n", 7000 + i)).collect();
    format!(
        "cache:\n  listen: 127.0.0.1:22121\n  hash: {hash}\n  redis: true\n  hash_tag: \"{{}}\"\n  \
         servers:\n{servers}"
    )
}

fn file(dir: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn words(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn explain_shows_where_a_key_is() {
    let dir = TempDir::new().unwrap();
    let path = file(&dir, "n.yml", &servers(4, "fnv1a_64"));
    let keys = ["foo", "bar", "session:42", "{foo}:x", r"a\xff"];
    let shown = corelay(&[&["explain", "-c", words(&path)][..], &keys].concat());
    // The placements of twemproxy's own functions.
    for line in [
        "foo         foo          fed9d577  server1  127.0.0.1:7001",
        "bar         bar          1339461a  server4  127.0.0.1:7004",
        "session:42  session:42   f848db91  server2  127.0.0.1:7002",
        "{foo}:x     foo          fed9d577  server1  127.0.0.1:7001",
        r"a\xff       a\xff        4abb0c69",
    ] {
        assert!(shown.contains(line), "{line}\nnot in\n{shown}");
    }
}

#[test]
fn explain_refuses_pools_and_escapes_that_do_not_exist() {
    let dir = TempDir::new().unwrap();
    let path = file(&dir, "n.yml", &servers(2, "md5"));
    let code = |args: &[&str]| {
        let all = [&["explain", "-c", words(&path)][..], args].concat();
        Command::new(env!("CARGO_BIN_EXE_corelay")).args(all).output().unwrap().status.code()
    };
    assert_eq!(code(&["--pool", "cache", "k"]), Some(0));
    assert_eq!(code(&["--pool", "other", "k"]), Some(1));
    assert_eq!(code(&[r"\q"]), Some(2));
}

#[test]
fn placement_tells_the_share_that_moves() {
    let dir = TempDir::new().unwrap();
    let three = file(&dir, "three.yml", &servers(3, "fnv1a_64"));
    let four = file(&dir, "four.yml", &servers(4, "fnv1a_64"));
    let same = corelay(&["placement", words(&three), words(&three)]);
    assert!(same.contains("0 of 100000 keys would move (0.0 %)"), "{same}");
    let more = corelay(&["placement", words(&three), words(&four), "--keys", "20000"]);
    let moved: u64 = more.split(": ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((4000..6000).contains(&moved), "a fourth shard takes about a quarter: {more}");
    assert!(more.contains("server1  server4"), "{more}");
    assert!(!more.contains("server1  server2"), "with ketama only the new shard gains: {more}");
}

#[test]
fn placement_takes_the_keys_of_a_file() {
    let dir = TempDir::new().unwrap();
    let three = file(&dir, "three.yml", &servers(3, "fnv1a_64"));
    let md5 = file(&dir, "md5.yml", &servers(3, "md5"));
    let keys = file(&dir, "keys", "foo\n\nbar\nbaz");
    let shown = corelay(&["placement", "--file", words(&keys), words(&three), words(&md5)]);
    assert!(shown.contains(" of 3 keys would move"), "{shown}");
}

#[test]
fn import_prints_a_file_with_the_same_placement() {
    let dir = TempDir::new().unwrap();
    let odd = "cache:\n  listen: 127.0.0.1:22121\n  redis: true\n  hash: murmur\n  \
               auto_eject_hosts: true\n  servers:\n   - 10.0.0.1:11211:3\n   - /tmp/a.sock:1\n   \
               - 10.0.0.2:6379:2 name\n";
    let old = file(&dir, "nutcracker.yml", odd);
    let text = corelay(&["import", words(&old)]);
    assert!(text.contains("warning: cache.auto_eject_hosts = true: not offered"), "{text}");
    let new = file(&dir, "corelay.toml", &text);
    let placement = corelay(&["placement", words(&old), words(&new)]);
    assert!(placement.contains("0 of 100000 keys would move"), "{placement}");
    let shown = |path: &Path| corelay(&["check", "-c", words(path)]);
    assert_eq!(shown(&old), shown(&new));
    let again = Command::new(env!("CARGO_BIN_EXE_corelay")).arg("import").arg(&new).output();
    let again = String::from_utf8(again.unwrap().stderr).unwrap();
    assert!(again.contains("this file is ours already"), "{again}");
}

/// Those who ran smitty: names and weights of the file, addresses of the sentinels, every key where it
/// was.
#[test]
fn an_imported_file_with_sentinels_places_every_key_as_before() {
    let dir = TempDir::new().unwrap();
    let text = servers(4, "fnv1a_64").replace("7002:1 server2", "7002:3 server2");
    let old = file(&dir, "n.yml", &text);
    let sentinels = "10.0.0.7:26379,sentinel2:26379";
    let new = file(&dir, "c.toml", &corelay(&["import", words(&old), "--sentinel", sentinels]));
    let checked = corelay(&["check", "-c", words(&new)]);
    for part in [
        "sentinels 10.0.0.7:26379, sentinel2:26379 and those that they name",
        "hold      5000 ms, 16777216 bytes for each core and shard, reads are sent again",
        "server2  by Sentinel  3",
    ] {
        assert!(checked.contains(part), "{part}\nnot in\n{checked}");
    }
    let moved = corelay(&["placement", words(&old), words(&new)]);
    assert!(moved.contains("0 of 100000 keys would move (0.0 %)"), "{moved}");
    assert!(moved.contains("server1 is where the sentinels say that master server1 is"), "{moved}");
    let shown = corelay(&["explain", "-c", words(&new), "session:42"]);
    assert!(shown.contains("by Sentinel"), "{shown}");

    // Other names are other shards, even if no address says so.
    let text = fs::read_to_string(&new).unwrap().replace("\"server", "\"other");
    let other = file(&dir, "other.toml", &text);
    let moved = corelay(&["placement", words(&new), words(&other)]);
    assert!(moved.contains("100000 of 100000 keys would move"), "{moved}");

    let nameless = text_of_nameless(&dir);
    let args = ["import", words(&nameless), "--sentinel", sentinels];
    let output = Command::new(env!("CARGO_BIN_EXE_corelay")).args(args).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("this server has no name; write behind it the name"), "{told}");
    let args = ["import", words(&old), "--sentinel", "10.0.0.7"];
    let output = Command::new(env!("CARGO_BIN_EXE_corelay")).args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

fn text_of_nameless(dir: &TempDir) -> PathBuf {
    file(dir, "nameless.yml", &servers(1, "md5").replace(" server1", ""))
}
