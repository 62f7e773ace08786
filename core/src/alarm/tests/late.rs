//! Readings out of a gateway's store.

use proptest::prelude::*;

use super::*;

#[test]
fn an_excursion_in_the_store_is_late_and_stays_until_it_is_acknowledged() {
    let mut rig = Rig::new("h 80, on-delay 2s");
    rig.step("1000s", "50");
    rig.step("1001s", "late:81@100s");
    rig.step("1001s", "late:81@102s");
    assert_eq!(rig.list(), ["P0.h late UNACK"]);
    assert!(!rig.changes().next().unwrap().sounds, "15 minutes old");
    rig.step("1001s", "late:70@103s");
    rig.step("1002s", "history-ends");
    assert_eq!(rig.list(), ["P0.h late RTNUN"]);
    rig.step("1003s", "ack");
    assert_eq!(rig.list(), [""; 0]);
    assert_eq!(rig.engine.counters().late, 3);
}

#[test]
fn a_late_alarm_sounds_while_it_is_not_older_than_5_minutes() {
    for (at, sounds) in [("400s", true), ("401s", false)] {
        let mut rig = Rig::new("h 80");
        rig.step("0s", "50");
        rig.step(at, "late:81@100s");
        assert_eq!(rig.changes().next().unwrap().sounds, sounds, "{at}");
    }
}

#[test]
fn the_live_lane_does_not_see_the_store() {
    let mut rig = Rig::new("h 80, off-delay 5s");
    rig.step("100s", "81");
    assert_eq!(rig.step("101s", "late:70@50s"), "UNACK");
    assert_eq!(rig.step("101s", "late:70@99s"), "UNACK");
    assert_eq!(rig.step("102s", "70"), "UNACK");
    assert_eq!(rig.step("107s", "70"), "RTNUN");
}

#[test]
fn an_excursion_that_the_live_lane_has_is_not_raised_again() {
    let mut rig = Rig::new("h 80");
    rig.step("100s", "81");
    rig.step("110s", "late:82@100s");
    rig.step("110s", "late:82@105s");
    assert_eq!(rig.list(), ["P0.h UNACK"]);
    rig.step("110s", "late:70@106s");
    assert_eq!(
        rig.list(),
        ["P0.h UNACK"],
        "and it does not end the live one"
    );
}

#[test]
fn a_late_excursion_that_runs_into_the_live_one_is_the_same() {
    let mut rig = Rig::new("h 80");
    rig.step("100s", "81");
    for late in ["82@50s", "82@99s"] {
        rig.step("101s", &format!("late:{late}"));
        assert_eq!(rig.list(), ["P0.h UNACK"], "{late}");
    }
    rig.step("102s", "history-ends");
    assert_eq!(rig.step("103s", "70"), "RTNUN");
    assert_eq!(rig.list(), ["P0.h RTNUN"]);
}

#[test]
fn a_late_excursion_that_ends_before_the_live_one_is_another() {
    let mut rig = Rig::new("h 80");
    rig.step("100s", "81");
    rig.step("101s", "late:82@50s");
    rig.step("101s", "late:70@60s");
    assert_eq!(rig.list(), ["P0.h UNACK", "P0.h late RTNUN"]);
    let raised = rig.changes().last().unwrap();
    assert_eq!(raised.raised_at, moment("50s"), "when it began");
    // And so is one that the live lane has seen in order since.
    let mut rig = Rig::new("h 80");
    rig.step("60s", "70");
    rig.step("100s", "81");
    rig.step("101s", "late:82@50s");
    assert_eq!(rig.list(), ["P0.h UNACK", "P0.h late UNACK"]);
}

#[test]
fn the_rest_of_an_excursion_that_the_live_lane_saw_begin_is_the_same() {
    let mut rig = Rig::new("h 80");
    rig.step("100s", "81");
    rig.step("120s", "70");
    assert_eq!(rig.list(), ["P0.h RTNUN"]);
    for late in ["82@101s", "82@102s", "70@103s"] {
        rig.step("121s", &format!("late:{late}"));
        assert_eq!(rig.list(), ["P0.h RTNUN"], "{late}");
    }
}

