//! A load of a fixed rate: GET and SET at times that were set before, whatever the proxy does.
//!
//! The load is open: each request has its time (Poisson arrivals, the same ones in every run), and
//! its latency counts from that time, not from when there was leisure to send it. A proxy that
//! stalls is charged for all that should have been asked meanwhile; a client that waits for its
//! reply before it asks again would have hidden them ("coordinated omission"). One thread sends and
//! receives on all connections in turn; a connection whose reply is outstanding is used all the
//! same, pipelined. How late the thread itself was in sending is printed as `late_p99_us`: it is
//! part of the latencies, and where it is most of them the machine was measured, not the proxy.
//!
//! `cargo run --release --example rate -- 127.0.0.1:6380 --rate 20000 --seconds 5`
#![allow(unsafe_code, reason = "ppoll has no safe name in the standard library")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a load generator reads the clock and prints"
)]

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use hdrhistogram::Histogram;

/// After the last request: so long for the replies that are outstanding.
const GRACE_NS: u64 = 5_000_000_000;
const LATENCY_MAX_NS: u64 = 600_000_000_000;

#[derive(Parser)]
struct Options {
    /// address:port
    address: SocketAddr,
    /// Requests a second, all connections together
    #[arg(long, default_value_t = 20_000.0)]
    rate: f64,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Keys key:000000000000 and on, as redis-benchmark names them
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Bytes of the value that SET stores
    #[arg(long, default_value_t = 64)]
    size: usize,
}

/// A connection and what it waits for.
struct Wire {
    stream: TcpStream,
    /// When each unanswered request should have been sent.
    asked: VecDeque<u64>,
    unsent: Vec<u8>,
    unread: Vec<u8>,
}

impl Wire {
    fn new(address: SocketAddr) -> Result<Wire, Error> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Wire { stream, asked: VecDeque::new(), unsent: Vec::new(), unread: Vec::new() })
    }

    fn send(&mut self) -> Result<(), Error> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what is there; the latency of each reply that is complete goes into `found`.
    fn receive(&mut self, clock: &Clock, found: &mut Histogram<u64>) -> Result<(), Error> {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => return Err(Error::other("the proxy closed a connection")),
            Ok(count) => self.unread.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        let (now, mut used) = (clock.now_ns(), 0);
        while let Some(length) = reply(&self.unread[used..])? {
            used += length;
            let asked = self.asked.pop_front().ok_or_else(|| Error::other("a surplus reply"))?;
            found.saturating_record(now.saturating_sub(asked));
        }
        self.unread.drain(..used);
        Ok(())
    }
}

/// Length of the first reply, if it is all there: a line, or a bulk string.
fn reply(bytes: &[u8]) -> Result<Option<usize>, Error> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let line = String::from_utf8_lossy(&bytes[..end]);
    let length = match line.strip_prefix('$').map(str::parse::<i64>) {
        Some(Ok(size)) => end + 2 + usize::try_from(size).map_or(0, |size| size + 2),
        None if line.starts_with('+') => end + 2,
        _ => return Err(Error::other(format!("the proxy said {line}"))),
    };
    Ok((length <= bytes.len()).then_some(length))
}

struct Clock(Instant);

