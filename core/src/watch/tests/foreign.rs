//! Nodes that are not Davy's: what they call good, and messages of theirs that are half right.

use super::faults::{metric, payload};
use super::*;
use crate::reading::{READINGS_MAX, UncertainCause};
use crate::sparkplug::DataType;
use crate::sparkplug::payload::{Metric, MetricValue};

const GAS: (&str, &str) = ("gw", "gas");
const OVER: Quality = Quality::Uncertain(UncertainCause::OverRange);
const UNDER: Quality = Quality::Uncertain(UncertainCause::UnderRange);

fn bd_seq(value: u64) -> Metric {
    Metric {
        name: Some("bdSeq".into()),
        datatype: Some(DataType::UInt64.number()),
        value: Some(MetricValue::Long(value)),
        ..Metric::default()
    }
}

impl Story {
    /// A value that a node which does not number its messages calls good, by its tag.
    fn plain(&mut self, tag: &str, value: f64) -> Vec<Effect> {
        let message = payload(self, vec![metric(tag, None, value, self.clock())]);
        self.device(GAS, DeviceMessage::Data, message)
    }
}

#[test]
fn a_dead_sensors_number_does_not_end_a_gas_alarm() {
    for dead in [-1e30, -9_999.0, 5_000.0] {
        let mut story = Story::new();
        let birth = payload(&story, vec![bd_seq(1)]);
        story.node("gw", NodeMessage::Birth, birth);
        for second in 1..6 {
            story.until(f64::from(second));
            story.plain("TF.a", 9.0);
        }
        assert_eq!(story.alarm_state("TF.a.gas2"), State::Unacked);
        for second in 6..81 {
            story.until(f64::from(second));
            story.plain("TF.a", dead);
        }
        assert_eq!(story.alarm_state("TF.a.gas2"), State::Unacked, "{dead}");
        let expected = if dead > 0.0 { OVER } else { UNDER };
        assert_eq!(story.quality("TF.a"), expected, "{dead}");
    }
}

#[test]
fn what_a_birth_says_is_judged_against_the_range_as_well() {
    let mut story = Story::new();
    let birth = payload(&story, vec![bd_seq(1)]);
    story.node("gw", NodeMessage::Birth, birth);
    story.until(1.0);
    let at = story.clock();
    let (by_alias, by_name) = (
        metric("TF.a", Some(7), -40.0, at),
        metric("TF.b", None, 40.0, at),
    );
    let birth = payload(&story, vec![by_alias, by_name]);
    story.device(GAS, DeviceMessage::Birth, birth);
    assert_eq!(
        (story.quality("TF.a"), story.quality("TF.b")),
        (UNDER, OVER)
    );
    story.until(2.0);
    let message = payload(&story, vec![metric("", Some(7), 10.0, story.clock())]);
    story.device(GAS, DeviceMessage::Data, message);
    assert_eq!(story.quality("TF.a"), Quality::Good, "the end is in it");
}

#[test]
fn a_birth_that_cannot_be_used_changes_nothing() {
    let mut story = Story::new();
    let birth = payload(&story, vec![bd_seq(1)]);
    story.node("gw", NodeMessage::Birth, birth);
    let death = payload(&story, vec![bd_seq(1)]);
    story.node("gw", NodeMessage::Death, death);
    story.until(60.0);
    assert_eq!(story.alarm_state("gw.loss_of_view"), State::Unacked);
    // More readings than a message may hold.
    let mut metrics = vec![metric("TF.a", None, 0.2, story.clock()); READINGS_MAX + 1];
    metrics.push(bd_seq(2));
    let birth = payload(&story, metrics);
    let effects = story.node("gw", NodeMessage::Birth, birth);
    assert!(matches!(
        link_events(&effects)[..],
        [LinkEvent::Unusable { .. }]
    ));
    assert_eq!(returned(&effects), [""; 0], "nobody was born by it");
    let gateway = story.watch.gateways().get("gw").unwrap();
    assert!(!gateway.online);
    // One that can be used is, and its death counts.
    let birth = payload(&story, vec![bd_seq(3)]);
    story.node("gw", NodeMessage::Birth, birth);
    assert!(returned(&story.until(300.0)).contains(&"gw.loss_of_view"));
    let death = payload(&story, vec![bd_seq(3)]);
    let effects = story.node("gw", NodeMessage::Death, death);
    assert_eq!(raised(&effects), ["gw.loss_of_view"]);
}

#[test]
fn deaths_that_cannot_be_read_or_of_nobody_are_counted() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    story.data(GAS, (1, 1), &[("TF.a", 0.2)]);
    let effects = story.device(GAS, DeviceMessage::Death, vec![0xff; 9]);
    assert!(
        matches!(
            link_events(&effects)[..],
            [LinkEvent::Unusable { .. }, LinkEvent::Offline]
                | [LinkEvent::Offline, LinkEvent::Unusable { .. }]
        ),
        "{effects:?}"
    );
    assert!(
        raised(&effects).contains(&"gw/gas.loss_of_view"),
        "and yet it is gone"
    );
    assert_eq!(story.watch.gateways().get("gw").unwrap().unusable, 1);
    story.until(2.0);
    let before = story.watch.gateways().get("gw").unwrap().unknown;
    let effects = story.unit_dead("gw", "nobody");
    assert_eq!(link_events(&effects), [&LinkEvent::Offline]);
    assert_eq!(
        story.watch.gateways().get("gw").unwrap().unknown,
        before + 1
    );
}
