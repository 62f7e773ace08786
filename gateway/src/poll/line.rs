//! The connection that a bus is polled over, made again whenever it was lost.
//!
//! A connection that is dropped after a late or garbled reply is made again at once: the other
//! units lose nothing but the handshake. Only when none can be made does the link count as down;
//! then it is tried with growing, capped pauses.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::clock::monotonic;
use crate::modbus::{Failure, Link, Reader, Values};
use crate::pause::Pause;
use crate::plan::Request;

use super::BusCounters;

/// What became of a request.
pub(super) enum Answer {
    /// Values, exactly as many as asked for.
    Values(Values),
    /// The unit answered, but not with values; others of its requests may do better.
    Failed(Failure),
    /// The unit did not answer, or the connection was closed on being asked for it.
    Silent(Failure),
    /// There is no connection, and none can be made now.
    Down,
}

pub(super) struct Line<'a, L: Link> {
    link: &'a L,
    timeout: Duration,
    /// Held while a request is under way.
    wire: &'a Mutex<()>,
    reader: Option<Reader>,
    /// No attempt to connect before this moment.
    retry_at: Option<Instant>,
    pause: Pause,
    counters: Arc<BusCounters>,
}

impl<'a, L: Link> Line<'a, L> {
    pub(super) fn new(
        link: &'a L,
        timeout: Duration,
        wire: &'a Mutex<()>,
        counters: Arc<BusCounters>,
    ) -> Self {
        Self {
            link,
            timeout,
            wire,
            reader: None,
            retry_at: None,
            pause: Pause::default(),
            counters,
        }
    }

    /// Sends one request and waits for its answer: one timeout at most, and one more to connect.
    pub(super) async fn ask(&mut self, unit: u8, request: &Request) -> Answer {
        let Some((was_open, mut result)) = self.ask_once(unit, request).await else {
            return Answer::Down;
        };
        // Closed while it lay idle, which says nothing about the unit: ask again over a new one.
        if was_open && result == Err(Failure::LinkDown) {
            result = match self.ask_once(unit, request).await {
                Some((_, result)) => result,
                None => return Answer::Down,
            };
        }
        match result {
            Ok(values) => Answer::Values(values),
            Err(failure) if failure.is_silence() || failure == Failure::LinkDown => {
                Answer::Silent(failure)
            }
            Err(failure) => Answer::Failed(failure),
        }
    }

    /// The result, and whether the connection was open before; none when none can be made.
    async fn ask_once(
        &mut self,
        unit: u8,
        request: &Request,
    ) -> Option<(bool, Result<Values, Failure>)> {
        let was_open = self.reader.as_ref().is_some_and(Reader::is_open);
        if !was_open {
            self.reader = self.connect().await;
        }
        let reader = self.reader.as_mut()?;
        let _held = self.wire.lock().await;
        let result = reader
            .read(unit, request.table, request.first, request.count)
            .await;
        Some((was_open, result))
    }

    async fn connect(&mut self) -> Option<Reader> {
        if self.retry_at.is_some_and(|at| monotonic() < at) {
            return None;
        }
        if let Ok(reader) = Reader::connect(self.link, self.timeout).await {
            self.counters.connects.fetch_add(1, Relaxed);
            self.retry_at = None;
            self.pause = Pause::default();
            Some(reader)
        } else {
            self.counters.connect_failures.fetch_add(1, Relaxed);
            // Not left to chance: a bus has no crowd to be kept apart.
            self.retry_at = Some(monotonic() + self.pause.after(None, 0.0));
            None
        }
    }
}
