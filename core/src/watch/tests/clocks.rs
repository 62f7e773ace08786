//! Gateways whose clock is set while nobody hears them, out of numbered messages.

use super::*;

const GAS: (&str, &str) = ("gw", "gas");

/// An outage of two hours; of the store, message by message: gas level 2 for 10 minutes, measured by
/// a clock that was set back an hour before.
fn outage(story: &mut Story, set_back: f64) -> Vec<String> {
    story.all_born();
    story.until(6_999.0);
    story.data(GAS, (1, 1), &[("TF.a", 0.2)]);
    story.until(8_000.0);
    let stored = Stored {
        run: 1,
        first: 2,
        last: 12,
    };
    story.stored("gw", &[stored]);
    let mut found = Vec::new();
    for sequence in 2..=12 {
        let at = 7_000.0 + 60.0 * (sequence - 2) as f64;
        let (value, at) = match sequence {
            2 | 3 => (0.2, at),
            12 => (0.2, at - set_back),
            _ => (2.5, at - set_back),
        };
        let readings = (0..60).map(|second| ("TF.a", value, at + f64::from(second)));
        let readings = readings.collect::<Vec<_>>();
        let effects = story.sampled(GAS, (1, sequence), &readings, true);
        found.extend(raised(&effects).into_iter().map(str::to_owned));
    }
    found
}

#[test]
fn what_a_store_holds_behind_a_step_back_of_the_clock_is_found() {
    let mut story = Story::new();
    let expected = outage(&mut story, 0.0);
    assert!(
        expected.iter().any(|name| name == "TF.a.gas2"),
        "{expected:?}"
    );
    let mut story = Story::new();
    assert_eq!(outage(&mut story, 3_600.0), expected);
    let counters = story.watch.engine().counters();
    assert_eq!(
        (
            counters.untimely.out_of_order,
            counters.untimely.backwards_steps
        ),
        (0, 1)
    );
}

#[test]
fn a_message_of_the_store_that_comes_last_is_judged() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    story.data(GAS, (1, 1), &[("TF.a", 0.2)]);
    story.until(600.0);
    let stored = Stored {
        run: 1,
        first: 2,
        last: 4,
    };
    story.stored("gw", &[stored]);
    for (sequence, value, at) in [(2, 0.2, 100.0), (4, 0.2, 300.0), (3, 2.5, 200.0)] {
        let effects = story.sampled(GAS, (1, sequence), &[("TF.a", value, at)], true);
        let expected: &[&str] = if sequence == 3 { &["TF.a.gas2"] } else { &[] };
        assert_eq!(raised(&effects), expected, "{sequence}");
    }
}

#[test]
fn a_replaced_gateway_has_a_clock_of_its_own() {
    let mut story = Story::new();
    story.all_born();
    story.until(100.0);
    story.data(GAS, (1, 1), &[("TF.a", 0.2)]);
    story.until(101.0);
    story.node_born("gw", "second", nothing_stored(1, 0));
    let effects = story.sampled(GAS, (1, 1), &[("TF.a", 2.5, 40.0)], false);
    assert_eq!(raised(&effects), ["TF.a.gas2"]);
}
