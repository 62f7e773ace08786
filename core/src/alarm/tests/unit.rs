//! A unit that answers wrongly: one cause, one alarm.

use super::*;

/// Points `P0`… of one unit, each with its loss of view, and that of the unit.
fn rig(points: u32) -> Rig {
    let mut alarms = Vec::new();
    for place in 0..points {
        alarms.push(lost(Subject::Point(PointId(place))));
    }
    alarms.push(lost(Subject::Unit("G1".to_owned(), "U1".to_owned())));
    Rig::with(
        (0..points).map(|place| point(place, "1s")).collect(),
        alarms,
    )
}

fn lost(subject: Subject) -> AlarmDefinition {
    AlarmDefinition {
        on_delay: Duration::from_secs(10),
        off_delay: Duration::from_secs(2),
        ..alarm(subject, Condition::System(SystemCondition::LossOfView))
    }
}

/// One message: the readings of all points, in their order.
fn message(rig: &mut Rig, at: &str, words: &[&str]) {
    rig.effects.clear();
    let now = moment(at);
    rig.pass(now);
    let readings: Vec<_> = (0..)
        .zip(words)
        .map(|(place, word)| reading(PointId(place), word, now))
        .collect();
    let readings = &readings;
    let lane = Lane::Live;
    rig.apply(
        now,
        Input::Readings {
            lane,
            turn: Turn::Unnumbered,
            readings,
        },
    );
}

/// The same word of every point, each second from `from` to `until`.
fn poll(rig: &mut Rig, (from, until): (u64, u64), words: &[&str]) {
    for second in from..=until {
        message(rig, &format!("{second}s"), words);
    }
}

#[test]
fn a_unit_that_answers_wrongly_is_one_alarm() {
    for wrong in ["garbled", "exception", "mute"] {
        let mut rig = rig(30);
        poll(&mut rig, (0, 4), &["50"; 30]);
        poll(&mut rig, (5, 14), &[wrong; 30]);
        assert_eq!(rig.list(), [""; 0], "{wrong}");
        poll(&mut rig, (15, 60), &[wrong; 30]);
        assert_eq!(rig.list(), ["G1.U1.loss_of_view UNACK"], "{wrong}");
        poll(&mut rig, (61, 62), &["50"; 30]);
        assert_eq!(rig.list(), ["G1.U1.loss_of_view UNACK"], "{wrong}");
        poll(&mut rig, (63, 63), &["50"; 30]);
        assert_eq!(rig.list(), ["G1.U1.loss_of_view RTNUN"], "{wrong}");
    }
}

#[test]
fn why_a_unit_is_out_of_view_is_what_most_of_its_points_say() {
    let mut rig = rig(4);
    poll(&mut rig, (0, 4), &["50"; 4]);
    assert_eq!(rig.engine.lost_by("G1", "U1"), None);
    poll(&mut rig, (5, 5), &["50", "50", "50", "exception"]);
    assert_eq!(rig.engine.lost_by("G1", "U1"), None, "one register");
    for (second, word, cause) in [
        (6, "garbled", BadCause::Garbled),
        (7, "mute", BadCause::NoAnswer),
        (8, "exception", BadCause::Exception),
    ] {
        poll(&mut rig, (second, second), &[word, word, word, "mute"]);
        assert_eq!(rig.engine.lost_by("G1", "U1"), Some(cause));
    }
    // The gateway gives it up as well: how it answered last is still what is known.
    rig.step("9s", "unit-lost");
    assert_eq!(rig.engine.lost_by("G1", "U1"), Some(BadCause::Exception));
    rig.step("10s", "gateway-lost");
    assert_eq!(rig.engine.lost_by("G1", "U1"), Some(BadCause::LinkDown));
    assert_eq!(rig.engine.lost_by("G1", "U9"), None, "nobody knows it");
}

#[test]
fn a_register_that_does_not_exist_is_the_points_own_alarm() {
    let mut rig = rig(4);
    poll(&mut rig, (0, 4), &["50"; 4]);
    poll(&mut rig, (5, 15), &["50", "exception", "50", "50"]);
    assert_eq!(rig.list(), ["P1.loss_of_view UNACK"]);
    // Nor is a unit with one point told from its point.
    let mut rig = self::rig(1);
    poll(&mut rig, (0, 10), &["garbled"]);
    assert_eq!(rig.list(), ["P0.loss_of_view UNACK"]);
}