#[test]
fn a_second_excursion_hidden_behind_one_that_stands_is_told() {
    let mut rig = Rig::new("h 80");
    rig.step("100s", "81");
    // In between it ended, and another one began, which the live lane takes for the first.
    rig.step("120s", "81");
    for late in ["82@101s", "70@102s", "82@119s"] {
        rig.step("121s", &format!("late:{late}"));
    }
    assert_eq!(
        rig.list(),
        ["P0.h UNACK"],
        "it takes the place of the first"
    );
    assert_eq!(rig.engine.last_occurrence(), 2);
    rig.step("121s", "history-ends");
    assert_eq!(rig.list(), ["P0.h UNACK"]);
}

#[test]
fn two_outages_with_the_live_lane_between_them_are_told_apart() {
    // 81 from 99 s on; live from 100 s; then away again, until it has ended.
    let mut rig = Rig::new("h 80");
    rig.step("100s", "81");
    rig.step("120s", "70");
    for late in ["82@99s", "82@101s", "70@102s"] {
        rig.step("121s", &format!("late:{late}"));
        assert_eq!(rig.list(), ["P0.h RTNUN"], "{late}");
    }
    // The same, but the second outage began with another excursion.
    let mut rig = Rig::new("h 80");
    rig.step("100s", "81");
    rig.step("101s", "70");
    for late in ["82@99s", "82@102s", "82@103s", "70@104s"] {
        rig.step("121s", &format!("late:{late}"));
    }
    assert_eq!(rig.list(), ["P0.h RTNUN", "P0.h late RTNUN"]);
}

#[test]
fn what_goes_on_behind_the_end_of_the_store_is_carried_on() {
    let mut rig = Rig::new("h 80");
    rig.step("100s", "70");
    rig.step("121s", "late:82@119s");
    rig.step("121s", "history-ends");
    assert_eq!(rig.list(), ["P0.h late UNACK"], "nothing newer is known");
    let mut ended = rig.clone();
    ended.step("122s", "70");
    assert_eq!(ended.list(), ["P0.h late RTNUN"]);
    rig.step("122s", "82");
    assert_eq!(rig.list(), ["P0.h UNACK"]);
    rig.step("123s", "70");
    assert_eq!(rig.list(), ["P0.h RTNUN"]);
    let late = causes(&rig.log, "P0.h", Lane::Historical);
    let live = causes(&rig.log, "P0.h", Lane::Live);
    assert_eq!((late.get("raised"), late.get("returned")), (Some(&1), None));
    assert_eq!((live.get("raised"), live.get("returned")), (None, Some(&1)));
}

#[test]
fn the_live_lane_may_come_in_the_midst_of_the_store() {
    let mut rig = Rig::new("h 80");
    rig.step("100s", "70");
    rig.step("121s", "late:82@110s");
    rig.step("122s", "82");
    assert_eq!(rig.list(), ["P0.h UNACK"], "one excursion");
    rig.step("122s", "late:82@111s");
    assert_eq!(rig.list(), ["P0.h UNACK"]);
    // But if it ended after all, the one that the live lane sees is another.
    rig.step("122s", "late:70@112s");
    rig.step("122s", "late:82@113s");
    assert_eq!(rig.list(), ["P0.h UNACK"]);
    assert_eq!(rig.engine.last_occurrence(), 2);
    rig.step("122s", "history-ends");
    assert_eq!(rig.list(), ["P0.h UNACK"]);
}

#[test]
fn an_old_alarm_of_the_store_that_still_holds_sounds_when_it_is_seen_live() {
    let mut rig = Rig::new("h 80, hh 90");
    rig.step("100s", "70");
    rig.step("1000s", "late:95@119s");
    rig.step("1000s", "history-ends");
    assert!(rig.engine.alarms().all(|view| !view.sounds));
    assert_eq!(rig.step("1001s", "95"), "UNACK/UNACK!");
    assert_eq!(rig.list(), ["P0.hh UNACK", "P0.h UNACK"], "one occurrence");
    let causes = causes(&rig.log, "P0.hh", Lane::Live);
    assert_eq!((causes.get("raised"), causes["carried_on"]), (None, 1));
    let view = rig.engine.occurrence(1).unwrap();
    assert_eq!((view.raised_at, view.sounds), (moment("119s"), true));
}

