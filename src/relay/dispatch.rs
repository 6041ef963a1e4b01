//! Dispatch: what is asked, whether it may be, and where it goes.

use crate::base::ids::{ClientId, ShardId};
use crate::base::time::Now;
use crate::command::flags::Flags;
use crate::command::keys::{KeysError, find_keys, sort_patterns};
use crate::command::model::{Command, Family, Keys, Run, Special};
use crate::command::shape::Asked;
use crate::command::{Lookup, errors, lookup};
use crate::config::model::{DangerousCommands, UnknownCommands};
use crate::relay::Relay;
use crate::relay::lane::{Target, Token};
use crate::resp::args::Request;
use crate::resp::encode;
use crate::stats::cells::PoolMetric;

/// What is left to do with the request's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing: answered, or sent in another form.
    Done,
    /// It has its place on this lane: put its bytes there as they are.
    Forward { lane: u32 },
    /// It was not taken in: keep its bytes with the client, which is stalled.
    Postponed,
    /// It has its place in the client's transaction: the same.
    Queue,
}

/// Why a request has no shard.
pub(super) enum Unroutable {
    Keys(KeysError),
    Crossslot,
    /// A script without keys, which the pool refuses.
    Keyless,
}

impl Relay {
    /// Takes in one request of an open client.
    #[inline]
    pub(super) fn dispatch(&mut self, id: ClientId, request: &Request<'_>, now: Now) -> Outcome {
        if self.tracks && self.client(id).is_some_and(|client| client.tracks()) {
            return self.dispatch_tracked(id, request, now);
        }
        self.take_in(id, request, now)
    }

