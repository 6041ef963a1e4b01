//! What the proxy answers itself, well enough for every client library's hand-shake.

use crate::base::ids::ClientId;
use crate::base::time::{Now, US_PER_S};
use crate::command::describe;
use crate::command::model::{Command, Local};
use crate::relay::Relay;
use crate::relay::query::Deed;
use crate::relay::session::REDIS_VERSION;
use crate::resp::args::Request;
use crate::resp::encode::{self, Encoder};

impl Relay {
    /// Answers `request`, whose arity is right.
    pub(super) fn run_local(
        &mut self,
        id: ClientId,
        command: &'static Command,
        local: Local,
        request: &Request<'_>,
        now: Now,
    ) {
        let Some(client) = self.client(id) else { return };
        let (protocol, confined) = (client.protocol, client.is_confined());
        let encoder = Encoder::new(protocol);
        match local {
            Local::Ping => self.ping(id, confined, request),
            Local::Echo => self.answer(id, |out| encode::bulk(out, request.arg(1))),
            Local::Ok => self.answer(id, |out| encode::simple(out, "OK")),
            Local::OnOff => {
                let word = request.arg(2);
                let known = word.eq_ignore_ascii_case(b"on") || word.eq_ignore_ascii_case(b"off");
                self.answer(id, |out| match known {
                    true => encode::simple(out, "OK"),
                    false => encode::error(out, "ERR syntax error"),
                });
            }
            Local::Time => self.answer(id, |out| write_time(now, out)),
            Local::Lolwut => self.answer(id, |out| write_lolwut(encoder, out)),
            Local::Cluster(question) => self.cluster(id, command, question, request),
            Local::Help => self.answer(id, |out| describe::help(command, out)),

            Local::Hello => self.hello(id, request),
            Local::Auth => self.auth(id, request),
            Local::Select => self.select(id, request),
            Local::Reset => self.reset(id, now),
            Local::Quit => {
                self.answer(id, |out| encode::simple(out, "OK"));
                self.finish_after_replies(id);
            }

            Local::Role => self.answer(id, write_role),
            Local::Info => self.info(id, command, request, now),

            Local::ClientId => self.client_id(id),
            Local::ClientInfo => self.client_info(id, now),
            Local::ClientList => self.client_list(id, command.family, request, now),
            Local::ClientGetname => self.client_getname(id),
            Local::ClientSetname => self.client_setname(id, request),
            Local::ClientSetinfo => self.client_setinfo(id, request),
            Local::ClientPause => self.client_pause(id, command.family, request, now),
            Local::ClientUnpause => self.ask_all(id, command.family, Deed::Unpause, now),
            Local::Monitor => self.monitor(id, command.family, now),
            Local::PubsubChannels(kind) => {
                self.pubsub(id, command, Deed::Topics(kind), request, now);
            }
            Local::PubsubNumsub(kind) => self.pubsub(id, command, Deed::Numsub(kind), request, now),
            Local::PubsubNumpat => self.pubsub(id, command, Deed::Numpat, request, now),
            Local::ClientReply => self.client_reply(id, request),
            Local::ClientKill => self.client_kill(id, command.family, request, now),
            Local::ClientUnblock => self.client_unblock(id, command.family, request, now),
            Local::ClientTracking => self.client_tracking(id, request, now),
            Local::ClientCaching => self.client_caching(id, request),
            Local::ClientGetredir => self.client_getredir(id),
            Local::ClientTrackinginfo => self.client_trackinginfo(id),

            Local::Command => self.answer(id, |out| describe::command(protocol, out)),
            Local::CommandCount => self.answer(id, describe::count),
            Local::CommandInfo => {
                self.answer(id, |out| describe::info(request, protocol, out));
            }
            Local::CommandDocs => {
                self.answer(id, |out| describe::docs(request, protocol, out));
            }
            Local::CommandList => self.answer(id, |out| describe::list(request, out)),
            Local::CommandGetkeys => {
                self.answer(id, |out| describe::getkeys(request, out));
            }
            Local::CommandGetkeysandflags => {
                self.answer(id, |out| describe::getkeysandflags(request, protocol, out));
            }
        }
    }

    /// Who may only subscribe hears the answer in the form of a message.
    fn ping(&mut self, id: ClientId, confined: bool, request: &Request<'_>) {
        match request.len() {
            1 | 2 if confined => self.answer(id, |out| {
                encode::array_header(out, 2);
                encode::bulk(out, b"pong");
                encode::bulk(out, request.get(1).unwrap_or_default());
            }),
            1 => self.answer(id, |out| encode::simple(out, "PONG")),
            2 => self.answer(id, |out| encode::bulk(out, request.arg(1))),
            _ => {
                self.refuse(id, "ERR wrong number of arguments for 'ping' command");
            }
        }
    }
}

/// Ends as redis' does, with the version that HELLO and INFO report.
fn write_lolwut(encoder: Encoder, out: &mut Vec<u8>) {
    let corelay = env!("CARGO_PKG_VERSION");
    let text = format!("one relay per core\ncorelay {corelay}\nRedis ver. {REDIS_VERSION}\n");
    encoder.verbatim(out, text.as_bytes());
}

/// A master that no replica follows: clients meet one redis.
fn write_role(out: &mut Vec<u8>) {
    encode::array_header(out, 3);
    encode::bulk(out, b"master");
    encode::integer(out, 0);
    encode::array_header(out, 0);
}

fn write_time(now: Now, out: &mut Vec<u8>) {
    encode::array_header(out, 2);
    encode::bulk(out, (now.wall_us / US_PER_S).to_string().as_bytes());
    encode::bulk(out, (now.wall_us % US_PER_S).to_string().as_bytes());
}
