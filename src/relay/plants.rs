//! Bugs that a test plants, to see the simulation find them. Outside of tests there is none.

/// What is done wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// Two requests in flight change their places now and then.
    SwapTokens,
    /// Bytes of a connection that was lost are taken for those of its successor.
    SkipGeneration,
    /// A reply is now and then thrown away instead of put into its slot.
    DropSlot,
    /// A reply that a client does not want (CLIENT REPLY) is heard.
    HearMuted,
    /// A fresh connection does not ask for what clients are subscribed to.
    ForgetTopics,
    /// A message does not wait for the answer to the request that subscribed.
    SayEarly,
    /// HELLO and RESET do not wait for the replies before them.
    MixVersions,
    /// A lane to a primary that was replaced stays open.
    KeepFenced,
    /// A lane is connected again although its primary has not been verified since it was lost.
    TrustAgain,
    /// A write whose connection was lost is sent again.
    RepeatWrites,
    /// A request that waits for a primary is forgotten now and then.
    LoseHeld,
    /// Two requests that wait change their places.
    SwapHeld,
    /// A private connection is lent on whatever is still under way on it.
    KeepUnclean,
    /// A private connection is lent on with what is watched there.
    KeepGuard,
    /// A transaction is executed although what it watched may have changed.
    ForgetBroken,
    /// Who watches keys reads from replicas.
    GuardAtReplica,
    /// A reply of any shape is taken.
    SkipShape,
    /// A client reads from replicas right after it wrote.
    ForgetWrites,
    /// A write does not wait for what its client reads from replicas.
    OvertakeReads,
    /// An error of a replica is passed on.
    HearReplica,
    /// A shard that got another address is left although something is still owed from there.
    LeaveAtOnce,
    /// What a client reads is not remembered, though it tracks.
    ForgetReaders,
    /// An invalidation overtakes what its client has asked for.
    OvertakeReplies,
    /// A tracker is lost, and nobody forgets what it had heard of.
    KeepUntold,
}

#[cfg(not(test))]
#[inline]
pub(super) const fn planted(_: Plant) -> bool {
    false
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Plant>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
pub(super) fn planted(plant: Plant) -> bool {
    PLANTED.get() == Some(plant)
}

/// For the calling thread, from now on.
#[cfg(test)]
pub(crate) fn plant(plant: Option<Plant>) {
    PLANTED.set(plant);
}
