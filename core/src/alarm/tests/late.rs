//! Readings out of a gateway's store.

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
    assert_eq!(rig.list(), ["P0.h UNACK", "P0.h late UNACK"]);
    rig.step("121s", "history-ends");
    assert_eq!(rig.list(), ["P0.h UNACK", "P0.h late RTNUN"]);
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
    assert_eq!(rig.list(), ["P0.h UNACK", "P0.h late UNACK"]);
    rig.step("122s", "history-ends");
    assert_eq!(rig.list(), ["P0.h UNACK", "P0.h late RTNUN"]);
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
    assert_eq!(rig.engine.counters().out_of_order, 1);
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

#[test]
fn an_unanswered_occurrence_that_makes_room_for_a_newer_one_says_so() {
    let mut rig = Rig::new("h 80");
    rig.step("1000s", "50");
    for late in ["82@100s", "70@101s", "82@102s"] {
        rig.step("1001s", &format!("late:{late}"));
    }
    let told: Vec<_> = rig.changes().map(|c| (c.occurrence, &c.cause)).collect();
    assert_eq!(
        told,
        [(1, &Cause::Replaced { newer: 2 }), (2, &Cause::Raised)]
    );
    // Also when the newer one comes over from the store.
    let mut rig = Rig::new("h 80");
    rig.step("108s", "82");
    rig.step("109s", "70");
    rig.step("121s", "late:82@119s");
    rig.step("121s", "history-ends");
    rig.step("122s", "82");
    let told: Vec<_> = rig.changes().map(|c| (c.occurrence, &c.cause)).collect();
    assert_eq!(
        told,
        [(1, &Cause::Replaced { newer: 2 }), (2, &Cause::CarriedOn)]
    );
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
    let counters = rig.engine.counters();
    assert_eq!((counters.from_future, counters.out_of_order), (1, 0));
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
