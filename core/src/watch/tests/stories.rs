//! What happens at a plant whose gateways behave.

use super::*;
use crate::alarm::Command;
use crate::hazard::{Class, EvidencePart, HazardStep};
use crate::reading::Lane;

const GAS: (&str, &str) = ("gw", "gas");

#[test]
fn two_detectors_in_level_two_make_orange_and_entries() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    story.data(GAS, (1, 1), &[("TF.a", 0.2), ("TF.b", 0.2)]);
    story.until(2.0);
    // Level 1 is held for 3 s before it is an alarm.
    let effects = story.data(GAS, (1, 2), &[("TF.a", 1.2), ("TF.b", 0.2)]);
    assert_eq!(raised(&effects), Vec::<&str>::new());
    story.until(5.0);
    let effects = story.data(GAS, (1, 3), &[("TF.a", 1.2), ("TF.b", 0.2)]);
    assert_eq!(raised(&effects), ["TF.a.gas1"]);
    assert_eq!(
        story.colour(),
        Colour::Yellow,
        "held: nothing had been seen at the start"
    );
    story.until(6.0);
    let effects = story.data(GAS, (1, 4), &[("TF.a", 2.5), ("TF.b", 0.2)]);
    assert_eq!(raised(&effects), ["TF.a.gas2"]);
    assert_eq!(ledger_events(&effects), [("found", 1)]);
    assert_eq!(colours(&effects), [], "one point in level 2 is yellow");
    story.until(7.0);
    let effects = story.data(GAS, (1, 5), &[("TF.a", 2.5), ("TF.b", 2.5)]);
    assert_eq!(raised(&effects), ["TF.b.gas2"]);
    assert_eq!(ledger_events(&effects), [("found", 2)]);
    assert_eq!(colours(&effects), [Colour::Orange]);
    // The alarm stands before what it brings about.
    let kinds: Vec<bool> = effects
        .iter()
        .map(|effect| matches!(effect, Effect::Alarm(_)))
        .collect();
    assert!(kinds[0] && !kinds[1]);
    let entry = story.watch.ledger().hazard(1).unwrap();
    assert_eq!(entry.class, Class::Major, "level 2 at a source of level 2");
    assert_eq!(entry.origin.source.as_deref(), Some("TF"));
}

#[test]
fn a_dead_gateway_is_a_loss_of_view_and_recovers_nothing() {
    let mut story = Story::new();
    story.all_born();
    story.until(100.0);
    story.data(GAS, (1, 1), &[("TF.a", 2.5), ("TF.b", 0.2)]);
    assert_eq!(story.alarm_state("TF.a.gas2"), State::Unacked);
    story.until(102.0);
    let effects = story.node_dead("gw", 1);
    assert_eq!(raised(&effects), ["gw.loss_of_view"]);
    assert_eq!(returned(&effects), Vec::<&str>::new());
    assert!(story.quality("TF.a").is_bad() && story.quality("TF.c").is_bad());
    assert!(story.watch.gateways().get("other").unwrap().online);
    let view = |story: &Story| {
        let mut alarms = story.watch.engine().alarms();
        alarms
            .find(|view| view.name == "TF.a.gas2")
            .unwrap()
            .unknown
    };
    assert!(view(&story), "nobody knows whether it still holds");
    let effects = story.until(3_000.0);
    assert!(!returned(&effects).contains(&"TF.a.gas2"));
    assert_eq!(story.alarm_state("TF.a.gas2"), State::Unacked);
    assert!(
        ledger_events(&effects)
            .iter()
            .any(|(event, _)| *event == "found"),
        "a loss of view that lasts is an entry"
    );
    // Back, with a birth: the loss of view ends, the alarm only by a good reading.
    story.node_born("gw", "first", nothing_stored(2, 0));
    story.unit_born("gw", "gas");
    assert_eq!(story.alarm_state("TF.a.gas2"), State::Unacked);
    story.data(GAS, (2, 1), &[("TF.a", 0.1)]);
    story.until(3_100.0);
    assert_eq!(story.alarm_state("gw.loss_of_view"), State::RtnUnacked);
}

