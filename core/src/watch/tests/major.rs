//! A mine, and what makes a candidate for a major hazard: rows of the tables of colours and of the
//! ledger, each at its edges.

use super::*;
use crate::hazard::{Class, Hazard};

const GAS: (&str, &str) = ("gw", "gas");
const MINUTE: f64 = 60.0;

/// The site as a mine: TF.a and TF.b are methane sensors at a face, TF.c watches a belt for CO.
fn mine() -> Vec<SourceFile> {
    let site = SITE.replace(
        "industry = \"chemical\"\nlevel = 2",
        "industry = \"coal_mine\"",
    );
    let mut points = POINTS.replace(
        "cl2,,mg/m3,0,10,TF,gw,gas",
        "ch4,longwall.T1,%CH4,0,4,TF,gw,gas",
    );
    points = points.replace("cl2,,mg/m3,0,10,TF,gw,far", "co,belt,mg/m3,0,10,TF,gw,far");
    let mut files = files(&site, &slow(&points));
    let preset = "[[preset]]\nkind = \"cl2\"";
    let belt = files[2].text.find("[[preset]]\nkind = \"ch4\"").unwrap();
    let cl2 = files[2].text[..belt].to_owned();
    files[2].text += &cl2.replace(preset, "[[preset]]\nkind = \"co\"\nposition = \"belt\"");
    files
}

/// Polled once a minute, so that a story need not read often: silent for 6 min is a loss of view.
fn slow(points: &str) -> String {
    points.replace(",1s,", ",60s,")
}

struct Face {
    story: Story,
    sequence: u64,
}

impl Face {
    /// A mine whose points are all in order, at second 10.
    fn new() -> Self {
        let mut face = Self {
            story: Story::new(),
            sequence: 0,
        };
        face.story.give(config_input(mine()));
        face.story.all_born();
        face.rest(10.0);
        face.say(0.2, 10.0);
        face
    }

    /// TF.a reads so much.
    fn say(&mut self, percent: f64, at: f64) -> Vec<Effect> {
        let mut effects = self.story.until(at);
        self.sequence += 1;
        effects.extend(
            self.story
                .data(GAS, (1, self.sequence), &[("TF.a", percent)]),
        );
        effects
    }

    /// Everything but TF.a is in order.
    fn rest(&mut self, at: f64) {
        self.story.until(at);
        self.sequence += 1;
        let number = (1, self.sequence);
        self.story.data(GAS, number, &[("TF.b", 0.2)]);
        self.sequence += 1;
        let number = (1, self.sequence);
        self.story.data(("gw", "far"), number, &[("TF.c", 0.2)]);
        self.story.data(("other", "gas"), number, &[("TF.d", 0.2)]);
    }

    /// Everything but TF.a in order, and TF.a as it is told, every 100 s.
    fn steady(&mut self, percent: Option<f64>, (from, to): (f64, f64)) {
        let mut at = from;
        while at <= to {
            self.rest(at);
            if let Some(percent) = percent {
                self.say(percent, at);
            }
            at += 100.0;
        }
    }

    fn entry(&self, subject: &str) -> Option<&Hazard> {
        let mut hazards = self.story.watch.ledger().hazards();
        hazards.find(|hazard| hazard.origin.subject == subject)
    }

    /// Class, and minutes from when it was found to the deadline.
    fn stands(&self, subject: &str) -> Option<(Class, i64)> {
        let hazard = self.entry(subject)?;
        let minutes = hazard.deadline.ms_since(hazard.found_at) / 60_000;
        Some((hazard.class, minutes))
    }

    fn was_told(&self, subject: &str) -> bool {
        let entry = self.entry(subject);
        entry.is_some_and(|hazard| {
            hazard
                .story
                .iter()
                .any(|line| line.event == "major_candidate")
        })
    }
}

#[test]
fn methane_is_red_from_three_percent_on() {
    let mut face = Face::new();
    face.say(2.99, 11.0);
    assert_eq!(face.story.colour(), Colour::Yellow, "the cut");
    face.say(3.0, 12.0);
    assert_eq!(face.story.colour(), Colour::Red);
    let why = &face.story.watch.warnings()[0].why;
    assert_eq!(why[..], ["TF.a.hh".to_owned()]);
}

