//! redis-benchmark, all its default tests, without pipelining and with pipelines of 16 and 64.
//!
//! Why it must stay: it is what a newcomer runs first.

mod support;

use std::process::Command;

use support::{Options, Stack, output_of};

fn run(stack: &Stack, args: &[&str]) {
    let port = stack.proxy.address().port().to_string();
    let mut command = Command::new("redis-benchmark");
    command.args(["-h", "127.0.0.1", "-p", &port, "-n", "4000", "-r", "1000", "-c", "50"]);
    let output = output_of(command.args(args));
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {}\n{out}\n{err}", output.status);
    for text in [&out, &err] {
        let bad = text.lines().find(|line| {
            let line = line.to_lowercase();
            line.contains("error") || line.contains("warning")
        });
        assert_eq!(bad, None, "{args:?}");
    }
    // `"name","rps",…`: one line for each of its tests, behind the head.
    let results: Vec<&str> = out.lines().filter(|line| line.starts_with('"')).collect();
    assert!(results.len() > 15, "{args:?}: too few results:\n{out}");
    for line in results.iter().skip(1) {
        let rate = line.split(',').nth(1).map(|rate| rate.trim_matches('"').parse::<f64>());
        assert!(matches!(rate, Some(Ok(rate)) if rate > 0.0), "{args:?}: {line}");
    }
}

#[test]
fn all_its_default_tests() {
    let stack = Stack::start(3, &Options::default());
    for pipeline in ["1", "16", "64"] {
        run(&stack, &["--csv", "-P", pipeline]);
    }
}

#[test]
fn in_resp3_and_with_threads() {
    let stack = Stack::start(3, &Options::default());
    run(&stack, &["--csv", "-3", "-P", "16"]);
    run(&stack, &["--csv", "--threads", "2", "-P", "4"]);
}
