//! What all files of a configuration say, each by itself: nothing is held against anything yet.

use super::fault::{Faults, Place, quote};
use super::fields::Document;
use super::site::{self, Named, Site, are_doubtful};
use super::standards::{self, Standards};
use super::table;
use super::{Fault, SourceFile};
use crate::point::Point;

/// What all files of a configuration say.
#[derive(Default)]
pub(super) struct Read {
    pub(super) site: Site,
    pub(super) points: Vec<(Place, Point)>,
    pub(super) standards: Standards,
}

/// The further files that a main file names: its point tables, then its standards.
pub(super) fn wanted(main: &SourceFile) -> Result<Vec<String>, Vec<Fault>> {
    let mut faults = Faults::default();
    let named = Document::parse(main, &mut faults)
        .map(|document| site::named(&mut document.root(), &mut faults))
        .unwrap_or_default();
    if faults.is_empty() {
        Ok([named.points, named.standards].concat())
    } else {
        Err(faults.sorted())
    }
}

/// The ids of the gateways of a main file; none when they cannot be told.
pub(super) fn gateway_ids(main: &SourceFile) -> Option<Vec<String>> {
    let mut ignored = Faults::default();
    let document = Document::parse(main, &mut ignored)?;
    let (site, _) = site::read(&document, &mut ignored);
    let ids: Vec<_> = site.gateways.into_iter().map(|it| it.id).collect();
    let told = !ids.is_empty() && !are_doubtful(ids.iter().map(String::as_str));
    told.then_some(ids)
}

/// Reads every file; none when one of them is missing or cannot be parsed, so that what refers to
/// it cannot be judged.
pub(super) fn read(files: &[SourceFile], faults: &mut Faults) -> Option<Read> {
    let Some((main, others)) = files.split_first() else {
        faults.add(&Place::whole(""), "configuration", "no file", "a main file");
        return None;
    };
    let mut read = Read::default();
    let document = Document::parse(main, faults);
    let mut whole_house = document.is_some();
    let named;
    (read.site, named) = match document {
        Some(document) => site::read(&document, faults),
        None => (Site::default(), by_ending(others)),
    };
    let mut find = |name: &String, faults: &mut Faults| {
        let file = others.iter().find(|file| file.name == *name);
        if file.is_none() {
            faults.add(
                &Place::whole(&main.name),
                "files named",
                quote(name),
                "a file that is there",
            );
            whole_house = false;
        }
        file
    };
    let tables: Vec<_> = named
        .points
        .iter()
        .filter_map(|name| find(name, faults))
        .collect();
    let rules: Vec<_> = named
        .standards
        .iter()
        .filter_map(|name| find(name, faults))
        .collect();
    for file in tables {
        whole_house &= table::read(file, &mut read.points, faults);
    }
    for file in rules {
        match Document::parse(file, faults) {
            Some(document) => standards::read(&document, &mut read.standards, faults),
            None => whole_house = false,
        }
    }
    whole_house.then_some(read)
}

/// What the other files seem to be, when the main file cannot tell: their faults are worth having.
fn by_ending(others: &[SourceFile]) -> Named {
    let named = |ending: &str| {
        let names = others.iter().map(|file| file.name.clone());
        names.filter(|name| name.ends_with(ending)).collect()
    };
    Named {
        points: named(".csv"),
        standards: named(".toml"),
    }
}
