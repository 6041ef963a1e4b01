//! A promotion under way, while the old primary is well and takes writes.
//!
//! Sentinel does not stop the old primary before it promotes the replica (`SENTINEL FAILOVER` by hand, or
//! sentinels that can not reach a primary that we can): what it acknowledges from then on is lost, for
//! about a second. So nothing more is sent to it once a sentinel says that it will send `REPLICAOF NO
//! ONE`, until another primary is published, the failover is given up, or it takes too long.
//!
//! Pure: moments come in, steps come out. One sentinel's word is enough, since it does no more than make
//! clients wait; and so not again soon if nothing came of it.

use std::time::Duration;

use super::master::Moment;

/// The event that says so, about 100 ms before it is done.
pub(super) const ANNOUNCED_BY: &str = "+failover-state-send-slaveof-noone";
/// Sentinel needs about a second to see that the replica is promoted.
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// A pause that ended without another primary is followed by none for so long.
const NOT_AGAIN: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Promotion {
    pause_max: Duration,
    state: State,
    not_before: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    None,
    Announced,
    Paused { until: Moment },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing more may be sent to the primary.
    Pause,
    /// It took too long: the primary is to be verified again.
    Overdue,
}

impl Promotion {
    /// `hold`: how long clients wait at most; half of it is left for what comes after.
    pub(super) fn new(hold: Duration) -> Promotion {
        let pause_max = PAUSE_MAX.min(hold / 2);
        Promotion { pause_max, state: State::None, not_before: Duration::ZERO }
    }

    pub(super) fn announced(&mut self, now: Moment) {
        if self.state == State::None && now >= self.not_before {
            self.state = State::Announced;
        }
    }

    pub(super) fn step(&mut self, now: Moment) -> Option<Step> {
        match self.state {
            State::Announced => {
                self.state = State::Paused { until: now + self.pause_max };
                Some(Step::Pause)
            }
            State::Paused { until } if now >= until => {
                self.ended(false, now);
                Some(Step::Overdue)
            }
            _ => None,
        }
    }

    /// It was given up, as a sentinel says; whether that ends a pause.
    pub(super) fn given_up(&mut self, now: Moment) -> bool {
        let paused = matches!(self.state, State::Paused { .. });
        self.ended(false, now);
        paused
    }

    /// A primary was verified: another one, or the old one again.
    pub(super) fn ended(&mut self, moved: bool, now: Moment) {
        if !moved && self.state != State::None {
            self.not_before = now + NOT_AGAIN;
        }
        self.state = State::None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Moment {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_promotion_pauses_once_and_not_for_ever() {
        let mut promotion = Promotion::new(ms(5_000));
        assert_eq!(promotion.step(ms(0)), None);
        promotion.announced(ms(10));
        assert_eq!(promotion.step(ms(10)), Some(Step::Pause));
        promotion.announced(ms(20));
        assert_eq!(promotion.step(ms(20)), None, "it is paused already");
        assert_eq!(promotion.step(ms(2_510)), Some(Step::Overdue), "half of what clients wait");
        promotion.announced(ms(3_000));
        assert_eq!(promotion.step(ms(3_000)), None, "nothing came of the last one");
        promotion.announced(ms(40_000));
        assert_eq!(promotion.step(ms(40_000)), Some(Step::Pause));
        promotion.ended(true, ms(41_000));
        promotion.announced(ms(42_000));
        assert_eq!(promotion.step(ms(42_000)), Some(Step::Pause), "the last one moved the primary");
        assert!(promotion.given_up(ms(42_100)));
        assert!(!promotion.given_up(ms(42_200)), "there is nothing left to give up");
    }
}
