//! Major hazard sources (重大危险源) and their level by GB 18218-2018.
//!
//! S says whether a unit is a major hazard source at all, R grades it. Both take the design
//! maximum that may be there, not what is there now. Formula, factors and thresholds follow
//! secondary copies of the standard; the figures of substances are config, not code.

/// One substance of a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Substance {
    /// Design maximum in tonnes (q).
    pub tonnes: f64,
    /// Threshold in tonnes (Q, GB 18218-2018 tables 1 and 2).
    pub threshold: f64,
    /// Correction factor (β, tables 3 and 4).
    pub beta: f64,
}

/// What GB 18218-2018 says of a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grade {
    /// Sum of q/Q; 1 and above makes a major hazard source.
    pub s: f64,
    /// α times the sum of β·q/Q.
    pub r: f64,
    /// 1 (highest) to 4; none when S is below 1.
    pub level: Option<u8>,
}

/// α by the number of permanent residents within 500 m of the plant's boundary.
pub fn alpha(residents: u32) -> f64 {
    match residents {
        0 => 0.5,
        1..=29 => 1.0,
        30..=49 => 1.2,
        50..=99 => 1.5,
        _ => 2.0,
    }
}

/// Grades a unit by its substances and the residents around it.
pub fn grade(substances: &[Substance], residents: u32) -> Grade {
    let share = |substance: &Substance| substance.tonnes / substance.threshold;
    let s = substances.iter().map(share).sum::<f64>();
    let weighted: f64 = substances
        .iter()
        .map(|substance| substance.beta * share(substance))
        .sum();
    let r = alpha(residents) * weighted;
    let level = (s >= 1.0).then_some(match r {
        r if r >= 100.0 => 1,
        r if r >= 50.0 => 2,
        r if r >= 10.0 => 3,
        _ => 4,
    });
    Grade { s, r, level }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tonnes: f64, threshold: f64, beta: f64, residents: u32, expected: (f64, f64, u8)) {
        let substance = Substance {
            tonnes,
            threshold,
            beta,
        };
        let grade = grade(&[substance], residents);
        let (s, r, level) = expected;
        assert!((grade.s - s).abs() < 1e-9, "{grade:?}");
        assert!((grade.r - r).abs() < 1e-9, "{grade:?}");
        assert_eq!(grade.level, Some(level));
    }

    #[test]
    fn four_worked_examples() {
        check(60.0, 5.0, 4.0, 20, (12.0, 48.0, 3));
        check(60.0, 5.0, 4.0, 120, (12.0, 96.0, 2));
        check(800.0, 50.0, 1.5, 0, (16.0, 12.0, 3));
        check(40.0, 10.0, 2.0, 100, (4.0, 16.0, 3));
    }

    #[test]
    fn below_one_it_is_no_major_hazard_source() {
        let little = Substance {
            tonnes: 4.0,
            threshold: 5.0,
            beta: 4.0,
        };
        assert_eq!(grade(&[little], 200).level, None);
    }
}
