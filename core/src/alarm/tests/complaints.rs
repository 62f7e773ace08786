//! What users of other systems complain of, one test each, so that it cannot happen here.
//! The issue that tells it stands at each test.

use super::*;

/// prometheus/prometheus#15175: a firing alarm falls back to pending at a restart.
#[test]
fn c01_an_active_alarm_survives_a_restart() {
    // Each step of a story restores the twin; here the alarm is answered and held across many.
    check(
        "h 80, on-delay 3s",
        "0s 81 NORM 3s 81 UNACK! 4s ack ACKED 5s 81 ACKED 6s 81 ACKED",
    );
}

/// prometheus/prometheus#13957: `keep_firing_for` is not kept.
#[test]
fn c02_running_delays_survive_a_restart() {
    let mut rig = Rig::new("h 80, on-delay 5s, off-delay 5s");
    for (at, event) in [("0s", "81"), ("5s", "81"), ("6s", "70"), ("10s", "70")] {
        rig.step(at, event);
    }
    let kept = serde_json::to_string(&rig.engine.snapshot()).unwrap();
    let kept: Snapshot = serde_json::from_str(&kept).unwrap();
    rig.engine = Engine::restore(&rig.points, &rig.alarms, &kept);
    assert_eq!(rig.step("11s", "70"), "RTNUN");
}

/// VictoriaMetrics/VictoriaMetrics#8225, #1686, #10335: wrong start times after a restart.
#[test]
fn c03_start_times_survive_and_an_unknown_gap_is_shown_as_one() {
    let mut rig = Rig::new("h 80");
    rig.step("10s", "81");
    let before = rig.engine.alarms().next().unwrap().raised_at;
    let kept = rig.engine.snapshot();
    let mut restored = Engine::restore(&rig.points, &rig.alarms, &kept);
    let mut effects = Vec::new();
    restored.apply(moment("500s"), Input::Tick, &mut effects);
    let view = restored.alarms().next().unwrap();
    assert_eq!((view.raised_at, view.unknown), (before, true));
    assert_eq!(view.state, State::Unacked);
}

/// ControlSystemStudio/phoebus#3078: acknowledgements are lost when the server restarts.
#[test]
fn c05_acknowledgements_survive_a_restart() {
    let mut rig = Rig::new("h 80, hh 90");
    rig.step("0s", "91");
    rig.step("1s", "ack");
    let kept = rig.engine.snapshot();
    rig.engine = Engine::restore(&rig.points, &rig.alarms, &kept);
    assert_eq!(rig.shown(), "UNACK/ACKED");
}

/// ccfos/nightingale#1761: no data counts as recovered.
#[test]
fn c07_no_data_is_never_recovery() {
    check(
        "h 80, l 20",
        "0s 81 UNACK!/NORM 1s bad UNACK?/NORM 99s tick UNACK?/NORM 999s mute UNACK?/NORM
         1000s 10~frozen UNACK?/NORM 1001s 10 RTNUN/UNACK!",
    );
}

/// VictoriaMetrics/VictoriaMetrics#4951: five minutes of late data "recover" the alarm.
#[test]
fn c08_late_data_never_recovers_an_alarm() {
    check(
        "h 80",
        "0s 81 UNACK! 300s tick UNACK? 301s late:70@1s UNACK? 301s late:70@299s UNACK?
         302s history-ends UNACK?",
    );
}

/// frangoteam/FUXA#1034: a silent tag is treated as unchanged for ever.
#[test]
fn c10_a_silent_tag_goes_stale_and_out_of_view() {
    check(
        "h 80, view, on-delay 15s",
        "0s 81 UNACK!/NORM 15s tick UNACK?/NORM 30s tick UNACK?/UNACK?!",
    );
}

/// Graylog2/graylog2-server#4772: messages that come late are never evaluated.
#[test]
fn c11_what_comes_late_is_judged_and_told_as_late() {
    let mut rig = Rig::new("h 80");
    rig.step("1000s", "50");
    rig.step("1001s", "late:95@10s");
    rig.step("1001s", "late:50@11s");
    assert_eq!(rig.list(), ["P0.h late RTNUN"]);
    let change = changes(&rig.log).next().unwrap();
    assert_eq!(
        (change.lane, change.sampled_at),
        (Lane::Historical, moment("10s"))
    );
}

/// ControlSystemStudio/phoebus#1928, #1225: a latched "disconnected" hides the true alarm, and
/// acknowledging it acknowledges both.
#[test]
fn c12_process_and_view_are_two_alarms() {
    check(
        "h 80, latch, view, on-delay 5s, latch",
        "0s 81 UNACK!/NORM   1s bad UNACK?/NORM  6s bad UNACK?/UNACK?!  7s ack ACKED?/UNACK?
         8s 81 ACKED/LATUN   9s ack ACKED/LATAC  10s 70 LATAC/LATAC",
    );
}

