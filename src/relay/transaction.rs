//! Transactions: MULTI, EXEC, DISCARD.
//!
//! What a client asks for after MULTI is collected here: each request is checked as redis checks
//! what it queues, and all keys have to be on one shard. Requests without keys go there, too. EXEC
//! sends all of it in one piece (see `block`), where keys are watched on the client's private
//! connection (see `guard`). No shard knows of it before: who leaves without EXEC has asked for
//! nothing.

use crate::base::buffer::Outbox;
use crate::base::ids::{ClientId, ShardId};
use crate::base::limits::{PASS_ON_BYTES, TRANSACTION_REQUESTS_MAX};
use crate::base::time::Now;
use crate::command::errors;
use crate::command::flags::Flags;
use crate::command::keys::find_keys;
use crate::command::model::{Command, Family, Local, Run, Special};
use crate::command::shape::Asked;
use crate::relay::Relay;
use crate::relay::dispatch::Outcome;
use crate::relay::pause::may_change;
use crate::relay::plants::{Plant, planted};
use crate::resp::args::Request;
use crate::resp::encode::{self, Encoder};
use crate::stats::cells::PoolMetric;

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";
const EXECABORT: &str = "EXECABORT Transaction discarded because of previous errors.";

/// What a client has asked for since MULTI.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// MULTI and the requests, as they will leave.
    pub(super) requests: Outbox,
    pub(super) count: usize,
    /// That of its keys, once there was one.
    shard: Option<ShardId>,
    pub(super) may_write: bool,
    /// It writes, or sends messages.
    pub(super) may_change: bool,
    /// Some of its requests run scripts; some write, or send messages, without one.
    runs_scripts: bool,
    changes_plainly: bool,
    /// One of its requests was in error: EXEC will say EXECABORT.
    is_void: bool,
    /// Digests of the scripts whose bodies are in it.
    scripts: Vec<[u8; 40]>,
    /// Of a client that tracks: its keys, and whether it writes them.
    keys: Vec<(Box<[u8]>, bool)>,
}

impl Transaction {
    /// A request that was queued reads or writes this key.
    pub(super) fn note_key(&mut self, key: &[u8], writes: bool) {
        if !self.is_void {
            self.keys.push((Box::from(key), writes));
        }
    }

    pub(super) fn asked(&self) -> Asked {
        Asked::block(self.count, self.runs_scripts && !self.changes_plainly)
    }
}

/// Which shard a request inside MULTI has to go to.
enum Home {
    /// That of its keys.
    Keys,
    /// That of this argument.
    Argument(usize),
    /// That of the transaction.
    Any,
}

/// Where a command is at home inside MULTI, on a pool of several shards or one. `None`: it can not
/// be there what it is outside.
fn home(command: &Command, several: bool) -> Option<Home> {
    let changes = |command: &Command| {
        command.flags.contains(Flags::WRITE)
            || (command.dangerous && !command.flags.contains(Flags::READONLY))
    };
    match command.run {
        // (Nothing blocks inside MULTI.)
        Run::Forward | Run::Block(_) | Run::Split(_) => Some(Home::Keys),
        Run::ByArgument(at) => Some(Home::Argument(usize::from(at))),
        Run::AnyShard => Some(Home::Any),
        // To be done by every shard, or by none.
        Run::Fan(_) if several && changes(command) => None,
        Run::OnlyShard if several => None,
        Run::Fan(_) | Run::OnlyShard => Some(Home::Any),
        Run::Local(local) => match local {
            Local::Ping | Local::Echo | Local::Time | Local::Lolwut | Local::Info => {
                Some(Home::Any)
            }
            Local::Command
            | Local::CommandCount
            | Local::CommandInfo
            | Local::CommandDocs
            | Local::CommandList
            | Local::CommandGetkeys
            | Local::CommandGetkeysandflags => Some(Home::Any),
            _ => None,
        },
        Run::Special(special) => match special {
            Special::Eval | Special::EvalSha | Special::Fcall | Special::Sort => Some(Home::Keys),
            Special::RandomKey | Special::ScriptLoad | Special::Unwatch => Some(Home::Any),
            Special::Scan if !several => Some(Home::Any),
            // Of CONFIG GET the proxy keeps back what is secret.
            Special::Scan | Special::ScriptFlush | Special::Wait | Special::Kill => None,
            Special::ConfigGet | Special::ConfigSet => None,
            Special::Multi | Special::Exec | Special::Discard | Special::Watch => None,
            // The shard would subscribe the lane that all clients share.
            Special::Subscribe(_) | Special::Unsubscribe(_) => None,
        },
        Run::Refuse(_) => None,
    }
}

