//! Five thousand idle connections cost the proxy at most a kilobyte each, and no CPU.
//!
//! Mechanics: connections are opened, each asks once (so that whatever is made lazily is made),
//! then all are silent; resident memory is read before and after.

mod support;

use std::time::Duration;

use support::{Options, Stack, Stopwatch, Wire, holds_for, raise_descriptor_limit, wait_until};

const CONNECTIONS: usize = 5_000;
const EACH_MAX_BYTES: usize = 1024;
/// Kernel and allocator hand out memory in steps; so much is not the clients'.
const STEPS_BYTES: usize = 1024 * 1024;

/// Opens `count` connections, each of which has asked something.
fn open(stack: &Stack, count: usize) -> Vec<Wire> {
    (0..count)
        .map(|number| {
            let mut wire = stack.client();
            let key = format!("key:{number}");
            assert!(!wire.exchange(&["SET", &key, &key]).is_error());
            wire
        })
        .collect()
}

#[test]
fn after_they_have_asked_once() {
    let may_open = raise_descriptor_limit(CONNECTIONS + 2_000);
    let count = CONNECTIONS.min(may_open.saturating_sub(1_000));
    let mut stack = Stack::start(1, &Options::default());
    // What the first clients make for all of them is not counted.
    drop(open(&stack, 200));
    let before = stack.proxy.resident_bytes();
    let clients = open(&stack, count);
    let mut growth = 0;
    wait_until(Duration::from_secs(20), "idle clients cost at most 1 KiB each", || {
        growth = stack.proxy.resident_bytes().saturating_sub(before);
        growth <= count * EACH_MAX_BYTES + STEPS_BYTES
    });
    println!("{count} idle clients: {} bytes each", growth / count);

    let process = stack.proxy.process();
    let (ticks, time) = (process.cpu_ticks(), Stopwatch::start());
    holds_for(Duration::from_secs(2), "all clients are connected", || clients.len() == count);
    let used_ms = (process.cpu_ticks() - ticks) * 10;
    let share = used_ms as f64 / time.elapsed().as_millis() as f64;
    assert!(share < 0.05, "{count} idle clients take {:.0} % of a CPU", share * 100.0);
}
