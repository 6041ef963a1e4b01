//! While the network between the proxy and its stores loses packets, replies come late and right.
//!
//! Mechanics: a network of the test's own loses every tenth packet each way, under a load that
//! checks. Skipped where the user may not have one. Why it must stay: TCP hides loss, but what it
//! delivers then comes in other pieces and after other delays than on any healthy machine.

mod support;

use support::{Load, Network, Options};

#[test]
fn one_in_ten() {
    let Some(network) = Network::start(&Options { timeout_ms: 5_000, ..Options::default() }) else {
        return;
    };
    let load = Load::start(8, network.proxy.connector());
    load.wait_for(200);
    for percent in [10, 20] {
        network.lose(percent);
        load.wait_for(100);
        network.heal();
        load.wait_for(300);
    }
    let tally = load.stop();
    support::note(&format!("{tally:?}"));
    assert_eq!(tally.cuts, 0, "{tally:?}");
    // A lane may have been given up after several losses in a row.
    let named = |text: &String| text.contains("shard shard");
    assert!(tally.errors.keys().all(named), "{tally:?}");
}
