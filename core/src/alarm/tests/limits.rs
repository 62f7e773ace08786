//! Limits, resets, delays, quality and the horn, in all three vocabularies.

use super::*;

#[test]
fn a_high_alarm_from_rise_to_return() {
    check(
        "h 80, deadband 2, on-delay 3s",
        "0s 79.0 NORM   1s 81.0 NORM   4s 81.0 UNACK!
         5s ack  ACKED  6s 78.5 ACKED  7s 77.9 NORM",
    );
}

#[test]
fn a_limit_is_reached_not_exceeded_and_a_reset_is_passed_not_reached() {
    check(
        "h 80, reset 78",
        "0s 79.9 NORM 1s 80 UNACK! 2s 78 UNACK 3s 77.9 RTNUN",
    );
    check(
        "l 20, reset 22",
        "0s 20.1 NORM 1s 20 UNACK! 2s 22 UNACK 3s 22.1 RTNUN",
    );
}

#[test]
fn a_reset_may_equal_its_limit() {
    check(
        "h 80",
        "0s 80 UNACK! 1s 79.9 RTNUN 2s 80 UNACK! 3s 80 UNACK",
    );
    check("l 20", "0s 20 UNACK! 1s 20.1 RTNUN 2s 20 UNACK!");
}

#[test]
fn the_process_vocabulary() {
    check(
        "ll 10, deadband 2, l 20, deadband 2, h 80, deadband 2, hh 90, deadband 2",
        "0s 50 NORM/NORM/NORM/NORM      1s 82 NORM/NORM/UNACK!/NORM
         2s 91 NORM/NORM/UNACK/UNACK!   3s 50 NORM/NORM/RTNUN/RTNUN
         4s 15 NORM/UNACK!/RTNUN/RTNUN  5s 9  UNACK!/UNACK/RTNUN/RTNUN",
    );
}

#[test]
fn the_gas_vocabulary_latches_level_2() {
    check(
        "gas1 25, deadband 2.5, on-delay 3s, off-delay 30s, gas2 50, deadband 5, off-delay 60s, latch",
        "0s 10 NORM/NORM          1s 30 NORM/NORM           4s 30 UNACK!/NORM
         5s 55 UNACK/UNACK!       6s ack ACKED/UNACK        7s ack ACKED/ACKED
         8s 10 ACKED/ACKED        18s 10 ACKED/ACKED        28s 10 ACKED/ACKED
         38s 10 NORM/ACKED        48s 10 NORM/ACKED         58s 10 NORM/ACKED
         68s 10 NORM/LATAC        70s reset NORM/NORM",
    );
}

#[test]
fn the_mine_vocabulary_resets_at_a_number_of_its_own() {
    // AQ 1029: T1 of a coal face alarms at 0.8, cuts at 1.2, and restores below 0.8.
    check(
        "mine_alarm 0.8, reset 0.8, mine_cut 1.2, reset 0.8",
        "0s 0.79 NORM/NORM      1s 0.8 UNACK!/NORM   2s 1.2 UNACK/UNACK!
         3s 1.0 UNACK/UNACK     4s 0.8 UNACK/UNACK   5s 0.79 RTNUN/RTNUN",
    );
}

#[test]
fn a_reading_out_of_condition_cancels_a_running_on_delay() {
    check(
        "h 80, on-delay 3s",
        "1s 81 NORM 3s 79 NORM 4s 81 NORM 6s 81 NORM 7s 81 UNACK!",
    );
}

#[test]
fn a_reading_that_has_not_passed_the_reset_cancels_a_running_off_delay() {
    check(
        "h 80, reset 78, off-delay 3s",
        "0s 81 UNACK! 1s 77 UNACK 3s 78 UNACK 4s 77 UNACK 6s 77 UNACK 7s 77 RTNUN",
    );
}

#[test]
fn quality_that_is_not_good_freezes_the_on_delay() {
    // 1 s counts from 1 to 2, nothing from 2 to 6, and two more seconds from 6 on.
    check(
        "h 80, on-delay 3s",
        "1s 81 NORM 2s 81 NORM 3s bad NORM 6s 81 NORM 7s 81 NORM 8s 81 UNACK!",
    );
}

