//! What the configuration bounds is bounded, with a clear answer, and nobody else notices.

mod support;

use std::time::Duration;

use support::{Options, Random, Stack, Stopwatch, Threads, Value, encode, wait_until};

fn with(pool: &str) -> Options {
    Options { pool: format!("{pool}\n"), timeout_ms: 30_000, ..Options::default() }
}

#[test]
fn one_client_too_many_is_told_and_closed() {
    let cores = if support::cpus() > 1 { "2" } else { "1" };
    let stack = Stack::start(1, &Options { cores, ..with("client_connections_max = 10") });
    // The harness's own connection, which waited for the start, has to be gone.
    let mut clients = Vec::new();
    wait_until(support::PATIENCE, "ten clients are served", || {
        let mut client = stack.client();
        client.request(&["PING"]);
        if client.next().is_ok_and(|reply| !reply.is_error()) {
            clients.push(client);
        }
        clients.len() == 10
    });
    for _ in 0..5 {
        let mut eleventh = stack.client();
        let _ = eleventh.try_send(&encode(&["PING"]));
        let said = eleventh.read_until_closed();
        let text = String::from_utf8_lossy(&said);
        assert!(text.is_empty() || text.starts_with("-ERR max number of clients"), "{text}");
    }
    for client in &mut clients {
        assert_eq!(client.exchange(&["SET", "key", "value"]), Value::ok());
    }
    clients.pop();
    wait_until(support::PATIENCE, "the free place is taken", || {
        let mut client = stack.client();
        let _ = client.try_send(&encode(&["GET", "key"]));
        client.next() == Ok(Value::bulk("value"))
    });
}

#[test]
fn a_request_that_is_too_large_is_refused() {
    let stack = Stack::start(
        1,
        &with("bulk_bytes_max = 65536\nrequest_bytes_max = 131072\nrequest_args_max = 100"),
    );
    let mut other = stack.client();
    let value = vec![b'v'; 65_536];
    assert_eq!(other.exchange(&[b"SET".as_slice(), b"key", &value]), Value::ok());
    assert_eq!(other.exchange(&["GET", "key"]), Value::bulk(&value));
    for (what, bytes) in [
        ("argument", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$65537\r\n".to_vec()),
        ("number of arguments", b"*101\r\n$4\r\nMGET\r\n".to_vec()),
        ("request", encode(&[b"MSET".as_slice(), b"a", &value, b"b", &value, b"c", b"1"])),
    ] {
        let mut client = stack.client();
        let _ = client.try_send(&bytes);
        let said = client.read_until_closed();
        let text = String::from_utf8_lossy(&said);
        assert!(text.starts_with("-ERR Protocol error: "), "{what}: {text}");
        assert_eq!(other.exchange(&["EXISTS", "key"]), Value::Integer(1));
    }
}

#[test]
fn a_client_whose_replies_pile_up_is_closed_and_its_memory_given_back() {
    let stack = Stack::start(
        1,
        &with("client_output_soft_bytes = 1048576\nclient_output_max_bytes = 8388608"),
    );
    let mut other = stack.client();
    let large = Random::new(23).bytes(1024 * 1024);
    assert_eq!(other.exchange(&[b"SET".as_slice(), b"large", &large]), Value::ok());
    let before = stack.proxy.resident_bytes();
    let mut greedy = stack.client();
    // One request whose reply alone is 64 MiB.
    let mut request = vec!["MGET"];
    request.resize(65, "large");
    greedy.request(&request);
    let mut most = 0;
    let start = Stopwatch::start();
    while start.elapsed() < Duration::from_secs(2) {
        assert_eq!(other.exchange(&["EXISTS", "large"]), Value::Integer(1));
        most = most.max(stack.proxy.resident_bytes());
    }
    let growth = most.saturating_sub(before);
    assert!(growth < 100 * 1024 * 1024, "a bound of 8 MiB let {growth} bytes pile up");
    drop(greedy);
    wait_until(Duration::from_secs(20), "the memory is given back", || {
        stack.proxy.resident_bytes() < before + 32 * 1024 * 1024
    });
}

#[test]
fn a_client_that_is_read_too_slowly_gets_everything_within_the_bound() {
    // 200 replies of 100 KB against a soft bound of 64 KiB: reading pauses, nothing is lost.
    let stack = Stack::start(2, &with("client_output_soft_bytes = 65536"));
    let mut client = stack.client();
    let values: Vec<Vec<u8>> = (0..10).map(|seed| Random::new(seed + 1).bytes(100_000)).collect();
    for (number, value) in values.iter().enumerate() {
        let key = format!("key:{number}").into_bytes();
        assert_eq!(client.exchange(&[b"SET".to_vec(), key, value.clone()]), Value::ok());
    }
    let mut sender = client.sender();
    let mut threads = Threads::default();
    threads.run(move || {
        for number in 0..200 {
            sender.send(&encode(&["GET", &format!("key:{}", number % 10)]));
        }
    });
    for number in 0..200 {
        assert!(client.read_reply() == Value::bulk(&values[number % 10]), "reply {number}");
    }
    threads.join();
}

#[test]
fn requests_in_flight_are_bounded_and_none_is_lost() {
    let stack = Stack::start(2, &with("client_inflight_max = 4\nlane_inflight_max = 8"));
    let mut threads = Threads::default();
    for client in 0..5 {
        let mut wire = stack.client();
        wire.set_patience(Duration::from_secs(30));
        threads.run(move || {
            let requests: Vec<Vec<String>> = (0..500)
                .map(|n| vec!["ECHO".into(), format!("{client}:{n}")])
                .chain((0..500).map(|n| vec!["SET".into(), format!("{client}:{n}"), n.to_string()]))
                .chain((0..500).map(|n| vec!["GET".into(), format!("{client}:{n}")]))
                .collect();
            let replies = wire.pipeline(&requests);
            for (number, reply) in replies.into_iter().enumerate() {
                let expected = match number / 500 {
                    0 => Value::bulk(format!("{client}:{number}")),
                    1 => Value::ok(),
                    _ => Value::bulk((number % 500).to_string()),
                };
                assert_eq!(reply, expected);
            }
        });
    }
    threads.join();
}

#[test]
fn an_idle_client_is_closed_where_that_is_asked_for() {
    let stack = Stack::start(1, &with("client_idle_timeout_ms = 300"));
    let (mut idle, mut busy) = (stack.client(), stack.client());
    assert_eq!(idle.exchange(&["PING"]), Value::Simple("PONG".to_owned()));
    let start = Stopwatch::start();
    while start.elapsed() < Duration::from_millis(1_000) {
        assert_eq!(busy.exchange(&["ECHO", "x"]), Value::bulk("x"));
    }
    let _ = idle.read_until_closed();
}
