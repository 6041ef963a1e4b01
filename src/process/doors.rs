//! Doors: what this process listens on. They are bound or taken over at boot, opened when all else
//! is ready, and follow the configuration when it is reloaded; a book of them is kept for the
//! process that will take over.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crossbeam::sync::ShardedLock;

use super::handover::take::TakeOver;
use super::handover::{Place, Role};
use crate::config::model::{Config, Listen};
use crate::control::listener;
use crate::control::reload::Doors;
use crate::control::state::ControlState;
use crate::log::Logger;
use crate::mailbox::{Letter, MailboxSender};
use crate::net::handover;
use crate::net::listen::{self, ListenError, Listener};
use crate::stats::cells::{PoolMetric, pool_total};

/// How often a letter is tried that finds a core's mailbox full, and the pause between two.
const LETTER_TRIES: u32 = 20;
const LETTER_PAUSE: Duration = Duration::from_millis(100);
/// How often the cores are asked whether they have opened their doors, and the pause between two.
const OPEN_TRIES: u32 = 2_000;
const OPEN_PAUSE: Duration = Duration::from_millis(1);

/// Everything to be opened: nobody is let in yet.
pub(super) struct Openings {
    /// By core.
    pub(super) pools: Vec<Vec<Listener>>,
    pub(super) admin: Option<TcpListener>,
    pub(super) stats: Option<TcpListener>,
    pub(super) handover: Option<OwnedFd>,
    /// Of the pools: those that another process had opened.
    taken: Vec<Listen>,
}

impl Openings {
    /// What the configuration wants: sockets of the process `before` where it has them, others are
    /// bound.
    pub(super) fn of(
        config: &Config,
        mut before: Option<&mut TakeOver>,
    ) -> Result<Openings, Vec<String>> {
        let one = |text: String| vec![text];
        let cores = config.proxy.cores.len();
        let (taken, of_before) = match &mut before {
            Some(before) => before.pools(config).map_err(one)?,
            None => (Vec::new(), (0..cores).map(|_| Vec::new()).collect()),
        };
        let mut pools: Vec<Vec<Listener>> = of_before;
        let bound = listen::bind_more(&taken, config, cores).map_err(told)?;
        pools.iter_mut().zip(bound).for_each(|(all, bound)| all.extend(bound));
        let mut port = |role, key, address: Option<std::net::SocketAddr>| {
            let Some(address) = address else { return Ok(None) };
            let had = before.as_mut().and_then(|it| it.one(role, &address.to_string()));
            let port = match had {
                Some(socket) => Ok(TcpListener::from(socket)),
                None => listener::bind(key, address),
            };
            port.map(Some).map_err(|error| one(error.to_string()))
        };
        let admin = port(Role::Admin, "admin_listen", config.proxy.admin_listen)?;
        let stats = port(Role::Stats, "stats_listen", config.proxy.stats_listen)?;
        let path = config.proxy.handover_socket.as_deref();
        let handover = path.map(|path| {
            let shown = path.to_string_lossy();
            let had = before.as_mut().and_then(|it| it.one(Role::Handover, &shown));
            let socket = had.map_or_else(|| handover::listen(path), Ok);
            socket.map_err(|error| one(format!("handover_socket {shown}: {error}")))
        });
        let handover = handover.transpose()?;
        Ok(Openings { pools, admin, stats, handover, taken })
    }

    /// A second descriptor of each, if another process may ever ask for them. Nothing else can be
    /// begun before `Book::end` says that they are open.
    pub(super) fn book(&self, config: &Config) -> io::Result<Book> {
        let mut kept = Vec::new();
        if let (Some(socket), Some(path)) = (&self.handover, &config.proxy.handover_socket) {
            for listener in self.pools.iter().flatten() {
                kept.push(Kept::of_pool(listener)?);
            }
            let at = path.to_string_lossy().into_owned();
            let place = Place { role: Role::Handover, at };
            kept.push(Kept { place, socket: socket.try_clone()? });
            for (role, port) in [(Role::Admin, &self.admin), (Role::Stats, &self.stats)] {
                let Some(port) = port else { continue };
                let place = Place { role, at: port.local_addr()?.to_string() };
                kept.push(Kept { place, socket: port.try_clone()?.into() });
            }
        }
        let pages = Pages { is_kept: self.handover.is_some(), kept, busy: Some(STARTS) };
        Ok(Book(Arc::new(ShardedLock::new(pages))))
    }