#[test]
fn the_will_of_an_old_connection_kills_nothing() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    story.node_born("gw", "first", nothing_stored(2, 0));
    let effects = story.node_dead("gw", 1);
    assert_eq!(effects, []);
    assert!(story.watch.gateways().get("gw").unwrap().online);
}

#[test]
fn a_dead_unit_takes_its_own_points_only() {
    let mut story = Story::new();
    story.all_born();
    story.until(61.0);
    story.data(GAS, (1, 1), &[("TF.a", 0.2), ("TF.b", 0.2)]);
    story.data(("gw", "far"), (1, 2), &[("TF.c", 0.2)]);
    let effects = story.unit_dead("gw", "far");
    assert_eq!(raised(&effects), ["gw/far.loss_of_view"]);
    assert!(story.quality("TF.c").is_bad());
    assert!(story.quality("TF.a").is_good());
    story.until(62.0);
    story.unit_born("gw", "far");
    story.data(("gw", "far"), (1, 3), &[("TF.c", 0.2)]);
    assert!(story.quality("TF.c").is_good());
}

#[test]
fn a_message_is_taken_once() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    let number = MessageNumber {
        run: 1,
        sequence: 1,
    };
    let payload = story.payload(number, &[("TF.a", 2.5, 1.0)], false);
    let topic = "spBv1.0/works/DDATA/gw/gas";
    assert!(!story.watch.has_seen(topic, &payload));
    let effects = story.device(GAS, DeviceMessage::Data, payload.clone());
    assert_eq!(raised(&effects), ["TF.a.gas2"]);
    assert!(story.watch.has_seen(topic, &payload));
    let effects = story.device(GAS, DeviceMessage::Data, payload);
    assert_eq!(effects, [], "again, by whatever way it came");
    // Another run may use the same sequence.
    let effects = story.data(GAS, (2, 1), &[("TF.b", 2.5)]);
    assert_eq!(raised(&effects), ["TF.b.gas2"]);
}

#[test]
fn the_backlog_comes_behind_and_raises_late_alarms() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    story.data(GAS, (1, 1), &[("TF.a", 0.2)]);
    // 10 minutes without a link; messages 2 to 4 are stored, the live one goes first.
    story.until(600.0);
    story.stored(
        "gw",
        &[Stored {
            run: 1,
            first: 2,
            last: 4,
        }],
    );
    let effects = story.data(GAS, (1, 5), &[("TF.a", 0.2)]);
    assert_eq!(raised(&effects), Vec::<&str>::new());
    for (sequence, value, at) in [(2, 2.5, 100.0), (3, 2.5, 101.0), (4, 0.2, 102.0)] {
        let effects = story.sampled(GAS, (1, sequence), &[("TF.a", value, at)], true);
        let missing = link_events(&effects)
            .into_iter()
            .any(|event| matches!(event, LinkEvent::Missing { .. }));
        assert!(!missing, "nothing is missing: it was stored");
        if sequence == 2 {
            let late = effects.iter().find_map(|effect| match effect {
                Effect::Alarm(change) => Some((change.lane, change.sounds)),
                _ => None,
            });
            assert_eq!(late, Some((Lane::Historical, false)), "late, and silent");
            assert_eq!(ledger_events(&effects), [("found", 1)]);
        }
    }
    let link = story.watch.gateways().get("gw").unwrap();
    assert_eq!(link.missing(), 0);
    let received: Vec<_> = story.watch.gateways().received("gw").collect();
    assert_eq!(received[0].1.iter().collect::<Vec<_>>(), [(1, 5)]);
}

#[test]
fn what_is_carried_on_from_the_store_waits_for_the_ledger_like_any_other() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    story.data(GAS, (1, 1), &[("TF.a", 0.2)]);
    story.until(600.0);
    let last = Stored {
        run: 1,
        first: 2,
        last: 2,
    };
    story.stored("gw", &[last]);
    let values = [("TF.a", 1.2, 585.0), ("TF.a", 1.2, 590.0)];
    let effects = story.sampled(GAS, (1, 2), &values, true);
    assert_eq!(raised(&effects), ["TF.a.gas1"]);
    let values = [("TF.a", 1.2, 595.0), ("TF.a", 1.2, 599.0)];
    let effects = story.sampled(GAS, (1, 3), &values, false);
    let carried_on = effects.iter().any(|effect| {
        matches!(effect, Effect::Alarm(change) if change.cause == Cause::CarriedOn && !change.sounds)
    });
    assert!(carried_on, "it has sounded before");
    let mut found = Vec::new();
    for (sequence, at) in (4..).zip((610..=2_410).step_by(10)) {
        found.extend(story.until(f64::from(at)));
        found.extend(story.data(GAS, (1, sequence), &[("TF.a", 1.2)]));
    }
    let of_gas1 = found.iter().filter(
        |effect| matches!(effect, Effect::Hazard(change) if change.hazard.origin.alarm == "TF.a.gas1"),
    );
    assert_eq!(of_gas1.count(), 1, "entered after 30 minutes");
}

