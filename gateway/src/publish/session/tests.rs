//! What is sent next, as stories.

use davy_core::delivery::Ranges;
use davy_core::reading::Timestamp;

use super::*;
use crate::poll::UnitState::{Alive, Silent};

/// A session over an outbox that is a list: row n holds message n of run 1.
struct Story {
    session: Session,
    now: Duration,
    last_row: i64,
    freed: Vec<i64>,
}

impl Story {
    fn new(acknowledge: Acknowledge, units: usize) -> Self {
        let settings = Settings {
            acknowledge,
            waits_for_host: true,
            backlog_rate: 10,
        };
        Self {
            session: Session::new(settings, units),
            now: Duration::ZERO,
            last_row: 0,
            freed: Vec::new(),
        }
    }

    /// One with its host there, its units alive and born.
    fn born(acknowledge: Acknowledge, units: usize) -> Self {
        let mut story = Self::new(acknowledge, units);
        for unit in 0..units {
            story.session.unit_is(unit, Alive);
        }
        story.session.connected(0);
        story.host(true, 1);
        story.steps();
        story
    }

    fn host(&mut self, online: bool, at: i64) {
        let timestamp = Timestamp(at);
        let state = HostState { online, timestamp };
        self.session.host_says(state, self.last_row);
    }

    fn poll(&mut self, unit: usize, state: UnitState) -> i64 {
        self.last_row += 1;
        self.session.unit_is(unit, state);
        self.session.offer(Live {
            row: self.last_row,
            number: number(self.last_row),
            unit,
            payload: Vec::new(),
        });
        self.last_row
    }

