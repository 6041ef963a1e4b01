//! Options and addresses of single sockets: what is set on a lane before it connects, who is at
//! the other end of a client.
//!
//! Called by `reactor`. Sockets stay blocking: the ring never blocks on them, and completes what
//! would have to wait on a non-blocking one with an error instead.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use crate::base::limits::{
    LANE_KEEPALIVE_IDLE_S, LANE_KEEPALIVE_INTERVAL_S, LANE_KEEPALIVE_PROBES,
    LANE_UNACKNOWLEDGED_MAX_MS,
};
use crate::topology::NodeEndpoint;

/// A socket ready to be connected to `endpoint`, and the address for it. Fails when descriptors
/// have run out, or for a unix path longer than 107 bytes.
pub fn for_lane(endpoint: &NodeEndpoint) -> io::Result<(OwnedFd, SockAddr)> {
    match endpoint {
        NodeEndpoint::Tcp(address) => {
            let domain = Domain::for_address(*address);
            let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
            socket.set_tcp_nodelay(true)?;
            let keepalive = TcpKeepalive::new()
                .with_time(Duration::from_secs(LANE_KEEPALIVE_IDLE_S))
                .with_interval(Duration::from_secs(LANE_KEEPALIVE_INTERVAL_S))
                .with_retries(LANE_KEEPALIVE_PROBES);
            socket.set_tcp_keepalive(&keepalive)?;
            let unacknowledged = Duration::from_millis(LANE_UNACKNOWLEDGED_MAX_MS);
            socket.set_tcp_user_timeout(Some(unacknowledged))?;
            Ok((socket.into(), SockAddr::from(*address)))
        }
        NodeEndpoint::Unix(path) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            Ok((socket.into(), SockAddr::unix(path)?))
        }
    }
}

/// Peer's and own address of a TCP connection; an error if it has already gone.
pub fn addresses(socket: &impl AsFd) -> io::Result<(SocketAddr, SocketAddr)> {
    let socket = SockRef::from(socket);
    let of = |address: SockAddr| {
        address.as_socket().ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
    };
    Ok((of(socket.peer_addr()?)?, of(socket.local_addr()?)?))
}

/// Sends a few bytes on a fresh connection, as far as they go without waiting.
pub fn send_last_words(socket: &impl AsFd, words: &[u8]) {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // There is nobody to tell if it fails: the connection is closed either way.
    let _ = SockRef::from(socket).send_with_flags(words, flags);
}

/// Shuts our end: the peer reads an end of file after everything that was sent.
pub fn shut(socket: &impl AsFd) {
    // It fails only if the connection has gone already.
    let _ = SockRef::from(socket).shutdown(std::net::Shutdown::Write);
}
