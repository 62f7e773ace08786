//! The checks across files, and the way from what is written to the checked [`Config`].
//!
//! 1. Every file is parsed and read, field by field (`read`).
//! 2. When all of them could be parsed: names that refer to something refer to it.
//! 3. Each point takes its limits: the site's own, else those of its preset.
//! 4. With no fault left, the alarms are put together.

use std::collections::{BTreeMap, BTreeSet};

use super::alarms;
use super::fault::{Faults, Place, quote};
use super::limit::{self, RawLimit, Terms};
use super::read::{self, Read};
use super::site::are_doubtful;
use super::standards::{Preset, SYSTEM, Standards};
use super::{Config, Fault, SourceFile, stricter};
use crate::alarm::Guidance;

/// Checks the texts of a configuration; the first is the main file.
pub(super) fn check(files: &[SourceFile]) -> Result<Config, Vec<Fault>> {
    let mut faults = Faults::default();
    let (Some(read), Some(main)) = (read::read(files, &mut faults), files.first()) else {
        return Err(faults.sorted());
    };
    check_complete(&read, main, &mut faults);
    check_kinds(&read.standards, &mut faults);
    let guidance = guidance(&read, &mut faults);
    check_units(&read, &mut faults);
    check_points(&read, &mut faults);
    check_guidance(&read, &guidance, &mut faults);
    let limits = choose(&read, &mut faults);
    check_known(&read, &limits, &mut faults);
    check_sources(&read, &limits, &mut faults);
    let limits = add_everywhere(&read, limits, &mut faults);
    let standards = &read.standards;
    if let (Some((_, warning)), Some(hazard)) = (&standards.warning, &standards.hazard)
        && faults.is_empty()
    {
        let alarms = alarms::all(&read, &limits, &guidance);
        let mut points: Vec<_> = read.points.into_iter().map(|(_, it)| it).collect();
        points.shrink_to_fit();
        return Ok(Config {
            alarms,
            clock_offset_max: standards.clock_offset_max,
            warning: warning.clone(),
            hazard: hazard.clone(),
            group: read.site.group,
            name: read.site.name,
            gateways: read.site.gateways,
            sources: read.site.sources.into_iter().map(|(_, it)| it).collect(),
            points,
        });
    }
    Err(faults.sorted())
}

/// Each table that must be in some file of standards is there.
fn check_complete(read: &Read, main: &SourceFile, faults: &mut Faults) {
    let standards = &read.standards;
    let mut missing: Vec<String> = SYSTEM
        .iter()
        .filter(|condition| {
            !standards
                .system
                .iter()
                .any(|(_, known, _)| known == *condition)
        })
        .map(|condition| format!("system.{}", condition.word()))
        .collect();
    missing.extend(standards.warning.is_none().then(|| "warning".to_owned()));
    missing.extend(standards.hazard.is_none().then(|| "ledger".to_owned()));
    for table in missing {
        let what = format!("table `{table}`");
        faults.add(
            &Place::whole(&main.name),
            what,
            "nothing",
            "one in all files of standards",
        );
    }
    for (things, none) in [
        ("gateways", read.site.gateways.is_empty()),
        ("points", read.points.is_empty()),
        ("sources", read.site.sources.is_empty()),
    ] {
        if none {
            faults.add(&Place::whole(&main.name), things, "none", "one at least");
        }
    }
}

/// A kind is a vessel's or a gas: a detector that counted as both would make red by itself.
fn check_kinds(standards: &Standards, faults: &mut Faults) {
    let (Some((place, warning)), Some(hazard)) = (&standards.warning, &standards.hazard) else {
        return;
    };
    for kind in &warning.red_vessel_kinds {
        if hazard.gas_kinds.contains(kind) {
            let what = "warning, key `red_vessel_kinds`";
            let allowed = "a kind that is not one of `gas_kinds`";
            faults.add(place, what, quote(kind), allowed);
        }
    }
}

/// All guidance by its key.
fn guidance<'a>(read: &'a Read, faults: &mut Faults) -> BTreeMap<&'a str, &'a Guidance> {
    let mut guidance = BTreeMap::new();
    for raw in read.standards.guidance.iter().chain(&read.site.guidance) {
        if guidance.insert(raw.key.as_str(), &raw.guidance).is_some() {
            faults.add(&raw.place, "guidance", quote(&raw.key), "a key used once");
        }
    }
    guidance
}

