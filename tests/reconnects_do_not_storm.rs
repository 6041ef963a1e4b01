//! A store that dies under a thousand clients is knocked at by the proxy's lanes, not by its
//! clients: a few times a second, at moments drawn by lot.
//!
//! Mechanics: a false store serves 1000 clients that go on asking; from a moment on it closes every
//! connection as soon as it is there. What it accepts in each second is counted: at most what the
//! pauses allow, which double up to 1 s and are drawn evenly from 0 to that. When it serves again it
//! has as many connections as there are lanes.
#![expect(clippy::disallowed_types, reason = "threads of a test share a list")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{
    FalseRedis, Options, Proxy, Stopwatch, Value, note, raise_descriptor_limit, wait_until,
};

const CLIENTS: usize = 1000;
const CORES: usize = 2;

/// The pauses before a lane's attempts are 5, 10, 20 … 500 ms on average: 8 or 9 attempts in the
/// first second, 2 or 3 in each later one. Drawn by lot: twice and more of that is rare.
const FIRST_SECOND_MAX: usize = 25 * CORES;
const LATER_SECOND_MAX: usize = 8 * CORES;

#[test]
fn a_store_that_dies_is_asked_by_lanes_not_by_clients() {
    raise_descriptor_limit(4 * CLIENTS);
    let dead = Arc::new(AtomicBool::new(false));
    let accepted_at: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let (is_dead, times) = (Arc::clone(&dead), Arc::clone(&accepted_at));
    let clock = Stopwatch::start();
    let store = FalseRedis::start(move |connection| {
        if is_dead.load(Ordering::SeqCst) {
            times.lock().unwrap().push(clock.elapsed());
            return;
        }
        while let Some(request) = connection.read_request() {
            if is_dead.load(Ordering::SeqCst) {
                return;
            }
            connection.answer(&request);
        }
    });
    let shards = [("shard1".to_owned(), store.address().to_string())];
    let proxy = Proxy::start(&shards, &Options { cores: "2", ..Options::default() });
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.request(&["GET", "k1"]);
    }
    for client in &mut clients {
        assert_eq!(client.read_reply(), Value::bulk("value of k1"));
    }
    let lanes = store.accepted();
    assert!(lanes <= CORES, "{lanes} connections for {CORES} cores");

    dead.store(true, Ordering::SeqCst);
    let died = clock.elapsed();
    let asked = AtomicUsize::new(0);
    while clock.elapsed() < died + Duration::from_secs(4) {
        for client in &mut clients {
            client.request(&["GET", "k1"]);
        }
        for client in &mut clients {
            let reply = client.read_reply();
            assert!(reply.is_error() || reply == Value::bulk("value of k1"), "{reply:?}");
            asked.fetch_add(1, Ordering::SeqCst);
        }
    }
    let times = accepted_at.lock().unwrap().clone();
    let in_second = |second: u64| {
        let from = died + Duration::from_secs(second);
        times.iter().filter(|at| **at >= from && **at < from + Duration::from_secs(1)).count()
    };
    let seconds: Vec<usize> = (0..4).map(in_second).collect();
    note(&format!("{} requests; connections by second: {seconds:?}", asked.load(Ordering::SeqCst)));
    assert!(seconds[0] <= FIRST_SECOND_MAX, "{seconds:?}");
    assert!(seconds[1..].iter().all(|count| *count <= LATER_SECOND_MAX), "{seconds:?}");
    assert!(seconds.iter().sum::<usize>() >= 4, "it does try: {seconds:?}");

    dead.store(false, Ordering::SeqCst);
    wait_until(Duration::from_secs(5), "all clients are served again", || {
        clients.iter_mut().all(|client| !client.exchange(&["GET", "k1"]).is_error())
    });
    assert!(store.open() <= CORES, "{} connections for {CORES} cores", store.open());
}
