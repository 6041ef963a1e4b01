//! The door between the planes: one bounded, lock-free mailbox for each core, and a wake-up.
//!
//! Letters are whole and immutable. The sender's end may be cloned and used by any thread: the
//! control plane, and other cores that pass on a client, a script, a query or an answer. The
//! receiver's end belongs to one reactor. It must never block anybody, and never lose a topology or
//! an order to end.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;

use crate::base::ids::PoolId;
use crate::base::limits::MAILBOX_LETTERS;
use crate::net::listen::Listener;
use crate::net::wake::WakeFd;
use crate::relay::api::Shared as News;
use crate::topology::Topology;

/// What a core can be told.
#[derive(Debug)]
pub enum Letter {
    /// A newer one replaces one that was not read yet.
    Topology(Arc<Topology>),
    /// More sockets to listen on; after the topology that has their pools.
    Listen(Vec<Listener>),
    /// Look who waits at the doors: another process, which waited there too, has given up.
    AcceptAnew,
    /// What another core tells.
    Shared(News),
    /// A fresh connection that another core accepted and counted as this core's.
    Client { pool: PoolId, socket: OwnedFd },
    /// Accept nobody any more; end when the last client has left, or after `grace_ms`. May be told
    /// again, with another grace.
    Drain { grace_ms: u64 },
    /// End now.
    Stop,
}

/// No order to drain.
const NO_DRAIN: u64 = u64::MAX;

#[derive(Debug)]
struct Shared {
    letters: ArrayQueue<Letter>,
    topology: ArrayQueue<Arc<Topology>>,
    /// Milliseconds of grace, or [`NO_DRAIN`].
    drain_ms: AtomicU64,
    stop: AtomicBool,
    /// The next letter has to wake the core; after it a whole batch costs nothing more.
    needs_wake: AtomicBool,
    wake: WakeFd,
}

/// The receiving end: one core's.
#[derive(Debug)]
pub struct Mailbox {
    shared: Arc<Shared>,
}

/// The sending end, for any thread.
#[derive(Clone, Debug)]
pub struct MailboxSender {
    shared: Arc<Shared>,
}

/// A mailbox for one core. Fails when descriptors have run out.
pub fn mailbox() -> std::io::Result<(MailboxSender, Mailbox)> {
    let shared = Arc::new(Shared {
        letters: ArrayQueue::new(MAILBOX_LETTERS),
        topology: ArrayQueue::new(1),
        drain_ms: AtomicU64::new(NO_DRAIN),
        stop: AtomicBool::new(false),
        needs_wake: AtomicBool::new(true),
        wake: WakeFd::new()?,
    });
    Ok((MailboxSender { shared: shared.clone() }, Mailbox { shared }))
}

impl MailboxSender {
    /// Puts a letter in and wakes the core if that has not been done already. A client, listeners or
    /// another core's news come back if [`MAILBOX_LETTERS`] of them wait; topologies and orders
    /// always go in.
    pub fn send(&self, letter: Letter) -> Result<(), Letter> {
        match letter {
            Letter::Topology(topology) => {
                self.shared.topology.force_push(topology);
            }
            Letter::Drain { grace_ms } => {
                self.shared.drain_ms.store(grace_ms.min(NO_DRAIN - 1), Ordering::SeqCst);
            }
            Letter::Stop => self.shared.stop.store(true, Ordering::SeqCst),
            other => self.shared.letters.push(other)?,
        }
        if self.shared.needs_wake.swap(false, Ordering::SeqCst) {
            self.shared.wake.wake();
        }
        Ok(())
    }
}

impl Mailbox {
    /// What the core's ring has to watch; after it fired: `begin`, then `next` until `None`.
    pub fn wake_fd(&self) -> WakeFd {
        self.shared.wake.clone()
    }

    /// Before a round of reading: whatever is sent from now on wakes the core again. (Afterwards
    /// would be too late: a letter put in between the last look and this would lie there unseen.)
    pub fn begin(&self) {
        // A swap, not a store: it reads what a sender wrote there, and so sees that sender's
        // letter.
        self.shared.needs_wake.swap(true, Ordering::SeqCst);
    }

