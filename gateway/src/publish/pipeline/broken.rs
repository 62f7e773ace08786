//! Rows of the outbox that are no messages: a disk that gave back other bytes than it was given.
//!
//! Invariant: what goes out of the outbox carries the number of its row. A row that does not would
//! be committed by nobody, or under the number of another; it is lost, counted and told, so that
//! what is stored can come to its end.

use davy_core::sparkplug::topic::check_name;
use davy_core::sparkplug::walk;

use super::{Pipeline, failed};
use crate::outbox::StoredMessage;

impl Pipeline {
    /// Takes the rows that are no messages out of `messages` and out of the outbox.
    pub(super) fn lose_broken(&mut self, messages: &mut Vec<StoredMessage>) {
        let broken: Vec<_> = messages
            .extract_if(.., |message| !is_whole(message))
            .collect();
        for StoredMessage { row, number, .. } in broken {
            tracing::error!(row, ?number, "a stored message cannot be read; it is lost");
            failed(self.outbox.lose(row, row));
            self.session.report_now();
        }
    }
}

/// Whether all of it can be read, and it is the message that belongs here.
fn is_whole(message: &StoredMessage) -> bool {
    let Ok(read) = walk(&message.payload) else {
        return false;
    };
    check_name("device", &message.device).is_ok()
        && read
            .number()
            .is_ok_and(|found| found == Some(message.number))
        && read.iter().all(|metric| metric.is_ok())
}
