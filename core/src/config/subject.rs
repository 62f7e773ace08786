//! What an alarm is about, as people call it.

use super::Config;
use crate::alarm::{AlarmDefinition, Subject};
use crate::point::Text;

impl Config {
    /// What an alarm is about, as a key and in words.
    pub fn subject(&self, alarm: &AlarmDefinition) -> (String, Text) {
        let gateway = |id: &str| self.gateways.iter().find(|gateway| gateway.id == id);
        match &alarm.subject {
            Subject::Point(point) => {
                let point = &self.points[point.index()];
                (point.tag.clone(), point.name.clone())
            }
            Subject::Unit(id, unit) => {
                let units = gateway(id).into_iter().flat_map(|gateway| &gateway.buses);
                let name = units
                    .flat_map(|bus| &bus.units)
                    .find(|one| one.id == *unit)
                    .map_or_else(Text::default, |unit| unit.name.clone());
                (format!("{id}/{unit}"), name)
            }
            Subject::Gateway(id) => {
                let name = gateway(id).map_or_else(Text::default, |gateway| gateway.name.clone());
                (id.clone(), name)
            }
            Subject::Centre => (
                "centre".into(),
                Text {
                    zh: "监测中心".into(),
                    en: "Centre".into(),
                },
            ),
        }
    }
}