#[test]
fn an_answered_alarm_of_the_store_is_carried_on_in_silence() {
    let mut rig = Rig::new("h 80");
    rig.step("100s", "70");
    rig.step("1000s", "late:82@119s");
    rig.step("1000s", "history-ends");
    rig.step("1000s", "ack");
    assert_eq!(rig.step("1001s", "82"), "ACKED");
}

#[test]
fn the_end_of_the_store_ends_what_was_found_in_it() {
    let mut rig = Rig::new("h 80");
    rig.step("100s", "50");
    rig.step("101s", "late:82@50s");
    rig.step("102s", "history-ends");
    assert_eq!(rig.list(), ["P0.h late RTNUN"]);
    rig.step("103s", "late:82@40s");
    assert_eq!(
        rig.list(),
        ["P0.h late UNACK"],
        "another outage begins anew"
    );
    let causes = causes(&rig.log, "P0.h", Lane::Historical);
    assert_eq!((causes["raised"], causes["returned"]), (2, 1));
}

#[test]
fn the_store_is_judged_in_its_own_order_with_quality_and_delays() {
    let mut rig = Rig::new("h 80, on-delay 3s");
    rig.step("1000s", "50");
    for event in [
        "81@100s", "81@101s", "bad@102s", "81@110s", "79@109s", "81@111s",
    ] {
        rig.step("1001s", &format!("late:{event}"));
        assert_eq!(rig.list(), [""; 0], "{event}");
    }
    rig.step("1001s", "late:81@112s");
    assert_eq!(rig.list(), ["P0.h late UNACK"]);
    assert_eq!(rig.engine.counters().untimely.out_of_order, 1);
}

#[test]
fn a_late_latched_alarm_is_acknowledged_and_reset() {
    let mut rig = Rig::new("gas2 50, latch");
    rig.step("1000s", "10");
    rig.step("1001s", "late:60@100s");
    rig.step("1001s", "late:10@101s");
    assert_eq!(rig.list(), ["P0.gas2 late LATUN"]);
    rig.step("1002s", "ack");
    assert_eq!(rig.list(), ["P0.gas2 late LATAC"]);
    rig.step("1002s", "bad");
    rig.step("1002s", "reset");
    assert_eq!(rig.refusals(), [Refusal::Unseen], "the detector is blind");
    rig.step("1003s", "10");
    rig.step("1003s", "reset");
    assert_eq!(rig.list(), [""; 0]);
}

#[test]
fn what_does_not_sound_covers_nothing() {
    // 15 minutes old: nobody is called by it.
    let mut rig = Rig::new("gas1 25, gas2 50");
    rig.step("0s", "10");
    rig.step("1000s", "late:60@100s");
    assert_eq!(rig.list(), ["P0.gas2 late UNACK", "P0.gas1 late UNACK"]);
    assert_eq!(rig.step("1001s", "30"), "UNACK!/NORM");
    // One that sounded covers the horn.
    let mut rig = Rig::new("gas1 25, gas2 50");
    rig.step("0s", "10");
    rig.step("101s", "late:60@100s");
    assert_eq!(rig.step("102s", "30"), "UNACK/NORM");
}

#[test]
fn an_excursion_whose_horn_was_covered_is_carried_on_as_one() {
    let mut rig = Rig::new("h 80, hh 90");
    rig.step("100s", "70");
    rig.step("121s", "late:95@119s");
    rig.step("121s", "history-ends");
    rig.step("122s", "95");
    assert_eq!(rig.list(), ["P0.hh UNACK", "P0.h UNACK"]);
}

const REPLACED: Cause = Cause::Replaced {
    newer: 2,
    unanswered: true,
};

