//! What happens when what comes in is wrong: counted, told, alarmed, and nothing else disturbed.

use prost::Message as _;

use super::*;
use crate::alarm::Untimely;
use crate::reading::UncertainCause;
use crate::sparkplug::DataType;
use crate::sparkplug::payload::{Metric, MetricValue, Payload};

const GAS: (&str, &str) = ("gw", "gas");

/// A payload of any Sparkplug node.
pub(super) fn payload(story: &Story, metrics: Vec<Metric>) -> Vec<u8> {
    Payload {
        timestamp: Some(story.clock().0 as u64),
        metrics,
        seq: Some(0),
    }
    .encode_to_vec()
}

pub(super) fn metric(name: &str, alias: Option<u64>, value: f64, at: Timestamp) -> Metric {
    Metric {
        name: (!name.is_empty()).then(|| name.to_owned()),
        alias,
        timestamp: Some(at.0 as u64),
        datatype: Some(DataType::Double.number()),
        value: Some(MetricValue::Double(value)),
        ..Metric::default()
    }
}

fn number(name: &str, value: u64) -> Metric {
    Metric {
        name: Some(name.into()),
        datatype: Some(DataType::UInt64.number()),
        value: Some(MetricValue::Long(value)),
        ..Metric::default()
    }
}

#[test]
fn a_payload_that_does_not_decode_is_told_and_stops_nothing() {
    for kind in ["NBIRTH", "NDEATH", "NDATA", "DBIRTH", "DDATA"] {
        let mut story = Story::new();
        story.all_born();
        story.until(1.0);
        let device = if kind.starts_with('D') { "/gas" } else { "" };
        let topic = format!("spBv1.0/works/{kind}/gw{device}");
        for _ in 0..3 {
            let payload = vec![0xff; 9];
            let effects = story.give(Input::Message {
                topic: topic.clone(),
                payload,
            });
            let told = link_events(&effects);
            assert!(matches!(told[..], [LinkEvent::Unusable { .. }]), "{kind}");
        }
        assert_eq!(
            story.watch.gateways().get("gw").unwrap().unusable,
            3,
            "{kind}"
        );
        assert_eq!(story.alarm_state("gw.unusable"), State::Unacked, "{kind}");
        let effects = story.data(GAS, (1, 1), &[("TF.a", 2.5)]);
        assert_eq!(raised(&effects), ["TF.a.gas2"], "{kind}");
        let effects = story.until(200.0);
        assert!(returned(&effects).contains(&"gw.unusable"), "{kind}");
    }
}

#[test]
fn nothing_of_a_message_that_breaks_off_is_taken() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    let number = MessageNumber {
        run: 1,
        sequence: 1,
    };
    let whole = story.payload(number, &[("TF.a", 2.5, 1.0), ("TF.b", 2.5, 1.0)], false);
    for length in 0..whole.len() {
        let mut story = Story::new();
        story.all_born();
        story.until(1.0);
        story.device(GAS, DeviceMessage::Data, whole[..length].to_vec());
        let point = story.watch.directory().find("TF.b").unwrap();
        let last = story.watch.engine().last(point);
        assert!(
            last.is_none() || length + 2 >= whole.len(),
            "{length} bytes"
        );
    }
}

#[test]
fn strangers_change_nothing() {
    let mut story = Story::new();
    story.all_born();
    for topic in [
        "spBv1.0/works/NBIRTH/nobody",
        "spBv1.0/elsewhere/NDATA/gw",
        "spBv1.0/works/DDATA/gw",
        "spBv1.0/works",
        "",
        "plant/temperature",
    ] {
        let effects = story.give(Input::Message {
            topic: topic.into(),
            payload: vec![1, 2, 3],
        });
        assert_eq!(effects, [], "{topic}");
    }
}

#[test]
fn an_alias_that_nobody_explained_asks_for_births() {
    let mut story = Story::new();
    story.until(1.0);
    let effects = story.data(GAS, (1, 1), &[("TF.a", 2.5)]);
    assert!(wants_rebirth(&effects));
    assert_eq!(raised(&effects), ["gw.unusable"]);
    assert_eq!(story.watch.gateways().get("gw").unwrap().unknown, 1);
    for sequence in 2..50 {
        story.until(1.0 + sequence as f64 / 10.0);
        let effects = story.data(GAS, (1, sequence), &[("TF.a", 2.5)]);
        assert!(!wants_rebirth(&effects), "once in ten seconds");
    }
    story.until(11.0);
    let effects = story.data(GAS, (1, 50), &[("TF.a", 2.5)]);
    assert!(wants_rebirth(&effects), "and then again");
    story.node_born("gw", "first", nothing_stored(1, 50));
    story.unit_born("gw", "gas");
    let effects = story.data(GAS, (1, 51), &[("TF.a", 2.5)]);
    assert!(!wants_rebirth(&effects));
    assert_eq!(raised(&effects), ["TF.a.gas2"]);
}