fn check_guidance(read: &Read, guidance: &BTreeMap<&str, &Guidance>, faults: &mut Faults) {
    let standards = &read.standards;
    let presets = standards.presets.iter().chain(&standards.everywhere);
    let presets = presets.flat_map(|preset| &preset.limits);
    let own = read.site.limits.iter().map(|(_, limit)| limit);
    let limits = presets.chain(own).map(|limit| (&limit.place, &limit.terms));
    let system = read
        .standards
        .system
        .iter()
        .map(|(place, _, terms)| (place, terms));
    for (place, Terms { guidance: key, .. }) in limits.chain(system) {
        if !key.is_empty() && !guidance.contains_key(key.as_str()) {
            let allowed = "a key of a table [guidance.KEY]";
            faults.add(place, "key `guidance`", quote(key), allowed);
        }
    }
}

/// Every unit has a point: one that is only polled by habit hides a table that lost its rows.
fn check_units(read: &Read, faults: &mut Faults) {
    let used: BTreeSet<_> = read
        .points
        .iter()
        .map(|(_, point)| (point.gateway.as_str(), point.device.as_str()))
        .collect();
    for (place, gateway, unit) in &read.site.units {
        let is_named = !unit.is_empty() && !gateway.is_empty();
        if is_named && !used.contains(&(gateway.as_str(), unit.as_str())) {
            let what = format!("unit `{gateway}/{unit}`");
            faults.add(place, what, "no point", "one point at least");
        }
    }
}

/// Where an id is faulty or used twice, it may be the one that a point means: that the point's
/// name is not there would only be the same fault again, once a point.
struct Doubtful<'a> {
    gateways: bool,
    units_of: BTreeSet<&'a str>,
    sources: bool,
}

impl<'a> Doubtful<'a> {
    fn of(read: &'a Read) -> Self {
        let site = &read.site;
        let (mut units, mut units_of) = (BTreeSet::new(), BTreeSet::new());
        for (_, gateway, unit) in &site.units {
            if unit.is_empty() || !units.insert((gateway, unit)) {
                units_of.insert(gateway.as_str());
            }
        }
        Self {
            gateways: are_doubtful(site.gateways.iter().map(|it| it.id.as_str())),
            units_of,
            sources: are_doubtful(site.sources.iter().map(|(_, it)| it.id.as_str())),
        }
    }
}

/// What points name is there, and tags are unique.
fn check_points(read: &Read, faults: &mut Faults) {
    let site = &read.site;
    let gateways: BTreeSet<_> = site.gateways.iter().map(|it| it.id.as_str()).collect();
    let sources: BTreeSet<_> = site.sources.iter().map(|(_, it)| it.id.as_str()).collect();
    let units: BTreeSet<_> = site
        .units
        .iter()
        .map(|(_, gateway, unit)| (gateway.as_str(), unit.as_str()))
        .collect();
    let doubtful = Doubtful::of(read);
    let mut tags = BTreeSet::new();
    for (place, point) in &read.points {
        let what = |column| format!("point `{}`, column `{column}`", point.tag);
        if !point.tag.is_empty() && !tags.insert(point.tag.as_str()) {
            faults.add(place, what("tag"), quote(&point.tag), "a tag used once");
        }
        if gateways.contains(point.tag.as_str()) {
            // Both would own an alarm of the same name.
            let allowed = "a tag that is not the id of a gateway";
            faults.add(place, what("tag"), quote(&point.tag), allowed);
        }
        let (gateway, device) = (point.gateway.as_str(), point.device.as_str());
        if doubtful.gateways {
            // That is told already.
        } else if !gateway.is_empty() && !gateways.contains(gateway) {
            let allowed = format!("a gateway of the main file: {}", list(&gateways));
            faults.add(place, what("gateway"), quote(gateway), allowed);
        } else if !device.is_empty()
            && !gateway.is_empty()
            && !units.contains(&(gateway, device))
            && !doubtful.units_of.contains(gateway)
        {
            let own = units.iter().filter(|(of, _)| *of == gateway);
            let own: BTreeSet<_> = own.map(|(_, unit)| *unit).collect();
            let allowed = format!("a unit of `{gateway}`: {}", list(&own));
            faults.add(place, what("device"), quote(device), allowed);
        }
        if let Some(source) = point.source.as_deref()
            && !source.is_empty()
            && !sources.contains(source)
            && !doubtful.sources
        {
            let allowed = format!("a source of the main file: {}", list(&sources));
            faults.add(place, what("source"), quote(source), allowed);
        }
    }
}

