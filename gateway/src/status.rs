//! What others may see of a running gateway: the status page, the metrics, a test.
//!
//! Each number is read while it changes; none of them steers anything.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
use std::sync::{Arc, OnceLock};

use crate::annunciator::AnnunciatorCounters;
use crate::outbox::Account;
use crate::poll::BusCounters;
use crate::publish::session::Phase;

/// Of one gateway.
#[derive(Debug, Default)]
pub struct Status {
    /// Messages numbered, or refused by the disk.
    produced: AtomicU64,
    /// Messages that the centre has committed.
    committed: AtomicU64,
    /// Messages in the outbox.
    stored: AtomicU64,
    /// Messages that a limit of the outbox freed, or that the disk refused.
    lost: AtomicU64,
    /// Bytes of payload in the outbox.
    pub stored_bytes: AtomicU64,
    /// Batches that could not be stored, and so were never numbered: the disk failed or is full.
    /// They are among the lost.
    pub unstored: AtomicU64,
    /// Whether batches cannot be stored now.
    pub storing_fails: AtomicBool,
    /// Whether the edge must annunciate by itself: the centre is away or commits nothing, or
    /// readings cannot be stored here.
    pub alone: AtomicBool,
    /// Messages that were sent again since nobody committed them.
    pub resent: AtomicU64,
    /// Messages that the live lane had no room for; they went with the backlog.
    pub overflowed: AtomicU64,
    /// Messages from the host that could not be read.
    pub unreadable: AtomicU64,
    /// Commands of the host that speak of another outbox; they had no effect.
    pub not_ours: AtomicU64,
    /// Connections to the broker that were made.
    pub connects: AtomicU64,
    /// Connections in a row that were made and did not hold. From
    /// [`SHORT_MANY`](crate::pause::SHORT_MANY) on a second gateway under the same name is likely.
    pub short_connections: AtomicU64,
    /// Whether local alarms sound the annunciator now.
    pub sounds: AtomicBool,
    phase: AtomicU8,
    buses: OnceLock<Vec<Arc<BusCounters>>>,
    annunciator: OnceLock<Arc<AnnunciatorCounters>>,
}

impl Status {
    /// Where every message is.
    pub fn account(&self) -> Account {
        Account {
            produced: self.produced.load(Relaxed),
            committed: self.committed.load(Relaxed),
            stored: self.stored.load(Relaxed),
            lost: self.lost.load(Relaxed),
        }
    }

    /// Where the session stands.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            1 => Phase::Waiting,
            2 => Phase::Born,
            3 => Phase::Leaving,
            _ => Phase::Away,
        }
    }

    /// Counters of each bus, once polling has begun.
    pub fn buses(&self) -> &[Arc<BusCounters>] {
        self.buses.get().map(Vec::as_slice).unwrap_or_default()
    }

    /// Counters of the annunciator, where there is one.
    pub fn annunciator(&self) -> Option<&AnnunciatorCounters> {
        self.annunciator.get().map(Arc::as_ref)
    }

    pub(crate) fn set_account(&self, account: Account) {
        self.produced.store(account.produced, Relaxed);
        self.committed.store(account.committed, Relaxed);
        self.stored.store(account.stored, Relaxed);
        self.lost.store(account.lost, Relaxed);
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        let code = match phase {
            Phase::Away => 0,
            Phase::Waiting => 1,
            Phase::Born => 2,
            Phase::Leaving => 3,
        };
        self.phase.store(code, Relaxed);
    }

    /// Set once; a second run with the same status keeps the first.
    pub(crate) fn set_buses(&self, buses: Vec<Arc<BusCounters>>) {
        drop(self.buses.set(buses));
    }

    pub(crate) fn set_annunciator(&self, counters: Arc<AnnunciatorCounters>) {
        drop(self.annunciator.set(counters));
    }
}
