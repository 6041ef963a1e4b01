//! Refusals: what a server says that is no primary (any more), or not ready to be one, is not
//! passed on. It has not executed the request, which waits for the next primary instead.

use crate::base::ids::ClientId;
use crate::base::time::{Now, US_PER_MS, US_PER_S};
use crate::command::model::Family;
use crate::command::repeat::Repeat;
use crate::relay::Relay;
use crate::relay::fate::{Failure, repeat_of};
use crate::relay::hold::Watch;
use crate::relay::lane::{LaneState, Target, Token};
use crate::relay::lanes::Loss;
use crate::resp::value;
use crate::stats::cells::ShardMetric;

/// How long the replies of a server that refuses are waited for before its connection is closed,
/// µs.
const REFUSING_US: u64 = 100 * US_PER_MS;
/// So much of what the server says is told on: a script's error may be of any length.
const REFUSAL_TEXT_BYTES: usize = 200;
/// A refusal by a script (which may have made it up) is believed once in so long on a lane, µs:
/// another one of the same primary is passed on as its reply.
const BELIEVE_SCRIPT_US: u64 = 10 * US_PER_S;

impl Relay {
    /// The oldest request of a watched lane was answered. `true`: it is not over, the request waits
    /// for the next primary.
    #[inline]
    pub(super) fn take_back(
        &mut self,
        index: u32,
        token: Token,
        (kind, reply): (u8, &[u8]),
        now: Now,
    ) -> bool {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return false };
        let Some(watch) = &mut lane.watch else { return false };
        let refusing = watch.is_refusing();
        let in_answer = token.asked.is_block && lane.block.is_refused_by_script();
        let is_error = kind == b'-' || in_answer;
        if refusing || is_error {
            return self.take_back_refused(index, token, (refusing, is_error, reply), now);
        }
        let bytes = watch.kept.pop();
        let hold = &mut self.holds[watch.hold as usize];
        hold.kept_bytes -= bytes;
        self.lane_bytes -= bytes;
        if hold.outage_us.is_some() || watch.waits_since_us.is_some() {
            self.note_served(index, now);
        }
        false
    }

    /// A request was answered: what came before is over, if it came on a connection of after.
    #[cold]
    fn note_served(&mut self, index: u32, now: Now) {
        let Some(lane) = self.lanes.get(index as usize) else { return };
        let Some(watch) = lane.watch.as_ref().filter(|_| lane.state == LaneState::Ready) else {
            return;
        };
        let outage_us = self.holds[watch.hold as usize].outage_us;
        let is_over = outage_us.is_some_and(|outage_us| outage_us <= watch.ready_us);
        self.end_wait(index);
        if is_over {
            self.end_outage(index, now);
        }
    }

    #[cold]
    fn take_back_refused(
        &mut self,
        index: u32,
        token: Token,
        (refusing, is_error, reply): (bool, bool, &[u8]),
        now: Now,
    ) -> bool {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return false };
        let Some(watch) = &mut lane.watch else { return false };
        let refusal = lane.block.take_refusal(token.asked);
        let reply = if refusal.is_empty() { reply } else { &refusal };
        let by_script = match token.asked.is_block {
            true => lane.block.is_refused_by_script(),
            false => token.asked.family == Family::Scripting,
        };
        let believed = refusing || !by_script || watch.believes_script(now.mono_us);
        // (Of a long reply this is the end of some value.)
        let is_one = if by_script { is_refusal_in_script(reply) } else { is_refusal(reply) };
        let refused = believed && is_error && is_one;
        if refused && by_script {
            watch.script_refused_us = Some(now.mono_us);
        }
        let again = match watch.kept.oldest() {
            Some(bytes) if refused => Some(bytes),
            // What is no primary may have answered from the past.
            Some(bytes) if refusing && repeat_of(bytes) == Repeat::Always => Some(bytes),
            _ => None,
        };
        let taken = again.is_some();
        if taken {
            watch.refused_kept.put(again);
            watch.refused.push_back(token);
            watch.kept.pop();
            let metric = if refused { ShardMetric::Refused } else { ShardMetric::Repeated };
            self.stats.shard(lane.pool, lane.shard, metric).add(1);
        } else {
            self.give_up_oldest(index);
            self.note_served(index, now);
            if !refused {
                self.fail_overtaken(index, &[token.target], now);
            }
        }
        if refused && !refusing {
            self.begin_refusing(index, reply, now);
        }
        if refused && !taken {
            let (pool, shard) = (self.lanes[index as usize].pool, self.lanes[index as usize].shard);
            self.fail_all(pool, shard, &[(0, token.target, Failure::Full)], now);
        }
        self.leave_refusing(index, now);
        taken || refused
    }

    /// These requests were executed, or may have been, on a connection that had refused others: writes
    /// that it had refused of the same clients, sent again, would come behind them. They were not
    /// executed, and so those clients are told. (A read is repeated whatever came behind it.)
    pub(super) fn fail_overtaken(&mut self, index: u32, by: &[Target], now: Now) {
        let clients: Vec<ClientId> =
            by.iter().filter_map(|target| self.client_of(*target)).collect();
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        let (pool, shard) = (lane.pool, lane.shard);
        let Some(watch) = lane.watch.as_mut().filter(|watch| !watch.refused.is_empty()) else {
            return;
        };
        let (tokens, kept) =
            (std::mem::take(&mut watch.refused), std::mem::take(&mut watch.refused_kept));
        let hold = watch.hold as usize;
        let (mut failures, mut freed) = (Vec::new(), 0);
        for (token, bytes) in tokens.into_iter().zip(kept.iter()) {
            let client = self.client_of(token.target);
            let Some(watch) = self.lanes.get_mut(index as usize).and_then(|l| l.watch.as_mut())
            else {
                return;
            };
            let is_read = bytes.is_some_and(|bytes| repeat_of(bytes) == Repeat::Always);
            if !is_read && client.is_some_and(|client| clients.contains(&client)) {
                freed += bytes.map_or(0, <[u8]>::len);
                failures.push((0, token.target, Failure::Overtaken));
            } else {
                watch.refused.push_back(token);
                watch.refused_kept.put(bytes);
            }
        }
        self.holds[hold].kept_bytes -= freed;
        self.lane_bytes -= freed;
        self.fail_all(pool, shard, &failures, now);
    }

    /// Whose request this is.
    fn client_of(&self, target: Target) -> Option<ClientId> {
        match target {
            Target::Client { client, .. } => Some(client),
            Target::Gather { index, generation, .. } => {
                self.gathers.get(index, generation).map(|gather| gather.client)
            }
            Target::Nobody | Target::Fence => None,
        }
    }

    /// A reply that nobody waits for any more.
    #[cold]
    pub(super) fn drop_kept(&mut self, index: u32, now: Now) {
        self.give_up_oldest(index);
        self.leave_refusing(index, now);
    }

    pub(super) fn give_up_oldest(&mut self, index: u32) {
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        if let Some(replica) = &mut lane.replica {
            self.lane_bytes = self.lane_bytes.saturating_sub(replica.kept.pop());
        }
        let Some(watch) = &mut lane.watch else { return };
        let bytes = watch.kept.pop();
        self.holds[watch.hold as usize].kept_bytes -= bytes;
        self.lane_bytes -= bytes;
    }

    /// The server is no primary, or not ready: nothing more is sent to it.
    fn begin_refusing(&mut self, index: u32, reply: &[u8], now: Now) {
        self.stop_lane(index, now);
        let Some(lane) = self.lanes.get_mut(index as usize) else { return };
        let Some(watch) = &mut lane.watch else { return };
        let until_us = now.mono_us + REFUSING_US;
        watch.refusing_until_us = Some(until_us);
        self.sweep_us = self.sweep_us.min(until_us);
        let (pool, shard) = (lane.pool, lane.shard);
        let text = value::error_text(reply);
        let text = text.get(..REFUSAL_TEXT_BYTES).unwrap_or(text);
        let why = format!("it answered {}", text.escape_ascii());
        self.doubt(pool, shard, Some(&why), now);
    }

    /// Closes the connection to a server that refuses, if all that was sent is answered.
    fn leave_refusing(&mut self, index: u32, now: Now) {
        let Some(lane) = self.lanes.get(index as usize) else { return };
        let refusing = lane.watch.as_ref().is_some_and(|watch| watch.is_refusing());
        if refusing && lane.sent == 0 {
            self.lose_lane(index, "Refused by the server".to_owned(), Loss::Failed, now);
        }
    }

    /// Whether the reply under way is one that will be asked for again: nobody hears this one.
    pub(super) fn takes_back_reply(&self, index: u32) -> bool {
        let lane = self.lanes.get(index as usize);
        if lane.is_some_and(|lane| lane.replica.is_some()) {
            return matches!(lane.and_then(|lane| lane.scanner.kind()), Some(b'-' | b'!'));
        }
        let watch = lane.and_then(|lane| lane.watch.as_ref());
        let oldest = watch.filter(|watch| watch.is_refusing()).and_then(|w| w.kept.oldest());
        oldest.is_some_and(|bytes| repeat_of(bytes) == Repeat::Always)
    }
}

