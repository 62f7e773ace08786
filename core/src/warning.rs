//! The colour of a source (预警), worked out from its alarms.
//!
//! A source has one warning at a time, at the highest colour that any trigger asks for. A colour
//! is held for a while after its last trigger has gone and then steps down one at a time. Alarms
//! that are hidden (shelved, suppressed, out of service) still count: what is hidden is evaluated.
//!
//! The figures are config (`config/standards/warning.toml`) with their source; the triggers that
//! need an answer in time ("blue overdue makes yellow") come with the people who answer, and those
//! that need more than limits of single points ("cut commanded and the feed still live", a trip of
//! two out of three) with conditions over several points.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alarm::Setpoint;
use crate::config::{LimitColour, WarningRules};
use crate::reading::Timestamp;

/// The four colours, and none. The order is that of danger.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// Nothing to warn of.
    #[default]
    None,
    /// 蓝, low.
    Blue,
    /// 黄, general.
    Yellow,
    /// 橙, larger.
    Orange,
    /// 红, major.
    Red,
}

impl Colour {
    fn one_less(self) -> Self {
        match self {
            Self::Red => Self::Orange,
            Self::Orange => Self::Yellow,
            Self::Yellow => Self::Blue,
            Self::Blue | Self::None => Self::None,
        }
    }
}

/// One active alarm of a source, as the triggers see it.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveLimit<'a> {
    /// Name of the alarm.
    pub alarm: &'a str,
    /// Which limit it is.
    pub setpoint: Setpoint,
    /// Its point's place in the configuration: one with several limits counts once.
    pub point: usize,
    /// Kind of its point, such as `cl2` or `level`.
    pub kind: &'a str,
    /// Since when, by the centre's clock.
    pub since: Timestamp,
}

impl ActiveLimit<'_> {
    /// The colours that it makes by itself.
    fn own_colours<'r>(&self, rules: &'r WarningRules) -> impl Iterator<Item = &'r LimitColour> {
        let (kind, setpoint) = (self.kind, self.setpoint);
        let rules = rules.limits.iter();
        rules.filter(move |rule| rule.setpoint == setpoint && rule.kind == kind)
    }
}

/// What is known of a source at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts<'a> {
    /// Its filed level by GB 18218, 1 the highest; none for a mine.
    pub level: Option<u8>,
    /// Its active limit alarms. One point in alarm with several limits is here several times.
    pub active: Vec<ActiveLimit<'a>>,
    /// How many points it has.
    pub points: u32,
    /// Points that cannot be seen, each once, with the first alarm that says so and since when.
    pub unseen: Vec<(&'a str, Timestamp)>,
}

/// The warning of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The colour shown.
    pub colour: Colour,
    /// Since when it is shown, by the centre's clock.
    pub since: Timestamp,
    /// When a trigger last asked for this colour or more.
    pub asked_at: Timestamp,
    /// Nothing asks for this colour any more: it is held, and goes down a step when it has been
    /// for long enough.
    #[serde(default)]
    pub held: bool,
    /// Names of the alarms that ask for the colour, sorted; while it is held, of those that last
    /// asked for it or for a higher one.
    pub why: Vec<String>,
}

/// The colour of a source has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarningChange {
    /// Which source.
    pub source: String,
    /// Colour before.
    pub from: Colour,
    /// Colour after.
    pub to: Colour,
    /// Names of the alarms that ask for the new colour, sorted; empty for a step down.
    pub why: Vec<String>,
}

impl Warning {
    /// Judges the source at `now`; `Some` when its colour changed.
    pub fn judge(
        &mut self,
        source: &str,
        now: Timestamp,
        facts: &Facts<'_>,
        rules: &WarningRules,
    ) -> Option<WarningChange> {
        let (asked, why) = asked_for(now, facts, rules);
        let from = self.colour;
        if asked >= from {
            self.colour = asked;
            self.asked_at = now;
        } else if !self.held {
            // What asked for it has gone just now, however long it lasted.
            self.asked_at = now;
        } else if now >= self.asked_at + rules.hold {
            self.colour = from.one_less().max(asked);
            self.asked_at = now;
        }
        self.held = asked < self.colour;
        if !self.held {
            self.why.clone_from(&why);
        }
        if self.colour == from {
            return None;
        }
        self.since = now;
        Some(WarningChange {
            source: source.to_owned(),
            from,
            to: self.colour,
            why: if asked < from { Vec::new() } else { why },
        })
    }

