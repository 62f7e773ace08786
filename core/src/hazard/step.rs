//! The steps that people take with an entry, each with its guards.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Class, EvidencePart, Hazard, HazardState};
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
        /// Until when; not later than the class allows.
        deadline: Timestamp,
    },
    /// Registered → submitted: fixed on the spot. General hazards only.
    FixOnTheSpot,
    /// Rectifying → rectifying: more time.
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
    /// Submitted → closed: the re-check passed.
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
    /// The first item that is empty.
    fn missing(&self) -> Option<&'static str> {
        [
            (&self.responsibility, "responsibility (责任)"),
            (&self.measures, "measures (措施)"),
            (&self.funds, "funds (资金)"),
            (&self.time_limit, "time limit (时限)"),
            (&self.contingency_plan, "contingency plan (预案)"),
        ]
        .into_iter()
        .find(|(item, _)| item.trim().is_empty())
        .map(|(_, name)| name)
    }
}

/// A step was refused: which guard, and what would satisfy it. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The guard that forbids it.
    pub guard: String,
    /// What would satisfy it.
    pub satisfied_by: String,
}

fn refuse<T>(guard: impl Into<String>, satisfied_by: impl Into<String>) -> Result<T, Refused> {
    Err(Refused {
        guard: guard.into(),
        satisfied_by: satisfied_by.into(),
    })
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

    /// The state in which it may be taken; none when any open state will do.
    fn from(&self) -> Option<HazardState> {
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

/// Takes the step on `hazard`, or says which guard forbids it. `number` is the step's entry in
/// the journal.
pub(super) fn take(
    hazard: &mut Hazard,
    now: Timestamp,
    number: u64,
    command: &HazardCommand,
    normal_before_close: Duration,
) -> Result<(), Refused> {
    let by = command.by.trim();
    if by.is_empty() {
        return refuse("every step names who takes it", "a name in `by`");
    }
    if let Some(from) = command.step.from()
        && hazard.state != from
    {
        return refuse(
            format!("the entry is {:?}", hazard.state),
            format!("`{}` is a step from {from:?}", command.step.word()),
        );
    }
    match &command.step {
        HazardStep::Verify { class } => verify(hazard, *class),
        HazardStep::Reject { second } => {
            need_comment(command, "a reason")?;
            need_other(second, by, "the second person")?;
            hazard.state = HazardState::Rejected;
            Ok(())
        }
        HazardStep::Notice {
            five_items,
            deadline,
        } => notice(hazard, now, five_items, *deadline),
        HazardStep::FixOnTheSpot if hazard.class == Class::Major => refuse(
            "a major hazard is not fixed on the spot",
            "a notice with the five items",
        ),
        HazardStep::FixOnTheSpot | HazardStep::Submit => {
            need_comment(command, "what was done")?;
            hazard.rectified_by = Some(by.to_owned());
            hazard.state = HazardState::Submitted;
            Ok(())
        }
        HazardStep::Extend { until, approved_by } => {
            need_other(approved_by, by, "the one who approves")?;
            extend(hazard, now, *until)
        }
        HazardStep::FailRecheck => {
            need_reviewer(hazard, by)?;
            need_comment(command, "what is still wrong")?;
            hazard.failed_rechecks += 1;
            hazard.supervised |= hazard.failed_rechecks >= 2;
            hazard.state = HazardState::Rectifying;
            Ok(())
        }
        HazardStep::PassRecheck => {
            need_reviewer(hazard, by)?;
            need_normal(hazard, now, normal_before_close)?;
            hazard.state = HazardState::Closed;
            Ok(())
        }
        HazardStep::Supervise if !hazard.state.is_open() || hazard.class != Class::Major => refuse(
            "only an open major hazard is supervised",
            "class major, not closed",
        ),
        HazardStep::Supervise => {
            hazard.supervised = true;
            Ok(())
        }
        HazardStep::FileEvidence { part, .. } if hazard.evidence.contains_key(part) => refuse(
            "this half of the evidence is frozen",
            "nothing: it is never written again",
        ),
        HazardStep::FileEvidence { part, .. } => {
            hazard.evidence.insert(*part, number);
            Ok(())
        }
    }
}

fn verify(hazard: &mut Hazard, class: Class) -> Result<(), Refused> {
    if !hazard.evidence.contains_key(&EvidencePart::Before) {
        return refuse(
            "no trend is attached yet",
            "the frozen trend; it is filed within seconds",
        );
    }
    hazard.class = class;
    hazard.state = HazardState::Registered;
    Ok(())
}

fn extend(hazard: &mut Hazard, now: Timestamp, until: Timestamp) -> Result<(), Refused> {
    if now >= hazard.deadline {
        return refuse(
            "the deadline has passed",
            "an extension asked before it expires",
        );
    }
    if until <= hazard.deadline {
        return refuse(
            "the new deadline is not later",
            "a time after the present deadline",
        );
    }
    hazard.deadline = until;
    Ok(())
}

fn notice(
    hazard: &mut Hazard,
    now: Timestamp,
    five_items: &FiveItems,
    deadline: Timestamp,
) -> Result<(), Refused> {
    if let Some(missing) = five_items.missing() {
        return refuse(
            format!("the five items (五落实) lack: {missing}"),
            "all five: responsibility, measures, funds, time limit, contingency plan",
        );
    }
    if deadline <= now || deadline > hazard.deadline {
        return refuse(
            format!("deadline {} is not allowed", deadline.0),
            format!("a time after now and up to {}", hazard.deadline.0),
        );
    }
    hazard.five_items = Some(five_items.clone());
    hazard.deadline = deadline;
    hazard.state = HazardState::Rectifying;
    Ok(())
}

fn need_comment(command: &HazardCommand, what: &str) -> Result<(), Refused> {
    if command.comment.trim().is_empty() {
        return refuse(format!("{what} is needed"), format!("{what} in `comment`"));
    }
    Ok(())
}

fn need_other(other: &str, by: &str, role: &str) -> Result<(), Refused> {
    let other = other.trim();
    if other.is_empty() || other == by {
        return refuse(
            format!("{role} must be another person"),
            format!("a name other than `{by}`"),
        );
    }
    Ok(())
}

/// Reviewer ≠ finder ≠ rectifier.
fn need_reviewer(hazard: &Hazard, by: &str) -> Result<(), Refused> {
    let did = hazard.rectified_by.as_deref() == Some(by) || hazard.origin.found_by == by;
    let verified = hazard
        .story
        .iter()
        .any(|line| line.event == "verify" && line.by == by);
    if did || verified {
        return refuse(
            format!("`{by}` found, verified or rectified it"),
            "a re-check by a person who did none of these",
        );
    }
    Ok(())
}

fn need_normal(hazard: &Hazard, now: Timestamp, wait: Duration) -> Result<(), Refused> {
    match hazard.normal_since {
        Some(since) if now >= since + wait => Ok(()),
        Some(since) => refuse(
            format!("its alarm is normal only since {}", since.0),
            format!("normal without a break until {}", (since + wait).0),
        ),
        None => refuse(
            "its alarm has not returned to normal",
            format!("normal without a break for {} h", wait.as_secs() / 3600),
        ),
    }
}
