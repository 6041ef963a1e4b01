//! A panic anywhere ends the whole process, and quickly: a core that has panicked owes its clients
//! replies that nobody will pair any more, and a proxy that is half alive is worse than none.
//! Whoever supervises it starts it again.
//!
//! Release builds abort anyway, but even they report first, to a standard error that may be a pipe
//! which nobody reads. Called by `process` before anything else is started.

use std::time::Duration;

/// How long the report of a panic may take.
const REPORT_MAX: Duration = Duration::from_millis(500);

/// From now on a panic ends the process by SIGABRT.
pub(super) fn end_the_process() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let late = std::thread::Builder::new().name("corelay-abort".to_owned()).spawn(|| {
            std::thread::park_timeout(REPORT_MAX);
            std::process::abort();
        });
        // If there is no thread to be had, there is only the hope that somebody reads.
        drop(late);
        report(panic);
        std::process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};
    use std::sync::Arc;

    use super::*;
    use crate::config::sample;
    use crate::mailbox::mailbox;
    use crate::net::features::Features;
    use crate::reactor::CoreSetup;
    use crate::reactor::balance::Balance;
    use crate::stats::cells::CoreStats;
    use crate::topology::{PoolTopology, Topology};

    /// Set for the process that is to panic: this test itself, started once more.
    const VICTIM: &str = "CORELAY_TEST_PANICS";
    const SIGABRT: i32 = 6;
    const PIPE_BYTES: usize = 64 * 1024;

    /// A real core whose chore of every second panics.
    fn run_a_core_that_panics() {
        end_the_process();
        let config = sample::config(&[("cache", &[])]);
        let (sender, mailbox) = mailbox().unwrap();
        let setup = CoreSetup {
            index: 0,
            cpu: 0,
            config: config.clone(),
            stats: [CoreStats::new(&config)].into(),
            listeners: Vec::new(),
            mailbox,
            peers: vec![sender],
            balance: Arc::new(Balance::new(1, 10)),
            features: Features::ALL,
            log: Box::new(|_| {}),
            every_second: Box::new(|_, _| panic!("planted by a test")),
        };
        let pools = vec![PoolTopology { shards: Vec::new() }];
        let topology = Arc::new(Topology { epoch: 1, config: config.clone(), pools });
        let core = crate::reactor::spawn(setup, topology, 1).unwrap();
        core.wait_ready().unwrap();
        std::thread::park_timeout(Duration::from_secs(20));
    }

    #[test]
    fn of_a_core_ends_the_process_even_if_nobody_reads_what_it_says() {
        if std::env::var_os(VICTIM).is_some() {
            return run_a_core_that_panics();
        }
        for blocked in [false, true] {
            let (reader, mut writer) = std::io::pipe().unwrap();
            if blocked {
                writer.write_all(&[b'.'; PIPE_BYTES]).unwrap();
            }
            let this = std::thread::current().name().unwrap().to_owned();
            let mut victim = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", &this, "--nocapture"])
                .env(VICTIM, "1")
                .env("RUST_BACKTRACE", "0")
                .stdout(Stdio::null())
                .stderr(writer)
                .spawn()
                .unwrap();
            let mut waits = 0;
            let ended = loop {
                if let Some(ended) = victim.try_wait().unwrap() {
                    break ended;
                }
                waits += 1;
                if waits > 1_000 {
                    victim.kill().unwrap();
                    panic!("alive 10 s after its core has panicked; stderr blocked: {blocked}");
                }
                std::thread::park_timeout(Duration::from_millis(10));
            };
            assert_eq!(ended.signal(), Some(SIGABRT), "stderr blocked: {blocked}: {ended}");
            let said = std::io::read_to_string(reader).unwrap();
            assert_eq!(said.contains("planted by a test"), !blocked, "{said}");
        }
    }
}
