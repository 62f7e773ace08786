//! A timeline of faults: what happens when, once or again and again.

use super::fault::{Fault, Target};

/// The demo is told again after so many seconds.
const DEMO_PERIOD_S: f64 = 600.0;

/// Something that a story does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A fault begins.
    Inject(Target, Fault),
    /// Every fault of the target ends.
    Clear(Target),
}

/// A list of actions, each at its second after the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Story {
    actions: Vec<(f64, Action)>,
    repeats_every_s: Option<f64>,
}

impl Story {
    /// Nothing happens: normal operation.
    pub fn quiet() -> Self {
        Self::default()
    }

    /// A story of these actions (in seconds after the start), told again every `repeats_every_s`
    /// if given. A period not beyond the last action is no period, and it is told once.
    pub fn new(mut actions: Vec<(f64, Action)>, repeats_every_s: Option<f64>) -> Self {
        actions.retain(|(at, _)| at.is_finite() && *at >= 0.0);
        actions.sort_by(|a, b| a.0.total_cmp(&b.0));
        let last = actions.last().map_or(0.0, |(at, _)| *at);
        Self {
            actions,
            repeats_every_s: repeats_every_s.filter(|period| period.is_finite() && *period > last),
        }
    }

    /// The demo: at 5 s chlorine tank 2 begins to leak and a detector passes level 1; at 25 s the leak
    /// grows and two pass level 2, which makes the source orange; at 40 s a methane sensor is
    /// calibrated; from 60 s to 120 s the unit `nh3-gas` is silent; at 170 s the leak is closed.
    /// Again every ten minutes.
    pub fn demo() -> Self {
        let tank = Target::equipment("TF.CL2-T2");
        let sensor = Target::point("M1501.heading.T1.ch4");
        let unit = Target::unit("tank-farm", "nh3-gas");
        let begin = |target: &Target, fault| Action::Inject(target.clone(), fault);
        Self::new(
            vec![
                (5.0, begin(&tank, Fault::Leak { grams_per_s: 0.22 })),
                (25.0, begin(&tank, Fault::Leak { grams_per_s: 0.6 })),
                (40.0, begin(&sensor, Fault::CalibrationGas { peak: 2.0 })),
                (60.0, begin(&unit, Fault::SilentUnit)),
                (120.0, Action::Clear(unit)),
                (140.0, Action::Clear(sensor)),
                (170.0, Action::Clear(tank)),
            ],
            Some(DEMO_PERIOD_S),
        )
    }

    /// The demo of a site of many plants: the first has the story of [`Story::demo`], each other one
    /// of four small ones, at its own time of the same ten minutes. So a load looks like a site and
    /// not like copies of one plant.
    pub fn demo_of(plants: u32) -> Self {
        let Self { mut actions, .. } = Self::demo();
        for plant in 2..=plants {
            // 71 and 300 have no common factor: 300 plants begin at different seconds.
            let begins = 30.0 + f64::from((plant * 71) % 300);
            let told = small_story(plant).into_iter();
            actions.extend(told.map(|(after, action)| (begins + after, action)));
        }
        Self::new(actions, Some(DEMO_PERIOD_S))
    }

    /// What happens after `after` and up to `until`, in order. Told period by period.
    pub(super) fn between(&self, after: f64, until: f64) -> Vec<Action> {
        let due = |from: f64, to: f64| {
            self.actions
                .iter()
                .filter(move |(at, _)| *at > from && *at <= to)
                .map(|(_, action)| action.clone())
        };
        let Some(period) = self.repeats_every_s else {
            return due(after, until).collect();
        };
        let start = (until / period).floor() * period;
        // A step is far shorter than a period, so it touches two of them at most.
        let mut actions = Vec::new();
        if start > 0.0 {
            actions.extend(due(after - (start - period), until - (start - period)));
        }
        actions.extend(due(after - start, until - start));
        actions
    }
}

/// What happens at another plant than the first, in seconds after its beginning: an ammonia sphere
/// leaks a little, a unit answers with exceptions, the fan of the heading stops, or a loop breaks.
fn small_story(plant: u32) -> [(f64, Action); 2] {
    let tag = |tag: &str| format!("P{plant}.{tag}");
    let (target, fault, lasts) = match plant % 4 {
        2 => (
            Target::Equipment(tag("TF.NH3-T2")),
            Fault::Leak { grams_per_s: 4.0 },
            90.0,
        ),
        3 => (
            Target::unit(&format!("p{plant}-reactor"), "reactor-gas"),
            Fault::Exception { code: 4 },
            80.0,
        ),
        0 => (
            Target::Equipment(tag("M1501.heading.fan1")),
            Fault::Trip,
            120.0,
        ),
        _ => (
            Target::Point(tag("TF.CL2-T1.level")),
            Fault::BrokenWire,
            100.0,
        ),
    };
    [
        (0.0, Action::Inject(target.clone(), fault)),
        (lasts, Action::Clear(target)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_comes_once_a_period() {
        let story = Story::demo();
        let mut told = Vec::new();
        for step in 0..3600 {
            let t = f64::from(step) * 0.5;
            told.extend(story.between(t, t + 0.5));
        }
        assert_eq!(told.len(), 21, "three times seven");
        assert_eq!(told[..7], told[7..14]);
    }

    #[test]
    fn the_ends_of_a_period_are_told_once() {
        let clear = |tag| Action::Clear(Target::point(tag));
        let story = Story::new(
            vec![(0.0, clear("first")), (9.9, clear("last"))],
            Some(10.0),
        );
        assert_eq!(story.between(-0.5, 0.0), [clear("first")]);
        assert_eq!(story.between(9.5, 10.0), [clear("last"), clear("first")]);
        assert_eq!(story.between(10.0, 10.5), []);
    }

    #[test]
    fn a_period_that_is_too_short_is_none() {
        let action = Action::Clear(Target::point("x"));
        let story = Story::new(vec![(10.0, action)], Some(5.0));
        assert_eq!(story.repeats_every_s, None);
    }
}