#[test]
fn an_unanswered_occurrence_that_makes_room_for_a_newer_one_says_so() {
    let mut rig = Rig::new("h 80");
    rig.step("1000s", "50");
    for late in ["82@100s", "70@101s", "82@102s"] {
        rig.step("1001s", &format!("late:{late}"));
    }
    let told: Vec<_> = rig.changes().map(|c| (c.occurrence, &c.cause)).collect();
    assert_eq!(told, [(1, &REPLACED), (2, &Cause::Raised)]);
    // Also when the newer one comes over from the store.
    let mut rig = Rig::new("h 80");
    rig.step("108s", "82");
    rig.step("109s", "70");
    rig.step("121s", "late:82@119s");
    rig.step("121s", "history-ends");
    rig.step("122s", "82");
    let told: Vec<_> = rig.changes().map(|c| (c.occurrence, &c.cause)).collect();
    assert_eq!(told, [(1, &REPLACED), (2, &Cause::CarriedOn)]);
}

#[test]
fn what_is_owed_for_a_replaced_occurrence_is_owed_for_the_newer_one() {
    for first in ["tick", "ack"] {
        let mut rig = Rig::new("h 80");
        rig.step("108s", "82");
        rig.step("109s", "70");
        rig.step("110s", first);
        rig.step("121s", "late:82@119s");
        rig.step("121s", "history-ends");
        rig.apply(moment("122s"), Input::Command(&command("ack", 2)));
        rig.step("123s", "82");
        let (state, by) = match first {
            "tick" => ("P0.h UNACK", None),
            _ => ("P0.h ACKED", Some("li")),
        };
        assert_eq!(rig.list(), [state]);
        let view = rig.engine.occurrence(2).unwrap();
        assert_eq!(view.acknowledged_by, by);
    }
}

#[test]
fn a_stored_reading_from_the_future_does_not_blind_the_ones_after_it() {
    let mut rig = Rig::new("h 80, on-delay 2s");
    rig.step("1000s", "50");
    rig.step("1001s", "late:50@100s");
    rig.step("1001s", "late:50@9000s");
    for late in ["81@101s", "81@102s", "81@103s"] {
        rig.step("1001s", &format!("late:{late}"));
    }
    assert_eq!(rig.list(), ["P0.h late UNACK"]);
    let counters = rig.engine.counters().untimely;
    assert_eq!((counters.from_future, counters.out_of_order), (1, 0));
    // Nothing else is known of the point.
    let mut rig = Rig::new("h 80");
    rig.step("1001s", "late:82@9000s");
    rig.step("1001s", "history-ends");
    assert_eq!(rig.list(), ["P0.h late UNACK"]);
}

#[test]
fn a_stored_reading_from_the_future_is_judged_but_no_time_passes_by_it() {
    let mut rig = Rig::new("h 80, hh 90, on-delay 2s");
    rig.step("1000s", "50");
    rig.step("1001s", "late:95@9000s");
    rig.step("1001s", "late:95@9900s");
    assert_eq!(rig.list(), ["P0.h late UNACK"], "an excursion is not lost");
    rig.step("1001s", "late:50@100s");
    assert_eq!(rig.list(), ["P0.h late RTNUN"]);
}

#[test]
fn a_hole_in_the_store_counts_for_no_delay() {
    let mut rig = Rig::new("h 80, on-delay 20s, off-delay 20s");
    rig.step("9000s", "50");
    for late in ["81@100s", "81@3700s", "81@3710s"] {
        rig.step("9001s", &format!("late:{late}"));
        assert_eq!(rig.list(), [""; 0], "{late}");
    }
    rig.step("9001s", "late:81@3720s");
    assert_eq!(rig.list(), ["P0.h late UNACK"]);
    for late in ["70@3721s", "70@7200s", "70@7210s"] {
        rig.step("9001s", &format!("late:{late}"));
        assert_eq!(rig.list(), ["P0.h late UNACK"], "{late}");
    }
    rig.step("9001s", "late:70@7220s");
    assert_eq!(rig.list(), ["P0.h late RTNUN"]);
}

