//! Clocks of gateways that are set, run ahead or leap, in both lanes.

use super::*;

/// Where the late lane has the first alarm, if it is in the list.
fn late(rig: &Rig) -> Vec<String> {
    let rows = rig.list().into_iter();
    rows.filter(|row| row.contains(" late ")).collect()
}

#[test]
fn a_store_whose_clock_was_set_back_is_judged_all_through() {
    let mut rig = Rig::new("gas2 2.5, on-delay 5s, off-delay 60s");
    for second in 7_000..7_100 {
        rig.step("9000s", &format!("next#late:0.2@{second}s"));
    }
    // An hour back.
    for second in 3_510..3_520 {
        rig.step("9000s", &format!("next#late:2.5@{second}s"));
    }
    assert_eq!(late(&rig), ["P0.gas2 late UNACK"]);
    let raised = changes(&rig.log).next().unwrap();
    assert_eq!(raised.sampled_at, moment("3515s"), "no time by the step");
    let counters = rig.engine.counters();
    assert_eq!(
        (
            counters.untimely.out_of_order,
            counters.untimely.backwards_steps
        ),
        (0, 1)
    );
    for second in 3_520..3_581 {
        rig.step("9000s", &format!("next#late:0.2@{second}s"));
    }
    assert_eq!(late(&rig), ["P0.gas2 late RTNUN"]);
}

#[test]
fn a_store_whose_clock_is_ahead_of_the_centre_runs_its_delays() {
    let mut rig = Rig::new("h 80, on-delay 5s");
    rig.step("1000s", "50");
    for second in 4_500..4_506 {
        rig.step("1001s", &format!("next#late:81@{second}s"));
    }
    assert_eq!(late(&rig), ["P0.h late UNACK"]);
}

#[test]
fn a_numbered_step_back_is_followed_at_once() {
    check(
        "h 80, on-delay 2s",
        "0s next#70@3600s NORM  1s next#81@1s NORM  2s next#81@2s NORM  3s next#81@3s UNACK!
         4s next#81@3s UNACK    5s next#70@5s RTNUN",
    );
}

#[test]
fn stamps_about_the_edge_of_the_future_shorten_no_delay() {
    let mut rig = Rig::new("gas2 50, off-delay 60s");
    assert_eq!(rig.step("0s", "81@5s"), "UNACK!");
    for second in 1..=60 {
        let ahead = if second % 2 == 0 { 5_010 } else { 4_990 };
        let event = format!("20@{}ms", second * 1_000 + ahead);
        assert_eq!(rig.step(&format!("{second}s"), &event), "UNACK", "{second}");
    }
    assert_eq!(rig.step("62s", "20@67s"), "RTNUN");
}

#[test]
fn a_clock_that_is_always_ahead_runs_the_delays_as_any_other() {
    let mut rig = Rig::new("h 80, on-delay 5s");
    for second in 0..5 {
        let event = format!("81@{}s", second + 3_600);
        assert_eq!(rig.step(&format!("{second}s"), &event), "NORM");
    }
    assert_eq!(rig.step("5s", "81@3605s"), "UNACK!");
}

#[test]
fn a_gap_of_the_store_that_comes_last_is_judged() {
    let mut rig = Rig::new("h 80, on-delay 2s");
    rig.step("1000s", "50");
    for second in [100, 101, 110, 111] {
        rig.step("1001s", &format!("next#late:50@{second}s"));
    }
    for second in 102..105 {
        rig.step("1001s", &format!("gap#late:81@{second}s"));
    }
    assert_eq!(late(&rig), ["P0.h late UNACK"]);
    let raised = changes(&rig.log).next().unwrap();
    assert_eq!(raised.sampled_at, moment("104s"));
    assert_eq!(rig.engine.counters().untimely.out_of_order, 0);
    rig.step("1001s", "gap#late:50@105s");
    rig.step("1001s", "next#late:50@112s");
    assert_eq!(late(&rig), ["P0.h late RTNUN"]);
}

#[test]
fn a_gap_ends_nothing_that_is_later_than_it() {
    let mut rig = Rig::new("h 80, on-delay 2s");
    rig.step("1000s", "50");
    for second in [100, 108, 109] {
        rig.step("1001s", &format!("next#late:81@{second}s"));
    }
    // Neither the delay that runs …
    for event in ["gap#late:50@101s", "next#late:81@110s"] {
        rig.step("1001s", event);
    }
    assert_eq!(late(&rig), ["P0.h late UNACK"]);
    // … nor what is active.
    for event in ["gap#late:50@102s", "gap#late:50@103s"] {
        rig.step("1001s", event);
    }
    assert_eq!(late(&rig), ["P0.h late UNACK"]);
}
