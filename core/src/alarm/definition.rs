//! What an alarm is, before anything has happened: its subject, condition, delays and guidance.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::point::Text;
use crate::reading::PointId;

/// One alarm, as rationalised. All of it comes from config; there is no default for a limit.
///
/// Texts that many alarms have in common are shared: a site has hundreds of alarms of each preset.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmDefinition {
    /// `<subject>.<setpoint>`, unique in the configuration: `TF1.GT-101.gas2`.
    pub name: String,
    /// What it is about.
    pub subject: Subject,
    /// What must be true for it to be active.
    pub condition: Condition,
    /// How long the condition must hold, in sampled time, before the alarm is raised.
    pub on_delay: Duration,
    /// How long the condition must be gone, in sampled time, before the alarm has returned.
    pub off_delay: Duration,
    /// Whether it stays until an operator resets it, after return and acknowledgement.
    pub latch: bool,
    /// Loss of view of a point: how long it may be in calibration without a break before that is
    /// a loss of view too. Of no other alarm is it asked.
    pub calibration_max: Duration,
    /// 1 is the highest, 4 the lowest.
    pub priority: Priority,
    /// Whether an operator may shelve it. Never for gas level 2, methane cut and fire.
    pub shelvable: bool,
    /// What an operator is told. Required before an alarm can go live.
    pub guidance: Arc<Guidance>,
    /// Where the figure comes from: standard and clause, or the site's document.
    pub figure_source: Arc<Text>,
}

/// What an alarm is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A point.
    Point(PointId),
    /// A Modbus unit behind a gateway: `(gateway, device)`.
    Unit(String, String),
    /// A gateway.
    Gateway(String),
    /// The centre itself.
    Centre,
}

/// What must be true for an alarm to be active.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// The value has reached a limit.
    Limit(Limit),
    /// Something is out of order with the system itself.
    System(SystemCondition),
}

/// A limit and where it resets.
///
/// Active when the limit is reached: `value >= limit` for a high one, `<=` for a low one (达到,
/// not 超过). Gone when the value has passed the reset: `value < reset` for a high one, `>` for a
/// low one. A mine's reset is a number of its own, no percentage of the limit, and may equal it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// Which limit of the point it is.
    pub setpoint: Setpoint,
    /// The value at which the condition becomes active, in the point's unit.
    pub limit: f64,
    /// The value that must be passed for the condition to end, in the point's unit.
    pub reset: f64,
}

/// The three vocabularies of limits, side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setpoint {
    /// 高高报.
    Hh,
    /// 高报.
    H,
    /// 低报.
    L,
    /// 低低报.
    Ll,
    /// Gas, level 1 (一级报警).
    Gas1,
    /// Gas, level 2 (二级报警).
    Gas2,
    /// Mine, alarm (报警).
    MineAlarm,
    /// Mine, power cut (断电). Davy shows it; the field device cuts.
    MineCut,
}

impl Setpoint {
    /// Whether it becomes active from below, like `H`, and not from above, like `L`.
    pub fn is_high(self) -> bool {
        !matches!(self, Self::L | Self::Ll)
    }

    /// The word for it in names of alarms and in config: `hh`, `gas1`, `mine_cut`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hh => "hh",
            Self::H => "h",
            Self::L => "l",
            Self::Ll => "ll",
            Self::Gas1 => "gas1",
            Self::Gas2 => "gas2",
            Self::MineAlarm => "mine_alarm",
            Self::MineCut => "mine_cut",
        }
    }
}

/// What may be out of order with the system itself. Each is an alarm of its own beside the
/// alarms of the process, so that acknowledging one never answers the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SystemCondition {
    /// No good reading of a point, a unit or a gateway: the process cannot be seen.
    LossOfView,
    /// A gateway's clock differs too much from the centre's.
    ClockOffset,
    /// Messages of a gateway are missing and will not come.
    Gap,
    /// A second gateway uses the identity of one.
    DuplicateIdentity,
    /// What a gateway sends cannot be used: it does not decode, or names tags nobody knows.
    Unusable,
    /// A gateway had to drop stored readings.
    OutboxLoss,
    /// What follows the journal of the centre is so far behind that old readings cannot go.
    SinkBehind,
    /// The centre itself stood still for a while: nobody watched.
    StoodStill,
    /// The centre is cut off from its broker: nothing can come in.
    CutOff,
    /// The clock of the centre's host differs from the site's time: one of them is wrong.
    HostClock,
}

impl SystemCondition {
    /// The word for it in names of alarms: `loss_of_view`.
    pub fn word(self) -> &'static str {
        match self {
            Self::LossOfView => "loss_of_view",
            Self::ClockOffset => "clock_offset",
            Self::Gap => "gap",
            Self::DuplicateIdentity => "duplicate_identity",
            Self::Unusable => "unusable",
            Self::OutboxLoss => "outbox_loss",
            Self::SinkBehind => "sink_behind",
            Self::StoodStill => "stood_still",
            Self::CutOff => "cut_off",
            Self::HostClock => "host_clock",
        }
    }
}

/// How soon an operator must answer: 1 is the highest, 4 the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

impl Priority {
    /// The highest.
    pub const HIGHEST: Self = Self(1);
    /// The lowest.
    pub const LOWEST: Self = Self(4);
}

impl TryFrom<u8> for Priority {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            1..=4 => Ok(Self(number)),
            other => Err(format!("priority {other}; allowed are 1 (highest) to 4")),
        }
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

/// What an operator is told when the alarm rises (ISA-18.2 asks for each of these).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guidance {
    /// What has probably happened.
    pub cause: Text,
    /// What follows if nobody acts.
    pub consequence: Text,
    /// What to do.
    pub action: Text,
    /// How long there is for it.
    pub time_to_respond: Duration,
}
