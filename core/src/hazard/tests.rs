//! Stories of entries: raised, followed, refused, closed, back again.

mod major;
mod table;
mod twin;

use std::time::Duration;

use super::*;
use crate::config::RaiseRule;
use crate::config::{Config, HazardRules};

const HOUR: i64 = 3_600_000;
const DAY: Duration = Duration::from_hours(24);
const RECURS: Duration = Duration::from_hours(30 * 24);

fn judged(alarm: &str, rule: Rule, after: Duration, repeats: u32) -> Judged {
    Judged {
        origin: Origin {
            alarm: alarm.into(),
            subject: "GD-1".into(),
            title: Text::default(),
            source: Some("TF".into()),
            found_by: "system".into(),
        },
        rule,
        figures: RaiseRule {
            after,
            repeats,
            within: DAY,
            deadline: DAY,
        },
        class: Class::General,
        worsens: None,
    }
}

/// In view, and nothing owed.
const ANSWERED: Stand = Stand {
    owed: None,
    gone: Vec::new(),
    seen_since: Some(Timestamp::MIN),
};

fn rules(normal_before_close: Duration) -> HazardRules {
    HazardRules {
        normal_before_close,
        supervise_after: 2,
        ..Config::empty().hazard
    }
}

/// A ledger and what it said so far.
struct Book {
    ledger: Ledger,
    changes: Vec<HazardChange>,
    stand: Stand,
    lasting: Lasting,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            ledger: Ledger::default(),
            changes: Vec::new(),
            stand: ANSWERED,
            lasting: Lasting {
                is_live: true,
                is_major: false,
            },
        }
    }
}

impl Book {
    fn raise(&mut self, hour: i64, occurrence: u64, judged: Judged) {
        let now = Timestamp(hour * HOUR);
        let at = now;
        let occurred = Occurred { occurrence, at };
        self.ledger
            .raised(now, occurred, judged, RECURS, &mut self.changes);
    }

    fn ends(&mut self, hour: i64, occurrence: u64, alarm: &str) {
        let returned = Returned {
            alarm,
            occurrence,
            lasted: Duration::ZERO,
            is_normal: true,
        };
        let now = Timestamp(hour * HOUR);
        self.ledger
            .returned(now, &returned, RECURS, &mut self.changes);
    }

    fn tick(&mut self, hour: i64) {
        let now = Timestamp(hour * HOUR);
        self.ledger
            .tick(now, RECURS, |_| Some(self.lasting), &mut self.changes);
    }

    fn step(&mut self, hour: i64, by: &str, step: HazardStep) -> Result<(), Refused> {
        let command = HazardCommand {
            hazard: self.ledger.hazards().last().map_or(0, |hazard| hazard.id),
            by: by.into(),
            comment: "because".into(),
            step,
        };
        let now = Timestamp(hour * HOUR);
        self.ledger.command(
            now,
            1,
            &command,
            &self.stand,
            &rules(DAY),
            &mut self.changes,
        )
    }

    fn events(&self) -> Vec<&str> {
        self.changes
            .iter()
            .map(|change| change.event.as_str())
            .collect()
    }

    fn file(&mut self, hour: i64) -> Result<(), Refused> {
        let step = HazardStep::FileEvidence {
            part: EvidencePart::Before,
            content: Box::default(),
        };
        self.step(hour, "system", step)
    }
}

fn five() -> FiveItems {
    FiveItems {
        responsibility: "a".into(),
        measures: "b".into(),
        funds: "c".into(),
        time_limit: "d".into(),
        contingency_plan: "e".into(),
    }
}

fn notice(hour: i64) -> HazardStep {
    HazardStep::Notice {
        five_items: five(),
        deadline: Timestamp(hour * HOUR),
    }
}

#[test]
fn from_alarm_to_closed() -> Result<(), Refused> {
    let mut book = Book::default();
    book.raise(0, 1, judged("g.gas2", Rule::LevelTwo, Duration::ZERO, 0));
    book.file(0)?;
    let class = Class::General;
    book.step(1, "chen", HazardStep::Verify { class })?;
    book.step(2, "chen", notice(20))?;
    book.ends(3, 1, "g.gas2");
    book.step(4, "wang", HazardStep::Submit)?;
    book.step(28, "li", HazardStep::PassRecheck)?;
    let expected = [
        "found",
        "file_evidence",
        "verify",
        "notice",
        "submit",
        "pass_recheck",
    ];
    assert_eq!(book.events(), expected);
    let closed = &book.changes.last().map(|change| change.hazard.state);
    assert_eq!(*closed, Some(HazardState::Closed));
    Ok(())
}