#[test]
fn what_is_not_seen_now_does_not_end_what_the_store_has_active() {
    // The instrument breaks in the midst of it: the latest that is known is the store's.
    for now in ["bad", "70~frozen", "mute"] {
        let mut rig = Rig::new("h 80");
        rig.step("100s", "70");
        rig.step("121s", now);
        rig.step("122s", "late:82@119s");
        rig.step("123s", "history-ends");
        assert_eq!(rig.list(), ["P0.h late UNACK"], "{now}");
        let mut ended = rig.clone();
        ended.step("124s", "70");
        assert_eq!(ended.list(), ["P0.h late RTNUN"], "{now}");
        rig.step("124s", "82");
        assert_eq!(rig.list(), ["P0.h UNACK"], "{now}");
    }
    // What was seen in order after all of the store is over, whatever came then.
    let mut rig = Rig::new("h 80");
    rig.step("100s", "70");
    rig.step("120s", "70");
    rig.step("121s", "bad");
    rig.step("122s", "late:82@119s");
    rig.step("123s", "history-ends");
    assert_eq!(rig.list(), ["P0.h late RTNUN"]);
    // The limits of the other side are reached by a value beyond the range, and seen.
    let mut rig = Rig::new("h 80, l 10");
    rig.step("100s", "70");
    rig.step("121s", "100~over");
    rig.step("122s", "late:5@119s");
    assert_eq!(rig.list(), ["P0.h UNACK", "P0.l late UNACK"]);
    rig.step("123s", "history-ends");
    assert_eq!(
        rig.list(),
        ["P0.h UNACK", "P0.l late UNACK"],
        "a low limit says nothing by it"
    );
}

#[test]
fn a_store_that_ends_while_the_live_lane_waits_is_one_excursion() {
    let mut rig = Rig::new("h 80, on-delay 3s");
    rig.step("100s", "70");
    rig.step("121s", "82");
    for late in ["82@115s", "82@116s", "82@117s", "82@118s", "82@119s"] {
        rig.step("121s", &format!("late:{late}"));
    }
    rig.step("122s", "history-ends");
    assert_eq!(rig.list(), ["P0.h late UNACK"]);
    let mut ended = rig.clone();
    rig.step("124s", "82");
    assert_eq!(rig.list(), ["P0.h UNACK"], "one");
    ended.step("123s", "70");
    assert_eq!(ended.list(), ["P0.h late RTNUN"]);
}

#[test]
fn what_was_handed_over_is_carried_on_by_silence_too() {
    let mut rig = Rig::new("h 80, on-delay 3s");
    rig.step("100s", "70");
    for late in ["82@115s", "82@117s", "82@119s"] {
        rig.step("121s", &format!("late:{late}"));
    }
    rig.step("121s", "history-ends");
    rig.step("122s", "82");
    rig.step("130s", "tick");
    assert_eq!(rig.list(), ["P0.h UNACK"], "one");
}

#[test]
fn what_was_handed_over_is_carried_on_in_the_place_of_one_that_ended() {
    let mut rig = Rig::new("h 80");
    rig.step("100s", "81");
    for late in ["70@110s", "82@119s"] {
        rig.step("121s", &format!("late:{late}"));
    }
    rig.step("121s", "history-ends");
    assert_eq!(rig.list(), ["P0.h UNACK", "P0.h late UNACK"]);
    rig.step("122s", "82");
    assert_eq!(rig.list(), ["P0.h UNACK"]);
    assert_eq!(rig.engine.last_occurrence(), 2);
}

#[test]
fn what_does_not_count_was_not_in_order() {
    // The bad reading says nothing of where the value was.
    let mut rig = Rig::new("h 80");
    rig.step("100s", "70");
    rig.step("121s", "late:82@110s");
    rig.step("121s", "bad");
    rig.step("122s", "bad");
    rig.step("123s", "82");
    assert_eq!(rig.list(), ["P0.h UNACK"], "one");
    // Nor is what the live lane saw before forgotten.
    let mut rig = Rig::new("h 80");
    rig.step("100s", "70");
    rig.step("121s", "bad");
    rig.step("123s", "82");
    rig.step("124s", "late:82@99s");
    assert_eq!(rig.list(), ["P0.h UNACK", "P0.h late UNACK"]);
    // The same in the store: the live one began in the midst of it.
    let mut rig = Rig::new("h 80");
    rig.step("90s", "70");
    rig.step("110s", "82");
    for late in ["70@100s", "bad@111s", "82@112s"] {
        rig.step("121s", &format!("late:{late}"));
    }
    assert_eq!(rig.list(), ["P0.h UNACK"], "one");
}