#[test]
fn a_reading_is_taken_only_from_the_gateway_of_its_point() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    let at = story.clock();
    // By name, and by an alias that a birth of the wrong gateway gave it.
    let named = payload(&story, vec![metric("TF.d", None, 2.5, at)]);
    story.device(GAS, DeviceMessage::Data, named);
    let birth = payload(&story, vec![metric("TF.d", Some(40), 0.0, at)]);
    let effects = story.device(GAS, DeviceMessage::Birth, birth);
    let unknown = link_events(&effects)
        .into_iter()
        .find_map(|event| match event {
            LinkEvent::Online { unknown, .. } => Some(unknown.clone()),
            _ => None,
        });
    assert_eq!(unknown.unwrap(), ["TF.d"]);
    let aliased = payload(&story, vec![metric("", Some(40), 2.5, at)]);
    story.device(GAS, DeviceMessage::Data, aliased);
    let point = story.watch.directory().find("TF.d").unwrap();
    assert!(story.watch.engine().last(point).is_none());
    assert_eq!(story.watch.gateways().get("gw").unwrap().unknown, 2);
}

#[test]
fn an_alias_that_a_birth_gives_to_an_unknown_tag_is_no_longer_the_old_one() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    let at = story.clock();
    let birth = payload(&story, vec![metric("TF.nobody", Some(1), 0.0, at)]);
    story.device(GAS, DeviceMessage::Birth, birth);
    let effects = story.data(GAS, (1, 1), &[("TF.a", 2.5)]);
    assert!(
        !raised(&effects).contains(&"TF.a.gas2"),
        "it is TF.nobody's value"
    );
    assert!(story.watch.gateways().get("gw").unwrap().unknown > 0);
}

#[test]
fn a_metric_that_is_no_number_is_bad_and_not_missing() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    let at = story.clock();
    let mut text = metric("TF.a", None, 0.0, at);
    text.value = Some(MetricValue::Text("high".into()));
    let nan = metric("TF.b", None, f64::NAN, at);
    let message = payload(&story, vec![text, nan]);
    story.device(GAS, DeviceMessage::Data, message);
    assert!(story.quality("TF.a").is_bad());
    assert!(story.quality("TF.b").is_bad());
}

#[test]
fn readings_from_the_future_and_out_of_order_are_counted() {
    let mut story = Story::new();
    story.all_born();
    story.until(100.0);
    story.sampled(GAS, (1, 1), &[("TF.a", 0.2, 1_000.0)], false);
    assert_eq!(story.watch.engine().counters().untimely.from_future, 1);
    story.until(101.0);
    story.sampled(GAS, (1, 2), &[("TF.a", 2.5, 101.0)], false);
    assert_eq!(
        story.alarm_state("TF.a.gas2"),
        State::Unacked,
        "a clock that ran ahead does not blind the point"
    );
    let early = metric("TF.a", None, 0.2, Story::moment(99.5));
    let message = payload(&story, vec![early]);
    story.device(GAS, DeviceMessage::Data, message);
    assert_eq!(story.watch.engine().counters().untimely.out_of_order, 1);
    let point = story.watch.directory().find("TF.a").unwrap();
    let value = story.watch.engine().last(point).unwrap().value;
    assert!((value - 2.5).abs() < 1e-9);
    // Of the gateway that sent them, and of no other; a restart keeps the count.
    let found = Untimely {
        from_future: 1,
        out_of_order: 1,
        // What came next had a higher number and an earlier time.
        backwards_steps: 1,
    };
    let again = Watch::restore(&story.watch.snapshot()).unwrap();
    for watch in [&story.watch, &again] {
        assert_eq!(watch.gateways().get("gw").unwrap().untimely, found);
        let other = watch.gateways().get("other").unwrap();
        assert_eq!(other.untimely, Untimely::default());
    }
}

