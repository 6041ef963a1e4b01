//! What CLIENT LIST, KILL, PAUSE, MONITOR and PUBSUB ask of a pool's clients: read once, on the core
//! of the client that asks, and carried out on every core that it concerns.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::base::ids::PoolId;
use crate::base::time::{Now, US_PER_S};
use crate::command::model::TopicKind;
use crate::relay::api::Peer;
use crate::relay::client::{Client, Phase};
use crate::resp::args::Request;

const BAD_AGE: &str = "ERR maxage is not an integer or out of range";

/// Which clients, and what is to be done with them; all conditions have to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientQuery<'a> {
    pub(super) pool: PoolId,
    /// CLIENT ID of the client that asks.
    pub(super) asker: u64,
    pub(super) deed: Deed,
    only: Only,
    peer: Option<Cow<'a, [u8]>>,
    local: Option<Cow<'a, [u8]>>,
    /// The user asked for is that of every client here, and there are clients of the type.
    any: bool,
    /// Of type `pubsub`, or of type `normal`.
    subscribed: Option<bool>,
    skip_me: bool,
    /// Connected for so many seconds or longer.
    age_min_s: u64,
    /// What PUBSUB asks about.
    pub(super) names: Vec<Vec<u8>>,
}

/// What is to be done, and how it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// A line for each.
    List,
    /// CLIENT KILL with filters: the number of those that were closed.
    Kill,
    /// CLIENT UNBLOCK: 1 if the client blocked; it hears nil, or an error.
    Unblock {
        with_error: bool,
    },
    /// CLIENT KILL address, the old form: OK, or an error if there was none.
    KillAt,
    /// CLIENT PAUSE: so long, and whether more waits than what may write.
    Pause {
        ms: u64,
        all: bool,
    },
    Unpause,
    /// MONITOR: the asker wants to see the requests.
    Monitor,
    /// PUBSUB CHANNELS: what somebody is subscribed to.
    Topics(TopicKind),
    /// PUBSUB NUMSUB: how many are, of each name.
    Numsub(TopicKind),
    /// PUBSUB NUMPAT: the number of patterns.
    Numpat,
}

/// By CLIENT ID. One number is kept without a set: CLIENT KILL ID then allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Only {
    Everyone,
    One(u64),
    These(BTreeSet<u64>),
}

