//! Key specifications, tips and summaries, derived from where a line says its keys are and how it is run.

use crate::command::flags::Flags;
use crate::command::model::{Command, Counted, Family, Keys, Merge, Run, Special, Split};
use crate::resp::encode::{Encoder, bulk, integer, simple};

/// What a command does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Overwrite,
    /// The worst is assumed, as redis does for scripts.
    ReadAndWrite,
    /// A channel, which is routed like a key.
    NotAKey,
}

impl Access {
    pub(super) fn write(self, encoder: Encoder, out: &mut Vec<u8>) {
        let words: &[&str] = match self {
            Access::Read => &["RO", "access"],
            Access::Overwrite => &["OW", "update"],
            Access::ReadAndWrite => &["RW", "access", "update"],
            Access::NotAKey => &["not_key"],
        };
        encoder.set_header(out, words.len());
        for word in words {
            simple(out, word);
        }
    }
}

/// What is done with the key at `place` of a request's list of keys: a destination stands first,
/// but for those behind an option, which stand behind the key that is read.
pub(super) fn access(command: &Command, place: usize) -> Access {
    match (command.keys, place) {
        (Keys::DestinationNumkeys { .. }, 0) => Access::Overwrite,
        (Keys::DestinationNumkeys { .. }, _) | (Keys::Sort | Keys::Georadius, 0) => Access::Read,
        (Keys::Sort | Keys::Georadius, _) => Access::Overwrite,
        _ if command.family == Family::PubSub => Access::NotAKey,
        _ if command.flags.contains(Flags::READONLY) => Access::Read,
        _ => Access::ReadAndWrite,
    }
}

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
}

/// The set of a command's key specifications.
pub(super) fn write(command: &Command, encoder: Encoder, out: &mut Vec<u8>) {
    let specs = specs(command.keys);
    encoder.set_header(out, specs.len());
    for (place, spec) in specs.iter().enumerate() {
        encoder.map_header(out, 3);
        bulk(out, b"flags");
        access(command, place).write(encoder, out);
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

fn specs(keys: Keys) -> Vec<Spec> {
    let one = || Find::Range { last: 0, step: 1, limit: 0 };
    let at = |index: i64, find: Find| Spec { begin: Begin::Index(index), find };
    let behind = |word, from, find| Spec { begin: Begin::Keyword { word, from }, find };
    match keys {
        Keys::None => vec![],
        Keys::Range { first, last, step } => {
            // Counted from the first key, or from the end if negative.
            let last = if last < 0 { last } else { last - first };
            let find = Find::Range { last: i64::from(last), step: i64::from(step), limit: 0 };
            vec![at(i64::from(first), find)]
        }
        Keys::Numkeys { at: number, of } => {
            let step = if of == Counted::Pairs { 2 } else { 1 };
            vec![at(i64::from(number), Find::Count { step })]
        }
        Keys::DestinationNumkeys { at: number } => {
            vec![at(1, one()), at(i64::from(number), Find::Count { step: 1 })]
        }
        Keys::Sort => {
            vec![at(1, one()), Spec { begin: Begin::Unknown, find: Find::Unknown }]
        }
        Keys::Georadius => {
            vec![at(1, one()), behind("STORE", 5, one()), behind("STOREDIST", 5, one())]
        }
        // The first half of what follows.
        Keys::Streams => {
            vec![behind("STREAMS", 1, Find::Range { last: -1, step: 1, limit: 2 })]
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
        Run::ForwardUnlessBlock => "forwarded to the shard of its keys, unless it asks to block",
        Run::Split(_) => "split over the shards of its keys, the replies merged",
        Run::Fan(_) => "sent to every shard, the replies merged",
        Run::AnyShard => "sent to one shard, whichever",
        Run::OnlyShard => "forwarded if there is one shard only",
        Run::ByArgument(_) => "forwarded to the shard of its channel",
        Run::Local(_) => "answered by the proxy",
        Run::Special(Special::Eval | Special::EvalSha | Special::Fcall) => {
            "forwarded to the shard of its keys, with the body where that is missing"
        }
        Run::Special(Special::Sort) => "forwarded to the shard of its keys and patterns",
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
        Run::Fan(Merge::AllSucceeded) => {
            &["request_policy:all_shards", "response_policy:all_succeeded"]
        }
        Run::Special(Special::ScriptLoad | Special::ScriptFlush) => {
            &["request_policy:all_nodes", "response_policy:all_succeeded"]
        }
        Run::Fan(Merge::OneSucceeded) => {
            &["request_policy:all_shards", "response_policy:one_succeeded"]
        }
        Run::Fan(Merge::Sum) => &["request_policy:all_shards", "response_policy:agg_sum"],
        Run::Fan(Merge::Min) | Run::Special(Special::Wait) => {
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
        Run::Special(Special::Eval | Special::EvalSha | Special::Fcall | Special::Sort)
        | Run::Forward
        | Run::ForwardUnlessBlock
        | Run::AnyShard
        | Run::OnlyShard
        | Run::ByArgument(_)
        | Run::Local(_)
        | Run::Refuse(_) => &[],
    }
}
