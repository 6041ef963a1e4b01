//! One look at a node: does it call itself a master?

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

use super::verdict::Address;
use super::wire::{Lookup, Wire};
use super::words::{self, Role};
use crate::config::model::Credentials;

/// A node answers within this time, or is taken for dead this time.
const ANSWER_MAX: Duration = Duration::from_millis(300);

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It calls itself a master, at this address.
    Master(SocketAddr),
    Other(String),
}

/// Connects to the node, authenticates and asks for its ROLE. Of several addresses of a name the
/// first counts that is a master's, `wanted` before the others.
pub(super) async fn look(
    at: &Address,
    wanted: Option<SocketAddr>,
    credentials: Option<&Credentials>,
    lookup: &mut Lookup,
) -> Seen {
    let mut addresses = match lookup.addresses(at, ANSWER_MAX).await {
        Ok(addresses) => addresses,
        Err(error) => return Seen::Other(format!("{}: {error}", at.host)),
    };
    addresses.sort_by_key(|address| Some(*address) != wanted);
    let mut seen = Seen::Other("the name has no address".to_owned());
    // Of a name with several addresses (IPv6 and IPv4, say) some may not be listened on.
    for address in addresses {
        seen = role_of(address, credentials).await;
        if matches!(seen, Seen::Master(_)) {
            break;
        }
    }
    seen
}

async fn role_of(address: SocketAddr, credentials: Option<&Credentials>) -> Seen {
    let exchange = async {
        let mut wire = Wire::connect(address, credentials).await?;
        wire.ask(&[&[b"ROLE"]]).await
    };
    match timeout(ANSWER_MAX, exchange).await {
        Err(_) => Seen::Other("no answer in time".to_owned()),
        Ok(Err(error)) => Seen::Other(error.to_string()),
        Ok(Ok(replies)) => match replies.first().map(|reply| words::role(reply)) {
            Some(Ok(Role::Master)) => Seen::Master(address),
            Some(Ok(Role::Other(role))) => Seen::Other(format!("its role is {role}")),
            Some(Err(why)) => Seen::Other(why),
            None => Seen::Other("no reply".to_owned()),
        },
    }
}
