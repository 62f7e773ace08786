//! Whether points, units and gateways can be seen.

use super::*;

#[test]
fn a_silent_point_is_stale_after_three_periods_but_not_before_15_s() {
    for (period, stale) in [("1s", 15_000), ("10s", 30_000)] {
        let mut rig = Rig::new(&format!("h 80, period {period}"));
        rig.step("0s", "50");
        let at = |ms: i64| format!("{ms}ms");
        rig.step(&at(stale - 1), "tick");
        assert!(rig.engine.quality(PointId(0)).is_good());
        rig.step(&at(stale), "tick");
        let last = rig.engine.last(PointId(0)).unwrap();
        assert_eq!(last.quality, Quality::Uncertain(UncertainCause::Stale));
        assert_eq!(last.value, 50.0);
        rig.step(&at(stale + 1), "50");
        assert!(rig.engine.quality(PointId(0)).is_good());
    }
}

#[test]
fn a_silent_point_is_in_loss_of_view_after_30_s() {
    let mut rig = Rig::new("view, on-delay 10s, off-delay 5s");
    rig.step("0s", "50");
    assert_eq!(rig.step("29999ms", "tick"), "NORM");
    assert_eq!(rig.step("30s", "tick"), "UNACK?!");
    assert_eq!(rig.step("31s", "50"), "UNACK");
    assert_eq!(rig.step("35s", "50"), "UNACK");
    assert_eq!(rig.step("36s", "50"), "RTNUN");
}

#[test]
fn a_slow_point_is_in_loss_of_view_after_six_periods() {
    let mut rig = Rig::new("view, on-delay 10s, period 60s");
    rig.step("0s", "50");
    assert_eq!(rig.step("359999ms", "tick"), "NORM");
    assert_eq!(rig.step("360s", "tick"), "UNACK?!");
}

#[test]
fn a_point_never_seen_is_in_loss_of_view() {
    check(
        "view, on-delay 10s",
        "0s tick NORM 29s tick NORM 30s tick UNACK?!",
    );
}

#[test]
fn a_broken_loop_is_a_loss_of_view_of_its_own() {
    check(
        "view, on-delay 10s, off-delay 2s",
        "0s 50 NORM  1s bad NORM  10s bad NORM  11s bad UNACK?!  12s 50 UNACK  13s bad UNACK?
         14s 50 UNACK 15s 50 UNACK 16s 50 RTNUN",
    );
}

#[test]
fn a_loss_of_view_without_a_delay_is_told_with_the_reading() {
    check("view", "0s 50 NORM 1s bad UNACK?! 2s 50 RTNUN");
}

#[test]
fn silence_never_ends_a_loss_of_view() {
    check(
        "view, on-delay 10s, off-delay 5s",
        "0s tick NORM 30s tick UNACK?! 31s 50 UNACK 45s tick UNACK 600s tick UNACK?",
    );
}

#[test]
fn a_quality_that_is_not_good_is_a_loss_of_view() {
    for quality in ["frozen", "manual", "unsure", "under", "over"] {
        check(
            "view, on-delay 10s, off-delay 2s",
            &format!(
                "0s 50 NORM  1s 50~{quality} NORM  10s 50~{quality} NORM  11s 50~{quality} UNACK?!
                 12s 50 UNACK 14s 50 RTNUN"
            ),
        );
    }
}

#[test]
fn beyond_the_range_is_in_view_where_a_limit_is_reached_by_it() {
    check(
        "gas2 50, view, on-delay 2s",
        "0s 50~over UNACK?!/NORM  9s 50~over UNACK?/NORM  18s 0~under UNACK?/NORM
         20s 0~under UNACK?/UNACK?!",
    );
    check(
        "ll 10, view, on-delay 2s",
        "0s 0~under UNACK?!/NORM 9s 0~under UNACK?/NORM 18s 99~over UNACK?/NORM
         20s 99~over UNACK?/UNACK?!",
    );
}

