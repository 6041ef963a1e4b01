//! How often the sentinels are asked about one master while something is wrong: at once, then every
//! few tens of milliseconds, in the end seldom. While nothing is wrong the routine asks.

use std::time::Duration;

use super::master::Moment;

/// Pause between questions; each is half as long again as the one before, up to …
const FIRST: Duration = Duration::from_millis(10);
/// … this …
const MOST: Duration = Duration::from_millis(50);
/// … and when it has been wrong for so long …
const SELDOM_AFTER: Duration = Duration::from_secs(15);
/// … this.
const SELDOM: Duration = Duration::from_millis(500);
/// The routine asks, not we.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

#[derive(Debug)]
pub(super) struct Pace {
    at: Moment,
    asks: u32,
}

impl Pace {
    /// The first question is due at `now`.
    pub(super) fn new(now: Moment) -> Pace {
        Pace { at: now, asks: 0 }
    }

    /// One question is due, whatever the pace.
    pub(super) fn once(&mut self, now: Moment) {
        self.at = self.at.min(now);
    }

    /// Whether a question is due; it counts as asked. `wrong_since`: `None` if nothing is wrong;
    /// `jitter` from 0 to 1 keeps several proxies apart.
    pub(super) fn take(&mut self, wrong_since: Option<Moment>, jitter: f64, now: Moment) -> bool {
        if now < self.at {
            return false;
        }
        let pause = match wrong_since {
            None => NEVER,
            Some(since) if now > since + SELDOM_AFTER => SELDOM,
            Some(_) => FIRST.mul_f64(1.5_f64.powi(self.asks.min(16).cast_signed())).min(MOST),
        };
        self.asks = self.asks.saturating_add(1);
        self.at = now.saturating_add(pause.mul_f64(0.75 + 0.25 * jitter));
        true
    }
}
