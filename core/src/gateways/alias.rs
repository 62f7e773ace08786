//! Which point an alias or a tag stands for.
//!
//! Limits: aliases up to [`DENSE_ALIASES`] are a table, as dense as a gateway gives them; others
//! are a map, and no more of them are kept than a birth may have metrics.

use std::collections::HashMap;

use crate::config::Config;
use crate::point::{Point, Range};
use crate::reading::PointId;
use crate::sparkplug::DataType;

/// Aliases above this are looked up in a map; below it in a table.
const DENSE_ALIASES: u64 = 1 << 16;

/// What the data of a metric is read by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Meant {
    /// The point that it stands for.
    pub(super) point: PointId,
    /// As what its value travels.
    pub(super) datatype: DataType,
    /// Where a value may be good, whatever its node says.
    pub(super) trusted: Range,
}

impl Meant {
    /// A point, which is `of` in the configuration.
    pub(super) fn new(point: PointId, of: &Point, datatype: DataType) -> Self {
        Self {
            point,
            datatype,
            trusted: of.trusted(),
        }
    }
}

/// Alias → point, worked out from births and the configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Aliases {
    dense: Vec<Option<Meant>>,
    sparse: HashMap<u64, Meant>,
}

impl Aliases {
    /// What an alias stands for.
    pub(super) fn get(&self, alias: u64) -> Option<Meant> {
        if alias < DENSE_ALIASES {
            self.dense.get(alias as usize).copied().flatten()
        } else {
            self.sparse.get(&alias).copied()
        }
    }

    /// An alias stands for no point any more.
    pub(super) fn unset(&mut self, alias: u64) {
        if alias < DENSE_ALIASES {
            if let Some(point) = self.dense.get_mut(alias as usize) {
                *point = None;
            }
        } else {
            self.sparse.remove(&alias);
        }
    }

    /// An alias now stands for this.
    pub(super) fn set(&mut self, alias: u64, meant: Meant) {
        if alias < DENSE_ALIASES {
            let index = alias as usize;
            if self.dense.len() <= index {
                self.dense.resize(index + 1, None);
            }
            self.dense[index] = Some(meant);
        } else {
            self.sparse.insert(alias, meant);
        }
    }
}

/// Tag → point of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    points: HashMap<String, PointId>,
}

impl Directory {
    /// The directory of a configuration.
    pub fn new(config: &Config) -> Self {
        let named = config.points.iter().map(|point| point.tag.clone());
        Self {
            points: named.zip((0..).map(PointId)).collect(),
        }
    }

    /// The point of a tag.
    pub fn find(&self, tag: &str) -> Option<PointId> {
        self.points.get(tag).copied()
    }
}