impl Relay {
    pub(super) fn multi(&mut self, id: ClientId) -> Outcome {
        let Some(client) = self.client(id) else { return Outcome::Done };
        let shard = client.guard.as_ref().map(|guard| guard.shard);
        client.transaction = Some(Box::new(Transaction { shard, ..Default::default() }));
        self.answer(id, |out| encode::simple(out, "OK"));
        Outcome::Done
    }

    pub(super) fn discard(&mut self, id: ClientId, now: Now) -> Outcome {
        if !self.forget_transaction(id) {
            return self.refuse(id, "ERR DISCARD without MULTI");
        }
        self.end_guard(id, now);
        self.answer(id, |out| encode::simple(out, "OK"));
        Outcome::Done
    }

    pub(super) fn exec(&mut self, id: ClientId, now: Now) -> Outcome {
        let transaction = self.client(id).and_then(|client| client.transaction.take());
        let Some(mut transaction) = transaction else {
            return self.refuse(id, "ERR EXEC without MULTI");
        };
        let requests = &mut transaction.requests;
        self.buffered_bytes = self.buffered_bytes.saturating_sub(requests.bytes());
        let (is_void, keys) = (transaction.is_void, std::mem::take(&mut transaction.keys));
        let guard = self.client(id).and_then(|client| client.guard.as_ref());
        match guard.map(|guard| guard.is_broken) {
            Some(false) if !is_void => self.exec_guarded(id, transaction, now),
            broken => {
                match broken {
                    Some(true) if !is_void && !planted(Plant::ForgetBroken) => self.answer_nil(id),
                    _ => self.send_transaction(id, &mut transaction, now),
                }
                self.end_guard(id, now);
                transaction.requests.clear(&mut self.chunks);
            }
        }
        // Not before: what is read is read now.
        keys.iter().for_each(|(key, writes)| self.note_key(id, key, *writes));
        Outcome::Done
    }

    /// Whether this is the EXEC of a transaction that may write, or sends messages.
    pub(super) fn commits_changes(&mut self, id: ClientId, command: &Command) -> bool {
        command.run == Run::Special(Special::Exec)
            && self.client(id).is_some_and(|client| {
                client.transaction.as_ref().is_some_and(|transaction| transaction.may_change)
            })
    }

    fn send_transaction(&mut self, id: ClientId, transaction: &mut Transaction, now: Now) {
        if transaction.is_void {
            self.refuse(id, EXECABORT);
            return;
        }
        if transaction.count == 0 {
            return self.answer(id, |out| encode::array_header(out, 0));
        }
        let shard = transaction.shard.or_else(|| self.keyless_shard(id)).unwrap_or(ShardId(0));
        if transaction.may_write {
            if self.unwritable && self.refuse_write(id, &[shard]) {
                return;
            }
            self.note_write(id, Some(shard));
        }
        let asked = transaction.asked();
        let Some(lane_set) = self.client(id).map(|client| client.lane_set) else { return };
        let lane = self.lane_of(lane_set, shard, id);
        let Outcome::Forward { lane } = self.send_to(id, asked, lane, now) else { return };
        self.put_block(lane, &mut transaction.requests);
    }

    /// The bytes of a transaction that was enqueued: MULTI and the requests, or none, and EXEC.
    pub(super) fn put_block(&mut self, lane: u32, requests: &mut Outbox) {
        if requests.is_empty() {
            self.put_lane(lane, MULTI);
        }
        if requests.bytes() < PASS_ON_BYTES {
            requests.chunks().for_each(|chunk| self.put_lane(lane, chunk));
            requests.clear(&mut self.chunks);
        } else {
            self.put_lane_parts(lane, requests);
        }
        self.put_lane(lane, EXEC);
    }

    /// EXEC was not executed: something that was watched may have changed.
    fn answer_nil(&mut self, id: ClientId) {
        let Some(protocol) = self.client(id).map(|client| client.protocol) else { return };
        self.answer(id, |out| Encoder::new(protocol).null_array(out));
    }

    /// `false`: there is none.
    pub(super) fn forget_transaction(&mut self, id: ClientId) -> bool {
        let transaction = self.client(id).and_then(|client| client.transaction.take());
        let Some(mut transaction) = transaction else { return false };
        let requests = &mut transaction.requests;
        self.buffered_bytes = self.buffered_bytes.saturating_sub(requests.bytes());
        requests.clear(&mut self.chunks);
        true
    }

    /// Answers a request that is not taken in. A transaction that it was to be part of comes to
    /// nothing.
    #[cold]
    pub(super) fn reject(&mut self, id: ClientId, write: impl FnOnce(&mut Vec<u8>)) -> Outcome {
        if self.forget_transaction(id)
            && let Some(client) = self.client(id)
        {
            client.transaction =
                Some(Box::new(Transaction { is_void: true, ..Default::default() }));
        }
        self.answer(id, write);
        Outcome::Done
    }

