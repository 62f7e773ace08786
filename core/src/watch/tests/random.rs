//! Inputs at random: nothing panics, and the same inputs give the same effects.

use proptest::prelude::*;

use super::*;
use crate::alarm::Command;
use crate::hazard::{Class, FiveItems, HazardStep};

const TAGS: [&str; 4] = ["TF.a", "TF.b", "TF.c", "TF.d"];

const TOPICS: [&str; 8] = [
    "spBv1.0/works/NBIRTH/gw",
    "spBv1.0/works/NDEATH/gw",
    "spBv1.0/works/NDATA/gw",
    "spBv1.0/works/NCMD/gw",
    "spBv1.0/works/DBIRTH/gw/gas",
    "spBv1.0/works/DDEATH/gw/gas",
    "spBv1.0/works/DDATA/gw/gas",
    "spBv1.0/works/DCMD/gw/nobody",
];

/// One thing that may happen.
#[derive(Clone, Debug)]
enum Happens {
    Wait(u32),
    NodeBorn(bool, u8, u64),
    NodeDead(bool, u8),
    UnitBorn(usize),
    UnitDead(usize),
    Data {
        number: (u64, u64),
        values: Vec<(usize, f64)>,
        age: f64,
        historical: bool,
    },
    Stored(Vec<(u64, u64, u64)>),
    Bytes(usize, Vec<u8>),
    Alarm(u64, bool),
    Hazard(u64, u8),
    Config(u8),
    Torn(u64, prop::sample::Index),
}

fn happens() -> impl Strategy<Value = Happens> {
    let number = || (1..4_u64, 1..20_u64);
    let value = prop_oneof![0.0..4.0_f64, Just(f64::NAN), Just(1.0), Just(2.0)];
    prop_oneof![
        4 => (0..2_000_000_u32).prop_map(Happens::Wait),
        4 => (0..5_000_u32).prop_map(Happens::Wait),
        2 => (any::<bool>(), 0..4_u8, 0..30_u64).prop_map(|(other, run, last)| Happens::NodeBorn(other, run, last)),
        1 => (any::<bool>(), 0..4_u8).prop_map(|(other, bd)| Happens::NodeDead(other, bd)),
        2 => (0..3_usize).prop_map(Happens::UnitBorn),
        1 => (0..3_usize).prop_map(Happens::UnitDead),
        8 => (number(), prop::collection::vec((0..4_usize, value), 0..5), -10.0..3_000.0_f64, any::<bool>())
            .prop_map(|(number, values, age, historical)| Happens::Data { number, values, age, historical }),
        2 => prop::collection::vec((0..4_u64, 0..30_u64, 0..30_u64), 0..4).prop_map(Happens::Stored),
        2 => (0..TOPICS.len(), prop::collection::vec(any::<u8>(), 0..60)).prop_map(|(topic, bytes)| Happens::Bytes(topic, bytes)),
        2 => (0..8_u64, any::<bool>()).prop_map(|(occurrence, reset)| Happens::Alarm(occurrence, reset)),
        3 => (0..4_u64, 0..10_u8).prop_map(|(hazard, step)| Happens::Hazard(hazard, step)),
        1 => (0..4_u8).prop_map(Happens::Config),
        1 => (1..20_u64, any::<prop::sample::Index>()).prop_map(|(sequence, at)| Happens::Torn(sequence, at)),
    ]
}

const UNITS: [(&str, &str); 3] = [("gw", "gas"), ("gw", "far"), ("other", "gas")];

fn node(other: bool) -> &'static str {
    if other { "other" } else { "gw" }
}

fn step_of(number: u8, now: Timestamp) -> HazardStep {
    let hour = std::time::Duration::from_hours(1);
    let all = "yes".to_owned();
    match number {
        0 => HazardStep::Verify {
            class: Class::General,
        },
        1 => HazardStep::Verify {
            class: Class::Major,
        },
        2 => HazardStep::Reject {
            second: "Wang".into(),
        },
        3 => HazardStep::Notice {
            five_items: FiveItems {
                responsibility: all.clone(),
                measures: all.clone(),
                funds: all.clone(),
                time_limit: all.clone(),
                contingency_plan: all,
            },
            deadline: now + hour,
        },
        4 => HazardStep::FixOnTheSpot,
        5 => HazardStep::Extend {
            until: now + 2 * hour,
            approved_by: "Zhao".into(),
        },
        6 => HazardStep::Submit,
        7 => HazardStep::FailRecheck,
        8 => HazardStep::PassRecheck,
        _ => HazardStep::Supervise,
    }
}

