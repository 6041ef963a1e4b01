//! A false redis-server, for the faults that a real one can not be made to show: late, silent,
//! torn or meaningless replies.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Listens; every connection runs the script in a thread of its own.
#[derive(Debug)]
pub struct FalseRedis {
    address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    ended: AtomicBool,
    accepted: AtomicUsize,
    open: AtomicUsize,
    streams: Mutex<BTreeMap<usize, TcpStream>>,
}

/// One connection as the script sees it.
#[derive(Debug)]
pub struct Connection {
    /// How many were accepted before this one.
    pub number: usize,
    stream: TcpStream,
    unread: VecDeque<u8>,
    resets: bool,
}

impl FalseRedis {
    pub fn start(script: impl Fn(&mut Connection) + Send + Sync + 'static) -> FalseRedis {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let script = Arc::new(script);
        let shared = Arc::clone(&state);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let _ = stream.set_nodelay(true);
                let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
                shared.open.fetch_add(1, Ordering::SeqCst);
                let handle = stream.try_clone().expect("a handle");
                shared.streams.lock().unwrap().insert(number, handle);
                let (shared, script) = (Arc::clone(&shared), Arc::clone(&script));
                std::thread::spawn(move || {
                    let unread = VecDeque::new();
                    let mut connection = Connection { number, stream, unread, resets: false };
                    script(&mut connection);
                    shared.streams.lock().unwrap().remove(&number);
                    if connection.resets {
                        let linger = Some(std::time::Duration::ZERO);
                        let _ = socket2::SockRef::from(&connection.stream).set_linger(linger);
                    } else {
                        let _ = connection.stream.shutdown(Shutdown::Both);
                    }
                    drop(connection);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        FalseRedis { address, state, accepting: Some(accepting) }
    }

    /// One that answers its hand-shake, a GET with `value of KEY`, an MGET with these, an INCR with the
    /// number in the key, anything else by `+OK`.
    pub fn honest() -> FalseRedis {
        FalseRedis::start(|connection| {
            while let Some(request) = connection.read_request() {
                connection.answer(&request);
            }
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// Connections whose script still runs.
    pub fn open(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }
}

impl Drop for FalseRedis {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        for stream in self.state.streams.lock().unwrap().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Connection {
    /// The next request's arguments; `None` when the proxy has closed.
    pub fn read_request(&mut self) -> Option<Vec<Vec<u8>>> {
        let count = self.header(b'*')?;
        (0..count).map(|_| self.argument()).collect()
    }

    fn argument(&mut self) -> Option<Vec<u8>> {
        let bytes = self.header(b'$')?;
        self.read_last(bytes)
    }

    fn header(&mut self, kind: u8) -> Option<usize> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.push(self.byte()?);
        }
        let text = String::from_utf8_lossy(&line[1..]).trim().to_owned();
        assert_eq!(line[0], kind, "the proxy sent \"{}\"", line.escape_ascii());
        Some(text.parse().expect("a length in the proxy's request"))
    }

    fn byte(&mut self) -> Option<u8> {
        if self.unread.is_empty() {
            let mut chunk = [0; 16 * 1024];
            let bytes = self.stream.read(&mut chunk).unwrap_or(0);
            self.unread.extend(&chunk[..bytes]);
        }
        self.unread.pop_front()
    }

    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Waits until the proxy has closed; what it still sends is thrown away.
    pub fn wait_closed(&mut self) {
        while self.byte().is_some() {}
    }

    /// Answers as an honest server would: see [`FalseRedis::honest`].
    pub fn answer(&mut self, request: &[Vec<u8>]) {
        if self.answer_prelude(request) {
            return;
        }
        self.write(&reply_to(request));
    }

    /// The next request but for its last argument, and how long that will be.
    pub fn read_head(&mut self) -> Option<(Vec<Vec<u8>>, usize)> {
        let count = self.header(b'*')?;
        let head = (1..count).map(|_| self.argument()).collect::<Option<_>>()?;
        Some((head, self.header(b'$')?))
    }

    /// The last argument, of so many bytes.
    pub fn read_last(&mut self, bytes: usize) -> Option<Vec<u8>> {
        let argument = (0..bytes).map(|_| self.byte()).collect::<Option<Vec<u8>>>()?;
        self.byte()?;
        self.byte()?;
        Some(argument)
    }

    /// Throws away what has been received, until there has been so much.
    pub fn skip(&mut self, bytes: usize) {
        for _ in 0..bytes {
            if self.byte().is_none() {
                return;
            }
        }
    }

    /// FIN, while it goes on reading.
    pub fn finish_sending(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The end of the script is to be a RST.
    pub fn reset_at_the_end(&mut self) {
        self.resets = true;
    }

    /// Answers what a lane may ask before its first request; false: it was something else.
    pub fn answer_prelude(&mut self, request: &[Vec<u8>]) -> bool {
        if is(request, "HELLO") {
            self.write(match request.get(1).map(Vec::as_slice) {
                Some(b"3") => HELLO_3,
                _ => HELLO_2,
            });
        } else if is(request, "PING") {
            match request.get(1) {
                Some(text) => {
                    let head = format!("${}\r\n", text.len());
                    self.write(&[head.as_bytes(), text, b"\r\n"].concat());
                }
                None => self.write(b"+PONG\r\n"),
            }
        } else if ["AUTH", "SELECT", "CLIENT", "READONLY"].iter().any(|name| is(request, name)) {
            self.write(b"+OK\r\n");
        } else {
            return false;
        }
        true
    }
}

/// The reply of an honest server: see [`FalseRedis::honest`].
pub fn reply_to(request: &[Vec<u8>]) -> Vec<u8> {
    let value = |key: &Vec<u8>| {
        let value = [b"value of ".as_slice(), key].concat();
        [format!("${}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat()
    };
    if is(request, "GET") {
        value(&request[1])
    } else if is(request, "MGET") {
        let values = request[1..].iter().flat_map(value);
        format!("*{}\r\n", request.len() - 1).into_bytes().into_iter().chain(values).collect()
    } else if is(request, "INCR") {
        format!(":{}\r\n", number_in(&request[1])).into_bytes()
    } else {
        b"+OK\r\n".to_vec()
    }
}

/// The digits of a key as a number.
pub fn number_in(key: &[u8]) -> i64 {
    let digits = key.iter().filter(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
}

/// Whether `request` is the command `name`.
pub fn is(request: &[Vec<u8>], name: &str) -> bool {
    request[0].eq_ignore_ascii_case(name.as_bytes())
}

const HELLO_2: &[u8] = b"*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n\
$5\r\nproto\r\n:2\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n\
$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n";
const HELLO_3: &[u8] = b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n\
$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n\
$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n";
