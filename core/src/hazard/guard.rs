//! What must hold before a step is taken: the guards of every step, in one table.
//!
//! Invariants: a guard only looks; the first one that does not hold is told, with what would
//! satisfy it. All that a person writes into an entry is bounded, in size and in number, so an
//! entry cannot grow without end.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::step::{HazardCommand, HazardStep, had_a_hand_in, same_person};
use super::{Class, EvidencePart, Hazard, Owed, Stand};
use crate::reading::Timestamp;

/// Letters of a name (Davy's own figure, as are the others without a source).
pub const NAME_MAX: usize = 100;

/// Letters of a comment, and of each of the five items.
pub const TEXT_MAX: usize = 2_000;

/// Extensions of one entry.
pub const EXTENSIONS_MAX: u32 = 10;

/// How far from now a deadline may be extended: a local limit for supervised hazards is a year
/// (挂牌督办, one county's rules).
pub const EXTENSION_MAX: Duration = Duration::from_hours(366 * 24);

/// Failed re-checks of one entry.
pub const RECHECKS_MAX: u32 = 100;

/// The least time that a notice may give once the deadline of the class has passed.
const OVERDUE_NOTICE_MIN: Duration = Duration::from_hours(24);

/// A step was refused: which guard, and what would satisfy it. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The guard that forbids it.
    pub guard: String,
    /// What would satisfy it.
    pub satisfied_by: String,
}

/// What the guards look at.
pub(super) struct Moment<'a> {
    pub(super) now: Timestamp,
    pub(super) stand: &'a Stand,
    pub(super) normal_before_close: Duration,
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    /// The comment says this.
    Comment(&'static str),
    /// Another person is named.
    Second,
    /// One level up is named.
    Approved,
    /// The trend is frozen.
    TrendFiled,
    /// Not frozen yet.
    NotFiled,
    /// All five.
    FiveItems,
    /// Within what the class allows.
    NoticeDeadline,
    /// Class general.
    General,
    /// Before the deadline, to a later one, not too far and not too often.
    Extension,
    /// Finder ≠ rectifier ≠ reviewer.
    Reviewer,
    /// Not failed too often.
    RechecksLeft,
    /// None of its alarms is active.
    NotActive,
    /// None of its alarms is in the list: normal, acknowledged, reset.
    Answered,
    /// Seen to be normal for long enough.
    Normal,
    /// Open, major, not supervised yet.
    Supervisable,
}

/// The guards of a step, beside the state that it is taken from.
fn guards(step: &HazardStep) -> &'static [Guard] {
    use Guard::{
        Answered, Approved, Comment, Extension, FiveItems, General, Normal, NotActive, NotFiled,
        NoticeDeadline, RechecksLeft, Reviewer, Second, Supervisable, TrendFiled,
    };
    match step {
        HazardStep::Verify { .. } => &[TrendFiled],
        HazardStep::Reject { .. } => &[Comment("a reason"), Second, NotActive],
        HazardStep::Notice { .. } => &[FiveItems, NoticeDeadline],
        HazardStep::FixOnTheSpot => &[General, Comment("what was done")],
        HazardStep::Extend { .. } => &[Approved, Extension],
        HazardStep::Submit => &[Comment("what was done")],
        HazardStep::FailRecheck => &[Reviewer, Comment("what is still wrong"), RechecksLeft],
        HazardStep::PassRecheck => &[Reviewer, Answered, Normal],
        HazardStep::Supervise => &[Supervisable],
        HazardStep::FileEvidence { .. } => &[NotFiled],
    }
}

/// Whether the step may be taken, or which guard forbids it.
pub(super) fn check(
    hazard: &Hazard,
    moment: &Moment<'_>,
    command: &HazardCommand,
) -> Result<(), Refused> {
    if command.by.trim().is_empty() {
        return refuse("every step names who takes it", "a name in `by`");
    }
    bounded(command)?;
    if let Some(from) = command.step.from()
        && hazard.state != from
    {
        return refuse(
            format!("the entry is {:?}", hazard.state),
            format!("`{}` is a step from {from:?}", command.step.word()),
        );
    }
    let mut guards = guards(&command.step).iter();
    guards.try_for_each(|guard| guard.check(hazard, moment, command))
}

