//! A connection to a sentinel or a node: requests out, replies in, every wait bounded by the caller.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::verdict::Address;
use super::words;
use crate::config::model::Credentials;
use crate::resp::encode;
use crate::resp::reply::{ReplyScanner, Scanned};

/// A sentinel of 4096 masters needs some MiB; more is none.
const REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;
const READ_BYTES: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    /// What was read and not handed out.
    buffer: Vec<u8>,
}

impl Wire {
    /// Connects and authenticates.
    pub(super) async fn connect(
        address: SocketAddr,
        credentials: Option<&Credentials>,
    ) -> io::Result<Wire> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        if stream.local_addr()? == stream.peer_addr()? {
            // On loopback a port that nobody listens on may be given to the one who calls it.
            return Err(io::Error::other("the connection has reached itself"));
        }
        let mut wire = Wire { stream, buffer: Vec::new() };
        if let Some(credentials) = credentials {
            let password = credentials.password.as_bytes();
            let reply = match &credentials.user {
                Some(user) => wire.ask(&[&[b"AUTH", user.as_bytes(), password]]).await?,
                None => wire.ask(&[&[b"AUTH", password]]).await?,
            };
            let refused = |why| io::Error::new(io::ErrorKind::PermissionDenied, why);
            reply.iter().try_for_each(|reply| words::refuse_error(reply)).map_err(refused)?;
        }
        Ok(wire)
    }

    pub(super) fn peer_address(&self) -> io::Result<String> {
        self.stream.peer_addr().map(|address| address.to_string())
    }

    /// The replies to these requests.
    pub(super) async fn ask(&mut self, requests: &[&[&[u8]]]) -> io::Result<Vec<Vec<u8>>> {
        self.send(requests).await?;
        let mut replies = Vec::with_capacity(requests.len());
        for _ in requests {
            replies.push(self.next().await?);
        }
        Ok(replies)
    }

    pub(super) async fn send(&mut self, requests: &[&[&[u8]]]) -> io::Result<()> {
        let mut out = Vec::new();
        requests.iter().for_each(|request| encode::request(&mut out, request));
        self.stream.write_all(&out).await
    }

    /// The next reply or message; nothing is lost if the caller stops waiting.
    pub(super) async fn next(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match ReplyScanner::default().scan(&self.buffer).map_err(io::Error::other)? {
                Scanned::Reply { bytes, .. } => {
                    let rest = self.buffer.split_off(bytes);
                    return Ok(std::mem::replace(&mut self.buffer, rest));
                }
                Scanned::More if self.buffer.len() > REPLY_BYTES_MAX => {
                    return Err(io::Error::other("a reply is too long"));
                }
                Scanned::More => {}
            }
            self.buffer.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Looks up a host name, one question at a time: one that hangs is waited for again, not asked again.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    pending: Option<(Address, JoinHandle<io::Result<Vec<SocketAddr>>>)>,
}

impl Lookup {
    /// The addresses of a host; itself, if it is one.
    pub(super) async fn addresses(
        &mut self,
        of: &Address,
        deadline: Duration,
    ) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = of.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, of.port)]);
        }
        if self.pending.as_ref().is_some_and(|(asked, _)| asked != of) {
            self.pending = None;
        }
        let (_, handle) = self.pending.get_or_insert_with(|| {
            let (host, port) = (of.host.clone(), of.port);
            let look_up = move || (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
            (of.clone(), tokio::task::spawn_blocking(look_up))
        });
        let answer = timeout(deadline, handle).await;
        let late = || io::Error::new(io::ErrorKind::TimedOut, "the look-up of the name takes long");
        let answer = answer.map_err(|_| late())?;
        self.pending = None;
        let addresses = answer.map_err(io::Error::other)??;
        match addresses.is_empty() {
            true => Err(io::Error::other("the name has no address")),
            false => Ok(addresses),
        }
    }
}
