//! Channels of the world's stores: who is subscribed there, and messages to them.

use std::collections::BTreeSet;

use crate::base::ids::LaneId;
use crate::command::glob::matches;
use crate::relay::world::World;
use crate::resp::args::Request;
use crate::resp::encode;

/// How a request, its answer and its messages begin: channels, patterns, shard channels.
pub(super) const KINDS: [&str; 3] = ["", "p", "s"];

/// What a connection is subscribed to: kind and name.
pub(super) type Topics = BTreeSet<(usize, Vec<u8>)>;

/// Answers a request about subscriptions, with this error if there is one. `false`: it is none.
pub(super) fn subscribe(
    topics: &mut Topics,
    request: &Request<'_>,
    refusal: Option<&str>,
    out: &mut Vec<u8>,
) -> bool {
    let name = String::from_utf8_lossy(request.name()).to_lowercase();
    if name == "ping" && request.len() == 1 && !topics.is_empty() {
        out.extend_from_slice(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n");
        return true;
    }
    let Some(kind) = KINDS.iter().position(|kind| {
        name == format!("{kind}subscribe") || name == format!("{kind}unsubscribe")
    }) else {
        return false;
    };
    if let Some(refusal) = refusal {
        encode::error(out, refusal);
        return true;
    }
    for topic in request.iter().skip(1) {
        let topic = (kind, topic.to_vec());
        if name.ends_with("unsubscribe") {
            topics.remove(&topic);
        } else {
            topics.insert(topic.clone());
        }
        let same_count = |of: &usize| (*of == 2) == (kind == 2);
        let count = topics.iter().filter(|(of, _)| same_count(of)).count();
        encode::array_header(out, 3);
        encode::bulk(out, name.as_bytes());
        encode::bulk(out, &topic.1);
        encode::integer(out, count as i64);
    }
    true
}

/// What a connection hears of a message in this channel.
pub(super) fn messages(topics: &Topics, channel: &str, text: &str, sharded: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, topic) in topics {
        let hears = match kind {
            1 => !sharded && matches(topic, channel.as_bytes()),
            _ => topic == channel.as_bytes() && sharded == (*kind == 2),
        };
        if !hears {
            continue;
        }
        encode::array_header(&mut out, if *kind == 1 { 4 } else { 3 });
        encode::bulk(&mut out, format!("{}message", KINDS[*kind]).as_bytes());
        if *kind == 1 {
            encode::bulk(&mut out, topic);
        }
        encode::bulk(&mut out, channel.as_bytes());
        encode::bulk(&mut out, text.as_bytes());
    }
    out
}

impl World {
    /// This text is published on a shard; gives the number of connections that hear of it.
    pub(super) fn publish_on(&mut self, shard: usize, channel: &str, text: &str) -> usize {
        self.publish_as(shard, (channel, text), false)
    }

    /// The same by SPUBLISH.
    pub(super) fn spublish_on(&mut self, shard: usize, channel: &str, text: &str) -> usize {
        self.publish_as(shard, (channel, text), true)
    }

    fn publish_as(&mut self, shard: usize, (channel, text): (&str, &str), sharded: bool) -> usize {
        let there = self.lanes.iter().filter(|(_, lane)| lane.shard == shard);
        let heard: Vec<(LaneId, Vec<u8>)> = there
            .map(|(id, lane)| (*id, messages(&lane.topics, channel, text, sharded)))
            .filter(|(_, bytes)| !bytes.is_empty())
            .collect();
        for (id, bytes) in &heard {
            self.reply(*id, bytes);
        }
        self.run();
        heard.len()
    }

    /// The topics that connections to a shard are subscribed to.
    pub(super) fn topics_on(&self, shard: usize) -> Vec<String> {
        let there = self.lanes.iter().filter(|(_, lane)| lane.shard == shard);
        let topics = there.flat_map(|(_, lane)| &lane.topics);
        topics.map(|(_, name)| String::from_utf8_lossy(name).into_owned()).collect()
    }
}
