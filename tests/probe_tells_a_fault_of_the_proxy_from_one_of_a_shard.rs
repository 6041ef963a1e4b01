//! `corelay probe` as Nagios and keepalived call it: exit code, one line, figures.
//!
//! A dead shard is critical to who watches the service, and no reason to move a virtual address; a
//! proxy that is frozen or gone is both.
#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod support;

use std::process::Command;

use support::{Options, PATIENCE, Proxy, Stack, wait_until};

/// Exit code and line of `corelay probe` with these options.
fn probe(proxy: &Proxy, options: &[&str]) -> (i32, String) {
    let admin = proxy.admin_address().to_string();
    let output = Command::new(support::proxy::binary())
        .args(["probe", "--timeout-ms", "500", "--admin", &admin])
        .args(options)
        .output()
        .unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    (output.status.code().unwrap(), line)
}

#[test]
fn probe_tells_a_fault_of_the_proxy_from_one_of_a_shard() {
    let mut stack = Stack::start(2, &Options::default());
    let keys = stack.keys_by_shard(1);
    let (code, line) = probe(&stack.proxy, &[]);
    assert_eq!(code, 0, "{line}");
    assert!(line.starts_with("CORELAY OK - 2 shards in 1 pools"), "{line}");
    assert!(line.contains(" | shards=2;;;0 shards_down=0;;1;0 "), "{line}");

    stack.shards[1].process().kill_hard();
    let mut client = stack.client();
    wait_until(PATIENCE, "the dead shard is seen", || {
        client.exchange(&["GET", &keys[1][0]]);
        probe(&stack.proxy, &[]).0 == 2
    });
    let (_, line) = probe(&stack.proxy, &[]);
    assert!(line.contains("shard shard2: not connected to"), "{line}");
    assert_eq!(probe(&stack.proxy, &["--itself"]).0, 0);

    stack.proxy.process().signal("STOP");
    let (code, line) = probe(&stack.proxy, &["--itself"]);
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("no answer within 500 ms"), "{line}");
    stack.proxy.process().signal("CONT");
    wait_until(PATIENCE, "it is well again", || probe(&stack.proxy, &["--itself"]).0 == 0);

    stack.proxy.process().kill_hard();
    let (code, line) = probe(&stack.proxy, &["--itself"]);
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("Connection refused"), "{line}");
}

#[test]
fn two_proxies_that_place_keys_alike_agree_and_others_do_not() {
    let stack = Stack::start(2, &Options::default());
    let shards: Vec<(String, String)> = stack
        .shards
        .iter()
        .enumerate()
        .map(|(index, redis)| (Stack::shard_name(index), redis.address().to_string()))
        .collect();
    let same = Proxy::start(&shards, &Options::default());
    let peer = same.admin_address().to_string();
    let (code, line) = probe(&stack.proxy, &["--peer", &peer]);
    assert_eq!(code, 0, "{line}");

    let pool = "char_signedness = \"unsigned\"\n".to_owned();
    let other = Proxy::start(&shards, &Options { pool, ..Options::default() });
    let peer = other.admin_address().to_string();
    let (code, line) = probe(&stack.proxy, &["--peer", &peer]);
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("keys are placed otherwise"), "{line}");
}

#[test]
fn a_wrong_command_line_is_unknown_not_critical() {
    let output = Command::new(support::proxy::binary()).args(["probe", "--admin", "x"]).output();
    assert_eq!(output.unwrap().status.code(), Some(3));
}