impl Guard {
    fn check(
        self,
        hazard: &Hazard,
        moment: &Moment<'_>,
        command: &HazardCommand,
    ) -> Result<(), Refused> {
        match (self, &command.step) {
            (Self::Comment(what), _) => need_comment(command, what),
            (Self::Second, HazardStep::Reject { second }) => {
                need_other(second, &command.by, "the second person")
            }
            (Self::Approved, HazardStep::Extend { approved_by, .. }) => {
                need_other(approved_by, &command.by, "the one who approves")
            }
            (Self::Extension, HazardStep::Extend { until, .. }) => {
                extension(hazard, moment.now, *until)
            }
            (Self::FiveItems, HazardStep::Notice { five_items, .. }) => {
                let empty = |(item, _): &(&str, &str)| item.trim().is_empty();
                match five_items.named().into_iter().find(empty) {
                    Some((_, missing)) => refuse(
                        format!("the five items (五落实) lack: {missing}"),
                        "all five: responsibility, measures, funds, time limit, contingency plan",
                    ),
                    None => Ok(()),
                }
            }
            (Self::NoticeDeadline, HazardStep::Notice { deadline, .. }) => {
                notice_deadline(hazard, moment.now, *deadline)
            }
            (Self::TrendFiled, _) if !hazard.evidence.contains_key(&EvidencePart::Before) => {
                refuse(
                    "no trend is attached yet",
                    "the frozen trend; it is filed within seconds",
                )
            }
            (Self::NotFiled, HazardStep::FileEvidence { part, .. })
                if hazard.evidence.contains_key(part) =>
            {
                refuse(
                    "this half of the evidence is frozen",
                    "nothing: it is never written again",
                )
            }
            (Self::General, _) if hazard.class == Class::Major => refuse(
                "a major hazard is not fixed on the spot",
                "a notice with the five items",
            ),
            (Self::Reviewer, _) if had_a_hand_in(hazard, &command.by) => refuse(
                format!("`{}` found, verified or rectified it", command.by.trim()),
                "a re-check by a person who did none of these",
            ),
            (Self::RechecksLeft, _) if hazard.failed_rechecks >= RECHECKS_MAX => refuse(
                format!("it has failed {RECHECKS_MAX} re-checks"),
                "a re-check that it passes",
            ),
            (Self::NotActive | Self::Answered, _) => answered(self, moment.stand),
            (Self::Normal, _) => need_normal(hazard, moment, command),
            (Self::Supervisable, _) => supervisable(hazard),
            // What is not refused above holds, and no step has the guard of another.
            _ => Ok(()),
        }
    }
}

fn refuse<T>(guard: impl Into<String>, satisfied_by: impl Into<String>) -> Result<T, Refused> {
    Err(Refused {
        guard: guard.into(),
        satisfied_by: satisfied_by.into(),
    })
}

/// No text is longer than may be kept. The evidence is the system's own, bounded where it is made.
fn bounded(command: &HazardCommand) -> Result<(), Refused> {
    let size = |what: &str, text: &str, max: usize| {
        let letters = text.chars().count();
        if letters <= max {
            return Ok(());
        }
        refuse(
            format!("{what} has {letters} letters"),
            format!("at most {max}"),
        )
    };
    size("the name in `by`", &command.by, NAME_MAX)?;
    size("the comment", &command.comment, TEXT_MAX)?;
    match &command.step {
        HazardStep::Reject { second: name }
        | HazardStep::Extend {
            approved_by: name, ..
        } => size("the other person's name", name, NAME_MAX),
        HazardStep::Notice { five_items, .. } => {
            let mut items = five_items.named().into_iter();
            items.try_for_each(|(item, name)| size(name, item, TEXT_MAX))
        }
        _ => Ok(()),
    }
}

fn need_comment(command: &HazardCommand, what: &str) -> Result<(), Refused> {
    if command.comment.trim().is_empty() {
        return refuse(format!("{what} is needed"), format!("{what} in `comment`"));
    }
    Ok(())
}

