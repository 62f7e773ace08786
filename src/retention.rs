//! How long readings are kept, and the task that has old ones go and looks after the sinks.
//!
//! ```text
//! the task ──"prune up to the oldest cursor"──► the loop: one bounded step between two groups
//!     └── a sink holds it, had to begin anew, or gets no further ──► input ──► alarm `centre.sink_behind`
//! ```
//!
//! What is kept for good: every entry of the journal with its digest, every command, the ledger
//! with its frozen evidence. What goes: the bytes of messages, from the journal when every sink has
//! passed them; readings, from the series by its own thread ([`crate::sinks`]).
//!
//! Invariant: nothing goes by a clock that was wrong for a moment. The site's time does not leap
//! ([`crate::clock`]); what is let go is also judged by the newest reading, which has another clock,
//! and nothing goes while the host's clock and the site's time differ. Where the clocks of all
//! gateways are behind (each is alarmed), it is kept so much longer.
//!
//! A sink that a person must help is alarmed at once; one whose trouble may pass by itself, once what
//! waits for it is older than [`Retention::late`].
//!
//! Limits: a sink that is away holds pruning for [`Retention::waits`] and is alarmed from the first
//! moment; after that its readings go all the same. Steps come every [`STEP_PAUSE`], so that
//! 5,000 messages a second can go while a group waits for one step at most.

use std::time::Duration;

use davy_core::alarm::SystemCondition;
use davy_core::reading::Timestamp;
use davy_core::watch::{Input, Watch};
use tokio_util::sync::CancellationToken;

use crate::centre::{Centre, Unanswered};
use crate::sinks::{SinkStatus, Sinks};

/// The alarm, as the configuration names it.
const ALARM: &str = "centre.sink_behind";

/// How often it has old messages go.
const PAUSE: Duration = Duration::from_mins(1);

/// How often it looks whether sinks get on.
const LOOK: Duration = Duration::from_secs(5);

/// Between two steps of one look.
const STEP_PAUSE: Duration = Duration::from_millis(100);

/// Least days of either kind: a gateway stores three, and what it brings late must still find
/// its trend and its place in the journal.
pub const DAYS_MIN: u64 = 4;

/// Most days: a century.
pub const DAYS_MAX: u64 = 36_500;

/// How long readings are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Messages in the journal, as received: so far back can be replayed.
    pub journal: Duration,
    /// Readings in the series: so far back there are trends.
    pub series: Duration,
    /// How much longer messages stay for a sink that has not passed them.
    pub waits: Duration,
    /// How old what waits for a sink in trouble may be before it is alarmed.
    pub late: Duration,
}

impl Default for Retention {
    /// 30 days in the journal: what the law asks for of major hazard sources in the chemical
    /// industry (Order 40: electronic records at least 30 days). 731 days in the series: what it
    /// asks for of coal mines (煤矿安全规程 2025, article 526: two years, raw values included).
    /// 30 days for a sink: longer than a server is repaired or bought again. That is a value of
    /// Davy's own, as are the 15 minutes: a server that is started again is back in less.
    fn default() -> Self {
        Self {
            journal: Duration::from_hours(30 * 24),
            series: Duration::from_hours(731 * 24),
            waits: Duration::from_hours(30 * 24),
            late: Duration::from_mins(15),
        }
    }
}

/// Runs until cancelled or the centre ends.
pub async fn run(retention: Retention, centre: Centre, sinks: Sinks, cancel: CancellationToken) {
    let every = |period| {
        let mut every = tokio::time::interval(period);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        every
    };
    let (mut pause, mut look) = (every(PAUSE), every(LOOK));
    let mut holding = Vec::new();
    loop {
        let prunes = tokio::select! {
            () = cancel.cancelled() => return,
            _ = pause.tick() => true,
            _ = look.tick() => false,
        };
        let now = centre.now();
        let work = async {
            if prunes && let Some(found) = prune(retention, &centre, &sinks, now).await? {
                holding = found;
            }
            let stuck = stuck(&sinks.status(), retention.late, now);
            tell(&centre, &[&holding[..], &stuck].concat()).await
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            done = work => if let Err(Unanswered::Ended(_)) = done {
                return;
            }
        }
    }
}

/// Has old messages go at `now`; which sinks hold some of them, unless the clock is off and nothing
/// may be judged by it.
async fn prune(
    retention: Retention,
    centre: &Centre,
    sinks: &Sinks,
    now: Timestamp,
) -> Result<Option<Vec<String>>, Unanswered> {
    if centre.is_clock_off() {
        return Ok(None);
    }
    let now = now.min(sinks.newest());
    let old = before(now, retention.journal);
    let held = steps(centre, old, || sinks.oldest_cursor()).await?;
    // What no sink may hold any longer goes past it; it counts what it never saw.
    let too_old = before(now, retention.journal + retention.waits);
    steps(centre, too_old, || u64::MAX).await?;
    let mut holding = held.map_or_else(Vec::new, |held| behind(sinks, held));
    holding.extend(sinks.begun_anew());
    Ok(Some(holding))
}

/// The sinks that get no further and should be looked after.
fn stuck(sinks: &[SinkStatus], late: Duration, now: Timestamp) -> Vec<String> {
    let told = sinks.iter().filter_map(|sink| {
        let (name, error) = (sink.name, sink.error.as_ref()?);
        let is_late = Duration::from_millis(sink.lag_ms(now)) >= late;
        (sink.needs_person || is_late).then(|| format!("{name} gets no further: {error}"))
    });
    told.collect()
}

fn before(now: Timestamp, kept: Duration) -> Timestamp {
    let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
    Timestamp(now.0.saturating_sub(kept))
}

/// Has the loop prune in steps until there is no more; the first message that a sink holds.
async fn steps(
    centre: &Centre,
    before: Timestamp,
    not_after: impl Fn() -> u64,
) -> Result<Option<u64>, Unanswered> {
    loop {
        let Some(pruned) = centre.prune(before, not_after()).await? else {
            return Ok(None);
        };
        if !pruned.more {
            return Ok(pruned.held);
        }
        tokio::time::sleep(STEP_PAUSE).await;
    }
}

/// The sinks that have not come to a message. A cursor that is stored but not yet synced holds
/// pruning too; of that nobody need be told.
fn behind(sinks: &Sinks, held: u64) -> Vec<String> {
    let status = sinks.status().into_iter();
    let behind = status.filter(|sink| sink.cursor < held);
    let told = behind.map(|sink| {
        let (name, cursor, since) = (sink.name, sink.cursor, sink.through.0);
        format!("{name} holds pruning at entry {cursor}, judged at {since} ms")
    });
    told.collect()
}

/// Raises or ends the alarm, when it is not as it should be.
async fn tell(centre: &Centre, holding: &[String]) -> Result<(), Unanswered> {
    let active = !holding.is_empty();
    let is_told = centre.ask(|watch: &Watch| {
        let standing = watch
            .find_alarm(ALARM)
            .and_then(|place| watch.engine().standing(place));
        standing.is_some_and(|standing| standing.active_since.is_some())
    });
    if is_told.await? == active {
        return Ok(());
    }
    let why = holding.join("; ");
    if active {
        tracing::warn!(why, "a sink is behind");
    }
    let condition = SystemCondition::SinkBehind;
    let input = Input::Centre {
        condition,
        active,
        why,
    };
    centre.command(input).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
