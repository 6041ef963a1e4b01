//! The checking load itself: with an honest store it finds nothing, and every fault that it is
//! there to find is found when it is planted.
//!
//! Mechanics: a false server passes each request on to a real one, and plants one kind of fault
//! into every tenth request that can carry it. Why it must stay: a load that counts zero of
//! everything proves nothing unless each counter has been seen to count.
#![expect(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::account::{HELD_TOO_LONG, OUTCOME_UNKNOWN};
use support::false_redis::is;
use support::{Account, Checking, Clients, Connection, FalseRedis, Redis, Value, Wire, wait_until};

const CLIENTS: Clients = Clients {
    closed_loops: 4,
    pipelines: 2,
    pause: Duration::from_millis(1),
    patience: Duration::from_millis(500),
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// Executed twice, answered once.
    Twice,
    /// Answered, not executed.
    Invented,
    /// Executed after the next request of its kind on the same connection.
    Late,
    /// Answered with what belongs to another client.
    Foreign,
    /// Refused with this text, and executed or not.
    Error(&'static str, bool),
    Silent,
    Closed,
}

/// A server that passes on to `redis`, with one fault in every tenth `command`; counts the clients
/// that have met two.
fn faulty(
    redis: &Redis,
    command: &'static str,
    fault: Fault,
    met_two: Arc<AtomicUsize>,
) -> FalseRedis {
    let address = redis.address();
    FalseRedis::start(move |connection| {
        let mut store = Wire::connect(address);
        let (mut seen, mut late) = (0, None);
        while let Some(request) = connection.read_request() {
            seen += usize::from(is(&request, command));
            if !is(&request, command) || seen % 10 != 0 || fault == Fault::None {
                let reply = store.exchange(&request);
                let same = late.take_if(|late: &mut Vec<Vec<u8>>| late[0] == request[0]);
                if let Some(late) = same {
                    store.exchange(&late);
                }
                answer(connection, &reply);
                continue;
            }
            met_two.fetch_add(usize::from(seen == 20), Ordering::SeqCst);
            let reply = match fault {
                Fault::None | Fault::Twice => {
                    store.exchange(&request);
                    store.exchange(&request)
                }
                Fault::Invented => Value::Integer(1_000_000),
                Fault::Late => {
                    late = Some(request);
                    Value::Integer(1)
                }
                Fault::Foreign => Value::bulk("s0c99:1"),
                Fault::Error(text, executed) => {
                    if executed {
                        store.exchange(&request);
                    }
                    Value::Error(text.to_owned())
                }
                Fault::Silent => return connection.wait_closed(),
                Fault::Closed => return,
            };
            answer(connection, &reply);
        }
    })
}

fn answer(connection: &mut Connection, reply: &Value) {
    let mut bytes = Vec::new();
    put(&mut bytes, reply);
    connection.write(&bytes);
}

fn put(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Simple(text) => bytes.extend(format!("+{text}\r\n").bytes()),
        Value::Error(text) => bytes.extend(format!("-{text}\r\n").bytes()),
        Value::Integer(number) => bytes.extend(format!(":{number}\r\n").bytes()),
        Value::Null => bytes.extend(b"$-1\r\n"),
        Value::Bulk(text) => {
            bytes.extend(format!("${}\r\n", text.len()).bytes());
            bytes.extend(text);
            bytes.extend(b"\r\n");
        }
        Value::Array(items) => {
            bytes.extend(format!("*{}\r\n", items.len()).bytes());
            items.iter().for_each(|item| put(bytes, item));
        }
        other => panic!("the load asks for no {other:?}"),
    }
}

/// What the load says of a store with this fault, after every client has met it.
fn account_of(command: &'static str, fault: Fault) -> Account {
    let redis = Redis::start(&[]);
    let met_two = Arc::new(AtomicUsize::new(0));
    let server = faulty(&redis, command, fault, met_two.clone());
    let load = Checking::start(server.address(), &["only:".to_owned()], CLIENTS);
    let calls = || support::sentinels::calls_in(&redis.ask(&["INFO", "commandstats"]), "rpush");
    // (Who is cut off begins anew, and those in a closed loop gather nothing.)
    let all = match (fault, command) {
        (Fault::None | Fault::Silent | Fault::Closed, _) => 0,
        (_, "MGET") => CLIENTS.pipelines,
        _ => CLIENTS.pipelines + CLIENTS.closed_loops,
    };
    wait_until(support::PATIENCE, "the load goes on, and every client has met it twice", || {
        calls() > 300 && met_two.load(Ordering::SeqCst) >= all
    });
    let account = load.settle(|_| redis.client());
    assert!(account.shards[0].requests > 500 || fault != Fault::None, "{account}");
    account
}

