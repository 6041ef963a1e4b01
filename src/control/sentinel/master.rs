//! One shard's master: what is in force, what is in doubt, and what is to be done about it.
//!
//! Pure: moments and answers come in, acts come out; the watcher carries them out. The rules:
//!
//! - Nothing is in force that was not verified: a verdict of the sentinels, and the node's own
//!   ROLE.
//! - Doubt is removed only by answers and a ROLE that were asked for after it arose.
//! - A newer config-epoch with another address is acted on with the answers that are there.
//! - Without the sentinels the last address stays; after a grace its ROLE alone removes doubt.

use std::net::SocketAddr;
use std::time::Duration;

use super::hearing::{Hearing, voices};
use super::node::Seen;
use super::pace::Pace;
use super::promotion::{Promotion, Step};
use super::verdict::{Address, Choice, Count, Refusal, verdict};
use super::words::TROUBLE;

/// Time since the watcher began.
pub(super) type Moment = Duration;

/// An answer so old still counts, where nothing is in doubt: a round and a half of the routine, and
/// what one answer may take.
const FRESH: Duration = Duration::from_millis(1_800);
/// With the same address as before one waits so long for the sentinels that have not answered yet.
const WAIT_FOR_ALL: Duration = Duration::from_millis(30);
/// While a failover is under way the old address is not verified again, for so long.
const WAIT_FOR_FAILOVER: Duration = Duration::from_secs(3);
/// In doubt, and without a majority of the sentinels for so long, ROLE alone decides.
const ROLE_ALONE_AFTER: Duration = Duration::from_secs(1);
/// Pause before an address is verified again that was so just before, and came into doubt at once
/// again: it takes connections and cores lose them. It doubles up to …
const AGAIN_FIRST: Duration = Duration::from_millis(20);
/// … this, and begins anew after …
const AGAIN_MAX: Duration = Duration::from_secs(1);
/// … so long without doubt.
const CALM: Duration = Duration::from_secs(5);
/// How often a node in force is asked for its ROLE.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Pause before a node that was no master is looked at again; it doubles up to …
const LOOK_AGAIN_FIRST: Duration = Duration::from_millis(10);
/// … this.
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(250);
/// An event of a sentinel makes us ask often for so long.
const ALERT: Duration = Duration::from_secs(15);

/// What the pool wants of the sentinels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) quorum_required: bool,
    pub(super) quorum_grace: Duration,
    /// How long clients wait for a primary at most.
    pub(super) hold: Duration,
}

/// What is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InForce {
    pub(super) address: Address,
    pub(super) at: SocketAddr,
    pub(super) config_epoch: u64,
    pub(super) verified: u64,
    pub(super) writable: bool,
    /// Nothing more is sent to it, or is again; `None`: that is not ours to say.
    pub(super) paused: Option<bool>,
}

/// What began when, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) at: Moment,
    pub(super) why: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Ask the node for its ROLE; what it says comes back by `seen`, with the number.
    Look { number: u64, address: Address, wanted: Option<SocketAddr> },
    /// `Master::in_force` has changed: publish it.
    Publish(Change),
}

/// What a publication is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Another address than before, or the first.
    Moved { from: Option<SocketAddr> },
    /// The same address as before.
    Confirmed,
    /// The same, by ROLE alone.
    ConfirmedAlone,
    /// No majority of the sentinels for too long: no writes.
    ReadOnly,
    /// A sentinel promotes the replica: nothing more is sent to the old primary.
    Paused,
}

impl Change {
    /// Whether it tells of a verification.
    pub(super) fn is_verified(&self) -> bool {
        !matches!(self, Change::ReadOnly | Change::Paused)
    }
}

#[derive(Clone, Debug)]
struct Look {
    number: u64,
    address: Address,
    begun: Moment,
    purpose: Purpose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Verify { config_epoch: u64 },
    RoleAlone,
    Routine,
}

