//! A door: connections are taken here, so many at once; stalled ones are hung up on.
//!
//! Both doors of the centre, HTTP and MQTT, are of this kind. What is spoken behind one is not
//! known here.
//!
//! Invariants: no more than its places are ever taken, so that their sum fits into the files that
//! the process may have open ([`crate::serve::FILES`]); a system that gives no connection is asked
//! once a [`PAUSE`] and told of once, never in a loop without a pause.
//!
//! Limits: the places. Whoever comes while all are taken waits in the system's own queue, and those
//! who are inside are told that somebody waits ([`Guest::pressed`]).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// How long to wait before connections are taken again when the system has no more of them.
const PAUSE: Duration = Duration::from_secs(1);

/// Connections that wait in the system's queue: a city's gateways come back all at once after an
/// outage, and beyond the queue each of them would have to try again after a second or more.
const WAITING: u32 = 1_024;

/// How long a client may take nothing of what it is sent, or not acknowledge it.
pub const STALLED: Duration = Duration::from_mins(1);

/// What has come of the limits.
#[derive(Debug, Default)]
pub struct DoorCounters {
    /// Connections that are open now.
    pub open: AtomicU64,
    /// How often all places were taken, so that whoever came next had to wait.
    pub full: AtomicU64,
    /// Connections that were hung up on: what they had to say did not come in time.
    pub timed_out: AtomicU64,
}

/// Where connections are taken.
pub struct Door {
    name: &'static str,
    listener: TcpListener,
    seats: Arc<Semaphore>,
    stalled: Duration,
    counters: Arc<DoorCounters>,
    pressed: watch::Sender<()>,
}

/// A connection that was taken.
pub struct Guest {
    /// The connection.
    pub stream: TcpStream,
    /// Who it is.
    pub from: SocketAddr,
    /// Changes when all places are taken and somebody waits for one.
    pub pressed: watch::Receiver<()>,
    /// Its place; drop it when the connection has ended.
    pub place: Place,
}

/// A place behind a door; given back when it is dropped.
pub struct Place {
    counters: Arc<DoorCounters>,
    _seat: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counters.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Has the system queue connections to an address; port 0 takes a free one.
pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // So that a centre that is started again need not wait for the end of its old connections;
    // elsewhere it would let two processes listen at one address.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING)
}

impl Door {
    /// A door called `name` in the log, with so many places. A client that takes nothing for
    /// `stalled` is hung up on.
    pub fn new(
        name: &'static str,
        listener: TcpListener,
        places: usize,
        stalled: Duration,
        counters: Arc<DoorCounters>,
    ) -> Self {
        Self {
            name,
            listener,
            seats: Arc::new(Semaphore::new(places)),
            stalled,
            counters,
            pressed: watch::Sender::default(),
        }
    }

    /// The next connection, once there is a place for it; none when the door closes.
    pub async fn next(&self, closing: &CancellationToken) -> Option<Guest> {
        tokio::select! {
            () = closing.cancelled() => None,
            guest = self.take() => guest,
        }
    }

    async fn take(&self) -> Option<Guest> {
        if self.seats.available_permits() == 0 {
            self.counters.full.fetch_add(1, Ordering::Relaxed);
            self.pressed.send_replace(());
        }
        let seat = Arc::clone(&self.seats).acquire_owned().await.ok()?;
        let (stream, from) = self.accept().await;
        self.counters.open.fetch_add(1, Ordering::Relaxed);
        Some(Guest {
            stream,
            from,
            pressed: self.pressed.subscribe(),
            place: Place {
                counters: Arc::clone(&self.counters),
                _seat: seat,
            },
        })
    }

    async fn accept(&self) -> (TcpStream, SocketAddr) {
        let mut is_told = false;
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    self.prepare(&stream);
                    return (stream, from);
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        let door = self.name;
                        tracing::warn!(%error, door, "no connection can be taken; trying on");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn prepare(&self, stream: &TcpStream) {
        // What is sent at once is one small segment; held back it would wait for the ACK of the one
        // before, which a client that only listens delays by 40 ms.
        let at_once = stream.set_nodelay(true);
        if let Err(error) = at_once.and(hang_up_after(stream, self.stalled)) {
            tracing::debug!(%error, door = self.name, "a client cannot be timed");
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    #[tokio::test]
    async fn beyond_so_many_connections_one_waits_for_a_place() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let counters = Arc::<DoorCounters>::default();
        let door = Door::new("test", listener, 1, STALLED, Arc::clone(&counters));
        let connect = || TcpSocket::new_v4().unwrap().connect(address);
        let (_first, _second) = (connect().await.unwrap(), connect().await.unwrap());
        let closing = CancellationToken::new();
        let one = door.next(&closing).await.unwrap();
        assert!(!one.pressed.has_changed().unwrap());
        {
            let mut other = std::pin::pin!(door.next(&closing));
            assert!(futures::poll!(other.as_mut()).is_pending());
            assert_eq!(counters.full.load(Ordering::Relaxed), 1);
            assert!(one.pressed.has_changed().unwrap(), "somebody waits");
            drop(one);
            assert!(other.await.is_some());
        }
        assert_eq!(counters.open.load(Ordering::Relaxed), 0);
        closing.cancel();
        assert!(door.next(&closing).await.is_none());
    }
}
