use std::io::{Read, Write};
use std::net::TcpStream as Client;
use std::time::Instant;

use super::*;
use crate::base::ids::{PoolId, ShardId};
use crate::command::model::Family;
use crate::config::model::Config;
use crate::config::{Complaint, sample};
use crate::control::publisher::Publisher;
use crate::control::reload::Source;
use crate::control::stats_port;
use crate::log::Logger;
use crate::stats::cells::{CoreStats, PoolMetric, ShardMetric};
use crate::stats::latency::{LatencyRecorder, latency_door};
use crate::stats::prometheus::ProcessFigures;
use crate::topology::{NodeEndpoint, PoolTopology, ShardTopology, Topology};

const SOON: Duration = Duration::from_secs(10);
const POOL: PoolId = PoolId(0);

#[expect(clippy::disallowed_methods, reason = "tests measure")]
fn now() -> Instant {
    Instant::now()
}

fn topology(epoch: u64, primaries: &[Option<&str>]) -> Arc<Topology> {
    let shards = primaries.iter().map(|primary| {
        ShardTopology::fixed(primary.map(|address| NodeEndpoint::Tcp(address.parse().unwrap())))
    });
    let config = sample::config(&[("cache", &["s1", "s2"])]);
    Arc::new(Topology { epoch, config, pools: vec![PoolTopology { shards: shards.collect() }] })
}

/// One pool of two shards, two cores, nothing counted yet.
fn state() -> Arc<ControlState> {
    let config = sample::config(&[("cache", &["s1", "s2"])]);
    let cores = (0..2).map(|_| CoreStats::new(&config)).collect();
    let topology = topology(1, &[Some("10.0.0.1:1"), Some("10.0.0.2:2")]);
    let door = latency_door(2);
    let mut recorder = LatencyRecorder::new(1);
    recorder.record(POOL, Family::Hash, 77);
    recorder.hand_over_to(&door);
    ControlState::new(cores, topology, door, Logger::discard())
}

struct NoDoors;

impl reload::Doors for NoDoors {
    fn bind(&mut self, _: &Config, _: &Config) -> Result<(), Vec<String>> {
        Ok(())
    }

    fn open(&mut self) -> Vec<String> {
        Vec::new()
    }
}

fn listener() -> StdListener {
    listener::bind("admin_listen", "127.0.0.1:0".parse().unwrap()).unwrap()
}

fn serving(state: &Arc<ControlState>) -> PortHandle {
    let publisher = Publisher::new(state.topology(), |_| ());
    let switchovers = Switchovers::new(state.clone(), publisher.clone());
    let load = Box::new(|| Err(vec![Complaint::of_file("f", "bad", "mend it")]));
    let source = Source { file: "f".to_owned(), load };
    let (reloads, orders) = reload::orders();
    reload::start(orders, source, Box::new(NoDoors), state.clone(), publisher, None).unwrap();
    let deeds = Deeds { switchovers, reloads };
    start(listener(), state.clone(), deeds).unwrap()
}

fn connect(address: SocketAddr) -> Client {
    let client = Client::connect_timeout(&address, SOON).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    client
}

/// Everything that comes until the end.
fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut client = connect(address);
    client.write_all(request).unwrap();
    let mut text = Vec::new();
    // A reset after an answer to a broken request is no matter.
    let _ = client.read_to_end(&mut text);
    String::from_utf8(text).unwrap()
}

