//! From the texts of a configuration to a checked one, or all of its faults.
//!
//! Text in, [`Config`] or every [`Fault`] out: no file is opened here. The shells read the files
//! and hand over their texts; the centre journals those texts, so a replay has what was in force.
//!
//! Raw types (as written, unknown keys refused) live in the submodules; what this module hands out
//! is checked and nothing downstream checks it again. A value that matters for safety has no
//! default.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alarm::{AlarmDefinition, Setpoint};
use crate::point::{Point, Text};
use crate::warning::Colour;

/// Gathers faults; also for the shells' own files.
pub mod fault;

mod duration;

/// Reads TOML tables field by field; also for the shells' own files.
pub mod fields;

mod table;

mod site;

mod standards;

mod rules;

mod limit;

/// Limits held to those of a standard.
mod stricter;

mod check;

mod alarms;

mod multiply;
mod read;

mod subject;

#[cfg(test)]
mod tests;

pub use duration::parse as parse_duration;
pub use fault::{Faults, Place};
pub use fields::{Document, Fields};
pub use multiply::{PlantName, multiply};

/// Checks the texts of a configuration.
///
/// The first file is the main one. It names point tables and standards; those are found among the
/// others by the name that it uses, and a file that it does not name is not looked at. Reading
/// 100,000 points is a matter of a second.
///
/// # Errors
///
/// Every fault of every file, sorted by file and line.
pub fn check(files: &[SourceFile]) -> Result<Config, Vec<Fault>> {
    check::check(files)
}

/// The names of the further files that a main file wants: point tables, then standards, each
/// relative to the folder of the main file.
///
/// # Errors
///
/// The main file cannot be parsed, or does not say which files it wants.
pub fn wanted(main: &SourceFile) -> Result<Vec<String>, Vec<Fault>> {
    read::wanted(main)
}

/// The ids of the gateways of a main file, in its order, whatever else may be wrong with the
/// configuration; none when they cannot be told: an id is faulty, or used twice.
pub fn gateway_ids(main: &SourceFile) -> Option<Vec<String>> {
    read::gateway_ids(main)
}

/// A checked configuration: what both ends work by.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The MQTT group: the enterprise (or the city's set of them).
    pub group: String,
    /// What the site is called.
    pub name: Text,
    /// Gateways that may connect, in the order of the file.
    pub gateways: Vec<Gateway>,
    /// Major hazard sources, in the order of the file.
    pub sources: Vec<Source>,
    /// Points, in the order of the tables. `PointId` is the place in here.
    pub points: Vec<Point>,
    /// Every alarm: limits first (in the order of the points), then those about the system.
    pub alarms: Vec<AlarmDefinition>,
    /// A gateway's clock may differ from the centre's by so much, transport included.
    pub clock_offset_max: Duration,
    /// When a source takes which colour.
    pub warning: WarningRules,
    /// When an alarm enters the ledger.
    pub hazard: HazardRules,
}

impl Config {
    /// A site with nothing in it: what a centre watches before its first configuration.
    pub fn empty() -> Self {
        let never = RaiseRule {
            after: Duration::ZERO,
            repeats: 0,
            within: Duration::ZERO,
            deadline: Duration::ZERO,
        };
        Self {
            group: String::new(),
            name: Text::default(),
            gateways: Vec::new(),
            sources: Vec::new(),
            points: Vec::new(),
            alarms: Vec::new(),
            clock_offset_max: Duration::MAX,
            warning: WarningRules {
                hold: Duration::ZERO,
                blue_after: Duration::ZERO,
                blue_bad_share: 1.0,
                yellow_after: Duration::ZERO,
                yellow_bad_share: 1.0,
                orange_after: Duration::ZERO,
                orange_level_max: 0,
                orange_points: u32::MAX,
                red_points: u32::MAX,
                red_vessel_kinds: Vec::new(),
                orange_mines: false,
                limits: Vec::new(),
                figure_source: Text::default(),
            },
            hazard: HazardRules {
                level2: never.clone(),
                level1: never.clone(),
                loss_of_view: never.clone(),
                gas_loss_of_view: never,
                normal_before_close: Duration::ZERO,
                recurs_within: Duration::ZERO,
                supervise_after: u32::MAX,
                gas_kinds: Vec::new(),
                major: MajorRule {
                    level_max: 0,
                    chemical_setpoints: Vec::new(),
                    mine_setpoints: Vec::new(),
                    immediate: Duration::ZERO,
                    limits: Vec::new(),
                    unseen: MajorSight {
                        after: Duration::ZERO,
                        share: 1.0,
                        mine: Vec::new(),
                        figure_source: Text::default(),
                    },
                    figure_source: Text::default(),
                },
                figure_source: Text::default(),
            },
        }
    }
}

