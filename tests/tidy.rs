//! Taste is a test: the floors of the house, the length of its files, what each room may not name.
//!
//! Everything is read from the text of the sources. A rule that stands in the way is changed here,
//! with its reason, and in the map of `src/lib.rs`.
#![allow(clippy::expect_used, reason = "a test of files fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Every room and those that it may use. Only these: a new room needs a line.
const FLOORS: [(&str, &[&str]); 18] = [
    // Floor 0: knows nothing of Redis.
    ("base", &[]),
    // Floor 1: the protocol; no sockets, no time.
    ("resp", &["base"]),
    ("command", &["base", "resp"]),
    // Floor 2: values and policy; no threads, no sockets. (`route` and `config` agree on the order
    // of shards; `config` knows the families of commands.)
    ("topology", &["base", "config"]),
    ("config", &["base", "command", "route"]),
    ("route", &["base", "config"]),
    ("stats", &["base", "command", "config"]),
    // Floor 3: the heart.
    ("relay", &["base", "command", "config", "resp", "route", "stats", "topology"]),
    // Floor 4: one core.
    ("net", &["base", "config", "topology"]),
    ("reactor", &["base", "config", "log", "mailbox", "net", "relay", "resp", "stats", "topology"]),
    // Beside them, the control plane: knows nothing of a core.
    ("log", &["base", "config"]),
    // (`resp`: it speaks to sentinels and nodes.)
    ("control", &["base", "command", "config", "log", "resp", "route", "stats", "topology"]),
    // The door: what crosses, and the wake-up.
    ("mailbox", &["base", "config", "net", "relay", "topology"]),
    // The top.
    (
        "process",
        &[
            "base", "config", "control", "log", "mailbox", "net", "reactor", "relay", "resp",
            "route", "stats", "topology",
        ],
    ),
    ("cli", &["base", "command", "config", "control", "log", "process", "resp", "route", "stats"]),
    ("main", &["cli"]),
    // Not in the program: the targets of tests and fuzzers.
    ("fuzz", &["command", "config", "relay", "resp"]),
    ("lib", &[]),
];

/// Words that a room's sources (not its tests) may not have, with the reason.
const FORBIDDEN: [(&[&str], &[&str], &str); 6] = [
    (
        &["base", "resp", "command", "topology", "route", "stats", "config", "relay"],
        &[
            "thread::spawn",
            "thread::Builder",
            "std::net::Tcp",
            "UnixStream",
            "Instant",
            "SystemTime",
            "async ",
            "await",
            "glommio",
            "io_uring",
            "libc::",
            "std::process",
        ],
        "the lower floors are pure: no clock, no thread, no socket, no runtime",
    ),
    (
        &["base", "resp", "command", "topology", "route", "config", "relay"],
        &["crossbeam"],
        "what crosses between planes goes through mailbox, and through the latencies' door in stats",
    ),
    (
        &["control", "log", "cli", "process", "mailbox", "main"],
        &["io_uring"],
        "only net and reactor name the ring",
    ),
    (&["control", "log", "cli"], &["glommio"], "the control plane knows nothing of a core"),
    (&["net"], &["resp::", "command::"], "sockets carry bytes"),
    (
        &["net", "reactor", "log", "cli", "process", "mailbox", "main"],
        &["tokio::", "hyper::"],
        "the one other runtime is that of the control plane's HTTP",
    ),
];

/// Rooms that forbid unsafe code in their first file.
const SAFE_ROOMS: [&str; 7] = ["resp", "command", "route", "stats", "relay", "control", "log"];
const LINES_MAX: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a readable file")
}

/// All files below `directory` with this extension, as paths from the root.
fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let (mut found, mut unseen) = (Vec::new(), vec![root().join(directory)]);
    while let Some(directory) = unseen.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                unseen.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path.strip_prefix(root()).expect("below the root").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<PathBuf> {
    files("src", "rs")
}

