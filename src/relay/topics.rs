//! Topics: what clients of this core listen to, and how far the redis-servers have been asked for
//! it. A topic is there as long as somebody listens to it or wants to.
//!
//! Its messages are looked up by name, its listeners are walked for each message: so they stand in
//! a list, and each client knows its place in it.

use std::sync::Arc;

use ahash::AHashMap;

use crate::base::ids::{ClientId, PoolId, ShardId};
use crate::base::limits::{LISTENER_BYTES, TOPIC_BYTES};
use crate::base::slab::Slab;
use crate::command::model::TopicKind;

/// Index and generation in `Topics::slab`.
pub(super) type TopicId = (u32, u32);

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) pool: PoolId,
    pub(super) kind: TopicKind,
    pub(super) name: Arc<[u8]>,
    pub(super) place: Place,
    /// Who has heard that it is subscribed, or hears it next.
    pub(super) listeners: Vec<ClientId>,
    /// Requests to subscribe under way that name it …
    pub(super) holders: u32,
    /// … and those of them that can not go on before it is confirmed.
    pub(super) waiters: Vec<(u32, u32)>,
}

/// Where a topic's messages come from, and how far each shard's lane is with it.
#[derive(Debug)]
pub(super) struct Place {
    /// The only shard, or the first of all.
    first: u16,
    lanes: Box<[Upstream]>,
}

/// Of the lane's present connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upstream {
    Unasked,
    Asked,
    Confirmed,
}

/// All topics of a core.
#[derive(Debug, Default)]
pub(super) struct Topics {
    slab: Slab<Topic>,
    /// By pool and kind.
    names: Vec<[AHashMap<Arc<[u8]>, TopicId>; 3]>,
    /// Memory that all topics and their listeners take, about.
    pub(super) bytes: usize,
}

impl Place {
    /// A channel lives on the shard of its name.
    pub(super) fn one(shard: ShardId) -> Place {
        Place { first: shard.0, lanes: Box::new([Upstream::Unasked]) }
    }

    /// A pattern may match the channels of any.
    pub(super) fn all(shards: u16) -> Place {
        Place { first: 0, lanes: vec![Upstream::Unasked; usize::from(shards)].into() }
    }

    pub(super) fn on(&self, shard: ShardId) -> Option<Upstream> {
        let at = shard.0.checked_sub(self.first)?;
        self.lanes.get(usize::from(at)).copied()
    }

    pub(super) fn set(&mut self, shard: ShardId, upstream: Upstream) {
        let at = usize::from(shard.0.wrapping_sub(self.first));
        if let Some(lane) = self.lanes.get_mut(at) {
            *lane = upstream;
        }
    }

    /// What is published from now on comes, wherever it is published.
    pub(super) fn is_confirmed(&self) -> bool {
        self.lanes.iter().all(|lane| *lane == Upstream::Confirmed)
    }

    pub(super) fn shards(&self) -> impl Iterator<Item = (ShardId, Upstream)> + use<> {
        let lanes = self.lanes.clone();
        let first = self.first;
        (0..lanes.len()).map(move |at| (ShardId(first + at as u16), lanes[at]))
    }
}

impl Topics {
    pub(super) fn find(&self, pool: PoolId, kind: TopicKind, name: &[u8]) -> Option<TopicId> {
        self.names.get(pool.index())?[kind as usize].get(name).copied()
    }

    pub(super) fn get(&self, id: TopicId) -> Option<&Topic> {
        self.slab.get(id.0, id.1)
    }

    pub(super) fn get_mut(&mut self, id: TopicId) -> Option<&mut Topic> {
        self.slab.get_mut(id.0, id.1)
    }

    pub(super) fn is_confirmed(&self, id: TopicId) -> bool {
        self.get(id).is_some_and(|topic| topic.place.is_confirmed())
    }

    /// A fresh one; there is none of this name.
    pub(super) fn insert(
        &mut self,
        pool: PoolId,
        kind: TopicKind,
        name: &[u8],
        place: Place,
    ) -> TopicId {
        let name: Arc<[u8]> = name.into();
        self.bytes += TOPIC_BYTES + name.len() + place.lanes.len();
        let (listeners, waiters) = (Vec::new(), Vec::new());
        let names = name.clone();
        let topic = Topic { pool, kind, name, place, listeners, holders: 0, waiters };
        let id = self.slab.insert(topic);
        if self.names.len() <= pool.index() {
            self.names.resize_with(pool.index() + 1, Default::default);
        }
        self.names[pool.index()][kind as usize].insert(names, id);
        id
    }

