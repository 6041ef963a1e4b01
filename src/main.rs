//! The binary: everything is in the library.

use std::process::ExitCode;

/// Buffers of very different sizes come and go: mimalloc hands what is free back to the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    corelay::cli::run(std::env::args_os())
}
