//! Random streams: against a slow, obvious model, and for what must be true at any time.

use proptest::prelude::*;

use super::*;

/// One reading of a random stream, times in milliseconds.
#[derive(Clone, Debug)]
struct Step {
    /// Gateway's clock, from the reading before; negative for one out of order.
    later: i64,
    value: f64,
    quality: Quality,
}

/// Values at, beside and between the limits of [`CONFIG`].
const VALUES: [f64; 13] = [
    5.0, 10.0, 12.0, 12.1, 20.0, 22.0, 22.1, 50.0, 77.9, 78.0, 80.0, 88.0, 90.0,
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let quality = prop_oneof![
        8 => Just(Quality::Good),
        1 => Just(Quality::Uncertain(UncertainCause::OverRange)),
        1 => Just(Quality::Uncertain(UncertainCause::UnderRange)),
        1 => Just(Quality::Bad(BadCause::OpenWire)),
    ];
    let later = prop_oneof![9 => 1i64..4_000, 1 => -3_000i64..=0];
    let step = (later, prop::sample::select(VALUES.to_vec()), quality);
    let step = step.prop_map(|(later, value, quality)| Step {
        later,
        value,
        quality,
    });
    prop::collection::vec(step, 1..60)
}

/// What the model and the engine must agree on: when, which alarm, raised or returned.
type Told = (i64, String, bool);

/// Judges one limit over a whole stream, written to be read and not to be fast: at each reading it
/// looks back over all that came before.
fn model(readings: &[(i64, f64, Quality)], alarm: &AlarmDefinition) -> Vec<Told> {
    let Condition::Limit(limit) = alarm.condition else {
        return vec![];
    };
    let high = limit.setpoint.is_high();
    // In order, each moment once.
    let mut kept: Vec<(i64, f64, Quality)> = Vec::new();
    for reading in readings {
        if kept.last().is_none_or(|last| reading.0 > last.0) {
            kept.push(*reading);
        }
    }
    // What counts as a value for this limit.
    let seen: Vec<(i64, Option<f64>)> = kept
        .iter()
        .map(|(at, value, quality)| match quality {
            Quality::Good => (*at, Some(*value)),
            Quality::Uncertain(UncertainCause::OverRange) if high => (*at, Some(1e9)),
            Quality::Uncertain(UncertainCause::UnderRange) if !high => (*at, Some(-1e9)),
            _ => (*at, None),
        })
        .collect();
    let mut told = Vec::new();
    let (mut active, mut changed) = (false, 0);
    for now in 0..seen.len() {
        let leaves = |value: f64| match (active, high) {
            (false, true) => value >= limit.limit,
            (false, false) => value <= limit.limit,
            (true, true) => value < limit.reset,
            (true, false) => value > limit.reset,
        };
        let Some(value) = seen[now].1 else { continue };
        if !leaves(value) {
            continue;
        }
        // Back to the first reading of this unbroken stretch; what does not count breaks nothing.
        let mut first = now;
        for before in (changed..now).rev() {
            match seen[before].1 {
                Some(value) if leaves(value) => first = before,
                Some(_) => break,
                None => {}
            }
        }
        let held: i64 = (first..now)
            .filter(|i| seen[*i].1.is_some() && seen[*i + 1].1.is_some())
            .map(|i| seen[i + 1].0 - seen[i].0)
            .sum();
        let delay = if active {
            alarm.off_delay
        } else {
            alarm.on_delay
        };
        if held >= delay.as_millis() as i64 {
            active = !active;
            changed = now + 1;
            told.push((seen[now].0, alarm.name.clone(), active));
        }
    }
    told
}

/// A long period: no deadline comes into these streams.
const CONFIG: &str = "period 86400s,
    ll 10, reset 12, on-delay 1s, l 20, reset 22, on-delay 2500ms, off-delay 4s,
    h 80, reset 78, on-delay 3s, off-delay 1500ms, hh 90, reset 88, off-delay 5s";