#[test]
fn a_clock_that_is_off_is_alarmed_until_it_is_right() {
    let mut story = Story::new();
    story.all_born();
    story.until(10.0);
    let (real, ahead) = (story.now, story.now + 3.0);
    story.now = ahead;
    let message = story.payload(
        MessageNumber {
            run: 1,
            sequence: 1,
        },
        &[("TF.a", 0.2, 13.0)],
        false,
    );
    story.now = real;
    let effects = story.device(GAS, DeviceMessage::Data, message);
    assert_eq!(raised(&effects), ["gw.clock_offset"]);
    assert_eq!(
        story.watch.gateways().get("gw").unwrap().clock_offset_ms,
        -3_000
    );
    story.until(11.0);
    story.data(GAS, (1, 2), &[("TF.a", 0.2)]);
    let effects = story.until(200.0);
    assert!(returned(&effects).contains(&"gw.clock_offset"));
}

/// The figure is the configuration's, and one that was alarmed by another ends by this one.
#[test]
fn how_far_a_clock_may_be_off_is_configured() {
    let allowed = |offset: &str| {
        let mut files = files(SITE, POINTS);
        let line = format!("offset_max = \"{offset}\"");
        files[2].text = files[2].text.replace("offset_max = \"1s\"", &line);
        config_input(files)
    };
    let mut story = Story::new();
    story.give(allowed("5s"));
    story.all_born();
    let behind = |story: &mut Story, second: f64, sequence| {
        story.until(second);
        let real = std::mem::replace(&mut story.now, second - 3.0);
        let number = MessageNumber { run: 1, sequence };
        let message = story.payload(number, &[("TF.a", 0.2, second - 3.0)], false);
        story.now = real;
        story.device(GAS, DeviceMessage::Data, message)
    };
    assert_eq!(raised(&behind(&mut story, 10.0, 1)), [""; 0]);
    story.give(allowed("2s"));
    assert_eq!(raised(&behind(&mut story, 11.0, 2)), ["gw.clock_offset"]);
    story.give(allowed("5s"));
    behind(&mut story, 12.0, 3);
    assert!(returned(&story.until(100.0)).contains(&"gw.clock_offset"));
}

#[test]
fn a_replaced_gateway_is_taken_and_two_that_take_turns_are_alarmed() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    story.data(GAS, (1, 1), &[("TF.a", 0.2)]);
    // A replacement begins at run 1 again, with an outbox of its own.
    story.until(2.0);
    let effects = story.node_born("gw", "second", nothing_stored(1, 0));
    assert!(
        link_events(&effects).contains(&&LinkEvent::AnotherInstance {
            taking_turns: false
        })
    );
    assert!(!raised(&effects).contains(&"gw.duplicate_identity"));
    let effects = story.data(GAS, (1, 1), &[("TF.a", 2.5)]);
    assert_eq!(raised(&effects), ["TF.a.gas2"], "its messages are its own");
    // The first one speaks again: two use one identity.
    story.until(3.0);
    let effects = story.node_born("gw", "first", nothing_stored(1, 1));
    assert_eq!(raised(&effects), ["gw.duplicate_identity"]);
    assert!(link_events(&effects).contains(&&LinkEvent::AnotherInstance { taking_turns: true }));
    // What had come from it is still known.
    let effects = story.data(GAS, (1, 1), &[("TF.a", 0.2)]);
    assert_eq!(effects, []);
    story.until(4.0);
    let effects = story.node_born("gw", "second", nothing_stored(1, 1));
    assert_eq!(raised(&effects), Vec::<&str>::new(), "one alarm, not many");
    let effects = story.until(2_000.0);
    assert!(returned(&effects).contains(&"gw.duplicate_identity"));
}

/// Two gateways made of one image have one outbox by name; their runs tell them apart.
#[test]
fn a_copy_of_a_gateway_is_alarmed_and_nothing_of_it_is_taken_for_known() {
    let mut story = Story::new();
    story.node_born("gw", "first", nothing_stored(500, 0));
    story.unit_born("gw", "gas");
    story.until(1.0);
    story.data(GAS, (500, 1), &[("TF.a", 0.2)]);
    // Started again, it has a newer run, and is one and the same.
    story.until(2.0);
    let effects = story.node_born("gw", "first", nothing_stored(700, 0));
    assert!(!raised(&effects).contains(&"gw.duplicate_identity"));
    story.data(GAS, (700, 1), &[("TF.a", 0.2)]);
    // The copy had started before that: its run goes back, which no outbox does.
    story.until(3.0);
    let effects = story.node_born("gw", "first", nothing_stored(600, 0));
    assert_eq!(raised(&effects), ["gw.duplicate_identity"]);
    let effects = story.data(GAS, (600, 1), &[("TF.a", 2.5)]);
    assert_eq!(raised(&effects), ["TF.a.gas2"], "its messages are its own");
    // The other speaks again: what had come of it is still known.
    story.until(4.0);
    story.node_born("gw", "first", nothing_stored(700, 1));
    assert_eq!(story.data(GAS, (700, 1), &[("TF.a", 0.2)]), []);
    story.until(5.0);
    story.node_born("gw", "first", nothing_stored(600, 1));
    assert_eq!(story.data(GAS, (600, 1), &[("TF.a", 0.2)]), []);
}

