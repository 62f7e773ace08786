//! What the core wants of gateways goes out after the commit.

use davy_core::delivery::{Missing, Ranges};
use davy_core::gateways::LinkEvent;
use davy_core::sparkplug::RunRanges;

use super::*;
use crate::journal::Journal;

#[test]
fn a_gap_that_the_core_wants_filled_is_asked_for_after_the_commit() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path()).unwrap();
    let (outbound, mut goes_out) = mpsc::channel(4);
    let mut turn = Loop {
        watch: Watch::new(),
        journal,
        quarantine: Quarantine::open(folder.path()).unwrap(),
        clock: Arc::new(Clock::new(Timestamp(0))),
        live: broadcast::channel(1).0,
        committed: watch::channel(0).0,
        full: watch::channel(false).0,
        outbound,
        health: Arc::new(Health::default()),
        group: Group::default(),
        snapshots: Snapshots::after(0),
        looked_at: Timestamp(0),
        clock_told: false,
    };
    let (run, first, last) = (3, 5, 6);
    let messages = vec![Missing { run, first, last }];
    let event = LinkEvent::ResendWanted { messages };
    turn.group.ask("gw", &event);
    turn.group.ask("gw", &LinkEvent::Offline);
    assert!(goes_out.try_recv().is_err(), "not before the commit");
    turn.commit().unwrap();
    turn.release();
    let mut ranges = Ranges::default();
    ranges.insert_range(first, last);
    let asked = Outbound::Resend {
        gateway: "gw".into(),
        runs: vec![RunRanges { run, ranges }],
        instance: String::new(),
    };
    assert_eq!(goes_out.try_recv(), Ok(asked));
    assert!(goes_out.try_recv().is_err(), "once");
}
