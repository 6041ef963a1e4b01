//! CLIENT *: what a client says and asks of itself, and of the other clients of its pool.
//!
//! What is asked of others (LIST, KILL) is carried out here among this core's clients; `cores`
//! asks the other cores.

use std::fmt::Write;

use crate::base::ids::ClientId;
use crate::base::limits::CLIENT_NAME_BYTES_MAX;
use crate::base::time::{Now, US_PER_S};
use crate::command::model::Family;
use crate::relay::Relay;
use crate::relay::client::{Client, Names};
use crate::relay::order::Replies;
use crate::relay::query::{ClientQuery, Deed, local_address, peer_address};
use crate::relay::tracking::redirection;
use crate::resp::Protocol;
use crate::resp::args::Request;
use crate::resp::encode::{self, Encoder};

pub(super) const BAD_NAME: &str =
    "ERR Client names cannot contain spaces, newlines or special characters.";

impl Relay {
    pub(super) fn client_id(&mut self, id: ClientId) {
        let Some(number) = self.client(id).map(|client| client.number) else { return };
        self.answer(id, |out| encode::integer(out, number as i64));
    }

    pub(super) fn client_getname(&mut self, id: ClientId) {
        let Some(client) = self.client(id) else { return };
        let (protocol, name) = (client.protocol, client.name().to_vec());
        self.answer(id, |out| {
            if name.is_empty() {
                Encoder::new(protocol).null(out);
            } else {
                encode::bulk(out, &name);
            }
        });
    }

    pub(super) fn client_setname(&mut self, id: ClientId, request: &Request<'_>) {
        let name = request.arg(2);
        if !is_name(name) {
            self.refuse(id, BAD_NAME);
            return;
        }
        if let Some(client) = self.client(id) {
            client.names_mut().name = name.to_vec();
        }
        self.answer(id, |out| encode::simple(out, "OK"));
    }

    /// CLIENT SETINFO LIB-NAME name | LIB-VER version
    pub(super) fn client_setinfo(&mut self, id: ClientId, request: &Request<'_>) {
        let (option, value) = (request.arg(2), request.arg(3));
        if !is_name(value) {
            let option = String::from_utf8_lossy(option).to_lowercase();
            let text = "cannot contain spaces, newlines or special characters.";
            self.refuse(id, &format!("ERR {option} {text}"));
            return;
        }
        let Some(client) = self.client(id) else { return };
        if option.eq_ignore_ascii_case(b"lib-name") {
            client.names_mut().lib_name = value.to_vec();
        } else if option.eq_ignore_ascii_case(b"lib-ver") {
            client.names_mut().lib_version = value.to_vec();
        } else {
            let option = String::from_utf8_lossy(option).into_owned();
            self.refuse(id, &format!("ERR Unrecognized option '{option}'"));
            return;
        }
        self.answer(id, |out| encode::simple(out, "OK"));
    }

    /// CLIENT REPLY ON | OFF | SKIP: of the replies to what comes after it. One to itself has only
    /// ON.
    pub(super) fn client_reply(&mut self, id: ClientId, request: &Request<'_>) {
        let Some(client) = self.client(id) else { return };
        match request.arg(2).to_ascii_lowercase().as_slice() {
            b"on" => {
                client.order.set_replies(Replies::On);
                self.answer(id, |out| encode::simple(out, "OK"));
            }
            b"off" => client.order.set_replies(Replies::Off),
            b"skip" if client.order.replies() == Replies::Off => {}
            b"skip" => client.order.set_replies(Replies::SkipNext),
            _ => drop(self.refuse(id, "ERR syntax error")),
        }
    }

    pub(super) fn client_info(&mut self, id: ClientId, now: Now) {
        let Some(client) = self.client(id) else { return };
        let protocol = client.protocol;
        let mut line = String::new();
        write_line(client, now, &mut line);
        self.answer(id, |out| Encoder::new(protocol).verbatim(out, line.as_bytes()));
    }

    /// CLIENT LIST [TYPE type | ID id …]: the clients of the pool, on all cores.
    pub(super) fn client_list(
        &mut self,
        id: ClientId,
        family: Family,
        request: &Request<'_>,
        now: Now,
    ) {
        let Some(client) = self.client(id) else { return };
        match ClientQuery::of_list(client.pool, client.number, request) {
            Ok(query) => self.query_clients(id, family, query, now),
            Err(error) => drop(self.refuse(id, &error)),
        }
    }

    /// CLIENT KILL address, or with filters: among the clients of the pool, on all cores.
    pub(super) fn client_kill(
        &mut self,
        id: ClientId,
        family: Family,
        request: &Request<'_>,
        now: Now,
    ) {
        let Some(client) = self.client(id) else { return };
        match ClientQuery::of_kill(client.pool, client.number, request) {
            Ok(query) => self.query_clients(id, family, query, now),
            Err(error) => drop(self.refuse(id, &error)),
        }
    }