#[test]
fn the_same_open_entry_takes_the_next_occurrence() {
    let mut book = Book::default();
    book.raise(0, 1, judged("g.gas2", Rule::LevelTwo, Duration::ZERO, 0));
    book.ends(1, 1, "g.gas2");
    book.raise(2, 2, judged("g.gas2", Rule::LevelTwo, Duration::ZERO, 0));
    book.raise(2, 3, judged("g.hh", Rule::LevelTwo, Duration::ZERO, 0));
    assert_eq!(book.events(), ["found", "occurred_again", "occurred_again"]);
    let hazard = book.ledger.hazard(1).cloned();
    assert_eq!(hazard.map(|hazard| hazard.occurrences), Some(vec![1, 2, 3]));
    // Normal only when both of its alarms are.
    book.ends(3, 2, "g.gas2");
    let since = |book: &Book| book.ledger.hazard(1).and_then(|hazard| hazard.normal_since);
    assert_eq!(since(&book), None);
    book.ends(4, 3, "g.hh");
    assert_eq!(since(&book), Some(Timestamp(4 * HOUR)));
}

#[test]
fn level_one_enters_when_it_lasts_or_comes_back_too_often() {
    let half_hour = Duration::from_mins(30);
    let mut book = Book::default();
    book.raise(0, 1, judged("g.gas1", Rule::LevelOne, half_hour, 0));
    assert_eq!(book.ledger.next_deadline(), Some(Timestamp(HOUR / 2)));
    book.ends(0, 1, "g.gas1");
    book.tick(1);
    assert!(book.events().is_empty(), "it did not last");
    book.raise(2, 2, judged("g.gas1", Rule::LevelOne, half_hour, 0));
    book.tick(3);
    assert_eq!(book.events(), ["found"]);

    let mut book = Book::default();
    for occurrence in 1..=3 {
        let hour = i64::try_from(occurrence).unwrap_or(0);
        book.raise(
            hour,
            occurrence,
            judged("g.gas1", Rule::LevelOne, half_hour, 3),
        );
        book.ends(hour, occurrence, "g.gas1");
    }
    assert_eq!(book.events(), ["found"], "three times in 24 h");
}

#[test]
fn each_guard_refuses_and_changes_nothing() -> Result<(), Refused> {
    let mut book = Book::default();
    book.raise(0, 1, judged("g.gas2", Rule::LevelTwo, Duration::ZERO, 0));
    let class = Class::Major;
    let refused = |book: &mut Book, hour, by: &str, step: HazardStep, guard: &str| {
        let before = book.ledger.clone();
        let answer = book.step(hour, by, step);
        let said = answer
            .err()
            .map(|refused| refused.to_string())
            .unwrap_or_default();
        assert!(said.contains(guard), "expected {guard:?}, got {said:?}");
        assert_eq!(book.ledger, before);
    };
    let verify = || HazardStep::Verify { class };
    refused(&mut book, 1, "chen", verify(), "no trend");
    refused(&mut book, 1, "", verify(), "names who");
    refused(
        &mut book,
        1,
        "chen",
        HazardStep::Submit,
        "the entry is Found",
    );
    let reject = HazardStep::Reject {
        second: "chen".into(),
    };
    refused(&mut book, 1, "chen", reject, "another person");
    book.file(1)?;
    refused(
        &mut book,
        1,
        "system",
        HazardStep::FileEvidence {
            part: EvidencePart::Before,
            content: Box::default(),
        },
        "frozen",
    );
    book.step(1, "chen", verify())?;
    refused(
        &mut book,
        2,
        "chen",
        HazardStep::FixOnTheSpot,
        "major hazard",
    );
    let mut items = five();
    items.funds = " ".into();
    let no_funds = HazardStep::Notice {
        five_items: items,
        deadline: Timestamp(20 * HOUR),
    };
    refused(&mut book, 2, "chen", no_funds, "funds");
    refused(&mut book, 2, "chen", notice(25), "deadline");
    book.step(2, "chen", notice(20))?;
    let extend = |approved_by: &str| HazardStep::Extend {
        until: Timestamp(40 * HOUR),
        approved_by: approved_by.into(),
    };
    refused(&mut book, 3, "chen", extend("chen"), "another person");
    refused(&mut book, 21, "chen", extend("zhao"), "has passed");
    book.step(22, "wang", HazardStep::Submit)?;
    refused(&mut book, 23, "wang", HazardStep::PassRecheck, "wang");
    refused(&mut book, 23, "chen", HazardStep::PassRecheck, "chen");
    refused(&mut book, 23, "li", HazardStep::PassRecheck, "not returned");
    book.ends(23, 1, "g.gas2");
    refused(&mut book, 46, "li", HazardStep::PassRecheck, "only since");
    book.step(47, "li", HazardStep::PassRecheck)
}

