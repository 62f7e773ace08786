//! What alarms, sight and stores do to the entries of the ledger.

use super::*;
use crate::alarm::Command;
use crate::hazard::{Class, EvidencePart, FiveItems, Hazard, HazardStep, Rule};

const GAS: (&str, &str) = ("gw", "gas");

/// The least that a point must be normal, so that a story need not read for a day.
const WAIT: f64 = 300.0;

/// Entries of one story, with messages numbered as they come.
struct Book {
    story: Story,
    sequence: u64,
    /// The entry that steps are taken with.
    hazard: u64,
}

impl Book {
    /// All gateways born, and TF.a in order.
    fn new() -> Self {
        let mut book = Self {
            story: Story::new(),
            sequence: 0,
            hazard: 1,
        };
        book.story.give(config_input(quick(POINTS)));
        book.story.all_born();
        book.live("TF.a", 0.2, 1.0);
        book
    }

    /// One live reading at a second of the story.
    fn live(&mut self, tag: &str, value: f64, at: f64) -> Vec<Effect> {
        let mut effects = self.story.until(at);
        self.sequence += 1;
        effects.extend(self.story.data(GAS, (1, self.sequence), &[(tag, value)]));
        effects
    }

    /// A live reading every 10 s.
    fn steady(&mut self, tag: &str, value: f64, (from, to): (f64, f64)) -> Vec<Effect> {
        let mut at = from;
        let mut effects = Vec::new();
        while at <= to {
            effects.extend(self.live(tag, value, at));
            at += 10.0;
        }
        effects
    }

    /// Out of the store: a reading every 10 s.
    fn stored(&mut self, tag: &str, value: f64, (from, to): (f64, f64)) -> Vec<Effect> {
        let mut at = from;
        let mut effects = Vec::new();
        while at <= to {
            self.sequence += 1;
            let number = (1, self.sequence);
            effects.extend(self.story.sampled(GAS, number, &[(tag, value, at)], true));
            at += 10.0;
        }
        effects
    }

    /// Takes a step; the guard that forbids it, if one does.
    fn step(&mut self, by: &str, comment: &str, step: HazardStep) -> Option<String> {
        let effects = self.story.give(Input::Hazard(HazardCommand {
            hazard: self.hazard,
            by: by.into(),
            comment: comment.into(),
            step,
        }));
        effects.into_iter().find_map(|effect| match effect {
            Effect::HazardRefused { refused, .. } => Some(refused.to_string()),
            _ => None,
        })
    }

    fn pass(&mut self, comment: &str) -> String {
        self.step("li", comment, HazardStep::PassRecheck)
            .unwrap_or_default()
    }

    /// The entry up to the re-check.
    fn put_right(&mut self) {
        let part = EvidencePart::Before;
        let content = Box::default();
        let five_items = FiveItems {
            responsibility: "a".into(),
            measures: "b".into(),
            funds: "c".into(),
            time_limit: "d".into(),
            contingency_plan: "e".into(),
        };
        let deadline = self.story.clock() + std::time::Duration::from_hours(1);
        let class = Class::General;
        for (by, step) in [
            ("system", HazardStep::FileEvidence { part, content }),
            ("chen", HazardStep::Verify { class }),
            (
                "chen",
                HazardStep::Notice {
                    five_items,
                    deadline,
                },
            ),
            ("wang", HazardStep::Submit),
        ] {
            assert_eq!(self.step(by, "done", step), None);
        }
    }

    fn answer(&mut self, alarm: &str, reset: bool) {
        let alarms = self.story.watch.engine().alarms();
        let occurrences: Vec<u64> = alarms
            .filter(|view| view.name == alarm)
            .map(|view| view.occurrence)
            .collect();
        for occurrence in occurrences {
            let (by, comment) = ("chen".to_owned(), None);
            let command = if reset {
                Command::Reset {
                    occurrence,
                    by,
                    comment,
                }
            } else {
                Command::Acknowledge {
                    occurrence,
                    by,
                    comment,
                }
            };
            self.story.give(Input::Alarm(command));
        }
    }

    /// The entry that a limit of TF.a raised.
    fn entry(&self) -> Option<&Hazard> {
        let mut hazards = self.story.watch.ledger().hazards();
        hazards.find(|hazard| hazard.origin.subject == "TF.a" && hazard.rule != Rule::LossOfView)
    }

