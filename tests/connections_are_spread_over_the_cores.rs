//! With 2 cores and 50 connections neither core holds more than 27.
//!
//! Why it must stay: SO_REUSEPORT alone spreads by a hash of the addresses, so that one core often
//! holds twice the clients of the other, for as long as they live.

mod support;

use support::{Options, Stack, Value, Wire, cpus, wait_until};

const CONNECTIONS: usize = 50;
const SHARE_MAX: f64 = 27.0;

fn clients_by_core(stack: &Stack) -> Vec<f64> {
    stack.proxy.metric("corelay_core_clients").into_iter().map(|(_, clients)| clients).collect()
}

fn wait_for(stack: &Stack, clients: usize) -> Vec<f64> {
    wait_until(support::PATIENCE, "the cores count all clients", || {
        clients_by_core(stack).iter().sum::<f64>() as usize == clients
    });
    clients_by_core(stack)
}

#[test]
fn two_cores_share_fifty_connections() {
    if cpus() < 2 {
        println!("not run: this machine has one core");
        return;
    }
    let stack = Stack::start(2, &Options { cores: "2", ..Options::default() });
    for round in 0..5 {
        let mut clients: Vec<Wire> = (0..CONNECTIONS).map(|_| stack.client()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            let key = format!("key:{number}");
            assert_eq!(client.exchange(&["SET", &key, &key]), Value::ok());
        }
        let shares = wait_for(&stack, CONNECTIONS);
        assert_eq!(shares.len(), 2, "one count for each core: {shares:?}");
        assert!(shares.iter().all(|&share| share <= SHARE_MAX), "round {round}: {shares:?}");
        drop(clients);
        wait_for(&stack, 0);
    }
}

#[test]
fn both_cores_work() {
    if cpus() < 2 {
        println!("not run: this machine has one core");
        return;
    }
    let stack = Stack::start(1, &Options { cores: "2", ..Options::default() });
    let turns = || -> Vec<f64> {
        stack.proxy.metric("corelay_core_turns_total").into_iter().map(|(_, turns)| turns).collect()
    };
    let before = turns();
    let mut clients: Vec<Wire> = (0..20).map(|_| stack.client()).collect();
    for _ in 0..20 {
        for client in &mut clients {
            assert_eq!(client.exchange(&["GET", "key"]), Value::Null);
        }
    }
    let after = turns();
    for (before, after) in before.iter().zip(&after) {
        assert!(after - before >= 20.0, "a core slept: {before} {after}");
    }
}
