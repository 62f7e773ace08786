//! The centre itself stands still, starts again or loses its broker: that is no fault of a point.

use super::*;

const GAS: (&str, &str) = ("gw", "gas");
const ALL: [(&str, &str); 3] = [GAS, ("gw", "far"), ("other", "gas")];

/// A plant in order: every point has a reading at second 100, sequence 20 was the last.
fn seen() -> Story {
    let mut story = Story::new();
    story.all_born();
    for step in 1..=10 {
        story.until(10.0 * step as f64);
        speak(&mut story, 2 * step - 1);
    }
    story
}

/// A reading of every point.
fn speak(story: &mut Story, sequence: u64) -> Vec<Effect> {
    let mut effects = story.data(GAS, (1, sequence), &[("TF.a", 0.1), ("TF.b", 0.1)]);
    effects.extend(story.data(ALL[1], (1, sequence + 1), &[("TF.c", 0.1)]));
    effects.extend(story.data(ALL[2], (1, sequence), &[("TF.d", 0.1)]));
    effects
}

/// What a loop does that wakes up late: it says so, and then lets time pass.
fn wake(story: &mut Story, seconds: f64, input: Input) -> Vec<Effect> {
    story.now = seconds;
    let mut effects = story.give(input);
    effects.extend(story.give(Input::Tick));
    effects
}

fn since(seconds: f64) -> Input {
    Input::StoodStill {
        since: Story::moment(seconds),
    }
}

#[test]
fn a_centre_that_stood_still_says_so_once_and_calls_no_point_lost() {
    let mut story = seen();
    story.until(101.0);
    let effects = wake(&mut story, 700.0, since(101.0));
    assert_eq!(raised(&effects), ["centre.stood_still"]);
    assert!(effects.contains(&Effect::StoodStill {
        since: Story::moment(101.0),
        until: Story::moment(700.0),
    }));
    assert!(story.quality("TF.a").is_good());
    let effects = speak(&mut story, 21);
    assert_eq!(raised(&effects), Vec::<&str>::new());
    // It returns by itself and waits to be acknowledged.
    for second in 1..70 {
        story.until(700.0 + f64::from(second));
        speak(&mut story, 21 + 2 * second as u64);
    }
    assert_eq!(story.alarm_state("centre.stood_still"), State::RtnUnacked);
    // Silence from then on is one all the same.
    let effects = story.until(900.0);
    assert_eq!(raised(&effects).len(), 4, "{:?}", raised(&effects));
}

#[test]
fn silence_goes_on_from_where_it_was() {
    let mut story = seen();
    story.until(125.0);
    assert!(!story.quality("TF.a").is_good(), "stale after 15 s");
    wake(&mut story, 1_125.0, since(125.0));
    let effects = story.until(1_129.0);
    assert_eq!(raised(&effects), Vec::<&str>::new());
    let effects = story.until(1_131.0);
    assert_eq!(raised(&effects).len(), 4, "30 s of silence that was seen");
}

#[test]
fn a_short_halt_is_passed_over_without_a_word() {
    let mut story = seen();
    let effects = wake(&mut story, 109.0, since(100.0));
    assert_eq!(effects, []);
}

#[test]
fn a_restart_after_an_hour_calls_no_point_lost() {
    let mut story = seen();
    let version = "1".to_owned();
    let effects = wake(&mut story, 3_700.0, Input::Started { version });
    assert_eq!(
        raised(&effects),
        [
            "centre.stood_still",
            "gw.loss_of_view",
            "other.loss_of_view"
        ],
        "this site's gateways are told without a delay"
    );
    let effects = story.until(3_800.0);
    assert_eq!(raised(&effects), Vec::<&str>::new(), "one cause, one alarm");
    story.all_born();
    let effects = speak(&mut story, 21);
    assert_eq!(raised(&effects), Vec::<&str>::new());
}

#[test]
fn a_centre_without_its_broker_is_one_alarm_and_its_readings_are_old() {
    let mut story = seen();
    story.until(101.0);
    story.give(Input::Broker { connected: false });
    let effects = story.until(4_000.0);
    assert_eq!(raised(&effects), ["centre.cut_off"]);
    assert!(
        !story.quality("TF.a").is_good(),
        "a reading of an hour ago is not good"
    );
    // Back: who is born again is in sight; who is not, was lost meanwhile without a word.
    let effects = story.give(Input::Broker { connected: true });
    assert_eq!(raised(&effects), ["gw.loss_of_view", "other.loss_of_view"]);
    assert_eq!(returned(&effects), ["centre.cut_off"]);
    story.node_born("gw", "first", nothing_stored(1, 20));
    story.unit_born("gw", "gas");
    story.data(GAS, (1, 21), &[("TF.a", 0.1), ("TF.b", 0.1)]);
    let effects = story.until(4_020.0);
    assert_eq!(raised(&effects), Vec::<&str>::new());
}

#[test]
fn a_broker_that_is_back_at_once_is_no_alarm() {
    let mut story = seen();
    story.give(Input::Broker { connected: false });
    story.until(105.0);
    let effects = story.give(Input::Broker { connected: true });
    assert!(!raised(&effects).contains(&"centre.cut_off"));
    let effects = story.until(125.0);
    assert!(!raised(&effects).contains(&"centre.cut_off"));
}

#[test]
fn a_first_connection_unsees_nobody() {
    // What came in before it was heard, by whatever way it came.
    let mut story = seen();
    let effects = story.give(Input::Broker { connected: true });
    assert_eq!(raised(&effects), Vec::<&str>::new());
    let effects = story.until(101.0);
    assert_eq!(raised(&effects), Vec::<&str>::new());
}
