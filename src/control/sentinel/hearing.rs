//! What the sentinels have said of one master, and when they were asked.

use super::master::Moment;
use super::verdict::{Said, Voice, Word};

/// A fresh answer about this master, with the moment of its question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard<'a> {
    pub(super) asked: Moment,
    pub(super) voice: Voice<'a>,
}

impl Heard<'_> {
    /// What it said, if it knows the master.
    pub(super) fn said(&self) -> Option<&Said> {
        match self.voice.word {
            Word::Known(said) => Some(said),
            Word::Unknown => None,
        }
    }
}

/// What is known of the sentinels in general.
#[derive(Clone, Debug)]
pub(super) struct Hearing<'a> {
    pub(super) heard: Vec<Heard<'a>>,
    /// Sentinels that the configuration lists, each once.
    pub(super) configured: usize,
    /// The last moment for which no sentinel that can be reached owes an answer.
    pub(super) complete_since: Moment,
}

/// What was asked since then.
pub(super) fn voices<'a>(hearing: &Hearing<'a>, since: Moment) -> Vec<Voice<'a>> {
    hearing.heard.iter().filter(|heard| heard.asked >= since).map(|heard| heard.voice).collect()
}
