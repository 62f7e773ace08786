//! What sounds at the edge when it sees less than it should.

use std::path::Path;

use davy_core::alarm::Priority;
use davy_core::reading::{BadCause, PointId, Quality, UncertainCause};

use super::*;

const GATEWAY: &str = "tank-farm";
const LOST: &str = "tank-farm/nh3-gas.loss_of_view";

/// A gateway of the demonstration, polled each second, with values that reach no limit.
struct Edge {
    config: Config,
    alarms: LocalAlarms,
    now: i64,
    elapsed: u64,
    /// What every point measures.
    value: f64,
}

impl Edge {
    fn new(change: impl Fn(&mut Config)) -> Self {
        let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/demo/site.toml");
        let mut config = crate::config::read_site(&site).expect("the demo has no fault");
        // Only the ammonia detectors: their level is calm at 0.
        config.alarms.retain(|alarm| match &alarm.subject {
            Subject::Point(point) => config.points[point.index()].device == "nh3-gas",
            Subject::Unit(_, unit) => unit == "nh3-gas",
            Subject::Gateway(_) | Subject::Centre => true,
        });
        change(&mut config);
        Self {
            alarms: LocalAlarms::new(&config, GATEWAY),
            config,
            now: 1_763_000_000_000,
            elapsed: 0,
            value: 0.0,
        }
    }

    /// The gateway is killed, and started again so many seconds later.
    fn restart(&mut self, away: u64) {
        let kept = self.alarms.kept().expect("written");
        self.alarms = LocalAlarms::resume(&self.config, GATEWAY, &kept).expect("read");
        self.now += i64::try_from(away).expect("small") * 1000;
        self.elapsed = 0;
    }

    /// So many seconds in which every point of the unit has this quality; no poll without one.
    fn pass(&mut self, seconds: u64, quality: Option<Quality>, centre: bool) {
        for _ in 0..seconds {
            self.now += 1000;
            self.elapsed += 1;
            let now = Timestamp(self.now);
            if let Some(quality) = quality {
                let points = (0..).map(PointId).zip(&self.config.points);
                let own = points.filter(|(_, it)| it.gateway == GATEWAY && it.device == "nh3-gas");
                let readings: Vec<_> = own
                    .map(|(id, _)| Reading::new(id, self.value, quality, now))
                    .collect();
                let state = match quality {
                    Quality::Bad(BadCause::NoAnswer) => UnitState::Silent,
                    _ => UnitState::Alive,
                };
                self.alarms.judge(now, "nh3-gas", state, &readings);
            }
            self.alarms.tick(now);
            let elapsed = Duration::from_secs(self.elapsed);
            self.alarms.centre_is_there(centre, elapsed);
        }
    }

    fn sounding(&self) -> Vec<&str> {
        self.alarms.sounding().collect()
    }
}

const GOOD: Option<Quality> = Some(Quality::Good);
const SILENT: Option<Quality> = Some(Quality::Bad(BadCause::NoAnswer));

#[test]
fn a_unit_that_is_not_seen_sounds_after_its_delay_and_until_it_is_seen() {
    for wrong in [BadCause::NoAnswer, BadCause::Garbled, BadCause::Exception] {
        let mut edge = Edge::new(|_| {});
        edge.pass(60, GOOD, false);
        edge.pass(30, Some(Quality::Bad(wrong)), false);
        assert_eq!(edge.sounding(), [""; 0], "{wrong:?}");
        edge.pass(2, Some(Quality::Bad(wrong)), false);
        assert_eq!(edge.sounding(), [LOST], "{wrong:?}: one cause, one alarm");
        edge.pass(20, GOOD, false);
        assert_eq!(edge.sounding(), [""; 0], "{wrong:?}");
    }
}

#[test]
fn a_point_that_is_not_seen_sounds() {
    let mut edge = Edge::new(|_| {});
    edge.pass(60, Some(Quality::Bad(BadCause::OpenWire)), false);
    assert!(!edge.sounding().is_empty());
    assert!(!edge.sounding().contains(&LOST), "it answers");
}

