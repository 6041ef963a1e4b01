//! What a client hears when a request is not run: the words of redis where redis has some, one
//! clear sentence of our own where it has none.
//!
//! Every function appends one whole RESP error. A client's bytes appear in it only with CR and LF
//! turned to blanks and cut to [`QUOTED_BYTES_MAX`], so that no reply can be forged by a name.

use crate::command::keys::KeysError;
use crate::command::model::{Command, Counted, Keys, Refusal, Run, Special};
use crate::resp::args::Request;
use crate::resp::encode::error;

/// Bytes of a client's that an error quotes, for the name and for the arguments each; as redis.
pub const QUOTED_BYTES_MAX: usize = 128;

/// The name is in no table. Wording, order and cuts as redis: arguments are quoted until their
/// quotes are [`QUOTED_BYTES_MAX`] long.
pub fn unknown_command(request: &Request<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"-ERR unknown command '");
    quote(request.name(), QUOTED_BYTES_MAX, out);
    out.extend_from_slice(b"', with args beginning with: ");
    let start = out.len();
    for arg in request.iter().skip(1) {
        let used = out.len() - start;
        if used >= QUOTED_BYTES_MAX {
            break;
        }
        out.push(b'\'');
        quote(arg, QUOTED_BYTES_MAX - used, out);
        out.extend_from_slice(b"' ");
    }
    out.extend_from_slice(b"\r\n");
}

/// The container is known, what follows it is not.
pub fn unknown_subcommand(container: &Command, request: &Request<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"-ERR unknown subcommand '");
    quote(request.arg(1), QUOTED_BYTES_MAX, out);
    out.extend_from_slice(b"'. Try ");
    out.extend(container.name.bytes().map(|byte| byte.to_ascii_uppercase()));
    out.extend_from_slice(b" HELP.\r\n");
}

pub fn wrong_arity(command: &Command, out: &mut Vec<u8>) {
    error(out, format!("ERR wrong number of arguments for '{}' command", command.name));
}

/// The command is known, and not served: why, and what to do instead.
pub fn refused(command: &Command, refusal: Refusal, out: &mut Vec<u8>) {
    let why = match refusal {
        Refusal::ConnectionState => {
            "it would change the state of a connection that many clients share; \
             use a connection to the redis-server itself"
        }
        Refusal::ServerAdministration => {
            "it is about one redis-server, not about the data; ask that server itself"
        }
    };
    error(out, format!("ERR '{}' is not served by this proxy: {why}", command.name));
}

/// Inside MULTI, where the command can not be what it is outside.
pub fn not_in_transaction(command: &Command, out: &mut Vec<u8>) {
    let why = match command.run {
        Run::Local(_) | Run::Special(Special::Subscribe(_) | Special::Unsubscribe(_)) => {
            "it is answered by the proxy, not by a shard"
        }
        _ => "it needs all shards, and a transaction is of one",
    };
    let text = format!(
        "ERR '{}' is not served inside MULTI by this proxy: {why}; send it before or after",
        command.name
    );
    error(out, text);
}

/// EXEC with arguments ends the transaction, as in redis.
pub fn exec_with_args(out: &mut Vec<u8>) {
    let why = "wrong number of arguments for 'exec' command";
    error(out, format!("EXECABORT Transaction discarded because of: {why}"));
}

/// The command is dangerous, and the pool does not allow these.
pub fn not_allowed(command: &Command, out: &mut Vec<u8>) {
    let text = format!(
        "NOPERM '{}' reaches every key, other clients, or the servers themselves; \
         set dangerous_commands = \"allow\" for this pool, or ask the redis-server itself",
        command.name
    );
    error(out, text);
}

/// Keys on several shards, where no split is right.
pub fn cross_slot(out: &mut Vec<u8>) {
    error(out, "CROSSSLOT Keys in request don't hash to the same shard");
}

/// The answer to `Run::OnlyShard` where there are several.
pub fn several_shards(command: &Command, out: &mut Vec<u8>) {
    let text = format!(
        "CROSSSLOT '{}' needs the data of all shards in one place; \
         it is served on a pool of one shard only",
        command.name
    );
    error(out, text);
}

/// As redis without cluster mode answers CLUSTER and ASKING.
pub fn not_a_cluster(out: &mut Vec<u8>) {
    error(out, "ERR This instance has cluster support disabled");
}

/// A script without keys, where the pool does not say on which shard it runs.
pub fn keyless(command: &Command, out: &mut Vec<u8>) {
    let text = format!(
        "ERR '{}' without keys is refused: name a key of the shard that is meant, or set \
         keyless_scripts for this pool",
        command.name
    );
    error(out, text);
}

/// What changes a cluster, or counts keys by hash slot, where the proxy looks like one.
pub fn no_cluster(command: &Command, out: &mut Vec<u8>) {
    let text = format!(
        "ERR '{}' is not served by this proxy: it looks like a cluster of one node to clients, \
         its shards are none and know no hash slots",
        command.name
    );
    error(out, text);
}

