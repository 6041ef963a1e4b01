//! A lane: the connection of this core to one node, in one protocol version and one database,
//! shared by many clients.

use std::collections::VecDeque;

use crate::base::buffer::Outbox;
use crate::base::ids::{ClientId, PoolId, ShardId};
use crate::base::limits;
use crate::command::shape::{Asked, Kinds};
use crate::relay::block::Block;
use crate::relay::hold::Watch;
use crate::relay::private::Private;
use crate::relay::replicas::ReplicaLane;
use crate::relay::step::Fence;
use crate::relay::subscriber::Subscriptions;
use crate::resp::Protocol;
use crate::resp::reply::ReplyScanner;

/// In the place of a database: lanes for what must get past the requests of the others, opened when
/// first needed. They select nothing: a redis that is busy with a script would refuse it.
pub(super) const CONTROL: u32 = u32::MAX;
/// The same for the lanes that subscribe: one for each node, whatever number of clients listens.
pub(super) const SUBSCRIBER: u32 = u32::MAX - 1;
/// The same for the lanes on which redis tells what is written: one for each node (see `tracking`).
pub(super) const TRACKER: u32 = u32::MAX - 2;

/// The lane keeps its place in `Relay::lanes` for ever; its connections come and go, each under
/// the next generation.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) pool: PoolId,
    pub(super) shard: ShardId,
    pub(super) protocol: Protocol,
    pub(super) database: u32,
    /// Types of replies that this protocol version has.
    pub(super) kinds: Kinds,

    pub(super) generation: u32,
    pub(super) state: LaneState,
    /// Connections that failed or were lost in a row, without a reply in between.
    pub(super) failures: u32,
    /// Connections that stood and were lost.
    pub(super) losses: u32,
    /// Why the last connection ended; heard by those who ask while it is down.
    pub(super) why: String,

    /// The hand-shake's bytes; alone on the way until all of it is answered.
    pub(super) greeting: Vec<u8>,
    /// Requests, sent when the lane is ready.
    pub(super) outbox: Outbox,
    pub(super) sending_bytes: usize,
    pub(super) dirty: bool,

    /// What has been enqueued and not been answered, oldest first. Pairing is by position.
    pub(super) inflight: VecDeque<Token>,
    /// How many at the front have passed their deadline: their replies will be dropped.
    pub(super) expired: usize,
    /// How many at the front have had their bytes taken by the reactor: a reply to any other is a
    /// stray one.
    pub(super) sent: usize,
    /// Replies that are not in the statistics yet.
    pub(super) uncounted: u64,
    pub(super) scanner: ReplyScanner,
    /// The bytes of an unfinished reply.
    pub(super) tail: Vec<u8>,
    pub(super) flow: Flow,
    pub(super) fence: Fence,
    /// How far the oldest request in flight is answered, if it is a block.
    pub(super) block: Block,
    pub(super) heard_us: u64,
    /// Clients that wait for this lane to drain.
    pub(super) feeders: Vec<ClientId>,
    /// Replies are paired and passed on, and that is all: neither has anything to be remembered of
    /// the requests (`watch`, `replica`), nor does its pool read from replicas.
    pub(super) plain: bool,
    /// Of a lane whose primary is watched.
    pub(super) watch: Option<Box<Watch>>,
    /// Of a lane that is lent to one client at a time.
    pub(super) private: Option<Box<Private>>,
    /// Of a lane to a replica.
    pub(super) replica: Option<Box<ReplicaLane>>,
    /// Of a lane that subscribes, and has nothing else in flight.
    pub(super) subscriber: Option<Box<Subscriptions>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneState {
    /// Not connected, and nobody has asked for it.
    Idle,
    Connecting {
        until_us: u64,
    },
    /// Connected; `left` replies of the hand-shake are still to come.
    Greeting {
        left: u8,
        until_us: u64,
    },
    Ready,
    /// Connected, and what was sent is answered, but nothing more is sent (watched lanes only).
    Stopped,
    /// Connected to where the shard was: what was sent there is answered, what comes now waits for
    /// the connection to where it is (lanes that are not watched only).
    Leaving {
        since_us: u64,
    },
    /// Not connected until the primary is verified (watched lanes only).
    Held,
    /// Lost, or never there; connected again at this time.
    Down {
        until_us: u64,
    },
}

