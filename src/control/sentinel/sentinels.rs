//! The sentinels of one watcher: who they are, what each has said, who may be asked.
//!
//! A sentinel is known by its own id, whatever addresses lead to it, so that none counts twice.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::hearing::Heard;
use super::link::{self, Answer, Ask, Peer, Tasks};
use super::master::Moment;
use super::verdict::{Address, Voice, Word};
use super::watch::Event;
use super::words::Named;
use crate::base::limits::SENTINELS_MAX;
use crate::config::model::Credentials;
use crate::log::Logger;

/// How often sentinels are asked for the others.
const OTHERS_EVERY: Duration = Duration::from_secs(5);
/// One that is not configured, and that nobody names any more, is forgotten after so long.
const FORGET_AFTER: Duration = Duration::from_secs(60);
/// Pause before one that did not answer is asked again; it doubles up to …
const RETRY_FIRST: Duration = Duration::from_millis(20);
/// … this.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// One sentinel.
#[derive(Debug)]
pub(super) struct Sentinel {
    link: usize,
    pub(super) address: Address,
    pub(super) is_configured: bool,
    pub(super) id: Option<String>,
    pub(super) tilt: bool,
    pub(super) listens: bool,
    /// Why the last question was not answered; `None`: it was, or none was asked yet.
    pub(super) trouble: Option<String>,
    /// When the question was asked that it has answered last.
    pub(super) answered: Option<Moment>,
    asks: mpsc::Sender<Ask>,
    /// Since when a question is under way.
    asking: Option<Moment>,
    /// Whom to ask for after it.
    again: Vec<usize>,
    others_at: Moment,
    retry_at: Moment,
    failures: u32,
    named_at: Moment,
    /// By place of the name: when it was asked, and what it said.
    words: Vec<Option<(Moment, Word)>>,
    _tasks: Tasks,
}

pub(super) struct Sentinels {
    pub(super) list: Vec<Sentinel>,
    credentials: Option<Credentials>,
    names: Arc<[String]>,
    events: mpsc::Sender<Event>,
    log: Logger,
    links: usize,
}

impl Sentinels {
    pub(super) fn new(
        configured: Vec<(String, u16)>,
        credentials: Option<Credentials>,
        names: Arc<[String]>,
        events: mpsc::Sender<Event>,
        log: Logger,
    ) -> Sentinels {
        let mut sentinels =
            Sentinels { list: Vec::new(), credentials, names, events, log, links: 0 };
        for (host, port) in configured {
            sentinels.add(Address { host, port }, true, Duration::ZERO);
        }
        sentinels
    }

    fn add(&mut self, address: Address, is_configured: bool, now: Moment) {
        let link = self.links;
        self.links += 1;
        let peer = Peer { link, address: address.clone(), credentials: self.credentials.clone() };
        let (asks, tasks) = link::start(peer, self.events.clone());
        self.list.push(Sentinel {
            link,
            address,
            is_configured,
            id: None,
            tilt: false,
            listens: false,
            trouble: None,
            answered: None,
            asks,
            asking: None,
            again: Vec::new(),
            others_at: now,
            retry_at: now,
            failures: 0,
            named_at: now,
            words: vec![None; self.names.len()],
            _tasks: tasks,
        });
    }

    fn find(&mut self, link: usize) -> Option<&mut Sentinel> {
        self.list.iter_mut().find(|sentinel| sentinel.link == link)
    }

    /// Asks every sentinel for every master.
    pub(super) fn ask_all(&mut self, now: Moment) {
        let all: Vec<usize> = (0..self.names.len()).collect();
        self.ask(&all, now);
    }

    /// Asks every sentinel for these masters; one that is still answering, when it has answered.
    pub(super) fn ask(&mut self, masters: &[usize], now: Moment) {
        for sentinel in &mut self.list {
            for master in masters {
                if !sentinel.again.contains(master) {
                    sentinel.again.push(*master);
                }
            }
            sentinel.ask_next(&self.names, now);
        }
    }

    /// Asks those whose pause is over; forgets those that are gone.
    pub(super) fn keep_up(&mut self, now: Moment) {
        for sentinel in &mut self.list {
            sentinel.ask_next(&self.names, now);
        }
        let log = &self.log;
        self.list.retain(|sentinel| {
            let stays = sentinel.is_configured || now < sentinel.named_at + FORGET_AFTER;
            if !stays {
                log.info("sentinel forgotten", &[("sentinel", &sentinel.address)]);
            }
            stays
        });
    }

