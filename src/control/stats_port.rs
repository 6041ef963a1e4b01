//! twemproxy's statistics port: whoever connects gets one JSON object and a line feed, and the
//! connection is closed. No request is needed, none is read.
//!
//! Bounds: one connection is served at a time, for one second at the longest; the kernel keeps a
//! few more waiting. A reader that is slow delays the next one by that second, nothing else.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener as StdListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::time::sleep;

use super::listener::{self, Next, PortHandle, Stopped};
use super::state::ControlState;

/// How long one connection may take to read its object.
const WRITE_MAX: Duration = Duration::from_secs(1);
/// Pause after an accept that failed (no descriptors left): no spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes that a client sent unasked and that are thrown away before the close.
const UNASKED_BYTES: usize = 4096;

/// Serves on a thread of its own.
pub fn start(listener: StdListener, state: Arc<ControlState>) -> io::Result<PortHandle> {
    listener::serve("corelay-stats", listener, |listener, stopped| serve(listener, state, stopped))
}

/// The runtime waits for connections and for the end; who has come is served by blocking calls, one
/// after the other.
async fn serve(listener: TcpListener, state: Arc<ControlState>, mut stopped: Stopped) {
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
            Next::Close | Next::End => return,
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