    #[cold]
    pub(super) fn reject_arity(
        &mut self,
        id: ClientId,
        command: &'static Command,
        now: Now,
    ) -> Outcome {
        if command.run == Run::Special(Special::Exec) {
            self.forget_transaction(id);
            self.end_guard(id, now);
            self.answer(id, errors::exec_with_args);
            return Outcome::Done;
        }
        self.reject(id, |out| errors::wrong_arity(command, out))
    }

    /// A request inside MULTI: of the right arity, and allowed.
    #[cold]
    pub(super) fn dispatch_queued(
        &mut self,
        id: ClientId,
        command: &'static Command,
        request: &Request<'_>,
        now: Now,
    ) -> Outcome {
        match command.run {
            Run::Special(Special::Multi) => {
                return self.refuse(id, "ERR MULTI calls can not be nested");
            }
            Run::Special(Special::Exec) => return self.exec(id, now),
            Run::Special(Special::Discard) => return self.discard(id, now),
            Run::Special(Special::Watch) => {
                return self.refuse(id, "ERR WATCH inside MULTI is not allowed");
            }
            Run::Local(local @ (Local::Reset | Local::Quit)) => {
                self.run_local(id, command, local, request, now);
                return Outcome::Done;
            }
            // It changes nothing where it is executed.
            Run::Local(Local::Select) if self.selects_own_database(id, request) => {
                return self.queue_at(id, command, Home::Any, request);
            }
            _ if command.flags.contains(Flags::NO_MULTI) => {
                let text = "ERR Command not allowed inside a transaction";
                return self.reject(id, |out| encode::error(out, text));
            }
            _ => {}
        }
        let several = self.shards_of(id) > 1;
        match (home(command, several), command.run) {
            (Some(home), _) => self.queue_at(id, command, home, request),
            (None, Run::Refuse(refusal)) => {
                self.reject(id, |out| errors::refused(command, refusal, out))
            }
            (None, Run::OnlyShard) => self.reject(id, |out| errors::several_shards(command, out)),
            (None, _) => self.reject(id, |out| errors::not_in_transaction(command, out)),
        }
    }

    fn selects_own_database(&mut self, id: ClientId, request: &Request<'_>) -> bool {
        let database = self.client(id).map_or(0, |client| client.database);
        request.arg(1) == database.to_string().as_bytes()
    }

    fn queue_at(
        &mut self,
        id: ClientId,
        command: &'static Command,
        home: Home,
        request: &Request<'_>,
    ) -> Outcome {
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        let is_of_keys = matches!(home, Home::Keys);
        let found = match home {
            Home::Keys => find_keys(command, request, &mut keys),
            Home::Argument(at) => {
                keys.push(at as u32);
                Ok(())
            }
            Home::Any => Ok(()),
        };
        let shards = keys.iter().map(|key| self.shard_of(id, request.arg(*key as usize)));
        let shards: Vec<ShardId> = shards.collect();
        self.keys = keys;
        if let Err(error) = found {
            return self.reject(id, |out| errors::keys_error(command, error, out));
        }
        if is_of_keys && shards.is_empty() && self.keyless_shard(id).is_none() {
            return self.reject(id, |out| errors::keyless(command, out));
        }
        let sorts = command.run == Run::Special(Special::Sort);
        if !self.is_of_one_shard(id, &shards) || (sorts && self.sorts_elsewhere(id, request)) {
            return self.reject_crossslot(id);
        }
        match command.run {
            Run::Special(Special::Eval) => self.remember_script(id, request.arg(1)),
            Run::Special(Special::ScriptLoad) => self.remember_script(id, request.arg(2)),
            Run::Special(Special::EvalSha) => return self.queue_eval_sha(id, command, request),
            _ => {}
        }
        self.queue(id, Some(command), request.bytes.len())
    }

    /// A command that is not in the table, by its first argument; it may be a write.
    pub(super) fn queue_unknown(
        &mut self,
        id: ClientId,
        key: &[u8],
        request: &Request<'_>,
    ) -> Outcome {
        let shard = self.shard_of(id, key);
        if !self.is_of_one_shard(id, &[shard]) {
            return self.reject_crossslot(id);
        }
        self.queue(id, None, request.bytes.len())
    }

    /// Whether these shards are all the same, and that of the transaction, which has one from now
    /// on.
    fn is_of_one_shard(&mut self, id: ClientId, shards: &[ShardId]) -> bool {
        let Some(transaction) = self.client(id).and_then(|client| client.transaction.as_mut())
        else {
            return false;
        };
        let Some(first) = shards.first() else { return true };
        let of_transaction = *transaction.shard.get_or_insert(*first);
        shards.iter().all(|shard| *shard == of_transaction)
    }

