//! Holds a limit to the one of a standard in whose place it stands.
//!
//! A preset's limit says `fixed = true` when a law or standard gives its figure. What replaces it may
//! then be stricter in any of its terms, and laxer in none: a limit that is right but silent, slow
//! or over too soon is no protection either.
//!
//! Invariant: comparisons are written so that a value that is not a number fails them.

use std::fmt::Display;

use super::duration::write;
use super::fault::Faults;
use super::limit::RawLimit;

/// What is allowed, and by which source.
pub(super) fn allowed(what: impl Display, bound: &RawLimit) -> String {
    format!("{what} ({})", bound.terms.figure_source.en)
}

/// Checks that `own` is not laxer than the fixed limit `bound` in any of its terms.
pub(super) fn check(own: &RawLimit, bound: &RawLimit, what: &str, faults: &mut Faults) {
    if !bound.is_fixed {
        return;
    }
    let mut hold = |term: &str, is_held: bool, found: String, may_be: String| {
        if !is_held {
            let what = format!("{what}, {}, {term}", own.setpoint.word());
            faults.add(&own.place, what, found, allowed(may_be, bound));
        }
    };
    let is_high = bound.setpoint.is_high();
    let side = if is_high { "less" } else { "more" };
    for (term, value, bound) in [
        ("limit", own.limit, bound.limit),
        ("reset", own.reset(), bound.reset()),
    ] {
        let is_held = if is_high {
            value <= bound
        } else {
            value >= bound
        };
        let may_be = format!("{bound} or {side}");
        hold(term, is_held, value.to_string(), may_be);
    }
    let (own, bound) = (&own.terms, &bound.terms);
    hold(
        "on_delay",
        own.on_delay <= bound.on_delay,
        write(own.on_delay),
        format!("{} or less", write(bound.on_delay)),
    );
    hold(
        "off_delay",
        own.off_delay >= bound.off_delay,
        write(own.off_delay),
        format!("{} or more", write(bound.off_delay)),
    );
    // 1 is the highest.
    let (found, highest) = (u8::from(own.priority), u8::from(bound.priority));
    let may_be = format!("{highest} or a higher one");
    hold("priority", found <= highest, found.to_string(), may_be);
    for (term, is_held, found) in [
        ("latch", own.latch || !bound.latch, own.latch),
        (
            "shelvable",
            !own.shelvable || bound.shelvable,
            own.shelvable,
        ),
    ] {
        hold(term, is_held, found.to_string(), (!found).to_string());
    }
}

/// Checks that what stands in the place of the fixed limit `bound` is fixed as well.
pub(super) fn check_fixed(own: &RawLimit, bound: &RawLimit, what: &str, faults: &mut Faults) {
    if bound.is_fixed && !own.is_fixed {
        let what = format!("{what}, {}, key `fixed`", own.setpoint.word());
        faults.add(&own.place, what, false, allowed(true, bound));
    }
}