/// A gateway: a Sparkplug edge node, and the Modbus links that it polls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gateway {
    /// Its id: the Sparkplug edge node, and the user it signs in as.
    pub id: String,
    /// What it is called.
    pub name: Text,
    /// Modbus links, in the order of the file.
    pub buses: Vec<Bus>,
    /// Siren or beacon that it may switch; none by default.
    pub annunciator: Option<Annunciator>,
}

/// One Modbus link with the units that share it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bus {
    /// Its name in logs and counters.
    pub name: String,
    /// `host:port` of the Modbus TCP server.
    pub address: String,
    /// How long to wait for an answer. No default: the instrument's manual says.
    pub timeout: Duration,
    /// Most registers in one request (the standard's limit is 125).
    pub registers_max: u16,
    /// Most bits in one request (the standard's limit is 2000).
    pub bits_max: u16,
    /// Most unwanted registers (or bits) between two wanted ones that one request may read along.
    pub gap_max: u16,
    /// Units on it.
    pub units: Vec<Unit>,
}

/// One Modbus unit: a Sparkplug device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its id, unique within the gateway; points name it in their column `device`.
    pub id: String,
    /// Its number on the link, 0–255.
    pub number: u8,
    /// What it is called.
    pub name: Text,
}

/// The only thing that the edge may write: a coil that sounds and lights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annunciator {
    /// `host:port` of its Modbus TCP server.
    pub address: String,
    /// Its unit number.
    pub unit: u8,
    /// Its coil.
    pub coil: u16,
    /// How often the coil is written again, so that a dead gateway is noticed by it.
    pub refresh: Duration,
}

/// A major hazard source (重大危险源): a tank farm, a process unit, a mine face.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Its id; points name it in their column `source`.
    pub id: String,
    /// What it is called.
    pub name: Text,
    /// What kind of place it is; feedback times of mines differ.
    pub industry: Industry,
    /// Filed level by GB 18218: 1 (highest) to 4; none for a mine.
    pub level: Option<u8>,
    /// The three named owners (包保责任人): main, technical, operation. Persons or posts.
    pub owners: Owners,
}

/// What kind of place a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Industry {
    /// Hazardous chemicals (危险化学品).
    Chemical,
    /// Coal mine (煤矿).
    CoalMine,
}

/// The three named owners of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owners {
    /// 主要负责人.
    pub main: String,
    /// 技术负责人.
    pub technical: String,
    /// 操作负责人.
    pub operation: String,
}

/// When a source takes which colour. The figures are Davy's own until the official rule can be
/// had (`config/standards/warning.toml` says so beside each).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WarningRules {
    /// How long a colour is held at least before it steps down.
    pub hold: Duration,
    /// Level-1 or H/L alarm for so long: blue.
    pub blue_after: Duration,
    /// This share of points without good data, or more, that, held for `blue_after`, makes blue (0–1).
    pub blue_bad_share: f64,
    /// Level-1 alarm for so long: yellow.
    pub yellow_after: Duration,
    /// More than this share of points without good data makes yellow (0–1).
    pub yellow_bad_share: f64,
    /// Level-2 alarm for so long on a source of `orange_level_max` or higher (and on a mine, which
    /// has no filed level, if `orange_mines` says so): orange.
    pub orange_after: Duration,
    /// The lowest level of a source (1 the highest, 4 the lowest) for `orange_after`.
    pub orange_level_max: u8,
    /// A mine counts as a source of such a level.
    pub orange_mines: bool,
    /// So many points in level 2 at once: orange.
    pub orange_points: u32,
    /// So many points in level 2 at once: red.
    pub red_points: u32,
    /// Kinds of points whose HH together with a gas point in level 2 makes red.
    pub red_vessel_kinds: Vec<String>,
    /// Limits that make a colour by themselves.
    pub limits: Vec<LimitColour>,
    /// Where these figures come from.
    pub figure_source: Text,
}

