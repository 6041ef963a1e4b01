//! One target of `corelay::fuzz`, named by FUZZ_TARGET, under LLVM's libFuzzer. See `run` beside
//! it.
#![no_main]

use std::sync::OnceLock;

use corelay::fuzz::{Target, by_name};
use libfuzzer_sys::fuzz_target;

/// A bug on purpose, which chance does not find: a fuzzer that does not find it is blind.
const CANARY: Target = Target { name: "canary", bytes_max: 64, property: canary, rounds: 0 };

fn canary(bytes: &[u8]) -> Result<(), String> {
    let mut rest = bytes;
    for expected in *b"*1\r\n$4" {
        match rest {
            [byte, behind @ ..] if *byte == expected => rest = behind,
            _ => return Ok(()),
        }
    }
    Err("the planted bug".to_owned())
}

fn target() -> &'static Target {
    static CHOSEN: OnceLock<Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        if name == CANARY.name {
            return CANARY;
        }
        let Some(target) = by_name(&name) else {
            eprintln!("FUZZ_TARGET = {name:?} is no target");
            std::process::exit(2);
        };
        *target
    })
}

fuzz_target!(|bytes: &[u8]| {
    if let Err(why) = (target().property)(bytes) {
        panic!("{}: {why}", target().name);
    }
});