fn need_other(other: &str, by: &str, role: &str) -> Result<(), Refused> {
    if other.trim().is_empty() || same_person(other, by) || same_person(other, "system") {
        return refuse(
            format!("{role} must be another person"),
            format!("a name other than `{}`", by.trim()),
        );
    }
    Ok(())
}

/// A notice keeps to the deadline of the class. Once that has passed, what is overdue must still
/// be put right: the notice gives at most as long again, from now.
fn notice_deadline(hazard: &Hazard, now: Timestamp, asked: Timestamp) -> Result<(), Refused> {
    let latest = if now < hazard.deadline {
        hazard.deadline
    } else {
        let ms = hazard.deadline.ms_since(hazard.found_at);
        let of_class = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        now + of_class.max(OVERDUE_NOTICE_MIN)
    };
    if asked <= now || asked > latest {
        return refuse(
            format!("deadline {} is not allowed", asked.0),
            format!("a time after now and up to {}", latest.0),
        );
    }
    Ok(())
}

fn extension(hazard: &Hazard, now: Timestamp, until: Timestamp) -> Result<(), Refused> {
    if now >= hazard.deadline {
        return refuse(
            "the deadline has passed",
            "an extension asked before it expires",
        );
    }
    if hazard.extensions >= EXTENSIONS_MAX {
        return refuse(
            format!("it was extended {EXTENSIONS_MAX} times"),
            "nothing: it must be put right",
        );
    }
    let latest = now + EXTENSION_MAX;
    if until <= hazard.deadline || until > latest {
        return refuse(
            format!("the new deadline {} is not later, or too late", until.0),
            format!("a time after {} and up to {}", hazard.deadline.0, latest.0),
        );
    }
    Ok(())
}

fn answered(guard: Guard, stand: &Stand) -> Result<(), Refused> {
    match &stand.owed {
        Some((Owed::ReturnToNormal, alarm)) => refuse(
            format!("its alarm `{alarm}` has not returned to normal"),
            "the alarm normal, as a good reading says",
        ),
        _ if guard == Guard::NotActive => Ok(()),
        Some((Owed::Acknowledgement, alarm)) => refuse(
            format!("its alarm `{alarm}` is not acknowledged"),
            "an acknowledgement in the list of alarms",
        ),
        Some((Owed::Reset, alarm)) => refuse(
            format!("its alarm `{alarm}` is latched"),
            "a reset in the list of alarms",
        ),
        None => Ok(()),
    }
}

fn need_normal(
    hazard: &Hazard,
    moment: &Moment<'_>,
    command: &HazardCommand,
) -> Result<(), Refused> {
    let wait = moment.normal_before_close;
    let hours = wait.as_secs() / 3600;
    if let Some(alarm) = &moment.stand.gone {
        if command.comment.trim().is_empty() {
            return refuse(
                format!("its alarm `{alarm}` is no longer configured: nobody measures it"),
                "in `comment`, the reason why it can be closed all the same",
            );
        }
        return Ok(());
    }
    match hazard.seen_normal_since(moment.stand) {
        Some(since) if moment.now >= since + wait => Ok(()),
        Some(since) => refuse(
            format!("it is seen to be normal only since {}", since.0),
            format!("normal without a break until {}", (since + wait).0),
        ),
        None if moment.stand.seen_since.is_none() => refuse(
            "its point cannot be seen now: whether it is normal is unknown",
            format!("good readings, normal without a break for {hours} h"),
        ),
        None => refuse(
            "its alarm has not returned to normal",
            format!("normal without a break for {hours} h"),
        ),
    }
}

fn supervisable(hazard: &Hazard) -> Result<(), Refused> {
    if !hazard.state.is_open() || hazard.class != Class::Major {
        return refuse(
            "only an open major hazard is supervised",
            "class major, not closed",
        );
    }
    if hazard.supervised {
        return refuse(
            "it is supervised already",
            "nothing: it stays so until closed",
        );
    }
    Ok(())
}
