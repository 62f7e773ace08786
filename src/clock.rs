//! The only file of the centre that reads a clock.
//!
//! Invariant: time never goes back. When the wall clock is set back, the centre's time goes on at
//! the pace of the machine's steady clock until the wall clock has caught up.

use std::sync::Mutex;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use davy_core::reading::Timestamp;

/// The centre's time.
#[derive(Debug)]
pub struct Clock {
    last: Mutex<Last>,
    /// Sets the wall clock of a test ahead, in milliseconds.
    #[cfg(test)]
    pub(crate) test_ahead_ms: std::sync::atomic::AtomicI64,
}

#[derive(Debug)]
struct Last {
    given: Timestamp,
    /// The latest moment at which the wall clock led, by both clocks. Time runs on from here while
    /// it lags; from the answer before, parts of a millisecond would be lost at each call.
    led: (Timestamp, Instant),
}

impl Clock {
    /// Starts at the wall clock, or at `not_before` where the wall clock lies earlier than what the
    /// journal has seen already.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the file that reads clocks"
    )]
    pub fn new(not_before: Timestamp) -> Self {
        let given = wall().max(not_before);
        let led = (given, Instant::now());
        let last = Last { given, led };
        Self {
            last: Mutex::new(last),
            #[cfg(test)]
            test_ahead_ms: std::sync::atomic::AtomicI64::new(0),
        }
    }

    /// Now. Never earlier than any answer before.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the file that reads clocks"
    )]
    pub fn now(&self) -> Timestamp {
        let at = Instant::now();
        let mut last = match self.last.lock() {
            Ok(last) => last,
            Err(poisoned) => poisoned.into_inner(),
        };
        #[cfg(not(test))]
        let wall = wall();
        #[cfg(test)]
        let wall = Timestamp(
            wall().0
                + self
                    .test_ahead_ms
                    .load(std::sync::atomic::Ordering::Acquire),
        );
        last.at(wall, at)
    }
}

impl Last {
    fn at(&mut self, wall: Timestamp, at: Instant) -> Timestamp {
        let (led, led_at) = self.led;
        let steady = led + at.saturating_duration_since(led_at);
        if wall >= steady {
            self.led = (wall, at);
        }
        self.given = self.given.max(wall).max(steady);
        self.given
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the file that reads clocks"
)]
fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "only as an anchor")]
    fn time_goes_on_at_its_pace_however_often_it_is_asked() {
        let begun = Instant::now();
        let led = (Timestamp(1_000_000), begun);
        let mut last = Last { given: led.0, led };
        // The wall clock was set back; it is asked every 100 µs for a second.
        let mut now = led.0;
        for asked in 1..=10_000_u32 {
            let at = begun + std::time::Duration::from_micros(100) * asked;
            let next = last.at(Timestamp(5), at);
            assert!(next >= now);
            now = next;
        }
        assert_eq!(now, Timestamp(1_001_000));
        let later = begun + std::time::Duration::from_secs(2);
        assert_eq!(last.at(Timestamp(1_009_000), later), Timestamp(1_009_000));
    }

    #[test]
    fn time_goes_on_from_what_the_journal_has_seen() {
        let far = wall() + std::time::Duration::from_hours(1);
        let clock = Clock::new(far);
        let first = clock.now();
        assert!(first >= far);
        assert!(clock.now() >= first);
    }
}