/// The keys of a request could not be found; the words that redis has for this command.
pub fn keys_error(command: &Command, why: KeysError, out: &mut Vec<u8>) {
    let of = match command.keys {
        Keys::Numkeys { of, .. } => of,
        _ => Counted::Aggregate,
    };
    let text = match (why, of) {
        (KeysError::Unpaired, _) => return wrong_arity(command, out),
        (KeysError::Unbalanced, _) => {
            "ERR Unbalanced XREAD list of streams: \
             for each stream key an ID or '$' must be specified."
        }
        (KeysError::Syntax, _) | (KeysError::TooManyKeys, Counted::Pop | Counted::Aggregate) => {
            "ERR syntax error"
        }
        (KeysError::NumkeysNotAnInteger, Counted::Script | Counted::Aggregate) => {
            "ERR value is not an integer or out of range"
        }
        (KeysError::NegativeKeys, Counted::Script) => "ERR Number of keys can't be negative",
        (KeysError::TooManyKeys, Counted::Script | Counted::Card) => {
            "ERR Number of keys can't be greater than number of args"
        }
        (KeysError::TooManyKeys, Counted::Pairs) => return wrong_arity(command, out),
        (KeysError::NegativeKeys | KeysError::NoKeys, Counted::Aggregate) => {
            let name = command.name;
            let text = format!("ERR at least 1 input key is needed for '{name}' command");
            return error(out, text);
        }
        (KeysError::NumkeysNotAnInteger | KeysError::NegativeKeys, Counted::Pairs)
        | (KeysError::NoKeys, Counted::Pairs) => "ERR invalid numkeys value",
        (
            KeysError::NumkeysNotAnInteger | KeysError::NegativeKeys | KeysError::NoKeys,
            Counted::Card | Counted::Pop | Counted::Script,
        ) => "ERR numkeys should be greater than 0",
    };
    error(out, text);
}

/// As C prints a string: up to the first NUL.
fn quote(bytes: &[u8], at_most: usize, out: &mut Vec<u8>) {
    let printed = bytes.iter().take(at_most).take_while(|&&byte| byte != 0);
    out.extend(printed.map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_request::Owned;

    fn unknown(args: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        unknown_command(&Owned::new(args.iter().copied()).request(), &mut out);
        out
    }

    /// Every expectation is what redis-server 7.0.15 answered.
    #[test]
    fn unknown_commands_are_worded_and_cut_as_by_redis() {
        let line = |text: &str| format!("-ERR unknown command {text}\r\n").into_bytes();
        assert_eq!(unknown(&[b"FOO"]), line("'FOO', with args beginning with: "));
        let two = line("'FOO', with args beginning with: 'a' 'b' ");
        assert_eq!(unknown(&[b"FOO", b"a", b"b"]), two);
        let forged = line("'FOO  BAR', with args beginning with: 'a' 'x  +OK' ");
        assert_eq!(unknown(&[b"FOO\r\nBAR", b"a\0b", b"x\r\n+OK"]), forged);
        assert_eq!(unknown(&[b"", b"a"]), line("'', with args beginning with: 'a' "));

        let long = "F".repeat(200);
        let cut = format!("'{}', with args beginning with: 'b' ", "F".repeat(128));
        assert_eq!(unknown(&[long.as_bytes(), b"b"]), line(&cut));
        let cut = format!("'x', with args beginning with: '{}' ", "F".repeat(128));
        assert_eq!(unknown(&[b"x", long.as_bytes(), b"b"]), line(&cut));
        let (a, b, c) = ("a".repeat(60), "b".repeat(60), "c".repeat(60));
        let cut = format!("'x', with args beginning with: '{a}' '{b}' 'cc' ");
        assert_eq!(unknown(&[b"x", a.as_bytes(), b.as_bytes(), c.as_bytes(), b"d"]), line(&cut));
        let many: Vec<&[u8]> = vec![b"x"; 51];
        let cut = format!("'x', with args beginning with: {}", "'x' ".repeat(32));
        assert_eq!(unknown(&many), line(&cut));
    }

    /// Every error is one line, whatever the command.
    #[test]
    fn every_error_is_one_line() {
        let errors = [
            KeysError::NumkeysNotAnInteger,
            KeysError::TooManyKeys,
            KeysError::NegativeKeys,
            KeysError::NoKeys,
            KeysError::Unpaired,
            KeysError::Unbalanced,
            KeysError::Syntax,
        ];
        let hostile = Owned::new([&b"CLIENT"[..], b"a\r\n+OK\r\n"].into_iter());
        for command in crate::command::all().flat_map(|c| std::iter::once(c).chain(c.subcommands)) {
            let mut replies = Vec::new();
            let mut say = |say: &dyn Fn(&mut Vec<u8>)| {
                let mut out = Vec::new();
                say(&mut out);
                replies.push(String::from_utf8(out).unwrap());
            };
            for why in errors {
                say(&|out| keys_error(command, why, out));
            }
            for refusal in [Refusal::ConnectionState, Refusal::ServerAdministration] {
                say(&|out| refused(command, refusal, out));
            }
            say(&|out| wrong_arity(command, out));
            say(&|out| not_allowed(command, out));
            say(&|out| not_in_transaction(command, out));
            say(&exec_with_args);
            say(&|out| several_shards(command, out));
            say(&|out| unknown_subcommand(command, &hostile.request(), out));
            say(&not_a_cluster);
            say(&|out| no_cluster(command, out));
            say(&|out| keyless(command, out));
            say(&cross_slot);
            for reply in replies {
                assert!(reply.starts_with('-') && reply.ends_with("\r\n"), "{reply}");
                assert_eq!(reply.matches(['\r', '\n']).count(), 2, "{reply}");
                assert!(reply.len() < crate::resp::encode::ERROR_TEXT_BYTES_MAX, "{reply}");
            }
        }
    }
}
