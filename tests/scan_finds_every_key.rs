//! SCAN over all shards keeps the promise of a single redis: a key that is there from beginning to
//! end is found at least once, one that never was is never found, and the iteration ends.
//!
//! Mechanics: thousands of keys of several types over three shards, iterated with every option
//! while other keys come and go.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::{Options, Stack, Threads, Value, Wire};

const KEYS: usize = 6_000;

/// One whole iteration with `options` behind the cursor; gives all keys found, how often a key
/// came twice, and the number of requests.
fn scan(wire: &mut Wire, options: &[&str]) -> (BTreeSet<String>, usize) {
    let (mut found, mut requests, mut cursor) = (BTreeSet::new(), 0, "0".to_owned());
    loop {
        let mut request = vec!["SCAN", &cursor];
        request.extend(options);
        let reply = wire.exchange(&request);
        assert_eq!(reply.items().len(), 2, "not a reply to SCAN: {reply:?}");
        let (next, keys) = (&reply.items()[0], &reply.items()[1]);
        found.extend(keys.texts());
        requests += 1;
        assert!(requests < 100_000, "the iteration does not end");
        cursor = next.text();
        let number: u64 = cursor.parse().unwrap_or(u64::MAX);
        assert!(number < 1 << 63, "some clients can not read the cursor {cursor}");
        if cursor == "0" {
            return (found, requests);
        }
    }
}

/// `KEYS` keys of four types.
fn fill(stack: &Stack) -> BTreeSet<String> {
    let mut wire = stack.client();
    let mut all = BTreeSet::new();
    let mut requests = Vec::new();
    for number in 0..KEYS {
        let key = format!("{}:{number}", ["string", "list", "set", "hash"][number % 4]);
        let request = match number % 4 {
            0 => vec!["SET".to_owned(), key.clone(), "1".to_owned()],
            1 => vec!["RPUSH".to_owned(), key.clone(), "1".to_owned()],
            2 => vec!["SADD".to_owned(), key.clone(), "1".to_owned()],
            _ => vec!["HSET".to_owned(), key.clone(), "f".to_owned(), "1".to_owned()],
        };
        requests.push(request);
        all.insert(key);
    }
    for part in requests.chunks(1_000) {
        assert!(wire.pipeline(part).iter().all(|reply| !reply.is_error()));
    }
    all
}

fn with_prefix(all: &BTreeSet<String>, prefix: &str) -> BTreeSet<String> {
    all.iter().filter(|key| key.starts_with(prefix)).cloned().collect()
}

#[test]
fn with_every_option() {
    let stack = Stack::start(3, &Options::default());
    let all = fill(&stack);
    for protocol in ["2", "3"] {
        let mut wire = stack.client();
        wire.exchange(&["HELLO", protocol]);
        assert_eq!(scan(&mut wire, &[]).0, all);
        let (found, small_steps) = scan(&mut wire, &["COUNT", "7"]);
        assert_eq!(found, all);
        let (found, large_steps) = scan(&mut wire, &["count", "100000"]);
        assert_eq!(found, all);
        assert!(large_steps < 10 && small_steps > 300, "COUNT: {large_steps}, {small_steps}");
        assert_eq!(scan(&mut wire, &["MATCH", "list:*"]).0, with_prefix(&all, "list:"));
        assert_eq!(scan(&mut wire, &["TYPE", "hash"]).0, with_prefix(&all, "hash:"));
        let both = ["TYPE", "set", "MATCH", "set:1*", "COUNT", "500"];
        assert_eq!(scan(&mut wire, &both).0, with_prefix(&all, "set:1"));
        assert_eq!(scan(&mut wire, &["MATCH", "nothing:*"]).0, BTreeSet::new());
    }
}

#[test]
fn while_other_keys_come_and_go() {
    let stack = Stack::start(3, &Options::default());
    let all = fill(&stack);
    let done = Arc::new(AtomicBool::new(false));
    let mut threads = Threads::default();
    let (mut writer, ended) = (stack.client(), Arc::clone(&done));
    threads.run(move || {
        let mut number = 0;
        while !ended.load(Ordering::Relaxed) {
            let add: Vec<Vec<String>> = (0..200)
                .map(|key| vec!["SET".into(), format!("other:{}", number + key), "1".into()])
                .collect();
            writer.pipeline(&add);
            let remove: Vec<Vec<String>> = (0..200)
                .filter(|key| key % 3 != 0)
                .map(|key| vec!["DEL".into(), format!("other:{}", number + key)])
                .collect();
            writer.pipeline(&remove);
            number += 200;
        }
    });
    let mut wire = stack.client();
    for count in ["10", "97", "1000"] {
        let (found, _) = scan(&mut wire, &["COUNT", count]);
        let stable: BTreeSet<String> =
            found.into_iter().filter(|key| !key.starts_with("other:")).collect();
        assert_eq!(stable, all, "COUNT {count}");
    }
    done.store(true, Ordering::Relaxed);
    threads.join();
}

#[test]
fn two_iterations_of_one_client_do_not_disturb_each_other() {
    let stack = Stack::start(3, &Options::default());
    let all = fill(&stack);
    let mut wire = stack.client();
    let mut found = [BTreeSet::new(), BTreeSet::new()];
    let mut cursors = ["0".to_owned(), "0".to_owned()];
    let mut open = [true, true];
    while open.contains(&true) {
        for which in 0..2 {
            if open[which] {
                let count = ["150", "400"][which];
                let reply = wire.exchange(&["SCAN", &cursors[which], "COUNT", count]);
                cursors[which] = reply.items()[0].text();
                found[which].extend(reply.items()[1].texts());
                open[which] = cursors[which] != "0";
            }
        }
    }
    assert_eq!(found[0], all);
    assert_eq!(found[1], all);
}

#[test]
fn an_empty_store_and_mistakes() {
    let stack = Stack::start(3, &Options::default());
    let mut wire = stack.client();
    assert_eq!(scan(&mut wire, &[]).0, BTreeSet::new());
    for (request, error) in [
        (&["SCAN", "x"] as &[&str], "ERR invalid cursor"),
        (&["SCAN", "-1"], "ERR invalid cursor"),
        (&["SCAN", "0", "COUNT", "0"], "ERR syntax error"),
        (&["SCAN", "0", "COUNT", "x"], "ERR value is not an integer or out of range"),
        (&["SCAN", "0", "NOSUCH", "x"], "ERR syntax error"),
        (&["SCAN", "0", "MATCH"], "ERR syntax error"),
        (&["SCAN"], "ERR wrong number of arguments for 'scan' command"),
    ] {
        assert_eq!(wire.exchange(request).error(), error, "{request:?}");
        assert_eq!(wire.exchange(&["ECHO", "next"]), Value::bulk("next"));
    }
    // A cursor that nobody gave out: any well-formed answer, as of redis.
    for cursor in ["1", "4095", "123456789", "9223372036854775807", "18446744073709551615"] {
        let reply = wire.exchange(&["SCAN", cursor]);
        assert!(reply.is_error() || reply.items().len() == 2, "{cursor}: {reply:?}");
    }
}
