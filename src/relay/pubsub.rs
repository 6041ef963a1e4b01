//! PUBSUB: what the pool's clients are subscribed to, on all cores.
//!
//! A redis-server can not tell: it knows one connection for each core. So each core tells of its own
//! clients (see `cores`), and the parts are put together. Who is subscribed by another proxy, or
//! without one, is not in it.

use ahash::AHashSet;

use crate::base::ids::ClientId;
use crate::base::time::Now;
use crate::command::glob;
use crate::command::model::{Command, TopicKind};
use crate::relay::Relay;
use crate::relay::query::{ClientQuery, Deed};
use crate::resp::args::Request;
use crate::resp::{encode, value};

/// PUBSUB, and which of its subcommands.
const WORDS: usize = 2;

impl Relay {
    /// PUBSUB CHANNELS [pattern], NUMSUB [channel …], NUMPAT, and those of shard channels.
    pub(super) fn pubsub(
        &mut self,
        id: ClientId,
        command: &'static Command,
        deed: Deed,
        request: &Request<'_>,
        now: Now,
    ) {
        if matches!(deed, Deed::Topics(_)) && request.len() > WORDS + 1 {
            let word = String::from_utf8_lossy(request.arg(1)).into_owned();
            let text = format!(
                "ERR unknown subcommand or wrong number of arguments for '{word}'. Try PUBSUB HELP."
            );
            self.refuse(id, &text);
            return;
        }
        let Some(client) = self.client(id) else { return };
        let mut query = ClientQuery::all(client.pool, client.number, deed);
        query.names = request.iter().skip(WORDS).map(<[u8]>::to_vec).collect();
        self.query_clients(id, command.family, query, now);
    }

    /// What this core's clients are subscribed to: names, or names and numbers by turns.
    pub(super) fn topics_here(&self, query: &ClientQuery<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        match query.deed {
            Deed::Numsub(kind) => {
                encode::array_header(&mut out, 2 * query.names.len());
                for name in &query.names {
                    let topic = self.topics.find(query.pool, kind, name);
                    let topic = topic.and_then(|id| self.topics.get(id));
                    encode::bulk(&mut out, name);
                    encode::integer(
                        &mut out,
                        topic.map_or(0, |topic| topic.listeners.len()) as i64,
                    );
                }
            }
            Deed::Topics(kind) => self.write_names(query, kind, &mut out),
            _ => self.write_names(query, TopicKind::Pattern, &mut out),
        }
        out
    }

    fn write_names(&self, query: &ClientQuery<'_>, kind: TopicKind, out: &mut Vec<u8>) {
        let wanted = query.names.first().map(Vec::as_slice);
        let ids = self.topics.of_pool(query.pool);
        let topics = ids.iter().filter_map(|id| self.topics.get(*id));
        let names: Vec<&[u8]> = topics
            .filter(|topic| topic.kind == kind && !topic.listeners.is_empty())
            .map(|topic| &*topic.name)
            .filter(|name| wanted.is_none_or(|pattern| glob::matches(pattern, name)))
            .collect();
        encode::array_header(out, names.len());
        names.iter().for_each(|name| encode::bulk(out, name));
    }
}

/// The answer of all cores that have given theirs.
pub(super) fn merge(deed: Deed, parts: &[Vec<u8>], out: &mut Vec<u8>) {
    let parts: Vec<_> = parts.iter().filter_map(|part| value::elements(part)).collect();
    if matches!(deed, Deed::Numsub(_)) {
        let all: Vec<Vec<&[u8]>> = parts.into_iter().map(Iterator::collect).collect();
        let first = all.first().map(Vec::as_slice).unwrap_or_default();
        encode::array_header(out, first.len());
        for (at, name) in first.iter().enumerate().step_by(2) {
            let numbers = all.iter().filter_map(|part| value::integer(part.get(at + 1)?));
            out.extend_from_slice(name);
            encode::integer(out, numbers.sum());
        }
        return;
    }
    // The same channel may have listeners on several cores.
    let mut seen = AHashSet::new();
    let names = parts.into_iter().flatten();
    let names: Vec<&[u8]> = names.filter(|name| seen.insert(*name)).collect();
    if deed == Deed::Numpat {
        return encode::integer(out, names.len() as i64);
    }
    encode::array_header(out, names.len());
    names.iter().for_each(|name| out.extend_from_slice(name));
}
