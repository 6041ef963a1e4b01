//! Every target over its corpus, and over inputs that a seed makes of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::generate::{Random, input};
use super::{TARGETS, Target, by_name};
use crate::relay::plants::{self, Plant};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The inputs that are kept for a target, in the order of their names.
fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = root().join("tests/corpus").join(target.name);
    let entries = std::fs::read_dir(&directory).unwrap_or_else(|error| {
        panic!("{}: {error}", directory.display());
    });
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Whether the property holds, panics being complaints too.
fn holds(target: &Target, bytes: &[u8]) -> Result<(), String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.property)(bytes)));
    outcome.unwrap_or_else(|_| Err("a panic, see above".to_owned()))
}

/// Keeps the input, and says how to look at it again.
fn found(target: &Target, bytes: &[u8], why: &str, seed: u64) -> ! {
    let directory = root().join("target/fuzz-found");
    let path = directory.join(format!("{}-{seed:x}", target.name));
    let kept = std::fs::create_dir_all(&directory).and_then(|()| std::fs::write(&path, bytes));
    panic!(
        "{} (seed {seed}): {why}\nin {}\nkept ({kept:?}) as {path}; again: make fuzz-replay \
         TARGET={} INPUT={path}",
        target.name,
        bytes.escape_ascii(),
        target.name,
        path = path.display(),
    );
}

/// With TARGET and INPUT in the environment (`make fuzz-replay`) that input alone.
#[test]
fn inputs_of_the_corpus_hold() {
    if let Ok(path) = std::env::var("FUZZ_INPUT") {
        let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET beside FUZZ_INPUT");
        let target = by_name(&name).unwrap_or_else(|| panic!("{name} is no target"));
        return (target.property)(&std::fs::read(&path).unwrap()).unwrap();
    }
    for target in &TARGETS {
        let corpus = corpus(target);
        assert!(!corpus.is_empty(), "{} has no corpus", target.name);
        for (path, bytes) in corpus {
            if let Err(why) = holds(target, &bytes) {
                panic!("{}: {why}", path.display());
            }
        }
    }
}

/// Small files, and each of a kind that the README explains.
#[test]
fn the_corpus_is_small_and_explained() {
    let readme = std::fs::read_to_string(root().join("tests/corpus/README.md")).unwrap();
    let mut bytes_of_all = 0;
    for target in &TARGETS {
        assert!(readme.contains(&format!("`{}/`", target.name)), "{}: unexplained", target.name);
        for (path, bytes) in corpus(target) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let kind = name.split('-').next().unwrap();
            assert!(readme.contains(&format!("| `{kind}-`")), "{}: of no kind", path.display());
            let told = kind != "found" || readme.contains(&format!("`{}/{name}`", target.name));
            assert!(told, "{}: what did it find?", path.display());
            assert!(bytes.len() <= 4096, "{}: {} bytes", path.display(), bytes.len());
            bytes_of_all += bytes.len();
        }
    }
    assert!(bytes_of_all <= 512 * 1024, "{bytes_of_all} bytes of corpus");
}

fn seeds_hold(target: &Target, seeds: impl Iterator<Item = u64>) {
    let corpus: Vec<Vec<u8>> = corpus(target).into_iter().map(|(_, bytes)| bytes).collect();
    for seed in seeds {
        let bytes = input(&mut Random(seed), &corpus, target.bytes_max);
        if let Err(why) = holds(target, &bytes) {
            found(target, &bytes, &why, seed);
        }
    }
}

#[test]
fn inputs_of_fixed_seeds_hold() {
    for target in &TARGETS {
        seeds_hold(target, 0..target.rounds);
    }
}

/// Inputs that nobody has tried before.
#[test]
fn inputs_of_fresh_seeds_hold() {
    for target in &TARGETS {
        let first = ahash::RandomState::new().hash_one(0) >> 16;
        seeds_hold(target, first..first + target.rounds / 2);
    }
}

/// The target that drives the relay is not blind (the simulation has a test of its own).
#[test]
fn scripts_find_planted_bugs() {
    let relay = by_name("relay").unwrap();
    let corpus: Vec<Vec<u8>> = corpus(relay).into_iter().map(|(_, bytes)| bytes).collect();
    for bug in [Plant::SwapTokens, Plant::SkipGeneration, Plant::DropSlot] {
        plants::plant(Some(bug));
        let found = (0..6_000).find(|seed| {
            let bytes = input(&mut Random(*seed), &corpus, relay.bytes_max);
            holds(relay, &bytes).is_err()
        });
        plants::plant(None);
        println!("{bug:?} was found by seed {found:?}");
        assert!(found.is_some(), "{bug:?} was not found");
    }
}