    /// Lets clients in on all cores, and waits until it is so.
    pub(super) fn open(
        self,
        before: Option<&TakeOver>,
        mailboxes: &[MailboxSender],
        state: &ControlState,
    ) -> Result<(), Vec<String>> {
        before.map_or(Ok(()), TakeOver::may_open).map_err(|why| vec![why])?;
        let expected = self.pools.iter().map(Vec::len).sum::<usize>() as u64;
        let late = open_doors(mailboxes, self.pools);
        if !late.is_empty() {
            return Err(late);
        }
        let opened = || {
            let config = state.config();
            let of_pool = |(id, _)| pool_total(&state.cores, id, PoolMetric::Listeners);
            config.numbered().map(of_pool).sum::<u64>()
        };
        for _ in 0..OPEN_TRIES {
            if opened() == expected {
                return Ok(());
            }
            std::thread::park_timeout(OPEN_PAUSE);
        }
        let opened = opened();
        Err(vec![format!("a core does not run: {opened} of {expected} listeners are open")])
    }

    /// What another process had opened gets what this configuration says of it.
    pub(super) fn tune(&self, config: &Config, logger: &Logger) {
        for listener in self.pools.iter().flatten().filter(|it| self.taken.contains(&it.at)) {
            let Some(pool) = config.pools.get(listener.pool.index()) else { continue };
            let tuned = listen::tune(&listener.socket, pool).and_then(|()| match &listener.at {
                Listen::Unix { path, mode: Some(mode) } => {
                    std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode))
                }
                _ => Ok(()),
            });
            if let Err(error) = tuned {
                let at = listener.at.to_string();
                logger.warn("a listener stays as it was", &[("listen", &at), ("why", &error)]);
            }
        }
    }
}

fn told(errors: Vec<ListenError>) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// Hands listeners to the cores, by core. Gives what went wrong.
fn open_doors(mailboxes: &[MailboxSender], by_core: Vec<Vec<Listener>>) -> Vec<String> {
    send_patiently(mailboxes, by_core.into_iter().map(Letter::Listen))
}

/// Another process has given up to accept from the same sockets: whoever waits there is looked for.
pub(super) fn accept_anew(mailboxes: &[MailboxSender]) -> Vec<String> {
    send_patiently(mailboxes, std::iter::repeat_with(|| Letter::AcceptAnew))
}

/// A letter for each core. Gives what went wrong.
fn send_patiently(
    mailboxes: &[MailboxSender],
    letters: impl Iterator<Item = Letter>,
) -> Vec<String> {
    let cores = mailboxes.iter().zip(letters).enumerate();
    let late = cores.filter_map(|(core, (mailbox, mut letter))| {
        for _ in 0..LETTER_TRIES {
            match mailbox.send(letter) {
                Ok(()) => return None,
                Err(back) => letter = back,
            }
            std::thread::park_timeout(LETTER_PAUSE);
        }
        Some(format!("core {core} does not read its letters: its listeners are as they were"))
    });
    late.collect()
}

/// A listening socket, and what it is for.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) place: Place,
    pub(super) socket: OwnedFd,
}

impl Kept {
    fn of_pool(listener: &Listener) -> io::Result<Kept> {
        let place = Place { role: Role::Pool, at: listener.at.to_string() };
        Ok(Kept { place, socket: listener.socket.try_clone()? })
    }
}

/// The sockets that this process listens on, once more. Cheap to clone. Its lock is taken by
/// threads of the control plane and by main, for moments.
#[derive(Clone, Debug)]
pub(super) struct Book(Arc<ShardedLock<Pages>>);

#[derive(Debug)]
struct Pages {
    /// Somebody may ask for them.
    is_kept: bool,
    kept: Vec<Kept>,
    /// What is done with them just now: nothing else can be begun.
    busy: Option<&'static str>,
}

