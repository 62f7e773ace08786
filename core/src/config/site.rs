//! Reads the main file of a configuration: gateways, sources, the site's own limits.
//!
//! What is read here may still hold stand-ins for faulty fields; the checks across files follow in
//! `check`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::fault::{Faults, Place, quote};
use super::fields::{Document, Fields};
use super::limit::{self, RawGuidance, RawLimit};
use super::{Annunciator, Bus, Gateway, Industry, Owners, Source, Unit};
use crate::point::Text;

/// What the main file says.
#[derive(Debug, Default)]
pub(super) struct Site {
    pub(super) group: String,
    pub(super) name: Text,
    pub(super) gateways: Vec<Gateway>,
    /// Every unit with its place: `(gateway, unit)`.
    pub(super) units: Vec<(Place, String, String)>,
    pub(super) sources: Vec<(Place, Source)>,
    /// Positions of points that no preset names.
    pub(super) positions: Vec<String>,
    /// The site's own limits: `(tag, limit)`.
    pub(super) limits: Vec<(String, RawLimit)>,
    pub(super) guidance: Vec<RawGuidance>,
}

/// The files that a main file names: point tables and standards.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) points: Vec<String>,
    pub(super) standards: Vec<String>,
}

/// Whether one of these ids is faulty or used twice.
pub(super) fn are_doubtful<'a>(mut ids: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = BTreeSet::new();
    ids.any(|id| id.is_empty() || !seen.insert(id))
}

/// Reads which files the main file names.
pub(super) fn named(root: &mut Fields<'_>, faults: &mut Faults) -> Named {
    let named = Named {
        points: root.strings("points", faults),
        standards: root.strings("standards", faults),
    };
    let mut seen = BTreeSet::new();
    for file in named.points.iter().chain(&named.standards) {
        if !seen.insert(file) {
            faults.add(&root.place, "files named", quote(file), "each file once");
        }
    }
    named
}

/// Reads the main file.
pub(super) fn read(document: &Document<'_>, faults: &mut Faults) -> (Site, Named) {
    let mut root = document.root();
    let mut site = Site {
        group: root.id("group", faults),
        name: root.text("name", faults),
        ..Site::default()
    };
    let named = named(&mut root, faults);
    if root.has("positions") {
        site.positions = root.strings("positions", faults);
    }
    for mut fields in root.tables("gateway", faults) {
        let gateway = read_gateway(&mut fields, &mut site, faults);
        if site.gateways.iter().any(|other| other.id == gateway.id) && !gateway.id.is_empty() {
            faults.add(
                &fields.place,
                "gateway id",
                quote(&gateway.id),
                "an id used once",
            );
        }
        fields.finish(faults);
        site.gateways.push(gateway);
    }
    for mut fields in root.tables("source", faults) {
        let source = read_source(&mut fields, faults);
        let known = site.sources.iter().any(|(_, other)| other.id == source.id);
        if known && !source.id.is_empty() {
            faults.add(
                &fields.place,
                "source id",
                quote(&source.id),
                "an id used once",
            );
        }
        site.sources.push((fields.place.clone(), source));
        fields.finish(faults);
    }
    for mut fields in root.tables("limit", faults) {
        let tag = fields.id("point", faults);
        fields.describe("limit of point", &[&tag]);
        let limit = limit::read(&mut fields, false, faults);
        fields.finish(faults);
        site.limits.extend(limit.map(|limit| (tag, limit)));
    }
    site.guidance = limit::read_guidance(&mut root, faults);
    root.finish(faults);
    (site, named)
}

fn read_gateway(fields: &mut Fields<'_>, site: &mut Site, faults: &mut Faults) -> Gateway {
    let id = fields.id("id", faults);
    fields.describe("gateway", &[&id]);
    let name = fields.text("name", faults);
    let mut buses = Vec::new();
    let mut units = BTreeSet::new();
    for mut inner in fields.tables("bus", faults) {
        let first = site.units.len();
        let bus = read_bus(&mut inner, &id, site, faults);
        if buses.iter().any(|other: &Bus| other.name == bus.name) && !bus.name.is_empty() {
            faults.add(
                &inner.place,
                inner.what.clone(),
                quote(&bus.name),
                "a name used once",
            );
        }
        for (place, _, unit) in site.units.iter().skip(first) {
            if !units.insert(unit.clone()) && !unit.is_empty() {
                let what = format!("unit of gateway `{id}`");
                faults.add(place, what, quote(unit), "an id used once in the gateway");
            }
        }
        inner.finish(faults);
        buses.push(bus);
    }
    if buses.is_empty() {
        faults.add(
            &fields.place,
            fields.what.clone(),
            "no bus",
            "one bus at least",
        );
    }
    let annunciator = fields
        .optional_table("annunciator", faults)
        .map(|inner| read_annunciator(inner, faults));
    Gateway {
        id,
        name,
        buses,
        annunciator,
    }
}

