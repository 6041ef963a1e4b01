//! Listening sockets of the control plane: bound before anything else starts, so that a wrong
//! address is an error at boot, with its remedy; and stopped from outside.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, SockRef, Socket, Type};

/// Fresh connections that the kernel keeps while the thread is busy; more have to try again.
const BACKLOG: i32 = 512;

/// Binds the address that `key` of the configuration gives. The error reads
/// `admin_listen 127.0.0.1:9180: address already in use; …`.
pub(super) fn bind(key: &str, address: SocketAddr) -> io::Result<TcpListener> {
    let listen = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // Connections of a process that has just ended do not block the address.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    listen().map_err(|error| {
        let (why, remedy) = match error.kind() {
            ErrorKind::AddrInUse => (
                "address already in use".to_owned(),
                "end what listens there, or choose another port",
            ),
            ErrorKind::AddrNotAvailable => {
                ("this host does not have the address".to_owned(), "choose one that it has")
            }
            ErrorKind::PermissionDenied => {
                ("permission denied".to_owned(), "choose a port above 1023, or grant the right")
            }
            _ => (error.to_string().to_lowercase(), "check the address"),
        };
        io::Error::new(error.kind(), format!("{key} {address}: {why}; {remedy}"))
    })
}

/// Ends a thread that waits in accept.
#[derive(Debug)]
pub(super) struct Stop {
    listener: TcpListener,
    asked: Arc<AtomicBool>,
}

impl Stop {
    pub(super) fn new(listener: &TcpListener) -> io::Result<Stop> {
        Ok(Stop { listener: listener.try_clone()?, asked: Arc::default() })
    }

    /// Becomes true when the thread is to end; its accept fails then.
    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        self.asked.clone()
    }

    pub(super) fn stop(&self) {
        self.asked.store(true, Ordering::SeqCst);
        // On Linux this wakes accept with EINVAL, now and whenever it is called again.
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_is_an_error_with_its_remedy() {
        let taken = bind("admin_listen", "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind("admin_listen", address).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "admin_listen {address}: address already in use; \
                 end what listens there, or choose another port"
            )
        );
    }

    #[test]
    fn an_address_of_another_host_is_an_error_with_its_remedy() {
        let error = bind("stats_listen", "192.0.2.1:0".parse().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "stats_listen 192.0.2.1:0: this host does not have the address; choose one that it has"
        );
    }
}
