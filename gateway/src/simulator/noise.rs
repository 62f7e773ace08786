//! Chance that can be repeated: numbers that look random and depend on nothing but their arguments.
//!
//! Invariants: no state, so a value at a time is the same whatever was asked before; every result
//! is bounded, so no run of bad luck carries a plant over a limit in normal operation.

/// One round of splitmix64: spreads a counter over all 64 bits.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A seed of its own for the thing called `name`.
pub(super) fn seed_of(seed: u64, name: &str) -> u64 {
    // FNV-1a: short names only, so its weak spots do not matter.
    let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    mix(seed ^ hash)
}

/// A number in −1..=1 for each `n`.
pub(super) fn jitter(seed: u64, n: u64) -> f64 {
    let high = mix(seed ^ mix(n)) >> 11; // 53 bits, as many as an f64 holds
    high as f64 / (1_u64 << 52) as f64 - 1.0
}

/// A smooth wandering line in −1..=1 that takes a new direction every `period_s` seconds.
pub(super) fn drift(seed: u64, t: f64, period_s: f64) -> f64 {
    let place = t / period_s;
    let cell = place.floor();
    let part = place - cell;
    let ease = part * part * (3.0 - 2.0 * part);
    let n = cell.max(0.0) as u64;
    jitter(seed, n) * (1.0 - ease) + jitter(seed, n + 1) * ease
}

/// One step of a first-order lag: where `from` has come after `dt` on its way to `to`.
pub(super) fn lag(from: f64, to: f64, dt: f64, tau: f64) -> f64 {
    from + (to - from) * (1.0 - (-dt / tau).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_bounded_and_spread_out() {
        let values: Vec<f64> = (0..10_000).map(|n| jitter(7, n)).collect();
        assert!(values.iter().all(|v| (-1.0..=1.0).contains(v)));
        let mean = values.iter().sum::<f64>() / 10_000.0;
        assert!(mean.abs() < 0.03, "mean {mean}");
        assert!(values.iter().any(|v| *v > 0.9) && values.iter().any(|v| *v < -0.9));
    }

    #[test]
    fn drift_has_no_jumps() {
        for step in 0..10_000 {
            let t = f64::from(step) * 0.1;
            assert!((drift(3, t + 0.1, 60.0) - drift(3, t, 60.0)).abs() < 0.01);
        }
    }

    #[test]
    fn a_lag_covers_63_percent_in_one_time_constant() {
        assert!((lag(0.0, 1.0, 8.0, 8.0) - 0.632).abs() < 0.001);
    }
}