#[test]
fn a_gap_is_told_once_and_alarmed() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    story.data(GAS, (1, 1), &[("TF.a", 0.2)]);
    story.data(GAS, (1, 5), &[("TF.a", 0.2)]);
    let stored = [Stored {
        run: 1,
        first: 4,
        last: 5,
    }];
    let effects = story.stored("gw", &stored);
    let expected = LinkEvent::Missing {
        messages: crate::delivery::Missing {
            run: 1,
            first: 2,
            last: 3,
        },
    };
    assert_eq!(link_events(&effects), [&expected]);
    assert_eq!(raised(&effects), ["gw.gap"]);
    assert_eq!(story.watch.gateways().get("gw").unwrap().missing(), 2);
    let effects = story.stored("gw", &stored);
    assert_eq!(effects, [], "told once");
    let effects = story.data(GAS, (1, 3), &[("TF.a", 2.5)]);
    assert_eq!(effects, [], "what was given up is not taken any more");
    let effects = story.until(200.0);
    assert!(returned(&effects).contains(&"gw.gap"));
}

#[test]
fn what_an_outbox_dropped_is_counted_and_alarmed() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    let lost = |count| NodeData {
        lost: Some(count),
        ..NodeData::default()
    };
    let payload = build_node_data(story.clock(), 0, &lost(7));
    let effects = story.node("gw", NodeMessage::Data, payload.clone());
    assert_eq!(raised(&effects), ["gw.outbox_loss"]);
    assert_eq!(story.watch.gateways().get("gw").unwrap().lost, 7);
    let effects = story.node("gw", NodeMessage::Data, payload);
    assert_eq!(effects, []);
}

#[test]
fn people_answer_and_the_refused_are_told_why() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    story.data(GAS, (1, 1), &[("TF.a", 2.5)]);
    let occurrence = story
        .watch
        .engine()
        .alarms()
        .find(|view| view.name == "TF.a.gas2");
    let occurrence = occurrence.unwrap().occurrence;
    let acknowledge = |by: &str| {
        Input::Alarm(Command::Acknowledge {
            occurrence,
            by: by.into(),
            comment: None,
        })
    };
    let effects = story.give(acknowledge("Li"));
    assert!(matches!(&effects[..], [Effect::Alarm(_)]));
    let effects = story.give(acknowledge("Wang"));
    assert!(
        matches!(
            &effects[..],
            [Effect::AlarmRefused {
                why: Refusal::AlreadyAcknowledged,
                ..
            }]
        ),
        "one wins, the other is told"
    );
    let step = |step| {
        Input::Hazard(HazardCommand {
            hazard: 1,
            by: "Li".into(),
            comment: "checked".into(),
            step,
        })
    };
    let verify = HazardStep::Verify {
        class: Class::Major,
    };
    let effects = story.give(step(verify.clone()));
    assert!(
        matches!(&effects[..], [Effect::HazardRefused { refused, .. }]
            if refused.to_string().contains("trend")),
        "nobody judges without the trend"
    );
    let effects = story.give(step(HazardStep::FileEvidence {
        part: EvidencePart::Before,
        content: Box::default(),
    }));
    assert_eq!(ledger_events(&effects), [("file_evidence", 1)]);
    let effects = story.give(step(verify.clone()));
    assert_eq!(ledger_events(&effects), [("verify", 1)]);
    let effects = story.give(step(verify));
    assert!(matches!(&effects[..], [Effect::HazardRefused { .. }]));
    assert_eq!(
        story.watch.ledger().hazard(1).unwrap().state,
        HazardState::Registered
    );
}