fn room_of(path: &Path) -> String {
    let first = path.iter().nth(1).expect("a file in src").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn is_test(path: &Path) -> bool {
    path.iter().any(|part| {
        let part = part.to_string_lossy();
        part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs")
    })
}

/// The text without comments, and without an inline module of tests.
fn code(path: &Path) -> String {
    let text = read(&root().join(path));
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).fold(
        String::new(),
        |mut all, line| {
            all.push_str(line);
            all.push('\n');
            all
        },
    )
}

/// The rooms that follow `crate::` in `text`.
fn rooms_named(text: &str) -> BTreeSet<String> {
    let word = |rest: &str| {
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>()
    };
    text.split("crate::").skip(1).map(word).filter(|word| !word.is_empty()).collect()
}

/// All complaints at once.
fn expect_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn a_room_uses_only_what_lies_below_it() {
    let mut complaints = Vec::new();
    for path in sources() {
        let room = room_of(&path);
        let Some((_, allowed)) = FLOORS.iter().find(|(name, _)| *name == room) else {
            complaints.push(format!("{}: the room {room} is on no floor", path.display()));
            continue;
        };
        let text = code(&path);
        if text.contains("use crate::{") {
            complaints.push(format!("{}: one `use` for each parent module", path.display()));
        }
        for used in rooms_named(&text) {
            let known = FLOORS.iter().any(|(name, _)| *name == used);
            let fine = used == room || allowed.contains(&used.as_str());
            // `main` names the library by its name; macros may name `crate::` in other ways.
            if known && !fine && !is_test(&path) {
                complaints.push(format!("{}: {room} may not use {used}", path.display()));
            }
        }
    }
    expect_none(&complaints);
}

#[test]
fn every_room_is_on_the_map() {
    let map = read(&root().join("src/lib.rs"));
    let mut complaints = Vec::new();
    for path in sources() {
        let room = room_of(&path);
        if room != "lib" && room != "main" && !map.contains(&format!("mod {room};")) {
            complaints.push(format!("{room}: in src, but not in src/lib.rs"));
        }
    }
    expect_none(&complaints);
}

#[test]
fn the_lower_floors_are_pure() {
    let mut complaints = Vec::new();
    for path in sources().iter().filter(|path| !is_test(path)) {
        let (room, text) = (room_of(path), code(path));
        for (rooms, words, why) in FORBIDDEN {
            for word in words.iter().filter(|word| text.contains(**word)) {
                if rooms.contains(&room.as_str()) {
                    complaints.push(format!("{}: {word:?}: {why}", path.display()));
                }
            }
        }
    }
    expect_none(&complaints);
}

#[test]
fn unsafe_code_is_in_net_alone() {
    let mut complaints = Vec::new();
    for path in sources() {
        let text = code(&path);
        let named = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
        if room_of(&path) != "net" && named.iter().any(|word| text.contains(word)) {
            complaints.push(format!("{}: unsafe code outside net", path.display()));
        }
    }
    for room in SAFE_ROOMS {
        let first = format!("src/{room}/mod.rs");
        if !read(&root().join(&first)).contains("#![forbid(unsafe_code)]") {
            complaints.push(format!("{first}: without #![forbid(unsafe_code)]"));
        }
    }
    expect_none(&complaints);
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut complaints = Vec::new();
    for path in sources().into_iter().chain(files("tests", "rs")).chain(files("bench", "rs")) {
        let text = read(&root().join(&path));
        let name = path.to_string_lossy().into_owned();
        let beside_code = path.starts_with("src") && is_test(&path);
        if !beside_code && !text.starts_with("//!") {
            complaints.push(format!("{name}: does not begin with what it is (//!)"));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            complaints.push(format!("{name}: {lines} lines; one idea a file, at most {LINES_MAX}"));
        }
    }
    expect_none(&complaints);
}

