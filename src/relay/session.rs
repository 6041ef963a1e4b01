//! A client's own state: HELLO, AUTH, SELECT, RESET and CLIENT.

use std::collections::BTreeSet;

use crate::base::ids::ClientId;
use crate::base::limits::CLIENT_NAME_BYTES_MAX;
use crate::base::time::{Now, US_PER_S};
use crate::relay::Relay;
use crate::relay::api::Peer;
use crate::relay::client::{Client, Names, Phase};
use crate::resp::Protocol;
use crate::resp::args::Request;
use crate::resp::encode::{self, Encoder};

/// The version that HELLO and INFO report: that of the redis whose commands the table describes.
pub(super) const REDIS_VERSION: &str = "7.0.15";

const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

/// HELLO's options, read whole before any of them takes effect.
#[derive(Default)]
struct HelloOptions<'a> {
    auth: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl Relay {
    /// HELLO [protover [AUTH user password] [SETNAME name]]
    pub(super) fn hello(&mut self, id: ClientId, request: &Request<'_>) {
        let protocol = match request.get(1) {
            None => self.client(id).map(|client| client.protocol).unwrap_or_default(),
            Some(b"2") => Protocol::Resp2,
            Some(b"3") => Protocol::Resp3,
            Some(text) => {
                let number =
                    std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
                self.refuse(
                    id,
                    match number {
                        Some(_) => "NOPROTO unsupported protocol version",
                        None => "ERR Protocol version is not an integer or out of range",
                    },
                );
                return;
            }
        };
        let options = match hello_options(request) {
            Ok(options) => options,
            Err(error) => {
                self.refuse(id, &error);
                return;
            }
        };
        if let Some((user, password)) = options.auth
            && let Err(error) = self.log_in(id, user, password)
        {
            self.refuse(id, error);
            return;
        }
        let Some(client) = self.client(id) else { return };
        if !client.authenticated {
            self.refuse(
                id,
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
                 HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client \
                 and select the RESP protocol version at the same time",
            );
            return;
        }
        if let Some(name) = options.name {
            client.names_mut().name = name.to_vec();
        }
        let (number, database) = (client.number, client.database);
        self.move_to_lanes(id, protocol, database);
        self.answer(id, |out| write_hello(Encoder::new(protocol), protocol, number, out));
    }

    /// AUTH [user] password
    pub(super) fn auth(&mut self, id: ClientId, request: &Request<'_>) {
        let (user, password) = match request.len() {
            2 if self.has_no_password(id) => {
                self.refuse(
                    id,
                    "ERR AUTH <password> called without any password configured for the default \
                     user. Are you sure your configuration is correct?",
                );
                return;
            }
            2 => (b"default".as_slice(), request.arg(1)),
            3 => (request.arg(1), request.arg(2)),
            _ => {
                self.refuse(id, "ERR syntax error");
                return;
            }
        };
        match self.log_in(id, user, password) {
            Ok(()) => self.answer(id, |out| encode::simple(out, "OK")),
            Err(error) => {
                self.refuse(id, error);
            }
        }
    }

    fn has_no_password(&mut self, id: ClientId) -> bool {
        let Some(pool) = self.client(id).map(|client| client.pool) else { return true };
        self.pool(pool).config.client_password.is_none()
    }

    fn log_in(&mut self, id: ClientId, user: &[u8], password: &[u8]) -> Result<(), &'static str> {
        let Some(pool) = self.client(id).map(|client| client.pool) else { return Ok(()) };
        // As redis: a default user without a password may log in with any.
        let right = match self.pool(pool).config.client_password.as_deref() {
            Some(expected) => same_bytes(expected.as_bytes(), password),
            None => true,
        };
        let right = right && user == b"default";
        if !right {
            return Err(WRONGPASS);
        }
        if let Some(client) = self.client(id) {
            client.authenticated = true;
        }
        Ok(())
    }

    /// SELECT n: from now on this client's requests go by the lanes of database `n`.
    pub(super) fn select(&mut self, id: ClientId, request: &Request<'_>) {
        let Some(client) = self.client(id) else { return };
        let (pool, protocol) = (client.pool, client.protocol);
        let text = std::str::from_utf8(request.arg(1)).ok();
        let Some(number) = text.and_then(|text| text.parse::<i64>().ok()) else {
            self.refuse(id, "ERR value is not an integer or out of range");
            return;
        };
        let databases = self.pool(pool).config.databases;
        match u32::try_from(number) {
            Ok(database) if database < databases => {
                self.move_to_lanes(id, protocol, database);
                self.answer(id, |out| encode::simple(out, "OK"));
            }
            _ => {
                self.refuse(id, "ERR DB index is out of range");
            }
        }
    }

    /// RESET: as a fresh connection.
    pub(super) fn reset(&mut self, id: ClientId) {
        let Some(client) = self.client(id) else { return };
        client.names = None;
        let pool = client.pool;
        let pool = self.pool(pool).config.clone();
        if let Some(client) = self.client(id) {
            client.authenticated = pool.client_password.is_none();
        }
        self.move_to_lanes(id, Protocol::Resp2, pool.database);
        self.answer(id, |out| encode::simple(out, "RESET"));
    }

    fn move_to_lanes(&mut self, id: ClientId, protocol: Protocol, database: u32) {
        let Some(pool) = self.client(id).map(|client| client.pool) else { return };
        let lane_set = self.lane_set(pool, protocol, database);
        if let Some(client) = self.client(id) {
            client.protocol = protocol;
            client.database = database;
            client.lane_set = lane_set;
        }
    }

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

    pub(super) fn client_info(&mut self, id: ClientId, now: Now) {
        let Some(client) = self.client(id) else { return };
        let protocol = client.protocol;
        let line = client_line(client, now) + "\n";
        self.answer(id, |out| Encoder::new(protocol).verbatim(out, line.as_bytes()));
    }

    /// CLIENT LIST [TYPE type] [ID id …]: the clients of this core.
    pub(super) fn client_list(&mut self, id: ClientId, request: &Request<'_>, now: Now) {
        let Some(protocol) = self.client(id).map(|client| client.protocol) else { return };
        let wanted: Option<BTreeSet<u64>> = match request.get(2).map(<[u8]>::to_ascii_lowercase) {
            None => None,
            Some(option) if option == b"type" && request.len() == 4 => {
                let normal = request.arg(3).eq_ignore_ascii_case(b"normal");
                (!normal).then(BTreeSet::new)
            }
            Some(option) if option == b"id" && request.len() > 3 => {
                Some(request.iter().skip(3).filter_map(number_of).collect())
            }
            Some(_) => {
                self.refuse(id, "ERR syntax error");
                return;
            }
        };
        let mut text = String::new();
        for (_, _, client) in self.clients.iter() {
            if wanted.as_ref().is_none_or(|wanted| wanted.contains(&client.number)) {
                text.push_str(&client_line(client, now));
                text.push('\n');
            }
        }
        self.answer(id, |out| Encoder::new(protocol).verbatim(out, text.as_bytes()));
    }

    /// CLIENT KILL address, or with filters: among the clients of this core.
    pub(super) fn client_kill(&mut self, id: ClientId, request: &Request<'_>) {
        let old_form = request.len() == 3;
        let filter = match KillFilter::read(request, old_form) {
            Ok(filter) => filter,
            Err(error) => {
                self.refuse(id, error);
                return;
            }
        };
        let victims: Vec<ClientId> = self
            .clients
            .iter()
            .filter(|(_, _, client)| client.phase == Phase::Open)
            .map(|(index, generation, client)| (ClientId { index, generation }, client))
            .filter(|(victim, client)| filter.hits(client) && !(filter.skip_me && *victim == id))
            .map(|(victim, _)| victim)
            .collect();
        if old_form {
            match victims.is_empty() {
                true => drop(self.refuse(id, "ERR No such client")),
                false => self.answer(id, |out| encode::simple(out, "OK")),
            }
        } else {
            self.answer(id, |out| encode::integer(out, victims.len() as i64));
        }
        for victim in victims {
            match victim == id {
                true => self.finish_after_replies(victim), // it has to hear its own answer
                false => self.drop_client(victim),
            }
        }
    }
}