#[test]
fn a_reload_keeps_what_is_known() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    story.data(GAS, (1, 1), &[("TF.a", 2.5), ("TF.b", 2.5)]);
    assert_eq!(story.colour(), Colour::Orange);
    // The points stand in another order and one is new: names count, not places.
    let mut lines: Vec<&str> = POINTS.lines().collect();
    lines[1..].reverse();
    let points = format!(
        "{}\nTF.e,戊,E,cl2,,mg/m3,0,10,TF,gw,far,1s,input_registers,4,f32,ABCD,none,,\n",
        lines.join("\n")
    );
    let effects = story.give(config_input(files(SITE, &points)));
    assert!(effects.contains(&Effect::Configured {
        points: 5,
        alarms: story.watch.config().alarms.len() as u64
    }));
    assert_eq!(raised(&effects), Vec::<&str>::new());
    assert_eq!(story.alarm_state("TF.a.gas2"), State::Unacked);
    assert_eq!(story.colour(), Colour::Orange);
    // Aliases of the old births still mean the same tags.
    story.until(2.0);
    let point = story.watch.directory().find("TF.a").unwrap();
    let reading = Reading::new(point, 3.5, Quality::Good, story.clock());
    let mut stored = Vec::new();
    let number = MessageNumber {
        run: 1,
        sequence: 2,
    };
    encode_data(
        &mut stored,
        story.clock(),
        Some(number),
        [(1, WireType::Float, &reading)],
    );
    let mut payload = Vec::new();
    finish(&stored, story.clock(), 0, false, &mut payload).unwrap();
    story.device(GAS, DeviceMessage::Data, payload);
    let value = story.watch.engine().last(point).unwrap().value;
    assert!((value - 3.5).abs() < 1e-9);
}

#[test]
fn a_refused_configuration_leaves_the_one_before() {
    let mut story = Story::new();
    story.all_born();
    let before = story.watch.config().points.len();
    let spoilt = POINTS
        .replace("TF.a,", "TF.a a,")
        .replace(",0,10,TF,gw,far", ",10,0,TF,gw,far");
    let effects = story.give(config_input(files(SITE, &spoilt)));
    let faults = effects.iter().find_map(|effect| match effect {
        Effect::ConfigRefused { faults } => Some(faults.len()),
        _ => None,
    });
    assert!(faults.unwrap() >= 2, "all faults at once");
    assert_eq!(effects.len(), 1);
    assert_eq!(story.watch.config().points.len(), before);
    story.until(1.0);
    let effects = story.data(GAS, (1, 1), &[("TF.a", 2.5)]);
    assert_eq!(raised(&effects), ["TF.a.gas2"]);
}

#[test]
fn a_point_taken_out_leaves_the_list() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    story.data(GAS, (1, 1), &[("TF.a", 2.5)]);
    let without: Vec<&str> = POINTS
        .lines()
        .filter(|line| !line.starts_with("TF.a,"))
        .collect();
    let effects = story.give(config_input(files(SITE, &without.join("\n"))));
    let removed = effects.iter().any(|effect| {
        matches!(effect, Effect::Alarm(change)
            if change.alarm == "TF.a.gas2" && matches!(change.cause, Cause::Removed { .. }))
    });
    assert!(removed);
    // Its entry stays, and what nobody measures is unknown.
    let entry = story.watch.ledger().hazard(1).unwrap();
    assert!(entry.state.is_open() && entry.normal_since.is_none());
}

#[test]
fn a_unit_whose_points_are_all_of_one_source_counts_each_of_them() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    story.data(GAS, (1, 1), &[("TF.a", 0.2)]);
    story.node_dead("gw", 1);
    let facts = story.watch.facts(0);
    assert_eq!(facts.points, 4);
    let behind = facts
        .unseen
        .iter()
        .filter(|(alarm, _)| *alarm == "gw.loss_of_view");
    assert_eq!(behind.count(), 3, "the three points behind the gateway");
}