fn play(steps: &[Step], lane: Lane) -> (Vec<Told>, Vec<(i64, f64, Quality)>) {
    let mut rig = Rig::new(CONFIG);
    let mut at = 2_000_000;
    let mut readings = Vec::new();
    for step in steps {
        at += step.later;
        readings.push((at, step.value, step.quality));
        let read = [Reading::new(
            PointId(0),
            step.value,
            step.quality,
            Timestamp(at),
        )];
        let readings = &read;
        // The centre's clock stands a little after any of them.
        rig.apply(
            Timestamp(3_000_000),
            Input::Readings {
                lane,
                turn: Turn::Unnumbered,
                readings,
            },
        );
    }
    let told = changes(&rig.log)
        .filter(|change| change.lane == lane)
        .filter_map(|change| {
            let raised = match change.cause {
                Cause::Raised => true,
                Cause::Returned => false,
                _ => return None,
            };
            Some((change.sampled_at.0, change.alarm.clone(), raised))
        })
        .collect();
    (told, readings)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_engine_agrees_with_the_slow_model(steps in steps()) {
        for lane in [Lane::Live, Lane::Historical] {
            let (told, readings) = play(&steps, lane);
            for alarm in parse(CONFIG).1 {
                let own: Vec<_> = told.iter().filter(|t| t.1 == alarm.name).cloned().collect();
                prop_assert_eq!(own, model(&readings, &alarm), "{:?} {}", lane, alarm.name);
            }
        }
    }

    #[test]
    fn a_batch_is_its_readings_one_by_one(steps in steps()) {
        let (points, alarms) = parse(CONFIG);
        let mut at = 2_000_000;
        let readings: Vec<_> = steps.iter().map(|step| {
            at += step.later;
            Reading::new(PointId(0), step.value, step.quality, Timestamp(at))
        }).collect();
        let now = Timestamp(3_000_000);
        let lane = Lane::Live;
        let (mut one, mut all) = (Engine::new(&points, &alarms), Engine::new(&points, &alarms));
        let (mut from_one, mut from_all) = (Vec::new(), Vec::new());
        for readings in readings.chunks(1) {
            one.apply(now, Input::Readings { lane, turn: Turn::Unnumbered, readings }, &mut from_one);
        }
        let readings = &readings;
        all.apply(now, Input::Readings { lane, turn: Turn::Unnumbered, readings }, &mut from_all);
        prop_assert_eq!(from_one, from_all);
        prop_assert_eq!(one.snapshot(), all.snapshot());
    }
}

/// Anything that can happen to an engine.
#[derive(Clone, Debug)]
enum Event {
    Reading(u32, usize, Quality, i64, (Lane, Turn)),
    Tick,
    Ack(u64),
    Reset(u64),
    Link(bool, bool),
    HistoryEnds,
    Reconfigure(bool),
}

fn events() -> impl Strategy<Value = Vec<(i64, Event)>> {
    let quality: Vec<_> = Quality::all().collect();
    let quality = prop_oneof![Just(Quality::Good), prop::sample::select(quality)];
    let lane = prop_oneof![3 => Just(Lane::Live), 1 => Just(Lane::Historical)];
    let turn = prop::sample::select(vec![Turn::Next, Turn::Gap, Turn::Unnumbered]);
    let way = (lane, turn);
    let reading = (0u32..4, 0..VALUES.len(), quality, -20_000i64..10_000, way);
    let event = prop_oneof![
        12 => reading.prop_map(|(p, v, q, at, way)| Event::Reading(p, v, q, at, way)),
        2 => Just(Event::Tick),
        2 => (0u64..12).prop_map(Event::Ack),
        2 => (0u64..12).prop_map(Event::Reset),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(unit, lost)| Event::Link(unit, lost)),
        1 => Just(Event::HistoryEnds),
        1 => any::<bool>().prop_map(Event::Reconfigure),
    ];
    // Now and then the centre's clock steps back.
    let later = prop_oneof![6 => 0i64..2_000, 2 => 10_000i64..60_000, 1 => -5_000i64..0];
    prop::collection::vec((later, event), 1..60)
}