#[derive(Debug)]
pub(super) struct Master {
    rules: Rules,
    promotion: Promotion,
    pub(super) in_force: Option<InForce>,
    /// Since when answers are needed, and why.
    pub(super) doubt: Option<Notice>,
    /// What the first sign of the present trouble was.
    pub(super) noticed: Option<Notice>,
    pub(super) refusal: Option<Refusal>,
    /// What the last look at a node said, if it was not what was hoped for.
    pub(super) node_says: Option<String>,
    pub(super) count: Count,
    /// The last moment for which a majority has answered.
    majority_at: Option<Moment>,
    alert_until: Moment,
    look: Option<Look>,
    looks: u64,
    looked_at: Moment,
    looks_failed: u32,
    /// How often in a row the same address was verified again, and when the last time.
    confirmed: (u32, Moment),
    /// Where the last look failed.
    failed_at: Option<Address>,
    pace: Pace,
}

impl Master {
    /// Nothing is in force, all is in doubt.
    pub(super) fn new(rules: Rules, now: Moment) -> Master {
        let begin = Notice { at: now, why: "start".to_owned() };
        Master {
            rules,
            promotion: Promotion::new(rules.hold),
            in_force: None,
            doubt: Some(begin.clone()),
            noticed: Some(begin),
            refusal: None,
            node_says: None,
            count: Count::default(),
            majority_at: None,
            alert_until: now,
            look: None,
            looks: 0,
            looked_at: now,
            looks_failed: 0,
            confirmed: (0, now),
            failed_at: None,
            pace: Pace::new(now),
        }
    }

    /// A core lost a connection to what `verified` stands for, or the node refused.
    pub(super) fn suspect(&mut self, verified: u64, again: bool, why: &str, now: Moment) {
        let current = self.in_force.as_ref().map_or(0, |current| current.verified);
        let known = self.doubt.is_some();
        // One that was verified since is not meant; a reminder says nothing new.
        if verified < current || (again && known) {
            return;
        }
        self.begin_doubt(why.to_owned(), now);
    }

    /// A sentinel is about to promote a replica of the master at `old`.
    pub(super) fn promoting(&mut self, old: &Address, now: Moment) {
        if self.in_force.as_ref().is_some_and(|current| current.address == *old) {
            self.promotion.announced(now);
        }
    }

    /// Something happened to the master, or, if not `of_itself`, to what belongs to it, as a
    /// sentinel says.
    pub(super) fn signal(&mut self, kind: &str, of_itself: bool, now: Moment) {
        match kind {
            "+sdown" | "-sdown" | "+reboot" if !of_itself => return,
            // It ended without another master.
            "-sdown" | "-odown" | "+failover-end" | "+failover-end-for-timeout" => {
                self.alert_until = now;
                if self.doubt.is_none() {
                    self.noticed = None;
                }
            }
            _ if TROUBLE.contains(&kind) || kind.starts_with("-failover-abort") => {
                self.alert_until = now + ALERT;
                self.notice(kind.to_owned(), now);
                self.pace = Pace::new(now);
                if kind.starts_with('-') && self.promotion.given_up(now) {
                    self.begin_doubt(kind.to_owned(), now);
                }
            }
            _ => {}
        }
        self.pace.once(now);
    }

    /// The sentinels are to be asked now.
    pub(super) fn take_ask(&mut self, now: Moment, jitter: f64) -> bool {
        let trouble = self.doubt.as_ref().or(self.noticed.as_ref());
        let is_wrong = self.doubt.is_some() || now < self.alert_until;
        let since = trouble.map_or(now, |trouble| trouble.at);
        self.pace.take(is_wrong.then_some(since), jitter, now)
    }

    /// Something is wrong, or may be.
    pub(super) fn is_urgent(&self, now: Moment) -> bool {
        self.doubt.is_some() || self.look.is_some() || now < self.alert_until
    }

