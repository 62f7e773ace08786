//! Another configuration in the place of the one in force.

use super::*;

#[test]
fn an_alarm_with_another_limit_keeps_its_state() {
    let mut rig = Rig::new("h 80");
    rig.step("0s", "81");
    rig.step("1s", "ack");
    rig.reconfigure("2s", "h 75, deadband 5");
    assert_eq!(rig.effects, []);
    assert_eq!(rig.shown(), "ACKED");
    assert_eq!(rig.step("3s", "71"), "ACKED");
    assert_eq!(rig.step("4s", "69"), "NORM");
}

#[test]
fn a_moved_limit_is_judged_at_once_by_the_last_good_value() {
    let mut rig = Rig::new("h 80");
    rig.step("0s", "78");
    rig.reconfigure("1s", "h 75");
    assert_eq!(rig.shown(), "UNACK!");
    rig.reconfigure("2s", "h 90");
    assert_eq!(rig.shown(), "RTNUN");
    rig.step("3s", "bad");
    rig.reconfigure("4s", "h 70");
    assert_eq!(rig.shown(), "RTNUN?", "never by a value that is not good");
}

#[test]
fn a_running_delay_survives() {
    let mut rig = Rig::new("h 80, on-delay 5s");
    rig.step("0s", "81");
    rig.step("3s", "81");
    rig.reconfigure("4s", "h 79, on-delay 5s, hh 90");
    assert_eq!(rig.step("5s", "81"), "UNACK!/NORM");
}

#[test]
fn a_removed_alarm_leaves_the_list_and_comes_back_new() {
    let mut rig = Rig::new("h 80, hh 90");
    rig.step("0s", "91");
    rig.reconfigure("1s", "hh 90");
    let removed: Vec<_> = rig.changes().collect();
    assert_eq!(removed.len(), 1);
    assert_eq!(
        (&*removed[0].alarm, &removed[0].cause),
        ("P0.h", &Cause::Removed { unanswered: true })
    );
    assert_eq!(rig.list(), ["P0.hh UNACK"]);
    // Of one that was answered it is not said.
    let mut answered = Rig::new("h 80");
    answered.step("0s", "81");
    answered.step("1s", "ack");
    answered.reconfigure("2s", "hh 90");
    let cause = &answered.changes().next().unwrap().cause;
    assert_eq!(cause, &Cause::Removed { unanswered: false });
    rig.reconfigure("2s", "h 80, hh 90");
    assert_eq!(rig.shown(), "UNACK/UNACK");
    let raised = rig.changes().next().unwrap();
    assert_eq!(raised.occurrence, 3, "a number is never used again");
}

#[test]
fn the_same_name_for_something_else_is_another_alarm() {
    let mut rig = Rig::new("h 80");
    rig.step("0s", "81");
    let (points, mut alarms) = parse("l 20");
    alarms[0].name = "P0.h".to_owned();
    rig.reconfigure_to("1s", points, alarms);
    assert_eq!(
        rig.changes().next().unwrap().cause,
        Cause::Removed { unanswered: true }
    );
    assert_eq!(rig.shown(), "NORM");
}

#[test]
fn a_value_in_another_unit_says_nothing() {
    let mut rig = Rig::new("h 80");
    rig.step("1s", "81");
    rig.step("1s", "late:81@0s");
    let (mut points, alarms) = parse("h 80");
    points[0].unit = "m".to_owned();
    rig.reconfigure_to("2s", points, alarms);
    assert_eq!(rig.engine.last(PointId(0)), None);
    assert_eq!(rig.list(), [""; 0]);
    rig.step("3s", "late:81@0s");
    assert_eq!(rig.list(), ["P0.h late UNACK"], "its store begins anew too");
}

#[test]
fn points_and_alarms_may_change_places() {
    let mut rig = Rig::new("h 80, hh 90");
    rig.step("0s", "91");
    rig.step("1s", "late:85@0s");
    let alarms = ["hh 90", "h 80"].map(|config| parse(config).1);
    let mut alarms = alarms.concat();
    for alarm in &mut alarms {
        alarm.subject = Subject::Point(PointId(1));
    }
    let mut moved = point(0, "1s");
    moved.tag = "other".to_owned();
    rig.reconfigure_to("2s", vec![moved, point(0, "1s")], alarms);
    assert_eq!(rig.effects, []);
    assert_eq!(rig.list(), ["P0.hh UNACK", "P0.h UNACK"]);
    assert_eq!(rig.engine.last(PointId(0)), None);
    assert_eq!(rig.engine.last(PointId(1)).unwrap().value, 91.0);
}

#[test]
fn a_point_that_moves_to_another_gateway_leaves_its_outage_behind() {
    let mut rig = Rig::new("h 80, view, on-delay 10s");
    rig.step("0s", "50");
    rig.step("1s", "gateway-lost");
    let (mut points, alarms) = parse("h 80, view, on-delay 10s");
    points[0].gateway = "G2".to_owned();
    rig.reconfigure_to("2s", points, alarms);
    assert_eq!(rig.step("31s", "tick"), "NORM/NORM");
    assert_eq!(rig.step("32s", "tick"), "NORM/UNACK?!");
}
