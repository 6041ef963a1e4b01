//! Scripts: bodies are remembered, so that an EVALSHA never fails because a shard was restarted,
//! failed over, or never saw the script.
//!
//! Two ways, both invisible to the client: before the first EVALSHA of a known script on a shard
//! its SCRIPT LOAD goes ahead on the same lane (so the order of the client's requests holds), and
//! an answer NOSCRIPT (somebody flushed the shard's scripts behind our back) loads and repeats.

use std::sync::Arc;

use ahash::{AHashMap, AHashSet};
use sha1::{Digest, Sha1};

use crate::base::ids::{ClientId, PoolId, ShardId};
use crate::base::limits::{SCRIPTS_MAX, SCRIPTS_MAX_BYTES};
use crate::base::time::Now;
use crate::command::keys::find_keys;
use crate::command::model::{Command, Family, Merge};
use crate::command::shape::Asked;
use crate::relay::Relay;
use crate::relay::api::{Ask, Script, Shared};
use crate::relay::dispatch::Outcome;
use crate::relay::gather::{Gather, Kind};
use crate::relay::lane::{CONTROL, Target, Token};
use crate::resp::args::Request;
use crate::resp::{encode, value};
use crate::stats::cells::PoolMetric;

/// The bodies that this core knows; bounded, the oldest is forgotten first.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    known: AHashMap<(PoolId, [u8; 40]), Arc<Script>>,
    /// Hashes of the known bodies: an EVAL seen before costs no SHA-1.
    bodies: AHashSet<(PoolId, u64)>,
    age: std::collections::VecDeque<(PoolId, [u8; 40], u64)>,
    bytes: usize,
    /// By known script: the shards to which we have sent SCRIPT LOAD, as long as their lanes stand.
    loaded: AHashMap<(PoolId, [u8; 40]), AHashSet<ShardId>>,
    hasher: ahash::RandomState,
}

