//! A client's own state: HELLO, AUTH, SELECT and RESET.

use crate::base::ids::ClientId;
use crate::base::time::Now;
use crate::config::model::Facade;
use crate::relay::Relay;
use crate::relay::client::Stall;
use crate::relay::clients::{BAD_NAME, is_name};
use crate::relay::order::Replies;
use crate::relay::tracking::ENDS_RESP3;
use crate::resp::Protocol;
use crate::resp::args::Request;
use crate::resp::encode::{self, Encoder};

/// The version that HELLO and INFO report: that of the redis whose commands the table describes.
pub(super) const REDIS_VERSION: &str = "7.0.15";

const LEAVES_GUARD: &str = "ERR who watches keys can not go to another database or protocol version \
                            through this proxy; send it before WATCH, or UNWATCH before it";

const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";

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
        let tracks = self.client(id).is_some_and(|client| client.tracks());
        if tracks && protocol == Protocol::Resp2 {
            self.refuse(id, ENDS_RESP3);
            return;
        }
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
        let database = client.database;
        if self.leaves_guard(id, protocol, database) {
            self.refuse(id, LEAVES_GUARD);
            return;
        }
        let Some(client) = self.client(id) else { return };
        if let Some(name) = options.name {
            client.names_mut().name = name.to_vec();
        }
        let (pool, number, database) = (client.pool, client.number, client.database);
        let mode = redis_mode(self.pool(pool).config.facade);
        self.move_to_lanes(id, protocol, database);
        self.answer(id, |out| write_hello(Encoder::new(protocol), mode, number, out));
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
            Ok(database) if self.leaves_guard(id, protocol, database) => {
                self.refuse(id, LEAVES_GUARD);
            }
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
    pub(super) fn reset(&mut self, id: ClientId, now: Now) {
        self.end_monitor(id);
        self.forget_transaction(id);
        self.end_guard(id, now);
        self.end_tracking(id);
        let Some(client) = self.client(id) else { return };
        client.names = None;
        // One that is skipped is skipped, be it that of RESET itself: so does redis.
        if client.order.replies() == Replies::Off {
            client.order.set_replies(Replies::On);
        }
        let pool = client.pool;
        self.leave_all(id);
        let pool = self.pool(pool).config.clone();
        if let Some(client) = self.client(id) {
            client.authenticated = pool.client_password.is_none();
        }
        self.move_to_lanes(id, Protocol::Resp2, pool.database);
        self.answer(id, |out| encode::simple(out, "RESET"));
    }

    /// Whether it watches keys on a connection of another protocol version or database.
    fn leaves_guard(&mut self, id: ClientId, protocol: Protocol, database: u32) -> bool {
        self.client(id).is_some_and(|client| {
            client.guard.is_some() && (client.protocol, client.database) != (protocol, database)
        })
    }

    fn move_to_lanes(&mut self, id: ClientId, protocol: Protocol, database: u32) {
        let Some(pool) = self.client(id).map(|client| client.pool) else { return };
        let lane_set = self.lane_set(pool, protocol, database);
        if let Some(client) = self.client(id) {
            client.protocol = protocol;
            client.database = database;
            if client.lane_set != lane_set && !client.order.is_empty() {
                // Connections overtake each other: what was asked for before is done first.
                client.stall = Some(Stall::Lanes);
            }
            client.writes.change_lanes(client.lane_set, lane_set);
            client.lane_set = lane_set;
        }
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

/// As HELLO and INFO call what the server is.
pub(super) fn redis_mode(facade: Facade) -> &'static str {
    match facade {
        Facade::None => "standalone",
        Facade::Cluster => "cluster",
    }
}

fn write_hello(encoder: Encoder, mode: &str, number: u64, out: &mut Vec<u8>) {
    encoder.map_header(out, 7);
    encode::bulk(out, b"server");
    encode::bulk(out, b"redis");
    encode::bulk(out, b"version");
    encode::bulk(out, REDIS_VERSION.as_bytes());
    encode::bulk(out, b"proto");
    encode::integer(
        out,
        match encoder.protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        },
    );
    encode::bulk(out, b"id");
    encode::integer(out, number as i64);
    encode::bulk(out, b"mode");
    encode::bulk(out, mode.as_bytes());
    encode::bulk(out, b"role");
    encode::bulk(out, b"master");
    encode::bulk(out, b"modules");
    encode::array_header(out, 0);
}

/// Equal, in a time that does not tell where they differ.
fn same_bytes(expected: &[u8], given: &[u8]) -> bool {
    let differing = expected.iter().zip(given).fold(0, |sum, (a, b)| sum | (a ^ b));
    expected.len() == given.len() && differing == 0
}
