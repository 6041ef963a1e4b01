//! Key specifications, tips and summaries, derived from where a line says its keys are and how it
//! is run.

use super::words;
use crate::command::model::{Command, Counted, Keys, Merge, Run, Special, Split};
use crate::resp::encode::{Encoder, bulk, integer};

enum Begin {
    Index(i64),
    Keyword { word: &'static str, from: i64 },
    Unknown,
}

enum Find {
    Range { last: i64, step: i64, limit: i64 },
    Count { step: i64 },
    Unknown,
}

struct Spec {
    begin: Begin,
    find: Find,
    /// Of which key it says what is done, if its own place among the specifications does not tell.
    key: Option<usize>,
}

/// The set of a command's key specifications.
pub(super) fn write(command: &Command, encoder: Encoder, out: &mut Vec<u8>) {
    let specs = specs(command);
    encoder.set_header(out, specs.len());
    for (place, spec) in specs.iter().enumerate() {
        encoder.map_header(out, 3);
        bulk(out, b"flags");
        words(command.access_of(spec.key.unwrap_or(place)).names(), "", encoder, out);
        bulk(out, b"begin_search");
        match spec.begin {
            Begin::Index(index) => part("index", &[("index", index)], encoder, out),
            Begin::Unknown => part("unknown", &[], encoder, out),
            Begin::Keyword { word, from } => {
                typed("keyword", 2, encoder, out);
                bulk(out, b"keyword");
                bulk(out, word.as_bytes());
                bulk(out, b"startfrom");
                integer(out, from);
            }
        }
        bulk(out, b"find_keys");
        match spec.find {
            Find::Range { last, step, limit } => {
                let fields = [("lastkey", last), ("keystep", step), ("limit", limit)];
                part("range", &fields, encoder, out);
            }
            Find::Count { step } => {
                let fields = [("keynumidx", 0), ("firstkey", 1), ("keystep", step)];
                part("keynum", &fields, encoder, out);
            }
            Find::Unknown => part("unknown", &[], encoder, out),
        }
    }
}

fn specs(command: &Command) -> Vec<Spec> {
    let one = || Find::Range { last: 0, step: 1, limit: 0 };
    let spec = |begin, find| Spec { begin, find, key: None };
    let at = |index: i16, find: Find| spec(Begin::Index(i64::from(index)), find);
    let behind = |word, from, find| spec(Begin::Keyword { word, from }, find);
    // Where options can begin: behind what a request has at least.
    let least = i64::from(command.arity.unsigned_abs());
    match command.keys {
        Keys::None => vec![],
        // The keys that SORT's patterns make are read as the first is.
        _ if command.run == Run::Special(Special::Sort) => {
            let patterns = Spec { begin: Begin::Unknown, find: Find::Unknown, key: Some(0) };
            let store = Spec { begin: Begin::Unknown, find: Find::Unknown, key: Some(1) };
            let mut specs = vec![at(1, one()), patterns];
            specs.extend((command.keys == Keys::Sort).then_some(store));
            specs
        }
        Keys::Sort => vec![at(1, one())],
        Keys::Range { first, last, step } => {
            let of = |first, last, step| {
                // Counted from the first key, or from the end if negative.
                let last = if last < 0 { last } else { last - first };
                at(first, Find::Range { last: i64::from(last), step: i64::from(step), limit: 0 })
            };
            match command.access.len() {
                0 | 1 => vec![of(first, last, step)],
                _ => vec![of(first, first, 1), of(first + step, last, step)],
            }
        }
        Keys::Numkeys { at: number, of } => {
            let step = if of == Counted::Pairs { 2 } else { 1 };
            vec![at(number as i16, Find::Count { step })]
        }
        Keys::DestinationNumkeys { at: number } => {
            vec![at(1, one()), at(number as i16, Find::Count { step: 1 })]
        }
        Keys::Georadius => {
            vec![at(1, one()), behind("STORE", least, one()), behind("STOREDIST", least, one())]
        }
        // The first half of what follows; STREAMS, a key and an ID are the last of the least.
        Keys::Streams => {
            vec![behind("STREAMS", least - 3, Find::Range { last: -1, step: 1, limit: 2 })]
        }
        Keys::Migrate => {
            let rest = Find::Range { last: -1, step: 1, limit: 0 };
            vec![at(3, one()), behind("KEYS", -2, rest)]
        }
    }
}

fn part(kind: &str, fields: &[(&str, i64)], encoder: Encoder, out: &mut Vec<u8>) {
    typed(kind, fields.len(), encoder, out);
    for (name, number) in fields {
        bulk(out, name.as_bytes());
        integer(out, *number);
    }
}

fn typed(kind: &str, fields: usize, encoder: Encoder, out: &mut Vec<u8>) {
    encoder.map_header(out, 2);
    bulk(out, b"type");
    bulk(out, kind.as_bytes());
    bulk(out, b"spec");
    encoder.map_header(out, fields);
}

/// Our words for how a command is run; `HELP get` of redis-cli shows them.
pub(super) fn summary(run: Run) -> &'static str {
    match run {
        Run::Forward => "forwarded to the shard of its keys",
        Run::Block(_) => "forwarded to the shard of its keys, on a connection of its own",
        Run::Split(_) => "split over the shards of its keys, the replies merged",
        Run::Fan(_) => "sent to every shard, the replies merged",
        Run::AnyShard => "sent to one shard, whichever",
        Run::OnlyShard => "forwarded if there is one shard only",
        Run::ByArgument(_) => "forwarded to the shard of its channel",
        Run::Local(_) => "answered by the proxy",
        Run::Special(Special::Eval | Special::EvalSha | Special::Fcall) => {
            "forwarded to the shard of its keys, with the body where that is missing"
        }
        Run::Special(Special::ConfigGet) => "answered by the proxy and by what all shards agree on",
        Run::Special(Special::Subscribe(_) | Special::Unsubscribe(_)) => {
            "run by the proxy, which is subscribed to the shards on behalf of its clients"
        }
        Run::Special(Special::Sort) => "forwarded to the shard of its keys and patterns",
        Run::Special(Special::Watch | Special::Unwatch) => {
            "kept on a connection of the client's own, to the shard of its keys"
        }
        Run::Special(Special::Multi | Special::Exec | Special::Discard) => {
            "collected by the proxy, and sent by EXEC as a whole to the shard of all its keys"
        }
        Run::Special(_) => "run over all shards by the proxy",
        Run::Refuse(_) => "not served by this proxy",
    }
}

