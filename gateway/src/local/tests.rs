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
        }
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
                    .map(|(id, _)| Reading::new(id, 0.0, quality, now))
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