    pub(super) fn answered(
        &mut self,
        link: usize,
        asked: Moment,
        result: Result<Answer, String>,
        now: Moment,
    ) {
        let log = self.log.clone();
        let Some(sentinel) = self.find(link) else { return };
        sentinel.asking = None;
        let answer = match result {
            Ok(answer) => answer,
            Err(why) => {
                if sentinel.trouble.is_none() {
                    log.warn(
                        "sentinel does not answer",
                        &[("sentinel", &sentinel.address), ("why", &why)],
                    );
                }
                sentinel.trouble = Some(why);
                let pause = RETRY_FIRST * (1 << sentinel.failures.min(8));
                sentinel.retry_at = now + pause.min(RETRY_MAX);
                sentinel.failures += 1;
                return;
            }
        };
        if sentinel.trouble.take().is_some() {
            log.info("sentinel answers again", &[("sentinel", &sentinel.address)]);
        }
        (sentinel.failures, sentinel.retry_at) = (0, now);
        sentinel.answered = Some(asked);
        if std::mem::replace(&mut sentinel.tilt, answer.tilt) != answer.tilt {
            match answer.tilt {
                true => log.warn("sentinel is in tilt", &[("sentinel", &sentinel.address)]),
                false => log.info("sentinel's tilt is over", &[("sentinel", &sentinel.address)]),
            }
        }
        for (at, word) in answer.words {
            if let Some(slot) = sentinel.words.get_mut(at) {
                *slot = Some((asked, word));
            }
        }
        let id = answer.id;
        if sentinel.id != id {
            sentinel.id = id;
            self.drop_doubles(link);
        }
        self.take_named(&answer.others, now);
        let names = self.names.clone();
        if let Some(sentinel) = self.find(link) {
            sentinel.ask_next(&names, now);
        }
    }

    /// A sentinel that is reached by two addresses keeps the configured one.
    fn drop_doubles(&mut self, link: usize) {
        let Some(id) = self.find(link).and_then(|sentinel| sentinel.id.clone()) else { return };
        let same = |sentinel: &Sentinel| sentinel.id.as_ref() == Some(&id);
        let mut doubles: Vec<(bool, usize)> = self
            .list
            .iter()
            .filter(|sentinel| same(sentinel))
            .map(|sentinel| (!sentinel.is_configured, sentinel.link))
            .collect();
        doubles.sort_unstable();
        let keep = doubles.first().map(|(_, link)| *link);
        // Configured ones stay, they only do not count twice.
        self.list.retain(|sentinel| {
            sentinel.is_configured || !same(sentinel) || Some(sentinel.link) == keep
        });
    }

    fn take_named(&mut self, named: &[Named], now: Moment) {
        for other in named {
            let is_room = self.list.len() < SENTINELS_MAX;
            let known = self.list.iter_mut().find(|sentinel| {
                sentinel.address == other.address || (other.id.is_some() && sentinel.id == other.id)
            });
            match known {
                Some(sentinel) => sentinel.named_at = now,
                None if is_room => {
                    self.log.info("another sentinel", &[("sentinel", &other.address)]);
                    self.add(other.address.clone(), false, now);
                }
                None => {}
            }
        }
    }

    pub(super) fn tilted(&mut self, link: usize) {
        let log = self.log.clone();
        if let Some(sentinel) = self.find(link)
            && !std::mem::replace(&mut sentinel.tilt, true)
        {
            log.warn("sentinel is in tilt", &[("sentinel", &sentinel.address)]);
        }
    }

    pub(super) fn listening(&mut self, link: usize, yes: bool) {
        if let Some(sentinel) = self.find(link) {
            sentinel.listens = yes;
        }
    }

    /// Configured sentinels, each once, as far as is known.
    pub(super) fn configured(&self) -> usize {
        self.distinct().filter(|sentinel| sentinel.is_configured).count()
    }

    /// What all have said of a master.
    pub(super) fn heard(&self, name: usize) -> Vec<Heard<'_>> {
        self.distinct().filter_map(|sentinel| sentinel.heard(name)).collect()
    }

    /// The last moment for which no sentinel owes an answer that can give one.
    pub(super) fn complete_since(&self, now: Moment) -> Moment {
        let able = self.list.iter().filter(|sentinel| sentinel.trouble.is_none());
        able.map(|sentinel| sentinel.answered.unwrap_or_default()).min().unwrap_or(now)
    }

    fn distinct(&self) -> impl Iterator<Item = &Sentinel> {
        self.list.iter().enumerate().filter_map(|(at, sentinel)| {
            let before = self.list.get(..at).unwrap_or_default();
            let double = sentinel.id.is_some() && before.iter().any(|o| o.id == sentinel.id);
            (!double).then_some(sentinel)
        })
    }
}

impl Sentinel {
    fn heard(&self, name: usize) -> Option<Heard<'_>> {
        let (asked, word) = self.words.get(name)?.as_ref()?;
        Some(Heard { asked: *asked, voice: Voice { word, tilt: self.tilt } })
    }

    fn ask_next(&mut self, names: &Arc<[String]>, now: Moment) {
        if self.asking.is_some() || self.again.is_empty() || now < self.retry_at {
            return;
        }
        let others = now >= self.others_at;
        let masters = std::mem::take(&mut self.again);
        if self.asks.try_send(Ask { names: names.clone(), masters, others }).is_ok() {
            self.asking = Some(now);
            if others {
                self.others_at = now + OTHERS_EVERY;
            }
        }
    }
}