    /// Until when the colour is held at least; none while something asks for it.
    pub fn held_until(&self, rules: &WarningRules) -> Option<Timestamp> {
        self.held.then(|| self.asked_at + rules.hold)
    }

    /// The next moment at which the colour may change although nothing else does.
    pub fn next_deadline(
        &self,
        now: Timestamp,
        facts: &Facts<'_>,
        rules: &WarningRules,
    ) -> Option<Timestamp> {
        let (asked, _) = asked_for(now, facts, rules);
        // Held or not: the first judgement without a trigger begins the hold at `now`.
        let held_since = if self.held { self.asked_at } else { now };
        let step_down = (asked < self.colour).then(|| held_since + rules.hold);
        let lasting = facts.active.iter().flat_map(|limit| {
            let waits: [Duration; 2] = if is_level_two(limit.setpoint) {
                [rules.orange_after; 2]
            } else {
                [rules.blue_after, rules.yellow_after]
            };
            let own = limit.own_colours(rules).map(|rule| rule.after);
            waits.into_iter().chain(own).map(|wait| limit.since + wait)
        });
        let unseen = facts
            .unseen
            .iter()
            .map(|(_, since)| *since + rules.blue_after);
        lasting
            .chain(unseen)
            .filter(|at| *at > now)
            .chain(step_down)
            .min()
    }
}

/// Level 2 of the three vocabularies: HH, LL, gas level 2, mine cut.
pub fn is_level_two(setpoint: Setpoint) -> bool {
    matches!(
        setpoint,
        Setpoint::Hh | Setpoint::Ll | Setpoint::Gas2 | Setpoint::MineCut
    )
}

/// Level 2 as a gas detector gives it.
fn is_gas_level_two(setpoint: Setpoint) -> bool {
    matches!(setpoint, Setpoint::Gas2 | Setpoint::MineCut)
}

/// The highest colour that any trigger asks for, and the alarms behind it.
fn asked_for(now: Timestamp, facts: &Facts<'_>, rules: &WarningRules) -> (Colour, Vec<String>) {
    let mut asked: Vec<(Colour, &str)> = Vec::new();
    ask_by_limits(now, facts, rules, &mut asked);
    ask_by_sight(now, facts, rules, &mut asked);
    let colour = asked
        .iter()
        .map(|(colour, _)| *colour)
        .max()
        .unwrap_or_default();
    let mut why: Vec<String> = asked
        .iter()
        .filter(|(one, _)| *one == colour)
        .map(|(_, alarm)| (*alarm).to_owned())
        .collect();
    why.sort();
    why.dedup();
    (colour, why)
}

fn ask_by_limits<'a>(
    now: Timestamp,
    facts: &Facts<'a>,
    rules: &WarningRules,
    asked: &mut Vec<(Colour, &'a str)>,
) {
    let detectors: BTreeSet<usize> = facts
        .active
        .iter()
        .filter(|limit| is_gas_level_two(limit.setpoint))
        .map(|limit| limit.point)
        .collect();
    let detectors = detectors.len();
    let vessel_at_its_limit = facts
        .active
        .iter()
        .filter(|limit| limit.setpoint == Setpoint::Hh)
        .any(|limit| rules.red_vessel_kinds.iter().any(|kind| kind == limit.kind));
    for limit in &facts.active {
        let lasted = |wait: Duration| now >= limit.since + wait;
        if is_level_two(limit.setpoint) {
            asked.push((Colour::Yellow, limit.alarm));
            let level = facts.level;
            let is_high = level.map_or(rules.orange_mines, |level| level <= rules.orange_level_max);
            if is_high && lasted(rules.orange_after) {
                asked.push((Colour::Orange, limit.alarm));
            }
        } else {
            if lasted(rules.blue_after) {
                asked.push((Colour::Blue, limit.alarm));
            }
            if lasted(rules.yellow_after) {
                asked.push((Colour::Yellow, limit.alarm));
            }
        }
        for rule in limit.own_colours(rules) {
            if lasted(rule.after) {
                asked.push((rule.colour, limit.alarm));
            }
        }
        if is_gas_level_two(limit.setpoint) {
            if detectors >= rules.orange_points as usize {
                asked.push((Colour::Orange, limit.alarm));
            }
            if detectors >= rules.red_points as usize || vessel_at_its_limit {
                asked.push((Colour::Red, limit.alarm));
            }
        }
    }
}

