//! twemproxy's statistics port: whoever connects gets one JSON object and a line feed, and the
//! connection is closed. No request is needed, none is read.
//!
//! Bounds: one connection is served at a time, for one second at the longest; the kernel keeps a
//! few more waiting. A reader that is slow delays the next one by that second, nothing else.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::listener::{self, Next, Stop, Stopped};
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
    stop: Option<Stop>,
    thread: Option<JoinHandle<()>>,
}

/// Serves on a thread of its own.
pub fn start(listener: TcpListener, state: Arc<ControlState>) -> io::Result<StatsPortHandle> {
    listener.set_nonblocking(true)?;
    let local_addr = listener.local_addr()?;
    let (stop, stopped) = listener::stop();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = move || {
        if let Err(error) = runtime.block_on(serve(listener, &state, stopped)) {
            state.log.error("stats port: not served", &[("error", &error)]);
        }
    };
    let thread = std::thread::Builder::new().name("corelay-stats".to_owned()).spawn(run)?;
    Ok(StatsPortHandle { local_addr, stop: Some(stop), thread: Some(thread) })
}

impl StatsPortHandle {
    /// Lets nobody in any more; another process has the port.
    pub fn close(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.close();
        }
    }
}

impl Drop for StatsPortHandle {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has ended the process already.
            let _ = thread.join();
        }
    }
}

/// The runtime waits for connections and for the end; who has come is served by blocking calls, one
/// after the other.
async fn serve(
    listener: TcpListener,
    state: &ControlState,
    mut stopped: Stopped,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        match stopped.or_accept(&listener).await {
            Next::Connection(stream, _) => {
                let answered =
                    stream.into_std().and_then(|stream| answer(stream, &state.twemproxy_json()));
                if let Err(error) = answered {
                    state.log.debug("stats port: client not served", &[("error", &error)]);
                }
            }
            Next::Failed(error) => {
                state.log.warn("stats port: accept failed", &[("error", &error)]);
                sleep(ACCEPT_PAUSE).await;
            }
            Next::Close | Next::End => return Ok(()),
        }
    }
}

fn answer(mut stream: TcpStream, json: &str) -> io::Result<()> {
    stream.set_nonblocking(false)?;
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