    /// Takes the steps from here on with the entry about a unit or gateway.
    fn turn_to(&mut self, subject: &str) {
        let mut hazards = self.story.watch.ledger().hazards();
        let found = hazards.find(|hazard| hazard.origin.subject == subject);
        self.hazard = found.unwrap().id;
    }

    /// Unit gw/gas is there: readings of both of its points every 10 s.
    fn speak(&mut self, (from, to): (f64, f64)) {
        let mut at = from;
        while at <= to {
            self.live("TF.a", 0.2, at);
            self.live("TF.b", 0.2, at);
            at += 10.0;
        }
    }

    /// Since which second of the story its point is normal and was seen to be.
    fn normal_since(&self) -> Option<f64> {
        let since = self.story.watch.normal_since(self.entry()?)?;
        Some((since.0 - START) as f64 / 1000.0)
    }
}

/// What happened to the entries that a limit of TF.a raised: a point that is silent enters as well.
fn of_limits(effects: &[Effect]) -> Vec<&str> {
    let changes = effects.iter().filter_map(|effect| match effect {
        Effect::Hazard(change) if change.hazard.origin.alarm.starts_with("TF.a.gas") => {
            Some(change.event.as_str())
        }
        _ => None,
    });
    changes.collect()
}

/// The site, with a short time that points must be normal.
fn quick(points: &str) -> Vec<SourceFile> {
    let mut files = files(SITE, points);
    for file in &mut files {
        let (day, minutes) = (
            "normal_before_close = \"24h\"",
            "normal_before_close = \"5min\"",
        );
        file.text = file.text.replace(day, minutes);
    }
    files
}

#[test]
fn what_a_store_says_does_not_make_a_live_alarm_normal() {
    let mut book = Book::new();
    book.live("TF.a", 0.2, 600.0);
    let effects = book.live("TF.a", 2.5, 601.0);
    assert_eq!(of_limits(&effects), ["found"]);
    // An excursion of the outage, which began and ended long before.
    let effects = book.stored("TF.a", 2.5, (100.0, 120.0));
    assert_eq!(of_limits(&effects), ["occurred_again"]);
    let effects = book.stored("TF.a", 0.2, (130.0, 300.0));
    assert_eq!(returned(&effects), ["TF.a.gas1", "TF.a.gas2"]);
    assert_eq!(book.story.alarm_state("TF.a.gas2"), State::Unacked);
    let entry = book.entry().unwrap();
    assert!(entry.active_alarms.contains("TF.a.gas2"));
    assert_eq!(book.normal_since(), None);
    // It is normal when the live lane says so.
    book.steady("TF.a", 0.2, (610.0, 700.0));
    assert!(book.normal_since().is_some_and(|since| since > 610.0));
}

#[test]
fn what_a_store_says_does_not_stop_a_live_alarm_from_lasting() {
    let mut book = Book::new();
    book.live("TF.a", 0.2, 600.0);
    let effects = book.steady("TF.a", 1.2, (601.0, 621.0));
    assert_eq!(raised(&effects), ["TF.a.gas1"]);
    book.stored("TF.a", 1.2, (100.0, 120.0));
    let effects = book.stored("TF.a", 0.2, (130.0, 300.0));
    assert_eq!(returned(&effects), ["TF.a.gas1"]);
    let effects = book.steady("TF.a", 1.2, (631.0, 2_500.0));
    assert_eq!(of_limits(&effects), ["found"], "30 min at level 1");
}

#[test]
fn level_one_in_a_store_enters_by_its_own_time() {
    let mut book = Book::new();
    book.live("TF.a", 0.2, 4_000.0);
    // Ten minutes at level 1, long ago: too short, however long its store takes to come.
    book.stored("TF.a", 0.2, (10.0, 10.0));
    book.stored("TF.a", 1.2, (20.0, 620.0));
    let effects = book.story.until(7_000.0);
    assert!(of_limits(&effects).is_empty());
    let effects = book.stored("TF.a", 0.2, (630.0, 700.0));
    assert_eq!(returned(&effects), ["TF.a.gas1"]);
    assert_eq!(of_limits(&effects), [""; 0]);
    // 40 minutes: known when it is over.
    let effects = book.stored("TF.a", 1.2, (710.0, 3_110.0));
    assert_eq!(of_limits(&effects), [""; 0]);
    let effects = book.stored("TF.a", 0.2, (3_120.0, 3_200.0));
    assert_eq!(returned(&effects), ["TF.a.gas1"]);
    assert_eq!(of_limits(&effects), ["found"]);
    // Its point has been silent since.
    assert_eq!(book.normal_since(), None);
    book.live("TF.a", 0.2, 7_010.0);
    assert_eq!(book.normal_since(), Some(7_010.0));
}