#[test]
fn quality_that_is_not_good_freezes_the_off_delay_and_holds_the_alarm() {
    check(
        "h 80, off-delay 3s",
        "0s 81 UNACK!  1s 70 UNACK  2s 70 UNACK    3s bad UNACK?  4s 0~under UNACK?
         5s 0~cal UNACK?  6s 70 UNACK  7s 70 UNACK  8s 70 RTNUN",
    );
}

#[test]
fn an_unknown_alarm_is_told_once_when_it_becomes_so_and_once_when_it_is_over() {
    let mut rig = Rig::new("h 80");
    for (at, event) in [("0s", "81"), ("1s", "bad"), ("2s", "mute"), ("3s", "81")] {
        rig.step(at, event);
    }
    let counts = causes(&rig.log, "P0.h", Lane::Live);
    assert_eq!(counts.get("quality_changed"), Some(&2));
    let qualities: Vec<_> = changes(&rig.log).map(|c| c.quality.is_good()).collect();
    assert_eq!(qualities, [true, false, true]);
    rig.step("4s", "bad");
    rig.step("5s", "70");
    rig.step("6s", "ack");
    rig.step("7s", "bad");
    assert_eq!(rig.effects, [], "nothing in the list, nothing to tell");
}

#[test]
fn a_detector_driven_over_its_range_has_reached_every_high_limit() {
    check(
        "gas1 25, gas2 50",
        "0s 10 NORM/NORM  1s 24~over UNACK?/UNACK?!  2s 10~under UNACK?/UNACK?",
    );
    check(
        "h 80, on-delay 2s",
        "0s 100~over NORM 1s 100~over NORM 2s 100~over UNACK?!",
    );
}

#[test]
fn an_instrument_driven_under_its_range_has_reached_every_low_limit() {
    check(
        "ll 10, l 20, h 80",
        "0s 50 NORM/NORM/NORM     1s 19~under UNACK?!/UNACK?/NORM
         2s 90~over UNACK?/UNACK?/UNACK?!  3s 50 RTNUN/RTNUN/RTNUN",
    );
    check(
        "l 20, on-delay 2s",
        "0s 0~under NORM 1s 0~under NORM 2s 0~under UNACK?!",
    );
}

#[test]
fn over_range_never_counts_towards_return() {
    check(
        "h 80, off-delay 2s",
        "0s 81 UNACK! 1s 70 UNACK 2s 70~over UNACK? 3s 70 UNACK 4s 70 UNACK 5s 70 RTNUN",
    );
}

#[test]
fn beyond_the_range_on_the_other_side_says_nothing_of_a_limit() {
    check("l 20", "0s 50 NORM 1s 0~over NORM 2s 20 UNACK!");
    check("h 80", "0s 50 NORM 1s 99~under NORM 2s 80 UNACK!");
}

#[test]
fn calibration_gas_never_raises() {
    check(
        "gas1 25, gas2 50",
        "0s 10 NORM/NORM 1s 60~cal NORM/NORM 9s 60~cal NORM/NORM",
    );
}

#[test]
fn a_sender_that_reports_only_changes_raises_by_its_silence() {
    // Delay 3 s and two periods of 1 s after the only reading.
    let mut rig = Rig::new("h 80, on-delay 3s");
    rig.step("1s", "81");
    assert_eq!(rig.step("5999ms", "tick"), "NORM");
    assert_eq!(rig.step("6s", "tick"), "UNACK!");
    let raised = rig.changes().next().unwrap();
    assert_eq!(raised.sampled_at, moment("4s"), "by the gateway's clock");
    assert_eq!(raised.value, Some(81.0));
}

#[test]
fn a_step_of_the_gateways_clock_counts_for_no_delay() {
    // The clock was an hour behind and is put right.
    check(
        "h 80, on-delay 20s",
        "4000s 81@400s NORM 4001s 81@401s NORM 4002s 81 NORM 4012s 81 NORM 4020s 81 NORM
         4021s 81 UNACK!",
    );
    check(
        "h 80, off-delay 20s",
        "4000s 81@400s UNACK! 4001s 70@401s UNACK 4002s 70 UNACK 4012s 70 UNACK
         4021s 70 UNACK 4022s 70 RTNUN",
    );
}