#[test]
fn an_entry_becomes_overdue_once_and_a_second_failed_recheck_supervises() -> Result<(), Refused> {
    let mut book = Book::default();
    book.raise(0, 1, judged("g.gas2", Rule::LevelTwo, Duration::ZERO, 0));
    book.file(0)?;
    let class = Class::Major;
    book.step(1, "chen", HazardStep::Verify { class })?;
    book.step(1, "chen", notice(10))?;
    book.tick(10);
    book.tick(11);
    for _ in 0..2 {
        book.step(12, "wang", HazardStep::Submit)?;
        book.step(13, "li", HazardStep::FailRecheck)?;
    }
    let overdue = book.events().iter().filter(|e| **e == "overdue").count();
    assert_eq!(overdue, 1);
    let last = book.changes.last().map(|change| change.hazard.clone());
    assert!(last.is_some_and(|hazard| hazard.supervised && hazard.overdue));
    Ok(())
}

#[test]
fn what_comes_back_within_thirty_days_is_linked() -> Result<(), Refused> {
    let mut book = Book::default();
    let again = || judged("g.gas2", Rule::LevelTwo, Duration::ZERO, 0);
    book.raise(0, 1, again());
    book.file(0)?;
    let class = Class::General;
    book.step(0, "chen", HazardStep::Verify { class })?;
    book.step(1, "wang", HazardStep::FixOnTheSpot)?;
    book.ends(1, 1, "g.gas2");
    book.step(30, "li", HazardStep::PassRecheck)?;
    book.raise(100, 2, again());
    let repeats = book.ledger.hazard(2).and_then(|hazard| hazard.repeats);
    assert_eq!(repeats, Some(1));
    book.tick(30 + 30 * 24);
    assert!(book.ledger.hazard(1).is_none(), "it can no longer recur");
    Ok(())
}

#[test]
fn a_snapshot_goes_on_as_the_ledger_would() -> Result<(), serde_json::Error> {
    let mut book = Book::default();
    let half_hour = Duration::from_mins(30);
    book.raise(0, 1, judged("a.gas1", Rule::LevelOne, half_hour, 3));
    book.raise(0, 2, judged("g.gas2", Rule::LevelTwo, Duration::ZERO, 0));
    let text = serde_json::to_string(&book.ledger)?;
    let mut restored = Book {
        ledger: serde_json::from_str(&text)?,
        ..Book::default()
    };
    book.changes.clear();
    for hour in [1, 24, 800] {
        book.tick(hour);
        restored.tick(hour);
        assert_eq!(book.ledger.next_deadline(), restored.ledger.next_deadline());
    }
    assert_eq!(book.changes, restored.changes);
    assert_eq!(book.ledger, restored.ledger);
    Ok(())
}

#[test]
fn an_overdue_entry_can_still_be_given_its_notice() -> Result<(), Refused> {
    let mut book = Book::default();
    let class = Class::Major;
    book.raise(0, 1, judged("g.gas2", Rule::LevelTwo, Duration::ZERO, 0));
    book.file(0)?;
    book.step(1, "chen", HazardStep::Verify { class })?;
    book.step(1, "chen", HazardStep::Supervise)?;
    book.tick(30);
    // The class gives a day: so much again, and no more.
    assert!(book.step(30, "chen", notice(55)).is_err());
    assert!(book.step(30, "chen", notice(30)).is_err());
    book.step(30, "chen", notice(54))?;
    let entry = |book: &Book| book.ledger.hazard(1).cloned().unwrap();
    assert_eq!(entry(&book).state, HazardState::Rectifying);
    assert!(entry(&book).overdue && entry(&book).supervised);
    // The new deadline is watched like the first.
    assert_eq!(book.ledger.next_deadline(), Some(Timestamp(54 * HOUR)));
    book.tick(54);
    let overdue = book.events().iter().filter(|e| **e == "overdue").count();
    assert_eq!(overdue, 2);
    assert_eq!(book.ledger.next_deadline(), None);
    Ok(())
}