#[test]
fn a_second_outage_before_any_live_reading_goes_on_with_the_same() {
    for on_delay in ["", ", on-delay 2s"] {
        let mut rig = Rig::new(&format!("h 80{on_delay}"));
        // An excursion long ago is no reason to take it for another.
        for (at, value) in [("10s", "82"), ("12s", "82"), ("20s", "70"), ("100s", "70")] {
            rig.step(at, value);
        }
        rig.step("101s", "ack");
        for late in ["82@117s", "82@119s"] {
            rig.step("121s", &format!("late:{late}"));
        }
        rig.step("121s", "history-ends");
        for late in ["82@130s", "82@132s"] {
            rig.step("141s", &format!("late:{late}"));
            assert_eq!(rig.list(), ["P0.h late UNACK"], "{late}");
        }
        let mut quiet = rig.clone();
        rig.step("141s", "history-ends");
        let mut ended = rig.clone();
        for at in ["142s", "144s"] {
            rig.step(at, "82");
        }
        assert_eq!(rig.list(), ["P0.h UNACK"]);
        let raised = causes(&rig.log, "P0.h", Lane::Historical);
        assert_eq!((raised["raised"], raised.get("replaced")), (1, None));
        // Ended by the store, and then another.
        for late in ["70@133s", "82@150s", "82@152s"] {
            ended.step("161s", &format!("late:{late}"));
        }
        let raised = causes(&ended.log, "P0.h", Lane::Historical);
        assert_eq!((raised["raised"], raised["returned"]), (2, 1));
        // The live lane does not answer for it before the store has been read.
        quiet.step("141s", "70");
        quiet.step("141s", "late:82@133s");
        quiet.step("141s", "history-ends");
        assert_eq!(quiet.list(), ["P0.h late RTNUN"]);
        let raised = causes(&quiet.log, "P0.h", Lane::Historical);
        assert_eq!((raised["raised"], raised["returned"]), (1, 1));
    }
}

/// One step of a story at random: seconds that pass, and what happens then.
fn anything() -> impl Strategy<Value = (u32, String)> {
    let value = prop_oneof![
        Just("50"),
        Just("85"),
        Just("95"),
        Just("bad"),
        Just("95~over")
    ];
    let event = prop_oneof![
        4 => value.clone().prop_map(str::to_owned),
        // `late:VALUE`; the moment is put in when it is told.
        6 => value.prop_map(|value| format!("late:{value}")),
        2 => Just("history-ends".to_owned()),
        1 => Just("gateway-lost".to_owned()),
        1 => Just("gateway-back".to_owned()),
        1 => Just("ack".to_owned()),
        1 => Just("tick".to_owned()),
    ];
    (0..8_u32, event)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_comes_first_two_readings_in_order_end_it(
        story in prop::collection::vec(anything(), 1..40),
    ) {
        let mut rig = Rig::new("h 80, on-delay 2s, hh 90, off-delay 2s");
        let (mut second, mut stored) = (100, 0);
        for (wait, event) in story {
            second += wait;
            let event = if event.starts_with("late:") {
                stored += 2;
                format!("{event}@{}s", stored.min(second))
            } else {
                event
            };
            if event == "history-ends" {
                stored = second;
            }
            rig.step(&format!("{second}s"), &event);
        }
        rig.step(&format!("{}s", second + 1), "gateway-back");
        rig.step(&format!("{}s", second + 1), "history-ends");
        for wait in 2..=6 {
            rig.step(&format!("{}s", second + wait), "50");
        }
        prop_assert!(rig.engine.alarms().all(|view| !view.axes.active), "{:?}", rig.list());
    }
}

/// The live lane lost the point in one excursion and found it again in the next; the store knows
/// that it was over in between.
mod two_excursions_with_a_hole_between {
    use super::*;

    /// Raised at 100 s and acknowledged, then the link is gone.
    fn begun() -> Rig {
        let mut rig = Rig::new("h 80");
        rig.step("99s", "50");
        rig.step("100s", "81");
        rig.step("101s", "ack");
        rig.step("102s", "gateway-lost");
        rig
    }

