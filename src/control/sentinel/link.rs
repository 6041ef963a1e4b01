//! A sentinel, from our side: a task that asks it and one that listens to it.
//!
//! Both connect by themselves, look up a host name anew each time, and end when the watcher forgets
//! the sentinel. What they learn goes to the watcher as events; they decide nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::verdict::{Address, Word};
use super::watch::Event;
use super::wire::{Lookup, Wire};
use super::words::{self, Named};
use crate::config::model::Credentials;

/// A sentinel answers within this time, or is taken for dead this time …
const ANSWER_MAX: Duration = Duration::from_millis(300);
/// … and for each master that it is asked for in one go, so much longer.
const ANSWER_EACH: Duration = Duration::from_millis(1);
/// A silent subscription is asked for a sign of life so often.
const PING_EVERY: Duration = Duration::from_secs(3);
const PONG_MAX: Duration = Duration::from_secs(1);
/// An event names a master and a few addresses.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Pause before listening again; it doubles up to …
const LISTEN_AGAIN_FIRST: Duration = Duration::from_millis(50);
/// … this.
const LISTEN_AGAIN_MAX: Duration = Duration::from_secs(1);

/// How to reach a sentinel.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// The number of the link, never used again for another.
    pub(super) link: usize,
    pub(super) address: Address,
    pub(super) credentials: Option<Credentials>,
}

/// A question: for these of the masters, by their places in `names`.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) names: Arc<[String]>,
    pub(super) masters: Vec<usize>,
    /// And for the other sentinels, as it knows them for the first of the masters.
    pub(super) others: bool,
}

/// What a sentinel answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The sentinel's own id, if it tells.
    pub(super) id: Option<String>,
    pub(super) tilt: bool,
    pub(super) words: Vec<(usize, Word)>,
    pub(super) others: Vec<Named>,
}