#[test]
fn level_one_three_times_in_a_store_is_too_often() {
    let mut book = Book::new();
    book.live("TF.a", 0.2, 4_000.0);
    let mut events = Vec::new();
    for start in [100.0, 300.0, 500.0] {
        book.stored("TF.a", 1.2, (start, start + 20.0));
        events.push(book.entry().is_some());
        book.stored("TF.a", 0.2, (start + 30.0, start + 90.0));
    }
    assert_eq!(events, [false, false, true]);
}

/// A unit that is silent hides its gas detector as that one's own silence would.
#[test]
fn a_unit_or_gateway_with_a_gas_detector_enters_by_the_rule_for_gas() {
    let found = |effects: &[Effect]| {
        let changes = effects.iter().filter_map(|effect| match effect {
            Effect::Hazard(change) if change.event == "found" => {
                Some(change.hazard.origin.alarm.clone())
            }
            _ => None,
        });
        changes.collect::<Vec<_>>()
    };
    let mut book = Book::new();
    book.story.unit_dead("gw", "gas");
    assert_eq!(found(&book.story.until(600.0)), [""; 0]);
    let after = found(&book.story.until(602.0));
    assert!(
        after.contains(&"gw/gas.loss_of_view".to_owned()),
        "{after:?}"
    );
    let mut book = Book::new();
    book.story.node_dead("gw", 1);
    let after = found(&book.story.until(602.0));
    assert!(after.contains(&"gw.loss_of_view".to_owned()), "{after:?}");
}

#[test]
fn a_point_that_cannot_be_seen_is_not_normal() {
    let mut book = Book::new();
    book.live("TF.a", 2.5, 10.0);
    book.put_right();
    assert!(book.pass("").contains("has not returned to normal"));
    book.steady("TF.a", 0.2, (20.0, 150.0));
    assert!(book.normal_since().is_some());
    book.answer("TF.a.gas1", false);
    assert!(book.pass("").contains("not acknowledged"));
    book.answer("TF.a.gas2", false);
    assert!(book.pass("").contains("latched"));
    book.answer("TF.a.gas2", true);
    assert!(book.pass("").contains("only since"));
    // Nothing of the alarm is left in the list; its point falls silent.
    book.story.until(WAIT);
    assert_eq!(book.normal_since(), None);
    assert!(book.pass("").contains("cannot be seen"));
    book.story.until(1_000.0);
    assert!(book.pass("").contains("cannot be seen"));
    // The time begins anew with the first good reading.
    book.steady("TF.a", 0.2, (1_001.0, 1_291.0));
    assert_eq!(book.normal_since(), Some(1_001.0));
    assert!(book.pass("").contains("only since"));
    book.live("TF.a", 0.2, 1_301.0);
    assert_eq!(book.pass(""), "");
}

#[test]
fn a_point_that_was_taken_out_is_closed_with_a_reason_only() {
    let mut book = Book::new();
    book.live("TF.a", 2.5, 10.0);
    book.put_right();
    book.steady("TF.a", 0.2, (20.0, 150.0));
    let lines = POINTS.lines().filter(|line| !line.starts_with("TF.a,"));
    let without: Vec<&str> = lines.collect();
    book.story.give(config_input(quick(&without.join("\n"))));
    assert_eq!(book.normal_since(), None);
    book.story.until(151.0 + WAIT);
    assert!(book.pass("").contains("no longer configured"));
    // Measured again, it must be normal as long as any other.
    book.story.give(config_input(quick(POINTS)));
    assert!(book.pass("").contains("cannot be seen"));
    book.live("TF.a", 0.2, 460.0);
    assert_eq!(book.normal_since(), Some(460.0));
    book.story.give(config_input(quick(&without.join("\n"))));
    assert_eq!(book.pass("the tank was taken down"), "");
}