    /// Raised and returned, each by the moment of its reading.
    fn told(rig: &Rig) -> Vec<String> {
        let s = |at: Timestamp| (at.0 - moment("0s").0) / 1000;
        let told = rig.log.iter().filter_map(|effect| match effect {
            Effect::Changed(AlarmChange {
                occurrence: one,
                raised_at,
                sampled_at,
                cause,
                ..
            }) => match cause {
                Cause::Raised => Some(format!("{one} raised {}", s(*raised_at))),
                Cause::Returned => Some(format!("{one} returned {}", s(*sampled_at))),
                Cause::CarriedOn => Some(format!("{one} carried on")),
                _ => None,
            },
            Effect::Refused { .. } => None,
        });
        told.collect()
    }

    const BOTH: [&str; 3] = ["1 raised 100", "1 returned 110", "2 raised 120"];

    #[test]
    fn the_store_comes_first() {
        let mut rig = begun();
        rig.step("119s", "gateway-back");
        rig.step("119s", "late:81@103s");
        assert_eq!(
            rig.step("119s", "late:50@110s"),
            "ACKED?",
            "nobody sees it now"
        );
        assert_eq!(rig.step("120s", "81@120s"), "UNACK!");
        assert_eq!(told(&rig), BOTH);
        rig.step("121s", "history-ends");
        assert_eq!(rig.step("122s", "50"), "RTNUN");
    }

    #[test]
    fn the_store_comes_first_and_all_is_well() {
        let mut rig = begun();
        rig.step("119s", "gateway-back");
        rig.step("119s", "late:50@110s");
        assert_eq!(rig.step("120s", "50@120s"), "NORM");
        assert_eq!(told(&rig), ["1 raised 100", "1 returned 110"]);
    }

    /// Nothing told of the hole, so the point was never unseen.
    #[test]
    fn the_store_comes_first_and_nobody_noticed_the_hole() {
        let mut rig = Rig::new("h 80");
        rig.step("99s", "50");
        rig.step("100s", "81");
        rig.step("101s", "ack");
        rig.step("109s", "late:50@105s");
        // Judged again by a limit that moved, the last live value is no later sight of it.
        rig.reconfigure("109s", "h 79");
        assert_eq!(told(&rig), ["1 raised 100"]);
        assert_eq!(rig.step("110s", "83"), "UNACK!");
        assert_eq!(
            told(&rig),
            ["1 raised 100", "1 returned 105", "2 raised 110"]
        );
    }

    #[test]
    fn the_live_lane_comes_first() {
        let mut rig = begun();
        rig.step("119s", "gateway-back");
        assert_eq!(rig.step("120s", "81@120s"), "ACKED");
        rig.step("121s", "81@121s");
        rig.step("122s", "late:81@103s");
        assert_eq!(rig.step("122s", "late:50@110s"), "UNACK!");
        rig.step("122s", "late:81@119s");
        rig.step("122s", "history-ends");
        assert_eq!(told(&rig), BOTH);
        assert_eq!(rig.list(), ["P0.h UNACK"]);
    }

    #[test]
    fn the_live_lane_has_seen_the_end_of_both() {
        let mut rig = begun();
        rig.step("119s", "gateway-back");
        rig.step("120s", "81@120s");
        rig.step("121s", "50@121s");
        rig.step("122s", "late:81@103s");
        rig.step("122s", "late:50@110s");
        rig.step("122s", "history-ends");
        assert_eq!(
            told(&rig),
            [
                "1 raised 100",
                "1 returned 121",
                "2 raised 120",
                "2 returned 121"
            ]
        );
        assert_eq!(rig.list(), ["P0.h late RTNUN"]);
    }

    #[test]
    fn one_between_them_is_a_third() {
        let mut rig = begun();
        rig.step("119s", "gateway-back");
        rig.step("120s", "81@120s");
        for late in ["50@110s", "81@112s", "50@114s", "50@119s"] {
            rig.step("122s", &format!("late:{late}"));
        }
        rig.step("122s", "history-ends");
        assert_eq!(
            told(&rig),
            [
                "1 raised 100",
                "1 returned 110",
                "2 raised 120",
                "3 raised 112",
                "3 returned 114"
            ]
        );
        assert_eq!(rig.list(), ["P0.h UNACK", "P0.h late RTNUN"]);
    }