    /// CLIENT UNBLOCK id [TIMEOUT | ERROR]: a client of the pool, on whichever core.
    pub(super) fn client_unblock(
        &mut self,
        id: ClientId,
        family: Family,
        request: &Request<'_>,
        now: Now,
    ) {
        let Some(client) = self.client(id) else { return };
        match ClientQuery::of_unblock(client.pool, client.number, request) {
            Ok(query) => self.query_clients(id, family, query, now),
            Err(error) => drop(self.refuse(id, &error)),
        }
    }

    /// Those clients of this core that are meant block no more; gives the number of those that did.
    fn unblock_clients(&mut self, query: &ClientQuery<'_>, with_error: bool, now: Now) -> u64 {
        let meant: Vec<ClientId> = self
            .clients
            .iter()
            .filter(|(_, _, client)| query.hits(client, now))
            .map(|(index, generation, _)| ClientId { index, generation })
            .collect();
        meant.into_iter().filter(|id| self.unblock(*id, with_error, now)).count() as u64
    }

    /// What a query does to this core's clients; gives to how many, and the one that asked if it is
    /// one of those that are to be closed: it has to hear its own answer, and is left to the caller.
    pub(super) fn do_to_clients(
        &mut self,
        query: &ClientQuery<'_>,
        now: Now,
    ) -> (u64, Option<ClientId>) {
        match query.deed {
            Deed::Unblock { with_error } => (self.unblock_clients(query, with_error, now), None),
            _ => self.kill_clients(query, now),
        }
    }

    /// The lines of those clients of this core that are meant.
    pub(super) fn lines_of_clients(&self, query: &ClientQuery<'_>, now: Now) -> String {
        let mut lines = String::new();
        for (_, _, client) in self.clients.iter().filter(|(_, _, client)| query.hits(client, now)) {
            write_line(client, now, &mut lines);
        }
        lines
    }

    /// Closes those clients of this core that are meant; gives their number, and the one that asked
    /// if it is among them: it has to hear its own answer, and is left to the caller.
    fn kill_clients(&mut self, query: &ClientQuery<'_>, now: Now) -> (u64, Option<ClientId>) {
        let victims: Vec<(ClientId, u64)> = self
            .clients
            .iter()
            .filter(|(_, _, client)| query.hits(client, now))
            .map(|(index, generation, client)| (ClientId { index, generation }, client.number))
            .collect();
        let mut asker = None;
        for (victim, number) in &victims {
            match *number == query.asker {
                true => asker = Some(*victim),
                false => self.drop_client(*victim),
            }
        }
        (victims.len() as u64, asker)
    }
}

/// Printable ASCII without blanks, as redis demands of names, and of a bounded length.
pub(super) fn is_name(name: &[u8]) -> bool {
    name.len() <= CLIENT_NAME_BYTES_MAX && name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// As redis writes them; `N` is none of all.
fn flags(client: &Client) -> String {
    let all = [
        (client.monitors, 'O'),
        (client.is_subscribed(), 'P'),
        (client.transaction.is_some(), 'x'),
        (client.blocks(), 'b'),
        (client.tracks(), 't'),
    ];
    let flags: String = all.iter().filter(|(is, _)| *is).map(|(_, flag)| *flag).collect();
    if flags.is_empty() { "N".to_owned() } else { flags }
}

/// One line of CLIENT LIST, with those of redis' fields that have a meaning here.
fn write_line(client: &Client, now: Now, out: &mut String) {
    let none = Names::default();
    let names = client.names.as_deref().unwrap_or(&none);
    let queued = client.transaction.as_deref();
    let [channels, patterns, shard_channels] = client.subscriptions();
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "id={} addr={} laddr={} fd=-1 name={} age={} idle={} flags={} db={} sub={channels} \
         psub={patterns} ssub={shard_channels} multi={} watch={} qbuf={} qbuf-free=0 argv-mem=0 \
         multi-mem={} rbs=0 rbp=0 obl=0 oll={} omem={} \
         tot-mem={} events=r cmd={} user=default redir={} resp={} lib-name={} lib-ver={}",
        client.number,
        peer_address(&client.peer),
        local_address(&client.peer),
        String::from_utf8_lossy(&names.name),
        now.mono_us.saturating_sub(client.opened_us) / US_PER_S,
        now.mono_us.saturating_sub(client.heard_us) / US_PER_S,
        flags(client),
        client.database,
        queued.map_or(-1, |queued| queued.count as i64),
        client.guard.as_ref().map_or(0, |guard| guard.keys),
        client.tail.len(),
        queued.map_or(0, |queued| queued.requests.bytes()),
        client.order.len(),
        client.output_bytes(),
        client.buffered_bytes(),
        if client.last_command.is_empty() { "NULL" } else { client.last_command },
        redirection(client.tracks()),
        match client.protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        },
        String::from_utf8_lossy(&names.lib_name),
        String::from_utf8_lossy(&names.lib_version),
    );
}