#[test]
fn log_lines_are_lower_case_without_a_full_stop() {
    let mut complaints = Vec::new();
    for path in sources().iter().filter(|path| !is_test(path)) {
        let text = code(path);
        for call in ["log.error(", "log.warn(", "log.info(", "log.debug("] {
            for after in text.split(call).skip(1) {
                let Some(rest) = after.trim_start().strip_prefix('"') else { continue };
                let message = rest.split('"').next().unwrap_or_default();
                let first = message.chars().next().unwrap_or('a');
                if first.is_uppercase() || message.ends_with('.') {
                    complaints.push(format!("{}: {message:?}", path.display()));
                }
            }
        }
    }
    expect_none(&complaints);
}

#[test]
fn nothing_is_left_for_later() {
    let mut complaints = Vec::new();
    // Written apart, so that this file does not find itself.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    for path in sources().into_iter().chain(files("tests", "rs")).chain(files("bench", "rs")) {
        let text = read(&root().join(&path));
        for word in words.iter().filter(|word| text.contains(**word)) {
            complaints.push(format!("{}: {word}", path.display()));
        }
    }
    expect_none(&complaints);
}

#[test]
fn crates_come_from_crates_io_and_locks_name_no_host() {
    let mut complaints = Vec::new();
    for file in ["Cargo.lock", "tests/fuzz/Cargo.lock"] {
        let lock = read(&root().join(file));
        for line in lock.lines().filter(|line| line.starts_with("source = ")) {
            if !line.contains("crates.io-index") || !line.contains("registry+") {
                complaints.push(format!("{file}: {line}"));
            }
        }
    }
    let lock = read(&root().join("tests/clients/package-lock.json"));
    for line in lock.lines().filter(|line| line.contains("\"resolved\"")) {
        complaints.push(format!("package-lock.json: {}", line.trim()));
    }
    if !read(&root().join("tests/clients/.npmrc")).contains("omit-lockfile-registry-resolved=true")
    {
        complaints.push("tests/clients/.npmrc: locks would name a host".to_owned());
    }
    expect_none(&complaints);
}

/// The packages of a Cargo.lock: name, version, and the lines of each.
fn packages(lock: &str) -> Vec<(&str, &str, &str)> {
    lock.split("[[package]]")
        .skip(1)
        .map(|text| {
            let value = |key: &str| {
                let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
                line.split('"').nth(1).unwrap_or_default()
            };
            (value("name = "), value("version = "), text)
        })
        .collect()
}

#[test]
fn the_fuzzer_is_built_of_the_same_crates() {
    const OF_THE_FUZZER: [&str; 4] = ["corelay-fuzz", "libfuzzer-sys", "arbitrary", "jobserver"];
    let mut complaints = Vec::new();
    let lock = read(&root().join("Cargo.lock"));
    let fuzz_lock = read(&root().join("tests/fuzz/Cargo.lock"));
    let (known, used) = (packages(&lock), packages(&fuzz_lock));
    for (name, version, _) in &used {
        let same = known.iter().any(|(other, of, _)| other == name && of == version);
        if !same && !OF_THE_FUZZER.contains(name) {
            complaints.push(format!("tests/fuzz/Cargo.lock: {name} {version}"));
        }
    }
    let (_, _, ours) =
        used.iter().find(|(name, ..)| *name == "corelay").expect("the fuzzer needs corelay");
    let manifest = read(&root().join("Cargo.toml"));
    let section = manifest.split("\n[dependencies]\n").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    for line in section.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split([' ', '=']).next().unwrap_or_default();
        if !name.is_empty() && !ours.contains(&format!("\"{name}")) {
            complaints.push(format!("tests/fuzz/Cargo.lock: {name} is missing"));
        }
    }
    if !complaints.is_empty() {
        complaints.push(
            "cp Cargo.lock tests/fuzz/ && cargo metadata --manifest-path tests/fuzz/Cargo.toml \
             --format-version 1 >/dev/null, and commit it"
                .to_owned(),
        );
    }
    expect_none(&complaints);
}