#[test]
fn readings_that_bunch_up_with_a_hole_between_them_count_for_no_delay() {
    check(
        "h 80, on-delay 20s",
        "4000s 81@400s NORM 4000s 81@3990s NORM 4000s 81@4000s NORM 4010s 81 UNACK!",
    );
}

#[test]
fn silence_raises_nothing_of_a_point_that_is_not_good() {
    check("h 80, on-delay 3s", "1s 81 NORM 2s bad NORM 60s tick NORM");
    check(
        "h 80, on-delay 3s",
        "1s 81 NORM 2s gateway-lost NORM 60s tick NORM",
    );
    check("h 80, on-delay 20s", "1s 81 NORM 60s tick NORM 61s 81 NORM");
}

#[test]
fn silence_never_returns_an_alarm() {
    check(
        "h 80, off-delay 3s",
        "0s 81 UNACK! 1s 70 UNACK 14s tick UNACK 3600s tick UNACK?",
    );
}

#[test]
fn readings_out_of_order_are_skipped_and_counted() {
    let mut rig = Rig::new("h 80");
    assert_eq!(rig.step("2s", "70"), "NORM");
    assert_eq!(rig.step("3s", "81@2s"), "NORM", "the same moment again");
    assert_eq!(rig.step("3s", "81@1s"), "NORM", "an earlier one");
    assert_eq!(rig.engine.counters().untimely.out_of_order, 2);
    assert_eq!(rig.step("4s", "81"), "UNACK!");
}

#[test]
fn a_gateway_whose_clock_steps_back_is_followed_after_two_periods() {
    let mut rig = Rig::new("h 80");
    rig.step("100s", "70@102s");
    assert_eq!(rig.step("102s", "81@42s"), "NORM");
    assert_eq!(rig.step("103s", "81@43s"), "UNACK!");
    assert_eq!(rig.step("104s", "70@44s"), "RTNUN");
    let counters = rig.engine.counters().untimely;
    assert_eq!((counters.out_of_order, counters.backwards_steps), (1, 1));
}

#[test]
fn a_repeat_is_no_step_of_the_clock_however_late() {
    let mut rig = Rig::new("h 80, view, on-delay 15s");
    rig.step("0s", "70");
    for at in ["10s", "20s", "30s"] {
        rig.step(at, "70@0s");
    }
    assert_eq!(
        rig.shown(),
        "NORM/UNACK?!",
        "and it does not keep a point in view"
    );
    assert_eq!(rig.engine.counters().untimely.backwards_steps, 0);
}

#[test]
fn a_gateway_whose_clock_runs_ahead_still_alarms() {
    let mut rig = Rig::new("h 80, on-delay 2s");
    assert_eq!(
        rig.step("0s", "81@4s"),
        "NORM",
        "4 s ahead is taken as it is"
    );
    assert_eq!(rig.engine.counters().untimely.from_future, 0);
    assert_eq!(rig.step("1s", "70@900s"), "NORM");
    for (at, event, shown) in [("2s", "81@901s", "NORM"), ("4s", "81@903s", "UNACK!")] {
        assert_eq!(rig.step(at, event), shown);
    }
    assert_eq!(rig.engine.counters().untimely.from_future, 3);
    assert_eq!(rig.changes().next().unwrap().sampled_at, moment("903s"));
}

#[test]
fn an_ordinary_reading_from_the_future_does_not_hold_up_the_ones_after_it() {
    let mut rig = Rig::new("h 80");
    rig.step("0s", "50");
    rig.step("1s", "51@900s");
    assert_eq!(rig.engine.counters().untimely.from_future, 1);
    let last = rig.engine.last(PointId(0)).unwrap();
    assert_eq!((last.value, last.sampled_at), (51.0, moment("900s")));
    assert_eq!(rig.step("2s", "81"), "UNACK!");
}

