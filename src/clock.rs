//! The only file of the centre that reads a clock.
//!
//! The site's time follows the host's wall clock, and holds out while that is wrong:
//!
//! - It never goes back. While the wall clock lies behind, the time goes on by the machine's steady
//!   clock, a tenth slower, until the wall clock has caught up: an hour is made good in ten.
//! - It does not leap. A step forward of more than [`LEAP_MAX`] is not followed: the time goes on by
//!   the steady clock, and follows again once the wall clock is right again.
//! - At a start it takes the wall clock, for nobody knows better how long the centre was away; but
//!   not one that lies more than [`START_LEAP_MAX`] past the journal's end, unless a person has
//!   accepted it.
//!
//! So what is deleted, overdue or over by the site's time is never so by a clock that was wrong for
//! a moment. [`Clock::off_ms`] says how far the two differ; the loop raises an alarm by it.
//!
//! The steady clock goes on while the machine sleeps (Linux: `CLOCK_BOOTTIME`), so that a sleep of
//! any length is followed, and told from a leap.
//!
//! Limits: a virtual machine that its host pauses does not see the pause on any clock; where its wall
//! clock is set by more than [`LEAP_MAX`] afterwards, that is a leap, and not followed until a person
//! starts the centre again. So is a sleep on a system other than Linux. A wrong clock at a start
//! within [`START_LEAP_MAX`] is believed.

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use davy_core::reading::Timestamp;

/// The longest step forward that is followed. Shorter than a wrong time zone (China: 8 h) and
/// longer than what `ntpd` refuses to set by itself (1,000 s); Davy's own figure.
pub const LEAP_MAX: Duration = Duration::from_hours(1);

/// The longest step past the journal's end that a start follows: longer than a plant is shut for
/// repairs, shorter than a wrong year; Davy's own figure.
pub const START_LEAP_MAX: Duration = Duration::from_hours(30 * 24);

/// While it waits for the wall clock, the time loses one part in so many.
const SLOWED_BY: u32 = 10;

/// The centre's time.
#[derive(Debug)]
pub struct Clock {
    course: Mutex<Course>,
    /// Sets the wall clock of a test ahead, in milliseconds.
    #[cfg(test)]
    pub(crate) test_ahead_ms: std::sync::atomic::AtomicI64,
}

/// The site's time and how far the wall clock is from it. Pure: both clocks are arguments, as time
/// since 1970 and since the machine's start.
#[derive(Debug)]
struct Course {
    time: Duration,
    at: Duration,
    off_ms: i64,
}

impl Clock {
    /// Starts at the wall clock, or at `not_before` where the wall clock lies earlier than what the
    /// journal has seen already.
    pub fn new(not_before: Timestamp) -> Self {
        let wall = wall();
        Self::starting(wall.max(since_1970(not_before)), wall)
    }

    /// As [`Clock::new`] after a journal that ends at `end`; a wall clock that lies too far past it
    /// is not believed.
    pub fn after(end: Timestamp) -> Self {
        let wall = wall();
        Self::starting(start(wall, since_1970(end)), wall)
    }

    fn starting(time: Duration, wall: Duration) -> Self {
        let at = steady();
        let off_ms = off_ms(wall, time);
        Self {
            course: Mutex::new(Course { time, at, off_ms }),
            #[cfg(test)]
            test_ahead_ms: std::sync::atomic::AtomicI64::new(0),
        }
    }

    /// Now. Never earlier than any answer before.
    pub fn now(&self) -> Timestamp {
        let at = steady();
        let wall = wall();
        #[cfg(test)]
        let wall = {
            let ahead = &self.test_ahead_ms;
            let ahead = ahead.load(std::sync::atomic::Ordering::Acquire);
            let by = Duration::from_millis(ahead.unsigned_abs());
            if ahead < 0 {
                wall.saturating_sub(by)
            } else {
                wall + by
            }
        };
        self.course().step(wall, at)
    }

    /// How far the wall clock lay past the site's time when that was last asked for, in
    /// milliseconds; negative when it lay behind.
    pub fn off_ms(&self) -> i64 {
        self.course().off_ms
    }

    fn course(&self) -> std::sync::MutexGuard<'_, Course> {
        match self.course.lock() {
            Ok(course) => course,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

impl Course {
    fn step(&mut self, wall: Duration, at: Duration) -> Timestamp {
        let passed = at.saturating_sub(self.at);
        let steady = self.time + passed;
        self.time = if wall > steady + LEAP_MAX {
            steady
        } else {
            wall.max(steady.saturating_sub(passed / SLOWED_BY))
        };
        self.at = self.at.max(at);
        self.off_ms = off_ms(wall, self.time);
        timestamp(self.time)
    }
}

/// The time at which a centre starts whose journal ends at `end`.
fn start(wall: Duration, end: Duration) -> Duration {
    if wall > end + START_LEAP_MAX {
        return end;
    }
    wall.max(end)
}

fn off_ms(wall: Duration, time: Duration) -> i64 {
    timestamp(wall).ms_since(timestamp(time))
}

fn timestamp(since: Duration) -> Timestamp {
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Of a moment before 1970: nothing.
fn since_1970(moment: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(moment.0).unwrap_or(0))
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the file that reads clocks"
)]
fn wall() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default()
}

/// The time since the machine's start, its sleep included.
#[cfg(target_os = "linux")]
fn steady() -> Duration {
    let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // It is never negative.
    Duration::try_from(since).unwrap_or_default()
}

