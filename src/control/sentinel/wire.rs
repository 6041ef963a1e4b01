//! A connection to a sentinel or a node: requests out, replies in, every wait bounded by the
//! caller.

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
pub(in crate::control) struct Wire {
    stream: TcpStream,
    /// What was read and not handed out; the scanner has seen the first `scanned` bytes of it.
    buffer: Vec<u8>,
    scanner: ReplyScanner,
    scanned: usize,
    reply_bytes_max: usize,
}

impl Wire {
    /// Connects and authenticates.
    pub(in crate::control) async fn connect(
        address: SocketAddr,
        credentials: Option<&Credentials>,
    ) -> io::Result<Wire> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        if stream.local_addr()? == stream.peer_addr()? {
            // On loopback a port that nobody listens on may be given to the one who calls it.
            return Err(io::Error::other("the connection has reached itself"));
        }
        let mut wire = Wire {
            stream,
            buffer: Vec::new(),
            scanner: ReplyScanner::default(),
            scanned: 0,
            reply_bytes_max: REPLY_BYTES_MAX,
        };
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

    /// From now on a longer reply or message is refused.
    pub(super) fn expect_short(&mut self, reply_bytes_max: usize) {
        self.reply_bytes_max = reply_bytes_max;
    }

    pub(super) fn peer_address(&self) -> io::Result<String> {
        self.stream.peer_addr().map(|address| address.to_string())
    }

    /// The replies to these requests.
    pub(in crate::control) async fn ask(
        &mut self,
        requests: &[&[&[u8]]],
    ) -> io::Result<Vec<Vec<u8>>> {
        self.send(requests).await?;
        let mut replies = Vec::with_capacity(requests.len());
        for _ in requests {
            replies.push(self.next().await?);
        }
        Ok(replies)
    }

    pub(in crate::control) async fn send(&mut self, requests: &[&[&[u8]]]) -> io::Result<()> {
        let mut out = Vec::new();
        requests.iter().for_each(|request| encode::request(&mut out, request));
        self.stream.write_all(&out).await
    }

    /// The next reply or message; nothing is lost if the caller stops waiting.
    pub(in crate::control) async fn next(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let unseen = self.buffer.get(self.scanned..).unwrap_or_default();
            match self.scanner.scan(unseen).map_err(io::Error::other)? {
                Scanned::Reply { bytes, .. } => {
                    let rest = self.buffer.split_off(self.scanned + bytes);
                    self.scanned = 0;
                    return Ok(std::mem::replace(&mut self.buffer, rest));
                }
                Scanned::More if self.buffer.len() > self.reply_bytes_max => {
                    return Err(io::Error::other("a reply is too long"));
                }
                Scanned::More => self.scanned = self.buffer.len(),
            }
            self.buffer.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Looks up a host name, one question at a time: one that hangs is waited for again, not asked
/// again.
#[derive(Debug, Default)]
pub(in crate::control) struct Lookup {
    pending: Option<(Address, JoinHandle<io::Result<Vec<SocketAddr>>>)>,
}

impl Lookup {
    /// The addresses of a host; itself, if it is one.
    pub(in crate::control) async fn addresses(
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

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A peer that sends this, piece by piece, and then nothing more.
    async fn says(pieces: Vec<Vec<u8>>) -> Wire {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for piece in pieces {
                if stream.write_all(&piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            std::future::pending::<()>().await;
        }));
        Wire::connect(address, None).await.unwrap()
    }

    async fn next(wire: &mut Wire) -> io::Result<Vec<u8>> {
        timeout(Duration::from_secs(10), wire.next()).await.unwrap()
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test);
    }

    #[test]
    fn replies_in_pieces_come_whole_and_one_by_one() {
        run(async {
            let all = b"*2\r\n$3\r\none\r\n:2\r\n+OK\r\n-ERR no\r\n";
            for piece in [1, 3, all.len()] {
                let mut wire = says(all.chunks(piece).map(<[u8]>::to_vec).collect()).await;
                for expected in ["*2\r\n$3\r\none\r\n:2\r\n", "+OK\r\n", "-ERR no\r\n"] {
                    let reply = next(&mut wire).await.unwrap();
                    assert_eq!(String::from_utf8_lossy(&reply), expected, "{piece}");
                }
            }
        });
    }

    #[test]
    fn a_message_that_does_not_end_is_refused_at_its_bound() {
        run(async {
            let pieces = [b"*1000000\r\n".to_vec(), b":1\r\n".repeat(2_000)];
            let mut wire = says(pieces.to_vec()).await;
            wire.expect_short(1_000);
            let error = next(&mut wire).await.unwrap_err();
            assert_eq!(error.to_string(), "a reply is too long");
            assert!(wire.buffer.len() < 100_000, "{}", wire.buffer.len());
        });
    }
}
