//! Transactions in the simulation: what a store does with them, and what may come of one.

use std::collections::BTreeSet;

use crate::relay::sim_errors::Faults;
use crate::relay::sim_model::{Executed, Expect, Part, Player, Store, Wire};
use crate::relay::world_queue::Queue;
use crate::resp::args::Request;
use crate::resp::{encode, value};

impl Store {
    /// What comes inside MULTI is queued, if it is not refused, and executed by EXEC all at once.
    pub(super) fn answer_on(
        &mut self,
        request: &Request<'_>,
        wire: &mut Wire,
        (executed, part): (&mut Executed, Part),
    ) {
        let primary = part == Part::Primary;
        let mut out = Vec::new();
        let abort = "EXECABORT Transaction discarded because of";
        match (request.name(), wire.queue.take()) {
            (b"MULTI", None) => {
                wire.queue = Some(Queue::default());
                encode::simple(&mut out, "OK");
            }
            (b"MULTI", Some(_)) => panic!("MULTI inside MULTI"),
            (b"EXEC", Some(queue)) if queue.is_spoilt => {
                wire.watched.clear();
                encode::error(&mut out, format!("{abort} previous errors."));
            }
            (b"EXEC", Some(_)) if wire.has_changed(&self.touched) => {
                wire.watched.clear();
                out.extend_from_slice(if wire.resp3 { b"_\r\n" } else { b"*-1\r\n" });
            }
            (b"EXEC", Some(queue)) if !primary && queue.requests.iter().any(|r| is_write(r)) => {
                wire.watched.clear();
                encode::error(&mut out, format!("{abort}: READONLY You can't write."));
            }
            (b"EXEC", Some(queue)) => {
                wire.watched.clear();
                let loading = std::mem::take(&mut self.loading);
                let output = std::mem::take(&mut wire.output);
                queue.execute(&mut out, |request, out| {
                    // Of a replica that takes no writes no more than reads come so far, and scripts.
                    let scripted = request.name().starts_with(b"EVAL");
                    let part = if scripted { part } else { Part::Primary };
                    self.answer(request, wire, (&mut *executed, part));
                    out.extend(std::mem::take(&mut wire.output));
                });
                (self.loading, wire.output) = (loading, output);
            }
            (_, Some(mut queue)) => {
                let name = String::from_utf8_lossy(request.name()).into_owned();
                // What a script will write nobody knows yet.
                let scripted = name.starts_with("EVAL") && part == Part::Replaced;
                let part = if scripted { Part::Primary } else { part };
                if self.answer_as_node(&name, part, &mut out) {
                    queue.is_spoilt = true;
                } else {
                    queue.requests.push(request.bytes.to_vec());
                    encode::simple(&mut out, "QUEUED");
                }
                wire.queue = Some(queue);
            }
            (_, None) => return self.answer(request, wire, (executed, part)),
        }
        wire.output.extend(out);
    }
}

impl Player {
    /// Whether EXEC can say this: an answer to each, and all that was to be written is.
    pub(super) fn is_commit(
        &self,
        expect: &Expect,
        reply: &[u8],
        (faults, executed): (Faults, &BTreeSet<u64>),
    ) -> bool {
        let Expect::Committed(expects, _) = expect else { return false };
        let one = |(reply, expect): (&[u8], &Expect)| match expect {
            // A script's refusal is believed now and then only.
            Expect::Ran(version, _) if value::is_error(reply) => {
                reply.starts_with(b"-READONLY You")
                    && !executed.contains(version)
                    && matches!(faults, Faults::Any | Faults::Unknown)
            }
            _ => self.check(expect, reply, (Faults::None, executed)),
        };
        value::elements(reply).is_some_and(|elements| {
            elements.left() == expects.len() && elements.zip(expects).all(one)
        })
    }
}

impl Executed {
    pub(super) fn check_transactions(&self) {
        for versions in &self.transactions {
            let done = versions.iter().filter(|version| self.versions.contains(version)).count();
            assert!(done == 0 || done == versions.len(), "half of {versions:?} was written");
        }
    }
}

fn is_write(request: &[u8]) -> bool {
    [b"SET".as_slice(), b"DEL"]
        .iter()
        .any(|name| memchr::memmem::find(&request[..request.len().min(16)], name).is_some())
}
