//! Reads files of standards: presets by kind and position, rules for the system's own alarms, for
//! warnings and for the ledger.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::duration;
use super::fault::{Faults, Place, quote};
use super::fields::{Document, Fields};
use super::limit::{self, RawGuidance, RawLimit, Terms};
use super::{Config, HazardRules, MajorRule, RaiseRule, WarningRules};
use crate::alarm::SystemCondition;
use crate::hazard::RECHECKS_MAX;

/// All files of standards together.
#[derive(Debug, Default)]
pub(super) struct Standards {
    pub(super) presets: Vec<Preset>,
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
    pub(super) unit: String,
    pub(super) limits: Vec<RawLimit>,
}

impl Preset {
    /// What it is called in faults.
    pub(super) fn what(&self) -> String {
        match &self.position {
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

/// Durations of rules about warnings and hazards: nobody waits longer than a year.
const RULE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(8_784);

/// How long a point may be in calibration: with less no instrument can be calibrated, with more
/// than a shift nobody would notice that it was forgotten (Davy's own bounds).
const CALIBRATION: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(8);

/// How far a gateway's clock may be off: transport is in it, so that less would alarm by itself;
/// with more no order of events could be told (Davy's own bounds).
const CLOCK_OFFSET: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(1);

/// Levels of a major hazard source, 1 the highest (GB 18218-2018).
const LEVELS: RangeInclusive<u32> = 1..=4;

/// Reads one file into `standards`.
pub(super) fn read(document: &Document<'_>, standards: &mut Standards, faults: &mut Faults) {
    let mut root = document.root();
    for fields in root.tables("preset", faults) {
        let preset = read_preset(fields, faults);
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
        unit: fields.string("unit", faults),
        limits: Vec::new(),
    };
    fields.what = preset.what();
    for mut inner in fields.tables("limit", faults) {
        inner.what = preset.what();
        let Some(limit) = limit::read(&mut inner, faults) else {
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

fn read_warning(mut fields: Fields<'_>, faults: &mut Faults) -> WarningRules {
    let rules = WarningRules {
        hold: fields.duration("hold", RULE, faults),
        blue_after: fields.duration("blue_after", RULE, faults),
        blue_bad_share: fields.share("blue_bad_share", faults),
        yellow_after: fields.duration("yellow_after", RULE, faults),
        yellow_bad_share: fields.share("yellow_bad_share", faults),
        orange_after: fields.duration("orange_after", RULE, faults),
        orange_level_max: read_level(&mut fields, "orange_level_max", faults),
        orange_points: fields.whole("orange_points", 1..=1_000, faults),
        red_points: fields.whole("red_points", 1..=1_000, faults),
        red_vessel_kinds: fields.strings("red_vessel_kinds", faults),
        figure_source: fields.text("figure_source", faults),
    };
    // A lower colour must be easier to reach than the one above it.
    let steps = [
        (
            "blue_after",
            rules.blue_after <= rules.yellow_after,
            "`yellow_after` or less",
        ),
        (
            "blue_bad_share",
            rules.blue_bad_share <= rules.yellow_bad_share,
            "`yellow_bad_share` or less",
        ),
        (
            "orange_points",
            rules.orange_points < rules.red_points,
            "less than `red_points`",
        ),
    ];
    for (key, right, allowed) in steps {
        if !right {
            let what = format!("{}, key `{key}`", fields.what);
            faults.add(&fields.place, what, "more", allowed);
        }
    }
    if rules.red_vessel_kinds.is_empty() && fields.has("red_vessel_kinds") {
        let what = format!("{}, key `red_vessel_kinds`", fields.what);
        faults.add(&fields.place, what, "no kind", "one at least");
    }
    fields.finish(faults);
    rules
}

fn read_level(fields: &mut Fields<'_>, key: &'static str, faults: &mut Faults) -> u8 {
    u8::try_from(fields.whole(key, LEVELS, faults)).unwrap_or_default()
}

fn read_hazard(mut fields: Fields<'_>, faults: &mut Faults) -> HazardRules {
    let rules = HazardRules {
        level2: read_raise(&mut fields, "level2", faults),
        level1: read_raise(&mut fields, "level1", faults),
        loss_of_view: read_raise(&mut fields, "loss_of_view", faults),
        gas_loss_of_view: read_raise(&mut fields, "gas_loss_of_view", faults),
        normal_before_close: fields.duration("normal_before_close", RULE, faults),
        recurs_within: fields.duration("recurs_within", RULE, faults),
        supervise_after: fields.whole("supervise_after", 1..=RECHECKS_MAX, faults),
        gas_kinds: fields.strings("gas_kinds", faults),
        major: read_major(&mut fields, faults),
        figure_source: fields.text("figure_source", faults),
    };
    fields.finish(faults);
    rules
}

fn read_major(fields: &mut Fields<'_>, faults: &mut Faults) -> MajorRule {
    let Some(mut inner) = fields.table("major", faults) else {
        return Config::empty().hazard.major;
    };
    let rule = MajorRule {
        level_max: read_level(&mut inner, "level_max", faults),
        chemical_setpoints: limit::read_setpoints(&mut inner, "chemical_setpoints", faults),
        mine_setpoints: limit::read_setpoints(&mut inner, "mine_setpoints", faults),
        figure_source: inner.text("figure_source", faults),
    };
    inner.finish(faults);
    rule
}

fn read_raise(fields: &mut Fields<'_>, key: &'static str, faults: &mut Faults) -> RaiseRule {
    let Some(mut inner) = fields.table(key, faults) else {
        return RaiseRule {
            after: Duration::ZERO,
            repeats: 0,
            within: Duration::ZERO,
            deadline: Duration::ZERO,
        };
    };
    let rule = RaiseRule {
        after: inner.duration("after", RULE, faults),
        repeats: inner.whole("repeats", 0..=1_000, faults),
        within: inner.duration("within", RULE, faults),
        deadline: inner.duration("deadline", RULE, faults),
    };
    if (rule.repeats == 0) != rule.within.is_zero() {
        let what = format!("{}, key `within`", inner.what);
        let within = duration::write(rule.within);
        let found = format!("{within} with {} repeats", rule.repeats);
        faults.add(
            &inner.place,
            what,
            found,
            "0s without repeats, more with them",
        );
    }
    inner.finish(faults);
    rule
}