fn config_of(number: u8) -> Vec<SourceFile> {
    match number {
        0 => files(SITE, POINTS),
        1 => files(SITE, &POINTS.replace("TF.b,乙", "TF.B,乙")),
        2 => files(SITE, &POINTS.replace(",0,10,TF,gw,far", ",0,20,TF,gw,far")),
        _ => files(SITE, "nothing"),
    }
}

impl Story {
    fn happens(&mut self, what: &Happens) {
        match what {
            Happens::Wait(ms) => {
                self.until(self.now + f64::from(*ms) / 1000.0);
            }
            Happens::NodeBorn(other, run, last) => {
                let instance = if *run == 3 { "second" } else { "first" };
                let run = u64::from(*run).max(1);
                self.node_born(node(*other), instance, nothing_stored(run, *last));
            }
            Happens::NodeDead(other, bd_seq) => {
                self.node_dead(node(*other), *bd_seq);
            }
            Happens::UnitBorn(unit) => {
                let (gateway, unit) = UNITS[*unit];
                self.unit_born(gateway, unit);
            }
            Happens::UnitDead(unit) => {
                let (gateway, unit) = UNITS[*unit];
                self.unit_dead(gateway, unit);
            }
            Happens::Data {
                number,
                values,
                age,
                historical,
            } => {
                let values: Vec<(&str, f64, f64)> = values
                    .iter()
                    .filter(|(tag, _)| self.watch.directory().find(TAGS[*tag]).is_some())
                    .map(|(tag, value)| (TAGS[*tag], *value, self.now - age))
                    .collect();
                self.sampled(("gw", "gas"), *number, &values, *historical);
            }
            Happens::Stored(stored) => {
                let stored: Vec<Stored> = stored
                    .iter()
                    .map(|(run, first, last)| Stored {
                        run: *run,
                        first: *first,
                        last: *last,
                    })
                    .collect();
                self.stored("gw", &stored);
            }
            Happens::Bytes(topic, bytes) => {
                self.give(Input::Message {
                    topic: TOPICS[*topic].into(),
                    payload: bytes.clone(),
                });
            }
            Happens::Alarm(occurrence, reset) => self.answer(*occurrence, *reset),
            Happens::Hazard(hazard, step) => {
                self.take_step(*hazard, *step);
            }
            Happens::Config(number) => {
                self.give(config_input(config_of(*number)));
            }
            Happens::Torn(sequence, at) => {
                let number = MessageNumber {
                    run: 1,
                    sequence: *sequence,
                };
                let whole = self.payload(number, &[("TF.a", 2.5, self.now)], false);
                let torn = whole[..at.index(whole.len())].to_vec();
                self.device(("gw", "gas"), DeviceMessage::Data, torn);
            }
        }
    }

    fn take_step(&mut self, hazard: u64, step: u8) {
        self.give(Input::Hazard(HazardCommand {
            hazard,
            by: if step.is_multiple_of(2) { "Li" } else { "Wang" }.into(),
            comment: "done".into(),
            step: step_of(step, self.clock()),
        }));
    }

    fn answer(&mut self, occurrence: u64, reset: bool) {
        let (by, comment) = ("Li".to_owned(), None);
        self.give(Input::Alarm(if reset {
            Command::Reset {
                occurrence,
                by,
                comment,
            }
        } else {
            Command::Acknowledge {
                occurrence,
                by,
                comment,
            }
        }));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The twin at each step and the replay at the end are in the story itself.
    #[test]
    fn whatever_happens_is_decided_the_same_way_again(
        born in any::<bool>(),
        what in prop::collection::vec(happens(), 1..40),
    ) {
        let mut story = Story::new();
        if born {
            story.all_born();
        }
        for one in &what {
            story.happens(one);
        }
    }

    /// What came from one gateway never ends what another one began.
    #[test]
    fn bytes_at_random_disturb_nothing(
        bytes in prop::collection::vec((0..TOPICS.len(), prop::collection::vec(any::<u8>(), 0..200)), 1..20),
    ) {
        let mut watch = Watch::new();
        let mut effects = Vec::new();
        watch.apply(Timestamp(START), &config_input(files(SITE, POINTS)), &mut effects);
        for (topic, payload) in bytes {
            let topic = TOPICS[topic].to_owned();
            effects.clear();
            watch.has_seen(&topic, &payload);
            watch.apply(Timestamp(START), &Input::Message { topic, payload }, &mut effects);
            let limits = raised(&effects).into_iter().filter(|name| name.starts_with("TF."));
            prop_assert_eq!(limits.count(), 0);
        }
    }
}