#[test]
fn the_start_and_the_hold_of_a_loop_are_silent() {
    let mut edge = Edge::new(|_| {});
    edge.pass(25, None, false);
    assert_eq!(edge.sounding(), [""; 0], "not polled yet");
    edge.pass(60, GOOD, false);
    let held = Quality::Uncertain(UncertainCause::Unspecified);
    edge.pass(4, Some(held), false);
    edge.pass(60, GOOD, false);
    assert_eq!(edge.sounding(), [""; 0]);
}

#[test]
fn what_is_never_polled_sounds_in_the_end() {
    let mut edge = Edge::new(|_| {});
    edge.pass(60, None, false);
    assert!(!edge.sounding().is_empty());
}

#[test]
fn a_clock_that_is_set_is_no_silence() {
    let mut edge = Edge::new(|_| {});
    edge.pass(60, GOOD, false);
    for step in [3_600_000, -7_200_000, 31_536_000_000] {
        edge.now += step;
        edge.pass(60, GOOD, false);
        assert_eq!(edge.sounding(), [""; 0], "{step} ms");
    }
}

#[test]
fn a_lower_priority_does_not_sound() {
    let mut edge = Edge::new(|config| {
        for alarm in &mut config.alarms {
            if matches!(alarm.condition, Condition::System(_)) {
                alarm.priority = Priority::try_from(3).expect("a priority");
            }
        }
    });
    edge.pass(60, GOOD, false);
    edge.pass(60, SILENT, false);
    assert_eq!(edge.sounding(), [""; 0]);
}

#[test]
fn what_the_centre_has_seen_is_no_news_until_it_comes_again() {
    let mut edge = Edge::new(|_| {});
    edge.pass(60, GOOD, true);
    edge.pass(31 + KNOWN_AFTER.as_secs() + 1, SILENT, true);
    edge.pass(600, SILENT, false);
    assert_eq!(edge.sounding(), [""; 0], "known");
    edge.pass(20, GOOD, false);
    edge.pass(32, SILENT, false);
    assert_eq!(edge.sounding(), [LOST], "it came again");
}

#[test]
fn a_loss_of_view_is_known_by_what_it_is_and_not_by_its_name() {
    let mut edge = Edge::new(|config| {
        for alarm in &mut config.alarms {
            alarm.name = format!("{}, or what it is called", alarm.name);
        }
    });
    edge.pass(60, GOOD, true);
    edge.pass(31 + KNOWN_AFTER.as_secs() + 1, SILENT, true);
    edge.pass(60, SILENT, false);
    assert_eq!(edge.sounding(), [""; 0], "known");
}

#[test]
fn what_the_centre_can_hardly_have_seen_sounds() {
    let mut edge = Edge::new(|_| {});
    edge.pass(60, GOOD, true);
    edge.pass(31 + KNOWN_AFTER.as_secs() / 2, SILENT, true);
    edge.pass(1, SILENT, false);
    assert_eq!(edge.sounding(), [LOST]);
    // Half a minute twice is no minute.
    edge.pass(KNOWN_AFTER.as_secs() / 2 + 1, SILENT, true);
    edge.pass(1, SILENT, false);
    assert_eq!(edge.sounding(), [LOST]);
}

/// Level 2 of ammonia; its reset is 36.
const LEVEL_2: f64 = 41.0;

#[test]
fn a_restart_is_no_recovery_of_what_is_between_reset_and_limit() {
    let mut edge = Edge::new(|_| {});
    edge.pass(60, GOOD, false);
    edge.value = LEVEL_2;
    edge.pass(60, GOOD, false);
    let both: Vec<_> = edge.sounding().into_iter().map(str::to_owned).collect();
    assert!(both.iter().any(|name| name.contains(".gas2")), "{both:?}");
    edge.value = 38.0;
    edge.pass(10, GOOD, false);
    for away in [1, 60, 86_400] {
        edge.restart(away);
        assert_eq!(edge.sounding(), both, "before any reading");
        edge.pass(120, GOOD, false);
        assert_eq!(edge.sounding(), both, "{away} s away");
    }
    edge.value = 0.0;
    edge.pass(120, GOOD, false);
    assert_eq!(edge.sounding(), [""; 0]);
    edge.restart(5);
    edge.pass(60, GOOD, false);
    assert_eq!(edge.sounding(), [""; 0], "what is over does not come back");
}

