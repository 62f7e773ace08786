//! What follows from one input stays below what one entry of the journal may hold.

use std::fmt::Write as _;

use super::*;
use crate::reading::READINGS_MAX;

/// What the journal holds of one entry, in bytes.
const ENTRY_BYTES_MAX: usize = 64 << 20;

const UNIT: (&str, &str) = ("gw", "gas");

/// Points of the unit: so many that the ledger names every occurrence of each.
const POINTS: usize = 100;

/// Every setpoint that a point may have, without delays: `(setpoint, limit, deadband)`.
const LIMITS: [(&str, f64); 6] = [
    ("ll", 1.0),
    ("l", 2.0),
    ("gas1", 0.9),
    ("gas2", 1.9),
    ("h", 8.0),
    ("hh", 9.0),
];

fn tag(place: usize) -> String {
    format!("TF.p{place}")
}

fn worst_site() -> Vec<SourceFile> {
    let (header, _) = super::POINTS.split_once('\n').unwrap();
    let mut points = format!("{header}\n");
    let far = [("gw", "far"), ("other", "gas")];
    let units = std::iter::repeat_n(UNIT, POINTS).chain(far);
    let mut site = SITE.to_owned();
    for (place, (gateway, unit)) in units.enumerate() {
        let (tag, address) = (tag(place), place * 2);
        writeln!(
 points,
            "{tag},甲,A,cl2,,mg/m3,0,10,TF,{gateway},{unit},1s,input_registers,{address},f32,ABCD,none,,"
        ).unwrap();
        for (setpoint, limit) in LIMITS {
            writeln!(
                site,
                "[[limit]]\npoint = \"{tag}\"\nsetpoint = \"{setpoint}\"\nlimit = {limit}\n\
                 deadband = 0.1\non_delay = \"0s\"\noff_delay = \"0s\"\nlatch = false\n\
                 priority = 1\nshelvable = false\nguidance = \"anything\"\n\
                 figure_source = {{ zh = \"设计值\", en = \"design\" }}"
            )
            .unwrap();
        }
    }
    let mut files = files(&site, &points);
    for file in &mut files {
        // Its gas has neither delay nor latch.
        file.text = file.text.replace("fixed = true", "fixed = false");
    }
    files
}

/// A watch of that site with all born, at second 1.
fn worst_story() -> Story {
    let mut story = Story::new();
    story.give(config_input(worst_site()));
    assert_eq!(story.watch.config().points.len(), POINTS + 2);
    story.all_born();
    story.until(1.0);
    story
}

/// Readings that swing from one end of the range to the other, as many as there are to be.
fn swings(many: usize) -> Vec<(String, f64, f64)> {
    (0..many)
        .map(|place| {
            let round = place / POINTS;
            let value = if round.is_multiple_of(2) { 10.0 } else { 0.0 };
            (tag(place % POINTS), value, 1.0 + round as f64 / 1000.0)
        })
        .collect()
}

fn payload(story: &Story, sequence: u64, readings: &[(String, f64, f64)]) -> Vec<u8> {
    let readings: Vec<_> = (readings.iter())
        .map(|(tag, value, at)| (tag.as_str(), *value, *at))
        .collect();
    story.payload(MessageNumber { run: 1, sequence }, &readings, false)
}

#[test]
fn the_worst_message_stays_below_what_the_journal_holds_of_one() {
    let mut story = worst_story();
    let payload = payload(&story, 1, &swings(READINGS_MAX));
    let effects = story.device(UNIT, DeviceMessage::Data, payload);
    let changes = effects.iter().filter(|one| matches!(one, Effect::Alarm(_)));
    assert!(changes.count() > 4 * READINGS_MAX, "it is the worst");
    let bytes = serde_json::to_vec(&effects).unwrap().len();
    println!("the worst message: {bytes} bytes of effects");
    assert!(bytes < ENTRY_BYTES_MAX * 3 / 4, "{bytes} bytes");
}

#[test]
fn a_message_of_more_readings_is_told_and_its_gateway_may_free_it() {
    let mut story = worst_story();
    let payload = payload(&story, 1, &swings(READINGS_MAX + 1));
    let effects = story.device(UNIT, DeviceMessage::Data, payload.clone());
    let told = link_events(&effects);
    let [LinkEvent::Unusable { why }] = told[..] else {
        panic!("{told:?}")
    };
    assert!(why.contains(&READINGS_MAX.to_string()), "{why}");
    assert_eq!(raised(&effects), ["gw.unusable"]);
    let topic = "spBv1.0/works/DDATA/gw/gas";
    assert!(story.watch.has_seen(topic, &payload), "its number is taken");
    let point = story.watch.directory().find("TF.p0").unwrap();
    assert!(story.watch.engine().last(point).is_none());
}

#[test]
fn a_birth_of_more_values_is_told_as_well() {
    let mut story = worst_story();
    let metrics = (0..=READINGS_MAX)
        .map(|place| faults::metric(&tag(place % POINTS), None, 10.0, story.clock()));
    let birth = faults::payload(&story, metrics.collect());
    let effects = story.device(UNIT, DeviceMessage::Birth, birth);
    let told = link_events(&effects);
    assert!(matches!(told[..], [LinkEvent::Unusable { .. }]), "{told:?}");
    assert_eq!(raised(&effects), ["gw.unusable"]);
}
