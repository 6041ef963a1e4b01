//! The replicas of a watched pool: one of its sentinels is asked for them every second.
//!
//! One is enough: it says whom to look at, and the nodes say the rest. If none answers, those of
//! before stay.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::Lists;
use super::judge::EVERY;
use crate::config::model::{NodeAddress, PoolConfig, SentinelConfig};
use crate::control::sentinel::verdict::Address;
use crate::control::sentinel::wire::{Lookup, Wire};
use crate::control::sentinel::words;

/// A sentinel answers within this time, and for each master so much longer.
const ANSWER_MAX: Duration = Duration::from_millis(300);
const ANSWER_EACH: Duration = Duration::from_millis(1);

/// Runs until nobody wants to know any more.
pub(super) async fn run(
    sentinel: SentinelConfig,
    pool: Arc<PoolConfig>,
    found: watch::Sender<Lists>,
) {
    let (mut wire, mut lookup, mut first) = (None, Lookup::default(), 0);
    loop {
        let next = Instant::now() + EVERY;
        for at in 0..sentinel.addresses.len() {
            let at = (first + at) % sentinel.addresses.len();
            let Some(NodeAddress::Tcp { host, port }) = sentinel.addresses.get(at) else {
                continue;
            };
            let address = Address { host: host.clone(), port: *port };
            let bound = ANSWER_MAX + ANSWER_EACH * pool.shards.len() as u32;
            let exchange = ask(&address, &sentinel, &pool, &mut wire, &mut lookup);
            match timeout(bound, exchange).await {
                Ok(Ok(lists)) => {
                    first = at;
                    found.send_modify(|known| take(known, lists));
                    break;
                }
                Ok(Err(_)) | Err(_) => wire = None,
            }
        }
        if found.is_closed() {
            return;
        }
        sleep_until(next).await;
    }
}

/// What a sentinel could not say stays.
fn take(known: &mut Lists, said: Vec<Option<Vec<words::Listed>>>) {
    for (known, said) in known.iter_mut().zip(said) {
        if let Some(said) = said {
            *known = said;
        }
    }
}

/// What one sentinel says of every shard; `None`: it does not know the master.
async fn ask(
    address: &Address,
    sentinel: &SentinelConfig,
    pool: &PoolConfig,
    wire: &mut Option<Wire>,
    lookup: &mut Lookup,
) -> io::Result<Vec<Option<Vec<words::Listed>>>> {
    if wire.is_none() {
        let addresses = lookup.addresses(address, ANSWER_MAX).await?;
        let first = addresses.first().ok_or(io::ErrorKind::NotFound)?;
        *wire = Some(Wire::connect(*first, sentinel.credentials.as_ref()).await?);
    }
    let Some(wire) = wire else { return Err(io::ErrorKind::NotConnected.into()) };
    let names = pool.shards.iter().map(|shard| shard.name.as_bytes());
    // Sentinels before 5 know the old word only, and all know that.
    let requests: Vec<[&[u8]; 3]> =
        names.map(|name| [b"SENTINEL".as_slice(), b"SLAVES", name]).collect();
    let requests: Vec<&[&[u8]]> = requests.iter().map(|request| request.as_slice()).collect();
    let replies = wire.ask(&requests).await?;
    Ok(replies.iter().map(|reply| words::replicas(reply)).collect())
}
