//! The live stream: what is committed, as server-sent events whose id is the journal's number.
//!
//! A client that comes back with `Last-Event-ID` gets everything from there on out of the journal,
//! and then what is committed next: no gap, nothing twice. One that falls behind is served out of
//! the journal again; one that is too far behind, or ahead of the newest entry (the journal is another
//! one than it knew), is told to begin anew (`reset`).
//!
//! Limits: [`SEATS_MAX`] clients at once, [`EVENTS_MAX`] events on their way to each, [`LIFE_MAX`] a
//! stream.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, Sse};
use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::fault::{Code, Fault, Place};
use super::given::{FromGiven, Given, Query, numbers};
use super::{Api, Problem, Shared, read};
use crate::centre::Told;

/// How often a client hears that the centre is there.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Clients at once: every seat of a control room and every tab, with room to spare.
const SEATS_MAX: usize = 100;

/// Events on their way to one client.
const EVENTS_MAX: usize = 256;

/// How long a stream lasts. A client that lives comes back and goes on without a gap; one that does
/// not read any more has hours of heartbeats in the system's buffers before it can be seen to stall.
const LIFE_MAX: Duration = Duration::from_hours(1);

/// Entries that a client may be behind before it must begin anew.
const BEHIND_MAX: u64 = 1_000_000;

/// The header that names the last event which a client has.
const LAST_EVENT_ID: &str = "last-event-id";

/// Bytes and rows of one read of the journal.
const READ: (usize, usize) = (4 << 20, 1_000);

/// The seats at the live stream.
#[derive(Debug)]
pub struct LiveSeats {
    free: Arc<Semaphore>,
    refused: AtomicU64,
}

impl Default for LiveSeats {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(SEATS_MAX)),
            refused: AtomicU64::new(0),
        }
    }
}

impl LiveSeats {
    fn take(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = Arc::clone(&self.free).try_acquire_owned();
        place.map_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no_seat",
                "too many listen to the live stream",
                format!("{SEATS_MAX} clients listen already; allowed: {SEATS_MAX}"),
            )
        })
    }

    /// Seats that are taken.
    pub(super) fn taken(&self) -> u64 {
        (SEATS_MAX - self.free.available_permits()) as u64
    }

    /// Clients that found none.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LiveQuery {
    /// Everything after this number; for clients that cannot set `Last-Event-ID`, which counts if
    /// both are there.
    after: Option<u64>,
}

impl FromGiven for LiveQuery {
    fn read(given: &mut Given) -> Result<Self, Fault> {
        let after = given.number("after", 0..=u64::MAX)?;
        Ok(Self { after })
    }
}

/// The number after which a client goes on, by the header that browsers send by themselves.
fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let Some(found) = headers.get(LAST_EVENT_ID) else {
        return Ok(None);
    };
    let number = found.to_str().ok().and_then(|id| id.parse().ok());
    let Some(number) = number else {
        let allowed = numbers(&(0..=u64::MAX));
        let fault = Fault::new(Code::NotAllowed, Place::Header, LAST_EVENT_ID, allowed);
        return Err(fault.found(&String::from_utf8_lossy(found.as_bytes())));
    };
    Ok(Some(number))
}

/// What is committed from now on, or from a number on. The id of an event is the journal's number.
///
/// `effects`: what followed from one entry, an array. `heartbeat`: at once and then every second,
/// without an id: `now_ms`, `number` (the newest entry), `no_room`. `reset`: what was asked for cannot
/// be told, so read the lists again; what follows is after its id. Its `why` is `ahead` when `asked`
/// is beyond the newest entry (`number`): the journal is another one than the client knew, as after a
/// restored backup, and nothing of what it was told before holds. It is `behind` when more than
/// 1,000,000 entries lie between.
#[utoipa::path(get, path = "/api/v1/live", params(LiveQuery, ("last-event-id" = Option<u64>, Header, description = "Everything after this number; without one, what is committed from now on.")), responses((status = 200, description = "server-sent events: `effects`, `heartbeat`, `reset`", content_type = "text/event-stream"), (status = 503, description = "100 clients listen already; `Retry-After` says when to ask again", body = Problem)))]
pub(super) async fn live(
    State(shared): Api,
    Query(query): Query<LiveQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let last = last_event_id(&headers)?;
    let place = shared.live.take()?;
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
        seated(place, client.serve(follow, number)).await;
    });
    Ok(Sse::new(ReceiverStream::new(sent)))
}

/// Serves a client while it is there, but not for ever.
async fn seated(place: OwnedSemaphorePermit, serving: impl Future<Output = Result<(), Gone>>) {
    // An error means that the client has gone, or that its time is over.
    drop(tokio::time::timeout(LIFE_MAX, serving).await);
    drop(place);
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
        let asked = self.number;
        let why = if asked > now_at {
            Some("ahead")
        } else {
            (now_at - asked > BEHIND_MAX).then_some("behind")
        };
        if let Some(why) = why {
            self.number = now_at;
            let data = serde_json::json!({ "why": why, "asked": asked, "number": now_at });
            // With its id, so that a client which comes back goes on from here.
            let event = Event::default().event("reset").id(now_at.to_string());
            self.send(event.data(data.to_string())).await?;
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
            "number": health.number.load(Ordering::Acquire),
            "no_room": health.no_room.load(Ordering::Acquire),
        });
        let event = Event::default().event("heartbeat").data(data.to_string());
        self.send(event).await
    }

    async fn send(&self, event: Event) -> Result<(), Gone> {
        self.events.send(Ok(event)).await.map_err(|_| Gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_stopped_does_not_keep_its_seat() {
        let seats = LiveSeats::default();
        let Ok(place) = seats.take() else {
            panic!("a seat");
        };
        assert_eq!(seats.taken(), 1);
        seated(place, std::future::pending()).await;
        assert_eq!(seats.taken(), 0);
    }
}