#[test]
fn an_honest_store_is_clean() {
    let account = account_of("GET", Fault::None);
    account.expect_undisturbed(0, Duration::from_secs(2));
    account.expect_integrity();
    assert!(account.gathers.requests > 0, "{account}");
}

#[test]
fn what_is_executed_twice_is_a_duplicate() {
    for command in ["INCR", "RPUSH"] {
        let account = account_of(command, Fault::Twice);
        assert!(account.shards[0].duplicates > 5, "{command}: {account}");
        assert_eq!(account.foreign, 0, "{command}: {account}");
    }
}

#[test]
fn what_is_acknowledged_and_not_there_is_lost() {
    let account = account_of("RPUSH", Fault::Invented);
    assert!(account.shards[0].lost > 5, "{account}");
    let account = account_of("INCR", Fault::Invented);
    assert!(account.shards[0].lost > 5 && account.shards[0].duplicates > 5, "{account}");
}

#[test]
fn what_is_executed_late_is_out_of_order() {
    let account = account_of("RPUSH", Fault::Late);
    assert!(account.shards[0].out_of_order > 5, "{account}");
}

#[test]
fn a_reply_of_somebody_else_is_foreign() {
    for command in ["GET", "SET", "INCR", "MGET"] {
        let account = account_of(command, Fault::Foreign);
        assert!(account.foreign > 2, "{command}: {account}");
    }
}

#[test]
fn errors_are_told_apart() {
    let unknown = account_of("RPUSH", Fault::Error(OUTCOME_UNKNOWN, true));
    let shard = &unknown.shards[0];
    assert!(shard.unknown > 5 && shard.unknown_of_one > 1, "{unknown}");
    assert!(shard.unknown_of_one < shard.unknown, "{unknown}");
    assert_eq!((shard.lost, shard.duplicates, shard.after_all), (0, 0, 0), "{unknown}");
    let unknown = account_of("INCR", Fault::Error(OUTCOME_UNKNOWN, false));
    let shard = &unknown.shards[0];
    assert_eq!((shard.lost, shard.duplicates, shard.after_all), (0, 0, 0), "{unknown}");

    let held = account_of("RPUSH", Fault::Error(HELD_TOO_LONG, false));
    assert!(held.shards[0].held_too_long > 5 && held.shards[0].after_all == 0, "{held}");
    let held = account_of("RPUSH", Fault::Error(HELD_TOO_LONG, true));
    assert!(held.shards[0].after_all > 5, "{held}");

    let other = account_of("GET", Fault::Error("READONLY You can't write", false));
    assert!(other.shards[0].failed_reads > 5, "{other}");
    assert_eq!(other.shards[0].others.len(), 1, "{other}");
    assert_eq!(other.shards[0].others["READONLY You can't write"], other.shards[0].failed_reads);
    assert!(account_of("MGET", Fault::Error("ERR", false)).gathers.failed_reads > 2);
}

#[test]
fn connections_that_end_or_say_nothing_are_counted() {
    let closed = account_of("SET", Fault::Closed);
    assert!(closed.closed > 5, "{closed}");
    let silent = account_of("GET", Fault::Silent);
    assert!(silent.silent > 5, "{silent}");
    assert_eq!((silent.shards[0].duplicates, silent.shards[0].lost), (0, 0), "{silent}");
}

#[test]
fn a_killed_store_closes_refuses_loses_and_is_out() {
    let mut redis = Redis::start(&[]);
    let load = Checking::start(redis.address(), &["only:".to_owned()], CLIENTS);
    let calls = |redis: &Redis| redis.ask(&["DBSIZE"]).integer();
    wait_until(support::PATIENCE, "every client has written", || calls(&redis) > 10);
    redis.kill_hard();
    let address = redis.address();
    support::holds_for(Duration::from_millis(300), "it is gone", || {
        Wire::try_connect(address).is_err()
    });
    redis.restart_same_port();
    wait_until(support::PATIENCE, "every client has written again", || calls(&redis) > 10);
    let account = load.settle(|_| redis.client());
    assert!(account.closed >= 6 && account.refused > 0, "{account}");
    assert!(account.shards[0].lost > 0, "{account}");
    let (from, to) = account.outage(0);
    assert!(to - from >= Duration::from_millis(300), "{account}");
}