#[test]
fn a_restart_is_no_recovery_of_what_is_not_seen() {
    for quality in [None, SILENT, Some(Quality::Bad(BadCause::OpenWire))] {
        let mut edge = Edge::new(|_| {});
        edge.value = LEVEL_2;
        edge.pass(60, GOOD, false);
        edge.pass(60, quality, false);
        let before: Vec<_> = edge.sounding().into_iter().map(str::to_owned).collect();
        assert!(before.iter().any(|name| name.contains(".gas2")));
        edge.restart(20);
        for second in 0..60 {
            edge.pass(1, quality, false);
            for alarm in &before {
                assert!(edge.sounding().contains(&&**alarm), "{alarm} {second} s");
            }
        }
        edge.value = 0.0;
        edge.pass(180, GOOD, false);
        assert_eq!(edge.sounding(), [""; 0]);
    }
}

#[test]
fn what_the_centre_has_seen_is_known_after_a_restart_too() {
    let mut edge = Edge::new(|_| {});
    edge.pass(60, GOOD, true);
    edge.pass(31 + KNOWN_AFTER.as_secs() + 1, SILENT, true);
    edge.restart(3);
    edge.pass(120, SILENT, false);
    assert_eq!(edge.sounding(), [""; 0]);
    edge.pass(20, GOOD, false);
    edge.pass(32, SILENT, false);
    assert_eq!(edge.sounding(), [LOST], "it came again");
}

#[test]
fn nothing_is_known_before_each_point_was_looked_at() {
    let calibrates = Some(Quality::Uncertain(UncertainCause::Calibration));
    for (quality, seconds) in [(GOOD, 1), (calibrates, 1), (None, 30), (SILENT, 30)] {
        let mut edge = Edge::new(|_| {});
        assert!(!edge.alarms.knows());
        edge.pass(seconds - 1, quality, false);
        assert!(!edge.alarms.knows(), "{quality:?}");
        edge.pass(2, quality, false);
        assert!(edge.alarms.knows(), "{quality:?} {seconds} s");
    }
}

#[test]
fn a_loss_of_view_that_is_not_annunciated_is_waited_for_all_the_same() {
    let mut edge = Edge::new(|config| {
        for alarm in &mut config.alarms {
            if matches!(alarm.condition, Condition::System(_)) {
                alarm.priority = Priority::try_from(3).expect("a priority");
            }
        }
    });
    edge.pass(20, SILENT, false);
    assert!(!edge.alarms.knows());
    edge.pass(20, SILENT, false);
    assert!(edge.alarms.knows());
    assert_eq!(edge.sounding(), [""; 0]);
}

#[test]
fn what_has_left_the_configuration_is_forgotten_and_other_texts_are_refused() {
    let mut edge = Edge::new(|_| {});
    edge.value = LEVEL_2;
    edge.pass(60, GOOD, false);
    let tag = edge.sounding()[0].rsplit_once('.').expect("a name").0;
    let tag = format!("{tag}.");
    let rest = edge.sounding();
    let rest = rest.iter().filter(|name| !name.starts_with(&tag)).count();
    assert!(rest > 0 && rest < edge.sounding().len());
    let other = Edge::new(|config| {
        config.alarms.retain(|alarm| !alarm.name.starts_with(&tag));
    });
    let kept = edge.alarms.kept().expect("written");
    let resumed = LocalAlarms::resume(&other.config, GATEWAY, &kept).expect("read");
    assert_eq!(resumed.sounding().count(), rest);
    for text in ["", "{}", "null", "[1]"] {
        assert!(LocalAlarms::resume(&other.config, GATEWAY, text).is_err());
    }
}

#[test]
fn what_is_kept_is_small_while_nothing_is_active() {
    let mut edge = Edge::new(|_| {});
    edge.pass(60, GOOD, false);
    let kept = edge.alarms.kept().expect("written");
    assert!(kept.len() < 1000, "{kept}");
}
