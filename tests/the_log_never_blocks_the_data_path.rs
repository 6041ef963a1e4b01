//! A log that can not be written (a pipe that nobody reads, a full disk) delays no client and no
//! end of the process; what was lost is counted, and said as soon as it can be.
//!
//! Mechanics: standard error is a pipe that is full from the start; the log file is on a disk of
//! 64 KiB of the test's own that is full. Each under a load that checks, while events are made that
//! are logged. Why it must stay: a log that blocks takes the service down when it is needed most.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use support::{Load, Namespace, Options, PATIENCE, Stack, Stopwatch, Threads, wait_until};

const PIPE_BYTES: usize = 64 * 1024;

/// Events of all kinds, each logged, under load.
fn serve_and_log(stack: &mut Stack, load: &Load) {
    for _ in 0..3 {
        for _ in 0..15 {
            let mut client = stack.client();
            client.send(b"*broken\r\n");
            let _ = client.read_until_closed();
        }
        stack.proxy.process().signal("TTIN");
        stack.shards[0].restart_same_port();
        load.wait_for(300);
    }
}

fn quick(load: Load) {
    let tally = load.stop();
    support::note(&format!("{tally:?}"));
    // Errors there are: a shard was restarted. It may take a second until it is tried again.
    assert_eq!(tally.cuts, 0, "{tally:?}");
    assert!(tally.worst < Duration::from_millis(1_500), "a client waited {:?}", tally.worst);
}

fn durable(options: &Options) -> Stack {
    Stack::start_with(2, &["--appendonly", "yes", "--appendfsync", "no"], options)
}

#[test]
fn a_pipe_that_nobody_reads() {
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(&[b'.'; PIPE_BYTES]).expect("a full pipe");
    let stderr = Some(Arc::new(File::from(OwnedFd::from(writer))));
    let mut stack = durable(&Options { stderr: stderr.clone(), ..Options::default() });
    let load = Load::start(2, stack.proxy.connector());
    serve_and_log(&mut stack, &load);
    quick(load);

    let asked = Stopwatch::start();
    stack.proxy.process().signal("TERM");
    let mut ended = None;
    wait_until(PATIENCE, "the proxy ends although its last words are not read", || {
        ended = stack.proxy.process().ended();
        ended.is_some()
    });
    assert!(asked.elapsed() < Duration::from_secs(4), "it took {:?}", asked.elapsed());
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    drop((stack, stderr));
    let mut said = Vec::new();
    reader.read_to_end(&mut said).expect("what the pipe holds");
    assert_eq!(said.len(), PIPE_BYTES, "something went in although it was full");
}

#[test]
fn a_pipe_that_is_read_late() {
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(&[b'.'; PIPE_BYTES]).expect("a full pipe");
    let stderr = Some(Arc::new(File::from(OwnedFd::from(writer))));
    let mut stack = durable(&Options { stderr, ..Options::default() });
    let load = Load::start(2, stack.proxy.connector());
    serve_and_log(&mut stack, &load);
    quick(load);
    let mut reading = Threads::default();
    reading.run(move || {
        let (mut text, mut chunk) = (String::new(), [0; 4096]);
        while !(text.contains("serving pool=cache") && text.contains("lane down")) {
            let bytes = reader.read(&mut chunk).expect("the pipe is open");
            assert_ne!(bytes, 0, "the proxy is gone: {text}");
            text.push_str(&String::from_utf8_lossy(&chunk[..bytes]));
        }
    });
    reading.join();
}

#[test]
fn a_full_disk() {
    let Some(namespace) = Namespace::new(&["mount"]) else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let disk = directory.path().display();
    namespace.run(&format!("ip link set lo up; mount -t tmpfs -o size=64k none {disk}"));
    let inside = PathBuf::from(format!("/proc/{}/root{disk}", namespace.id()));
    let options = Options {
        proxy: format!("log_file = \"{disk}/corelay.log\"\n"),
        // Its network is that of the test: only the mounts are its own.
        launcher: namespace.launcher_of_mounts(),
        ..Options::default()
    };
    let mut stack = durable(&options);
    let filler = inside.join("filler");
    let mut file = File::create(&filler).expect("a file");
    while file.write_all(&[b'.'; 512]).is_ok() {}
    let load = Load::start(2, stack.proxy.connector());
    serve_and_log(&mut stack, &load);
    // What is left of the log's own last page is written first.
    wait_until(PATIENCE, "lines are lost", || {
        let mut client = stack.client();
        client.send(b"*broken\r\n");
        let _ = client.read_until_closed();
        stack.proxy.metric_sum("corelay_log_lines_dropped_total") > 0.0
    });
    quick(load);

    drop(file);
    std::fs::remove_file(&filler).expect("a file removed");
    wait_until(PATIENCE, "what was lost is counted, once there is room", || {
        let mut client = stack.client();
        client.send(b"*broken\r\n");
        let _ = client.read_until_closed();
        let log = std::fs::read_to_string(inside.join("corelay.log")).expect("a log");
        let mut lines = log.lines();
        lines.any(|line| line.contains("warn log lines dropped count="))
    });
}