/// A sensor of 0 to 4 % reads nothing at 5 %, which is above every limit.
#[test]
fn methane_beyond_the_range_is_red() {
    let mut face = Face::new();
    let point = face.story.watch.directory().find("TF.a").unwrap();
    let over = Quality::Uncertain(crate::reading::UncertainCause::OverRange);
    let reading = Reading::new(point, 4.4, over, Story::moment(11.0));
    face.story.until(11.0);
    let mut stored = Vec::new();
    let number = MessageNumber {
        run: 1,
        sequence: face.sequence + 1,
    };
    let rows = [(u64::from(point.0) + 1, WireType::Float, &reading)];
    encode_data(&mut stored, Story::moment(11.0), Some(number), rows);
    let mut payload = Vec::new();
    finish(&stored, Story::moment(11.0), 0, false, &mut payload).unwrap();
    face.story.device(GAS, DeviceMessage::Data, payload);
    assert_eq!(face.story.colour(), Colour::Red);
}

#[test]
fn no_data_does_not_take_the_red_back() {
    let mut face = Face::new();
    face.say(3.0, 11.0);
    face.steady(None, (100.0, 60.0 * MINUTE));
    assert_eq!(face.story.alarm_state("TF.a.loss_of_view"), State::Unacked);
    assert_eq!(face.story.colour(), Colour::Red);
    // A good reading below the reset, for the off-delay and the hold, does.
    face.steady(Some(2.95), (61.0 * MINUTE, 80.0 * MINUTE));
    assert_eq!(face.story.colour(), Colour::Red, "not below its reset");
    face.steady(Some(2.0), (81.0 * MINUTE, 92.0 * MINUTE));
    face.story.until(92.5 * MINUTE);
    assert_eq!(face.story.colour(), Colour::Red, "held for 10 min");
    face.story.until(93.0 * MINUTE);
    assert_eq!(face.story.colour(), Colour::Orange, "the cut has lasted");
}

#[test]
fn a_cut_that_lasts_is_orange_at_a_mine() {
    let mut face = Face::new();
    face.say(2.0, 20.0);
    face.steady(Some(2.0), (100.0, 600.0));
    face.story.until(619.0);
    assert_eq!(face.story.colour(), Colour::Yellow);
    face.story.until(620.0);
    assert_eq!(face.story.colour(), Colour::Orange);
}

/// Order 21 art. 5(8).
#[test]
fn three_percent_for_ten_minutes_must_be_put_right_at_once() {
    let day = 24 * 60;
    // Below 3 %; at 3 %; and at 3 % once, with no data after it.
    for (percent, then) in [(2.99, Some(2.99)), (3.0, Some(3.0)), (3.0, None)] {
        let mut face = Face::new();
        face.say(percent, 20.0);
        assert_eq!(face.stands("TF.a"), Some((Class::Major, day)), "each cut");
        face.steady(then, (100.0, 600.0));
        face.story.until(619.0);
        assert!(!face.was_told("TF.a"));
        face.story.until(620.0);
        assert_eq!(face.was_told("TF.a"), percent >= 3.0, "{percent} {then:?}");
        let minutes = if percent >= 3.0 { 10 + 60 } else { day };
        assert_eq!(face.stands("TF.a"), Some((Class::Major, minutes)));
    }
}

#[test]
fn three_percent_that_returns_before_ten_minutes_does_not() {
    let mut face = Face::new();
    face.say(3.0, 20.0);
    face.steady(Some(2.0), (100.0, 900.0));
    assert!(!face.was_told("TF.a"));
}

