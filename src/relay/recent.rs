//! What a client sees of its own writes where reads go to replicas: those that it made before a
//! read, and none that it makes behind it.

use crate::base::ids::{ClientId, ShardId};
use crate::base::time::Now;
use crate::relay::Relay;
use crate::relay::client::{Client, Stall};
use crate::relay::lane::Target;
use crate::relay::plants::{Plant, planted};

/// What a client wrote and read last: reads must see the writes before them, and not those behind.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// The slot of its last write, as long as that may be unanswered.
    pub(super) write: Option<u32>,
    /// The slot of its last read from a replica, as long as that may be unanswered.
    pub(super) read: Option<u32>,
    /// It reads from the primary until then.
    until_us: u64,
}

impl Client {
    /// Whether its last write may be missed at a replica.
    pub(super) fn must_see_own_write(&self, now: Now) -> bool {
        self.is_unanswered(self.recent.write) || now.mono_us < self.recent.until_us
    }

    /// Whether it waits for a replica.
    fn reads_at_replica(&self) -> bool {
        self.is_unanswered(self.recent.read)
    }

    fn is_unanswered(&self, slot: Option<u32>) -> bool {
        slot.is_some_and(|seq| self.order.place(seq).is_some())
    }
}

impl Relay {
    /// A write of this client goes to `shard` with its next slot (`None`: to all shards).
    pub(super) fn note_write(&mut self, id: ClientId, shard: Option<ShardId>) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        match shard {
            Some(shard) => client.writes.note(shard),
            None => client.writes.note_all(),
        }
        self.note_own_write(id);
    }

    /// This client writes with its next slot, on whatever connection.
    pub(super) fn note_own_write(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        if self.pools[client.pool.index()].reads.own_writes_us > 0 {
            client.recent.write = Some(client.order.next());
        }
    }

    /// Whether a write has to wait until its client has heard what it asked replicas for: they may
    /// answer late, and must not tell of what was written behind the question.
    pub(super) fn write_waits(&mut self, id: ClientId) -> bool {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return false };
        let waits = client.reads_at_replica() && !planted(Plant::OvertakeReads);
        if waits {
            client.stall = Some(Stall::Lanes);
        }
        waits
    }

    /// One of a client's requests is about to be answered: if its last write is that or comes
    /// behind it, the client can not have heard of the write before.
    pub(super) fn note_answered(&mut self, target: Target, now: Now) {
        let Target::Client { client, seq } = target else { return };
        let Some(client) = self.clients.get_mut(client.index, client.generation) else { return };
        let Some(write) = client.recent.write else { return };
        match (client.order.place(seq), client.order.place(write)) {
            (_, None) => client.recent.write = None,
            (Some(answered), Some(written)) if answered <= written => {
                let window_us = self.pools[client.pool.index()].reads.own_writes_us;
                client.recent.until_us = now.mono_us.saturating_add(window_us);
            }
            _ => {}
        }
    }
}