/// A limit of a kind of points that makes a colour by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitColour {
    /// Kind of the points.
    pub kind: String,
    /// Which limit of them.
    pub setpoint: Setpoint,
    /// How long its alarm must last; zero for at once.
    pub after: Duration,
    /// The colour.
    pub colour: Colour,
    /// Where that comes from.
    pub figure_source: Text,
}

/// When an alarm enters the ledger, and how long there is to put it right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HazardRules {
    /// A level-2, HH/LL or cut alarm was raised.
    pub level2: RaiseRule,
    /// A level-1 alarm lasted for `after`, or came `repeats` times within `within`.
    pub level1: RaiseRule,
    /// A point, unit or gateway has not been seen for `after`.
    pub loss_of_view: RaiseRule,
    /// The same where a point of a gas kind is not seen, which waits less.
    pub gas_loss_of_view: RaiseRule,
    /// How long the points must have been normal before an entry raised by an alarm may close.
    pub normal_before_close: Duration,
    /// A hazard that comes back within so long is linked to the old one.
    pub recurs_within: Duration,
    /// A hazard that has failed so many re-checks is supervised by notice (挂牌督办).
    pub supervise_after: u32,
    /// Kinds of points that count as gas.
    pub gas_kinds: Vec<String>,
    /// Which alarms raise a candidate for a major hazard (重大隐患).
    pub major: MajorRule,
    /// Where these figures come from.
    pub figure_source: Text,
}

/// Which alarms raise a candidate for a major hazard (重大隐患), which a person then judges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MajorRule {
    /// The lowest level of a chemical source (1 the highest, 4 the lowest) for
    /// `chemical_setpoints`.
    pub level_max: u8,
    /// Limits that do so at such a chemical source.
    pub chemical_setpoints: Vec<Setpoint>,
    /// Limits that do so at a mine.
    pub mine_setpoints: Vec<Setpoint>,
    /// How long there is for what the law wants put right at once, without a figure.
    pub immediate: Duration,
    /// Limits that do so anywhere, and are to be put right at once when they have lasted.
    pub limits: Vec<MajorLimit>,
    /// Losses of view that do so.
    pub unseen: MajorSight,
    /// Where these figures come from.
    pub figure_source: Text,
}

/// A limit of a kind of points whose alarm makes a candidate for a major hazard, which is to be put
/// right at once when it has lasted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MajorLimit {
    /// Kind of the points.
    pub kind: String,
    /// Which limit of them.
    pub setpoint: Setpoint,
    /// How long its alarm must last.
    pub after: Duration,
    /// Where that comes from.
    pub figure_source: Text,
}

/// When a loss of view makes a candidate for a major hazard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MajorSight {
    /// Of any point, unit or gateway: when it has lasted for so long.
    pub after: Duration,
    /// This share of the points of a source, or more, is unseen when the entry is made (0–1).
    pub share: f64,
    /// Points of mines of which none may be unseen: at once, and to be put right at once.
    pub mine: Vec<KindAt>,
    /// Where these figures come from.
    pub figure_source: Text,
}

/// Points of a kind, anywhere or at one kind of position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindAt {
    /// Their kind.
    pub kind: String,
    /// Their position; none for any.
    pub position: Option<String>,
}

/// One rule by which an alarm enters the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaiseRule {
    /// How long the alarm must last; zero for at once.
    pub after: Duration,
    /// So many occurrences on one point within `within` raise it as well; 0 for never.
    pub repeats: u32,
    /// The window of `repeats`.
    pub within: Duration,
    /// How long there is to put it right, from the moment it was found.
    pub deadline: Duration,
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fault {
    /// Which file.
    pub file: String,
    /// Which line of it, from 1; 0 when the fault is about the whole file.
    pub line: u32,
    /// Which thing: ``point `TF1.GT-101` ``, ``alarm `TF1.GT-101.gas2` ``.
    pub what: String,
    /// What stands there.
    pub found: String,
    /// What may stand there.
    pub allowed: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            file,
            line,
            what,
            found,
            allowed,
        } = self;
        write!(
            f,
            "{file}:{line}: {what}: found {found}; allowed: {allowed}"
        )
    }
}

/// One file of a configuration, read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its name as the person wrote it, relative to the folder of the configuration.
    pub name: String,
    /// What stands in it.
    pub text: String,
}
