//! twemproxy's statistics port: whoever connects gets one JSON object and a line feed, and the
//! connection is closed. No request is needed, none is read.
//!
//! Bounds: one connection is served at a time, for one second at the longest; the kernel keeps a
//! few more waiting. A reader that is slow delays the next one by that second, nothing else.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::listener::{self, Stop};
use super::state::ControlState;

/// How long one connection may take to read its object.
const WRITE_MAX: Duration = Duration::from_secs(1);
/// Pause after an accept that failed (no descriptors left): no spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes that a client sent unasked and that are thrown away before the close.
const UNASKED_BYTES: usize = 4096;

/// Ends the port when dropped.
#[derive(Debug)]
#[must_use = "the port is closed when this is dropped"]
pub struct StatsPortHandle {
    pub local_addr: SocketAddr,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

/// Listens on `listen` and serves on a thread of its own. Fails if the address can not be had.
pub fn start(listen: SocketAddr, state: Arc<ControlState>) -> io::Result<StatsPortHandle> {
    let listener = listener::bind("stats_listen", listen)?;
    let local_addr = listener.local_addr()?;
    let stop = Stop::new(&listener)?;
    let stopped = stop.flag();
    let thread = std::thread::Builder::new()
        .name("corelay-stats".to_owned())
        .spawn(move || serve(&listener, &state, &stopped))?;
    Ok(StatsPortHandle { local_addr, stop, thread: Some(thread) })
}

impl Drop for StatsPortHandle {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has ended the process already.
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, state: &ControlState, stopped: &AtomicBool) {
    while !stopped.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, _)) => {
                if let Err(error) = answer(stream, &state.twemproxy_json()) {
                    state.log.debug("stats port: client not served", &[("error", &error)]);
                }
            }
            Err(_) if stopped.load(Ordering::SeqCst) => return,
            Err(error) => {
                state.log.warn("stats port: accept failed", &[("error", &error)]);
                std::thread::park_timeout(ACCEPT_PAUSE);
            }
        }
    }
}

fn answer(mut stream: TcpStream, json: &str) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the control plane reads the clock")]
    let started = Instant::now();
    let mut left = json.as_bytes();
    while !left.is_empty() {
        // The timeout of the socket is for one write; a slow reader could have many.
        let Some(time_left) =
            WRITE_MAX.checked_sub(started.elapsed()).filter(|left| !left.is_zero())
        else {
            return Err(io::ErrorKind::TimedOut.into());
        };
        stream.set_write_timeout(Some(time_left))?;
        match stream.write(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => left = &left[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    stream.shutdown(Shutdown::Write)?;
    // Closing with something unread would send a reset, which may overtake the object.
    stream.set_nonblocking(true)?;
    let _ = stream.read(&mut [0; UNASKED_BYTES]);
    Ok(())
}
