//! Reads limits and guidance as they are written, and checks what one list of limits says.
//!
//! A preset's limits and a site's own are written alike. Comparisons are written so that a value
//! that is not a number fails them.

use std::sync::Arc;
use std::time::Duration;

use super::fault::{Faults, Place, quote};
use super::fields::Fields;
use crate::alarm::{Guidance, Priority, Setpoint};
use crate::point::{Range, Text};

/// A limit as written.
#[derive(Clone, Debug)]
pub(super) struct RawLimit {
    pub(super) place: Place,
    pub(super) setpoint: Setpoint,
    pub(super) limit: f64,
    pub(super) end: End,
    pub(super) terms: Terms,
    /// Of a preset: whether a limit that stands in its place may be stricter only. A site's own
    /// limit has nothing in its place.
    pub(super) is_fixed: bool,
}

/// What an alarm about a limit and one about the system have in common.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) on_delay: Duration,
    pub(super) off_delay: Duration,
    pub(super) latch: bool,
    /// Of loss of view only; else zero.
    pub(super) calibration_max: Duration,
    pub(super) priority: Priority,
    pub(super) shelvable: bool,
    /// Key of the guidance.
    pub(super) guidance: String,
    pub(super) figure_source: Arc<Text>,
}

/// How a limit says where it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    /// A number of its own, as mines have it.
    Reset(f64),
    /// So far back from the limit.
    Deadband(f64),
}

impl RawLimit {
    /// The value that must be passed for the condition to end.
    pub(super) fn reset(&self) -> f64 {
        match self.end {
            End::Reset(reset) => reset,
            End::Deadband(deadband) if self.setpoint.is_high() => decimal(self.limit - deadband),
            End::Deadband(deadband) => decimal(self.limit + deadband),
        }
    }
}

/// A sum or difference as a person would write it: 0.8 - 0.1 is 0.7.
fn decimal(value: f64) -> f64 {
    let rounded = (value * 1e9).round() / 1e9;
    if rounded.is_finite() { rounded } else { value }
}

/// Guidance as written, under its key.
#[derive(Clone, Debug)]
pub(super) struct RawGuidance {
    pub(super) place: Place,
    pub(super) key: String,
    pub(super) guidance: Guidance,
}

const SETPOINTS: [Setpoint; 8] = [
    Setpoint::Hh,
    Setpoint::H,
    Setpoint::L,
    Setpoint::Ll,
    Setpoint::Gas1,
    Setpoint::Gas2,
    Setpoint::MineAlarm,
    Setpoint::MineCut,
];

/// Whether it is a limit of gas by name: an alarm that waits a few seconds at most.
pub(super) fn is_gas(setpoint: Setpoint) -> bool {
    is_mine(setpoint) || matches!(setpoint, Setpoint::Gas1 | Setpoint::Gas2)
}

fn is_mine(setpoint: Setpoint) -> bool {
    matches!(setpoint, Setpoint::MineAlarm | Setpoint::MineCut)
}

/// Reads a list of setpoints, one at least.
pub(super) fn read_setpoints(
    fields: &mut Fields<'_>,
    key: &'static str,
    faults: &mut Faults,
) -> Vec<Setpoint> {
    let words = fields.strings(key, faults);
    let what = format!("{}, key `{key}`", fields.what);
    let allowed = SETPOINTS.map(Setpoint::word).join(", ");
    if words.is_empty() && fields.has(key) {
        faults.add(
            &fields.place,
            &what,
            "no setpoint",
            format!("one of {allowed} at least"),
        );
    }
    let mut setpoints = Vec::new();
    for word in &words {
        match SETPOINTS
            .into_iter()
            .find(|setpoint| setpoint.word() == word)
        {
            Some(setpoint) => setpoints.push(setpoint),
            None => faults.add(&fields.place, &what, quote(word), &allowed),
        }
    }
    setpoints
}

