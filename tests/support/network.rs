//! A proxy and its stores in two networks of a test's own, with a cable between them that can be
//! cut without a FIN or RST, and a filter that can lose packets. Clients come by a unix socket.

use std::process::Command;

use tempfile::TempDir;

use super::{Namespace, Options, PATIENCE, Process, Proxy, Wire, wait_until};

const STORES: [(&str, u16); 2] = [("shard1", 7001), ("shard2", 7002)];

#[derive(Debug)]
pub struct Network {
    /// Dropped first.
    pub proxy: Proxy,
    _stores: Vec<Process>,
    here: Namespace,
    there: Namespace,
    directory: TempDir,
}

impl Network {
    /// `None`, and a word why, if this machine or user can not have one.
    pub fn start(options: &Options) -> Option<Network> {
        let here = Namespace::new(&["ip", "nft"])?;
        let there = here.with_neighbour()?;
        there.run(
            "nft add table inet faults
             nft add chain inet faults in '{ type filter hook input priority 0; }'
             nft add chain inet faults out '{ type filter hook output priority 0; }'",
        );
        let directory = tempfile::tempdir().expect("a directory");
        let start = |(name, port): (&str, u16)| {
            let mut command: Command = there.command("redis-server");
            command.args(["--bind", "10.77.0.2", "--port", &port.to_string()]);
            command.args(["--protected-mode", "no", "--save", "", "--appendonly", "no"]);
            command.arg("--unixsocket").arg(directory.path().join(format!("{name}.sock")));
            command.arg("--dir").arg(directory.path());
            Process::start("redis-server", &mut command, &directory.path().join(name))
        };
        let stores = STORES.map(start).into();
        for (name, _) in STORES {
            let path = directory.path().join(format!("{name}.sock"));
            wait_until(PATIENCE, "a store listens", || Wire::try_connect_unix(&path).is_ok());
        }
        let shards =
            STORES.map(|(name, port)| (name.to_owned(), format!("10.77.0.2:{port}"))).to_vec();
        let options = Options {
            launcher: here.launcher(),
            by_socket: Some(directory.path().join("proxy.sock")),
            ..options.clone()
        };
        let proxy = Proxy::start(&shards, &options);
        Some(Network { proxy, _stores: stores, here, there, directory })
    }

    /// A key of each shard, found by writing through the proxy and looking where it is.
    pub fn keys(&self) -> [String; 2] {
        let mut through = self.proxy.client();
        let mut of = |store: &str| {
            let path = self.directory.path().join(format!("{store}.sock"));
            let mut behind = Wire::try_connect_unix(&path).expect("a store");
            let mut keys = (0..1_000).map(|number| format!("key:{number}"));
            keys.find(|key| {
                through.exchange(&["SET", key, key]);
                behind.exchange(&["EXISTS", key]).integer() == 1
            })
            .expect("a key of each shard")
        };
        STORES.map(|(name, _)| of(name))
    }

    /// Loses so many of a hundred packets, each way.
    pub fn lose(&self, percent: usize) {
        self.there.run(&format!(
            "nft add rule inet faults in numgen random mod 100 '<' {percent} drop
             nft add rule inet faults out numgen random mod 100 '<' {percent} drop"
        ));
    }

    /// Loses all packets from and to the first shard's store.
    pub fn silence_first(&self) {
        let port = STORES[0].1;
        self.there.run(&format!(
            "nft add rule inet faults in tcp dport {port} drop
             nft add rule inet faults out tcp sport {port} drop"
        ));
    }

    /// No packet is lost any more.
    pub fn heal(&self) {
        self.there.run("nft flush chain inet faults in; nft flush chain inet faults out");
    }

    /// Pulls the cable, at the stores' end, or plugs it in.
    pub fn set_cable(&self, how: &str) {
        self.there.run(&format!("ip link set cable {how}"));
    }

    /// Connections of the proxy to its stores, as the kernel shows them.
    pub fn lanes(&self) -> String {
        self.here.run("ss -Htno dst 10.77.0.2")
    }
}