impl Watch {
    /// A script can say whatever its client wants, and must not be able to keep a lane from others.
    fn believes_script(&self, now_us: u64) -> bool {
        self.script_refused_us.is_none_or(|at_us| now_us >= at_us + BELIEVE_SCRIPT_US)
    }
}

/// An error with which a server says that it did not execute a request because it is no primary, or
/// not ready to be one. A script says it of its first write, redis before 7 in other words.
pub(super) fn is_refusal(reply: &[u8]) -> bool {
    match value::error_word(reply) {
        b"READONLY" | b"LOADING" | b"MASTERDOWN" | b"REDIRECT" => true,
        // EXEC itself was refused.
        b"EXECABORT" => {
            let words = [b": READONLY ".as_slice(), b": LOADING ", b": MASTERDOWN "];
            let text = value::error_text(reply);
            words.iter().any(|word| memchr::memmem::find(text, word).is_some())
        }
        b"ERR" => {
            let text = value::error_text(reply);
            text.starts_with(b"ERR Error running script")
                && memchr::memmem::find(text, b"-READONLY ").is_some()
        }
        _ => false,
    }
}

/// The same of an error that a script gives: in a server's own words only, for scripts have errors of
/// their own, and what such a one has done must not be done again.
pub(super) fn is_refusal_in_script(reply: &[u8]) -> bool {
    const WORDS: [&[u8]; 4] = [
        b"READONLY You can't write against a read only ",
        b" is loading the dataset in memory",
        b"MASTERDOWN Link with MASTER is down",
        b"REDIRECT ",
    ];
    let text = value::error_text(reply);
    is_refusal(reply) && WORDS.iter().any(|words| memchr::memmem::find(text, words).is_some())
}