/// Level 2 at a source of level 2: what is major is the configuration's to say.
#[test]
fn which_alarms_are_major_candidates_is_configured() {
    let was = "level_max = 2, chemical_setpoints = [\"hh\", \"ll\", \"gas2\"]";
    for (level, setpoint, class) in [
        (2, "gas2", Class::Major),
        (1, "gas2", Class::General),
        (2, "hh", Class::General),
    ] {
        let rule = format!("level_max = {level}, chemical_setpoints = [\"{setpoint}\"]");
        let mut files = quick(POINTS);
        files[2].text = files[2].text.replace(was, &rule);
        let mut book = Book::new();
        book.story.give(config_input(files));
        book.live("TF.a", 2.5, 10.0);
        assert_eq!(book.entry().unwrap().class, class, "{rule}");
    }
}

/// A limit of the site's own on TF.a, above those of its preset.
const OWN_HH: &str = r#"
[[limit]]
point = "TF.a"
setpoint = "hh"
limit = 5.0
deadband = 0.5
on_delay = "0s"
off_delay = "30s"
latch = false
priority = 1
shelvable = false
guidance = "anything"
figure_source = { zh = "本单位", en = "the site's own" }
"#;

#[test]
fn an_alarm_that_was_taken_out_leaves_the_wait_of_the_others() {
    let with_hh = || {
        let mut files = quick(POINTS);
        files[0].text += OWN_HH;
        config_input(files)
    };
    let mut book = Book::new();
    book.story.give(with_hh());
    book.live("TF.a", 6.0, 10.0);
    assert_eq!(book.entry().unwrap().alarms.len(), 2, "gas2 and hh");
    book.put_right();
    book.steady("TF.a", 0.2, (20.0, 150.0));
    book.answer("TF.a.gas1", false);
    book.answer("TF.a.gas2", false);
    book.answer("TF.a.gas2", true);
    book.answer("TF.a.hh", false);
    let since = book.normal_since();
    assert!(since.is_some_and(|since| since < 100.0));
    book.story.give(config_input(quick(POINTS)));
    // What is left of it is measured as before, and waited for.
    assert_eq!(book.normal_since(), since);
    assert!(book.pass("").contains("`TF.a.hh` is no longer configured"));
    assert!(book.pass("never needed").contains("only since"));
    // It is there again: nobody has measured it meanwhile.
    book.steady("TF.a", 0.2, (160.0, 200.0));
    book.story.give(with_hh());
    assert_eq!(book.normal_since(), Some(200.0));
    book.story.give(config_input(quick(POINTS)));
    book.steady("TF.a", 0.2, (210.0, 500.0));
    assert!(book.pass("").contains("no longer configured"));
    assert_eq!(book.pass("never needed"), "");
}

/// Taken out while it is active: the others are normal from then on at the earliest.
#[test]
fn an_alarm_that_was_taken_out_while_active_is_no_longer_waited_for() {
    let mut files = quick(POINTS);
    files[0].text += OWN_HH;
    // It falls below its reset a minute before HH does.
    files[2].text = files[2]
        .text
        .replace("off_delay = \"1min\"", "off_delay = \"1s\"");
    let mut book = Book::new();
    book.story.give(config_input(files));
    book.live("TF.a", 6.0, 10.0);
    book.put_right();
    book.steady("TF.a", 0.2, (20.0, 30.0));
    assert_eq!(book.entry().unwrap().active_alarms.len(), 1);
    book.story.give(config_input(quick(POINTS)));
    assert_eq!(book.normal_since(), Some(30.0));
}

#[test]
fn what_is_active_cannot_be_called_false() {
    let mut book = Book::new();
    book.live("TF.a", 2.5, 10.0);
    let reject = || HazardStep::Reject {
        second: "wang".into(),
    };
    let refused = book.step("chen", "calibration", reject());
    assert!(refused.is_some_and(|guard| guard.contains("has not returned")));
    book.steady("TF.a", 0.2, (20.0, 150.0));
    assert_eq!(book.step("chen", "calibration", reject()), None);
}

/// Unit gw/gas has been dead for so long that it is an entry; it is back at second 620, answered
/// and put right at second 700.
fn unit_put_right() -> Book {
    let mut book = Book::new();
    book.story.unit_dead("gw", "gas");
    book.story.until(610.0);
    book.turn_to("gw/gas");
    book.story.now = 620.0;
    book.story.unit_born("gw", "gas");
    book.speak((620.0, 700.0));
    book.answer("gw/gas.loss_of_view", false);
    book.put_right();
    let refused = book.pass("");
    assert!(refused.contains("only since"), "{refused}");
    book
}

#[test]
fn a_unit_that_was_seen_to_be_normal_long_enough_is_closed() {
    let mut book = unit_put_right();
    book.speak((710.0, 670.0 + WAIT));
    assert!(book.pass("").contains("only since"), "normal since 680");
    book.speak((680.0 + WAIT, 680.0 + WAIT));
    assert_eq!(book.pass(""), "");
}

