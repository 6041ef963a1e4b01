//! Blocks: a transaction on a lane.
//!
//! MULTI, the requests and EXEC leave in one piece under one token. So a transaction is one request
//! in all that can befall a lane (it waits, is sent again, refused, failed, late), and nothing of
//! another client, nor a fence, comes between. That it has more replies than one is known here only:
//! `+OK`, for each request `+QUEUED` (or an error, and then nothing is executed), and at last what
//! EXEC says, which is the client's.

use crate::command::model::Family;
use crate::command::shape::Asked;
use crate::relay::lane::Flow;
use crate::relay::refusal::{is_refusal, is_refusal_in_script};
use crate::relay::step::begins_as_counted;
use crate::resp::value;

/// How far the oldest request of a lane is answered, if it is a block.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Replies that have come.
    heard: u32,
    /// An error was among them.
    is_spoilt: bool,
    /// The first one that says that its server is no primary (any more), or not ready to be one.
    refusal: Vec<u8>,
    /// It stood in the answer: a script said so, or made it up.
    is_by_script: bool,
}

/// What a reply is to the oldest request of its lane.
pub(super) enum Fit {
    Answer,
    /// The answer comes behind it.
    Ahead,
    /// This request can not have it: why.
    Never(String),
}

impl Block {
    /// Whether all but EXEC is answered.
    pub(super) fn is_over(&self, asked: Asked) -> bool {
        self.heard > u32::from(asked.elements)
    }

    /// One more reply; of one that went out in pieces the last piece, which was looked at when the
    /// first one went.
    /// `nil`: what EXEC says where a watched key has changed.
    pub(super) fn hear(
        &mut self,
        asked: Asked,
        (flow, nil): (Flow, Option<&[u8]>),
        reply: &[u8],
    ) -> Fit {
        let is_right = match self.heard {
            // Without it each request would have been executed for itself.
            0 => {
                *self = Block::default();
                reply == b"+OK\r\n"
            }
            _ if self.is_over(asked) => {
                self.heard = 0;
                if !self.is_end(asked, (flow, nil), reply) {
                    return Fit::Never(why("EXEC", reply));
                }
                if asked.family == Family::Scripting && flow == Flow::Collect {
                    self.look_into(reply);
                }
                return Fit::Answer;
            }
            _ if value::is_error(reply) => {
                self.is_spoilt = true;
                if self.refusal.is_empty() && is_refusal(reply) {
                    self.refusal = reply.to_vec();
                }
                true
            }
            _ => reply == b"+QUEUED\r\n",
        };
        self.heard += 1;
        match (is_right, self.heard) {
            (true, _) => Fit::Ahead,
            (false, 1) => Fit::Never(why("MULTI", reply)),
            (false, _) => Fit::Never(why("a request inside MULTI", reply)),
        }
    }

    /// Whether EXEC can say this, and has then left MULTI behind.
    fn is_end(&self, asked: Asked, (flow, nil): (Flow, Option<&[u8]>), reply: &[u8]) -> bool {
        if value::is_error(reply) && flow == Flow::Collect {
            return value::error_word(reply) == b"EXECABORT";
        }
        let is_empty = asked.elements == 0 && reply == b"*0\r\n";
        let right = is_empty || Some(reply) == nil || begins_as_counted(asked, reply);
        !self.is_spoilt && (flow != Flow::Collect || right)
    }

    /// Queueing a script is refused by nobody; its first write is, on a server that is no primary
    /// (any more). Where only scripts can write nothing was written then.
    #[cold]
    fn look_into(&mut self, answer: &[u8]) {
        let mut refusals = value::elements(answer).into_iter().flatten();
        if let Some(refusal) = refusals.find(|it| value::is_error(it) && is_refusal_in_script(it)) {
            (self.refusal, self.is_by_script) = (refusal.to_vec(), true);
        }
    }

    /// A script has said in the answer that its server is no primary.
    pub(super) fn is_refused_by_script(&self) -> bool {
        self.is_by_script
    }

    /// Why EXEC did not execute, if it is that its server is no primary; told once. (EXEC says only
    /// that something was refused, and not what.) Empty also of what is no block.
    pub(super) fn take_refusal(&mut self, asked: Asked) -> Vec<u8> {
        if asked.is_block { std::mem::take(&mut self.refusal) } else { Vec::new() }
    }
}

fn why(what: &str, reply: &[u8]) -> String {
    let beginning = reply.get(..80).unwrap_or(reply).trim_ascii_end();
    format!("{what} was answered by {}", beginning.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hears all of them; tells what the last one is, and whether those before it were ahead.
    fn hear(requests: usize, replies: &[&[u8]]) -> Fit {
        let (mut block, asked) = (Block::default(), Asked::block(requests, false));
        let (last, ahead) = replies.split_last().unwrap();
        for reply in ahead {
            assert!(matches!(block.hear(asked, (Flow::Collect, None), reply), Fit::Ahead));
        }
        block.hear(asked, (Flow::Collect, None), last)
    }

    #[test]
    fn a_block_has_a_reply_for_each_of_its_requests_and_two_more() {
        let (ok, queued) = (b"+OK\r\n".as_slice(), b"+QUEUED\r\n".as_slice());
        let (oom, abort) = (b"-OOM no\r\n".as_slice(), b"-EXECABORT x\r\n".as_slice());
        let right: [&[&[u8]]; 3] = [
            &[ok, queued, queued, b"*2\r\n+OK\r\n:1\r\n"],
            &[ok, queued, oom, abort],
            &[ok, queued, queued, abort],
        ];
        for replies in right {
            assert!(matches!(hear(2, replies), Fit::Answer), "{replies:?}");
        }
        let wrong: [&[&[u8]]; 10] = [
            &[b"-NOPERM no\r\n"],
            &[queued],
            &[ok, ok],
            &[ok, b":1\r\n"],
            &[ok, queued, b"*2\r\n+OK\r\n:1\r\n"],
            &[ok, queued, queued, queued],
            &[ok, queued, queued, b"*3\r\n+OK\r\n:1\r\n:2\r\n"],
            &[ok, queued, queued, b"*-1\r\n"],
            &[ok, queued, queued, b"-NOPERM no\r\n"],
            &[ok, queued, oom, b"*2\r\n+OK\r\n:1\r\n"],
        ];
        for replies in wrong {
            assert!(matches!(hear(2, replies), Fit::Never(_)), "{replies:?}");
        }
    }

    #[test]
    fn it_is_remembered_that_a_server_is_no_primary_and_forgotten_with_the_next_block() {
        let (mut block, asked) = (Block::default(), Asked::block(1, false));
        let readonly = b"-READONLY no\r\n".as_slice();
        let all: [&[u8]; 3] = [b"+OK\r\n", readonly, b"-EXECABORT x\r\n"];
        all.iter().for_each(|reply| drop(block.hear(asked, (Flow::Collect, None), reply)));
        assert!(block.take_refusal(Asked::any(Family::List)).is_empty());
        assert_eq!(block.take_refusal(asked), readonly);
        all.iter().for_each(|reply| drop(block.hear(asked, (Flow::Collect, None), reply)));
        block.hear(asked, (Flow::Collect, None), b"+OK\r\n");
        assert!(block.take_refusal(asked).is_empty());
    }
}
