//! The hidden-hazard ledger (隐患台账): 排查—建账—整改—复查—销号.
//!
//! An entry is raised from an alarm by a rule, or the same open entry takes another occurrence;
//! from there people follow it until it is put right. Every step has guards (`guard.rs`), a refused
//! step says which guard and what would satisfy it, and changes nothing. What lasts or spreads
//! becomes a candidate for a major hazard as long as nobody has judged it; after that its story says
//! so, and the class stays with the person.
//!
//! Invariants: an alarm has at most one open entry for one rule; only an operator's step moves an
//! entry, time only marks it overdue; an entry raised by an alarm closes only when its alarms are
//! answered and its subject was seen to be normal for long enough. What cannot be seen is unknown,
//! and never normal. For an alarm that is no longer configured a person gives a reason instead; the
//! others of the entry are waited for all the same.
//!
//! Limits: persons are known by the name under which they signed in. Of the second person of a
//! rejection and the one who approves an extension only the name is known.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::RaiseRule;
use crate::point::Text;
use crate::reading::Timestamp;

mod guard;
mod lasting;
mod ledger;
mod refused;
mod repeats;
mod step;

pub use guard::{EXTENSION_MAX, EXTENSIONS_MAX, NAME_MAX, RECHECKS_MAX, TEXT_MAX};
pub use lasting::Lasting;
pub use ledger::{Ledger, Occurred, Returned};
pub use refused::Refused;
pub use step::{FiveItems, HazardCommand, HazardStep};

/// One entry of the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hazard {
    /// Its number; grows and is never used again.
    pub id: u64,
    /// What it is about and how it was found.
    pub origin: Origin,
    /// By which rule it was raised.
    pub rule: Rule,
    /// Whether it is small and fixed at once, or major (重大隐患).
    pub class: Class,
    /// Where it stands.
    pub state: HazardState,
    /// A deadline of it has passed while it was open; stays so until it is closed.
    pub overdue: bool,
    /// The present deadline has passed, and that was told.
    pub deadline_missed: bool,
    /// Supervised by notice (挂牌督办).
    pub supervised: bool,
    /// When it was found, by the centre's clock.
    pub found_at: Timestamp,
    /// Until when it must be put right.
    pub deadline: Timestamp,
    /// Alarm occurrences that belong to it, oldest first; the first [`OCCURRENCES_MAX`] are named.
    pub occurrences: Vec<u64>,
    /// How many occurrences there were in all.
    pub occurrence_count: u64,
    /// The alarms that belong to it: the one that raised it, and those that joined it.
    pub alarms: BTreeSet<String>,
    /// Those of them that are active now.
    pub active_alarms: BTreeSet<String>,
    /// Since when none of those that are configured is active, less the time in which nobody
    /// watched; none while one is, and when nothing of it is configured any more. Whether the point was seen all that time is not in it: see
    /// [`Hazard::seen_normal_since`].
    pub normal_since: Option<Timestamp>,
    /// Who put it right, once somebody said so.
    pub rectified_by: Option<String>,
    /// The five items (五落实), once the notice was issued.
    pub five_items: Option<FiveItems>,
    /// How often a re-check failed.
    pub failed_rechecks: u32,
    /// How often its deadline was extended.
    pub extensions: u32,
    /// The closed entry that this one repeats.
    pub repeats: Option<u64>,
    /// Which halves of the evidence are filed, each with the journal entry that holds it.
    pub evidence: BTreeMap<EvidencePart, u64>,
    /// What happened to it, oldest first.
    pub story: Vec<StoryLine>,
}

impl Hazard {
    /// Since when what is still measured of it is normal, and was seen to be so without a break.
    pub fn seen_normal_since(&self, stand: &Stand) -> Option<Timestamp> {
        Some(self.normal_since?.max(stand.seen_since?))
    }
}

/// How the alarms of an entry stand at one moment, as the engine knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// What is owed for one of its alarms, the heaviest; none when none is in the alarm list.
    pub owed: Option<(Owed, String)>,
    /// Those of its alarms that are no longer configured: nobody measures whether they are normal.
    pub gone: Vec<String>,
    /// Centre's clock: since when the subjects of the others are all seen (a point while its
    /// readings are good, a unit or gateway while it is there); none while one is not.
    pub seen_since: Option<Timestamp>,
}

impl Stand {
    /// Of what is not there.
    pub const UNKNOWN: Self = Self {
        owed: None,
        gone: Vec::new(),
        seen_since: None,
    };
}

/// What is owed for an alarm in the list, the heaviest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owed {
    /// Its condition holds, as far as is known.
    ReturnToNormal,
    /// Nobody has acknowledged it.
    Acknowledgement,
    /// It is latched.
    Reset,
}

/// Occurrences that an entry names; later ones are only counted.
pub const OCCURRENCES_MAX: usize = 100;

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Name of the alarm.
    pub alarm: String,
    /// The point's tag, the unit or the gateway.
    pub subject: String,
    /// What the subject is called.
    pub title: Text,
    /// The source it belongs to.
    pub source: Option<String>,
    /// Who found it: `system` for an alarm.
    pub found_by: String,
}

/// The rules by which an alarm enters the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Level 2, HH, LL or a mine's cut was reached.
    LevelTwo,
    /// Level 1 lasted, or came back too often.
    LevelOne,
    /// The process could not be seen.
    LossOfView,
}

/// General or major.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// 一般隐患.
    General,
    /// 重大隐患. Raised by a rule it is a candidate, until a person has judged it.
    Major,
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HazardState {
    /// 排查: found, not yet judged.
    Found,
    /// 建账: real, class and deadline set.
    Registered,
    /// 整改: notice issued, being put right.
    Rectifying,
    /// 待复查: said to be right, waits for another person's look.
    Submitted,
    /// 销号.
    Closed,
    /// Not a hazard: false, calibration, test.
    Rejected,
}

impl HazardState {
    /// Whether somebody still owes something.
    pub fn is_open(self) -> bool {
        !matches!(self, Self::Closed | Self::Rejected)
    }
}

/// The two halves of the frozen trend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidencePart {
    /// Up to the moment it was found, with the limits and the rule.
    Before,
    /// After it, with what people did.
    After,
}

/// One line of an entry's story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoryLine {
    /// When, by the centre's clock.
    pub at: Timestamp,
    /// Who; `system` for time and rules.
    pub by: String,
    /// What: the word of the step.
    pub event: String,
    /// In words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

/// An entry was raised, moved or marked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HazardChange {
    /// What happened: the word of the step.
    pub event: String,
    /// Who did it.
    pub by: String,
    /// State before; none for a new entry.
    pub from: Option<HazardState>,
    /// The whole entry after it.
    pub hazard: Box<Hazard>,
}

/// What the ledger must know of an alarm to judge it by a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// What an entry would be about.
    pub origin: Origin,
    /// The rule that its kind falls under.
    pub rule: Rule,
    /// Figures of that rule.
    pub figures: RaiseRule,
    /// Class of an entry raised by it.
    pub class: Class,
    /// When it makes its entry a candidate for a major hazard, if it goes on.
    pub worsens: Option<Worsens>,
}

/// An occurrence that goes on makes its entry a candidate for a major hazard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worsens {
    /// How long it must last.
    pub after: Duration,
    /// How long there is from then on to put it right, if that is less than there was.
    pub deadline: Option<Duration>,
}

#[cfg(test)]
mod tests;