/// Reads one setpoint, by its word.
pub(super) fn read_setpoint(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<Setpoint> {
    let words = SETPOINTS.map(|setpoint| (setpoint.word(), setpoint));
    fields.word("setpoint", &words, faults)
}

/// Reads a limit; none when its setpoint, limit or end cannot be told. Keys that a caller knows
/// besides (`point`, `fixed`) must have been asked for before.
pub(super) fn read(
    fields: &mut Fields<'_>,
    is_fixed: bool,
    faults: &mut Faults,
) -> Option<RawLimit> {
    let setpoint = read_setpoint(fields, faults);
    if let Some(setpoint) = setpoint {
        fields.what = format!("{}, {}", fields.what, setpoint.word());
    }
    let limit = fields.number("limit", faults);
    let end = read_end(fields, faults);
    // Gas and mine alarms wait 10 s at most: our figure, above the 0–3 s of the presets.
    let longest = match setpoint {
        Some(setpoint) if is_gas(setpoint) => Duration::from_secs(10),
        _ => Duration::from_hours(1),
    };
    let latch = fields.flag("latch", faults);
    let terms = read_terms(fields, longest, latch, faults);
    let setpoint = setpoint?;
    if terms.shelvable && matches!(setpoint, Setpoint::Gas2 | Setpoint::MineCut) {
        let what = format!("{}, key `shelvable`", fields.what);
        faults.add(&fields.place, what, "true", "false for gas2 and mine_cut");
    }
    let limit = RawLimit {
        place: fields.place.clone(),
        setpoint,
        limit: limit?,
        end: end?,
        terms,
        is_fixed,
    };
    check_end(&limit, &fields.what, faults);
    Some(limit)
}

fn read_end(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<End> {
    match (fields.has("reset"), fields.has("deadband")) {
        (true, false) => fields.number("reset", faults).map(End::Reset),
        (false, true) => fields.number("deadband", faults).map(End::Deadband),
        (both, _) => {
            let found = if both { "both" } else { "neither" };
            let what = format!("{}, keys `reset` and `deadband`", fields.what);
            faults.add(&fields.place, what, found, "exactly one of them");
            None
        }
    }
}

/// Reads what alarms about limits and about the system have in common.
pub(super) fn read_terms(
    fields: &mut Fields<'_>,
    on_delay_max: Duration,
    latch: bool,
    faults: &mut Faults,
) -> Terms {
    let priority = fields.whole("priority", 1..=4, faults);
    Terms {
        on_delay: fields.duration("on_delay", Duration::ZERO..=on_delay_max, faults),
        off_delay: fields.duration(
            "off_delay",
            Duration::ZERO..=Duration::from_hours(24),
            faults,
        ),
        latch,
        calibration_max: Duration::ZERO,
        priority: Priority::try_from(priority as u8).unwrap_or(Priority::HIGHEST),
        shelvable: fields.flag("shelvable", faults),
        guidance: fields.id("guidance", faults),
        figure_source: fields.text("figure_source", faults).into(),
    }
}

/// The reset lies on the side of the limit where the process is well. A mine's may equal it.
fn check_end(limit: &RawLimit, what: &str, faults: &mut Faults) {
    let positive = |deadband: f64| deadband > 0.0;
    if let End::Deadband(deadband) = limit.end
        && !positive(deadband)
    {
        let what = format!("{what}, key `deadband`");
        faults.add(&limit.place, what, deadband, "a number above 0");
        return;
    }
    let (value, reset) = (limit.limit, limit.reset());
    let (right, allowed) = match limit.setpoint {
        setpoint if is_mine(setpoint) => (reset <= value, format!("{value} or less")),
        setpoint if setpoint.is_high() => (reset < value, format!("less than the limit {value}")),
        _ => (reset > value, format!("more than the limit {value}")),
    };
    if !right {
        faults.add(&limit.place, format!("{what}, reset"), reset, allowed);
    }
}

/// Pairs of setpoints of which the first must lie below the second (or may equal it: `true`).
const ORDER: [(Setpoint, Setpoint, bool); 8] = [
    (Setpoint::Ll, Setpoint::L, false),
    (Setpoint::L, Setpoint::H, false),
    (Setpoint::Ll, Setpoint::Hh, false),
    (Setpoint::L, Setpoint::Hh, false),
    (Setpoint::H, Setpoint::Hh, false),
    (Setpoint::Gas1, Setpoint::Gas2, false),
    (Setpoint::MineAlarm, Setpoint::MineCut, true),
    (Setpoint::MineCut, Setpoint::Hh, false),
];

/// Never true of a value that is not a number.
fn at_most(value: f64, bound: f64) -> bool {
    value <= bound
}

/// Checks the limits of one point, or of one preset, against each other.
pub(super) fn check_order(limits: &[&RawLimit], what: &str, faults: &mut Faults) {
    let find = |setpoint| limits.iter().find(|limit| limit.setpoint == setpoint);
    for (lower, upper, may_equal) in ORDER {
        let (Some(low), Some(high)) = (find(lower), find(upper)) else {
            continue;
        };
        let right = if may_equal {
            low.limit <= high.limit
        } else {
            low.limit < high.limit
        };
        if !right {
            let (lower, upper, bound) = (lower.word(), upper.word(), low.limit);
            let than = if may_equal {
                "not less than"
            } else {
                "more than"
            };
            let allowed = format!("{than} {lower} = {bound}");
            faults.add(&high.place, format!("{what}, {upper}"), high.limit, allowed);
        }
    }
    // Power may not come back while the alarm still stands.
    if let (Some(alarm), Some(cut)) = (find(Setpoint::MineAlarm), find(Setpoint::MineCut))
        && !at_most(cut.reset(), alarm.limit)
    {
        let allowed = format!("{} or less, the limit of mine_alarm", alarm.limit);
        faults.add(
            &cut.place,
            format!("{what}, mine_cut, reset"),
            cut.reset(),
            allowed,
        );
    }
    for limit in limits {
        check_deadband(limit, limits, what, faults);
    }
}

/// A deadband that reaches the next limit would keep the higher alarm up until the lower one ends.
fn check_deadband(limit: &RawLimit, limits: &[&RawLimit], what: &str, faults: &mut Faults) {
    let End::Deadband(deadband) = limit.end else {
        return;
    };
    let distance = limits
        .iter()
        .map(|other| {
            if limit.setpoint.is_high() {
                decimal(limit.limit - other.limit)
            } else {
                decimal(other.limit - limit.limit)
            }
        })
        .filter(|distance| *distance > 0.0)
        .fold(f64::INFINITY, f64::min);
    let short = deadband < distance;
    if !short {
        let what = format!("{what}, {}, key `deadband`", limit.setpoint.word());
        let allowed = format!("less than the distance {distance} to the next limit");
        faults.add(&limit.place, what, deadband, allowed);
    }
}

/// Checks that a limit and its reset can be measured at all.
///
/// `place` is where to put it right: the site's own limit, or the row of a point that cannot
/// measure what the standard asks for.
pub(super) fn check_range(
    limit: &RawLimit,
    range: Range,
    place: &Place,
    what: &str,
    faults: &mut Faults,
) {
    let word = limit.setpoint.word();
    for (name, value) in [("limit", limit.limit), ("reset", limit.reset())] {
        if !range.contains(value) {
            let allowed = format!("inside the measuring range {} to {}", range.low, range.high);
            faults.add(place, format!("{what}, {word}, {name}"), value, allowed);
        }
    }
}

/// Reads the tables `[guidance.KEY]`.
pub(super) fn read_guidance(root: &mut Fields<'_>, faults: &mut Faults) -> Vec<RawGuidance> {
    let time = Duration::from_secs(1)..=Duration::from_hours(168);
    root.named_tables("guidance", faults)
        .into_iter()
        .map(|(key, mut fields)| {
            let guidance = Guidance {
                cause: fields.text("cause", faults),
                consequence: fields.text("consequence", faults),
                action: fields.text("action", faults),
                time_to_respond: fields.duration("time_to_respond", time.clone(), faults),
            };
            let place = fields.place.clone();
            fields.finish(faults);
            RawGuidance {
                place,
                key,
                guidance,
            }
        })
        .collect()
}
