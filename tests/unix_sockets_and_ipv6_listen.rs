//! Clients and shards may be reached by unix socket and by IPv6, beside IPv4.

mod support;

use std::os::unix::fs::PermissionsExt;

use support::{Options, Port, Proxy, Redis, Stack, Value, Wire};

#[test]
fn one_pool_on_ipv4_ipv6_and_a_unix_socket() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = directory.path().join("cache.sock");
    let six = Port::reserve_v6();
    let listen = vec![six.address.to_string(), format!("unix:{} 0660", socket.display())];
    let stack = Stack::start(2, &Options { listen, ..Options::default() });
    let mut four = stack.client();
    let mut six = Wire::connect(six.address);
    let mut unix = Wire::try_connect_unix(&socket).expect("a unix socket");
    for key in 0..50 {
        let key = format!("key:{key}");
        assert_eq!(four.exchange(&["SET", &key, &key]), Value::ok());
        assert_eq!(six.exchange(&["GET", &key]), Value::bulk(&key));
        assert_eq!(unix.exchange(&["GET", &key]), Value::bulk(&key));
    }
    let mode = std::fs::metadata(&socket).expect("the socket").permissions().mode() & 0o777;
    assert_eq!(mode, 0o660);
    assert!(unix.exchange(&["CLIENT", "LIST"]).text().contains("cache.sock"));
}

#[test]
fn a_unix_socket_serves_clients_of_every_core() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = directory.path().join("cache.sock");
    let cores = if support::cpus() > 1 { "2" } else { "1" };
    let listen = vec![format!("unix:{}", socket.display())];
    let stack = Stack::start(1, &Options { cores, listen, ..Options::default() });
    let mut clients: Vec<Wire> =
        (0..20).map(|_| Wire::try_connect_unix(&socket).expect("a connection")).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let key = format!("key:{number}");
        let replies = client.pipeline(&[vec!["SET", &key, &key], vec!["GET", &key]]);
        assert_eq!(replies, [Value::ok(), Value::bulk(&key)]);
    }
    drop(stack);
}

#[test]
fn a_socket_file_left_behind_does_not_hinder_a_start() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = directory.path().join("cache.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket file"));
    let listen = vec![format!("unix:{}", socket.display())];
    let stack = Stack::start(1, &Options { listen, ..Options::default() });
    let mut client = Wire::try_connect_unix(&socket).expect("a connection");
    assert_eq!(client.exchange(&["SET", "key", "value"]), Value::ok());
    drop(stack);
}

#[test]
fn shards_behind_a_unix_socket_and_ipv6() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = directory.path().join("redis.sock");
    let path = socket.to_string_lossy().into_owned();
    let by_socket = Redis::start(&["--unixsocket", &path]);
    let by_six = Redis::start(&["--bind", "127.0.0.1", "::1"]);
    let shards = [
        ("shard1".to_owned(), format!("unix:{path}")),
        ("shard2".to_owned(), format!("[::1]:{}", by_six.port())),
    ];
    let proxy = Proxy::start(&shards, &Options::default());
    let mut client = proxy.client();
    for key in 0..50 {
        let key = format!("key:{key}");
        let replies = client.pipeline(&[vec!["SET", &key, &key], vec!["GET", &key]]);
        assert_eq!(replies, [Value::ok(), Value::bulk(&key)]);
    }
    for redis in [&by_socket, &by_six] {
        assert!(redis.ask(&["DBSIZE"]).integer() > 0, "a shard got no key");
    }
}
