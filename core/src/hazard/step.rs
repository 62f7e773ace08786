//! The steps that people take with an entry: from which state, to which state.
//!
//! What else must hold before a step is taken stands in `guard.rs`.

use serde::{Deserialize, Serialize};

use super::{Class, EvidencePart, Hazard, HazardState};
use crate::config::HazardRules;
use crate::reading::Timestamp;

/// A person's (or the evidence follower's) step on one entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HazardCommand {
    /// Which entry.
    pub hazard: u64,
    /// Who takes the step.
    pub by: String,
    /// In words.
    #[serde(default)]
    pub comment: String,
    /// Which step.
    #[serde(flatten)]
    pub step: HazardStep,
}

/// The steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum HazardStep {
    /// Found → registered: it is real.
    Verify {
        /// General or major, judged by a person.
        class: Class,
    },
    /// Found → rejected: false, calibration or test.
    Reject {
        /// The second person who agrees.
        second: String,
    },
    /// Registered → rectifying: the notice (整改通知单) with the five items.
    Notice {
        /// All five are needed.
        five_items: FiveItems,
        /// Until when: not later than the class allows. Once the deadline of the class has
        /// passed, as long again from now; the entry stays overdue.
        deadline: Timestamp,
    },
    /// Registered → submitted: fixed on the spot. General hazards only.
    FixOnTheSpot,
    /// Rectifying → rectifying: more time, asked for before the deadline.
    Extend {
        /// Until when.
        until: Timestamp,
        /// Who approved it, one level up.
        approved_by: String,
    },
    /// Rectifying → submitted: put right, says who did it.
    Submit,
    /// Submitted → rectifying: the re-check failed.
    FailRecheck,
    /// Submitted → closed: the re-check passed. When an alarm of it is no longer configured, the
    /// comment says why it can be closed though nobody measures it.
    PassRecheck,
    /// Supervise by notice (挂牌督办).
    Supervise,
    /// Half of the trend is frozen. The system's own step, in any state.
    FileEvidence {
        /// Which half.
        part: EvidencePart,
        /// The half itself, as it is kept for good.
        content: Box<serde_json::Value>,
    },
}

/// The five items (五落实) that a notice fixes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FiveItems {
    /// 责任: who answers for it.
    pub responsibility: String,
    /// 措施: what is done.
    pub measures: String,
    /// 资金: what pays for it.
    pub funds: String,
    /// 时限: until when, in words.
    pub time_limit: String,
    /// 预案: what happens if it goes wrong meanwhile.
    pub contingency_plan: String,
}

impl FiveItems {
    /// Each item with its name in the step.
    pub(super) fn named(&self) -> [(&str, &'static str); 5] {
        [
            (self.responsibility.as_str(), "responsibility"),
            (self.measures.as_str(), "measures"),
            (self.funds.as_str(), "funds"),
            (self.time_limit.as_str(), "time_limit"),
            (self.contingency_plan.as_str(), "contingency_plan"),
        ]
    }
}

impl HazardStep {
    /// The word for it, in stories and in the interface.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Verify { .. } => "verify",
            Self::Reject { .. } => "reject",
            Self::Notice { .. } => "notice",
            Self::FixOnTheSpot => "fix_on_the_spot",
            Self::Extend { .. } => "extend",
            Self::Submit => "submit",
            Self::FailRecheck => "fail_recheck",
            Self::PassRecheck => "pass_recheck",
            Self::Supervise => "supervise",
            Self::FileEvidence { .. } => "file_evidence",
        }
    }

    /// The state in which it may be taken; none when its guards say so.
    pub(super) fn from(&self) -> Option<HazardState> {
        match self {
            Self::Verify { .. } | Self::Reject { .. } => Some(HazardState::Found),
            Self::Notice { .. } | Self::FixOnTheSpot => Some(HazardState::Registered),
            Self::Extend { .. } | Self::Submit => Some(HazardState::Rectifying),
            Self::FailRecheck | Self::PassRecheck => Some(HazardState::Submitted),
            Self::Supervise | Self::FileEvidence { .. } => None,
        }
    }
}

/// The words of the steps that an entry's state allows now, guards aside.
pub(super) fn allowed(state: HazardState) -> &'static [&'static str] {
    match state {
        HazardState::Found => &["verify", "reject", "supervise"],
        HazardState::Registered => &["notice", "fix_on_the_spot", "supervise"],
        HazardState::Rectifying => &["submit", "extend", "supervise"],
        HazardState::Submitted => &["pass_recheck", "fail_recheck", "supervise"],
        HazardState::Closed | HazardState::Rejected => &[],
    }
}

/// Carries out a step that its guards allow. `number` is the step's entry in the journal.
pub(super) fn carry_out(
    hazard: &mut Hazard,
    number: u64,
    command: &HazardCommand,
    rules: &HazardRules,
) {
    match &command.step {
        HazardStep::Verify { class } => {
            hazard.class = *class;
            hazard.state = HazardState::Registered;
        }
        HazardStep::Reject { .. } => hazard.state = HazardState::Rejected,
        HazardStep::Notice {
            five_items,
            deadline,
        } => {
            hazard.five_items = Some(five_items.clone());
            hazard.deadline = *deadline;
            hazard.deadline_missed = false;
            hazard.state = HazardState::Rectifying;
        }
        HazardStep::Extend { until, .. } => {
            hazard.extensions += 1;
            hazard.deadline = *until;
            hazard.deadline_missed = false;
        }
        HazardStep::FixOnTheSpot | HazardStep::Submit => {
            hazard.rectified_by = Some(command.by.trim().to_owned());
            hazard.state = HazardState::Submitted;
        }
        HazardStep::FailRecheck => {
            hazard.failed_rechecks += 1;
            hazard.supervised |= hazard.failed_rechecks >= rules.supervise_after;
            hazard.state = HazardState::Rectifying;
        }
        HazardStep::PassRecheck => hazard.state = HazardState::Closed,
        HazardStep::Supervise => hazard.supervised = true,
        HazardStep::FileEvidence { part, .. } => {
            hazard.evidence.insert(*part, number);
        }
    }
}

/// Whether a person has found, verified or rectified the entry.
pub(super) fn had_a_hand_in(hazard: &Hazard, by: &str) -> bool {
    let deeds = ["verify", "submit", "fix_on_the_spot"];
    let lines = hazard.story.iter();
    let did = lines.filter(|line| deeds.contains(&line.event.as_str()));
    did.map(|line| line.by.as_str())
        .chain([hazard.origin.found_by.as_str()])
        .any(|name| same_person(name, by))
}

/// Whether two names are of one person: blanks and case do not tell people apart.
pub(super) fn same_person(one: &str, other: &str) -> bool {
    let letters = |name: &str| name.split_whitespace().collect::<String>().to_lowercase();
    letters(one) == letters(other)
}
