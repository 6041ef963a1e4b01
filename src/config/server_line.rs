//! The texts of nutcracker.yml that hold several values: a server and a listener.
//!
//! twemproxy takes them apart **from the end** (`nc_conf.c`, `conf_add_server` and
//! `conf_set_listen` of twemproxy 0.5), so an IPv6 address needs no brackets.

use super::address::{Trouble, is_host, is_ipv6, is_octal, port_number, socket_path, trouble};
use super::draft::ListenDraft;
use super::model::{NodeAddress, ShardConfig};

/// `host:port:weight [name]` or `/path:weight [name]`.
pub(super) fn server(text: &str) -> Result<ShardConfig, Trouble> {
    let (place, name) = match text.rsplit_once(' ') {
        Some((place, name)) => (place, Some(name)),
        None => (text, None),
    };
    let form = || trouble("this is no server", "write \"host:port:weight name\"");
    let (address, weight) = place.rsplit_once(':').ok_or_else(form)?;
    let weight = weight_number(weight)?;
    if address.starts_with('/') {
        let path = socket_path(address)?;
        // twemproxy counts the colon into the name of a unix socket that has none.
        let name = name.map_or_else(|| format!("{address}:"), str::to_owned);
        return Ok(ShardConfig {
            name,
            address: NodeAddress::Unix { path },
            weight,
            replicas: Vec::new(),
        });
    }
    let (host, port) = address.rsplit_once(':').ok_or_else(form)?;
    let number = port_number(port)?;
    // Placement goes by the text as it is written, brackets and leading zeros included.
    let name = match name {
        Some(name) => name.to_owned(),
        None if number == MEMCACHED_PORT => host.to_owned(),
        None => address.to_owned(),
    };
    Ok(ShardConfig {
        name,
        address: NodeAddress::Tcp { host: host_name(host)?, port: number },
        weight,
        replicas: Vec::new(),
    })
}

/// Whether a server was given a name, which is what stands behind the last blank.
pub(super) fn has_name(text: &str) -> bool {
    text.contains(' ')
}

/// `host:port` or `/path [octal permissions]`; the flag says that permissions were written which
/// twemproxy would not have understood as the user meant them.
pub(super) fn listen(text: &str) -> Result<(ListenDraft, bool), Trouble> {
    if !text.starts_with('/') {
        let missing = || trouble("the port is missing", "write \"host:port\"");
        let (host, port) = text.rsplit_once(':').ok_or_else(missing)?;
        let (host, port) = (host_name(host)?, port_number(port)?);
        return Ok((ListenDraft::Tcp { host, port }, false));
    }
    let Some((path, digits)) = text.rsplit_once(' ') else {
        return Ok((ListenDraft::Unix { path: socket_path(text)?, mode: None }, false));
    };
    // C's strtol: as many octal digits as there are; 0 leaves the permissions alone.
    let octal = digits.bytes().take_while(|byte| (b'0'..=b'7').contains(byte)).count();
    let mode = u32::from_str_radix(&digits[..octal], 8).unwrap_or(0);
    if octal > 11 || mode > 0o777 {
        return Err(trouble("the permissions are above 0777", "write them as in \"/path 0660\""));
    }
    let mode = (mode != 0).then_some(mode);
    if mode.is_none() && path.rsplit_once(' ').is_some_and(|(_, end)| is_octal(end)) {
        // Which no TOML could say: there it would be permissions.
        let why = "the socket's path ends as permissions do, and none follow";
        return Err(trouble(why, "write them as in \"/path 0660\""));
    }
    Ok((ListenDraft::Unix { path: socket_path(path)?, mode }, octal < digits.len()))
}

fn weight_number(text: &str) -> Result<u32, Trouble> {
    match number(text) {
        Some(weight) if (1..=WEIGHT_MAX).contains(&weight) => Ok(weight as u32),
        _ => {
            let why = format!("weight {text} is not a number from 1 to {WEIGHT_MAX}");
            Err(trouble(why, "write \"host:port:weight name\""))
        }
    }
}

