//! What the sentinels' answers about one master amount to: an address, or why there is none.
//!
//! Pure. The rule: a majority of the known sentinels has answered, and of the answers that with the
//! highest config-epoch counts (an epoch is given once for each failover, so a minority with the
//! newer one is right). What can not be an address is refused, a sentinel in tilt is not believed.

use std::fmt;
use std::net::IpAddr;

/// Where a sentinel says that something is; the host may be a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::control) struct Address {
    pub(in crate::control) host: String,
    pub(in crate::control) port: u16,
}

/// What one sentinel says of one master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It does not know this name.
    Unknown,
    Known(Said),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) address: Address,
    pub(super) config_epoch: u64,
    /// A failover of it is under way at this sentinel.
    pub(super) failing_over: bool,
    /// Other sentinels that it knows for this master.
    pub(super) other_sentinels: usize,
    pub(super) quorum: usize,
    pub(super) down_after_ms: u64,
}

/// One sentinel's fresh answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voice<'a> {
    pub(super) word: &'a Word,
    pub(super) tilt: bool,
}

impl Voice<'_> {
    /// It knows the master, and is to be believed.
    pub(super) fn counts(&self) -> bool {
        !self.tilt && *self.word != Word::Unknown
    }
}

/// The address that the sentinels stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) address: Address,
    pub(super) config_epoch: u64,
    /// A failover is under way, and this is the address of before.
    pub(super) failing_over: bool,
    /// Every sentinel that is known has answered.
    pub(super) unanimous: bool,
}

/// Why there is no choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not one has answered.
    Unreachable,
    /// All that answered do not know the name.
    UnknownMaster,
    TooFew {
        answered: usize,
        known: usize,
    },
    /// The newest answer has no address yet.
    Placeholder(Address),
    /// The newest answers differ, half to half.
    Disagreement(Address, Address),
    /// A sentinel in tilt knows of a newer epoch.
    Tilt,
    /// Not all have answered, and those that did are behind what was published.
    Older {
        said: u64,
        published: u64,
    },
}

/// How many there are, and how many of them have answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) known: usize,
    pub(super) answered: usize,
    pub(super) tilted: usize,
}

impl Count {
    /// `configured`: sentinels that the configuration lists. Those that say that they do not know
    /// the master do not count for it; those that the others know, do.
    pub(super) fn of(voices: &[Voice<'_>], configured: usize) -> Count {
        let unknowing = voices.iter().filter(|voice| *voice.word == Word::Unknown).count();
        let said = || {
            voices.iter().filter_map(|voice| match voice.word {
                Word::Known(said) => Some((said, voice.tilt)),
                Word::Unknown => None,
            })
        };
        let named = said().map(|(said, _)| said.other_sentinels + 1).max().unwrap_or(0);
        let answered = said().filter(|(_, tilt)| !tilt).count();
        let tilted = said().filter(|(_, tilt)| *tilt).count();
        let known = configured.saturating_sub(unknowing).max(named).max(answered + tilted);
        Count { known, answered, tilted }
    }

    pub(super) fn majority(&self) -> usize {
        self.known / 2 + 1
    }

    pub(super) fn is_majority(&self) -> bool {
        self.known > 0 && self.answered >= self.majority()
    }
}

/// See the module. `published`: the config-epoch of the address in force.
pub(super) fn verdict(
    voices: &[Voice<'_>],
    configured: usize,
    published: Option<u64>,
) -> Result<Choice, Refusal> {
    if voices.is_empty() {
        return Err(Refusal::Unreachable);
    }
    if voices.iter().all(|voice| *voice.word == Word::Unknown) {
        return Err(Refusal::UnknownMaster);
    }
    let count = Count::of(voices, configured);
    if !count.is_majority() {
        return Err(Refusal::TooFew { answered: count.answered, known: count.known });
    }
    let said = |tilted: bool| {
        let voices = voices.iter().filter(move |voice| voice.tilt == tilted);
        voices.filter_map(|voice| match voice.word {
            Word::Known(said) => Some(said),
            Word::Unknown => None,
        })
    };
    let newest = said(false).map(|said| said.config_epoch).max().unwrap_or(0);
    if said(true).any(|said| said.config_epoch > newest) {
        return Err(Refusal::Tilt);
    }
    let unanimous = count.answered == count.known;
    if let Some(published) = published.filter(|published| newest < *published && !unanimous) {
        return Err(Refusal::Older { said: newest, published });
    }
    let address = most_named(said(false).filter(|said| said.config_epoch == newest))?;
    let failing_over = said(false).any(|said| said.failing_over)
        && said(false).all(|said| said.address == address);
    Ok(Choice { address, config_epoch: newest, failing_over, unanimous })
}

/// The usable address that most name.
fn most_named<'a>(said: impl Iterator<Item = &'a Said>) -> Result<Address, Refusal> {
    let (mut counts, mut unusable): (Vec<(&Address, usize)>, Option<&Address>) = (Vec::new(), None);
    for said in said {
        if !said.address.is_usable() {
            unusable = Some(&said.address);
        } else if let Some(count) = counts.iter_mut().find(|(known, _)| **known == said.address) {
            count.1 += 1;
        } else {
            counts.push((&said.address, 1));
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    match counts.as_slice() {
        [(first, most), (second, as_many), ..] if most == as_many => {
            Err(Refusal::Disagreement((*first).clone(), (*second).clone()))
        }
        [(first, _), ..] => Ok((*first).clone()),
        [] => {
            let unusable = unusable.cloned();
            Err(Refusal::Placeholder(unusable.unwrap_or(Address { host: String::new(), port: 0 })))
        }
    }
}

impl Address {
    /// A sentinel that has just begun, or can not resolve a name, gives a placeholder; connecting
    /// to it would reach this host itself.
    pub(super) fn is_usable(&self) -> bool {
        let unspecified = self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
        let plain = !self.host.chars().any(|c| c.is_whitespace() || c.is_control());
        !self.host.is_empty() && self.port != 0 && !unspecified && plain
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unreachable => f.write_str("all sentinels are out of reach"),
            Refusal::UnknownMaster => {
                f.write_str("the sentinels do not know a master of this name")
            }
            Refusal::TooFew { answered, known } => {
                write!(f, "{answered} of {known} sentinels have answered, no majority")
            }
            Refusal::Placeholder(address) => {
                write!(f, "the sentinels have no address for it yet ({address})")
            }
            Refusal::Disagreement(one, other) => {
                write!(f, "the sentinels disagree: {one} or {other}")
            }
            Refusal::Tilt => f.write_str("the sentinel with the newest epoch is in tilt"),
            Refusal::Older { said, published } => {
                write!(
                    f,
                    "the sentinels answer with epoch {said}, epoch {published} was seen already"
                )
            }
        }
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
