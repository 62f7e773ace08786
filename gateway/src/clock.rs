//! The only file of this package that reads the wall clock.
//!
//! Everything else gets a `Clock` and asks it, so that tests and the simulator set the time.
//! Waiting (timeouts, the poll grid) goes by the runtime's monotonic time and never by this clock:
//! a step of the wall clock moves stamps, not polls.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use davy_core::reading::Timestamp;

/// Says what time it is, in milliseconds since 1970.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's wall clock.
    pub fn system() -> Self {
        Self(Arc::new(wall))
    }

    /// A clock of the caller's own, for tests and simulation.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// The wall clock. A machine that stands before 1970 gives 0 rather than a failure.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the one file that may read a clock"
)]
fn wall() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The runtime's monotonic time, for grids and budgets; it stands still where a test pauses it.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the one file that may read a clock"
)]
pub fn monotonic() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