impl<'a> ClientQuery<'a> {
    pub(super) fn all(pool: PoolId, asker: u64, deed: Deed) -> ClientQuery<'a> {
        ClientQuery {
            pool,
            asker,
            deed,
            only: Only::Everyone,
            peer: None,
            local: None,
            any: true,
            subscribed: None,
            skip_me: false,
            age_min_s: 0,
            names: Vec::new(),
        }
    }

    /// CLIENT LIST [TYPE type | ID id …], asked by client `asker` of `pool`.
    pub(super) fn of_list(
        pool: PoolId,
        asker: u64,
        request: &Request<'a>,
    ) -> Result<ClientQuery<'a>, String> {
        let mut query = ClientQuery::all(pool, asker, Deed::List);
        match request.get(2).map(<[u8]>::to_ascii_lowercase).as_deref() {
            None => {}
            Some(b"type") if request.len() == 4 => query.want(request.arg(3))?,
            Some(b"id") if request.len() > 3 => {
                let mut numbers = BTreeSet::new();
                for text in request.iter().skip(3) {
                    let number = number_of(text).ok_or("ERR Invalid client ID")?;
                    // Below zero is a number, but nobody's.
                    numbers.extend(u64::try_from(number).ok());
                }
                query.only = Only::These(numbers);
            }
            Some(_) => return Err("ERR syntax error".to_owned()),
        }
        Ok(query)
    }

    /// CLIENT KILL address, or CLIENT KILL filter value …
    pub(super) fn of_kill(
        pool: PoolId,
        asker: u64,
        request: &Request<'a>,
    ) -> Result<ClientQuery<'a>, String> {
        if request.len() == 3 {
            let mut query = ClientQuery::all(pool, asker, Deed::KillAt);
            query.peer = request.get(2).map(Cow::Borrowed);
            return Ok(query);
        }
        if !request.len().is_multiple_of(2) {
            return Err("ERR syntax error".to_owned());
        }
        let mut query = ClientQuery::all(pool, asker, Deed::Kill);
        query.skip_me = true;
        for at in (2..request.len()).step_by(2) {
            let value = request.arg(at + 1);
            match request.arg(at).to_ascii_lowercase().as_slice() {
                b"id" => {
                    let number = number_of(value).and_then(|number| u64::try_from(number).ok());
                    let error = "ERR client-id should be greater than 0";
                    query.only = Only::One(number.filter(|n| *n > 0).ok_or(error)?);
                }
                b"addr" => query.peer = Some(Cow::Borrowed(value)),
                b"laddr" => query.local = Some(Cow::Borrowed(value)),
                b"type" => query.want(value)?,
                b"user" if value == b"default" => {}
                b"user" => {
                    let user = String::from_utf8_lossy(value);
                    return Err(format!("ERR No such user '{user}'"));
                }
                b"maxage" => {
                    let age = number_of(value).ok_or(BAD_AGE)?;
                    let error = "ERR maxage should be greater than 0";
                    query.age_min_s = u64::try_from(age).ok().filter(|n| *n > 0).ok_or(error)?;
                }
                b"skipme" => match value.to_ascii_lowercase().as_slice() {
                    b"yes" => query.skip_me = true,
                    b"no" => query.skip_me = false,
                    _ => return Err("ERR syntax error".to_owned()),
                },
                _ => return Err("ERR syntax error".to_owned()),
            }
        }
        Ok(query)
    }

    /// CLIENT UNBLOCK id [TIMEOUT | ERROR]
    pub(super) fn of_unblock(
        pool: PoolId,
        asker: u64,
        request: &Request<'a>,
    ) -> Result<ClientQuery<'a>, String> {
        let with_error = match request.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
            _ if request.len() > 4 => return Err("ERR syntax error".to_owned()),
            None | Some(b"timeout") => false,
            Some(b"error") => true,
            Some(_) => {
                return Err("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR".to_owned());
            }
        };
        let number = number_of(request.arg(2));
        let number = number.ok_or("ERR value is not an integer or out of range")?;
        let mut query = ClientQuery::all(pool, asker, Deed::Unblock { with_error });
        query.only = u64::try_from(number).map_or(Only::These(BTreeSet::new()), Only::One);
        Ok(query)
    }

    /// Only clients of this type. There are two here; and none is of both, should both be wanted.
    fn want(&mut self, kind: &[u8]) -> Result<(), String> {
        let subscribed = match kind.to_ascii_lowercase().as_slice() {
            b"normal" => false,
            b"pubsub" => true,
            b"master" | b"primary" | b"replica" | b"slave" => {
                self.any = false;
                return Ok(());
            }
            _ => {
                let kind = String::from_utf8_lossy(kind);
                return Err(format!("ERR Unknown client type '{kind}'"));
            }
        };
        self.any &= self.subscribed.is_none_or(|wanted| wanted == subscribed);
        self.subscribed = Some(subscribed);
        Ok(())
    }

    /// To be sent to other cores, where the request's bytes are not.
    pub(super) fn into_owned(self) -> ClientQuery<'static> {
        let owned = |text: Option<Cow<'a, [u8]>>| text.map(|text| Cow::Owned(text.into_owned()));
        ClientQuery {
            pool: self.pool,
            asker: self.asker,
            deed: self.deed,
            only: self.only,
            peer: owned(self.peer),
            local: owned(self.local),
            any: self.any,
            subscribed: self.subscribed,
            skip_me: self.skip_me,
            age_min_s: self.age_min_s,
            names: self.names,
        }
    }

    /// Whether `core` of `cores` may have a client that is meant.
    pub(super) fn concerns(&self, core: u16, cores: u16) -> bool {
        let there = |number: &u64| core_of(*number, cores) == core;
        self.any
            && match &self.only {
                Only::Everyone => true,
                Only::One(number) => there(number),
                Only::These(numbers) => numbers.iter().any(there),
            }
    }

    /// Whether this client is meant. One that the reactor was asked to close has gone already.
    pub(super) fn hits(&self, client: &Client, now: Now) -> bool {
        let wanted = match &self.only {
            Only::Everyone => true,
            Only::One(number) => *number == client.number,
            Only::These(numbers) => numbers.contains(&client.number),
        };
        let at = |wanted: &Option<Cow<'_, [u8]>>, address: fn(&Peer) -> String| {
            wanted.as_ref().is_none_or(|wanted| **wanted == *address(&client.peer).as_bytes())
        };
        wanted
            && self.any
            && self.subscribed.is_none_or(|wanted| wanted == client.is_subscribed())
            && client.pool == self.pool
            && client.phase != Phase::Closed
            && now.mono_us.saturating_sub(client.opened_us) / US_PER_S >= self.age_min_s
            && !(self.skip_me && client.number == self.asker)
            && at(&self.peer, peer_address)
            && at(&self.local, local_address)
    }
}

/// A client's CLIENT ID names its core: no two cores give the same one, and whoever is asked about
/// it knows where to ask.
pub(super) fn client_number(opened: u64, core: u16, cores: u16) -> u64 {
    opened * u64::from(cores) + u64::from(core)
}

/// The core that a client is on.
pub(super) fn core_of(number: u64, cores: u16) -> u16 {
    (number % u64::from(cores)) as u16
}

fn number_of(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// As redis writes it in `addr=`.
pub(super) fn peer_address(peer: &Peer) -> String {
    match peer {
        Peer::Tcp { peer, .. } => peer.to_string(),
        Peer::Unix { path } => format!("{path}:0"),
    }
}

/// As redis writes it in `laddr=`.
pub(super) fn local_address(peer: &Peer) -> String {
    match peer {
        Peer::Tcp { local, .. } => local.to_string(),
        Peer::Unix { path } => format!("{path}:0"),
    }
}