#[test]
fn the_latest_reading_is_known_after_each() {
    let mut rig = Rig::new("h 80");
    assert_eq!(rig.engine.last(PointId(0)), None);
    for (at, value) in [("0s", 50.0), ("1s", 51.0), ("2s", 81.0), ("3s", 82.0)] {
        rig.step(at, &format!("{value}"));
        let expected = Reading::new(PointId(0), value, Quality::Good, moment(at));
        assert_eq!(rig.engine.last(PointId(0)), Some(expected));
    }
    let active: Vec<_> = rig.engine.active_on(PointId(0)).collect();
    assert_eq!(active.len(), 1);
    assert_eq!(
        (active[0].value, active[0].raised_at),
        (Some(82.0), moment("2s"))
    );
    let standing = rig.engine.standing(0).unwrap();
    assert_eq!(standing.active_since, Some(moment("2s")));
    assert!(!standing.acknowledged && !standing.unknown && !standing.hidden);
}

#[test]
fn the_stronger_alarm_covers_the_sound_of_the_weaker() {
    check("h 80, hh 90", "0s 91 UNACK/UNACK! 1s 85 UNACK/RTNUN");
    check("h 80, hh 90", "0s 81 UNACK!/NORM 1s 91 UNACK/UNACK!");
    check("l 20, ll 10", "0s 5 UNACK/UNACK!");
    check("gas1 25, gas2 50", "0s 60 UNACK/UNACK!");
    check("mine_alarm 0.8, mine_cut 1.2", "0s 1.5 UNACK/UNACK!");
}

#[test]
fn of_several_limits_of_a_setpoint_the_one_further_out_is_the_stronger() {
    let story = |config: &str, values: [&str; 2]| {
        let (points, mut alarms) = parse(config);
        for (number, alarm) in alarms.iter_mut().enumerate() {
            alarm.name = format!("{}_{number}", alarm.name);
        }
        let mut rig = Rig::with(points, alarms);
        [rig.step("0s", values[0]), rig.step("1s", values[1])]
    };
    for (config, far, near) in [
        ("h 80, h 85, hh 90", "91", "81"),
        ("l 20, l 15, ll 10", "9", "19"),
    ] {
        let [at_once, later] = story(config, [far, near]);
        assert_eq!(at_once, "UNACK/UNACK/UNACK!", "one excursion sounds once");
        assert_eq!(later, "UNACK/RTNUN/RTNUN");
        let [first, grown] = story(config, [near, far]);
        assert_eq!(
            (&*first, &*grown),
            ("UNACK!/NORM/NORM", "UNACK/UNACK/UNACK!")
        );
    }
    let [at_once, _] = story("h 80, h 85, h 88", ["89", "89"]);
    assert_eq!(at_once, "UNACK/UNACK/UNACK!");
    let [first, grown] = story("h 85, h 80", ["81", "86"]);
    assert_eq!((&*first, &*grown), ("NORM/UNACK!", "UNACK!/UNACK"));
}

#[test]
fn a_hidden_stronger_alarm_covers_nothing() {
    let mut rig = Rig::new("h 80, hh 90");
    rig.step("0s", "50");
    let shelved_until = Some(moment("3600s"));
    let axes = Axes {
        shelved_until,
        ..Axes::NORMAL
    };
    rig.engine.set_axes(1, axes);
    rig.twin.set_axes(1, axes);
    assert_eq!(rig.step("1s", "95"), "UNACK!/SHLVD");
    let hidden = rig
        .engine
        .alarms()
        .find(|view| view.name == "P0.hh")
        .unwrap();
    assert!(
        hidden.would_be_in_alarm,
        "hidden alarms go on being evaluated"
    );
}

