//! Listening sockets of the control plane: bound before anything else starts, so that a wrong
//! address is an error at boot, with its remedy; served on threads, and stopped from outside.
//!
//! Nothing here may shut a listening socket down: another process may have it, too, and is to go
//! on. It is only closed.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::task::Poll;
use std::thread::JoinHandle;

use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// Fresh connections that the kernel keeps while the thread is busy; more have to try again.
const BACKLOG: i32 = 512;

/// Binds the address that `key` of the configuration gives. The error reads
/// `admin_listen 127.0.0.1:9180: address already in use; …`.
pub fn bind(key: &str, address: SocketAddr) -> io::Result<TcpListener> {
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

/// A port that is served. Dropping it ends the thread at once.
#[derive(Debug)]
#[must_use = "the port is closed when this is dropped"]
pub struct PortHandle {
    pub local_addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Tells the thread that it is to stop.
#[derive(Debug)]
pub(super) struct Stopped(oneshot::Receiver<()>);

/// Serves on a thread of this name, with a runtime of its own.
pub(super) fn serve<F: Future<Output = ()>>(
    name: &str,
    listener: TcpListener,
    serve: impl FnOnce(tokio::net::TcpListener, Stopped) -> F + Send + 'static,
) -> io::Result<PortHandle> {
    listener.set_nonblocking(true)?;
    let local_addr = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let (stop, stopped) = oneshot::channel();
    let run = move || runtime.block_on(serve(listener, Stopped(stopped)));
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
    Ok(PortHandle { local_addr, stop: Some(stop), thread: Some(thread) })
}

/// What a port has to do next.
pub(super) enum Next {
    Connection(TcpStream, SocketAddr),
    Failed(io::Error),
    /// Let nobody in any more; finish what is under way.
    Close,
    End,
}

impl PortHandle {
    /// Lets nobody in any more, and answers who is in; another process has the port.
    pub fn close(&mut self) {
        // It fails only if the thread has ended already.
        let _ = self.stop.take().map(|stop| stop.send(()));
    }
}

impl Drop for PortHandle {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has ended the process already.
            let _ = thread.join();
        }
    }
}

impl Stopped {
    /// Not to be asked again after it has said `Close` or `End`.
    pub(super) async fn or_accept(&mut self, listener: &tokio::net::TcpListener) -> Next {
        poll_fn(|context| {
            match Pin::new(&mut self.0).poll(context) {
                Poll::Ready(Ok(())) => return Poll::Ready(Next::Close),
                Poll::Ready(Err(_)) => return Poll::Ready(Next::End),
                Poll::Pending => {}
            }
            listener.poll_accept(context).map(|accepted| match accepted {
                Ok((stream, peer)) => Next::Connection(stream, peer),
                Err(error) => Next::Failed(error),
            })
        })
        .await
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
