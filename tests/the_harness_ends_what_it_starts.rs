//! The harness itself: servers answer, restart on their port, and are gone after a panic.
//!
//! Why it must stay: every other test trusts that a port is its own and that nothing of an earlier
//! test still runs.

mod support;

use support::{FalseRedis, Port, Redis, Value, Wire, cpus, wait_until};

fn is_running(process: u32) -> bool {
    std::path::Path::new(&format!("/proc/{process}")).exists()
}

#[test]
fn a_redis_restarts_on_its_port_without_its_data() {
    let mut redis = Redis::start(&[]);
    assert_eq!(redis.ask(&["SET", "key", "value"]), Value::ok());
    let address = redis.address();
    redis.restart_same_port();
    assert_eq!(redis.address(), address);
    assert_eq!(redis.ask(&["GET", "key"]), Value::Null);
}

#[test]
fn a_paused_redis_answers_when_it_is_resumed() {
    let redis = Redis::start(&[]);
    let mut client = redis.client();
    redis.pause();
    client.request(&["PING"]);
    client.expect_silence(std::time::Duration::from_millis(100));
    redis.resume();
    assert_eq!(client.read_reply(), Value::Simple("PONG".to_owned()));
}

#[test]
fn a_panic_leaves_no_process_behind() {
    let mut process = 0;
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut redis = Redis::start(&[]);
        process = redis.process().id();
        assert!(is_running(process));
        std::panic::resume_unwind(Box::new("as a failing test would"));
    }));
    assert!(panic.is_err());
    assert!(!is_running(process));
}

#[test]
fn a_reserved_port_is_given_to_nobody_else() {
    let held: Vec<Port> = (0..200).map(|_| Port::reserve()).collect();
    let mut numbers: Vec<u16> = held.iter().map(Port::number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), held.len());
}

#[test]
fn a_false_redis_answers_and_notices_the_end() {
    let server = FalseRedis::honest();
    let mut client = Wire::connect(server.address());
    assert_eq!(client.exchange(&["GET", "key"]), Value::bulk("value of key"));
    assert_eq!(server.open(), 1);
    drop(client);
    wait_until(support::PATIENCE, "the script of the connection ends", || server.open() == 0);
    assert_eq!(server.accepted(), 1);
    assert!(cpus() >= 1);
}

#[test]
fn every_type_of_reply_is_read() {
    let redis = Redis::start(&["--enable-debug-command", "local"]);
    let mut client = redis.client();
    assert_eq!(client.exchange(&["HELLO", "3"]).field("proto"), Some(&Value::Integer(3)));
    for (kind, expected) in [
        ("double", Value::Double("3.141".to_owned())),
        ("bignum", Value::BigNumber("1234567999999999999999999999999999999".to_owned())),
        ("null", Value::Null),
        ("true", Value::Boolean(true)),
        ("verbatim", Value::Verbatim(b"This is a verbatim\nstring".to_vec())),
        ("set", Value::Set((0..3).map(Value::Integer).collect())),
    ] {
        assert_eq!(client.exchange(&["DEBUG", "PROTOCOL", kind]), expected);
    }
}
