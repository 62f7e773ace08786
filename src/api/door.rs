//! The door of HTTP: connections are taken here, so many at once, and slow ones are let go.
//!
//! HTTP/1.1 only. What cannot be read as HTTP is answered by hyper with a status and no words (400,
//! 414, 431) and hung up on: there is no call yet that a problem could be about.
//!
//! Limits: those of [`Limits`]. Whoever comes while all connections are taken waits in the system's
//! own queue. A body is timed by `given`, the live streams are counted by `live`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How much one client, and all of them, may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections at once: five for each seat at the live stream, and well below the 1,024 files
    /// that a process may have open on most systems.
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
    connections: 512,
    head_bytes: 64 << 10,
    headers: 100,
    head_time: Duration::from_secs(30),
    stalled: Duration::from_mins(1),
};

/// What came of the limits.
#[derive(Debug, Default)]
pub struct DoorCounters {
    /// Connections that are open now.
    pub(super) open: AtomicU64,
    /// How often all places were taken, so that whoever came next had to wait.
    pub(super) full: AtomicU64,
    /// Connections that were hung up on: no whole head came in time.
    pub(super) timed_out: AtomicU64,
}

/// How long to wait before connections are taken again when the system has no more of them.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

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
    let seats = Arc::new(Semaphore::new(limits.connections));
    let tasks = TaskTracker::new();
    while let Some((stream, seat)) = next(&listener, &seats, &counters, &closing).await {
        prepare(&stream, limits);
        let (router, closing, counters) = (router.clone(), closing.clone(), Arc::clone(&counters));
        tasks.spawn(async move {
            counters.open.fetch_add(1, Ordering::Relaxed);
            if !attend(stream, router, &closing, limits).await {
                counters.timed_out.fetch_add(1, Ordering::Relaxed);
            }
            counters.open.fetch_sub(1, Ordering::Relaxed);
            drop(seat);
        });
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// The next connection, once there is a place for it; none when the door closes.
async fn next(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
    counters: &DoorCounters,
    closing: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let taking = async {
        if seats.available_permits() == 0 {
            counters.full.fetch_add(1, Ordering::Relaxed);
        }
        let seat = Arc::clone(seats).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((stream, seat)),
                Err(error) => {
                    tracing::warn!(%error, "a connection of HTTP could not be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = closing.cancelled() => None,
        taken = taking => taken,
    }
}

fn prepare(stream: &TcpStream, limits: Limits) {
    // An alarm on the live stream is one small segment; held back it would wait for the ACK of the
    // one before, which a client that only listens delays by 40 ms.
    let at_once = stream.set_nodelay(true);
    if let Err(error) = at_once.and(hang_up_after(stream, limits.stalled)) {
        tracing::debug!(%error, "a client of HTTP cannot be timed");
    }
}

/// Has the system hang up on a client that takes nothing, or whose cable is pulled.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn hang_up_after(stream: &TcpStream, stalled: Duration) -> std::io::Result<()> {
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(stalled))
}

/// Other systems have no such limit; there a client that takes nothing keeps its place.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn hang_up_after(_: &TcpStream, _: Duration) -> std::io::Result<()> {
    Ok(())
}

/// Serves one connection to its end; whether its heads came in time.
async fn attend(
    stream: TcpStream,
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
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing.cancelled() => {
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

#[cfg(test)]
mod tests;
