//! How long to wait before the next attempt to connect.
//!
//! Pure. Doubled with each attempt in vain, up to a limit; back to the least after a connection
//! that held.

use std::time::Duration;

/// The first pause.
pub const PAUSE_MIN: Duration = Duration::from_millis(500);

/// The longest pause. Ours: the centre calls a point lost after 30 s without view
/// (`config/standards/system.toml`), and two attempts must fit in before that.
pub const PAUSE_MAX: Duration = Duration::from_secs(10);

/// A connection that ends sooner has not held. Ours: three times the longest pause, so that two
/// gateways under one name, which drive each other out once a pause, never count as stable.
pub const STABLE: Duration = Duration::from_secs(30);

/// Connections in a row that did not hold, from which on something else than a bad line is likely.
pub const SHORT_MANY: u64 = 3;

/// The pause that is next.
#[derive(Debug)]
pub struct Pause {
    next: Duration,
    short: u64,
}

impl Default for Pause {
    fn default() -> Self {
        Self {
            next: PAUSE_MIN,
            short: 0,
        }
    }
}

impl Pause {
    /// A connection has ended that was up for `held`; none when it could not be made. The answer is
    /// how long to wait, of which `chance` (0 to 1) takes up to a half away.
    pub fn after(&mut self, held: Option<Duration>, chance: f64) -> Duration {
        match held {
            Some(held) if held >= STABLE => *self = Self::default(),
            Some(_) => self.short += 1,
            None => {}
        }
        let pause = self.next;
        self.next = (pause * 2).min(PAUSE_MAX);
        pause.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0)
    }

    /// Whether no attempt has failed since the last connection that held.
    pub fn is_first(&self) -> bool {
        self.next == PAUSE_MIN
    }

    /// Connections in a row that were made and did not hold.
    pub fn short(&self) -> u64 {
        self.short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_grow_to_their_limit_and_are_spread_below_it() {
        let mut pause = Pause::default();
        assert!(pause.is_first());
        let waits: Vec<_> = (0..7).map(|_| pause.after(None, 0.0).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert!(!pause.is_first());
        assert_eq!(pause.after(None, 1.0), PAUSE_MAX / 2);
        assert_eq!(pause.after(Some(STABLE), 0.0), PAUSE_MIN);
    }

    /// Each is let in, drives the other out, and waits for its own pause: before, that was twice a
    /// second for ever.
    #[test]
    fn two_under_one_name_wait_ever_longer() {
        let mut both = [Pause::default(), Pause::default()];
        let mut back_at = [SECOND, SECOND * 2];
        let mut since = [Duration::ZERO; 2];
        let mut made = 0;
        let mut now = Duration::ZERO;
        while now < SECOND * 600 {
            let one = usize::from(back_at[1] < back_at[0]);
            now = back_at[one];
            (since[one], back_at[one]) = (now, Duration::MAX);
            made += 1;
            let other = 1 - one;
            if back_at[other] == Duration::MAX {
                back_at[other] =
                    now + both[other].after(Some(now.saturating_sub(since[other])), 0.5);
            }
        }
        assert!(made < 100, "{made} connections in ten minutes");
        assert!(both.iter().all(|pause| pause.short() > SHORT_MANY));
    }

    #[test]
    fn a_connection_that_held_ends_the_row_of_short_ones() {
        let mut pause = Pause::default();
        for _ in 0..SHORT_MANY {
            pause.after(Some(SECOND), 0.0);
        }
        assert_eq!(pause.short(), SHORT_MANY);
        pause.after(None, 0.0);
        assert_eq!(pause.short(), SHORT_MANY);
        pause.after(Some(STABLE), 0.0);
        assert_eq!((pause.short(), pause.is_first()), (0, false));
    }
}
