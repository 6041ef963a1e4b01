//! The words of sentinels and nodes, taken apart: replies of SENTINEL, INFO and ROLE, and events.
//!
//! Pure, and total: whatever the bytes are, what can not be read is `None` or an error.

use super::verdict::{Address, Said, Word};
use crate::resp::value;

/// A sentinel as another one names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) address: Address,
    pub(super) id: Option<String>,
}

/// A replica, as a sentinel or the configuration lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) struct Listed {
    pub(in crate::control) address: Address,
    /// Why the sentinel would not use it.
    pub(in crate::control) trouble: Option<String>,
}

impl Listed {
    pub(in crate::control) fn at(host: &str, port: u16) -> Listed {
        Listed { address: Address { host: host.to_owned(), port }, trouble: None }
    }
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Master,
    /// A replica, or something else that takes no writes.
    Other(String),
}

/// An event of a sentinel, as far as it concerns us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signal {
    /// `+switch-master`, `+tilt` …
    pub(super) kind: String,
    /// The name of the master that it is about.
    pub(super) master: Option<String>,
    /// It is about the master itself, not about a replica or another sentinel of it.
    pub(super) of_itself: bool,
    /// That master's address, where a replica of it is the subject.
    pub(super) of: Option<Address>,
}

/// The word of SENTINEL MASTER and SENTINEL GET-MASTER-ADDR-BY-NAME, asked in this order: so an
/// address is never older than the epoch beside it.
pub(super) fn word(master: &[u8], address: &[u8]) -> Result<Word, String> {
    let error = value::error_text(master);
    // Valkey calls it a primary.
    if error.starts_with(b"ERR No such master") || error.starts_with(b"ERR No such primary") {
        return Ok(Word::Unknown);
    }
    refuse_error(master)?;
    refuse_error(address)?;
    if value::bulk(address) == Some(None) {
        return Ok(Word::Unknown);
    }
    let mut host_port = value::elements(address).ok_or("no address in the reply")?.map(text);
    let (host, port) = (host_port.next().flatten(), host_port.next().flatten());
    let number = |name| field(master, name).and_then(|text| text.parse::<u64>().ok());
    let flags = field(master, "flags").ok_or("no flags in the reply of SENTINEL MASTER")?;
    let config_epoch = number("config-epoch").ok_or("no config-epoch in SENTINEL MASTER")?;
    let count = |name| number(name).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    Ok(Word::Known(Said {
        address: Address {
            host: host.unwrap_or_default(),
            port: port.and_then(|port| port.parse().ok()).unwrap_or(0),
        },
        config_epoch,
        failing_over: flags.split(',').any(|flag| flag == "failover_in_progress"),
        other_sentinels: count("num-other-sentinels"),
        quorum: count("quorum"),
        down_after_ms: number("down-after-milliseconds").unwrap_or(0),
    }))
}

/// The reply of SENTINEL GET-MASTER-ADDR-BY-NAME; `None`: it knows no such master.
pub(super) fn address(reply: &[u8]) -> Option<Address> {
    let mut host_port = value::elements(reply)?.map(text);
    let (host, port) = (host_port.next()??, host_port.next()??);
    let address = Address { host, port: port.parse().ok()? };
    address.is_usable().then_some(address)
}

/// The sentinels that SENTINEL SENTINELS names.
pub(super) fn named(reply: &[u8]) -> Vec<Named> {
    let Some(sentinels) = value::elements(reply) else { return Vec::new() };
    let one = |reply: &[u8]| {
        let host = field(reply, "ip")?;
        let port = field(reply, "port")?.parse().ok()?;
        let address = Address { host, port };
        address.is_usable().then(|| Named { address, id: field(reply, "runid") })
    };
    sentinels.filter_map(one).collect()
}

/// The replicas that SENTINEL SLAVES lists; `None`: it does not know the master. Those that are not
/// to be announced are not in it. Of the link to the primary, which it looked at up to 10 s ago,
/// the replica itself is asked.
pub(in crate::control) fn replicas(reply: &[u8]) -> Option<Vec<Listed>> {
    let one = |reply: &[u8]| {
        let (host, port) = (field(reply, "ip")?, field(reply, "port")?.parse().ok()?);
        let address = Address { host, port };
        let announced = field(reply, "replica-announced").is_none_or(|yes| yes != "0");
        let flags = field(reply, "flags").unwrap_or_default();
        let bad = flags.split(',').find(|flag| DOWN.contains(flag));
        let trouble = bad.map(|flag| format!("a sentinel says {flag}"));
        (address.is_usable() && announced).then_some(Listed { address, trouble })
    };
    Some(value::elements(reply)?.filter_map(one).collect())
}

