//! What lasts or spreads becomes a candidate for a major hazard.

use super::*;

const NOT_LATER: Option<Duration> = None;

fn worsening(after_hours: u64, worsens_hours: u64, deadline: Option<Duration>) -> Judged {
    let after = Duration::from_hours(after_hours);
    Judged {
        worsens: Some(Worsens {
            after: Duration::from_hours(worsens_hours),
            deadline,
        }),
        ..judged("g.loss_of_view", Rule::LossOfView, after, 0)
    }
}

fn stands(book: &Book) -> (Class, i64) {
    let hazard = book.ledger.hazard(1).unwrap();
    (hazard.class, hazard.deadline.0 / HOUR)
}

#[test]
fn what_has_lasted_becomes_a_candidate_on_time() {
    // At once an entry, and one that waits first: both count from when the alarm was raised.
    for after in [0, 2] {
        let mut book = Book::default();
        book.raise(10, 1, worsening(after, 24, NOT_LATER));
        book.tick(12);
        let deadline = 10 + after as i64 + 24;
        assert_eq!(book.events(), ["found"]);
        assert_eq!(book.ledger.next_deadline(), Some(Timestamp(34 * HOUR)));
        book.tick(33);
        assert_eq!(stands(&book), (Class::General, deadline));
        book.tick(34);
        assert!(book.events().contains(&"major_candidate"));
        assert_eq!(stands(&book), (Class::Major, deadline));
        let entry = book.ledger.hazard(1).unwrap();
        assert_eq!(entry.occurrence_count, 1, "it is the same occurrence");
    }
}

#[test]
fn what_has_returned_before_does_not_become_one() {
    let mut book = Book::default();
    book.raise(10, 1, worsening(0, 24, NOT_LATER));
    book.ends(33, 1, "g.loss_of_view");
    book.tick(33);
    book.tick(40);
    assert!(!book.events().contains(&"major_candidate"));
}

/// Out of a store it is known when it is over.
#[test]
fn what_lasted_in_a_store_becomes_one_when_it_is_over() {
    for (lasted, events) in [
        (1, vec![]),
        (2, vec!["found"]),
        (23, vec!["found"]),
        (24, vec!["found", "major_candidate"]),
    ] {
        let mut book = Book::default();
        book.lasting.is_live = false;
        book.raise(100, 1, worsening(2, 24, NOT_LATER));
        book.tick(130);
        assert!(book.events().is_empty());
        let returned = Returned {
            alarm: "g.loss_of_view",
            occurrence: 1,
            lasted: Duration::from_hours(lasted),
            is_normal: false,
        };
        let now = Timestamp(130 * HOUR);
        book.ledger
            .returned(now, &returned, RECURS, &mut book.changes);
        assert_eq!(book.events(), events, "{lasted} h");
    }
}

#[test]
fn a_candidate_that_must_be_put_right_at_once_has_less_time() {
    let hour = Some(Duration::from_hours(1));
    let mut book = Book::default();
    book.raise(10, 1, worsening(0, 2, hour));
    book.tick(12);
    assert_eq!(stands(&book), (Class::Major, 13));
    assert_eq!(book.ledger.next_deadline(), Some(Timestamp(13 * HOUR)));
    // One that has less already keeps it.
    let mut book = Book::default();
    book.raise(10, 1, worsening(0, 2, Some(3 * DAY)));
    book.tick(12);
    assert_eq!(stands(&book), (Class::Major, 34));
}

#[test]
fn what_a_person_has_judged_stays_and_its_story_says_what_came() -> Result<(), Refused> {
    let mut book = Book::default();
    book.raise(10, 1, worsening(0, 2, Some(Duration::from_hours(1))));
    book.file(10)?;
    let class = Class::General;
    book.step(11, "chen", HazardStep::Verify { class })?;
    book.tick(12);
    assert_eq!(stands(&book), (Class::General, 34));
    let last = book.ledger.hazard(1).unwrap().story.last().unwrap();
    assert_eq!(last.event, "major_candidate");
    Ok(())
}

#[test]
fn what_spreads_is_a_candidate_when_it_enters() {
    let mut book = Book::default();
    book.raise(10, 1, worsening(2, 24, NOT_LATER));
    book.lasting.is_major = true;
    book.tick(12);
    assert_eq!(stands(&book).0, Class::Major);
    // Nothing new comes with time.
    book.tick(34);
    assert!(!book.events().contains(&"major_candidate"));
}

#[test]
fn a_heavier_alarm_makes_the_open_entry_a_candidate() {
    let mut book = Book::default();
    book.raise(0, 1, judged("g.hh", Rule::LevelTwo, Duration::ZERO, 0));
    let major = Judged {
        class: Class::Major,
        ..judged("g.gas2", Rule::LevelTwo, Duration::ZERO, 0)
    };
    book.raise(1, 2, major);
    assert_eq!(
        book.events(),
        ["found", "occurred_again", "major_candidate"]
    );
    assert_eq!(stands(&book).0, Class::Major);
}