#[test]
fn commands_that_do_not_fit_are_refused_and_change_nothing() {
    let mut rig = Rig::new("gas2 50, latch");
    rig.step("0s", "60");
    let send = |rig: &mut Rig, word: &str, occurrence: u64| {
        rig.effects.clear();
        rig.apply(moment("1s"), Input::Command(&command(word, occurrence)));
        (rig.refusals(), rig.shown())
    };
    let shown = |state: &str| state.to_owned();
    assert_eq!(
        send(&mut rig, "ack", 99),
        (vec![Refusal::UnknownOccurrence], shown("UNACK"))
    );
    assert_eq!(
        send(&mut rig, "reset", 1),
        (vec![Refusal::StillActive], shown("UNACK"))
    );
    rig.step("2s", "10");
    assert_eq!(
        send(&mut rig, "reset", 1),
        (vec![Refusal::NotAcknowledged], shown("LATUN"))
    );
    assert_eq!(send(&mut rig, "ack", 1), (vec![], shown("LATAC")));
    assert_eq!(
        send(&mut rig, "ack", 1),
        (vec![Refusal::AlreadyAcknowledged], shown("LATAC"))
    );
    assert_eq!(send(&mut rig, "reset", 1), (vec![], shown("NORM")));
    assert_eq!(
        send(&mut rig, "ack", 1),
        (vec![Refusal::UnknownOccurrence], shown("NORM"))
    );
}

#[test]
fn a_latched_alarm_is_not_reset_while_the_detector_is_blind() {
    let story = "0s 60 UNACK! 1s 10 LATUN 2s ack LATAC";
    for blind in ["bad", "0~under", "10~cal", "gateway-lost"] {
        let mut rig = Rig::new("gas2 50, latch");
        for step in story.split_whitespace().collect::<Vec<_>>().chunks(3) {
            rig.step(step[0], step[1]);
        }
        rig.step("3s", blind);
        assert_eq!(rig.step("4s", "reset"), "LATAC?");
        assert_eq!(rig.refusals(), [Refusal::Unseen], "{blind}");
        rig.step("5s", "gateway-back");
        rig.step("6s", "10");
        assert_eq!(rig.step("7s", "reset"), "NORM");
    }
}

#[test]
fn what_is_not_latched_cannot_be_reset() {
    let mut rig = Rig::new("h 80");
    rig.step("0s", "81");
    rig.step("1s", "70");
    rig.step("2s", "reset");
    assert_eq!(rig.refusals(), [Refusal::NotLatched]);
}

#[test]
fn a_good_value_that_is_no_number_is_bad() {
    let mut rig = Rig::new("h 80, on-delay 2s");
    rig.step("0s", "81");
    for (at, lane) in [("1s", Lane::Live), ("2s", Lane::Historical)] {
        let readings = &[Reading {
            point: PointId(0),
            value: f64::NAN,
            quality: Quality::Good,
            sampled_at: moment(at),
        }];
        rig.apply(
            moment(at),
            Input::Readings {
                lane,
                turn: Turn::Unnumbered,
                readings,
            },
        );
    }
    assert!(rig.engine.quality(PointId(0)).is_bad());
    assert_eq!(rig.step("3s", "81"), "NORM");
    assert_eq!(
        rig.step("5s", "81"),
        "UNACK!",
        "the delay was frozen, not cancelled"
    );
}

#[test]
fn moments_at_the_ends_of_time_are_only_readings() {
    let mut rig = Rig::new("h 80, l 20, on-delay 1s, view, on-delay 5s");
    for at in [i64::MIN, i64::MAX, 0, i64::MAX - 1, i64::MIN + 1] {
        for lane in [Lane::Live, Lane::Historical] {
            for value in [81.0, 10.0, 50.0] {
                let readings = &[Reading::new(
                    PointId(0),
                    value,
                    Quality::Good,
                    Timestamp(at),
                )];
                rig.apply(
                    moment("0s"),
                    Input::Readings {
                        lane,
                        turn: Turn::Unnumbered,
                        readings,
                    },
                );
            }
        }
    }
    let readings = &[Reading::new(
        PointId(u32::MAX),
        1.0,
        Quality::Good,
        Timestamp(0),
    )];
    let lane = Lane::Live;
    rig.apply(
        moment("1s"),
        Input::Readings {
            lane,
            turn: Turn::Unnumbered,
            readings,
        },
    );
    assert_eq!(rig.engine.counters().unknown_point, 1);
}

#[test]
fn the_line_of_a_point_is_one_cache_line() {
    assert_eq!(Engine::line_size(), 64);
}