/// Order 21 art. 14(4) and 20(11): no alarm and no cut follows from what is not seen.
#[test]
fn a_mine_sensor_that_cannot_be_seen_is_a_candidate_at_once() {
    let mut face = Face::new();
    // Silent from second 10 on; lost from second 370 on; an entry after ten minutes.
    face.steady(None, (100.0, 900.0));
    face.story.until(969.0);
    assert_eq!(face.stands("TF.a"), None);
    face.story.until(970.0);
    assert_eq!(face.stands("TF.a"), Some((Class::Major, 60)));
    // Its unit or gateway hides it as well, and so does that of a belt's CO sensor.
    for silent in ["gas", "far"] {
        let mut face = Face::new();
        face.steady(Some(0.2), (50.0, 50.0));
        face.story.unit_dead("gw", silent);
        face.story.until(40.0 * MINUTE);
        let subject = format!("gw/{silent}");
        assert_eq!(face.stands(&subject), Some((Class::Major, 60)));
    }
    let mut face = Face::new();
    face.steady(Some(0.2), (100.0, 100.0));
    face.story.node_dead("gw", 1);
    face.story.until(20.0 * MINUTE);
    assert_eq!(face.stands("gw"), Some((Class::Major, 60)));
}

/// A chemical plant whose loss of view is a candidate after 2 h, or with half of a source.
fn plant() -> Face {
    let mut files = files(SITE, &slow(POINTS));
    let unseen = "unseen = { after = \"24h\"";
    assert!(files[2].text.contains(unseen));
    files[2].text = files[2].text.replace(unseen, "unseen = { after = \"2h\"");
    let mut story = Story::new();
    story.give(config_input(files));
    story.all_born();
    Face { story, sequence: 0 }
}

#[test]
fn a_loss_of_view_that_lasts_is_a_candidate() {
    let mut face = plant();
    face.rest(10.0);
    face.say(0.2, 10.0);
    // Lost at second 370: one of four.
    face.steady(None, (100.0, 370.0 + 119.0 * MINUTE));
    assert_eq!(face.stands("TF.a"), Some((Class::General, 8 * 60)));
    face.story.until(369.0 + 120.0 * MINUTE);
    assert!(!face.was_told("TF.a"));
    face.story.until(370.0 + 120.0 * MINUTE);
    assert_eq!(face.stands("TF.a"), Some((Class::Major, 8 * 60)));
    assert!(face.was_told("TF.a"));
}

/// A sensor that is no gas detector waits 30 min and not 10.
#[test]
fn a_point_of_no_gas_that_cannot_be_seen_enters_later() {
    let mut face = plant();
    let points = POINTS.replace("TF.a,甲,A,cl2", "TF.a,甲,A,state");
    let files = files(SITE, &slow(&points));
    face.story.give(config_input(files));
    face.rest(10.0);
    face.say(0.2, 10.0);
    face.steady(None, (100.0, 370.0 + 29.0 * MINUTE));
    face.story.until(369.0 + 30.0 * MINUTE);
    assert_eq!(face.stands("TF.a"), None);
    face.story.until(370.0 + 30.0 * MINUTE);
    assert_eq!(face.stands("TF.a"), Some((Class::General, 8 * 60)));
}

#[test]
fn level_one_that_lasts_is_general_with_three_days() {
    let mut face = plant();
    face.rest(10.0);
    face.say(1.0, 10.0);
    face.steady(Some(1.0), (100.0, 30.0 * MINUTE));
    // Raised when the on-delay of 3 s was over, as the reading at second 100 says.
    face.story.until(99.0 + 30.0 * MINUTE);
    assert_eq!(face.stands("TF.a"), None);
    face.story.until(100.0 + 30.0 * MINUTE);
    assert_eq!(face.stands("TF.a"), Some((Class::General, 3 * 24 * 60)));
}

#[test]
fn a_loss_of_view_of_much_of_a_source_is_a_candidate() {
    for (seen, class) in [
        (&["TF.b", "TF.c", "TF.d"][..], Class::General),
        (&["TF.c", "TF.d"], Class::Major),
        (&["TF.d"], Class::Major),
    ] {
        let mut face = plant();
        face.rest(10.0);
        face.say(0.2, 10.0);
        let mut at = 100.0;
        while at < 20.0 * MINUTE {
            face.story.until(at);
            for (tag, place) in [
                ("TF.b", GAS),
                ("TF.c", ("gw", "far")),
                ("TF.d", ("other", "gas")),
            ] {
                if seen.contains(&tag) {
                    face.sequence += 1;
                    face.story.data(place, (1, face.sequence), &[(tag, 0.2)]);
                }
            }
            at += 100.0;
        }
        assert_eq!(face.stands("TF.a"), Some((class, 8 * 60)), "{seen:?}");
    }
}