/// The first names of a set, for faults.
fn list(names: &BTreeSet<&str>) -> String {
    let mut first: Vec<_> = names.iter().copied().take(8).collect();
    if names.len() > first.len() {
        first.push("…");
    }
    first.join(", ")
}

/// The limits of each point, in the order of the points: the site's own, else the preset's.
fn choose<'a>(read: &'a Read, faults: &mut Faults) -> Vec<Vec<&'a RawLimit>> {
    let mut presets: BTreeMap<(&str, Option<&str>), &Preset> = BTreeMap::new();
    for preset in &read.standards.presets {
        presets.insert((&preset.kind, preset.position.as_deref()), preset);
    }
    check_presets(&presets, faults);
    let own = own_limits(read, faults);
    let mut chosen = Vec::with_capacity(read.points.len());
    for (place, point) in &read.points {
        let exact = presets.get(&(point.kind.as_str(), point.position.as_deref()));
        let preset = exact.or_else(|| presets.get(&(point.kind.as_str(), None)));
        let own = own.get(point.tag.as_str()).map_or(&[][..], Vec::as_slice);
        let what = format!("point `{}`", point.tag);
        if let Some(preset) = preset
            && preset.unit != point.unit
        {
            let what = format!("{what}, column `unit`");
            let allowed = format!("{}, as in the {}", quote(&preset.unit), preset.what());
            faults.add(place, what, quote(&point.unit), allowed);
            chosen.push(preset.limits.iter().collect());
            continue;
        }
        let preset = preset.map_or(&[][..], |preset| preset.limits.as_slice());
        let mut limits = Vec::from(own);
        for limit in preset {
            match own.iter().find(|own| own.setpoint == limit.setpoint) {
                Some(own) => stricter::check(own, limit, &what, faults),
                None => limits.push(limit),
            }
        }
        limits.sort_by_key(|limit| limit.setpoint);
        if !own.is_empty() {
            limit::check_order(&limits, &what, faults);
        }
        for limit in &limits {
            let is_own = own.iter().any(|own| own.setpoint == limit.setpoint);
            let place = if is_own { &limit.place } else { place };
            limit::check_range(limit, point.range, place, &what, faults);
        }
        chosen.push(limits);
    }
    chosen
}

/// Adds what points of a kind take at every position. Who has a limit of the same name keeps it,
/// if it is not above that.
fn add_everywhere<'a>(
    read: &'a Read,
    mut chosen: Vec<Vec<&'a RawLimit>>,
    faults: &mut Faults,
) -> Vec<Vec<&'a RawLimit>> {
    let mut everywhere: BTreeMap<&str, Vec<&Preset>> = BTreeMap::new();
    for preset in &read.standards.everywhere {
        everywhere.entry(&preset.kind).or_default().push(preset);
    }
    for ((place, point), limits) in read.points.iter().zip(&mut chosen) {
        let presets = everywhere.get(point.kind.as_str());
        for preset in presets.into_iter().flatten() {
            let what = format!("point `{}`", point.tag);
            if preset.unit != point.unit {
                let what = format!("{what}, column `unit`");
                let allowed = format!("{}, as in the {}", quote(&preset.unit), preset.what());
                faults.add(place, what, quote(&point.unit), allowed);
                continue;
            }
            for limit in &preset.limits {
                let own = limits.iter().find(|own| own.setpoint == limit.setpoint);
                if let Some(own) = own {
                    stricter::check(own, limit, &what, faults);
                } else {
                    for other in limits.iter() {
                        limit::check_order(&[other, limit], &what, faults);
                    }
                    limits.push(limit);
                    limit::check_range(limit, point.range, place, &what, faults);
                }
            }
            limits.sort_by_key(|limit| limit.setpoint);
        }
    }
    chosen
}

/// A preset for a position may not be laxer than the general one of its kind, nor leave out a level
/// of gas, or it would be a way round the standard.
///
/// Limit: what it measures in another unit cannot be compared.
fn check_presets(presets: &BTreeMap<(&str, Option<&str>), &Preset>, faults: &mut Faults) {
    for ((kind, position), preset) in presets {
        let Some(general) = presets.get(&(*kind, None)) else {
            continue;
        };
        if position.is_none() || general.unit != preset.unit {
            continue;
        }
        for bound in general.limits.iter().filter(|limit| limit.is_fixed) {
            let mut at_position = preset.limits.iter();
            match at_position.find(|limit| limit.setpoint == bound.setpoint) {
                Some(limit) => {
                    stricter::check(limit, bound, &preset.what(), faults);
                    stricter::check_fixed(limit, bound, &preset.what(), faults);
                }
                None if limit::is_gas(bound.setpoint) => {
                    let what = format!("{}, {}", preset.what(), bound.setpoint.word());
                    let allowed = stricter::allowed("a limit", bound);
                    faults.add(&preset.place, what, "nothing", allowed);
                }
                // A mine has no limit for much oxygen.
                None => {}
            }
        }
    }
}