fn get(admin: &PortHandle, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let text = exchange(admin.local_addr, request.as_bytes());
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn every_page_of_the_index_is_there() {
    let admin = serving(&state());
    let (status, index) = get(&admin, "/");
    assert_eq!(status, 200);
    let pages = index.lines().filter(|line| line.starts_with('/'));
    let mut count = 0;
    for page in pages.map(|line| line.split(' ').next().unwrap()) {
        let (status, body) = get(&admin, page);
        assert!([200, 503].contains(&status) && !body.is_empty(), "{page}: {status} {body}");
        count += 1;
    }
    assert_eq!(count, 7);
    assert_eq!(get(&admin, "/healthz?verbose=1"), (200, "ok\n".to_owned()));
}

#[test]
fn figures_of_the_cores_are_live() {
    let state = state();
    let admin = serving(&state);
    state.cores[0].pool(POOL, PoolMetric::ClientConnections).add(4);
    state.cores[1].pool(POOL, PoolMetric::ClientConnections).add(1);
    let (status, text) = get(&admin, "/metrics");
    assert_eq!(status, 200);
    assert!(text.contains("\ncorelay_pool_clients{pool=\"cache\"} 5\n"), "{text}");
    assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");

    let (status, text) = get(&admin, "/stats");
    assert_eq!(status, 200);
    let stats: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(stats["cores"][0]["clients"]["cache"], 4);
    assert_eq!(stats["cores"][1]["clients"]["cache"], 1);
    assert_eq!(stats["pools"]["cache"]["counts"]["clients"], 5);
    assert_eq!(stats["pools"]["cache"]["shards"]["s2"]["ejected_at_us"], 0);
    assert_eq!(stats["pools"]["cache"]["latency_us"]["hash"]["recent"]["p99"], 77);
}

#[test]
fn a_reload_is_asked_for_on_this_host_by_corelay_only_and_its_end_is_shown() {
    let admin = serving(&state());
    let post = |headers: &str, body: &str| {
        let length = body.len();
        let request = format!(
            "POST /reload HTTP/1.1\r\nhost: x\r\n{headers}content-length: {length}\r\n\r\n{body}"
        );
        exchange(admin.local_addr, request.as_bytes())
    };
    let wish = "{\"allow_moved_keys\": false}";
    assert!(post("", wish).starts_with("HTTP/1.1 403 "));
    assert!(post("corelay-deed: 1\r\n", "{}").starts_with("HTTP/1.1 400 "));
    assert!(get(&admin, "/reload").1.contains("\"none\""), "nothing was done so far");
    let refused = post("corelay-deed: 1\r\n", wish);
    assert!(
        refused.starts_with("HTTP/1.1 409 ") && refused.contains("f: bad; mend it"),
        "{refused}"
    );
    let (_, shown) = get(&admin, "/reload");
    assert!(shown.contains("\"refused\"") && shown.contains("f: bad; mend it"), "{shown}");
    let (_, metrics) = get(&admin, "/metrics");
    for line in ["corelay_reloads_total{result=\"refused\"} 1", "corelay_last_reload_ok 0"] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[test]
fn metrics_come_in_the_format_that_is_asked_for() {
    let admin = serving(&state());
    let ask = |accept: &str| {
        let request = format!("GET /metrics HTTP/1.1\r\nhost: x\r\n{accept}\r\n");
        let text = exchange(admin.local_addr, request.as_bytes());
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap();
        (kind.to_owned(), body.to_owned())
    };
    for accept in ["", "accept: */*\r\n", "accept: text/plain;version=0.0.4\r\n"] {
        let (kind, body) = ask(accept);
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8", "{accept}");
        assert!(body.contains("\n# TYPE corelay_pool_requests_total counter\n"), "{body}");
        assert!(!body.contains("# EOF") && !body.contains("# UNIT"), "{body}");
    }
    let openmetrics = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3";
    let (kind, body) = ask(&format!("accept: {openmetrics}\r\n"));
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(body.contains("\n# TYPE corelay_pool_requests counter\n"), "{body}");
    assert!(body.ends_with("\n# EOF\n"), "{body}");
}

#[test]
fn the_topology_shown_is_the_last_published() {
    let state = state();
    let admin = serving(&state);
    state.set_topology(topology(2, &[Some("10.0.0.9:1"), None]));
    let (status, text) = get(&admin, "/topology");
    let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &shown["epoch"]), (200, &2.into()));
    let shards = &shown["pools"]["cache"]["shards"];
    assert_eq!(shards["s1"]["primary"], "10.0.0.9:1");
    assert!(shards["s2"]["primary"].is_null());
}

#[test]
fn readiness_says_what_is_missing() {
    let state = state();
    let admin = serving(&state);
    let not_ready = |reason: &str| assert_eq!(get(&admin, "/readyz"), (503, format!("{reason}\n")));
    not_ready("pool cache: no listener is open");
    state.cores[1].pool(POOL, PoolMetric::Listeners).set(1);
    assert_eq!(get(&admin, "/readyz"), (200, "ready\n".to_owned()));

    // Needed by one core, connected by another: fine. Connected by none: not.
    state.cores[0].shard(POOL, ShardId(1), ShardMetric::LaneConnectFailures).add(1);
    not_ready("pool cache shard s2: no lane is connected to 10.0.0.2:2");
    state.cores[1].shard(POOL, ShardId(1), ShardMetric::ServerConnections).add(1);
    assert_eq!(get(&admin, "/readyz").0, 200);

    state.set_topology(topology(2, &[None, Some("10.0.0.2:2")]));
    not_ready("pool cache shard s1: no primary is known for 127.0.0.1:1");
    state.set_topology(topology(3, &[Some("10.0.0.1:1"), Some("10.0.0.2:2")]));
    state.set_draining();
    not_ready("draining: finishing what is under way, then ending");
    assert_eq!(get(&admin, "/healthz").0, 200, "alive all the same");
}

