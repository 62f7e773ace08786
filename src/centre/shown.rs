//! The rows of alarms and entries of the ledger, as they follow from a group.

use std::collections::BTreeMap;

use davy_core::hazard::Hazard;
use davy_core::watch::Effect;

use crate::journal::Projection;

/// The rows that follow from a group: of each alarm and entry the newest. Given are the effects of
/// each of its entries, in order.
pub(super) fn shown<'a>(entries: impl Iterator<Item = &'a [Effect]>) -> Vec<Projection<'a>> {
    let mut alarms: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
    let mut hazards: BTreeMap<u64, (&Hazard, usize)> = BTreeMap::new();
    for (place, effects) in entries.enumerate() {
        for effect in effects {
            match effect {
                Effect::Alarm(change) => {
                    let (_, last) = alarms.entry(change.occurrence).or_insert((place, place));
                    *last = place;
                }
                Effect::Hazard(change) => {
                    hazards.insert(change.hazard.id, (&change.hazard, place));
                }
                _ => {}
            }
        }
    }
    let alarms = alarms
        .into_iter()
        .map(|(occurrence, (first, last))| Projection::Alarm {
            occurrence,
            first,
            last,
        });
    let hazards = hazards
        .into_values()
        .map(|(hazard, last)| Projection::Hazard { hazard, last });
    alarms.chain(hazards).collect()
}