/// The tasks of a link, ended when dropped.
#[derive(Debug)]
pub(super) struct Tasks(Vec<JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Starts both tasks; questions go into what is returned, one at a time.
pub(super) fn start(peer: Peer, events: mpsc::Sender<Event>) -> (mpsc::Sender<Ask>, Tasks) {
    let (asks, asked) = mpsc::channel(1);
    let ask = tokio::spawn(answer_asks(peer.clone(), asked, events.clone()));
    let listen = tokio::spawn(listen(peer, events));
    (asks, Tasks(vec![ask, listen]))
}

async fn answer_asks(peer: Peer, mut asked: mpsc::Receiver<Ask>, events: mpsc::Sender<Event>) {
    let (mut wire, mut lookup) = (None, Lookup::default());
    while let Some(ask) = asked.recv().await {
        let begun = Instant::now();
        let bound = ANSWER_MAX + ANSWER_EACH * u32::try_from(ask.masters.len()).unwrap_or(u32::MAX);
        let was_connected = wire.is_some();
        let mut result = within(bound, exchange(&peer, &mut wire, &mut lookup, &ask)).await;
        if result.is_err() {
            wire = None;
            // A connection of before may have been lost long ago: that says nothing of the
            // sentinel.
            if was_connected && begun.elapsed() < bound / 2 {
                result = within(bound, exchange(&peer, &mut wire, &mut lookup, &ask)).await;
            }
        }
        if result.is_err() {
            wire = None;
        }
        let result = result.map_err(|error| error.to_string());
        if events.send(Event::Answer { link: peer.link, asked: begun, result }).await.is_err() {
            return;
        }
    }
}

async fn within<T>(bound: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
    timeout(bound, work).await.unwrap_or_else(|_| Err(late()))
}

async fn connect(peer: &Peer, lookup: &mut Lookup) -> io::Result<Wire> {
    let addresses = lookup.addresses(&peer.address, ANSWER_MAX).await?;
    let mut last = io::Error::other("the name has no address");
    for address in addresses {
        match Wire::connect(address, peer.credentials.as_ref()).await {
            Ok(wire) => return Ok(wire),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// One round of questions and answers on `wire`, which is connected if it is not.
async fn exchange(
    peer: &Peer,
    wire: &mut Option<Wire>,
    lookup: &mut Lookup,
    ask: &Ask,
) -> io::Result<Answer> {
    let wire = match wire {
        Some(wire) => wire,
        None => wire.insert(connect(peer, lookup).await?),
    };
    let peer_address = wire.peer_address()?;
    let names: Vec<(usize, &[u8])> =
        ask.masters.iter().filter_map(|at| Some((*at, ask.names.get(*at)?.as_bytes()))).collect();
    let pairs = names.iter().map(|(_, name)| {
        let get: [&[u8]; 3] = [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", name];
        [[b"SENTINEL".as_slice(), b"MASTER", name], get]
    });
    let pairs: Vec<[[&[u8]; 3]; 2]> = pairs.collect();
    let mut requests: Vec<&[&[u8]]> = vec![&[b"SENTINEL", b"MYID"], &[b"INFO", b"sentinel"]];
    requests.extend(pairs.iter().flatten().map(|request| request.as_slice()));
    let first = names.first().map(|(_, name)| [b"SENTINEL".as_slice(), b"SENTINELS", name]);
    if let Some(first) = first.as_ref().filter(|_| ask.others) {
        requests.push(first);
    }
    let replies = wire.ask(&requests).await?;
    let mut replies = replies.iter().map(Vec::as_slice);
    let mut next = || replies.next().unwrap_or_default();
    let (id, info) = (next(), next());
    // An error here (NOAUTH, NOPERM, not a sentinel at all) is one everywhere.
    words::refuse_error(info).map_err(io::Error::other)?;
    let mut words = Vec::with_capacity(names.len());
    for (at, _) in &names {
        let (master, address) = (next(), next());
        words.push((*at, words::word(master, address).map_err(io::Error::other)?));
    }
    let others = if ask.others { words::named(next()) } else { Vec::new() };
    // Before 6.2 a sentinel does not tell its id; then it is known by where it is.
    let id = words::id(id).or(Some(peer_address));
    Ok(Answer { id, tilt: words::is_tilted(info), words, others })
}

async fn listen(peer: Peer, events: mpsc::Sender<Event>) {
    let (mut lookup, mut pause) = (Lookup::default(), LISTEN_AGAIN_FIRST);
    loop {
        let subscribed = within(ANSWER_MAX, subscribe(&peer, &mut lookup)).await;
        if let Ok(wire) = subscribed {
            pause = LISTEN_AGAIN_FIRST;
            if events.send(Event::Listening { link: peer.link, yes: true }).await.is_err() {
                return;
            }
            hear(wire, peer.link, &events).await;
            if events.send(Event::Listening { link: peer.link, yes: false }).await.is_err() {
                return;
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LISTEN_AGAIN_MAX);
    }
}

async fn subscribe(peer: &Peer, lookup: &mut Lookup) -> io::Result<Wire> {
    let mut wire = connect(peer, lookup).await?;
    let reply = wire.ask(&[&[b"PSUBSCRIBE", b"*"]]).await?;
    reply.iter().try_for_each(|reply| words::refuse_error(reply)).map_err(io::Error::other)?;
    wire.expect_short(MESSAGE_BYTES_MAX);
    Ok(wire)
}

/// Hands on what the sentinel publishes, until the connection is lost.
async fn hear(mut wire: Wire, link: usize, events: &mpsc::Sender<Event>) {
    let mut waits_for_pong = false;
    loop {
        let bound = if waits_for_pong { PONG_MAX } else { PING_EVERY };
        match timeout(bound, wire.next()).await {
            Ok(Ok(message)) => {
                waits_for_pong = false;
                let Some(signal) = words::signal(&message) else { continue };
                if events.send(Event::Signal { link, signal }).await.is_err() {
                    return;
                }
            }
            Ok(Err(_)) => return,
            Err(_) if waits_for_pong => return,
            Err(_) => {
                waits_for_pong = true;
                if within(PONG_MAX, wire.send(&[&[b"PING"]])).await.is_err() {
                    return;
                }
            }
        }
    }
}
