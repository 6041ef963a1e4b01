//! The end of a drain: who is still here is let go, with the replies that are owed.

use crate::base::ids::ClientId;
use crate::base::time::Now;
use crate::relay::Relay;

impl Relay {
    /// No more requests are taken in. Each client is closed when it has the replies to those before;
    /// who blocks is unblocked first, so that nothing is popped for it that it does not get.
    pub fn dismiss(&mut self, now: Now) {
        let all = self.clients.iter();
        let all: Vec<ClientId> =
            all.map(|(index, generation, _)| ClientId { index, generation }).collect();
        for id in all {
            let Some(client) = self.open_client(id) else { continue };
            client.leaving = true;
            self.unblock(id, false, now);
            let Some(client) = self.open_client(id) else { continue };
            // Replies to earlier requests are still to come: it has not begun to block, and will
            // not.
            if client.blocked.as_deref().is_some_and(|blocked| blocked.until_us.is_none()) {
                self.end_unblocked(id, false);
            }
            self.finish_after_replies(id);
        }
    }
}

#[cfg(test)]
#[path = "dismiss_tests.rs"]
mod tests;
