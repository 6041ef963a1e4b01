//! A raw client: bytes out, replies in, deadlines on both.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::{PATIENCE, Value};

/// Why there is no (further) reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// FIN or RST at the start of a reply.
    Closed,
    /// Closed in the middle of a reply.
    Torn,
    /// Nothing came within the deadline.
    Silent,
    /// Not RESP: the line in question.
    Garbage(String),
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection. Its methods panic where a test could only do so itself.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    buffer: Vec<u8>,
    at: usize,
}

/// A request as redis-cli would send it.
pub fn encode<T: AsRef<[u8]>>(args: &[T]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

impl Wire {
    pub fn try_connect(address: SocketAddr) -> io::Result<Wire> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        Wire::new(Stream::Tcp(stream))
    }

    pub fn connect(address: SocketAddr) -> Wire {
        Wire::try_connect(address).unwrap_or_else(|error| panic!("no connection: {error}"))
    }

    pub fn try_connect_unix(path: &Path) -> io::Result<Wire> {
        Wire::new(Stream::Unix(UnixStream::connect(path)?))
    }

    fn new(stream: Stream) -> io::Result<Wire> {
        let wire = Wire { stream, buffer: Vec::new(), at: 0 };
        wire.set_timeouts(PATIENCE)?;
        Ok(wire)
    }

    fn set_timeouts(&self, timeout: Duration) -> io::Result<()> {
        let timeout = Some(timeout);
        match &self.stream {
            Stream::Tcp(stream) => {
                stream.set_read_timeout(timeout)?;
                stream.set_write_timeout(timeout)
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(timeout)?;
                stream.set_write_timeout(timeout)
            }
        }
    }

    /// How long a read or a write may take before the test fails; [`PATIENCE`] at first.
    pub fn set_patience(&mut self, timeout: Duration) {
        self.set_timeouts(timeout).expect("a timeout");
    }

    /// A second handle of the same connection, to send while another thread reads.
    pub fn sender(&self) -> Wire {
        let stream = match &self.stream {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone().expect("a second handle")),
            Stream::Unix(stream) => Stream::Unix(stream.try_clone().expect("a second handle")),
        };
        Wire { stream, buffer: Vec::new(), at: 0 }
    }

    /// This end's address (TCP).
    pub fn local_address(&self) -> SocketAddr {
        match &self.stream {
            Stream::Tcp(stream) => stream.local_addr().expect("an address"),
            Stream::Unix(_) => panic!("a unix socket has no address"),
        }
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap_or_else(|error| panic!("can not send: {error}"));
    }

    pub fn request<T: AsRef<[u8]>>(&mut self, args: &[T]) {
        self.send(&encode(args));
    }

    /// One request, its reply.
    pub fn exchange<T: AsRef<[u8]>>(&mut self, args: &[T]) -> Value {
        self.request(args);
        self.read_reply()
    }

    /// Several requests in one write, their replies.
    pub fn pipeline<T: AsRef<[u8]>>(&mut self, requests: &[Vec<T>]) -> Vec<Value> {
        let bytes: Vec<u8> = requests.iter().flat_map(|request| encode(request)).collect();
        self.send(&bytes);
        requests.iter().map(|_| self.read_reply()).collect()
    }

    /// The next reply; panics if there is none.
    pub fn read_reply(&mut self) -> Value {
        self.next().unwrap_or_else(|ended| panic!("expected a reply, but {ended:?}"))
    }

    /// The next reply, or why there is none.
    pub fn next(&mut self) -> Result<Value, Ended> {
        if self.at == self.buffer.len() {
            self.buffer.clear();
            self.at = 0;
            self.fill()
                .map_err(|ended| if ended == Ended::Torn { Ended::Closed } else { ended })?;
        }
        self.value()
    }

    /// The peer sends nothing more and closes.
    pub fn expect_closed(&mut self) {
        let rest = self.read_until_closed();
        assert!(rest.is_empty(), "expected the end, got \"{}\"", rest.escape_ascii());
    }

    /// All that comes before the end; panics if the end does not come.
    pub fn read_until_closed(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(()) => {}
                Err(Ended::Torn) => break,
                Err(other) => panic!("expected the end, but {other:?}"),
            }
        }
        self.buffer.split_off(std::mem::take(&mut self.at))
    }

    /// Nothing comes and nothing is closed for so long.
    pub fn expect_silence(&mut self, period: Duration) {
        self.set_patience(period);
        let ended = self.next();
        self.set_patience(PATIENCE);
        assert_eq!(ended, Err(Ended::Silent), "expected silence");
    }

    /// FIN: nothing more will be sent from here. It fails, and need not care, if the peer was
    /// quicker with a RST.
    pub fn finish_sending(&mut self) {
        let _ = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    fn fill(&mut self) -> Result<(), Ended> {
        let mut chunk = [0; 64 * 1024];
        let read = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(&mut chunk),
            Stream::Unix(stream) => stream.read(&mut chunk),
        };
        match read {
            Ok(0) => Err(Ended::Torn),
            Ok(bytes) => {
                // What was read is dropped now and then, so that a long stream needs little.
                if self.at > 1024 * 1024 {
                    self.buffer.drain(..self.at);
                    self.at = 0;
                }
                self.buffer.extend_from_slice(&chunk[..bytes]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                Err(Ended::Silent)
            }
            Err(_) => Err(Ended::Torn),
        }
    }

    fn line(&mut self) -> Result<String, Ended> {
        let mut from = self.at;
        loop {
            if let Some(found) = self.buffer[from..].iter().position(|&byte| byte == b'\n') {
                let line = self.buffer[self.at..from + found].to_vec();
                self.at = from + found + 1;
                let text = String::from_utf8_lossy(&line).into_owned();
                return match text.strip_suffix('\r') {
                    Some(text) if !text.contains('\r') => Ok(text.to_owned()),
                    _ => Err(Ended::Garbage(text)),
                };
            }
            let unseen = self.buffer.len() - self.at;
            self.fill()?;
            from = self.at + unseen;
        }
    }

    fn body(&mut self, bytes: usize) -> Result<Vec<u8>, Ended> {
        while self.buffer.len() - self.at < bytes + 2 {
            self.fill()?;
        }
        let body = self.buffer[self.at..self.at + bytes].to_vec();
        let end = self.buffer[self.at + bytes..self.at + bytes + 2].to_vec();
        self.at += bytes + 2;
        if end != b"\r\n" {
            return Err(Ended::Garbage(end.escape_ascii().to_string()));
        }
        Ok(body)
    }

    fn values(&mut self, count: usize) -> Result<Vec<Value>, Ended> {
        (0..count).map(|_| self.value()).collect()
    }

    fn value(&mut self) -> Result<Value, Ended> {
        let line = self.line()?;
        let garbage = || Ended::Garbage(line.clone());
        let (kind, rest) = line.split_at_checked(1).ok_or_else(garbage)?;
        let length = || rest.parse::<usize>().map_err(|_| garbage());
        Ok(match kind {
            "+" => Value::Simple(rest.to_owned()),
            "-" => Value::Error(rest.to_owned()),
            ":" => Value::Integer(rest.parse().map_err(|_| garbage())?),
            "$" | "*" if rest == "-1" => Value::Null,
            "$" => Value::Bulk(self.body(length()?)?),
            "*" => Value::Array(self.values(length()?)?),
            "_" => Value::Null,
            "#" => Value::Boolean(rest == "t"),
            "," => Value::Double(rest.to_owned()),
            "(" => Value::BigNumber(rest.to_owned()),
            "=" => Value::Verbatim(self.body(length()?)?.split_off(4)),
            "!" => {
                let text = self.body(length()?)?;
                Value::Error(String::from_utf8_lossy(&text).into_owned())
            }
            "~" => Value::Set(self.values(length()?)?),
            ">" => Value::Push(self.values(length()?)?),
            "%" => {
                let flat = self.values(2 * length()?)?;
                let mut flat = flat.into_iter();
                let mut pairs = Vec::new();
                while let (Some(key), Some(value)) = (flat.next(), flat.next()) {
                    pairs.push((key, value));
                }
                Value::Map(pairs)
            }
            _ => return Err(garbage()),
        })
    }
}