/// Digits and nothing else, as twemproxy's `nc_atoi`; `None` otherwise.
pub(super) fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn host_name(host: &str) -> Result<String, Trouble> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let fits = is_host(bare) && !matches!(bare, "" | "*") && (!bare.contains(':') || is_ipv6(bare));
    match fits {
        true => Ok(bare.to_owned()),
        false => Err(trouble(format!("\"{host}\" is no host"), "write a name or an address")),
    }
}

const WEIGHT_MAX: u64 = crate::base::limits::WEIGHT_MAX as u64;
/// A server without a name is called by its host alone on this port (`nc_conf.h`,
/// CONF_DEFAULT_KETAMA_PORT), as libmemcached did.
const MEMCACHED_PORT: u16 = 11211;

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, u32) {
        let shard = server(text).unwrap();
        (shard.name, shard.address.to_string(), shard.weight)
    }

    fn of(name: &str, address: &str, weight: u32) -> (String, String, u32) {
        (name.into(), address.into(), weight)
    }

    #[test]
    fn servers_are_taken_apart_from_the_end() {
        assert_eq!(parts("10.0.0.1:6379:1 server1"), of("server1", "10.0.0.1:6379", 1));
        assert_eq!(parts("10.0.0.1:6379:2"), of("10.0.0.1:6379", "10.0.0.1:6379", 2));
        assert_eq!(parts("10.0.0.1:11211:2"), of("10.0.0.1", "10.0.0.1:11211", 2));
        assert_eq!(parts("10.0.0.1:06379:1"), of("10.0.0.1:06379", "10.0.0.1:6379", 1));
        assert_eq!(parts("::1:6379:1 n"), of("n", "[::1]:6379", 1));
        assert_eq!(parts("[::1]:6379:1"), of("[::1]:6379", "[::1]:6379", 1));
        assert_eq!(parts("/tmp/a.sock:1"), of("/tmp/a.sock:", "/tmp/a.sock", 1));
        assert_eq!(parts("/tmp/a.sock:3 x"), of("x", "/tmp/a.sock", 3));
    }

    #[test]
    fn what_twemproxy_refuses_is_refused() {
        for bad in [
            "",
            " ",
            "x",
            "127.0.0.1:6379",
            "127.0.0.1:6379 s1",
            "127.0.0.1:6379:0 s1",
            "127.0.0.1:6379:1  s1",
            "127.0.0.1:1",
            "127.0.0.1:0:1 x",
            "127.0.0.1:65536:1 x",
            "127.0.0.1:6379:-1 x",
            "127.0.0.1:6379:1000000000000 x",
            ":6379:1 x",
            "/:",
            "relative:1",
        ] {
            assert!(server(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn listeners_take_permissions_as_strtol_does() {
        let mode = |text: &str| match listen(text) {
            Ok((ListenDraft::Unix { mode, .. }, odd)) => (mode, odd),
            other => panic!("{other:?}"),
        };
        assert_eq!(mode("/a.sock"), (None, false));
        assert_eq!(mode("/a.sock 0660"), (Some(0o660), false));
        assert_eq!(mode("/a.sock 0779"), (Some(0o77), true));
        assert_eq!(mode("/a.sock 999"), (None, true));
        assert_eq!(mode("/a 777 660"), (Some(0o660), false));
        assert!(listen("/a.sock 1777").is_err());
        assert!(listen("/a 777 0").is_err() && listen("/a 777 999").is_err());
        assert!(listen("/a.sock 77777777777777777777777").is_err());
        let tcp = |host: &str| Ok((ListenDraft::Tcp { host: host.into(), port: 1 }, false));
        assert_eq!(listen("::1:1"), tcp("::1"));
        assert_eq!(listen("localhost:1"), tcp("localhost"));
        assert!(listen("localhost").is_err());
        assert!(listen("*:6380").is_err());
    }
}