    fn reject_crossslot(&mut self, id: ClientId) -> Outcome {
        if let Some(client) = self.clients.get(id.index, id.generation) {
            self.stats.pool(client.pool, PoolMetric::CrossslotErrors).add(1);
        }
        self.reject(id, errors::cross_slot)
    }

    /// An EVALSHA whose script is known goes as EVAL, the next of the same transaction as it is:
    /// inside EXEC there is no second try, and the shard may be another server by then.
    fn queue_eval_sha(
        &mut self,
        id: ClientId,
        command: &'static Command,
        request: &Request<'_>,
    ) -> Outcome {
        let Some(client) = self.client(id) else { return Outcome::Done };
        let pool = client.pool;
        let script = self.scripts.find_by_text(pool, request.arg(1));
        let transaction = self.client(id).and_then(|client| client.transaction.as_mut());
        let (Some(script), Some(transaction)) = (script, transaction) else {
            return self.queue(id, Some(command), request.bytes.len());
        };
        if transaction.scripts.contains(&script.digest) {
            return self.queue(id, Some(command), request.bytes.len());
        }
        transaction.scripts.push(script.digest);
        let name: &[u8] =
            if command.flags.contains(Flags::READONLY) { b"EVAL_RO" } else { b"EVAL" };
        let args = request.iter().skip(2);
        let words: Vec<&[u8]> = [name, &script.body].into_iter().chain(args).collect();
        let mut bytes = Vec::new();
        encode::request(&mut bytes, &words);
        if self.queue(id, Some(command), bytes.len()) == Outcome::Queue {
            self.queue_bytes_owned(id, bytes);
        }
        Outcome::Done
    }

    /// Whether the transaction, if there is one, takes one more request of so many bytes; why not.
    pub(super) fn has_room(&self, id: ClientId, bytes: usize) -> Result<(), String> {
        let Some(client) = self.clients.get(id.index, id.generation) else { return Ok(()) };
        let Some(transaction) = &client.transaction else { return Ok(()) };
        if transaction.count >= TRANSACTION_REQUESTS_MAX {
            return Err(format!("ERR more than {TRANSACTION_REQUESTS_MAX} requests inside MULTI"));
        }
        let bytes_max = self.pool(client.pool).limits.request_bytes_max;
        if transaction.requests.bytes() + bytes > bytes_max {
            return Err(format!(
                "ERR more than {bytes_max} bytes inside MULTI (request_bytes_max)"
            ));
        }
        Ok(())
    }

    /// A place in the transaction for a request of so many bytes; `None`: its command is not known.
    fn queue(&mut self, id: ClientId, command: Option<&Command>, bytes: usize) -> Outcome {
        if let Err(text) = self.has_room(id, bytes) {
            return self.reject(id, |out| encode::error(out, text));
        }
        let transaction = self.client(id).and_then(|client| client.transaction.as_mut());
        let Some(transaction) = transaction else { return Outcome::Done };
        let (is_void, is_first) = (transaction.is_void, transaction.count == 0);
        if !is_void {
            transaction.count += 1;
            let may_change = command.is_none_or(may_change);
            let by_script = command.is_some_and(|command| command.family == Family::Scripting);
            transaction.may_write |= command.is_none_or(Command::may_write);
            transaction.may_change |= may_change;
            transaction.runs_scripts |= by_script;
            transaction.changes_plainly |= may_change && !by_script;
        }
        self.answer(id, |out| encode::simple(out, "QUEUED"));
        if is_void {
            return Outcome::Done;
        }
        if is_first {
            self.queue_bytes(id, MULTI);
        }
        Outcome::Queue
    }

    /// The bytes of a request that was queued, copied …
    pub(super) fn queue_bytes(&mut self, id: ClientId, bytes: &[u8]) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        let Some(transaction) = &mut client.transaction else { return };
        transaction.requests.put(bytes, &mut self.chunks);
        self.buffered_bytes += bytes.len();
    }

    /// … or kept as they are.
    pub(super) fn queue_bytes_owned(&mut self, id: ClientId, bytes: Vec<u8>) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        let Some(transaction) = &mut client.transaction else { return };
        self.buffered_bytes += bytes.len();
        transaction.requests.put_owned(bytes, &mut self.chunks);
    }

    pub(super) fn queue_parts(&mut self, id: ClientId, parts: &mut Outbox) {
        let Some(client) = self.clients.get_mut(id.index, id.generation) else { return };
        let Some(transaction) = &mut client.transaction else {
            return parts.clear(&mut self.chunks);
        };
        self.buffered_bytes += parts.bytes();
        transaction.requests.append(parts);
    }
}