/// thingsboard/thingsboard#7943, grafana/grafana#87226: hysteresis missing, or without effect.
#[test]
fn c13_a_value_that_plays_around_the_limit_is_one_alarm() {
    let mut rig = Rig::new("h 80, deadband 2");
    for second in 0..100 {
        let value = if second % 2 == 0 { "80.5" } else { "78.5" };
        rig.step(&format!("{second}s"), value);
    }
    assert_eq!(changes(&rig.log).count(), 1);
}

/// thingsboard/thingsboard#10590: a delay of two seconds fired early.
#[test]
fn c16_a_delay_never_fires_early() {
    check(
        "h 80, on-delay 2s",
        "0s 81 NORM 1999ms 81 NORM 1999ms tick NORM 2s 81 UNACK!",
    );
    // Nor when messages bunch up: the gateway's clock counts, not their coming.
    check(
        "h 80, on-delay 2s",
        "5s 81@1s NORM 5s 81@2s NORM 5s 81@3s UNACK!",
    );
    check(
        "h 80, on-delay 2s",
        "5s 81@4s NORM 8s 81@5s NORM 8s 81@6s UNACK!",
    );
}

/// thingsboard/thingsboard#7811: after a clear the same record comes back.
#[test]
fn c18_every_excursion_has_a_number_of_its_own() {
    let mut rig = Rig::new("h 80");
    let mut numbers = Vec::new();
    for second in 0..6 {
        let value = if second % 2 == 0 { "81" } else { "70" };
        rig.step(&format!("{second}s"), value);
        numbers.extend(rig.engine.alarms().map(|view| view.occurrence));
    }
    assert_eq!(numbers, [1, 1, 2, 2, 3, 3]);
    rig.apply(moment("9s"), Input::Command(&command("ack", 2)));
    assert_eq!(rig.refusals(), [Refusal::UnknownOccurrence]);
}

/// prometheus/alertmanager#1860: acknowledge and silence are not the same.
#[test]
fn c19_hiding_does_not_acknowledge_and_acknowledging_does_not_hide() {
    let mut rig = Rig::new("h 80");
    rig.step("0s", "81");
    let shelved_until = Some(moment("3600s"));
    let mut axes = rig.engine.alarms().next().unwrap().axes;
    axes.shelved_until = shelved_until;
    rig.engine.set_axes(0, axes);
    rig.twin.set_axes(0, axes);
    rig.effects.clear();
    assert_eq!(rig.shown(), "SHLVD");
    let view = rig.engine.alarms().next().unwrap();
    assert_eq!(view.process_state, State::Unacked);
    assert!(view.would_be_in_alarm && !view.axes.acknowledged);
    rig.step("1s", "ack");
    assert_eq!(rig.shown(), "SHLVD");
    let view = rig.engine.alarms().next().unwrap();
    assert_eq!(view.process_state, State::Acked);
    // Hidden and normal, it stands in the list all the same: also after a restart.
    rig.step("2s", "70");
    let hidden = rig.engine.alarms().next().unwrap();
    assert_eq!(
        (hidden.state, hidden.process_state),
        (State::Shelved, State::Normal)
    );
    assert_eq!((rig.engine.listed_count(), rig.twin.listed_count()), (1, 1));
}

/// SCADA-LTS/Scada-LTS#2745, #2673: an active alarm cannot be acknowledged.
#[test]
fn c22_an_active_alarm_can_be_acknowledged_and_stays_in_the_list() {
    check("h 80", "0s 81 UNACK! 1s ack ACKED 2s 81 ACKED 3s 70 NORM");
}

/// frangoteam/FUXA#1556: after return the horn sounds again.
#[test]
fn c23_the_horn_sounds_once_an_occurrence() {
    let mut rig = Rig::new("h 80, latch");
    let steps = ["81", "82", "bad", "83", "70", "ack", "bad", "70", "reset"];
    for (second, event) in steps.iter().enumerate() {
        rig.step(&format!("{second}s"), event);
    }
    let sounded: Vec<_> = changes(&rig.log).filter(|change| change.sounds).collect();
    assert_eq!(sounded.len(), 1);
    assert_eq!(sounded[0].cause, Cause::Raised);
}

/// A page that is opened after the return would be silent where one left open still sounds.
#[test]
fn the_horn_sounds_on_after_the_return_until_somebody_acknowledges() {
    for (rule, acked) in [("h 80", None), ("h 80, latch", Some(false))] {
        let mut rig = Rig::new(rule);
        let mut sounds = |at, event| {
            rig.step(at, event);
            rig.engine.alarms().next().map(|view| view.sounds)
        };
        assert_eq!(sounds("0s", "81"), Some(true), "{rule}");
        assert_eq!(sounds("1s", "70"), Some(true), "{rule}: returned");
        assert_eq!(sounds("2s", "bad"), Some(true), "{rule}: unknown");
        assert_eq!(sounds("3s", "ack"), acked, "{rule}: answered");
    }
}

/// SCADA-LTS/Scada-LTS#3220: an alarm that came and went leaves no mark.
#[test]
fn c40_what_came_and_went_stays_until_it_is_acknowledged() {
    check(
        "h 80",
        "0s 81 UNACK! 1s 70 RTNUN 9999s 70 RTNUN 9999s ack NORM",
    );
}
