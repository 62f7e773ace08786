//! Puts the alarms together: limits in the order of the points, then those about the system.
//!
//! Names are unique without a look: a name is its subject and a word without a dot, setpoints are
//! unique in a point, and no tag is the id of a gateway.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::limit::{RawLimit, Terms};
use super::read::Read;
use super::standards::SYSTEM;
use crate::alarm::{AlarmDefinition, Condition, Guidance, Limit, Subject, SystemCondition};
use crate::reading::PointId;

/// Every alarm of a configuration. `limits` are those of each point, in the order of the points.
pub(super) fn all<'a>(
    read: &Read,
    limits: &[Vec<&RawLimit>],
    guidance: &BTreeMap<&'a str, &Guidance>,
) -> Vec<AlarmDefinition> {
    let shared = |(key, guidance): (&&'a str, &&Guidance)| (*key, Arc::new((*guidance).clone()));
    let subjects = read.points.len() + read.site.units.len();
    let most = limits.iter().map(Vec::len).sum::<usize>()
        + subjects
        + SYSTEM.len() * (read.site.gateways.len() + 1);
    let mut list = List {
        guidance: guidance.iter().map(shared).collect(),
        alarms: Vec::with_capacity(most),
    };
    for ((index, (_, point)), limits) in (0_u32..).zip(&read.points).zip(limits) {
        for limit in limits {
            let condition = Condition::Limit(Limit {
                setpoint: limit.setpoint,
                limit: limit.limit,
                reset: limit.reset(),
            });
            let name = named(&point.tag, limit.setpoint.word());
            let subject = Subject::Point(PointId(index));
            list.add(name, subject, condition, &limit.terms);
        }
    }
    let points = (0_u32..).zip(&read.points).map(|(index, (_, point))| {
        let subject = Subject::Point(PointId(index));
        (point.tag.clone(), subject, &SYSTEM[..1])
    });
    let units = read.site.units.iter().map(|(_, gateway, unit)| {
        let subject = Subject::Unit(gateway.clone(), unit.clone());
        (format!("{gateway}/{unit}"), subject, &SYSTEM[..1])
    });
    let gateways = read.site.gateways.iter().map(|gateway| {
        let subject = Subject::Gateway(gateway.id.clone());
        (gateway.id.clone(), subject, &SYSTEM[..OF_CENTRE])
    });
    let centre = ("centre".to_owned(), Subject::Centre, &SYSTEM[OF_CENTRE..]);
    let all = points.chain(units).chain(gateways);
    for (name, subject, conditions) in all.chain([centre]) {
        for condition in conditions {
            let rule = read
                .standards
                .system
                .iter()
                .find(|(_, it, _)| it == condition);
            if let Some((_, _, terms)) = rule {
                let name = named(&name, condition.word());
                let condition = Condition::System(*condition);
                list.add(name, subject.clone(), condition, terms);
            }
        }
    }
    list.alarms
}

// Points and units report loss of view only; it stands first.
const _: () = assert!(matches!(SYSTEM[0], SystemCondition::LossOfView));

/// From here on what the system reports is about the centre.
const OF_CENTRE: usize = 6;
const _: () = assert!(matches!(SYSTEM[OF_CENTRE], SystemCondition::SinkBehind));

/// Exactly as long as it is: there are hundreds of thousands of them.
fn named(subject: &str, word: &str) -> String {
    [subject, ".", word].concat()
}

struct List<'a> {
    guidance: BTreeMap<&'a str, Arc<Guidance>>,
    alarms: Vec<AlarmDefinition>,
}

impl List<'_> {
    fn add(&mut self, name: String, subject: Subject, condition: Condition, terms: &Terms) {
        // Keys without guidance have been refused before.
        let Some(guidance) = self.guidance.get(terms.guidance.as_str()) else {
            return;
        };
        self.alarms.push(AlarmDefinition {
            name,
            subject,
            condition,
            on_delay: terms.on_delay,
            off_delay: terms.off_delay,
            latch: terms.latch,
            calibration_max: terms.calibration_max,
            priority: terms.priority,
            shelvable: terms.shelvable,
            guidance: guidance.clone(),
            figure_source: terms.figure_source.clone(),
        });
    }
}