#[test]
fn a_unit_behind_a_dead_gateway_is_not_seen_to_be_normal() {
    let mut book = unit_put_right();
    book.story.node_dead("gw", 1);
    book.story.until(700.0 + 2.0 * WAIT);
    assert!(book.pass("").contains("cannot be seen"));
    // The gateway is back: the unit is not, until something of it is seen.
    book.story.node_born("gw", "first", nothing_stored(2, 0));
    book.story.until(700.0 + 4.0 * WAIT);
    assert!(book.pass("").contains("cannot be seen"));
    book.story.unit_born("gw", "gas");
    assert!(
        book.pass("").contains("cannot be seen"),
        "a birth without a value"
    );
    let seen = book.story.now;
    book.story
        .data(GAS, (2, 1), &[("TF.a", 0.2), ("TF.b", 0.2)]);
    assert!(book.pass("").contains("only since"));
    book.story.until(seen + WAIT - 1.0);
    assert!(book.pass("").contains("only since"));
    book.story.until(seen + WAIT);
    assert_eq!(book.pass(""), "");
}

#[test]
fn a_gateway_is_seen_since_it_was_born() {
    let mut book = Book::new();
    book.story.node_dead("gw", 1);
    book.story.until(610.0);
    book.turn_to("gw");
    book.story.now = 620.0;
    book.story.node_born("gw", "first", nothing_stored(2, 0));
    book.story.until(700.0);
    book.answer("gw.loss_of_view", false);
    book.put_right();
    // Births that are asked for again do not begin it anew; a death does.
    book.story.node_born("gw", "first", nothing_stored(2, 0));
    assert!(book.pass("").contains("only since"));
    book.story.node_dead("gw", 2);
    book.story.until(710.0);
    assert!(!book.pass("").is_empty());
    book.story.node_born("gw", "first", nothing_stored(3, 0));
    book.story.until(800.0);
    book.answer("gw.loss_of_view", false);
    book.story.until(709.0 + WAIT);
    assert!(book.pass("").contains("only since"));
    book.story.until(780.0 + WAIT);
    assert_eq!(book.pass(""), "");
}

/// A centre that was down, or stood still, has seen nothing meanwhile.
#[test]
fn time_in_which_nobody_watched_is_not_time_seen_to_be_normal() {
    for halt in [
        |_: f64| Input::Started {
            version: "1".into(),
        },
        |since: f64| Input::StoodStill {
            since: Story::moment(since),
        },
    ] {
        let mut book = unit_put_right();
        book.story.until(701.0);
        let input = halt(701.0);
        let is_start = matches!(input, Input::Started { .. });
        book.story.now = 701.0 + 3.0 * WAIT;
        let back = book.story.now;
        book.story.give(input);
        assert!(!book.pass("").is_empty(), "nobody has looked");
        if is_start {
            book.story.node_born("gw", "first", nothing_stored(1, 10));
            book.story.unit_born("gw", "gas");
        }
        book.speak((back, back));
        // Of a stall, the time before it counts: 700 less 680, and a second.
        let seen_before = if is_start { 0.0 } else { 21.0 };
        book.speak((back + 1.0, back + WAIT - seen_before - 1.0));
        assert!(book.pass("").contains("only since"), "{is_start}");
        book.speak((back + WAIT, back + WAIT));
        assert_eq!(book.pass(""), "");
    }
}

/// The same for a point whose quality was good all the time: its alarm returned before the stall.
#[test]
fn a_stall_does_not_make_a_point_normal_for_longer() {
    let mut book = Book::new();
    book.steady("TF.a", 0.2, (10.0, 700.0));
    book.live("TF.a", 2.5, 710.0);
    book.turn_to("TF.a");
    book.put_right();
    book.steady("TF.a", 0.2, (720.0, 820.0));
    book.answer("TF.a.gas1", false);
    book.answer("TF.a.gas2", false);
    book.answer("TF.a.gas2", true);
    let before = book.normal_since().unwrap();
    assert!(before < 820.0);
    book.story.now = 820.0 + WAIT;
    let since = Story::moment(820.0);
    book.story.give(Input::StoodStill { since });
    assert_eq!(book.normal_since(), Some(before + WAIT));
    assert!(book.pass("").contains("only since"));
}
