//! What must hold before a step is taken: the guards of every step, in one table.
//!
//! Invariants: a guard only looks; the first one that does not hold is told (`refused.rs`), with what
//! would satisfy it. All that a person writes into an entry is bounded, in size and in number, so an
//! entry cannot grow without end.

use std::time::Duration;

use super::refused::Refused;
use super::step::{FiveItems, HazardCommand, HazardStep, had_a_hand_in, same_person};
use super::{Class, EvidencePart, Hazard, Owed, Stand};
use crate::config::HazardRules;
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

/// What the guards look at.
pub(super) struct Moment<'a> {
    pub(super) now: Timestamp,
    pub(super) stand: &'a Stand,
    pub(super) rules: &'a HazardRules,
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
    /// Seen to be normal for long enough; with a reason for each alarm that nobody measures.
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
        return Err(Refused::NoName);
    }
    bounded(command)?;
    if let Some(from) = command.step.from()
        && hazard.state != from
    {
        return Err(Refused::State {
            state: hazard.state,
            step: command.step.word().into(),
            from,
        });
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
                need_other(second, &command.by, "second")
            }
            (Self::Approved, HazardStep::Extend { approved_by, .. }) => {
                need_other(approved_by, &command.by, "approved_by")
            }
            (Self::Extension, HazardStep::Extend { until, .. }) => {
                extension(hazard, moment.now, *until)
            }
            (Self::FiveItems, HazardStep::Notice { five_items, .. }) => need_items(five_items),
            (Self::NoticeDeadline, HazardStep::Notice { deadline, .. }) => {
                notice_deadline(hazard, moment.now, *deadline)
            }
            (Self::TrendFiled, _) if !hazard.evidence.contains_key(&EvidencePart::Before) => {
                Err(Refused::NoTrend)
            }
            (Self::NotFiled, HazardStep::FileEvidence { part, .. })
                if hazard.evidence.contains_key(part) =>
            {
                Err(Refused::AlreadyFiled)
            }
            (Self::General, _) if hazard.class == Class::Major => Err(Refused::Major),
            (Self::Reviewer, _) if had_a_hand_in(hazard, &command.by) => Err(Refused::HadAHand {
                by: command.by.trim().into(),
            }),
            (Self::RechecksLeft, _) if hazard.failed_rechecks >= RECHECKS_MAX => {
                Err(Refused::Rechecked { max: RECHECKS_MAX })
            }
            (Self::NotActive | Self::Answered, _) => answered(self, moment.stand),
            (Self::Normal, _) => need_normal(hazard, moment, command),
            (Self::Supervisable, _) => supervisable(hazard),
            // What is not refused above holds, and no step has the guard of another.
            _ => Ok(()),
        }
    }
}

/// No text is longer than may be kept. The evidence is the system's own, bounded where it is made.
fn bounded(command: &HazardCommand) -> Result<(), Refused> {
    let size = |field: &str, text: &str, max: usize| {
        let letters = text.chars().count();
        if letters <= max {
            return Ok(());
        }
        Err(Refused::TooLong {
            field: field.into(),
            letters,
            max,
        })
    };
    size("by", &command.by, NAME_MAX)?;
    size("comment", &command.comment, TEXT_MAX)?;
    match &command.step {
        HazardStep::Reject { second } => size("second", second, NAME_MAX),
        HazardStep::Extend { approved_by, .. } => size("approved_by", approved_by, NAME_MAX),
        HazardStep::Notice { five_items, .. } => {
            let mut items = five_items.named().into_iter();
            items.try_for_each(|(item, name)| size(name, item, TEXT_MAX))
        }
        _ => Ok(()),
    }
}

fn need_comment(command: &HazardCommand, what: &str) -> Result<(), Refused> {
    if command.comment.trim().is_empty() {
        return Err(Refused::NoComment {
            step: command.step.word().into(),
            what: what.into(),
        });
    }
    Ok(())
}

fn need_other(other: &str, by: &str, field: &str) -> Result<(), Refused> {
    if other.trim().is_empty() || same_person(other, by) || same_person(other, "system") {
        return Err(Refused::SamePerson {
            field: field.into(),
            by: by.trim().into(),
        });
    }
    Ok(())
}

fn need_items(items: &FiveItems) -> Result<(), Refused> {
    let empty = items.named().into_iter();
    let empty = empty.filter(|(item, _)| item.trim().is_empty());
    let missing: Vec<String> = empty.map(|(_, name)| name.into()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Refused::FiveItems { missing })
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
        return Err(Refused::Deadline {
            asked_ms: asked,
            latest_ms: latest,
        });
    }
    Ok(())
}

fn extension(hazard: &Hazard, now: Timestamp, until: Timestamp) -> Result<(), Refused> {
    if now >= hazard.deadline {
        return Err(Refused::DeadlinePassed {
            deadline_ms: hazard.deadline,
        });
    }
    if hazard.extensions >= EXTENSIONS_MAX {
        return Err(Refused::Extended {
            max: EXTENSIONS_MAX,
        });
    }
    let latest = now + EXTENSION_MAX;
    if until <= hazard.deadline || until > latest {
        return Err(Refused::Extension {
            asked_ms: until,
            after_ms: hazard.deadline,
            latest_ms: latest,
        });
    }
    Ok(())
}

fn answered(guard: Guard, stand: &Stand) -> Result<(), Refused> {
    let Some((owed, alarm)) = stand.owed.clone() else {
        return Ok(());
    };
    match owed {
        Owed::ReturnToNormal => Err(Refused::AlarmActive { alarm }),
        _ if guard == Guard::NotActive => Ok(()),
        Owed::Acknowledgement => Err(Refused::AlarmOwed { alarm }),
        Owed::Reset => Err(Refused::AlarmLatched { alarm }),
    }
}

fn need_normal(
    hazard: &Hazard,
    moment: &Moment<'_>,
    command: &HazardCommand,
) -> Result<(), Refused> {
    let wait = moment.rules.normal_before_close;
    let hours = wait.as_secs() / 3600;
    let gone = &moment.stand.gone;
    if let Some(alarm) = gone.first().filter(|_| command.comment.trim().is_empty()) {
        return Err(Refused::NotMeasured {
            alarm: alarm.clone(),
        });
    }
    if gone.len() == hazard.alarms.len() {
        return Ok(());
    }
    match hazard.seen_normal_since(moment.stand) {
        Some(since) if moment.now >= since + wait => Ok(()),
        Some(since) => Err(Refused::NormalTooShort {
            since_ms: since,
            until_ms: since + wait,
        }),
        None if moment.stand.seen_since.is_none() => Err(Refused::Unseen { hours }),
        None => Err(Refused::NotNormal { hours }),
    }
}

fn supervisable(hazard: &Hazard) -> Result<(), Refused> {
    if !hazard.state.is_open() || hazard.class != Class::Major {
        return Err(Refused::NotSupervisable);
    }
    if hazard.supervised {
        return Err(Refused::Supervised);
    }
    Ok(())
}