#[test]
fn what_people_may_add_to_an_entry_is_bounded() -> Result<(), Refused> {
    let mut book = Book::default();
    let class = Class::Major;
    book.raise(0, 1, judged("g.gas2", Rule::LevelTwo, Duration::ZERO, 0));
    book.file(0)?;
    book.step(1, "chen", HazardStep::Verify { class })?;
    book.step(1, "chen", HazardStep::Supervise)?;
    let again = book.step(1, "chen", HazardStep::Supervise);
    assert!(again.is_err_and(|refused| refused.to_string().contains("already")));
    book.step(1, "chen", notice(20))?;
    let extend = |hour: i64| HazardStep::Extend {
        until: Timestamp(hour * HOUR),
        approved_by: "zhao".into(),
    };
    let too_late = book.step(1, "chen", extend(1 + 24 * 366 + 1));
    assert!(too_late.is_err_and(|refused| refused.to_string().contains("too late")));
    for time in 0..i64::from(EXTENSIONS_MAX) {
        book.step(1, "chen", extend(21 + time))?;
    }
    let once_more = book.step(1, "chen", extend(100));
    assert!(once_more.is_err_and(|refused| refused.to_string().contains("extended 10 times")));
    Ok(())
}

#[test]
fn repeats_are_counted_by_the_gateways_clock_in_any_order() {
    let half_hour = Duration::from_mins(30);
    let counted = |hours: &[i64]| {
        let mut book = Book::default();
        for (occurrence, hour) in (1..).zip(hours) {
            let at = Timestamp(hour * HOUR);
            let occurred = Occurred { occurrence, at };
            let judged = judged("g.gas1", Rule::LevelOne, half_hour, 3);
            let now = Timestamp(1_000 * HOUR);
            book.ledger
                .raised(now, occurred, judged, RECURS, &mut book.changes);
        }
        book.changes.len()
    };
    assert_eq!(counted(&[0, 10, 23]), 1);
    assert_eq!(counted(&[0, 10, 24]), 0, "a window of 24 h");
    assert_eq!(
        counted(&[500, 0, 10, 23]),
        1,
        "live now, then out of a store"
    );
    assert_eq!(counted(&[500, 501, 10, 23]), 0);
    assert_eq!(counted(&[23, 0, 10]), 1, "in between");
}

#[test]
fn what_is_overdue_at_one_moment_is_told_in_parts() {
    let mut book = Book::default();
    let many = 2 * ledger::DUE_MAX as u64 + 1;
    for occurrence in 1..=many {
        let mut judged = judged(
            &format!("{occurrence}.hh"),
            Rule::LevelTwo,
            Duration::ZERO,
            0,
        );
        judged.origin.subject = format!("P-{occurrence}");
        book.raise(0, occurrence, judged);
    }
    let mut told = Vec::new();
    while book
        .ledger
        .next_deadline()
        .is_some_and(|at| at <= Timestamp(24 * HOUR))
    {
        book.changes.clear();
        book.tick(24);
        told.push(book.changes.len());
    }
    assert_eq!(told, [ledger::DUE_MAX, ledger::DUE_MAX, 1]);
    assert!(book.ledger.hazards().all(|hazard| hazard.overdue));
}

#[test]
fn repeats_of_an_alarm_outlive_the_entry_that_it_once_made() -> Result<(), Refused> {
    let half_hour = Duration::from_mins(30);
    let closed = 28;
    let month = closed + 30 * 24;
    for ticks in [vec![], vec![month], vec![month - 3, month, month + 1]] {
        let mut book = Book::default();
        for occurrence in 1..=3 {
            let judged = judged("g.gas1", Rule::LevelOne, half_hour, 3);
            book.raise(0, occurrence, judged);
            book.ends(0, occurrence, "g.gas1");
        }
        book.file(0)?;
        let class = Class::General;
        book.step(0, "chen", HazardStep::Verify { class })?;
        book.step(0, "wang", HazardStep::FixOnTheSpot)?;
        book.step(closed, "li", HazardStep::PassRecheck)?;
        book.changes.clear();
        for (occurrence, hour) in (4..).zip([month - 2, month - 1, month + 2]) {
            for tick in ticks.iter().filter(|tick| **tick < hour) {
                book.tick(*tick);
            }
            let judged = judged("g.gas1", Rule::LevelOne, half_hour, 3);
            book.raise(hour, occurrence, judged);
            book.ends(hour, occurrence, "g.gas1");
        }
        assert_eq!(
            book.events(),
            ["found"],
            "three times in 4 h, ticks {ticks:?}"
        );
    }
    Ok(())
}

#[test]
fn repeats_are_forgotten_by_their_own_age() {
    let half_hour = Duration::from_mins(30);
    let mut book = Book::default();
    book.raise(0, 1, judged("g.gas1", Rule::LevelOne, half_hour, 3));
    book.ends(0, 1, "g.gas1");
    let empty = serde_json::to_string(&Ledger::default()).unwrap();
    let kept = |book: &Book| serde_json::to_string(&book.ledger).unwrap() != empty;
    book.tick(31 * 24 - 1);
    assert!(kept(&book));
    book.tick(31 * 24);
    assert!(!kept(&book), "the window of a day, and 30 days");
}
