//! The proxy is killed under load and started again: no client takes a wrong or torn reply for a
//! good one, nothing acknowledged is lost, nothing is done twice, and it serves again at once.
//!
//! Mechanics: SIGKILL while four clients pipeline and check; they come back by themselves. Why it
//! must stay: a proxy that keeps no state has nothing to recover, and this shows it; and the kernel
//! holds the listeners of a killed one for a moment, which a start must not take for a stranger.

mod support;

use std::time::Duration;

use support::{Load, Options, Stack, cpus};

const KILLS: usize = 5;
/// From start to the first answer, in the middle of the restarts.
const BACK_WITHIN: Duration = Duration::from_millis(200);

#[test]
fn under_load() {
    let cores = if cpus() > 1 { "2" } else { "1" };
    let mut stack = Stack::start(2, &Options { cores, ..Options::default() });
    let load = Load::start(4, stack.proxy.connector());
    let mut took = Vec::new();
    for _ in 0..KILLS {
        load.wait_for(300);
        took.push(stack.proxy.kill_and_restart());
    }
    load.wait_for(300);
    let tally = load.stop();
    took.sort_unstable();
    support::note(&format!("back after {took:?}; {tally:?}"));
    assert!(tally.cuts >= KILLS, "only {} connections were cut", tally.cuts);
    assert!(took[KILLS / 2] <= BACK_WITHIN, "restarts took {took:?}");
}