    /// What is to be done now, with what the sentinels have said.
    pub(super) fn step(&mut self, hearing: &Hearing<'_>, now: Moment) -> Option<Act> {
        if self.doubt.is_none() && now >= self.alert_until {
            self.noticed = None;
        }
        self.count_heard(hearing, now);
        match (self.promotion.step(now), &mut self.in_force) {
            (Some(Step::Pause), Some(current)) => {
                current.paused = Some(true);
                return Some(Act::Publish(Change::Paused));
            }
            (Some(Step::Overdue), _) => self.begin_doubt("a promotion takes too long".into(), now),
            _ => {}
        }
        if let Some(act) = self.mind_the_quorum(now) {
            return Some(act);
        }
        if let Some(choice) = self.newer_choice(hearing, now) {
            if self.doubt.is_none() {
                self.begin_doubt("the sentinels name another address".to_owned(), now);
            }
            self.refusal = None;
            return self.look_at(choice.address, choice.config_epoch, now);
        }
        let Some(doubt) = self.doubt.clone() else { return self.routine_look(now) };
        let since = voices(hearing, doubt.at);
        let published = self.in_force.as_ref().map(|current| current.config_epoch);
        match verdict(&since, hearing.configured, published) {
            Ok(choice) => {
                self.refusal = None;
                if self.is_too_early(&choice, &doubt, hearing, now) {
                    return None;
                }
                self.look_at(choice.address, choice.config_epoch, now)
            }
            Err(refusal) => {
                // Nothing heard yet of the first questions is no refusal.
                if refusal != Refusal::Unreachable || now > doubt.at + WAIT_FOR_ALL {
                    self.refusal = Some(refusal);
                }
                self.look_alone(now)
            }
        }
    }

    /// What the node said that `Act::Look` asked.
    pub(super) fn seen(&mut self, number: u64, seen: Seen, now: Moment) -> Option<Act> {
        // One that was overtaken by a look at another address counts no more.
        let look = self.look.take_if(|look| look.number == number)?;
        self.looked_at = now;
        let at = match seen {
            Seen::Master(at) => at,
            Seen::Other(why) => {
                if self.failed_at.as_ref() != Some(&look.address) {
                    self.looks_failed = 0;
                }
                self.looks_failed = self.looks_failed.saturating_add(1);
                if look.purpose == Purpose::Routine {
                    self.begin_doubt(format!("ROLE: {why}"), now);
                }
                self.node_says = Some(format!("{}: {why}", look.address));
                self.failed_at = Some(look.address);
                return None;
            }
        };
        self.failed_at = None;
        self.node_says = None;
        let before = self.in_force.clone();
        let stays = before.as_ref().is_some_and(|before| before.at == at);
        if look.purpose == Purpose::Routine && !stays {
            self.begin_doubt(format!("{} is {at} now", look.address), now);
            return None;
        }
        let doubt = self.doubt.as_ref()?;
        if stays && look.begun < doubt.at {
            // Asked before it came into doubt: asked again by the next step.
            return None;
        }
        let config_epoch = match look.purpose {
            Purpose::Verify { config_epoch } => config_epoch,
            _ => before.as_ref()?.config_epoch,
        };
        let alone = look.purpose == Purpose::RoleAlone;
        self.in_force = Some(InForce {
            address: look.address,
            at,
            config_epoch,
            verified: before.as_ref().map_or(0, |before| before.verified) + 1,
            writable: !(alone && self.rules.quorum_required),
            paused: before
                .as_ref()
                .and_then(|before| before.paused.filter(|yes| *yes))
                .map(|_| false),
        });
        let in_a_row =
            if stays && now < self.confirmed.1 + CALM { self.confirmed.0 + 1 } else { 0 };
        self.confirmed = (in_a_row, now);
        self.promotion.ended(!stays, now);
        self.doubt = None;
        self.refusal = None;
        self.alert_until = now;
        Some(Act::Publish(match (stays, alone) {
            (false, _) => Change::Moved { from: before.map(|before| before.at) },
            (true, true) => Change::ConfirmedAlone,
            (true, false) => Change::Confirmed,
        }))
    }

    fn notice(&mut self, why: String, now: Moment) {
        self.noticed.get_or_insert(Notice { at: now, why });
    }

    fn begin_doubt(&mut self, why: String, now: Moment) {
        self.notice(why.clone(), now);
        self.doubt = Some(Notice { at: now, why });
        self.pace = Pace::new(now);
        self.failed_at = None;
    }

    fn count_heard(&mut self, hearing: &Hearing<'_>, now: Moment) {
        let fresh = voices(hearing, now.saturating_sub(FRESH));
        self.count = Count::of(&fresh, hearing.configured);
        if !self.count.is_majority() {
            return;
        }
        let oldest_first = now.saturating_sub(FRESH);
        let mut asked: Vec<Moment> = hearing
            .heard
            .iter()
            .filter(|heard| heard.asked >= oldest_first && heard.voice.counts())
            .map(|heard| heard.asked)
            .collect();
        asked.sort_unstable_by(|a, b| b.cmp(a));
        let at = asked.get(self.count.majority() - 1).copied();
        self.majority_at = self.majority_at.max(at);
    }