    #[inline]
    pub(super) fn take_in(&mut self, id: ClientId, request: &Request<'_>, now: Now) -> Outcome {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else {
            return Outcome::Done;
        };
        let pool = client.pool;
        let authenticated = client.authenticated;
        let is_queued = client.transaction.is_some();
        let command = match lookup(request) {
            Lookup::Found(command) => command,
            Lookup::UnknownSubcommand(parent) if authenticated => {
                self.stats.pool(pool, PoolMetric::UnknownCommands).add(1);
                return self.reject(id, |out| errors::unknown_subcommand(parent, request, out));
            }
            _ if authenticated => return self.dispatch_unknown(id, request, now),
            _ => return self.refuse(id, NOAUTH),
        };
        client.last_command = command.name;
        let hears_messages = client.hears_messages();
        if !authenticated && !command.flags.contains(Flags::NO_AUTH) {
            return self.refuse(id, NOAUTH);
        }
        if !command.arity_ok(request.len()) {
            return self.reject_arity(id, command, now);
        }
        if hears_messages && let Some(outcome) = self.mind_messages(id, command, now) {
            return outcome;
        }
        if command.dangerous
            && self.pool(pool).config.dangerous_commands == DangerousCommands::Refuse
        {
            return self.reject(id, |out| errors::not_allowed(command, out));
        }
        if self.overseen
            && let Some(outcome) = self.oversee(id, command, request, now)
        {
            return outcome;
        }
        if is_queued {
            return self.dispatch_queued(id, command, request, now);
        }
        match command.run {
            Run::Forward => self.forward(id, command, request, now),
            Run::Block(patience) => self.block(id, command, patience, request, now),
            Run::Split(split) => self.split(id, command, split, request, now),
            Run::Fan(merge) => self.fan(id, command, merge, request, now),
            Run::AnyShard => self.forward_to_any(id, command, request.len(), now),
            Run::OnlyShard if self.pool(pool).router.shards() > 1 => {
                self.stats.pool(pool, PoolMetric::CrossslotErrors).add(1);
                self.answer(id, |out| errors::several_shards(command, out));
                Outcome::Done
            }
            Run::OnlyShard => self.forward_to(id, command, (request.len(), ShardId(0)), now),
            Run::ByArgument(at) => {
                let shard = self.shard_of(id, request.arg(usize::from(at)));
                self.forward_to(id, command, (request.len(), shard), now)
            }
            Run::Local(local) => {
                self.stats.pool(pool, PoolMetric::LocalRequests).add(1);
                self.run_local(id, command, local, request, now);
                Outcome::Done
            }
            Run::Special(special) => self.run_special(id, command, special, request, now),
            Run::Refuse(refusal) => {
                self.answer(id, |out| errors::refused(command, refusal, out));
                Outcome::Done
            }
        }
    }

    fn run_special(
        &mut self,
        id: ClientId,
        command: &'static Command,
        special: Special,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        match special {
            Special::Scan => self.scan(id, command, request, now),
            Special::RandomKey => self.random_key(id, command, now),
            Special::Eval => self.eval(id, command, request, now),
            Special::EvalSha => self.eval_sha(id, command, request, now),
            Special::Fcall => self.fcall(id, command, request, now),
            Special::ScriptLoad => self.script_load(id, command, request, now),
            Special::ScriptFlush => self.script_flush(id, command, request, now),
            Special::Sort => self.sort(id, command, request, now),
            Special::Wait => self.wait(id, command, request, now),
            Special::Multi => self.multi(id),
            Special::Exec => self.exec(id, now),
            Special::Discard => self.discard(id, now),
            Special::Watch => self.guard_keys(id, command, request, now),
            Special::Unwatch => self.unwatch(id, now),
            Special::ConfigGet => self.config_get(id, command, request, now),
            Special::ConfigSet => self.config_set(id, command, request, now),
            Special::Kill => self.kill_script(id, command, request, now),
            Special::Subscribe(kind) => self.subscribe(id, kind, request, now),
            Special::Unsubscribe(kind) => self.unsubscribe(id, kind, request),
        }
    }

    /// To the one shard of its keys.
    #[inline]
    pub(super) fn forward(
        &mut self,
        id: ClientId,
        command: &'static Command,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        if let Keys::Range { first: 1, last: 1, .. } = command.keys {
            return self.forward_by_key(id, command, request, now); // nearly every request
        }
        match self.one_shard(id, command, request) {
            Ok(shard) => self.forward_to(id, command, (request.len(), shard), now),
            Err(unroutable) => self.answer_unroutable(id, command, unroutable),
        }
    }

    pub(super) fn answer_unroutable(
        &mut self,
        id: ClientId,
        command: &Command,
        why: Unroutable,
    ) -> Outcome {
        match why {
            Unroutable::Keys(error) => self.answer_keys_error(id, command, error),
            Unroutable::Crossslot => self.answer_crossslot(id),
            Unroutable::Keyless => self.answer_keyless(id, command),
        }
    }

    /// SORT: where there are several shards, what BY and GET name has to be on that of the key.
    /// That is so if a hash tag of the pattern says it, whatever its `*` stands for.
    fn sort(
        &mut self,
        id: ClientId,
        command: &'static Command,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        if self.sorts_elsewhere(id, request) {
            return self.answer_crossslot(id);
        }
        self.forward(id, command, request, now)
    }

    pub(super) fn sorts_elsewhere(&mut self, id: ClientId, request: &Request<'_>) -> bool {
        let several = self.shards_of(id) > 1;
        let shard = self.shard_of(id, request.arg(1));
        several
            && sort_patterns(request).any(|pattern| {
                let tag = self
                    .client(id)
                    .map(|client| client.pool)
                    .map_or(pattern, |pool| self.pool(pool).router.tagged(pattern));
                tag.contains(&b'*') || tag == pattern || self.shard_of(id, pattern) != shard
            })
    }

    /// To the shard of its first argument, as it is.
    #[inline]
    fn forward_by_key(
        &mut self,
        id: ClientId,
        command: &Command,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else {
            return Outcome::Done;
        };
        let router = &self.pools[client.pool.index()].router;
        let random = if router.is_random() { self.random.next() } else { 0 };
        let shard = router.shard_of(request.arg(1), random);
        if self.detours {
            return self.forward_to(id, command, (request.len(), shard), now);
        }
        if command.may_write() {
            client.writes.note(shard);
        }
        let lane_set = client.lane_set;
        let seq = client.order.push(&mut self.rings);
        let lane = self.lane_of(lane_set, shard, id);
        self.send_in_order(id, (lane, seq), command.asked(request.len()), now)
    }

    /// To this shard, as it is: a request of `args` arguments.
    #[inline]
    pub(super) fn forward_to(
        &mut self,
        id: ClientId,
        command: &Command,
        (args, shard): (usize, ShardId),
        now: Now,
    ) -> Outcome {
        if command.may_write() {
            if self.unwritable && self.refuse_write(id, &[shard]) {
                return Outcome::Done;
            }
            self.note_write(id, Some(shard));
        }
        let Some(lane_set) = self.client(id).map(|client| client.lane_set) else {
            return Outcome::Done;
        };
        let lane = self.lane_for(id, (lane_set, shard), command, now);
        self.send_to(id, command.asked(args), lane, now)
    }

    #[inline]
    pub(super) fn send_to(&mut self, id: ClientId, asked: Asked, lane: u32, now: Now) -> Outcome {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else {
            return Outcome::Done;
        };
        let seq = client.order.push(&mut self.rings);
        self.send_in_order(id, (lane, seq), asked, now)
    }

    /// Down this lane; the slot `seq` of the client waits for it already.
    #[inline]
    fn send_in_order(
        &mut self,
        id: ClientId,
        (lane, seq): (u32, u32),
        asked: Asked,
        now: Now,
    ) -> Outcome {
        let target = Target::Client { client: id, seq };
        if self.enqueue(lane, Token { target, since_us: now.mono_us, asked }) {
            self.stall_feeder(lane, id);
            return Outcome::Forward { lane };
        }
        self.fail_at_once(id, target, lane, now)
    }

    /// The lane is down, and says why.
    #[cold]
    fn fail_at_once(&mut self, id: ClientId, target: Target, lane: u32, now: Now) -> Outcome {
        let mut error = self.spare();
        self.lane_error(lane, &mut error);
        self.count_forward_error(id);
        self.fail(target, &error, now);
        super::give_spare(&mut self.spares, error);
        Outcome::Done
    }

    pub(super) fn count_forward_error(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get(id.index, id.generation) {
            self.stats.pool(client.pool, PoolMetric::ForwardError).add(1);
        }
    }

    /// The shard that all keys of the request are on.
    #[inline]
    pub(super) fn one_shard(
        &mut self,
        id: ClientId,
        command: &Command,
        request: &Request<'_>,
    ) -> Result<ShardId, Unroutable> {
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        let found = find_keys(command, request, &mut keys).map_err(Unroutable::Keys);
        let shard = found.and_then(|()| self.common_shard(id, request, &keys));
        self.keys = keys;
        shard
    }

    /// A request without keys (EVAL with numkeys 0) goes where the pool says.
    fn common_shard(
        &mut self,
        id: ClientId,
        request: &Request<'_>,
        keys: &[u32],
    ) -> Result<ShardId, Unroutable> {
        let mut common = None;
        for key in keys {
            let shard = self.shard_of(id, request.arg(*key as usize));
            if *common.get_or_insert(shard) != shard {
                return Err(Unroutable::Crossslot);
            }
        }
        common.or_else(|| self.keyless_shard(id)).ok_or(Unroutable::Keyless)
    }

    /// Where a script without keys runs; `None`: nowhere.
    pub(super) fn keyless_shard(&mut self, id: ClientId) -> Option<ShardId> {
        let pool = self.client(id)?.pool;
        self.pool(pool).keyless
    }

    /// The shard of a key in the client's pool.
    #[inline]
    pub(super) fn shard_of(&mut self, id: ClientId, key: &[u8]) -> ShardId {
        let random = self.random.next();
        match self.clients.get(id.index, id.generation) {
            Some(client) => self.pools[client.pool.index()].router.shard_of(key, random),
            None => ShardId(0),
        }
    }

    pub(super) fn answer_keys_error(
        &mut self,
        id: ClientId,
        command: &Command,
        error: KeysError,
    ) -> Outcome {
        self.answer(id, |out| errors::keys_error(command, error, out));
        Outcome::Done
    }

    pub(super) fn answer_keyless(&mut self, id: ClientId, command: &Command) -> Outcome {
        self.answer(id, |out| errors::keyless(command, out));
        Outcome::Done
    }

    pub(super) fn answer_crossslot(&mut self, id: ClientId) -> Outcome {
        if let Some(client) = self.clients.get(id.index, id.generation) {
            self.stats.pool(client.pool, PoolMetric::CrossslotErrors).add(1);
        }
        self.answer(id, errors::cross_slot);
        Outcome::Done
    }

    /// Answers with an error of this text.
    pub(super) fn refuse(&mut self, id: ClientId, text: &str) -> Outcome {
        self.answer(id, |out| encode::error(out, text));
        Outcome::Done
    }

    /// Not in the table: by its first argument, if the pool allows it.
    fn dispatch_unknown(&mut self, id: ClientId, request: &Request<'_>, now: Now) -> Outcome {
        let Some(client) = self.client(id) else { return Outcome::Done };
        let pool = client.pool;
        client.last_command = "unknown";
        self.stats.pool(pool, PoolMetric::UnknownCommands).add(1);
        let forward = self.pool(pool).config.unknown_commands == UnknownCommands::Forward;
        let Some(key) = request.get(1).filter(|_| forward) else {
            return self.reject(id, |out| errors::unknown_command(request, out));
        };
        if self.overseen
            && let Some(outcome) = self.oversee_unknown(id, request, now)
        {
            return outcome;
        }
        if self.client(id).is_some_and(|client| client.transaction.is_some()) {
            return self.queue_unknown(id, key, request);
        }
        let shard = self.shard_of(id, key);
        if self.unwritable && self.refuse_write(id, &[shard]) {
            return Outcome::Done;
        }
        self.note_write(id, Some(shard)); // it may be one
        let Some(lane_set) = self.client(id).map(|client| client.lane_set) else {
            return Outcome::Done;
        };
        let lane = self.lane_of(lane_set, shard, id);
        self.send_to(id, Asked::any(Family::Unknown), lane, now)
    }
}

const NOAUTH: &str = "NOAUTH Authentication required.";