    fn commit(&mut self, first: i64, last: i64) {
        let mut ranges = Ranges::default();
        ranges.insert_range(first.cast_unsigned(), last.cast_unsigned());
        self.session.committed(&[RunRanges { run: 1, ranges }]);
        self.freed.extend(first..=last);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn step(&mut self) -> Option<String> {
        let step = self.session.next(self.now)?;
        Some(match step {
            Step::NodeBirth => "NBIRTH".into(),
            Step::UnitBirth(unit) => format!("DBIRTH {unit}"),
            Step::UnitDeath(unit) => format!("DDEATH {unit}"),
            Step::Live(live) => {
                let ticket = self.session.live_sent(self.now, live.row, live.number);
                format!("live {} ticket {ticket}", live.row)
            }
            Step::Report => "report".into(),
            Step::Leave => "NDEATH".into(),
            Step::Backlog {
                first,
                last,
                messages_max,
            } => {
                let found = (first..=last).filter(|row| !self.freed.contains(row));
                let rows: Vec<_> = found.take(messages_max).collect();
                let through = match rows.last() {
                    Some(row) if rows.len() == messages_max => *row,
                    _ => last,
                };
                let sent: Vec<_> = rows.iter().map(|row| (*row, number(*row))).collect();
                let ticket = self.session.backlog_sent(self.now, through, &sent);
                format!("backlog {rows:?} ticket {ticket}")
            }
        })
    }

    /// Everything that is sent until nothing is left to send.
    fn steps(&mut self) -> Vec<String> {
        let mut steps = Vec::new();
        while let Some(step) = self.step() {
            steps.push(step);
            assert!(steps.len() < 10_000, "it must end");
        }
        steps
    }
}

fn number(row: i64) -> MessageNumber {
    MessageNumber {
        run: 1,
        sequence: row.cast_unsigned(),
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn births_then_live_then_the_backlog() {
    let mut story = Story::new(Acknowledge::Centre, 2);
    story.poll(0, Alive);
    story.poll(1, Alive);
    assert_eq!(story.steps(), [""; 0], "nothing is sent while away");
    story.session.connected(story.last_row);
    assert_eq!(story.steps(), [""; 0], "nor while no host is there");
    story.host(true, 1);
    story.poll(1, Alive);
    assert_eq!(
        story.steps(),
        [
            "NBIRTH",
            "DBIRTH 0",
            "DBIRTH 1",
            "live 3 ticket 0",
            "backlog [1, 2] ticket 1"
        ]
    );
}

#[test]
fn a_live_message_never_waits_for_the_backlog() {
    let mut story = Story::new(Acknowledge::Centre, 1);
    for _ in 0..5_000 {
        story.poll(0, Alive);
    }
    story.session.connected(story.last_row);
    story.host(true, 1);
    let mut bundles = 0;
    for _ in 0..200 {
        story.pass(Duration::from_millis(50));
        let row = story.poll(0, Alive);
        let steps = story.steps();
        let live = steps.iter().position(|step| step.starts_with("live"));
        let live = live.expect("live goes out at once");
        assert_eq!(steps[live], format!("live {row} ticket 0"));
        assert!(
            !steps[..live].iter().any(|step| step.starts_with("backlog")),
            "{steps:?}"
        );
        if let Some(sent) = steps.iter().find(|step| step.starts_with("backlog")) {
            bundles += 1;
            let ticket = sent.split(' ').next_back().expect("ticket");
            story.session.acked(ticket.parse().expect("number"));
        }
    }
    assert_eq!(
        bundles, 10,
        "the window holds 2000 messages and none was committed"
    );
    story.commit(1, 200);
    assert_eq!(story.steps().len(), 1, "what is committed makes room");
}

#[test]
fn the_backlog_keeps_its_rate_and_waits_for_the_broker() {
    let mut story = Story::new(Acknowledge::Centre, 1);
    for _ in 0..1_000 {
        story.poll(0, Alive);
    }
    story.session.connected(story.last_row);
    story.host(true, 1);
    assert_eq!(story.steps().len(), 3, "births and one bundle");
    assert_eq!(story.steps(), [""; 0], "10 a second");
    assert_eq!(story.session.idle(story.now), SECOND / 10);
    story.pass(SECOND / 10);
    assert_eq!(story.steps().len(), 1);
    story.pass(SECOND);
    assert_eq!(story.steps(), [""; 0], "two are on their way to the broker");
    story.session.acked(1);
    assert_eq!(story.steps().len(), 1);
}

#[test]
fn what_nobody_commits_is_sent_again_and_nothing_sooner() {
    let mut story = Story::born(Acknowledge::Centre, 1);
    story.poll(0, Alive);
    story.poll(0, Alive);
    story.steps();
    story.commit(1, 1);
    story.pass(COMMIT_WAIT.saturating_sub(Duration::from_millis(1)));
    assert_eq!(story.steps(), ["report"]);
    story.pass(Duration::from_millis(1));
    assert_eq!(story.steps(), ["backlog [2] ticket 1"]);
    assert_eq!(story.session.resent, 1);
    story.commit(2, 2);
    story.pass(COMMIT_WAIT * 2);
    assert_eq!(story.steps(), ["report"]);
    assert_eq!(story.session.flights.len(), 0);
    assert_eq!(story.session.flights.window(), 0);
}

#[test]
fn a_broker_frees_only_where_the_configuration_says_so() {
    let mut story = Story::born(Acknowledge::Centre, 1);
    story.poll(0, Alive);
    assert_eq!(story.steps(), ["live 1 ticket 0"]);
    assert_eq!(story.session.acked(0), []);
    story.session.resend(1, 1);
    assert_eq!(story.steps(), ["backlog [1] ticket 1"]);
    assert_eq!(story.session.acked(1), [], "the centre's word counts");

    let mut story = Story::born(Acknowledge::Broker, 1);
    story.poll(0, Alive);
    assert_eq!(story.steps(), ["live 1 ticket 1"]);
    assert_eq!(story.session.acked(1), [number(1)]);
    assert_eq!(story.session.acked(1), [], "once");
    story.pass(COMMIT_WAIT * 2);
    assert_eq!(story.steps(), ["report"]);
}

#[test]
fn the_host_asks_for_what_it_misses() {
    let mut story = Story::born(Acknowledge::Centre, 1);
    for _ in 0..6 {
        story.poll(0, Alive);
    }
    story.steps();
    story.commit(1, 2);
    story.commit(5, 6);
    story.session.resend(2, 4);
    assert_eq!(story.steps(), ["backlog [3, 4] ticket 1"]);
}

#[test]
fn a_rebirth_is_births_again_and_nothing_else() {
    let mut story = Story::born(Acknowledge::Centre, 2);
    story.poll(0, Alive);
    story.session.rebirth();
    assert_eq!(
        story.steps(),
        ["NBIRTH", "DBIRTH 0", "DBIRTH 1", "live 1 ticket 0"]
    );
    let mut away = Story::new(Acknowledge::Centre, 1);
    away.session.rebirth();
    assert_eq!(away.steps(), [""; 0]);
}

#[test]
fn the_host_leaves_and_comes_back() {
    let mut story = Story::born(Acknowledge::Centre, 1);
    story.poll(0, Alive);
    story.steps();
    story.host(false, 0);
    assert_eq!(story.session.phase(), Phase::Born, "a will of long ago");
    story.host(false, 5);
    story.poll(0, Alive);
    assert_eq!(story.steps(), ["NDEATH"]);
    story.poll(0, Alive);
    assert_eq!(story.steps(), [""; 0]);
    story.session.disconnected();
    story.session.connected(story.last_row);
    story.host(true, 6);
    assert_eq!(
        story.steps(),
        ["NBIRTH", "DBIRTH 0", "backlog [1, 2, 3] ticket 1"],
        "what was on its way is sent again"
    );
}

#[test]
fn a_host_that_was_there_before_the_subscription_counts() {
    let mut story = Story::new(Acknowledge::Centre, 1);
    story.host(true, 1);
    story.session.connected(0);
    assert_eq!(story.steps(), ["NBIRTH"], "its unit is not polled yet");
}

#[test]
fn a_unit_falls_silent_and_answers_again() {
    let mut story = Story::born(Acknowledge::Centre, 2);
    story.poll(0, Alive);
    story.poll(0, Silent);
    assert_eq!(
        story.steps(),
        ["live 1 ticket 0", "live 2 ticket 0", "DDEATH 0"],
        "its last word goes before its death"
    );
    story.poll(0, Silent);
    assert_eq!(
        story.steps(),
        ["backlog [3] ticket 1"],
        "no live data of a dead unit"
    );
    story.session.acked(1);
    story.poll(0, Alive);
    assert_eq!(story.steps(), ["DBIRTH 0", "live 4 ticket 0"]);
}

#[test]
fn a_silent_unit_is_born_and_dies_so_that_its_store_can_be_read() {
    let mut story = Story::new(Acknowledge::Centre, 2);
    story.poll(0, Alive);
    story.poll(0, Silent);
    story.session.connected(story.last_row);
    story.host(true, 1);
    assert_eq!(
        story.steps(),
        ["NBIRTH", "DBIRTH 0", "DDEATH 0"],
        "no backlog before unit 1 has been polled and born"
    );
    story.poll(1, Alive);
    assert_eq!(
        story.steps(),
        ["DBIRTH 1", "live 3 ticket 0", "backlog [1, 2] ticket 1"]
    );
}

#[test]
fn a_unit_with_a_long_period_does_not_hold_the_backlog_up() {
    let mut story = Story::new(Acknowledge::Centre, 2);
    story.poll(0, Alive);
    story.session.connected(story.last_row);
    story.host(true, 1);
    assert_eq!(story.steps(), ["NBIRTH", "DBIRTH 0"]);
    story.pass(BIRTH_WAIT);
    assert_eq!(
        story.steps(),
        ["DBIRTH 1", "report", "backlog [1] ticket 1"]
    );
    story.session.acked(1);
    story.poll(1, Silent);
    assert_eq!(story.steps(), ["live 2 ticket 0", "DDEATH 1"]);
}

#[test]
fn what_another_host_may_not_get_yet_waits_for_the_birth() {
    let mut story = Story::born(Acknowledge::Broker, 1);
    story.session.unit_is(0, Silent);
    assert_eq!(story.steps(), ["DDEATH 0"]);
    story.poll(0, Silent);
    story.session.hold(0, 1);
    story.session.waiting.drop_through(1);
    assert_eq!(story.steps(), [""; 0]);
    story.session.unit_is(0, Alive);
    assert_eq!(story.steps(), ["DBIRTH 0", "backlog [1] ticket 1"]);
}

#[test]
fn a_full_live_queue_gives_its_oldest_to_the_backlog() {
    let mut story = Story::born(Acknowledge::Centre, 1);
    for _ in 0..LIVE_MAX + 3 {
        story.poll(0, Alive);
    }
    let steps = story.steps();
    assert_eq!(steps[0], "live 4 ticket 0");
    assert_eq!(steps.last().expect("steps"), "backlog [1, 2, 3] ticket 1");
    assert_eq!(story.session.overflowed, 3);
}

#[test]
fn memory_is_bounded_when_nobody_commits() {
    let mut story = Story::born(Acknowledge::Centre, 1);
    let mut last = Vec::new();
    for _ in 0..FLIGHTS_MAX + 10 {
        story.poll(0, Alive);
        last = story.steps();
    }
    assert_eq!(last, [""; 0], "neither lane sends more");
    assert_eq!(story.session.flights.len(), FLIGHTS_MAX);
    story.commit(1, 5);
    let row = story.poll(0, Alive);
    assert_eq!(story.steps()[0], format!("live {row} ticket 0"));
}

#[test]
fn a_report_is_due_every_ten_seconds_and_after_a_loss() {
    let mut story = Story::born(Acknowledge::Centre, 1);
    story.pass(REPORT_EVERY);
    assert_eq!(story.steps(), ["report"]);
    assert_eq!(story.session.idle(story.now), REPORT_EVERY);
    story.session.report_now();
    assert_eq!(story.steps(), ["report"]);
    assert_eq!(story.steps(), [""; 0]);
}