/// Flags of a node that a sentinel can not reach.
const DOWN: [&str; 3] = ["s_down", "o_down", "disconnected"];

/// The reply of SENTINEL MYID; `None` from sentinels before 6.2, which do not know it.
pub(super) fn id(reply: &[u8]) -> Option<String> {
    text(reply).filter(|id| !id.is_empty())
}

/// Whether INFO of a sentinel says that it is in tilt.
pub(super) fn is_tilted(info: &[u8]) -> bool {
    let text = value::bulk(info).flatten().unwrap_or_default();
    text.split(|byte| *byte == b'\n').any(|line| line.trim_ascii_end() == b"sentinel_tilt:1")
}

/// The reply of ROLE.
pub(super) fn role(reply: &[u8]) -> Result<Role, String> {
    refuse_error(reply)?;
    let word = value::elements(reply).and_then(|mut elements| elements.next()).and_then(text);
    match word.as_deref() {
        Some("master") => Ok(Role::Master),
        Some(other) => Ok(Role::Other(other.to_owned())),
        None => Err("the reply of ROLE can not be read".to_owned()),
    }
}

/// An element of the subscription: a message, or the answer to PING and PSUBSCRIBE (`None`).
pub(super) fn signal(message: &[u8]) -> Option<Signal> {
    let mut parts = value::elements(message)?.map(text);
    if parts.next()?? != "pmessage" {
        return None;
    }
    let (_pattern, kind, payload) = (parts.next()??, parts.next()??, parts.next()??);
    let of_itself = payload.starts_with("master ");
    let (master, of) = (master_of(&kind, &payload), address_of(&payload));
    Some(Signal { master, of_itself, of, kind })
}

/// The master that an event is about.
fn master_of(kind: &str, payload: &str) -> Option<String> {
    let words: Vec<&str> = payload.split(' ').collect();
    let name = match words.as_slice() {
        // name, old host and port, new host and port
        [name, _, _, _, _] if kind == "+switch-master" => name,
        // what happened to a replica or another sentinel of it: … @ name host port
        [_, _, _, _, "@", name, ..] => name,
        // "master" name host port …
        ["master", name, _, _, ..] => name,
        _ => return None,
    };
    Some((*name).to_owned())
}

/// The address of the master whose replica or sentinel an event is about: … @ name host port
fn address_of(payload: &str) -> Option<Address> {
    let (_, master) = payload.split_once(" @ ")?;
    let mut words = master.split(' ').skip(1);
    Some(Address { host: words.next()?.to_owned(), port: words.next()?.parse().ok()? })
}

/// Events after which another master may follow, or has.
pub(super) const TROUBLE: [&str; 17] = [
    "+sdown",
    "+odown",
    "+new-epoch",
    "+try-failover",
    "+vote-for-leader",
    "+elected-leader",
    "+failover-state-select-slave",
    "+selected-slave",
    "+failover-state-send-slaveof-noone",
    "+failover-state-wait-promotion",
    "+promoted-slave",
    "+failover-state-reconf-slaves",
    "+switch-master",
    "+config-update-from",
    "+convert-to-slave",
    "+reboot",
    "+reset-master",
];

/// The text of a string reply.
fn text(reply: &[u8]) -> Option<String> {
    let bytes = value::bulk(reply)??;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// The value behind `name` in a flat list of names and values.
fn field(reply: &[u8], name: &str) -> Option<String> {
    let mut elements = value::elements(reply)?;
    while let (Some(key), Some(found)) = (elements.next(), elements.next()) {
        if value::bulk(key) == Some(Some(name.as_bytes())) {
            return text(found);
        }
    }
    None
}

/// An error reply as words for the log.
pub(in crate::control) fn refuse_error(reply: &[u8]) -> Result<(), String> {
    match value::is_error(reply) {
        true => Err(String::from_utf8_lossy(value::error_text(reply)).into_owned()),
        false => Ok(()),
    }
}

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