/// Limits of the Modbus application protocol V1.1b3: 6.1 (2000 bits), 6.3 (125 registers).
fn read_bus(fields: &mut Fields<'_>, gateway: &str, site: &mut Site, faults: &mut Faults) -> Bus {
    let name = fields.id("name", faults);
    fields.describe("bus", &[gateway, &name]);
    let timeout = Duration::from_millis(10)..=Duration::from_mins(1);
    let mut bus = Bus {
        address: address(fields, faults),
        timeout: fields.duration("timeout", timeout, faults),
        registers_max: fields.whole("registers_max", 4..=125, faults) as u16,
        bits_max: fields.whole("bits_max", 1..=2000, faults) as u16,
        gap_max: fields.whole("gap_max", 0..=2000, faults) as u16,
        units: Vec::new(),
        name,
    };
    let mut numbers = BTreeSet::new();
    for mut inner in fields.tables("unit", faults) {
        let id = inner.id("id", faults);
        inner.describe("unit", &[gateway, &id]);
        let number = inner.whole("number", 0..=255, faults) as u8;
        if !numbers.insert(number) {
            faults.add(
                &inner.place,
                inner.what.clone(),
                number,
                "a number used once on the bus",
            );
        }
        let name = inner.text("name", faults);
        site.units
            .push((inner.place.clone(), gateway.to_owned(), id.clone()));
        inner.finish(faults);
        bus.units.push(Unit { id, number, name });
    }
    if bus.units.is_empty() {
        faults.add(
            &fields.place,
            fields.what.clone(),
            "no unit",
            "one unit at least",
        );
    }
    bus
}

fn read_annunciator(mut fields: Fields<'_>, faults: &mut Faults) -> Annunciator {
    let refresh = Duration::from_millis(100)..=Duration::from_mins(1);
    let annunciator = Annunciator {
        address: address(&mut fields, faults),
        unit: fields.whole("unit", 0..=255, faults) as u8,
        coil: fields.whole("coil", 0..=65_535, faults) as u16,
        refresh: fields.duration("refresh", refresh, faults),
    };
    fields.finish(faults);
    annunciator
}

/// `host:port`; whether the host is there is for the gateway to find out.
fn address(fields: &mut Fields<'_>, faults: &mut Faults) -> String {
    let address = fields.string("address", faults);
    let valid = address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if !valid && !address.is_empty() {
        let what = format!("{}, key `address`", fields.what);
        faults.add(
            &fields.place,
            what,
            quote(&address),
            "host:port, port 1 to 65535",
        );
    }
    address
}

fn read_source(fields: &mut Fields<'_>, faults: &mut Faults) -> Source {
    let id = fields.id("id", faults);
    fields.describe("source", &[&id]);
    let name = fields.text("name", faults);
    let words = [
        ("chemical", Industry::Chemical),
        ("coal_mine", Industry::CoalMine),
    ];
    let industry = fields.word("industry", &words, faults);
    let has_level = fields.has("level");
    let level = match industry {
        Some(Industry::CoalMine) if has_level => {
            let what = format!("{}, key `level`", fields.what);
            faults.add(&fields.place, what, "a level", "none for a mine (GB 18218)");
            None
        }
        Some(Industry::CoalMine) | None => None,
        Some(Industry::Chemical) => Some(fields.whole("level", 1..=4, faults) as u8),
    };
    let owners = fields.table("owners", faults).map(|mut inner| {
        let owners = Owners {
            main: inner.string("main", faults),
            technical: inner.string("technical", faults),
            operation: inner.string("operation", faults),
        };
        inner.finish(faults);
        owners
    });
    Source {
        id,
        name,
        industry: industry.unwrap_or(Industry::Chemical),
        level,
        owners: owners.unwrap_or_else(|| Owners {
            main: String::new(),
            technical: String::new(),
            operation: String::new(),
        }),
    }
}
