//! A killed primary comes back after its replica was promoted. For about ten seconds it calls itself
//! a master, empty as it is; not one request goes to it, from a proxy that saw the failover or from
//! one that was started since.
//!
//! Why it must stay: whoever trusts the address, or what the node says of itself, writes into a store
//! that is about to be emptied.

mod support;

use support::scene::{OTHERS_WAIT_MAX, options};
use support::sentinels::{FAILOVER_PATIENCE, NO_COMMANDS};
use support::{Proxy, Scene, Value, wait_until};

#[test]
fn not_one_request_goes_to_it() {
    let mut scene = Scene::start();
    let load = scene.load();
    scene.alert(0);
    scene.watched.shards[0].nodes[0].kill_hard();
    scene.wait_moved(0, 1);
    scene.watched.shards[0].nodes[0].restart_same_port();
    assert_eq!(scene.watched.shards[0].role(0), "master");

    let second = Proxy::start(&[], &options(&scene.watched, ""));
    let key = format!("{}probe", scene.tags[0]);
    let mut client = second.client();
    let mut looks = 0;
    let old = &scene.watched.shards[0];
    wait_until(FAILOVER_PATIENCE, "the sentinels make it a replica", || {
        assert_eq!(client.exchange(&["SET", &key, &looks.to_string()]), Value::ok());
        assert_eq!(client.exchange(&["GET", &key]), Value::bulk(looks.to_string()));
        looks += 1;
        let (role, commands) = old.role_and_commands(0);
        assert!(
            role != "master" || commands == NO_COMMANDS,
            "as a master it was asked: {commands:?}"
        );
        role == "slave"
    });
    assert!(looks > 100, "it was a master for {looks} looks only");
    scene.wait_served(0, 1);
    assert_eq!(scene.calls(0, 0), 0, "reads went to the old primary");

    let account = scene.settle(load);
    account.expect_one_unknown_outcome_at_most(0);
    account.expect_undisturbed(1, OTHERS_WAIT_MAX);
}