#[test]
fn a_birth_with_another_unit_is_told() {
    let mut story = Story::new();
    story.all_born();
    let mut point = story.watch.config().points[0].clone();
    point.unit = "ppm".into();
    let born = [BirthPoint {
        point: &point,
        alias: 1,
        reading: None,
    }];
    let last = MessageNumber {
        run: 1,
        sequence: 0,
    };
    let payload = build_device_birth(story.clock(), 1, last, &born);
    let effects = story.device(GAS, DeviceMessage::Birth, payload);
    let differing = link_events(&effects)
        .into_iter()
        .find_map(|event| match event {
            LinkEvent::Online { differing, .. } => Some(differing.clone()),
            _ => None,
        });
    assert_eq!(differing.unwrap(), ["TF.a"]);
}

#[test]
fn a_foreign_node_that_reports_on_change_is_read() {
    let mut story = Story::new();
    let birth = payload(&story, vec![number("bdSeq", 7)]);
    story.node("gw", NodeMessage::Birth, birth);
    story.until(100.0);
    let at = story.clock();
    // The birth holds the values.
    let birth = payload(
        &story,
        vec![
            metric("TF.a", Some(900_000), 2.5, at),
            metric("TF.b", None, 0.3, at),
        ],
    );
    let effects = story.device(GAS, DeviceMessage::Birth, birth);
    assert_eq!(raised(&effects), ["TF.a.gas2"]);
    // Later ones come by alias and by name, without numbers.
    story.until(101.0);
    let at = story.clock();
    let message = payload(
        &story,
        vec![
            metric("", Some(900_000), 2.6, at),
            metric("TF.b", None, 2.5, at),
        ],
    );
    let effects = story.device(GAS, DeviceMessage::Data, message);
    assert_eq!(raised(&effects), ["TF.b.gas2"]);
    assert_eq!(story.colour(), Colour::Orange);
    let death = payload(&story, vec![number("bdSeq", 7)]);
    let effects = story.node("gw", NodeMessage::Death, death);
    assert_eq!(raised(&effects), ["gw.loss_of_view"]);
}

#[test]
fn numbers_at_the_end_of_their_range_are_refused() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    for (run, sequence) in [(0, 1), (1, 0), (u64::MAX, 1), (1, u64::MAX)] {
        let effects = story.data(GAS, (run, sequence), &[("TF.a", 2.5)]);
        let told = link_events(&effects);
        assert!(
            matches!(told[..], [LinkEvent::Unusable { .. }]),
            "{run} {sequence}"
        );
    }
    let effects = story.data(GAS, (1, 1), &[("TF.a", 2.5)]);
    assert_eq!(raised(&effects), ["TF.a.gas2"]);
}

#[test]
fn what_is_missing_is_counted_up_to_the_end() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    story.data(GAS, (1, 1), &[("TF.a", 0.2)]);
    for run in 1..4 {
        let end = 1 << 53;
        story.stored(
            "gw",
            &[Stored {
                run,
                first: end,
                last: end,
            }],
        );
    }
    assert_eq!(
        story.watch.gateways().get("gw").unwrap().missing(),
        (3 << 53) - 4
    );
}

#[test]
fn holes_beyond_what_is_remembered_are_given_up_and_told() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    let holes = crate::delivery::RANGES_MAX as u64 + 10;
    let mut missing = 0;
    let mut watch = Watch::restore(&story.watch.snapshot()).unwrap();
    for place in 0..holes {
        let number = MessageNumber {
            run: 1,
            sequence: 1 + 2 * place,
        };
        let payload = story.payload(number, &[("TF.a", 0.2, 1.0)], false);
        let input = Input::Message {
            topic: "spBv1.0/works/DDATA/gw/gas".into(),
            payload,
        };
        let mut effects = Vec::new();
        watch.apply(story.clock(), &input, &mut effects);
        missing += link_events(&effects)
            .into_iter()
            .filter(|event| matches!(event, LinkEvent::Missing { .. }))
            .count();
    }
    assert_eq!(missing, 10, "each hole beyond the limit, the oldest first");
    let link = watch.gateways().get("gw").unwrap();
    assert_eq!(link.missing(), 10);
    let ranges = watch.gateways().received("gw").next().unwrap().1.len();
    assert_eq!(ranges, crate::delivery::RANGES_MAX);
}

