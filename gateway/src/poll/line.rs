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
    Down(Failure),
}

pub(super) struct Line<'a, L: Link> {
    link: &'a L,
    timeout: Duration,
    /// Held while a request is under way.
    wire: &'a Mutex<()>,
    reader: Option<Reader>,
    /// No attempt to connect before this moment, and why the last one failed.
    retry: Option<(Instant, Failure)>,
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
            retry: None,
            pause: Pause::default(),
            counters,
        }
    }

    /// Sends one request and waits for its answer: one timeout at most, and one more to connect.
    pub(super) async fn ask(&mut self, unit: u8, request: &Request) -> Answer {
        let (was_open, mut result) = match self.ask_once(unit, request).await {
            Ok(asked) => asked,
            Err(why) => return Answer::Down(why),
        };
        // Closed while it lay idle, which says nothing about the unit: ask again over a new one.
        if was_open && result == Err(Failure::LinkDown) {
            result = match self.ask_once(unit, request).await {
                Ok((_, result)) => result,
                Err(why) => return Answer::Down(why),
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

    /// Whether the connection was open before, and the result; or why no connection can be made.
    async fn ask_once(
        &mut self,
        unit: u8,
        request: &Request,
    ) -> Result<(bool, Result<Values, Failure>), Failure> {
        let open = self.reader.take().filter(Reader::is_open);
        let was_open = open.is_some();
        let reader = match open {
            Some(reader) => reader,
            None => self.connect().await?,
        };
        let reader = self.reader.insert(reader);
        let _held = self.wire.lock().await;
        let result = reader
            .read(unit, request.table, request.first, request.count)
            .await;
        Ok((was_open, result))
    }

    async fn connect(&mut self) -> Result<Reader, Failure> {
        if let Some((at, why)) = self.retry
            && monotonic() < at
        {
            return Err(why);
        }
        match Reader::connect(self.link, self.timeout).await {
            Ok(reader) => {
                self.counters.connects.fetch_add(1, Relaxed);
                self.retry = None;
                self.pause = Pause::default();
                Ok(reader)
            }
            Err(why) => {
                self.counters.connect_failures.fetch_add(1, Relaxed);
                // Not left to chance: a bus has no crowd to be kept apart.
                self.retry = Some((monotonic() + self.pause.after(None, 0.0), why));
                Err(why)
            }
        }
    }
}