#[test]
fn a_point_that_stays_wrong_when_its_unit_is_right_again_is_told_then() {
    let mut rig = rig(4);
    poll(&mut rig, (0, 4), &["50"; 4]);
    poll(&mut rig, (5, 30), &["garbled"; 4]);
    poll(&mut rig, (31, 40), &["50", "50", "50", "garbled"]);
    assert_eq!(rig.list(), ["G1.U1.loss_of_view RTNUN"]);
    poll(&mut rig, (41, 41), &["50", "50", "50", "garbled"]);
    assert_eq!(
        rig.list(),
        ["G1.U1.loss_of_view RTNUN", "P3.loss_of_view UNACK"]
    );
}

#[test]
fn a_broken_loop_of_a_unit_that_answers_wrongly_is_told_beside_it() {
    let mut rig = rig(4);
    poll(&mut rig, (0, 4), &["50"; 4]);
    poll(&mut rig, (5, 20), &["garbled"; 4]);
    poll(
        &mut rig,
        (21, 31),
        &["bad", "garbled", "garbled", "garbled"],
    );
    assert_eq!(
        rig.list(),
        ["G1.U1.loss_of_view UNACK", "P0.loss_of_view UNACK"]
    );
}

#[test]
fn silence_and_a_lost_gateway_are_no_recovery_of_a_unit() {
    let mut rig = rig(4);
    poll(&mut rig, (0, 4), &["50"; 4]);
    poll(&mut rig, (5, 15), &["garbled"; 4]);
    assert_eq!(rig.list(), ["G1.U1.loss_of_view UNACK"]);
    rig.step("16s", "gateway-lost");
    rig.step("600s", "tick");
    rig.step("601s", "gateway-back");
    rig.step("602s", "tick");
    assert_eq!(rig.list(), ["G1.U1.loss_of_view UNACK"]);
    // And what the gateway says of the unit goes on beside what its points say.
    rig.step("603s", "unit-lost");
    rig.step("604s", "unit-back");
    poll(&mut rig, (605, 607), &["50"; 4]);
    assert_eq!(rig.list(), ["G1.U1.loss_of_view RTNUN"]);
}

#[test]
fn without_an_alarm_of_the_unit_each_point_speaks_for_itself() {
    let mut rig = rig(2);
    let alarms = rig.alarms[..2].to_vec();
    rig = Rig::with(rig.points, alarms);
    poll(&mut rig, (0, 10), &["garbled"; 2]);
    assert_eq!(
        rig.list(),
        ["P0.loss_of_view UNACK", "P1.loss_of_view UNACK"]
    );
}

#[test]
fn a_unit_that_loses_its_points_by_configuration_is_not_wrong_for_ever() {
    let mut rig = rig(3);
    poll(&mut rig, (0, 10), &["garbled"; 3]);
    assert_eq!(rig.list(), ["G1.U1.loss_of_view UNACK"]);
    let mut moved = rig.points.clone();
    for point in &mut moved {
        point.device = "U2".to_owned();
    }
    let alarms = rig.alarms.clone();
    rig.reconfigure_to("11s", moved, alarms);
    rig.step("12s", "tick");
    assert_eq!(rig.list()[0], "G1.U1.loss_of_view RTNUN");
    assert_eq!(rig.list().len(), 4, "the other unit has no alarm");
}

#[test]
fn a_unit_that_dies_leaves_its_points_the_cause_that_was_read() {
    for (wrong, cause) in [
        ("garbled", BadCause::Garbled),
        ("exception", BadCause::Exception),
        ("mute", BadCause::NoAnswer),
    ] {
        let mut rig = rig(4);
        poll(&mut rig, (0, 4), &["50"; 4]);
        message(&mut rig, "5s", &[wrong; 4]);
        rig.step("5s", "unit-lost");
        let quality = |rig: &Rig| rig.engine.quality(PointId(0));
        assert_eq!(quality(&rig), Quality::Bad(cause));
        rig.step("15s", "tick");
        assert_eq!(rig.list(), ["G1.U1.loss_of_view UNACK"], "{wrong}");
        rig.step("16s", "gateway-lost");
        assert_eq!(quality(&rig), Quality::Bad(BadCause::LinkDown), "{wrong}");
        rig.step("17s", "gateway-back");
        rig.step("18s", "unit-back");
        assert!(!rig.engine.quality(PointId(0)).is_good(), "no reading yet");
        poll(&mut rig, (19, 22), &["50"; 4]);
        assert_eq!(rig.list(), ["G1.U1.loss_of_view RTNUN"], "{wrong}");
    }
}
