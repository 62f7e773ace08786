//! Every step in every state, with everything in order and with one thing amiss at a time.

use std::fmt::Write;

use super::*;
use crate::hazard::guard::{Moment, check};
use crate::hazard::step::carry_out;

const STATES: [HazardState; 6] = [
    HazardState::Found,
    HazardState::Registered,
    HazardState::Rectifying,
    HazardState::Submitted,
    HazardState::Closed,
    HazardState::Rejected,
];

const NOW: Timestamp = Timestamp(100 * HOUR);

/// An entry in a state, a step and what is known, all in order.
#[derive(Clone)]
struct Case {
    hazard: Hazard,
    stand: Stand,
    command: HazardCommand,
}

fn steps() -> Vec<HazardStep> {
    let content = Box::default();
    vec![
        HazardStep::Verify {
            class: Class::General,
        },
        HazardStep::Reject {
            second: "qian".into(),
        },
        notice(110),
        HazardStep::FixOnTheSpot,
        HazardStep::Extend {
            until: Timestamp(200 * HOUR),
            approved_by: "qian".into(),
        },
        HazardStep::Submit,
        HazardStep::FailRecheck,
        HazardStep::PassRecheck,
        HazardStep::Supervise,
        HazardStep::FileEvidence {
            part: EvidencePart::After,
            content,
        },
    ]
}

fn case(state: HazardState, step: HazardStep) -> Case {
    let mut book = Book::default();
    book.raise(50, 1, judged("g.gas2", Rule::LevelTwo, Duration::ZERO, 0));
    let mut hazard = book.ledger.hazards().next().cloned().unwrap();
    hazard.state = state;
    hazard.deadline = Timestamp(120 * HOUR);
    hazard.active_alarms.clear();
    hazard.normal_since = Some(Timestamp(60 * HOUR));
    hazard.evidence.insert(EvidencePart::Before, 1);
    if step == HazardStep::Supervise {
        hazard.class = Class::Major;
    }
    for (by, event) in [("chen", "verify"), ("wang", "submit")] {
        hazard.story.push(StoryLine {
            at: NOW,
            by: by.into(),
            event: event.into(),
            comment: String::new(),
        });
    }
    Case {
        hazard,
        stand: ANSWERED,
        command: HazardCommand {
            hazard: 1,
            by: "li".into(),
            comment: "done".into(),
            step,
        },
    }
}

