//! Values of every size around the bounds of buffers arrive as they are, both ways.
//!
//! Mechanics: sizes around powers of two from 1 KiB to 2 MiB, as one long argument and as many
//! short ones, in one write, in small ones, and in the middle of a pipeline; a second client on
//! the same lane is checked beside. Why it must stay: what a request takes on its way (parsed in
//! place, collected, passed on whole, streamed) depends on its size and on how it is cut.

mod support;

use support::{Options, Random, Stack, Value, Wire, encode};

/// Sizes around buffers and chunks.
fn sizes() -> Vec<usize> {
    let mut sizes = Vec::new();
    for power in 10..=21 {
        let size = 1_usize << power;
        sizes.extend([size - 100, size - 30, size - 1, size, size + 1, size + size / 3]);
    }
    sizes
}

fn send_in_pieces(wire: &mut Wire, bytes: &[u8], piece: usize) {
    let mut sender = wire.sender();
    for part in bytes.chunks(piece) {
        sender.send(part);
    }
}

fn values_pass(piece: usize) {
    let stack = Stack::start(2, &Options { timeout_ms: 20_000, ..Options::default() });
    let (mut wire, mut other) = (stack.client(), stack.client());
    let noise = Random::new(29).bytes(3 * 1024 * 1024);
    for size in sizes() {
        let value = &noise[..size];
        let key = format!("size:{size}");
        let small = format!("small:{size}");
        send_in_pieces(&mut wire, &encode(&[b"SET".as_slice(), key.as_bytes(), value]), piece);
        assert_eq!(other.exchange(&["SET", &small, &small]), Value::ok());
        assert_eq!(wire.read_reply(), Value::ok(), "SET of {size} bytes");
        wire.request(&["GET", &key]);
        assert_eq!(other.exchange(&["GET", &small]), Value::bulk(&small));
        assert!(wire.read_reply() == Value::bulk(value), "GET of {size} bytes");
    }
}

#[test]
fn one_long_argument_in_one_write() {
    values_pass(usize::MAX);
}

#[test]
fn one_long_argument_in_small_writes() {
    values_pass(1_000);
}

#[test]
fn many_short_arguments() {
    let stack = Stack::start(2, &Options::default());
    let mut wire = stack.client();
    let members: Vec<String> = (0..40_000).map(|number| format!("m{number:05}")).collect();
    for count in (1_000..=8_000).step_by(200).chain([16_000, 40_000]) {
        let key = format!("set:{count}");
        let mut request = vec!["SADD", &key];
        request.extend(members[..count].iter().map(String::as_str));
        assert_eq!(wire.exchange(&request), Value::Integer(count as i64), "SADD of {count}");
        assert_eq!(wire.exchange(&["SMEMBERS", &key]).items().len(), count);
    }
}

#[test]
fn large_ones_between_small_ones_in_one_pipeline() {
    let stack = Stack::start(3, &Options { timeout_ms: 20_000, ..Options::default() });
    let mut wire = stack.client();
    let noise = Random::new(31).bytes(200_000);
    let mut random = Random::new(37);
    for round in 0..20 {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for number in 0..60 {
            let size = [10, 3_000, 16_384, 20_000, 40_000, 150_000][random.below(6)];
            let key = format!("{round}:{number}").into_bytes();
            bytes.extend(encode(&[b"SET".as_slice(), &key, &noise[..size]]));
            bytes.extend(encode(&[b"GET".as_slice(), &key]));
            expected.extend([Value::ok(), Value::bulk(&noise[..size])]);
        }
        let mut sender = wire.sender();
        let mut threads = support::Threads::default();
        let piece = 1 + random.below(50_000);
        threads.run(move || {
            for part in bytes.chunks(piece) {
                sender.send(part);
            }
        });
        for (number, expected) in expected.iter().enumerate() {
            let reply = wire.read_reply();
            assert!(reply == *expected, "round {round}, reply {number}: {reply:?}");
        }
        threads.join();
    }
}
