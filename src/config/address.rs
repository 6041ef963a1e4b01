//! Addresses as they are written in corelay's own file.
//!
//! Nothing is resolved here: a host may be a name.

use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use super::draft::ListenDraft;
use super::model::NodeAddress;

/// Why a text is no address, and what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) why: String,
    pub(super) remedy: String,
}

/// `host:port`, `[ipv6]:port`, `unix:/path`, `unix:/path MODE` (octal).
pub(super) fn listen(text: &str) -> Result<ListenDraft, Trouble> {
    let Some(rest) = unix(text) else {
        let (host, port) = host_port(text)?;
        return Ok(ListenDraft::Tcp { host, port });
    };
    let (path, mode) = match rest.rsplit_once(' ') {
        Some((path, digits)) if !path.is_empty() && is_octal(digits) => {
            (path, u32::from_str_radix(digits, 8).ok())
        }
        _ => (rest, None),
    };
    if mode.is_some_and(|mode| mode > 0o777) {
        return Err(trouble("the permissions are above 0777", "write them as in \"0660\""));
    }
    Ok(ListenDraft::Unix { path: socket_path(path)?, mode })
}

/// `host:port`, `[ipv6]:port`, `unix:/path`.
pub(super) fn node(text: &str) -> Result<NodeAddress, Trouble> {
    match unix(text) {
        Some(path) => Ok(NodeAddress::Unix { path: socket_path(path)? }),
        None => host_port(text).map(|(host, port)| NodeAddress::Tcp { host, port }),
    }
}

/// `host:port,[ipv6]:port,…` as `--sentinel` takes it.
///
/// # Errors
/// What is wrong with the first that is none, and what to write.
pub fn sentinels(text: &str) -> Result<Vec<NodeAddress>, String> {
    let address = |text: &str| match host_port(text.trim()) {
        Ok((host, port)) => Ok(NodeAddress::Tcp { host, port }),
        Err(Trouble { why, remedy }) => Err(format!("{why}; {remedy}")),
    };
    text.split(',').map(address).collect()
}

/// What stands behind `unix:`, unless it is a port: a host may be called so.
fn unix(text: &str) -> Option<&str> {
    text.strip_prefix("unix:").filter(|rest| port_number(rest).is_err())
}

/// `host:port` or `[ipv6]:port`; brackets are taken off.
pub(super) fn host_port(text: &str) -> Result<(String, u16), Trouble> {
    if text.starts_with('/') {
        return Err(trouble("a path alone is no address", format!("write \"unix:{text}\"")));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(trouble("the port is missing", "write \"host:port\""));
    };
    let host = match host.strip_prefix('[').map(|inner| inner.strip_suffix(']')) {
        Some(Some(inner)) if is_ipv6(inner) => inner,
        Some(_) => {
            return Err(trouble(
                "what stands in brackets is no IPv6 address",
                "write \"[::1]:6379\"",
            ));
        }
        None if host.contains(':') => {
            return Err(trouble("an IPv6 address needs brackets", "write \"[::1]:6379\""));
        }
        None => host,
    };
    if host.is_empty() || host == "*" {
        return Err(trouble("the host is missing", "write 0.0.0.0 or [::] for every interface"));
    }
    if !is_host(host) {
        return Err(trouble("the host has characters that no host has", "write \"host:port\""));
    }
    Ok((host.to_owned(), port_number(port)?))
}

/// 1 to 65535, in digits only.
pub(super) fn port_number(text: &str) -> Result<u16, Trouble> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(trouble(format!("port {text} is not valid"), "use a port from 1 to 65535")),
    }
}

/// An absolute path that fits into the kernel's address of a unix socket.
pub(super) fn socket_path(text: &str) -> Result<PathBuf, Trouble> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(trouble("the socket's path is not absolute", "write \"unix:/path\""));
    }
    if text.len() > SOCKET_PATH_BYTES_MAX || text.chars().any(char::is_control) {
        let why = format!("the socket's path has control bytes or over {SOCKET_PATH_BYTES_MAX}");
        return Err(trouble(why, "use a shorter, plain path"));
    }
    Ok(path.to_owned())
}

/// Whether a host may be asked for: no blanks, control bytes or slashes.
pub(super) fn is_host(host: &str) -> bool {
    host.len() <= HOST_BYTES_MAX
        && host.chars().all(|c| !c.is_whitespace() && !c.is_control() && !"/[]\"'@,".contains(c))
}

pub(super) fn is_octal(text: &str) -> bool {
    (3..=5).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte))
}

/// A zone (`fe80::1%eth0`) may follow.
pub(super) fn is_ipv6(text: &str) -> bool {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse::<Ipv6Addr>().is_ok()
}

pub(super) fn trouble(why: impl Into<String>, remedy: impl Into<String>) -> Trouble {
    Trouble { why: why.into(), remedy: remedy.into() }
}

/// `sun_path` of Linux (`unix(7)`) is 108 bytes with its terminating zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// The longest name that DNS has.
const HOST_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let tcp = |host: &str, port| ListenDraft::Tcp { host: host.into(), port };
        let unix = |path: &str, mode| ListenDraft::Unix { path: path.into(), mode };
        assert_eq!(listen("0.0.0.0:6380"), Ok(tcp("0.0.0.0", 6380)));
        assert_eq!(listen("localhost:65535"), Ok(tcp("localhost", 65535)));
        assert_eq!(listen("[::1]:1"), Ok(tcp("::1", 1)));
        assert_eq!(listen("[fe80::1%eth0]:1"), Ok(tcp("fe80::1%eth0", 1)));
        assert_eq!(listen("unix:/a/b.sock"), Ok(unix("/a/b.sock", None)));
        assert_eq!(listen("unix:/a/b c.sock 0660"), Ok(unix("/a/b c.sock", Some(0o660))));
        assert_eq!(listen("unix:6379"), Ok(tcp("unix", 6379)));
        assert_eq!(node("unix:/a b"), Ok(NodeAddress::Unix { path: "/a b".into() }));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            ":",
            "6380",
            "host:",
            "host:0",
            "host:65536",
            "host:-1",
            "host:+1",
            "host: 1",
            "::1:6379",
            "[::1]",
            "[::1]6379",
            "[x]:1",
            ":6380",
            "*:6380",
            "a b:1",
            "/tmp/x",
            "unix:",
            "unix:x",
            "unix:/a 1777",
            "unix:/a\nb",
            "unix:/a\u{7f}b",
            "unix:/a\u{9b}b",
            "redis://a:1",
            "a/b:1",
        ] {
            assert!(listen(bad).is_err(), "{bad}");
        }
        assert!(listen(&format!("unix:/{}", "x".repeat(200))).is_err());
    }
}