#[test]
fn an_instrument_in_calibration_is_in_view_for_a_limited_time() {
    check(
        "view, on-delay 2s, off-delay 1s, calibration 30s",
        "0s 50 NORM  1s 60~cal NORM  15s 60~cal NORM  30999ms 60~cal NORM  31s tick UNACK?!
         32s 60~cal UNACK? 33s 50 UNACK 34s 50 RTNUN 35s 60~cal RTNUN? 36s ack NORM
         64s 60~cal NORM 65s tick UNACK?!",
    );
    // One that falls silent in calibration is lost like any other.
    check(
        "view, on-delay 2s",
        "0s 60~cal NORM 29s tick NORM 30s tick UNACK?!",
    );
    // Nor does a break of another kind begin the time anew.
    check(
        "view, on-delay 10s, calibration 30s",
        "0s 60~cal NORM 10s 60~frozen NORM 15s 60~cal NORM 25s bad NORM 29s 60~cal NORM
         30s tick UNACK?!",
    );
}

#[test]
fn what_was_behind_a_lost_link_does_not_count_as_calibration() {
    check(
        "view, on-delay 2s, calibration 30s",
        "0s 60~cal NORM 5s gateway-lost NORM 60s gateway-back NORM 61s 60~cal NORM
         75s 60~cal NORM 89s 60~cal NORM 90s tick UNACK?!",
    );
}

#[test]
fn one_cause_one_alarm_while_the_gateway_is_lost() {
    check(
        "h 80, view, on-delay 10s, gateway",
        "0s 81 UNACK!/NORM/NORM              1s gateway-lost UNACK?/NORM/UNACK!
         600s tick UNACK?/NORM/UNACK         601s gateway-back UNACK?/NORM/RTNUN
         630s tick UNACK?/NORM/RTNUN         631s tick UNACK?/UNACK?!/RTNUN",
    );
}

#[test]
fn a_broken_loop_behind_a_lost_gateway_is_told_when_the_gateway_is_back() {
    check(
        "view, on-delay 10s",
        "0s 50 NORM  1s gateway-lost NORM  2s bad NORM  60s bad NORM  61s gateway-back UNACK?!",
    );
}

#[test]
fn points_of_a_lost_unit_are_bad_at_once_and_good_by_a_reading() {
    let mut rig = Rig::new("h 80, view, on-delay 10s");
    rig.step("0s", "50");
    rig.step("1s", "unit-lost");
    assert_eq!(
        rig.engine.quality(PointId(0)),
        Quality::Bad(BadCause::NoAnswer),
        "its gateway lives: no cable is cut"
    );
    rig.step("2s", "gateway-lost");
    rig.step("3s", "unit-back");
    assert_eq!(
        rig.engine.quality(PointId(0)),
        Quality::Bad(BadCause::LinkDown),
        "the gateway is still lost"
    );
    rig.step("4s", "gateway-back");
    assert!(!rig.engine.quality(PointId(0)).is_good(), "no reading yet");
    rig.step("5s", "50");
    assert!(rig.engine.quality(PointId(0)).is_good());
    assert_eq!(rig.log, []);
}

#[test]
fn a_unit_that_does_not_answer_is_not_told_again_by_each_point() {
    check(
        "view, on-delay 10s",
        "0s 50 NORM 1s mute NORM 60s mute NORM 61s bad NORM 70s bad NORM 71s bad UNACK?!",
    );
}

#[test]
fn alarms_about_the_system_have_delays_on_the_centres_clock() {
    check(
        "gateway, on-delay 5s, off-delay 10s, latch",
        "0s gateway-lost NORM   3s gateway-back NORM    13s gateway-lost NORM
         17s tick NORM          18s tick UNACK!         19s gateway-back UNACK
         21s gateway-lost UNACK 40s tick UNACK          41s gateway-back UNACK
         51s tick LATUN         52s ack LATAC           53s reset NORM",
    );
}

#[test]
fn silence_is_counted_from_the_last_reading_and_not_from_being_stale() {
    check(
        "view, on-delay 30s",
        "0s 50 NORM 1s 50 NORM 30s tick NORM 31s tick UNACK?!",
    );
}

#[test]
fn a_lost_gateway_is_told_by_its_last_reading_and_not_by_its_death() {
    // The broker finds out 15 s after it froze.
    check(
        "h 80, gateway, on-delay 30s, off-delay 10s",
        "0s 50 NORM/NORM   1s 50 NORM/NORM     16s gateway-lost NORM/NORM
         30s tick NORM/NORM   31s tick NORM/UNACK!",
    );
    check(
        "h 80, unit, on-delay 30s, off-delay 10s",
        "0s 50 NORM/NORM   10s mute NORM/NORM  15s unit-lost NORM/NORM
         39s tick NORM/NORM   40s tick NORM/UNACK!",
    );
    // Silence of a point that is seldom read says nothing before its time.
    check(
        "h 80, period 60s, gateway, on-delay 30s, off-delay 10s",
        "0s 50 NORM/NORM   60s 50 NORM/NORM  110s gateway-lost NORM/NORM
         139s tick NORM/NORM   140s tick NORM/UNACK!",
    );
}