/// CLIENT KILL's filters; all given ones have to match.
struct KillFilter<'a> {
    number: Option<u64>,
    peer: Option<&'a [u8]>,
    local: Option<&'a [u8]>,
    normal: bool,
    skip_me: bool,
}

impl<'a> KillFilter<'a> {
    fn read(request: &Request<'a>, old_form: bool) -> Result<KillFilter<'a>, &'static str> {
        let mut filter =
            KillFilter { number: None, peer: None, local: None, normal: true, skip_me: true };
        if old_form {
            filter.peer = request.get(2);
            filter.skip_me = false;
            return Ok(filter);
        }
        if !request.len().is_multiple_of(2) {
            return Err("ERR syntax error");
        }
        for at in (2..request.len()).step_by(2) {
            let value = request.arg(at + 1);
            match request.arg(at).to_ascii_lowercase().as_slice() {
                b"id" => {
                    let error = "ERR client-id should be greater than 0";
                    filter.number = Some(number_of(value).filter(|n| *n > 0).ok_or(error)?);
                }
                b"addr" => filter.peer = Some(value),
                b"laddr" => filter.local = Some(value),
                b"type" => match value.to_ascii_lowercase().as_slice() {
                    b"normal" => {}
                    b"master" | b"primary" | b"replica" | b"slave" | b"pubsub" => {
                        filter.normal = false;
                    }
                    _ => return Err("ERR Unknown client type"),
                },
                b"user" => filter.normal &= value == b"default",
                b"skipme" => match value.to_ascii_lowercase().as_slice() {
                    b"yes" => filter.skip_me = true,
                    b"no" => filter.skip_me = false,
                    _ => return Err("ERR syntax error"),
                },
                _ => return Err("ERR syntax error"),
            }
        }
        Ok(filter)
    }

