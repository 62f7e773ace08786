//! Reads files of standards: presets by kind and position, rules for the system's own alarms; for
//! warnings and the ledger with `rules`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::fault::{Faults, Place, quote};
use super::fields::{Document, Fields};
use super::limit::{self, RawGuidance, RawLimit, Terms};
use super::rules::{read_hazard, read_warning};
use super::{HazardRules, WarningRules};
use crate::alarm::SystemCondition;

/// All files of standards together.
#[derive(Debug, Default)]
pub(super) struct Standards {
    pub(super) presets: Vec<Preset>,
    /// Limits that points of a kind take at every position, beside those of their preset.
    pub(super) everywhere: Vec<Preset>,
    /// Kinds of points that may be without any limit.
    pub(super) unlimited: Vec<String>,
    pub(super) guidance: Vec<RawGuidance>,
    pub(super) system: Vec<(Place, SystemCondition, Terms)>,
    pub(super) clock_offset_max: Duration,
    pub(super) warning: Option<(Place, WarningRules)>,
    pub(super) hazard: Option<HazardRules>,
}

/// The limits that points of one kind (and position) take.
#[derive(Debug)]
pub(super) struct Preset {
    pub(super) place: Place,
    pub(super) kind: String,
    pub(super) position: Option<String>,
    pub(super) every_position: bool,
    pub(super) unit: String,
    pub(super) limits: Vec<RawLimit>,
}

impl Preset {
    /// What it is called in faults.
    pub(super) fn what(&self) -> String {
        match &self.position {
            None if self.every_position => format!("preset `{}` at every position", self.kind),
            Some(position) => format!("preset `{}` at `{position}`", self.kind),
            None => format!("preset `{}`", self.kind),
        }
    }
}

/// What the system can report about itself; each needs its table in the standards.
pub(super) const SYSTEM: [SystemCondition; 10] = [
    SystemCondition::LossOfView,
    SystemCondition::ClockOffset,
    SystemCondition::Gap,
    SystemCondition::DuplicateIdentity,
    SystemCondition::Unusable,
    SystemCondition::OutboxLoss,
    SystemCondition::SinkBehind,
    SystemCondition::StoodStill,
    SystemCondition::CutOff,
    SystemCondition::HostClock,
];

/// How long a point may be in calibration: with less no instrument can be calibrated, with more
/// than a shift nobody would notice that it was forgotten (Davy's own bounds).
const CALIBRATION: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(8);

/// How far a gateway's clock may be off: transport is in it, so that less would alarm by itself;
/// with more no order of events could be told (Davy's own bounds).
const CLOCK_OFFSET: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(1);

/// Reads one file into `standards`.
pub(super) fn read(document: &Document<'_>, standards: &mut Standards, faults: &mut Faults) {
    let mut root = document.root();
    for fields in root.tables("preset", faults) {
        let preset = read_preset(fields, faults);
        if preset.every_position {
            standards.everywhere.push(preset);
            continue;
        }
        let known = standards
            .presets
            .iter()
            .any(|other| other.kind == preset.kind && other.position == preset.position);
        if known && !preset.kind.is_empty() {
            faults.add(
                &preset.place,
                preset.what(),
                "a second one",
                "one for each kind and position",
            );
        }
        standards.presets.push(preset);
    }
    if let Some(mut fields) = root.optional_table("kinds", faults) {
        let unlimited = fields.strings("without_limits", faults);
        standards.unlimited.extend(unlimited);
        fields.finish(faults);
    }
    let guidance = limit::read_guidance(&mut root, faults);
    standards.guidance.extend(guidance);
    if let Some(fields) = root.optional_table("system", faults) {
        read_system(fields, standards, faults);
    }
    if let Some(fields) = root.optional_table("warning", faults) {
        once(standards.warning.is_some(), &fields, faults);
        standards.warning = Some((fields.place.clone(), read_warning(fields, faults)));
    }
    if let Some(fields) = root.optional_table("ledger", faults) {
        once(standards.hazard.is_some(), &fields, faults);
        standards.hazard = Some(read_hazard(fields, faults));
    }
    root.finish(faults);
}

fn once(known: bool, fields: &Fields<'_>, faults: &mut Faults) {
    if known {
        let what = format!("table `{}`", fields.what);
        faults.add(
            &fields.place,
            what,
            "a second one",
            "one in all files of standards",
        );
    }
}

fn read_preset(mut fields: Fields<'_>, faults: &mut Faults) -> Preset {
    let mut preset = Preset {
        place: fields.place.clone(),
        kind: fields.id("kind", faults),
        position: fields
            .has("position")
            .then(|| fields.id("position", faults)),
        every_position: fields.has("every_position") && fields.flag("every_position", faults),
        unit: fields.string("unit", faults),
        limits: Vec::new(),
    };
    if preset.every_position && preset.position.take().is_some() {
        fields.refuse("position", "one", "none with `every_position`", faults);
    }
    fields.what = preset.what();
    for mut inner in fields.tables("limit", faults) {
        inner.what = preset.what();
        let is_fixed = inner.flag("fixed", faults);
        let Some(limit) = limit::read(&mut inner, is_fixed, faults) else {
            inner.finish(faults);
            continue;
        };
        if preset
            .limits
            .iter()
            .any(|other| other.setpoint == limit.setpoint)
        {
            let found = quote(limit.setpoint.word());
            faults.add(&limit.place, preset.what(), found, "each setpoint once");
        }
        inner.finish(faults);
        preset.limits.push(limit);
    }
    if preset.limits.is_empty() {
        faults.add(
            &preset.place,
            preset.what(),
            "no limit",
            "one limit at least",
        );
    }
    let limits: Vec<_> = preset.limits.iter().collect();
    limit::check_order(&limits, &preset.what(), faults);
    fields.finish(faults);
    preset
}

fn read_system(mut fields: Fields<'_>, standards: &mut Standards, faults: &mut Faults) {
    for condition in SYSTEM {
        let Some(mut inner) = fields.optional_table(condition.word(), faults) else {
            continue;
        };
        once(
            standards
                .system
                .iter()
                .any(|(_, known, _)| *known == condition),
            &inner,
            faults,
        );
        // What the system says about itself ends when it is over: it never latches.
        let mut terms = limit::read_terms(&mut inner, Duration::from_hours(1), false, faults);
        if condition == SystemCondition::LossOfView {
            terms.calibration_max = inner.duration("calibration_max", CALIBRATION, faults);
        }
        if condition == SystemCondition::ClockOffset {
            standards.clock_offset_max = inner.duration("offset_max", CLOCK_OFFSET, faults);
        }
        standards
            .system
            .push((inner.place.clone(), condition, terms));
        inner.finish(faults);
    }
    fields.finish(faults);
}
