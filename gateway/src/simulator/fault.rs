//! What can go wrong on command, and what it can happen to.
//!
//! Faults of the link belong to a unit, faults of an instrument to a point, faults of the plant to
//! a piece of equipment. [`Fault::suits`] says which goes where; everything else is refused.

use std::fmt;
use std::time::Duration;

/// What a fault happens to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A Modbus unit.
    Unit {
        /// Id of its gateway.
        gateway: String,
        /// Its own id: the points' column `device`.
        device: String,
    },
    /// A point, by tag.
    Point(String),
    /// A tank (`TF.CL2-T2`), a fan (`M1501.main_fan1`, `M1501.heading.fan1`), the reactor's
    /// cooling pump (`R101.P-03`) or agitator (`R101.M-01`); `P2.` and so on in front for another
    /// plant than the first.
    Equipment(String),
}

impl Target {
    /// The unit `device` of `gateway`.
    pub fn unit(gateway: &str, device: &str) -> Self {
        Self::Unit {
            gateway: gateway.to_owned(),
            device: device.to_owned(),
        }
    }

    /// The point called `tag`.
    pub fn point(tag: &str) -> Self {
        Self::Point(tag.to_owned())
    }

    /// The equipment called `name`.
    pub fn equipment(name: &str) -> Self {
        Self::Equipment(name.to_owned())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit { gateway, device } => write!(f, "unit `{gateway}/{device}`"),
            Self::Point(tag) => write!(f, "point `{tag}`"),
            Self::Equipment(name) => write!(f, "equipment `{name}`"),
        }
    }
}

/// Something that goes wrong until it is cleared.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Unit: no answer to anything.
    SilentUnit,
    /// Unit: the right answer, too late. At most a minute counts.
    LateReply {
        /// How much too late.
        by: Duration,
    },
    /// Unit: a Modbus exception to everything.
    Exception {
        /// The exception code, such as 4 (device failure) or 6 (busy).
        code: u8,
    },
    /// Unit: bytes that are no Modbus frame.
    Garbage,
    /// Unit: the right answer under the number of another request.
    WrongTransactionId,
    /// Unit: half an answer, then the connection closes.
    CutMidFrame,
    /// Point: the value stays what it is now.
    StuckValue,
    /// Point: 0 mA (NE 43: below 3.6 mA); without a loop the lowest raw value, minus infinity for
    /// a float.
    BrokenWire,
    /// Point: 22.5 mA (NE 43: above 21 mA); without a loop the highest raw value, infinity for a
    /// float.
    ShortCircuit,
    /// Point: test gas at the detector in place of the plant's air. It flows from 5 s to 45 s after
    /// the start and is gone some 40 s later. The point `<tag>.cal` is 1 from start to clearing, so
    /// it covers the gas on both sides if cleared after 90 s or more.
    CalibrationGas {
        /// What the gas reads at its plateau, in the point's unit.
        peak: f64,
    },
    /// Tank: gas escapes.
    Leak {
        /// How much, g/s; about 1 brings chlorine detectors near by over level 2.
        grams_per_s: f64,
    },
    /// Tank: filling does not stop, passes H and HH within minutes.
    Overfill,
    /// Fan, cooling pump or agitator: it stops.
    Trip,
}

impl Fault {
    /// Whether it can happen to `target` at all.
    pub fn suits(&self, target: &Target) -> bool {
        match self {
            Self::SilentUnit
            | Self::LateReply { .. }
            | Self::Exception { .. }
            | Self::Garbage
            | Self::WrongTransactionId
            | Self::CutMidFrame => matches!(target, Target::Unit { .. }),
            Self::StuckValue
            | Self::BrokenWire
            | Self::ShortCircuit
            | Self::CalibrationGas { .. } => matches!(target, Target::Point(_)),
            Self::Leak { .. } | Self::Overfill | Self::Trip => {
                matches!(target, Target::Equipment(_))
            }
        }
    }
}