impl Scripts {
    /// Keeps a body; gives it if it is new.
    pub(super) fn remember(&mut self, pool: PoolId, body: &[u8]) -> Option<Arc<Script>> {
        let hash = self.hasher.hash_one(body);
        if body.len() > SCRIPTS_MAX_BYTES || !self.bodies.insert((pool, hash)) {
            return None;
        }
        let mut digest = [0; 40];
        for (pair, byte) in digest.chunks_exact_mut(2).zip(Sha1::digest(body)) {
            pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        let script = Arc::new(Script { pool, digest, body: body.into() });
        self.known.insert((pool, digest), script.clone());
        self.age.push_back((pool, digest, hash));
        self.bytes += body.len();
        while self.age.len() > SCRIPTS_MAX || self.bytes > SCRIPTS_MAX_BYTES {
            let Some((pool, digest, hash)) = self.age.pop_front() else { break };
            self.bodies.remove(&(pool, hash));
            self.loaded.remove(&(pool, digest));
            if let Some(old) = self.known.remove(&(pool, digest)) {
                self.bytes -= old.body.len();
            }
        }
        Some(script)
    }

    fn find(&self, pool: PoolId, digest: &[u8; 40]) -> Option<Arc<Script>> {
        self.known.get(&(pool, *digest)).cloned()
    }

    /// The script of which this is said to be the digest, if it is known.
    pub(super) fn find_by_text(&self, pool: PoolId, digest: &[u8]) -> Option<Arc<Script>> {
        self.find(pool, &digest_of(digest)?)
    }

    /// SCRIPT FLUSH: an EVALSHA after it has to fail, as on a single redis.
    pub(super) fn forget(&mut self, pool: PoolId) {
        self.loaded.retain(|(of, _), _| *of != pool);
        self.known.retain(|(of, _), _| *of != pool);
        self.bodies.retain(|(of, _)| *of != pool);
        self.age.retain(|(of, _, _)| *of != pool);
        self.bytes = self.known.values().map(|script| script.body.len()).sum();
    }

    /// A lane of this shard was lost: perhaps the server was restarted, or is another one.
    pub(super) fn forget_loaded(&mut self, pool: PoolId, shard: ShardId) {
        for ((of, _), shards) in &mut self.loaded {
            if *of == pool {
                shards.remove(&shard);
            }
        }
    }

    /// `false`: it was noted before, or the script is not known (nothing is kept of such).
    fn note_loaded(&mut self, pool: PoolId, shard: ShardId, digest: [u8; 40]) -> bool {
        self.known.contains_key(&(pool, digest))
            && self.loaded.entry((pool, digest)).or_default().insert(shard)
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The digest as redis compares it: in lower case. `None` if it is none.
fn digest_of(text: &[u8]) -> Option<[u8; 40]> {
    let digest: [u8; 40] = text.try_into().ok()?;
    Some(digest.map(|byte| byte.to_ascii_lowercase()))
}

impl Relay {
    /// EVAL body numkeys …
    pub(super) fn eval(
        &mut self,
        id: ClientId,
        command: &'static Command,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        self.remember_script(id, request.arg(1));
        self.forward(id, command, request, now)
    }

    /// FCALL function numkeys …
    pub(super) fn fcall(
        &mut self,
        id: ClientId,
        command: &'static Command,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        self.forward(id, command, request, now)
    }

    /// EVALSHA digest numkeys …
    pub(super) fn eval_sha(
        &mut self,
        id: ClientId,
        command: &'static Command,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        let Some(pool) = self.client(id).map(|client| client.pool) else { return Outcome::Done };
        let Some(script) = self.scripts.find_by_text(pool, request.arg(1)) else {
            return self.forward(id, command, request, now); // the shard knows it, or says NOSCRIPT
        };
        let mut keys = Vec::new();
        if let Err(error) = find_keys(command, request, &mut keys) {
            return self.answer_keys_error(id, command, error);
        }
        let first = keys.first().map(|key| self.shard_of(id, request.arg(*key as usize)));
        let Some(shard) = first.or_else(|| self.keyless_shard(id)) else {
            return self.answer_keyless(id, command);
        };
        if keys.iter().any(|key| self.shard_of(id, request.arg(*key as usize)) != shard) {
            return self.answer_crossslot(id);
        }
        if self.unwritable && command.may_write() && self.refuse_write(id, &[shard]) {
            return Outcome::Done;
        }
        self.note_write(id, Some(shard));
        let Some(client) = self.client(id) else { return Outcome::Done };
        let lane_set = client.lane_set;
        let lane = self.lane_of(lane_set, shard, id);
        if self.scripts.note_loaded(pool, shard, script.digest)
            && !self.load_script(lane, &script, now)
        {
            self.scripts.forget_loaded(pool, shard);
        }
        let bytes = request.bytes.to_vec();
        let kind = Kind::EvalSha { request: bytes, lane, digest: script.digest, repeated: false };
        let asked = command.asked(request.len());
        let Some(gather) = self.open_gather(id, asked, kind, 1, now) else { return Outcome::Done };
        if self.send_part(gather, 0, lane, asked, now) {
            self.put_lane(lane, request.bytes);
            self.stall_feeder(lane, id);
        } else {
            self.count_forward_error(id);
            self.fail_parts(gather, &[(0, lane)], now);
        }
        Outcome::Done
    }

    /// Sends SCRIPT LOAD ahead; its answer is nobody's. `false`: the lane is down.
    fn load_script(&mut self, lane: u32, script: &Script, now: Now) -> bool {
        let asked = Asked::of(Family::Scripting, b"$");
        let token = Token { target: Target::Nobody, since_us: now.mono_us, asked };
        if !self.enqueue(lane, token) {
            return false;
        }
        let mut bytes = Vec::new();
        encode::request(&mut bytes, &[b"SCRIPT", b"LOAD", &script.body]);
        self.put_lane_owned(lane, bytes);
        self.stats.pool(script.pool, PoolMetric::NoscriptLoads).add(1);
        true
    }

    pub(super) fn complete_eval_sha(
        &mut self,
        gather: Gather,
        (request, lane, digest, repeated): (Vec<u8>, u32, [u8; 40], bool),
        now: Now,
    ) {
        let reply = gather.parts.first().cloned().unwrap_or_default();
        let script = self.scripts.find(gather.pool, &digest);
        let unknown = value::is_error(&reply) && value::error_word(&reply) == b"NOSCRIPT";
        let (true, false, Some(script)) = (unknown, repeated, script) else {
            return self.deliver_gather(&gather, reply, now);
        };
        if !self.load_script(lane, &script, now) {
            return self.deliver_gather(&gather, reply, now);
        }
        let asked = gather.asked;
        let kind = Kind::EvalSha { request: Vec::new(), lane, digest, repeated: true };
        let reopened = self.reopen_gather(gather, kind, 1);
        if self.send_part(reopened, 0, lane, asked, now) {
            self.put_lane(lane, &request);
        } else {
            self.fail_parts(reopened, &[(0, lane)], now);
        }
    }

    /// SCRIPT LOAD body: to every shard.
    pub(super) fn script_load(
        &mut self,
        id: ClientId,
        command: &'static Command,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        self.remember_script(id, request.arg(2));
        let shards = self.all_shards(id);
        let asked = command.asked(request.len());
        self.fan_to(id, asked, (&shards, request.bytes), Kind::ScriptLoad, now);
        Outcome::Done
    }

    /// Every shard has answered SCRIPT LOAD with the digest.
    pub(super) fn note_loaded(&mut self, pool: PoolId, reply: &[u8]) {
        let Some(digest) = value::bulk(reply).flatten().and_then(digest_of) else { return };
        for shard in 0..self.pool(pool).router.shards() {
            self.scripts.note_loaded(pool, ShardId(shard), digest);
        }
    }

    /// SCRIPT FLUSH [ASYNC|SYNC]: every shard's scripts, and those remembered here.
    pub(super) fn script_flush(
        &mut self,
        id: ClientId,
        command: &'static Command,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        if let Some(pool) = self.client(id).map(|client| client.pool) {
            self.scripts.forget(pool);
            self.asks.push_back(Ask::Share(Shared::ScriptFlush(pool)));
        }
        self.fan(id, command, Merge::AllSucceeded, request, now)
    }

    /// SCRIPT KILL, FUNCTION KILL: to every shard, on lanes of their own, for the shared one may be
    /// held up by the very script.
    pub(super) fn kill_script(
        &mut self,
        id: ClientId,
        command: &'static Command,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        let Some(client) = self.client(id) else { return Outcome::Done };
        let (pool, protocol) = (client.pool, client.protocol);
        let lane_set = self.lane_set(pool, protocol, CONTROL);
        let shards = self.all_shards(id);
        let kind = Kind::Merge(Merge::OneSucceeded);
        let asked = command.asked(request.len());
        let Some(at) = self.open_gather(id, asked, kind, shards.len(), now) else {
            return Outcome::Done;
        };
        if let Some(gather) = self.gathers.get_mut(at.0, at.1) {
            gather.lane_set = lane_set;
        }
        self.fan_parts(at, id, asked, (&shards, request.bytes), now);
        Outcome::Done
    }

    pub(super) fn remember_script(&mut self, id: ClientId, body: &[u8]) {
        let Some(pool) = self.client(id).map(|client| client.pool) else { return };
        if let Some(script) = self.scripts.remember(pool, body) {
            self.asks.push_back(Ask::Share(Shared::Script(script)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_scripts_are_forgotten_first() {
        let mut scripts = Scripts::default();
        let pool = PoolId(0);
        let first = scripts.remember(pool, b"return 0").unwrap();
        assert_eq!(&first.digest, b"06d3d9b2060dd51343d5f19f0e531f15c507e3d1".as_slice());
        assert!(scripts.remember(pool, b"return 0").is_none(), "known already");
        for n in 0..SCRIPTS_MAX {
            scripts.remember(pool, format!("return {}", n + 1).as_bytes());
        }
        assert!(scripts.find(pool, &first.digest).is_none());
        assert_eq!(scripts.known.len(), SCRIPTS_MAX);
        assert_eq!(scripts.bodies.len(), SCRIPTS_MAX);
        assert!(!scripts.note_loaded(pool, ShardId(0), first.digest), "unknown: nothing is kept");
        assert!(scripts.loaded.is_empty());
        scripts.forget(pool);
        assert_eq!(scripts.bytes, 0);
        assert!(scripts.known.is_empty() && scripts.age.is_empty());
    }
}