/// Three points (a fourth is unknown), each with its limits and loss of view; the unit's and gateway's.
fn site(other: bool) -> (Vec<Point>, Vec<AlarmDefinition>) {
    let config = if other {
        "h 70, deadband 2, on-delay 1s, latch, hh 90, view, on-delay 5s, unit, on-delay 2s"
    } else {
        "l 20, h 80, deadband 2, on-delay 3s, off-delay 2s, hh 90, latch, view, on-delay 10s, unit, gateway"
    };
    let mut alarms = Vec::new();
    for place in 0..3 {
        for mut alarm in parse(config).1 {
            if matches!(alarm.subject, Subject::Point(_)) {
                alarm.subject = Subject::Point(PointId(place));
                alarm.name = alarm.name.replace("P0", &format!("P{place}"));
            } else if place > 0 {
                continue;
            }
            alarms.push(alarm);
        }
    }
    ((0..3).map(|place| point(place, "1s")).collect(), alarms)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The rig checks the list, the changes and the restored twin at every step.
    #[test]
    fn whatever_happens_the_state_is_legal_and_survives_a_restart(events in events()) {
        let (points, alarms) = site(false);
        let mut rig = Rig::with(points, alarms);
        let mut now = moment("100s");
        let mut numbers = std::collections::BTreeSet::new();
        let mut listed = BTreeMap::new();
        for (later, event) in events {
            now = Timestamp(now.0 + later);
            rig.effects.clear();
            match event {
                Event::Reading(point, value, quality, at, (lane, turn)) => {
                    let at = Timestamp(now.0 + at);
                    let read = [Reading::new(PointId(point), VALUES[value], quality, at)];
                    rig.apply(now, Input::Readings { lane, turn, readings: &read });
                }
                Event::Tick => rig.apply(now, Input::Tick),
                Event::Ack(number) => rig.apply(now, Input::Command(&command("ack", number))),
                Event::Reset(number) => rig.apply(now, Input::Command(&command("reset", number))),
                Event::Link(unit, lost) => {
                    let (gateway, device) = ("G1".to_owned(), "U1".to_owned());
                    let subject = if unit {
                        Subject::Unit(gateway, device)
                    } else {
                        Subject::Gateway(gateway)
                    };
                    rig.link(now, &subject, lost);
                }
                Event::HistoryEnds => rig.apply(now, Input::HistoryEnds { gateway: "G1" }),
                Event::Reconfigure(other) => {
                    let (points, alarms) = site(other);
                    let at = format!("{}ms", now.0 - 1_000_000);
                    rig.reconfigure_to(&at, points, alarms);
                }
            }
            // Who follows the effects alone has the same list.
            for change in rig.changes() {
                if change.to == State::Normal {
                    listed.remove(&change.occurrence);
                } else {
                    listed.insert(change.occurrence, change.lane);
                }
            }
            let shown = rig.engine.alarms().map(|view| (view.occurrence, view.lane));
            prop_assert_eq!(shown.collect::<Vec<_>>(), listed.iter().map(|(o, l)| (*o, *l)).collect::<Vec<_>>());
            for change in rig.changes().filter(|change| change.cause == Cause::Raised) {
                prop_assert!(numbers.insert(change.occurrence), "a number is given once");
                prop_assert_eq!(numbers.last(), Some(&change.occurrence), "and they grow");
            }
        }
        // Time alone never ends anything, and the wish for ticks comes to rest.
        let active = |rig: &Rig| rig.engine.alarms().filter(|v| v.axes.active && v.point.is_some()).count();
        let before = active(&rig);
        rig.pass(Timestamp(now.0 + 3_600_000));
        prop_assert!(active(&rig) >= before);
        prop_assert!(rig.engine.next_deadline().is_none_or(|due| due.0 > now.0));
    }
}
