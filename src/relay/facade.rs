//! The facade of a Redis Cluster: CLUSTER and its like, for clients that know clusters only.
//!
//! The cluster has one node, this proxy, which serves all hash slots: a client that asks never
//! hears of MOVED or ASK, and needs no second connection. Where keys really are is the router's
//! affair; hash slots are no part of it.

use sha1::{Digest, Sha1};

use crate::base::ids::ClientId;
use crate::command::model::{ClusterQuestion, Command};
use crate::command::{describe, errors};
use crate::config::model::{Facade, PoolConfig};
use crate::relay::Relay;
use crate::relay::api::Peer;
use crate::resp::args::Request;
use crate::resp::encode::{self, Encoder};
use crate::route::{HASH_SLOTS, hash_slot};

const NO_ADDRESS: &str = "ERR a connection by a unix socket has no address that a cluster's node \
                          could be called by; set facade_address for this pool";

const INFO: &str = "cluster_state:ok\r\ncluster_slots_assigned:16384\r\n\
                    cluster_slots_ok:16384\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:0\r\n\
                    cluster_known_nodes:1\r\ncluster_size:1\r\ncluster_current_epoch:1\r\n\
                    cluster_my_epoch:1\r\ncluster_stats_messages_sent:0\r\n\
                    cluster_stats_messages_received:0\r\n\
                    total_cluster_links_buffer_limit_exceeded:0\r\n";

/// The one node, as clients are told of it.
struct Node {
    id: String,
    host: String,
    port: u16,
}

impl Relay {
    /// Answers `question`, as redis without cluster mode if the pool has another facade.
    pub(super) fn cluster(
        &mut self,
        id: ClientId,
        command: &'static Command,
        question: ClusterQuestion,
        request: &Request<'_>,
    ) {
        let Some(client) = self.client(id) else { return };
        let (pool, protocol) = (client.pool, client.protocol);
        let config = self.pool(pool).config.clone();
        if config.facade == Facade::None {
            return self.answer(id, errors::not_a_cluster);
        }
        let encoder = Encoder::new(protocol);
        match question {
            ClusterQuestion::Accepted => self.answer(id, |out| encode::simple(out, "OK")),
            ClusterQuestion::Help => self.answer(id, |out| describe::help(command, out)),
            ClusterQuestion::Info => self.answer(id, |out| encoder.verbatim(out, INFO.as_bytes())),
            ClusterQuestion::Keyslot => {
                let slot = hash_slot(request.arg(2));
                self.answer(id, |out| encode::integer(out, i64::from(slot)));
            }
            ClusterQuestion::Links => self.answer(id, |out| encode::array_header(out, 0)),
            ClusterQuestion::MyId => {
                self.answer(id, |out| encode::bulk(out, name_of("node", &config).as_bytes()));
            }
            ClusterQuestion::MyShardId => {
                self.answer(id, |out| encode::bulk(out, name_of("shard", &config).as_bytes()));
            }
            ClusterQuestion::Replicas => self.answer(id, |out| {
                match request.arg(2).eq_ignore_ascii_case(name_of("node", &config).as_bytes()) {
                    true => encode::array_header(out, 0),
                    false => encode::error(out, [b"ERR Unknown node ", request.arg(2)].concat()),
                }
            }),
            ClusterQuestion::Unserved => self.answer(id, |out| errors::no_cluster(command, out)),
            ClusterQuestion::Nodes | ClusterQuestion::Shards | ClusterQuestion::Slots => {
                let Some(node) = self.node(id, &config) else {
                    self.refuse(id, NO_ADDRESS);
                    return;
                };
                self.answer(id, |out| match question {
                    ClusterQuestion::Nodes => encoder.verbatim(out, node.line().as_bytes()),
                    ClusterQuestion::Shards => node.write_shards(encoder, out),
                    _ => node.write_slots(encoder, out),
                });
            }
        }
    }

    /// This node, called by the address that the client knows it by. `None`: it has none.
    fn node(&mut self, id: ClientId, config: &PoolConfig) -> Option<Node> {
        let (host, port) = match (&config.facade_address, &self.client(id)?.peer) {
            (Some(address), _) => address.clone(),
            (None, Peer::Tcp { local, .. }) => {
                (local.ip().to_canonical().to_string(), local.port())
            }
            (None, Peer::Unix { .. }) => return None,
        };
        Some(Node { id: name_of("node", config), host, port })
    }
}

impl Node {
    /// As CLUSTER NODES has it. There is no cluster bus: its port is 0.
    fn line(&self) -> String {
        let last = HASH_SLOTS - 1;
        format!(
            "{} {}:{}@0 myself,master - 0 0 1 connected 0-{last}\n",
            self.id, self.host, self.port
        )
    }

    fn write_slots(&self, encoder: Encoder, out: &mut Vec<u8>) {
        encode::array_header(out, 1);
        encode::array_header(out, 3);
        encode::integer(out, 0);
        encode::integer(out, i64::from(HASH_SLOTS - 1));
        encode::array_header(out, 4);
        encode::bulk(out, self.host.as_bytes());
        encode::integer(out, i64::from(self.port));
        encode::bulk(out, self.id.as_bytes());
        encoder.map_header(out, 0);
    }

    fn write_shards(&self, encoder: Encoder, out: &mut Vec<u8>) {
        encode::array_header(out, 1);
        encoder.map_header(out, 2);
        encode::bulk(out, b"slots");
        encode::array_header(out, 2);
        encode::integer(out, 0);
        encode::integer(out, i64::from(HASH_SLOTS - 1));
        encode::bulk(out, b"nodes");
        encode::array_header(out, 1);
        encoder.map_header(out, 7);
        encode::bulk(out, b"id");
        encode::bulk(out, self.id.as_bytes());
        encode::bulk(out, b"port");
        encode::integer(out, i64::from(self.port));
        for name in ["ip", "endpoint"] {
            encode::bulk(out, name.as_bytes());
            encode::bulk(out, self.host.as_bytes());
        }
        encode::bulk(out, b"role");
        encode::bulk(out, b"master");
        encode::bulk(out, b"replication-offset");
        encode::integer(out, 0);
        encode::bulk(out, b"health");
        encode::bulk(out, b"online");
    }
}

/// 40 hexadecimal digits that stay the same for a pool's name: on every core, after a restart, and
/// on another proxy that takes over this one's address.
fn name_of(what: &str, config: &PoolConfig) -> String {
    let digest = Sha1::digest(format!("corelay {what} {}", config.name));
    digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