/// The time since the first call, as the standard library measures it.
#[cfg(not(target_os = "linux"))]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the file that reads clocks"
)]
fn steady() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);
    const HOUR: Duration = Duration::from_hours(1);
    const SECOND: Duration = Duration::from_secs(1);

    /// When each story begins, by the wall clock.
    const BEGIN: Duration = Duration::from_hours(500_000);

    /// Both clocks of a host, in the hands of a test.
    struct Host {
        course: Course,
        wall: Duration,
        steady: Duration,
    }

    impl Host {
        fn new() -> Self {
            let (time, at) = (BEGIN, DAY);
            let off_ms = 0;
            Self {
                course: Course { time, at, off_ms },
                wall: BEGIN,
                steady: at,
            }
        }

        /// Lets time pass, asked for each second; the site's time, since the beginning.
        fn pass(&mut self, time: Duration) -> Duration {
            let end = self.steady + time;
            let mut now = self.course.time;
            while self.steady < end {
                let step = SECOND.min(end.saturating_sub(self.steady));
                self.steady += step;
                self.wall += step;
                self.course.step(self.wall, self.steady);
                assert!(self.course.time >= now, "time never goes back");
                now = self.course.time;
            }
            now.abs_diff(BEGIN)
        }
    }

    #[test]
    fn one_wrong_turn_forward_is_not_followed_and_over_when_it_is_over() {
        let mut host = Host::new();
        assert_eq!(host.pass(HOUR), HOUR);
        host.wall += DAY * 365 * 73;
        assert_eq!(host.pass(SECOND), HOUR + SECOND);
        assert_eq!(host.course.off_ms, (DAY * 365 * 73).as_millis() as i64);
        // It stays so for a day, and the site's time goes on.
        assert_eq!(host.pass(DAY), DAY + HOUR + SECOND);
        host.wall -= DAY * 365 * 73;
        assert_eq!(host.pass(HOUR), DAY + HOUR * 2 + SECOND);
        assert_eq!(host.course.off_ms, 0);
        // A correction is.
        host.wall += Duration::from_mins(20);
        assert_eq!(
            host.pass(SECOND),
            DAY + HOUR * 2 + SECOND * 2 + Duration::from_mins(20)
        );
    }

    #[test]
    fn a_clock_that_is_set_back_is_waited_for_and_caught_up_with() {
        let mut host = Host::new();
        host.wall -= HOUR;
        assert_eq!(host.pass(HOUR), HOUR * 9 / 10);
        assert_eq!(
            host.course.off_ms,
            -(HOUR * 9 / 10).as_millis().cast_signed() as i64
        );
        host.pass(HOUR * 9);
        assert_eq!(host.course.time, host.wall);
        assert_eq!(host.course.off_ms, 0);
        assert_eq!(host.pass(HOUR), HOUR * 10);
    }

    #[test]
    fn time_goes_on_at_its_pace_however_often_it_is_asked() {
        let mut host = Host::new();
        // The wall clock was set back; it is asked every 100 µs for a second.
        for asked in 1..=10_000_u32 {
            let at = host.steady + Duration::from_micros(100) * asked;
            host.course.step(Duration::ZERO, at);
        }
        let passed = host.course.time.abs_diff(BEGIN);
        assert!(
            passed.abs_diff(SECOND * 9 / 10) < Duration::from_millis(1),
            "{passed:?}"
        );
    }

    #[test]
    fn a_machine_that_slept_is_followed_and_one_that_was_set_is_not() {
        let mut host = Host::new();
        for sleep in [HOUR, DAY, DAY * 60] {
            let before = host.course.time;
            host.wall += sleep;
            host.steady += sleep;
            host.pass(SECOND);
            assert_eq!(host.course.time, before + sleep + SECOND);
            assert_eq!(host.course.off_ms, 0);
        }
        // Set wrong while it slept.
        let before = host.course.time;
        host.wall += DAY * 365;
        host.steady += HOUR * 8;
        host.pass(SECOND);
        assert_eq!(host.course.time, before + HOUR * 8 + SECOND);
    }

    #[test]
    fn the_steady_clock_goes_on() {
        let before = steady();
        assert!(before > Duration::ZERO && steady() >= before);
    }

    #[test]
    fn a_start_follows_a_shutdown_and_no_wrong_year() {
        for (away, follows) in [(Duration::ZERO, true), (DAY * 29, true), (DAY * 400, false)] {
            let wall = BEGIN + away;
            let expected = if follows { wall } else { BEGIN };
            assert_eq!(start(wall, BEGIN), expected, "{away:?}");
        }
        assert_eq!(start(BEGIN / 2, BEGIN), BEGIN, "never back");
        // What it did not follow it does not follow later either.
        let mut host = Host::new();
        host.wall += DAY * 400;
        assert_eq!(host.pass(DAY), DAY);
    }

    #[test]
    fn time_goes_on_from_what_the_journal_has_seen() {
        let far = timestamp(wall() + HOUR);
        let clock = Clock::new(far);
        let first = clock.now();
        assert!(first >= far);
        assert!(clock.now() >= first);
        assert!(clock.off_ms() < -3_500_000);
        let clock = Clock::after(Timestamp(1_000_000));
        assert!(clock.now() < Timestamp(2_000_000));
        assert!(clock.off_ms() > 0);
    }
}
