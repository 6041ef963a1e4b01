//! The bare echo server: corelay's reactor with a heart that answers `+PONG` to everything.
//!
//! What a request costs here is what the kernel and the reactor cost; the proxy's figures are held
//! against it. `cargo run --release --example echo -- 127.0.0.1:7000 [CPU…]`

use std::process::ExitCode;
use std::sync::Arc;

use corelay::base::time::Now;
use corelay::config::model::{
    CharSignedness, Config, DangerousCommands, DistributionKind, Facade, HashKind, KeylessScripts,
    Listen, LogLevel, PoolConfig, PoolLimits, ProxyConfig, ReadFrom, Replay, UnknownCommands,
};
use corelay::mailbox::mailbox;
use corelay::net::{descriptors, features::Features, listen};
use corelay::reactor::balance::Balance;
use corelay::reactor::echo::Echo;
use corelay::reactor::{CoreSetup, spawn_heart};
use corelay::stats::cells::CoreStats;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(Ok(address)) = arguments.next().map(|address| address.parse()) else {
        eprintln!("usage: echo ADDRESS:PORT [CPU…]");
        return ExitCode::from(2);
    };
    let mut cpus: Vec<usize> = arguments.filter_map(|cpu| cpu.parse().ok()).collect();
    if cpus.is_empty() {
        cpus.push(0);
    }
    match serve(Listen::Tcp(address), &cpus) {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaint) => {
            eprintln!("{complaint}");
            ExitCode::FAILURE
        }
    }
}

fn serve(listen: Listen, cpus: &[usize]) -> Result<(), String> {
    let config = Arc::new(config(listen, cpus));
    let limit = descriptors::raise_limit().map_err(|error| error.to_string())?;
    let clients_max = descriptors::clients_max(limit, cpus.len(), 0);
    let balance = Arc::new(Balance::new(cpus.len(), clients_max));
    let listeners = listen::bind(&config, cpus.len()).map_err(|complaints| {
        complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    })?;
    let mailboxes: Result<Vec<_>, _> = cpus.iter().map(|_| mailbox()).collect();
    let (peers, mailboxes): (Vec<_>, Vec<_>) =
        mailboxes.map_err(|error| error.to_string())?.into_iter().unzip();
    let stats: Arc<[_]> = cpus.iter().map(|_| CoreStats::new(&config)).collect();
    let mut cores = Vec::new();
    for ((index, mailbox), listeners) in mailboxes.into_iter().enumerate().zip(listeners) {
        let setup = CoreSetup {
            index,
            cpu: cpus[index],
            config: config.clone(),
            stats: stats.clone(),
            listeners,
            mailbox,
            peers: peers.clone(),
            balance: balance.clone(),
            features: Features::ALL,
            log: Box::new(|event| eprintln!("{event:?}")),
            every_second: Box::new(|_, _| {}),
        };
        let core = spawn_heart(setup, |_: Now| Echo::default()).map_err(|e| e.to_string())?;
        let features = core.wait_ready().map_err(|error| error.to_string())?;
        eprintln!("core {index} uses {features}");
        cores.push(core);
    }
    for core in cores {
        if let Some(Err(error)) = core.join() {
            return Err(error.to_string());
        }
    }
    Ok(())
}

fn config(listen: Listen, cpus: &[usize]) -> Config {
    let pool = PoolConfig {
        name: "echo".to_owned(),
        listen: vec![listen],
        backlog: 1024,
        tcp_keepalive: false,
        hash: HashKind::Fnv1a64,
        hash_tag: None,
        distribution: DistributionKind::Ketama,
        char_signedness: CharSignedness::Signed,
        shards: Vec::new(),
        timeout_ms: None,
        connect_timeout_ms: 1000,
        fence_interval_ms: 0,
        lanes_per_node: 1,
        preconnect: false,
        sentinel: None,
        hold_ms: 0,
        hold_bytes: 0,
        replay: Replay::Reads,
        read_from: ReadFrom::Primary,
        read_from_by_family: Vec::new(),
        replica_lag_max_bytes: 0,
        read_your_writes_ms: 0,
        backend_auth: None,
        client_password: None,
        database: 0,
        databases: 16,
        unknown_commands: UnknownCommands::Refuse,
        dangerous_commands: DangerousCommands::Refuse,
        keyless_scripts: KeylessScripts::FirstShard,
        facade: Facade::None,
        facade_address: None,
        limits: PoolLimits {
            client_connections_max: 0,
            client_idle_timeout_ms: 0,
            client_inflight_max: 1024,
            client_output_soft_bytes: 1 << 20,
            client_output_max_bytes: 1 << 28,
            client_subscriptions_max: 1,
            request_args_max: 1 << 20,
            request_bytes_max: 1 << 29,
            bulk_bytes_max: 1 << 29,
            lane_inflight_max: 1 << 16,
            lane_output_soft_bytes: 1 << 24,
            private_connections_max: 0,
            private_connections_queue: 0,
        },
    };
    Config {
        proxy: ProxyConfig {
            cores: cpus.to_vec(),
            admin_listen: None,
            stats_listen: None,
            log_level: LogLevel::Info,
            log_file: None,
            core_buffer_max_bytes: 1 << 30,
            spin_us: 0,
            batch_us: 0,
            handover_socket: None,
            handover_grace_ms: None,
        },
        pools: vec![Arc::new(pool)],
    }
}