    /// Orders first, then the topology, then the rest in the order in which it was sent.
    pub fn next(&self) -> Option<Letter> {
        if self.shared.stop.swap(false, Ordering::SeqCst) {
            return Some(Letter::Stop);
        }
        let grace_ms = self.shared.drain_ms.swap(NO_DRAIN, Ordering::SeqCst);
        if grace_ms != NO_DRAIN {
            return Some(Letter::Drain { grace_ms });
        }
        if let Some(topology) = self.shared.topology.pop() {
            return Some(Letter::Topology(topology));
        }
        self.shared.letters.pop()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;

    fn epoch(epoch: u64) -> Letter {
        let config = crate::config::sample::config(&[]);
        Letter::Topology(Arc::new(Topology { epoch, config, pools: Vec::new() }))
    }

    fn script() -> Letter {
        Letter::Shared(News::ScriptFlush(PoolId(0)))
    }

    /// Reads the wake descriptor's counter without waiting: 0 if nobody has written.
    fn wakes(mailbox: &Mailbox) -> u64 {
        let fd = mailbox.wake_fd().as_fd().try_clone_to_owned().unwrap();
        socket2::SockRef::from(&fd).set_nonblocking(true).unwrap();
        let mut count = [0; 8];
        match std::fs::File::from(fd).read_exact(&mut count) {
            Ok(()) => u64::from_ne_bytes(count),
            Err(_) => 0,
        }
    }

    #[test]
    fn a_batch_costs_one_wake() {
        let (sender, mailbox) = mailbox().unwrap();
        for _ in 0..100 {
            sender.send(script()).unwrap();
        }
        assert_eq!(wakes(&mailbox), 1);
        mailbox.begin();
        assert_eq!(std::iter::from_fn(|| mailbox.next()).count(), 100);
        sender.send(script()).unwrap();
        assert_eq!(wakes(&mailbox), 1);
    }

    #[test]
    fn a_full_mailbox_gives_letters_back_but_takes_topologies_and_orders() {
        let (sender, mailbox) = mailbox().unwrap();
        for _ in 0..MAILBOX_LETTERS {
            sender.send(script()).unwrap();
        }
        assert!(matches!(sender.send(script()), Err(Letter::Shared(_))));
        for n in 1..=3 {
            sender.send(epoch(n)).unwrap();
        }
        sender.send(Letter::Drain { grace_ms: 7 }).unwrap();
        sender.send(Letter::Stop).unwrap();
        assert!(matches!(mailbox.next(), Some(Letter::Stop)));
        assert!(matches!(mailbox.next(), Some(Letter::Drain { grace_ms: 7 })));
        match mailbox.next() {
            Some(Letter::Topology(topology)) => assert_eq!(topology.epoch, 3),
            other => panic!("{other:?}"),
        }
        assert_eq!(std::iter::from_fn(|| mailbox.next()).count(), MAILBOX_LETTERS);
    }

    #[test]
    fn no_letter_is_left_lying_without_a_wake() {
        const EACH: usize = 20_000;
        let (sender, mailbox) = mailbox().unwrap();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    for _ in 0..EACH {
                        let mut letter = script();
                        while let Err(back) = sender.send(letter) {
                            letter = back;
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        // A lost wake makes the reader wait for ever; it is waited for no longer than that.
        let (done, all_seen) = crossbeam::channel::bounded(1);
        std::thread::spawn(move || {
            let mut seen = 0;
            while seen < 2 * EACH {
                let mut count = [0; 8];
                let fd = mailbox.wake_fd().as_fd().try_clone_to_owned().unwrap();
                std::fs::File::from(fd).read_exact(&mut count).unwrap();
                mailbox.begin();
                seen += std::iter::from_fn(|| mailbox.next()).count();
            }
            done.send(seen).unwrap();
        });
        let seen = all_seen.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(seen, 2 * EACH);
    }
}
