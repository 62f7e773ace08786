//! The live stream: what is committed, as server-sent events whose id is the journal's number.
//!
//! A client that comes back with `Last-Event-ID` gets everything from there on out of the journal,
//! and then what is committed next: no gap, nothing twice. One that falls behind is served out of
//! the journal again; one that is too far behind is told to begin anew (`reset`).
//!
//! Limits: [`SEATS_MAX`] clients at once, [`EVENTS_MAX`] events on their way to each.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, Sse};
use futures::Stream;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::{Api, Problem, Shared, read};
use crate::centre::Told;

/// How often a client hears that the centre is there.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Clients at once: every seat of a control room and every tab, with room to spare.
const SEATS_MAX: usize = 100;

/// Events on their way to one client.
const EVENTS_MAX: usize = 256;

/// Entries that a client may be behind before it must begin anew.
const BEHIND_MAX: u64 = 1_000_000;

/// Bytes and rows of one read of the journal.
const READ: (usize, usize) = (4 << 20, 1_000);

/// The seats at the live stream.
#[derive(Debug)]
pub struct LiveSeats(Arc<Semaphore>);

impl Default for LiveSeats {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SEATS_MAX)))
    }
}

impl LiveSeats {
    fn take(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = Arc::clone(&self.0).try_acquire_owned();
        place.map_err(|_| {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no_seat",
                "too many listen to the live stream",
                format!("{SEATS_MAX} clients listen already; allowed: {SEATS_MAX}"),
            )
        })
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
pub(super) struct LiveQuery {
    /// Everything after this number; for clients that cannot set `Last-Event-ID`.
    after: Option<u64>,
}

/// What is committed from now on, or from a number on.
#[utoipa::path(get, path = "/api/v1/live", params(LiveQuery), responses((status = 200, description = "server-sent events: `effects`, `heartbeat`, `reset`", content_type = "text/event-stream"), (status = 503, description = "100 clients listen already; `Retry-After` says when to ask again", body = Problem)))]
pub(super) async fn live(
    State(shared): Api,
    Query(query): Query<LiveQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let place = shared.live.take()?;
    let last = headers.get("last-event-id");
    let last = last.and_then(|id| id.to_str().ok()?.parse::<u64>().ok());
    // Follow first, read the number then: nothing falls between, for what is told is in the
    // journal. The journal can be read while the disk is full, too.
    let follow = shared.centre.follow();
    let number = read(&shared, crate::journal::Reader::latest).await?;
    let after = last.or(query.after).unwrap_or(number);
    let (events, sent) = mpsc::channel(EVENTS_MAX);
    tokio::spawn(async move {
        let mut client = Client {
            shared,
            events,
            number: after,
        };
        // An error means that the client has gone.
        drop(client.serve(follow, number).await);
        drop(place);
    });
    Ok(Sse::new(ReceiverStream::new(sent)))
}

/// The client has gone.
struct Gone;

struct Client {
    shared: Arc<Shared>,
    events: mpsc::Sender<Result<Event, Infallible>>,
    /// The last entry that it has, or need not have.
    number: u64,
}

impl Client {
    async fn serve(
        &mut self,
        mut follow: broadcast::Receiver<Arc<Told>>,
        now_at: u64,
    ) -> Result<(), Gone> {
        if self.number > now_at || now_at - self.number > BEHIND_MAX {
            self.number = now_at;
            self.send(Event::default().event("reset").data("{}"))
                .await?;
        }
        // At once, so that a client knows the centre is there however much it has to catch up.
        self.beat().await?;
        self.catch_up(now_at).await?;
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.reset();
        loop {
            tokio::select! {
                () = self.shared.closing.cancelled() => return Err(Gone),
                _ = heartbeat.tick() => self.beat().await?,
                told = follow.recv() => match told {
                    Ok(told) => self.tell(told.number, &told.effects).await?,
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        let latest = read(&self.shared, crate::journal::Reader::latest);
                        let latest = latest.await.map_err(|_| Gone)?;
                        self.catch_up(latest).await?;
                    }
                    Err(broadcast::error::RecvError::Closed) => return Err(Gone),
                },
            }
        }
    }

    /// Tells what the journal holds up to `to`.
    async fn catch_up(&mut self, to: u64) -> Result<(), Gone> {
        while self.number < to {
            let after = self.number;
            let (bytes, rows) = READ;
            let entries = read(&self.shared, move |reader| {
                reader.read_effects(after, bytes, rows)
            });
            let entries = entries.await.map_err(|_| Gone)?;
            for entry in &entries.entries {
                self.tell(entry.number, &entry.effects).await?;
            }
            if entries.through <= after {
                break;
            }
            self.number = self.number.max(entries.through);
        }
        Ok(())
    }

    async fn tell(&mut self, number: u64, effects: &[u8]) -> Result<(), Gone> {
        if number <= self.number {
            return Ok(());
        }
        self.number = number;
        let effects = String::from_utf8_lossy(effects);
        let event = Event::default()
            .event("effects")
            .id(number.to_string())
            .data(effects);
        self.send(event).await
    }

    async fn beat(&mut self) -> Result<(), Gone> {
        let health = self.shared.centre.health();
        let data = serde_json::json!({
            "now_ms": self.shared.centre.now().0,
            "number": health.number.load(std::sync::atomic::Ordering::Acquire),
            "no_room": health.no_room.load(std::sync::atomic::Ordering::Acquire),
        });
        let event = Event::default().event("heartbeat").data(data.to_string());
        self.send(event).await
    }

    async fn send(&self, event: Event) -> Result<(), Gone> {
        self.events.send(Ok(event)).await.map_err(|_| Gone)
    }
}