    /// Readings of one second each, all of them kept: those in a hole come out of the store.
    #[derive(Clone, Debug)]
    struct Story {
        /// Lengths of the value being low, high, low and so on, in seconds.
        lengths: Vec<u8>,
        /// Holes of the live lane: seconds before each, and its length.
        holes: Vec<(u8, u8)>,
        /// Live readings after a hole before its store is read, and those between two of the store.
        patience: (u8, u8),
    }

    fn story() -> impl Strategy<Value = Story> {
        let lengths = prop::collection::vec(1u8..8, 2..14);
        let holes = prop::collection::vec((2u8..12, 1u8..16), 0..4);
        (lengths, holes, (0u8..6, 1u8..9)).prop_map(|(lengths, holes, patience)| Story {
            lengths,
            holes,
            patience,
        })
    }

    impl Story {
        fn values(&self) -> Vec<bool> {
            let lengths = self.lengths.iter().enumerate();
            let values = lengths.flat_map(|(i, length)| vec![i % 2 == 1; usize::from(*length)]);
            // It ends in order, and long enough for every store.
            values.chain([false; 60]).collect()
        }

        fn is_hole(&self, second: usize) -> bool {
            let mut from = 0;
            self.holes.iter().any(|(before, length)| {
                from += usize::from(*before);
                let hole = from..from + usize::from(*length);
                from = hole.end;
                hole.contains(&second)
            })
        }
    }

    /// Plays it; the seconds at which an excursion was raised and returned.
    fn play(story: &Story) -> (Vec<i64>, Vec<i64>, Vec<String>) {
        let mut rig = Rig::new("h 80");
        let mut stored: Vec<String> = Vec::new();
        let (mut was_hole, mut waited) = (false, 0);
        for (second, is_high) in story.values().into_iter().enumerate() {
            let now = format!("{}s", second + 100);
            let value = if is_high { "81" } else { "50" };
            // The store is read before the next hole begins.
            let is_hole = story.is_hole(second) && (was_hole || stored.is_empty());
            match (was_hole, is_hole) {
                (false, true) => drop(rig.step(&now, "gateway-lost")),
                (true, false) => drop(rig.step(&now, "gateway-back")),
                _ => {}
            }
            if was_hole && !is_hole {
                waited = 0;
            }
            was_hole = is_hole;
            if is_hole {
                stored.push(format!("late:{value}@{now}"));
                continue;
            }
            rig.step(&now, value);
            waited += 1;
            let (patience, at_once) = story.patience;
            if waited > patience && !stored.is_empty() {
                let some = stored.len().min(usize::from(at_once));
                for late in stored.drain(..some) {
                    rig.step(&now, &late);
                }
                if stored.is_empty() {
                    rig.step(&now, "history-ends");
                }
            }
        }
        let second = |at: Timestamp| (at.0 - moment("100s").0) / 1000;
        let (mut raised, mut returned) = (Vec::new(), Vec::new());
        for effect in &rig.log {
            if let Effect::Changed(change) = effect {
                match change.cause {
                    Cause::Raised => raised.push(second(change.raised_at)),
                    Cause::Returned => returned.push(second(change.sampled_at)),
                    _ => {}
                }
            }
        }
        (raised, returned, rig.list())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Whichever lane sees which part of it, and whichever comes first.
        #[test]
        fn every_excursion_is_raised_once_and_returns_once(story in story()) {
            let values = story.values();
            let (raised, returned, _) = play(&story);
            let mut excursion = 0;
            let mut of: Vec<Option<usize>> = Vec::new();
            for (second, is_high) in values.iter().enumerate() {
                if *is_high && (second == 0 || !values[second - 1]) {
                    excursion += 1;
                }
                of.push(is_high.then_some(excursion));
            }
            let mut found: Vec<_> = raised.iter().map(|at| of[*at as usize]).collect();
            found.sort_unstable();
            let all: Vec<_> = (1..=excursion).map(Some).collect();
            prop_assert_eq!(found, all, "raised {:?}, returned {:?}", raised, returned);
            prop_assert_eq!(returned.len(), excursion, "returned {:?}", returned);
        }
    }
}