    /// Takes it out if nobody wants it any more.
    pub(super) fn take_unwanted(&mut self, id: TopicId) -> Option<Topic> {
        let topic = self.get(id)?;
        if !topic.listeners.is_empty() || topic.holders > 0 {
            return None;
        }
        let topic = self.slab.remove(id.0, id.1)?;
        self.bytes -= TOPIC_BYTES + topic.name.len() + topic.place.lanes.len();
        self.names[topic.pool.index()][topic.kind as usize].remove(&topic.name);
        Some(topic)
    }

    /// Gives the listener's place, by which it leaves.
    pub(super) fn listen(&mut self, id: TopicId, client: ClientId) -> Option<u32> {
        let topic = self.slab.get_mut(id.0, id.1)?;
        topic.listeners.push(client);
        self.bytes += LISTENER_BYTES;
        Some(topic.listeners.len() as u32 - 1)
    }

    /// The listener at `place` leaves. Another one may have moved there: it has to be told.
    pub(super) fn leave(&mut self, id: TopicId, place: u32) -> Option<ClientId> {
        let topic = self.slab.get_mut(id.0, id.1)?;
        topic.listeners.swap_remove(place as usize);
        self.bytes -= LISTENER_BYTES;
        topic.listeners.get(place as usize).copied()
    }

    /// From now on its messages come from other shards; what is known of those that stay stays
    /// known. Gives where they came from.
    pub(super) fn replace(&mut self, id: TopicId, mut place: Place) -> Option<Place> {
        let topic = self.slab.get_mut(id.0, id.1)?;
        if (topic.place.first, topic.place.lanes.len()) == (place.first, place.lanes.len()) {
            return None;
        }
        self.bytes = self.bytes + place.lanes.len() - topic.place.lanes.len();
        for (shard, upstream) in topic.place.shards() {
            place.set(shard, upstream);
        }
        Some(std::mem::replace(&mut topic.place, place))
    }

    pub(super) fn of_pool(&self, pool: PoolId) -> Vec<TopicId> {
        let of_pool = self.slab.iter().filter(|(_, _, topic)| topic.pool == pool);
        of_pool.map(|(index, generation, _)| (index, generation)).collect()
    }

    /// Those that a shard's lane has to ask for.
    pub(super) fn of_shard(&self, pool: PoolId, shard: ShardId) -> Vec<TopicId> {
        self.slab
            .iter()
            .filter(|(_, _, topic)| topic.pool == pool && topic.place.on(shard).is_some())
            .map(|(index, generation, _)| (index, generation))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: PoolId = PoolId(1);

    #[test]
    fn a_topic_is_there_while_somebody_wants_it() {
        let mut topics = Topics::default();
        let id = topics.insert(POOL, TopicKind::Channel, b"news", Place::one(ShardId(2)));
        assert_eq!(topics.find(POOL, TopicKind::Channel, b"news"), Some(id));
        assert_eq!(topics.find(POOL, TopicKind::Pattern, b"news"), None);
        assert_eq!(topics.find(PoolId(0), TopicKind::Channel, b"news"), None);
        let clients = [3, 4, 5].map(|index| ClientId { index, generation: 1 });
        let places = clients.map(|client| topics.listen(id, client).unwrap());
        assert_eq!(places, [0, 1, 2]);
        assert!(topics.take_unwanted(id).is_none());
        assert_eq!(topics.leave(id, 0), Some(clients[2]), "the last one has moved to its place");
        assert_eq!(topics.leave(id, 1), None);
        assert_eq!(topics.leave(id, 0), None);
        topics.get_mut(id).unwrap().holders = 1;
        assert!(topics.take_unwanted(id).is_none(), "somebody is about to listen");
        topics.get_mut(id).unwrap().holders = 0;
        assert_eq!(&*topics.take_unwanted(id).unwrap().name, b"news");
        assert_eq!(topics.find(POOL, TopicKind::Channel, b"news"), None);
        assert_eq!(topics.bytes, 0, "all of it is given back");
    }

    #[test]
    fn a_place_is_confirmed_when_every_lane_of_it_is() {
        let mut one = Place::one(ShardId(7));
        assert_eq!((one.on(ShardId(6)), one.on(ShardId(8))), (None, None));
        one.set(ShardId(6), Upstream::Confirmed);
        assert!(!one.is_confirmed());
        one.set(ShardId(7), Upstream::Confirmed);
        assert!(one.is_confirmed());
        let mut all = Place::all(3);
        for shard in 0..3 {
            assert!(!all.is_confirmed());
            all.set(ShardId(shard), Upstream::Confirmed);
        }
        assert!(all.is_confirmed());
        all.set(ShardId(1), Upstream::Asked);
        let shards: Vec<_> = all.shards().map(|(shard, upstream)| (shard.0, upstream)).collect();
        let (asked, confirmed) = (Upstream::Asked, Upstream::Confirmed);
        assert_eq!(shards, [(0, confirmed), (1, asked), (2, confirmed)]);
    }
}
