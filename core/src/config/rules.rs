//! Reads the rules for warnings and for the ledger, out of files of standards.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::duration;
use super::fault::Faults;
use super::fields::Fields;
use super::limit;
use super::{
    Config, HazardRules, KindAt, LimitColour, MajorLimit, MajorRule, MajorSight, RaiseRule,
    WarningRules,
};
use crate::hazard::RECHECKS_MAX;
use crate::warning::Colour;

/// Durations of rules about warnings and hazards: nobody waits longer than a year.
const RULE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(8_784);

/// Levels of a major hazard source, 1 the highest (GB 18218-2018).
const LEVELS: RangeInclusive<u32> = 1..=4;

pub(super) fn read_warning(mut fields: Fields<'_>, faults: &mut Faults) -> WarningRules {
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
        orange_mines: fields.flag("orange_mines", faults),
        limits: read_limit_colours(&mut fields, faults),
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

fn read_limit_colours(fields: &mut Fields<'_>, faults: &mut Faults) -> Vec<LimitColour> {
    let colours = [
        ("blue", Colour::Blue),
        ("yellow", Colour::Yellow),
        ("orange", Colour::Orange),
        ("red", Colour::Red),
    ];
    let mut limits = Vec::new();
    for mut inner in fields.tables("limit", faults) {
        let kind = inner.id("kind", faults);
        let setpoint = limit::read_setpoint(&mut inner, faults);
        let after = inner.duration("after", RULE, faults);
        let colour = inner.word("colour", &colours, faults);
        let figure_source = inner.text("figure_source", faults);
        if let (Some(setpoint), Some(colour)) = (setpoint, colour) {
            limits.push(LimitColour {
                kind,
                setpoint,
                after,
                colour,
                figure_source,
            });
        }
        inner.finish(faults);
    }
    limits
}

fn read_level(fields: &mut Fields<'_>, key: &'static str, faults: &mut Faults) -> u8 {
    u8::try_from(fields.whole(key, LEVELS, faults)).unwrap_or_default()
}

pub(super) fn read_hazard(mut fields: Fields<'_>, faults: &mut Faults) -> HazardRules {
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
        immediate: inner.duration("immediate", RULE, faults),
        limits: read_major_limits(&mut inner, faults),
        unseen: read_major_sight(&mut inner, faults),
        figure_source: inner.text("figure_source", faults),
    };
    inner.finish(faults);
    rule
}

fn read_major_limits(fields: &mut Fields<'_>, faults: &mut Faults) -> Vec<MajorLimit> {
    let mut limits = Vec::new();
    for mut inner in fields.tables("limit", faults) {
        let kind = inner.id("kind", faults);
        let setpoint = limit::read_setpoint(&mut inner, faults);
        let after = inner.duration("after", RULE, faults);
        let figure_source = inner.text("figure_source", faults);
        if let Some(setpoint) = setpoint {
            limits.push(MajorLimit {
                kind,
                setpoint,
                after,
                figure_source,
            });
        }
        inner.finish(faults);
    }
    limits
}

fn read_major_sight(fields: &mut Fields<'_>, faults: &mut Faults) -> MajorSight {
    let Some(mut inner) = fields.table("unseen", faults) else {
        return Config::empty().hazard.major.unseen;
    };
    let mut mine = Vec::new();
    for mut at in inner.tables("mine", faults) {
        mine.push(KindAt {
            kind: at.id("kind", faults),
            position: at.has("position").then(|| at.id("position", faults)),
        });
        at.finish(faults);
    }
    let rule = MajorSight {
        after: inner.duration("after", RULE, faults),
        share: inner.share("share", faults),
        mine,
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