#[test]
fn births_with_ever_new_aliases_stay_bounded() {
    let mut story = Story::new();
    let mut watch = Watch::restore(&story.watch.snapshot()).unwrap();
    let mut sizes = Vec::new();
    for birth in 0..100_u64 {
        // 4,000 aliases for one tag, others each time.
        let at = story.clock();
        let metrics = (0..4_000)
            .map(|place| metric("TF.a", Some(birth * 4_000 + place), 0.0, at))
            .collect();
        let input = Input::Message {
            topic: "spBv1.0/works/DBIRTH/gw/gas".into(),
            payload: payload(&story, metrics),
        };
        watch.apply(story.clock(), &input, &mut Vec::new());
        sizes.push(watch.gateways().get("gw").unwrap().aliases());
    }
    assert!(
        sizes
            .iter()
            .all(|size| *size <= crate::gateways::ALIASES_MAX)
    );
    // The newest are known.
    story.now = 1.0;
    let message = payload(&story, vec![metric("", Some(399_999), 2.5, story.clock())]);
    let input = Input::Message {
        topic: "spBv1.0/works/DDATA/gw/gas".into(),
        payload: message,
    };
    let mut effects = Vec::new();
    watch.apply(story.clock(), &input, &mut effects);
    assert_eq!(raised(&effects), ["TF.a.gas2"]);
}

#[test]
fn silence_is_stale_and_then_a_loss_of_view() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    story.data(GAS, (1, 1), &[("TF.a", 2.5)]);
    let effects = story.until(120.0);
    assert!(raised(&effects).contains(&"TF.a.loss_of_view"));
    assert_eq!(
        story.quality("TF.a"),
        Quality::Uncertain(UncertainCause::Stale)
    );
    assert_eq!(story.alarm_state("TF.a.gas2"), State::Unacked);
}

#[test]
fn a_centre_whose_clock_went_back_goes_on_at_the_latest_moment() {
    let mut story = Story::new();
    story.all_born();
    story.until(100.0);
    story.data(GAS, (1, 1), &[("TF.a", 0.2)]);
    story.now = 50.0;
    story.data(GAS, (1, 2), &[("TF.b", 2.5)]);
    assert_eq!(story.watch.now(), Story::moment(100.0));
    assert_eq!(story.alarm_state("TF.b.gas2"), State::Unacked);
}

#[test]
fn a_damaged_snapshot_is_an_error() {
    let mut story = Story::new();
    story.all_born();
    let bytes = story.watch.snapshot();
    assert!(Watch::restore(&[]).is_err());
    assert!(Watch::restore(&bytes[..bytes.len() / 2]).is_err());
    let text = String::from_utf8(bytes).unwrap();
    let version = format!("\"version\":{}", super::super::SNAPSHOT_VERSION);
    let other = text.replacen(&version, "\"version\":999", 1);
    let refused = Watch::restore(other.as_bytes());
    assert!(matches!(refused, Err(RestoreError::Version { found: 999 })));
    let spoilt = text.replace("TF.a,", "TF.a a,");
    let refused = Watch::restore(spoilt.as_bytes());
    assert!(matches!(refused, Err(RestoreError::Config(_))));
}

/// A payload of a node that numbers its place only, by Sparkplug's `seq`.
fn foreign(story: &Story, seq: u64, metrics: Vec<Metric>) -> Vec<u8> {
    Payload {
        timestamp: Some(story.clock().0.cast_unsigned()),
        metrics,
        seq: Some(seq),
    }
    .encode_to_vec()
}

/// NBIRTH of such a node, and DBIRTH of its unit `gas` in which alias 5 is `tag`.
fn foreign_born(story: &mut Story, tag: &str) {
    let birth = foreign(story, 0, vec![number("bdSeq", 7)]);
    story.node("gw", NodeMessage::Birth, birth);
    foreign_unit_born(story, 1, tag);
}

fn foreign_unit_born(story: &mut Story, seq: u64, tag: &str) {
    let born = metric(tag, Some(5), 0.1, story.clock());
    let birth = foreign(story, seq, vec![born]);
    story.device(GAS, DeviceMessage::Birth, birth);
}

