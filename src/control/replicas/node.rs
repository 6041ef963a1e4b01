//! A node, asked once a second on a connection of its own: is it there, what is it, how far is it?

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::judge::{Facts, Sample};
use crate::config::model::Credentials;
use crate::control::sentinel::verdict::Address;
use crate::control::sentinel::wire::{Lookup, Wire};
use crate::control::sentinel::words;
use crate::resp::value;

/// A node answers within this time, or not at all in this round.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// One node and the connection to it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) address: Address,
    credentials: Option<Credentials>,
    wire: Option<(SocketAddr, Wire)>,
    lookup: Lookup,
}

impl Node {
    pub(super) fn new(address: Address, credentials: Option<Credentials>) -> Node {
        Node { address, credentials, wire: None, lookup: Lookup::default() }
    }

    /// What it says of itself, with the time since `started`.
    pub(super) async fn sample(&mut self, started: Instant) -> Result<Sample, String> {
        let asked = timeout(ANSWER_MAX, self.exchange(started)).await;
        let sample = match asked {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {} ms", ANSWER_MAX.as_millis())),
        };
        if sample.is_err() {
            self.wire = None;
        }
        sample
    }

    async fn exchange(&mut self, started: Instant) -> io::Result<Sample> {
        if self.wire.is_none() {
            let addresses = self.lookup.addresses(&self.address, ANSWER_MAX).await?;
            let mut last = io::Error::other("the name has no address");
            for at in addresses {
                match Wire::connect(at, self.credentials.as_ref()).await {
                    Ok(wire) => {
                        self.wire = Some((at, wire));
                        break;
                    }
                    Err(error) => last = error,
                }
            }
            if self.wire.is_none() {
                return Err(last);
            }
        }
        let Some((at, wire)) = &mut self.wire else { return Err(io::ErrorKind::NotFound.into()) };
        let sent = Instant::now();
        wire.send(&[&[b"PING"], &[b"INFO", b"replication"], &[b"INFO", b"persistence"]]).await?;
        // Whatever it says to PING, so long is the way there and back.
        wire.next().await?;
        let round_trip = sent.elapsed();
        let mut facts = Facts::default();
        for _ in 0..2 {
            let reply = wire.next().await?;
            words::refuse_error(&reply).map_err(io::Error::other)?;
            let text = value::bulk(&reply).flatten().unwrap_or_default();
            facts.read(&String::from_utf8_lossy(text));
        }
        let when = sent.saturating_duration_since(started) + round_trip / 2;
        Ok(Sample { at: *at, when, round_trip, facts })
    }
}