/// The site's own limits by tag; each names a point, and each setpoint of it once.
fn own_limits<'a>(read: &'a Read, faults: &mut Faults) -> BTreeMap<&'a str, Vec<&'a RawLimit>> {
    let tags: BTreeSet<_> = read.points.iter().map(|(_, it)| it.tag.as_str()).collect();
    let mut own: BTreeMap<&str, Vec<&RawLimit>> = BTreeMap::new();
    for (tag, limit) in &read.site.limits {
        let what = format!("limit of point `{tag}`, {}", limit.setpoint.word());
        if !tag.is_empty() && !tags.contains(tag.as_str()) {
            faults.add(&limit.place, what, quote(tag), "a tag of a point table");
            continue;
        }
        let of_point = own.entry(tag).or_default();
        if of_point
            .iter()
            .any(|other| other.setpoint == limit.setpoint)
        {
            faults.add(&limit.place, what, "a second one", "each setpoint once");
        }
        of_point.push(limit);
    }
    own
}

/// Every kind and every position is known, and a point without any limit is one on purpose: with a
/// misspelt kind or position it would look watched and be silent, or take a laxer limit.
///
/// A position is known from a preset of whatever kind, or from the main file.
fn check_known(read: &Read, limits: &[Vec<&RawLimit>], faults: &mut Faults) {
    let mut presets: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for preset in &read.standards.presets {
        let of_kind = presets.entry(&preset.kind).or_default();
        of_kind.extend(preset.position.as_deref());
    }
    let declared = read.site.positions.iter().map(String::as_str);
    let positions: BTreeSet<&str> = presets
        .values()
        .flatten()
        .copied()
        .chain(declared)
        .collect();
    // Where the position of a preset is faulty it may be the one that is meant.
    let is_known = |position: &str| positions.contains(position) || positions.contains("");
    let unlimited: BTreeSet<&str> = read
        .standards
        .unlimited
        .iter()
        .map(String::as_str)
        .collect();
    let kinds: BTreeSet<&str> = presets.keys().copied().chain(unlimited.clone()).collect();
    let kinds: Vec<&str> = kinds.into_iter().collect();
    for ((place, point), limits) in read.points.iter().zip(limits) {
        let (kind, position) = (point.kind.as_str(), point.position.as_deref());
        let known = presets.get(kind);
        let may_be_unlimited = unlimited.contains(kind);
        if known.is_none() && !may_be_unlimited && !kind.is_empty() {
            let what = format!("point `{}`, column `kind`", point.tag);
            let allowed = format!("a kind of the standards: {}", kinds.join(", "));
            faults.add(place, what, quote(kind), allowed);
        }
        let of_kind = known.filter(|of_kind| !of_kind.is_empty());
        let of_kind = list(of_kind.unwrap_or(&positions));
        if let Some(position) = position
            && !position.is_empty()
            && !is_known(position)
        {
            let what = format!("point `{}`, column `position`", point.tag);
            let allowed = format!("one of a preset, or of `positions` of the main file: {of_kind}");
            faults.add(place, what, quote(position), allowed);
        } else if known.is_some() && limits.is_empty() && !may_be_unlimited {
            let what = format!("point `{}`, kind `{kind}`", point.tag);
            let found = quote(position.unwrap_or_default());
            let found = format!("no limit for the position {found}");
            let allowed = format!("a limit of its own, or a position with a preset: {of_kind}");
            faults.add(place, what, found, allowed);
        }
    }
}

/// Every source has a point with an alarm: without one it can never show a colour.
fn check_sources(read: &Read, limits: &[Vec<&RawLimit>], faults: &mut Faults) {
    let alarmed: BTreeSet<_> = read
        .points
        .iter()
        .zip(limits)
        .filter(|(_, limits)| !limits.is_empty())
        .filter_map(|((_, point), _)| point.source.as_deref())
        .collect();
    if Doubtful::of(read).sources {
        return;
    }
    for (place, source) in &read.site.sources {
        if !source.id.is_empty() && !alarmed.contains(source.id.as_str()) {
            let what = format!("source `{}`", source.id);
            faults.add(place, what, "no point with an alarm", "one at least");
        }
    }
}