#[test]
fn bad_input_gets_a_clear_answer_and_the_port_lives_on() {
    let admin = serving(&state());
    let answer = |request: &[u8]| {
        let text = exchange(admin.local_addr, request);
        let status = text.lines().next().unwrap_or("").to_owned();
        (status, text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
    };
    let (status, body) = answer(b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(status, "HTTP/1.1 404 Not Found");
    assert_eq!(body, "no such page; / lists those that there are\n");
    let post = b"POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc";
    let (status, body) = answer(post);
    assert_eq!(status, "HTTP/1.1 405 Method Not Allowed");
    assert_eq!(body, "only GET and HEAD are served\n");
    let (status, body) = answer(b"HEAD /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 200 OK", ""));
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\r\n\r\n"[..], b"*1\r\n$4\r\nPING\r\n\r\n", b"GET\r\n\r\n"]
    {
        assert_eq!(answer(garbage).0, "HTTP/1.1 400 Bad Request", "{garbage:?}");
    }
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(2 * HEAD_BYTES_MAX));
    assert!(answer(long.as_bytes()).0.starts_with("HTTP/1.1 4"));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
    assert!(answer(many.as_bytes()).0.starts_with("HTTP/1.1 431"));
    assert_eq!(get(&admin, "/healthz").0, 200);
}

#[test]
fn slow_clients_keep_nobody_out_and_cost_no_thread() {
    let state = state();
    let admin = serving(&state);
    let before = state.process();
    // Ours and theirs: to fit into 1024 descriptors.
    let slow: Vec<Client> = (0..400)
        .map(|n| {
            let mut client = connect(admin.local_addr);
            if n % 2 == 0 {
                // Closed already for another one, perhaps.
                let _ = client.write_all(b"GET /metrics HT");
            }
            client
        })
        .collect();
    let started = now();
    assert_eq!(get(&admin, "/healthz").0, 200);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    let after = state.process();
    // Other tests run beside this one: some threads and descriptors may come and go.
    let descriptors = |figures: &ProcessFigures| figures.descriptors.unwrap().cast_signed();
    let held = descriptors(&after) - descriptors(&before) - slow.len() as i64;
    assert!(held < CONNECTIONS_MAX as i64 + 150, "{held} of {} are still open", slow.len());
    assert!(after.threads.unwrap() < before.threads.unwrap() + 100, "{after:?}");
    drop(slow);
}

#[test]
fn a_head_that_never_ends_is_given_up() {
    let admin = serving(&state());
    let mut client = connect(admin.local_addr);
    client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let started = now();
    let mut text = Vec::new();
    let _ = client.read_to_end(&mut text);
    assert!(started.elapsed() < HEAD_MAX + Duration::from_secs(4), "{:?}", started.elapsed());
}

#[test]
fn the_stats_port_gives_its_object_to_whoever_connects() {
    let state = state();
    let port = stats_port::start(listener(), state.clone()).unwrap();
    state.cores[0].pool(POOL, PoolMetric::ClientEof).add(3);
    // Nobody has to ask, and one who asks for a page gets the object all the same.
    for request in ["", "GET / HTTP/1.0\r\n\r\n"] {
        let text = exchange(port.local_addr, request.as_bytes());
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["service"], "nutcracker");
        assert_eq!(json["cache"]["client_eof"], 3);
        assert_eq!(json["cache"]["s2"]["requests"], 0);
        assert!(!json["source"].as_str().unwrap().is_empty());
    }
}

#[test]
fn idle_clients_of_the_stats_port_do_not_hold_it_up() {
    let state = state();
    let port = stats_port::start(listener(), state).unwrap();
    let idle: Vec<Client> = (0..50).map(|_| connect(port.local_addr)).collect();
    let started = now();
    assert!(exchange(port.local_addr, b"").ends_with("}}}\n"));
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    drop(idle);
}

#[test]
fn a_reader_that_never_reads_delays_the_stats_port_for_a_second_only() {
    // More than any socket's buffers take: 20 000 shards of about 300 bytes.
    let names: Vec<String> = (0..20_000).map(|n| format!("shard{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let config = sample::config(&[("cache", &names)]);
    let cores = vec![CoreStats::new(&config)];
    let topology = Arc::new(Topology { epoch: 1, config, pools: Vec::new() });
    let state = ControlState::new(cores, topology, latency_door(1), Logger::discard());
    let port = stats_port::start(listener(), state).unwrap();
    let never_reads = connect(port.local_addr);
    let started = now();
    let text = exchange(port.local_addr, b"");
    assert!(text.ends_with("}}}\n") && text.len() > 5_000_000, "{}", text.len());
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    drop(never_reads);
}

#[test]
fn dropping_a_handle_closes_its_port() {
    let state = state();
    let (admin, port) =
        (serving(&state), { stats_port::start(listener(), state.clone()).unwrap() });
    for address in [admin.local_addr, port.local_addr] {
        connect(address);
    }
    let addresses = [admin.local_addr, port.local_addr];
    drop((admin, port));
    for address in addresses {
        assert!(Client::connect_timeout(&address, SOON).is_err());
    }
}
