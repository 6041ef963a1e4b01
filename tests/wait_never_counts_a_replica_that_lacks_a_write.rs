//! WAIT through shared lanes: never more replicas than have the client's writes.
//!
//! Mechanics: a primary with one replica that is stopped (SIGSTOP) when it must not have a write.
//! redis itself counts a stopped replica for a connection that has written nothing: so the answer
//! tells whether the right connections were asked.

mod support;

use support::{Options, PATIENCE, Redis, Stack, Value, wait_until};

fn with_replica() -> (Stack, Redis) {
    let at_once = ["--repl-diskless-sync-delay", "0"];
    let stack = Stack::start_with(1, &at_once, &Options::default());
    let primary = &stack.shards[0];
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    wait_until(PATIENCE, "the replica is there", || {
        primary.ask(&["WAIT", "1", "1"]) == Value::Integer(1)
            && primary.info("slave0").contains("state=online")
    });
    (stack, replica)
}

#[test]
fn a_write_is_waited_for_in_the_database_where_it_was_made() {
    let (stack, replica) = with_replica();
    let (mut client, mut other) = (stack.client(), stack.client());
    // The lane of database 1 is there before the write, and has seen nothing of it.
    other.exchange(&["SELECT", "1"]);
    other.exchange(&["GET", "a"]);
    client.exchange(&["SET", "a", "1"]);
    assert_eq!(client.exchange(&["WAIT", "1", "5000"]), Value::Integer(1));
    replica.pause();
    client.exchange(&["SET", "a", "2"]);
    client.exchange(&["SELECT", "1"]);
    assert_eq!(client.exchange(&["WAIT", "1", "200"]), Value::Integer(0));
    replica.resume();
    assert_eq!(client.exchange(&["WAIT", "1", "5000"]), Value::Integer(1));
}

#[test]
fn a_write_on_a_lost_connection_is_not_waited_for() {
    let (stack, replica) = with_replica();
    let mut client = stack.client();
    replica.pause();
    client.exchange(&["SET", "a", "1"]);
    stack.shards[0].ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    wait_until(PATIENCE, "the lane is there again", || !client.exchange(&["GET", "a"]).is_error());
    let lost = client.exchange(&["WAIT", "1", "200"]);
    assert!(lost.error().contains("was lost"), "{lost:?}");
    client.exchange(&["SET", "a", "2"]);
    assert_eq!(client.exchange(&["WAIT", "1", "200"]), Value::Integer(0));
    replica.resume();
    assert_eq!(client.exchange(&["WAIT", "1", "5000"]), Value::Integer(1));
}

/// EXEC behind WATCH writes on a connection of the client's own, which WAIT can not ask.
#[test]
fn a_transaction_that_watched_is_waited_for() {
    let (stack, replica) = with_replica();
    let mut client = stack.client();
    client.exchange(&["SET", "a", "1"]);
    assert_eq!(client.exchange(&["WAIT", "1", "5000"]), Value::Integer(1));
    replica.pause();
    let requests = [vec!["WATCH", "a"], vec!["MULTI"], vec!["SET", "a", "2"], vec!["EXEC"]];
    assert_eq!(client.pipeline(&requests)[3], Value::Array(vec![Value::ok()]));
    assert_eq!(client.exchange(&["WAIT", "1", "200"]), Value::Integer(0));
    replica.resume();
    assert_eq!(client.exchange(&["WAIT", "1", "5000"]), Value::Integer(1));
}
