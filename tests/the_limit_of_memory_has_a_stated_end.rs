//! Below the machine's limit, `core_buffer_max_bytes` keeps the proxy alive: who holds most is
//! closed. Where it is set above the limit, the process ends at once and says why, and never lives
//! on by half.
//!
//! Mechanics: the address space of the process is limited; clients ask for far more than it holds
//! and read nothing, beside one that checks. Why it must stay: a proxy that hangs in want of memory
//! is not started again by anybody.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::os::unix::process::ExitStatusExt;

use support::hostile::check;
use support::{Options, PATIENCE, Random, Stack, Value, Wire, encode, wait_until};

const SIGABRT: i32 = 6;
const LIMIT_BYTES: usize = 320 * 1024 * 1024;
const GREEDY: usize = 8;
/// What each of them asks for: replies of 1 MiB.
const REPLIES: usize = 100;

fn limited(core_buffer_max_bytes: usize) -> Stack {
    let stack = Stack::start(
        1,
        &Options {
            launcher: vec!["prlimit".to_owned(), format!("--as={LIMIT_BYTES}")],
            proxy: format!("core_buffer_max_bytes = {core_buffer_max_bytes}\n"),
            timeout_ms: 30_000,
            ..Options::default()
        },
    );
    let large = Random::new(43).bytes(1024 * 1024);
    let reply = stack.client().exchange(&[b"SET".as_slice(), b"large", &large]);
    assert_eq!(reply, Value::ok());
    stack
}

fn greedy(stack: &Stack) -> Vec<Wire> {
    let ask = |_| {
        let mut client = stack.client();
        client.send(&encode(&["GET", "large"]).repeat(REPLIES));
        client
    };
    (0..GREEDY).map(ask).collect()
}

#[test]
fn that_is_never_reached_closes_who_holds_most() {
    let mut stack = limited(64 * 1024 * 1024);
    let mut other = stack.client();
    check(&mut other, 0);
    let clients = greedy(&stack);
    wait_until(PATIENCE, "some are closed for the memory they hold", || {
        check(&mut other, 1);
        stack.proxy.log().contains("client closed: it does not read its replies")
    });
    for number in 0..200 {
        check(&mut other, number);
    }
    assert!(stack.proxy.process().ended().is_none());
    drop(clients);
    check(&mut other, 2);
}

#[test]
fn that_is_reached_ends_the_process_at_once() {
    let mut stack = limited(1024 * 1024 * 1024);
    let _clients = greedy(&stack);
    let mut ended = None;
    wait_until(PATIENCE, "the process ends", || {
        ended = stack.proxy.process().ended();
        ended.is_some()
    });
    let ended = ended.expect("an end");
    assert_eq!(ended.signal(), Some(SIGABRT), "{ended}: {}", stack.proxy.log());
    assert!(stack.proxy.log().contains("memory allocation of"), "{}", stack.proxy.log());
}