/// What keeps everything else from beginning until the doors are open …
const STARTS: &str = "this process is only starting";
/// … and for good.
const ENDS: &str = "this process is ending, or was taken over";

impl Book {
    pub(super) fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).kept.len()
    }

    /// Begins something that must not meet another; or says what is under way.
    pub(super) fn begin(&self, what: &'static str) -> Result<(), &'static str> {
        self.change(|pages| match pages.busy {
            Some(busy) => Err(busy),
            None => {
                pages.busy = Some(what);
                Ok(())
            }
        })
    }

    /// What was begun is over.
    pub(super) fn end(&self) {
        self.change(|pages| pages.busy = pages.busy.filter(|busy| *busy == ENDS));
    }

    /// A descriptor of each socket, for another process.
    pub(super) fn copies(&self) -> io::Result<Vec<Kept>> {
        let pages = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let copy =
            |kept: &Kept| Ok(Kept { place: kept.place.clone(), socket: kept.socket.try_clone()? });
        let copies: io::Result<Vec<Kept>> = pages.kept.iter().map(copy).collect();
        handover::distinct(copies?, |kept| &kept.socket)
    }

    /// Closes all of them, for ever.
    pub(super) fn close(&self) {
        self.change(|pages| {
            pages.kept.clear();
            pages.busy = Some(ENDS);
        });
    }

    /// Only `open` ones of the pools are left, and `further` ones come.
    fn follow(&self, open: &[String], further: Vec<Kept>) {
        self.change(|pages| {
            pages
                .kept
                .retain(|kept| kept.place.role != Role::Pool || open.contains(&kept.place.at));
            if pages.is_kept && pages.busy != Some(ENDS) {
                pages.kept.extend(further);
            }
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut Pages) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Opens listeners while the cores run.
pub(super) struct MoreDoors {
    mailboxes: Vec<MailboxSender>,
    book: Book,
    /// By core; not handed over to them yet.
    bound: Vec<Vec<Listener>>,
    /// All addresses of the pools from then on.
    wanted: Vec<String>,
}

impl MoreDoors {
    pub(super) fn new(mailboxes: Vec<MailboxSender>, book: Book) -> MoreDoors {
        MoreDoors { mailboxes, book, bound: Vec::new(), wanted: Vec::new() }
    }
}

impl Doors for MoreDoors {
    fn bind(&mut self, now: &Config, next: &Config) -> Result<(), Vec<String>> {
        let all = |config: &Config| -> Vec<Listen> {
            config.numbered().flat_map(|(_, pool)| pool.listen.iter().cloned()).collect()
        };
        let busy = |what| vec![format!("{what}: nothing can be reloaded meanwhile")];
        self.book.begin("a reload is under way").map_err(busy)?;
        match listen::bind_more(&all(now), next, self.mailboxes.len()) {
            Ok(bound) => {
                self.bound = bound;
                self.wanted = all(next).iter().map(ToString::to_string).collect();
                Ok(())
            }
            Err(errors) => {
                self.book.end();
                Err(told(errors))
            }
        }
    }

    fn open(&mut self) -> Vec<String> {
        let bound = std::mem::take(&mut self.bound);
        let further: io::Result<Vec<Kept>> = bound.iter().flatten().map(Kept::of_pool).collect();
        let mut late = open_doors(&self.mailboxes, bound);
        match further {
            Ok(further) => self.book.follow(&self.wanted, further),
            Err(error) => late.push(format!("not all listeners could be handed over: {error}")),
        }
        self.book.end();
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_done_at_a_time_and_nothing_before_the_start_or_behind_the_end() {
        let openings = Openings {
            pools: Vec::new(),
            admin: None,
            stats: None,
            handover: None,
            taken: Vec::new(),
        };
        let book = openings.book(&crate::config::sample::config(&[("cache", &["s1"])])).unwrap();
        assert_eq!(book.begin("a reload"), Err(STARTS));
        book.end();
        assert_eq!(book.begin("a reload"), Ok(()));
        assert_eq!(book.begin("a handover"), Err("a reload"));
        book.end();
        assert_eq!(book.begin("a handover"), Ok(()));
        book.close();
        book.end();
        assert_eq!(book.begin("a reload"), Err(ENDS));
    }
}
