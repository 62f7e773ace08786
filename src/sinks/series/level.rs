//! Values as how far each lies off the level that those before it came to.
//!
//! A transmitter in a calm process says its level and noise. The difference of two readings has the
//! noise twice, and the readings themselves drift through more values than the noise has: what is
//! left after a slow mean of those before is the noise alone, which packs best. How slow the mean
//! follows is chosen for each chunk.
//!
//! Invariant: [`rests`] and [`values`] are each other's reverse for any values; whole numbers only.

/// How slowly the level may follow, as the power of two that a new value is divided by: 0 takes the
/// value before, [`STILL`] stays at 0.
const SPEEDS: [u8; 6] = [0, 1, 2, 3, 4, STILL];

/// The level never moves: the rests are the values.
const STILL: u8 = 63;

/// Fraction bits of the level.
const FRACTION: u32 = 8;

/// Rests that are counted one by one when speeds are compared; others count as outliers.
const COUNTED: i32 = 512;

/// What an outlier is taken to cost, in bits.
const OUTLIER_BITS: f64 = 20.0;

/// The level after the values so far.
struct Level {
    speed: u8,
    /// None before the first value.
    at: Option<i64>,
}

impl Level {
    fn new(speed: u8) -> Self {
        Self { speed, at: None }
    }

    /// What the next value is expected to be.
    #[inline]
    fn next(&self) -> i32 {
        let half = 1 << (FRACTION - 1);
        // It lies between values, which are i32.
        self.at.map_or(0, |at| ((at + half) >> FRACTION) as i32)
    }

    #[inline]
    fn take(&mut self, value: i32) {
        if self.speed == STILL {
            return;
        }
        let value = i64::from(value) << FRACTION;
        let at = self.at.unwrap_or(value);
        self.at = Some(at + ((value - at) >> self.speed.min(STILL)));
    }
}

/// The speed at which the rests pack best, and the rests.
pub(super) fn rests(values: &[i32]) -> (u8, Vec<i32>) {
    let each = SPEEDS.map(|speed| {
        let rests = at_speed(values, speed);
        (bits(&rests), speed, rests)
    });
    let best = each
        .into_iter()
        .min_by(|one, other| one.0.total_cmp(&other.0));
    best.map_or_else(
        || (STILL, values.to_vec()),
        |(_, speed, rests)| (speed, rests),
    )
}

fn at_speed(values: &[i32], speed: u8) -> Vec<i32> {
    let mut level = Level::new(speed);
    let rest = |value: &i32| {
        let rest = value.wrapping_sub(level.next());
        level.take(*value);
        rest
    };
    values.iter().map(rest).collect()
}

/// The values of which `rests` are the rests at `speed`.
pub(super) fn values(rests: &[i32], speed: u8) -> Vec<i32> {
    let mut level = Level::new(speed);
    let value = |rest: &i32| {
        let value = rest.wrapping_add(level.next());
        level.take(value);
        value
    };
    rests.iter().map(value).collect()
}

/// About how many bits the rests come to.
fn bits(rests: &[i32]) -> f64 {
    let mut counts = [0_u32; 2 * COUNTED as usize];
    let mut outliers = 0_u32;
    for rest in rests {
        let place = rest.saturating_add(COUNTED);
        let count = usize::try_from(place).ok();
        match count.and_then(|place| counts.get_mut(place)) {
            Some(count) => *count += 1,
            None => outliers += 1,
        }
    }
    let all = f64::from(rests.len() as u32);
    let counted = counts.iter().filter(|count| **count > 0);
    let entropy = counted.map(|count| f64::from(*count) * (all / f64::from(*count)).log2());
    entropy.sum::<f64>() + f64::from(outliers) * OUTLIER_BITS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_values_come_back_at_any_speed(
            some in prop::collection::vec(prop_oneof![any::<i32>(), -5..5], 0..200),
            speed in prop_oneof![Just(0_u8), 1..8_u8, any::<u8>()],
        ) {
            let (best, rest) = rests(&some);
            prop_assert_eq!(values(&rest, best), some.clone());
            prop_assert_eq!(values(&at_speed(&some, speed), speed), some);
        }
    }

    #[test]
    fn noise_around_a_slow_level_is_left_alone() {
        let mut random = 1_u32;
        let drifting: Vec<i32> = (0..4096)
            .map(|n| {
                random ^= random << 13;
                random ^= random >> 17;
                random ^= random << 5;
                n / 64 + (random % 13).cast_signed()
            })
            .collect();
        let (speed, rest) = rests(&drifting);
        assert!((1..STILL).contains(&speed), "{speed}");
        assert!(bits(&rest) < bits(&at_speed(&drifting, 0)));
        assert!(bits(&rest) < bits(&drifting));
        let flat: Vec<i32> = (0..4096).map(|n| i32::from(n % 10 == 0)).collect();
        assert!(bits(&rests(&flat).1) <= bits(&flat));
    }
}