fn foreign_data(story: &mut Story, seq: u64, value: f64) -> Vec<Effect> {
    let data = metric("", Some(5), value, story.clock());
    let data = foreign(story, seq, vec![data]);
    story.device(GAS, DeviceMessage::Data, data)
}

/// Without DBIRTH and DDATA there is no other sign that a unit is there.
#[test]
fn a_unit_is_seen_by_points_that_a_foreign_node_says_itself() {
    let mut story = Story::new();
    let at = story.clock();
    let metrics = vec![number("bdSeq", 7), metric("TF.a", Some(1), 0.1, at)];
    let birth = foreign(&story, 0, metrics);
    story.node("gw", NodeMessage::Birth, birth);
    let units = |story: &Story| story.watch.gateways().get("gw").unwrap().units.clone();
    assert_eq!(units(&story)["gas"], Some(at));
    assert_eq!(units(&story)["far"], None);
    story.until(1.0);
    let at = story.clock();
    let data = foreign(&story, 1, vec![metric("TF.c", None, 0.1, at)]);
    story.node("gw", NodeMessage::Data, data);
    assert_eq!(units(&story)["far"], Some(at));
}

#[test]
fn a_foreign_alias_holds_only_from_birth_to_birth() {
    let mut story = Story::new();
    story.until(1.0);
    foreign_born(&mut story, "TF.a");
    story.until(2.0);
    assert_eq!(raised(&foreign_data(&mut story, 2, 2.5)), ["TF.a.gas2"]);
    // The centre starts again; the node may have, too.
    for birth in [false, true] {
        story.until(story.now + 20.0);
        if birth {
            // Its NBIRTH is there, that of the unit is not yet.
            let birth = foreign(&story, 0, vec![number("bdSeq", 8)]);
            story.node("gw", NodeMessage::Birth, birth);
        } else {
            let version = "1".into();
            story.give(Input::Started { version });
        }
        let point = story.watch.directory().find("TF.a").unwrap();
        let before = story.watch.engine().last(point).unwrap().value;
        let effects = foreign_data(&mut story, 1, 0.7);
        assert!(birth || wants_rebirth(&effects));
        let after = story.watch.engine().last(point).unwrap().value;
        assert_eq!(before.to_bits(), after.to_bits(), "not by the old alias");
    }
    story.until(story.now + 20.0);
    foreign_unit_born(&mut story, 2, "TF.b");
    story.until(story.now + 1.0);
    assert_eq!(raised(&foreign_data(&mut story, 3, 2.5)), ["TF.b.gas2"]);
}

#[test]
fn messages_that_a_foreign_node_skips_are_told_and_births_asked_for() {
    let mut story = Story::new();
    story.until(1.0);
    foreign_born(&mut story, "TF.a");
    for seq in 2..600 {
        let effects = foreign_data(&mut story, seq % 256, 0.1);
        assert_eq!(effects, [], "{seq} follows the one before");
    }
    let effects = foreign_data(&mut story, (599 + 4) % 256, 0.1);
    assert!(wants_rebirth(&effects));
    assert!(link_events(&effects).contains(&&LinkEvent::Skipped { messages: 3 }));
    assert_eq!(raised(&effects), ["gw.gap"]);
    let effects = foreign_data(&mut story, (603 + 2) % 256, 0.1);
    assert!(!wants_rebirth(&effects), "once in ten seconds");
    assert_eq!(story.watch.gateways().get("gw").unwrap().skipped, 4);
}

#[test]
fn what_a_foreign_node_said_while_nobody_heard_is_missed_once_at_least() {
    // It went on from 2 by one, or by more, or was born anew.
    for (seq, missed) in [(3, 0), (4, 1), (250, 1), (1, 1)] {
        let mut story = Story::new();
        story.until(1.0);
        foreign_born(&mut story, "TF.a");
        foreign_data(&mut story, 2, 0.1);
        story.give(Input::Broker { connected: false });
        story.until(story.now + 20.0);
        story.give(Input::Broker { connected: true });
        let effects = foreign_data(&mut story, seq, 0.1);
        assert_eq!(raised(&effects).contains(&"gw.gap"), missed > 0, "{seq}");
        foreign_data(&mut story, seq + 1, 0.1);
        assert_eq!(
            story.watch.gateways().get("gw").unwrap().skipped,
            missed,
            "{seq}"
        );
        foreign_born(&mut story, "TF.a");
        assert_eq!(foreign_data(&mut story, 2, 0.1), [], "counted anew");
        assert_eq!(story.watch.gateways().get("gw").unwrap().skipped, missed);
    }
}

