//! The only thing that the edge may write: siren, beacon, board.
//!
//! Off by default: it runs only where the configuration of the gateway names an annunciator. It
//! writes one coil of one unit, with a client of its own that can write that coil and read it back
//! and nothing else; the sensors' connections cannot write at all.
//!
//! The coil is written when it changes and again at every refresh, so that a unit with a dead-man
//! timer notices a dead gateway. Each write is read back. When a write or its read-back fails the
//! connection is dropped and the next refresh tries again; the failure is counted and logged.
//!
//! While nobody knows how the plant stands nothing is written: the coil stays as it was, and a unit
//! with a dead-man timer does what it does without a gateway.
//!
//! Davy is not a safety instrumented function, and this is no safety output.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use davy_core::config::Annunciator;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_modbus::client::{Client, Context, tcp};
use tokio_modbus::slave::Slave;
use tokio_modbus::{Request, Response};
use tracing::{info, warn};

use crate::modbus::Link;

/// Longest wait for each answer of the annunciator, and at most its refresh. Ours: a siren that
/// takes longer than this to answer is as good as absent.
const TIMEOUT_MAX: Duration = Duration::from_secs(1);

/// Why the coil may not stand as wanted.
#[derive(Debug, thiserror::Error)]
pub enum AnnunciatorError {
    /// No connection could be made.
    #[error("connecting to the annunciator: {0}")]
    Connect(io::Error),
    /// It did not answer in time.
    #[error("the annunciator did not answer within {0:?}")]
    NoAnswer(Duration),
    /// The request failed, or its answer was no valid reply.
    #[error("asking the annunciator: {0}")]
    Link(tokio_modbus::Error),
    /// It refused.
    #[error("the annunciator answered with exception {0:#04x}")]
    Exception(u8),
    /// It took the write, but the coil stands otherwise.
    #[error("coil {coil} was written {wanted} and reads back otherwise")]
    ReadBack {
        /// The coil.
        coil: u16,
        /// What was written.
        wanted: bool,
    },
}

/// What is counted while it runs.
#[derive(Debug, Default)]
pub struct AnnunciatorCounters {
    /// Writes that were read back as written.
    pub writes: AtomicU64,
    /// Writes that failed, or read back otherwise.
    pub failures: AtomicU64,
    /// Whether the last write failed: the annunciator cannot be relied on now.
    pub failed: AtomicBool,
}

/// Keeps the coil as `sound` says, from when it first says anything until its sender is gone; before
/// and after that the coil is left to its dead-man timer.
pub async fn run<L: Link>(
    annunciator: &Annunciator,
    link: &L,
    mut sound: watch::Receiver<Option<bool>>,
    counters: Arc<AnnunciatorCounters>,
) {
    let limit = annunciator.refresh.min(TIMEOUT_MAX);
    let mut writer: Option<CoilWriter> = None;
    loop {
        let wanted = *sound.borrow_and_update();
        if let Some(wanted) = wanted {
            let written = write(annunciator, link, limit, &mut writer, wanted).await;
            if written.is_err() {
                writer = None;
            }
            count(annunciator, wanted, written, &counters);
        }
        match timeout(annunciator.refresh, sound.changed()).await {
            Ok(Ok(())) => {
                let on = *sound.borrow();
                info!(coil = annunciator.coil, ?on, "annunciate");
            }
            Ok(Err(_)) => return,
            Err(_) => {}
        }
    }
}

/// Counts a write, and tells the log when they begin to fail and when they are well again.
fn count(
    annunciator: &Annunciator,
    wanted: bool,
    written: Result<(), AnnunciatorError>,
    counters: &AnnunciatorCounters,
) {
    match written {
        Ok(()) => {
            counters.writes.fetch_add(1, Relaxed);
            if counters.failed.swap(false, Relaxed) {
                info!(coil = annunciator.coil, "annunciator answers again");
            }
        }
        Err(error) => {
            counters.failures.fetch_add(1, Relaxed);
            // Once, when it begins: a person must look at the siren.
            if !counters.failed.swap(true, Relaxed) {
                warn!(coil = annunciator.coil, wanted, %error, "annunciator cannot be set");
            }
        }
    }
}

/// Writes the coil and reads it back, connecting first where there is no connection.
async fn write<L: Link>(
    annunciator: &Annunciator,
    link: &L,
    limit: Duration,
    writer: &mut Option<CoilWriter>,
    on: bool,
) -> Result<(), AnnunciatorError> {
    let writer = if let Some(writer) = writer {
        writer
    } else {
        let stream = timeout(limit, link.connect())
            .await
            .map_err(|_| AnnunciatorError::NoAnswer(limit))?
            .map_err(AnnunciatorError::Connect)?;
        writer.insert(CoilWriter {
            context: tcp::attach_slave(stream, Slave(annunciator.unit)),
            coil: annunciator.coil,
            limit,
        })
    };
    writer.set(on).await
}

/// A connection that can write one coil and read it back.
struct CoilWriter {
    context: Context,
    coil: u16,
    limit: Duration,
}

impl CoilWriter {
    async fn set(&mut self, on: bool) -> Result<(), AnnunciatorError> {
        let refused = AnnunciatorError::ReadBack {
            coil: self.coil,
            wanted: on,
        };
        match self.call(Request::WriteSingleCoil(self.coil, on)).await? {
            Response::WriteSingleCoil(coil, echo) if coil == self.coil && echo == on => {}
            _ => return Err(refused),
        }
        match self.call(Request::ReadCoils(self.coil, 1)).await? {
            Response::ReadCoils(bits) if bits.first() == Some(&on) => Ok(()),
            _ => Err(refused),
        }
    }

    async fn call(&mut self, request: Request<'_>) -> Result<Response, AnnunciatorError> {
        match timeout(self.limit, self.context.call(request)).await {
            Err(_) => Err(AnnunciatorError::NoAnswer(self.limit)),
            Ok(Err(error)) => Err(AnnunciatorError::Link(error)),
            Ok(Ok(Err(code))) => Err(AnnunciatorError::Exception(code.into())),
            Ok(Ok(Ok(response))) => Ok(response),
        }
    }
}

#[cfg(test)]
mod tests;
