//! WAIT over shards, on shared lanes.
//!
//! redis blocks the connection that waits, which a lane can not bear for long. So the shards that
//! the client wrote to are asked again and again, until the least number of replicas suffices or
//! the client's own time-out is over: now and then with a time-out of 1 ms, which makes redis ask
//! its replicas, and else by `WAIT 0 0`, which counts what they have said and never blocks. A lane's
//! offset is at or past that of the client's own writes (they went down the same lane), so the answer
//! is never too good; except after SELECT, HELLO or a lost lane, whose new connection may not have
//! written: to it redis counts every replica that is connected.

use crate::base::ids::{ClientId, ShardId};
use crate::base::time::{Now, US_PER_MS};
use crate::command::model::Command;
use crate::relay::Relay;
use crate::relay::dispatch::Outcome;
use crate::relay::fan::merge;
use crate::relay::gather::{Gather, Kind};
use crate::resp::args::Request;
use crate::resp::{encode, value};

/// Pause between two rounds of one WAIT, and between two rounds of this core that may block, ms:
/// however many clients wait, they take at most 1 ms in 10 of a lane's time.
const ROUND_PAUSE_MS: u64 = 10;

impl Relay {
    /// WAIT numreplicas timeout
    pub(super) fn wait(
        &mut self,
        id: ClientId,
        command: &'static Command,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        let number = |at| std::str::from_utf8(request.arg(at)).ok()?.parse::<i64>().ok();
        let (Some(replicas), Some(timeout_ms)) = (number(1), number(2)) else {
            return self.refuse(id, "ERR value is not an integer or out of range");
        };
        let Ok(timeout_ms) = u64::try_from(timeout_ms) else {
            return self.refuse(id, "ERR timeout is negative");
        };
        let until_us = match timeout_ms {
            0 => u64::MAX,
            ms => now.mono_us.saturating_add(ms.saturating_mul(US_PER_MS)),
        };
        let wrote = self.client(id).map_or(0, |client| client.wrote);
        let mut shards = self.all_shards(id);
        if wrote != 0 {
            shards.retain(|shard| wrote & 1 << (shard.0 % 64) != 0);
        }
        let kind = Kind::Wait { shards: shards.clone(), replicas, until_us };
        let bytes = self.wait_round(replicas, now);
        self.fan_to(id, command.family, (&shards, &bytes), kind, now);
        Outcome::Done
    }

    pub(super) fn complete_wait(
        &mut self,
        gather: Gather,
        shards: Vec<ShardId>,
        (replicas, until_us): (i64, u64),
        now: Now,
    ) {
        let mut reply = Vec::new();
        merge(crate::command::model::Merge::Min, &gather.parts, gather.protocol, &mut reply);
        let enough = value::integer(&reply).is_none_or(|number| number >= replicas);
        // A client that has left may have asked for ever: it must not stay for ever.
        let leaving = self.client(gather.client).is_none_or(|client| client.leaving);
        if enough || leaving || now.mono_us >= until_us {
            return self.deliver_gather(&gather, reply, now);
        }
        let parts = shards.len();
        let kind = Kind::Wait { shards, replicas, until_us };
        let (index, generation) = self.reopen_gather(gather, kind, parts);
        let next_us = (now.mono_us + ROUND_PAUSE_MS * US_PER_MS).min(until_us);
        self.naps.push((next_us, index, generation));
    }

    /// The next round of those whose pause is over.
    pub(super) fn wake_gathers(&mut self, now: Now) {
        let due: Vec<_> = self.naps.extract_if(.., |nap| nap.0 <= now.mono_us).collect();
        for (_, index, generation) in due {
            let Some(gather) = self.gathers.get(index, generation) else { continue };
            let (client, family) = (gather.client, gather.family);
            let Kind::Wait { shards, replicas, .. } = &gather.kind else { continue };
            let (shards, replicas) = (shards.clone(), *replicas);
            if self.live_client(client).is_none() {
                self.gathers.remove(index, generation);
                continue;
            }
            let bytes = self.wait_round(replicas, now);
            self.fan_parts((index, generation), client, family, (&shards, &bytes), now);
        }
    }

    /// The request of one round: it may block for 1 ms if none did lately.
    fn wait_round(&mut self, replicas: i64, now: Now) -> Vec<u8> {
        let mut bytes = Vec::new();
        if now.mono_us < self.wait_round_us {
            encode::request(&mut bytes, &[b"WAIT", b"0", b"0"]);
        } else {
            self.wait_round_us = now.mono_us + ROUND_PAUSE_MS * US_PER_MS;
            encode::request(&mut bytes, &[b"WAIT", replicas.to_string().as_bytes(), b"1"]);
        }
        bytes
    }
}
