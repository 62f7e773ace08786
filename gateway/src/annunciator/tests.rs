//! The annunciator against a unit that takes, loses or ignores its writes.

#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

use std::sync::atomic::Ordering::SeqCst;

use tokio::time::sleep;

use super::*;
use crate::modbus::fake::FakeLink;

const REFRESH: Duration = Duration::from_secs(2);

fn start(link: &FakeLink) -> (watch::Sender<Option<bool>>, Arc<AnnunciatorCounters>) {
    let (sound, heard) = watch::channel(None);
    let counters = Arc::new(AnnunciatorCounters::default());
    let annunciator = Annunciator {
        address: String::new(),
        unit: 9,
        coil: 3,
        refresh: REFRESH,
    };
    let (link, kept) = (link.clone(), Arc::clone(&counters));
    tokio::spawn(async move { run(&annunciator, &link, heard, kept).await });
    (sound, counters)
}

/// Long enough for a write and its read-back, no refresh.
async fn a_moment() {
    sleep(Duration::from_millis(10)).await;
}

#[tokio::test(start_paused = true)]
async fn the_coil_follows_and_is_refreshed() {
    let link = FakeLink::default();
    // As an earlier run of the gateway left it.
    link.0.coil.store(true, SeqCst);
    let (sound, counters) = start(&link);
    sleep(3 * REFRESH).await;
    assert!(link.0.coil.load(SeqCst), "nobody knows yet");
    assert_eq!(*link.0.functions.lock().unwrap(), [0_u8; 0]);
    assert_eq!(counters.writes.load(SeqCst), 0);
    sound.send(Some(false)).unwrap();
    a_moment().await;
    assert!(!link.0.coil.load(SeqCst), "all is known to be quiet");
    assert_eq!(counters.writes.load(SeqCst), 1);
    sound.send(Some(true)).unwrap();
    a_moment().await;
    assert!(link.0.coil.load(SeqCst));
    // A unit that lost its state gets it again without being asked.
    link.0.coil.store(false, SeqCst);
    sleep(REFRESH).await;
    assert!(link.0.coil.load(SeqCst));
    sound.send(Some(false)).unwrap();
    a_moment().await;
    assert!(!link.0.coil.load(SeqCst));
    assert_eq!(counters.failures.load(SeqCst), 0);
    let functions = link.0.functions.lock().unwrap();
    assert!(functions.iter().all(|code| matches!(code, 1 | 5)));
}

#[tokio::test(start_paused = true)]
async fn a_coil_that_does_not_follow_is_noticed() {
    let link = FakeLink::default();
    link.0.coil_is_stuck.store(true, SeqCst);
    let (sound, counters) = start(&link);
    sound.send(Some(true)).unwrap();
    a_moment().await;
    assert!(counters.failed.load(SeqCst));
    link.0.coil_is_stuck.store(false, SeqCst);
    sleep(REFRESH).await;
    assert!(!counters.failed.load(SeqCst));
    assert!(link.0.coil.load(SeqCst));
}

#[tokio::test(start_paused = true)]
async fn it_tries_again_after_a_lost_link() {
    let link = FakeLink::default();
    link.0.refuses_connections.store(true, SeqCst);
    let (sound, counters) = start(&link);
    sound.send(Some(true)).unwrap();
    a_moment().await;
    assert!(counters.failed.load(SeqCst));
    link.0.refuses_connections.store(false, SeqCst);
    sleep(REFRESH).await;
    assert!(link.0.coil.load(SeqCst));
}
