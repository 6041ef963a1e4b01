//! Single questions to nodes and sentinels, each on a connection of its own: for what is done seldom and
//! by hand (`switchover`).

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

use super::verdict::Address;
use super::wire::{Lookup, Wire};
use super::words;
use crate::config::model::{Credentials, NodeAddress, SentinelConfig};
use crate::resp::value;

/// What INFO says of replication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::control) struct Replication {
    pub(in crate::control) is_master: bool,
    /// Of a primary: bytes written; of a replica: bytes applied.
    pub(in crate::control) offset: i64,
    /// Replicas whose link stands, host and port as the primary shows them.
    online: Vec<Address>,
}

/// The reply to one request.
pub(in crate::control) async fn node(
    at: SocketAddr,
    credentials: Option<&Credentials>,
    request: &[&[u8]],
    within: Duration,
) -> Result<Vec<u8>, String> {
    let exchange = async {
        let mut wire = Wire::connect(at, credentials).await?;
        wire.ask(&[request]).await
    };
    let replies = timeout(within, exchange)
        .await
        .map_err(|_| format!("no answer within {} ms", within.as_millis()))?
        .map_err(|error| error.to_string())?;
    let reply = replies.into_iter().next().unwrap_or_default();
    words::refuse_error(&reply)?;
    Ok(reply)
}

pub(in crate::control) async fn replication(
    at: SocketAddr,
    credentials: Option<&Credentials>,
    within: Duration,
) -> Result<Replication, String> {
    let reply = node(at, credentials, &[b"INFO", b"replication"], within).await?;
    let text = value::bulk(&reply).flatten().ok_or("INFO is no text")?;
    Ok(read(&String::from_utf8_lossy(text)))
}

impl Replication {
    /// Where the replicas are.
    ///
    /// # Errors
    /// A name among them has no address.
    pub(in crate::control) async fn replicas(
        &self,
        within: Duration,
    ) -> Result<Vec<SocketAddr>, String> {
        let mut found = Vec::with_capacity(self.online.len());
        for replica in &self.online {
            let addresses = Lookup::default().addresses(replica, within).await;
            let addresses = addresses.map_err(|error| format!("{}: {error}", replica.host))?;
            found.extend(addresses.first());
        }
        Ok(found)
    }
}

/// The first of the listed sentinels that answers, and agrees that the master is there.
pub(in crate::control) async fn sentinel_that_names(
    sentinels: &SentinelConfig,
    master: &str,
    primary: SocketAddr,
    within: Duration,
) -> Result<SocketAddr, String> {
    let mut troubles = Vec::new();
    for address in &sentinels.addresses {
        let NodeAddress::Tcp { host, port } = address else { continue };
        let wanted = Address { host: host.clone(), port: *port };
        let at = match Lookup::default().addresses(&wanted, within).await {
            Ok(addresses) => addresses.first().copied(),
            Err(error) => {
                troubles.push(format!("{address}: {error}"));
                continue;
            }
        };
        let Some(at) = at else { continue };
        match names(at, sentinels.credentials.as_ref(), master, within).await {
            Ok(named) => match Lookup::default().addresses(&named, within).await {
                Ok(addresses) if addresses.contains(&primary) => return Ok(at),
                _ => troubles.push(format!("{address} names {}:{}", named.host, named.port)),
            },
            Err(why) => troubles.push(format!("{address}: {why}")),
        }
    }
    Err(format!("no sentinel says that {master} is at {primary}: {}", troubles.join("; ")))
}

async fn names(
    at: SocketAddr,
    credentials: Option<&Credentials>,
    master: &str,
    within: Duration,
) -> Result<Address, String> {
    let ask: &[&[u8]] = &[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", master.as_bytes()];
    let reply = node(at, credentials, ask, within).await?;
    words::address(&reply).ok_or_else(|| format!("it knows no master {master}"))
}

/// The section of INFO; what is not there, or can not be read, is as if it were nothing.
fn read(info: &str) -> Replication {
    let mut seen = Replication::default();
    for line in info.lines() {
        let Some((name, value)) = line.trim_end().split_once(':') else { continue };
        match name {
            "role" => seen.is_master = value == "master",
            "master_repl_offset" if seen.is_master => seen.offset = value.parse().unwrap_or(0),
            "slave_repl_offset" => seen.offset = value.parse().unwrap_or(0),
            _ if name.strip_prefix("slave").is_some_and(|n| n.parse::<u32>().is_ok()) => {
                seen.online.extend(online_replica(value));
            }
            _ => {}
        }
    }
    seen
}

/// `ip=10.0.0.2,port=6379,state=online,offset=…,lag=…`; `None` unless it is online.
fn online_replica(line: &str) -> Option<Address> {
    let field = |wanted: &str| {
        let mut fields = line.split(',').filter_map(|field| field.split_once('='));
        fields.find(|(name, _)| *name == wanted).map(|(_, value)| value)
    };
    let address = Address { host: field("ip")?.to_owned(), port: field("port")?.parse().ok()? };
    (field("state") == Some("online") && address.is_usable()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_tells_offsets_and_connected_replicas() {
        let primary = "# Replication\r\nrole:master\r\nconnected_slaves:3\r\n\
                       slave0:ip=10.0.0.2,port=6379,state=online,offset=70,lag=0\r\n\
                       slave1:ip=10.0.0.3,port=6379,state=wait_bgsave,offset=0,lag=0\r\n\
                       slave2:ip=::1,port=6380,state=online,offset=70,lag=1\r\n\
                       slave_expires_tracked_keys:0\r\nmaster_repl_offset:84\r\n";
        let address = |host: &str, port| Address { host: host.to_owned(), port };
        let online = vec![address("10.0.0.2", 6379), address("::1", 6380)];
        assert_eq!(read(primary), Replication { is_master: true, offset: 84, online });
        let replica = "role:slave\r\nmaster_link_status:up\r\nslave_read_repl_offset:90\r\n\
                       slave_repl_offset:84\r\nmaster_repl_offset:84\r\n";
        assert_eq!(read(replica), Replication { is_master: false, offset: 84, online: Vec::new() });
        assert_eq!(read("nonsense"), Replication::default());
    }
}