    /// `quorum_required`: no writes without a majority for the grace; with one again, doubt.
    fn mind_the_quorum(&mut self, now: Moment) -> Option<Act> {
        if !self.rules.quorum_required {
            return None;
        }
        let absent = now.saturating_sub(self.majority_at.unwrap_or_default());
        let current = self.in_force.as_mut()?;
        if current.writable && absent > self.rules.quorum_grace {
            current.writable = false;
            return Some(Act::Publish(Change::ReadOnly));
        }
        if !current.writable && self.doubt.is_none() && absent <= FRESH && self.count.is_majority()
        {
            self.begin_doubt("a majority of the sentinels is back".to_owned(), now);
        }
        None
    }

    /// Another address of a newer epoch than the one in force: there is nothing to wait for.
    fn newer_choice(&self, hearing: &Hearing<'_>, now: Moment) -> Option<Choice> {
        let current = self.in_force.as_ref()?;
        let fresh = voices(hearing, now.saturating_sub(FRESH));
        let choice = verdict(&fresh, hearing.configured, Some(current.config_epoch)).ok()?;
        let is_newer = choice.config_epoch > current.config_epoch
            || (choice.unanimous && choice.config_epoch != current.config_epoch)
            || (choice.unanimous && self.doubt.is_none());
        (choice.address != current.address && is_newer).then_some(choice)
    }

    fn is_too_early(
        &self,
        choice: &Choice,
        doubt: &Notice,
        hearing: &Hearing<'_>,
        now: Moment,
    ) -> bool {
        let Some(current) = &self.in_force else { return false };
        if choice.address != current.address {
            return false;
        }
        let pause = match self.confirmed.0 {
            0 => Duration::ZERO,
            often => (AGAIN_FIRST * (1 << (often - 1).min(8))).min(AGAIN_MAX),
        };
        if now < self.confirmed.1 + pause {
            return true;
        }
        let begun = self.noticed.as_ref().map_or(doubt.at, |noticed| noticed.at);
        (choice.failing_over && now < begun + WAIT_FOR_FAILOVER)
            || (hearing.complete_since < doubt.at && now < doubt.at + WAIT_FOR_ALL)
    }

    fn look_at(&mut self, address: Address, config_epoch: u64, now: Moment) -> Option<Act> {
        self.look(address, Purpose::Verify { config_epoch }, now)
    }

    fn look_alone(&mut self, now: Moment) -> Option<Act> {
        let doubt = self.doubt.as_ref()?;
        let absent = now.saturating_sub(self.majority_at.unwrap_or_default());
        if now < doubt.at + ROLE_ALONE_AFTER || absent < ROLE_ALONE_AFTER {
            return None;
        }
        match self.refusal {
            Some(Refusal::Unreachable | Refusal::TooFew { .. }) => {
                let address = self.in_force.as_ref()?.address.clone();
                self.look(address, Purpose::RoleAlone, now)
            }
            _ => None,
        }
    }

    fn routine_look(&mut self, now: Moment) -> Option<Act> {
        if now < self.looked_at + LOOK_EVERY {
            return None;
        }
        let address = self.in_force.as_ref()?.address.clone();
        self.look(address, Purpose::Routine, now)
    }

    /// One look at a time, unless another address is meant; after some that failed, with growing
    /// pauses.
    fn look(&mut self, address: Address, purpose: Purpose, now: Moment) -> Option<Act> {
        if self.look.as_ref().is_some_and(|look| look.address == address) {
            return None;
        }
        let pause = match self.looks_failed {
            0 => Duration::ZERO,
            failed => (LOOK_AGAIN_FIRST * (1 << (failed - 1).min(8))).min(LOOK_AGAIN_MAX),
        };
        // The pause is for the address that failed, not for the one that takes its place.
        if self.failed_at.as_ref() == Some(&address) && now < self.looked_at + pause {
            return None;
        }
        let wanted = self.in_force.as_ref().map(|current| current.at);
        self.looks += 1;
        let number = self.looks;
        self.look = Some(Look { number, address: address.clone(), begun: now, purpose });
        Some(Act::Look { number, address, wanted })
    }
}

#[cfg(test)]
#[path = "master_tests.rs"]
mod tests;
