//! Tells a supervisor that waits for it (systemd with `Type=notify`) that this process serves, and is
//! the one to be watched from now on.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::log::Logger;

/// Names the socket of who wants to know; absent: nobody does.
const SOCKET: &str = "NOTIFY_SOCKET";

/// To be called before another process is told that it may end: its end is then none of the
/// service.
pub(super) fn serving(logger: &Logger) {
    let Some(socket) = std::env::var_os(SOCKET).filter(|socket| !socket.is_empty()) else { return };
    let message = format!("READY=1\nMAINPID={}\n", std::process::id());
    if let Err(error) = send(&socket, &message) {
        logger.warn("the supervisor was not told", &[("socket", &SOCKET), ("why", &error)]);
    }
}

/// A name that begins with `@` stands in no directory.
fn send(socket: &OsStr, message: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    // Who does not read must not keep clients waiting.
    let datagram = UnixDatagram::unbound()?;
    datagram.set_nonblocking(true)?;
    datagram.send_to_addr(message.as_bytes(), &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_reached_by_its_path_or_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("@corelay test {}", path.display());
        let by_name = SocketAddr::from_abstract_name(&name.as_bytes()[1..]).unwrap();
        for (socket, reader) in [
            (path.as_os_str(), UnixDatagram::bind(&path).unwrap()),
            (OsStr::new(&name), UnixDatagram::bind_addr(&by_name).unwrap()),
        ] {
            send(socket, "READY=1\n").unwrap();
            let mut text = [0; 64];
            let count = reader.recv(&mut text).unwrap();
            assert_eq!(&text[..count], b"READY=1\n");
        }
        assert!(send(OsStr::new("/nowhere/at/all"), "READY=1\n").is_err());
        // Never waits for who does not read.
        let path = directory.path().join("deaf");
        let _deaf = UnixDatagram::bind(&path).unwrap();
        let full = (0..10_000).find_map(|_| send(path.as_os_str(), "READY=1\n").err()).unwrap();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }
}