#[test]
fn what_births_did_not_explain_is_not_asked_for_again() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    let strange = |story: &mut Story| {
        story.until(story.now + 20.0);
        let data = payload(story, vec![metric("", Some(99), 1.0, story.clock())]);
        story.device(GAS, DeviceMessage::Data, data)
    };
    assert!(wants_rebirth(&strange(&mut story)));
    assert!(wants_rebirth(&strange(&mut story)), "none has come");
    story.all_born();
    let effects = strange(&mut story);
    assert!(!wants_rebirth(&effects));
    let told = LinkEvent::Unexplained { aliases: vec![99] };
    assert!(link_events(&effects).contains(&&told));
    let effects = strange(&mut story);
    assert_eq!(link_events(&effects), Vec::<&LinkEvent>::new(), "told once");
    assert_eq!(story.watch.gateways().get("gw").unwrap().unknown, 4);
    // With another configuration it may be known.
    story.give(config_input(files(SITE, POINTS)));
    assert!(wants_rebirth(&strange(&mut story)));
}

fn resends(effects: &[Effect]) -> Vec<Vec<(u64, u64, u64)>> {
    let asked = link_events(effects)
        .into_iter()
        .filter_map(|event| match event {
            LinkEvent::ResendWanted { messages } => Some(
                messages
                    .iter()
                    .map(|gap| (gap.run, gap.first, gap.last))
                    .collect(),
            ),
            _ => None,
        });
    asked.collect()
}

#[test]
fn a_gap_that_stands_is_asked_for_again_until_it_is_closed() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    story.data(GAS, (1, 1), &[("TF.a", 0.2)]);
    story.data(GAS, (1, 5), &[("TF.a", 0.2)]);
    assert_eq!(resends(&story.until(10.9)), Vec::<Vec<_>>::new());
    assert_eq!(resends(&story.until(12.0)), [[(1, 2, 4)]]);
    assert_eq!(resends(&story.until(22.0)), [[(1, 2, 4)]], "once in 10 s");
    // A backlog on its way changes its gap: it is left alone.
    story.data(GAS, (1, 2), &[("TF.a", 0.2)]);
    assert_eq!(resends(&story.until(32.0)), Vec::<Vec<_>>::new());
    assert_eq!(resends(&story.until(42.0)), [[(1, 3, 4)]]);
    // One comes, the other is gone: told, counted, closed.
    let effects = story.data(GAS, (1, 4), &[("TF.a", 2.5)]);
    assert_eq!(raised(&effects), ["TF.a.gas2"], "and is taken");
    let mut ranges = crate::delivery::Ranges::default();
    ranges.insert_range(1, 9);
    let data = NodeData {
        gone: Some(vec![crate::sparkplug::RunRanges { run: 1, ranges }]),
        ..NodeData::default()
    };
    let payload = build_node_data(story.clock(), 0, &data);
    let effects = story.node("gw", NodeMessage::Data, payload);
    let (run, first, last) = (1, 3, 3);
    let messages = crate::delivery::Missing { run, first, last };
    assert_eq!(link_events(&effects), [&LinkEvent::Missing { messages }]);
    assert_eq!(story.watch.gateways().get("gw").unwrap().missing(), 1);
    assert_eq!(resends(&story.until(100.0)), Vec::<Vec<_>>::new());
}

#[test]
fn the_last_message_of_a_run_is_asked_for_again_too() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    story.data(GAS, (1, 1), &[("TF.a", 0.2)]);
    let (run, first, last) = (1, 1, 20_000);
    story.stored("gw", &[Stored { run, first, last }]);
    assert_eq!(resends(&story.until(12.0)), [[(1, 2, 10_001)]], "bounded");
    story.node_dead("gw", 1);
    assert_eq!(resends(&story.until(60.0)), Vec::<Vec<_>>::new());
}

#[test]
fn a_count_beyond_what_any_gateway_can_reach_is_refused() {
    let mut story = Story::new();
    story.all_born();
    let bound = 1 << 53;
    for last in [bound + 1, u64::MAX - 2, u64::MAX] {
        let (run, first) = (1, 1);
        let effects = story.stored("gw", &[Stored { run, first, last }]);
        assert!(matches!(
            link_events(&effects)[..],
            [LinkEvent::Unusable { .. }]
        ));
    }
    let runs = (1..=64).map(|run| Stored {
        run,
        first: 1,
        last: bound,
    });
    story.stored("gw", &runs.collect::<Vec<_>>());
    let gateway = story.watch.gateways().get("gw").unwrap();
    assert_eq!(gateway.stored_messages(), 64 << 53);
    story.node_dead("gw", 1);
}