/// 5 % of the points are blue after ten minutes, 10 % are yellow at once.
#[test]
fn a_point_that_several_alarms_call_unseen_is_one_point() {
    let mut points = POINTS.lines().next().unwrap().to_owned();
    for place in 0..20 {
        let unit = if place == 0 { "far" } else { "gas" };
        let address = place * 2;
        let row = format!(
            "\nTF.p{place},甲,A,cl2,,mg/m3,0,10,TF,gw,{unit},1s,input_registers,{address},f32,ABCD,none,,"
        );
        points += &row;
    }
    points += "\nTF.d,丁,D,cl2,,mg/m3,0,10,,other,gas,1s,input_registers,0,f32,ABCD,none,,";
    let mut story = Story::new();
    story.give(config_input(files(SITE, &points)));
    story.all_born();
    let tags: Vec<String> = (0..20).map(|place| format!("TF.p{place}")).collect();
    let gas: Vec<(&str, f64)> = tags[1..].iter().map(|tag| (tag.as_str(), 0.2)).collect();
    let mut sequence = 0;
    let mut seen = Vec::new();
    for second in (60..=780).step_by(10) {
        seen.extend(colours(&story.until(f64::from(second))));
        sequence += 1;
        seen.extend(colours(&story.data(GAS, (1, sequence), &gas)));
        if second == 60 {
            let far = ("gw", "far");
            sequence += 1;
            story.data(far, (1, sequence), &[("TF.p0", 0.2)]);
        }
        if second == 120 {
            story.unit_dead("gw", "far");
            let facts = story.watch.facts(0);
            assert_eq!(facts.points, 20);
            // Unseen since its own alarm, which was first.
            assert!(
                matches!(facts.unseen[..], [("TF.p0.loss_of_view", since)] if since < story.clock())
            );
        }
    }
    assert_eq!(seen, [Colour::Blue]);
}

#[test]
fn points_of_a_config_are_found_by_tag() {
    let story = Story::new();
    let points: Vec<&Point> = story.watch.config().points.iter().collect();
    for (place, point) in points.iter().enumerate() {
        let found = story.watch.directory().find(&point.tag).unwrap();
        assert_eq!(found.index(), place);
    }
    assert_eq!(story.watch.directory().find("nobody"), None);
}

#[test]
fn the_history_ends_with_the_last_message_of_a_former_run() {
    let mut story = Story::new();
    story.all_born();
    story.until(1.0);
    story.data(GAS, (1, 1), &[("TF.a", 0.2)]);
    // Killed with messages 2 and 3 of run 1 stored; nothing newer came, so there is no hole.
    story.until(20.0);
    let of_run = |run, first, last| Stored { run, first, last };
    story.stored("gw", &[of_run(1, 2, 3), of_run(2, 1, 0)]);
    story.data(GAS, (2, 1), &[("TF.a", 0.2)]);
    let effects = story.sampled(GAS, (1, 2), &[("TF.a", 2.5, 2.0)], true);
    assert_eq!(raised(&effects), ["TF.a.gas2"]);
    let effects = story.sampled(GAS, (1, 3), &[("TF.a", 2.5, 3.0)], true);
    assert_eq!(returned(&effects), ["TF.a.gas2"], "the live lane is newer");
}

#[test]
fn a_bundle_that_does_not_unfold_is_put_aside_and_told() {
    let mut story = Story::new();
    story.all_born();
    let data = NodeData {
        backlog: Some(vec![1, 2, 3]),
        ..NodeData::default()
    };
    let payload = build_node_data(story.clock(), 0, &data);
    let effects = story.node("gw", NodeMessage::Data, payload);
    let events = link_events(&effects);
    assert!(
        matches!(events[..], [LinkEvent::Unusable { .. }]),
        "{events:?}"
    );
}

#[test]
fn what_the_centre_finds_about_itself_is_an_alarm_once() {
    let mut story = Story::new();
    story.until(1.0);
    let found = |active| Input::Centre {
        condition: SystemCondition::SinkBehind,
        active,
        why: "influxdb holds pruning".into(),
    };
    let effects = story.give(found(true));
    assert_eq!(raised(&effects), ["centre.sink_behind"]);
    assert_eq!(story.give(found(true)), [], "told once");
    story.give(found(false));
    let effects = story.until(100.0);
    assert_eq!(returned(&effects), ["centre.sink_behind"]);
}