#[test]
fn a_short_sight_does_not_end_a_loss_of_view_that_has_begun() {
    // Up for 1 s in every 25 s.
    check(
        "gateway, on-delay 30s, off-delay 10s",
        "0s gateway-lost NORM   24s gateway-back NORM   25s gateway-lost NORM
         29s tick NORM          30s tick UNACK!         49s gateway-back UNACK
         50s gateway-lost UNACK 74s gateway-back UNACK  83s tick UNACK
         84s tick RTNUN         85s gateway-lost RTNUN  115s tick UNACK!",
    );
    // It is over even while it is seen, and when sight has lasted.
    check(
        "gateway, on-delay 30s, off-delay 10s",
        "0s gateway-lost NORM   25s gateway-back NORM   31s tick NORM
         32s gateway-lost UNACK! ",
    );
    check(
        "gateway, on-delay 30s, off-delay 10s",
        "0s gateway-lost NORM   20s gateway-back NORM   30s gateway-lost NORM
         59s tick NORM          60s tick UNACK!",
    );
}

#[test]
fn the_same_told_twice_is_told_once() {
    check(
        "gateway, on-delay 5s",
        "0s gateway-lost NORM 4s gateway-lost NORM 5s tick UNACK! 6s gateway-lost UNACK",
    );
}

#[test]
fn a_step_back_of_the_centres_clock_holds_nothing_up() {
    let mut rig = Rig::new("view, on-delay 10s");
    rig.step("9000s", "50");
    rig.apply(moment("0s"), Input::Tick);
    assert_eq!(rig.engine.counters().centre_steps_back, 1);
    assert_eq!(rig.step("29s", "tick"), "NORM");
    assert_eq!(rig.step("30s", "tick"), "UNACK?!");
}

#[test]
fn staleness_costs_no_entry_in_the_heap_per_reading() {
    let mut rig = Rig::new("h 80");
    for second in 0..1_000 {
        rig.step(&format!("{second}s"), "50");
        assert!(rig.engine.queued() <= 2);
    }
}

#[test]
fn what_is_due_at_one_moment_is_met_in_parts_and_in_its_order() {
    let points: Vec<_> = (0..7).map(|place| point(place, "1s")).collect();
    let view = Condition::System(SystemCondition::LossOfView);
    let alarms: Vec<_> = (0..7)
        .map(|place| {
            let mut alarm = alarm(Subject::Point(PointId(place)), view);
            alarm.name = format!("p{place}.loss_of_view");
            alarm
        })
        .collect();
    let mut whole = Engine::new(&points, &alarms);
    let mut parts = whole.clone();
    parts.set_deadlines_max(1);
    let (start, end) = (moment("0s"), moment("60s"));
    let (mut expected, mut found) = (Vec::new(), Vec::new());
    whole.apply(start, Input::Tick, &mut expected);
    parts.apply(start, Input::Tick, &mut found);
    whole.apply(end, Input::Tick, &mut expected);
    let mut ticks = 0;
    while parts.next_deadline().is_some_and(|due| due <= end) {
        // A restart in between goes on with the same ones.
        let mut twin = Engine::restore(&points, &alarms, &parts.snapshot());
        twin.set_deadlines_max(1);
        let mut of_twin = Vec::new();
        twin.apply(end, Input::Tick, &mut of_twin);
        let mut of_parts = Vec::new();
        parts.apply(end, Input::Tick, &mut of_parts);
        assert_eq!(of_parts, of_twin);
        // What stands beside it in the same entry of the journal counts.
        parts.apply(end, Input::Tick, &mut of_twin);
        assert_eq!(of_parts, of_twin);
        assert!(of_parts.len() <= 1);
        found.extend(of_parts);
        ticks += 1;
        assert!(ticks < 100, "it ends");
    }
    assert_eq!(changes(&found).count(), 7);
    assert_eq!(found, expected);
}
