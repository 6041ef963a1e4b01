//! The binary: everything is in the library.

use std::process::ExitCode;

/// Buffers of very different sizes come and go: mimalloc hands what is free back to the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A core that has panicked owes its clients replies that nobody will pair any more: the whole
    // process ends, and whoever supervises it starts it again. (Release builds abort anyway.)
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    corelay::cli::run(std::env::args_os())
}
