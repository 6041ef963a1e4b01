//! The hand-shake of a lane: what is said before the first request.

use crate::config::model::PoolConfig;
use crate::relay::lane::{CONTROL, Lane};
use crate::resp::{Protocol, encode, value};

/// HELLO or AUTH, SELECT, a name for the redis-server's CLIENT LIST, and PING, whose answer is the
/// last: so there is always one to wait for, and an error that the server says of its own accord (too
/// many clients, protected mode) can not be taken for a client's reply. Gives their number.
pub(super) fn write(lane: &mut Lane, config: &PoolConfig, core: u16) -> u8 {
    let out = &mut lane.greeting;
    out.clear();
    let mut replies = 2;
    let auth = config.backend_auth.as_ref();
    let user = auth.and_then(|auth| auth.user.as_deref());
    let password = auth.map(|auth| auth.password.as_bytes());
    match (lane.protocol, password) {
        (Protocol::Resp3, Some(password)) => {
            let user = user.unwrap_or("default").as_bytes();
            encode::request(out, &[b"HELLO", b"3", b"AUTH", user, password]);
            replies += 1;
        }
        (Protocol::Resp3, None) => {
            encode::request(out, &[b"HELLO", b"3"]);
            replies += 1;
        }
        (Protocol::Resp2, Some(password)) => {
            match user {
                Some(user) => encode::request(out, &[b"AUTH", user.as_bytes(), password]),
                None => encode::request(out, &[b"AUTH", password]),
            }
            replies += 1;
        }
        (Protocol::Resp2, None) => {}
    }
    if !matches!(lane.database, 0 | CONTROL) {
        encode::request(out, &[b"SELECT", lane.database.to_string().as_bytes()]);
        replies += 1;
    }
    encode::request(out, &[b"CLIENT", b"SETNAME", name(&config.name, core).as_bytes()]);
    encode::request(out, &[b"PING"]);
    replies
}

/// `corelay:<pool>:<core>`. A redis-server takes no blanks and nothing that is not ASCII.
fn name(pool: &str, core: u16) -> String {
    let fits = |byte: char| if byte.is_ascii_graphic() { byte } else { '_' };
    format!("corelay:{}:{core}", pool.chars().map(fits).collect::<String>())
}

/// Whether this is an error for the name only, without which the lane serves as well: with `left`
/// replies to come the name is answered next, and its user may not give names, or the server is busy
/// with a script, or is none that knows names.
pub(super) fn is_about_the_name(left: u8, reply: &[u8]) -> bool {
    let allowed = matches!(value::error_word(reply), b"NOPERM" | b"BUSY" | b"LOADING");
    left == 2 && (allowed || value::error_text(reply).starts_with(b"ERR unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_into_client_setname() {
        assert_eq!(name("cache", 3), "corelay:cache:3");
        assert_eq!(name("my pöol\n", 0), "corelay:my_p_ol_:0");
    }

    #[test]
    fn only_the_name_may_be_refused() {
        for (left, reply, expected) in [
            (2, "-NOPERM this user has no permissions to run the 'client' command\r\n", true),
            (2, "-ERR unknown command 'CLIENT'\r\n", true),
            (2, "-BUSY Redis is busy running a script.\r\n", true),
            (2, "-ERR max number of clients reached\r\n", false),
            (2, "-NOAUTH Authentication required.\r\n", false),
            (2, "-DENIED Redis is running in protected mode\r\n", false),
            (2, "+OK\r\n", false),
            (3, "-ERR unknown command 'HELLO'\r\n", false),
            (1, "-NOPERM this user has no permissions to run the 'ping' command\r\n", false),
        ] {
            assert_eq!(is_about_the_name(left, reply.as_bytes()), expected, "{left} {reply}");
        }
    }
}