/// Where the bytes of an unfinished reply go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// To `tail`.
    Collect,
    /// Straight to the client, whose next reply it is; part of it has gone already.
    Stream,
    /// Nowhere: nobody waits for it any more.
    Drop,
}

/// One request in flight: who hears the reply, and since when it waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) target: Target,
    /// When it was enqueued; its deadline counts from here.
    pub(super) since_us: u64,
    pub(super) asked: Asked,
}

/// In the place of [`Token::since_us`]: a request that blocks, whose time is no latency.
pub(super) const NEVER_US: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The slot `seq` of a client.
    Client { client: ClientId, seq: u32 },
    /// Part `part` of a gather.
    Gather { index: u32, generation: u32, part: u32 },
    /// The lane itself, which knows what it must hear.
    Fence,
    /// Nobody: the reply is consumed and dropped (past its deadline, or our own SCRIPT LOAD).
    Nobody,
}

const _: () = assert!(size_of::<Token>() <= 32, "tokens stand in rings by the ten thousand");

impl Lane {
    pub(super) fn new(pool: PoolId, shard: ShardId, protocol: Protocol, database: u32) -> Lane {
        Lane {
            pool,
            shard,
            protocol,
            database,
            kinds: match protocol {
                Protocol::Resp2 => Kinds::RESP2,
                Protocol::Resp3 => Kinds::ANY,
            },
            generation: 1,
            state: LaneState::Idle,
            failures: 0,
            losses: 0,
            why: String::new(),
            greeting: Vec::new(),
            outbox: Outbox::default(),
            sending_bytes: 0,
            dirty: false,
            inflight: VecDeque::new(),
            expired: 0,
            sent: 0,
            uncounted: 0,
            scanner: ReplyScanner::default(),
            tail: Vec::new(),
            flow: Flow::Collect,
            fence: Fence::default(),
            block: Block::default(),
            heard_us: 0,
            feeders: Vec::new(),
            plain: true,
            watch: None,
            private: None,
            replica: None,
            subscriber: (database == SUBSCRIBER).then(Box::default),
        }
    }

    /// The database of its requests, if they have one that a fresh connection has not.
    pub(super) fn database_to_select(&self) -> Option<u32> {
        (!matches!(self.database, 0 | CONTROL | SUBSCRIBER | TRACKER)).then_some(self.database)
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.state, LaneState::Greeting { .. }) || self.is_greeted()
    }

    /// Whether a push that has not come whole is collected: one that has become too long is not.
    pub(super) fn collects_push(&self) -> bool {
        self.is_tracker() && self.tail.len() < limits::INVALIDATION_MAX_BYTES
    }

    /// Its replies are replies to requests.
    pub(super) fn is_greeted(&self) -> bool {
        matches!(self.state, LaneState::Ready | LaneState::Stopped | LaneState::Leaving { .. })
    }

    /// Bytes that wait to be given to the kernel.
    pub(super) fn output_bytes(&self) -> usize {
        self.outbox.bytes() + self.sending_bytes
    }

    /// The longest pause before the next attempt, ms: it doubles with every failure.
    pub(super) fn backoff_ms(&self) -> u64 {
        backoff_ms(self.failures)
    }
}

/// The longest pause after so many failures in a row, ms.
pub(super) fn backoff_ms(failures: u32) -> u64 {
    if failures <= 1 {
        return limits::RECONNECT_FIRST_MS;
    }
    let doubled = limits::RECONNECT_FIRST_MS << (failures - 1).min(20);
    doubled.min(limits::RECONNECT_MAX_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_its_bound() {
        let mut lane = Lane::new(PoolId(0), ShardId(0), Protocol::Resp2, 0);
        let mut pauses = Vec::new();
        for failures in 1..=12 {
            lane.failures = failures;
            pauses.push(lane.backoff_ms());
        }
        assert_eq!(pauses[..4], [10, 20, 40, 80]);
        assert_eq!(pauses[11], limits::RECONNECT_MAX_MS);
        lane.failures = u32::MAX;
        assert_eq!(lane.backoff_ms(), limits::RECONNECT_MAX_MS);
    }
}