    fn hits(&self, client: &Client) -> bool {
        let (peer, local) = addresses(&client.peer);
        self.normal
            && self.number.is_none_or(|number| number == client.number)
            && self.peer.is_none_or(|wanted| wanted == peer.as_bytes())
            && self.local.is_none_or(|wanted| wanted == local.as_bytes())
    }
}

fn hello_options<'a>(request: &Request<'a>) -> Result<HelloOptions<'a>, String> {
    let mut options = HelloOptions::default();
    let mut at = 2;
    while let Some(option) = request.get(at) {
        let left = request.len() - at - 1;
        if option.eq_ignore_ascii_case(b"auth") && left >= 2 {
            options.auth = Some((request.arg(at + 1), request.arg(at + 2)));
            at += 3;
        } else if option.eq_ignore_ascii_case(b"setname") && left >= 1 {
            if !is_name(request.arg(at + 1)) {
                return Err(BAD_NAME.to_owned());
            }
            options.name = request.get(at + 1);
            at += 2;
        } else {
            let option = String::from_utf8_lossy(option);
            return Err(format!("ERR Syntax error in HELLO option '{option}'"));
        }
    }
    Ok(options)
}

fn write_hello(encoder: Encoder, protocol: Protocol, number: u64, out: &mut Vec<u8>) {
    encoder.map_header(out, 7);
    encode::bulk(out, b"server");
    encode::bulk(out, b"redis");
    encode::bulk(out, b"version");
    encode::bulk(out, REDIS_VERSION.as_bytes());
    encode::bulk(out, b"proto");
    encode::integer(
        out,
        match protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        },
    );
    encode::bulk(out, b"id");
    encode::integer(out, number as i64);
    encode::bulk(out, b"mode");
    encode::bulk(out, b"standalone");
    encode::bulk(out, b"role");
    encode::bulk(out, b"master");
    encode::bulk(out, b"modules");
    encode::array_header(out, 0);
}

/// Printable ASCII without blanks, as redis demands of names, and of a bounded length.
fn is_name(name: &[u8]) -> bool {
    name.len() <= CLIENT_NAME_BYTES_MAX && name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// Equal, in a time that does not tell where they differ.
fn same_bytes(expected: &[u8], given: &[u8]) -> bool {
    let differing = expected.iter().zip(given).fold(0, |sum, (a, b)| sum | (a ^ b));
    expected.len() == given.len() && differing == 0
}

fn number_of(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn addresses(peer: &Peer) -> (String, String) {
    match peer {
        Peer::Tcp { peer, local } => (peer.to_string(), local.to_string()),
        Peer::Unix { path } => (format!("{path}:0"), format!("{path}:0")),
    }
}

/// One line of CLIENT LIST, with those of redis' fields that have a meaning here.
fn client_line(client: &Client, now: Now) -> String {
    let (peer, local) = addresses(&client.peer);
    let none = Names::default();
    let names = client.names.as_deref().unwrap_or(&none);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "id={} addr={peer} laddr={local} fd=-1 name={} age={} idle={} flags=N db={} sub=0 psub=0 \
         ssub=0 multi=-1 qbuf={} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll={} \
         omem={} tot-mem={} events=r cmd={} user=default redir=-1 resp={} lib-name={} lib-ver={}",
        client.number,
        text(&names.name),
        now.mono_us.saturating_sub(client.opened_us) / US_PER_S,
        now.mono_us.saturating_sub(client.heard_us) / US_PER_S,
        client.database,
        client.tail.len(),
        client.order.len(),
        client.output_bytes(),
        client.buffered_bytes(),
        if client.last_command.is_empty() { "NULL" } else { client.last_command },
        match client.protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        },
        text(&names.lib_name),
        text(&names.lib_version),
    )
}
