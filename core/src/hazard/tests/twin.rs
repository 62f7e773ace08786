//! At random: a ledger that is written down and read again before each step goes on as the other.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// H and L of one point fall under one rule, so one joins the entry of the other.
const ALARMS: [(&str, Rule); 4] = [
    ("p.h", Rule::LevelOne),
    ("p.l", Rule::LevelOne),
    ("p.hh", Rule::LevelTwo),
    ("p.ll", Rule::LevelTwo),
];

#[derive(Clone, Debug)]
enum Happens {
    Wait(i64),
    Raised(usize, i64),
    Returned(usize, u64, bool),
    Step(u64, u8),
    Configured(usize),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        3 => (0..60_i64).prop_map(Happens::Wait),
        4 => (0..ALARMS.len(), 0..120_i64).prop_map(|(alarm, late)| Happens::Raised(alarm, late)),
        4 => (0..ALARMS.len(), 0..90_u64, any::<bool>())
            .prop_map(|(alarm, lasted, normal)| Happens::Returned(alarm, lasted, normal)),
        3 => (1..4_u64, 0..8_u8).prop_map(|(hazard, step)| Happens::Step(hazard, step)),
        1 => (0..ALARMS.len()).prop_map(Happens::Configured),
    ]
}

fn step_of(number: u8, now: Timestamp) -> (&'static str, HazardStep) {
    let class = Class::General;
    let hour = Duration::from_hours(1);
    match number {
        0 => (
            "system",
            HazardStep::FileEvidence {
                part: EvidencePart::Before,
                content: Box::default(),
            },
        ),
        1 => ("chen", HazardStep::Verify { class }),
        2 => (
            "chen",
            HazardStep::Reject {
                second: "zhao".into(),
            },
        ),
        3 => (
            "chen",
            HazardStep::Notice {
                five_items: five(),
                deadline: now + hour,
            },
        ),
        4 => (
            "chen",
            HazardStep::Extend {
                until: now + 2 * hour,
                approved_by: "zhao".into(),
            },
        ),
        5 => ("wang", HazardStep::Submit),
        6 => ("li", HazardStep::FailRecheck),
        _ => ("li", HazardStep::PassRecheck),
    }
}

/// One step; what it said.
fn take(
    ledger: &mut Ledger,
    now: Timestamp,
    occurrences: &mut [u64; ALARMS.len()],
    what: &Happens,
) -> (Vec<HazardChange>, Result<(), Refused>) {
    let mut changes = Vec::new();
    let minutes = |minutes: u64| Duration::from_mins(minutes);
    let mut taken = Ok(());
    match what {
        Happens::Wait(_) => {
            ledger.tick(
                now,
                RECURS,
                |occurrence| {
                    Some(Lasting {
                        is_live: occurrence % 3 > 0,
                        is_major: occurrence.is_multiple_of(5),
                    })
                },
                &mut changes,
            );
        }
        Happens::Raised(alarm, late) => {
            let occurrence = occurrences.iter().max().map_or(1, |last| last + 1);
            occurrences[*alarm] = occurrence;
            let at = Timestamp(now.0 - late * 60_000);
            let (name, rule) = ALARMS[*alarm];
            let after = if rule == Rule::LevelOne { 30 } else { 0 };
            let mut judged = judged(name, rule, minutes(after), 3);
            judged.worsens = occurrence.is_multiple_of(2).then_some(Worsens {
                after: minutes(45),
                deadline: Some(minutes(20)),
            });
            let occurred = Occurred { occurrence, at };
            ledger.raised(now, occurred, judged, RECURS, &mut changes);
        }
        Happens::Returned(alarm, lasted, is_normal) => {
            let returned = Returned {
                alarm: ALARMS[*alarm].0,
                occurrence: occurrences[*alarm],
                lasted: minutes(*lasted),
                is_normal: *is_normal,
            };
            ledger.returned(now, &returned, RECURS, &mut changes);
        }
        Happens::Step(hazard, step) => {
            let (by, step) = step_of(*step, now);
            let command = HazardCommand {
                hazard: *hazard,
                by: by.into(),
                comment: "because".into(),
                step,
            };
            let rules = rules(minutes(30));
            taken = ledger.command(now, 1, &command, &ANSWERED, &rules, &mut changes);
        }
        Happens::Configured(gone) => {
            let without = |alarm: &str| alarm != ALARMS[*gone].0;
            ledger.configured(now, |_| true, without);
            ledger.configured(now, without, |_| true);
        }
    }
    (changes, taken)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_ledger_read_again_at_each_step_goes_on_as_the_other(
        what in prop::collection::vec(happens(), 1..60),
    ) {
        let (mut ledger, mut twin) = (Ledger::default(), Ledger::default());
        let mut now = Timestamp(1_000 * HOUR);
        let mut occurrences = [0; ALARMS.len()];
        for one in &what {
            if let Happens::Wait(minutes) = one {
                now = Timestamp(now.0 + minutes * 60_000);
            }
            let text = serde_json::to_string(&twin).unwrap();
            twin = serde_json::from_str(&text).unwrap();
            let mut of_twin = occurrences;
            let said = take(&mut ledger, now, &mut occurrences, one);
            prop_assert_eq!(&said, &take(&mut twin, now, &mut of_twin, one));
            prop_assert_eq!(&ledger, &twin);
            prop_assert_eq!(ledger.next_deadline(), twin.next_deadline());
            let mut open: BTreeMap<String, u32> = BTreeMap::new();
            for hazard in ledger.hazards().filter(|hazard| hazard.state.is_open()) {
                *open.entry(hazard.origin.source.clone().unwrap()).or_default() += 1;
            }
            prop_assert_eq!(ledger.open_by_source(), &open);
            prop_assert_eq!(ledger.open_by_source(), twin.open_by_source());
            for hazard in ledger.hazards() {
                let normal = hazard.normal_since.is_some();
                prop_assert!(!normal || hazard.active_alarms.is_empty());
                prop_assert!(hazard.active_alarms.is_subset(&hazard.alarms));
            }
        }
    }
}