/// Readings of unit `gas` that its node calls historical, and live ones beside them.
fn foreign_readings(
    story: &mut Story,
    seq: u64,
    historical: &[(&str, f64, f64)],
    live: &[(&str, f64)],
) -> Vec<Effect> {
    let mut metrics = Vec::new();
    for (tag, value, at) in historical {
        let mut metric = metric(tag, None, *value, Story::moment(*at));
        metric.is_historical = Some(true);
        metrics.push(metric);
    }
    for (tag, value) in live {
        metrics.push(metric(tag, None, *value, story.clock()));
    }
    let data = foreign(story, seq, metrics);
    story.device(GAS, DeviceMessage::Data, data)
}

#[test]
fn what_a_foreign_node_says_late_does_not_stand_for_ever() {
    let mut story = Story::new();
    story.until(1.0);
    foreign_born(&mut story, "TF.a");
    story.until(20.0);
    let effects = foreign_readings(&mut story, 2, &[("TF.a", 2.5, 10.0)], &[]);
    assert_eq!(raised(&effects), ["TF.a.gas2"]);
    // There is no end of a store that it could tell: whatever it says live is one.
    for at in 1..4 {
        story.until(20.0 + f64::from(at));
        let effects = foreign_readings(&mut story, 2 + at as u64, &[], &[("TF.a", 0.5)]);
        let expected: &[&str] = if at == 1 { &["TF.a.gas2"] } else { &[] };
        assert_eq!(returned(&effects), expected);
    }
    // A node that measures itself says live values too, and so does a birth.
    let mut measured = Story::new();
    measured.until(1.0);
    foreign_born(&mut measured, "TF.a");
    measured.until(20.0);
    foreign_readings(&mut measured, 2, &[("TF.a", 2.5, 10.0)], &[]);
    let at = measured.clock();
    let data = foreign(&measured, 3, vec![metric("TF.a", None, 0.5, at)]);
    let effects = measured.node("gw", NodeMessage::Data, data);
    assert_eq!(returned(&effects), ["TF.a.gas2"]);
    foreign_readings(&mut measured, 4, &[("TF.a", 2.5, 15.0)], &[]);
    measured.until(21.0);
    let at = measured.clock();
    let birth = foreign(&measured, 5, vec![metric("TF.a", Some(5), 0.5, at)]);
    let effects = measured.device(GAS, DeviceMessage::Birth, birth);
    assert_eq!(returned(&effects), ["TF.a.gas2"]);
}

#[test]
fn a_delay_runs_over_several_late_messages_of_a_foreign_node() {
    let mut story = Story::new();
    story.until(1.0);
    foreign_born(&mut story, "TF.a");
    story.until(60.0);
    let mut effects = Vec::new();
    for (seq, at) in (2..).zip([10.0, 11.0, 12.0, 13.0, 14.0]) {
        effects.extend(foreign_readings(&mut story, seq, &[("TF.a", 1.5, at)], &[]));
    }
    assert_eq!(raised(&effects), ["TF.a.gas1"]);
}

#[test]
fn live_values_beside_late_ones_are_live() {
    let mut story = Story::new();
    story.until(1.0);
    foreign_born(&mut story, "TF.a");
    for at in 1..60 {
        story.until(f64::from(at));
        let old = [("TF.a", 0.3, f64::from(at) - 0.5)];
        let live = [("TF.a", 0.4), ("TF.b", 0.4)];
        let effects = foreign_readings(&mut story, 1 + at as u64, &old, &live);
        assert_eq!(raised(&effects), Vec::<&str>::new());
    }
    for tag in ["TF.a", "TF.b"] {
        assert!(story.quality(tag).is_good(), "{tag}");
    }
    assert_eq!(story.watch.engine().counters().late, 59);
    assert_eq!(
        story.watch.gateways().get("gw").unwrap().readings,
        1 + 3 * 59
    );
    // The end of what is late is seen in the same message.
    story.until(60.0);
    let old = [("TF.b", 2.5, 59.5)];
    let effects = foreign_readings(&mut story, 61, &old, &[("TF.b", 0.4)]);
    assert_eq!(
        (raised(&effects), returned(&effects)),
        (vec!["TF.b.gas2"], vec!["TF.b.gas2"])
    );
}
