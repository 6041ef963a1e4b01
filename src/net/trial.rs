//! Features that no flag of the kernel names are tried out when a ring is made.
//!
//! Called by `sockets` once.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use super::boot::BootError;
use super::event::{Event, Rest};
use super::ring::Patience;
use super::sockets::Sockets;

/// More than any socket's buffer holds.
const TOO_MUCH_BYTES: usize = 4 * 1024 * 1024;

/// A quiet send that does not go through as a whole must say so and how far it came: everything
/// about quiet sends rests on that. Where it does not, they are not used.
pub(super) fn quiet_sends(sockets: &mut Sockets) -> Result<(), BootError> {
    if !sockets.features().quiet_sends {
        return Ok(());
    }
    let failed = |error| BootError::of("trial of quiet sends", error);
    let (near, _far) = UnixStream::pair().map_err(failed)?;
    let Ok(id) = sockets.add(OwnedFd::from(near)) else { return Ok(()) };
    let mut partly = false;
    if let Some(chunks) = sockets.outgoing(id) {
        chunks.push_back(vec![0; TOO_MUCH_BYTES]);
    }
    sockets.send(id);
    sockets.enter(Patience::default()).map_err(failed)?;
    while let Some(event) = sockets.next_event() {
        partly |= matches!(event, Event::Sent { socket, bytes, rest: Rest::Underway }
            if socket == id && bytes < TOO_MUCH_BYTES);
    }
    sockets.close(id);
    let patience = Patience { max_us: 10_000, events: 1, gather_us: 0 };
    for _ in 0..100 {
        if sockets.open() == 0 {
            break;
        }
        sockets.enter(patience).map_err(failed)?;
        while sockets.next_event().is_some() {}
    }
    sockets.leftovers.spent.clear();
    if !partly {
        sockets.ring.renounce(|features| features.quiet_sends = false);
    }
    Ok(())
}
