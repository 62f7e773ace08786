//! The door of HTTP: slow connections are let go, and idle ones once all places are taken.
//!
//! HTTP/1.1 only. What cannot be read as HTTP is answered by hyper with a status and no words (400,
//! 414, 431) and hung up on: there is no call yet that a problem could be about.
//!
//! Limits: those of [`Limits`]. Whoever comes while all connections are taken has those that are
//! idle hung up on; if none is, it waits in the system's own queue. A body is timed by `given`, the
//! live streams are counted by `live`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::door::{Door, DoorCounters, Guest, STALLED};

/// Connections at once: five for each seat at the live stream.
pub const CONNECTIONS_MAX: usize = 512;

/// How much one client, and all of them, may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections at once.
    connections: usize,
    /// Bytes of a request's line and headers.
    head_bytes: usize,
    /// Headers of a request.
    headers: usize,
    /// How long the line and the headers may take to come; also how long a connection may be idle.
    head_time: Duration,
    /// How long a client may take nothing of what it is sent, or not acknowledge it.
    stalled: Duration,
}

/// The limits of the centre.
const LIMITS: Limits = Limits {
    connections: CONNECTIONS_MAX,
    head_bytes: 64 << 10,
    headers: 100,
    head_time: Duration::from_secs(10),
    stalled: STALLED,
};

/// Serves until `closing`; then requests on their way are answered, and connections closed with
/// them.
pub async fn open(
    listener: TcpListener,
    router: Router,
    closing: CancellationToken,
    counters: Arc<DoorCounters>,
) {
    serve(listener, router, closing, counters, LIMITS).await;
}

async fn serve(
    listener: TcpListener,
    router: Router,
    closing: CancellationToken,
    counters: Arc<DoorCounters>,
    limits: Limits,
) {
    let (places, stalled) = (limits.connections, limits.stalled);
    let door = Door::new("HTTP", listener, places, stalled, Arc::clone(&counters));
    let tasks = TaskTracker::new();
    while let Some(guest) = door.next(&closing).await {
        let (router, closing, counters) = (router.clone(), closing.clone(), Arc::clone(&counters));
        tasks.spawn(async move {
            if !attend(guest, router, &closing, limits).await {
                counters.timed_out.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    drop(door);
    tasks.close();
    tasks.wait().await;
}

/// How long a connection may be silent at first before it counts as idle.
const GRACE: Duration = Duration::from_millis(250);

/// Serves one connection to its end; whether its heads came in time.
async fn attend(
    mut guest: Guest,
    router: Router,
    closing: &CancellationToken,
    limits: Limits,
) -> bool {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_headers(limits.headers)
        .max_header_size(limits.head_bytes)
        .max_buf_size(limits.head_bytes)
        .serve_connection(TokioIo::new(guest.stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = leave(&mut guest.pressed, closing) => {
            // Hung up on at once if it is idle, else once it is answered.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    match ended {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(%error, "a connection of HTTP has broken");
            !error.is_timeout()
        }
    }
}

/// Waits until a connection has to go when it can: the centre ends, or its place is needed.
async fn leave(pressed: &mut watch::Receiver<()>, closing: &CancellationToken) {
    let needed = async {
        // Who has just come is about to ask, and not idle.
        tokio::time::sleep(GRACE).await;
        pressed.changed().await
    };
    tokio::select! {
        () = closing.cancelled() => {}
        // An error is a door that has closed, which ends with `closing`.
        Ok(()) = needed => {}
    }
}

#[cfg(test)]
mod tests;