type Amiss = (&'static str, fn(&mut Case));

/// One thing amiss.
const AMISS: [Amiss; 27] = [
    ("nobody", |case| case.command.by = " ".into()),
    ("name too long", |case| {
        case.command.by = "x".repeat(NAME_MAX + 1);
    }),
    ("comment too long", |case| {
        case.command.comment = "x".repeat(TEXT_MAX + 1);
    }),
    ("no comment", |case| case.command.comment = " ".into()),
    ("by the verifier", |case| case.command.by = " Chen".into()),
    ("by the rectifier", |case| case.command.by = "wang".into()),
    ("by the finder", |case| case.command.by = "system".into()),
    ("by the other person", |case| {
        case.command.by = "QIAN ".into();
    }),
    ("other person unnamed", |case| other(case, "")),
    ("other person system", |case| other(case, "system")),
    ("other person too long", |case| {
        other(case, &"x".repeat(NAME_MAX + 1));
    }),
    ("no trend", |case| case.hazard.evidence.clear()),
    ("trend filed", |case| {
        case.hazard.evidence.insert(EvidencePart::After, 2);
    }),
    ("major", |case| case.hazard.class = Class::Major),
    ("general", |case| case.hazard.class = Class::General),
    ("supervised", |case| case.hazard.supervised = true),
    ("an item is empty", |case| item(case, " ")),
    ("an item is too long", |case| {
        item(case, &"x".repeat(TEXT_MAX + 1));
    }),
    ("deadline passed", |case| {
        case.hazard.deadline = Timestamp(80 * HOUR);
    }),
    ("asked for the past", |case| asks(case, NOW)),
    ("asked for too late", |case| {
        asks(case, Timestamp(20_000 * HOUR));
    }),
    ("extended too often", |case| {
        case.hazard.extensions = EXTENSIONS_MAX;
    }),
    ("failed too often", |case| {
        case.hazard.failed_rechecks = RECHECKS_MAX;
    }),
    ("active", |case| owed(case, Owed::ReturnToNormal)),
    ("not acknowledged", |case| owed(case, Owed::Acknowledgement)),
    ("not reset", |case| owed(case, Owed::Reset)),
    ("point not seen", |case| case.stand.seen_since = None),
];

/// More of them, about the time that it is normal.
const AMISS_OF_TIME: [Amiss; 4] = [
    ("seen since just now", |case| {
        case.stand.seen_since = Some(Timestamp(NOW.0 - 1));
    }),
    ("normal since just now", |case| {
        case.hazard.normal_since = Some(Timestamp(NOW.0 - 1));
    }),
    ("not normal", |case| case.hazard.normal_since = None),
    ("not configured, no comment", |case| {
        case.stand.gone = vec!["g.gas2".into()];
        case.command.comment.clear();
    }),
];

fn other(case: &mut Case, name: &str) {
    match &mut case.command.step {
        HazardStep::Reject { second: other }
        | HazardStep::Extend {
            approved_by: other, ..
        } => name.clone_into(other),
        _ => {}
    }
}

fn item(case: &mut Case, text: &str) {
    if let HazardStep::Notice { five_items, .. } = &mut case.command.step {
        text.clone_into(&mut five_items.contingency_plan);
    }
}

fn asks(case: &mut Case, at: Timestamp) {
    match &mut case.command.step {
        HazardStep::Notice {
            deadline: asked, ..
        }
        | HazardStep::Extend { until: asked, .. } => {
            *asked = at;
        }
        _ => {}
    }
}

fn owed(case: &mut Case, what: Owed) {
    case.stand.owed = Some((what, "g.gas2".into()));
}

fn answer(case: &Case) -> Result<Hazard, Refused> {
    let rules = rules(DAY);
    let moment = Moment {
        now: NOW,
        stand: &case.stand,
        rules: &rules,
    };
    check(&case.hazard, &moment, &case.command)?;
    let mut after = case.hazard.clone();
    carry_out(&mut after, 7, &case.command, &rules);
    Ok(after)
}

#[test]
fn every_step_in_every_state_with_every_guard() {
    let mut table = String::new();
    for state in STATES {
        for step in steps() {
            let whole = case(state, step.clone());
            let allowed = Ledger::allowed(state).contains(&step.word());
            let Ok(after) = answer(&whole) else {
                assert!(!allowed, "{} in {state:?}", step.word());
                continue;
            };
            let evidence = matches!(step, HazardStep::FileEvidence { .. });
            assert!(allowed || evidence, "{} in {state:?}", step.word());
            let to = after.state;
            writeln!(table, "{state:?}: {} -> {to:?}", step.word()).unwrap();
            for (name, spoil) in AMISS.iter().chain(&AMISS_OF_TIME) {
                let mut amiss = whole.clone();
                spoil(&mut amiss);
                if let Err(refused) = answer(&amiss) {
                    writeln!(table, "    {name}: {refused}").unwrap();
                }
            }
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn what_is_not_measured_any_more_is_closed_with_a_reason() {
    let mut case = case(HazardState::Submitted, HazardStep::PassRecheck);
    case.stand.gone = vec!["g.gas2".into()];
    case.hazard.normal_since = None;
    assert!(answer(&case).is_ok_and(|after| after.state == HazardState::Closed));
    // While another of its alarms is measured, that one is waited for.
    case.hazard.alarms.insert("g.hh".into());
    assert!(answer(&case).is_err());
    case.hazard.normal_since = Some(Timestamp(NOW.0 - 1));
    assert!(answer(&case).is_err_and(|refused| refused.to_string().contains("only since")));
    case.hazard.normal_since = Some(Timestamp(60 * HOUR));
    assert!(answer(&case).is_ok());
}

#[test]
fn so_many_failed_rechecks_supervise_as_the_rules_say() {
    for (supervise_after, supervised) in [(1, true), (2, true), (3, false)] {
        let mut case = case(HazardState::Submitted, HazardStep::FailRecheck);
        case.hazard.failed_rechecks = 1;
        let rules = HazardRules {
            supervise_after,
            ..rules(DAY)
        };
        carry_out(&mut case.hazard, 7, &case.command, &rules);
        assert_eq!(case.hazard.supervised, supervised, "{supervise_after}");
    }
}