/// Redis' words for how a command is spread over shards and how the replies are merged.
pub(super) fn tips(run: Run) -> &'static [&'static str] {
    match run {
        Run::Split(Split::Mget) => &["request_policy:multi_shard"],
        Run::Split(Split::Mset) => &["request_policy:multi_shard", "response_policy:all_succeeded"],
        Run::Split(Split::Sum) => &["request_policy:multi_shard", "response_policy:agg_sum"],
        Run::Fan(Merge::AllSucceeded) | Run::Special(Special::ConfigSet) => {
            &["request_policy:all_shards", "response_policy:all_succeeded"]
        }
        Run::Special(Special::ScriptLoad | Special::ScriptFlush) => {
            &["request_policy:all_nodes", "response_policy:all_succeeded"]
        }
        Run::Fan(Merge::OneSucceeded) | Run::Special(Special::Kill) => {
            &["request_policy:all_shards", "response_policy:one_succeeded"]
        }
        Run::Fan(Merge::Sum) => &["request_policy:all_shards", "response_policy:agg_sum"],
        Run::Fan(Merge::Min | Merge::MinOfEach) | Run::Special(Special::Wait) => {
            &["request_policy:all_shards", "response_policy:agg_min"]
        }
        Run::Fan(Merge::LogicalAnd) => {
            &["request_policy:all_shards", "response_policy:agg_logical_and"]
        }
        Run::Fan(Merge::Concat) => &["request_policy:all_shards"],
        Run::Special(Special::RandomKey) => {
            &["request_policy:all_shards", "response_policy:special"]
        }
        Run::Special(Special::Scan) => &["request_policy:special", "response_policy:special"],
        Run::Special(
            Special::Eval
            | Special::EvalSha
            | Special::Fcall
            | Special::Sort
            | Special::ConfigGet
            | Special::Multi
            | Special::Exec
            | Special::Discard
            | Special::Watch
            | Special::Unwatch
            | Special::Subscribe(_)
            | Special::Unsubscribe(_),
        )
        | Run::Forward
        | Run::Block(_)
        | Run::AnyShard
        | Run::OnlyShard
        | Run::ByArgument(_)
        | Run::Local(_)
        | Run::Refuse(_) => &[],
    }
}