impl Clock {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Marsaglia's xorshift: the same numbers in every run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Between two arrivals.
    fn gap_ns(&mut self, rate: f64) -> u64 {
        let share = ((self.next() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        (-share.ln() / rate * 1e9) as u64
    }
}

/// GET or SET, as it happens, of a key as it happens.
fn request(out: &mut Vec<u8>, chance: &mut Chance, options: &Options) {
    let (is_set, key) = (chance.next() >> 63 == 1, (chance.next() >> 8) % options.keys);
    let name = if is_set { "*3\r\n$3\r\nSET" } else { "*2\r\n$3\r\nGET" };
    out.extend_from_slice(format!("{name}\r\n$16\r\nkey:{key:012}\r\n").as_bytes());
    if is_set {
        out.extend_from_slice(format!("${}\r\n", options.size).as_bytes());
        out.resize(out.len() + options.size, b'x');
        out.extend_from_slice(b"\r\n");
    }
}

/// Until something can be read, or written where bytes wait, or the time has come.
fn wait(wires: &[Wire], polls: &mut [libc::pollfd], sleep_ns: u64) -> Result<(), Error> {
    for (poll, wire) in polls.iter_mut().zip(wires) {
        let write = if wire.unsent.is_empty() { 0 } else { libc::POLLOUT };
        *poll =
            libc::pollfd { fd: wire.stream.as_raw_fd(), events: libc::POLLIN | write, revents: 0 };
    }
    let sleep = Duration::from_nanos(sleep_ns);
    let time = libc::timespec {
        tv_sec: i64::try_from(sleep.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(sleep.subsec_nanos()),
    };
    let count = polls.len() as libc::nfds_t;
    // SAFETY: `polls` and `time` are ours and outlive the call; `count` is the length of `polls`.
    let ready =
        unsafe { libc::ppoll(polls.as_mut_ptr(), count, &raw const time, std::ptr::null()) };
    match Error::last_os_error() {
        error if ready < 0 && error.kind() != ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

fn run(options: &Options) -> Result<serde_json::Value, Error> {
    // A sleep may otherwise last 50 µs longer than asked for: the time between two requests.
    let _ = std::fs::write("/proc/self/timerslack_ns", "1");
    let mut found = Histogram::new_with_bounds(100, LATENCY_MAX_NS, 3).map_err(Error::other)?;
    let mut late = found.clone();
    let mut wires = (0..options.connections)
        .map(|_| Wire::new(options.address))
        .collect::<Result<Vec<_>, _>>()?;
    let mut polls = vec![libc::pollfd { fd: -1, events: 0, revents: 0 }; wires.len()];
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
    let last_ns =
        u64::try_from(Duration::from_secs_f64(options.seconds).as_nanos()).map_err(Error::other)?;
    let clock = Clock(Instant::now());
    let (mut due_ns, mut sent) = (chance.gap_ns(options.rate), 0_usize);
    loop {
        let now = clock.now_ns();
        let outstanding = wires.iter().any(|wire| !wire.asked.is_empty());
        if due_ns > last_ns && (!outstanding || now > last_ns + GRACE_NS) {
            break;
        }
        while due_ns <= now && due_ns <= last_ns {
            let place = sent % wires.len();
            let wire = &mut wires[place];
            request(&mut wire.unsent, &mut chance, options);
            wire.asked.push_back(due_ns);
            wire.send()?;
            late.saturating_record(clock.now_ns().saturating_sub(due_ns));
            sent += 1;
            due_ns += chance.gap_ns(options.rate);
        }
        let until = if due_ns <= last_ns { due_ns } else { last_ns + GRACE_NS };
        wait(&wires, &mut polls, until.saturating_sub(clock.now_ns()))?;
        for (wire, poll) in wires.iter_mut().zip(&polls) {
            if poll.revents & libc::POLLOUT != 0 {
                wire.send()?;
            }
            if poll.revents & !libc::POLLOUT != 0 {
                wire.receive(&clock, &mut found)?;
            }
        }
    }
    // What was never answered took at least so long.
    let unanswered: usize = wires.iter().map(|wire| wire.asked.len()).sum();
    let (answered, end) = (found.len(), clock.now_ns());
    for asked in wires.iter().flat_map(|wire| &wire.asked) {
        found.saturating_record(end.saturating_sub(*asked));
    }
    let us = |ns: u64| (ns / 100) as f64 / 10.0;
    Ok(serde_json::json!({
        "rate_asked": options.rate,
        "rate_answered": (answered as f64 * 1e9 / end as f64).round(),
        "requests": sent,
        "unanswered": unanswered,
        "p50_us": us(found.value_at_quantile(0.5)),
        "p99_us": us(found.value_at_quantile(0.99)),
        "p999_us": us(found.value_at_quantile(0.999)),
        "max_us": us(found.max()),
        "mean_us": us(found.mean() as u64),
        "late_p99_us": us(late.value_at_quantile(0.99)),
    }))
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.connections == 0 || options.keys == 0 || options.rate <= 0.0 {
        eprintln!("connections, keys and rate have to be above 0");
        return ExitCode::from(2);
    }
    match run(&options) {
        Ok(found) => {
            println!("{found}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("rate: {error}");
            ExitCode::FAILURE
        }
    }
}
