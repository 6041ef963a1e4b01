//! What this kernel's io_uring can do, found out once when a ring is made.
//!
//! Every entry has a plainer path, so that an older kernel serves the same bytes more slowly; tests
//! switch features off to walk those paths.

/// What a ring makes use of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Completions run inside `io_uring_enter` of the one thread that owns the ring (6.1);
    /// otherwise at the next return from the kernel (5.19, COOP_TASKRUN), or by interrupting.
    pub deferred: bool,
    /// One receive request delivers until it is cancelled (6.0); otherwise it is armed again for
    /// each delivery.
    pub multishot_receive: bool,
    /// One accept request delivers until it is cancelled (5.19).
    pub multishot_accept: bool,
    /// Receive buffers go back to the kernel by a shared ring (5.19); otherwise by a queue entry
    /// each.
    pub buffer_ring: bool,
    /// A write that goes through at once makes no completion; the others report how far they came
    /// (6.0). Otherwise every write completes, and each completion costs a wake-up.
    pub quiet_sends: bool,
    /// `io_uring_enter` can wait for several completions, but not longer than a minimum time for
    /// them (6.12).
    pub min_wait: bool,
}

impl Features {
    /// Everything that corelay knows how to use.
    pub const ALL: Features = Features {
        deferred: true,
        multishot_receive: true,
        multishot_accept: true,
        buffer_ring: true,
        quiet_sends: true,
        min_wait: true,
    };
    /// Only what there is no way around.
    pub const PLAIN: Features = Features {
        deferred: false,
        multishot_receive: false,
        multishot_accept: false,
        buffer_ring: false,
        quiet_sends: false,
        min_wait: false,
    };
}

impl std::fmt::Display for Features {
    /// The plainer paths taken, for the log; "everything" if none.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut lacking = [
            (self.deferred, "deferred completions"),
            (self.multishot_receive, "multi-shot receive"),
            (self.multishot_accept, "multi-shot accept"),
            (self.buffer_ring, "buffer rings"),
            (self.quiet_sends, "quiet sends"),
            (self.min_wait, "minimum waits"),
        ]
        .into_iter()
        .filter(|(there, _)| !there)
        .map(|(_, name)| name);
        match lacking.next() {
            None => f.write_str("everything"),
            Some(first) => {
                write!(f, "all but {first}")?;
                lacking.try_for_each(|name| write!(f, ", {name}"))
            }
        }
    }
}