fn ask_by_sight<'a>(
    now: Timestamp,
    facts: &Facts<'a>,
    rules: &WarningRules,
    asked: &mut Vec<(Colour, &'a str)>,
) {
    if facts.points == 0 {
        return;
    }
    let share = |count: usize| count as f64 / f64::from(facts.points);
    let lasting = facts
        .unseen
        .iter()
        .filter(|(_, since)| now >= *since + rules.blue_after)
        .count();
    if lasting > 0 && share(lasting) >= rules.blue_bad_share {
        asked.extend(facts.unseen.iter().map(|(alarm, _)| (Colour::Blue, *alarm)));
    }
    let unseen = facts.unseen.len();
    if share(unseen) > rules.yellow_bad_share {
        let yellow = facts
            .unseen
            .iter()
            .map(|(alarm, _)| (Colour::Yellow, *alarm));
        asked.extend(yellow);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn rules() -> WarningRules {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        WarningRules {
            hold: minutes(10),
            blue_after: minutes(10),
            blue_bad_share: 0.05,
            yellow_after: minutes(30),
            yellow_bad_share: 0.10,
            orange_after: minutes(10),
            orange_level_max: 2,
            orange_points: 2,
            red_points: 3,
            red_vessel_kinds: vec!["level".into(), "flame".into()],
            orange_mines: true,
            limits: vec![LimitColour {
                kind: "ch4".into(),
                setpoint: Setpoint::Hh,
                after: Duration::ZERO,
                colour: Colour::Red,
                figure_source: crate::point::Text::default(),
            }],
            figure_source: crate::point::Text::default(),
        }
    }

    /// A limit of a point that is called as the alarm is.
    fn limit(alarm: &str, setpoint: Setpoint, since: i64) -> ActiveLimit<'_> {
        ActiveLimit {
            alarm,
            setpoint,
            point: alarm.bytes().map(usize::from).sum(),
            kind: "cl2",
            since: Timestamp(since * MINUTE),
        }
    }

    fn facts(active: Vec<ActiveLimit<'_>>) -> Facts<'_> {
        Facts {
            level: Some(3),
            active,
            points: 100,
            unseen: Vec::new(),
        }
    }

    fn colour_at(minute: i64, facts: &Facts<'_>) -> Colour {
        let mut warning = Warning::default();
        warning.judge("S", Timestamp(minute * MINUTE), facts, &rules());
        warning.colour
    }

    #[test]
    fn level_one_is_blue_after_ten_minutes_and_yellow_after_thirty() {
        let facts = facts(vec![limit("a", Setpoint::Gas1, 100)]);
        assert_eq!(colour_at(109, &facts), Colour::None);
        assert_eq!(colour_at(110, &facts), Colour::Blue);
        assert_eq!(colour_at(130, &facts), Colour::Yellow);
    }

    #[test]
    fn detectors_in_level_two_count_up_to_red() {
        let names = ["a", "b", "c"];
        let of = |n: usize| {
            facts(
                names[..n]
                    .iter()
                    .map(|name| limit(name, Setpoint::Gas2, 100))
                    .collect(),
            )
        };
        assert_eq!(colour_at(100, &of(1)), Colour::Yellow);
        assert_eq!(colour_at(100, &of(2)), Colour::Orange);
        assert_eq!(colour_at(100, &of(3)), Colour::Red);
    }

    #[test]
    fn one_detector_with_two_limits_of_level_two_is_one() {
        let mut cut = limit("cut", Setpoint::MineCut, 100);
        let gas = limit("gas", Setpoint::Gas2, 100);
        cut.point = gas.point;
        assert_eq!(colour_at(100, &facts(vec![cut, gas])), Colour::Yellow);
    }

    #[test]
    fn a_full_vessel_and_gas_together_are_red() {
        let mut vessel = limit("l", Setpoint::Hh, 100);
        vessel.kind = "level";
        let mut facts = facts(vec![vessel, limit("g", Setpoint::Gas2, 100)]);
        assert_eq!(colour_at(100, &facts), Colour::Red);
        facts.active[0].kind = "temperature";
        assert_eq!(
            colour_at(100, &facts),
            Colour::Yellow,
            "no kind of the rules"
        );
    }

    #[test]
    fn level_two_lasting_is_orange_on_a_source_of_level_one_or_two_only() {
        let mut facts = facts(vec![limit("a", Setpoint::Gas2, 100)]);
        assert_eq!(colour_at(111, &facts), Colour::Yellow);
        facts.level = Some(2);
        assert_eq!(colour_at(109, &facts), Colour::Yellow);
        assert_eq!(colour_at(110, &facts), Colour::Orange);
    }

    #[test]
    fn points_that_cannot_be_seen_colour_a_source() {
        let mut facts = facts(Vec::new());
        facts.unseen = vec![("u", Timestamp(100 * MINUTE)); 5];
        assert_eq!(colour_at(105, &facts), Colour::None);
        assert_eq!(colour_at(110, &facts), Colour::Blue);
        facts.unseen = vec![("u", Timestamp(100 * MINUTE)); 4];
        assert_eq!(
            colour_at(110, &facts),
            Colour::None,
            "4 % are less than 5 %"
        );
        facts.unseen = vec![("u", Timestamp(100 * MINUTE)); 10];
        assert_eq!(
            colour_at(100, &facts),
            Colour::None,
            "90 % online are enough"
        );
        facts.unseen = vec![("u", Timestamp(100 * MINUTE)); 11];
        assert_eq!(colour_at(100, &facts), Colour::Yellow);
    }

    #[test]
    fn methane_at_three_percent_is_red_by_itself() {
        let mut limit = limit("a", Setpoint::Hh, 100);
        limit.kind = "ch4";
        let mut facts = facts(vec![limit]);
        assert_eq!(colour_at(100, &facts), Colour::Red);
        facts.active[0].kind = "nh3";
        assert_eq!(colour_at(100, &facts), Colour::Yellow, "of no other kind");
        facts.active[0].kind = "ch4";
        facts.active[0].setpoint = Setpoint::MineCut;
        assert_eq!(colour_at(100, &facts), Colour::Yellow, "and no other limit");
    }

    #[test]
    fn a_limit_that_makes_a_colour_later_does_so_on_time() {
        let mut limit = limit("a", Setpoint::Hh, 100);
        limit.kind = "ch4";
        let facts = facts(vec![limit]);
        let mut rules = rules();
        rules.limits[0].after = Duration::from_mins(7);
        let mut warning = Warning::default();
        let start = Timestamp(100 * MINUTE);
        warning.judge("S", start, &facts, &rules);
        assert_eq!(warning.colour, Colour::Yellow);
        let next = warning.next_deadline(start, &facts, &rules);
        assert_eq!(next, Some(Timestamp(107 * MINUTE)));
        warning.judge("S", Timestamp(107 * MINUTE - 1), &facts, &rules);
        assert_eq!(warning.colour, Colour::Yellow);
        warning.judge("S", Timestamp(107 * MINUTE), &facts, &rules);
        assert_eq!(warning.colour, Colour::Red);
    }

    #[test]
    fn level_two_lasting_is_orange_at_a_mine() {
        let mut facts = facts(vec![limit("a", Setpoint::MineCut, 100)]);
        facts.level = None;
        assert_eq!(colour_at(109, &facts), Colour::Yellow);
        assert_eq!(colour_at(110, &facts), Colour::Orange);
    }

    #[test]
    fn flame_and_gas_together_are_red() {
        let mut flame = limit("f", Setpoint::Hh, 100);
        flame.kind = "flame";
        let facts = facts(vec![flame, limit("g", Setpoint::Gas2, 100)]);
        assert_eq!(colour_at(100, &facts), Colour::Red);
    }

    #[test]
    fn a_colour_is_held_and_then_steps_down_one_at_a_time() {
        let mut warning = Warning::default();
        let danger = facts(vec![
            limit("a", Setpoint::Gas2, 100),
            limit("b", Setpoint::Gas2, 100),
        ]);
        let at = |minute: i64| Timestamp(minute * MINUTE);
        let rose = warning.judge("S", at(100), &danger, &rules());
        assert_eq!(
            rose.map(|change| (change.from, change.to, change.why)),
            Some((Colour::None, Colour::Orange, vec!["a".into(), "b".into()]))
        );
        let calm = facts(Vec::new());
        let mut seen = Vec::new();
        // The danger lasted: the hold begins when it has gone, not when it was judged first.
        let mut now = at(150);
        warning.judge("S", now, &calm, &rules());
        while let Some(next) = warning.next_deadline(now, &calm, &rules()) {
            now = next;
            let change = warning.judge("S", now, &calm, &rules());
            seen.push((now.0 / MINUTE, change.map(|change| change.to)));
        }
        assert_eq!(
            seen,
            vec![
                (160, Some(Colour::Yellow)),
                (170, Some(Colour::Blue)),
                (180, Some(Colour::None)),
            ]
        );
    }

    #[test]
    fn a_held_colour_says_by_what_and_until_when() {
        let mut warning = Warning::default();
        let two = facts(vec![
            limit("a", Setpoint::Gas2, 100),
            limit("b", Setpoint::Gas2, 100),
        ]);
        let one = facts(vec![limit("a", Setpoint::Gas2, 100)]);
        let at = |minute: i64| Timestamp(minute * MINUTE);
        warning.judge("S", at(100), &two, &rules());
        assert_eq!(warning.held_until(&rules()), None);
        // One detector alone asks for yellow: the orange of both is held.
        warning.judge("S", at(101), &one, &rules());
        assert_eq!(
            (warning.colour, &warning.why[..]),
            (Colour::Orange, &["a".into(), "b".into()][..])
        );
        assert_eq!(warning.held_until(&rules()), Some(at(111)));
        // Down at the yellow that is asked for, nothing is held any more.
        warning.judge("S", at(111), &one, &rules());
        assert_eq!(
            (warning.colour, &warning.why[..]),
            (Colour::Yellow, &["a".into()][..])
        );
        assert_eq!(warning.held_until(&rules()), None);
        // Then no alarm at all: what asked last is still named, at every step down.
        let none = facts(Vec::new());
        for (minute, colour, until) in [(112, Colour::Yellow, 122), (122, Colour::Blue, 132)] {
            warning.judge("S", at(minute), &none, &rules());
            assert_eq!(
                (warning.colour, &warning.why[..]),
                (colour, &["a".into()][..])
            );
            assert_eq!(warning.held_until(&rules()), Some(at(until)));
        }
        warning.judge("S", at(132), &none, &rules());
        assert_eq!(
            (warning.colour, warning.why.len(), warning.held),
            (Colour::None, 0, false)
        );
    }

    #[test]
    fn deadlines_find_every_change_by_time_alone() {
        let facts = facts(vec![limit("a", Setpoint::H, 100)]);
        let mut warning = Warning::default();
        let mut now = Timestamp(100 * MINUTE);
        let mut seen = Vec::new();
        warning.judge("S", now, &facts, &rules());
        while let Some(next) = warning.next_deadline(now, &facts, &rules()) {
            now = next;
            warning.judge("S", now, &facts, &rules());
            seen.push((now.0 / MINUTE, warning.colour));
        }
        assert_eq!(seen, vec![(110, Colour::Blue), (130, Colour::Yellow)]);
    }
}
